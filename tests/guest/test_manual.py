"""The manual's examples, by its sections, with today's names of functions."""
import os
import re
import resource
import struct
import threading

from tests.guest.live import (ARCH, FIRST, KERNEL, SECOND, Live, datagram, fork, inside, ping,
                              write)


class Manual(Live):

    def test_3_1_entry_and_return(self):
        lines = self.ours(self.trace('p kernel_clone', 'r kernel_clone',
                                     workload=lambda: [fork() for _ in range(3)]))
        self.assertEqual([line[2] for line in lines], ['f0', 'f1'] * 3)
        self.assertTrue(lines[0][3].startswith('kernel_clone+0x'))
        self.assertTrue(lines[1][3].endswith(' <- kernel_clone'))

    def test_3_2_member_of_an_argument(self):
        lines = self.ours(self.trace('p wake_up_new_task comm=%0->comm pid=S%0->pid',
                                     workload=lambda: [fork('first one'), fork('k=v "x"')]))
        first, second = self.result
        self.assertEqual(self.values(lines), [
            'comm="first one" pid=%d' % first, 'comm="k=v "x"" pid=%d' % second])

    def test_3_3_chains_and_formats(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (321, limit[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        lines = self.trace(
            'p wake_up_new_task users=S%0->mm->mm_users parent=U%0->real_parent->tgid '
            'files=U%0->signal->rlim[7].rlim_cur hex=%0->signal->rlim[7].rlim_cur '
            'number=S%0->thread_pid->numbers[0].nr node=%0->se.run_node.rb_left '
            'bytes=X%0->comm letter=%0->comm[1]', workload=lambda: fork('abc'))
        [line] = self.ours(lines)
        self.assertTrue(line[4].startswith(
            'users=1 parent=%d files=321 hex=0x141 number=%d node=0x' % (os.getpid(),
                                                                         self.result)), line)
        # Behind the zero an older name may still stand.
        self.assertTrue(re.search(
            r' bytes=\{0x61,0x62,0x63,0x0(,0x[0-9a-f]+){12}\} letter=%s$' % (
                "'b'" if KERNEL >= (6, 3) else '0x62'), line[4]), line)

    def test_3_3_a_counter_of_threads(self):
        hold, before = threading.Event(), len(os.listdir('/proc/self/task'))
        self.addCleanup(hold.set)

        def workload():
            for _ in range(2):
                threading.Thread(target=hold.wait).start()
        lines = self.ours(self.trace('p wake_up_new_task users=S%0->mm->mm_users',
                                     workload=workload))
        self.assertEqual(self.values(lines), ['users=%d' % (before + more) for more in (1, 2)])

    def test_3_4_filters(self):
        self.filtered('p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users', [
            (' f:' + written, ['comm="%s" users=1' % name for name in seen]) for written, seen in [
                ('comm==target', ['target']), ('comm=="two words"', ['two words']),
                ('comm!=target && users<4 && common_pid==%d' % os.getpid(), ['two words', 'other']),
                ('comm ~ "t*" && (users>=1||users==7)', ['target', 'two words']),
                ('users&2', [])]],
            workload=lambda: [fork(name) for name in ('target', 'two words', 'other')])

    def test_3_5_inside_a_function(self):
        path = self.path('inside')
        write(path, '')
        offset = inside('do_sys_openat2')
        lines = self.ours(self.trace(
            'p do_sys_openat2+%d dfd=%%%s:s32 name=%%%s:string' % (offset, FIRST, SECOND),
            workload=lambda: os.close(os.open(path, os.O_RDONLY))))
        self.assertIn('dfd=-100 name="%s"' % path, self.values(lines))      # AT_FDCWD
        self.assertTrue(lines[0][3].startswith('do_sys_openat2+0x%x/' % offset), lines[0])

    def test_3_6_return_values(self):
        lines = self.ours(self.trace('r kernel_clone r=$retval', 'r filename_lookup r=S$retval',
                                     workload=lambda: (fork(), os.path.exists('/nonexistent'))))
        child = self.result[0]
        self.assertIn(child, [int(line[4][2:], 0) for line in lines if line[2] == 'f0'])
        self.assertIn(('f1', 'r=-ENOENT'), [(line[2], line[4]) for line in lines])

    def test_3_6_a_member_of_what_is_returned(self):
        path = self.path('returned')
        write(path, 'x' * 50)
        opener = 'do_filp_open' if KERNEL < (7, 0) else 'do_file_open'
        lines = self.trace('r %s pos=$retval->f_pos size=U$retval->f_inode->i_size '
                           'name=$retval->f_path.dentry->d_name.name f:name==returned' % opener,
                           workload=lambda: os.close(os.open(path, os.O_RDWR | os.O_APPEND)))
        self.assertEqual(self.values(lines), ['pos=0x0 size=50 name="returned"'])

    def test_3_7_packets(self):
        payload = b'surf=ed "by" %08d' % os.getpid() + b'\0' * 3
        lines = self.trace(
            'p ip_rcv proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr '
            'ip_dst=@(struct iphdr *)l3%0->daddr data=X@(struct iphdr *)l3%0->sdata[1] '
            'type=@(struct icmphdr *)l3%0->type b16_id=@(struct icmphdr *)l3%0->un.echo.id '
            'B16_seq=@(struct icmphdr *)l3%0->un.echo.sequence len=U%0->len '
            'version=@(struct iphdr *)%0->version ihl=@(struct iphdr *)%0->ihl '
            'first=X@(struct icmphdr *)l3%0->cdata[0] last=X@(struct icmphdr *)l3%0->qdata[1] '
            'text=@(struct icmphdr *)l3%0->Sdata '
            'f:proto==1&&ip_dst==127.0.0.7&&b16_id==4660',
            workload=lambda: ping('127.0.0.7', payload, 4660, 0xabcd))
        stored = struct.unpack('<H', struct.pack('!H', self.result))[0]
        eight = struct.unpack('<Q', payload[8:16])[0]
        self.assertEqual(self.values(lines), [
            'proto=1 ip_src=127.0.0.1 ip_dst=127.0.0.7 data=0x%x type=8 b16_id=4660 '
            'B16_seq=0xabcd len=%d version=4 ihl=5 first=0x73 last=0x%x text="%s"'
            % (stored, 28 + len(payload), eight, payload.rstrip(b'\0').decode())])

    def test_3_7_the_core_of_reception(self):
        """Its argument is a struct sk_buff **, its symbol a variant, its prototype not there."""
        plain = KERNEL < (5, 11)
        base = '%0' if plain and ARCH == 'x86_64' else '!(struct sk_buff **)%0'
        lines = self.trace('p __netif_receive_skb_core proto=@(struct iphdr *)l3%s->protocol '
                           'ip_dst=@(struct iphdr *)l3%s->daddr f:ip_dst==127.0.0.9'
                           % (base, base), workload=lambda: ping('127.0.0.9', b'x' * 8, 1, 1))
        self.assertEqual(self.values(lines), ['proto=1 ip_dst=127.0.0.9'])
        if not plain:
            self.assertIn('may have moved or dropped arguments', self.said)

    def test_3_7_ports(self):
        lines = self.trace('p ip_rcv b16_port=@(struct udphdr *)l3%0->dest '
                           'text=@(struct udphdr *)l3%0->Sdata '
                           'proto=@(struct iphdr *)%0->protocol f:proto==17&&b16_port==5353',
                           workload=lambda: datagram('127.0.0.1', 5353))
        self.assertEqual([value.split('hello')[0] for value in self.values(lines)],
                         ['b16_port=5353 text="'])

    def test_3_8_events(self):
        lines = self.trace('e sched/sched_process_fork f:parent_comm==forker',
                           'e sched:sched_process_exit f:comm=="two words"',
                           workload=lambda: [fork('forker'), fork('other'), fork('two words')])
        forker, _, two = self.result
        self.assertEqual([(line[2], line[1] if line[2] == 'sched_process_exit' else line[4])
                          for line in lines], [
            ('sched_process_fork', lines[0][4]), ('sched_process_exit', two)])
        self.assertTrue(lines[0][4].endswith('child_pid=%d' % forker), lines[0])

    def test_3_8_waiting(self):
        write('/proc/sys/kernel/sched_schedstats', '1')
        self.addCleanup(write, '/proc/sys/kernel/sched_schedstats', '0')

        def workload():
            children = []
            for _ in range(3):      # more than there are processors
                pid = os.fork()
                if pid == 0:
                    while sum(os.times()[:2]) < 0.2:
                        pass
                    os._exit(0)
                children.append(pid)
            for pid in children:
                os.waitpid(pid, 0)
            return children
        lines = self.trace('e sched/sched_stat_wait f:delay>1000000', workload=workload)
        waited = set()
        for line in lines:
            match = re.match(r'comm=.* pid=(\d+) delay=(\d+) \[ns\]', line[4])
            self.assertGreater(int(match.group(2)), 1000000)
            waited.add(int(match.group(1)))
        self.assertTrue(waited & set(self.result), lines)

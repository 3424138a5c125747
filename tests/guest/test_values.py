"""What a value can be, with values that the workload here has made.

What a kernel cannot do has to be refused in words that say so.
"""
import ctypes
import mmap
import os
import re
import socket
import struct
import subprocess

from tests.guest.live import (ARCH, FIRST, KERNEL, MODULES_HAVE_TYPES, Live, Run, connection,
                              datagram, dummy_device, fork, kallsyms, parse, read, write)

ARGUMENTS_ON_RETURN = KERNEL >= (6, 9)


class Values(Live):

    def reading(self, name):
        """Return a workload that reads 77 bytes at 4321 in a file, then 5."""
        path = self.path(name)
        write(path, 'x' * 10000)

        def workload():
            descriptor = os.open(path, os.O_RDONLY)
            os.lseek(descriptor, 4321, os.SEEK_SET)
            os.read(descriptor, 77)
            os.read(descriptor, 5)
            os.close(descriptor)
        return workload

    def test_place_in_a_file(self):
        lines = self.trace('p vfs_read name=%0->f_path.dentry->d_name.name pos=U%0->f_pos '
                           'count=U%2 f:name==surf.data', workload=self.reading('surf.data'))
        self.assertEqual(self.values(lines), [
            'name="surf.data" pos=4321 count=77', 'name="surf.data" pos=4398 count=5'])

    def test_casts_and_the_kernels_own_words(self):
        result = 'ax' if ARCH == 'x86_64' else 'x0'
        [line] = self.ours(self.trace(
            'r kernel_clone a=U!(int)%{0} b=U!(u8)%{0} c=%{0}:u16 me=$comm'.format(result),
            workload=fork))
        child = self.result
        self.assertEqual(line[4], 'a=%d b=%d c=%d me="%s"' % (
            child, child & 0xff, child & 0xffff, line[0]))

    def test_a_cast_of_a_register(self):
        lines = self.ours(self.trace(
            'p wake_up_new_task comm=!(struct task_struct *)%{0}->comm '
            'pid=S!(struct task_struct *)%{0}->pid'.format(FIRST), workload=lambda: fork('cast')))
        self.assertEqual(self.values(lines), ['comm="cast" pid=%d' % self.result])

    def test_stacks(self):
        run = Run(['-s', 'p wake_up_new_task pid=S%0->pid']).ready()
        child = fork()
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        [at] = [at for at, line in enumerate(lines) if line.endswith(' pid=%d' % child)]
        stack = []
        for line in lines[at + 2:]:
            if not line.startswith(' => '):
                break
            stack.append(line[4:])
        # (On aarch64 the caller itself is not in the stack at a function's entry.)
        self.assertTrue(any(frame.startswith('__do_sys_clone') for frame in stack), lines)

    def test_a_module(self):
        skb, device = ('', '') if MODULES_HAVE_TYPES else ('!(struct sk_buff *)',
                                                           '!(struct net_device *)')
        with dummy_device() as packet:
            lines = self.trace('p dummy_xmit name=%s%%1->name len=U%s%%0->len f:len==60'
                               % (device, skb), workload=lambda: packet.send(b'\xff' * 60))
        self.assertEqual(self.values(lines), ['name="dummy0" len=60'])

    def test_arguments_by_name(self):
        lines = self.trace('p vfs_read name=$file->f_path.dentry->d_name.name pos=U$file->f_pos '
                           'count=U$count f:name==by-name&&count==77',
                           workload=self.reading('by-name'))
        self.assertEqual(self.values(lines), ['name="by-name" pos=4321 count=77'])
        self.refused("vfs_read has no argument 'files': did you mean '$file'?",
                     'p vfs_read a=$files->f_pos')

    def test_arguments_on_return(self):
        trace = ('r vfs_read r=S$retval count=U$count name=$file->f_path.dentry->d_name.name '
                 'f:name==returned&&r>5')
        if not ARGUMENTS_ON_RETURN:
            return self.refused('keeps no arguments until the return, as Linux 6.9 does', trace)
        lines = self.trace(trace, workload=self.reading('returned'))
        self.assertEqual(self.values(lines), ['r=77 count=77 name="returned"'])

    def test_a_struct_in_registers(self):
        """A sockptr_t takes two, and what follows it moves on; ftrace reads no members there."""
        def workload():
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
            udp.close()
        lines = self.ours(self.trace(
            'p ip_setsockopt level=S$level name=S$optname ttl=+u0(%%%s):u32 len=U$optlen' % (
                'cx' if ARCH == 'x86_64' else 'x3'), workload=workload))
        self.assertEqual(self.values(lines), ['level=0 name=2 ttl=77 len=4'])
        self.refused('lies in a register, of which ftrace reads no members',
                     'p ip_setsockopt in_kernel=$optval.is_kernel')

    def test_a_struct_in_one_register(self):
        def workload():
            pid = os.fork()
            if pid == 0:
                os.setuid(4711)
                os.getuid()
                os._exit(0)
            os.waitpid(pid, 0)
            return pid
        lines = self.trace('p from_kuid_munged uid=U$kuid.val f:uid==4711', workload=workload)
        self.assertIn((self.result, 'uid=4711'), [(line[1], line[4]) for line in lines])

    def test_an_argument_on_the_stack(self):
        """From Linux 6.12 on pgoff is the seventh; on x86_64 six lie in registers."""
        path = self.path('mapped')
        write(path, 'x' * 65536)

        def workload():
            descriptor = os.open(path, os.O_RDONLY)
            mmap.mmap(descriptor, 4096, prot=mmap.PROT_READ, offset=3 * 4096).close()
            os.close(descriptor)
        lines = self.trace(*['p do_mmap off=U%s len=U$len name=$file->f_path.dentry->d_name.name '
                             'f:name==mapped' % base
                             for base in ('$pgoff', '%%%d' % (6 if KERNEL >= (6, 12) else 5))],
                           workload=workload)
        self.assertEqual(sorted((line[2], line[4]) for line in lines), [
            (event, 'off=3 len=4096 name="mapped"') for event in ('f0', 'f1')])

    def test_variables(self):
        """A cast says what lies at the symbol: the variable itself, or a pointer."""
        values = ('a=!(struct task_struct)@init_task.comm '
                  'pid=S!(struct task_struct)@init_task.pid '
                  'b=!(struct task_struct *)@kthreadd_task->comm '
                  'line=!(const char *)@saved_command_line')
        trace = 'p wake_up_new_task %s new=%%0->comm f:new==variables' % values
        if ' init_task\n' not in kallsyms():
            return self.refused('CONFIG_KALLSYMS_ALL', trace)
        lines = self.trace(trace, workload=lambda: fork('variables'))
        self.assertEqual([re.sub('swapper/0', 'swapper', value) for value in self.values(lines)], [
            'a="swapper" pid=0 b="kthreadd" line="%s" new="variables"'
            % read('/proc/cmdline').strip()])
        self.refused("'runqueues' is one of each CPU", 'p vfs_read a=@runqueues')
        self.refused("no symbol 'init_tasks'", 'p vfs_read a=@init_tasks')

    def test_a_cast_in_the_middle(self):
        def workload():
            with connection() as (listening, client):
                server, _ = listening.accept()
                server.send(b'surf')
                os.read(client.fileno(), 4)
                server.close()
                return client.getsockname()[1]
        lines = self.ours(self.trace(
            'p vfs_read port=U$file->private_data!(struct socket *)->sk->__sk_common.skc_num '
            'state=$file->private_data!(struct socket *)->sk->__sk_common.skc_state'
            '!(enum TCP_ESTABLISHED) count=U$count f:count==4&&port>0', workload=workload))
        self.assertIn('port=%d state=TCP_ESTABLISHED count=4' % self.result, self.values(lines))

    def test_an_array_that_is_cast_is_its_address(self):
        lines = self.ours(self.trace(
            'p wake_up_new_task new=%0->comm a=%0->comm!(struct list_head *)->next',
            workload=lambda: fork('decayed')))
        self.assertEqual(self.values(lines), [
            'new="decayed" a=0x%x' % struct.unpack('<Q', b'decayed\0')])

    def test_enums(self):
        def workload():
            with connection():      # closes a socket that is connected, then one that never was
                pass
        self.filtered('p inet_release state=$sock->state', [
            (written, ['state=' + name for name in names]) for written, names in [
                ('', ['SS_CONNECTED', 'SS_UNCONNECTED']),
                (' f:state==SS_CONNECTED', ['SS_CONNECTED']),
                (' f:state!=SS_CONNECTED', ['SS_UNCONNECTED'])]], workload=workload)

    def test_names_in_the_filter_of_an_event(self):
        def workload():
            with connection() as (listening, _):
                return listening.getsockname()[1]
        lines = self.trace('e sock/inet_sock_set_state f:newstate==TCP_SYN_SENT',
                           workload=workload)
        self.assertEqual(len(lines), 1)
        self.assertIn('dport=%d ' % self.result, lines[0][4])
        self.assertIn('newstate=TCP_SYN_SENT', lines[0][4])

    def test_what_a_pointer_points_at(self):
        lines = self.trace('p vfs_read pos=U$pos[0] name=$file->f_path.dentry->d_name.name '
                           'f:name==pointed&&pos==4321', workload=self.reading('pointed'))
        self.assertEqual(self.values(lines), ['pos=4321 name="pointed"'])

    def test_addresses_in_the_filter_of_an_event(self):
        def workload():
            for address in ('127.0.0.8', '127.0.0.9'):
                with self.assertRaises(socket.error):
                    socket.create_connection((address, 9))
        lines = self.trace('e sock/inet_sock_set_state '
                           'f:daddr==127.0.0.9&&newstate==TCP_SYN_SENT', workload=workload)
        self.assertEqual(['daddr=127.0.0.9 ' in line[4] for line in lines], [True])

    def test_errors_in_the_filter_of_an_event(self):
        write(self.path('gone'), '')
        run = Run(['e syscalls/sys_exit_unlink%s f:ret==-ENOENT&&common_pid==%d' % (
            '' if ARCH == 'x86_64' else 'at', os.getpid())]).ready()
        os.unlink(self.path('gone'))
        for path in (self.path('gone'), '/'):       # not there any more; a directory
            with self.assertRaises(OSError):
                os.unlink(path)
        status, lines, said = run.end()
        self.assertEqual((status, [line.split(' -> ')[1] for line in lines]),
                         (0, ['-ENOENT']), said)

    def test_strings_of_programs_in_the_filter_of_an_event(self):
        trace = 'e syscalls/sys_enter_openat f:filename%s~"*/by-us?ring"'
        self.refused('write filename.ustring', trace % '')
        if KERNEL < (5, 17):
            return
        run = Run([trace % '.ustring']).ready()
        self.reading('by-ustring')()
        status, lines, said = run.end()
        self.assertEqual((status, ['sys_openat(' in line for line in lines]), (0, [True] * 2), said)

    def test_errors(self):
        self.filtered('r filename_lookup r=S$retval', [
            (written, ['r=' + name for name in names]) for written, names in [
                ('', ['-ENOENT', '0', '-ENOTDIR']), (' f:r==-ENOTDIR', ['-ENOTDIR']),
                (' f:r<0&&r!=-20', ['-ENOENT'])]],
            workload=lambda: [os.path.exists(path)
                              for path in ('/nonexistent', '/', '/proc/version/x')])

    def test_functions(self):
        [line] = self.trace('p vfs_read name=$file->f_path.dentry->d_name.name count=$count '
                            'f=$file->f_op->read_iter x=X$file->f_op->read_iter '
                            'f:name==functions&&count==77', workload=self.reading('functions'))
        function, address = re.search(r'f=(\S+)\+0x0/0x[0-9a-f]+ x=0x([0-9a-f]+)$',
                                      line[4]).groups()
        self.assertEqual(function, 'shmem_file_read_iter')      # /tmp is a tmpfs
        self.assertTrue(re.search('^0*%s t %s$' % (address, function), kallsyms(),
                                  re.MULTILINE))

    def test_addresses_of_hardware(self):
        address = '02:53:55:52:46:07'

        def workload():
            # To 06:..., tagged as VLAN 0x123, with nothing that anybody takes; then to 08:...
            for first in (b'\6', b'\x08'):
                packet.send(first + b'\1\2\3\4\5' + b'\2SURF\7' + struct.pack(
                    '!HHH', 0x8100, 0x123, 0x88b5) + b'\0' * 50)
        with dummy_device('address ' + address) as packet:
            lines = self.ours(self.trace(
                'p dev_hard_start_xmit mac_to=@(struct ethhdr *)l2%0->h_dest '
                'mac_from=@(struct ethhdr *)l2%0->h_source bytes=@(struct ethhdr *)l2%0->h_dest '
                'mac_device=%1->dev_addr b16_tag=@(struct vlan_hdr *)l2%0->h_vlan_TCI '
                'f:mac_to==06:01:02:03:04:05', workload=workload))
        self.assertEqual(self.values(lines), [
            'mac_to=06:01:02:03:04:05 mac_from=%s bytes={0x6,0x1,0x2,0x3,0x4,0x5} mac_device=%s '
            'b16_tag=%d' % (address, address, 0x123)])
        self.refused('an array, on which the kernel cannot filter',
                     'p dev_hard_start_xmit a=@(struct ethhdr *)l2%0->h_dest f:a==1')

    def test_addresses_of_ipv6(self):
        own = 'fd00:5::7:1'
        subprocess.check_call(['ip', '-6', 'addr', 'add', own + '/128', 'dev', 'lo'])
        self.addCleanup(subprocess.check_call,
                        ['ip', '-6', 'addr', 'del', own + '/128', 'dev', 'lo'])
        lines = self.trace(
            'p ipv6_rcv ip6_to=@(struct ipv6hdr *)l3%0->daddr '
            'next=@(struct ipv6hdr *)l3%0->nexthdr hops=@(struct ipv6hdr *)%0->hop_limit '
            'b16_length=@(struct ipv6hdr *)%0->payload_len f:next==17&&b16_length==13',
            workload=lambda: datagram(own, 5354, socket.AF_INET6))
        self.assertEqual(self.values(lines), [
            'ip6_to=fd00:5::7:1 next=17 hops=64 b16_length=13'])

    def test_a_string_that_only_faults(self):
        library = ctypes.CDLL(None)
        run = Run(['p do_sys_openat2 name=%1:string task=$comm f:common_pid=={0}'.format(
            os.getpid())]).ready()
        library.open(ctypes.c_void_p(8), 0)
        status, lines, said = run.end()
        self.assertEqual((status, [parse(line)[4].split(' task')[0] for line in lines]),
                         (0, ['name=(fault)']), said)

    def test_a_character(self):
        lines = self.ours(self.trace('p wake_up_new_task a=%0->comm[1] b=U%0->comm[0]',
                                     workload=lambda: fork('kq')))
        self.assertEqual(self.values(lines), [
            'a=%s b=107' % ("'q'" if KERNEL >= (6, 3) else '0x71')])

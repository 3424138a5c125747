"""What a value can be, on a real kernel, with values that the workload here has made.

tests/run runs Drawn on each kernel, the others on the oldest and the newest.  What a kernel cannot
do has to be refused in words that say so.
"""
import ctypes
import mmap
import os
import random
import re
import socket
import struct
import subprocess
import sys
import unittest

import live
from live import ARCH, KERNEL, TRACING, Live, Run, call, fork, read, write

sys.path.insert(0, live.HERE)
import surftrace    # noqa: E402 (it lies in a directory that is not on the path)

setUpModule, tearDownModule = live.setUpModule, live.tearDownModule

KALLSYMS = read('/proc/kallsyms') if os.path.exists('/proc/kallsyms') else ''
HAS_VARIABLES = ' init_task\n' in KALLSYMS
ARGUMENTS_ON_RETURN = KERNEL >= (6, 12)     # from 6.9 on
MODULES_HAVE_TYPES = KERNEL >= (5, 11)


class Values(Live):

    def refused(self, message, *arguments):
        status, lines, said = call(*arguments)
        self.assertEqual((status, lines), (2, []), said)
        self.assertIn(message, said)

    def reading(self, path):
        """Return a workload that reads 77 bytes at 4321 in a file."""
        write(path, 'x' * 10000)

        def workload():
            descriptor = os.open(path, os.O_RDONLY)
            os.lseek(descriptor, 4321, os.SEEK_SET)
            os.read(descriptor, 77)
            os.close(descriptor)
        return workload

    def test_arguments_by_name(self):
        lines = self.trace('p vfs_read name=$file->f_path.dentry->d_name.name pos=U$file->f_pos '
                           'count=U$count f:name==by-name&&count==77',
                           workload=self.reading(self.path('by-name')))
        self.assertEqual([line[4] for line in lines], ['name="by-name" pos=4321 count=77'])
        self.refused("vfs_read has no argument 'files': did you mean 'file'?",
                     'p vfs_read a=$files->f_pos')

    def test_arguments_on_return(self):
        trace = ('r vfs_read r=S$retval count=U$count name=$file->f_path.dentry->d_name.name '
                 'f:name==returned&&r>0')
        if not ARGUMENTS_ON_RETURN:
            return self.refused('keeps no arguments, as they do from Linux 6.9 on', trace)
        lines = self.trace(trace, workload=self.reading(self.path('returned')))
        self.assertEqual([line[4] for line in lines], ['r=77 count=77 name="returned"'])

    def test_a_struct_in_registers(self):
        """A sockptr_t takes two, and what follows it moves on."""
        def workload():
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
            udp.close()
        lines = self.ours(self.trace(
            'p ip_setsockopt level=S$level name=S$optname in_kernel=$optval.is_kernel '
            'ttl=+u0(%%%s):u32 len=U$optlen' % ('cx' if ARCH == 'x86_64' else 'x3'),
            workload=workload))
        self.assertEqual([line[4] for line in lines], [
            'level=0 name=2 in_kernel=false ttl=77 len=4'])

    def test_an_argument_on_the_stack(self):
        """From Linux 6.12 on pgoff is the seventh; on x86_64 six lie in registers."""
        path = self.path('mapped')
        write(path, 'x' * 65536)

        def workload():
            descriptor = os.open(path, os.O_RDONLY)
            mmap.mmap(descriptor, 4096, prot=mmap.PROT_READ, offset=3 * 4096).close()
            os.close(descriptor)
        for base in '$pgoff', '%%%d' % (6 if KERNEL >= (6, 12) else 5):
            lines = self.trace('p do_mmap off=U%s len=U$len name=$file->f_path.dentry->d_name.name '
                               'f:name==mapped' % base, workload=workload)
            self.assertEqual([line[4] for line in lines], ['off=3 len=4096 name="mapped"'])

    def test_variables(self):
        values = ('a=!(struct task_struct *)@init_task->comm '
                  'b=!(struct task_struct)@init_task.comm '
                  'pid=S!(struct task_struct)@init_task.pid '
                  'line=!(const char *)@saved_command_line')
        trace = 'p wake_up_new_task %s new=%%0->comm f:new==variables' % values
        if not HAS_VARIABLES:
            return self.refused('no CONFIG_KALLSYMS_ALL', trace)
        lines = self.trace(trace, workload=lambda: fork('variables'))
        self.assertEqual([re.sub('swapper/0', 'swapper', line[4]) for line in lines], [
            'a="swapper" b="swapper" pid=0 line="%s" new="variables"'
            % read('/proc/cmdline').strip()])
        self.refused("each CPU has a 'runqueues' of its own", 'p vfs_read a=@runqueues')
        self.refused("no symbol 'init_tasks'", 'p vfs_read a=@init_tasks')

    def test_a_cast_in_the_middle(self):
        def workload():
            one, other = socket.socketpair()
            listening = socket.socket()
            listening.bind(('127.0.0.1', 0))
            listening.listen(1)
            client = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
            server.send(b'surf')
            os.read(client.fileno(), 4)
            port = client.getsockname()[1]
            for each in (one, other, listening, client, server):
                each.close()
            return port
        lines = self.ours(self.trace(
            'p vfs_read port=U$file->private_data!(struct socket *)->sk->__sk_common.skc_num '
            'state=$file->private_data!(struct socket *)->sk->__sk_common.skc_state'
            '!(enum TCP_ESTABLISHED) count=U$count f:count==4&&port>0', workload=workload))
        self.assertIn('port=%d state=TCP_ESTABLISHED count=4' % self.result,
                      [line[4] for line in lines])

    def test_an_array_that_is_cast_is_its_address(self):
        lines = self.ours(self.trace(
            'p wake_up_new_task new=%0->comm a=%0->comm!(struct list_head *)->next',
            workload=lambda: fork('decayed')))
        self.assertEqual([line[4] for line in lines], [
            'new="decayed" a=0x%x' % struct.unpack('<Q', b'decayed\0')])

    def test_enums(self):
        for written, seen in (('', ['SS_CONNECTED', 'SS_UNCONNECTED']),
                              (' f:state==SS_CONNECTED', ['SS_CONNECTED']),
                              (' f:state!=SS_CONNECTED', ['SS_UNCONNECTED'])):
            lines = self.ours(self.trace('p inet_release state=$sock->state' + written,
                                         workload=self.streams))
            self.assertEqual([line[4] for line in lines], ['state=' + name for name in seen])

    def streams(self):
        """Close a connected socket, then one that never was."""
        listening = socket.socket()
        listening.bind(('127.0.0.1', 0))
        listening.listen(1)
        client = socket.create_connection(listening.getsockname())
        client.close()
        listening.close()

    def test_names_in_the_filter_of_an_event(self):
        def workload():
            listening = socket.socket()
            listening.bind(('127.0.0.1', 0))
            listening.listen(1)
            client = socket.create_connection(listening.getsockname())
            port = listening.getsockname()[1]
            client.close()
            listening.close()
            return port
        lines = self.trace('e sock/inet_sock_set_state f:newstate==TCP_SYN_SENT',
                           workload=workload)
        self.assertEqual(len(lines), 1)
        self.assertIn('dport=%d ' % self.result, lines[0][4])
        self.assertIn('newstate=TCP_SYN_SENT', lines[0][4])

    def test_what_a_pointer_points_at(self):
        lines = self.trace('p vfs_read pos=U$pos[0] name=$file->f_path.dentry->d_name.name '
                           'f:name==pointed&&pos==4321',
                           workload=self.reading(self.path('pointed')))
        self.assertEqual([line[4] for line in lines], ['pos=4321 name="pointed"'])

    def test_addresses_and_errors_in_the_filter_of_an_event(self):
        def workload():
            for address in ('127.0.0.8', '127.0.0.9'):
                with self.assertRaises(socket.error):
                    socket.create_connection((address, 9))
        lines = self.trace('e sock/inet_sock_set_state '
                           'f:daddr==127.0.0.9&&newstate==TCP_SYN_SENT', workload=workload)
        self.assertEqual(['daddr=127.0.0.9 ' in line[4] for line in lines], [True])
        run = Run(['e syscalls/sys_exit_unlink%s f:ret==-ENOENT&&common_pid==%d' % (
            '' if ARCH == 'x86_64' else 'at', os.getpid())]).ready()
        self.unlinking()
        status, lines, said = run.end()
        self.assertEqual((status, [line.split(' -> ')[1] for line in lines]),
                         (0, ['0xfffffffffffffffe']), said)

    def unlinking(self):
        """Remove a file, then one that is not there, then a directory."""
        write(self.path('gone'), '')
        os.unlink(self.path('gone'))
        for path in (self.path('gone'), '/'):
            with self.assertRaises(OSError):
                os.unlink(path)

    def test_strings_of_programs_in_the_filter_of_an_event(self):
        trace = 'e syscalls/sys_enter_openat f:filename%s~"*/by-us?ring"'
        self.refused('write filename.ustring', trace % '')
        if KERNEL < (5, 17):
            return
        run = Run([trace % '.ustring']).ready()
        self.reading(self.path('by-ustring'))()
        status, lines, said = run.end()
        self.assertEqual((status, ['sys_openat(' in line for line in lines]), (0, [True] * 2), said)

    def test_errors(self):
        def workload():
            for path in ('/nonexistent', '/', '/proc/version/x'):
                os.path.exists(path)
        for written, seen in (('', ['-ENOENT', '0', '-ENOTDIR']),
                              (' f:r==-ENOTDIR', ['-ENOTDIR']), (' f:r<0&&r!=-20', ['-ENOENT'])):
            lines = self.ours(self.trace('r filename_lookup r=S$retval' + written,
                                         workload=workload))
            self.assertEqual([line[4] for line in lines], ['r=' + name for name in seen])

    def test_functions(self):
        lines = self.trace('p vfs_read name=$file->f_path.dentry->d_name.name '
                           'f=$file->f_op->read_iter x=X$file->f_op->read_iter '
                           'f:name==functions', workload=self.reading(self.path('functions')))
        [line] = lines
        function, address = re.search(r'f=(\S+)\+0x0/0x[0-9a-f]+ x=0x([0-9a-f]+)$',
                                      line[4]).groups()
        self.assertEqual(function, 'shmem_file_read_iter')      # /tmp is a tmpfs
        self.assertTrue(re.search('^0*%s t %s$' % (address, function), KALLSYMS, re.M))

    def test_addresses_of_hardware(self):
        address = '02:53:55:52:46:07'

        def workload():
            packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            packet.bind(('dummy0', 0))
            # To 06:..., tagged as VLAN 0x123, with nothing that anybody takes; then to 08:...
            for first in (b'\6', b'\x08'):
                packet.send(first + b'\1\2\3\4\5' + b'\2SURF\7' + struct.pack(
                    '!HHH', 0x8100, 0x123, 0x88b5) + b'\0' * 50)
            packet.close()
        subprocess.check_call(['insmod', '/lib/modules/dummy.ko'])
        try:
            subprocess.check_call(['ip', 'link', 'set', 'dummy0', 'address', address])
            subprocess.check_call(['ip', 'link', 'set', 'dummy0', 'up'])
            lines = self.ours(self.trace(
                'p dev_hard_start_xmit mac_to=@(struct ethhdr *)l2%0->h_dest '
                'mac_from=@(struct ethhdr *)l2%0->h_source bytes=@(struct ethhdr *)l2%0->h_dest '
                'mac_device=%1->dev_addr b16_tag=@(struct vlan_hdr *)l2%0->h_vlan_TCI '
                'f:mac_to==06:01:02:03:04:05', workload=workload))
        finally:
            subprocess.check_call(['rmmod', 'dummy'])
        self.assertEqual([line[4] for line in lines], [
            'mac_to=06:01:02:03:04:05 mac_from=%s bytes={0x6,0x1,0x2,0x3,0x4,0x5} mac_device=%s '
            'b16_tag=%d' % (address, address, 0x123)])
        self.refused('an array, on which the kernel cannot filter',
                     'p dev_hard_start_xmit a=@(struct ethhdr *)l2%0->h_dest f:a==1')

    def test_addresses_of_ipv6(self):
        subprocess.check_call(['ip', '-6', 'addr', 'add', 'fd00:5::7:1/128', 'dev', 'lo'])

        def workload():
            udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            udp.sendto(b'hello', ('fd00:5::7:1', 5354))
            udp.close()
        try:
            lines = self.trace(
                'p ipv6_rcv ip6_to=@(struct ipv6hdr *)l3%0->daddr '
                'next=@(struct ipv6hdr *)l3%0->nexthdr hops=@(struct ipv6hdr *)%0->hop_limit '
                'b16_length=@(struct ipv6hdr *)%0->payload_len f:next==17&&b16_length==13',
                workload=workload)
        finally:
            subprocess.check_call(['ip', '-6', 'addr', 'del', 'fd00:5::7:1/128', 'dev', 'lo'])
        self.assertEqual([line[4] for line in lines], [
            'ip6_to=fd00:5::7:1 next=17 hops=64 b16_length=13'])

    def test_a_string_that_only_faults(self):
        library = ctypes.CDLL(None)

        def bad():
            library.open(ctypes.c_void_p(8), 0)
        run = Run(['p do_sys_openat2 name=%1:string task=$comm f:common_pid=={0}'.format(
            os.getpid())]).ready()
        bad()
        status, lines, said = run.end()
        self.assertEqual((status, [live.parse(line)[4].split(' task')[0] for line in lines]),
                         (0, ['name=(fault)']), said)
        self.assertIn("'name' could never be read: ", said)
        self.trace('p do_sys_openat2 name=%1:string', workload=lambda: os.path.exists('/'))
        self.assertNotIn('could never be read', self.said)

    def test_a_character(self):
        lines = self.ours(self.trace('p wake_up_new_task a=%0->comm[1] b=U%0->comm[0]',
                                     workload=lambda: fork('kq')))
        self.assertEqual([line[4] for line in lines], [
            'a=%s b=107' % ("'q'" if KERNEL >= (6, 3) else '0x71')])


class Functions(Live):

    def traceable(self, pattern):
        return set(line.split()[0] for line in read(
            TRACING + '/available_filter_functions').splitlines()
            if re.match(pattern + r'\b', line) and not line.startswith('__probestub'))

    def test_a_pattern(self):
        forbidden = set(line.split()[-1] for line in read(
            '/sys/kernel/debug/kprobes/blacklist').splitlines())
        names = self.traceable('vfs_rea[a-z]*')
        self.assertGreater(len(names), 2)
        before = len(names)
        names -= forbidden
        run = Run(['p vfs_rea* count=$comm', 'p kernel_clone']).ready()
        probed = [line.split() for line in read(TRACING + '/kprobe_events').splitlines()]
        descriptor = os.open('/proc/self/comm', os.O_RDONLY)
        os.read(descriptor, 10)
        os.close(descriptor)
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertEqual(sorted(words[1] for words in probed), sorted(names) + ['kernel_clone']
                         if 'kernel_clone' > max(names) else sorted(list(names) + ['kernel_clone']))
        self.assertEqual(sorted(words[0] for words in probed), sorted(
            'p:surftrace/f%d' % number for number in range(len(names) + 1)))
        self.assertIn("surftrace: 'vfs_rea*' takes %d functions" % len(names), said)
        self.assertEqual('left out: %d' % (before - len(names)) in said, before > len(names))
        self.assertTrue([line for line in lines if '(vfs_read+0x' in line])

    def test_too_many(self):
        count = len(self.traceable('tcp_v[a-z0-9_]*'))
        status, lines, said = call('--max-probes', '2', 'p tcp_v*')
        self.assertEqual((status, lines), (2, []), said)
        self.assertRegex(said, r'\d+ functions match: choose fewer, or allow them with '
                               r'--max-probes \d+\n')
        self.assertNotIn('kprobe_events', said)
        self.assertGreater(count, 2)

    assertRegex = getattr(unittest.TestCase, 'assertRegex',
                          getattr(unittest.TestCase, 'assertRegexpMatches', None))

    def test_of_a_module(self):
        subprocess.check_call(['insmod', '/lib/modules/dummy.ko'])
        try:
            subprocess.check_call(['ip', 'link', 'set', 'dummy0', 'up'])
            packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            packet.bind(('dummy0', 0x88b5))
            value = 'U$skb->len' if MODULES_HAVE_TYPES else 'U!(struct sk_buff *)%0->len'
            for symbol in ('dummy:dummy_xmit', 'dummy:dummy_x*'):
                lines = self.trace('p %s len=%s f:len==60' % (symbol, value),
                                   workload=lambda: packet.send(b'\xff' * 60))
                self.assertEqual([line[4] for line in lines], ['len=60'])
            packet.close()
            status, _, said = call('p dummy:vfs_read')
            self.assertEqual(status, 2)
            self.assertIn("the module 'dummy' has no function 'vfs_read'", said)
        finally:
            subprocess.check_call(['rmmod', 'dummy'])

    def test_several_of_one_name(self):
        counts = {}
        for line in KALLSYMS.splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[1] in 'tT':
                counts[fields[2]] = counts.get(fields[2], 0) + 1
        name = sorted(name for name in self.traceable(r'\w+') if counts.get(name, 0) > 1)[0]
        status, _, said = call('-t', '1', 'p ' + name)
        self.assertIn("%d functions are called '%s': " % (counts[name], name), said)
        self.assertEqual((status, 'the symbol is not unique; kprobe_events was given' in said),
                         (1, True) if KERNEL >= (6, 1) else (0, False))     # 6.6, and stable
        status, _, said = call('p %s[%s]' % (name[:-1], name[-1]))
        self.assertEqual(status, 2)
        self.assertIn('1 cannot, or are several of one name', said)


class Drawn(Live):
    """Values that were drawn from the kernel's own types: it takes all that are compiled."""

    COUNT, AT_ONCE, SEED = int(os.environ.get('SURFTRACE_DRAWN', 1000)), 100, 7

    def setUp(self):
        Live.setUp(self)
        self.draw = random.Random(self.SEED)
        self.types = surftrace.Btf(surftrace.read_btf('/sys/kernel/btf/vmlinux'), 'vmlinux')
        self.tracefs = surftrace.Tracefs(TRACING)
        self.target = surftrace.running_target(
            self.tracefs, surftrace.ARCHITECTURES[ARCH], surftrace.Symbols(self.tracefs))

    def value(self, ref, path, depth):
        """Return an expression that goes on from path, of the type ref."""
        held = surftrace.stripped(self.types, ref)
        if held.kind == 'array' and held.length and self.draw.random() < 0.5:
            return self.value(held.target, path + '[%d]' % self.draw.randrange(held.length), depth)
        operator = '.'
        if held.kind == 'pointer':
            operator, held = '->', surftrace.stripped(self.types, held.target)
        if depth and held.kind in ('struct', 'union') and path[-1] != ']':
            members = list(surftrace.all_members(self.types, held))
            if members:
                member = self.draw.choice(members)
                return self.value(member.type, path + operator + member.name, depth - 1)
        return path

    def trace(self, number, names):
        """Return a drawn trace."""
        while True:
            name = self.draw.choice(names)
            functions = self.types.functions(name)
            if functions and functions[0].parameters:
                break
        values, kind = [], 'r' if self.draw.random() < 0.2 else 'p'
        for place in range(self.draw.randint(1, 3)):
            function = functions[0]
            if kind == 'r' and not self.draw.random() < 0.3:
                ref, base = function.result, '$retval'
            else:
                index = self.draw.randrange(len(function.parameters))
                parameter = function.parameters[index]
                ref = parameter.type
                base = '$' + parameter.name if parameter.name and self.draw.random() < 0.5 else (
                    '%%%d' % index)
            values.append('v%d=%s%s' % (place, self.draw.choice(['', '', 'S', 'U', 'X']),
                                        self.value(ref, base, 4)))
        return '%s %s %s' % (kind, name, ' '.join(values))

    def test_all_are_accepted(self):
        symbols = surftrace.Symbols(self.tracefs)
        known = set(self.types.names('function'))
        listed = [symbol.name for symbol in symbols.matching('*', None)[0]]
        names = sorted(name for name in listed if name in known)
        compiled, refused, drawn = [], {}, 0
        while len(compiled) < self.COUNT:
            text, drawn = self.trace(drawn, names), drawn + 1
            tree = surftrace.parse_trace(text)
            try:
                trace = surftrace.compile_trace(tree, 'd%d' % len(compiled), tree.symbol.text,
                                                self.types, self.target)
            except surftrace.TraceError as error:
                reason = re.sub(r"'.*?'|\d+", '_', str(error))[:60]
                refused[reason] = refused.get(reason, 0) + 1
                continue
            compiled.append((text, surftrace.probe_line(
                trace, surftrace.Settings()).replace(surftrace.RUN, 'drawn')))
        wrong = []
        for start in range(0, len(compiled), self.AT_ONCE):
            wrong += self.write(compiled[start:start + self.AT_ONCE])
        print('drawn: %d traces compiled, %d refused before, %d not taken by the kernel: %r' % (
            len(compiled), drawn - len(compiled), len(wrong), wrong[:5]))
        self.assertEqual(wrong, [])
        self.assertLess(sum(refused.values()), 3 * self.COUNT, refused)

    def write(self, traces):
        """Write the lines of traces, and remove them; return those that the kernel refuses."""
        wrong, done = [], []
        for text, line in traces:
            try:
                self.tracefs.write('kprobe_events', line, append=True)
                done.append('-:' + line.split()[0].partition(':')[2])
            except surftrace.KernelError as error:
                log = self.tracefs.read_if_there('error_log').splitlines()
                wrong.append((text, line, str(error), log[-3:]))
        self.tracefs.write('kprobe_events', '\n'.join(done), append=True)
        return wrong


if __name__ == '__main__':
    unittest.main()

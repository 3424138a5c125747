"""The tool at work on a real kernel, as root; tests/run runs this in a guest of tests/machine.py.

Each test makes its own workload, so that it knows what must be seen: the process ids it forked,
the names it gave them, the pings it sent, the place it read a file at.  Before and after each,
what the kernel holds of probes, instances and switches is compared.
"""
import glob
import os
import pty
import random
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# As a module it is compiled once: under emulation that saves a second of every run.  What the
# README tells (Documented) is run as a script, which people do.
TOOL = [sys.executable, '-m', 'surftrace']
SCRIPT = [sys.executable, os.path.join(HERE, 'surftrace.py')]
TRACING = '/sys/kernel/tracing'
ARCH = os.uname()[4]
KERNEL = tuple(int(part) for part in os.uname()[2].split('.')[:2])
# Registers that hold the first and second argument.
FIRST, SECOND = ('di', 'si') if ARCH == 'x86_64' else ('x0', 'x1')
FROM_BTF = 'surftrace: types from /sys/kernel/btf/vmlinux (BTF)\n'
LIMIT = 60      # seconds for anything that a test waits for


def read(path):
    with open(path) as stream:
        return stream.read()


def write(path, text):
    with open(path, 'w') as stream:
        stream.write(text)


def kernel_state():
    """Return what a run must leave as it was (set_event lists every event that is enabled)."""
    state = dict((path, read(path)) for name in (
        'kprobe_events', 'uprobe_events', 'tracing_on', 'current_tracer', 'set_event',
        'options/stacktrace', 'set_event_pid')
        for path in [os.path.join(TRACING, name)] + glob.glob(
            os.path.join(TRACING, 'instances', '*', name)))
    state['instances'] = os.listdir(TRACING + '/instances')
    state['mounts'] = read('/proc/mounts')
    return state


def state_of_each_event():
    """Return the text of every enable and filter, which takes a second to read."""
    return dict((path, read(path)) for name in ('enable', 'filter')
                for depth in ('*', '*/*') for path in glob.glob(
                    os.path.join(TRACING, 'events', depth, name)))


def setUpModule():
    global EACH_EVENT       # unittest has no other place for it
    EACH_EVENT = state_of_each_event()


def tearDownModule():
    after = state_of_each_event()
    changed = [path for path in set(EACH_EVENT) | set(after)
               if EACH_EVENT.get(path) != after.get(path)]
    if changed:
        raise AssertionError('changed: %r' % changed)


def parse(line):
    """Return (command, pid, event, place, values as text) of a trace line."""
    match = re.match(r' *(.*?)-(\d+) +\[\d+\] \S+ +\d+\.\d+: (\w+): (?:\((.*?)\) ?)?(.*)$', line)
    if not match:
        raise AssertionError('not a trace line: %r' % line)
    command, pid, event, place, values = match.groups()
    return command, int(pid), event, place, values


class Run(object):
    """A run of the tool, or of a script that it wrote."""

    under_way = set()       # which a test that fails leaves

    def __init__(self, arguments, command=TOOL, stdout=subprocess.PIPE, **options):
        self.under_way.add(self)
        self.process = subprocess.Popen(
            command + list(arguments), stdout=stdout, stderr=subprocess.PIPE, **options)
        self.data = dict((stream, b'') for stream in (self.process.stdout, self.process.stderr)
                         if stream)

    def _pump(self, seconds):
        """Read what there is; return False at the end of both streams."""
        ready, _, _ = select.select(list(self.open), [], [], seconds)
        for stream in ready:
            part = os.read(stream.fileno(), 65536)
            self.data[stream] += part
            if not part:
                self.open.discard(stream)

    def wait_for(self, word, stream='stderr'):
        """Read until word has come."""
        self.open = set(self.data)
        stream, end = getattr(self.process, stream), time.time() + LIMIT
        while word.encode() not in self.data[stream]:
            if time.time() > end or not self.open:
                raise AssertionError('%r did not come: %r' % (word, self.data))
            self._pump(1)
        return self

    def ready(self):
        """Wait until tracing is on."""
        self.wait_for('/tracing_on\n')
        time.sleep(0.2)
        return self

    def end(self, number=signal.SIGINT):
        """Send a signal, and return the exit status, the lines of stdout, and stderr."""
        self.under_way.discard(self)
        if number:
            self.process.send_signal(number)
        self.open, end = set(self.data), time.time() + LIMIT
        while self.open:
            if time.time() > end:
                self.process.kill()
                raise AssertionError('it does not end: %r' % self.data)
            self._pump(1)
        for stream in self.data:
            stream.close()
        lines = self.data.get(self.process.stdout, b'').decode('utf-8', 'replace').splitlines()
        return self.process.wait(), lines, self.data[self.process.stderr].decode()


def probed(line):
    """Write a line to kprobe_events, as a shell would; tell whether the kernel takes it."""
    descriptor = os.open(TRACING + '/kprobe_events', os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line.encode() + b'\n')
        return True
    except EnvironmentError:
        return False
    finally:
        os.close(descriptor)


def inside(function):
    """Return an offset in function at which the argument registers still hold the arguments.

    That is behind what the compiler puts first: on x86_64 the five bytes of the call to
    __fentry__, where the kernel has IBT perhaps behind the four of an endbr64; on aarch64 three
    instructions.
    """
    for offset in (5, 9) if ARCH == 'x86_64' else (12,):
        if probed('p:kprobes/inside %s+%d' % (function, offset)):
            probed('-:kprobes/inside')
            return offset
    raise AssertionError('no place in %s' % function)


def call(*arguments, **options):
    """Run the tool to its end and return its status, the lines of stdout, and stderr."""
    return Run(arguments, **options).end(None)


def set_comm(name):
    write('/proc/self/comm', name)


def fork(name=None):
    """Fork a child that ends at once, called name when it is woken; return its process id."""
    own = read('/proc/self/comm').strip()
    if name:
        set_comm(name)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    set_comm(own)
    os.waitpid(pid, 0)
    return pid


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def ping(address, payload, identifier, sequence):
    """Send an ICMP echo request; return its checksum as it stands in the packet."""
    head = struct.pack('!BBHHH', 8, 0, 0, identifier, sequence)
    total = checksum(head + payload)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.sendto(struct.pack('!BBHHH', 8, 0, total, identifier, sequence) + payload, (address, 0))
    raw.close()
    return total


class Live(unittest.TestCase):

    def setUp(self):
        self.before = kernel_state()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def tearDown(self):
        for run in [run for run in Run.under_way if run.process.poll() is None]:
            run.process.send_signal(signal.SIGINT)
            run.process.wait()
        Run.under_way.clear()
        after = kernel_state()
        changed = [name for name in set(self.before) | set(after)
                   if self.before.get(name) != after.get(name)]
        self.assertEqual(changed, [], 'left behind: %r' % [after.get(name) for name in changed])

    def path(self, name):
        return os.path.join(self.directory, name)

    def trace(self, *arguments, **options):
        """Run traces while workload() runs; return the parsed lines."""
        workload = options.pop('workload')
        run = Run(arguments, **options).ready()
        self.result = workload()
        status, lines, self.said = run.end()
        self.assertEqual(status, 0, self.said)
        self.assertIn('surftrace: %d event' % len(lines), self.said)
        return [parse(line) for line in lines]

    def ours(self, lines):
        return [line for line in lines if line[1] == os.getpid()]


class Manual(Live):
    """The manual's examples, by its sections, with today's names of functions."""

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
        self.assertEqual([line[4] for line in lines], [
            'comm="first one" pid=%d' % first, 'comm="k=v "x"" pid=%d' % second])

    def test_3_3_chains_and_formats(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (321, limit[1]))
        hold = threading.Event()
        threads = [threading.Thread(target=hold.wait) for _ in range(2)]
        try:
            for thread in threads:
                thread.start()
            lines = self.trace(
                'p wake_up_new_task users=S%0->mm->mm_users parent=U%0->real_parent->tgid '
                'files=U%0->signal->rlim[7].rlim_cur hex=%0->signal->rlim[7].rlim_cur '
                'number=S%0->thread_pid->numbers[0].nr node=%0->se.run_node.rb_left '
                'bytes=X%0->comm letter=%0->comm[1]',
                workload=lambda: fork('abc'))
        finally:
            hold.set()
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        [line] = self.ours(lines)
        self.assertTrue(line[4].startswith(
            'users=1 parent=%d files=321 hex=0x141 number=%d node=0x' % (os.getpid(),
                                                                         self.result)), line)
        # Behind the zero an older name may still stand.
        self.assertTrue(re.search(
            r' bytes=\{0x61,0x62,0x63,0x0(,0x[0-9a-f]+){12}\} letter=%s$' % (
                "'b'" if KERNEL >= (6, 3) else '0x62'), line[4]), line)

    def test_3_3_a_counter_of_threads(self):
        hold = threading.Event()

        def workload():
            for _ in range(2):
                threading.Thread(target=hold.wait).start()
        try:
            lines = self.ours(self.trace('p wake_up_new_task users=S%0->mm->mm_users',
                                         workload=workload))
        finally:
            hold.set()
        self.assertEqual([line[4] for line in lines], ['users=2', 'users=3'])

    def test_3_4_filters(self):
        for written, seen in [
                ('comm==target', ['target']), ('comm=="two words"', ['two words']),
                ('comm!=target && users<4 && common_pid==%d' % os.getpid(), ['two words', 'other']),
                ('comm ~ "t*" && (users>=1||users==7)', ['target', 'two words']),
                ('users&2', [])]:
            lines = self.trace('p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:'
                               + written, workload=lambda: [
                                   fork(name) for name in ('target', 'two words', 'other')])
            self.assertEqual([line[4] for line in lines],
                             ['comm="%s" users=1' % name for name in seen], written)

    def test_3_5_inside_a_function(self):
        path = self.path('inside')
        write(path, '')
        offset = inside('do_sys_openat2')
        lines = self.ours(self.trace(
            'p do_sys_openat2+%d dfd=%%%s:s32 name=%%%s:string' % (offset, FIRST, SECOND),
            workload=lambda: os.close(os.open(path, os.O_RDONLY))))
        self.assertIn('dfd=-100 name="%s"' % path, [line[4] for line in lines])    # AT_FDCWD
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

        def workload():
            os.close(os.open(path, os.O_RDWR | os.O_APPEND))
        lines = self.trace('r %s pos=$retval->f_pos size=U$retval->f_inode->i_size '
                           'name=$retval->f_path.dentry->d_name.name f:name==returned' % opener,
                           workload=workload)
        self.assertEqual([line[4] for line in lines], ['pos=0x0 size=50 name="returned"'])

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
        self.assertEqual([line[4] for line in lines], [
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
        self.assertEqual([line[4] for line in lines], ['proto=1 ip_dst=127.0.0.9'])
        if not plain:
            self.assertIn('may have moved or dropped arguments', self.said)

    def test_3_7_ports(self):
        def workload():
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.sendto(b'hello', ('127.0.0.1', 5353))
            udp.close()
        lines = self.trace('p ip_rcv b16_port=@(struct udphdr *)l3%0->dest '
                           'text=@(struct udphdr *)l3%0->Sdata '
                           'proto=@(struct iphdr *)%0->protocol f:proto==17&&b16_port==5353',
                           workload=workload)
        self.assertEqual([line[4].split('hello')[0] for line in lines],
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

        def workload():
            children = []
            for _ in range(3):      # more than there are processors
                pid = os.fork()
                if pid == 0:
                    end = time.time() + 0.5
                    while time.time() < end:
                        pass
                    os._exit(0)
                children.append(pid)
            for pid in children:
                os.waitpid(pid, 0)
            return children
        try:
            lines = self.trace('e sched/sched_stat_wait f:delay>1000000', workload=workload)
        finally:
            write('/proc/sys/kernel/sched_schedstats', '0')
        waited = set()
        for line in lines:
            match = re.match(r'comm=.* pid=(\d+) delay=(\d+) \[ns\]', line[4])
            self.assertGreater(int(match.group(2)), 1000000)
            waited.add(int(match.group(1)))
        self.assertTrue(waited & set(self.result), lines)


class Values(Live):

    def test_place_in_a_file(self):
        path = self.path('surf.data')
        write(path, 'x' * 10000)
        descriptor = os.open(path, os.O_RDONLY)

        def workload():
            os.lseek(descriptor, 4321, os.SEEK_SET)
            os.read(descriptor, 77)
            os.read(descriptor, 5)
        lines = self.trace('p vfs_read name=%0->f_path.dentry->d_name.name pos=U%0->f_pos '
                           'count=U%2 f:name==surf.data', workload=workload)
        os.close(descriptor)
        self.assertEqual([line[4] for line in lines], [
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
        self.assertEqual([line[4] for line in lines], ['comm="cast" pid=%d' % self.result])

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

    def test_module(self):
        subprocess.check_call(['insmod', '/lib/modules/dummy.ko'])
        # Before 5.11 modules have no BTF of their own.
        skb, device = ('!(struct sk_buff *)', '!(struct net_device *)') if KERNEL < (5, 11) else (
            '', '')
        try:
            subprocess.check_call(['ip', 'addr', 'add', '10.1.1.1/24', 'dev', 'dummy0'])
            subprocess.check_call(['ip', 'link', 'set', 'dummy0', 'up'])
            packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            packet.bind(('dummy0', 0x88b5))
            lines = self.trace('p dummy_xmit name=%s%%1->name len=U%s%%0->len f:len==60'
                               % (device, skb),
                               workload=lambda: packet.send(b'\xff' * 60))
            packet.close()
        finally:
            subprocess.check_call(['rmmod', 'dummy'])
        self.assertEqual([line[4] for line in lines], ['name="dummy0" len=60'])


class Readers(Live):
    """-S, the live run and the script of -o, of the same traces."""

    TRACES = ['p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==script',
              'r kernel_clone r=$retval', 'e sched/sched_process_fork f:parent_comm==script']

    def setup_lines(self, text):
        lines = [line for line in text.splitlines() if re.match('(mkdir|echo|printf) ', line)]
        return lines[:lines.index([line for line in lines if 'tracing_on' in line][0]) + 1]

    def test_agree(self):
        script = self.path('trace.sh')
        status, shown, said = call('-S', '-o', script, *self.TRACES)
        self.assertEqual((status, said), (0, FROM_BTF))
        run = Run(self.TRACES).ready()
        child = fork('script')
        status, lines, said = run.end()
        self.assertEqual(self.setup_lines(said), shown)
        live = self.signature(lines, child)
        for shell in (['busybox', 'sh'], [script]):
            for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
                run = Run([], shell + ([script] if len(shell) > 1 else []))
                self.wait_for_events(run)
                child = fork('script')
                time.sleep(0.5)
                found, lines, said = run.end(number)
                self.assertEqual((found, said), (status, ''))
                self.assertEqual(self.signature(lines, child), live)

    def wait_for_events(self, run, name='surftrace'):
        """Wait until a script, whose run has that name, has switched its last event on."""
        path = TRACING + '/instances/%s/events/sched/sched_process_fork/enable' % name
        end = time.time() + LIMIT
        while time.time() < end:
            if os.path.exists(path) and read(path).startswith('1'):
                time.sleep(0.5)
                return
            time.sleep(0.05)
        raise AssertionError('the script did not set up: %r' % (run.end(),))

    def signature(self, lines, child):
        """Return what the lines of our own process say, less what differs from run to run."""
        return [(line[2], line[3], re.sub(r'=(0x)?[0-9a-f]+$', '=N', line[4].replace(
            str(child), 'CHILD'))) for line in self.ours([parse(line) for line in lines])]

    def test_script_that_is_refused_says_so(self):
        script = self.path('trace.sh')
        call('-S', '-o', script, self.TRACES[0], 'e sched/sched_process_exit f:prio>9')
        text = read(script)
        write(script, text.replace('prio>9', 'prio>%s' % ('9' * 30)))
        self.assertNotEqual(read(script), text)
        status, lines, said = call(command=[script])
        self.assertEqual((status, lines), (1, []))
        self.assertIn('surftrace: the kernel refused: e sched/sched_process_exit', said)

    def test_script_that_is_ended_in_its_set_up(self):
        """At no moment is anything left behind (see tearDown)."""
        script, draw = self.path('trace.sh'), random.Random(Killed.SEED)
        call('-S', '-o', script, *self.TRACES)
        for _ in range(max(Killed.KILLS // 5, 5)):
            run = Run([], [script])
            time.sleep(draw.uniform(0, 0.3))
            number, status = draw.choice(((signal.SIGINT, 0), (signal.SIGTERM, 143)))
            # (The shell itself may not be there yet.)
            self.assertIn(run.end(number)[0], (status, -number))
            self.tearDown()

    def test_script_and_run_do_not_take_from_each_other(self):
        script = self.path('trace.sh')
        call('-S', '-o', script, 'p kernel_clone', 'e sched/sched_process_fork')
        first = Run([], [script])
        self.wait_for_events(first)
        second = Run(['p kernel_clone']).ready()
        fork()
        time.sleep(0.5)
        for run, names in ((second, ['f0']), (first, ['f0', 'sched_process_fork'])):
            status, lines, said = run.end()
            self.assertEqual(status, 0, said)
            self.assertEqual(sorted(set(parse(line)[2] for line in lines)), names)
        self.assertIn('p:surftrace1/f0', second.data[second.process.stderr].decode())

    def test_script_leaves_another_run_alone(self):
        script = self.path('trace.sh')
        call('-S', '-o', script, 'e sched/sched_process_fork')
        first = Run(['p kernel_clone']).ready()
        second = Run([], [script])
        self.wait_for_events(second, 'surftrace1')
        fork()
        time.sleep(0.5)
        for run, name in ((second, 'sched_process_fork'), (first, 'f0')):
            status, lines, said = run.end()
            self.assertEqual(status, 0, said)
            self.assertEqual(set(parse(line)[2] for line in lines), set([name]))

    def test_show_touches_nothing_and_needs_no_root(self):
        def become_nobody():
            os.setuid(65534)
        status, shown, said = call('-S', self.TRACES[0], preexec_fn=become_nobody)
        self.assertEqual(status, 0, said)
        self.assertIn('wake_up_new_task comm=+0x', '\n'.join(shown))
        status, _, said = call(self.TRACES[0], preexec_fn=become_nobody)
        self.assertEqual(status, 1)
        self.assertIn('run as root', said)


# What is true of these on one machine is true on another: tests/run has their lines made by -S.
CROSS = ['p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==nobody',
         'p vfs_read name=%0->f_path.dentry->d_name.name pos=U%0->f_pos count=U%2 f:name==nothing',
         'p ip_rcv proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr '
         'b16_port=@(struct udphdr *)l3%0->dest kind=%0->pkt_type f:b16_port==1',
         'r kernel_clone pid=S$retval f:pid==1', 'e sched/sched_process_fork f:parent_pid==1']


class Sources(Live):
    """Types from elsewhere than the kernel's own BTF."""

    DATABASE = os.path.join(HERE, 'info.db')        # of this kernel, made on another machine
    TRACES = ['p wake_up_new_task comm=%0->comm pid=S%0->pid users=S%0->mm->mm_users '
              'f:comm==source',
              'p vfs_read name=%0->f_path.dentry->d_name.name pos=U%0->f_pos f:name==nothing']

    def sees(self, source, *options, **more):
        arguments = list(options) + self.TRACES
        lines = self.trace(*arguments, workload=lambda: fork('source'), **more)
        self.assertEqual([line[4] for line in lines],
                         ['comm="source" pid=%d users=1' % self.result])
        self.assertIn('surftrace: types from ' + source, self.said)
        return [line for line in self.said.splitlines() if line.startswith('echo')]

    def hide_btf(self):
        subprocess.check_call(['mount', '-t', 'tmpfs', 'tmpfs', '/sys/kernel/btf'])
        self.addCleanup(subprocess.check_call, ['umount', '/sys/kernel/btf'])
        self.before['mounts'] = read('/proc/mounts')

    def test_database(self):
        self.assertEqual(self.sees('%s (database)' % self.DATABASE, '-d', self.DATABASE),
                         self.sees('/sys/kernel/btf/vmlinux (BTF)'))

    def test_server(self):
        from loopback import LoopbackServer
        with LoopbackServer(self.DATABASE) as server:
            address = '127.0.0.1:%d' % server.port
            lines = self.sees('%s (server)' % address, '-r', address)
        self.assertEqual(lines, self.sees(''))
        self.assertGreater(server.requests, 3)

    def test_without_btf(self):
        self.hide_btf()
        status, _, said = call(*self.TRACES)
        self.assertEqual(status, 1)
        for words in ('tells the types of kernel ' + os.uname()[2], '-v FILE', '-d FILE',
                      '-r HOST', '--make-db info-%s.db' % os.uname()[2]):
            self.assertIn(words, said)
        shutil.copy(self.DATABASE, self.path('info-%s.db' % os.uname()[2]))
        self.sees('./info-%s.db (database)' % os.uname()[2], cwd=self.directory)

    def test_the_lines_that_another_machine_makes(self):
        run = Run(CROSS).ready()
        status, _, said = run.end()
        self.assertEqual(status, 0, said)
        set_up = [line for line in said.splitlines() if re.match('(mkdir|echo) ', line)]
        end = set_up.index('echo 1 > %s/instances/surftrace/tracing_on' % TRACING) + 1
        self.assertEqual(set_up[:end], read(os.path.join(HERE, 'cross-lines')).splitlines())

    def test_information(self):
        status, lines, _ = call('--info', 'wake_up_new_task')
        self.assertEqual((status, lines), (0, [
            'void wake_up_new_task(struct task_struct *)',
            '  %%0   %-16s %-10s struct task_struct *p' % ('$p', FIRST)]))
        status, lines, _ = call('--info', 'wake_up_new_ta*')
        self.assertEqual((status, lines), (0, ['void wake_up_new_task(struct task_struct *)']))
        status, lines, _ = call('--info', 'struct list_head')
        self.assertEqual([line.split()[-1] for line in lines[1:-1]], ['->next', '->prev'])


class Limits(Live):
    """What a person sets: how long, whom, how much."""

    def ended(self, run):
        """Return the parsed lines of events of a run that ends by itself, and what it said."""
        status, lines, said = run.end(None)
        self.assertEqual(status, 0, said)
        self.stacks = len([line for line in lines if line.endswith(': <stack trace>')])
        return [parse(line) for line in lines if re.search(r': f\d: ', line)], said

    def test_count(self):
        run = Run(['-c', '3', 'p wake_up_new_task pid=S%%0->pid f:common_pid==%d'
                   % os.getpid()]).ready()
        children = [fork() for _ in range(7)]
        lines, said = self.ended(run)
        self.assertEqual([line[4] for line in lines], ['pid=%d' % pid for pid in children[:3]])
        self.assertIn('surftrace: 3 events\n', said)

    def test_count_with_stacks(self):
        run = Run(['-s', '-c', '2', 'p wake_up_new_task f:common_pid==%d' % os.getpid()]).ready()
        for _ in range(5):
            fork()
        lines, said = self.ended(run)
        self.assertEqual((len(lines), self.stacks), (2, 2))
        self.assertIn('surftrace: 2 events\n', said)

    def test_waiting_takes_no_time(self):
        run = Run(['-t', '60', '-c', '2', 'p wake_up_new_task pid=S%%0->pid f:common_pid==%d'
                   % os.getpid()]).ready()
        before = self.ticks(run)
        time.sleep(3)
        self.assertEqual(self.ticks(run), before)
        for _ in range(2):      # and yet each line is there at once
            began = time.time()
            run.wait_for('pid=%d\n' % fork(), 'stdout')
            self.assertLess(time.time() - began, 1)
        self.assertEqual(run.end(None)[0], 0)

    def ticks(self, run):
        """Return the time that a run's process has taken so far, in ticks of a hundredth second."""
        fields = read('/proc/%d/stat' % run.process.pid).rpartition(')')[2].split()
        return int(fields[11]) + int(fields[12])

    def test_time(self):
        began = time.time()
        run = Run(['-t', '1.5', 'p wake_up_new_task pid=S%0->pid']).ready()
        child = fork()
        lines, _ = self.ended(run)
        self.assertIn('pid=%d' % child, [line[4] for line in lines])
        self.assertGreater(time.time() - began, 1.5)

    def test_process(self):
        """Its threads of before, and the processes that it starts; nobody else."""
        code = ('import os, sys, threading\n'
                'def work():\n    event.wait()\n    os.stat("/from-a-thread")\n'
                'event = threading.Event()\nthread = threading.Thread(target=work)\n'
                'thread.start()\nsys.stdout.write("x")\nsys.stdout.flush()\nsys.stdin.read(1)\n'
                'event.set()\nthread.join()\npid = os.fork()\n'
                'os.stat("/from-the-child") if not pid else os.waitpid(pid, 0)\n').replace(
                    'os.stat(', 'os.path.exists(')
        process = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        process.stdout.read(1)
        run = Run(['-p', str(process.pid), 'p do_sys_openat2 x=%1', 'p filename_lookup '
                   'name=%1->name f:name~"/from-*"']).ready()
        os.path.exists('/from-here')
        process.stdin.write(b'x')
        process.communicate()
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        names = [parse(line)[4] for line in lines if ': f1: ' in line]
        self.assertEqual(names, ['name="/from-a-thread"', 'name="/from-the-child"'])

    def test_command_name(self):
        lines = self.trace('--comm', 'limited', 'p wake_up_new_task pid=S%0->pid f:pid>1',
                           'e sched/sched_process_fork', workload=lambda: [
                               fork(), fork('limited'), fork('other')])
        self.assertEqual([(line[0], line[2]) for line in lines],
                         [('limited', 'sched_process_fork'), ('limited', 'f0')])

    def test_buffer_and_maxactive(self):
        run = Run(['-b', '64', '--maxactive', '7', 'r kernel_clone', 'p kernel_clone']).ready()
        # The kernel rounds it up to whole pages.
        self.assertIn(int(read(TRACING + '/instances/surftrace/buffer_size_kb')), range(64, 80))
        lines = read(TRACING + '/kprobe_events').splitlines()
        self.assertEqual([line.split()[0] for line in lines], ['r7:surftrace/f0', 'p:surftrace/f1'])
        self.assertEqual(run.end()[0], 0)

    def overrun(self, calls, *options):
        """Make calls while a run is stopped, more than its buffer holds; return lines and words."""
        run = Run(list(options) + ['-b', '16', 'e syscalls/sys_enter_getppid f:common_pid==%d'
                                   % os.getpid()]).ready()
        run.process.send_signal(signal.SIGSTOP)
        for _ in range(calls):
            os.getppid()
        run.process.send_signal(signal.SIGCONT)
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        return lines, said

    def test_lost_events_are_counted(self):
        calls = 20000
        lines, said = self.overrun(calls)
        match = re.search(r'surftrace: (\d+) events, and (\d+) lost: ', said)
        self.assertTrue(match, said)
        shown = len([line for line in lines if 'sys_getppid' in line])
        self.assertEqual((int(match.group(1)), shown + int(match.group(2))), (shown, calls))
        self.assertGreater(int(match.group(2)), calls // 2)

    def test_lost_stacks_are_counted_too(self):
        """Each stack is an event to the ring buffer."""
        calls = 5000
        lines, said = self.overrun(calls, '-s')
        seen, lost = map(int, re.search(
            r'surftrace: (\d+) events, and (\d+) lost, stacks among them: ', said).groups())
        shown = len([line for line in lines if 'sys_getppid(' in line])
        stacks = len([line for line in lines if line.endswith(': <stack trace>')])
        self.assertEqual((seen, shown + stacks + lost), (shown, 2 * calls))

    def test_a_reader_that_sleeps(self):
        """It holds up nothing in the kernel, and gets what was not lost."""
        calls, path = 30000, self.path('late')
        with open(path, 'w') as late:
            reader = subprocess.Popen(
                ['sh', '-c', 'until [ -e %s ]; do sleep 1; done; cat' % self.path('awake')],
                stdin=subprocess.PIPE, stdout=late)
        run = Run(['-b', '64', 'e syscalls/sys_enter_getppid f:common_pid==%d' % os.getpid()],
                  stdout=reader.stdin)
        reader.stdin.close()
        run.ready()
        for _ in range(calls):
            os.getppid()
        self.assertIsNone(reader.poll())
        write(self.path('awake'), '')
        end = time.time() + LIMIT
        while not os.path.getsize(path) and time.time() < end:
            time.sleep(0.1)
        status, _, said = run.end()
        reader.wait()
        self.assertEqual(status, 0, said)
        lost = int(re.search(r'and (\d+) lost: ', said).group(1))
        shown = len([line for line in read(path).splitlines() if 'sys_getppid(' in line])
        self.assertEqual(shown + lost, calls)

    def test_a_pipe_that_is_full_at_the_end(self):
        """What is still in the ring buffer is written all the same."""
        calls = 5000
        run = Run(['e syscalls/sys_enter_getppid f:common_pid==%d' % os.getpid()]).ready()
        for _ in range(calls):
            os.getppid()
        time.sleep(0.5)
        status, lines, said = run.end()
        self.assertEqual((status, len(lines)), (0, calls), said)
        self.assertIn('surftrace: %d events\n' % calls, said)

    def test_a_reader_that_takes_nothing_more(self):
        """It holds up neither the end nor the safety stop, and what it did not get is counted."""
        calls = 5000
        for options, number in ((['--max-rate', '100'], None), ([], signal.SIGINT)):
            run = Run(options + ['e syscalls/sys_enter_getppid f:common_pid==%d' % os.getpid()])
            run.ready()
            end = time.time() + (6 if options else 0)
            count = 0
            while count < calls or time.time() < end and run.process.poll() is None:
                os.getppid()
                count += 1
                time.sleep(0.0005 if options and count > 1000 else 0)
            if number:
                run.process.send_signal(number)
            said = run.process.stderr.read().decode()       # to its end; nobody reads stdout
            data = run.data[run.process.stdout] + run.process.stdout.read()
            run.process.stderr.close()
            run.process.stdout.close()
            self.assertEqual(run.process.wait(), 1)
            if options:
                self.assertIn('stopped: more than 100 events a second', said)
            else:
                seen, left = map(int, re.search(r'surftrace: (\d+) events, and (\d+) not read, as '
                                                'stdout took nothing', said).groups())
                unwritten = int(re.search(r'(\d+) bytes of events were not written', said).group(1))
                self.assertEqual(seen + left, calls)
                # All lines are of one size; of the last that came there may be a part.
                lost, size = 0, data.find(b'\n') + 1
                while lost * size < unwritten:
                    lost += 1
                self.assertEqual(data.count(b'\n'), seen - lost)

    def test_a_full_disk(self):
        subprocess.check_call(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', self.directory])
        try:
            with open(self.path('events'), 'w') as full:
                run = Run(['e syscalls/sys_enter_getppid'], stdout=full).ready()
            for _ in range(2000):
                os.getppid()
            status, _, said = run.end(None)
            size = os.path.getsize(self.path('events'))
        finally:
            subprocess.check_call(['umount', self.directory])
        self.assertEqual(status, 1)
        self.assertIn('surftrace: stdout: no space left on device\n', said)
        self.assertEqual(size, 65536)

    def test_missed_returns_are_counted(self):
        sleepers = 5
        run = Run(['--maxactive', '1', 'r do_nanosleep r=$retval f:common_pid!=0']).ready()
        children = [subprocess.Popen(['busybox', 'sleep', '1']) for _ in range(sleepers)]
        for child in children:
            child.wait()
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        match = re.search(r'surftrace: (\d+) events?, and (\d+) returns? missed: .*--maxactive',
                          said)
        self.assertTrue(match, said)
        seen = len([line for line in lines if int(parse(line)[1]) in [
            child.pid for child in children]])
        self.assertLess(seen, sleepers)
        self.assertGreaterEqual(int(match.group(2)), sleepers - seen)

    def test_too_many_events(self):
        run = Run(['--max-rate', '200', 'e raw_syscalls/sys_enter f:common_pid==%d' % os.getpid()])
        run.ready()
        end = time.time() + LIMIT
        while run.process.poll() is None and time.time() < end:
            for _ in range(100):
                os.getppid()
            run.open = set(run.data)
            run._pump(0)
        status, _, said = run.end(None)
        self.assertEqual(status, 1)
        self.assertIn('stopped: more than 200 events a second', said)
        self.assertIn('rmdir', said)


class Endings(Live):

    def test_signals(self):
        for number, expected in ((signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129),
                                 (signal.SIGQUIT, 131)):
            run = Run(['p kernel_clone']).ready()
            fork()
            status, lines, said = run.end(number)
            self.assertEqual(status, expected)
            self.assertTrue(lines)

    def test_interrupt_that_a_shell_ignores(self):
        def ignore():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run = Run(['p kernel_clone'], preexec_fn=ignore).ready()
        run.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        self.assertIsNone(run.process.poll())
        self.assertEqual(run.end(signal.SIGINT)[0], 0)

    def test_two_interrupts(self):
        run = Run(['p kernel_clone', 'r kernel_clone']).ready()
        run.process.send_signal(signal.SIGINT)
        run.process.send_signal(signal.SIGINT)
        self.assertEqual(run.end(signal.SIGINT)[0], 0)

    def test_closed_stdout(self):
        run = Run(['p kernel_clone']).ready()
        fork()
        run.wait_for('kernel_clone', 'stdout')
        run.process.stdout.close()
        run.data.pop(run.process.stdout)
        run.process.stdout = None
        self.assertEqual(run.process.wait(), 0)     # without another event

    def test_a_terminal_is_not_steered(self):
        """What a process calls itself reaches a pipe as it is, but no terminal."""
        name = '\033[31m\007\xe9'[:7]
        master, slave = pty.openpty()
        piped = Run(['p wake_up_new_task comm=%0->comm f:common_pid!=0']).ready()
        shown = Run(['p wake_up_new_task comm=%0->comm f:common_pid!=0'], stdout=slave).ready()
        fork(name)
        time.sleep(0.5)
        self.assertEqual(shown.end()[0], 0)
        seen = os.read(master, 1 << 16)
        os.close(master)
        os.close(slave)
        _, lines, _ = piped.end()
        self.assertIn('comm="\033[31m\007', '\n'.join(lines))
        self.assertIn(b'comm="?[31m?', seen)
        self.assertNotIn(b'\033', seen)

    def test_killed_run_is_cleaned_by_the_next(self):
        run = Run(['p kernel_clone', 'r kernel_clone']).ready()
        run.end(signal.SIGKILL)
        self.assertIn('surftrace/f0', read(TRACING + '/kprobe_events'))
        run = Run(['e sched/sched_process_fork']).ready()
        status, _, said = run.end()
        self.assertEqual(status, 0)
        self.assertIn('removed what a run that was killed had left: an instance and 2 probes '
                      'of surftrace',
                      said)

    def test_two_runs_at_once(self):
        first = Run(['p kernel_clone comm=$comm']).ready()
        second = Run(['p kernel_clone me=$comm x=$stack0', 'r kernel_clone']).ready()
        fork('both')
        status, lines, said = second.end()
        self.assertEqual(status, 0)
        self.assertIn('p:surftrace1/f0 ', said)
        self.assertTrue(all(' me=' in line or ' <- ' in line for line in lines), lines)
        fork('first')
        status, lines, said = first.end()
        self.assertEqual(status, 0)
        # Starting the second run was a fork of ours too.
        self.assertEqual([line[4] for line in self.ours([parse(line) for line in lines])][-2:],
                         ['comm="both"', 'comm="first"'])

    def test_somebody_elses_probes(self):
        path = TRACING + '/kprobe_events'
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b'p:kprobes/f0 kernel_clone\n')
        os.mkdir(TRACING + '/instances/somebody')
        enable = TRACING + '/instances/somebody/events/kprobes/f0/enable'
        write(enable, '1')
        try:
            during = kernel_state()
            run = Run(['p kernel_clone']).ready()
            run.end()
            self.assertEqual(kernel_state(), during)
            self.assertEqual(read(enable)[0], '1')
        finally:
            write(enable, '0')
            os.rmdir(TRACING + '/instances/somebody')
            os.write(descriptor, b'-:kprobes/f0\n')
            os.close(descriptor)

    def test_mounts_tracefs_and_unmounts_it(self):
        subprocess.check_call(['umount', '-a', '-t', 'tracefs'])
        subprocess.check_call(['umount', '/sys/kernel/debug'])
        try:
            without = read('/proc/mounts')
            self.assertNotIn('tracefs', without)
            run = Run(['p kernel_clone']).ready()
            fork()
            status, lines, said = run.end()
            self.assertEqual(status, 0, said)
            self.assertTrue(lines)
            self.assertIn('umount /sys/kernel/tracing', said)
            self.assertEqual(read('/proc/mounts'), without)
            self.killed_with_its_mount(without)
        finally:
            subprocess.check_call(['mount', '-t', 'tracefs', 'tracefs', TRACING])
            subprocess.check_call(['mount', '-t', 'debugfs', 'debugfs', '/sys/kernel/debug'])
            self.before['mounts'] = read('/proc/mounts')

    def killed_with_its_mount(self, without):
        """The last of the runs that need the mount of one that was killed takes it away."""
        killed = Run(['p kernel_clone']).ready()
        first = Run(['p kernel_clone']).ready()
        killed.end(signal.SIGKILL)
        second = Run(['e sched/sched_process_fork']).ready()
        self.assertEqual(first.end()[0], 0)
        self.assertIn('surftrace /sys/kernel/tracing tracefs', read('/proc/mounts'))
        status, _, said = second.end()
        self.assertEqual(status, 0, said)
        self.assertEqual(read('/proc/mounts'), without)


class Concurrent(Live):
    """Runs on one function that begin and end at random, while others are under way.

    SURFTRACE_SECONDS says how long, SURFTRACE_SEED where the draw begins.
    """

    RUNS = 8
    SECONDS = int(os.environ.get('SURFTRACE_SECONDS', 15))
    SEED = int(os.environ.get('SURFTRACE_SEED', 4))

    def start(self):
        """Start a run; it will have to see every fork from the moment on in which it is ready."""
        name = 'v%d' % self.started
        run = Run(['p wake_up_new_task child=S%%0->pid %s=$stack f:common_pid==%d'
                   % (name, os.getpid())])
        self.started += 1
        self.addCleanup(lambda: run.process.poll() is None and run.process.kill())
        self.forks.append(run.process.pid)
        run.name, run.first = name, None
        return run

    def look(self, run):
        """Let a run that has come as far as tracing be ready, and say when it was."""
        run.open = set(run.data)
        run._pump(0)
        if run.first is None and b'/tracing_on\n' in run.data[run.process.stderr]:
            run.first = len(self.forks)

    def check(self, run):
        """End a run: it has seen a piece of our forks without a gap, and its own event only."""
        last = len(self.forks)
        if run.first is None:       # perhaps Python itself is not ready for signals yet
            status, lines, said = run.end(signal.SIGTERM)
            self.assertIn(status, (143, -signal.SIGTERM), said)
        else:
            status, lines, said = run.end(self.draw.choice((signal.SIGINT, signal.SIGTERM)))
            self.assertIn(status, (0, 143), said)
        lines = [parse(line) for line in lines]
        seen = [int(re.match(r'child=(\d+) (v\d+)=', line[4]).group(1)) for line in lines]
        self.assertEqual([line for line in lines if ' %s=' % run.name not in line[4]], [])
        if run.first is not None:
            self.assertIn(str(self.forks[run.first:last])[1:-1], str(seen)[1:-1], said)
        self.ended.append(len(seen))

    def test_start_and_end_at_random(self):
        self.draw, self.forks, self.started, self.ended = random.Random(self.SEED), [], 0, []
        runs = [self.start() for _ in range(self.RUNS)]
        for run in runs:
            run.ready()
        end = time.time() + self.SECONDS
        while time.time() < end:
            if len(runs) < self.RUNS:
                runs.append(self.start())
            for run in runs:
                self.look(run)
            self.forks.append(fork())
            time.sleep(self.draw.uniform(0, 0.05))
            if len(runs) == self.RUNS and self.draw.random() < 0.1:
                self.check(runs.pop(self.draw.randrange(len(runs))))
        for run in runs:
            self.check(run)
        self.assertGreater(sum(self.ended), len(self.forks))
        print('concurrent: %d runs in %d s, %d at once, %d forks, seed %d' % (
            len(self.ended), self.SECONDS, self.RUNS, len(self.forks), self.SEED))


class Many(Live):
    """Two hundred probes at once, against a shell that writes the same lines."""

    COUNT = 200

    def functions(self):
        """Return names of functions that are there once, and are seldom called."""
        names = read(TRACING + '/available_filter_functions').split('\n')
        known = [line.split()[2] for line in read('/proc/kallsyms').splitlines()]
        once = set(known) - set(name for name, after in zip(sorted(known), sorted(known)[1:])
                                if name == after)
        taken = []
        for name in names:
            if (len(taken) < self.COUNT and name in once
                    and re.match(r'(crypto|pci|acpi|blk|scsi)_\w+$', name)
                    and probed('p:many/%s %s' % (name, name))):
                taken.append(name)
        self.assertTrue(probed('\n'.join('-:many/' + name for name in taken)))
        return taken

    def timed(self, text):
        """Return how many seconds a shell takes for lines that the tool has shown."""
        path = self.path('lines')
        write(path, text)
        began = time.time()
        subprocess.check_call(['sh', '-e', path])
        return time.time() - began

    def test_on_and_off(self):
        names = self.functions()
        self.assertEqual(len(names), self.COUNT)
        ratios = []
        for _ in range(3):
            began = time.time()
            run = Run(['p ' + name for name in names])
            run.wait_for('/tracing_on\n')
            on = time.time() - began
            listed = read(TRACING + '/kprobe_events')
            self.assertEqual(listed.count('p:surftrace/'), self.COUNT)
            self.assertEqual(read(TRACING + '/instances/surftrace/set_event').count('surftrace:'),
                             self.COUNT)
            began = time.time()
            status, _, said = run.end()
            off = time.time() - began
            self.assertEqual(status, 0, said)
            lines = re.sub('(?m)^surftrace: .*\n', '', said)
            middle = lines.index('echo 0 > %s/instances/surftrace/tracing_on' % TRACING)
            ratios.append((on / self.timed(lines[:middle]), off / self.timed(lines[middle:])))
        on, off = (min(each) for each in zip(*ratios))
        print('measured: %d probes on in %s, off in %s times what a shell takes' % (
            (self.COUNT,) + tuple(' '.join('%.2f' % ratio for ratio in each)
                                  for each in zip(*ratios))))
        self.assertLess(on, 2)
        self.assertLess(off, 2)


class Killed(Live):
    """Runs that are ended at any point, beside somebody else's probes of the same names.

    SURFTRACE_KILLS says how many, SURFTRACE_SEED where the draw begins.
    """

    KILLS = int(os.environ.get('SURFTRACE_KILLS', 20))
    SEED = int(os.environ.get('SURFTRACE_SEED', 4))
    SIGNALS = ('INT', 'TERM', 'HUP', 'QUIT', 'PIPE', 'KILL')

    def state(self):
        state = kernel_state()
        for path in glob.glob(TRACING + '/events/kprobes/*/filter'):
            state[path] = read(path)
        state['theirs'] = [read(path) for path in sorted(
            glob.glob(TRACING + '/instances/theirs/events/kprobes/*/[ef]*l*e*'))]
        return state

    def setUp(self):
        Live.setUp(self)
        for name in ('f0', 'f1', 'f19'):
            self.assertTrue(probed('p:kprobes/%s kernel_clone' % name))
            self.addCleanup(probed, '-:kprobes/' + name)
        os.mkdir(TRACING + '/instances/theirs')
        self.addCleanup(os.rmdir, TRACING + '/instances/theirs')
        enable = TRACING + '/instances/theirs/events/kprobes/f0/enable'
        write(TRACING + '/instances/theirs/events/kprobes/f0/filter', 'common_pid == 1')
        write(enable, '1')
        self.addCleanup(write, enable, '0')

    def tearDown(self):
        pass        # the cleanups put back what setUp did; state() has compared the rest

    def kill_one(self, draw):
        name, point = draw.choice(self.SIGNALS), draw.choice(('set-up', 'streaming', 'clean-up'))
        probes, stacks = draw.choice((1, 20)), draw.choice(([], ['-s']))
        what = '%s in %s, %d probes %s' % (name, point, probes, stacks)
        run = Run(stacks + ['p kernel_clone v%d=$stack' % number for number in range(probes)])
        if point == 'set-up':
            run.wait_for('mkdir')
            time.sleep(draw.uniform(0, 0.01 + 0.02 * probes))
        else:
            run.wait_for('/tracing_on\n')
            fork()
            time.sleep(draw.uniform(0, 0.1))
        if point == 'clean-up':
            run.process.send_signal(signal.SIGINT)
            time.sleep(draw.uniform(0, 0.02 + 0.02 * probes))
        if name == 'PIPE':
            run.process.stdout.close()
            run.data.pop(run.process.stdout)
            run.process.stdout = None
            if point != 'streaming' and run.process.poll() is None:
                run.process.send_signal(signal.SIGTERM)
        else:
            run.process.send_signal(getattr(signal, 'SIG' + name))
        end = time.time() + LIMIT
        while run.process.poll() is None and time.time() < end:
            run.open = set(run.data)
            run._pump(0.2)
        for stream in run.data:
            stream.close()
        status = run.process.poll()
        self.assertIsNotNone(status, what)
        if name == 'KILL':
            status, _, said = Run(['e sched/sched_process_fork']).ready().end()
            self.assertEqual(status, 0, what + said)
        else:
            # The first one decides; of PIPE and TERM either may be seen first.
            self.assertIn(status, [0] if point == 'clean-up' else
                          [0, 143] if name == 'PIPE' and point == 'set-up' else
                          [{'INT': 0, 'PIPE': 0, 'TERM': 143, 'HUP': 129, 'QUIT': 131}[name]], what)
        return what

    def test_anywhere(self):
        before, draw = self.state(), random.Random(self.SEED)
        for number in range(self.KILLS):
            what = self.kill_one(draw)
            after = self.state()
            self.assertEqual([name for name in set(before) | set(after)
                              if before.get(name) != after.get(name)], [],
                             'run %d, seed %d: %s' % (number, self.SEED, what))
        print('killed: %d runs, seed %d' % (self.KILLS, self.SEED))


class Refusals(Live):
    """What the kernel refuses is told in its own words, under the person's own expression."""

    def refused(self, text, message, under, status=1):
        found, lines, said = call('e sched/sched_process_fork', text)
        self.assertEqual((found, lines), (status, []), said)
        self.assertIn(message, said)
        rows = said.splitlines()
        [at] = [at for at, row in enumerate(rows) if row == '  ' + text]
        self.assertTrue(rows[at][rows[at + 1].index('^'):].startswith(under), said)

    def test_not_an_instruction(self):
        self.refused('p do_sys_openat2+1', 'instruction' if ARCH == 'x86_64' else 'refused',
                     'do_sys_openat2')

    def test_a_type_that_does_not_fit(self):
        self.refused('p kernel_clone a=%%%s b=%%%s:b3@7/8' % (FIRST, FIRST), 'refused',
                     '%%%s:b3@7/8' % FIRST)

    def test_unknown_function(self):
        self.refused('p kernel_clonee a=%%%s' % FIRST, "did you mean 'kernel_clone'",
                     'kernel_clonee', 2)

    def test_unknown_event(self):
        self.refused('e sched/sched_process_frok', "did you mean 'sched_process_fork'",
                     'sched_process_frok', 2)

    def test_filter(self):
        self.refused('e sched/sched_process_fork f:parent_comm==x', 'twice', 'sched', 2)
        self.refused('e kmem/kmalloc f:bytes_alloc>1&&ptr==x', 'refused', 'ptr')


def documented():
    """Return (command, what README.md has below it) for each command of the README and of -h."""
    import surftrace
    found = [('./surftrace.py ' + command, '') for command, _ in surftrace.EXAMPLES]
    blocks = re.findall(r'^    [#$] (\./surftrace\.py .*)\n((?:    .*\n)*)',
                        read(os.path.join(HERE, 'README.md')), re.MULTILINE)
    return found + [(command, re.sub('(?m)^    ', '', below)) for command, below in blocks]


class Documented(Live):
    """Every command of README.md and of -h does what is said there; a few run at once."""

    def run_of(self, command):
        words = shlex.split(command.replace('pi.btf', os.path.join(HERE, 'pi.btf')))
        return Run(words[1:], SCRIPT, cwd=self.directory)

    def workload(self):
        ping('127.0.0.1', b'x' * 8, 1, 1)
        os.path.exists('/nonexistent')
        for path in '/etc/passwd', '/etc/hosts':
            os.close(os.open(path, os.O_RDONLY))
        for name in 'sh', 'bash':
            fork(name)
        for _ in range(2):
            subprocess.call(['timeout', '0.2', 'yes'], stdout=open(os.devnull, 'w'))
        listening = socket.socket()
        listening.bind(('127.0.0.1', 0))
        listening.listen(1)
        socket.create_connection(listening.getsockname()).close()
        listening.close()
        udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        udp.sendto(b'hello', ('::1', 5000))
        udp.close()

    def setUp(self):
        Live.setUp(self)
        write('/proc/sys/kernel/sched_schedstats', '1')
        self.addCleanup(write, '/proc/sys/kernel/sched_schedstats', '0')

    def commands(self, kind):
        return [item for item in documented() if kind == (
            'vmlinux' if ' -v vmlinux ' in item[0] else     # differential.py has one, and gdb
            'information' if ' --info ' in item[0] else
            'show' if ' -S ' in item[0] else
            'refused' if re.search(r'^ +\^$', item[1], re.MULTILINE) else 'trace')]

    def test_information(self):
        self.assertGreater(len(self.commands('information')), 3)
        for command, below in self.commands('information'):
            status, lines, said = self.run_of(command).end(None)
            self.assertEqual((status, said), (0, FROM_BTF), command)
            if below:
                self.assertEqual(lines, below.splitlines(), command)
            self.assertTrue(lines, command)

    def test_shown(self):
        self.assertGreater(len(self.commands('show')), 2)
        for command, _ in self.commands('show'):
            status, lines, said = self.run_of(command).end(None)
            self.assertEqual((status, re.sub('surftrace: types from .* \\(BTF\\).*\n', '', said)),
                             (0, ''), command)
            self.assertIn('tracing_on', lines[-1], command)

    def test_refused(self):
        self.assertGreater(len(self.commands('refused')), 3)
        for command, below in self.commands('refused'):
            status, _, said = self.run_of(command).end(None)
            self.assertIn(status, (1, 2))
            self.assertIn('\n' + below, '\n' + said, command)

    def test_traced(self):
        commands = self.commands('trace')
        self.assertGreater(len(commands), 10)
        for first in range(0, len(commands), 4):
            runs = [(command, self.run_of(command)) for command, _ in commands[first:first + 4]]
            for _, run in runs:
                run.ready()
            self.workload()
            for command, run in runs:
                status, lines, said = run.end()
                self.assertEqual(status, 0, command + said)
                self.assertTrue(lines, command)


if __name__ == '__main__':
    unittest.main()

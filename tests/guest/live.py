"""What the tests on a real kernel share; they run as root in a guest of tests/lib/machines.py.

Each test makes its own workload, so that it knows what must be seen: the process ids it forked,
the names it gave them, the pings it sent, the place it read a file at.  Before and after each,
what the kernel holds of probes, instances and switches is compared.

In the guest, in /work:  python -m unittest -v tests.guest.test_manual
"""
import contextlib
import functools
import glob
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from tests.lib import tool

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Starting Python takes longer than a trace, under emulation.  What asks only for what a trace shows
# does without: a child of the tests becomes the tool.  What the README tells is run as a script,
# which people do, and all else as a module, which is compiled once.
FORKED = None
TOOL = [sys.executable, '-m', 'surftrace']
SCRIPT = [sys.executable, os.path.join(ROOT, 'surftrace.py')]
TRACING = '/sys/kernel/tracing'
ARCH = os.uname()[4]
POLLS = (b'7', b'73')       # poll, and ppoll on aarch64
KERNEL = tuple(int(part) for part in os.uname()[2].split('.')[:2])
MODULES_HAVE_TYPES = KERNEL >= (5, 11)
# Registers that hold the first and second argument.
FIRST, SECOND = ('di', 'si') if ARCH == 'x86_64' else ('x0', 'x1')
FROM_BTF = 'surftrace: types from /sys/kernel/btf/vmlinux (BTF)\n'
LIMIT = 300     # seconds for anything that a test waits for
# Where a draw begins; whoever draws prints it.
SEED = int(os.environ.get('SURFTRACE_SEED', 4))


def read(path):
    with open(path) as stream:
        return stream.read()


def write(path, text):
    with open(path, 'w') as stream:
        stream.write(text)


def until(condition, what):
    """Wait until a condition holds, and return what it gave."""
    end = time.time() + LIMIT
    while True:
        found = condition()
        if found:
            return found
        if time.time() > end:
            raise AssertionError('this did not come about in %d s: %s' % (LIMIT, what))
        time.sleep(0.02)


# -- What the kernel holds -----------------------------------------------------------------------

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


def differing(before, after):
    """Return the names of what differs between two states."""
    return [name for name in set(before) | set(after) if before.get(name) != after.get(name)]


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


def traceable(pattern=r'\S+'):
    """Return the names of the functions that ftrace lists, of the kernel's own and of modules."""
    return set(line.split()[0] for line in read(
        TRACING + '/available_filter_functions').splitlines()
        if re.match(pattern + r'(\s|$)', line) and not line.startswith('__probestub'))


def forbidden():
    """Return the names of the functions that kprobes must not touch."""
    return set(line.split()[-1] for line in read(
        '/sys/kernel/debug/kprobes/blacklist').splitlines())


KALLSYMS = []


def kallsyms():
    """Return the text of /proc/kallsyms, which takes a second to read."""
    if not KALLSYMS:
        KALLSYMS.append(read('/proc/kallsyms'))
    return KALLSYMS[0]


def functions_of_each_name():
    """Return how many functions have a name, by names."""
    counts = {}
    for line in kallsyms().splitlines():
        fields = line.split()
        if fields[1] in 'tT':
            counts[fields[2]] = counts.get(fields[2], 0) + 1
    return counts


# -- The tool ------------------------------------------------------------------------------------

def parse(line):
    """Return (command, pid, event, place, values as text) of a trace line."""
    match = re.match(r' *(.*?)-(\d+) +\[\d+\] \S+ +\d+\.\d+: (\w+): (?:\((.*?)\) ?)?(.*)$', line)
    if not match:
        raise AssertionError('not a trace line: %r' % line)
    command, pid, event, place, values = match.groups()
    return command, int(pid), event, place, values


RUN = r'surftrace_[0-9]+'       # what runs and scripts are called: after their process


class Run(object):
    """A run of the tool, or of a script that it wrote."""

    under_way = set()       # which a test that fails leaves

    def __init__(self, arguments, command=TOOL, stdout=subprocess.PIPE, **options):
        self.under_way.add(self)
        if command is FORKED:
            options['preexec_fn'] = functools.partial(tool.become, arguments)
            command, arguments = ['true'], []       # (which it never comes to)
        self.process = subprocess.Popen(
            command + list(arguments), stdout=stdout, stderr=subprocess.PIPE, **options)
        self.open = set(stream for stream in (self.process.stdout, self.process.stderr) if stream)
        self.data = dict((stream, b'') for stream in self.open)
        # Of its instance and its group of probes.
        self.name = 'surftrace_%d' % self.process.pid
        self.watched = os.open('/proc/%d/syscall' % self.process.pid, os.O_RDONLY)

    def pump(self, seconds):
        """Read what there is, or comes within that time."""
        ready, _, _ = select.select(list(self.open), [], [], seconds)
        for stream in ready:
            part = os.read(stream.fileno(), 65536)
            self.data[stream] += part
            if not part:
                self.open.discard(stream)

    def said(self):
        """Return what it has said so far on stderr."""
        return self.data[self.process.stderr].decode()

    def wait_for(self, word, stream='stderr'):
        """Read until word has come."""
        stream, end = getattr(self.process, stream), time.time() + LIMIT
        while word.encode() not in self.data[stream]:
            if time.time() > end or not self.open:
                raise AssertionError('%r did not come: %r' % (word, self.data))
            self.pump(1)
        return self

    def ready(self):
        """Wait until all events are on, and recorded; that is the last line, told before it is."""
        self.wait_for('echo 1 > %s/instances/%s/tracing_on\n' % (TRACING, self.name))
        # (To look at the file itself would be an event.)
        until(lambda: self.process.poll() is not None or self.call() in POLLS,
              'it waits for events')
        return self

    def traces(self, event):
        """Wait until a script records an event, GROUP/EVENT, the last that it has."""
        top = TRACING + '/instances/%s/' % self.name
        paths = top + 'events/%s/enable' % event, top + 'tracing_on'
        until(lambda: all(os.path.exists(path) and read(path).startswith('1') for path in paths),
              'the script sets up')
        return self

    def call(self):
        """Return the number of the system call that the tool is in, as text."""
        os.lseek(self.watched, 0, os.SEEK_SET)
        try:
            return os.read(self.watched, 100).split()[0]
        except EnvironmentError:        # it has ended
            return b''

    def has_output(self):
        """Wait until something has come on stdout, without reading it.

        busybox's cat fills a pipe by sendfile; until the next event comes, the kernel then lets
        nobody read from that pipe what is in it already.
        """
        if not select.select([self.process.stdout], [], [], LIMIT)[0]:
            raise AssertionError('nothing came')
        return self

    def close_stdout(self):
        """Go away as its reader."""
        self.process.stdout.close()
        self.open.discard(self.process.stdout)
        self.data.pop(self.process.stdout)
        self.process.stdout = None

    def send(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, number=signal.SIGINT, reads_stdout=True):
        """Send a signal, and return the exit status, the lines of stdout, and stderr.

        reads_stdout -- whether anybody reads stdout until it has ended
        """
        self.under_way.discard(self)
        if self.watched is not None:
            os.close(self.watched)
            self.watched = None
        if number:
            self.process.send_signal(number)
        stdout, end = self.process.stdout, time.time() + LIMIT
        later = set() if reads_stdout else self.open & set([stdout])
        self.open -= later
        while self.open or self.process.poll() is None:
            if time.time() > end:
                self.process.kill()
                self.process.wait()
                raise AssertionError('it does not end: %r' % self.data)
            self.pump(1 if self.open else 0.02)
        self.open = later
        while self.open:
            self.pump(0)
        for stream in self.data:
            stream.close()
        lines = self.data.get(stdout, b'').decode('utf-8', 'replace').splitlines()
        return self.process.wait(), lines, self.said()


def call(*arguments, **options):
    """Run the tool to its end and return its status, the lines of stdout, and stderr."""
    return Run(arguments, **options).end(None)


# -- Workloads -----------------------------------------------------------------------------------

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


def datagram(address, port, family=socket.AF_INET):
    """Send five bytes by UDP."""
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.sendto(b'hello', (address, port))
    udp.close()


@contextlib.contextmanager
def connection():
    """Connect to ourselves; gives (the socket that listens, that of the client)."""
    listening = socket.socket()
    listening.bind(('127.0.0.1', 0))
    listening.listen(1)
    client = socket.create_connection(listening.getsockname())
    yield listening, client
    client.close()
    listening.close()


@contextlib.contextmanager
def dummy_device(*settings):
    """Load the module dummy, whose device dummy0 takes all packets; gives a raw socket on it."""
    subprocess.check_call(['insmod', '/lib/modules/dummy.ko'])
    try:
        for words in settings + ('up',):
            subprocess.check_call(['ip', 'link', 'set', 'dummy0'] + words.split())
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        packet.bind(('dummy0', 0x88b5))
        yield packet
        packet.close()
    finally:
        subprocess.check_call(['rmmod', 'dummy'])


# -- The tests -----------------------------------------------------------------------------------

class Live(unittest.TestCase):

    looked_at = None, {}        # the last file of tests, and the state of each event before it
    # Python 2.7 has them under their old names only.
    assertRegex = getattr(unittest.TestCase, 'assertRegex',
                          getattr(unittest.TestCase, 'assertRegexpMatches', None))
    assertNotRegex = getattr(unittest.TestCase, 'assertNotRegex',
                             getattr(unittest.TestCase, 'assertNotRegexpMatches', None))

    @classmethod
    def setUpClass(cls):
        """Compare the state of each event, once for each file of tests."""
        last, before = Live.looked_at
        if last != cls.__module__:
            after = state_of_each_event()
            Live.looked_at = cls.__module__, after
            changed = differing(before or after, after)
            if changed:
                raise AssertionError('%s has changed %r' % (last, changed))

    def setUp(self):
        self.before = kernel_state()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def tearDown(self):
        for run in list(Run.under_way):
            run.send(signal.SIGCONT)
            run.send(signal.SIGINT)
            run.end(None)
        self.nothing_is_left()

    def nothing_is_left(self):
        after = kernel_state()
        changed = differing(self.before, after)
        self.assertEqual(changed, [], 'left behind: %r' % [after.get(name) for name in changed])

    def path(self, name):
        return os.path.join(self.directory, name)

    def trace(self, *arguments, **options):
        """Run traces while workload() runs; return the parsed lines."""
        workload = options.pop('workload')
        run = Run(arguments, FORKED, **options).ready()
        self.result = workload()
        status, lines, self.said = run.end()
        self.assertEqual(status, 0, self.said)
        self.assertIn('surftrace: %d event' % len(lines), self.said)
        return [parse(line) for line in lines]

    def filtered(self, trace, filters, workload):
        """Run one trace with each of several filters, and check what each lets through.

        filters -- (what is written behind the trace, the values that are seen of this process)
        """
        lines = self.ours(self.trace(*[trace + written for written, _ in filters],
                                     workload=workload))
        for number, (written, seen) in enumerate(filters):
            self.assertEqual([line[4] for line in lines if line[2] == 'f%d' % number], seen,
                             written)

    def ours(self, lines):
        return [line for line in lines if line[1] == os.getpid()]

    def values(self, lines):
        """Return what stands behind the place of each line."""
        return [line[4] for line in lines]

    def refused(self, message, *arguments):
        """Check that a mistake is told, and nothing done."""
        status, lines, said = call(*arguments, command=FORKED)
        self.assertEqual((status, lines), (2, []), said)
        self.assertIn(message, said)
        self.assertNotIn('kprobe_events', said)

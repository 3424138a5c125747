"""Kernel: a plan performed on a directory that stands in for tracefs, and every way it can fail."""
import errno
import fcntl
import os
import signal
import tempfile
import unittest

import surftrace
from standin import StandIn
from test_plan import compiled

FORMAT = '''\
name: sched_switch
ID: 313
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;
\tfield:unsigned char prio;\toffset:40;\tsize:1;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;
\tfield:const char * text;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;
\tfield:void * where;\toffset:8;\tsize:8;\tsigned:0;
'''


class Recorder(object):
    """A console that keeps what it is told; at the line number `signal_at`, a signal comes."""

    def __init__(self, signals=None, signal_at=None):
        self.lines, self.notes, self.errors = [], [], []
        self.signals, self.signal_at = signals, signal_at

    def line(self, text):
        self.lines.append(text)
        if len(self.lines) - 1 == self.signal_at:
            self.signals.received = signal.SIGINT

    def note(self, text):
        self.notes.append(text)

    def error(self, error):
        self.errors.append(error)


class NoSignals(object):
    received = None
    check = surftrace.Signals.__dict__['check']
    status = surftrace.Signals.__dict__['status']

    def __init__(self):
        self.wake, self._write_end = os.pipe()


def run(tracefs, texts=None, events=b'', signal_at=None):
    """Run traces on a stand-in: set up, read events until they end, clean up."""
    signals = NoSignals()
    console = Recorder(signals, signal_at)
    plan = surftrace.make_plan(compiled(*[texts] if texts else []), surftrace.Settings(),
                               tracefs.has('instances'))
    read_end, write_end = os.pipe()
    output = surftrace.Output(descriptor=write_end)
    session = surftrace.Session(tracefs, plan, console, signals)
    session.stream = lambda output, limits: output.write(events)
    status = surftrace.run_session(session, output, surftrace.Limits(), console, signals)
    for descriptor in (write_end, output.descriptor, signals.wake, signals._write_end):
        os.close(descriptor)
    with os.fdopen(read_end, 'rb') as stream:
        return status, stream.read(), console


def open_descriptors():
    return sorted(os.listdir('/proc/self/fd'))


class Runs(unittest.TestCase):

    def setUp(self):
        self.tracefs = StandIn()
        self.addCleanup(self.tracefs.remove)

    def test_leaves_everything_as_it_was(self):
        before, descriptors = self.tracefs.state(), open_descriptors()
        status, data, console = run(self.tracefs, events=b'one\ntwo\n')
        self.assertEqual((status, data, console.errors), (0, b'one\ntwo\n', []))
        self.assertEqual(self.tracefs.state(), before)
        self.assertEqual(open_descriptors(), descriptors)
        self.assertEqual(console.notes, [
            '2 events, and 5 lost: the ring buffer was full (-b makes it larger)'])

    def test_echoes_what_it_does(self):
        """The echoed lines are those of the plan, and the writes are what they say."""
        _, _, console = run(self.tracefs)
        plan = surftrace.make_plan(compiled(), surftrace.Settings())
        steps = plan.create + plan.start
        undo = [step for part in (plan.start, plan.create) for step in surftrace.joined_undo(part)]
        expected = [surftrace.shell_line(step, self.tracefs.root, 'surftrace')
                    for step in steps + undo]
        self.assertEqual(console.lines, expected)
        written = [(name, text) for call, name, text in self.tracefs.log if call == 'write_file']
        self.assertEqual(written, [
            (step.path.replace('\0', 'surftrace'), step.text.replace('\0', 'surftrace') + '\n')
            for step in steps + undo if step.text is not None])

    def test_without_instances(self):
        tracefs = StandIn(instances=False)
        self.addCleanup(tracefs.remove)
        tracefs._file('events/sched/sched_switch/filter', 'prev_pid > 100\n')
        tracefs._file('options/stacktrace', '1\n')
        before = tracefs.state()
        status, _, console = run(tracefs)
        self.assertEqual((status, console.errors), (0, []))
        self.assertIn("echo 'prev_pid > 100' > %s/events/sched/sched_switch/filter" % tracefs.root,
                      console.lines)
        self.assertEqual(tracefs.state(), before)

    def test_somebody_elses_probes_stay(self):
        self.tracefs.write('kprobe_events', 'p:kprobes/f0 vfs_read', append=True)
        self.tracefs.write('kprobe_events', 'p:surftracex/f0 vfs_read', append=True)
        before = self.tracefs.state()
        self.assertEqual(run(self.tracefs)[0], 0)
        self.assertEqual(self.tracefs.state(), before)

    def test_what_a_killed_run_left_is_removed(self):
        self.tracefs.make_directory('instances/surftrace')
        self.tracefs.write('kprobe_events', 'p:surftrace/f0 vfs_read', append=True)
        self.tracefs.write('kprobe_events', 'p:surftrace/f7 vfs_read', append=True)
        self.tracefs._file('instances/surftrace/set_event', 'surftrace:f0\n')
        status, _, console = run(self.tracefs)
        self.assertEqual(status, 0)
        self.assertEqual(console.notes[0], 'removed what a run that was killed had left: '
                         'instance surftrace, 2 probes')
        self.assertEqual(self.tracefs.read('kprobe_events'), '')
        self.assertEqual(self.tracefs.names('instances'), [])

    def test_probes_without_their_instance_are_removed_too(self):
        self.tracefs.write('kprobe_events', 'p:surftrace/old vfs_read', append=True)
        self.assertEqual(run(self.tracefs)[0], 0)
        self.assertEqual(self.tracefs.read('kprobe_events'), '')

    def test_a_live_run_keeps_its_name(self):
        self.tracefs.make_directory('instances/surftrace')
        lock = os.open(self.tracefs.path('instances/surftrace'), os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, _, console = run(self.tracefs)
        self.assertIn('mkdir %s/instances/surftrace1' % self.tracefs.root, console.lines)
        self.assertIn('rmdir %s/instances/surftrace1' % self.tracefs.root, console.lines)
        self.assertEqual(self.tracefs.names('instances'), ['surftrace'])

    def test_an_instance_that_is_read_is_alive(self):
        """A replayed script takes no lock, but reads trace_pipe: the kernel answers EBUSY."""
        self.tracefs.make_directory('instances/surftrace')
        attempt = self.tracefs._attempt

        def busy(call, name, *rest):
            if name == 'instances/surftrace/trace_pipe':
                raise surftrace.KernelError('busy', errno.EBUSY)
            return attempt(call, name, *rest)
        self.tracefs._attempt = busy
        status, _, console = run(self.tracefs)
        self.assertEqual((status, console.errors), (0, []))
        self.assertIn('mkdir %s/instances/surftrace1' % self.tracefs.root, console.lines)
        self.assertEqual(self.tracefs.names('instances'), ['surftrace'])

    def test_missed_probes_are_counted_by_position(self):
        self.tracefs._file('kprobe_profile', ''.join(
            '  %-44s %15d %15d\n' % row for row in [('f0', 9, 100), ('f0', 5, 7), ('f1', 6, 1)]))
        self.tracefs.write('kprobe_events', 'p:kprobes/f0 vfs_read', append=True)
        _, _, console = run(self.tracefs, events=b'one\n')
        self.assertIn('and 8 missed', console.notes[-1])


class Signals(unittest.TestCase):

    def test_a_signal_at_every_step(self):
        """Whenever it comes, all that was done is undone, once, and the status is Ctrl+C's."""
        count = len(run_once()[1].lines)
        for at in range(count):
            state, console, status = run_once(signal_at=at)
            self.assertEqual((status, console.errors), (0, []), at)
            self.assertEqual(state, BEFORE, at)

    def test_taken(self):
        earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
        hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with surftrace.Signals() as signals:
                os.kill(os.getpid(), signal.SIGHUP)
                self.assertIsNone(signals.received)         # nohup is meant
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGINT)         # ignored by a shell's &: taken
                self.assertEqual(signals.received, signal.SIGTERM)
                self.assertEqual(signals.status(), 128 + signal.SIGTERM)
                self.assertRaises(surftrace.StopRun, signals.check)
                # Written by the signal itself, so that no poll can sleep through it.
                self.assertTrue(os.read(signals.wake, 10))
            # One that comes when all is done does not change the exit status.
            self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)
        finally:
            signal.signal(signal.SIGINT, earlier)
            signal.signal(signal.SIGHUP, hangup)
            for number in (signal.SIGTERM, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)


def run_once(signal_at=None, fail_at=None, fail_with=errno.EIO):
    """Return the state after a run, its console, and its status."""
    tracefs = StandIn(fail_at=fail_at, fail_with=fail_with)
    try:
        status, _, console = run(tracefs, signal_at=signal_at)
        tracefs.fail_at = None
        return tracefs.state(), console, status
    finally:
        tracefs.remove()


_fresh = StandIn()
BEFORE = _fresh.state()
_fresh.remove()


class Failures(unittest.TestCase):

    def operations(self):
        tracefs = StandIn()
        run(tracefs)
        tracefs.remove()
        return tracefs.log

    def test_every_operation_failing_in_turn(self):
        """The error names the file; what was done before is undone, save what failed to be."""
        operations = self.operations()
        descriptors = open_descriptors()
        for number in (errno.EIO, errno.ENOSPC, errno.EINVAL, errno.EACCES, errno.ENOENT):
            for at, (call, name, text) in enumerate(operations):
                state, console, status = run_once(fail_at=at, fail_with=number)
                told = [str(error) for error in console.errors] + console.notes
                where = (os.strerror(number), at, call, name, text)
                self.assertEqual(open_descriptors(), descriptors, where)
                if state != BEFORE or status:
                    self.assertEqual(status, 1, where)
                    self.assertTrue([line for line in told if name.split('/')[-1] in line
                                     or 'refused' in line], (where, told))
                undoing = text.startswith('0') or text.startswith('-:') or call == 'rmdir'
                if not undoing:
                    self.assertEqual(state, BEFORE, where)

    def test_one_undo_that_fails_does_not_keep_the_next(self):
        operations = self.operations()
        [at] = [at for at, operation in enumerate(operations) if operation[2].startswith('-:')]
        state, console, status = run_once(fail_at=at, fail_with=errno.EBUSY)
        # The probes are tried one by one then, and removed.
        self.assertEqual(state, BEFORE)
        [at] = [at for at, operation in enumerate(operations) if operation[0] == 'rmdir']
        state, console, status = run_once(fail_at=at, fail_with=errno.EBUSY)
        self.assertEqual(status, 1)
        self.assertIn('not undone', console.notes[0])
        self.assertEqual(state['kprobe_events'], '')

    def test_the_kernels_own_reason(self):
        tracefs = StandIn()
        self.addCleanup(tracefs.remove)
        [at] = [at for at, operation in enumerate(self.operations())
                if operation[2].startswith('p:surftrace/f0')]
        line = self.operations()[at][2].strip()
        position = line.index('users=')
        tracefs._file('error_log', (
            '[  1.0] trace_kprobe: error: Some other run\n'
            '  Command: p:surftrace1/f0 foo\n           ^\n'
            '[  2.0] trace_kprobe: error: Unknown type is specified\n'
            '  Command: %s\n%s^\n' % (line, ' ' * (len('  Command: ') + position))))
        tracefs.fail_at, tracefs.fail_with = at, errno.EINVAL
        tracefs.log = []
        status, _, console = run(tracefs)
        [error] = console.errors
        self.assertEqual(status, 1)
        self.assertIn('unknown type is specified', str(error))
        self.assertTrue(error.text[error.column:].startswith('%0->mm->mm_users'))

    def test_no_kprobes(self):
        tracefs = StandIn()
        self.addCleanup(tracefs.remove)
        os.remove(tracefs.path('kprobe_events'))
        event, probe = [surftrace.parse_trace(text) for text in ('e sched/sched_switch', 'p x')]
        surftrace.check_kprobes([event], tracefs)
        with self.assertRaises(surftrace.KernelError) as caught:
            surftrace.check_kprobes([event, probe], tracefs)
        self.assertIn('CONFIG_KPROBE_EVENTS', str(caught.exception))


class Knowledge(unittest.TestCase):
    """What the running kernel knows: symbols, and the fields of events."""

    def setUp(self):
        self.tracefs = StandIn()
        self.addCleanup(self.tracefs.remove)
        self.tracefs._file('available_filter_functions', '\n'.join(
            ['vfs_read', 'vfs_readv', 'xvfs_read', 'core.constprop.0', 'two.isra.0',
             'two.constprop.1', 'ext4_open [ext4]', 'wake_up_new_task', 'last']) + '\n')
        self.symbols = surftrace.Symbols(self.tracefs)
        self.symbols.read[False] = (
            'ffffffff81000000 T vfs_read\nffffffff81000001 t hidden\n'
            'ffffffff81000002 D a_variable\nffffffff81000003 t cut.part.0\n'
            'ffffffff81000004 t cut.cold\nffffffff81000005 t nft_init\t[nf_tables]\n')

    def find(self, name, traceable=True):
        return self.symbols.find(surftrace.Token('run', name, 2), traceable)

    def test_found(self):
        for name, expected, module in [
                ('vfs_read', 'vfs_read', None), ('ext4_open', 'ext4_open', 'ext4'),
                ('last', 'last', None), ('hidden', 'hidden', None),
                ('nft_init', 'nft_init', 'nf_tables'), ('core', 'core.constprop.0', None),
                ('core.constprop.0', 'core.constprop.0', None)]:
            self.assertEqual(self.find(name), surftrace.Symbol(expected, module))

    def test_not_found(self):
        for name, message in [('vfs_reed', "did you mean 'vfs_read'"),
                              ('a_variable', 'no function'), ('two', 'several'),
                              ('cut', 'fragments of it, cut.cold, cut.part.0'),
                              ('zzz', 'may be inlined')]:
            with self.assertRaises(surftrace.TraceError) as caught:
                self.find(name)
            self.assertIn(message, str(caught.exception))
            self.assertEqual(caught.exception.column, 2)

    def test_at_an_offset_only_kallsyms_counts(self):
        self.assertEqual(self.find('vfs_read', False).name, 'vfs_read')
        self.assertRaises(surftrace.TraceError, self.find, 'wake_up_new_task', False)

    def test_nothing_to_read(self):
        symbols = surftrace.Symbols(None)
        symbols.read[False] = ''
        self.assertIsNone(symbols.find(surftrace.Token('run', 'foo', 2), True))

    def test_event_fields(self):
        self.tracefs._file('events/sched/sched_switch/format', FORMAT)
        tree = surftrace.parse_trace('e sched/sched_switch')
        self.assertEqual(surftrace.event_fields(self.tracefs, tree), {
            'common_type': 'unsigned', 'prev_comm': 'string', 'prev_pid': 'signed',
            'prev_state': 'signed', 'prio': 'unsigned', 'name': 'string', 'text': 'string',
            'args': 'other', 'where': 'other'})

    def test_no_such_event(self):
        for text, column, message in [('e sched/sched_swich', 8, "'sched_switch'"),
                                      ('e shed/sched_switch', 2, "'sched'")]:
            with self.assertRaises(surftrace.TraceError) as caught:
                surftrace.event_fields(self.tracefs, surftrace.parse_trace(text))
            self.assertIn('did you mean ' + message, str(caught.exception))
            self.assertEqual(caught.exception.column, column)

    def test_kernel_without_hexadecimal_types(self):
        architecture = surftrace.ARCHITECTURES['x86_64']
        self.assertTrue(surftrace.running_target(self.tracefs, architecture).hexadecimal)
        self.tracefs._file('README', 'tracing mini-HOWTO:\n type: s8/16/32/64, u8/16/32/64')
        self.assertFalse(surftrace.running_target(self.tracefs, architecture).hexadecimal)
        self.assertTrue(surftrace.running_target(None, architecture).hexadecimal)


class Mounts(unittest.TestCase):

    def root(self, mounts):
        read = surftrace.text_if_there
        surftrace.text_if_there = lambda path: mounts
        try:
            return surftrace.find_tracefs()
        finally:
            surftrace.text_if_there = read

    def test_find(self):
        for mounts, expected in [
                ('', None), ('proc /proc proc rw 0 0\n', None),
                ('d /sys/kernel/debug debugfs rw 0 0\n', '/sys/kernel/debug/tracing'),
                ('d /sys/kernel/debug debugfs rw 0 0\nt /sys/kernel/tracing tracefs rw 0 0\n',
                 '/sys/kernel/tracing'),
                ('t /a\\040b tracefs rw 0 0\n', '/a b')]:
            self.assertEqual(self.root(mounts), expected)

    def test_a_directory_that_is_not_there(self):
        path = tempfile.mkdtemp()
        os.rmdir(path)
        with self.assertRaises(surftrace.KernelError) as caught:
            surftrace.open_tracefs(path, Recorder())
        self.assertIn(path, str(caught.exception))


if __name__ == '__main__':
    unittest.main()

"""Kernel: a plan performed on a directory that stands in for tracefs, and every way it can fail."""
import errno
import fcntl
import os
import re
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
    tracefs.events = events
    signals = NoSignals()
    console = Recorder(signals, signal_at)
    plan = surftrace.make_plan(compiled(*[texts] if texts else []), surftrace.Settings(),
                               tracefs.has('instances'))
    read_end, write_end = os.pipe()
    output = surftrace.Output(descriptor=write_end)
    session = surftrace.Session(tracefs, plan, console, signals)
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
        written = [(name, text) for call, name, text in self.tracefs.log if call == 'write']
        self.assertEqual(written, [
            (step.path.replace('\0', 'surftrace'), step.text.replace('\0', 'surftrace') + '\n')
            for step in steps + undo if step.text is not None])

    def test_without_instances(self):
        tracefs = StandIn(instances=False)
        self.addCleanup(tracefs.remove)
        tracefs.file('events/sched/sched_switch/filter', 'prev_pid > 100\n')
        tracefs.file('options/stacktrace', '1\n')
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
        self.tracefs.file('instances/surftrace/set_event', 'surftrace:f0\n')
        status, _, console = run(self.tracefs)
        self.assertEqual(status, 0)
        self.assertEqual(console.notes[0], 'removed what a run that was killed had left: '
                         'an instance and 2 probes of surftrace')
        self.assertEqual(self.tracefs.read('kprobe_events'), '')
        self.assertEqual(self.tracefs.names('instances'), [])

    def test_what_killed_runs_of_other_names_left_is_removed_too(self):
        """But not what somebody holds, or has called otherwise."""
        for name in ('surftrace3', 'surftrace4', 'surftraces'):
            self.tracefs.make_directory('instances/' + name)
        for line in ('p:surftrace3/f0 vfs_read', 'p:surftrace4/f0 vfs_read',
                     'p:surftrace7/f0 vfs_read', 'p:surftraces/f0 vfs_read'):
            self.tracefs.write('kprobe_events', line, append=True)
        lock = os.open(self.tracefs.path('instances/surftrace4'), os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, console = run(self.tracefs)
        self.assertEqual((status, console.errors), (0, []))
        self.assertEqual(sorted(self.tracefs.names('instances')), ['surftrace4', 'surftraces'])
        self.assertEqual(self.tracefs.probes(), ['surftrace4/f0', 'surftraces/f0'])
        self.assertEqual(console.notes[:2], [
            'removed what a run that was killed had left: an instance and 1 probe of surftrace3',
            'removed what a run that was killed had left: 1 probe of surftrace7'])

    def test_a_name_that_is_free_again_may_be_somebody_elses(self):
        for name in ('surftrace', 'surftrace3'):
            tracefs = StandIn()
            self.addCleanup(tracefs.remove)
            tracefs.make_directory('instances/' + name)
            tracefs.write('kprobe_events', 'p:%s/f0 vfs_read' % name, append=True)
            remove, locks = tracefs.do_rmdir, []

            def take_over(path):
                remove(path)
                if not locks and path.endswith('/' + name):
                    os.mkdir(path)
                    tracefs._fill('instances/%s/' % name)
                    locks.append(os.open(path, os.O_RDONLY))
                    fcntl.flock(locks[0], fcntl.LOCK_EX)
            tracefs.do_rmdir = take_over
            status, _, console = run(tracefs)
            self.assertEqual((status, console.errors), (0, []))
            self.assertEqual(tracefs.names('instances'), [name])
            self.assertEqual(tracefs.probes(), [name + '/f0'])
            os.close(locks[0])

    def test_an_instance_whose_rmdir_is_refused_is_let_alone(self):
        """Before Linux 6.5 more than one may read a trace_pipe; a script shows itself by that."""
        self.tracefs.make_directory('instances/surftrace')
        self.tracefs.write('kprobe_events', 'p:surftrace/f0 vfs_read', append=True)
        remove = self.tracefs.do_rmdir

        def busy(path):
            if path.endswith('instances/surftrace'):
                raise EnvironmentError(errno.EBUSY, 'busy')
            return remove(path)
        self.tracefs.do_rmdir = busy
        status, _, console = run(self.tracefs)
        self.assertEqual((status, console.errors), (0, []))
        self.assertEqual(self.tracefs.names('instances'), ['surftrace'])
        self.assertEqual(self.tracefs.probes(), ['surftrace/f0'])

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
        open_any = self.tracefs.do_open

        def busy(path, flags):
            if path.endswith('instances/surftrace/trace_pipe'):
                raise EnvironmentError(errno.EBUSY, 'busy')
            return open_any(path, flags)
        self.tracefs.do_open = busy
        status, _, console = run(self.tracefs)
        self.assertEqual((status, console.errors), (0, []))
        self.assertIn('mkdir %s/instances/surftrace1' % self.tracefs.root, console.lines)
        self.assertEqual(self.tracefs.names('instances'), ['surftrace'])

    def test_missed_probes_are_counted_by_position(self):
        self.tracefs.missed = {'kprobes/f0': 100, 'surftrace/f0': 7, 'surftrace/f1': 1}
        self.tracefs.write('kprobe_events', 'p:kprobes/f0 vfs_read', append=True)
        _, _, console = run(self.tracefs, events=b'one\n')
        self.assertIn('and 1 return missed: too many', console.notes[-1])
        self.assertIn('and 7 missed, each', console.notes[-1])


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


def run_once(signal_at=None):
    """Return the state after a run, its console, and its status."""
    tracefs = StandIn()
    try:
        status, _, console = run(tracefs, signal_at=signal_at)
        return tracefs.state(), console, status
    finally:
        tracefs.remove()


def whole_run(tracefs, arguments):
    """Do what main() does with these arguments and a stand-in; return (status, what is said)."""
    console = Recorder()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
    earlier, stdout = [signal.getsignal(number) for number in numbers], os.dup(1)
    with tempfile.TemporaryFile() as product:
        os.dup2(product.fileno(), 1)
    try:
        options = surftrace.read_options(['--tracefs', tracefs.root] + arguments)
        types = surftrace.Types(options.choice, console)
        status = surftrace.trace_live(options, types, console)
    except surftrace.Error as error:
        console.error(error)
        status = error.status
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        for number, handler in zip(numbers, earlier):
            signal.signal(number, handler)
    return status, [str(error) for error in console.errors] + console.notes


_fresh = StandIn()
BEFORE = _fresh.state()
_fresh.remove()


class Failures(unittest.TestCase):

    TRACES = ['-s', 'p wake_up_new_task a=%di f:a==1', 'r vfs_read n=$retval',
              'e sched/sched_switch f:prev_pid>1']
    ERRORS = (errno.EIO, errno.EBUSY, errno.ENOSPC, errno.EINVAL, errno.EACCES, errno.ENOENT)
    # A run goes on without what a kernel may not have, takes the next name if one is busy, and
    # removes probes one by one if it could not at once.
    SURVIVED = (
        (errno.ENOENT, r'(open|read) (README|available_filter_functions|kprobe_events|'
                       r'events/sched/sched_switch/format) $'),
        (errno.EACCES, r'(open|read) available_filter_functions $'),
        (errno.ENOENT, r'open instances/surftrace(/trace_pipe)? $'),
        (errno.EBUSY, r'(open|read) (instances/surftrace(/trace_pipe)?|kprobe_events) $'),
        (None, r'(open|write) kprobe_events -:'))

    def operations(self):
        """Return the operations of a whole run that nothing happens to."""
        tracefs = StandIn()
        self.addCleanup(tracefs.remove)
        tracefs.events = b'one\n'
        self.assertEqual(whole_run(tracefs, self.TRACES)[0], 0)
        self.assertEqual(tracefs.state(), BEFORE)
        return tracefs.log

    def failing(self, at, number):
        """Return the state after a whole run whose operation `at` fails, its status, its words."""
        tracefs = StandIn()
        tracefs.events, tracefs.fail_at, tracefs.fail_with = b'one\n', at, number
        signal.setitimer(signal.ITIMER_REAL, 20)        # nothing hangs
        try:
            status, said = whole_run(tracefs, self.TRACES)
            return tracefs.state(), status, said
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            tracefs.remove()

    def test_every_operation_failing_in_turn(self):
        """The error names the file and the reason; all else that was done is undone."""
        operations, descriptors = self.operations(), open_descriptors()
        survivors = set()
        for at, operation in enumerate(operations):
            call, name, text = operation
            for number in self.ERRORS:
                state, status, said = self.failing(at, number)
                where = (os.strerror(number), at) + operation
                # (Threads of other tests may still close some.)
                self.assertEqual(set(open_descriptors()) - set(descriptors), set(), where)
                if call != 'rmdir':
                    self.assertEqual(state, BEFORE, where)
                if status == 0:
                    if call == 'open' and operations[at + 1][0] == 'write':
                        text = operations[at + 1][2]
                    self.assertTrue([pattern for kind, pattern in self.SURVIVED
                                     if kind in (None, number)
                                     and re.match(pattern, ' '.join((call, name, text)))], where)
                    survivors.add(at)
                    continue
                self.assertEqual(status, 1, where)
                told = ' '.join(said)
                self.assertIn(name, told, where)
                self.assertTrue(os.strerror(number).lower() in told
                                or surftrace.REFUSALS.get(number, '?') in told, (where, said))
        self.assertLess(len(survivors), len(operations) / 3)

    def test_one_undo_that_fails_does_not_keep_the_next(self):
        [at] = [at for at, operation in enumerate(self.operations()) if operation[0] == 'rmdir']
        state, status, said = self.failing(at, errno.EBUSY)
        self.assertEqual(status, 1)
        self.assertIn('not undone', said[0])
        self.assertEqual(state['kprobe_events'], '')

    def test_the_kernels_own_reason(self):
        tracefs = StandIn()
        self.addCleanup(tracefs.remove)
        run(tracefs)
        [(at, line)] = [(at, text.strip()) for at, (_, _, text) in enumerate(tracefs.log)
                        if text.startswith('p:surftrace/f0')]
        position = line.index('users=')
        tracefs.file('error_log', (
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


class OldKernels(unittest.TestCase):
    """Linux 3.10 and 4.19, as far as their files tell (neither is booted by any test).

    3.10: instances, debugfs only, a README that says nothing of probes, no error_log; of types
    s8 to s64, u8 to u64 (which print hexadecimal), string and bitfields; of names @, $stack,
    $stackN and $retval.  4.19, whose README and answers were taken from a real one: neither
    error_log, nor types symbol and ustring, but $comm and x8 to x64.
    """

    BASE = r'(?:[-+](?:0x[0-9a-f]+|[0-9]+)\()*(?:%%\w+|@[\w+]+|\$(?:stack[0-9]*|retval%s))\)*'
    V310 = dict(
        readme='tracing mini-HOWTO:\n\n# echo 0 > tracing_on : quick way to disable tracing\n',
        takes=BASE % '' + r'(?::(?:[su](?:8|16|32|64)|string|b\d+@\d+/\d+))?')
    V419 = dict(
        readme='\t    place: [<module>:]<symbol>[+<offset>]|<memaddr>\n\t fetcharg: %<register>, '
               '@<address>, @<symbol>[+|-<offset>],\n\t           $stack<index>, $stack, '
               '$retval, $comm\n\t     type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string,\n'
               '\t           b<bit-width>@<bit-offset>/<container-size>\n',
        takes=BASE % '|comm' + r'(?::(?:[sux](?:8|16|32|64)|string|b\d+@\d+/\d+))?')

    def lines(self, kernel, *traces):
        """Return the status, the words, and the lines that kprobe_events was given."""
        tracefs = StandIn(**kernel)
        self.addCleanup(tracefs.remove)
        os.remove(tracefs.path('error_log'))
        tracefs.events = b'an event\n'
        before = tracefs.state()
        status, said = whole_run(tracefs, list(traces))
        self.assertEqual(tracefs.state(), before)
        return status, said, [text for call, name, text in tracefs.log
                              if (call, name) == ('write', 'kprobe_events')]

    def test_types(self):
        traces = ('p wake_up_new_task a=X%di b=S%si c=%dx:string', 'r vfs_read r=X$retval')
        for kernel, letter in ((self.V310, 'u'), (self.V419, 'x')):
            status, _, lines = self.lines(kernel, *traces)
            self.assertEqual(status, 0)
            self.assertEqual(lines[:2], [
                'p:surftrace/f0 wake_up_new_task a=%%di:%s64 b=%%si:s64 c=+0x0(%%dx):string\n'
                % letter,
                'r:surftrace/f1 vfs_read r=$retval:%s64\n' % letter])

    def test_what_they_do_not_take(self):
        for kernel, value in ((self.V310, '$comm'), (self.V419, '+0(%di):ustring')):
            status, said, lines = self.lines(kernel, 'p vfs_read', 'p wake_up_new_task a=' + value)
            self.assertEqual(status, 1)
            self.assertIn('the kernel refused this trace: invalid argument (dmesg may know more); '
                          'kprobe_events was given: p:surftrace/f1 wake_up_new_task a=' + value,
                          said[0])
            self.assertEqual(lines[-1], '-:surftrace/f0\n')

    def test_what_does_instead(self):
        for kernel, value, expected in (
                (self.V310, '%di:x64', '%di:u64'), (self.V310, '%di:symbol', '%di:u64'),
                (self.V419, '%di:symbol', '%di:x64'), (self.V419, '%di:symstr', '%di:x64'),
                (self.V419, '%di:ustring', '+0x0(%di):string'), (self.V419, '%di:char', '%di:x8')):
            status, _, lines = self.lines(kernel, 'p wake_up_new_task a=' + value)
            self.assertEqual((status, lines[0]), (
                0, 'p:surftrace/f0 wake_up_new_task a=%s\n' % expected), value)

    def test_an_array_becomes_its_first_element(self):
        status, said, lines = self.lines(self.V419, 'p wake_up_new_task a=%di:x8[6]')
        self.assertEqual((status, lines[0]),
                         (0, 'p:surftrace/f0 wake_up_new_task a=+0x0(%di):x8\n'))
        self.assertIn("'a': this kernel shows no arrays, which came with Linux 4.20: only the "
                      'first element', ' '.join(said))

    def test_filters_of_events(self):
        status, _, lines = self.lines(self.V310, '-s', 'e sched/sched_switch f:prev_pid>1')
        self.assertEqual((status, lines), (0, []))


class Knowledge(unittest.TestCase):
    """What the running kernel knows: symbols, and the fields of events."""

    def setUp(self):
        self.tracefs = StandIn()
        self.addCleanup(self.tracefs.remove)
        self.tracefs.file('available_filter_functions', '\n'.join(
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

    def test_several_of_one_name(self):
        self.symbols.read[True] = 'twin [b]\ntwin\nother [b]\nother [a]\n'
        self.assertEqual(self.find('twin'), surftrace.Symbol('twin', None, 2))
        self.assertEqual(self.find('other'), surftrace.Symbol('other', 'b', 2))
        token = surftrace.Token('run', 'twin', 2)
        self.assertEqual(self.symbols.find(token, True, 'b'), surftrace.Symbol('twin', 'b'))
        with self.assertRaises(surftrace.TraceError) as caught:
            self.symbols.find(token, True, 'c')
        self.assertIn("the module 'c' has no function 'twin'", str(caught.exception))

    def test_patterns(self):
        self.symbols.read[True] = self.tracefs.read('available_filter_functions') + (
            'twin\ntwin\nbad_one\n__pfx_vfs_read\nvfs_read.cold\n')
        self.symbols.read[False] += 'ffffffff81000009 t last\nffffffff8100000a t last\n'
        self.tracefs.forbidden = lambda: frozenset(['bad_one', 'vfs_readv'])
        for pattern, module, names, left_out in [
                ('vfs_*', None, 'vfs_read', 1), ('*_read', None, 'vfs_read xvfs_read', 0),
                ('t[wx]*', None, 'two.constprop.1 two.isra.0', 1), ('b?d_one', None, '', 1),
                ('las[t]', None, '', 1), ('__*', None, '', 0), ('*', 'ext4', 'ext4_open', 0),
                ('EXT4_*', None, '', 0)]:
            found, count = self.symbols.matching(pattern, module)
            self.assertEqual((' '.join(symbol.name for symbol in found), count),
                             (names, left_out), pattern)

    def test_variables(self):
        self.symbols.read[False] = (
            '0000000000000000 A __per_cpu_start\n0000000000001000 A counters\n'
            '0000000000002000 A __per_cpu_end\nffffffff82000000 D small\nffffffff82000000 D alias\n'
            'ffffffff82000008 d large\nffffffff82001008 D jiffies\n'
            'ffffffffc0000000 d modules_own\t[m]\nffffffffc0000010 d last\t[m]\n')
        for name, size, per_cpu in [('small', 8, False), ('alias', 8, False),
                                    ('large', 4096, False), ('counters', 4096, True),
                                    ('modules_own', 16, False), ('last', None, False)]:
            self.assertEqual(self.symbols.variable(surftrace.Base('symbol', name, 4)),
                             surftrace.Storage(size, per_cpu))
        for listing, message in [(None, "did you mean 'large'"), ('ffffffff81000000 T x\n',
                                                                  'CONFIG_KALLSYMS_ALL')]:
            self.symbols.extents.clear()
            if listing:
                self.symbols.read[False] = listing
            with self.assertRaises(surftrace.TraceError) as caught:
                self.symbols.variable(surftrace.Base('symbol', 'larg', 4))
            self.assertIn(message, str(caught.exception))
            self.assertEqual(caught.exception.column, 4)
        for listing in '', '0000000000000000 D jiffies\n0000000000000000 D small\n':
            self.symbols.read[False] = listing
            self.symbols.extents.clear()
            self.assertIsNone(self.symbols.variable(surftrace.Base('symbol', 'small', 4)))

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
        self.tracefs.file('events/sched/sched_switch/format', FORMAT)
        tree = surftrace.parse_trace('e sched/sched_switch')
        self.assertEqual(surftrace.event_fields(self.tracefs, tree), {
            'common_type': ('unsigned', 16), 'prev_comm': ('string', None),
            'prev_pid': ('signed', 32), 'prev_state': ('signed', 64), 'prio': ('unsigned', 8),
            'name': ('string', None), 'text': ('string', None), 'args': ('array', None),
            'where': ('other', None)})

    def test_fields_of_events(self):
        for system, declaration, array, size, expected in [
                ('syscalls', 'const char * ', '', 8, 'user string'),
                ('syscalls', 'const char *const * ', '', 8, 'other'),
                ('syscalls', '__data_loc char[] ', '', 4, 'string'),
                ('sched', 'const char * ', '', 8, 'string'),
                ('sched', 'char ', '[16]', 16, 'string'),
                ('sock', '__u8 ', '[4]', 4, 'ip'), ('sock', '__u8 ', '[16]', 16, 'array'),
                ('x', 'unsigned char ', '[6]', 6, 'other'), ('x', 'const void * ', '', 8, 'other'),
                ('x', 'unsigned long ', '', 8, 'unsigned')]:
            self.assertEqual(surftrace.event_field(system, declaration, array, size, False).kind,
                             expected, declaration)

    def test_no_such_event(self):
        for text, column, message in [('e sched/sched_swich', 8, "'sched_switch'"),
                                      ('e shed/sched_switch', 2, "'sched'")]:
            with self.assertRaises(surftrace.TraceError) as caught:
                surftrace.event_fields(self.tracefs, surftrace.parse_trace(text))
            self.assertIn('did you mean ' + message, str(caught.exception))
            self.assertEqual(caught.exception.column, column)

    def test_what_readme_tells_of_types(self):
        """The lines are those of Linux 4.0, 5.10, 6.1, and 6.12."""
        architecture = surftrace.ARCHITECTURES['x86_64']
        for readme, features in [
                ('type: s8/16/32/64, u8/16/32/64', ''),
                ('type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string, symbol,\n b<bit-width>@'
                 '<bit-offset>/<container-size>, ustring,\n <type>\\[<array-size>\\]',
                 'array hexadecimal symbol ustring'),
                ('type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string, symbol,\n b<bit-width>@'
                 '<bit-offset>/<container-size>, ustring,\n symstr, <type>\\[<array-size>\\]',
                 'array hexadecimal symbol symstr ustring'),
                ('<argname>[->field[->field|.field...]],\n'
                 'type: s8/16/32/64, u8/16/32/64, x8/16/32/64, char, string, symbol,\n b<bit-width>'
                 '@<bit-offset>/<container-size>, ustring,\n symstr, %pd/%pD, <type>\\'
                 '[<array-size>\\]', 'arguments-on-return array char checks-of-types hexadecimal '
                                     'symbol symstr ustring')]:
            self.tracefs.file('README', readme)
            found = surftrace.running_target(self.tracefs, architecture, None).features
            self.assertEqual(sorted(name.replace(' ', '-') for name in found), features.split())
        self.assertEqual(surftrace.running_target(None, architecture, None).features,
                         surftrace.USUAL_FEATURES)


class Mounts(unittest.TestCase):

    def mount(self, mounts):
        read = surftrace.text_if_there
        surftrace.text_if_there = lambda path: mounts
        try:
            return surftrace.find_mount()
        finally:
            surftrace.text_if_there = read

    def test_find(self):
        debug, tracing = '/sys/kernel/debug', '/sys/kernel/tracing'
        for mounts, expected in [
                ('', None), ('proc /proc proc rw 0 0\n', None),
                ('d /sys/kernel/debug debugfs rw 0 0\n', (debug + '/tracing', debug, False)),
                ('d /sys/kernel/debug debugfs rw 0 0\nt /sys/kernel/tracing tracefs rw 0 0\n',
                 (tracing, tracing, False)),
                ('surftrace /sys/kernel/tracing tracefs rw 0 0\n', (tracing, tracing, True)),
                ('f /home/a\x0cb\rc\x1dd fuse rw 0 0\nt /x tracefs rw 0 0\n', ('/x', '/x', False)),
                ('t /a\\040b tracefs rw 0 0\n', ('/a b', '/a b', False))]:
            self.assertEqual(self.mount(mounts), expected)

    def test_a_directory_that_is_not_there(self):
        path = tempfile.mkdtemp()
        os.rmdir(path)
        with self.assertRaises(surftrace.KernelError) as caught:
            surftrace.open_tracefs(path, Recorder())
        self.assertIn(path, str(caught.exception))


if __name__ == '__main__':
    unittest.main()

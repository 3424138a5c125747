"""Live runs on a machine in small: what they write, what they undo, and every way they can fail."""
import errno
import gc
import os
import re
import shlex
import signal
import subprocess
import threading
import time
import unittest

from tests.lib import btf, tool
from tests.lib.standin import DEBUGFS, StandIn, TRACEFS

RUN = 'surftrace_%d' % os.getpid()      # what a run of this process is called
TASK = 'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm=="a b"&&users<4'
TRACES = [TASK, 'r ip_rcv r=$retval', 'e sched/sched_switch f:prev_pid>1']
EVENT = (b'            bash-1234    [000] d..1.  2300.901455: '
         b'f0: (wake_up_new_task+0x0/0x370) comm="sh" users=1\n')


def descriptors_open():
    """The numbers of the descriptors that are open, but for those of what is garbage."""
    gc.collect()
    return sorted(os.listdir('/proc/self/fd'))


class OnABox(unittest.TestCase):
    """A test with a StandIn."""

    maxDiff = None

    def setUp(self):
        self.box = StandIn()
        self.addCleanup(self.box.remove)

    def run_on(self, *arguments, **options):
        return tool.run(arguments or TRACES, on=self.box, **options)

    def notes(self, result):
        """Return what is said on stderr beside the lines of the set-up and the clean-up."""
        return [line[11:] for line in result.err.splitlines() if line.startswith('surftrace: ')]

    def lines(self, result):
        return [line for line in result.err.splitlines()
                if re.match('(mkdir|rmdir|echo|printf|mount|umount) ', line)]

    def writes_of(self, result):
        """Return (name, text) of each write that the echoed lines would do, by a shell's rules."""
        found, text = [], result.err.replace('\n-:', '\0-:')
        for line in text.splitlines():
            words = shlex.split(line.replace('\0', '\n')) if re.match('echo|printf', line) else ()
            if words:
                found.append((words[-1][len(TRACEFS) + 1:], words[-3] + '\n'))
        return found

    def once_tracing(self, *calls):
        """Call (function, argument ...) each in a thread of its own, once tracing is on."""
        def wait():
            end = time.time() + 60
            while not [name for name, text in self.box.writes()
                       if name.endswith('/tracing_on') and text == '1\n']:
                if time.time() > end:
                    return
                time.sleep(0.01)
            for call in calls:
                time.sleep(0.05)
                call[0](*call[1:])
        thread = threading.Thread(target=wait)
        self.addCleanup(thread.join)
        self.box.log = []
        thread.start()
        return thread


class Runs(OnABox):

    def test_leaves_everything_as_it_was(self):
        before, descriptors = self.box.state(), descriptors_open()
        self.box.events = EVENT * 2
        result = self.run_on()
        self.assertEqual((result.status, result.out), (0, tool.text_of(EVENT * 2)))
        self.assertEqual(self.box.state(), before)
        self.assertEqual(descriptors_open(), descriptors)

    def test_what_it_writes_in_which_order(self):
        top, filters = 'instances/%s/' % RUN, '%sevents/%s/%s'
        self.assertEqual(self.run_on('-s', *TRACES).status, 0)
        self.assertEqual(self.box.writes(), [(name, text + '\n') for name, text in [
            (top + 'options/stacktrace', '1'), (top + 'tracing_on', '0'),
            ('kprobe_events', 'p:%s/f0 wake_up_new_task comm=+0x10(%%di):string '
                              'users=+0x10(+0x20(%%di)):s32' % RUN),
            ('kprobe_events', 'r:%s/f1 ip_rcv r=$retval:x64' % RUN),
            (filters % (top, RUN + '/f0', 'filter'), 'comm=="a b"&&users<4'),
            (filters % (top, 'sched/sched_switch', 'filter'), 'prev_pid>1'),
            (top + 'set_event_notrace_pid', str(os.getpid())),
            (filters % (top, RUN + '/f0', 'enable'), '1'),
            (filters % (top, RUN + '/f1', 'enable'), '1'),
            (filters % (top, 'sched/sched_switch', 'enable'), '1'),
            (top + 'tracing_on', '1'), (top + 'tracing_on', '0'),
            (filters % (top, 'sched/sched_switch', 'enable'), '0'),
            (filters % (top, RUN + '/f1', 'enable'), '0'),
            (filters % (top, RUN + '/f0', 'enable'), '0'),
            ('kprobe_events', '-:%s/f1' % RUN), ('kprobe_events', '-:%s/f0' % RUN)]])
        calls = [(call, name) for call, name, _ in self.box.log if call in ('mkdir', 'rmdir')]
        self.assertEqual(calls, [(call, 'instances/' + RUN) for call in ('mkdir', 'rmdir')])

    def test_echoes_what_it_does(self):
        """The lines on stderr are what is written, in that order; -S shows those of the set-up."""
        result = self.run_on()
        self.assertEqual(self.writes_of(result), self.box.writes())
        shown = self.run_on('-S', *TRACES)
        # (Whose events are left out is known only when it runs.)
        lines = [line for line in self.lines(result) if 'notrace' not in line]
        self.assertEqual(shown.out.replace('surftrace', RUN).splitlines(),
                         lines[:len(shown.out.splitlines())])
        self.assertEqual(self.lines(result)[-1], 'rmdir %s/instances/%s' % (TRACEFS, RUN))

    def test_show_touches_nothing(self):
        before = self.box.state()
        self.assertEqual(self.run_on('-S', *TRACES).status, 0)
        self.assertEqual(self.box.state(), before)
        self.assertEqual([call for call, _, _ in self.box.log if call in ('mkdir', 'write')], [])

    def test_events_are_shown_as_they_come(self):
        """Each line is there at once; what is in the buffer at the end is only the rest."""
        self.box.hold, read_end = True, os.pipe()
        seen = []

        def watch():
            for _ in range(2):
                seen.append(os.read(read_end[0], 1 << 16))
                self.box.feed(EVENT if len(seen) == 1 else b'')
        self.box.events = EVENT
        self.once_tracing((watch,))
        result = self.run_on(TASK, stdout=read_end[1])
        os.close(read_end[1])
        self.assertEqual((result.status, seen), (0, [EVENT] * 2))
        self.assertEqual(os.read(read_end[0], 10), b'')
        os.close(read_end[0])

    def test_what_was_lost_is_told(self):
        self.box.events = EVENT * 2
        self.assertEqual(self.notes(self.run_on())[-1],
                         '2 events, and 5 lost: the ring buffer was full (-b makes it larger)')

    def test_missed_probes_are_counted_by_position(self):
        """Since the kernel's list of them names no groups."""
        self.box.missed = {'kprobes/f0': 100, RUN + '/f0': 7, RUN + '/f1': 1}
        self.box.probe('p:kprobes/f0 vfs_read')
        said = self.notes(self.run_on())[-1]
        self.assertIn('and 1 return missed: too many calls were under way at once (--maxactive',
                      said)
        self.assertIn('and 7 missed, each', said)


class Options(OnABox):

    def set_up(self, *arguments):
        result = self.run_on(*arguments)
        self.assertEqual(result.status, 0, result.err)
        return dict((name.replace('instances/%s/' % RUN, ''), text.strip())
                    for name, text in self.box.writes() if '-:' not in text and text != '0\n')

    def test_stacks(self):
        self.assertEqual(self.set_up('-s', TASK)['options/stacktrace'], '1')

    def test_no_stacks(self):
        self.assertNotIn('options/stacktrace', self.set_up(TASK))
        self.assertIn(('instances/%s/options/stacktrace' % RUN, '0\n'), self.box.writes())

    def test_buffer(self):
        self.assertEqual(self.set_up('-b', '64', TASK)['buffer_size_kb'], '64')

    def test_maxactive(self):
        self.set_up('--maxactive', '7', 'r ip_rcv', 'p ip_rcv')
        self.assertEqual([text for name, text in self.box.writes() if name == 'kprobe_events'][:2],
                         ['r7:%s/f0 ip_rcv\n' % RUN, 'p:%s/f1 ip_rcv\n' % RUN])

    def test_process(self):
        """All threads that it has, and what they start."""
        hold = threading.Event()
        thread = threading.Thread(target=hold.wait)
        thread.start()
        written = self.set_up('-p', str(os.getpid()), TASK)
        tasks = sorted(os.listdir('/proc/self/task'), key=int)
        hold.set()
        thread.join()
        self.assertGreater(len(tasks), 1)
        self.assertEqual(written['set_event_pid'], ' '.join(tasks))
        self.assertEqual(written['options/event-fork'], '1')
        names = [name for name, _ in self.box.writes()]
        self.assertLess(names.index('instances/%s/set_event_pid' % RUN),
                        names.index('instances/%s/events/%s/f0/enable' % (RUN, RUN)))

    def test_count(self):
        self.box.events = EVENT * 9
        result = self.run_on('-c', '3', TASK)
        self.assertEqual(result.out, tool.text_of(EVENT * 3))
        self.assertEqual(self.notes(result)[-1].split(',')[0], '3 events')

    def test_time(self):
        self.box.hold = True
        began = time.time()
        result = self.run_on('-t', '0.3', TASK)
        self.assertGreaterEqual(time.time() - began, 0.29)
        self.assertEqual((result.status, self.box.names('instances')), (0, []))

    def test_patterns(self):
        """Each function is an event of its own; what cannot be probed is left out and counted."""
        self.box.put(TRACEFS + '/available_filter_functions', '\n'.join(
            ['vfs_read', 'vfs_readv', 'xvfs_read', 'two.isra.0', 'two.constprop.1',
             'ext4_open [ext4]', 'twin', 'twin', 'bad_one', '__pfx_vfs_read', 'vfs_read.cold',
             'last', 'ip_rcv']) + '\n')
        self.box.put('/proc/kallsyms', ''.join(
            'ffffffff8100000%d t %s\n' % each for each in enumerate(['last', 'twin'] * 2)))
        self.box.put(DEBUGFS + '/kprobes/blacklist',
                     '0x1-0x2\tbad_one\n0x3-0x4\tvfs_readv\n')
        for pattern, names, left_out in [
                ('vfs_*', 'vfs_read', 1), ('*_read', 'vfs_read xvfs_read', 0),
                ('t[wx]*', 'two.constprop.1 two.isra.0', 1), ('b?d_one', None, 1),
                ('las[t]', None, 1), ('__*', None, 0), ('ext4:*', 'ext4:ext4_open', 0),
                ('EXT4_*', None, 0)]:
            result = self.run_on('-S', 'p %s c=$comm' % pattern)
            found = re.findall(r"'p:surftrace/f\d+ (\S+) c=", result.out)
            self.assertEqual((result.status, ' '.join(found) or None), (0 if names else 2, names),
                             pattern)
            if left_out:
                self.assertIn('%d that cannot be probed, or of which there are several' % left_out,
                              result.err)
            elif names:
                self.assertNotIn('several', result.err)
                self.assertIn("takes %d function" % len(found), result.err)

    def test_patterns_that_take_too_much(self):
        names = ['many_%03d' % number for number in range(101)]
        self.box.put(TRACEFS + '/available_filter_functions', '\n'.join(names[:100]) + '\n')
        self.assertEqual(self.run_on('-S', 'p many_*').status, 0)
        self.box.put(TRACEFS + '/available_filter_functions', '\n'.join(names) + '\n')
        result = self.run_on('-S', 'p many_*')
        self.assertEqual(result.status, 2)
        self.assertIn('--max-probes', result.err)
        self.assertEqual(self.run_on('-S', '--max-probes', '101', 'p many_*').status, 0)
        self.assertEqual(self.run_on('-S', '--max-probes', '1', 'p many_?01 a=%di').status, 0)

    def test_patterns_of_functions_that_lack_what_is_asked_for(self):
        result = self.run_on('-S', 'p *rcv len=$skb->len')
        self.assertIn('ip_rcv len=', result.out)
        result = self.run_on('-S', 'p [iw]*_* c=%0->comm')
        self.assertEqual(re.findall(r"f(\d) (\S+) c=", result.out),
                         [('0', 'in_one_register'), ('1', 'in_registers'),
                          ('2', 'wake_up_new_task')])
        self.assertIn('left out: 1 that this does not fit', result.err)
        result = self.run_on('-S', 'p *rcv a=%0->nothing')
        self.assertIn("no member 'nothing'", result.err)
        self.assertEqual(result.status, 2)


class OwnEvents(OnABox):
    """The tool's own process makes no events, and only what is set up before is recorded."""

    def test_it_is_left_out(self):
        result = self.run_on(TASK)
        self.assertIn(('instances/%s/set_event_notrace_pid' % RUN, '%d\n' % os.getpid()),
                      self.box.writes())
        self.assertNotIn('notrace', self.run_on('-S', TASK).out)
        self.assertEqual(result.status, 0)

    def test_it_is_left_out_by_filters(self):
        """Before Linux 5.7."""
        os.remove(self.box.tracefs + '/set_event_notrace_pid')
        self.assertEqual(self.run_on('p ip_rcv', TASK).status, 0)
        filters = [text for name, text in self.box.writes() if name.endswith('/filter')]
        self.assertEqual(filters, ['common_pid!=%d\n' % os.getpid(),
                                   '(comm=="a b"&&users<4)&&common_pid!=%d\n' % os.getpid()])

    def test_a_refused_filter_is_pointed_at(self):
        """Also behind the parenthesis that leaving out its own events takes."""
        os.remove(self.box.tracefs + '/set_event_notrace_pid')
        self.box.refuses = {'users<4': (errno.EINVAL, 'No such field', 'users')}
        lines = self.run_on(TASK).err.splitlines()
        at = lines.index('  ' + TASK)
        self.assertEqual(lines[at + 1].index('^') - 2, TASK.rindex('users'))

    def test_nothing_is_recorded_before_all_is_set(self):
        names = [(name.rpartition('/')[2], text) for name, text in self.box.writes()] if (
            self.run_on('-s', TASK)) else []
        order = [names.index(each) for each in (
            ('stacktrace', '1\n'), ('tracing_on', '0\n'), ('enable', '1\n'),
            ('tracing_on', '1\n'), ('tracing_on', '0\n'))[:4]]
        self.assertEqual(order, sorted(order))

    def test_what_somebody_has_set_at_the_top_is_set_right(self):
        """A new instance begins with it."""
        names = ('context-info', 'latency-format', 'raw', 'hex', 'bin', 'fields', 'userstacktrace')
        for name in names:
            self.box.put('%s/options/%s' % (TRACEFS, name),
                         '0\n' if name in ('context-info', 'hex') else '1\n')
        self.assertEqual(self.run_on(TASK).status, 0)
        top = 'instances/%s/options/' % RUN
        self.assertEqual([(name[len(top):], text) for name, text in self.box.writes()
                          if name.startswith(top)],
                         [(name, '1\n' if name == 'context-info' else '0\n')
                          for name in names + ('stacktrace',) if name != 'hex'])

    def test_threads_that_start_meanwhile(self):
        """Their list is read again once the first ones are entered."""
        started, stop = [], threading.Event()
        written = self.box.written

        def write(descriptor, name, data):
            if name.endswith('/set_event_pid') and len(started) < 3:
                started.append(threading.Thread(target=stop.wait))
                started[-1].start()
            return written(descriptor, name, data)
        self.box.written = write
        try:
            self.assertEqual(self.run_on('-p', str(os.getpid()), TASK).status, 0)
        finally:
            stop.set()
            for thread in started:
                thread.join()
        lists = [text.split() for name, text in self.box.writes()
                 if name.endswith('/set_event_pid')]
        self.assertEqual([len(numbers) for numbers in lists[1:]], [1, 1, 1])


class Refused(OnABox):
    """Of a pattern, the functions that the kernel does not take are left out."""

    def test_some(self):
        self.box.refuses = {'no_result': (errno.EINVAL, 'Failed to register probe event', 'no')}
        before = self.box.state()
        result = self.run_on('p [nv]*')
        self.assertEqual(result.status, 0)
        self.assertIn('left out: 1 function that the kernel refused (the kernel refused this '
                      'trace: failed to register probe event', result.err)
        self.assertEqual([name.split('/')[-2] for name, text in self.box.writes()
                          if name.endswith('/enable') and text == '1\n'], ['f1'])
        after = self.box.state()
        after['error_log'] = before['error_log']
        self.assertEqual(after, before)

    def test_all(self):
        self.box.refuses = {'kprobe': (errno.EINVAL, '', ''), 'p:': (errno.EINVAL, '', '')}
        self.assertEqual(self.run_on('p [nv]*').status, 1)
        self.assertEqual((self.box.probes(), self.box.names('instances')), ([], []))

    def test_why_it_cannot_be_probed(self):
        refused = errno.EINVAL, 'Failed to register probe event', 'no_result'
        self.box.refuses = {'no_result': refused}
        path = '/sys/kernel/debug/kprobes/blacklist'
        self.box.put(path, '0xffffffff81000000-0xffffffff81000010\tno_result\n')
        self.assertIn('failed to register probe event, since kprobes must not touch it (%s)' % path,
                      self.run_on('p no_result').err)
        self.box.put(path, '')
        self.box.put('/proc/kallsyms', 'ffffffff81000000 T not_listed\n')
        self.box.refuses = {'not_listed': refused}
        self.assertIn("since it is not among ftrace's available_filter_functions",
                      self.run_on('p not_listed').err)


class Triggers(OnABox):
    """Somebody else's trigger holds a probe of ours."""

    def test_one_at_the_top_is_named(self):
        path = 'events/%s/f0/trigger' % RUN

        def written(descriptor, name, data):
            if data.startswith(b'-:'):
                self.box.put('%s/%s' % (TRACEFS, path), '# Available triggers:\nhist:keys=a\n')
                raise EnvironmentError(errno.EBUSY, 'busy')
            return os.write(descriptor, data)
        usual, self.box.written = self.box.written, lambda *call: (
            written(*call) if call[1] == 'kprobe_events' and call[2][:2] == b'-:' else usual(*call))
        result = self.run_on('p vfs_read')
        self.assertEqual(result.status, 1)
        self.assertIn('not undone: %s/kprobe_events: device or resource busy, as %s/%s holds it' % (
            TRACEFS, TRACEFS, path), result.err)

    def test_one_in_the_instance_goes_with_it(self):
        usual, refusals = self.box.written, []

        def written(descriptor, name, data):
            if data.startswith(b'-:') and self.box.names('instances'):
                refusals.append(name)
                raise EnvironmentError(errno.EBUSY, 'busy')
            return usual(descriptor, name, data)
        self.box.written = written
        result = self.run_on('p vfs_read')
        self.assertEqual((result.status, self.box.probes(), len(refusals)), (0, [], 1), result.err)


class Leftovers(OnABox):

    def test_somebody_elses_probes_stay(self):
        self.box.probe('p:kprobes/f0 vfs_read')
        self.box.probe('p:surftracex/f0 vfs_read')
        self.box.instance('somebody')
        before = self.box.state()
        self.assertEqual(self.run_on().status, 0)
        self.assertEqual(self.box.state(), before)

    def test_probes_that_go_one_by_one(self):
        """Where their joined removal is refused, and somebody else's stand beside them."""
        self.box.probe('p:kprobes/mine vfs_read')
        before, self.box.refuses = self.box.state(), {'\n-:': (errno.EBUSY, '', '')}
        result = self.run_on('p ip_rcv', 'r ip_rcv')
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(self.box.state(), before)

    def dead(self):
        """Return the number of a process that is no more."""
        process = subprocess.Popen(['true'])
        process.wait()
        return process.pid

    def test_what_a_killed_run_left_is_removed(self):
        """Of a process that is no more, or of an earlier one that had our number."""
        for pid in (self.dead(), os.getpid()):
            run = 'surftrace_%d' % pid
            self.box.instance(run)
            for line in ('p:%s/f0 vfs_read' % run, 'p:%s/f7 vfs_read' % run):
                self.box.probe(line)
            result = self.run_on()
            self.assertEqual(result.status, 0)
            self.assertIn('removed what a killed run had left: ' + run, self.notes(result))
            self.assertEqual((self.box.probes(), self.box.names('instances')), ([], []))

    def test_probes_or_an_instance_alone(self):
        runs = ['surftrace_%d' % self.dead() for _ in range(2)]
        self.box.probe('p:%s/f0 vfs_read' % runs[0])
        self.box.instance(runs[1] + '_1')
        said = self.notes(self.run_on())
        for run in runs[0], runs[1] + '_1':
            self.assertIn('removed what a killed run had left: ' + run, said)
        self.assertEqual((self.box.probes(), self.box.names('instances')), ([], []))

    def test_what_is_not_left_behind_stays(self):
        """What a living process has, what a script shows, and what a person made by hand."""
        names = ['surftrace', 'surftrace_', 'surftrace_x', 'surftrace_1', 'surftraces_1',
                 'surftrace_99999999999999999999', 'x_surftrace_%d' % self.dead()]
        for name in names:
            self.box.instance(name)
        for name in names:
            self.box.probe('p:%s/f0 vfs_read' % name)
        result = self.run_on()
        self.assertEqual(result.status, 0)
        self.assertEqual(self.box.names('instances'), sorted(names))
        self.assertEqual(self.box.probes(), sorted(name + '/f0' for name in names))
        self.assertNotIn('removed', result.err)

    def test_an_instance_that_is_read_is_let_alone(self):
        """Its process has gone, but a cat that it started reads on."""
        run = 'surftrace_%d' % self.dead()
        self.box.instance(run)
        self.box.probe('p:%s/f0 vfs_read' % run)
        before = self.box.state()
        descriptor = self.box.system.open('%s/instances/%s/trace_pipe' % (TRACEFS, run),
                                          os.O_RDONLY | os.O_NONBLOCK)
        result = self.run_on()
        self.assertEqual((result.status, self.box.state()), (0, before))
        self.assertIn('instances/%s is left alone: somebody uses it, ' % run, result.err)
        self.box.system.close(descriptor)

    def test_who_reads_it(self):
        path = '%s/instances/x/trace_pipe' % self.box.tracefs
        self.box.instance('x')
        reader = subprocess.Popen(['cat', path], stdin=subprocess.PIPE)
        writer, end = os.open(path, os.O_WRONLY), time.time() + 60     # waits until it is read
        while not tool.readers(path) and time.time() < end:
            pass        # (it has no number yet)
        self.assertEqual(tool.readers(path), ['cat (%d)' % reader.pid])
        os.close(writer)
        reader.communicate()
        self.assertEqual(tool.readers(path), [])

    def test_a_name_that_is_taken(self):
        """By another container's process of that number."""
        self.box.instance(RUN)
        self.box.instance(RUN + '_1')
        descriptors = [self.box.system.open('%s/instances/%s/trace_pipe' % (TRACEFS, run),
                                            os.O_RDONLY | os.O_NONBLOCK)
                       for run in (RUN, RUN + '_1')]
        result = self.run_on()
        self.assertEqual(result.status, 0, result.err)
        self.assertIn('mkdir %s/instances/%s_1_1' % (TRACEFS, RUN), self.lines(result))
        self.assertIn('rmdir %s/instances/%s_1_1' % (TRACEFS, RUN), self.lines(result))
        self.assertEqual(self.box.names('instances'), [RUN, RUN + '_1'])
        for descriptor in descriptors:
            self.box.system.close(descriptor)


class Mounts(unittest.TestCase):

    def box(self, mounts='', **options):
        box = StandIn(mounted=False, **options)
        self.addCleanup(box.remove)
        box.put('/proc/mounts', mounts)
        return box

    def mounts(self, box):
        with open(box.root + '/proc/mounts', 'rb') as stream:
            return tool.text_of(stream.read())

    def test_tracefs_is_mounted_and_unmounted(self):
        box = self.box('proc /proc proc rw 0 0\n')
        box.events = EVENT
        result = tool.run([TASK], on=box)
        self.assertEqual((result.status, result.out), (0, tool.text_of(EVENT)), result.err)
        self.assertTrue(result.err.endswith('umount %s\n' % TRACEFS) or
                        'umount %s\n' % TRACEFS in result.err)
        self.assertIn('mount -t tracefs surftrace %s\n' % TRACEFS, result.err)
        self.assertEqual(self.mounts(box), 'proc /proc proc rw 0 0\n')

    def test_a_signal_while_it_mounts(self):
        """The mount is completed first, or what it makes would stay."""
        for number in signal.SIGTERM, signal.SIGINT:
            box = self.box()
            box.put('/on-mount', 'kill -%d $PPID; sleep 0.1\n' % number)
            result = tool.run([TASK], on=box)
            self.assertEqual((result.status, self.mounts(box), box.writes()),
                             (128 + number, '', []), result.err)
            self.assertIn('umount %s\n' % TRACEFS, result.err)

    def test_a_mount_of_somebody_elses_stays(self):
        for mounts, root in [
                ('d %s debugfs rw 0 0\n' % DEBUGFS, DEBUGFS + '/tracing'),
                ('d %s debugfs rw 0 0\nt %s tracefs rw 0 0\n' % (DEBUGFS, TRACEFS), TRACEFS),
                # What any user mounts may have every other white space in its name.
                ('f /home/a\x0cb\rc\x1dd fuse rw 0 0\nt %s tracefs rw 0 0\n' % TRACEFS, TRACEFS)]:
            box = self.box(mounts)
            result = tool.run([TASK], on=box)
            self.assertEqual(result.status, 0, result.err)
            self.assertIn('mkdir %s/instances/%s\n' % (root, RUN), result.err)
            self.assertEqual(self.mounts(box), mounts)
            self.assertNotIn('mount ', result.err)

    def test_it_cannot_be_mounted(self):
        box = self.box()
        box.put('/refuses-mounts', 'yes')
        result = tool.run([TASK], on=box)
        self.assertEqual(result.status, 1)
        self.assertIn('permission denied', result.err)
        self.assertIn('in a container, run it on the host or with --privileged', result.err)

    def test_not_root(self):
        box = self.box()
        box.user = 1000
        result = tool.run([TASK], on=box)
        self.assertEqual((result.status, self.mounts(box)), (1, ''))
        self.assertIn('tracing needs root; -S shows the lines without', result.err)

    def test_a_directory_that_is_not_tracefs(self):
        for arguments in (['--tracefs', '/nonexistent', TASK],):
            result = tool.run(arguments, on=self.box())
            self.assertEqual(result.status, 1)
            self.assertIn('/nonexistent/README: no such file or directory', result.err)

    def test_what_is_shown_where_the_kernel_forbids_tracefs(self):
        """As one that is locked down does: nothing is looked up there, and all is shown."""
        box = self.box()
        box.put('/proc/mounts', 'tracefs %s tracefs rw 0 0\n' % TRACEFS)
        for at in range(2):
            box.log, box.fail = [], (at, errno.EPERM)
            self.assertEqual(tool.run(['-S', TASK], on=box).status, 0)

    def test_a_mount_with_a_blank_in_its_name(self):
        """/proc/mounts has it as \\040."""
        box = self.box()
        box.put('/proc/mounts', 'tracefs /a\\040b tracefs rw 0 0\n')
        self.assertIn('/a b/README: no such file or directory', tool.run([TASK], on=box).err)

    def test_shown_where_nothing_is_mounted(self):
        """As a live run would begin."""
        result = tool.run(['-S', TASK], on=self.box())
        self.assertEqual(result.out.splitlines()[:2], [
            'mount -t tracefs surftrace ' + TRACEFS, 'mkdir %s/instances/surftrace' % TRACEFS])
        box = self.box()
        path = box.root + '/raw'
        box.put('/raw', btf.sample().data())
        self.assertEqual(tool.run(['-S', '-v', path, TASK], on=box).out, result.out)


class Signals(OnABox):

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM,
               signal.SIGUSR1, signal.SIGUSR2)

    def test_a_signal_at_every_operation(self):
        """Whenever it comes, all that was done is undone, once."""
        # (nohup ignores HUP, which then ends nothing.)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))
        before = self.box.state()
        self.assertEqual(self.run_on('-s', *TRACES).status, 0)
        operations = list(self.box.log)
        first = [call for call, _, _ in operations].index('mkdir')
        for at in range(len(operations)):
            number = self.NUMBERS[at % len(self.NUMBERS)]
            self.box.log, self.box.signal = [], (at, number)
            result = self.run_on('-s', *TRACES)
            status = 0 if number == signal.SIGINT else 128 + number
            # (Before anything has been done it may end as any program does.)
            self.assertIn(result.status, [status] if at > first else [status, 128 + number],
                          (at, operations[at], result.err))
            self.assertEqual(self.box.state(), before, (at, operations[at]))
            self.assertNotIn('not undone', result.err)

    def send(self, number, handler, times=1):
        """Return the status of a run that a signal comes to, which was handled so before."""
        earlier = signal.signal(number, handler)
        self.addCleanup(signal.signal, number, earlier)
        self.box.hold = True
        thread = self.once_tracing(*[(os.kill, os.getpid(), number)] * times)
        status = self.run_on(TASK).status
        thread.join()
        self.assertEqual(self.box.names('instances'), [])
        self.box.feed(b'')
        return status

    def test_while_nothing_comes(self):
        """And a second one changes nothing."""
        for number in self.NUMBERS:
            self.assertEqual(self.send(number, lambda *_: None, 2),
                             0 if number == signal.SIGINT else 128 + number)

    def test_what_a_shell_ignores(self):
        """INT and QUIT, which its & ignores, end a run all the same; nohup is meant."""
        for number, status in ((signal.SIGINT, 0), (signal.SIGQUIT, 131)):
            self.assertEqual(self.send(number, signal.SIG_IGN), status)
        earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self.box.hold = True
            self.once_tracing((os.kill, os.getpid(), signal.SIGHUP), (self.box.feed, b''))
            self.assertEqual(self.run_on(TASK).status, 0)
        finally:
            signal.signal(signal.SIGHUP, earlier)

    def test_waiting_is_not_cut_short_by_one(self):
        """Python 2 is interrupted then, Python 3 hides it (PEP 475); both are told so here."""
        class Poll(object):
            calls = 0

            def poll(self, milliseconds):
                self.calls += 1
                if self.calls < 3:
                    raise EnvironmentError(errno.EINTR, 'interrupted')
                return [(7, milliseconds)]
        poll = Poll()
        left = tool.wait_for(poll, 60)[7]
        self.assertEqual(poll.calls, 3)
        self.assertTrue(50000 < left <= 60000)
        poll.calls = 3
        self.assertLess(tool.wait_for(poll, 1 << 40)[7], 1 << 31)   # longer than poll can
        poll.poll = lambda _: os.read(-1, 1)
        self.assertRaises(EnvironmentError, tool.wait_for, poll, 1)


class Failures(OnABox):

    ARGUMENTS = ['-s'] + TRACES
    # Each operation meets EBUSY, and one of these by turns.
    ERRORS = (errno.EIO, errno.ENOSPC, errno.EINVAL, errno.EACCES, errno.ENOENT)
    # What has to be survived: spelling goes unchecked then.
    SURVIVED = [(None, r'(open|read) available_filter_functions $')]

    def operations(self):
        """Return the operations of a whole run that nothing happens to."""
        self.box.log, self.box.events = [], EVENT
        self.assertEqual(self.run_on(*self.ARGUMENTS).status, 0)
        return [(call, name, text) for call, name, text in self.box.log]

    def test_every_operation_failing_in_turn(self):
        """The error names the file and the reason; all else that was done is undone."""
        before, operations = self.box.state(), self.operations()
        descriptors, wrong = descriptors_open(), []
        for at, (call, name, text) in enumerate(operations):
            if call == 'open' and at + 1 < len(operations) and operations[at + 1][0] == 'write':
                text = operations[at + 1][2]
            for number in (errno.EBUSY, self.ERRORS[at % len(self.ERRORS)]):
                where = (os.strerror(number), at, call, name, text)
                self.box.log, self.box.events, self.box.fail = [], EVENT, (at, number)
                result = self.run_on(*self.ARGUMENTS)
                self.box.fail = None
                self.assertEqual(descriptors_open(), descriptors, where)
                # (The first look at README tells whether tracefs is there at all.)
                survived = at > 1 and any(kind in (None, number) and re.match(
                    pattern, ' '.join((call, name, text))) for kind, pattern in self.SURVIVED)
                # What is busy is undone once more when the rest is.
                survived = survived or number == errno.EBUSY and (
                    call == 'rmdir' or name.endswith('/enable') and text == '0\n' or (
                        text.startswith('-:') and call in ('open', 'write')) or (
                            name.endswith('/tracing_on') and text == '0\n' and (
                                at > len(operations) // 2)))
                # (No kernel is ever busy when the list of probes is read.)
                if (result.status == 0) != survived and (name, number, text) != (
                        'kprobe_events', errno.EBUSY, ''):
                    wrong.append((where, result.status))
                if result.status:
                    self.assertIn(name, result.err, where)
                    self.assertEqual(result.status, 1, where)
                if number != errno.EBUSY and (
                        call == 'rmdir' or name.endswith('/enable') and text == '0\n' or (
                            text.startswith('-:') and call in ('open', 'write'))):
                    # (An event that is enabled keeps its probe.)  The next run takes it away.
                    self.assertIn('not undone', result.err, where)
                    self.assertIn('the next run removes what is left', result.err)
                    self.assertEqual(self.run_on('e sched/sched_switch').status, 0)
                self.assertEqual(self.box.state(), before, where)
        self.assertEqual('\n'.join(map(repr, wrong)), '')

    def test_one_undo_that_fails_does_not_keep_the_next(self):
        [at] = [at for at, operation in enumerate(self.operations()) if operation[0] == 'rmdir']
        self.box.log, self.box.events, self.box.fail = [], EVENT, (at, errno.EIO)
        result = self.run_on(*self.ARGUMENTS)
        self.assertEqual((result.status, self.box.probes()), (1, []))
        self.assertIn('not undone: %s/instances/%s: ' % (TRACEFS, RUN), result.err)
        self.assertIn('the next run removes what is left', result.err)

    def refused(self, refuses, *arguments):
        """Return the lines on stderr of a run that the kernel refuses something."""
        before, self.box.refuses = self.box.state(), refuses
        result = self.run_on(*arguments)
        self.assertEqual(result.status, 1)
        after = self.box.state()
        after['error_log'] = ''
        self.assertEqual(after, before)
        return result.err.splitlines()

    def test_the_kernels_own_reason(self):
        said = self.refused({'p:%s/f0' % RUN: (errno.EINVAL, 'Unknown type is specified',
                                               'users=')}, TASK)
        [at] = [at for at, line in enumerate(said) if line == '  ' + TASK]
        self.assertIn('the kernel refused this trace: unknown type is specified; kprobe_events was '
                      'given: p:%s/f0 wake_up_new_task comm=' % RUN, said[at - 1])
        self.assertTrue(said[at][said[at + 1].index('^'):].startswith('%0->mm->mm_users'))

    def test_the_kernels_own_reason_for_a_filter(self):
        trace = 'p ip_rcv ip_a=@(struct iphdr *)%0->saddr n=%0->len f:ip_a==127.0.0.1 && n==80'
        said = self.refused({'&& n': (errno.EINVAL, 'Field not found', 'n==')}, trace)
        [at] = [at for at, line in enumerate(said) if line == '  ' + trace]
        self.assertIn('the kernel refused this filter: field not found; ', said[at - 1])
        self.assertTrue(said[at][said[at + 1].index('^'):].startswith('n==80'))

    def test_a_string_in_a_refused_filter_may_hold_what_joins(self):
        trace = 'p ip_rcv comm=$comm n=%0->len f:comm=="x&&y||z" && n==80 && n!=1'
        said = self.refused({'&& n': (errno.EINVAL, 'Field not found', 'n==')}, trace)
        [at] = [at for at, line in enumerate(said) if line == '  ' + trace]
        self.assertTrue(said[at][said[at + 1].index('^'):].startswith('n==80'))

    def test_another_runs_reason_is_not_ours(self):
        log = ('[ 1.0] trace_kprobe: error: Some other run\n'
               '  Command: p:surftrace_1/f0 foo\n           ^\n')
        self.box.put(TRACEFS + '/error_log', log)
        self.box.refuses = {'p:%s/f0' % RUN: (errno.EINVAL, None, '')}
        said = self.run_on(TASK).err
        self.assertEqual(self.box.get('error_log'), log)
        self.assertNotIn('some other run', said.lower())
        self.assertIn('invalid argument', said)

    def test_a_bare_number(self):
        """What it means, where the kernel keeps no log of errors (before 5.2)."""
        for number, words in [
                (errno.EINVAL, 'invalid argument (dmesg may know more)'),
                (errno.ENOENT, 'it has no such function'),
                (errno.EILSEQ, 'the offset is not at the start of an instruction'),
                (errno.EEXIST, 'an event of that name is there already'),
                (errno.E2BIG, 'too many values'),
                (errno.EADDRNOTAVAIL, 'the symbol is not unique'),
                (errno.EOPNOTSUPP, 'this function cannot be probed'),
                (errno.ENODEV, os.strerror(errno.ENODEV).lower())]:
            said = self.refused({'p:%s/f0' % RUN: (number, '', '')}, TASK)
            self.assertIn('the kernel refused this trace: %s; ' % words, '\n'.join(said))
            self.assertIn('  ' + TASK, said)

    def test_no_kprobes(self):
        os.remove(self.box.tracefs + '/kprobe_events')
        self.assertEqual(self.run_on('e sched/sched_switch').status, 0)
        result = self.run_on('e sched/sched_switch', 'p ip_rcv')
        self.assertEqual(result.status, 1)
        self.assertIn('CONFIG_KPROBE_EVENTS', result.err)

    def test_refused_by_the_system(self):
        """The message says what to do about it."""
        for number, user, words in [
                (errno.EROFS, 0, 'remount,rw'), (errno.EACCES, 1000, 'run as root'),
                (errno.EPERM, 0, 'in a container, run it on the host or with --privileged; or '
                 'the kernel is locked down (boot it with lockdown=integrity or none)')]:
            self.box.log, self.box.user, self.box.fail = [], user, (0, number)
            result = self.run_on(TASK)
            self.assertEqual(result.status, 1)
            self.assertIn('%s/README: %s' % (TRACEFS, os.strerror(number).lower()), result.err)
            self.assertIn(words, result.err)


class OldKernels(unittest.TestCase):
    """Linux 4.0 and 4.19, as far as their files tell (neither is booted by any test).

    4.0: no error_log; of types s8 to s64, u8 to u64 (which print hexadecimal), string and
    bitfields; of names @, $stack, $stackN and $retval.  4.19, whose README and answers were taken
    from a real one: neither error_log, nor types symbol and ustring, but $comm and x8 to x64.
    """

    BASE = r'(?:[-+](?:0x[0-9a-f]+|[0-9]+)\()*(?:%%\w+|@[\w+]+|\$(?:stack[0-9]*|retval%s))\)*'
    TAKES = {'4.0': BASE % '' + r'(?::(?:[su](?:8|16|32|64)|string|b\d+@\d+/\d+))?',
             '4.19': BASE % '|comm' + r'(?::(?:[sux](?:8|16|32|64)|string|b\d+@\d+/\d+))?'}

    def lines(self, kernel, *traces):
        """Return the Result, and the lines that kprobe_events was given."""
        box = StandIn(kernel)
        self.addCleanup(box.remove)
        os.remove(box.tracefs + '/error_log')
        box.takes, box.events = self.TAKES[kernel], EVENT
        before = box.state()
        result = tool.run(traces, on=box)
        self.assertEqual(box.state(), before)
        return result, [text for name, text in box.writes() if name == 'kprobe_events']

    def test_types(self):
        traces = ('p wake_up_new_task a=X%di b=S%si c=%dx:string', 'r vfs_read r=X$retval')
        for kernel, letter in (('4.0', 'u'), ('4.19', 'x')):
            result, lines = self.lines(kernel, *traces)
            self.assertEqual(result.status, 0, result.err)
            self.assertEqual(lines[:2], [
                'p:%s/f0 wake_up_new_task a=%%di:%s64 b=%%si:s64 c=+0x0(%%dx):string\n'
                % (RUN, letter), 'r:%s/f1 vfs_read r=$retval:%s64\n' % (RUN, letter)])

    def test_what_they_do_not_take(self):
        for kernel, value in (('4.0', '$comm'), ('4.19', '+0(%di):ustring')):
            result, lines = self.lines(kernel, 'p vfs_read', 'p wake_up_new_task a=' + value)
            self.assertEqual(result.status, 1)
            self.assertIn('the kernel refused this trace: invalid argument (dmesg may know more); '
                          'kprobe_events was given: p:%s/f1 wake_up_new_task a=%s' % (RUN, value),
                          result.err)
            self.assertEqual(lines[-1], '-:%s/f0\n' % RUN)

    def test_what_does_instead(self):
        for kernel, value, expected in (
                ('4.0', '%di:x64', '%di:u64'), ('4.0', '%di:symbol', '%di:u64'),
                ('4.19', '%di:symbol', '%di:x64'), ('4.19', '%di:symstr', '%di:x64'),
                ('4.19', '%di:ustring', '+0x0(%di):string'), ('4.19', '%di:char', '%di:x8')):
            result, lines = self.lines(kernel, 'p wake_up_new_task a=' + value)
            self.assertEqual((result.status, lines[0]), (
                0, 'p:%s/f0 wake_up_new_task a=%s\n' % (RUN, expected)), value)

    def test_an_array_becomes_its_first_element(self):
        result, lines = self.lines('4.19', 'p wake_up_new_task a=%di:x8[6]')
        self.assertEqual((result.status, lines[0]),
                         (0, 'p:%s/f0 wake_up_new_task a=+0x0(%%di):x8\n' % RUN))
        self.assertIn("'a': this kernel shows no arrays, which came with Linux 4.20: only the "
                      'first element', result.err)


if __name__ == '__main__':
    unittest.main()

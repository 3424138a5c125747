"""Counts, h:, and whole calls, c: what is written, what is shown, and how it ends."""
import errno
import os
import re
import signal
import tempfile
import time
import unittest

from tests.lib.standin import TRACEFS
from tests.unit.test_run import RUN, OnABox, descriptors_open

TRACES = ['p wake_up_new_task comm=%0->comm h:comm', 'c ip_rcv n=U%0->len r=S$retval f:us>9',
          'e sched/sched_switch h:prev_comm']
# As Linux 6.1 shows a histogram; two of its sums have a sign.
TABLE = '''\
# event histogram
#
# trigger info: hist:keys=comm:vals=hitcount,n:sort=hitcount.descending:size=16384 [active]
#

%s
Totals:
    Hits: %d
    Entries: %d
    Dropped: %d
'''
CALL = b'            bash-1234    [000] ...2.  2300.901455: %s_f0: us=%s'


def table(*rows, **totals):
    """The kernel's text of a histogram with rows (their keys, hitcount and what is behind it)."""
    text = ''.join('{ %s } hitcount: %10d%s\n' % (
        keys, count, ''.join('  %s: %10d' % pair for pair in sums)) for keys, count, sums in rows)
    return TABLE % (text, totals.get('hits', sum(row[1] for row in rows)),
                    totals.get('entries', len(rows)), totals.get('dropped', 0))


class Tables(OnABox):

    def shown(self, trace, text):
        """What is printed of a histogram, as lines."""
        self.box.table = text
        result = self.run_on(trace)
        self.assertEqual(result.status, 0, result.err)
        return result.out.splitlines()

    def test_most_frequent_first(self):
        self.assertEqual(self.shown('p ip_rcv comm=$comm h:comm', table(
            ('comm: a b               ', 2, ()), ('comm: bash              ', 30, ()))), [
            'comm  calls', 'bash     30', 'a b       2', '32 calls, 2 keys'])

    def test_sums_and_their_means(self):
        """A sum of numbers with a sign may be below 0."""
        self.assertEqual(self.shown('p ip_rcv n=S%0->len h:cpu:n,common_pid', table(
            ('cpu:          0', 4, (('n', (1 << 64) - 6), ('common_pid', 7))))), [
            'cpu  calls   n  mean  common_pid  mean', '0        4  -6  -1.5           7   1.8',
            '4 calls, 1 key'])

    def test_numbers_as_the_trace_shows_them(self):
        for value, number, shown in (
                ('n=%0->len', 255, '0xff'), ('n=U%0->len', 255, '255'),
                ('n=S%0->len', (1 << 64) - 255, '-255'), ('n=%di:s8', (1 << 64) - 1, '-1'),
                ('ip_n=%0->len', 0x0100007f, '127.0.0.1'), ('b32_n=%0->len', 1 << 24, '1'),
                ('n=%di', (1 << 64) - 1, '0xffffffffffffffff'), ('n=%0:symbol', 1, '0x1'),
                ('n=%di:char', 65, "'A'")):
            name = value.partition('=')[0]
            lines = self.shown('p ip_rcv %s h:%s' % (value, name), table(
                ('%s: %10d' % (name, number), 1, ())))
            self.assertEqual(lines[1].split(), [shown, '1'], value)
        self.assertEqual(self.shown('r ip_rcv n=S$retval h:n', table(
            ('n: %10d' % ((1 << 64) - 2), 3, ())))[1], '-ENOENT      3')
        self.assertEqual(self.shown('p wake_up_new_task n=%0->state h:n,n.hex', table(
            ('n:          1, n:          1', 3, ())))[1], 'SLEEPING  0x1      3')

    def test_addresses(self):
        self.box.put('/proc/kallsyms', 'ffffffff81000010 T vfs_read\nffffffff81000100 t other\n'
                     'ffffffff81000200 D jiffies\nffffffff81000208 b _end\n'
                     '0000000000014000 A fixed_percpu_data\n')
        last = (1 << 64) - 22
        places = [0xffffffff81000010, 0xffffffff810000ff, 0xffffffff81000104, 16,
                  0xffffffff81000200, last]
        lines = self.shown('p ip_rcv n=%0 h:n.sym', table(
            *[('n: %10d' % place, 9 - at, ()) for at, place in enumerate(places)]))
        self.assertEqual([line.split()[0] for line in lines[1:-1]], [
            'vfs_read+0x0', 'vfs_read+0xef', 'other+0x4', '0x10', 'jiffies+0x0', '0x%x' % last])

    def bars(self, head, rows):
        """The lines of bars that fill 80 columns: (key, calls) each."""
        left, most = max(len(key) for key, _ in rows), max(count for _, count in rows)
        width = 80 - left - len('  calls ||')
        return ['%s  calls' % head.ljust(left)] + ['%s  %5d |%s|' % (
            key.ljust(left), count, ('@' * (width * count // most)).ljust(width))
            for key, count in rows]

    def test_powers_of_two(self):
        """What is between them is shown, too."""
        lines = self.shown('c ip_rcv h:us.log2', table(
            ('us: ~ 2^4 ', 6, ()), ('us: ~ 2^0 ', 3, ()), ('us: ~ 2^1 ', 1, ())))
        self.assertEqual(lines, self.bars('us', [
            ('[0, 1]', 3), ('(1, 2]', 1), ('(2, 4]', 0), ('(4, 8]', 0), ('(8, 16]', 6)])
            + ['10 calls, 3 keys'])
        self.assertEqual([len(line) for line in lines[1:-1]], [80] * 5)

    def test_buckets(self):
        lines = self.shown('p ip_rcv n=U%0->len h:n.buckets=100', table(
            ('n: ~ 400-499', 1, ()), ('n: ~ 0-99', 2, ()), ('n: ~ 10000-10099', 4, ())))
        self.assertEqual(lines, self.bars('n', [
            ('[0, 99]', 2), ('[400, 499]', 1), ('[10000, 10099]', 4)]) + ['7 calls, 3 keys'])

    def test_two_keys_are_no_bars(self):
        self.assertEqual(self.shown('p ip_rcv n=U%0->len h:n.log2,cpu', table(
            ('n: ~ 2^3 , cpu:          1', 6, ())))[:2], [
            'n       cpu  calls', '(4, 8]  1        6'])

    def test_tasks_are_joined_by_name(self):
        """A name of 15 bytes may have fewer letters."""
        lines = self.shown('e sched/sched_switch h:COMM', table(
            ('common_pid: bash            [       123]', 2, ()),
            ('common_pid: a b             [         7]', 1, ()),
            ('common_pid: uml\xc3\xa4u          [         9]', 1, ()),
            ('common_pid: bash            [       124]', 3, ())))
        self.assertEqual([line.split('  ')[0].rstrip() for line in lines], [
            'COMM', 'bash', 'a b', 'uml\xc3\xa4u', '7 events, 3 keys'])

    def test_system_calls(self):
        self.assertEqual(self.shown('e sched/sched_switch h:prev_pid.syscall', table(
            ('prev_pid: sys_read                      [  0]', 2, ())))[1], 'sys_read       2')

    def test_stacks(self):
        """Without the tracer's own frames on top, on both architectures; brk is a system call."""
        for top in ('aggr_pre_handler+0x40/0x80\nkprobe_ftrace_handler+0x10b/0x1b0\n'
                    '0xffffffffc02ea0c8\n',
                    'aggr_pre_handler+0x68/0xc0\nkprobe_brk_handler+0xf4/0x180\n'
                    'do_el1_brk64+0xb0/0xe8\nel1_brk64+0x28/0x40\nel1h_64_sync_handler+0x70/0xe0\n'
                    'el1h_64_sync+0x64/0x68\n', ''):
            frames = top + '__x64_sys_brk+0x5/0x310\nkprobes_all+0x1/0x2\nx+0x1/0x9 [ext4]\n'
            frames = frames.replace('\n', '\n         ').rstrip(' ')
            text = table(('comm: a b                   , stacktrace:\n         ' + frames, 7, ()))
            text = text.replace('\n }', '\n}')
            self.assertEqual(self.shown('p ip_rcv h:comm,stacktrace', text), [
                'comm  calls', 'a b       7', '    __x64_sys_brk+0x5/0x310',
                '    kprobes_all+0x1/0x2',
                '    x+0x1/0x9 [ext4]', '7 calls, 1 key'])

    def test_names_of_an_events_numbers(self):
        self.box.put(TRACEFS + '/events/sched/sched_switch/format',
                     '\tfield:int vec;\toffset:8;\tsize:4;\tsigned:0;\n\n'
                     'print fmt: "vec=%u [action=%s]", REC->vec, '
                     '__print_symbolic(REC->vec, { 0, "HI" }, { 0x1, "TIMER" })\n')
        self.assertEqual(self.shown('e sched/sched_switch h:vec', table(
            ('vec:          1', 3, ()), ('vec:          2', 2, ())))[1:], [
            'TIMER       3', '2           2', '5 events, 2 keys'])

    def test_several_tables(self):
        """Each below its trace; that of a pattern is one, by function."""
        self.box.table = table(('common_pid:          7', 2, ()))
        result = self.run_on('p ip_rcv h:common_pid', 'p *rcv h:common_pid')
        self.assertEqual(result.out.splitlines(), [
            'p ip_rcv h:common_pid', 'common_pid  calls', '7               2', '2 calls, 1 key', '',
            'p *rcv h:common_pid', 'function  common_pid  calls', 'ip_rcv    7               2',
            'udp_rcv   7               2', '4 calls, 2 keys'])
        result = self.run_on('e sched/sched_* h:common_pid')
        self.assertEqual(result.out.splitlines()[:2], [
            'event         common_pid  events', 'sched_switch  7                2'])

    def test_what_was_not_counted(self):
        self.assertEqual(self.shown('p ip_rcv h:common_pid', table(
            ('common_pid:          7', 2, ()), dropped=5))[-1],
            "2 calls, 1 key, and 5 not counted: the kernel's table was full (a filter, .log2 or "
            '.buckets=N makes fewer keys)')

    def test_rows_that_are_none(self):
        """A name may hold what looks like a row, or one is damaged: the numbers differ."""
        said = 'the rows are not what the kernel counted: a name may hold what looks like a row'
        for text in (table(('comm: a } hitcount:  1\n{ comm: b', 2, ()), entries=1),
                     table(('comm: a', 2, ()), hits=3), table(('comm: a', 2, ()), entries=2),
                     table(('comm: a', 2, ()), ('comm: b', 0, ()))):
            lines = self.shown('p ip_rcv comm=$comm h:comm', text)
            self.assertEqual(lines[-1], said)
        self.assertNotIn(said, self.shown('p ip_rcv comm=$comm h:comm', table(('comm: a', 2, ()))))
        self.assertEqual(self.shown('p ip_rcv comm=$comm h:comm', table(
            ('comm: a\n\x1b[1m', 2, ())))[1], 'a\\x0a\\x1b[1m      2')

    def test_nothing_was_counted(self):
        self.assertEqual(self.shown('p ip_rcv h:common_pid', table()), ['0 calls, 0 keys'])

    def test_no_word_of_events(self):
        """Where all is counted there are none; what was missed is told all the same."""
        self.box.table = table()
        self.assertEqual(self.notes(self.run_on('p ip_rcv h:common_pid'))[-1],
                         '5 lost: the ring buffer was full (-b makes it larger)')
        told = self.notes(self.run_on('p ip_rcv h:common_pid', 'p ip_rcv'))
        self.assertIn('2 events, and ', told[-1])


class Calls(OnABox):

    def test_what_is_made(self):
        """Two probes, an event, and two histograms; the strings are the last of its values."""
        top = TRACEFS + '/instances/surftrace'
        lines = self.run_on('-S', 'c wake_up_new_task s=%0->comm n=S%0->mm->mm_users h:us,s',
                            'c ip_rcv p=%0 r=$retval:s32 f:us>9&&r<0').out.splitlines()
        for line in [
                "echo 'p:surftrace/f0 wake_up_new_task __stack=%%sp:b50@14/64 "
                "n=+0x10(+0x20(%%di)):s32 s=+0x10(%%di):string' >> %s/kprobe_events" % TRACEFS,
                "echo 'r1024:surftrace/f0r wake_up_new_task __stack=%%sp:b50@14/64' >> "
                '%s/kprobe_events' % TRACEFS,
                "echo 's:surftrace_f0 u64 us; s32 n; char s[]' >> %s/dynamic_events" % TRACEFS,
                "echo 'hist:keys=__stack:f0t=common_timestamp.usecs,f0_n=n,f0_s=s:size=16384' >> "
                '%s/events/surftrace/f0/trigger' % top,
                "echo 'hist:keys=__stack:f0_us=common_timestamp.usecs-$f0t:size=16384:"
                "onmatch(%s.f0).trace(surftrace_f0,$f0_us,$f0_n,$f0_s)' >> "
                '%s/events/surftrace/f0r/trigger' % ('surftrace', top),
                "echo 'hist:keys=us,s:sort=hitcount.descending:size=16384:pause' >> "
                '%s/events/synthetic/surftrace_f0/trigger' % top,
                "echo 'r1024:surftrace/f1r ip_rcv __stack=%%sp:b50@14/64 r=$retval:s32' >> "
                '%s/kprobe_events' % TRACEFS,
                "echo 's:surftrace_f1 u64 us; u64 p; s32 r' >> %s/dynamic_events" % TRACEFS,
                "echo 'us>9&&r<0' > %s/events/synthetic/surftrace_f1/filter" % top,
                'echo 1 > %s/events/synthetic/surftrace_f1/enable' % top,
                "echo 'hist:keys=us,s:sort=hitcount.descending:size=16384:cont' >> "
                '%s/events/synthetic/surftrace_f0/trigger' % top,
                "echo 'hist:keys=__stack:f1t=common_timestamp.usecs,f1_p=p:size=16384' >> "
                '%s/events/surftrace/f1/trigger' % top]:
            self.assertIn(line, lines)
        # The kernel's stamps are of another clock while tracing is off.
        self.assertLess(lines.index('echo 1 > %s/tracing_on' % top), min(
            number for number, line in enumerate(lines) if 'common_timestamp' in line))
        self.assertNotIn('echo 1 > %s/events/synthetic/surftrace_f0/enable' % top, lines)

    def test_how_many_at_once(self):
        self.assertIn("'r7:surftrace/f0r ", self.run_on('-S', '--maxactive', '7', 'c ip_rcv').out)

    def test_how_many_values(self):
        values = ' '.join('a%d=%%0' % number for number in range(15))
        self.assertEqual(self.run_on('-S', 'c ip_rcv ' + values.rpartition(' ')[0]).status, 0)
        self.assertIn("'a14' is one too many: a whole call has at most 14 values",
                      self.run_on('-S', 'c ip_rcv ' + values).err)
        # The name of the task is one, too.
        trace = 'c ip_rcv %s h:us,COMM' % values.rpartition(' ')[0]
        self.assertIn('\n  %s\n  %s^\n' % (trace, ' ' * trace.index('COMM')),
                      self.run_on('-S', trace).err)

    def test_lines(self):
        """Numbers as a probe shows them, strings in quotes, all in the order of the trace."""
        values = 's=%0->comm h=%0->mm->mm_users:x32 i=%di:s8 j=S%0->mm->mm_users k=%0->state ' \
                 'l=%0->run t=%0->name'
        for printed, seen in (
                (b'5 h=255 i=255 j=-3 k=1 l=16 s=a b t=c d', b'us=5 s="a b" h=0xff i=-1 j=-3 '
                 b'k=SLEEPING l=0x10 t="c d"'),
                (b'0 h=0 i=127 j=4 k=7 l=0 s=x t=1 t=y=', b'us=0 s="x" h=0x0 i=127 j=4 k=0x7 l=0x0 '
                 b't="1 t=y="')):
            self.box.events = CALL % (RUN.encode(), printed) + b'\n'
            result = self.run_on('c wake_up_new_task ' + values)
            self.assertEqual(result.out.partition('f0: ')[2], seen.decode() + '\n', result.err)
        for line in (CALL % (RUN.encode(), b'x'), CALL % (RUN.encode(), b'1 s=a'),
                     (CALL % (b'surftrace_0', b'1')).replace(b'_f0', b'_f9')):
            self.box.events = line + b'\n'
            self.assertEqual(self.run_on('c wake_up_new_task ' + values).out.encode(), line + b'\n')

    def test_lines_of_a_pattern(self):
        self.box.events = CALL % (RUN.encode(), b'5') + b'\n'
        self.assertIn(' f0: (ip_rcv) us=5\n', self.run_on('c *rcv').out)

    def test_stacks(self):
        frames = [b'trace_event_raw_event_synth', b'action_trace', b'event_hist_trigger',
                  b'event_triggers_call', b'trace_event_buffer_commit', b'kretprobe_trace_func',
                  b'kretprobe_dispatcher', b'kretprobe_rethook_handler',
                  b'rethook_trampoline_handler', b'arch_rethook_trampoline_callback',
                  b'arch_rethook_trampoline', b'do_syscall_64', b'action_trace']
        head = CALL[:-len(b'%s_f0: us=%s')]
        self.box.events = CALL % (RUN.encode(), b'5') + b'\n' + head + b'<stack trace>\n'
        self.box.events += b''.join(b' => ' + frame + b'\n' for frame in frames)
        self.assertEqual(self.run_on('-s', 'c ip_rcv').out.partition('<stack trace>\n')[2],
                         ' => do_syscall_64\n => action_trace\n')

    def test_what_does_not_fit_is_told(self):
        self.box.table = table(dropped=3)
        self.assertIn('and 6 calls dropped: too many threads call this (-p, or a filter on COMM or '
                      'common_pid alone, makes them fewer)',
                      self.notes(self.run_on('c ip_rcv'))[-1])


class Ends(OnABox):

    def setUp(self):
        OnABox.setUp(self)
        self.box.table = table(('comm: a', 2, ()))

    def test_leaves_everything_as_it_was(self):
        before, descriptors = self.box.state(), descriptors_open()
        self.assertEqual(self.run_on(*TRACES).status, 0)
        self.assertEqual((self.box.state(), descriptors_open()), (before, descriptors))

    def test_what_is_counted_when(self):
        """All are there before one begins, and have stopped when the first is read."""
        self.assertEqual(self.run_on(*TRACES).status, 0)
        words = [':pause' if ':pause' in text else ':cont' if ':cont' in text else
                 '!' if text[:1] == '!' else call for call, name, text in self.box.log
                 if name.endswith(('/trigger', '/hist')) and call != 'open']
        words = ''.join({':pause': 'p', ':cont': 'c', 'write': 'w', 'read': 'r'}.get(word, word)
                        for word in words)
        # Two histograms, and between them both ends of a call, whose tables are read while it runs.
        self.assertTrue(re.match(r'ppcwwcr+p!!pr+!!$', words), words)

    def test_functions_that_the_kernel_refuses(self):
        """Of a pattern they are left out, and all the others are counted."""
        self.box.refuses = {' ip_rcv': (errno.EINVAL, '', '')}
        self.box.table = table(('common_pid:          7', 2, ()))
        for kind in 'pc':
            result = self.run_on(kind + ' *rcv h:common_pid')
            self.assertEqual(result.status, 0, result.err)
            self.assertIn('udp_rcv   7               2\n', result.out)
            self.assertNotIn('no such file', result.err)
        self.box.refuses = {'r1024:': (errno.EINVAL, '', '')}
        result = self.run_on('c *rcv')
        self.assertEqual(result.status, 1)
        self.assertIn('the kernel refused this trace', result.err)
        self.box.refuses = {'hist:': (errno.EINVAL, '', '')}
        result = self.run_on('p udp_rcv h:common_pid')
        self.assertEqual(result.status, 1)
        self.assertIn('the kernel refused this histogram', result.err)

    def test_a_reader_that_is_slow(self):
        """A large table waits for it; a signal ends that, too."""
        self.box.table = table(*[('common_pid: %10d' % number, 1, ()) for number in range(9000)])
        read_end, write_end = os.pipe()

        def read():
            time.sleep(0.5)
            while not seen[-1].endswith(b' keys\n'):
                seen.append(os.read(read_end, 1 << 16))
        seen = [b'']
        thread = self.once_tracing((read,))
        result = self.run_on('p ip_rcv h:common_pid', stdout=write_end, patience=100)
        thread.join()
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(b''.join(seen).count(b'\n'), 9002)
        self.box.hold = True
        self.once_tracing(*[(os.kill, os.getpid(), signal.SIGTERM), (time.sleep, 0.5)] * 2)
        result = self.run_on('p ip_rcv h:common_pid', stdout=write_end, patience=100)
        self.assertEqual((result.status, self.box.names('instances')), (143, []))
        self.assertIn('not all of the table was written: stdout took nothing', result.err)
        os.close(read_end)
        os.close(write_end)
        self.box.feed(b'')

    def test_a_signal_at_every_operation(self):
        before = self.box.state()
        self.assertEqual(self.run_on(*TRACES).status, 0)
        operations = list(self.box.log)
        first = [call for call, _, _ in operations].index('mkdir')
        for at in range(first, len(operations)):
            self.box.log, self.box.signal = [], (at, signal.SIGTERM)
            result = self.run_on(*TRACES)
            self.assertEqual((result.status, self.box.state()), (143, before), operations[at])
            self.assertNotIn('not undone', result.err)

    def test_every_operation_failing_in_turn(self):
        """What could not be undone, the next run removes."""
        before = self.box.state()
        self.assertEqual(self.run_on(*TRACES).status, 0)
        operations = list(self.box.log)
        first = [call for call, _, _ in operations].index('mkdir')
        for at in range(first, len(operations)):
            number = (errno.EIO, errno.EBUSY)[at % 2]
            self.box.log, self.box.fail = [], (at, number)
            result = self.run_on(*TRACES)
            self.box.fail = None
            if result.status == 0:
                self.assertEqual(number, errno.EBUSY, operations[at])
            else:
                self.assertIn(operations[at][1], result.err)
            self.assertEqual(self.run_on('e sched/sched_switch').status, 0)
            self.assertEqual(self.box.state(), before, (operations[at], result.err))

    def test_what_a_killed_run_left(self):
        """Its triggers hold its probes and its instance: they go first, in their order."""
        before, pid = self.box.state(), os.fork()
        if not pid:
            self.box.hold = True
            self.once_tracing((os.kill, os.getpid(), signal.SIGKILL))
            self.run_on(*TRACES)
            os._exit(0)
        self.assertEqual(os.waitpid(pid, 0)[1], signal.SIGKILL)
        self.assertEqual(self.box.names('instances'), ['surftrace_%d' % pid])
        result = self.run_on('e sched/sched_switch')
        self.assertIn('removed what a killed run had left: surftrace_%d' % pid, self.notes(result))
        self.assertEqual(self.box.state(), before)


class Progress(OnABox):

    def test_a_terminal_sees_that_it_counts(self):
        self.box.hold, self.box.table = True, table(('common_pid:          7', 2000, ()))
        master, slave = os.openpty()
        self.once_tracing((time.sleep, 0.2), (self.box.feed, b''))
        result = self.run_on('p ip_rcv h:common_pid', stderr=slave)
        os.close(slave)
        self.assertEqual(result.status, 0)
        self.assertIn(b'surftrace: 2000 counted so far', os.read(master, 1 << 16))
        os.close(master)


class Commands(OnABox):
    """-- COMMAND: it is traced alone, and its end is that of the run."""

    def setUp(self):
        OnABox.setUp(self)
        self.box.hold = True
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)

    def status(self, *command):
        return self.run_on('e sched/sched_switch', '--', *command).status

    def test_its_exit_status(self):
        before = self.box.state()
        for script, status in (('exit 0', 0), ('exit 7', 7), ('kill -9 $$', 137)):
            self.assertEqual(self.status('sh', '-c', script), status)
            self.assertEqual(self.box.state(), before)

    def test_what_cannot_be_run(self):
        for name, status in (('nosuch', 127), ('/nosuch', 127), ('/etc/passwd', 126),
                             (self.directory, 126)):
            self.box.log = []
            self.assertEqual(self.status(name), status)
            self.assertEqual(self.box.log, [])

    def test_it_starts_when_all_is_set(self):
        path = '%s/instances/%s/' % (self.box.tracefs, RUN)
        result = self.run_on('e sched/sched_switch', '--', 'sh', '-c',
                             'test "$(cat %stracing_on)" = 1 && test "$(cat %sset_event_pid)" = $$'
                             % (path, path))
        self.assertEqual(result.status, 0, result.err)

    def test_it_does_not_start_when_the_kernel_refuses(self):
        made = self.directory + '/made'
        self.box.refuses = {'prev_pid': (errno.EINVAL, '', '')}
        result = self.run_on('e sched/sched_switch f:prev_pid==1', '--', 'touch', made)
        self.assertEqual(result.status, 1)
        time.sleep(0.1)
        self.assertFalse(os.path.exists(made))

    def test_signals_that_it_finds(self):
        """What Python and the tool ignore it does not: a closed pipe ends it."""
        result = self.run_on('e sched/sched_switch', '--', 'sh', '-c',
                             'grep SigIgn: /proc/self/status >&2')
        ignored = int(re.search(r'SigIgn:\s*(\w+)', result.err).group(1), 16)
        for number in signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU, signal.SIGINT:
            self.assertFalse(ignored >> number - 1 & 1, number)

    def test_it_is_left_running(self):
        result = self.run_on('-t', '0.2', 'e sched/sched_switch', '--', 'sleep', '3')
        self.assertEqual(result.status, 0)
        pid = int(re.search(r'sleep \((\d+)\) is left running', result.err).group(1))
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(os.waitpid(pid, 0)[1], signal.SIGTERM)
        self.box.feed(b'')

    def test_ctrl_c(self):
        """The run waits for the command, which gets it, too; a second one does not."""
        script = 'trap "exit 5" INT; touch %s/up; while :; do sleep 0.02; done' % self.directory
        for ignores, times, status in ((False, 1, 5), (True, 2, 0)):
            def interrupt():
                while not os.path.exists(self.directory + '/up'):
                    time.sleep(0.01)
                os.remove(self.directory + '/up')
                child = int(self.box.get('instances/%s/set_event_pid' % RUN))
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.2)
                os.kill(child, signal.SIGKILL if ignores else signal.SIGINT)
            self.once_tracing((interrupt,))
            result = self.run_on('e sched/sched_switch', '--', 'sh', '-c', (
                script.replace('exit 5', ':') if ignores else script))
            self.assertEqual(result.status, status, result.err)
            self.assertEqual('left running' in result.err, ignores)
            self.box.feed(b'')

    def test_what_does_not_go_with_it(self):
        for arguments in (['-S'], ['-p', '1'], ['-o', '/nonexistent']):
            result = self.run_on('e sched/sched_switch', *arguments + ['--', 'true'])
            self.assertEqual(result.status, 2)
            self.assertIn('it does not go with -p, -S or -o', result.err)
        self.assertIn('a command is missing after --',
                      self.run_on('e sched/sched_switch', '--').err)


if __name__ == '__main__':
    unittest.main()

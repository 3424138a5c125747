"""Whole calls, c, on a real kernel: each has its time, values and result, or is counted as lost."""
import os
import re
import select
import signal
import threading
import unittest

from tests.guest.live import ARCH, FIRST, TRACING, Live, Run, call, read, until

# An int in the second and third argument of this: that of lseek.
THIRD = 'dx' if ARCH == 'x86_64' else 'x2'


def fields(values):
    """The NAME=VALUE of a line as a dictionary; texts without their quotes."""
    return dict((name, text.strip('"')) for name, text in re.findall(
        r'(\w+)=("[^"]*"|\S+)', values))


def seconds(line):
    return float(re.search(r' (\d+\.\d{6}): ', line).group(1))


def sleep(seconds):
    """Sleep in core_sys_select(), whatever this Python's time.sleep() does."""
    select.select([], [], [], seconds)


def children(count, work):
    """Fork so many children, all of which are there before work(number) is done in each."""
    reading, writing = os.pipe()
    pids = []
    for number in range(count):
        pid = os.fork()
        if not pid:
            os.close(writing)
            os.read(reading, 1)
            work(number)
            os._exit(0)
        pids.append(pid)
    os.close(writing)
    os.close(reading)
    for pid in pids:
        os.waitpid(pid, 0)
    return set(pids)


class Lacking(Live):

    def test_calls_and_histograms(self):
        self.refused('this kernel has no synthetic events, which c takes; they came with Linux '
                     '5.0, and need CONFIG_HIST_TRIGGERS and CONFIG_SYNTH_EVENTS: trace the entry '
                     'and the return, p and r, side by side', 'c vfs_read')
        self.refused('this kernel has no histograms, which h: takes; they came with Linux 4.7, and '
                     'need CONFIG_HIST_TRIGGERS', 'p vfs_read h:common_pid')


class Calls(Live):

    def setUp(self):
        Live.setUp(self)
        self.events = read(TRACING + '/dynamic_events')

    def nothing_is_left(self):
        Live.nothing_is_left(self)
        self.assertEqual(read(TRACING + '/dynamic_events'), self.events)

    def calls(self, *arguments, **options):
        """The fields of each line of this process (or of those in `pids`, given by workload)."""
        lines = self.trace(*arguments, **options)
        pids = self.result or set([os.getpid()])
        return [fields(line[4]) for line in lines if line[1] in pids]

    def test_sleeps_of_known_length(self):
        """Each takes as long as the timestamps of its entry and return say."""
        run = Run([kind + ' core_sys_select' for kind in 'cpr']).ready()
        [pid] = children(1, lambda _: [sleep(length) for length in (0.001, 0.01, 0.1)])
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        lines = [line for line in lines if '-%d ' % pid in line]
        before = seconds(lines[0]) - 1
        calls = [line for line in lines if ': f0: ' in line]
        self.assertEqual([line.partition(': f')[2][0] for line in lines].count('2'), 3)
        for length, line in zip((1000, 10000, 100000), calls):
            us = int(fields(line)['us'])
            # It begins behind the one before it, and ends in its own line.
            self.assertGreaterEqual(us, 0.9 * length)       # (by another clock than the timers')
            self.assertGreaterEqual(seconds(line) - us / 1e6, before - 1e-5, lines)
            before = seconds(line)
        self.assertEqual(len(calls), 3)
        # The entry and the return of the longest are seen by the other two as well.
        entry, back = [[seconds(line) for line in lines if ': %s: ' % event in line][-1]
                       for event in ('f1', 'f2')]
        self.assertLess(abs(us - 1e6 * (back - entry)), 50000, lines)

    def test_values_of_every_form(self):
        """Hexadecimal, signs of 8 to 64 bits, a string of the entry and a name of the return."""
        path = self.path('a file')
        with open(path, 'wb', 0) as stream:
            def work():
                stream.write(b'abc')
            whole = self.calls('c vfs_write name=%%0->f_path.dentry->d_name.name h=%%2 u=U%%2 '
                               's=%%%s:s8 w=%%%s:s16 fn=%%0->f_op->write_iter r=S$retval '
                               'f:common_pid==%d' % (THIRD, THIRD, os.getpid()), workload=work)
        self.assertEqual(len(whole), 1)
        self.assertEqual([whole[0][name] for name in ('h', 'u', 's', 'w', 'r')],
                         ['0x3', '3', '3', '3', '3'])
        self.assertIn(whole[0]['name'], ('a', 'a file'))
        self.assertRegex(whole[0]['fn'], r'^\w+\+0x0$')

    def test_signs(self):
        """AT_FDCWD is -100, in as many bits as are asked for."""
        def work():
            self.assertRaises(EnvironmentError, open, '/nonexistent')
        [whole] = self.calls('c do_sys_openat2 a=%%%s:s8 b=%%%s:s16 c=S%%0 d=U%%0 e=%%0 '
                             'r=S$retval f:common_pid==%d&&r<0' % (FIRST, FIRST, os.getpid()),
                             workload=work)
        self.assertEqual([whole[name] for name in 'abcder'], [
            '-100', '-100', '-100', '4294967196', '0xffffff9c', '-ENOENT'])

    def test_filters(self):
        """On what is known at the entry, and on what the return tells; the kernel applies both."""
        def work():
            for name in self.directory, '/nonexistent':
                try:
                    os.stat(name)
                except OSError:
                    pass
        common = 'c vfs_statx name=%%1->name r=S$retval f:common_pid==%d&&' % os.getpid()
        lines = self.trace(common + 'r<0', common + 'r==0', common + 'us>0&&name~"/nonex*"',
                           common + 'us>10000000', common + 'name~"/nonex*"', workload=work)
        seen = [(line[2], fields(line[4])['r']) for line in self.ours(lines)]
        self.assertEqual(sorted(seen), [('f0', '-ENOENT'), ('f1', '0'), ('f2', '-ENOENT'),
                                        ('f4', '-ENOENT')])

    def test_calls_that_began_before(self):
        """They have no entry, and are no calls."""
        pids = []
        for _ in range(10):
            pid = os.fork()
            while not pid:
                sleep(0.1)
            pids.append(pid)
        status, lines, said = call('-t', '2', 'c core_sys_select')
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.assertEqual(status, 0, said)
        taken = [int(fields(line)['us']) for line in lines
                 if re.search('-(?:%s) ' % '|'.join(map(str, pids)), line)]
        self.assertGreater(len(taken), 10)
        # (The clock of the timers is another than that of the stamps: on an emulated processor
        # that is busy, 95 ms were seen.  A call cut short would be any part of the 100.)
        self.assertGreaterEqual(min(taken), 90000)
        self.assertLess(max(taken), 3000000)

    def test_many_tasks(self):
        """1,000 threads, each of which syncs a file in memory once: each is seen."""
        with open(self.path('x'), 'wb') as stream:
            def work():
                for _ in range(1000):
                    thread = threading.Thread(target=os.fsync, args=(stream.fileno(),))
                    thread.start()
                    thread.join()
            lines = self.trace('-b', '4096', 'c noop_fsync r=S$retval', workload=work)
        self.assertEqual(len(set(line[1] for line in lines)), 1000)
        self.assertEqual([fields(line[4])['r'] for line in lines], ['0'] * 1000)
        self.assertNotIn('dropped', self.said)
        self.assertNotIn('missed', self.said)

    def test_many_at_once(self):
        """60 that sleep at a time, longer than all take to begin: each is seen, or missed."""
        for options, expected in ([], 60), (['--maxactive', '10'], 10):
            whole = self.calls('c core_sys_select f:us>=2000000', *options,
                               workload=lambda: children(60, lambda _: sleep(3)))
            missed = sum(int(count) for count in re.findall(r'(\d+) returns? missed', self.said))
            # (Others sleep, too, of which a few may have been missed.)
            self.assertIn(len(whole), range(expected - 2, expected + 1) if options else [60])
            self.assertGreaterEqual(len(whole) + missed, 60)
            self.assertEqual(expected == 60, missed == 0)

    def test_a_pattern(self):
        """Each line tells the function."""
        def work():
            with open(self.path('x'), 'wb', 0) as stream:
                stream.write(b'abc')
        run = Run(['c vfs_[rw]r* r=S$retval f:common_pid==%d' % os.getpid()]).ready()
        work()
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertEqual([re.sub(r'us=\d+', 'us=N', line.partition(': f')[2].partition(' ')[2])
                          for line in lines], ['(vfs_write) us=N r=3'])

    def test_stacks(self):
        """They begin with who called it, not with the tracer."""
        with open(self.path('x'), 'wb', 0) as stream:
            run = Run(['-s', 'c vfs_write r=S$retval f:common_pid==%d' % os.getpid()]).ready()
            stream.write(b'x')
            status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        at = [number for number, line in enumerate(lines) if line.endswith('<stack trace>')]
        self.assertEqual(len(at), 1, lines)
        self.assertIn('write', lines[at[0] + 1])
        self.assertNotRegex('\n'.join(lines), 'probe|rethook|trampoline|trace_event')

    def test_ends(self):
        """Nothing is left by TERM, nor by KILL and the next run."""
        for number, status in (signal.SIGTERM, 143), (signal.SIGKILL, -9):
            run = Run(['c vfs_read r=S$retval f:us>10', 'c vfs_write h:us.log2',
                       'e sched/sched_switch h:prev_comm', 'p vfs_read h:stacktrace']).ready()
            self.assertIn(run.name + '_f0', read(TRACING + '/dynamic_events'))
            self.assertEqual(run.end(number)[0], status)
            if number == signal.SIGKILL:
                status, _, said = call('-t', '0.1', 'e sched/sched_process_exec')
                self.assertEqual(status, 0, said)
                self.assertIn('removed what a killed run had left: ' + run.name, said)
            self.nothing_is_left()

    def test_a_script(self):
        script = self.path('trace.sh')
        call('-S', '-o', script, 'c vfs_write r=S$retval f:common_pid==%d' % os.getpid(),
             'p vfs_write h:common_pid f:common_pid==%d' % os.getpid())
        run = Run([], [script])
        path = TRACING + '/instances/%s/events/%s/%%s/trigger' % (run.name, run.name)
        until(lambda: os.path.exists(path % 'f0r') and 'onmatch(' in read(path % 'f0r')
              and '[active]' in read(path % 'f1'), 'the script counts')
        with open(self.path('x'), 'wb', 0) as stream:
            stream.write(b'abc')
        run.has_output()
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertRegex('\n'.join(lines), r'%s_f0: us=\d+ r=3\n' % run.name)
        self.assertRegex('\n'.join(lines), r'\{ common_pid: +%d \} hitcount: +1' % os.getpid())


# Of a kernel one of them is true.
if 's:[synthetic/]' in read(TRACING + '/README'):
    del Lacking
else:
    del Calls


if __name__ == '__main__':
    unittest.main()

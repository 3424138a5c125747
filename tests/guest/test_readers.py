"""-S, the live run and the script of -o do the same, of the same traces."""
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time

from tests.guest.live import (FROM_BTF, RUN, SEED, TRACING, Live, Run, call, fork, parse, read,
                              write)

# A program that makes an event of sched_process_fork each half second.
FORKING = 'import os, time\nwhile True: os.fork() or os._exit(0); os.wait(); time.sleep(0.5)'


class Readers(Live):

    TRACES = ['p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==script',
              'r kernel_clone r=$retval', 'e sched/sched_process_fork f:parent_comm==script']
    # How many scripts to end, as runs in test_killed.
    ENDED = max(int(os.environ.get('SURFTRACE_KILLS', 20)) // 5, 5)

    def setUp(self):
        Live.setUp(self)
        self.script = self.path('trace.sh')

    def set_up_lines(self, text):
        """Return the lines of a set-up, with the name that -S gives a run."""
        lines = [re.sub(RUN, 'surftrace', line) for line in text.splitlines()
                 if re.match('(mkdir|echo|printf) ', line) and 'notrace' not in line]
        return lines[:lines.index([line for line in lines if re.match(
            'echo 1 > .*/tracing_on', line)][0]) + 1]

    def started(self, command):
        """Start a script; return its Run once its events are on, and recorded."""
        return Run([], command).traces('sched/sched_process_fork')

    def test_agree(self):
        # (The shell forks its cat while we fork: by default one such call for each CPU is followed
        # to its return.)
        traces = ['--maxactive', '9'] + self.TRACES
        status, shown, said = call('-S', '-o', self.script, *traces)
        self.assertEqual((status, said), (0, FROM_BTF))
        run = Run(traces).ready()
        child = fork('script')
        status, lines, said = run.end()
        self.assertEqual(self.set_up_lines(said), shown)
        live = self.signature(lines, child)
        for shell in (['busybox', 'sh', self.script], [self.script]):
            for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
                run = self.started(shell)
                child = fork('script')
                run.has_output()
                found, lines, said = run.end(number)
                self.assertEqual((found, said), (status, ''))
                self.assertEqual(self.signature(lines, child), live)

    def signature(self, lines, child):
        """Return what the lines of our own process say, less what differs from run to run."""
        return [(line[2], line[3], re.sub(r'=(0x)?[0-9a-f]+$', '=N', line[4].replace(
            str(child), 'CHILD'))) for line in self.ours([parse(line) for line in lines])]

    def test_script_that_is_refused_says_so(self):
        call('-S', '-o', self.script, self.TRACES[0], 'e sched/sched_process_exit f:prio>9')
        text = read(self.script)
        write(self.script, text.replace('prio>9', 'prio>%s' % ('9' * 30)))
        self.assertNotEqual(read(self.script), text)
        status, lines, said = call(command=[self.script])
        self.assertEqual((status, lines), (1, []))
        self.assertIn('surftrace: the kernel refused: e sched/sched_process_exit', said)

    def test_script_that_is_ended_in_its_set_up(self):
        """At no moment is anything left behind."""
        draw = random.Random(SEED)
        call('-S', '-o', self.script, *self.TRACES)
        for count in range(self.ENDED):
            run = Run([], [self.script])
            time.sleep(draw.uniform(0, 0.3))
            number, status = draw.choice(((signal.SIGINT, 0), (signal.SIGTERM, 143)))
            # (The shell itself may not be there yet.)
            self.assertIn(run.end(number)[0], (status, -number), 'script %d, seed %d' % (
                count, SEED))
            self.nothing_is_left()
        print('killed: %d scripts, seed %d' % (self.ENDED, SEED))

    def test_a_script_that_nobody_reads_ends(self):
        """Also while it cannot write what is left, and by signals that others think of."""
        call('-S', '-o', self.script, 'p vfs_read')
        for number in (signal.SIGTERM, signal.SIGUSR1):
            run = Run([], [self.script])
            run.traces(run.name + '/f0')
            for _ in range(3000):       # more than a pipe holds
                with open('/proc/self/comm', 'rb', 0) as stream:
                    stream.read()
            began = time.time()
            run.process.send_signal(number)
            self.assertEqual(run.process.wait(), 128 + number)
            self.assertLess(time.time() - began, 60)
            self.nothing_is_left()
            run.end(None)

    def test_a_script_does_not_steer_a_terminal(self):
        call('-S', '-o', self.script, 'p wake_up_new_task comm=%0->comm')
        master, slave = pty.openpty()
        run = Run([], [self.script], stdout=slave)
        run.traces(run.name + '/f0')
        fork('\033[31m\007')
        select.select([master], [], [], 60)
        self.assertEqual(run.end()[0], 0)
        seen = os.read(master, 1 << 16)
        os.close(master)
        os.close(slave)
        self.assertIn(b'comm="?[31m?', seen)
        self.assertNotIn(b'\033', seen)

    def test_script_and_run_do_not_take_from_each_other(self):
        call('-S', '-o', self.script, 'p kernel_clone', 'e sched/sched_process_fork')
        first = self.started([self.script])
        second = Run(['p kernel_clone']).ready()
        fork()
        first.has_output()
        for run, names in ((second, ['f0']), (first, ['f0', 'sched_process_fork'])):
            status, lines, said = run.end()
            self.assertEqual(status, 0, said)
            self.assertEqual(sorted(set(parse(line)[2] for line in lines)), names)
        self.assertIn('p:%s/f0' % second.name, second.said())

    def test_script_leaves_another_run_alone(self):
        call('-S', '-o', self.script, 'e sched/sched_process_fork')
        first = Run(['p kernel_clone']).ready()
        second = self.started([self.script])
        fork()
        second.has_output()
        for run, name in ((second, 'sched_process_fork'), (first, 'f0')):
            status, lines, said = run.end()
            self.assertEqual(status, 0, said)
            self.assertEqual(set(parse(line)[2] for line in lines), {name})

    def test_script_that_was_killed(self):
        """Its cat reads on, so that it is left alone; once that has gone, it is a leftover."""
        call('-S', '-o', self.script, 'e sched/sched_process_fork')
        # Nobody can close the pipe until the next event comes: see Run.has_output().
        events = subprocess.Popen([sys.executable, '-c', FORKING])
        self.addCleanup(events.wait)
        self.addCleanup(events.kill)
        script = self.started([self.script])
        script.has_output()
        script.send(signal.SIGKILL)
        script.process.wait()
        said = Run(['p kernel_clone']).ready().end()[2]
        self.assertTrue(re.search(r'instances/%s is left alone: somebody uses it, cat \(\d+\)\n'
                                  % script.name, said), said)
        self.assertIn(script.name, os.listdir(TRACING + '/instances'))
        script.close_stdout()
        script.end(None)
        said = Run(['p kernel_clone']).ready().end()[2]
        self.assertIn('had left: %s\n' % script.name, said)

    def test_show_touches_nothing_and_needs_no_root(self):
        def become_nobody():
            os.setuid(65534)
        status, shown, said = call('-S', self.TRACES[0], preexec_fn=become_nobody)
        self.assertEqual(status, 0, said)
        self.assertIn('wake_up_new_task comm=+0x', '\n'.join(shown))
        status, _, said = call(self.TRACES[0], preexec_fn=become_nobody)
        self.assertEqual(status, 1)
        self.assertIn('run as root', said)

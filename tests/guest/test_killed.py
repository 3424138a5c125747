"""Runs that are ended at any point, beside others.

SURFTRACE_KILLS says how many, SURFTRACE_SECONDS for how long they are at once, and SURFTRACE_SEED
where the draw begins.
"""
import glob
import os
import random
import re
import signal
import time

from tests.guest.live import (SEED, TRACING, Live, Run, differing, fork, kernel_state, parse,
                              probed, read, until, write)


class Killed(Live):
    """Runs that are ended by any signal, beside somebody else's probes of the same names."""

    KILLS = int(os.environ.get('SURFTRACE_KILLS', 20))
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

    def nothing_is_left(self):
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
            run.ready()
            fork()
            time.sleep(draw.uniform(0, 0.1))
        if point == 'clean-up':
            run.send(signal.SIGINT)
            time.sleep(draw.uniform(0, 0.02 + 0.02 * probes))
        if name == 'PIPE':
            run.close_stdout()
            if point != 'streaming':
                run.send(signal.SIGTERM)
        else:
            run.send(getattr(signal, 'SIG' + name))
        status, _, said = run.end(None)
        if name == 'KILL':
            status, _, said = Run(['e sched/sched_process_fork']).ready().end()
            self.assertEqual(status, 0, what + said)
        else:
            # The first one decides; of PIPE and TERM either may be seen first.
            self.assertIn(status, [0] if point == 'clean-up' else
                          [0, 143] if name == 'PIPE' and point == 'set-up' else
                          [{'INT': 0, 'PIPE': 0, 'TERM': 143, 'HUP': 129, 'QUIT': 131}[name]],
                          what + said)
        return what

    def test_anywhere(self):
        before, draw = self.state(), random.Random(SEED)
        for number in range(self.KILLS):
            what = self.kill_one(draw)
            self.assertEqual(differing(before, self.state()), [],
                             'run %d, seed %d: %s' % (number, SEED, what))
        print('killed: %d runs, seed %d' % (self.KILLS, SEED))


class Concurrent(Live):
    """Runs on one function that begin and end at random, while others are under way."""

    RUNS = 8
    SECONDS = int(os.environ.get('SURFTRACE_SECONDS', 15))

    def start(self):
        """Start a run; it will have to see every fork from the moment on in which it is ready."""
        value = 'v%d' % self.started
        run = Run(['p wake_up_new_task child=S%%0->pid %s=$stack f:common_pid==%d'
                   % (value, os.getpid())])
        self.started += 1
        self.forks.append(run.process.pid)
        run.value, run.first = value, None
        return run

    def look(self, run):
        """Let a run that has come as far as tracing be ready, and say when it was."""
        run.pump(0)
        path = '%s/instances/%s/tracing_on' % (TRACING, run.name)
        if run.first is None and 'echo 1 > %s\n' % path in run.said() and read(path) == '1\n':
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
        self.assertEqual([line for line in lines if ' %s=' % run.value not in line[4]], [])
        if run.first is not None:
            self.assertIn(str(self.forks[run.first:last])[1:-1], str(seen)[1:-1], said)
        self.ended.append(len(seen))

    def test_start_and_end_at_random(self):
        self.draw, self.forks, self.started, self.ended = random.Random(SEED), [], 0, []
        runs = [self.start() for _ in range(self.RUNS)]

        def all_are_ready():
            for run in runs:
                self.look(run)
            return all(run.first is not None for run in runs)
        until(all_are_ready, 'all runs are ready')
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
            len(self.ended), self.SECONDS, self.RUNS, len(self.forks), SEED))

"""However a run ends, and whoever else is there, it undoes what it did and no more."""
import os
import pty
import select
import signal
import subprocess

from tests.guest.live import (TOOL, TRACING, Live, Run, fork, kernel_state, parse, probed, read,
                              write)


class Endings(Live):

    def test_signals(self):
        for number, expected in ((signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129),
                                 (signal.SIGQUIT, 131), (signal.SIGUSR1, 138)):
            run = Run(['p kernel_clone']).ready()
            fork()
            status, lines, said = run.end(number)
            self.assertEqual(status, expected, said)
            self.assertTrue(lines)

    def test_signals_that_a_shell_ignores(self):
        """The interrupt ends a run all the same; the hang-up, which nohup ignores, does not."""
        def ignore():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run = Run(['p wake_up_new_task pid=S%0->pid'], preexec_fn=ignore).ready()
        run.process.send_signal(signal.SIGHUP)
        for _ in range(2):      # the first may still be seen by a run that is about to end
            run.wait_for('pid=%d\n' % fork(), 'stdout')
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
        run.close_stdout()
        self.assertEqual(run.end(None)[0], 0)       # without another event

    def test_a_terminal_is_not_steered(self):
        """What a process calls itself reaches a pipe as it is, but no terminal."""
        master, slave = pty.openpty()
        trace = 'p wake_up_new_task comm=%0->comm f:common_pid!=0'
        piped, shown = Run([trace]).ready(), Run([trace], stdout=slave).ready()
        fork('\033[31m\007\xe9'[:7])
        self.assertEqual(shown.end()[0], 0)
        seen = b''
        while select.select([master], [], [], 0)[0]:
            seen += os.read(master, 1 << 16)
        os.close(master)
        os.close(slave)
        _, lines, _ = piped.end()
        self.assertIn('comm="\033[31m\007', '\n'.join(lines))
        self.assertIn(b'comm="?[31m?', seen)
        self.assertNotIn(b'\033', seen)

    def test_a_full_stdout_without_proc(self):
        """Whose reader is asleep: it holds up no clean-up, though it cannot be opened again."""
        run = Run(['--tracefs', TRACING, 'p vfs_read'], [
            'unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$0" "$@"'] + TOOL)
        run.ready()
        for _ in range(3000):       # more than a pipe holds
            read('/proc/self/comm')
        status, _, said = run.end(signal.SIGTERM, reads_stdout=False)
        self.assertEqual(status, 1, said)
        self.assertIn('stdout took nothing for a while', said)

    def test_killed_run_is_cleaned_by_the_next(self):
        killed = Run(['p kernel_clone', 'r kernel_clone']).ready()
        killed.end(signal.SIGKILL)
        self.assertIn(':%s/f0 ' % killed.name, read(TRACING + '/kprobe_events'))
        status, _, said = Run(['e sched/sched_process_fork']).ready().end()
        self.assertEqual(status, 0)
        self.assertIn('removed what a killed run had left: %s\n' % killed.name, said)

    def test_what_a_person_made_is_no_leftover(self):
        """Pasted lines of -S are called surftrace; a number behind it is a living process's."""
        names = 'surftrace', 'surftrace_1'
        for name in names:
            self.assertTrue(probed('p:%s/f0 kernel_clone' % name))
            os.mkdir(TRACING + '/instances/' + name)
        try:
            during = kernel_state()
            self.assertEqual(Run(['p kernel_clone']).ready().end()[0], 0)
            self.assertEqual(kernel_state(), during)
        finally:
            for name in names:
                os.rmdir(TRACING + '/instances/' + name)
                probed('-:%s/f0' % name)

    def test_two_runs_at_once(self):
        first = Run(['p kernel_clone comm=$comm']).ready()
        second = Run(['p kernel_clone me=$comm x=$stack0', 'r kernel_clone']).ready()
        fork('both')
        status, lines, said = second.end()
        self.assertEqual(status, 0)
        self.assertIn('p:%s/f0 ' % second.name, said)
        self.assertTrue(all(' me=' in line or ' <- ' in line for line in lines), lines)
        fork('first')
        status, lines, said = first.end()
        self.assertEqual(status, 0)
        # Starting the second run was a fork of ours too.
        self.assertEqual(self.values(self.ours([parse(line) for line in lines]))[-2:],
                         ['comm="both"', 'comm="first"'])

    def test_somebody_elses_probes(self):
        theirs = TRACING + '/instances/somebody'
        enable = theirs + '/events/kprobes/f0/enable'
        self.assertTrue(probed('p:kprobes/f0 kernel_clone'))
        os.mkdir(theirs)
        write(enable, '1')
        try:
            during = kernel_state()
            self.assertEqual(Run(['p kernel_clone']).ready().end()[0], 0)
            self.assertEqual(kernel_state(), during)
            self.assertEqual(read(enable)[0], '1')
        finally:
            write(enable, '0')
            os.rmdir(theirs)
            probed('-:kprobes/f0')

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
            self.mounts_that_stay(without)
        finally:
            subprocess.check_call(['mount', '-t', 'tracefs', 'tracefs', TRACING])
            subprocess.check_call(['mount', '-t', 'debugfs', 'debugfs', '/sys/kernel/debug'])
            self.before['mounts'] = read('/proc/mounts')

    def mounts_that_stay(self, without):
        """One that another run uses stays, which is said; so does that of a run that was killed."""
        for number, expected in (signal.SIGINT, (0, True)), (signal.SIGKILL, (-9, False)):
            first = Run(['p kernel_clone']).ready()
            second = Run(['e sched/sched_process_fork']).ready()
            status, _, said = first.end(number)
            self.assertEqual((status, 'busy' in said), expected, said)
            for run in second, Run(['e sched/sched_process_fork']).ready():
                status, _, said = run.end()
                self.assertEqual((status, 'umount' in said), (0, False), said)
            self.assertIn('surftrace /sys/kernel/tracing tracefs', read('/proc/mounts'))
            subprocess.check_call(['umount', TRACING])
            self.assertEqual(read('/proc/mounts'), without)

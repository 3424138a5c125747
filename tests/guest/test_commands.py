"""-- COMMAND on a real kernel: its processes alone are traced, and its end is that of the run."""
import os
import signal
import subprocess
import time
import unittest

from tests.guest.live import TOOL, Live, Run, call, parse, read, until

OPENS = 'p do_sys_openat2 file=%1:ustring'


class Commands(Live):

    def files(self, lines):
        return [parse(line)[4].partition('"')[2].rstrip('"') for line in lines if ': f0: ' in line]

    def test_it_and_what_it_starts(self):
        """Not whoever else opens files, this test among them."""
        other = subprocess.Popen(['sh', '-c', 'while :; do cat /etc/hosts; done > /dev/null'])
        try:
            status, lines, said = call(OPENS, '--', 'sh', '-c',
                                       'cat /etc/passwd; (cat /etc/passwd)& wait; exit 7')
        finally:
            other.kill()
            other.wait()
        self.assertEqual(status, 7, said)
        self.assertEqual(self.files(lines).count('/etc/passwd'), 2)
        self.assertNotIn('/etc/hosts', self.files(lines))
        self.assertEqual([line for line in lines if 'f0: ' not in line],
                         2 * read('/etc/passwd').splitlines())

    def test_from_its_first_call_on(self):
        status, lines, said = call('e sched/sched_process_exec', '--', '/bin/true')
        self.assertEqual(status, 0, said)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn('sched_process_exec: filename=/bin/true ', lines[0])

    def test_stdin_is_its_own(self):
        run = Run([OPENS, '--', 'sh', '-c', 'read line; echo "read $line"'], stdin=subprocess.PIPE)
        run.process.stdin.write(b'hello\n')
        run.process.stdin.close()
        status, lines, said = run.end(None)
        self.assertEqual((status, 'read hello' in lines), (0, True), said)

    def test_a_signal_that_ends_it(self):
        self.assertEqual(call(OPENS, '--', 'sh', '-c', 'kill -KILL $$')[0], 137)

    def test_a_run_that_is_killed(self):
        """The command goes on, and the next run removes what is left."""
        made = self.path('made')
        run = Run([OPENS, '--', 'sh', '-c', 'touch %s; sleep 1' % made])
        until(lambda: os.path.exists(made), 'the command runs')
        run.end(signal.SIGKILL)
        time.sleep(1.1)
        status, _, said = call('-t', '0.1', OPENS)
        self.assertEqual(status, 0, said)
        self.assertIn('removed what a killed run had left', said)

    def test_in_a_pid_namespace(self):
        """The kernel traces by other numbers there."""
        status, lines, said = call(OPENS, '--', 'true', command=['unshare', '-p', '-f'] + TOOL)
        self.assertEqual((status, lines), (2, []))
        self.assertIn('--: in this pid namespace a process has another number', said)

    def test_what_cannot_be_run(self):
        for name, expected in (('nosuch', 127), ('/etc/passwd', 126)):
            status, lines, said = call(OPENS, '--', name)
            self.assertEqual((status, lines), (expected, []))
            self.assertNotIn('mkdir', said)


if __name__ == '__main__':
    unittest.main()

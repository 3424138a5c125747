"""The tool on a kernel that does not let it trace: it says so, and what to do.

The last of a guest's tests: a kernel that was locked down stays so.
"""
import os
import subprocess
import unittest

from tests.guest.live import TOOL, TRACING, call, write


class Forbidden(unittest.TestCase):

    TRACE = 'p kernel_clone'

    def refused(self, *words, **options):
        status, lines, said = call(self.TRACE, **options)
        self.assertEqual((status, lines), (1, []), said)
        for word in words:
            self.assertIn(word, said)
        self.assertEqual(call('-S', self.TRACE, **options)[0], 0)

    def test_1_read_only(self):
        subprocess.check_call(['mount', '-o', 'remount,ro', TRACING])
        try:
            self.refused(': read-only file system: ', 'remount,rw')
        finally:
            subprocess.check_call(['mount', '-o', 'remount,rw', TRACING])

    def test_1_a_directory_that_is_not_tracefs(self):
        status, _, said = call('--tracefs', '/tmp', self.TRACE)
        self.assertEqual(status, 1)
        self.assertIn('/tmp/README: no such file or directory', said)

    def test_1_a_container(self):
        """One that has no right to tracefs, though its user is called root in it."""
        def become_nobody():
            os.setuid(65534)
        self.refused(TRACING + '/README: permission denied: in a container, run it on the host',
                     command=['busybox', 'unshare', '-r'] + TOOL, preexec_fn=become_nobody)

    def test_2_locked_down(self):
        if not os.path.exists('/sys/kernel/security/lockdown'):
            subprocess.check_call(['mount', '-t', 'securityfs', 'none', '/sys/kernel/security'])
        write('/sys/kernel/security/lockdown', 'confidentiality')
        self.refused('the kernel is locked down', 'lockdown=integrity')

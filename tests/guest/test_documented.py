"""Every command of README.md and of -h does what is said there; a few run at once."""
import os
import re
import shlex
import socket
import subprocess
import unittest

from tests.guest.files import DOCUMENTED
from tests.guest.live import (ARCH, FROM_BTF, KERNEL, ROOT, RUN, SCRIPT, Live, Run,
                              connection, datagram, dummy_device, fork, ping, read, write)
from tests.lib import tool


def documented():
    """Return (command, what README.md has below it) for each command of the README and of -h."""
    found = [('./surftrace.py ' + command, '') for command, _ in tool.EXAMPLES]
    blocks = re.findall(r'^    [#$] (\./surftrace\.py .*)\n((?:    .*\n)*)', read(tool.README),
                        re.MULTILINE)
    return found + [(command, re.sub('(?m)^    ', '', below)) for command, below in blocks]


@unittest.skipUnless(('%d.%d' % KERNEL, ARCH) == DOCUMENTED,
                     'the README tells of %s on %s' % DOCUMENTED)
class Documented(Live):

    def run_of(self, command):
        # (What would end by its time is ended when its workload is done, however slow this is.)
        words = shlex.split(re.sub(r' -t \d+ ', ' -t 300 ', command).replace(
            'pi.btf', os.path.join(ROOT, 'pi.btf')))
        return Run(words[1:], SCRIPT, cwd=self.directory)

    def workload(self):
        ping('127.0.0.1', b'x' * 8, 1, 1)
        os.path.exists('/nonexistent')
        for path in '/etc/passwd', '/etc/hosts':
            read(path)
        for name in 'sh', 'bash':
            fork(name)
        for _ in range(2):
            with open(os.devnull, 'w') as nowhere:
                subprocess.call(['timeout', '0.2', 'yes'], stdout=nowhere)
        with connection() as (_, client):
            client.sendall(b'x' * 1000)
        datagram('::1', 5000, socket.AF_INET6)
        with open(self.path('data'), 'wb', 0) as stream:
            stream.write(b'x' * 100000)
            os.fsync(stream.fileno())

    def retransmit(self):
        """Let a SYN get no answer for a second, after which it is sent once more."""
        with dummy_device():
            subprocess.check_call(['ip', 'addr', 'add', '10.9.9.1/24', 'dev', 'dummy0'])
            client = socket.socket()
            client.settimeout(1.5)
            self.assertRaises(EnvironmentError, client.connect, ('10.9.9.2', 80))
            client.close()

    def setUp(self):
        Live.setUp(self)
        write('/proc/sys/kernel/sched_schedstats', '1')
        self.addCleanup(write, '/proc/sys/kernel/sched_schedstats', '0')

    def commands(self, kind):
        return [item for item in documented() if kind == (
            'vmlinux' if ' -v vmlinux ' in item[0] else     # tests/oracle has one, and gdb
            'information' if ' --info ' in item[0] else
            'show' if ' -S ' in item[0] else
            'refused' if re.search(r'^ +\^$', item[1], re.MULTILINE) else 'trace')]

    def test_information(self):
        self.assertGreater(len(self.commands('information')), 3)
        for command, below in self.commands('information'):
            status, lines, said = self.run_of(command).end(None)
            self.assertEqual((status, said), (0, FROM_BTF), command)
            if below:
                self.assertEqual(lines, below.splitlines(), command)
            self.assertTrue(lines, command)

    def test_shown(self):
        self.assertGreater(len(self.commands('show')), 2)
        for command, _ in self.commands('show'):
            status, lines, said = self.run_of(command).end(None)
            self.assertEqual((status, re.sub('surftrace: types from .* \\(BTF\\).*\n', '', said)),
                             (0, ''), command)
            self.assertIn('tracing_on', lines[-1], command)

    def test_refused(self):
        self.assertGreater(len(self.commands('refused')), 3)
        for command, below in self.commands('refused'):
            status, _, said = self.run_of(command).end(None)
            self.assertIn(status, (1, 2))
            self.assertIn('\n' + re.sub(RUN, 'RUN', below), '\n' + re.sub(RUN, 'RUN', said),
                          command)

    def test_traced(self):
        commands = self.commands('trace')
        self.assertGreater(len(commands), 10)
        for first in range(0, len(commands), 4):
            runs = [(command, self.run_of(command)) for command, _ in commands[first:first + 4]]
            for _, run in runs:
                run.ready()
            self.workload()
            if any('retransmit' in command for command, _ in runs):
                self.retransmit()
            for command, run in runs:
                status, lines, said = run.end()
                self.assertEqual(status, 0, command + said)
                self.assertTrue(lines, command)
                self.assertNotIn('0 keys', lines[-1], command)

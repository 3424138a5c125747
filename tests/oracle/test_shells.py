"""What -S prints and -o writes, run by the shells there are: none finds a command in it."""
import errno
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from tests.lib import tool
from tests.oracle import common

SHELLS = (['dash'], ['bash'], ['busybox', 'sh'])
STRINGS = ('$(touch x)', '`touch x`', "a'; touch x #", '; touch x', '\\n\\c', '$HOME %s', '*',
           '~ -n', '!! ${x:=y}', '& touch x &', "'$(touch x)'", '\xe9')


def setUpModule():
    common.need('dash', 'bash', 'busybox')


class Shells(unittest.TestCase):
    """The tracefs is a directory, of an old kernel without instances, whose name is hostile too."""

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.root = os.path.join(self.directory, 'tra$(touch${IFS}x)\'`id`\'')
        for number in range(len(STRINGS)):
            os.makedirs(os.path.join(self.root, 'events/surftrace/f%d' % number))
        os.mkdir(os.path.join(self.root, 'options'))
        self.write('README', 'x8/16/32/64')
        self.write('available_filter_functions', 'vfs_read\n')
        self.files = ['kprobe_events', 'tracing_on', 'options/stacktrace'] + [
            'events/surftrace/f%d/%s' % (number, name)
            for number in range(len(STRINGS)) for name in ('filter', 'enable')]
        for name in self.files:
            self.write(name, 'none\n')
        self.script = os.path.join(self.directory, 'script')
        found = tool.run(['-S', '--tracefs', self.root, '-o', self.script] + [
            'p vfs_read c=$comm f:c=="%s"' % text for text in STRINGS])
        self.assertEqual(found.status, 0, found.err)
        self.lines = found.out

    def write(self, name, text):
        with open(os.path.join(self.root, name), 'w') as stream:
            stream.write(text)

    def read(self, name):
        with open(os.path.join(self.root, name), 'rb') as stream:
            return tool.text_of(stream.read())

    def start(self, shell, text, **options):
        return subprocess.Popen(shell + ['-c', text], cwd=self.directory, **options)

    def check(self, shell):
        """Each filter says what was written, and nothing was run."""
        self.assertEqual([self.read('events/surftrace/f%d/filter' % number)
                          for number in range(len(STRINGS))],
                         ['c=="%s"\n' % text for text in STRINGS], shell)
        self.assertEqual([name for _, _, names in os.walk(self.directory) for name in names
                          if name == 'x'], [], shell)

    def opened(self, pipe, script):
        """Open the end of a pipe that is written to, once the script has opened the other."""
        end = time.time() + common.PATIENCE
        while script.poll() is None and time.time() < end:
            try:
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENXIO)
                time.sleep(0.01)
        self.fail('the script opens no pipe: %s' % script.returncode)

    def test_lines(self):
        for shell in SHELLS:
            for name in self.files:
                self.write(name, 'none\n')
            self.assertEqual(common.ended(self.start(shell, self.lines)), 0, shell)
            self.check(shell)
            self.assertEqual(self.read('tracing_on'), '1\n')

    def test_script(self):
        mounts = os.path.join(self.directory, 'mounts')
        with open(mounts, 'w') as stream:
            stream.write('nodev %s tracefs rw 0 0\n' % self.root)
        with open(self.script, 'rb') as stream:
            text = tool.text_of(stream.read())
        self.assertIn('/proc/mounts', text)
        text = text.replace('/proc/mounts', mounts)
        pipe = os.path.join(self.root, 'trace_pipe')
        for shell in SHELLS:
            for name in self.files:
                self.write(name, 'none\n')
            os.mkfifo(pipe)
            script = self.start(shell, text, stdout=subprocess.PIPE)
            writer = self.opened(pipe, script)
            end = time.time() + common.PATIENCE
            while self.read('tracing_on') != '1\n' and time.time() < end:
                time.sleep(0.01)
            self.check(shell)
            os.write(writer, b'an event\n')
            os.close(writer)
            self.assertEqual(common.ended(script), 0, shell)
            self.assertEqual(script.stdout.read(), b'an event\n')
            script.stdout.close()
            self.assertEqual(self.read('tracing_on'), '0\n')
            os.remove(pipe)


if __name__ == '__main__':
    unittest.main()

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
    """The tracefs is a directory, whose name is hostile too.

    In PATH, mkdir makes what the kernel makes in a new instance, and rmdir keeps what is left.
    """

    MKDIR = '''#!/bin/sh
/bin/mkdir "$1" && cp -r "$SHELLS"/instance/. "$1" && mv "$1/events/run" "$1/events/${1##*/}"
'''
    RMDIR = '#!/bin/sh\nrm -rf "$SHELLS"/left && mv "$1" "$SHELLS"/left\n'

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.root = os.path.join(self.directory, 'tra$(touch${IFS}x)\'`id`\'')
        for name, text in [
                ('README', 'x8/16/32/64'), ('available_filter_functions', 'vfs_read\n'),
                ('instances/none', ''), ('kprobe_events', '')]:
            self.write(os.path.join(self.root, name), text)
        for name in ['tracing_on', 'options/stacktrace', 'trace'] + [
                'events/run/f%d/%s' % (number, name)
                for number in range(len(STRINGS)) for name in ('filter', 'enable')]:
            self.write(os.path.join(self.directory, 'instance', name), 'none\n')
        os.mkfifo(os.path.join(self.directory, 'instance/trace_pipe'))
        for name, text in (('mkdir', self.MKDIR), ('rmdir', self.RMDIR)):
            self.write(os.path.join(self.directory, 'bin', name), text)
            os.chmod(os.path.join(self.directory, 'bin', name), 0o755)
        self.script = os.path.join(self.directory, 'script')
        found = tool.run(['-S', '--tracefs', self.root, '-o', self.script] + [
            'p vfs_read c=$comm f:c=="%s"' % text for text in STRINGS])
        self.assertEqual(found.status, 0, found.err)
        self.lines = found.out

    def write(self, path, text):
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, 'w') as stream:
            stream.write(text)

    def read(self, run, name):
        """What a file of a run's instance says, None if there is none yet."""
        try:
            with open(os.path.join(self.root, 'instances', run, name), 'rb') as stream:
                return tool.text_of(stream.read())
        except OSError:
            return None

    def start(self, shell, text, **options):
        path = self.directory + '/bin:' + os.environ['PATH']
        return subprocess.Popen(shell + ['-c', text], cwd=self.directory, env=dict(
            os.environ, PATH=path, SHELLS=self.directory), **options)

    def check(self, shell, run):
        """Each filter says what was written, and nothing was run."""
        self.assertEqual([self.read(run, 'events/%s/f%d/filter' % (run, number))
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
                self.assertIn(error.errno, (errno.ENXIO, errno.ENOENT))
                time.sleep(0.01)
        self.fail('the script opens no pipe: %s' % script.returncode)

    def test_lines(self):
        for shell in SHELLS:
            self.assertEqual(common.ended(self.start(shell, self.lines)), 0, shell)
            self.check(shell, 'surftrace')
            self.assertEqual(self.read('surftrace', 'tracing_on'), '1\n')
            shutil.rmtree(os.path.join(self.root, 'instances/surftrace'))

    def test_script(self):
        with open(self.script, 'rb') as stream:
            text = tool.text_of(stream.read())
        for shell in SHELLS:
            script = self.start(shell, text, stdout=subprocess.PIPE)
            run = 'surftrace_%d' % script.pid
            writer = self.opened(os.path.join(self.root, 'instances', run, 'trace_pipe'), script)
            end = time.time() + common.PATIENCE
            while self.read(run, 'tracing_on') != '1\n' and time.time() < end:
                time.sleep(0.01)
            self.check(shell, run)
            os.write(writer, b'an event\n')
            os.close(writer)
            self.assertEqual(common.ended(script), 0, shell)
            self.assertEqual(script.stdout.read(), b'an event\n')
            script.stdout.close()
            self.assertEqual(os.listdir(os.path.join(self.root, 'instances')), ['none'])
            with open(os.path.join(self.directory, 'left/tracing_on')) as stream:
                self.assertEqual(stream.read(), '0\n')


if __name__ == '__main__':
    unittest.main()

"""Tests that write small files of types, and call the tool on them."""
import os
import re
import shutil
import signal
import tempfile
import unittest

from tests.lib import tool


class FileTest(unittest.TestCase):
    """A test with a directory of its own, in which it is."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=tool.SCRATCH)
        self.addCleanup(shutil.rmtree, self.directory)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)

    def write(self, name, data):
        """Write a file, and directories that lead to it; return its path."""
        path = os.path.join(self.directory, name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, 'wb') as stream:
            stream.write(data)
        return path

    def said(self, *arguments, **options):
        """What a call that succeeds prints; the registers are those of x86_64."""
        result = self.call(arguments, options)
        self.assertEqual(result.status, 0, result.err)
        self.noted = result.err
        return result.out

    def refused(self, message, *arguments, **options):
        """Check that a call says why it fails, with status=1 if nothing else is expected."""
        status = options.pop('status', 1)
        result = self.call(arguments, options)
        self.assertIn(message, result.err)
        self.assertEqual((result.status, result.out), (status, ''), result.err)
        return result.err

    def call(self, arguments, options):
        if '-a' not in arguments and 'on' not in options:
            arguments += ('-a', 'x86_64')
        return tool.run(arguments, **options)

    def words(self, path, trace, *arguments):
        """The values of a trace in ftrace's own words, by the types in a file."""
        if arguments[:1] != ('-d',):
            arguments += ('-v',)
        line = self.said('-S', *(arguments + (path, trace)))
        return re.search(r"'?p:surftrace/f0 \S+ ?(.*?)'? >>", line).group(1)

    def unhandled(self, number):
        """Let a signal that the tool does not handle fail the test, and not end it."""
        def fail(*_):
            raise AssertionError('the tool leaves signal %d to others' % number)
        self.addCleanup(signal.signal, number, signal.signal(number, fail))

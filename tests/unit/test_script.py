"""What -S prints and -o writes, for a shell: the same steps as a live run, each undone."""
import hashlib
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from tests.lib import btf, elf, tool
from tests.unit.test_run import OnABox, TRACES

NASTY = ['a', '', "it's", '$(touch x)', '`touch x`', 'a b', '"', '\\', '\\n', '*', '-n', ';x',
         '#', '~', 'a\\"b', "'", "a'b'c"]


class Script(OnABox):

    def setUp(self):
        OnABox.setUp(self)
        self.directory = tempfile.mkdtemp(dir=tool.SCRATCH)
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, 'trace sh')

    def written(self, *arguments):
        """Return the text of the script, and the lines of -S."""
        result = self.run_on('-S', '-o', self.path, *(arguments or TRACES))
        self.assertEqual(result.status, 0, result.err)
        with open(self.path) as stream:
            return stream.read(), result.out.splitlines()

    def test_it_can_be_run(self):
        text, _ = self.written()
        self.assertTrue(text.startswith('#!/bin/sh\n'))
        self.assertTrue(os.access(self.path, os.X_OK))
        self.assertEqual(subprocess.call(['sh', '-n', self.path]), 0)
        for trace in TRACES:
            self.assertIn('\n#   ' + tool.quoted(trace) + '\n', text)

    def test_sets_up_as_the_lines_do(self):
        """The lines of the script, once $run is known, are those of -S, less the root."""
        text, shown = self.written('-s', '-b', '64', *TRACES)
        lines = text.replace('"$run"', 'surftrace').split('\n')
        found = [shlex.split(line.split(' || give_up')[0]) for line in lines
                 if re.match('(echo|printf) .*\\|\\| give_up', line)]
        self.assertEqual(found, [shlex.split(line.replace('/sys/kernel/tracing/', ''))
                                 for line in shown if not line.startswith('mkdir')])

    def test_what_is_refused_is_named(self):
        text, _ = self.written()
        for trace in TRACES:
            self.assertIn(" || give_up " + tool.quoted('the kernel refused: ' + trace), text)

    def test_undoes_in_reverse_what_has_been_done(self):
        """Events first, then what is in the buffer is shown, then probes and the instance."""
        text, _ = self.written()
        order = [text.index(words) for words in (
            'echo 0 > instances/"$run"/tracing_on', 'echo 0 > instances/"$run"/events/sched/',
            'echo 0 > instances/"$run"/events/"$run"/f1/enable',
            'echo 0 > instances/"$run"/events/"$run"/f0/enable', 'kill "$reader"',
            'exec 3<&-', "echo -:\"$run\"/f1 >> kprobe_events",
            "echo -:\"$run\"/f0 >> kprobe_events", 'rmdir instances/"$run" ||', 'umount ')]
        self.assertEqual(order, sorted(order))

    def test_undoes_no_step_that_was_not_done(self):
        """Each undo asks how far the set-up came: its own step's number and no other."""
        text, _ = self.written()
        steps = dict((number, line.replace("'", '')) for line, number in re.findall(
            r'^((?:echo|printf) .*) \|\| give_up .*\ndone_with (\d+)$', text, re.M))
        undone = re.findall(r'^    \[ "\$step" -lt (\d+) \] \|\| echo (\S+) >>? (\S+) \|\| warn',
                            text, re.M)
        self.assertEqual(len(undone), 6)
        for number, words, path in undone:
            if words == '0':
                self.assertEqual(steps[number], 'echo 1 > ' + path.replace("'", ''))
            else:       # -:"$run"/f0
                self.assertIn(words[1:] + ' ', steps[number])

    def test_what_it_cannot_do_is_told(self):
        ends = 'a script runs until Ctrl+C, without -c and -t; timeout -s INT 60 sh '
        shows = 'a script shows addresses and names as the numbers that the kernel has'
        for arguments, told in (
                (['-c', '3'] + TRACES, [ends]), (['-t', '3'] + TRACES, [ends]), (TRACES, []),
                (['p ip_rcv ip_a=@(struct iphdr *)%0->saddr'], [shows])):
            found = self.run_on('-S', '-o', self.path, *arguments).err
            self.assertEqual([said for said in (ends, shows) if said in found], told)

    def test_it_cannot_be_written(self):
        result = self.run_on('-S', '-o', '/nonexistent/x', *TRACES)
        self.assertEqual(result.status, 1)
        self.assertIn('/nonexistent/x: no such file or directory', result.err)

    def test_it_takes_the_place_of_a_file_when_it_is_whole(self):
        """A link is replaced, not followed; what killed runs have left goes; others' stays."""
        process = subprocess.Popen(['true'])
        process.wait()
        target = os.path.join(self.directory, 'target')
        for name in ('.making-%d-x' % process.pid, '.making-1-y', '.making-x'):
            os.mkdir(os.path.join(self.directory, name))
        with open(target, 'w') as stream:
            stream.write('somebody needs this')
        os.symlink(target, self.path)
        self.written()
        self.assertFalse(os.path.islink(self.path))
        with open(target) as stream:
            self.assertEqual(stream.read(), 'somebody needs this')
        self.assertEqual(sorted(os.listdir(self.directory)),
                         ['.making-1-y', '.making-x', 'target', 'trace sh'])

    def test_a_disk_that_is_full(self):
        """What was there stays as it was."""
        with open(self.path, 'w') as stream:
            stream.write('an older script')
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limit)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGXFSZ, usual)
        process = tool.process(['-S', '-v', self.raw(), '-o', self.path, 'p wake_up_new_task'])
        said = process.communicate()[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b'file too large', said)
        with open(self.path) as stream:
            self.assertEqual(stream.read(), 'an older script')
        self.assertEqual(sorted(os.listdir(self.directory)), ['raw', 'trace sh'])

    def raw(self):
        """The path of raw BTF, which is longer than the limit, and written before it."""
        path = os.path.join(self.directory, 'raw')
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        with open(path, 'wb') as stream:
            stream.write(btf.sample().data())
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, -1))
        return path

    def test_it_goes_into_a_pipe(self):
        pipe = os.path.join(self.directory, 'pipe')
        os.mkfifo(pipe)
        reader = subprocess.Popen(['cat', pipe], stdout=subprocess.PIPE)
        self.assertEqual(self.run_on('-S', '-o', pipe, *TRACES).status, 0)
        self.assertTrue(reader.communicate()[0].startswith(b'#!/bin/sh\n'))

    def test_a_pipe_that_nobody_reads(self):
        """A signal ends the run."""
        pipe = os.path.join(self.directory, 'pipe')
        os.mkfifo(pipe)
        for number in (signal.SIGINT, signal.SIGTERM):
            process = tool.process(['-S', '-o', pipe, 'p vfs_read'])
            time.sleep(1)
            process.send_signal(number)
            self.assertIn(process.wait(), (128 + number, -number))
            process.communicate()

    def test_where_tracefs_is(self):
        self.box.put('/a b/README', '')
        text, _ = self.written('--tracefs', '/a b', *TRACES)
        self.assertIn("for tracing in '/a b' /sys/kernel/tracing ", text)

    def test_a_live_run_writes_it_too(self):
        self.assertEqual(self.run_on('-o', self.path, *TRACES).status, 0)
        with open(self.path) as stream:
            self.assertEqual(stream.read(), self.written()[0])


class Comparing(OnABox):
    """A script begins by comparing its kernel with the one that its offsets are of."""

    TYPED = 'p wake_up_new_task comm=%0->comm'
    WENT_ON, OTHER = 'went on\n', 'ANY_KERNEL=1 runs it all the same'

    def setUp(self):
        OnABox.setUp(self)
        self.directory = tempfile.mkdtemp(dir=tool.SCRATCH)
        self.addCleanup(shutil.rmtree, self.directory)

    def put(self, name, data):
        path = os.path.join(self.directory, name)
        with open(path, 'wb') as stream:
            stream.write(data)
        os.chmod(path, 0o755)
        return path

    def runs(self, *arguments, **answers):
        """Return the status and the output of the beginning of a script, run by a shell.

        answers -- of what it asks: uname, sha256sum; and what is in the environment, any
        """
        path = os.path.join(self.directory, 'trace.sh')
        self.assertEqual(self.run_on('-S', '-o', path, *arguments).status, 0)
        with open(path) as stream:
            text = stream.read()
        for name in 'uname', 'sha256sum':
            self.put(name, ('#!/bin/sh\n' + answers.get(name, 'exit 1') + '\n').encode())
        process = subprocess.Popen(
            ['/bin/sh', '-c', text[:text.index('\nrun=surftrace_$$')] + '\necho went on\n'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={
                'PATH': self.directory, 'ANY_KERNEL': answers.get('any', '')})
        said = process.communicate()[0].decode()
        return process.returncode, said

    def test_by_the_release(self):
        """Of the running kernel, whose types were asked."""
        self.assertEqual(self.runs(self.TYPED, uname='echo 6.12'), (0, self.WENT_ON))
        status, said = self.runs(self.TYPED, uname='echo 6.13')
        self.assertEqual(status, 1)
        self.assertEqual(said, 'surftrace: made for kernel 6.12, this is 6.13: %s\n' % self.OTHER)
        self.assertEqual(self.runs(self.TYPED, uname='echo 6.13', any='1'), (0, self.WENT_ON))
        self.assertEqual(self.runs(self.TYPED, uname='echo 6.13', any='0')[0], 1)

    def test_by_the_release_that_a_vmlinux_tells(self):
        path = self.put('vmlinux', elf.elf(
            [(b'.BTF', btf.sample().data()),
             (b'.rodata', b'\0Linux version 5.4.0-rpi (gcc) #1\n\0')], machine=183))
        self.assertEqual(self.runs('-v', path, self.TYPED, uname='echo 5.4.0-rpi'),
                         (0, self.WENT_ON))
        self.assertIn('made for kernel 5.4.0-rpi, this is 6.12', self.runs(
            '-v', path, self.TYPED, uname='echo 6.12')[1])

    def test_by_the_sum_of_its_btf(self):
        data = btf.sample().data()
        path, right = self.put('raw', data), hashlib.sha256(data).hexdigest()
        asked = '[ "$*" = /sys/kernel/btf/vmlinux ] && echo "%s  $1"'
        for sum_of_it, status in ((right, 0), (right[:-1] + 'x', 1)):
            found = self.runs('-v', path, self.TYPED, sha256sum=asked % sum_of_it)
            self.assertEqual(found[0], status, found)
        self.assertIn(self.OTHER, found[1])
        self.assertEqual(self.runs('-v', path, self.TYPED, sha256sum=asked % 'x', any='1'),
                         (0, self.WENT_ON))
        status, said = self.runs('-v', path, self.TYPED)
        self.assertEqual(status, 0)
        self.assertIn('no BTF or no sha256sum here: cannot tell whether', said)

    def test_a_database(self):
        """What it was made from tells the release, or its name, or nothing does."""
        raw = self.put('raw', btf.sample().data())
        for name, source, said in (('x.db', (), 'made for kernel 6.12'),
                                   ('info-4.4.0.db', (), 'made for kernel 6.12'),
                                   ('info-4.4.1.db', ('-v', raw), 'made for kernel 4.4.1'),
                                   ('y.db', ('-v', raw), 'cannot tell whether')):
            path = os.path.join(self.directory, name)
            self.assertEqual(self.run_on('--make-db', path, *source).status, 0)
            self.assertIn(said, self.runs('-d', path, self.TYPED, uname='echo 1')[1])

    def test_no_types_no_comparison(self):
        self.assertEqual(self.runs('p vfs_read a=%di:u32', 'e sched/sched_switch'),
                         (0, self.WENT_ON))


class Quoting(unittest.TestCase):

    def test_words_survive_a_shell(self):
        for text in NASTY:
            shell = 'printf "<%%s>" %s' % tool.quoted(text)
            self.assertEqual(subprocess.check_output(['sh', '-c', shell]).decode(),
                             '<%s>' % text)

    def test_lines_write_what_they_say(self):
        """A filter with such a string in it, put into a file by the shell."""
        directory = tempfile.mkdtemp(dir=tool.SCRATCH)
        self.addCleanup(shutil.rmtree, directory)
        for text in NASTY:
            if '"' in text and "'" in text:
                continue        # which the kernel cannot quote
            written = "'%s'" % text if '"' in text else '"%s"' % text
            lines, _ = tool.planned(['p ip_rcv f:COMM==' + written], root=directory)
            [line] = [line for line in lines if line.endswith('/filter')]
            target = os.path.join(directory, 'filter')
            subprocess.check_call(['sh', '-c', line.rpartition(' > ')[0] + ' > ' + target])
            with open(target) as stream:
                self.assertEqual(stream.read(), 'COMM==%s\n' % written)


if __name__ == '__main__':
    unittest.main()

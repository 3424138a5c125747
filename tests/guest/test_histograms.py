"""Counts made by the kernel, h:, on a real kernel: what the workload did, no more and no less."""
import os
import re
import signal
import subprocess
import time
import unittest

from tests.guest.live import TRACING, Live, Run, call, read, set_comm
from tests.guest.test_calls import children, fields


def rows(lines):
    """{key as text, or a tuple of such: the numbers behind it} of a table, and its last line."""
    found, names = {}, len([word for word in lines[0].split() if word not in (
        'calls', 'events', 'mean')])
    sums = re.search(r'(?:calls|events)(.*)', lines[0]).group(1).split()[::2]
    for line in lines[1:-1]:
        words = line.split()
        cut = names - len(sums)
        numbers = tuple(float(word) for word in words[cut:])
        found[words[0] if cut == 1 else tuple(words[:cut])] = numbers
    return found, lines[-1]


class Histograms(Live):

    def table(self, *arguments, **options):
        """Run one trace while workload() runs; return the lines of its table."""
        run = Run(arguments).ready()
        self.result = options['workload']()
        status, lines, self.said = run.end()
        self.assertEqual(status, 0, self.said)
        self.assertNotIn('None', '\n'.join(lines))
        return lines

    def writes(self, sizes):
        with open(self.path('x'), 'wb', 0) as stream:
            for size in sizes:
                stream.write(b'x' * size)

    def test_every_call_of_100000(self):
        with open('/dev/zero', 'rb', 0) as stream:
            def work():
                for _ in range(100000):
                    os.read(stream.fileno(), 1)
            lines = self.table('p vfs_read h:common_pid f:common_pid==%d' % os.getpid(),
                               workload=work)
        counted = rows(lines)[0][str(os.getpid())][0]
        # (What the test itself reads of the run's stderr comes on top.)
        self.assertGreaterEqual(counted, 100000)
        self.assertLess(counted, 100100)
        self.assertNotIn('surftrace: ', self.said)

    def test_the_same_as_of_the_lines(self):
        """Counts, sums, means, powers of two and buckets, of one and the same run."""
        sizes = [1, 1, 2, 3, 64, 65, 100, 128, 129, 4000]
        own = ' f:common_pid==%d' % os.getpid()
        run = Run(['p vfs_write size=U%2 comm=$comm' + words + own for words in (
            '', ' h:comm:size', ' h:size.log2', ' h:size.buckets=100', ' h:size:size')]).ready()
        self.writes(sizes)
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        seen = [int(fields(line)['size']) for line in lines if ': f0: ' in line]
        self.assertEqual(seen, sizes)
        tables = '\n'.join(lines[len(seen):]).split('\n\n')
        titles = [text.splitlines()[0] for text in tables]
        self.assertEqual([re.search(r' h:(\S+)', title).group(1) for title in titles],
                         ['comm:size', 'size.log2', 'size.buckets=100', 'size:size'])
        by_name, powers, buckets, each = [text.splitlines()[1:] for text in tables]
        self.assertEqual(rows(by_name), ({read('/proc/self/comm').strip(): (
            len(sizes), sum(sizes), float('%.1f' % (float(sum(sizes)) / len(sizes))))},
            '10 calls, 1 key'))
        self.assertEqual([(row.partition(']')[0] + ']', int(row.partition(']')[2].split()[0]))
                          for row in powers[1:-1]], [
            ('[0, 1]', 2), ('(1, 2]', 1), ('(2, 4]', 1), ('(4, 8]', 0), ('(8, 16]', 0),
            ('(16, 32]', 0), ('(32, 64]', 1), ('(64, 128]', 3), ('(128, 256]', 1),
            ('(256, 512]', 0), ('(512, 1024]', 0), ('(1024, 2048]', 0), ('(2048, 4096]', 1)])
        self.assertEqual([re.sub(' *[|@].*', '', row) for row in buckets[1:-1]], [
            '[0, 99]           6', '[100, 199]        3', '[4000, 4099]      1'])
        self.assertEqual(rows(each)[0]['1'], (2, 2, 1))
        self.assertEqual(sum(numbers[0] for numbers in rows(each)[0].values()), len(sizes))

    def test_keys_as_they_are_shown(self):
        """Errors by name, signs, hexadecimal, a name and a number side by side."""
        def work():
            for name in self.directory, '/nonexistent', '/nonexistent':
                try:
                    os.stat(name)
                except OSError:
                    pass
        lines = self.table('c vfs_statx r=S$retval name=%%1->name:string h:r,name '
                           'f:common_pid==%d' % os.getpid(), workload=work)
        self.assertEqual(rows(lines)[0], {('0', self.directory): (1,),
                                          ('-ENOENT', '/nonexistent'): (2,)})
        lines = self.table('r vfs_statx r=$retval h:r.hex f:common_pid==%d' % os.getpid(),
                           workload=work)
        self.assertEqual(rows(lines)[0], {'0x0': (1,), '0xfffffffe': (2,)})

    def test_two_strings(self):
        """The name of the task is then joined from its numbers."""
        def work():
            set_comm('a b')
            children(3, lambda _: open('/etc/passwd').close())
            set_comm('python')
        lines = self.table('p do_sys_openat2 comm=$comm file=%1:ustring h:comm,file '
                           'f:file==/etc/passwd', workload=work)
        self.assertEqual([re.split('  +', line) for line in lines[1:]],
                         [['a b', '/etc/passwd', '3'], ['3 calls, 1 key']])

    def test_stacks(self):
        lines = self.table('p vfs_write h:stacktrace f:common_pid==%d' % os.getpid(),
                           workload=lambda: self.writes([1, 1]))
        self.assertEqual(lines[:2], ['calls', '    2'])
        self.assertRegex(lines[2], r'^    vfs_write\+0x')
        self.assertIn('write', lines[3])
        for kind in 'rc':
            lines = self.table(kind + ' vfs_write h:stacktrace f:common_pid==%d' % os.getpid(),
                               workload=lambda: self.writes([1, 1]))
            self.assertRegex(lines[2], 'write')
            self.assertNotRegex('\n'.join(lines), 'vfs_write|probe|rethook|trace_event')

    def test_functions_of_a_pattern(self):
        lines = self.table('p vfs_[rw]* h:common_pid f:common_pid==%d' % os.getpid(),
                           workload=lambda: self.writes([1, 1, 1]))
        self.assertEqual(lines[0].split(), ['function', 'common_pid', 'calls'])
        self.assertEqual(rows(lines)[0]['vfs_write', str(os.getpid())], (3,))

    def test_events(self):
        """A field's own names; a task by its name, whatever the event has."""
        pids = []
        lines = self.table('e sched/sched_process_fork h:COMM,parent_pid f:parent_pid==%d'
                           % os.getpid(), workload=lambda: pids.extend(children(5, id)))
        self.assertEqual(rows(lines)[0], {
            (read('/proc/self/comm').strip(), str(os.getpid())): (5,)})
        lines = self.table('e irq/softirq_entry h:vec', workload=lambda: time.sleep(1))
        self.assertIn('TIMER', rows(lines)[0])
        lines = self.table('e raw_syscalls/sys_enter h:id.syscall f:common_pid==%d' % os.getpid(),
                           workload=lambda: [os.getppid() for _ in range(7)])
        self.assertEqual(rows(lines)[0]['sys_getppid'], (7,))

    def test_negative_numbers(self):
        def work():
            for name in self.directory, '/nonexistent':
                try:
                    os.stat(name)
                except OSError:
                    pass
        lines = self.table('r vfs_statx r=S$retval h:r.log2 f:common_pid==%d' % os.getpid(),
                           workload=work)
        self.assertIn("'r': counts from 0 on: negative numbers are left out", self.said)
        self.assertEqual(lines[-1], '1 call, 1 key')

    def test_a_name_that_looks_like_a_row(self):
        def work():
            set_comm('a }\n{ comm: x')
            self.writes([1])
            set_comm('python')
        lines = self.table('p vfs_write comm=$comm size=U%%2 h:comm f:size==1&&common_pid==%d'
                           % os.getpid(), workload=work)
        self.assertEqual(lines[1:], ['a }\\x0a{ comm: x      1', '1 call, 1 key'])

    def test_a_table_that_is_full(self):
        """What does not fit is told; that of a pattern holds 2,048 keys."""
        with open('/dev/zero', 'rb', 0) as stream:
            def work():
                for size in range(4000):
                    os.read(stream.fileno(), size)
            lines = self.table('p vfs_rea[d] size=U%%2 h:size f:common_pid==%d' % os.getpid(),
                               workload=work)
        found = re.match(r"(\d+) calls, (\d+) keys, and (\d+) not counted: the kernel's table was "
                         'full', lines[-1])
        self.assertGreaterEqual(int(found.group(1)) + int(found.group(3)), 4000)

    def test_a_terminal_sees_that_it_counts(self):
        master, slave = os.openpty()
        process = subprocess.Popen(['python', 'surftrace.py', '-t', '3', 'p vfs_write h:comm'],
                                   stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        while process.poll() is None:
            self.writes([1])
            time.sleep(0.01)
        table = process.communicate()[0]
        said = os.read(master, 65536)
        os.close(master)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(said.decode(), r'surftrace: \d+ counted so far')
        self.assertIn(b'comm', table)

    def test_of_one_process(self):
        """-p goes for counts, too."""
        run = Run(['-p', str(os.getpid()), 'p vfs_write h:common_pid']).ready()
        self.writes([1, 2, 3])
        status, lines, said = run.end()
        self.assertEqual((status, rows(lines)[0]), (0, {str(os.getpid()): (3,)}), said)

    def test_of_a_command(self):
        status, lines, said = call('p vfs_read h:COMM', '--', 'dd', 'if=/dev/zero', 'of=/dev/null',
                                   'bs=1', 'count=500')
        self.assertEqual(status, 0, said)
        self.assertEqual(lines[1].split()[0], 'dd')
        self.assertIn(int(lines[1].split()[1]), range(500, 520))

    def test_ends(self):
        for number, expected in (signal.SIGTERM, 143), (signal.SIGINT, 0):
            run = Run(['p vfs_write h:common_pid f:common_pid==%d' % os.getpid()]).ready()
            self.writes([1])
            status, lines, said = run.end(number)
            self.assertEqual((status, lines[-1]), (expected, '1 call, 1 key'), said)
            self.nothing_is_left()


class Mistakes(Live):

    def test_what_does_not_go_together(self):
        self.refused('-c N ends after N events', '-c', '3', 'p vfs_read h:common_pid')
        self.refused('h:stacktrace', '-s', 'p vfs_read h:common_pid')


if 'hist trigger' not in read(TRACING + '/README'):
    del Histograms      # tests.guest.test_calls has what is said then


if __name__ == '__main__':
    unittest.main()

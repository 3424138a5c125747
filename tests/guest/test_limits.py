"""What a person sets: how long, whom, how much."""
import array
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time

from tests.guest.live import TRACING, Live, Run, fork, parse, read, until, write

OURS = 'common_pid==%d' % os.getpid()
GETPPID = 'e syscalls/sys_enter_getppid f:' + OURS
# A process with a thread, which it lets go when it is told to; then it starts a process.
FAMILY = '''
import os, sys, threading
def work():
    event.wait()
    os.path.exists("/from-a-thread")
event = threading.Event()
thread = threading.Thread(target=work)
thread.start()
sys.stdout.write("x")
sys.stdout.flush()
sys.stdin.read(1)
event.set()
thread.join()
pid = os.fork()
os.waitpid(pid, 0) if pid else os.path.exists("/from-the-child")
'''


def getppid(times):
    for _ in range(times):
        os.getppid()


def processor_time(run):
    """Return the time that a run's process has taken so far, in ticks of a hundredth second."""
    fields = read('/proc/%d/stat' % run.process.pid).rpartition(')')[2].split()
    return int(fields[11]) + int(fields[12])


def idle_time():
    """Return for how many seconds this machine, of one processor, has had nothing to do."""
    return float(read('/proc/uptime').split()[1])


def waiting_in(pipe):
    """Return how many bytes are in a pipe."""
    count = array.array('i', [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, count)
    return count[0]


class Limits(Live):

    def ended(self, run):
        """Return the parsed lines of events of a run that ends by itself, and what it said."""
        status, lines, said = run.end(None)
        self.assertEqual(status, 0, said)
        self.stacks = len([line for line in lines if line.endswith(': <stack trace>')])
        return [parse(line) for line in lines if re.search(r': f\d: ', line)], said

    def test_count(self):
        run = Run(['-c', '3', 'p wake_up_new_task pid=S%0->pid f:' + OURS]).ready()
        children = [fork() for _ in range(7)]
        lines, said = self.ended(run)
        self.assertEqual(self.values(lines), ['pid=%d' % pid for pid in children[:3]])
        self.assertIn('surftrace: 3 events\n', said)

    def test_count_with_stacks(self):
        run = Run(['-s', '-c', '2', 'p wake_up_new_task f:' + OURS]).ready()
        for _ in range(5):
            fork()
        lines, said = self.ended(run)
        self.assertEqual((len(lines), self.stacks), (2, 2))
        self.assertIn('surftrace: 2 events\n', said)

    def test_waiting_takes_no_time(self):
        run = Run(['-t', '600', '-c', '3', 'p wake_up_new_task pid=S%0->pid f:' + OURS]).ready()
        run.wait_for('pid=%d\n' % fork(), 'stdout')     # then it is waiting
        before = until(lambda: self.sleeping(run) and processor_time(run), 'it waits')
        time.sleep(3)
        self.assertEqual(processor_time(run), before)
        for _ in range(2):      # and yet each line is there at once
            began = idle_time()
            run.wait_for('pid=%d\n' % fork(), 'stdout')
            self.assertLess(idle_time() - began, 1)
        self.assertEqual(run.end(None)[0], 0)

    def sleeping(self, run):
        return read('/proc/%d/stat' % run.process.pid).rpartition(')')[2].split()[0] == 'S'

    def test_time(self):
        began = time.time()
        run = Run(['-t', '3', 'p wake_up_new_task pid=S%0->pid f:' + OURS]).ready()
        children = [fork()]
        until(lambda: children.append(fork()) or run.process.poll() is not None, 'it ends')
        lines, _ = self.ended(run)
        self.assertTrue(lines)
        self.assertEqual(self.values(lines), ['pid=%d' % pid for pid in children[:len(lines)]])
        self.assertGreater(time.time() - began, 3)

    def test_process(self):
        """Its threads of before, and the processes that it starts; nobody else."""
        process = subprocess.Popen([sys.executable, '-c', FAMILY], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        process.stdout.read(1)
        run = Run(['-p', str(process.pid), 'p do_sys_openat2 x=%1', 'p filename_lookup '
                   'name=%1->name f:name~"/from-*"']).ready()
        os.path.exists('/from-here')
        process.communicate(b'x')
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertEqual([parse(line)[4] for line in lines if ': f1: ' in line],
                         ['name="/from-a-thread"', 'name="/from-the-child"'])

    def test_command_name(self):
        lines = self.trace('p wake_up_new_task pid=S%0->pid f:pid>1&&COMM==limited',
                           'e sched/sched_process_fork f:COMM==limited', workload=lambda: [
                               fork(), fork('limited'), fork('other')])
        self.assertEqual([(line[0], line[2]) for line in lines],
                         [('limited', 'sched_process_fork'), ('limited', 'f0')])

    def test_buffer_and_maxactive(self):
        run = Run(['-b', '64', '--maxactive', '7', 'r kernel_clone', 'p kernel_clone']).ready()
        # The kernel rounds it up to whole pages.
        self.assertIn(int(read(TRACING + '/instances/%s/buffer_size_kb' % run.name)),
                      range(64, 80))
        lines = read(TRACING + '/kprobe_events').splitlines()
        self.assertEqual([line.split()[0] for line in lines],
                         [kind % run.name for kind in ('r7:%s/f0', 'p:%s/f1')])
        self.assertEqual(run.end()[0], 0)

    def overrun(self, calls, *options):
        """Make calls while a run is stopped, more than its buffer holds; return lines and words."""
        run = Run(list(options) + ['-b', '16', GETPPID]).ready()
        run.process.send_signal(signal.SIGSTOP)
        getppid(calls)
        run.process.send_signal(signal.SIGCONT)
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        return lines, said

    def test_lost_events_are_counted(self):
        calls = 20000
        lines, said = self.overrun(calls)
        match = re.search(r'surftrace: (\d+) events, and (\d+) lost: ', said)
        self.assertTrue(match, said)
        shown = len([line for line in lines if 'sys_getppid' in line])
        self.assertEqual((int(match.group(1)), shown + int(match.group(2))), (shown, calls))
        self.assertGreater(int(match.group(2)), calls // 2)

    def test_lost_stacks_are_counted_too(self):
        """Each stack is an event to the ring buffer."""
        calls = 5000
        lines, said = self.overrun(calls, '-s')
        seen, lost = map(int, re.search(
            r'surftrace: (\d+) events, and (\d+) lost, stacks among them: ', said).groups())
        shown = len([line for line in lines if 'sys_getppid(' in line])
        stacks = len([line for line in lines if line.endswith(': <stack trace>')])
        self.assertEqual((seen, shown + stacks + lost), (shown, 2 * calls))

    def test_a_reader_that_sleeps(self):
        """It holds up nothing in the kernel, and gets what was not lost."""
        calls, path = 30000, self.path('late')
        with open(path, 'w') as late:
            reader = subprocess.Popen(
                ['sh', '-c', 'until [ -e %s ]; do sleep 0.1; done; cat' % self.path('awake')],
                stdin=subprocess.PIPE, stdout=late)
        run = Run(['-b', '64', GETPPID], stdout=reader.stdin)
        reader.stdin.close()
        run.ready()
        getppid(calls)
        self.assertIsNone(reader.poll())
        write(self.path('awake'), '')
        until(lambda: os.path.getsize(path), 'the reader reads')
        status, _, said = run.end()
        until(lambda: reader.poll() is not None, 'the reader ends')
        self.assertEqual(status, 0, said)
        lost = int(re.search(r'and (\d+) lost: ', said).group(1))
        shown = len([line for line in read(path).splitlines() if 'sys_getppid(' in line])
        self.assertEqual(shown + lost, calls)

    def test_a_pipe_that_is_full_at_the_end(self):
        """What is still in the ring buffer is written all the same."""
        calls = 5000
        run = Run([GETPPID]).ready()
        getppid(calls)
        until(lambda: waiting_in(run.process.stdout) > 32768, 'the pipe is full, or will be')
        status, lines, said = run.end()
        self.assertEqual((status, len(lines)), (0, calls), said)
        self.assertIn('surftrace: %d events\n' % calls, said)

    def test_a_reader_that_takes_nothing_more(self):
        """It does not hold up the end, and what it did not get is counted."""
        calls = 5000
        run = Run([GETPPID]).ready()
        getppid(calls)
        status, lines, said = run.end(reads_stdout=False)
        self.assertEqual(status, 1)
        seen, left = map(int, re.search(r'surftrace: (\d+) events, and (\d+) not read, as stdout '
                                        'took nothing', said).groups())
        unwritten = int(re.search(r'(\d+) bytes of events were not written', said).group(1))
        self.assertEqual(seen + left, calls)
        # All lines are of one size; of the last that came there may be a part.
        lost = -(-unwritten // (len(lines[0]) + 1))
        self.assertEqual(run.data[run.process.stdout].count(b'\n'), seen - lost)

    def test_a_reader_that_takes_nothing_and_an_end_in_time(self):
        """It does not hold up -t either."""
        run = Run(['-t', '2', GETPPID]).ready()
        getppid(5000)
        until(lambda: run.process.poll() is not None, 'it ends')
        status, _, said = run.end(None, reads_stdout=False)
        self.assertEqual(status, 1)
        self.assertIn(' bytes of events were not written', said)
        self.assertIn('rmdir', said)

    def test_a_full_disk(self):
        subprocess.check_call(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', self.directory])
        try:
            with open(self.path('events'), 'w') as full:
                run = Run(['e syscalls/sys_enter_getppid'], stdout=full).ready()
            getppid(2000)
            status, _, said = run.end(None)
            size = os.path.getsize(self.path('events'))
        finally:
            subprocess.check_call(['umount', self.directory])
        self.assertEqual(status, 1)
        self.assertIn('surftrace: stdout: no space left on device\n', said)
        self.assertEqual(size, 65536)

    def test_missed_returns_are_counted(self):
        sleepers = 5
        run = Run(['--maxactive', '1', 'r do_nanosleep r=$retval f:common_pid!=0']).ready()
        children = [subprocess.Popen(['busybox', 'sleep', '1']) for _ in range(sleepers)]
        for child in children:
            child.wait()
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        match = re.search(r'surftrace: (\d+) events?, and (\d+) returns? missed: .*--maxactive',
                          said)
        self.assertTrue(match, said)
        seen = len([line for line in lines if int(parse(line)[1]) in [
            child.pid for child in children]])
        self.assertLess(seen, sleepers)
        self.assertGreaterEqual(int(match.group(2)), sleepers - seen)

"""What is recorded and counted: not the tool's own doing, nothing half set up, nothing forged."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from tests.guest.live import (ARCH, TOOL, TRACING, Live, Run, call, connection, forbidden,
                              fork, read, traceable, until, write)

# Starts threads, each of which opens a file of its own as soon as there is a file called go; until
# then they take no processor time, of which all threads together have more than the tool.
THREADS = '''
import os, sys, threading, time
go, count, gone = sys.argv[1], 0, threading.Event()
def work(name):
    gone.wait()
    try:
        os.close(os.open(name, os.O_RDONLY))
    except OSError:
        pass
while not os.path.exists(go):
    if count < 300:
        threading.Thread(target=work, args=('/thread-%d' % count,)).start()
        count += 1
    time.sleep(0.01)
gone.set()
print(count)
'''


def child_of(pid):
    """Return the number of a process's one child, once there is one."""
    path = '/proc/%d/task/%d/children' % (pid, pid)
    for _ in range(1000):
        found = read(path).split() if os.path.exists(path) else [
            name for name in os.listdir('/proc') if name.isdigit()
            and (' %d ' % pid) in read('/proc/%s/stat' % name).rpartition(')')[2][:12]]
        if found:
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError('no child')


class Own(Live):
    """The tool's own process makes no events."""

    def test_of_a_run(self):
        run = Run(['p vfs_write', 'p do_sys_openat2']).ready()
        with open(self.path('x'), 'wb', 0) as stream:
            for _ in range(5):
                stream.write(b'x')
        time.sleep(1)
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertGreaterEqual(len([line for line in lines if '-%d ' % os.getpid() in line]), 6)
        self.assertEqual([line for line in lines if '-%d ' % run.process.pid in line], [])

    def test_of_a_script(self):
        script = self.path('trace.sh')
        call('-S', '-o', script, 'p vfs_write', 'p vfs_read')
        run = Run([], [script])
        run.traces(run.name + '/f1')
        with open(self.path('x'), 'wb', 0) as stream:
            stream.write(b'x')
        run.has_output()
        reader = child_of(run.process.pid)
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertTrue([line for line in lines if '-%d ' % os.getpid() in line])
        self.assertEqual([line for line in lines if re.search(
            '-(%d|%d) ' % (run.process.pid, reader), line.split('[')[0])], [])

    def test_of_a_run_in_a_pid_namespace(self):
        """The kernel traces by the numbers of the first one."""
        run = Run(['p vfs_write', 'p do_sys_openat2'], ['unshare', '-p', '-f'] + TOOL)
        path = TRACING + '/instances/surftrace_1/tracing_on'
        run.wait_for('echo 1 > %s\n' % path)
        until(lambda: read(path) == '1\n', 'tracing is on')
        number = child_of(run.process.pid)
        with open(self.path('x'), 'wb', 0) as stream:
            stream.write(b'x')
        time.sleep(1)
        os.kill(number, signal.SIGINT)
        status, lines, said = run.end(None)
        self.assertEqual(status, 0, said)
        self.assertTrue([line for line in lines if '-%d ' % os.getpid() in line])
        self.assertEqual([line for line in lines if '-%d ' % number in line], [])
        status, lines, said = call('-p', '1', 'p vfs_write', command=['unshare', '-p', '-f'] + TOOL)
        self.assertEqual((status, lines), (2, []))
        self.assertIn('-p: in this pid namespace', said)


class Complete(Live):

    def test_the_first_events_have_their_stacks(self):
        stop = threading.Event()

        def work():
            while not stop.is_set():
                fork()
        thread = threading.Thread(target=work)
        thread.start()
        try:
            status, lines, said = call('-s', '-c', '20', 'p wake_up_new_task')
        finally:
            stop.set()
            thread.join()
        self.assertEqual(status, 0, said)
        self.assertEqual(len([line for line in lines if ': f0: ' in line]), 20)
        self.assertEqual(len([line for line in lines if line.endswith('<stack trace>')]), 20)
        self.assertIn('surftrace: 20 events', said)

    def test_threads_that_start_during_the_set_up(self):
        go = self.path('go')
        process = subprocess.Popen([sys.executable, '-c', THREADS, go], stdout=subprocess.PIPE)
        self.addCleanup(write, go, '')      # it ends, whatever comes
        run = Run(['-p', str(process.pid), 'p do_sys_openat2 name=%1:ustring f:name~*thread-*'])
        run.ready()
        write(go, '')
        count = int(process.communicate()[0])
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        found = sorted(re.findall('/thread-([0-9]+)"', '\n'.join(lines)), key=int)
        self.assertEqual(found, [str(number) for number in range(count)])
        self.assertGreater(count, 20)
        self.assertRegex(said, 'echo [0-9 \']+ >> .*/set_event_pid')       # for those of meanwhile


class Forged(Live):
    """A name may hold what looks like an event, or a stack."""

    LINE = '\n              sh-1       [000] .....     1.000000: f0: (x) name="'

    def names(self, *arguments):
        """Trace three files that are asked for, the first by a forged name; return the run."""
        run = Run(arguments + (
            'p do_sys_openat2 name=%%1:ustring f:common_pid==%d' % os.getpid(),)).ready()
        for name in ('x%s' % self.LINE, 'y: <stack trace>\n', 'z'):
            with self.assertRaises(EnvironmentError):
                os.open('/nowhere-' + name, os.O_RDONLY)
        return run.end(None if '-c' in arguments else signal.SIGINT)

    def test_events(self):
        for arguments in ((), ('-c', '3')):
            status, lines, said = self.names(*arguments)
            self.assertEqual(status, 0, said)
            self.assertIn('surftrace: 3 events', said)
            self.assertTrue(lines[-1].endswith('/nowhere-z"'), lines)


class Options(Live):
    """What somebody has set at the top of tracefs, with which a new instance begins."""

    def test_they_change_nothing(self):
        """All at once: one that a run forgets to set is seen beside those that it sets."""
        paths = ['%s/options/%s' % (TRACING, name) for name in (
            'raw', 'hex', 'bin', 'latency-format', 'context-info', 'userstacktrace', 'fields')]
        usual = [(path, read(path).strip()) for path in paths if os.path.exists(path)]
        for path, value in usual:
            write(path, '0' if value == '1' else '1')
        try:
            run = Run(['-c', '2', 'p inet_stream_connect state=$sock->state']).ready()
            for _ in range(2):
                with connection():
                    pass
            status, lines, said = run.end(None)
        finally:
            for path, value in usual:
                write(path, value)
        self.assertEqual((status, len(lines)), (0, 2), (lines, said))
        self.assertIn('state=SS_UNCONNECTED', lines[0])
        self.assertIn('surftrace: 2 events', said)


class Calls(Live):

    def test_errors_by_name(self):
        event = 'syscalls/sys_exit_connect'
        closed = socket.socket()
        closed.bind(('127.0.0.1', 0))

        def connect():
            client = socket.socket()
            self.assertTrue(client.connect_ex(closed.getsockname()))
            client.close()
            with connection():
                pass
        run = Run(['e %s f:common_pid==%d' % (event, os.getpid())]).ready()
        connect()
        status, lines, said = run.end()
        closed.close()
        self.assertEqual([line.rpartition('-> ')[2] for line in lines], ['-ECONNREFUSED', '0x0'])


class Patterns(Live):

    def test_what_the_kernel_refuses_is_left_out(self):
        """Where the list of what must not be probed cannot be read."""
        names = sorted(forbidden() & traceable())
        if not names:       # as on some aarch64, where ftrace does not list them either
            self.assertEqual(ARCH, 'aarch64')
            return
        subprocess.check_call(['umount', '/sys/kernel/debug'])
        try:
            run = Run(['p %s?' % names[0][:-1], 'p wake_up_new_tas*']).ready()
            fork()
            status, lines, said = run.end()
        finally:
            subprocess.check_call(['mount', '-t', 'debugfs', 'debugfs', '/sys/kernel/debug'])
        self.assertEqual(status, 0, said)
        self.assertTrue(re.search('left out: [0-9]+ functions? that the kernel refused', said),
                        said)
        self.assertTrue([line for line in lines if 'wake_up_new_task' in line])

    def test_why_a_function_is_refused(self):
        status, _, said = call('p notify_die')
        self.assertEqual(status, 1)
        self.assertIn('since kprobes must not touch it (/sys/kernel/debug/kprobes/blacklist)', said)


class Triggers(Live):
    """Somebody puts a trigger of his own on a probe of ours."""

    def test_in_the_instance(self):
        """It goes with it."""
        run = Run(['p wake_up_new_task pid=%0->pid']).ready()
        write('%s/instances/%s/events/%s/f0/trigger' % (TRACING, run.name, run.name),
              'stacktrace:5')
        fork()
        status, lines, said = run.end()
        self.assertEqual((status, len(lines) > 0), (0, True), said)

    def test_at_the_top(self):
        """It is named, and whoever takes it off lets the next run remove the probe."""
        run = Run(['p wake_up_new_task pid=%0->pid']).ready()
        path = '%s/events/%s/f0/trigger' % (TRACING, run.name)
        write(path, 'stacktrace:5')
        status, _, said = run.end()
        self.assertEqual(status, 1)
        self.assertIn('as %s holds it' % path, said)
        write(path, '!stacktrace')
        self.assertIn('removed what a killed run had left', call('-c', '1', '-t', '1',
                                                                 'e sched/sched_process_exec')[2])

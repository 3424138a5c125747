"""Command line: options, files, messages, exit statuses, each in a process of its own."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import btf
import surftrace
import test_types

TOOL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'surftrace.py')
TASK = 'p wake_up_new_task comm=%0->comm'


class CommandLine(unittest.TestCase):

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.btf = self.write('sample.btf', btf.sample().data())

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, data):
        with open(self.path(name), 'wb') as stream:
            stream.write(data)
        return self.path(name)

    def call(self, *arguments, **options):
        """Return status, stdout and stderr of the tool."""
        stdin = options.pop('stdin', b'')
        process = subprocess.Popen([sys.executable, TOOL] + list(arguments), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        out, err = process.communicate(stdin)
        return process.returncode, out.decode(), err.decode()

    def show(self, *arguments, **options):
        arch = 'aarch64' if 'aarch64' in arguments else os.uname()[4]
        status, out, err = self.call('-S', '-v', self.btf, *arguments, **options)
        self.assertEqual((status, err), (0, 'surftrace: types from %s (BTF), registers of %s\n'
                                         % (self.btf, arch)))
        return out

    def refused(self, status, message, *arguments, **options):
        found, out, err = self.call(*arguments, **options)
        self.assertEqual((found, out), (status, ''), err)
        self.assertTrue(err.startswith('surftrace: '), err)
        self.assertIn(message, err)
        self.assertNotIn('Traceback', err)
        return err

    def test_help(self):
        status, out, err = self.call('-h')
        self.assertEqual((status, err), (0, ''))
        for command, meaning in surftrace.EXAMPLES:
            self.assertIn('  surftrace.py %s\n      %s' % (command, meaning), out)
        self.assertLess(max(map(len, out.splitlines())), 100)

    def test_show(self):
        self.assertEqual(self.show(TASK), '''\
mkdir /sys/kernel/debug/tracing/instances/surftrace
echo 'p:surftrace/f0 wake_up_new_task comm=+0x10(%di):string' >> \
/sys/kernel/debug/tracing/kprobe_events
echo 1 > /sys/kernel/debug/tracing/instances/surftrace/events/surftrace/f0/enable
echo 0 > /sys/kernel/debug/tracing/instances/surftrace/options/stacktrace
echo 1 > /sys/kernel/debug/tracing/instances/surftrace/tracing_on
''')

    def test_show_for_another_machine(self):
        self.assertIn('comm=+0x10(%x0):string', self.show('-a', 'aarch64', TASK))
        self.assertIn('comm=+0x10(%di):string', self.show('-a', 'x86_64', TASK))

    def test_options_of_show(self):
        self.assertIn('echo 1 > /sys/kernel/debug/tracing/instances/surftrace/options/stacktrace',
                      self.show('-s', TASK))
        self.assertIn('mkdir /t/instances', self.show('--tracefs', '/t', TASK))

    def test_traces_from_a_file(self):
        traces = self.write('traces', (
            '# three of them\n\n%s\n  \n  # and\n  r ip_rcv\n' % TASK).encode())
        out = self.show('-f', traces, 'e sched/sched_switch')
        self.assertEqual(re.findall(r"echo '(.*)' >>", out), [
            'p:surftrace/f1 wake_up_new_task comm=+0x10(%di):string', 'r:surftrace/f2 ip_rcv'])
        self.assertIn('sched/sched_switch/enable', out)
        self.assertIn('p:surftrace/f0 wake', self.show('-f', '-', stdin=TASK.encode()))

    def test_script(self):
        path = self.path('trace sh')
        out = self.show('-o', path, TASK)
        self.assertTrue(os.access(path, os.X_OK))
        with open(path) as stream:
            text = stream.read()
        self.assertTrue(text.startswith('#!/bin/sh\n'))
        self.assertIn("#   '%s'" % TASK, text)
        self.assertIn('mkdir', out)

    def test_a_module_beside_its_kernel(self):
        """As in a copy of /sys/kernel/btf; what else lies there is no module."""
        base = btf.sample()
        writer = btf.Writer(base)
        own = writer.struct('mine', 16, [('task', writer.pointer(test_types.opened(base).find(
            'struct', 'task_struct')), 64)])
        writer.function('module_function', 0, [('m', writer.pointer(own))])
        self.write('mod', writer.data())
        self.write('other', b'something else')
        self.assertIn('p:surftrace/f0 mod:module_function a=+0x10(+0x8(%di)):string', self.show(
            '-a', 'x86_64', 'p mod:module_function a=$m->task->comm'))
        self.assertIn('other:wake_up_new_task comm=+0x10(%di)', self.show(
            '-a', 'x86_64', TASK.replace('wake', 'other:wake')))

    def test_needs_no_tracefs_for_a_trace_without_types(self):
        self.assertIn("'p:surftrace/f0 foo a=%x0'",
                      self.call('-S', '-a', 'aarch64', 'p foo a=%x0')[1])

    def test_information_on_enums(self):
        for name in 'state', 'enum state', 'SLEEPING':
            status, out, _ = self.call('-v', self.btf, '--info', name)
            self.assertEqual((status, out), (
                0, 'enum state {\n    RUNNING = 0,\n    SLEEPING = 1,\n}; /* size: 4 */\n'))

    def test_usage(self):
        other = 'aarch64' if os.uname()[4] == 'x86_64' else 'x86_64'
        for arguments, status, message in [
                ([], 2, 'no trace'), (['-x'], 2, '-h shows how'), (['-S', '-a', 'mips', TASK], 2,
                                                                   'mips'),
                (['-a', other, TASK], 2, 'add -S'),
                (['-S', '-a', other, TASK], 1, 'with -v'),
                (['-S', '-f', '/nonexistent'], 2, '/nonexistent: no such file'),
                (['-S', '-v', '/nonexistent', TASK], 1, '/nonexistent'),
                (['-S', '-v', TOOL, TASK], 1, 'neither BTF nor an ELF file'),
                (['-S', '-v', self.btf, '-o', '/nonexistent/x', TASK], 1, '/nonexistent/x'),
                (['--tracefs', '/nonexistent', 'e sched/sched_switch'], 1, '/nonexistent'),
                (['-S', '-v', self.btf, TASK + '->x'], 2, 'is an array'),
                (['--info', 'x', '-F', 'y'], 2, 'one at a time'),
                (['--info', 'x', TASK], 2, 'traces do not go with'),
                (['-v', self.btf, '--info', 'task_strct'], 2, "did you mean 'task_struct'"),
                (['-S', '-v', self.btf, '-d', 'x', TASK], 2, 'take one'),
                (['-S', '-r', 'x', '-v', self.btf, TASK], 2, 'by release'),
                (['-S', '-r', '', TASK], 2, '-r takes HOST'),
                (['-S', '-r', 'x', '-m', 'gdb', TASK], 2, '-r goes with -m remote'),
                (['-S', '-v', self.btf, 'p vfs_* a=%0'], 2, 'which functions match'),
                (['-S', 'p vfs,read'], 2, "--info 'vfs_*'"),
                (['--max-probes', 'x', TASK], 2, '--max-probes takes a number'),
                (['-S', 'e sched/x f:a=="b'], 2, 'not closed'),
                (['-c', '0', TASK], 2, "-c takes a number above zero, below 2^31, not '0'"),
                (['--time', 'x', TASK], 2, "--time takes a number above zero, below 2^31, not 'x'"),
                (['-m', 'x', TASK], 2, "local or remote, not 'x'"),
                (['--max-rate', '-1', TASK], 2, '--max-rate takes a number'),
                (['-p', '999999999', TASK], 2, 'no process 999999999'),
                (['--comm', 'a"b', TASK], 2, '--comm takes')]:
            self.refused(status, message, *arguments)

    def test_an_error_points_at_the_trace_it_is_in(self):
        err = self.refused(2, "did you mean 'comm'", '-S', '-v', self.btf, TASK,
                           'p wake_up_new_task a=%0->com')
        self.assertEqual(err.splitlines()[-2:], [
            '  p wake_up_new_task a=%0->com', '                           ^'])

    def test_the_same_event_twice(self):
        self.refused(2, 'twice', '-S', '-v', self.btf, 'e sched/sched_switch f:prev_pid==1',
                     'e sched:sched_switch')

    def test_debug_shows_a_traceback(self):
        status, _, err = self.call('--debug', '-S', 'q')
        self.assertIn('Traceback', err)

    def test_bytes_that_are_no_text(self):
        out = subprocess.check_output([
            sys.executable, TOOL, '-S', '-v', self.btf, b'p wake_up_new_task comm=%0->comm '
            b'f:comm==\xff\xc3\xa9'])
        self.assertIn(b'comm=="\xff\xc3\xa9"', out)

    def test_traces_between_options(self):
        out = self.show(TASK, '-s', 'r ip_rcv')
        self.assertIn('r:surftrace/f1 ip_rcv', out)

    def test_closed_stdout(self):
        process = subprocess.Popen(['sh', '-c', 'exec "$0" "$@" >&-', sys.executable, TOOL, '-S',
                                    TASK], stderr=subprocess.PIPE)
        self.assertEqual(process.communicate()[1], b'surftrace: stdout is closed\n')
        self.assertEqual(process.returncode, 1)

    def test_files_that_never_end(self):
        self.refused(1, 'not a file', '-S', '-v', '/dev/zero', TASK)

    def test_a_database_tells_its_machine(self):
        made, other = self.path('made.db'), 'aarch64' if os.uname()[4] == 'x86_64' else 'x86_64'
        for arguments, here, there in (([], 0, 1), (['-a', other], 1, 0)):
            self.assertEqual(self.call('-v', self.btf, '--make-db', made, *arguments)[0], 0)
            self.assertEqual([self.call('-S', '-d', made, TASK, *more)[0]
                              for more in ([], ['-a', other])], [here, there])

    def test_raw_btf_tells_its_machine_by_its_registers(self):
        for register, architecture, others in (
                ('r15', 'x86_64', ['aarch64']), ('pstate', 'aarch64', ['x86_64']),
                ('gpr', 'another architecture', ['x86_64', 'aarch64'])):
            w = btf.sample()
            w.struct('pt_regs', 8, [(register, w.integer('u64', 8), 0)])
            path = self.write('other.btf', w.data())
            for other in others:
                self.refused(1, 'is of %s, and the registers are to be those of %s'
                             % (architecture, other), '-S', '-v', path, '-a', other, TASK)
            if not others[1:]:
                self.assertEqual(self.call('-S', '-v', path, '-a', architecture, TASK)[0], 0)

    def test_slips(self):
        binary = self.write('vmlinux', b'\x7fELF\0\0')
        for status, message, arguments in [
                (2, '--info takes the name', ['--info', '']),
                (2, 'no text, and so no traces', ['-S', '-f', binary]),
                (2, '--count is there twice', ['-c', '1', '--count', '2', TASK]),
                (2, "a cast is written !(struct", ['-S', 'p f a=(struct x *)%0->b']),
                (2, 'compares what has a name', ['-S', 'p f f:$comm==sh']),
                (2, 'up to 15 bytes', ['-S', '--comm', 'sh\n', TASK])]:
            self.refused(status, message, *arguments)

    def test_a_signal_leaves_neither_gdb_nor_half_a_file(self):
        gdb = self.write('gdb', ('#!/bin/sh\nread question\necho $$ > %s\nexec sleep 1000\n'
                                 % self.path('pid')).encode())
        os.chmod(gdb, 0o755)
        vmlinux = self.write('vmlinux', test_types.elf([(b'.symtab', b''), (b'.debug_info', b'')]))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            process = subprocess.Popen(
                [sys.executable, TOOL, '-a', 'x86_64', '-m', 'gdb', '-g', gdb, '-v', vmlinux,
                 '--make-db', self.path('made.db')], stderr=subprocess.PIPE,
                # A shell's & may have started us with SIGINT ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            while not os.path.exists(self.path('pid')) or not os.path.getsize(self.path('pid')):
                time.sleep(0.01)
            with open(self.path('pid')) as stream:
                pid = int(stream.read())
            os.remove(self.path('pid'))
            process.send_signal(number)
            self.assertEqual((process.communicate()[1], process.returncode),
                             (b'', 128 + number))
            self.assertFalse(os.path.exists('/proc/%d' % pid))
            self.assertEqual(sorted(os.listdir(self.directory)), ['gdb', 'sample.btf', 'vmlinux'])

    def test_full_stdout(self):
        with open('/dev/full', 'wb') as full:
            process = subprocess.Popen([sys.executable, TOOL, '-S', '-v', self.btf, TASK],
                                       stdout=full, stderr=subprocess.PIPE)
            err = process.communicate()[1].decode()
        self.assertEqual((process.returncode, err.splitlines()[-1:]), (1, [
            'surftrace: stdout: no space left on device']))


if __name__ == '__main__':
    unittest.main()

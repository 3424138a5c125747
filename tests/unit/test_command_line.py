"""The command line: options, files, messages, and exit statuses."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from tests.lib import btf, elf, tool
from tests.lib.standin import StandIn

TASK = 'p wake_up_new_task comm=%0->comm'
OURS = os.uname()[4]
OTHER = 'aarch64' if OURS == 'x86_64' else 'x86_64'


class WithFiles(unittest.TestCase):

    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=tool.SCRATCH)
        self.addCleanup(shutil.rmtree, self.directory)
        self.btf = self.write('sample.btf', btf.sample().data())

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, data):
        with open(self.path(name), 'wb') as stream:
            stream.write(data)
        return self.path(name)

    def show(self, *arguments, **options):
        """Return what -S prints with the sample types."""
        result = tool.run(('-S', '-v', self.btf) + arguments, **options)
        arch = 'aarch64' if 'aarch64' in arguments else OURS
        self.assertEqual((result.status, result.err), (
            0, 'surftrace: types from %s (BTF), registers of %s\n' % (self.btf, arch)))
        return result.out

    def refused(self, status, message, *arguments):
        result = tool.run(arguments)
        self.assertEqual((result.status, result.out), (status, ''), result.err)
        self.assertTrue(result.err.startswith('surftrace: '), result.err)
        self.assertIn(message, result.err)
        self.assertNotIn('None', result.err)
        return result.err


class Showing(WithFiles):

    def test_help(self):
        result = tool.run(['-h'])
        self.assertEqual((result.status, result.err), (0, ''))
        for command, meaning in tool.EXAMPLES:
            self.assertIn('  surftrace.py %s\n      %s' % (command, meaning), result.out)
        self.assertLessEqual(max(map(len, result.out.splitlines())), 100)
        self.assertEqual(tool.run(['--help']), result)
        # The manual's, and then ours.
        for option in (
                '-v, --vmlinux FILE', '-m, --mode MODE', '-g, --gdb FILE', '-d, --database FILE',
                '-r, --rip HOST[:PORT]', '-f, --file FILE', '-o, --output FILE', '-a, --arch ARCH',
                '-s, --stack', '-S, --show', '-F, --func FUNC', '-l, --line FILE:LINE',
                '-h, --help', '-c, --count N', '-t, --time SECONDS', '-p, --pid PID',
                '-b, --buffer KB', '    --maxactive N', '    --max-probes N', '    --info NAME',
                '    --make-db FILE', '    --tracefs DIR', '    --version'):
            self.assertIn('\n  %s  ' % option, result.out)

    def test_show(self):
        self.assertEqual(self.show('--tracefs', '/t', TASK), '''\
mkdir /t/instances/surftrace
echo 0 > /t/instances/surftrace/options/stacktrace
echo 0 > /t/instances/surftrace/tracing_on
echo 'p:surftrace/f0 wake_up_new_task comm=+0x10(%di):string' >> /t/kprobe_events
echo 1 > /t/instances/surftrace/events/surftrace/f0/enable
echo 1 > /t/instances/surftrace/tracing_on
''')

    def test_show_for_another_machine(self):
        self.assertIn('comm=+0x10(%x0):string', self.show('-a', 'aarch64', TASK))
        self.assertIn('comm=+0x10(%di):string', self.show('-a', 'x86_64', TASK))

    def test_long_names(self):
        for short, long_one in (('-S', '--show'), ('-s', '--stack')):
            self.assertEqual(tool.run([short, '-S', '-v', self.btf, TASK]),
                             tool.run([long_one, '--show', '--vmlinux', self.btf, TASK]))
        self.assertEqual(tool.run(['--show', '--arch=aarch64', '--vmlinux=' + self.btf, TASK]),
                         tool.run(['-Sa', 'aarch64', '-v', self.btf, TASK]))

    def test_traces_between_options(self):
        self.assertIn('r:surftrace/f1 ip_rcv', self.show(TASK, '-s', 'r ip_rcv'))

    def test_traces_from_a_file(self):
        traces = self.write('traces', (
            '# three of them\n\n%s\n  \n  # and\n  r ip_rcv\n' % TASK).encode())
        out = self.show('-f', traces, 'e sched/sched_switch')
        self.assertEqual(re.findall(r"echo '(.*)' >>", out), [
            'p:surftrace/f1 wake_up_new_task comm=+0x10(%di):string', 'r:surftrace/f2 ip_rcv'])
        self.assertIn('sched/sched_switch/enable', out)
        self.assertIn('p:surftrace/f0 wake', self.show('-f', '-', stdin=TASK.encode()))

    def test_a_module_beside_its_kernel(self):
        """As in a copy of /sys/kernel/btf; what else lies there is no module."""
        base = btf.sample()
        writer = btf.Writer(base)
        task = tool.from_btf(base.data()).types.find('struct', 'task_struct')
        own = writer.struct('mine', 16, [('task', writer.pointer(task), 64)])
        writer.function('module_function', 0, [('m', writer.pointer(own))])
        self.write('mod', writer.data())
        self.write('other', b'something else')
        self.assertIn('p:surftrace/f0 mod:module_function a=+0x10(+0x8(%di)):string', self.show(
            '-a', 'x86_64', 'p mod:module_function a=$m->task->comm'))
        # A module without types may have another function of that name.
        self.refused(2, 'no prototype', '-S', '-v', self.btf, '-a', 'x86_64',
                     TASK.replace('wake', 'other:wake'))

    def test_types_are_not_asked_for_where_none_are_needed(self):
        """There are none."""
        box = StandIn('6.1', 'aarch64', types=False)
        self.addCleanup(box.remove)
        for text in ('p ip_rcv a=%x0',
                     'r ip_rcv a=%x0 b=$comm c=+0x9(%x1):x8 d=S%x20 e=$stack1 f=$retval '
                     'g=$retval:s32 h=!(int)$retval f:a==1', 'e sched/sched_switch f:prev_pid==1'):
            result = tool.run(['-S', text], on=box)
            self.assertEqual((result.status, result.err), (0, ''), text)
        self.assertEqual(tool.run(['-S', 'p ip_rcv a=%0->len'], on=box).status, 1)


class Refusing(WithFiles):

    def test_options(self):
        for arguments, status, message in [
                ([], 2, 'no trace'), (['-x'], 2, '-h shows how'),
                (['-S', '-a', 'mips', TASK], 2, 'mips'), (['-a', OTHER, TASK], 2, 'add -S'),
                (['-S', '-a', OTHER, TASK], 1, 'with -v'),
                (['-S', '-f', '/nonexistent'], 1, '/nonexistent: no such file'),
                (['-S', '-v', '/nonexistent', TASK], 1, '/nonexistent'),
                (['-S', '-v', tool.SCRIPT, TASK], 1, 'neither BTF nor a 64-bit'),
                (['-S', '-v', self.btf, '-o', '/nonexistent/x', TASK], 1, '/nonexistent/x'),
                (['--tracefs', '/nonexistent', 'e sched/sched_switch'], 1, '/nonexistent'),
                (['-S', '-v', self.btf, TASK + '->x'], 2, 'take one element'),
                (['--info', 'x', '-F', 'y'], 2, 'one at a time'),
                (['--info', 'x', TASK], 2, 'traces do not go with'),
                (['-v', self.btf, '--info', ''], 2, "there is no function or type"),
                (['-v', self.btf, '--info', 'task_strct'], 2, "did you mean 'task_struct'"),
                (['-S', '-v', self.btf, '-d', 'x', TASK], 2, 'take one'),
                (['-S', '-r', 'x', '-v', self.btf, TASK], 2, 'no release of a kernel'),
                (['-S', '-r', '', TASK], 2, '-r takes HOST'),
                (['-S', '-r', 'x', '-m', 'gdb', TASK], 2, '-r goes with -m remote'),
                (['-S', '-d', 'x', '-m', 'gdb', TASK], 2, '-d goes with -m local'),
                (['-S', '-v', self.btf, 'p vfs_* a=%0'], 2, 'which functions match'),
                (['-S', 'p vfs,read'], 2, "--info 'vfs_*'"),
                (['-S', 'e sched/x f:a=="b'], 2, 'not closed'),
                (['-m', 'x', TASK], 2, "invalid choice: 'x'"),
                (['-p', '999999999', TASK], 2, 'no process 999999999'),
                (['-c', '1', '--count', '2', TASK], 2, '--count is given twice'),
                (['--max-probes', '1', '--max-probes', '2', TASK], 2, '--max-probes is given'),
                (['--vmlin', self.btf, TASK], 2, 'option --vmlin not recognized; -h shows how'),
                (['-S', '-z', TASK], 2, 'option -z not recognized; -h shows how'),
                (['-S', TASK, '-c'], 2, 'expected one argument')]:
            self.refused(status, message, *arguments)

    def test_numbers(self):
        for option in ('-c', '--count', '-t', '--time', '-b', '--maxactive', '--max-probes', '-p'):
            for value in ('0', '-1', 'x', '', '2147483648', '1e400', 'nan'):
                kind = 'seconds' if option in ('-t', '--time') else 'a number'
                below = 4097 if option == '--maxactive' else 2147483648
                said = self.refused(2, " takes %s above zero, below %d, not '%s'; -h shows how" % (
                    kind, below, value), option, value, TASK)
                self.assertIn(option, said)
        self.refused(2, '-c/--count takes a number', '-c', '1.5', TASK)
        for arguments in (['-c', '1'], ['-c', '2147483647'], ['-t', '0.001'], ['-b', '1']):
            self.assertIn('mkdir', self.show(*(arguments + [TASK])))

    def test_the_machine_is_not_known(self):
        box = StandIn(architecture='riscv64')
        self.addCleanup(box.remove)
        result = tool.run([TASK], on=box)
        self.assertEqual(result.status, 2)
        self.assertIn('the registers of riscv64 are not known; -a takes aarch64 or x86_64, with -S',
                      result.err)

    def test_files_that_are_no_traces(self):
        for data in (b'\x7fELF\0\0', b'\x9f\xeb\1\0'):
            self.refused(2, 'no traces; types come from -v FILE', '-S', '-f', self.write('x', data))
        self.refused(2, '/dev/zero: not a file of traces', '-S', '-f', '/dev/zero')

    def test_where_in_a_file(self):
        path = self.write('traces', u'# a comment\np wake_up_new_task a=%0->comm\n\n'
                          u'p wake_up_new_task a=%0->com # \u2028 ends no line'.encode('utf-8'))
        said = self.refused(2, path + ":4: ", '-S', '-v', self.btf, '-f', path)
        self.assertIn('\n  p wake_up_new_task a=%0->com # ', said)
        path = self.write('traces', b'p wake_up_new_task a=%0->comm\r\n'
                                    b'p wake_up_new_task b=%0->com')
        self.assertIn("%s:2: struct task_struct has no member 'com'" % path,
                      self.refused(2, ':2: ', '-S', '-v', self.btf, '-f', path))

    def test_slips(self):
        self.refused(2, 'an event is a trace', '-S', '-e', 'sched:sched_switch')
        self.refused(2, 'takes seconds above zero', '-t', '5m', TASK)
        self.refused(2, '--maxactive is for r and c traces', '-S', '--maxactive', '5', TASK)
        self.refused(2, 'one pair of quotes around both', '-S', 'p vfs_read', 'comm=%0->comm')

    def test_a_newline_in_a_string(self):
        self.assertIn('comm=="a\nb"', self.show(
            'p wake_up_new_task comm=%0->comm\nf:comm=="a\nb"'))
        self.refused(2, 'a control character', '-S', 'p wake_up_new_task\x01')

    def test_help_fits_a_terminal(self):
        lines = tool.run(['-h']).out.splitlines()
        self.assertEqual([line for line in lines if len(line) > 79], [])
        for words in ('l2, l3, l4', 'COMM', 'common_pid', '== != < <= > >=', 'needs gdb'):
            self.assertIn(words, '\n'.join(lines))

    def test_the_version(self):
        self.assertEqual(tool.run(['--version']).out, 'surftrace.py 2.0\n')

    def test_without_stdin_and_stderr(self):
        """Nothing of the tool's own takes their place."""
        for script in ('<&- 2>&-', '0<&-', '2>&-'):
            self.assertEqual(subprocess.call(['sh', '-c', 'exec "$0" "$@" %s >/dev/null' % script,
                                              sys.executable, tool.SCRIPT, '-S', '-v', self.btf,
                                              TASK]), 0)
        self.assertEqual(subprocess.call(['sh', '-c', 'exec "$0" "$1" -h >&- 2>/dev/null',
                                          sys.executable, tool.SCRIPT]), 1)

    def test_ctrl_c_at_any_moment(self):
        """Never a traceback, from Python's first moment with the script on."""
        for pause in (0.02, 0.04, 0.06, 0.08, 0.1, 0.15):
            process = tool.process(['-S', '-v', self.btf, '-f', '-'])
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            said = process.communicate()[1]
            # (What comes while Python compiles the script, it raises at its first line.)
            lines = re.findall(br'surftrace.py", line (\d+)', said)
            self.assertLess(max([0] + [int(line) for line in lines]), 50, said)

    def test_files_that_never_end(self):
        self.refused(1, 'not a file', '-S', '-v', '/dev/zero', TASK)

    def test_a_traceback_on_demand(self):
        process = tool.process(['-S', 'q'], env=dict(os.environ, SURFTRACE_DEBUG='1'))
        self.assertIn(b'Traceback', process.communicate()[1])


class Processes(WithFiles):
    """What only a process of its own can show."""

    def test_bytes_that_are_no_text(self):
        process = tool.process(['-S', '-v', self.btf, b'p wake_up_new_task comm=%0->comm '
                                b'f:comm==\xff\xc3\xa9'])
        self.assertIn(b'comm=="\xff\xc3\xa9"', process.communicate()[0])

    def test_closed_stdout(self):
        process = subprocess.Popen(['sh', '-c', 'exec "$0" "$@" >&-', sys.executable, tool.SCRIPT,
                                    '-S', TASK], stderr=subprocess.PIPE)
        self.assertEqual(process.communicate()[1], b'surftrace: stdout is closed\n')
        self.assertEqual(process.returncode, 1)

    def test_full_stdout(self):
        with open('/dev/full', 'wb') as full:
            process = tool.process(['-S', '-v', self.btf, TASK], stdout=full)
            err = process.communicate()[1].decode()
        self.assertEqual((process.returncode, err.splitlines()[-1:]), (1, [
            'surftrace: stdout: no space left on device']))

    def test_what_lies_beside_it_is_not_imported(self):
        with open(tool.SCRIPT, 'rb') as stream:
            script = self.write('copy.py', stream.read())
        for name in ('argparse.py', 're.py'):
            self.write(name, b'raise SystemExit("taken from beside the script")')
        process = subprocess.Popen([sys.executable, script, '--version'], stdout=subprocess.PIPE)
        self.assertEqual(process.communicate()[0][:13], b'surftrace.py ')

    def test_a_mistake(self):
        process = tool.process(['-S', 'q'])
        out, err = process.communicate()
        self.assertEqual((process.returncode, out), (2, b''))
        self.assertTrue(err.startswith(b"surftrace: a trace starts with 'p '"), err)

    def test_a_signal_leaves_neither_gdb_nor_half_a_file(self):
        gdb = self.write('gdb', ('#!/bin/sh\nread question\necho $$ > %s.new\nmv %s.new %s\n'
                                 'exec sleep 1000\n' % ((self.path('pid'),) * 3)).encode())
        os.chmod(gdb, 0o755)
        vmlinux = self.write('vmlinux', elf.elf([(b'.symtab', b''), (b'.debug_info', b'')]))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            process = tool.process(
                ['-a', 'x86_64', '-m', 'gdb', '-g', gdb, '-v', vmlinux, '--make-db',
                 self.path('made.db')])
            end = time.time() + 60
            while not os.path.exists(self.path('pid')):
                if time.time() > end or process.poll() is not None:
                    self.fail('gdb was not started: %r' % (process.communicate(),))
                time.sleep(0.01)
            with open(self.path('pid')) as stream:
                pid = int(stream.read())
            os.remove(self.path('pid'))
            for _ in range(5):      # the first one counts
                process.send_signal(number)
                time.sleep(0.002)
            self.assertEqual((process.communicate()[1], process.returncode),
                             (b'', 128 + number))
            self.assertFalse(os.path.exists('/proc/%d' % pid))
            self.assertEqual(sorted(os.listdir(self.directory)), ['gdb', 'sample.btf', 'vmlinux'])


if __name__ == '__main__':
    unittest.main()

"""Types from elsewhere than the kernel's own BTF; info.db and cross-lines come with files.py."""
import os
import re
import shutil
import subprocess

from tests.guest.files import CROSS
from tests.guest.live import FIRST, ROOT, RUN, TRACING, Live, Run, call, fork, read
from tests.lib.server import LoopbackServer


class Sources(Live):

    DATABASE = os.path.join(ROOT, 'info.db')        # of this kernel, made on another machine
    TRACES = ['p wake_up_new_task comm=%0->comm pid=S%0->pid users=S%0->mm->mm_users '
              'f:comm==source',
              'p vfs_read name=%0->f_path.dentry->d_name.name pos=U%0->f_pos f:name==nothing']

    def sees(self, source, *options, **more):
        arguments = list(options) + self.TRACES
        lines = self.trace(*arguments, workload=lambda: fork('source'), **more)
        self.assertEqual(self.values(lines), ['comm="source" pid=%d users=1' % self.result])
        self.assertIn('surftrace: types from ' + source, self.said)
        return [re.sub(RUN, 'RUN', line) for line in self.said.splitlines()
                if line.startswith('echo') and 'notrace' not in line]

    def hide_btf(self):
        subprocess.check_call(['mount', '-t', 'tmpfs', 'tmpfs', '/sys/kernel/btf'])
        self.addCleanup(subprocess.check_call, ['umount', '/sys/kernel/btf'])
        self.before['mounts'] = read('/proc/mounts')

    def test_database(self):
        self.assertEqual(self.sees('%s (database)' % self.DATABASE, '-d', self.DATABASE),
                         self.sees('/sys/kernel/btf/vmlinux (BTF)'))

    def test_server(self):
        with LoopbackServer(self.DATABASE) as server:
            address = '127.0.0.1:%d' % server.port
            lines = self.sees('%s (server)' % address, '-r', address)
        self.assertEqual(lines, self.sees(''))
        self.assertGreater(server.requests, 3)

    def test_without_btf(self):
        self.hide_btf()
        status, _, said = call(*self.TRACES)
        self.assertEqual(status, 1)
        for words in ('tells the types of kernel ' + os.uname()[2], '-v FILE', '-d FILE',
                      '-r HOST', '--make-db info-%s.db' % os.uname()[2]):
            self.assertIn(words, said)
        shutil.copy(self.DATABASE, self.path('info-%s.db' % os.uname()[2]))
        self.sees('./info-%s.db (database)' % os.uname()[2], cwd=self.directory)

    def test_the_lines_that_another_machine_makes(self):
        status, _, said = Run(CROSS).ready().end()
        self.assertEqual(status, 0, said)
        set_up = [re.sub(RUN, 'surftrace', line) for line in said.splitlines()
                  if re.match('(mkdir|echo) ', line) and 'notrace' not in line]
        end = set_up.index('echo 1 > %s/instances/surftrace/tracing_on' % TRACING) + 1
        self.assertEqual(set_up[:end], read(os.path.join(ROOT, 'cross-lines')).splitlines())

    def test_information(self):
        status, lines, _ = call('--info', 'wake_up_new_task')
        self.assertEqual((status, lines), (0, [
            'void wake_up_new_task(struct task_struct *)',
            '  %%0   %-16s %-10s struct task_struct *p' % ('$p', FIRST)]))
        status, lines, _ = call('--info', 'wake_up_new_ta*')
        self.assertEqual((status, lines), (0, ['void wake_up_new_task(struct task_struct *)']))
        status, lines, _ = call('--info', 'struct list_head')
        self.assertEqual([line.split()[-1] for line in lines[1:-1]], ['->next', '->prev'])

"""What one expression costs, against other tools that read the same file, in the same run.

Time is the processor's; the files are in the page cache.
"""
import os
import shutil
import tempfile
import unittest

from tests.oracle import common

COMM, MM_USERS = 'p wake_up_new_task comm=%0->comm', 'p wake_up_new_task users=S%0->mm->mm_users'
IP_RCV = 'p ip_rcv proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr'
VARIANT = 'p __netif_receive_skb_core.constprop.0 a=@(struct iphdr *)l3%0->saddr'
SEVERAL = [COMM, 'p vfs_read pos=%0->f_pos', 'p tcp_v4_rcv len=%0->len',
           'p ip_rcv a=@(struct iphdr *)l3%0->saddr', 'r do_filp_open a=$retval->f_pos',
           'p kernel_clone a=%0->flags', 'p icmp_rcv a=%0->len', 'p ip_output a=%2->len']
# gdb takes 15 seconds.
ROUNDS = 3 if common.WHOLE else 1


def setUpModule():
    common.need('pahole', 'gdb')


class Cost(unittest.TestCase):

    def test_of_btf(self):
        """Little more than pahole's, which starts at once, for the layout of one struct."""
        ours = common.COMMAND + ['-S', '-a', 'x86_64', '-v', common.btf()]
        commands = [['pahole', '-F', 'btf', '-C', 'task_struct', common.btf()]] + [
            ours + [trace] for trace in (COMM, MM_USERS, IP_RCV)]
        rounds = [[common.cost(command)[0] for command in commands] for _ in range(7)]
        seconds = [min(column) for column in zip(*rounds)]
        for command, found in list(zip(commands, seconds))[1:]:
            common.told('%.2f of the time of pahole (%.0f ms), %s' % (
                found / seconds[0], 1000 * seconds[0], command[-1]))
            self.assertLess(found, 5 * seconds[0])

    def test_of_debug_info(self):
        """A fraction of gdb's for the struct; by gdb no more than its own, and several hardly more
        than one."""
        cache = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, cache)
        ours = common.COMMAND + ['-S', '-v', common.vmlinux(), '-m']
        commands = {
            'gdb': ['gdb', '-nx', '-batch', '-ex', 'ptype/o struct task_struct', common.vmlinux()],
            'comm': ours + ['dwarf', COMM], 'variant': ours + ['dwarf', VARIANT],
            'one': ours + ['gdb', COMM], 'one, again': ours + ['gdb', COMM],
            'several, again': ours + ['gdb'] + SEVERAL}
        rounds = []
        for _ in range(ROUNDS):
            for left in os.listdir(cache):
                shutil.rmtree(os.path.join(cache, left))
            rounds.append({name: common.cost(command, XDG_CACHE_HOME=cache)
                           for name, command in commands.items()})
        gdb_seconds, gdb_memory = [min(costs['gdb'][number] for costs in rounds)
                                   for number in (0, 1)]
        seconds = {name: min(costs[name][0] for costs in rounds) / gdb_seconds
                   for name in commands}
        memory = {name: min(costs[name][1] for costs in rounds) / gdb_memory for name in commands}
        common.told('of gdb ptype/o (%.1f s, %d MB): %s' % (gdb_seconds, gdb_memory, ', '.join(
            '%s: time %.3f, memory %.3f' % (name, seconds[name], memory[name])
            for name in commands if name != 'gdb')))
        for name in ('comm', 'variant'):
            self.assertLess(seconds[name], 1 / 20)
            self.assertLess(memory[name], 1 / 10)
        self.assertLess(seconds['one'], 1.1)
        self.assertLess(seconds['several, again'] - seconds['one, again'], 0.1)


if __name__ == '__main__':
    unittest.main()

"""The kernel expressions of a real kernel, whose offsets another reader of BTF (pahole) tells.

SURFTRACE_BTF names the BTF file of an x86_64 kernel; tests/run takes Debian's 6.1.
"""
import os
import re
import subprocess
import unittest

import surftrace
from test_types import sources

PATH = os.environ.get('SURFTRACE_BTF')

# {struct.member} is the member's offset as pahole prints it, in hexadecimal; + adds them.
TABLE = [
    ('p wake_up_new_task a=%0->comm', '+{task_struct.comm}(%di):string'),
    ('p wake_up_new_task a=S%0->mm->mm_users',
     '+{mm_struct.mm_users}(+{task_struct.mm}(%di)):s32'),
    ('p wake_up_new_task a=%0->se.run_node.rb_left',
     '+{task_struct.se+sched_entity.run_node+rb_node.rb_left}(%di):x64'),
    ('p wake_up_new_task a=U%0->signal->rlim[7].rlim_max',
     '+{signal_struct.rlim+7*16+rlimit.rlim_max}(+{task_struct.signal}(%di)):u64'),
    ('r kernel_clone a=S$retval', '$retval:s32'),
    ('r do_filp_open a=$retval->f_pos', '+{file.f_pos}($retval):x64'),
    ('p vfs_read a=%0->f_path.dentry->d_name.name',
     '+0x0(+{dentry.d_name+qstr.name}(+{file.f_path+path.dentry}(%di))):string'),
    ('p vfs_read a=%3->x', None),
    ('p ip_rcv a=@(struct iphdr *)l3%0->protocol',
     '+{iphdr.protocol}(+{sk_buff.data}(%di)):u8'),
    ('p ip_rcv a=X@(struct iphdr *)l3%0->sdata[1]', '+0x16(+{sk_buff.data}(%di)):x16'),
    ('p ip_rcv a=%0->pkt_type', '+{sk_buff.pkt_type}(%di):b3@0/8'),
    ('p tcp_v4_rcv a=%0->sk->sk_num', None),
    ('p tcp_v4_rcv a=U%0->sk->__sk_common.skc_num',
     '+{sock.__sk_common+sock_common.skc_num}(+{sk_buff.sk}(%di)):u16'),
    ('p __netif_receive_skb_core a=@(struct iphdr *)l3%0->protocol', None),
    ('p __netif_receive_skb_core a=@(struct iphdr *)l3!(struct sk_buff **)%0->protocol',
     '+{iphdr.protocol}(+{sk_buff.data}(+0x0(%di))):u8'),
]


class Pahole(object):
    """The layouts of one BTF file, as pahole tells them."""

    def __init__(self, path):
        self.path, self.layouts = path, {}

    def layout(self, name):
        """Return the offset, in bytes, of each member of a struct."""
        if name not in self.layouts:
            with open(os.devnull, 'w') as nothing:      # it speaks of kinds that it does not know
                text = subprocess.check_output(['pahole', '-F', 'btf', '-C', name, self.path],
                                               stderr=nothing).decode()
            self.layouts[name] = dict((member, int(offset)) for member, offset in re.findall(
                r'(\w+)\)?(?:\[\d+\]|\([^;]*\))*(?::\d+)?; +/\* +(\d+)[ :]', text))
        return self.layouts[name]

    def filled_in(self, text):
        """Return text with the offsets that it asks for."""
        return re.sub(r'\{(.*?)\}', self._offset, text)

    def _offset(self, match):
        total = 0
        for part in match.group(1).split('+'):
            if '*' in part:
                count, size = part.split('*')
                total += int(count) * int(size)
            else:
                name, _, member = part.partition('.')
                total += self.layout(name)[member]
        return '0x%x' % total


@unittest.skipUnless(PATH, 'SURFTRACE_BTF names no file')
class RealBtf(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.types = sources(mode='btf', vmlinux=PATH, architecture='x86_64').of(None)
        cls.target = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES)

    def compiled(self, text):
        tree = surftrace.parse_trace(text)
        return surftrace.compile_trace(tree, 'f0', tree.symbol.text, self.types, self.target)

    def test_table(self):
        pahole = Pahole(PATH)
        for text, expected in TABLE:
            if expected is None:
                self.assertRaises(surftrace.TraceError, self.compiled, text)
            else:
                self.assertEqual(self.compiled(text).arguments[0].text,
                                 pahole.filled_in(expected), text)

    def test_functions_that_share_a_name(self):
        """The kernel has dozens; whatever is asked of them is answered or refused by name."""
        seen = {}
        source = self.types._open_source()
        for ref in range(1, source.end_id):
            kind, _, _, name, target, _ = source._record(ref)
            if kind == 'symbol':
                seen.setdefault(name, set()).add(surftrace.prototype(source, source._function(
                    '', target)))
        several = [source._string(name) for name in seen if len(seen[name]) > 1]
        self.assertGreater(len(several), 20)
        for name in several:
            try:
                self.compiled('p %s a=%%0' % name)
            except surftrace.TraceError as error:
                self.assertRegex(str(error), 'several functions|has 0 arguments|is .* long')

    assertRegex = getattr(unittest.TestCase, 'assertRegex',
                          getattr(unittest.TestCase, 'assertRegexpMatches', None))


if __name__ == '__main__':
    unittest.main()

"""The kernel expressions of real kernels, whose offsets another reader of BTF (pahole) tells.

SURFTRACE_BTF names the BTF file of an x86_64 kernel; tests/run takes Debian's 6.1.  Those of other
kernels are listed in SURFTRACE_KERNELS, as JSON: (name, architecture, path) each.
"""
import json
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


# What came later, of every kernel in SURFTRACE_KERNELS.  %N is the register of an argument.
EACH_TABLE = [
    # arguments by name, and where a struct by value (sockptr_t) and those behind it lie
    ('p vfs_read a=U$count b=$file->f_pos', ['%2:u64', '+{file.f_pos}(%0):x64']),
    ('r vfs_read a=U$count b=$file->f_pos', ['$arg3:u64', '+{file.f_pos}($arg1):x64']),
    ('p ip_setsockopt a=$optval.user b=$optval.is_kernel c=U$optlen', [
        '%3:x64', '%4:b1@0/8', '%5:u32']),
    # variables, and casts
    ('p vfs_read a=!(struct task_struct)@init_task.pid', ['@init_task+{task_struct.pid}:x32']),
    ('p vfs_read a=!(struct task_struct *)$stack2->comm', [
        '+{task_struct.comm}($stack2):string']),
    ('p tcp_v4_do_rcv a=S$skb->sk!(struct tcp_sock *)->snd_nxt '
     'b=$skb->cb!(struct tcp_skb_cb *)->seq', [
         '+{tcp_sock.snd_nxt}(+{sk_buff.sk}(%1)):s32',
         '+{sk_buff.cb+tcp_skb_cb.seq}(%1):x32']),
    # bitfields, bool, enums; functions
    ('p inet_release a=$sock->state b=$sock->ops->release', [
        '+{socket.state}(%0):x32',
        '+{proto_ops.release}(+{socket.ops}(%0)):symbol']),
    # arrays and addresses, packets
    ('p ip_rcv a=@(struct ethhdr *)l2%0->h_dest mac_b=@(struct ethhdr *)l2%0->h_source '
     'c=@(struct vlan_hdr *)l2%0->h_vlan_TCI', [
         '+0x0(+{sk_buff.data}(%0)):x8[6]', '+0x6(+{sk_buff.data}(%0)):b48@0/64',
         '+0xe(+{sk_buff.data}(%0)):u16']),
    ('p ipv6_rcv ip6_a=@(struct ipv6hdr *)%0->saddr b=@(struct ipv6hdr *)%0->nexthdr', [
        '+0x8(+{sk_buff.data}(%0)):x8[16]', '+{ipv6hdr.nexthdr}(+{sk_buff.data}(%0)):u8']),
    ('p do_sys_openat2 a=%1:ustring', ['+0x0(%1):ustring']),
    # names in the filter
    ('r vfs_read r=S$retval f:r==-ENOENT', ['$retval:s64', 'r==-2']),
    ('p inet_release a=$sock->state f:a==SS_CONNECTED', ['+{socket.state}(%0):x32', 'a==3']),
    ('p tcp_v4_do_rcv a=$sk->__sk_common.skc_state f:a==TCP_LISTEN', [
        '+{sock.__sk_common+sock_common.skc_state}(%0):x8', 'a==10']),
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


def kernels():
    """Return (name, architecture, path) of each kernel; json gives unicode to Python 2."""
    return [[str(field) for field in kernel]
            for kernel in json.loads(os.environ['SURFTRACE_KERNELS'])]


@unittest.skipUnless('SURFTRACE_KERNELS' in os.environ, 'SURFTRACE_KERNELS names no kernels')
class EachKernel(unittest.TestCase):

    def test_table(self):
        for name, architecture, path in kernels():
            pahole = Pahole(path)
            types = sources(mode='btf', vmlinux=path, architecture=architecture).of(None)
            target = surftrace.Target(surftrace.ARCHITECTURES[architecture],
                                      surftrace.USUAL_FEATURES)
            registers = target.architecture.arguments
            for text, expected in EACH_TABLE:
                tree = surftrace.parse_trace(text)
                found = surftrace.compile_trace(tree, 'f0', tree.symbol.text, types, target)
                words = [argument.text for argument in found.arguments]
                words += [found.filter.text] if found.filter else []
                self.assertEqual(words, [
                    re.sub(r'%([0-9])', lambda match: '%' + registers[int(match.group(1))],
                           pahole.filled_in(word)) for word in expected], (name, text))

    def test_what_is_looked_up_can_be_read(self):
        """Each member's words in --info become a value."""
        count = 0
        for _, architecture, path in kernels():
            types = sources(mode='btf', vmlinux=path, architecture=architecture).of(None)
            target = surftrace.Target(surftrace.ARCHITECTURES[architecture],
                                      surftrace.USUAL_FEATURES)
            for name in types.names('struct')[::40]:
                found = surftrace.described(types, types.find('struct', name))
                for line in surftrace.layout_lines(found, types, name)[1:-1]:
                    words = line.partition('*/')[2].strip()
                    if not words or words.endswith('. ...'):
                        continue
                    text = 'p f a=!(struct %s *)%%%s%s' % (
                        name, target.architecture.arguments[0], words)
                    if words.endswith('ip6_...'):
                        text = text.split('  ')[0].replace(' a=', ' ip6_a=')
                    try:
                        surftrace.compile_trace(surftrace.parse_trace(text), 'f0', 'f', types,
                                                target)
                    except surftrace.TraceError as error:
                        self.assertIn('the kernel takes a value of', str(error), text)
                    count += 1
        print('compared: %d members that --info tells, and what they become' % count)


if __name__ == '__main__':
    unittest.main()

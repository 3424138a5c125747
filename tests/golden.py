"""The kernel expressions of all kernels, whose offsets another reader of BTF (pahole) tells.

SURFTRACE_KERNELS lists them, as JSON: (name, architecture, path of the BTF) each.
"""
import json
import os
import re
import unittest

import surftrace
from test_real_btf import Pahole
from test_types import sources

# %N is the register of an argument, {struct.member} an offset that pahole tells.
EACH_TABLE = [
    # arguments by name, and where a struct by value (sockptr_t) and those behind it lie
    ('p vfs_read a=U$count b=$file->f_pos', ['%2:u64', '+{file.f_pos}(%0):x64']),
    ('r vfs_read a=U$count b=$file->f_pos', ['$arg3:u64', '+{file.f_pos}($arg1):x64']),
    ('p ip_setsockopt a=$optval.user b=$optval.is_kernel c=U$optlen', [
        '%3:x64', '%4:b1@0/8', '%5:u32']),
    ('p vfs_read a=U$pos[0] b=$buf:x8[4]', ['+0x0(%3):u64', '+0x0(%1):x8[4]']),
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


def kernels():
    """Return (name, architecture, path) of each kernel; json gives unicode to Python 2."""
    return [[str(field) for field in kernel]
            for kernel in json.loads(os.environ['SURFTRACE_KERNELS'])]


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

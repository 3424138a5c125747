"""Kernel expression: what each trace becomes, in ftrace's own words.

The offsets are those that btf.sample() chose; see there.
"""
import re
import socket
import unittest

import btf
import surftrace

X86 = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES)
ARM = surftrace.Target(surftrace.ARCHITECTURES['aarch64'], surftrace.USUAL_FEATURES)
OLD = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], frozenset())


class NoTypes(object):
    """A source that must not be asked."""

    def __getattr__(self, question):
        raise AssertionError('types were asked for %s' % question)


class MissingTypes(object):
    def __getattr__(self, question):
        raise surftrace.NoTypesError('no types here')


# What is behind '=' and what becomes of it, in 'p wake_up_new_task a=...'.
TASK_VALUES = [
    # strings
    ('%0->comm', '+0x10(%di):string'),
    ('X%0->comm', '+0x10(%di):x8[16]'),
    ('%0->comm[3]', '+0x13(%di):x8'),
    ('S%0->comm[3]', '+0x13(%di):s8'),
    ('%0->name', '+0x0(+0x78(%di)):string'),
    ('%0->dname', '+0x0(+0x80(%di)):string'),
    ('X%0->name', '+0x78(%di):x64'),
    ('%0->long_text', '+0xc8(%di):string'),
    # addresses, not strings
    ('%0->data', '+0x88(%di):x64'),
    ('%0->mac', '+0x90(%di):x64'),
    ('X%0->run', '+0xb8(%di):x64'),
    ('%0->mm', '+0x20(%di):x64'),
    ('%0->hidden', '+0xc0(%di):x64'),
    # numbers, of the member's own width
    ('S%0->mm->mm_users', '+0x10(+0x20(%di)):s32'),
    ('U%0->mm->mm_users', '+0x10(+0x20(%di)):u32'),
    ('%0->mm->mm_count', '+0x14(+0x20(%di)):x32'),
    ('%0->mm->mm_count.counter', '+0x14(+0x20(%di)):x32'),
    ('%0->state', '+0x0(%di):x32'),
    ('%0->on', '+0xb0(%di):x8'),
    ('%0->usage', '+0x150(%di):x32'),
    ('%0->either', '+0xa8(%di):x64'),
    # members in a row are one offset, indexes too
    ('%0->pids[1].node.next', '+0x40(%di):x64'),
    ('U%0->pids[2].pid', '+0x68(%di):u64'),
    ('%0->bytes[5]', '+0x75(%di):x8'),
    ('%0->grid[2][3]', '+0x146(%di):x16'),
    ('%0->tail[1000]', '+0x13a0(%di):x32'),
    ('%0->big.b', '+0xa0(%di):x64'),
    ('%0->either.text', '+0x0(+0xa8(%di)):string'),
    # a pointer may be indexed, as in C
    ('%0->argv[1]', '+0x0(+0x8(+0x148(%di))):string'),
    ('%0->mm[1].mm_users', '+0x30(+0x20(%di)):x32'),
    # a function's address shows as its name
    ('%0->run', '+0xb8(%di):symbol'),
    # small arrays of numbers, whole
    ('%0->bytes', '+0x70(%di):x8[6]'),
    ('U%0->bytes', '+0x70(%di):u8[6]'),
    ('%0->grid', '+0x130(%di):x16[12]'),
    ('S%0->grid[1]', '+0x138(%di):s16[4]'),
    # a cast in the middle; an array decays to its address
    ('%0->data!(struct task_struct *)->mm->mm_users', '+0x10(+0x20(+0x88(%di))):x32'),
    ('S%0->mm!(int)', '+0x20(%di):s32'),
    ('%0->bytes[0]!(enum ESTABLISHED)', '+0x70(%di):x8'),
    ('%0->long_text!(struct pair *)->b', '+0xd0(%di):x64'),
    ('%0->argv[0]!(struct pair *)->b', '+0x8(+0x0(+0x148(%di))):x64'),
    # arguments by name
    ('$p->comm', '+0x10(%di):string'),
    ('S$p->mm->mm_users', '+0x10(+0x20(%di)):s32'),
    ('$p', '%di:x64'),
    # bitfields: their own bits
    ('%0->flag', '+0x4(%di):b1@0/8'),
    ('%0->mode', '+0x4(%di):b3@1/8'),
    ('U%0->wide', '+0x4(%di):b12@4/16'),
    ('%0->sign', '+0x6(%di):b4@0/8'),
    # bare bases
    ('%0', '%di:x64'),
    ('U%0', '%di:u64'),
    ('%di', '%di'),
    ('%rdi', '%di'),
    ('%r12', '%r12'),
    ('S%ax', '%ax:s64'),
    ('%ax:u16', '%ax:u16'),
    ('$comm', '$comm'),
    ('$stack', '$stack:x64'),
    ('$stack2', '$stack2:x64'),
    ('S@jiffies', '@jiffies:s64'),
    # casts
    ('!(struct task_struct *)%si->comm', '+0x10(%si):string'),
    ('!(struct task_struct *)$stack3->mm->mm_users', '+0x10(+0x20($stack3)):x32'),
    ('!(const char *)%si', '+0x0(%si):string'),
    ('S!(int)%si', '%si:s32'),
    ('U!(u8)%si', '%si:u8'),
    ('!(struct task_struct)@init_task.comm', '@init_task+0x10:string'),
    # a type in the kernel's own words
    ('%0->bytes:x8[6]', '+0x70(%di):x8[6]'),
    ('%0->run:symbol', '+0xb8(%di):symbol'),
    ('%0->name:ustring', '+0x0(+0x78(%di)):ustring'),
    ('%0->data:string', '+0x0(+0x88(%di)):string'),
    ('%0->comm:string', '+0x10(%di):string'),
    ('%0->name:x32', '+0x78(%di):x32'),
    ('%0->flag:u8', '+0x4(%di):u8'),
    ('%si:string', '+0x0(%si):string'),
    ('@linux_banner:string', '@linux_banner:string'),
    ('%0:u32', '%di:u32'),
    ('S%0->mm:u8', '+0x20(%di):u8'),
    # the kernel's own words go through
    ('+0x9(+0xf0(%di)):x8', '+0x9(+0xf0(%di)):x8'),
    ('-8(%sp)', '-8(%sp)'),
    ('$arg1:u32', '$arg1:u32'),
    ('@0xffffffff81000000', '@0xffffffff81000000'),
]

PACKETS = [
    ('@(struct iphdr *)l3%0->protocol', '+0x9(+0xd0(%di)):u8'),
    ('@(struct iphdr *)%0->saddr', '+0xc(+0xd0(%di)):u32'),
    ('X@(struct iphdr *)l3%0->saddr', '+0xc(+0xd0(%di)):x32'),
    ('X@(struct iphdr *)l3%0->sdata[1]', '+0x16(+0xd0(%di)):x16'),
    ('@(struct iphdr *)l2%0->daddr', '+0x1e(+0xd0(%di)):u32'),
    ('@(struct ethhdr *)l2%0->h_proto', '+0xc(+0xd0(%di)):u16'),
    ('@(struct ethhdr *)l2%0->h_dest[5]', '+0x5(+0xd0(%di)):u8'),
    ('@(struct iphdr *)%0->ihl', '+0x0(+0xd0(%di)):b4@0/8'),
    ('@(struct iphdr *)%0->version', '+0x0(+0xd0(%di)):b4@4/8'),
    ('@(struct tcphdr *)l2%0->dest', '+0x24(+0xd0(%di)):u16'),
    ('@(struct tcphdr *)l3%0->dest', '+0x16(+0xd0(%di)):u16'),
    ('@(struct tcphdr *)l4%0->dest', '+0x2(+0xd0(%di)):u16'),
    ('@(struct ipv6hdr *)%0->hop_limit', '+0x7(+0xd0(%di)):u8'),
    ('@(struct ipv6hdr *)l2%0->hop_limit', '+0x15(+0xd0(%di)):u8'),
    ('@(struct vlan_hdr *)l2%0->h_vlan_TCI', '+0xe(+0xd0(%di)):u16'),
    ('@(struct vlan_hdr *)l3%0->h_vlan_TCI', '+0x0(+0xd0(%di)):u16'),
    ('@(struct ethhdr *)l2%0->h_dest', '+0x0(+0xd0(%di)):x8[6]'),
    ('@(struct udphdr *)l4%0->cdata[3]', '+0xb(+0xd0(%di)):u8'),
    ('@(struct udphdr *)l4%0->ldata[1]', '+0xc(+0xd0(%di)):u32'),
    ('S@(struct icmphdr *)l3%0->qdata[2]', '+0x2c(+0xd0(%di)):s64'),
    ('@(struct icmphdr *)l4%0->Sdata', '+0x8(+0xd0(%di)):string'),
    ('@(struct iphdr *)%0->cdata[0]:x8[8]', '+0x14(+0xd0(%di)):x8[8]'),
    ('@(struct iphdr *)%si->saddr', '+0xc(+0xd0(%si)):u32'),
    ('@(struct iphdr *)!(struct sk_buff **)%si->saddr', '+0xc(+0xd0(+0x0(%si))):u32'),
]

# A mark and a trace; the ^ is where the person is pointed at.
MISTAKES = [
    ('p wake_up_new_task a=%0->com\n                         ^', "did you mean 'comm'"),
    ('p wake_up_new_task a=%0.comm\n                       ^', 'use ->comm'),
    ('p wake_up_new_task a=%0->mm.mm_users\n                           ^', 'use ->mm_users'),
    ('p wake_up_new_task a=%0->big->b\n                            ^', 'use .b'),
    ('p wake_up_new_task a=%0->mm->mm_users->x\n                                     ^',
     'use .x'),
    ('p wake_up_new_task a=%0->state.x\n                              ^', 'has no members'),
    ('p wake_up_new_task a=%0->data->x\n                             ^', 'has no members'),
    ('p wake_up_new_task a=%0->opaque->x\n                               ^', 'cast it, !('),
    ('p wake_up_new_task a=%0->state f:a=="5"\n                                    ^',
     'no value of'),
    ('p ip_rcv a=%0->len f:a<0\n                       ^', 'no sign here'),
    ('p ip_rcv a=%0->len f:a=="5"\n                        ^', 'is not'),
    ('p ip_rcv a=%0->len f:a==10.0.0.1\n                        ^', 'call it ip_a'),
    ('p ip_rcv a=%0->len f:a==O_RDONLY\n                        ^', 'macros are not'),
    ('r ip_rcv a=$retval f:a==-EIO\n                        ^', 'with S takes'),
    ('p wake_up_new_task a=%0->hidden->x\n                                 ^',
     'only declared'),
    ('p wake_up_new_task a=%0->argv->x\n                             ^', 'has no members'),
    ('p wake_up_new_task a=%1\n                     ^', 'has 1 argument'),
    ('p wake_up_new_task a=%99999999999\n                     ^', 'large'),
    ('p no_result a=%0\n              ^', 'has 0 arguments'),
    ('p wake_up_new_task a=%0->bytes[6]\n                               ^', '6 elements'),
    ('p wake_up_new_task a=%0->state[0]\n                               ^', 'no array'),
    ('p wake_up_new_task a=%0->big\n                         ^', '16 bytes long'),
    ('p wake_up_new_task a=S%0->comm\n                     ^', 'X as its bytes'),
    ('p wake_up_new_task a=U%0->comm\n                     ^', 'X as its bytes'),
    ('p wake_up_new_task a=X%0->long_text\n                          ^', 'up to 64 elements'),
    ('p wake_up_new_task a=X%0->flag\n                     ^', 'decimal'),
    ('p wake_up_new_task a=S%0->sign\n                     ^', 'without a sign'),
    ('p wake_up_new_task a=S$comm\n                     ^', 'no letter'),
    ('p wake_up_new_task a=!(int)$comm\n                           ^', 'is a string'),
    ('p wake_up_new_task a=%0->pids->node\n                             ^', '[0]'),
    ('p wake_up_new_task a=%0->state->x\n                              ^', 'has no members'),
    ('p wake_up_new_task a=!(void *)%di[1]\n                                  ^', 'cast it'),
    ('p wake_up_new_task a=%0->opaque[1]\n                                ^', 'a size'),
    ('p wake_up_new_task a=%foo\n                     ^', 'no register %foo'),
    ('p wake_up_new_task a=%x0\n                     ^', 'no register %x0'),
    ('p wake_up_new_task a=%di->comm\n                        ^', 'cast it, !(struct NAME *)%di'),
    ('p wake_up_new_task a=!(struct nope *)%di\n                       ^', "no type"),
    ('p wake_up_new_task a=!(sk_buff *)%di\n                       ^', "mean 'struct sk_buff *'"),
    ('p wake_up_new_task a=!(struct pair)%di.b\n                                      ^',
     'the type is struct pair *'),
    ('p wake_up_new_task a=$retval\n                     ^', 'on return only'),
    ('p wake_up_new_task+8 a=%0\n                       ^', 'inside a function'),
    ('r wake_up_new_task a=%di->comm\n                        ^', 'cast it'),
    ('p wake_up_new_task a=$q->comm\n                     ^', "no argument 'q': it has p"),
    ('p many a=$dd\n         ^', "no argument 'dd'"),
    ('p no_result a=$x\n              ^', 'it has none'),
    ('p unknown a=$skb->len\n            ^', 'count it'),
    ('p wake_up_new_task+8 a=$p\n                       ^', 'inside a function'),
    ('p wake_up_new_task a=%0->mode!(int)\n                               ^', 'bitfield'),
    ('p wake_up_new_task a=%0->long_text!(struct pair *)\n                         ^',
     'not the address itself'),
    ('p wake_up_new_task a=!(struct task_struct *)@x->comm\n'
     '                                            ^', 'or points at one is not known'),
    ('p wake_up_new_task a=@x.comm\n                       ^', '!(struct NAME)@x.comm'),
    ('p wake_up_new_task a=@per_cpu_task.comm\n                     ^', 'each CPU'),
    ('p wake_up_new_task a=!(struct pair)@per_cpu_task.b\n                                   ^',
     'each CPU'),
    ('p wake_up_new_task a=%0->long_numbers\n                         ^', 'up to 64 elements'),
    ('r wake_up_new_task+8\n                   ^', 'no offset'),
    ('r no_result a=S$retval\n               ^', 'void'),
    ('p unknown a=%0->comm\n            ^', '!(struct NAME *)%0->'),
    ('p unknown a=@(struct iphdr *)l3%0->saddr\n                               ^',
     '@(struct iphdr *)l3!(struct sk_buff **)%0->'),
    ('p twice a=%0->comm\n          ^', 'several functions'),
    ('p by_value a=$l->b\n               ^', 'not a pointer'),
    ('p by_value a=%0\n             ^', '16 bytes long'),
    ('r by_struct a=$retval.a\n                     ^', 'in a register'),
    # packets
    ('p ip_rcv a=@(struct ethhdr *)%0->h_proto\n                    ^', 'l2'),
    ('p ip_rcv a=@(struct iphdr *)l4%0->saddr\n                    ^', 'l2, l3'),
    ('p ip_rcv a=@(struct arphdr *)l3%0->x\n                    ^', 'ethhdr, icmphdr'),
    ('p ip_rcv a=@(struct iphdr *)%0\n                            ^', 'name a member'),
    ('p ip_rcv a=@(struct iphdr *)%0.saddr\n                              ^', '->saddr'),
    ('p ip_rcv a=@(struct iphdr *)%0->sdata\n                                ^',
     'take one element, [0]'),
    ('p ip_rcv a=U@(struct iphdr *)%0->Sdata\n           ^', 'string'),
    ('p ip_rcv a=@(struct iphdr *)%1->saddr\n                            ^', 'sk_buff'),
    ('p wake_up_new_task a=@(struct iphdr *)%0->saddr\n'
     '                                      ^', 'sk_buff'),
    # names
    ('p wake_up_new_task a=%0 a=%0\n                        ^', 'twice'),
    ('p wake_up_new_task common_pid=%0\n                   ^', "kernel's own name"),
    ('p wake_up_new_task __probe_ip=%0\n                   ^', "kernel's own name"),
    ('p wake_up_new_task 1a=%0\n                   ^', 'is no name'),
    ('p wake_up_new_task a-b=%0\n                   ^', 'is no name'),
    ('p wake_up_new_task ' + 33 * 'a' + '=%0\n                   ^', '33 characters'),
    ('p wake_up_new_task ip_a=%0->comm[0]\n                        ^', '4 bytes'),
    ('p wake_up_new_task B16_a=%0->state\n                         ^', '2 bytes'),
    ('p wake_up_new_task ip_a=%di\n                        ^', ':type'),
    ('p wake_up_new_task mac_a=%0->mm\n                             ^', '6 bytes'),
    ('p wake_up_new_task mac_a=X%0->bytes\n                         ^', 'leave out the X'),
    ('p wake_up_new_task ip6_a=%0->bytes\n                             ^', '16 bytes'),
    ('p wake_up_new_task a=%0->address\n                         ^', 'or call it ip6_'),
    # filters
    ('p wake_up_new_task comm=%0->comm f:com==x\n                                   ^',
     "did you mean 'comm'"),
    ('p wake_up_new_task a=S%0->state f:b==1\n                                  ^', 'there is a'),
    ('p wake_up_new_task a=S%0->state f:a==bash\n                                     ^',
     "'bash' is not"),
    ('p wake_up_new_task a=%0->state f:a==-1\n                                    ^', 'write S'),
    ('p wake_up_new_task a=%0->comm f:a<b\n                                 ^', '==, != or ~'),
    ('p wake_up_new_task a=%0->state f:a~x\n                                  ^', 'a number'),
    ('p ip_rcv ip_s=@(struct iphdr *)%0->saddr f:ip_s>1.2.3.4\n'
     '                                               ^', 'network order'),
    ('p ip_rcv ip_s=@(struct iphdr *)%0->saddr f:ip_s==0x7f000001\n'
     '                                                 ^', 'no IPv4 address'),
    ('p ip_rcv ip_s=@(struct iphdr *)%0->saddr f:ip_s==1.2.3.256\n'
     '                                                 ^', 'no IPv4 address'),
    ('p ip_rcv b16_p=@(struct udphdr *)%0->dest f:b16_p==65536\n'
     '                                                   ^', 'no number of 2 bytes'),
    ('p ip_rcv __probe_func=%0\n         ^', "kernel's own"),
    ('p wake_up_new_task a=%0->bytes f:a==1\n                                 ^', 'an array'),
    ('p wake_up_new_task a=%0->state f:a==SLEEPIN\n                                    ^',
     "did you mean 'SLEEPING'"),
    ('p wake_up_new_task a=U%0->temper f:a==COLD\n                                      ^',
     'no sign here'),
    ('p in_registers a=$o.level:u32\n                          ^', 'bits 32 to 63 of a register'),
    ('p in_registers a=S$o.level\n                 ^', 'part of a register'),
    ('p wake_up_new_task a=@per_cpu_task\n                     ^', 'each CPU'),
    ('p wake_up_new_task a=!(struct task_struct *)@x\n'
     '                                            ^', 'or points at one is not known'),
    ('p wake_up_new_task mac_a=%0->bytes f:mac_a==1:2\n'
     '                                            ^', 'no MAC address'),
    ('r ip_rcv r=S$retval f:r==ENOENT\n                         ^', 'as in -ENOENT'),
    ('r ip_rcv r=S$retval f:r==-ENOWHERE\n                         ^', 'as in -ENOENT'),
    ('p ip_rcv a=%0 f:__probe_func==1\n                ^', "did you mean '__probe_ip'"),
]

# The filter of 'p ip_rcv comm=$comm n=S%0->len u=U%0->len ip_src=... b16_port=... B32_x=...'
FILTER_VALUES = ('comm=$comm n=S%0->len u=U%0->len ip_src=@(struct iphdr *)%0->saddr '
                 'b16_port=@(struct udphdr *)%0->dest B32_x=@(struct iphdr *)%0->daddr')
FILTERS = [
    ('comm==bash', 'comm=="bash"'),
    ('comm=="a b"', 'comm=="a b"'),
    ("comm=='x'", "comm=='x'"),
    ('comm==a"b', "comm=='a\"b'"),
    ('comm!=1', 'comm!="1"'),
    ('comm ~ k*:0', 'comm ~ "k*:0"'),
    ('n==-1&&u<0x10', 'n==-1&&u<0x10'),
    ('!(n==1)||(u & 3 && common_pid==1)', '!(n==1)||(u & 3 && common_pid==1)'),
    ('ip_src==127.0.0.1', 'ip_src==0x100007f'),
    ('ip_src&255.0.0.0 && ip_src!=10.0.0.1', 'ip_src&0xff && ip_src!=0x100000a'),
    ('b16_port==80', 'b16_port==20480'),
    ('B32_x==0x01020304', 'B32_x==0x4030201'),
    ('__probe_ip==0xffffffff81000000', '__probe_ip==0xffffffff81000000'),
    ('COMM==x && CPU==0', 'COMM=="x" && CPU==0'),
    ('u==4294967295 && n==0xffffffff', 'u==4294967295 && n==0xffffffff'),
    ('n>=-2147483648 && n<=2147483647', 'n>=-2147483648 && n<=2147483647'),
    ('u==FIN_WAIT', 'u==2'),
]


def compiled(text, target=X86, types=None, event='f0'):
    tree = surftrace.parse_trace(text)
    types = types or surftrace.Btf(btf.sample().data(), 'sample')
    return surftrace.compile_trace(tree, event, tree.symbol.text, types, target)


class Values(unittest.TestCase):

    def values(self, text, target=X86, types=None):
        return [argument.text for argument in compiled(text, target, types).arguments]

    def test_values(self):
        for value, expected in TASK_VALUES:
            self.assertEqual(self.values('p wake_up_new_task a=' + value), [expected], value)

    def test_packets(self):
        for value, expected in PACKETS:
            self.assertEqual(self.values('p ip_rcv a=' + value), [expected], value)

    def test_mistakes(self):
        for marked, message in MISTAKES:
            text, mark = marked.split('\n')
            with self.assertRaises(surftrace.TraceError) as caught:
                compiled(text)
            self.assertIn(message, str(caught.exception), text)
            self.assertEqual(caught.exception.column, mark.index('^'), text)

    def test_pointer_to_skb_is_followed_once_more(self):
        self.assertEqual(self.values('p receive_core a=@(struct iphdr *)l3%0->protocol'),
                         ['+0x9(+0xd0(+0x0(%di))):u8'])

    def test_return_values(self):
        for text, expected in [('r open_file a=$retval', '$retval'),
                               ('r open_file a=S$retval', '$retval:s64'),
                               ('r open_file a=$retval->comm', '+0x10($retval):string'),
                               ('r ip_rcv a=S$retval', '$retval:s32'),
                               ('r ip_rcv a=X$retval', '$retval:x32'),
                               ('r unknown a=S$retval', '$retval:s64'),
                               ('r either_way a=S$retval', '$retval:s32'),
                               ('r ip_rcv a=%ax', '%ax'),
                               ('r unknown a=!(struct task_struct *)$retval->comm',
                                '+0x10($retval):string')]:
            self.assertEqual(self.values(text), [expected], text)

    def test_arguments_by_type(self):
        self.assertEqual(self.values('p open_file a=%0 b=X%0 c=%1 d=S%1'),
                         ['+0x0(%di):string', '%di:x64', '%si:x32', '%si:s32'])

    def test_without_prototype_a_register_is_enough(self):
        self.assertEqual(self.values('p unknown a=%0 b=S%6 c=%7'),
                         ['%di:x64', '$stack1:s64', '$stack2:x64'])
        self.assertEqual(self.values('p unknown a=%0', types=MissingTypes()), ['%di:x64'])
        self.assertEqual(self.values('r unknown a=S$retval', types=MissingTypes()),
                         ['$retval:s64'])

    def test_without_types_a_member_says_so(self):
        for text in ('p unknown a=%0->comm', 'p unknown a=%0 b=!(struct task_struct *)%0->comm'):
            with self.assertRaises(surftrace.NoTypesError):
                compiled(text, types=MissingTypes())

    def test_types_are_asked_for_only_when_needed(self):
        text = ('r foo a=%ax b=$retval c=$comm d=+0x9(%di):x8 e=S%si h=$stack1 '
                'i=$retval:s32 j=!(int)$retval f:a==1')
        self.assertEqual(len(compiled(text, OLD, types=NoTypes()).arguments), 8)
        # Newer kernels refuse $retval of a function that returns nothing; the script does it first.
        text = text.replace('b=$retval ', '').replace('i=$retval:s32 j=!(int)$retval ', '')
        self.assertEqual(len(compiled(text, types=NoTypes()).arguments), 5)
        self.assertEqual(len(compiled('r foo a=$retval', types=MissingTypes()).arguments), 1)
        self.assertIn('returns nothing', str(self.assert_refused('r no_result a=$retval')))

    def test_the_same_answer_from_several_prototypes(self):
        self.assertEqual(self.values('p twice a=%1 b=%0'), ['%si:x32', '%di:x64'])
        self.assertEqual(self.values('p twice a=!(struct task_struct *)%0->comm'),
                         ['+0x10(%di):string'])

    def test_variant_has_not_its_functions_prototype(self):
        """The compiler moves and drops arguments, and BTF does not tell where they are."""
        self.assertEqual(self.values('p ip_rcv.constprop.0 a=!(struct sk_buff *)%0->len'),
                         ['+0x70(%di):x32'])
        for value, message in [('%0->len', '!(struct NAME *)%0->...'), ('$skb', 'name a register'),
                               ('@(struct iphdr *)l3%0->saddr', 'l3!(struct sk_buff **)%0->')]:
            error = self.assert_refused('p ip_rcv.constprop.0 a=' + value)
            self.assertIn("ip_rcv.constprop.0", str(error))
            self.assertIn(message, str(error))

    def test_variant_returns_what_its_function_does(self):
        self.assertEqual(self.values('r ip_rcv.constprop.0 a=S$retval'), ['$retval:s32'])
        for target, message in (X86, 'use an entry trace (p)'), (OLD, 'from Linux 6.9 on'):
            self.assertIn(message, str(self.assert_refused(
                'r ip_rcv.constprop.0 a=$skb->len', target)))

    def test_a_cast_settles_which_prototype_is_meant(self):
        w = btf.sample()
        task = w.pointer(w.struct('thing', 8, [('n', w.integer('int', 4, btf.SIGNED), 0)]))
        for kind in (task, w.integer('unsigned int', 4)):
            w.function('either', 0, [('a', kind)])
        types = surftrace.Btf(w.data(), 'sample')
        self.assertEqual(self.values('p either x=!(struct thing *)%0->n', types=types),
                         ['+0x0(%di):x32'])

    def test_function_that_is_not_in_the_types(self):
        for text in ('p ip_rcvv a=$skb', 'p ip_rcvv a=%0->len'):
            self.assertIn("did you mean 'ip_rcv'?", str(self.assert_refused(text)))
        self.assertEqual(self.values('p ip_rcvv a=%0'), ['%di:x64'])

    def test_casts_stay_within_the_value(self):
        """What lies beside it, in memory or in a register, is something else."""
        for text, expected in [
                ('p ip_rcv a=%0->len!(unsigned long)', '+0x70(%di):x32'),
                ('p open_file a=$size!(unsigned long)', '%si:x32'),
                ('p ip_rcv a=@(struct udphdr *)l3%0->sdata[1]!(unsigned char)',
                 '+0x1e(+0xd0(%di)):u8')]:
            self.assertEqual(self.values(text), [expected], text)
        for text in ('p ip_rcv a=%0->len!(char *)', 'p open_file a=$size!(struct sk_buff *)->len'):
            self.assertIn('has 4 bytes, too few for an address', str(self.assert_refused(text)))

    def test_a_struct_of_several(self):
        w = btf.sample()
        w.struct('slot', 48, [('mm', w.pointer(0), 0)])
        w.struct('slot', 64, [('mm', w.pointer(0), 256)])
        types = surftrace.Btf(w.data(), 'sample')
        for value, warning in [
                ('!(struct slot *)%0->mm', '2 different ones are called struct slot here; taken is '
                 'that of 48 bytes'), ('!(struct mm_struct *)%0->mm_users', '')]:
            [argument] = compiled('p ip_rcv a=' + value, types=types).arguments
            self.assertEqual(argument.warning, warning)

    def test_strings_and_arrays_are_in_memory(self):
        for text, expected in [
                ('p wake_up_new_task a=%0->data:x8[6]', '+0x0(+0x88(%di)):x8[6]'),
                ('p wake_up_new_task a=%0->bytes:x8[2]', '+0x70(%di):x8[2]'),
                ('p open_file a=$name:x8[4]', '+0x0(%di):x8[4]')]:
            self.assertEqual(self.values(text), [expected], text)
        for text in ('p open_file a=$size:string', 'p open_file a=$size:x8[2]'):
            self.assertIn('lies in a register, and is no pointer', str(self.assert_refused(text)))

    def test_arguments_that_move_the_others_unknown_ways(self):
        types = self.strange_types()
        self.assertEqual(self.values('p f a=$first', types=types), ['%di:x32'])
        for name in ('number', 'behind'):
            for function in 'fgh':
                self.assertIn('is not known here', str(self.assert_refused(
                    'p %s a=$%s' % (function, name), types=types)))

    def strange_types(self):
        """Return types with arguments that are a float, of 16 bytes, and not aligned."""
        w = btf.Writer()
        integer = w.integer('int', 4, btf.SIGNED)
        wide = w.integer('__int128', 16, btf.SIGNED)
        real = w.add('float', 'double', 8)
        packed = w.struct('packed', 5, [('a', w.integer('u8', 1), 0), ('b', integer, 8)])
        for name, strange in (('f', real), ('g', wide), ('h', packed)):
            w.function(name, integer, [('first', integer), ('number', strange),
                                       ('behind', integer)])
        return surftrace.Btf(w.data(), 'sample')

    def test_indexes_of_a_base(self):
        for text, expected in [
                ('p receive_core a=$pskb[0]->len', '+0x70(+0x0(%di)):x32'),
                ('p receive_core a=%0[2]->len', '+0x70(+0x10(%di)):x32'),
                ('p x a=!(unsigned int *)%di[3]', '+0xc(%di):x32'),
                ('p x a=S!(int *)$stack[1]', '+0x4($stack):s32'),
                ('p open_file a=$name[1]', '+0x1(%di):x8'),
                ('p receive_core a=$pskb[0]!(struct task_struct *)->comm',
                 '+0x10(+0x0(%di)):string')]:
            self.assertEqual(self.values(text), [expected], text)
        for text, column, message in [
                ('p x a=%di[0]', 10, 'cast it, !(TYPE *)'),
                ('p no a=%1[0]', 7, 'no prototype'), ('p ip_rcv a=%1[0]', 14, 'is no array'),
                ('p receive_core a=@(struct iphdr *)%0[0]->saddr', 37, 'leave out the index')]:
            error = self.assert_refused(text)
            self.assertIn(message, str(error))
            self.assertEqual(error.column, column, text)

    def test_places_of_arguments(self):
        text = 'p many ' + ' '.join('%s=%%%d' % pair for pair in zip('abcdefghij', range(10)))
        self.assertEqual(self.values(text), [
            '%di:x64', '%si:x64', '%dx:x64', '%cx:x64', '%r8:x64', '%r9:x64', '$stack1:x64',
            '$stack2:x64', '$stack3:x64', '$stack4:x64'])
        self.assertEqual(self.values(text, ARM), [
            '%x0:x64', '%x1:x64', '%x2:x64', '%x3:x64', '%x4:x64', '%x5:x64', '%x6:x64',
            '%x7:x64', '$stack0:x64', '$stack1:x64'])

    def test_structs_by_value_move_what_follows(self):
        """The 16 bytes take two registers; the 24 lie on the stack, or behind a pointer."""
        text = 'p by_value s=%0.b p=%1->comm l=%2.b q=%3->comm'
        self.assertEqual(self.values(text), [
            '%si:x64', '+0x10(%dx):string', '+0x10($stack):x64', '+0x10(%cx):string'])
        self.assertEqual(self.values(text, ARM), [
            '%x1:x64', '+0x10(%x2):string', '+0x8(%x3):x64', '+0x10(%x4):string'])

    def test_a_large_result_comes_first(self):
        """On x86_64 its address takes the first register, on aarch64 one of its own, x8."""
        self.assertEqual(self.values('p large_result a=%0->comm'), ['+0x10(%si):string'])
        self.assertEqual(self.values('p large_result a=%0->comm', ARM), ['+0x10(%x0):string'])

    def test_arguments_on_return(self):
        """The kernel keeps those that lie in registers, and on x86_64 on the stack."""
        self.assertEqual(self.values('r wake_up_new_task a=$p->comm b=%0 c=S$p->mm->mm_users'), [
            '+0x10($arg1):string', '$arg1:x64', '+0x10(+0x20($arg1)):s32'])
        self.assertEqual(self.values('r many a=$g b=%7'), ['$arg7:x64', '$arg8:x64'])
        self.assertEqual(self.values('r many a=$h', ARM), ['$arg8:x64'])
        self.assertEqual(self.values('r by_value a=$p->comm b=$s.b'), [
            '+0x10($arg3):string', '$arg2:x64'])
        for text, target, message in [('r many a=$i', ARM, 'keeps no argument that lies in $stack'),
                                      ('r by_value a=$l.b', X86, 'keeps no argument'),
                                      ('r wake_up_new_task a=%0', OLD, 'from Linux 6.9 on')]:
            self.assertIn(message, str(self.assert_refused(text, target)))

    def test_structs_in_registers(self):
        self.assertEqual(self.values('p in_registers a=$o.user b=$o.kernel d=$o.is_kernel '
                                     'e=$o.level f=$o.deep.x g=S$n h=$o.letter'), [
            '%si:x64', '%si:x64', '%dx:b1@0/8', '%dx:b32@32/64', '%dx:b16@16/32', '%cx:s32',
            '%dx:b8@8/16'])
        self.assertEqual(self.values('p in_registers a=$o.is_kernel', ARM), ['%x2:b1@0/8'])

    def test_strings_of_users(self):
        self.assertEqual(self.values('p from_user a=$name b=X$name'), [
            '+0x0(%di):ustring', '%di:x64'])
        self.assertEqual(self.values('p from_user a=$name', OLD), ['+0x0(%di):string'])

    def test_addresses(self):
        self.assertEqual(self.values('p wake_up_new_task mac_a=%0->bytes mac_b=%0->mac '
                                     'ip6_c=%0->address ip6_d=%0->address.words'), [
            '+0x70(%di):b48@0/64', '+0x0(+0x90(%di)):b48@0/64', '+0x190(%di):x8[16]',
            '+0x190(%di):x8[16]'])
        self.assertEqual(self.values('p wake_up_new_task ip6_a=%0->bytes!(struct in6_addr *)'),
                         ['+0x70(%di):x8[16]'])
        self.assertIn('came with Linux 4.20', str(self.assert_refused(
            'p wake_up_new_task ip6_c=%0->address', OLD)))

    def test_characters(self):
        every = surftrace.Target(X86.architecture, frozenset(surftrace.FEATURES))
        text = 'p wake_up_new_task a=%0->comm[3] b=X%0->comm[3]'
        self.assertEqual(self.values(text, every), ['+0x13(%di):char', '+0x13(%di):x8'])
        self.assertEqual(self.values(text), ['+0x13(%di):x8', '+0x13(%di):x8'])

    def test_what_older_kernels_have_instead(self):
        some = OLD._replace(features=frozenset(['array', 'hexadecimal']))
        self.assertEqual(self.values('p wake_up_new_task a=%0->bytes:char[4] b=%0->argv:symstr[2]',
                                     some), ['+0x70(%di):x8[4]', '+0x0(+0x148(%di)):x64[2]'])
        arguments = compiled('p wake_up_new_task a=%0->run b=%0->bytes c=%0->mm', OLD).arguments
        self.assertEqual([argument.text for argument in arguments], [
            '+0xb8(%di):u64', '+0x70(%di):u8', '+0x20(%di):u64'])
        self.assertEqual([bool(argument.warning) for argument in arguments], [False, True, False])

    def test_variables(self):
        class Known(object):
            def variable(self, base):
                return surftrace.Storage(*{'small': (8, False), 'large': (2048, False),
                                           'each': (2048, True), 'dark': (None, False)}[base.text])
        target = X86._replace(symbols=Known())
        for value, expected in [
                ('!(struct task_struct *)@large->comm', '@large+0x10:string'),
                ('!(struct task_struct *)@large->mm->mm_users', '+0x10(@large+0x20):x32'),
                ('!(struct task_struct *)@small->comm', '+0x10(@small):string'),
                ('!(struct task_struct)@large.comm', '@large+0x10:string'),
                ('!(const char *)@large', '@large:string'),
                ('!(const char *)@small', '+0x0(@small):string'),
                ('!(struct task_struct *)@large:string', '@large:string'),
                ('!(struct task_struct *)@small', '@small:x64'), ('S@small', '@small:s64'),
                ('@init_task.comm', '@init_task+0x10:string'),
                ('!(struct task_struct *)@init_task->comm', '@init_task+0x10:string'),
                ('@current_task->comm', '+0x10(@current_task):string'),
                ('!(struct task_struct *)@current_task->comm', '+0x10(@current_task):string')]:
            self.assertEqual(self.values('p wake_up_new_task a=' + value, (
                target if '@init' not in value and '@current' not in value else X86)),
                [expected], value)
        for value, message in [('@each', 'each CPU'),
                               ('!(struct task_struct *)@large', 'not the address itself'),
                               ('!(struct task_struct *)@large:x64', 'not the address itself'),
                               ('!(struct task_struct *)@large.comm', 'use ->comm'),
                               ('!(struct task_struct *)@dark->comm', 'is not known')]:
            self.assertIn(message, str(self.assert_refused(
                'p wake_up_new_task a=' + value, target)))

    def test_aarch64(self):
        self.assertEqual(self.values('p wake_up_new_task a=%0->comm b=S%0->mm->mm_users c=%x30',
                                     ARM),
                         ['+0x10(%x0):string', '+0x10(+0x20(%x0)):s32', '%x30'])

    def test_kernel_without_hexadecimal_types(self):
        self.assertEqual(self.values('p wake_up_new_task a=%0->mm b=%0 c=S%0->state', OLD),
                         ['+0x20(%di):u64', '%di:u64', '+0x0(%di):s32'])

    def test_a_value_that_is_too_long(self):
        chain = 'p wake_up_new_task a=!(struct list_head *)%di->next' + '->next' * 9
        with self.assertRaises(surftrace.TraceError) as caught:
            compiled(chain)
        self.assertIn('63 characters', str(caught.exception))
        self.assertEqual(self.values(chain[:-len('->next') * 2])[0].count('('), 8)

    def test_too_many_values(self):
        text = 'p foo ' + ' '.join('a%d=%%di' % number for number in range(129))
        self.assertIn('at most 128', str(self.assert_refused(text)))
        self.assertEqual(len(self.values(text.rsplit(' ', 1)[0], types=NoTypes())), 128)

    def test_a_line_that_is_too_long(self):
        text = 'p foo ' + ' '.join('%s%03d=+0x100000(+0x100000(%%di)):x64' % ('n' * 20, number)
                                   for number in range(100))
        self.assertIn('4095', str(self.assert_refused(text)))

    def assert_refused(self, text, target=X86, types=None):
        with self.assertRaises(surftrace.TraceError) as caught:
            compiled(text, target, types)
        return caught.exception


class Filters(unittest.TestCase):

    def test_names_of_numbers(self):
        for value, written, expected in [
                ('%0->state', 'a==SLEEPING||a==0', 'a==1||a==0'), ('%0->on', 'a!=true', 'a!=1'),
                ('%0->mode', 'a==2', 'a==2'), ('U%0->state', 'a==SLEEPING', 'a==1'),
                ('%0->mm->mm_users', 'a>ESTABLISHED', 'a>1'),
                ('%0->state', 'a=="SLEEPING"', 'a==1'), ('U%0->comm[0]', "a=='A'", 'a==65'),
                ('S%0->temper', 'a==COLD', 'a==-1')]:
            text = 'p wake_up_new_task a=%s f:%s' % (value, written)
            self.assertEqual(compiled(text).filter.text, expected, text)
        for written, expected in [('r==-ENOENT', 'r==-2'), ('r<0', 'r<0'), ('r==-1', 'r==-1'),
                                  ('r=="-EIO"||r==-EHWPOISON', 'r==-5||r==-133'),
                                  ('r!=-ERESTARTSYS && r!=-EWOULDBLOCK', 'r!=-512 && r!=-11')]:
            self.assertEqual(compiled('r ip_rcv r=S$retval f:' + written).filter.text, expected)
        self.assertEqual(
            compiled('p wake_up_new_task mac_a=%0->bytes f:mac_a==52:54:00:12:34:56').filter.text,
            'mac_a==0x563412005452')

    def test_filters(self):
        for written, expected in FILTERS:
            text = 'p ip_rcv %s f:%s' % (FILTER_VALUES, written)
            self.assertEqual(compiled(text).filter.text, expected, written)

    def test_numbers_that_the_field_cannot_be(self):
        """The kernel would cut them, and compare with what is left."""
        values = 'p ip_rcv a=%0->len b=S%0->len c=%1 d=@(struct iphdr *)%0->ihl f:'
        for written, operand, message in [
                ('a==4294967296', '4294967296', 'is 32 bits, which 4294967296 does not'),
                ('b<2147483648', '2147483648', 'is 32 bits with a sign'),
                ('b==-2147483649', '-2147483649', 'is 32 bits with a sign'),
                ('d==1 || d==16', '16', 'is 4 bits, which 16 does not'),
                ('a==010', '010', 'octal'), ('a==CLOSED', 'CLOSED', '0 or 7, in different enums')]:
            with self.assertRaises(surftrace.TraceError) as caught:
                compiled(values + written)
            self.assertIn(message, str(caught.exception))
            self.assertEqual(caught.exception.column, len(values) + written.rindex(operand))

    def test_marks_lead_back_to_the_persons_text(self):
        text = 'p ip_rcv %s f:ip_src==127.0.0.1 && b16_port==80' % FILTER_VALUES
        found = compiled(text).filter
        for position, column in found.marks:
            name = re.match(r'\w+', text[column:]).group()
            self.assertTrue(found.text.startswith(name, position))
        self.assertEqual(len(found.marks), 2)

    def test_event_fields(self):
        field = surftrace.Field
        fields = {'comm': field('string'), 'pid': field('signed', 32), 'mask': field('other'),
                  'flags': field('unsigned', 8), 'saddr': field('ip', 32),
                  'file': field('user string')}

        def filter_of(written, fields=fields):
            tree = surftrace.parse_trace('e sched/x f:' + written)
            types = surftrace.Btf(btf.sample().data(), 'sample')
            return surftrace.compile_event(tree, fields, types).filter.text

        self.assertEqual(filter_of('comm==sh && pid>-1 && common_pid==1'),
                         'comm=="sh" && pid>-1 && common_pid==1')
        self.assertEqual(filter_of('mask & CPUS{1}'), 'mask & CPUS{1}')
        self.assertEqual(filter_of('pid==ESTABLISHED'), 'pid==1')
        self.assertEqual(filter_of('pid==-ENOENT'), 'pid==-2')
        self.assertEqual(filter_of('saddr!=127.0.0.1 || saddr==7'), 'saddr!=0x100007f || saddr==7')
        self.assertEqual(filter_of('file.ustring ~ "*x*"'), 'file.ustring ~ "*x*"')
        self.assertEqual(filter_of('file.ustring==/etc/passwd'), 'file.ustring=="/etc/passwd"')
        for written, message in [
                ('pidd==1', "did you mean 'pid'"), ('pid==4294967296', "'pid' is 32 bits with a"),
                ('file ~ "*x*"', 'write file.ustring'), ('comm.ustring==x', 'leave out .ustring'),
                ('comm.string==x', 'takes .ustring and nothing else'), ('saddr==::1', 'no IPv4'),
                ('saddr==4294967296', 'is 32 bits, which'), ('saddr==-1', 'no sign here'),
                ('flags==-EPERM', 'with S takes the names of errors')]:
            with self.assertRaises(surftrace.TraceError) as caught:
                filter_of(written)
            self.assertIn(message, str(caught.exception))
        # An event's field is never turned around, whatever it is called.
        self.assertEqual(filter_of('ip_x==5', {'ip_x': field('unsigned')}), 'ip_x==5')
        # Where the format cannot be read, only what is no number is quoted, and no enumerator.
        self.assertEqual(filter_of('anything==x || other==5', None), 'anything=="x" || other==5')
        self.assertEqual(filter_of('ret==-ENOENT && cpu==-1', None), 'ret==-2 && cpu==-1')
        self.assertEqual(filter_of('state==FIN_WAIT && comm==FIN_WAIT', None),
                         'state==2 && comm=="FIN_WAIT"')


class Conversions(unittest.TestCase):

    def test_there_and_back(self):
        for name, shown, number in [
                ('ip_a', '127.0.0.1', 0x100007f), ('ip_a', '255.255.255.255', 0xffffffff),
                ('mac_a', '52:54:00:12:34:56', 0x563412005452),
                ('B16_a', '0x1234', 0x3412), ('b16_a', '80', 20480), ('B32_a', '0x1', 0x1000000),
                ('b32_a', '1', 0x1000000), ('B64_a', '0x1', 1 << 56), ('b64_a', '1', 1 << 56)]:
            conversion = surftrace.conversion_of(name)
            self.assertEqual(surftrace.shown(conversion, str(number)), shown)
            self.assertEqual(int(surftrace.kernel_number(conversion, shown), 0), number)

    def test_signed_values(self):
        """The kernel prints s32 with a sign; the bytes are the same."""
        for name, shown in [('ip_a', '254.255.255.255'), ('B16_a', '0xfeff')]:
            self.assertEqual(surftrace.shown(surftrace.conversion_of(name), '-2'), shown)

    def test_names(self):
        states = surftrace.Conversion(None, 'names', (('A', 0), ('B', 1), ('ALSO_B', 1), ('M', -1)))
        for conversion, printed, shown in [
                (states, '0x1', 'B'), (states, '0', 'A'), (states, '7', '7'), (states, '-1', 'M'),
                (surftrace.BOOLEAN, '0x1', 'true'), (surftrace.BOOLEAN, '2', '2'),
                (surftrace.ERRNO, '-2', '-ENOENT'), (surftrace.ERRNO, '-512', '-ERESTARTSYS'),
                (surftrace.ERRNO, '-95', '-EOPNOTSUPP'), (surftrace.ERRNO, '-11', '-EAGAIN'),
                (surftrace.ERRNO, '77', '77'), (surftrace.ERRNO, '-5000', '-5000')]:
            self.assertEqual(surftrace.shown(conversion, printed), shown)

    def test_addresses_of_ipv6(self):
        for address in ('::', '::1', 'fe80::1', '2001:db8::2:1', '1:2:3:4:5:6:7:8', '1::',
                        '2001:db8:0:1:1:1:1:1', '2001:0:0:1::1', '::ffff:c000:201'):
            data = bytearray(socket.inet_pton(socket.AF_INET6, address))
            printed = '{%s}' % ','.join('0x%x' % byte for byte in data)
            self.assertEqual(surftrace.shown(surftrace.conversion_of('ip6_a'), printed), address)

    def test_other_names(self):
        for name in ('ip', 'ipv', 'i_p', 'B8_a', 'b16', 'xip_a', 'IP_a', '_a'):
            self.assertIsNone(surftrace.conversion_of(name), name)


if __name__ == '__main__':
    unittest.main()

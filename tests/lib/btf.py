"""Write small BTF files, so that a test knows every offset because it chose it.

The layout is that of Documentation/bpf/btf.rst.  Sizes are in bytes, offsets of members in bits.
"""
import collections
import struct

KINDS = dict(int=1, pointer=2, array=3, struct=4, union=5, enum=6, forward=7, typedef=8,
             volatile=9, const=10, restrict=11, symbol=12, function=13, variable=14, section=15,
             float=16, decl_tag=17, type_tag=18, enum64=19)
SIGNED, CHAR, BOOL = 1, 2, 4
# By kind: the words that follow the three of a record, and those for each item.
MORE_WORDS = dict(int=(1, 0), array=(3, 0), struct=(0, 3), union=(0, 3), enum=(0, 2),
                  function=(0, 2), variable=(1, 0), section=(0, 3), decl_tag=(1, 0), enum64=(0, 3))
# last: a size, or another type.
Record = collections.namedtuple('Record', 'kind name last')


def walked(data):
    """Return the Records of BTF from the first to the last, by the size of each."""
    names = dict((number, name) for name, number in KINDS.items())
    header, types_at, types_size, strings_at = struct.unpack_from('<4I', data, 4)
    at, end, records = header + types_at, header + types_at + types_size, []
    while at < end:
        name, info, last = struct.unpack_from('<3I', data, at)
        kind, begin = names[info >> 24 & 0x1f], header + strings_at + name
        fixed, each = MORE_WORDS.get(kind, (0, 0))
        records.append(Record('enum' if kind == 'enum64' else kind,
                              data[begin:data.index(b'\0', begin)].decode(), last))
        at += 4 * (3 + fixed + each * (info & 0xffff))
    return records


class Writer(object):
    """Types that are added one by one; each call returns the new type's id."""

    def __init__(self, base=None):
        self.records = []
        self.first_id = base.next_id() if base else 1
        self.first_string = base.first_string + len(base.strings) if base else 0
        self.strings = b'' if base else b'\0'
        self.base = base

    def next_id(self):
        return self.first_id + len(self.records)

    def string(self, text):
        data = text.encode() + b'\0'
        if not text:
            return 0
        at = (b'\0' + self.strings).find(b'\0' + data)
        if at < 0:
            at = len(self.strings)
            self.strings += data
        return self.first_string + at

    def add(self, kind, name='', last=0, count=0, kind_flag=0, payload=()):
        info = kind_flag << 31 | KINDS.get(kind, kind) << 24 | count
        words = [self.string(name), info, last] + list(payload)
        self.records.append(struct.pack('<%dI' % len(words), *[w & 0xffffffff for w in words]))
        return self.next_id() - 1

    def integer(self, name, size, encoding=0, bits=None, first=0):
        return self.add('int', name, size,
                        payload=[encoding << 24 | first << 16 | (bits or 8 * size)])

    def pointer(self, target):
        return self.add('pointer', last=target)

    def array(self, target, length):
        return self.add('array', payload=[target, 0, length])

    def struct(self, name, size, members, kind='struct', kind_flag=1):
        """members: (name, type, bit offset[, bit size]) each."""
        payload = []
        for member in members:
            bits = member[3] << 24 if len(member) > 3 else 0
            payload += [self.string(member[0]), member[1], member[2] | bits]
        return self.add(kind, name, size, len(members), kind_flag, payload)

    def enum(self, name, size, values, signed=0):
        payload = []
        for value_name, value in values:
            payload += [self.string(value_name), value]
        return self.add('enum', name, size, len(values), signed, payload)

    def function(self, name, result, parameters):
        """parameters: (name, type) each."""
        payload = []
        for parameter in parameters:
            payload += [self.string(parameter[0]), parameter[1]]
        proto = self.add('function', '', result, len(parameters), 0, payload)
        return self.add('symbol', name, proto)

    def data(self):
        types = b''.join(self.records)
        header = struct.pack('<HBBIIIII', 0xeb9f, 1, 0, 24, 0, len(types), len(types),
                             len(self.strings))
        return header + types + self.strings


def sample():
    """Return a Writer with a kernel in small, whose offsets are below, beside their names."""
    w = Writer()
    char = w.integer('char', 1, SIGNED)
    uchar = w.integer('unsigned char', 1)
    integer = w.integer('int', 4, SIGNED)
    uint = w.integer('unsigned int', 4)
    ulong = w.integer('long unsigned int', 8)
    short = w.integer('short unsigned int', 2)
    boolean = w.integer('_Bool', 1, BOOL)
    u8 = w.add('typedef', 'u8', uchar)
    be16 = w.add('typedef', '__be16', short)
    be32 = w.add('typedef', '__be32', uint)
    const_char = w.add('const', last=char)
    const_uchar = w.add('const', last=uchar)
    const_u8 = w.add('const', last=u8)
    text = w.pointer(char)
    const_text = w.pointer(const_char)
    const_bytes = w.pointer(const_uchar)
    bytes_pointer = w.pointer(uchar)
    atomic = w.struct('', 4, [('counter', integer, 0)])
    atomic_t = w.add('typedef', 'atomic_t', atomic)
    state = w.enum('state', 4, [('RUNNING', 0), ('SLEEPING', 1)])
    inner = w.struct('', 16, [('mm_users', atomic_t, 64), ('mm_count', atomic_t, 96)])
    mm = w.struct('mm_struct', 32, [('', inner, 64)])             # mm_users at 16, in a nameless
    mm_pointer = w.pointer(mm)
    node = w.struct('list_head', 16, [('next', w.pointer(w.next_id() + 1), 0)])
    link = w.struct('pid_link', 24, [('node', node, 0), ('pid', ulong, 128)])
    sixteen = w.struct('pair', 16, [('a', ulong, 0), ('b', ulong, 64)])
    large = w.struct('large', 24, [('a', ulong, 0), ('b', ulong, 64), ('c', ulong, 128)])
    either = w.struct('either', 8, [('number', ulong, 0), ('text', const_text, 0)], 'union')
    callback = w.pointer(w.add('function', last=0))
    declared = w.add('forward', 'hidden')
    temper = w.enum('temper', 4, [('COLD', -1), ('WARM', 1)], signed=1)
    w.enum('', 4, [('CLOSED', 0), ('ESTABLISHED', 1)])
    in6 = w.struct('in6_addr', 16, [('words', w.array(uint, 4), 0)])
    deep = w.struct('deep', 2, [('x', short, 0)])
    optional = w.struct('sockptr', 16, [
        ('', w.struct('', 8, [('kernel', w.pointer(0), 0), ('user', w.pointer(0), 0)], 'union'), 0),
        ('is_kernel', boolean, 64, 1), ('letter', u8, 72), ('deep', deep, 80),
        ('level', integer, 96)])
    single = w.struct('single', 8, [('low', integer, 0), ('flag', boolean, 32, 1),
                                    ('letter', u8, 40), ('deep', deep, 48)])
    user_text = w.pointer(w.add('type_tag', 'user', const_char))
    flexible = w.array(uint, 0)
    task = w.struct('task_struct', 0x400, [
        ('state', state, 0),                                      # 0x0
        ('flag', uint, 0x20, 1), ('mode', uint, 0x21, 3), ('wide', uint, 0x24, 12),     # 0x4
        ('sign', integer, 0x30, 4),                               # 0x6
        ('comm', w.array(char, 16), 0x10 * 8),
        ('mm', mm_pointer, 0x20 * 8),
        ('pids', w.array(link, 3), 0x28 * 8),                     # each 24
        ('bytes', w.array(u8, 6), 0x70 * 8),
        ('name', const_text, 0x78 * 8),
        ('dname', const_bytes, 0x80 * 8),
        ('data', bytes_pointer, 0x88 * 8),
        ('mac', w.pointer(const_u8), 0x90 * 8),
        ('big', sixteen, 0x98 * 8),
        ('either', either, 0xa8 * 8),
        ('on', boolean, 0xb0 * 8),
        ('run', callback, 0xb8 * 8),
        ('hidden', w.pointer(declared), 0xc0 * 8),
        ('long_text', w.array(char, 100), 0xc8 * 8),
        ('grid', w.array(w.array(short, 4), 3), 0x130 * 8),
        ('argv', w.pointer(text), 0x148 * 8),
        ('usage', atomic_t, 0x150 * 8),
        ('opaque', w.pointer(0), 0x158 * 8),
        ('temper', temper, 0x160 * 8),
        ('address', in6, 0x190 * 8),
        ('long_numbers', w.array(uint, 65), 0x1a0 * 8),
        ('inner', w.struct('', 4, [('deeper', w.struct('', 4, [('deepest', uint, 0)]), 0)]),
         0x2b0 * 8),
        ('tail', flexible, 0x400 * 8)])
    task_pointer = w.pointer(task)
    skb = w.struct('sk_buff', 0x100, [('len', uint, 0x70 * 8), ('data', bytes_pointer, 0xd0 * 8)])
    skb_pointer = w.pointer(skb)
    w.struct('ethhdr', 14, [('h_dest', w.array(uchar, 6), 0), ('h_proto', be16, 12 * 8)])
    w.struct('iphdr', 20, [('ihl', u8, 0, 4), ('version', u8, 4, 4), ('tot_len', be16, 16),
                           ('protocol', u8, 9 * 8), ('saddr', be32, 12 * 8),
                           ('daddr', be32, 16 * 8)])
    w.struct('icmphdr', 8, [('type', u8, 0), ('checksum', be16, 16)])
    w.struct('tcphdr', 20, [('source', be16, 0), ('dest', be16, 16)])
    w.struct('vlan_hdr', 4, [('h_vlan_TCI', be16, 0), ('h_vlan_encapsulated_proto', be16, 16)])
    w.struct('ipv6hdr', 40, [('hop_limit', u8, 7 * 8), ('saddr', in6, 8 * 8),
                             ('daddr', in6, 24 * 8)])
    w.struct('udphdr', 8, [('source', be16, 0), ('dest', be16, 16)])
    w.function('wake_up_new_task', 0, [('p', task_pointer)])
    w.function('ip_rcv', integer, [('skb', skb_pointer), ('flag', boolean)])
    w.function('receive_core', integer, [('pskb', w.pointer(skb_pointer)), ('pfmemalloc', boolean)])
    w.function('many', ulong, [(letter, ulong) for letter in 'abcdefghij'])
    w.function('open_file', task_pointer, [('name', const_text), ('size', integer)])
    w.function('no_result', 0, [])
    w.function('by_value', integer, [('s', sixteen), ('p', task_pointer), ('l', large),
                                     ('q', task_pointer)])
    w.function('large_result', large, [('p', task_pointer)])
    w.function('in_registers', integer, [('p', task_pointer), ('o', optional), ('n', integer)])
    w.function('in_one_register', integer, [('p', task_pointer), ('s', single), ('n', integer)])
    w.function('by_single', single, [])
    w.function('either_way', 0, [])
    w.function('either_way', integer, [])
    w.function('by_struct', sixteen, [])
    w.function('from_user', integer, [('name', user_text)])
    w.add('variable', 'init_task', task, payload=[1])
    w.add('variable', 'current_task', task_pointer, payload=[1])
    each = w.add('variable', 'per_cpu_task', task, payload=[0])
    w.add('section', '.data..percpu', 0x400, 1, payload=[each, 0, 0x400])
    w.function('twice', integer, [('p', task_pointer), ('n', integer)])
    w.function('twice', integer, [('p', skb_pointer), ('n', integer)])
    w.enum('another', 4, [('CLOSED', 7), ('FIN_WAIT', 2)])
    w.enum('same', 4, [('FIRST', 1), ('SECOND', 1)])
    # A float, 16 bytes in one, and what is not aligned are passed in ways of their own.
    packed = w.struct('packed', 5, [('a', u8, 0), ('b', integer, 8)])
    for name, strange in (('odd_float', w.add('float', 'double', 8)),
                          ('odd_wide', w.integer('__int128', 16, SIGNED)), ('odd_packed', packed)):
        w.function(name, integer, [('first', integer), ('number', strange), ('behind', integer)])
    w.struct('upid', 16, [('nr', integer, 0)])
    upid = w.next_id() - 1
    counters = w.pointer(w.add('type_tag', 'percpu', atomic))
    pid = w.struct('pid', 0x20, [('level', uint, 0), ('counters', counters, 64),
                                 ('numbers', w.array(upid, 1), 0x80)])
    w.function('free_pid', 0, [('pid', w.pointer(pid))])
    common = w.struct('sock_common', 0x18, [
        ('skc_daddr', be32, 0), ('skc_dport', be16, 0xc * 8), ('skc_num', short, 0xe * 8),
        ('skc_temper', temper, 0x10 * 8, 3)])
    sock = w.struct('sock', 0x20, [('__sk_common', common, 0)])
    w.function('tcp_close', 0, [('sk', w.pointer(sock))])
    w.function('udp_rcv', integer, [('skb', skb_pointer)])
    w.function('vfs_read', ulong, [('file', w.pointer(0)), ('buf', text), ('count', ulong)])
    w.add('typedef', 'u16', short)
    w.add('typedef', '__be64', ulong)
    w.function('by_array', integer, [('address', in6), ('p', task_pointer)])
    times = w.struct('vtime', 4, [('state', integer, 0)])
    w.struct('renamed', 8, [('__state', integer, 0), ('vtime', times, 32)])
    return w

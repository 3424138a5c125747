"""Types from BTF: files, well made and damaged, and the questions that are asked of them."""
import struct
import unittest

from tests.lib import btf, tool
from tests.lib.elf import IDENT, elf
from tests.lib.files import FileTest


def opened(writer, base=None):
    return tool.from_btf(writer.data(), 'FILE', base)


class Questions(unittest.TestCase):

    def setUp(self):
        self.types = tool.sample()

    def test_find(self):
        for kind, name, found in [('struct', 'task_struct', True), ('struct', 'task', False),
                                  ('struct', 'hidden', False), ('union', 'either', True),
                                  ('struct', 'either', False), ('enum', 'state', True),
                                  ('typedef', 'u8', True), ('int', '_Bool', True)]:
            self.assertEqual(self.types.find(kind, name) is not None, found, (kind, name))

    def test_members(self):
        for struct_name, name, bit_offset, bit_size in [
                ('task_struct', 'comm', 0x80, 0), ('task_struct', 'mode', 0x21, 3),
                ('task_struct', 'wide', 0x24, 12), ('mm_struct', 'mm_users', 128, 0),
                ('mm_struct', 'mm_count', 160, 0), ('iphdr', 'version', 4, 4)]:
            member = self.types.find('struct', struct_name).member(name)
            self.assertEqual((member.bit_offset, member.bit_size), (bit_offset, bit_size), name)
        self.assertIsNone(self.types.find('struct', 'task_struct').member('nothing'))

    def test_functions(self):
        [function] = self.types.functions('ip_rcv')
        self.assertEqual(function.prototype, 'int ip_rcv(struct sk_buff *, _Bool)')
        self.assertEqual([parameter.name for parameter in function.parameters], ['skb', 'flag'])
        self.assertEqual([parameter.place for parameter in function.parameters], [None, None])
        self.assertEqual(len(self.types.functions('twice')), 2)
        self.assertEqual(self.types.functions('task_struct'), [])

    def test_sizes(self):
        for name, size in [('comm', 16), ('grid', 24), ('pids', 72), ('usage', 4), ('tail', 0)]:
            self.assertEqual(self.types.find('struct', 'task_struct').member(name).type.size,
                             size, name)

    def test_declared(self):
        for name, text in [('dname', 'const unsigned char *'), ('argv', 'char **'),
                           ('grid', 'unsigned short[3][4]'), ('mm', 'struct mm_struct *'),
                           ('run', 'void (*)(void)'), ('usage', 'atomic_t'), ('tail',
                                                                              'unsigned int[]')]:
            self.assertEqual(self.types.find('struct', 'task_struct').member(name).type.words, text)

    def test_names(self):
        """Of a kind, in order, each once; what has none is not among them."""
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        for name in ('b', 'a', 'b', ''):
            writer.struct(name, 4, [('x', integer, 0)])
        writer.enum('e', 4, [('ONE', 1)])
        writer.add('enum64', 'wide', 8, 0)
        writer.struct('u', 4, [('x', integer, 0)], 'union')
        writer.add('typedef', 't', integer)
        writer.add('forward', 'f')
        writer.function('called', 0, [])
        types = opened(writer)
        for kind, names in (('struct', ['a', 'b']), ('enum', ['e', 'wide']), ('union', ['u']),
                            ('typedef', ['t']), ('function', ['called']), ('int', ['int'])):
            self.assertEqual(types.names(kind), names)

    def test_variables(self):
        self.assertEqual(self.types.variable('init_task'), 'struct task_struct')
        self.assertEqual(self.types.variable('current_task'), 'struct task_struct *')
        self.assertIsNone(self.types.variable('task_struct'))
        self.assertIsNone(self.types.variable('nothing'))

    def test_enums_that_have_a_value(self):
        self.assertEqual(self.types.values_with('SLEEPING'), [[('RUNNING', 0), ('SLEEPING', 1)]])
        self.assertEqual(self.types.values_with('CLOSED'), [
            [('CLOSED', 0), ('ESTABLISHED', 1)], [('CLOSED', 7), ('FIN_WAIT', 2)]])
        for name in ('task_struct', 'comm', 'nothing'):
            self.assertEqual(self.types.values_with(name), [])

    def test_many_names(self):
        """Of many names that are asked for, the later ones are looked up in another way."""
        names = self.types.names('struct') + self.types.names('typedef')
        self.assertGreater(len(names), 20)
        for round_number in range(2):
            for name in names + ['nothing']:
                kind = 'struct' if name in self.types.names('struct') else 'typedef'
                found = self.types.find(kind, name)
                fresh = tool.sample().find(kind, name)
                self.assertEqual((found and found.words, found and found.size),
                                 (fresh and fresh.words, fresh and fresh.size), name)
        self.assertEqual(len(self.types.functions('twice')), 2)


class Values(unittest.TestCase):
    """What the numbers of an enum can be."""

    def test_signs(self):
        self.assertEqual(tool.sample().find('enum', 'temper').values(), [('COLD', -1), ('WARM', 1)])
        writer = btf.Writer()
        writer.enum('flags', 4, [('TOP', 0x80000000), ('ALL', 0xffffffff)])
        found = opened(writer).find('enum', 'flags')
        self.assertEqual((found.values(), found.signed),
                         ([('TOP', 0x80000000), ('ALL', 0xffffffff)], False))

    def test_those_of_eight_bytes(self):
        writer = btf.Writer()
        low, high = writer.string('LOW'), writer.string('HIGH')
        writer.add('enum64', 'signed', 8, 2, 1, [low, -2, -1, high, 7777, 2])
        writer.add('enum64', 'unsigned', 8, 2, 0, [low, 0, 1, high, 0xffffffff, 0xffffffff])
        types = opened(writer)
        self.assertEqual(types.find('enum', 'signed').values(),
                         [('LOW', -2), ('HIGH', (2 << 32) + 7777)])
        self.assertEqual(types.find('enum', 'unsigned').values(),
                         [('LOW', 1 << 32), ('HIGH', (1 << 64) - 1)])
        self.assertEqual([found.size for found in (types.find('enum', 'signed'),
                                                   types.find('enum', 'unsigned'))], [8, 8])
        self.assertEqual(types.names('enum'), ['signed', 'unsigned'])
        self.assertEqual(len(types.values_with('HIGH')), 2)

    def test_those_that_were_cut(self):
        """Before enum64 (Linux 6.0) an enum of eight bytes had only the lower half of each."""
        for size, values in ((4, [('A', 1)]), (5, []), (8, []), (1, [('A', 1)])):
            writer = btf.Writer()
            writer.enum('e', size, [('A', 1)])
            self.assertEqual(opened(writer).find('enum', 'e').values(), values)


class Names(unittest.TestCase):
    """One name for things of different kinds, and names that end others."""

    def setUp(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        long_number = writer.integer('long int', 8, btf.SIGNED)
        writer.enum('kinds', 4, [('FIRST', 0), ('same', 3333)])
        writer.struct('outer', 16, [('same', integer, 32), ('other', long_number, 64)])
        writer.struct('same', 8, [('x', long_number, 0)])
        writer.add('typedef', 'same', integer)
        writer.struct('not_same', 4, [('y', integer, 0)])
        writer.function('same', long_number, [('same', integer)])
        writer.add('variable', 'same', long_number, payload=[1])
        writer.enum('more', 4, [('same', 9999)])
        writer.struct('another', 24, [('z', integer, 0)], 'union')
        writer.struct('same', 24, [('z', integer, 0)], 'union')
        self.types = opened(writer)

    def test_each_kind_is_found(self):
        self.assertEqual(self.types.find('struct', 'same').member('x').type.words, 'long')
        self.assertEqual(self.types.find('typedef', 'same').kind, 'int')
        self.assertEqual(self.types.find('union', 'same').size, 24)
        self.assertEqual(self.types.prototypes('same'), ['long same(int)'])
        self.assertEqual(self.types.variable('same'), 'long')
        self.assertEqual(self.types.find('struct', 'outer').member('same').bit_offset, 32)
        self.assertEqual(self.types.values_with('same'),
                         [[('FIRST', 0), ('same', 3333)], [('same', 9999)]])
        self.assertIsNone(self.types.find('enum', 'same'))

    def test_a_name_that_ends_another(self):
        self.assertEqual(self.types.find('struct', 'not_same').member('y').type.words, 'int')

    def test_several_of_one_name(self):
        """Of a word at a time the first is taken, which is told where it matters."""
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        first = writer.struct('s', 4, [('a', integer, 0)])
        writer.struct('s', 8, [('b', integer, 32)])
        pointer = writer.pointer(first)
        writer.function('f', 0, [('p', pointer)])
        types = opened(writer)
        self.assertEqual([found.size for found in types.every('struct', 's')], [4, 8])
        self.assertEqual(types.find('struct', 's').size, 4)


class Records(unittest.TestCase):

    def test_old_bitfields(self):
        """Before kind_flag, a bitfield was an int of its own that said which bits it has."""
        writer = btf.Writer()
        three = writer.integer('unsigned int', 4, bits=3)
        later = writer.integer('unsigned int', 4, bits=5, first=2)
        plain = writer.integer('unsigned int', 4)
        small = writer.integer('char', 1, btf.SIGNED)
        writer.struct('old', 16, [('a', plain, 0), ('b', three, 33), ('c', later, 36),
                                  ('d', small, 64), ('e', writer.pointer(0), 72)], kind_flag=0)
        self.assertEqual(opened(writer).find('struct', 'old').places(), [
            ('a', 0, 0), ('b', 33, 3), ('c', 38, 5), ('d', 64, 0), ('e', 72, 0)])

    def test_the_last_record(self):
        """Of an int, one word more than others have may be the last of the file."""
        for bits, expected in ((32, ('x', 8, 0)), (3, ('x', 8, 3))):
            writer = btf.Writer()
            writer.struct('s', 8, [('x', 2, 8)], kind_flag=0)
            writer.integer('unsigned int', 4, bits=bits)
            self.assertEqual(opened(writer).find('struct', 's').places(), [expected])
            self.assertFalse(opened(writer).find('int', 'unsigned int').signed)

    def test_every_kind_is_stepped_over(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        writer.add('enum64', 'wide', 8, 1, 0, [writer.string('ONE'), 1, 0])
        writer.add('variable', 'jiffies', integer, payload=[1])
        writer.add('section', '.data', 4, 1, 0, [3, 0, 4])
        double = writer.add('float', 'double', 8)
        writer.add('decl_tag', 'tag', 1, payload=[0])
        user = writer.add('type_tag', 'user', integer)
        restrict = writer.add('restrict', '', writer.pointer(user))
        volatile = writer.add('volatile', '', integer)
        union = writer.add('forward', 'later', kind_flag=1)
        declared = writer.add('forward', 'never')
        writer.struct('last', 40, [('x', integer, 0), ('d', double, 64), ('r', restrict, 128),
                                   ('v', volatile, 192), ('u', writer.pointer(union), 256),
                                   ('n', writer.pointer(declared), 320)])
        types = opened(writer)
        self.assertEqual(types.find('struct', 'last').size, 40)
        self.assertEqual(types.find('enum', 'wide').size, 8)
        members = dict((member.name, member.type) for member in types.find('struct',
                                                                           'last').members())
        self.assertEqual(
            [(members[name].words, members[name].kind, members[name].size) for name in 'xdrvun'],
            [('int', 'int', 4), ('double', 'float', 8), ('int *', 'pointer', 8),
             ('volatile int', 'int', 4), ('union later *', 'pointer', 8),
             ('struct never *', 'pointer', 8)])
        self.assertEqual(members['n'].target.members(), [])

    def test_parameters_that_are_restrict(self):
        """As strlcpy's: for a trace, restrict changes nothing."""
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        held = writer.struct('held', 8, [('x', integer, 32)])
        restrict = writer.add('restrict', '', writer.pointer(writer.add('const', '', held)))
        writer.function('f', integer, [('p', restrict), ('n', integer)])
        types = opened(writer)
        self.assertEqual(types.prototypes('f'), ['int f(const struct held *, int)'])
        self.assertEqual(tool.compiled('p f a=S%0->x n=S$n', types).words,
                         ['a=+0x4(%di):s32', 'n=%si:s32'])

    def test_module_stands_on_its_kernel(self):
        base = btf.sample()
        held = base.struct('held', 8, [('x', base.integer('char', 1, btf.SIGNED), 0x28)])
        writer = btf.Writer(base)
        kernel = opened(base)
        own = writer.struct('mine', 8, [('held', writer.pointer(held), 0)])
        writer.function('module_function', 0, [('m', writer.pointer(own))])
        old = writer.struct('old', 4, [('first', 1, 0)], kind_flag=0)
        writer.enum('own', 4, [('OWN', 4)])
        writer.add('variable', 'own_variable', writer.pointer(old), payload=[1])
        types = opened(writer, kernel)
        self.assertEqual(types.prototypes('module_function'),
                         ['void module_function(struct mine *)'])
        found = types.find('struct', 'mine').member('held').type.target
        self.assertEqual((found.words, found.member('x').bit_offset), ('struct held', 0x28))
        self.assertEqual(found.member('x').type.words, 'char')
        self.assertEqual(len(types.functions('ip_rcv')), 1)
        self.assertEqual(types.prototypes('ip_rcv'), kernel.prototypes('ip_rcv'))
        self.assertEqual(types.find('enum', 'state').values(), [('RUNNING', 0), ('SLEEPING', 1)])
        self.assertEqual(types.values_with('OWN'), [[('OWN', 4)]])
        self.assertEqual(types.values_with('CLOSED'), kernel.values_with('CLOSED'))
        self.assertEqual(types.variable('init_task'), 'struct task_struct')
        self.assertEqual(types.variable('own_variable'), 'struct old *')
        self.assertIsNone(types.variable('nothing'))
        self.assertEqual(types.find('struct', 'old').places(), [('first', 0, 0)])
        self.assertIsNone(types.find('struct', 'nothing'))
        self.assertEqual(types.values_with('nothing'), [])

    def test_the_first_string_of_a_module(self):
        """A kernel's strings begin with an empty one, a module's with its first name."""
        writer = btf.Writer(btf.sample())
        writer.struct('first_of_all', 8, [('x', 1, 0)])
        kernel = tool.sample()
        self.assertEqual(opened(writer, kernel).find('struct', 'first_of_all').size, 8)
        # A name of the kernel's own that the module has again, of another size.
        writer = btf.Writer(btf.sample())
        writer.struct('sk_buff', 8, [('x', 1, 0)])
        self.assertEqual(opened(writer, kernel).find('struct', 'sk_buff').size, 8)
        self.assertEqual(kernel.find('struct', 'sk_buff').size, 0x100)

    def test_many_records(self):
        """An id is counted from the start of a block of words."""
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        structs = [writer.struct('s%d' % number, number, [('x', integer, 0)] * (number % 7),
                                 kind_flag=0) for number in range(1, 400)]
        writer.function('last', 0, [('p', writer.pointer(structs[-1])),
                                    ('q', writer.pointer(structs[198]))])
        for few in (True, False):
            types = opened(writer)
            if not few:
                types.names('struct')
            for number in (1, 2, 70, 128, 250, 398, 399):
                self.assertEqual(types.find('struct', 's%d' % number).size, number)
            self.assertEqual(types.prototypes('last'), ['void last(struct s399 *, struct s199 *)'])


class Marks(unittest.TestCase):
    """Where records begin: found by leaps, checked, else by a walk."""

    def both(self, writer):
        return tool.btf_scans(writer.data())

    def test_the_same(self):
        quick, walked = self.both(btf.sample())
        self.assertEqual(quick, walked)
        self.assertEqual(quick.count(b'\1'), btf.sample().next_id() - 1)

    def test_numbers_that_are_not_small_are_walked_over(self):
        for unusual in [
                lambda w: w.struct('s', 1 << 24, [('x', 1, 0)], kind_flag=0),
                lambda w: w.struct('s', 1 << 22, [('x', 1, 0), ('y', 1, 1 << 24)], kind_flag=0),
                lambda w: w.struct('s', 1 << 22, [('x', 1, 1 << 24)], kind_flag=0),
                lambda w: w.struct('s', 1 << 22, [('x', 1, 32 << 24)], kind_flag=0),
                lambda w: w.array(1, 1 << 24), lambda w: w.array(1, 2 << 24),
                lambda w: w.array(1, 32 << 24), lambda w: w.add('float', 'f', 1 << 24)]:
            for last in (False, True):
                writer = btf.Writer()
                writer.integer('int', 4)
                unusual(writer)
                if not last:
                    writer.pointer(2)
                quick, walked = self.both(writer)
                self.assertIsNone(quick)
                self.assertEqual(walked.count(b'\1'), 2 if last else 3)

    def test_an_array_of_any_length(self):
        """Whatever kind its length looks like, alone and between others."""
        for length in (1, 1 << 21, 1 << 24, 2 << 24, 4 << 24, 6 << 24, 13 << 24, 31 << 24):
            writer = btf.Writer()
            integer = writer.integer('int', 4, btf.SIGNED)
            array = writer.array(integer, length)
            zebra = writer.struct('zebra', 8, [('a', writer.pointer(array), 0)])
            writer.add('typedef', 'striped', zebra)
            types = opened(writer)
            self.assertEqual(types.find('typedef', 'striped').size, 8)
            held = types.find('struct', 'zebra').member('a').type.target
            self.assertEqual((held.length, held.words, held.size),
                             (length, 'int[%d]' % length, 4 * length))

    def test_structs_whose_offsets_are_not_small(self):
        """However they are ordered, and whatever kinds their top bytes look like."""
        for offsets in ((0, 0x2000000, 0x6000008), (0, 0x12000000, 0x14000000), (0x2000000, 0)):
            writer = btf.Writer()
            char = writer.integer('char', 1)
            writer.struct('big', 1 << 23, [('m%d' % place, char, offset) for place, offset in
                                           enumerate(offsets)], kind_flag=0)
            for _ in range(3):
                writer.pointer(char)
            writer.add('typedef', 'zebra', char)
            writer.add('typedef', 'last', writer.next_id() - 1)
            quick, walked = self.both(writer)
            self.assertIsNone(quick)
            types = opened(writer)
            self.assertEqual(types.find('typedef', 'zebra').words, 'zebra')
            self.assertEqual(types.find('typedef', 'last').name, 'char')
            self.assertEqual([member.bit_offset for member in types.find('struct',
                                                                         'big').members()],
                             list(offsets))

    def test_a_union_of_two_megabytes(self):
        for kind in ('struct', 'union'):
            for size, leaps in (((1 << 21) - 1, True), (1 << 21, False), (1 << 22, False)):
                writer = btf.Writer()
                char = writer.integer('char', 1)
                writer.struct('big', size, [('m', char, 0)], kind, kind_flag=0)
                writer.pointer(char)
                quick, walked = self.both(writer)
                self.assertEqual(quick, walked if leaps else None)

    def test_what_any_word_may_hold(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        writer.enum('e', 4, [('A', -1), ('B', 0x02000000), ('C', 0x0a000000)], signed=1)
        writer.add('enum64', 'wide', 8, 2, 0, [writer.string('ONE'), 0x04000000, 0xffffffff,
                                               writer.string('TWO'), 0, 0x05000000])
        writer.add('decl_tag', 'tag', 1, payload=[0xffffffff])
        writer.add('section', '.data', 4, 1, 0, [3, 0x07000000, 0x08000000])
        writer.struct('bits', 4, [('a', integer, 0, 3), ('b', integer, 3, 8)])
        writer.add('forward', 'u', kind_flag=1)
        writer.pointer(1)
        quick, walked = self.both(writer)
        self.assertEqual(quick, walked)
        self.assertEqual(quick.count(b'\1'), 8)


class Damage(unittest.TestCase):

    def refused(self, data, message):
        with self.assertRaises(tool.SourceError) as caught:
            tool.from_btf(data, 'FILE')
        self.assertIn(message, str(caught.exception))
        self.assertIn('FILE', str(caught.exception))

    def damaged(self, question, *arguments):
        with self.assertRaises(tool.SourceError) as caught:
            question(*arguments)
        self.assertIn('damaged', str(caught.exception))
        return str(caught.exception)

    def test_header(self):
        good = btf.sample().data()
        self.refused(b'', 'neither BTF nor an ELF file')
        self.refused(b'hello, world, this is a text', 'neither BTF nor an ELF file')
        self.refused(b'\xeb\x9f' + good[2:], 'big-endian')
        self.refused(good[:2] + b'\x02' + good[3:], 'version 2')
        self.refused(good[:20], 'neither BTF')
        self.refused(good[:23], 'neither BTF')
        self.refused(good[:24], 'cut short')
        self.refused(good[:-1], 'cut short')
        self.refused(good[:100], 'cut short')
        self.refused(good[:-1] + b'x', 'strings are not closed')

    def test_sections(self):
        """Where the header says that they are, and whole words of types."""
        integer = struct.pack('<4I', 1, 1 << 24, 4, 32)
        strings = b'\0int\0'

        def file(*numbers):
            return struct.pack('<HBBIIIII', 0xeb9f, 1, 0, *numbers)
        moved = file(28, 8, 16, 0, 5) + b'PAD.' + strings + b'...' + integer
        self.assertEqual(tool.from_btf(moved).find('int', 'int').size, 4)
        self.refused(file(24, 0, 15, 16, 5) + integer + strings, 'cut short')
        self.refused(file(24, 0, 16, 17, 4) + integer + strings, 'strings are not closed')
        self.refused(file(24, 0, 16, 16, 0) + integer + strings, 'strings are not closed')
        empty = file(24, 0, 0, 0, 1) + b'\0'
        self.assertEqual(tool.from_btf(empty).names('int'), [])

    def test_unknown_kind(self):
        for kind in (20, 31):
            for following in (False, True):
                writer = btf.Writer()
                writer.add(kind, 'new')
                if following:
                    writer.integer('int', 4)
                self.refused(writer.data(), 'no known kind')

    def test_a_type_runs_over(self):
        for following in (False, True):
            writer = btf.Writer()
            writer.add('struct', 'huge', 8, 60000)
            if following:
                writer.integer('int', 4)
            with self.assertRaises(tool.SourceError) as caught:
                opened(writer).find('struct', 'huge')
            self.assertIn('cut short' if following else 'longer or shorter than it says',
                          str(caught.exception))

    def test_a_type_that_wraps_itself(self):
        writer = btf.Writer()
        writer.add('typedef', 'loop', 1)
        found = opened(writer).find('typedef', 'loop')
        self.damaged(lambda: found.kind)
        self.damaged(lambda: found.size)
        self.assertEqual(found.words, 'loop')

    def test_pointers_that_never_end(self):
        writer = btf.Writer()
        writer.pointer(1)
        writer.function('f', 0, [('p', 1)])
        self.assertEqual(opened(writer).prototypes('f'), ['void f(...)'])

    def test_wrappers_in_a_row(self):
        """There may be 63 of them, of the 64 that are taken off."""
        for wrappers, fine in ((63, True), (64, False)):
            writer = btf.Writer()
            last = writer.integer('int', 4)
            for number in range(wrappers):
                last = writer.add('typedef', 't%d' % number, last)
            found = opened(writer).find('typedef', 't%d' % (wrappers - 1))
            if fine:
                self.assertEqual(found.name, 'int')
            else:
                self.damaged(lambda: found.name)

    def test_structs_that_hold_themselves_or_each_other(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        inner = writer.struct('', 8, [('', writer.next_id(), 0), ('x', integer, 32)])
        writer.struct('outer', 8, [('', inner, 0)])
        types = opened(writer)
        self.assertIsNone(types.find('struct', 'outer').member('y'))
        self.damaged(types.information, 'outer')
        for _ in range(50):     # 2 ** 50 ways to the innermost
            inner = writer.struct('', 8, [('', inner, 0), ('', inner, 0)])
        writer.struct('outermost', 8, [('', inner, 0)])
        types = opened(writer)
        self.assertEqual(types.find('struct', 'outermost').member('x').bit_offset, 32)
        self.assertIsNone(types.find('struct', 'outermost').member('y'))
        self.damaged(types.information, 'outermost')

    def test_structs_without_a_name_in_one(self):
        for count, fine in ((1000, True), (1001, False)):
            writer = btf.Writer()
            integer = writer.integer('int', 4)
            inner = [writer.struct('', 4, [('m%d' % number, integer, 0)])
                     for number in range(count)]
            writer.struct('outer', 4 * count, [('', ref, 32 * place) for place, ref
                                               in enumerate(inner)], kind_flag=0)
            found = opened(writer).find('struct', 'outer')
            if fine:
                self.assertEqual(found.member('m999').bit_offset, 32 * 999)
            else:
                self.damaged(found.member, 'm1000x')

    def test_functions_without_a_prototype(self):
        for target in (0, 1, 99):
            writer = btf.Writer()
            writer.integer('int', 4)
            writer.add('symbol', 'f', target)
            self.assertRaises(tool.SourceError, opened(writer).functions, 'f')

    def test_a_name_that_many_functions_have(self):
        writer = btf.Writer()
        first = writer.function('f', 0, [])
        writer.records += [writer.records[first - 1]] * 2000
        self.assertEqual(len(opened(writer).functions('f')), 1)
        writer = btf.Writer()
        for number in range(64):
            writer.function('f', 0, [])
        self.assertEqual(len(opened(writer).functions('f')), 64)
        writer.function('f', 0, [])
        self.assertIn("65 functions are called 'f'", self.damaged(opened(writer).functions, 'f'))

    def test_an_array_that_holds_itself(self):
        writer = btf.Writer()
        writer.array(1, 2)
        writer.struct('s', 8, [('a', 1, 0)])
        self.damaged(lambda: opened(writer).find('struct', 's').member('a').type.size)

    def test_dimensions_in_a_row(self):
        for count, fine in ((63, True), (64, False)):
            writer = btf.Writer()
            last = writer.integer('int', 4)
            for _ in range(count):
                last = writer.array(last, 1)
            writer.struct('s', 4, [('a', last, 0)])
            member = opened(writer).find('struct', 's').member('a')
            if fine:
                self.assertEqual(member.type.size, 4)
            else:
                self.damaged(lambda: member.type.size)

    def test_names_and_ids_out_of_range(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        writer.struct('s', 8, [('x', 99, 0), ('y', writer.next_id() + 1, 0),
                               ('z', integer, 0)])
        members = opened(writer).find('struct', 's').members()
        for member in members[:2]:
            self.assertIn('there is no type', self.damaged(lambda: member.type.kind))
        self.assertEqual(members[2].type.kind, 'int')
        for offset in (0x7fffffff, len(writer.strings)):
            data = bytearray(writer.data())
            struct.pack_into('<I', data, 24 + 16 + 12, offset)      # the first member's name
            found = tool.from_btf(bytes(data)).find('struct', 's')
            self.assertIn('a name lies outside', self.damaged(found.members))

    def test_long_names(self):
        for length, fine in ((4095, True), (4096, False)):
            writer = btf.Writer()
            integer = writer.integer('int', 4)
            writer.struct('s', 4, [('x' * length, integer, 0)])
            found = opened(writer).find('struct', 's')
            if fine:
                self.assertEqual(found.members()[0].name, 'x' * length)
            else:
                self.assertIn('has no end', self.damaged(found.members))

    def test_members_of_what_has_none(self):
        """A file in which a nameless member is a number."""
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        writer.struct('s', 8, [('', integer, 0), ('x', integer, 32)])
        self.assertEqual(opened(writer).find('struct', 's').places(), [('x', 32, 0)])


class Files(FileTest):
    """BTF as it lies in files."""

    TRACE = 'p wake_up_new_task a=%0->comm'

    def test_raw(self):
        data = btf.sample().data()
        path = self.write('raw', data)
        self.assertEqual(tool.btf_section(path), data)
        self.assertEqual(self.words(path, self.TRACE), 'a=+0x10(%di):string')
        self.assertEqual(self.noted, 'surftrace: types from %s (BTF), registers of x86_64\n' % path)

    def test_elf(self):
        data = btf.sample().data()
        path = self.write('vmlinux', elf([(b'.text', b'code'), (b'.BTF', data), (b'.bss', b'')]))
        self.assertEqual(tool.btf_section(path), data)
        self.assertEqual(self.words(path, self.TRACE), 'a=+0x10(%di):string')

    def test_elf_without_btf(self):
        path = self.write('vmlinux', elf([(b'.text', b'code')]))
        self.assertIsNone(tool.btf_section(path))
        self.refused('no section .BTF; -m gdb reads its debug info', '-S', '-m', 'btf', '-v', path,
                     self.TRACE)

    def test_elf_of_another_kind(self):
        path = self.write('vmlinux', elf([], IDENT[:4] + b'\1' + IDENT[5:]))
        self.refused('a 32-bit ELF file; only 64-bit ones are known', '-S', '-v', path, self.TRACE)

    def test_big_endian(self):
        data = btf.sample().data()
        path = self.write('raw', b'\xeb\x9f' + data[2:])
        self.refused('big-endian BTF; only little-endian machines are known', '-S', '-v', path,
                     self.TRACE)

    def test_no_file(self):
        for path, message in (('/nonexistent/vmlinux', 'no such file or directory'),
                              ('/dev/null', 'not a file that types can be read from'),
                              (self.directory, 'not a file that types can be read from')):
            self.assertIn('%s: %s' % (path, message),
                          self.refused(message, '-S', '-v', path, self.TRACE))

    def test_variables(self):
        """That each CPU has its own of one, BTF tells by its section."""
        path = self.write('raw', btf.sample().data())
        self.assertEqual(self.words(path, 'p f a=@init_task.comm b=@current_task->comm'),
                         'a=@init_task+0x10:string b=+0x10(@current_task):string')
        self.refused('CPU', '-S', '-v', path, 'p f a=@per_cpu_task.comm', status=2)

    def test_opened_only_when_asked(self):
        path = self.write('raw', b'this is a text')
        self.assertEqual(self.words(path, 'p f a=%di:u32'), 'a=%di:u32')
        self.assertEqual(self.noted, '')
        self.refused('neither BTF nor an ELF file', '-S', '-v', path, self.TRACE)


if __name__ == '__main__':
    unittest.main()

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
        """Where an enum says that it has one, or is of eight bytes, those that do not have none."""
        self.assertEqual(tool.sample().find('enum', 'temper').values(), [('COLD', -1), ('WARM', 1)])
        for kind, size, signed in (('enum', 4, 1), ('enum64', 8, 0), ('enum64', 8, 1)):
            for first in (False, True):
                writer = btf.Writer()
                if first:
                    writer.add(kind, 'newer', size, 0, signed)
                writer.enum('flags', 4, [('TOP', 0x80000000), ('ALL', 0xffffffff)])
                if not first:
                    writer.add(kind, 'newer', size, 0, signed)
                found = opened(writer).find('enum', 'flags')
                self.assertEqual((found.values(), found.signed),
                                 ([('TOP', 0x80000000), ('ALL', 0xffffffff)], False))

    def test_signs_that_are_not_told(self):
        """Before Linux 6.0, BTF did not tell, and its values are __s32 (linux/btf.h)."""
        writer = btf.Writer()
        writer.enum('state', 4, [('DEAD', -4), ('EXIT', -3), ('OFF', 0), ('ON', 1)])
        writer.enum('plain', 4, [('A', 0), ('B', 0x7fffffff)])
        integer = writer.integer('int', 4, btf.SIGNED)
        writer.struct('s', 8, [('st', 1, 0), ('pl', 2, 32), ('n', integer, 0)])
        types = opened(writer)
        for name, values, signed in (
                ('state', [('DEAD', -4), ('EXIT', -3), ('OFF', 0), ('ON', 1)], True),
                ('plain', [('A', 0), ('B', 0x7fffffff)], False)):
            found = types.find('enum', name)
            self.assertEqual((found.values(), found.signed), (values, signed))
        base = 'p f st=!(struct s *)%di->st:s32'
        for written, expected in (('st==DEAD', 'st==-4'), ('st<0', 'st<0'), ('st<=EXIT', 'st<=-3')):
            self.assertEqual(tool.compiled('%s f:%s' % (base, written), types).filter, expected)

    def test_signs_of_a_module(self):
        """What its kernel's BTF tells of signs holds for its own."""
        base, signed = btf.Writer(), btf.Writer()
        base.enum('old', 4, [('A', -1)])
        signed.enum('new', 4, [('A', -1)], signed=1)
        for kernel, expected in ((base, -1), (signed, 0xffffffff)):
            writer = btf.Writer(kernel)
            writer.enum('own', 4, [('B', 0xffffffff)])
            self.assertEqual(opened(writer, opened(kernel)).find('enum', 'own').values(),
                             [('B', expected)])

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
        writer = btf.Writer()
        writer.enum('e', 8, [('A', 0x80000000)])
        self.assertFalse(opened(writer).find('enum', 'e').signed)


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

    def test_bitfields(self):
        """Where its kind_flag is set, a struct has the width of a member above its offset."""
        writer = btf.Writer()
        integer = writer.integer('unsigned int', 4)
        writer.struct('bits', 8, [('a', integer, 33, 3), ('b', integer, 36, 28), ('c', integer, 0)])
        writer.struct('far', 1 << 20, [('a', integer, 0x20021, 3)])
        writer.struct('plain', 1 << 22, [('a', integer, 0x1000020)], kind_flag=0)
        types = opened(writer)
        self.assertEqual(types.find('struct', 'bits').places(),
                         [('a', 33, 3), ('b', 36, 28), ('c', 0, 0)])
        self.assertEqual(types.find('struct', 'far').places(), [('a', 0x20021, 3)])
        self.assertEqual(types.find('struct', 'plain').places(), [('a', 0x1000020, 0)])

    def test_the_last_record(self):
        """Of an int, one word more than others have may be the last of the file."""
        writer = btf.Writer()
        writer.struct('s', 8, [('x', 2, 8)], kind_flag=0)
        writer.integer('unsigned int', 4)
        self.assertEqual(opened(writer).find('struct', 's').places(), [('x', 8, 0)])
        self.assertFalse(opened(writer).find('int', 'unsigned int').signed)

    def test_defined_elsewhere(self):
        """What one file declares, another may define: the definition of that name is meant."""
        for kind, other, flag in (('struct', 'union', 0), ('union', 'struct', 1)):
            for first in (False, True):
                writer = btf.Writer()
                integer = writer.integer('int', 4, btf.SIGNED)

                def define():
                    writer.struct('held', 24, [('y', integer, 96)], other)
                    writer.struct('held', 16, [('x', integer, 64)], kind)
                if first:
                    define()
                declared = writer.add('forward', 'held', kind_flag=flag)
                writer.function('f', 0, [('p', writer.pointer(declared))])
                if not first:
                    define()
                types = opened(writer)
                held = types.functions('f')[0].parameters[0].type.target
                self.assertEqual((held.words, held.size, held.places()),
                                 (kind + ' held', 16, [('x', 64, 0)]))
                self.assertEqual(tool.compiled('p f a=%0->x', types).words, ['a=+0x8(%di):x32'])

    def test_functions_that_the_compiler_changed(self):
        """Newer pahole writes them with the prototype of the original, which may be another."""
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        for name in ('f', 'f.constprop.0', 'f.constprop.0.isra.0', 'g.isra.0'):
            writer.function(name, integer, [('p', writer.pointer(integer))])
        for listed in (False, True):
            types = opened(writer)
            if listed:
                types.names('function')
            self.assertEqual(types.prototypes('f'), ['int f(int *)'])
            for name in ('f.constprop.0', 'f.constprop.0.isra.0'):
                self.assertEqual(types.prototypes(name), ['int f(...)'])
            self.assertEqual(types.functions('g.isra.0'), [])
        with self.assertRaises(tool.Error) as caught:
            tool.compiled('p f.constprop.0 a=%0->x', types)
        self.assertIn('f.constprop.0', str(caught.exception))

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

    def test_variables_of_each_cpu(self):
        """A module's BTF tells of its own and, by its kernel's, of the kernel's."""
        writer = btf.Writer(btf.sample())
        holder = writer.struct('holder', 8, [('x', 1, 0)])
        own = writer.add('variable', 'own_of_each', holder, payload=[0])
        writer.add('variable', 'own_of_all', holder, payload=[0])
        writer.add('section', '.data..percpu', 8, 1, payload=[own, 0, 8])
        types = opened(writer, tool.sample())
        for name in ('own_of_each', 'per_cpu_task'):
            with self.assertRaises(tool.Mistake) as caught:
                tool.compiled('p f a=@' + name + '.x', types)
            self.assertIn('CPU', str(caught.exception))
        self.assertEqual(tool.compiled('p f a=@own_of_all.x', types).words, ['a=@own_of_all:x8'])

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
    """Where records begin: the tool leaps over most; a walk from one to the next tells."""

    def check(self, writer):
        """Check that each id is what it is by a walk; return the types."""
        data = writer.data()
        types, records = tool.from_btf(data), btf.walked(data)
        self.assertEqual(len(records), writer.next_id() - 1)
        found = list(types.ids())
        self.assertEqual([name for _, name in found], [record.name for record in records])
        for (kind, name), record in zip(found, records):
            self.assertIn(kind, ('struct', 'union') if record.kind == 'forward' else
                          (record.kind,), name)
        return types

    def test_the_same(self):
        self.check(btf.sample())

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
                self.check(writer)

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
        """In C's order, whatever kinds their top bytes look like; up to 12 MB."""
        for offsets in ((0, 0x2000000, 0x5fffff8), (0, 0x1000000, 0x3000000), (0, 0x1000000),
                        (0, 0x2000000), (0x1000000, 0x2000000, 0x3000000, 0x4000000)):
            writer = btf.Writer()
            char = writer.integer('char', 1)
            writer.struct('big', 1 << 23, [('m%d' % place, char, offset) for place, offset in
                                           enumerate(offsets)], kind_flag=0)
            for _ in range(3):
                writer.pointer(char)
            writer.add('typedef', 'zebra', char)
            writer.add('typedef', 'last', writer.next_id() - 1)
            types = self.check(writer)
            self.assertEqual(types.find('typedef', 'zebra').words, 'zebra')
            self.assertEqual(types.find('typedef', 'last').name, 'char')
            self.assertEqual([member.bit_offset for member in types.find('struct',
                                                                         'big').members()],
                             list(offsets))

    def test_a_union_of_two_megabytes(self):
        for kind in ('struct', 'union'):
            for size in ((1 << 21) - 1, 1 << 21, 1 << 22):
                writer = btf.Writer()
                char = writer.integer('char', 1)
                writer.struct('big', size, [('m', char, 0)], kind, kind_flag=0)
                writer.pointer(char)
                self.check(writer)

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
        self.check(writer)


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
        for data in (b'', b'hello, world, this is a text', b'\xeb\x9f' + good[2:],
                     good[:2] + b'\x02' + good[3:], good[:23]):
            self.refused(data, 'neither BTF (version 1, little-endian) nor an ELF file')
        for size in (24, 100, len(good) - 1):
            self.refused(good[:size], 'cut short')
        self.refused(good[:-1] + b'x', 'cut short')

    def test_sections(self):
        """Where the header says that they are, and whole words of types."""
        integer = struct.pack('<4I', 1, 1 << 24, 4, 32)
        strings = b'\0int\0'

        def file(*numbers):
            return struct.pack('<HBBIIIII', 0xeb9f, 1, 0, *numbers)
        moved = file(28, 8, 16, 0, 5) + b'PAD.' + strings + b'...' + integer
        self.assertEqual(tool.from_btf(moved).find('int', 'int').size, 4)
        self.refused(file(24, 0, 15, 16, 5) + integer + strings, 'cut short')
        self.refused(file(24, 0, 14, 16, 5) + integer + strings, 'cut short')
        self.refused(file(24, 0, 16, 16, 4) + integer + strings, 'cut short')
        self.refused(file(24, 0, 16, 16, 0) + integer + strings, 'cut short')
        empty = file(24, 0, 0, 0, 1) + b'\0'
        self.assertEqual(tool.from_btf(empty).names('int'), [])

    def test_unknown_kind(self):
        for kind in (20, 31):
            for following in (False, True):
                writer = btf.Writer()
                writer.add(kind, 'new')
                if following:
                    writer.integer('int', 4)
                self.refused(writer.data(), 'damaged')

    def test_a_type_runs_over(self):
        for following in (False, True):
            writer = btf.Writer()
            writer.add('struct', 'huge', 8, 60000)
            if following:
                writer.integer('int', 4)
            with self.assertRaises(tool.SourceError) as caught:
                opened(writer).find('struct', 'huge')
            self.assertIn('cut short', str(caught.exception))

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
        self.damaged(opened(writer).prototypes, 'f')

    def test_wrappers_that_never_end(self):
        writer = btf.Writer()
        writer.add('typedef', 't', 1)
        self.damaged(lambda: opened(writer).find('typedef', 't').name)

    def test_structs_that_hold_themselves_or_each_other(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        inner = writer.struct('', 8, [('', writer.next_id(), 0), ('x', integer, 32)])
        writer.struct('outer', 8, [('', inner, 0)])
        types = opened(writer)
        self.damaged(types.find('struct', 'outer').member, 'y')
        self.damaged(types.information, 'outer')

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
        for number in range(65):
            writer.function('f', 0, [])
        self.assertEqual(len(opened(writer).functions('f')), 65)

    def test_an_array_that_holds_itself(self):
        writer = btf.Writer()
        writer.array(1, 2)
        writer.struct('s', 8, [('a', 1, 0)])
        self.damaged(lambda: opened(writer).find('struct', 's').member('a').type.size)

    def test_dimensions_in_a_row(self):
        """Real ones have four of them; of a thousand and more it is said that they are damaged."""
        for count, fine in ((64, True), (5000, False)):
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
        self.damaged(opened(writer).find('struct', 's').members)
        for offset in (0x7fffffff, len(writer.strings)):
            data = bytearray(writer.data())
            struct.pack_into('<I', data, 24 + 16 + 12, offset)      # the first member's name
            found = tool.from_btf(bytes(data)).find('struct', 's')
            self.damaged(found.member, 'x')

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
        self.refused("it has no kernel's BTF; -m dwarf reads its debug info", '-S', '-m', 'btf',
                     '-v', path, self.TRACE)

    def test_elf_of_another_kind(self):
        path = self.write('vmlinux', elf([], IDENT[:4] + b'\1' + IDENT[5:]))
        self.refused('neither BTF nor a 64-bit', '-S', '-v',
                     path, self.TRACE)

    def test_big_endian(self):
        data = btf.sample().data()
        path = self.write('raw', b'\xeb\x9f' + data[2:])
        self.refused('neither BTF nor a 64-bit', '-S', '-v', path,
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
        """Types are; of an ELF file the names of its functions are read at once."""
        path = self.write('raw', b'\x9f\xeb\2'.ljust(24, b'.'))
        self.assertEqual(self.words(path, 'p f a=%di:u32'), 'a=%di:u32')
        self.assertEqual(self.noted, '')
        self.refused('neither BTF (version 1, little-endian) nor an ELF file', '-S', '-v', path,
                     self.TRACE)
        path = self.write('text', b'this is a text')
        for trace in ('p f a=%di:u32', self.TRACE):
            self.refused('%s: neither BTF nor a 64-bit' % path, '-S', '-v', path, trace)

    def test_too_large(self):
        """A kernel's has up to 32 MB; of more than 64 MB nothing is read."""
        data = btf.sample().data()
        for megabytes, fine in ((63, True), (65, False)):
            path = self.write('raw', data)
            with open(path, 'r+b') as stream:
                stream.truncate(megabytes << 20)
            if fine:
                self.assertEqual(self.words(path, self.TRACE), 'a=+0x10(%di):string')
            else:
                self.refused("%s: too large for a kernel's BTF" % path, '-S', '-v', path,
                             self.TRACE)

    def test_a_vmlinux_that_is_compressed(self):
        """gzip, and a vmlinuz of x86."""
        for head in (b'\x1f\x8b\x08', b'MZ'.ljust(514, b'\0') + b'HdrS'):
            path = self.write('vmlinuz', head.ljust(2000, b'\0'))
            for mode in ('auto', 'btf', 'dwarf'):
                self.refused("%s: neither BTF nor a 64-bit little-endian ELF file; the kernel's "
                             'scripts/extract-vmlinux unpacks a compressed one' % path,
                             '-S', '-m', mode, '-v', path, self.TRACE)


if __name__ == '__main__':
    unittest.main()

"""Types: BTF files, well made and damaged, and the questions that are asked of them."""
import os
import struct
import tempfile
import unittest

import btf
import surftrace


def opened(writer, base=None):
    return surftrace.Btf(writer.data(), 'sample', base)


def sources(**words):
    """Return the Types of a person's words: mode, vmlinux, database ..."""
    choice = dict(mode='auto', architecture=os.uname()[4], release='1.2.3', here=False,
                  vmlinux=None, gdb=None, database=None, server=None)
    choice.update(words)
    return surftrace.Types(surftrace.Choice(**choice), surftrace.Console(os.open(
        os.devnull, os.O_WRONLY)))


def elf(sections, ident=b'\x7fELF\x02\x01\x01' + b'\0' * 9, machine=62):
    """Return an ELF file with these (name, data) sections behind its header."""
    names = b'\0' + b'\0'.join(name for name, _ in sections) + b'\0.shstrtab\0'
    body, table, at = b'', struct.pack('<IIQQQQIIQQ', *[0] * 10), 64
    for name, data in list(sections) + [(b'.shstrtab', names)]:
        table += struct.pack('<IIQQQQIIQQ', names.index(b'\0' + name + b'\0') + 1, 1, 0, 0,
                             at + len(body), len(data), 0, 0, 1, 0)
        body += data
    header = ident + struct.pack('<HHIQQQIHHHHHH', 2, machine, 1, 0, 0, at + len(body), 0, 64, 0, 0,
                                 64, len(sections) + 2, len(sections) + 1)
    return header + body + table


class Questions(unittest.TestCase):

    def setUp(self):
        self.types = opened(btf.sample())

    def member(self, struct_name, name):
        return surftrace.find_member(self.types, self.types.find('struct', struct_name), name)

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
                ('iphdr', 'version', 4, 4)]:
            member = self.member(struct_name, name)
            self.assertEqual((member.bit_offset, member.bit_size), (bit_offset, bit_size), name)
        self.assertIsNone(self.member('task_struct', 'nothing'))

    def test_functions(self):
        [function] = self.types.functions('ip_rcv')
        self.assertEqual(surftrace.prototype(self.types, function),
                         'int ip_rcv(struct sk_buff *, _Bool)')
        self.assertEqual([parameter.name for parameter in function.parameters], ['skb', 'flag'])
        self.assertEqual(len(self.types.functions('twice')), 2)
        self.assertEqual(self.types.functions('task_struct'), [])

    def test_sizes(self):
        for name, size in [('comm', 16), ('grid', 24), ('pids', 72), ('usage', 4), ('tail', 0)]:
            self.assertEqual(surftrace.size_of(
                self.types, self.member('task_struct', name).type), size, name)

    def test_declared(self):
        for name, text in [('dname', 'const unsigned char *'), ('argv', 'char **'),
                           ('grid', 'unsigned short[3][4]'), ('mm', 'struct mm_struct *'),
                           ('run', 'void (*)(void)'), ('usage', 'atomic_t')]:
            self.assertEqual(surftrace.declared(
                self.types, self.member('task_struct', name).type), text)

    def test_c_types(self):
        for text, kind, size in [
                ('struct task_struct', 'struct', 0x400), ('struct task_struct *', 'pointer', 8),
                ('struct sk_buff**', 'pointer', 8), ('unsigned long', 'int', 8),
                ('long unsigned int', 'int', 8), ('u8', 'int', 1), ('const char *', 'pointer', 8),
                ('unsigned', 'int', 4), ('short int', 'int', 2), ('long long', 'int', 8),
                ('union either', 'union', 8), ('enum state', 'enum', 4), ('void *', 'pointer', 8),
                ('const struct sk_buff * const', 'pointer', 8)]:
            found = surftrace.stripped(self.types, surftrace.find_c_type(self.types, text))
            self.assertEqual((found.kind, found.size), (kind, size), text)
        for text in ('struct nope', 'nope', '', '*', 'struct', 'unsigned nope', 'char * x',
                     'signed unsigned'):
            self.assertRaises(surftrace.TraceError, surftrace.find_c_type, self.types, text)

    def test_old_bitfields(self):
        """Before kind_flag, a bitfield was an int of its own that said which bits it has."""
        writer = btf.Writer()
        three = writer.integer('unsigned int', 4, bits=3)
        plain = writer.integer('unsigned int', 4)
        writer.struct('old', 8, [('a', plain, 0), ('b', three, 33)], kind_flag=0)
        types = opened(writer)
        member = surftrace.find_member(types, types.find('struct', 'old'), 'b')
        self.assertEqual((member.bit_offset, member.bit_size), (33, 3))

    def test_every_kind_is_stepped_over(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        writer.add('enum64', 'wide', 8, 1, 0, [writer.string('ONE'), 1, 0])
        writer.add('variable', 'jiffies', integer, payload=[1])
        writer.add('section', '.data', 4, 1, 0, [3, 0, 4])
        writer.add('float', 'double', 8)
        writer.add('decl_tag', 'tag', 1, payload=[0])
        writer.add('type_tag', 'user', integer)
        writer.add('restrict', '', integer)
        writer.add('volatile', '', integer)
        writer.struct('last', 4, [('x', integer, 0)])
        types = opened(writer)
        self.assertEqual(types.describe(types.find('struct', 'last')).size, 4)
        self.assertEqual(types.describe(types.find('enum', 'wide')).size, 8)

    def test_module_stands_on_its_kernel(self):
        base = btf.sample()
        writer = btf.Writer(base)
        kernel = opened(base)
        task = writer.pointer(kernel.find('struct', 'task_struct'))
        own = writer.struct('mine', 8, [('task', task, 0)])
        writer.function('module_function', 0, [('m', writer.pointer(own))])
        types = opened(writer, kernel)
        self.assertEqual(surftrace.prototype(types, types.functions('module_function')[0]),
                         'void module_function(struct mine *)')
        member = surftrace.find_member(types, types.find('struct', 'mine'), 'task')
        held = surftrace.stripped(types, surftrace.stripped(types, member.type).target)
        self.assertEqual(held.name, 'task_struct')
        self.assertEqual(surftrace.find_member(types, held, 'comm').bit_offset, 0x80)
        self.assertEqual(len(types.functions('ip_rcv')), 1)


class Marks(unittest.TestCase):
    """Where records begin: found by leaps, checked, else by a walk."""

    def both(self, writer):
        types = opened(writer)
        return surftrace.marked_quickly(types.types, types.end_string), surftrace.marked(
            types.types)

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
                lambda w: w.array(1, 1 << 24), lambda w: w.array(1, 32 << 24),
                lambda w: w.add('float', 'f', 1 << 24)]:
            for last in (False, True):
                writer = btf.Writer()
                writer.integer('int', 4)
                unusual(writer)
                if not last:
                    writer.pointer(2)
                quick, walked = self.both(writer)
                self.assertIsNone(quick)
                self.assertEqual(walked.count(b'\1'), 2 if last else 3)

    def test_structs_whose_offsets_are_not_small(self):
        """However they are ordered, and whatever kinds their top bytes look like."""
        for offsets in ((0, 0x2000000, 0x6000008), (0, 0x12000000, 0x14000000), (0x2000000, 0)):
            writer = btf.Writer()
            char = writer.integer('char', 1)
            writer.struct('big', 1 << 23, [('m%d' % place, char, offset) for place, offset in
                                           enumerate(offsets)], kind_flag=0)
            for _ in range(3):
                writer.pointer(char)
            zebra = writer.add('typedef', 'zebra', char)
            quick, walked = self.both(writer)
            self.assertIsNone(quick)
            types = opened(writer)
            self.assertEqual(types.find('typedef', 'zebra'), zebra)
            self.assertEqual([member.bit_offset for member in types.members(
                types.find('struct', 'big'))], list(offsets))

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
        with self.assertRaises(surftrace.SourceError) as caught:
            surftrace.Btf(data, 'FILE')
        self.assertIn(message, str(caught.exception))
        self.assertIn('FILE', str(caught.exception))

    def test_header(self):
        good = btf.sample().data()
        self.refused(b'', 'neither BTF nor an ELF file')
        self.refused(b'hello, world, this is a text', 'neither BTF nor an ELF file')
        self.refused(b'\xeb\x9f' + good[2:], 'big-endian')
        self.refused(good[:2] + b'\x02' + good[3:], 'version 2')
        self.refused(good[:20], 'neither BTF')
        self.refused(good[:-1], 'cut short')
        self.refused(good[:100], 'cut short')
        self.refused(good[:-1] + b'x', 'strings are not closed')

    def test_unknown_kind(self):
        writer = btf.Writer()
        writer.add(20, 'new')
        self.refused(writer.data(), 'no known kind')

    def test_a_type_runs_over(self):
        for following in (False, True):
            writer = btf.Writer()
            writer.add('struct', 'huge', 8, 60000)
            if following:
                writer.integer('int', 4)
            with self.assertRaises(surftrace.SourceError) as caught:
                opened(writer).find('struct', 'huge')
            self.assertIn('cut short' if following else 'longer or shorter than it says',
                          str(caught.exception))

    def test_a_type_that_wraps_itself(self):
        writer = btf.Writer()
        writer.add('typedef', 'loop', 1)
        types = opened(writer)
        for question in (surftrace.stripped, surftrace.size_of):
            self.assertRaises(surftrace.SourceError, question, types, 1)
        self.assertEqual(surftrace.declared(types, 1), 'loop')

    def test_structs_that_hold_themselves_or_each_other(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        inner = writer.struct('', 8, [('', writer.next_id(), 0), ('x', integer, 32)])
        types = opened(writer)
        self.assertIsNone(surftrace.find_member(types, inner, 'y'))
        self.assertRaises(surftrace.SourceError, surftrace.layout_lines, types.describe(inner),
                          types, 'x')
        for _ in range(50):     # 2 ** 50 ways to the innermost
            inner = writer.struct('', 8, [('', inner, 0), ('', inner, 0)])
        types = opened(writer)
        self.assertEqual(surftrace.find_member(types, inner, 'x').bit_offset, 32)
        self.assertIsNone(surftrace.find_member(types, inner, 'y'))
        self.assertRaises(surftrace.SourceError, surftrace.layout_lines, types.describe(inner),
                          types, 'x')

    def test_functions_without_a_prototype(self):
        for target in (0, 1, 99):
            writer = btf.Writer()
            writer.integer('int', 4)
            writer.add('symbol', 'f', target)
            self.assertRaises(surftrace.SourceError, opened(writer).functions, 'f')

    def test_a_name_that_a_million_functions_have(self):
        writer = btf.Writer()
        first = writer.function('f', 0, [])
        writer.records += [writer.records[first - 1]] * 100000
        self.assertEqual(len(opened(writer).functions('f')), 1)
        writer.records += [struct.pack('<3I', 1, btf.KINDS['symbol'] << 24, target)
                           for target in range(1000)]
        self.assertRaises(surftrace.SourceError, opened(writer).functions, 'f')

    def test_an_array_that_holds_itself(self):
        writer = btf.Writer()
        writer.array(1, 2)
        self.assertRaises(surftrace.SourceError, surftrace.size_of, opened(writer), 1)

    def test_names_and_ids_out_of_range(self):
        writer = btf.Writer()
        writer.struct('s', 8, [('x', 99, 0)])
        types = opened(writer)
        self.assertRaises(surftrace.SourceError, types.describe, 99)
        data = bytearray(writer.data())
        struct.pack_into('<I', data, 24 + 12, 0x7fffffff)       # the member's name
        self.assertRaises(surftrace.SourceError,
                          surftrace.Btf(bytes(data), 'FILE').members, 1)


class Files(unittest.TestCase):

    def setUp(self):
        self.path = tempfile.mkstemp()[1]
        self.addCleanup(os.remove, self.path)

    def write(self, data):
        with open(self.path, 'wb') as stream:
            stream.write(data)

    def test_raw(self):
        data = btf.sample().data()
        self.write(data)
        self.assertEqual(surftrace.read_btf(self.path), data)

    def test_elf(self):
        data = btf.sample().data()
        self.write(elf([(b'.text', b'code'), (b'.BTF', data), (b'.bss', b'')]))
        self.assertEqual(surftrace.read_btf(self.path), data)

    def test_elf_without_btf(self):
        self.write(elf([(b'.text', b'code')]))
        self.assertIsNone(surftrace.read_btf(self.path))
        with self.assertRaises(surftrace.SourceError) as caught:
            sources(mode='btf', vmlinux=self.path).of(None).find('struct', 'x')
        self.assertIn('no section .BTF', str(caught.exception))

    def test_elf_of_another_kind(self):
        self.write(elf([], b'\x7fELF\x01\x01'.ljust(16, b'\0')))
        with self.assertRaises(surftrace.SourceError) as caught:
            surftrace.read_btf(self.path)
        self.assertIn('32-bit', str(caught.exception))

    def test_elf_cut_anywhere(self):
        whole = elf([(b'.BTF', btf.sample().data())])
        for size in list(range(16, 300)) + list(range(len(whole) - 300, len(whole))):
            self.write(whole[:size])
            self.assertRaises(surftrace.SourceError, surftrace.read_btf, self.path)

    def test_no_file(self):
        with self.assertRaises(surftrace.SourceError) as caught:
            surftrace.read_btf('/nonexistent/vmlinux')
        self.assertIn('/nonexistent/vmlinux', str(caught.exception))

    def test_opened_only_when_asked(self):
        types = sources(vmlinux='/nonexistent/vmlinux').of(None)
        self.assertRaises(surftrace.SourceError, lambda: types.find('struct', 'x'))


if __name__ == '__main__':
    unittest.main()

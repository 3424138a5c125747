"""Types from debug info that the tests write themselves: form by form, version by version."""
import struct
import unittest
import zlib

from tests.lib import dwarf, elf, tool
from tests.lib.dwarf import (
    BASE, BIT_OFFSET, BIT_SIZE, CONSTANT, COUNT, DATA_BIT_OFFSET, DECLARED, ENCODING, ENUM,
    ENUMERATOR, FUNCTION, LOCATION, LOW_PC, MEMBER, NAME, ORIGIN, PARAMETER, PLACE, RANGES, ROOT,
    SIBLING, SIZE, SPECIFICATION, SPLIT, GNU_SPLIT, STRINGS_BASE, STRUCT, TYPE, TYPEDEF,
    UPPER_BOUND, VARIABLE, Entry, Far, Form, Pooled, abbreviations, leb, signed_leb, unit)
from tests.lib.files import FileTest

ROOT_ROW = (ROOT, True, [])


class DebugInfo(FileTest):

    def opened(self, info, table, strings=b'\0', more=(), **options):
        """The Source that these sections make."""
        self.path = self.write('vmlinux', elf.elf(
            [(b'.debug_info', info), (b'.debug_abbrev', table), (b'.debug_str', strings)]
            + list(more), **options))
        types = tool.from_debug_info(self.path)
        self.addCleanup(types.close)
        return types

    def made(self, *roots, **options):
        """The Source that units make; more=[...] are further sections."""
        more, words = options.pop('more', ()), {}
        for name in ('version', 'wide'):
            if name in options:
                words[name] = options.pop(name)
        sections = dwarf.sections(roots, **words)
        return self.opened(*([data for _, data in sections] + [more]), **options)

    def damaged(self, call, *arguments, **options):
        with self.assertRaises(tool.SourceError) as caught:
            call(*arguments, **options)
        self.assertIn('damaged', str(caught.exception))
        return str(caught.exception)

    def unknown(self, message, call, *arguments, **options):
        with self.assertRaises(tool.Unknown) as caught:
            call(*arguments, **options)
        self.assertIn('debug info that only gdb may read: ', str(caught.exception))
        self.assertIn(message, str(caught.exception))


class Forms(DebugInfo):
    """What an attribute's bytes say in each form, and where what is behind them begins."""

    INTEGER = b'\4int\0\4\5'

    def read(self, attribute, form, data, constant=b'', more=(), strings=b'\0of\0'):
        """Return the Source of one entry `a` with the attribute, between `int` and `last`."""
        for name_form, first in ((0x08, b'a\0'), (0x0b, b'\0')):
            attributes = [(attribute, form, constant)]
            if attribute != NAME:
                attributes.insert(0, (NAME, name_form, b'') if name_form == 8 else
                                  (0x1234, 0x0b, b''))
            elif name_form != 8:
                continue
            else:
                first = b''
            table = abbreviations([
                (ROOT, True, [(STRINGS_BASE, 0x17, b'')]), (STRUCT, False, attributes),
                (STRUCT, False, [(NAME, 0x08, b''), (SIZE, 0x0b, b'')]),
                (BASE, False, [(NAME, 0x08, b''), (SIZE, 0x0b, b''), (ENCODING, 0x0b, b'')])])
            body = (b'\1\x08\0\0\0' + self.INTEGER + b'\2' + first + data + b'\3last\0\x55\0')
            types = self.opened(unit(body, 5), table, strings, more)
            # Neither what is skipped nor what is read may lose its way.
            self.assertEqual(types.find('struct', 'last').size, 0x55, hex(form))
            self.assertIn('last', types.names('struct'))
            if name_form == 8:
                named = self.opened(unit(body, 5), table, strings, more)
        return named

    def test_numbers(self):
        for form, data, size in [
                (0x01, b'\1\2\3\4' + b'\0' * 4, 0x4030201), (0x05, b'\1\2', 0x201),
                (0x06, b'\1\2\3\4', 0x4030201), (0x07, b'\1' + b'\0' * 7, 1), (0x0b, b'\xff', 255),
                (0x0c, b'\1', 1), (0x0d, b'\x3f', 63), (0x0f, b'\x80\1', 128), (0x0f, b'\x7f', 127),
                (0x0f, b'\xff\xff\x03', 0xffff), (0x17, b'\7\0\0\0', 7)]:
            self.assertEqual(self.read(SIZE, form, data).find('struct', 'a').size, size, hex(form))
        self.assertEqual(self.read(SIZE, 0x21, b'', b'\x3d').find('struct', 'a').size, 61)

    def test_sizes_that_nothing_has(self):
        for form, data in ((0x0d, b'\x7f'), (0x07, struct.pack('<Q', 1 << 31)), (0x08, b'x\0')):
            self.assertEqual(self.read(SIZE, form, data).find('struct', 'a').size, 0)
        self.assertEqual(self.read(SIZE, 0x06, struct.pack('<I', (1 << 31) - 1)).find(
            'struct', 'a').size, (1 << 31) - 1)

    def test_numbers_with_a_sign(self):
        for form, data, constant, number in [
                (0x0d, b'\x7f', b'', -1), (0x0d, b'\x80\x7f', b'', -128), (0x0d, b'\x3f', b'', 63),
                (0x0d, b'\x40', b'', -64), (0x0d, b'\xc0\0', b'', 64), (0x21, b'', b'\x7d', -3),
                (0x0d, signed_leb(-1 << 40), b'', -1 << 40), (0x0f, leb(1 << 40), b'', 1 << 40)]:
            table = abbreviations([
                ROOT_ROW, (ENUM, True, [(NAME, 0x08, b''), (SIZE, 0x0b, b'')]),
                (ENUMERATOR, False, [(NAME, 0x08, b''), (CONSTANT, form, constant)])])
            types = self.opened(unit(b'\1\2e\0\x08\3A\0' + data + b'\3B\0' + data + b'\0\0'), table)
            self.assertEqual(types.find('enum', 'e').values(), [('A', number), ('B', number)])

    def test_texts(self):
        lines = [(b'.debug_line_str', b'\0\0\0\0abc\0')]
        for form, data, strings, more in [
                (0x08, b'abc\0', b'\0', ()), (0x0e, b'\4\0\0\0', b'\0\0\0\0abc\0', ()),
                (0x1f, b'\4\0\0\0', b'\0', lines)]:
            types = self.read(NAME, form, data, strings=strings, more=more)
            self.assertEqual(sorted(types.names('struct')), ['abc', 'last'], hex(form))
        for form, data in ((0x0e, b'\x09\0\0\0'), (0x0e, b'\xff\xff\xff\xff')):
            self.damaged(self.read, NAME, form, data)
        self.damaged(self.read, NAME, 0x0b, b'\5')

    def test_texts_by_number(self):
        """As clang writes them in DWARF 5; the header of the table of offsets takes 8 bytes."""
        table = [(b'.debug_str_offsets', struct.pack('<IHHIIII', 20, 5, 0, 0, 1, 4, 7))]
        for form, data in ((0x1a, b'\2'), (0x25, b'\2'), (0x26, b'\2\0'), (0x27, b'\2\0\0'),
                           (0x28, b'\2\0\0\0')):
            types = self.read(NAME, form, data, strings=b'\0of\0abc\0', more=table)
            self.assertEqual(sorted(types.names('struct')), ['abc', 'last'], hex(form))
            types = self.read(NAME, form, data, strings=b'\0of\0abc\0', more=table)
            self.assertEqual(types.find('struct', 'abc').name, 'abc', hex(form))
            self.assertIsNone(types.find('struct', 'bc'))
        self.damaged(self.read, NAME, 0x25, b'\x09', more=table)
        for form, data, number in ((0x26, b'\1\2', 0x201), (0x27, b'\1\2\3', 0x30201),
                                   (0x28, b'\1\2\3\0', 0x30201)):
            offsets = struct.pack('<IHH', 4 * number + 8, 5, 0) + b'\0' * 4 * number + b'\4\0\0\0'
            types = self.read(NAME, form, data, strings=b'\0of\0abc\0',
                              more=[(b'.debug_str_offsets', offsets)])
            self.assertEqual(sorted(types.names('struct')), ['abc', 'last'], hex(form))

    def test_blocks(self):
        """They are stepped over by the length that they begin with."""
        for form, data in [(0x03, b'\2\0\x23\7'), (0x04, b'\2\0\0\0\x23\7'), (0x09, b'\2\x23\7'),
                           (0x0a, b'\2\x23\7'), (0x18, b'\2\x23\7')]:
            self.assertEqual(self.read(0x1235, form, data).find('struct', 'a').name, 'a')
            # As a member's place, an expression is older than DWARF 4.
            table = abbreviations([ROOT_ROW, (STRUCT, True, [(NAME, 0x08, b'')]), (
                MEMBER, False, [(NAME, 0x08, b''), (PLACE, form, b'')])])
            types = self.opened(unit(b'\1\2s\0\3x\0' + data + b'\0\0'), table)
            self.damaged(lambda: types.find('struct', 's').places())

    def test_references(self):
        """Near ones count from the start of their unit, far ones from that of all."""
        for before in (b'', unit(b'\1\0', 5)):
            at = 12 + 1
            for form, data in [
                    (0x10, struct.pack('<I', len(before) + at)), (0x11, b'\x0d'),
                    (0x12, b'\x0d\0'), (0x13, b'\x0d\0\0\0'), (0x14, b'\x0d' + b'\0' * 7),
                    (0x15, b'\x0d')]:
                table = abbreviations([
                    ROOT_ROW, (TYPEDEF, False, [(NAME, 0x08, b''), (TYPE, form, b'')]),
                    (BASE, False, [(NAME, 0x08, b''), (SIZE, 0x0b, b''), (ENCODING, 0x0b, b'')])])
                body = b'\1\3int\0\4\5' + b'\2t\0' + data + b'\2u\0' + data + b'\0'
                types = self.opened(before + unit(body, 5), table)
                for name in 'tu':
                    self.assertEqual(types.find('typedef', name).name, 'int', hex(form))

    def test_flags(self):
        for form, data in ((0x19, b''), (0x0c, b'\1')):
            types = self.read(DECLARED, form, data)
            self.assertIsNone(types.find('struct', 'a'))

    def test_what_is_stepped_over(self):
        for form, data in [(0x1e, b'x' * 16), (0x29, b'x'), (0x2a, b'xx'), (0x2b, b'xxx'),
                           (0x2c, b'xxxx'), (0x1b, b'\x81\1'), (0x18, b'\1a'), (0x0a, b'\3abc'),
                           (0x25, b'\7'), (0x28, b'\7\0\0\0'), (0x11, b'\7'), (0x22, b'\x81\1'),
                           (0x23, b'\7')]:
            self.assertEqual(self.read(0x1235, form, data).find('struct', 'a').name, 'a')

    def test_forms_that_are_not_known(self):
        """Among them a form that says which it is (0x16), and a type unit's number (0x20)."""
        for form in (0x02, 0x16, 0x1c, 0x20, 0x1f21, 0x7fff):
            self.unknown('a form of attributes 0x%x' % form, self.read, 0x1235, form, b'')

    def test_numbers_that_do_not_end(self):
        """Of more than 70 bits."""
        self.assertEqual(self.read(SIZE, 0x0f, b'\x81' + b'\x80' * 8 + b'\0').find(
            'struct', 'a').size, 1)
        self.damaged(self.read, SIZE, 0x0f, b'\x80' * 10 + b'\1')


class Units(DebugInfo):

    STRUCTS = abbreviations([
        ROOT_ROW, (STRUCT, False, [(NAME, 0x0e, b''), (DECLARED, 0x19, b'')]),
        (STRUCT, True, [(NAME, 0x0e, b''), (SIZE, 0x0b, b'')]),
        (MEMBER, False, [(NAME, 0x08, b''), (TYPE, 0x13, b''), (PLACE, 0x0b, b'')]),
        (BASE, False, [(NAME, 0x08, b''), (SIZE, 0x0b, b''), (ENCODING, 0x0b, b'')])])

    def test_a_declaration_leads_on(self):
        """To the definition in the next unit, of a name that ends another."""
        strings = b'\0put_task_struct\0'
        name = struct.pack('<I', strings.index(b'task_struct'))
        first = unit(b'\1\2' + name + b'\0')
        body = b'\1\5int\0\4\5' + b'\3' + name + b'\x08' + b'\4pid\0' + struct.pack('<I', 12)
        types = self.opened(first + unit(body + b'\4\0\0'), self.STRUCTS, strings)
        found = types.find('struct', 'task_struct')
        self.assertEqual((found.kind, found.name, found.size), ('struct', 'task_struct', 8))
        self.assertEqual(found.places(), [('pid', 32, 0)])
        self.assertEqual(found.member('pid').type.words, 'int')
        self.assertIsNone(types.find('struct', 'struct'))
        self.assertIsNone(types.find('struct', 'put_task_struct'))

    def test_what_is_only_declared_has_the_members_of_its_definition(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        declared = Entry(STRUCT, (NAME, 'task'), (DECLARED, True))
        user = dwarf.struct_of('user', 8, [('t', dwarf.pointer(declared), 0)])
        user_root = dwarf.root(user, user.below[0].attributes[1][1], declared)
        other = dwarf.root(integer, dwarf.struct_of('task', 8, [('pid', integer, 4)]))
        for listed in (False, True):
            types = self.made(user_root, other)
            if listed:
                types.names('struct')
            held = types.find('struct', 'user').member('t').type.target
            self.assertEqual((held.words, held.places()), ('struct task', [('pid', 32, 0)]))
            # One that is defined nowhere has none.
            types = self.made(user_root)
            if listed:
                types.names('struct')
            held = types.find('struct', 'user').member('t').type.target
            self.assertEqual((held.words, held.size, held.places()), ('struct task', 0, []))

    def test_a_member_of_what_is_defined_nowhere(self):
        declared = Entry(STRUCT, (NAME, 'task'), (DECLARED, True))
        to_declared = dwarf.pointer(declared)
        function = dwarf.function('f', [('p', to_declared)], (LOW_PC, dwarf.address(0x1000)))
        path = self.write('vmlinux', elf.elf(
            dwarf.sections([dwarf.root(declared, to_declared, function)])
            + elf.symbols([('f', 0x1000, 4)])))
        self.refused("struct task has no member 'pid': it is empty, or only declared", '-S', '-a',
                     'x86_64', '-v', path, 'p f a=%0->pid', status=2)

    def test_the_function_s_own_file_comes_first(self):
        """Of several structs of one name, that of the unit that was read last is taken."""
        def own(size):
            integer = dwarf.number('int', 4, dwarf.SIGNED)
            held = dwarf.struct_of('same', size, [('x', integer, size - 4)])
            to_held = dwarf.pointer(held)
            return dwarf.root(integer, held, to_held, dwarf.function(
                'f%d' % size, [('p', to_held)], (LOW_PC, dwarf.address(0x1000 * size))))
        units = [dwarf.root(), own(8), own(16), own(24)]
        for name, size in (('f8', 8), ('f16', 16), ('f24', 24)):
            types = self.made(*units, more=elf.symbols([
                ('f%d' % each, 0x1000 * each, 8) for each in (8, 16, 24)]))
            self.assertEqual([each.parameters[0].type.target.size
                              for each in types.functions(name)], [size])
            self.assertEqual(types.find('struct', 'same').size, size)

    def test_siblings(self):
        """Children are leapt over where their parent says how far they go."""
        table = abbreviations([
            ROOT_ROW, (STRUCT, True, [(SIBLING, 0x13, b''), (NAME, 0x08, b'')]), (STRUCT, False, [
                (NAME, 0x08, b'')])])
        # (If they were read, the child of no known abbreviation would be told of.)
        body = b'\1\2' + struct.pack('<I', 21) + b's\0\x77\0\3t\0\0'
        self.assertEqual(self.opened(unit(body), table).names('struct'), ['s', 't'])
        for sibling in (0, 12, 1 << 30):
            body = b'\1\2' + struct.pack('<I', sibling) + b's\0\x77\0\3t\0\0'
            types = self.opened(unit(body), table)
            if sibling < 13:
                self.damaged(types.names, 'struct')
            else:
                self.assertEqual(types.names('struct'), ['s'])

    def test_versions(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        tree = dwarf.root(integer, dwarf.struct_of('s', 8, [('x', integer, 4)]))
        for version in (4, 5):
            types = self.made(tree, version=version)
            self.assertEqual(types.find('struct', 's').places(), [('x', 32, 0)])
            self.unknown('64-bit DWARF', self.made, tree, version=version, wide=True)
        for version in (1, 2, 3, 6):
            self.unknown('DWARF version %d' % version, self.opened, unit(b'\1', version),
                         abbreviations([ROOT_ROW]))

    def test_older_units_of_assembler(self):
        """Before Linux 5.12 they had DWARF 2, which tells of lines alone, and so stops nothing."""
        table = abbreviations([
            ROOT_ROW, (STRUCT, False, [(NAME, 0x0e, b''), (SIZE, 0x0b, b'')]),
            (ROOT, False, [(dwarf.LANGUAGE, 0x05, b'')])])
        name = struct.pack('<I', 1)
        for language, fine in ((0x8001, True), (0x000c, False)):
            old = unit(b'\3' + struct.pack('<H', language), 2)
            new = unit(b'\1\2' + name + b'\x18\0', 5)
            for info in (old + new, new + old):
                if fine:
                    self.assertEqual(self.opened(info, table, b'\0name\0').find(
                        'struct', 'name').size, 24)
                else:
                    self.unknown('DWARF version 2', self.opened, info, table, b'\0name\0')

    def test_headers(self):
        table = abbreviations([(ROOT, False, [])])
        for kind in (4, 5, 6):
            self.unknown('units of kind %d' % kind, self.opened, unit(b'\1', 5, kind=kind),
                         table)
        for size in (2, 4, 16):
            for version in (4, 5):
                self.unknown('addresses of %d bytes' % size, self.opened,
                             unit(b'\1', version, address_size=size), table)
        self.opened(unit(b'\1'), table)

    def test_damaged(self):
        whole = unit(b'\1\5int\0\4\5\0')
        for info in (b'', b'\7', whole[:-1], whole[:4] + b'\x09' + whole[5:],
                     whole[:4] + b'\4\0' + b'\xff' * 4 + whole[10:]):
            with self.assertRaises(tool.SourceError):
                self.opened(info, self.STRUCTS).find('int', 'int')
        found = self.opened(whole, self.STRUCTS).find('int', 'int')
        self.assertEqual((found.kind, found.name, found.size, found.signed),
                         ('int', 'int', 4, True))

    def test_references_to_nothing(self):
        end = len(unit(b'\1' + b'\2t\0\0\0\0\0\0'))
        table = abbreviations([ROOT_ROW, (TYPEDEF, False, [(NAME, 0x08, b''), (TYPE, 0x13, b'')])])
        for ref in (1, 10, 10 ** 6, end, 0x7fffffff):
            types = self.opened(unit(b'\1\2t\0' + struct.pack('<I', ref) + b'\0'), table)
            self.damaged(lambda: types.find('typedef', 't').name)

    def test_cut_anywhere(self):
        """A file is refused, or says what is left of it."""
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        sections = dwarf.sections([dwarf.root(integer, dwarf.struct_of('s', 8, [
            ('x', integer, 4)]))])
        whole = elf.elf(elf.symbols([('f', 0x1000, 4)]) + sections)
        for size in list(range(16, 64, 4)) + list(range(64, len(whole), 17)):
            path = self.write('vmlinux', whole[:size])
            result = tool.run(['-S', '-a', 'x86_64', '-m', 'dwarf', '-v', path,
                               'p f a=!(struct s *)%di->x'])
            self.assertEqual(result.status, 1, size)
            self.assertIn('cut short', result.err)

    def test_what_lies_elsewhere(self):
        for attribute in (SPLIT, GNU_SPLIT):
            table = abbreviations([(ROOT, False, [(attribute, 0x08, b'')])])
            self.unknown('.dwo', self.opened, unit(b'\1x.dwo\0'), table)
        self.unknown('it has .gnu_debugaltlink', self.opened, unit(b'\1'),
                     abbreviations([(ROOT, False, [])]), more=[(b'.gnu_debugaltlink', b'x')])

    def test_units_of_types(self):
        """DWARF 4 has them in a section of their own, DWARF 5 among the others; gdb reads them."""
        table, plain = abbreviations([(ROOT, False, []), (0x41, False, [])]), unit(b'\1', 5)
        self.unknown('it has .debug_types', self.opened, unit(b'\1'), table,
                     more=[(b'.debug_types', unit(b'\2', extra=struct.pack('<QI', 77, 0)))])
        typed = unit(b'\2', 5, kind=2, extra=struct.pack('<QI', 77, 0))
        for info in (typed + plain, plain + typed):
            self.unknown('units of kind 2', self.opened, info, table)


class Sections(DebugInfo):
    """Sections that are packed, or that a linker has not filled in yet."""

    def setUp(self):
        FileTest.setUp(self)
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        self.plain = dwarf.sections([dwarf.root(integer, dwarf.struct_of(
            's', 8, [(Pooled('x'), integer, 4)]))])

    def places(self, sections, **options):
        types = tool.from_debug_info(self.write('vmlinux', elf.elf(sections, **options)))
        self.addCleanup(types.close)
        return types.find('struct', 's').places()

    def test_compressed(self):
        def packed(data, kind=1, size=None):
            return struct.pack('<IIQQ', kind, 0, len(data) if size is None else size, 1
                               ) + zlib.compress(data)

        every = [(name, packed(data), elf.COMPRESSED) for name, data in self.plain]
        self.assertEqual(self.places(every), [('x', 32, 0)])
        name, data = self.plain[0]
        for changed in (packed(data, kind=2), packed(data, size=(1 << 30) + 1)):
            self.unknown('is compressed by other means than zlib, or too large', self.places,
                         [(name, changed, elf.COMPRESSED)] + self.plain[1:])
        # No more is unpacked than it says; what it lacks is missing.
        noise = packed(data)
        for changed in (packed(data, size=len(data) - 1), packed(data, size=0), noise[:-6],
                        noise[:23], noise[:24], noise[:24] + b'no zlib'):
            self.damaged(self.places, [(name, changed, elf.COMPRESSED)] + self.plain[1:])

    def test_compressed_in_a_file(self):
        sections = [(name, struct.pack('<IIQQ', 1, 0, len(data), 1) + zlib.compress(data),
                     elf.COMPRESSED) for name, data in self.plain]
        path = self.write('vmlinux', elf.elf(elf.symbols([('f', 0x1000, 4)]) + sections))
        self.assertEqual(self.words(path, 'p f a=!(struct s *)%di->x:s32', '-m', 'dwarf'),
                         'a=+0x4(%di):s32')

    def test_relocations_of_modules(self):
        """Of a module, its linker has not filled in the offsets of names yet."""
        strings = b'\0s\0x\0'
        table = abbreviations([
            ROOT_ROW, (STRUCT, True, [(NAME, 0x0e, b''), (SIZE, 0x0b, b'')]),
            (MEMBER, False, [(NAME, 0x0e, b''), (PLACE, 0x0b, b'')])])
        info = unit(b'\1\2' + b'\0' * 4 + b'\x08' + b'\3' + b'\0' * 4 + b'\4\0\0')
        symbols = b'\0' * 24 + struct.pack('<IBBHQQ', 0, 3, 0, 1, 1, 0)

        def sections(kind):
            rows = [(13, 0), (19, 2)]
            return [(b'.debug_info', info), (b'.debug_abbrev', table), (b'.debug_str', strings), (
                b'.symtab', symbols), (b'.rela.debug_info', b''.join(
                    struct.pack('<QQq', place, 1 << 32 | kind, addend)
                    for place, addend in rows))]
        for machine, kind in ((elf.X86_64, 10), (elf.X86_64, 11), (elf.AARCH64, 258)):
            self.assertEqual(self.places(sections(kind), machine=machine, kind=elf.RELOCATABLE),
                             [('x', 32, 0)])
            with self.assertRaises(Exception):      # not applied, there is no such name
                self.places(sections(kind), machine=machine)
        for machine, kind in ((elf.X86_64, 2), (elf.AARCH64, 10), (243, 10)):
            self.unknown('.debug_info has relocations of type %d' % kind, self.places,
                         sections(kind), machine=machine, kind=elf.RELOCATABLE)

    def test_relocations_that_lead_out(self):
        sections = self.plain + [(b'.symtab', b'\0' * 24), (
            b'.rela.debug_info', struct.pack('<QQq', 1 << 20, 10, 0))]
        self.damaged(self.places, sections, kind=elf.RELOCATABLE)
        # The symbol is not there.
        sections[-1] = (b'.rela.debug_info', struct.pack('<QQq', 0, 9 << 32 | 10, 0))
        self.damaged(self.places, sections, kind=elf.RELOCATABLE)

    def test_relocated_addresses(self):
        """Of eight bytes; an address that is not filled in yet is no function's."""
        function = dwarf.function('f', [], (LOW_PC, dwarf.address(0)))
        sections = dwarf.sections([dwarf.root(function)])
        at = function.at + 1 + 2
        for machine, kind in ((elf.X86_64, 1), (elf.AARCH64, 257)):
            rela = [(b'.rela.debug_info', struct.pack('<QQq', at, 1 << 32 | kind, 0x10))]
            path = self.write('x.ko', elf.elf(
                sections + elf.symbols([('f', 0x7000001000, 4)]) + rela, machine=machine,
                kind=elf.RELOCATABLE))
            types = tool.from_debug_info(path)
            self.addCleanup(types.close)
            self.assertEqual(types.prototypes('f'), ['void f(void)'])


class Types(DebugInfo):
    """What kinds of entries mean."""

    def test_numbers(self):
        for name, size, encoding, kind, signed in [
                ('int', 4, 5, 'int', True), ('char', 1, 6, 'int', True),
                ('unsigned char', 1, 8, 'int', False), ('_Bool', 1, 2, 'int', False),
                ('unsigned int', 4, 7, 'int', False), ('double', 8, 4, 'float', False),
                ('complex', 16, 3, 'float', False)]:
            types = self.made(dwarf.root(Entry(
                TYPEDEF, (NAME, 't'), (TYPE, dwarf.number(name, size, encoding)))))
            base = dwarf.number(name, size, encoding)
            types = self.made(dwarf.root(base, Entry(TYPEDEF, (NAME, 't'), (TYPE, base))))
            found = types.find('typedef', 't')
            self.assertEqual((found.kind, found.size, found.signed), (kind, size, signed), name)

    def test_wrappers_and_pointers(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        entries, members = [integer], []
        for tag, words in ((dwarf.CONST, 'const int'), (dwarf.VOLATILE, 'volatile int'),
                           (dwarf.ATOMIC, 'volatile int'), (dwarf.RESTRICT, 'int'),
                           (dwarf.POINTER, 'int *')):
            entries.append(Entry(tag, (TYPE, integer)))
            members.append(('m%d' % len(members), entries[-1], 8 * len(members)))
        void, constant = dwarf.pointer(), Entry(dwarf.CONST)
        unspecified = Entry(dwarf.NOTHING, (NAME, 'decltype(nullptr)'))
        entries += [void, constant, unspecified]
        members += [('v', void, 40), ('c', constant, 48), ('n', unspecified, 56)]
        types = self.made(dwarf.root(dwarf.struct_of('s', 64, members), *entries))
        found = dict((member.name, member.type) for member in types.find('struct', 's').members())
        self.assertEqual([found[name].words for name in ('m0', 'm1', 'm2', 'm3', 'm4', 'v', 'c')],
                         ['const int', 'volatile int', 'volatile int', 'int', 'int *', 'void *',
                          'const void'])
        self.assertEqual(found['n'].kind, 'void')
        self.assertEqual([found[name].size for name in ('m0', 'm4', 'v')], [4, 8, 8])

    def test_arrays(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)

        def array(*ranges):
            return Entry(dwarf.ARRAY, (TYPE, integer), below=[Entry(dwarf.RANGE, *each)
                                                              for each in ranges])
        rows = [('plain', array([(UPPER_BOUND, 15)]), 'int[16]', 64),
                ('counted', array([(COUNT, 7)]), 'int[7]', 28),
                ('flexible', array([]), 'int[]', 0), ('without', array(), 'int[]', 0),
                ('minus', array([(UPPER_BOUND, -1)]), 'int[]', 0),
                ('huge', array([(UPPER_BOUND, Form(0x07, b'\xff' * 8))]), 'int[]', 0),
                ('one', array([(UPPER_BOUND, 0)]), 'int[1]', 4),
                ('two', array([(UPPER_BOUND, 2)], [(UPPER_BOUND, 3)]), 'int[3][4]', 48),
                ('three', array([(COUNT, 2)], [(UPPER_BOUND, 2)], [(COUNT, 4)]), 'int[2][3][4]',
                 96)]
        types = self.made(dwarf.root(integer, dwarf.struct_of('s', 512, [
            (name, entry, 0) for name, entry, _, _ in rows]), *[row[1] for row in rows]))
        for name, _, words, size in rows:
            found = types.find('struct', 's').member(name).type
            self.assertEqual((found.words, found.size), (words, size), name)

    def test_enums(self):
        unsigned, integer = dwarf.number('u', 4), dwarf.number('int', 4, dwarf.SIGNED)
        entries = [unsigned, integer,
                   dwarf.enum_of('plain', [('A', 0), ('B', 5)]),
                   dwarf.enum_of('signed', [('C', -1), ('D', 1 << 40)], (TYPE, integer)),
                   dwarf.enum_of('unsigned', [('E', 0xffffffff)], (TYPE, unsigned)),
                   dwarf.enum_of('', [('F', 1), ('G', 2)]),
                   Entry(ENUM, (NAME, 'later'), (DECLARED, True))]
        types = self.made(dwarf.root(*entries))
        for name, values, signed in [('plain', [('A', 0), ('B', 5)], False),
                                     ('signed', [('C', -1), ('D', 1 << 40)], True),
                                     ('unsigned', [('E', 0xffffffff)], False)]:
            found = types.find('enum', name)
            self.assertEqual((found.kind, found.size, found.values(), found.signed),
                             ('enum', 4, values, signed))
        self.assertEqual(types.values_with('G'), [[('F', 1), ('G', 2)]])
        self.assertEqual(types.values_with('C'), [[('C', -1), ('D', 1 << 40)]])
        self.assertEqual(types.values_with('plain'), [])
        self.assertIsNone(types.find('enum', 'later'))
        self.assertEqual(types.names('enum'), ['plain', 'signed', 'unsigned'])

    def test_functions_and_pointers_to_them(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        call = Entry(dwarf.FUNCTION_TYPE, (TYPE, integer), below=[
            Entry(PARAMETER, (TYPE, integer)), Entry(dwarf.ANY_MORE)])
        to_call = dwarf.pointer(call)
        types = self.made(dwarf.root(integer, call, to_call, dwarf.struct_of('s', 8, [
            ('call', to_call, 0)])))
        member = types.find('struct', 's').member('call').type
        self.assertEqual(member.words, 'int (*)(int, ...)')
        self.assertEqual((member.target.kind, member.target.target.words), ('function', 'int'))

    def test_tags_of_clang(self):
        """It notes __user behind a pointer, below it."""
        char = dwarf.number('char', 1, dwarf.SIGNED_CHAR)
        tagged = Entry(dwarf.POINTER, (TYPE, char), below=[
            Entry(dwarf.ANNOTATION, (NAME, 'btf_type_tag'), (CONSTANT, 'user'))])
        other = Entry(dwarf.POINTER, (TYPE, char), below=[
            Entry(dwarf.ANNOTATION, (NAME, 'btf_decl_tag'), (CONSTANT, 'user'))])
        types = self.made(dwarf.root(char, tagged, other, dwarf.function(
            'f', [('name', tagged), ('other', other)], (LOW_PC, dwarf.address(0x1000)))),
            more=elf.symbols([('f', 0x1000, 8)]))
        self.assertEqual(types.prototypes('f'), ['void f(char *, char *)'])
        self.assertEqual(tool.compiled('p f a=$name b=$other', types).words,
                         ['a=+0x0(%di):ustring', 'b=+0x0(%si):string'])

    def test_variables(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        types = self.made(dwarf.root(
            integer, Entry(VARIABLE, (NAME, 'jiffies'), (TYPE, integer)),
            Entry(VARIABLE, (NAME, 'declared'), (TYPE, integer), (DECLARED, True)),
            dwarf.function('f', [Entry(VARIABLE, (NAME, 'local'), (TYPE, integer))],
                           (LOW_PC, dwarf.address(0x1000)))))
        for name, words in (('jiffies', 'int'), ('declared', 'int'), ('local', None),
                            ('nothing', None), ('int', None)):
            self.assertEqual(types.variable(name), words, name)

    def test_variables_of_each_cpu(self):
        """Their symbols lie in a section of their own; debug info may have no address."""
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        names = ('runqueues', 'jiffies', 'elsewhere')
        types = self.made(
            dwarf.root(integer, *[Entry(VARIABLE, (NAME, name), (TYPE, integer), (DECLARED, True))
                                  for name in names]),
            more=[(b'.data..percpu', b''), (b'.data', b'')] + elf.symbols([     # the fourth, fifth
                ('jiffies', 0x80, 8, elf.OBJECT, 5), ('runqueues', 0x80, 8, elf.OBJECT, 4)]))
        self.assertEqual([types.is_per_cpu(name) for name in names], [True, False, False])
        with self.assertRaises(tool.Mistake) as caught:
            tool.compiled('p f a=@runqueues', types)
        self.assertIn("'runqueues' is one of each CPU", str(caught.exception))
        self.assertEqual(tool.compiled('p f a=@jiffies', types).words, ['a=@jiffies:x32'])

    def test_tags_that_are_not_known(self):
        strange = Entry(dwarf.REFERENCE, (NAME, 'x'))
        types = self.made(dwarf.root(strange, Entry(TYPEDEF, (NAME, 't'), (TYPE, strange))))
        self.unknown('a type of tag 0x10', lambda: types.find('typedef', 't').kind)

    def test_bitfields(self):
        """As DWARF 5 counts them, and as those before did: from the other end."""
        for attributes, data, expected in [
                ([(DATA_BIT_OFFSET, 0x0b), (BIT_SIZE, 0x0b)], b'\x25\3', (37, 3)),
                ([(PLACE, 0x0b), (DATA_BIT_OFFSET, 0x0b), (BIT_SIZE, 0x0b)], b'\4\5\3', (37, 3)),
                ([(PLACE, 0x0b), (SIZE, 0x0b), (BIT_OFFSET, 0x0b), (BIT_SIZE, 0x0b)],
                 b'\4\4\x18\3', (37, 3)),
                # clang: bits that begin before their unit, as a number of 64 bits
                ([(PLACE, 0x0b), (SIZE, 0x0b), (BIT_OFFSET, 0x07), (BIT_SIZE, 0x0b)],
                 b'\4\4' + b'\xfe' + b'\xff' * 7 + b'\x03', (32 + 31, 3))]:
            table = abbreviations([ROOT_ROW, (STRUCT, True, [(NAME, 0x08, b'')]), (
                MEMBER, False, [(NAME, 0x08, b'')] + [each + (b'',) for each in attributes])])
            types = self.opened(unit(b'\1\2s\0\3b\0' + data + b'\0\0'), table)
            self.assertEqual(types.find('struct', 's').places(), [('b',) + expected])

    def test_bitfields_whose_unit_is_their_type(self):
        """Where the unit is not told, it is as large as the type."""
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        types = self.made(dwarf.root(integer, dwarf.struct_of('s', 8, [
            Entry(MEMBER, (NAME, 'b'), (TYPE, integer), (PLACE, 4), (BIT_OFFSET, 24),
                  (BIT_SIZE, 3))])))
        self.assertEqual(types.find('struct', 's').places(), [('b', 37, 3)])

    def test_places_that_nothing_has(self):
        for place in (Form(0x06, struct.pack('<I', 1 << 31)), -1):
            types = self.made(dwarf.root(dwarf.struct_of('s', 8, [
                Entry(MEMBER, (NAME, 'x'), (PLACE, place))])))
            self.damaged(lambda: types.find('struct', 's').places())
        types = self.made(dwarf.root(dwarf.struct_of('s', 8, [
            Entry(MEMBER, (NAME, 'x'), (PLACE, (1 << 31) - 1)), Entry(MEMBER, (NAME, 'y'))])))
        self.assertEqual(types.find('struct', 's').places(),
                         [('x', 8 * ((1 << 31) - 1), 0), ('y', 0, 0)])

    def test_nameless_members(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        inner = dwarf.struct_of('', 8, [('x', integer, 0), ('y', integer, 4)])
        types = self.made(dwarf.root(integer, inner, dwarf.struct_of(
            'outer', 16, [('a', integer, 0), ('', inner, 8)], dwarf.UNION)))
        self.assertEqual(types.find('union', 'outer').places(),
                         [('a', 0, 0), ('x', 64, 0), ('y', 96, 0)])


class Names(DebugInfo):
    """One name for things of different kinds, and in several units."""

    def test_each_kind_is_found(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        for pool in (lambda text: text, Pooled):
            same = pool('same')
            outer = Entry(STRUCT, (NAME, pool('outer')), (SIZE, 16), below=[
                Entry(MEMBER, (NAME, same), (TYPE, integer), (PLACE, 4))])
            kinds = Entry(ENUM, (NAME, pool('kinds')), (SIZE, 4), below=[
                Entry(ENUMERATOR, (NAME, same), (CONSTANT, 3))])
            entries = [outer, kinds, Entry(TYPEDEF, (NAME, same), (TYPE, integer)),
                       Entry(STRUCT, (NAME, same), (SIZE, 8)),
                       Entry(dwarf.UNION, (NAME, same), (SIZE, 24)),
                       Entry(VARIABLE, (NAME, same), (TYPE, integer)),
                       Entry(FUNCTION, (NAME, same), (LOW_PC, dwarf.address(0x1000)))]
            for order in (entries, entries[::-1]):
                for listed in (False, True):
                    types = self.made(dwarf.root(integer, *order),
                                      more=elf.symbols([('same', 0x1000, 8)]))
                    if listed:
                        self.assertEqual(types.names('function'), ['same'])
                    self.assertEqual(types.find('struct', 'same').size, 8)
                    self.assertEqual(types.find('union', 'same').size, 24)
                    self.assertEqual(types.find('typedef', 'same').name, 'int')
                    self.assertEqual(types.find('struct', 'outer').places(), [('same', 32, 0)])
                    self.assertEqual(types.values_with('same'), [[('same', 3)]])
                    self.assertEqual(types.variable('same'), 'int')
                    self.assertEqual(types.prototypes('same'), ['void same(void)'])
                    self.assertIsNone(types.find('enum', 'same'))

    def test_names_are_listed_once(self):
        def one():
            return dwarf.root(Entry(STRUCT, (NAME, Pooled('twice')), (SIZE, 4)),
                              Entry(STRUCT, (NAME, Pooled('more')), (SIZE, 4)),
                              Entry(STRUCT, (NAME, Pooled('never')), (DECLARED, True)),
                              Entry(STRUCT, (SIZE, 4)),
                              Entry(FUNCTION, (NAME, Pooled('declared'))),
                              Entry(FUNCTION, (NAME, Pooled('defined')),
                                    (LOW_PC, dwarf.address(0x1000))),
                              Entry(FUNCTION, (NAME, Pooled('in_parts')),
                                    (RANGES, dwarf.place(0))))
        types = self.made(one(), one())
        self.assertEqual(types.names('struct'), ['more', 'twice'])
        self.assertEqual(types.names('function'), ['defined', 'in_parts'])
        self.assertEqual(types.find('struct', 'more').size, 4)

    def test_many_abbreviations(self):
        """A number above 127 takes two bytes before a name."""
        fillers = [Entry(STRUCT, (NAME, Pooled('s')), (0x3000 + number, 1)) for number in
                   range(140)]
        last = Entry(STRUCT, (NAME, Pooled('last')), (SIZE, 24), (0x4000, 1))
        for listed in (False, True):
            types = self.made(dwarf.root(*(fillers + [last])))
            if listed:
                self.assertEqual(types.names('struct'), ['last', 's'])
            self.assertEqual(types.find('struct', 'last').size, 24)

    def test_a_name_behind_others(self):
        """An abbreviation may have the name anywhere."""
        types = self.made(dwarf.root(Entry(STRUCT, (SIZE, 24), (NAME, Pooled('s'))),
                                     Entry(STRUCT, (SIZE, 32), (NAME, 't'))))
        self.assertEqual(types.find('struct', 's').size, 24)
        self.assertEqual(types.find('struct', 't').size, 32)

    def test_where_one_search_ends_and_the_next_begins(self):
        """Debug info is searched in pieces, the first of a megabyte."""
        table = abbreviations([
            ROOT_ROW, (dwarf.VOLATILE, False, [(0x1235, 0x04, b'')]),
            (STRUCT, False, [(NAME, 0x0e, b''), (SIZE, 0x0b, b'')]),
            (STRUCT, False, [(NAME, 0x08, b''), (SIZE, 0x0b, b'')])])
        before = len(unit(b'')) + 1 + 5 + 1
        for place, body in [((1 << 20) - 2, b'\3\1\0\0\0'), ((1 << 20) - 1, b'\4name\0'),
                            (1 << 20, b'\3\1\0\0\0')]:
            block = b'\2' + struct.pack('<I', place - before) + b'\0' * (place - before)
            types = self.opened(unit(b'\1' + block + body + b'\x18\0'), table, b'\0name\0')
            self.assertEqual(types.find('struct', 'name').size, 24)

    def test_more_units_than_are_kept(self):
        units = [dwarf.root(Entry(STRUCT, (NAME, Pooled('s%d' % number)), (SIZE, number)))
                 for number in range(1, 71)]
        types = self.made(*units)
        for number in list(range(1, 71)) + [1, 70]:
            self.assertEqual(types.find('struct', 's%d' % number).size, number)
        self.assertIsNone(types.find('struct', 's71'))


def taking_two(integer, *attributes):
    """A function f with two arguments, x and y, as it was written, and as it was compiled."""
    written = dwarf.function('f', [('x', integer), ('y', integer)], (TYPE, integer),
                             (dwarf.INLINE, 1))
    compiled = Entry(FUNCTION, (ORIGIN, written), *attributes)
    return written, compiled


class Functions(DebugInfo):

    SYMBOLS = [('f', 0x1000, 0x40), ('f.isra.0', 0x2000, 0x40), ('g', 0x3000, 8),
               ('f.constprop.0', 0x4000, 0x40)]

    def setUp(self):
        FileTest.setUp(self)
        self.integer = dwarf.number('int', 4, dwarf.SIGNED)

    def functions(self, name, *roots, **options):
        """What is known of a function; ranges: (number of the root, address, size) rows."""
        more = list(options.pop('more', ())) + elf.symbols(self.SYMBOLS)
        ranges = options.pop('ranges', None)
        if ranges:
            words = dict((name, options[name]) for name in ('version',) if name in options)
            dwarf.sections(roots, **words)      # so that each unit knows its place
            head = len(unit(b'', **words))
            more.append((b'.debug_aranges', dwarf.ranges(
                [(roots[number].at - head, first, size) for number, first, size in ranges])))
        return self.made(*roots, more=more, **options).functions(name)

    def test_prototypes(self):
        more = Entry(dwarf.ANY_MORE)
        found = self.functions('f', dwarf.root(self.integer, dwarf.function(
            'f', [('x', self.integer), more], (TYPE, self.integer),
            (LOW_PC, dwarf.address(0x1000)))))
        self.assertEqual([each.prototype for each in found], ['int f(int, ...)'])
        self.assertEqual([(each.name, each.place) for each in found[0].parameters],
                         [('x', None), ('', None)])

    def test_declarations_are_none(self):
        self.assertEqual(self.functions('f', dwarf.root(Entry(
            FUNCTION, (NAME, 'f'), (DECLARED, True), (LOW_PC, dwarf.address(0x1000))))), [])

    def test_specifications(self):
        """A definition that says which declaration it belongs to has its arguments there."""
        declared = dwarf.function('f', [('x', self.integer)], (DECLARED, True))
        found = self.functions('f', dwarf.root(self.integer, declared, Entry(
            FUNCTION, (SPECIFICATION, declared), (LOW_PC, dwarf.address(0x1000)))))
        self.assertEqual([each.prototype for each in found], ['void f(int)'])

    def test_found_by_address(self):
        """Of the several of one name, the one at the symbol's address is meant.

        Which unit that is, the list of addresses tells; where it does not know it, the name.
        """
        def own(kind, first):
            return dwarf.root(kind, dwarf.function('f', [('x', kind)],
                                                   (LOW_PC, dwarf.address(first))))
        long_number = dwarf.number('long', 8, dwarf.SIGNED)
        units = own(self.integer, 0x1000), own(long_number, 0x9000)
        for ranges, expected in [
                ([(0, 0x1000, 0x100), (1, 0x9000, 0x100)], ['void f(int)']),
                ([(0, 0x1000, 1)], ['void f(int)']), ([(0, 0x0f00, 0x101)], ['void f(int)']),
                ([(0, 0x0f00, 0x100)], ['void f(int)']), ([(1, 0x0f00, 0x200)], []),
                # on aarch64 a function begins up to 16 bytes behind its symbol
                ([(0, 0x1010, 0x100)], ['void f(int)']), ([(0, 0x1011, 0x100)], ['void f(int)']),
                ([(1, 0x9000, 0x100)], ['void f(int)']), ([], ['void f(int)'])]:
            found = self.functions('f', *units, ranges=ranges)
            self.assertEqual([each.prototype for each in found], expected, ranges)

    def test_units_that_the_list_of_addresses_does_not_name(self):
        """clang leaves the list out, so it may name assembler's units, or gcc's, alone.

        In DWARF 5 it writes names and addresses as numbers, of tables that each unit has its own
        part of.  Of two functions called f, the one at the symbol's address is meant.
        """
        rows = [('f', [self.integer], 0x1000), ('g', [], 0x3000), ('f', [], 0x8000)]
        for version, numbered in ((4, False), (5, False), (5, True)):
            roots = [dwarf.root()]
            for number, (name, kinds, first) in enumerate(rows):
                base = [(STRINGS_BASE, dwarf.place(8 + 12 * number)),
                        (dwarf.ADDRESS_BASE, dwarf.place(8 + 24 * number))]
                named = Form(0x25, b'\0') if numbered else Pooled(name)
                low = Form(0x1b, b'\1') if numbered else dwarf.address(first)
                roots.append(dwarf.root(
                    Entry(STRUCT, (NAME, Pooled(name))), *kinds + [Entry(
                        FUNCTION, (NAME, named), (LOW_PC, low),
                        below=[Entry(PARAMETER, (NAME, 'x'), (TYPE, kind)) for kind in kinds])],
                    attributes=base if numbered else []))
            more = [(b'.debug_str_offsets', b''.join(
                struct.pack('<IHHI', 8, 5, 0, place) for place in (1, 3, 1))),
                (b'.debug_addr', b''.join(
                    struct.pack('<IHBBQQ', 20, 5, 8, 0, 0, first) for _, _, first in rows))]
            for ranges in ([], [(0, 0x9000, 0x10)], [(2, 0x3000, 8), (0, 0x9000, 0x10)]):
                for name, words in (('f', 'void f(int)'), ('g', 'void g(void)')):
                    found = self.functions(name, *roots, version=version, ranges=ranges,
                                           more=more if numbered else ())
                    self.assertEqual([each.prototype for each in found], [words],
                                     (version, numbered, ranges))

    def test_begins_behind_its_symbol(self):
        for first, expected in ((0x1000, 1), (0x1008, 1), (0x1010, 1), (0x1011, 0), (0xfff, 0)):
            found = self.functions('f', dwarf.root(self.integer, dwarf.function(
                'f', [('x', self.integer)], (LOW_PC, dwarf.address(first)))),
                ranges=[(0, 0xff0, 0x100)])
            self.assertEqual(len(found), expected, hex(first))

    def test_functions_of_the_same_code(self):
        """The linker, or the compiler, leaves one of them; the other's name leads to it."""
        for attributes in ([], [(RANGES, dwarf.place(0))]):
            written, compiled = taking_two(self.integer, *attributes)
            found = self.functions('f', dwarf.root(self.integer, written, compiled),
                                   ranges=[(0, 0x1000, 0x100)])
            self.assertEqual([each.prototype for each in found], ['int f(int, int)'])

    def variant(self, name, first, where, **options):
        """The registers of f's arguments in a variant whose code begins at an address."""
        written, compiled = taking_two(self.integer, (LOW_PC, dwarf.address(first)))
        compiled.below = [Entry(PARAMETER, (ORIGIN, each), *([(LOCATION, place)] if place else []))
                          for each, place in zip(written.below, where)]
        attributes = options.pop('attributes', ())
        found = self.functions(name, dwarf.root(self.integer, written, compiled,
                                                attributes=attributes),
                               ranges=[(0, first - 0x20, 0x1000)], **options)
        return [[(each.name, each.place) for each in function.parameters] for function in found]

    def test_where_the_arguments_of_a_variant_lie(self):
        """Debug info names the register of each, where the compiler moved them."""
        for where, expected in [
                ([bytearray(b'\x55'), bytearray(b'\x54')], ['di', 'si']),
                ([bytearray(b'\x54'), None], ['si', '']),
                ([bytearray(b'\x5f'), bytearray(b'\x50')], ['r15', 'ax']),
                ([bytearray(b'\x60'), bytearray(b'\x4f')], ['', '']),
                ([bytearray(b'\x91\x70'), bytearray(b'')], ['', ''])]:
            self.assertEqual(self.variant('f.isra.0', 0x2000, where),
                             [[('x', expected[0]), ('y', expected[1])]])
        self.assertEqual(self.variant('f.isra.0', 0x2000, [bytearray(b'\x50'), bytearray(
            b'\x6e')], machine=elf.AARCH64), [[('x', 'x0'), ('y', 'x30')]])
        self.assertEqual(self.variant('f.isra.0', 0x2010, [bytearray(b'\x55'), None]),
                         [[('x', 'di'), ('y', '')]])
        self.assertEqual(self.variant('f.isra.0', 0x2011, [bytearray(b'\x55'), None]), [])
        self.assertEqual(self.variant('f.isra.1', 0x2000, [bytearray(b'\x55'), None]), [])

    def test_lists_of_locations(self):
        """Where a parameter lies at an address, in the lists of all versions."""
        old = struct.pack('<QQQQH', (1 << 64) - 1, 0x2000, 0, 8, 1) + b'\x55' + struct.pack(
            '<QQH', 8, 16, 1) + b'\x54' + struct.pack('<QQ', 0, 0)
        new = b'\6' + struct.pack('<Q', 0x2000) + b'\4\0\x08\1\x55' + b'\x08' + struct.pack(
            '<Q', 0x2008) + b'\x08\1\x54' + b'\x08' + struct.pack('<Q', 0x2010) + b'\1\1\x53\0'
        for version, section, lists in ((4, b'.debug_loc', old), (5, b'.debug_loclists', new)):
            for first, register in ((0x2000, 'di'), (0x2007, 'di'), (0x2008, 'si'), (0x200f, 'si'),
                                    (0x2010, 'bx' if version == 5 else '')):
                found = self.variant('f.isra.0', first, [dwarf.place(0), None], version=version,
                                     more=[(section, lists)])
                self.assertEqual(found, [[('x', register), ('y', '')]], (version, hex(first)))

    def test_lists_that_count_from_their_unit(self):
        old = struct.pack('<QQH', 0, 8, 1) + b'\x55' + struct.pack('<QQ', 0, 0)
        new = b'\4\0\x08\1\x55\0'
        for version, section, lists in ((4, b'.debug_loc', old), (5, b'.debug_loclists', new)):
            for base, register in ((0x2000, 'di'), (0x1ff8, ''), (0x2008, 'di'), (0x2009, '')):
                # (A variant whose symbol alone is known begins eight bytes behind that.)
                found = self.variant(
                    'f.isra.0', 0x2000, [dwarf.place(0), None], version=version,
                    more=[(section, lists)], attributes=[(LOW_PC, dwarf.address(base))])
                self.assertEqual(found, [[('x', register), ('y', '')]], (version, hex(base)))

    def test_lists_that_are_cut(self):
        for version, section, lists in ((4, b'.debug_loc', struct.pack('<QQ', 1, 2)),
                                        (5, b'.debug_loclists', b'\6\0\0'),
                                        (5, b'.debug_loclists', b'')):
            self.damaged(self.variant, 'f.isra.0', 0x2000, [dwarf.place(0), None],
                         version=version, more=[(section, lists)])

    def test_what_a_trace_says_of_them(self):
        written, compiled = taking_two(self.integer, (LOW_PC, dwarf.address(0x2000)))
        compiled.below = [Entry(PARAMETER, (ORIGIN, written.below[1]),
                                (LOCATION, bytearray(b'\x55')))]
        roots = [dwarf.root(self.integer, written, compiled)]
        sections = dwarf.sections(roots)
        path = self.write('vmlinux', elf.elf(sections + elf.symbols(self.SYMBOLS) + [
            (b'.debug_aranges', dwarf.ranges([(0, 0x2000, 0x100)]))]))
        message = self.refused('the compiler rearranged the arguments of f.isra.0', '-S', '-m',
                               'dwarf', '-v', path, 'p f.isra.0 a=%0', status=2)
        self.assertIn('known: y in %di', message)

    def test_origins_that_never_end(self):
        first, second = Entry(FUNCTION, (LOW_PC, dwarf.address(0x1000))), Entry(FUNCTION)
        first.attributes.append((ORIGIN, second))
        second.attributes.append((ORIGIN, first))
        self.damaged(self.functions, 'f', dwarf.root(first, second),
                     ranges=[(0, 0x1000, 0x100)])

    def test_inlined_from_another_unit(self):
        written = dwarf.function('f', [('x', self.integer)], (dwarf.INLINE, 1))
        found = self.functions(
            'f', dwarf.root(self.integer, written), dwarf.root(Entry(
                FUNCTION, (ORIGIN, Far(written)), (LOW_PC, dwarf.address(0x1000)))),
            ranges=[(1, 0x1000, 0x100)])
        self.assertEqual([each.prototype for each in found], ['void f(int)'])


class Numbered(DebugInfo):
    """Names by number in several units, each with its own part of the offsets (DWARF 5)."""

    def units(self, *bases):
        table = abbreviations([(ROOT, True, [(STRINGS_BASE, 0x17, b'')]),
                               (STRUCT, False, [(NAME, 0x25, b''), (SIZE, 0x0b, b'')])])
        info = b''.join(unit(b'\1' + struct.pack('<I', base) + b'\2\0' + size + b'\0', 5)
                        for base, size in zip(bases, (b'\x08', b'\x10', b'\x18')))
        offsets = b''.join(struct.pack('<IHHI', 8, 5, 0, place) for place in (1, 5, 9))
        return self.opened(info, table, b'\0one\0two\0six\0', [(b'.debug_str_offsets', offsets)])

    def test_each_has_its_own(self):
        for name, size in (('one', 8), ('two', 16), ('six', 24)):
            self.assertEqual(self.units(8, 20, 32).find('struct', name).size, size)
        self.assertIsNone(self.units(8, 20, 32).find('struct', 'ten'))
        self.assertEqual(self.units(8, 20, 32).names('struct'), ['one', 'six', 'two'])

    def test_in_another_order(self):
        for name, size in (('one', 24), ('two', 16), ('six', 8)):
            self.assertEqual(self.units(32, 20, 8).find('struct', name).size, size)


if __name__ == '__main__':
    unittest.main()

"""Types from DWARF: entries that the tests write themselves, form by form."""
import os
import struct
import tempfile
import unittest

import surftrace
from test_types import elf

NAME, SIZE, TYPE, PLACE, BIT_SIZE, DECLARED = 3, 11, 73, 56, 13, 60


class Silent(object):

    def note(self, _):
        pass

    progress = note


def leb(value):
    """Return a number of variable length, as bytes."""
    data = bytearray([value & 0x7f])
    while value >> 7:
        data[-1] |= 0x80
        value >>= 7
        data.append(value & 0x7f)
    return bytes(data)


def abbreviations(rows):
    """Return a table of (tag, has children, [(attribute, form, constant)]), numbered from 1."""
    table = b''
    for code, (tag, children, attributes) in enumerate(rows, 1):
        table += leb(code) + leb(tag) + (b'\1' if children else b'\0')
        for attribute, form, constant in attributes:
            table += leb(attribute) + leb(form) + constant
        table += b'\0\0'
    return table + b'\0'


def unit(entries, version=4, wide=False, table=0):
    """Return a unit of DWARF with these bytes of entries."""
    offset = '<Q' if wide else '<I'
    head = struct.pack('<H', version)
    if version == 5:
        head += b'\1\x08' + struct.pack(offset, table)
    else:
        head += struct.pack(offset, table) + b'\x08'
    size = struct.pack('<I', len(head + entries))
    if wide:
        size = b'\xff\xff\xff\xff' + struct.pack('<Q', len(head + entries))
    return size + head + entries


ROOT = (0x11, True, [])


class Dwarf(unittest.TestCase):

    def opened(self, info, table, strings=b'\0', more=()):
        with tempfile.NamedTemporaryFile(delete=False) as stream:
            stream.write(elf([(b'.debug_info', info), (b'.debug_abbrev', table),
                              (b'.debug_str', strings)] + list(more)))
        self.addCleanup(os.remove, stream.name)
        types = surftrace.Dwarf(surftrace.elf_of(stream.name), Silent())
        self.addCleanup(types.close)
        return types

    def test_forms(self):
        """What each form's bytes say; a byte of 0x55 behind them is what comes next."""
        for form, constant, data, expected in [
                (0x01, b'', b'\1\2\3\4\5\6\7\x08', 0x0807060504030201),
                (0x03, b'', b'\2\0ab', b'ab'), (0x04, b'', b'\1\0\0\0a', b'a'),
                (0x05, b'', b'\1\2', 0x201), (0x06, b'', b'\1\2\3\4', 0x4030201),
                (0x07, b'', b'\1' + b'\0' * 7, 1), (0x08, b'', b'abc\0', b'abc'),
                (0x09, b'', b'\2ab', b'ab'), (0x0a, b'', b'\2ab', b'ab'), (0x0b, b'', b'\xff', 255),
                (0x0c, b'', b'\1', 1), (0x0d, b'', b'\x7f', -1), (0x0d, b'', b'\x80\x7f', -128),
                (0x0e, b'', b'\4\0\0\0', ('.debug_str', 4)), (0x0f, b'', b'\x80\1', 128),
                (0x10, b'', b'\7\0\0\0', 7), (0x11, b'', b'\7', 7), (0x12, b'', b'\7\0', 7),
                (0x13, b'', b'\7\0\0\0', 7), (0x14, b'', b'\7' + b'\0' * 7, 7),
                (0x15, b'', b'\7', 7), (0x16, b'', b'\x0b\7', 7), (0x17, b'', b'\7\0\0\0', 7),
                (0x18, b'', b'\1a', b'a'), (0x19, b'', b'', 1), (0x1a, b'', b'\7', ('index', 7)),
                (0x1b, b'', b'\7', 7), (0x1e, b'', b'x' * 16, None),
                (0x1f, b'', b'\4\0\0\0', ('.debug_line_str', 4)), (0x21, b'\x7d', b'', -3),
                (0x22, b'', b'\7', 7), (0x23, b'', b'\7', 7), (0x25, b'', b'\7', ('index', 7)),
                (0x26, b'', b'\1\2', ('index', 0x201)), (0x27, b'', b'\1\2\3', ('index', 0x30201)),
                (0x28, b'', b'\1\2\3\4', ('index', 0x4030201)), (0x29, b'', b'x', None),
                (0x2a, b'', b'xx', None), (0x2b, b'', b'xxx', None), (0x2c, b'', b'xxxx', None)]:
            table = abbreviations([(0x11, False, [(0x1234, form, constant), (0x1235, 0x0b, b'')])])
            values = self.opened(unit(b'\1' + data + b'\x55', 5), table)._entry(12).values
            self.assertEqual(values, {0x1234: expected, 0x1235: 0x55}, hex(form))

    def test_offsets_of_eight_bytes(self):
        table = abbreviations([(0x11, False, [(0x1234, 0x0e, b''), (0x1235, 0x17, b'')])])
        data = struct.pack('<QQ', 4, 1 << 33)
        types = self.opened(unit(b'\1' + data, 5, wide=True), table)
        self.assertEqual(types._entry(types.units[0].entries).values,
                         {0x1234: ('.debug_str', 4), 0x1235: 1 << 33})

    def test_forms_that_are_not_known(self):
        for form in (0x02, 0x1c, 0x1f21, 0x7fff):
            with self.assertRaises(surftrace.UnknownDebugInfo) as caught:
                self.opened(unit(b'\1'), abbreviations([(0x11, False, [(3, form, b'')])]))
            self.assertIn('0x%x' % form, str(caught.exception))

    STRUCTS = abbreviations([
        ROOT, (0x13, False, [(NAME, 0x0e, b''), (DECLARED, 0x19, b'')]),
        (0x13, True, [(NAME, 0x0e, b''), (SIZE, 0x0b, b'')]),
        (0x0d, False, [(NAME, 0x08, b''), (TYPE, 0x13, b''), (PLACE, 0x0b, b'')]),
        (0x24, False, [(NAME, 0x08, b''), (SIZE, 0x0b, b''), (62, 0x0b, b'')])])

    def test_a_declaration_leads_on(self):
        """To the definition in the next unit, of a name that ends another."""
        strings = b'\0put_task_struct\0'
        name = struct.pack('<I', strings.index(b'task_struct'))
        first = unit(b'\1\2' + name + b'\0')
        body = b'\1\5int\0\4\5' + b'\3' + name + b'\x08' + b'\4pid\0' + struct.pack('<I', 12)
        types = self.opened(first + unit(body + b'\4\0\0'), self.STRUCTS, strings)
        ref = types.find('struct', 'task_struct')
        self.assertEqual(types.describe(ref)[:3], ('struct', 'task_struct', 8))
        self.assertEqual([member[:1] + member[2:] for member in types.members(ref)],
                         [('pid', 32, 0)])
        self.assertEqual(surftrace.declared(types, types.members(ref)[0].type), 'int')
        # What is only declared has the members of its definition.
        self.assertEqual(types.members(12), types.members(ref))
        self.assertIsNone(types.find('struct', 'struct'))
        self.assertIsNone(types.find('struct', 'put_task_struct'))

    def test_bitfields(self):
        """As DWARF 4 and later count them, and as those before did: from the other end."""
        for attributes, data, expected in [
                ([(0x6b, 0x0b, b''), (BIT_SIZE, 0x0b, b'')], b'\x25\3', (37, 3)),
                ([(PLACE, 0x0b, b''), (SIZE, 0x0b, b''), (0x0c, 0x0b, b''), (BIT_SIZE, 0x0b, b'')],
                 b'\4\4\x18\3', (37, 3)),
                ([(PLACE, 0x0a, b''), (SIZE, 0x0b, b''), (0x0c, 0x0b, b''), (BIT_SIZE, 0x0b, b'')],
                 b'\2\x23\4\4\x18\3', (37, 3))]:
            table = abbreviations([ROOT, (0x13, True, [(NAME, 0x08, b'')]),
                                   (0x0d, False, [(NAME, 0x08, b'')] + attributes)])
            types = self.opened(unit(b'\1\2s\0\3b\0' + data + b'\0\0'), table)
            [member] = types.members(types.find('struct', 's'))
            self.assertEqual((member.bit_offset, member.bit_size), expected)

    def test_siblings(self):
        """Children are leapt over where their parent says how far they go."""
        table = abbreviations([
            ROOT, (0x13, True, [(1, 0x13, b''), (NAME, 0x08, b'')]), (0x13, False, [
                (NAME, 0x08, b'')])])
        # (If they were read, the child of no known abbreviation would be told of.)
        body = b'\1\2' + struct.pack('<I', 21) + b's\0\x77\0\3t\0\0'
        types = self.opened(unit(body), table)
        self.assertEqual(types.names('struct'), ['s', 't'])
        for sibling in (0, 12, 1 << 30):
            body = b'\1\2' + struct.pack('<I', sibling) + b's\0\x77\0\3t\0\0'
            types = self.opened(unit(body), table)
            if sibling < 13:
                self.assertRaises(surftrace.SourceError, types.names, 'struct')
            else:
                self.assertEqual(types.names('struct'), ['s'])

    def test_damaged(self):
        whole = unit(b'\1\5int\0\4\5\0')
        for info in (b'', b'\7', whole[:-1], whole[:4] + b'\x09' + whole[5:],
                     whole[:4] + b'\4\0' + b'\xff' * 4 + whole[10:]):
            with self.assertRaises(surftrace.SourceError):
                self.opened(info, self.STRUCTS).find('int', 'int')
        types = self.opened(whole, self.STRUCTS)
        self.assertEqual(types.describe(types.find('int', 'int')),
                         surftrace.Type('int', 'int', 4, signed=True))
        for ref in (1, 10 ** 6, types.units[0].end - 1):
            self.assertRaises(surftrace.SourceError, types.describe, ref)

    def test_lists_of_locations(self):
        """Where a parameter lies at an address, in the lists of both versions."""
        old = struct.pack('<QQQQH', (1 << 64) - 1, 0x1000, 0, 8, 1) + b'\x55' + struct.pack(
            '<QQH', 8, 16, 1) + b'\x54' + struct.pack('<QQ', 0, 0)
        new = b'\6' + struct.pack('<Q', 0x1000) + b'\4\0\x08\1\x55' + b'\x08' + struct.pack(
            '<Q', 0x1008) + b'\x08\1\x54' + b'\7' + struct.pack('<QQ', 0x2000, 0x2008) + b'\1\x53\0'
        for version, section, lists in ((4, b'.debug_loc', old), (5, b'.debug_loclists', new)):
            types = self.opened(unit(b'\1', version), abbreviations([(0x11, False, [])]),
                                more=[(section, lists)])
            found = [types._listed_location(types.units[0], 0, address)
                     for address in (0x1000, 0x1007, 0x1008, 0x100f, 0x1010)]
            self.assertEqual(found, [b'\x55', b'\x55', b'\x54', b'\x54', None])
        self.assertEqual(types._listed_location(types.units[0], 0, 0x2007), b'\x53')

    def test_what_lies_elsewhere(self):
        for attribute in (0x76, 0x2130):
            table = abbreviations([(0x11, False, [(attribute, 0x08, b'')])])
            with self.assertRaises(surftrace.UnknownDebugInfo) as caught:
                self.opened(unit(b'\1x.dwo\0'), table)
            self.assertIn('.dwo', str(caught.exception))


if __name__ == '__main__':
    unittest.main()

"""Write small debug info; its layout is that of DWARF 2 to 5 (dwarfstd.org).

leb, abbreviations and unit write its bytes one by one; Entry and sections() write a tree.
"""
import struct
from collections import namedtuple

# Tags, attributes and forms, in the standard's numbers.
ARRAY, ENUM, PARAMETER, MEMBER, POINTER, ROOT, STRUCT = 0x01, 0x04, 0x05, 0x0d, 0x0f, 0x11, 0x13
FUNCTION_TYPE, TYPEDEF, UNION, ANY_MORE, RANGE, BASE = 0x15, 0x16, 0x17, 0x18, 0x21, 0x24
CONST, ENUMERATOR, FUNCTION, VARIABLE, VOLATILE, RESTRICT = 0x26, 0x28, 0x2e, 0x34, 0x35, 0x37
NOTHING, ATOMIC, ANNOTATION, REFERENCE = 0x3b, 0x47, 0x6000, 0x10
SIBLING, LOCATION, NAME, SIZE, BIT_OFFSET, BIT_SIZE, LOW_PC = 1, 2, 3, 11, 12, 13, 17
CONSTANT, INLINE, UPPER_BOUND, ORIGIN, COUNT, PLACE, LINE = 28, 32, 47, 49, 55, 56, 59
DECLARED, ENCODING, SPECIFICATION, TYPE, RANGES = 60, 62, 71, 73, 85
DATA_BIT_OFFSET, STRINGS_BASE, ADDRESS_BASE, SPLIT, GNU_SPLIT = 0x6b, 0x72, 0x73, 0x76, 0x2130
LANGUAGE = 0x13
BOOLEAN, FLOAT, SIGNED, SIGNED_CHAR, UNSIGNED, UNSIGNED_CHAR = 2, 4, 5, 6, 7, 8

# A value whose form is written out; constant: what the abbreviation holds of it.
Form = namedtuple('Form', 'form data constant')
Form.__new__.__defaults__ = (b'', b'')
Far = namedtuple('Far', 'entry')            # a reference from another unit
Pooled = namedtuple('Pooled', 'text')       # a text that lies in .debug_str


def address(number):
    return Form(0x01, struct.pack('<Q', number))


def place(number):
    """Return a place in another section."""
    return Form(0x17, struct.pack('<I', number))


def leb(value):
    """Return a number of variable length, as bytes."""
    data = bytearray([value & 0x7f])
    while value >> 7:
        data[-1] |= 0x80
        value >>= 7
        data.append(value & 0x7f)
    return bytes(data)


def signed_leb(value):
    data = bytearray()
    while not -64 <= value < 64:
        data.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(data + bytearray([value & 0x7f]))


def abbreviations(rows):
    """Return a table of (tag, has children, [(attribute, form, constant)]), numbered from 1."""
    table = b''
    for code, (tag, children, attributes) in enumerate(rows, 1):
        table += leb(code) + leb(tag) + (b'\1' if children else b'\0')
        for attribute, form, constant in attributes:
            table += leb(attribute) + leb(form) + constant
        table += b'\0\0'
    return table + b'\0'


def unit(entries, version=4, wide=False, table=0, kind=1, extra=b'', address_size=8):
    """Return a unit of DWARF with these bytes of entries; extra is what its header has more."""
    offset = '<Q' if wide else '<I'
    head = struct.pack('<H', version)
    width = struct.pack('B', address_size)
    if version == 5:
        head += struct.pack('B', kind) + width + struct.pack(offset, table)
    else:
        head += struct.pack(offset, table) + width
    size = struct.pack('<I', len(head + extra + entries))
    if wide:
        size = b'\xff\xff\xff\xff' + struct.pack('<Q', len(head + extra + entries))
    return size + head + extra + entries


class Entry(object):
    """An entry: its tag, its (attribute, value) pairs, and the entries below it.

    A text is written as one, an Entry as a reference to it, True as a flag, bytes as a block, a
    number in as many bytes as it takes.
    """

    def __init__(self, tag, *attributes, **more):
        self.tag, self.attributes = tag, list(attributes)
        self.below, self.at = list(more.get('below', ())), None

    def forms(self, write):
        """Return (attribute, form, constant, data) of each attribute."""
        return [(attribute,) + write(value) for attribute, value in self.attributes]


class Writer(object):
    """Units in the making."""

    def __init__(self, version, wide):
        self.version, self.wide = version, wide
        self.rows, self.strings = [], b'\0'

    def value(self, value):
        """Return a value's form, its constant and its bytes."""
        if isinstance(value, Form):
            return value.form, value.constant, value.data
        if value is True:
            return 0x19, b'', b''
        if isinstance(value, Entry):
            return 0x13, b'', struct.pack('<I', (value.at or 0) - self.start)
        if isinstance(value, Far):
            return 0x10, b'', struct.pack('<Q' if self.wide else '<I', value.entry.at or 0)
        if isinstance(value, Pooled):
            text = b'\0' + value.text.encode() + b'\0'
            if text not in self.strings:
                self.strings += text[1:]
            return 0x0e, b'', struct.pack('<Q' if self.wide else '<I',
                                          self.strings.index(text) + 1)
        if isinstance(value, int):
            return (0x0f, b'', leb(value)) if value >= 0 else (0x0d, b'', signed_leb(value))
        if isinstance(value, bytes) and not isinstance(value, str):
            return 0x18, b'', leb(len(value)) + value
        if isinstance(value, bytearray):
            return 0x18, b'', leb(len(value)) + bytes(value)
        return 0x08, b'', value.encode() + b'\0'

    def entry(self, entry, at):
        """Return the bytes of an entry that stands at a place, and of those below it."""
        entry.at = at
        forms = entry.forms(self.value)
        row = (entry.tag, bool(entry.below), [each[:3] for each in forms])
        if row not in self.rows:
            self.rows.append(row)
        data = leb(self.rows.index(row) + 1) + b''.join(each[3] for each in forms)
        for each in entry.below:
            data += self.entry(each, at + len(data))
        return data + (b'\0' if entry.below else b'')

    def info(self, roots):
        data = b''
        for root in roots:
            self.start = len(data)
            head = len(unit(b'', self.version, self.wide))
            data += unit(self.entry(root, self.start + head), self.version, self.wide)
        return data


def root(*entries, **more):
    """Return the Entry of a unit with these below it; attributes=[...] are its own."""
    return Entry(ROOT, *more.get('attributes', ()), below=entries)


def sections(roots, version=4, wide=False):
    """Return the (name, data) sections of the debug info of these units."""
    writer = Writer(version, wide)
    writer.info(roots)              # so that each entry knows its place
    return [(b'.debug_info', writer.info(roots)), (b'.debug_abbrev', abbreviations(writer.rows)),
            (b'.debug_str', writer.strings)]


def ranges(rows):
    """Return a .debug_aranges of (place of the unit, address, size) rows."""
    data = b''
    for start, first, size in rows:
        data += struct.pack('<IHIBBIQQQQ', 44, 2, start, 8, 0, 0, first, size, 0, 0)
    return data


# What most types are made of.

def number(name, size, encoding=UNSIGNED):
    return Entry(BASE, (NAME, name), (SIZE, size), (ENCODING, encoding))


def pointer(*target):
    """Return a pointer; to void, which is nothing, if no target is given."""
    return Entry(POINTER, (SIZE, 8), *[(TYPE, each) for each in target])


def struct_of(name, size, members, tag=STRUCT):
    """Return a struct of (name, type, offset in bytes) members, and of members that are Entries."""
    return Entry(tag, *([(NAME, name)] if name else []) + [(SIZE, size)], below=[
        each if isinstance(each, Entry) else Entry(
            MEMBER, *([(NAME, each[0])] if each[0] else []) + [(TYPE, each[1]), (PLACE, each[2])])
        for each in members])


def enum_of(name, values, *attributes):
    return Entry(ENUM, *([(NAME, name)] if name else []) + [(SIZE, 4)] + list(attributes), below=[
        Entry(ENUMERATOR, (NAME, each), (CONSTANT, value)) for each, value in values])


def function(name, parameters, *attributes):
    """Return a function of (name, type) parameters; an Entry is put there as it is."""
    return Entry(FUNCTION, (NAME, name), *attributes, below=[
        each if isinstance(each, Entry) else Entry(PARAMETER, (NAME, each[0]), (TYPE, each[1]))
        for each in parameters])

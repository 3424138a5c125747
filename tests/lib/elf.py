"""Write small ELF files; their layout is that of elf.5."""
import struct

X86_64, AARCH64 = 62, 183
RELOCATABLE, EXECUTABLE = 1, 2
DATA, NO_BITS = 1, 8            # kinds of sections
COMPRESSED = 1 << 11            # a section's flag
OBJECT, FUNCTION = 1, 2         # kinds of symbols
IDENT = b'\x7fELF\x02\x01\x01' + b'\0' * 9
BIG_ENDIAN = b'\x7fELF\x02\x02\x01' + b'\0' * 9


def elf(sections, ident=IDENT, machine=X86_64, kind=EXECUTABLE, names_at=0):
    """Return an ELF file with these (name, data[, flags[, kind]]) sections behind its header.

    names_at -- is added to the number of the section that has the names of the others
    """
    order = '<>'[bytearray(ident)[5] - 1]
    names = b'\0' + b'\0'.join(section[0] for section in sections) + b'\0.shstrtab\0'
    body, table, at = b'', struct.pack('<IIQQQQIIQQ', *[0] * 10), 64
    for section in list(sections) + [(b'.shstrtab', names)]:
        name, data, flags, section_kind = (tuple(section) + (0, DATA))[:4] if len(
            section) != 3 else tuple(section) + (DATA,)
        table += struct.pack(order + 'IIQQQQIIQQ', names.index(b'\0' + name + b'\0') + 1,
                             section_kind, flags, 0, at + len(body), len(data), 0, 0, 1, 0)
        body += data
    header = ident + struct.pack(
        order + 'HHIQQQIHHHHHH', kind, machine, 1, 0, 0, at + len(body), 0, 64, 0, 0, 64,
        len(sections) + 2, len(sections) + 1 + names_at)
    return header + body + table


def symbols(rows):
    """Return the sections with a table of (name, address, size[, kind[, section]]) symbols."""
    table, strings = b'\0' * 24, b'\0'
    for row in rows:
        name, address, size, kind, section = tuple(row) + (FUNCTION, 1)[len(row) - 3:]
        table += struct.pack('<IBBHQQ', len(strings), kind | 1 << 4, 0, section, address, size)
        strings += name.encode() + b'\0'
    return [(b'.symtab', table), (b'.strtab', strings)]


def build_id(number):
    """Return the notes that hold a build id, 20 times the byte, behind those of somebody else."""
    return (b'\4\0\0\0\4\0\0\0\0\1\0\0XXX\0abcd'
            b'\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0' + number * 20)

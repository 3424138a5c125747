"""Turn a database of the newer generation into one of the older, as there are many in the field.

Arguments have no names there, dimensions stand in the name of a member and not in its type, and
there is no struct without a name: the members of a nameless member stand in its holder, those of a
member whose struct has no tag have dotted names.
"""
import re
import sqlite3

from .database import OLDER

NAMELESS = r'(struct|union) \$\d+'


class Older(object):
    """The older database in the making."""

    def __init__(self, newer, path):
        self.newer, self.made = sqlite3.connect(newer), sqlite3.connect(path)
        self.structs = dict((name, (serial, size)) for serial, name, size in self.newer.execute(
            'SELECT id, name, bytes FROM structs ORDER BY id DESC'))

    def write(self):
        for statement in OLDER:
            self.made.execute(statement)
        self.insert('files', 'x.c')
        for name, arguments, result in self.newer.execute('SELECT func, args, ret FROM funs'):
            # Each second one is said to be static, as half of a kernel's functions are.
            static = 'static ' if len(name) % 2 else ''
            self.insert('funs', name, self.plain(arguments), static + self.plain(result), 1, 1, '')
        for name in self.structs:
            if not re.match(NAMELESS + '$', name):
                self.write_struct(name, name)
        for name, alias, size in self.newer.execute('SELECT name, alias, bytes FROM types'):
            # A typedef stands for itself if its struct has no name.
            if re.match(NAMELESS + '$', alias):
                self.write_struct(name, alias)
                alias = name
            self.insert('types', name, self.plain(alias), size)
        for table, column in (('structs', 'name'), ('members', 'fid'), ('types', 'name'),
                              ('funs', 'func')):
            self.made.execute('CREATE INDEX of_%s ON %s (%s)' % (table, table, column))
        self.made.commit()
        self.newer.close()
        self.made.close()

    def write_struct(self, name, newer_name):
        rows = list(self.rows(newer_name, 0, ''))
        serial = self.insert('structs', name, len(rows), self.structs[newer_name][1])
        for row in rows:
            self.insert('members', serial, *row)

    def insert(self, table, *values):
        return self.made.execute('INSERT INTO %s VALUES (NULL%s)' % (
            table, ', ?' * len(values)), values).lastrowid

    def plain(self, kind):
        """Return a type without the newer generation's names of what has none."""
        return re.sub(NAMELESS, r'\1 {...}', re.sub(r'enum \$\d+', 'unsigned int', kind))

    def rows(self, struct, start, path):
        """Yield the rows of a struct that begins at start and whose members' names begin so."""
        for kind, name, offset, size, bits in self.newer.execute(
                'SELECT types, name, offset, bytes, bits FROM members WHERE fid = ? ORDER BY id',
                (self.structs[struct][0],)).fetchall():
            inner = re.match(NAMELESS + r'(?=(\[\d*\])*$)', kind)
            dimensions = re.search(r'((?:\[\d*\])*)\)', kind) if '(*' in kind else re.search(
                r'((?:\[\d*\])*)$', kind)
            called = path + ('' if name.startswith('$') else name + dimensions.group(1))
            if inner:
                below = called + '.' if called != path else path
                for row in self.rows(inner.group(), start + offset, below):
                    yield row
                continue
            outer = kind[:dimensions.start(1)] + kind[dimensions.end(1):]
            if bits:
                offset, bits = in_unit(offset, size, bits)
            yield self.plain(outer), called, start + offset, size, bits


def in_unit(offset, size, bits):
    """Return where the unit of storage begins that a bitfield lies in, and its bits there."""
    first, count = [int(number) for number in bits.split(':')]
    unit = offset // size * size
    if 8 * (offset - unit) + first + count > 8 * size:      # of a packed struct
        return offset, bits
    return unit, '%d:%d' % (8 * (offset - unit) + first, count)


def write_older(newer, path):
    """Write the older generation's database at path, from the newer one's file."""
    Older(newer, path).write()

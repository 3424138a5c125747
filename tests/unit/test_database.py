"""Types from a database: what is written into one, both generations, and what is no database."""
import os
import sqlite3
import stat
import unittest

from tests.lib import btf, database, dwarf, elf, tool
from tests.lib.database import function
from tests.lib.files import FileTest

TRACE = 'p f a=!(struct sock *)%di->flag'


class DatabaseTest(FileTest):

    def setUp(self):
        FileTest.setUp(self)
        self.path = os.path.join(self.directory, 'info.db')

    def opened(self):
        types = tool.from_database(self.path)
        self.addCleanup(types.close)
        return types

    def told(self, message, call, *arguments):
        with self.assertRaises(tool.SourceError) as caught:
            call(*arguments)
        self.assertIn(message, str(caught.exception))
        self.assertIn(self.path, str(caught.exception))


class Written(DatabaseTest):
    """What is made from another source says what that says."""

    def test_says_what_its_source_says(self):
        raw = self.write('raw', btf.sample().data())
        self.assertEqual(self.said('-v', raw, '--make-db', self.path), '')
        self.assertIn('surftrace: %s: 0.' % self.path, self.noted)
        self.assertTrue(self.noted.endswith(' MB\n'))
        source, types = tool.sample(), self.opened()
        for kind in ('struct', 'union', 'enum', 'typedef', 'function'):
            self.assertEqual(types.names(kind), source.names(kind))
        for name in source.names('function'):
            self.assertEqual(types.prototypes(name), source.prototypes(name))
            self.assertEqual([[each.name for each in found.parameters]
                              for found in types.functions(name)],
                             [[each.name for each in found.parameters]
                              for found in source.functions(name)])
        for kind in ('struct', 'union'):
            for name in source.names(kind):
                self.assertEqual(types.information('%s %s' % (kind, name)),
                                 source.information('%s %s' % (kind, name)))
        for name in source.names('typedef'):
            found, expected = types.find('typedef', name), source.find('typedef', name)
            self.assertEqual((found.words, found.kind, found.size),
                             (expected.words, expected.kind, expected.size))

    def test_says_so_to_a_person(self):
        raw = self.write('raw', btf.sample().data())
        self.said('-v', raw, '--make-db', self.path)
        trace = 'p wake_up_new_task a=$p->comm b=U%0->mode c=S%0->mm->mm_users d=%0->pids[1].pid'
        self.assertEqual(self.words(self.path, trace, '-d'), self.words(raw, trace))
        self.said('-d', self.path, '-S', trace)
        self.assertEqual(self.noted, 'surftrace: types from %s (database), registers of x86_64\n'
                         % self.path)
        for name in ('task_struct', 'wake_up_new_task', 'atomic_t'):
            self.assertEqual(self.said('-d', self.path, '--info', name),
                             self.said('-v', raw, '--info', name))
        self.assertEqual(self.said('-d', self.path, '--info', 'by_*'),
                         self.said('-v', raw, '--info', 'by_*'))

    def test_tells_its_architecture(self):
        raw = self.write('raw', btf.sample().data())
        self.said('-v', raw, '-a', 'aarch64', '--make-db', self.path)
        self.refused('%s is for aarch64, but this trace is for x86_64: say -a '
                     'aarch64\n' % self.path, '-S', '-d', self.path, TRACE)
        self.said('-S', '-a', 'aarch64', '-d', self.path, 'p f a=!(struct sk_buff *)%x0->len')
        # A published one does not.
        database.make(self.path, *database.TABLES)
        self.said('-S', '-d', self.path, 'p f a=!(long *)%di[0]')

    def test_takes_the_place_of_a_file_only(self):
        raw = self.write('raw', btf.sample().data())
        for _ in range(2):
            self.said('-v', raw, '--make-db', self.path)
        pipe = self.path + '-pipe'
        os.mkfifo(pipe)
        for path, message in ((self.directory, 'no file that could be replaced'),
                              (pipe, 'no file that could be replaced'),
                              ('/nonexistent/', 'no such file or directory')):
            self.assertIn(path, self.refused(message, '-v', raw, '--make-db', path))
        self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))
        self.assertEqual(sorted(os.listdir(self.directory)), [
            'info.db', 'info.db-pipe', 'raw'])

    def test_anybody_may_read_it(self):
        before = os.umask(0o027)
        try:
            self.said('-v', self.write('raw', btf.sample().data()), '--make-db', self.path)
        finally:
            os.umask(before)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)

    def test_is_there_when_it_is_whole(self):
        """A damaged source leaves nothing behind."""
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        writer.add('symbol', 'f', integer)
        raw = self.write('raw', writer.data())
        self.refused('is damaged', '-v', raw, '--make-db', self.path)
        self.assertEqual(os.listdir(self.directory), ['raw'])

    def test_structs_of_one_name_are_told_apart(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        one = writer.struct('same', 4, [('x', integer, 0)])
        two = writer.struct('same', 8, [('y', integer, 32)])
        writer.function('f', 0, [('a', writer.pointer(one)), ('b', writer.pointer(two))])
        self.said('-v', self.write('raw', writer.data()), '--make-db', self.path)
        types = self.opened()
        [found] = types.functions('f')
        self.assertEqual([[member.name for member in each.type.target.members()]
                          for each in found.parameters], [['x'], ['y']])
        self.assertEqual(found.prototype, 'void f(struct same *, struct same *)')
        self.assertEqual(types.names('struct'), ['same'])

    def test_functions_of_one_name(self):
        raw = self.write('raw', btf.sample().data())
        self.said('-v', raw, '--make-db', self.path)
        self.assertEqual(self.opened().prototypes('twice'),
                         ['int twice(struct task_struct *, int)', 'int twice(struct sk_buff *, int)'
                          ])

    def test_bitfields_and_nameless_members(self):
        """Byte, bit and width of each; what has no name is called $ there, and has a type."""
        writer = btf.Writer()
        integer = writer.integer('unsigned int', 4)
        inner = writer.struct('', 8, [('low', integer, 0, 4), ('high', integer, 4, 28),
                                      ('plain', integer, 32)])
        either = writer.struct('', 8, [('', inner, 0), ('whole', integer, 0)], 'union')
        writer.struct('outer', 24, [('first', integer, 0), ('', either, 64), ('named', inner, 128),
                                    ('', integer, 96, 0)])
        source = tool.from_btf(writer.data())
        self.said('-v', self.write('raw', writer.data()), '--make-db', self.path)
        found = self.opened().find('struct', 'outer')
        self.assertEqual(found.places(), [
            ('first', 0, 0), ('high', 68, 28), ('low', 64, 4), ('named', 128, 0),
            ('plain', 96, 0), ('whole', 64, 0)])
        self.assertEqual(self.opened().information('outer'), source.information('outer'))
        self.assertEqual(found.member('named').type.places(),
                         [('high', 4, 28), ('low', 0, 4), ('plain', 32, 0)])


# Statements for a database of the older generation.
OLDER = database.OLDER + [
    """INSERT INTO funs VALUES (1, 'tcp_rcv', '["struct sock *", "int"]', 'static int', 7, 1,
       'vmlinux')""",
    """INSERT INTO funs VALUES (2, 'nothing', '["void"]', 'void', 7, 1, '')""",
    """INSERT INTO funs VALUES (3, 'printk', '["const char *", "..."]', 'int', 7, 1, '')""",
    "INSERT INTO structs VALUES (1, 'struct sock', 5, 64)",
    "INSERT INTO members VALUES (1, 1, 'char', 'name[16]', 0, 16, '')",
    "INSERT INTO members VALUES (2, 1, 'unsigned int', 'flag', 16, 4, '9:3')",
    "INSERT INTO members VALUES (3, 1, 'atomic_t', 'sk_backlog.rmem_alloc', 24, 4, '')",
    "INSERT INTO members VALUES (4, 1, 'struct sk_buff *', 'sk_backlog.head', 32, 8, '')",
    "INSERT INTO members VALUES (5, 1, 'u8', 'sk_backlog.bytes[4]', 40, 4, '')",
    "INSERT INTO members VALUES (6, 1, 'void (*)(struct sock *)', 'call[2]', 48, 16, '')",
    "INSERT INTO types VALUES (1, 'atomic_t', 'atomic_t', 4)",
    "INSERT INTO structs VALUES (2, 'atomic_t', 1, 4)",
    "INSERT INTO members VALUES (7, 2, 'int', 'counter', 0, 4, '')",
    "INSERT INTO types VALUES (2, 'u8', 'unsigned char', 1)",
    "INSERT INTO structs VALUES (3, 'union either', 2, 8)",
    "INSERT INTO members VALUES (8, 3, 'u8', 'a.b.c', 0, 1, '')",
    "INSERT INTO members VALUES (9, 3, 'u8', 'a.b.d', 4, 1, '')",
    "INSERT INTO members VALUES (10, 3, 'u8', 'a.e', 7, 1, '')",
    "INSERT INTO members VALUES (11, 3, 'u8', 'f', 0, 1, '')",
    "INSERT INTO members VALUES (12, 3, 'u8', 'a.again', 6, 1, '')",
    "INSERT INTO types VALUES (3, 'gfp_t', 'gfp_t', 4)"]
VALUES = [
    ('%0->name', '+0x0(%di):string'), ('%0->flag', '+0x11(%di):b3@1/8'),
    ('S%0->sk_backlog.rmem_alloc.counter', '+0x18(%di):s32'),
    ('%0->sk_backlog.rmem_alloc', '+0x18(%di):x32'),
    ('%0->sk_backlog.head', '+0x20(%di):x64'), ('U%0->sk_backlog.bytes[3]', '+0x2b(%di):u8'),
    ('%0->call[1]', '+0x38(%di):symbol'), ('S%1', '%si:s32')]


class Older(DatabaseTest):
    """The older generation: members of nameless structs with dots, dimensions in the names."""

    def test_values(self):
        database.make(self.path, *OLDER)
        for value, expected in VALUES:
            self.assertEqual(self.words(self.path, 'p tcp_rcv a=' + value, '-d'), 'a=' + expected)

    def test_functions(self):
        database.make(self.path, *OLDER)
        types = self.opened()
        self.assertEqual(types.prototypes('tcp_rcv'), ['int tcp_rcv(struct sock *, int)'])
        self.assertEqual(types.prototypes('nothing'), ['void nothing(void)'])
        self.assertEqual(types.prototypes('printk'), ['int printk(const char *, ...)'])
        self.assertEqual(types.prototypes('unknown'), [])
        # The same function of two files is one.
        database.add(self.path, "INSERT INTO funs SELECT NULL, func, args, ret, 9, 2, module "
                                "FROM funs")
        self.assertEqual(len(self.opened().functions('tcp_rcv')), 1)

    def test_structs_in_structs(self):
        database.make(self.path, *OLDER)
        found = self.opened().find('union', 'either')
        self.assertEqual((found.kind, found.size), ('union', 8))
        outer = found.member('a')
        self.assertEqual((outer.bit_offset, outer.type.kind, outer.type.size), (0, 'struct', 8))
        self.assertEqual(outer.type.places(), [('b', 0, 0), ('e', 56, 0)])
        self.assertEqual(outer.type.member('b').type.places(), [('c', 0, 0), ('d', 32, 0)])
        self.assertEqual([member.name for member in found.members()], ['a', 'f', 'a'])

    def test_typedefs(self):
        database.make(self.path, *OLDER)
        types = self.opened()
        for name, words, kind, size in (('atomic_t', 'atomic_t', 'struct', 4),
                                        ('u8', 'u8', 'int', 1), ('gfp_t', 'gfp_t', 'int', 4)):
            found = types.find('typedef', name)
            self.assertEqual((found.words, found.kind, found.size), (words, kind, size))
        self.assertEqual(types.find('typedef', 'atomic_t').places(), [('counter', 0, 0)])
        self.assertIsNone(types.find('typedef', 'sock'))
        self.assertEqual(types.names('typedef'), ['atomic_t', 'gfp_t', 'u8'])
        self.assertEqual(types.names('struct'), ['sock'])
        self.assertEqual(types.names('union'), ['either'])
        self.assertEqual(self.said('-d', self.path, '--info', 'atomic_t'), (
            'typedef struct {\n'
            '    int counter;  /*     0     4 */  ->counter\n'
            '} atomic_t; /* size: 4, members: 1 */\n'))

    def test_what_moves_arguments_is_known_or_refused(self):
        database.make(self.path, *(OLDER + [
            """INSERT INTO funs VALUES (9, 'f', '["struct unknown", "int"]', 'int', 1, 1, '')""",
            """INSERT INTO funs VALUES (10, 'g', '["foo_t", "int"]', 'int', 1, 1, '')"""]))
        for name in 'fg':
            self.refused('or of unknown size: name a register', '-S', '-d', self.path,
                         'p %s a=%%1' % name, status=2)

    def test_a_variant_has_not_its_functions_arguments(self):
        """They may have been moved; only BTF leaves out what has been."""
        database.make(self.path, *OLDER)
        self.refused("no prototype of 'tcp_rcv.isra.0'", '-S', '-d', self.path,
                     'p tcp_rcv.isra.0 a=%0->flag', status=2)


class Refused(DatabaseTest):
    """What is no database, a damaged one, or one that somebody made to do harm."""

    def test_not_a_database(self):
        for data, words in ((b'', 'not a database of types'),
                            (b'text, not a database at all', 'file is not a database'),
                            (b'\x7fELF' + b'\0' * 100, 'file is not a database')):
            self.write('info.db', data)
            self.assertIn(self.path, self.refused(words, '-S', '-d', self.path, TRACE))
        self.refused('/dev/zero: not a file that types can be read from', '-S', '-d', '/dev/zero',
                     TRACE)
        self.path += 'x'
        self.refused('no such file', '-S', '-d', self.path, TRACE)
        self.assertFalse(os.path.exists(self.path))

    def test_columns_that_are_computed(self):
        """Such a table could compute for ever."""
        database.make(self.path, *(OLDER + [
            'ALTER TABLE structs RENAME TO plain',
            'CREATE TABLE structs (id INTEGER, name VARCHAR, members INTEGER, '
            'bytes INTEGER GENERATED ALWAYS AS (id * 2))']))
        self.refused('not a database of types: it has no table structs', '-S', '-d', self.path,
                     TRACE)

    def test_names_with_many_dots(self):
        database.make(self.path, *(OLDER + [
            "UPDATE members SET name = '%s' WHERE id = 1" % '.'.join('abcdefghijk')]))
        self.refused('damaged', '-S', '-d', self.path, TRACE)

    def test_cut_short(self):
        database.make(self.path, *OLDER)
        with open(self.path, 'rb') as stream:
            whole = stream.read()
        self.write('info.db', whole[:len(whole) // 2])
        self.told('damaged', lambda: self.opened().functions('tcp_rcv'))

    def test_without_the_tables(self):
        database.make(self.path, 'CREATE TABLE funs (id INTEGER)')
        self.refused('%s: not a database of types: it has no table members, structs, types'
                     % self.path, '-S', '-d', self.path, TRACE)

    def test_a_view_that_never_ends_is_no_table(self):
        database.make(self.path, *[line for line in OLDER if ' structs' not in line])
        database.add(self.path, 'CREATE VIEW structs AS WITH RECURSIVE n(id) AS (SELECT 1 UNION '
                     "ALL SELECT id + 1 FROM n) SELECT id, 'struct sock' AS name, 1 AS bytes FROM "
                     'n')
        self.refused('no table structs', '-S', '-d', self.path, TRACE)

    def test_columns_that_are_not_there(self):
        database.make(self.path, *['CREATE TABLE %s (id INTEGER)' % name
                                   for name in ('funs', 'structs', 'members', 'types')])
        self.refused('%s: a damaged database: no such column' % self.path, '-S', '-d', self.path,
                     'p f a=%0')

    def test_values_that_no_compiler_writes(self):
        for statement in [
                "UPDATE members SET types = 'int; rm -rf /' WHERE id = 1",
                "UPDATE members SET types = 'int' || char(27) || '[2J' WHERE id = 1",
                "UPDATE members SET types = 'int' || char(10) WHERE id = 1",
                "UPDATE members SET types = '%s' WHERE id = 1" % ('x' * 4097),
                "UPDATE members SET types = 'int%s' WHERE id = 1" % ('(*)' * 65),
                "UPDATE members SET types = '' WHERE id = 1",
                "UPDATE members SET types = '1nt' WHERE id = 1",
                "UPDATE members SET name = 'a b' WHERE id = 1",
                "UPDATE members SET name = '%s' WHERE id = 1" % ('x' * 502),
                "UPDATE members SET offset = -1 WHERE id = 1",
                "UPDATE members SET offset = 'x' WHERE id = 1",
                "UPDATE members SET offset = 1.5 WHERE id = 1",
                "UPDATE members SET offset = 2147483648 WHERE id = 1",
                "UPDATE members SET bytes = NULL WHERE id = 1",
                "UPDATE members SET bits = '1' WHERE id = 1",
                "UPDATE members SET bits = '1:2:3' WHERE id = 1",
                "UPDATE members SET bits = '1000:2' WHERE id = 1",
                "UPDATE members SET types = x'ff00' WHERE id = 1",
                "UPDATE structs SET bytes = 99999999999999 WHERE id = 1"]:
            database.make(self.path, *(OLDER + [statement]))
            self.assertNotIn('\033', self.refused('damaged', '-S', '-d', self.path, TRACE))

    def test_values_at_the_limit(self):
        for statement in [
                "UPDATE members SET types = '%s' WHERE id = 1" % ('x' * 4096),
                "UPDATE members SET types = 'int%s' WHERE id = 1" % ('(*)' * 64),
                "UPDATE members SET name = '%s' WHERE id = 1" % ('x' * 201),
                "UPDATE members SET offset = 2147483647 WHERE id = 1",
                "UPDATE members SET bits = '' WHERE id = 1",
                "UPDATE members SET bits = NULL WHERE id = 1",
                "UPDATE members SET name = '$' WHERE id = 1",
                "UPDATE members SET name = '$12' WHERE id = 1"]:
            database.make(self.path, *(OLDER + [statement]))
            self.assertEqual(self.words(self.path, TRACE, '-d'), 'a=+0x11(%di):b3@1/8')

    def test_lists_that_are_none(self):
        for text in ('', 'x', '{}', '[1]', '["a;b"]', '[' * 100000, '[%s]' % ('9' * 1000000),
                     '"int"', '[["int"]]', '[null]'):
            database.make(self.path, *OLDER)
            database.add(self.path, ('UPDATE funs SET args = ? WHERE id = 1', text))
            types = self.opened()
            if text:
                self.told('damaged', types.functions, 'tcp_rcv')
            else:
                self.assertEqual(types.functions('tcp_rcv')[0].parameters, [])
        for names in ('{}', '[1]', '["a b"]', '[null]'):
            database.make(self.path, *(database.TABLES + [function('f', ['int'])]))
            database.add(self.path, ('UPDATE funs SET argi = ?', names))
            self.told('damaged', self.opened().functions, 'f')

    def test_fewer_names_than_arguments(self):
        database.make(self.path, *(database.TABLES + [
            function('f', ['int', 'long'], ['a']), function('g', ['int'], ['a', 'b'])]))
        types = self.opened()
        self.assertEqual([(each.name, each.type.words) for each in
                          types.functions('f')[0].parameters], [('a', 'int'), ('', 'long')])
        self.assertEqual([each.name for each in types.functions('g')[0].parameters], ['a'])

    def test_names_that_are_none(self):
        database.make(self.path, *(OLDER + [
            "INSERT INTO funs VALUES (9, x'00ff', '[]', 'int', 1, 1, '')",
            "INSERT INTO funs VALUES (10, 'a b', '[]', 'int', 1, 1, '')",
            "INSERT INTO types VALUES (9, 7, 'int', 4)",
            "INSERT INTO structs VALUES (9, NULL, 0, 4)",
            "INSERT INTO structs VALUES (10, 'struct $7', 0, 4)"]))
        types = self.opened()
        self.assertEqual(types.names('function'), ['nothing', 'printk', 'tcp_rcv'])
        self.assertEqual(types.names('typedef'), ['atomic_t', 'gfp_t', 'u8'])
        self.assertEqual(types.names('struct'), ['sock'])

    def test_structs_that_never_end(self):
        database.make(self.path, *(OLDER + [
            "INSERT INTO structs VALUES (9, 'struct $7', 1, 8)",
            "INSERT INTO members VALUES (20, 9, 'struct $7', '$', 0, 8, '')",
            "INSERT INTO members VALUES (21, 1, 'struct $7', '$', 0, 8, '')"]))
        found = self.opened().find('struct', 'sock')
        self.assertRaises(tool.SourceError, found.member, 'nothing')
        self.refused('is damaged', '-d', self.path, '--info', 'sock')
        # Each of a thousand holds the next.
        database.add(self.path, *[
            ("INSERT INTO structs VALUES (?, ?, 1, 8)", 100 + number, 'struct $%d' % (7 + number))
            for number in range(1, 1003)] + [
            ("INSERT INTO members VALUES (?, ?, ?, '$', 0, 8, '')", 100 + number, 100 + number,
             'struct $%d' % (8 + number)) for number in range(1, 1003)])
        database.add(self.path, "UPDATE members SET types = 'struct $8' WHERE id = 20",
                     'CREATE INDEX a ON structs (name)', 'CREATE INDEX b ON members (fid)')
        with self.assertRaises(tool.SourceError) as caught:
            self.opened().find('struct', 'sock').member('nothing')
        self.assertIn('is damaged', str(caught.exception))

    def test_is_not_written_to(self):
        """Whatever is asked of it."""
        database.make(self.path, *OLDER)
        with open(self.path, 'rb') as stream:
            before = stream.read()
        os.chmod(self.path, 0o444)
        self.words(self.path, TRACE, '-d')
        self.said('-d', self.path, '--info', 'sock')
        with open(self.path, 'rb') as stream:
            self.assertEqual(stream.read(), before)
        self.assertEqual(os.listdir(self.directory), ['info.db'])

    def files(self):
        found = {}
        for name in os.listdir(self.directory):
            with open(os.path.join(self.directory, name), 'rb') as stream:
                found[name] = stream.read()
        return found

    def in_the_making(self, mode):
        """Leave a database, and beside it what SQLite would finish when it opens that."""
        database.make(self.path, *OLDER)
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in ('PRAGMA journal_mode = ' + mode, 'PRAGMA cache_size = 1', 'BEGIN',
                          'CREATE TABLE more (text)'):
            connection.execute(statement)
        for number in range(100):
            connection.execute('INSERT INTO more VALUES (?)', ('x' * 5000,))
        left = self.files()
        connection.close()
        for name in os.listdir(self.directory):
            os.remove(os.path.join(self.directory, name))
        for name in left:
            self.write(name, left[name])
        return left

    def test_what_lies_beside_it_is_left_alone(self):
        left = self.in_the_making('DELETE')
        self.assertEqual(left['info.db-journal'][:4], b'\xd9\xd5\x05\xf9')
        self.said('-d', self.path, '--info', 'sock')
        self.words(self.path, TRACE, '-d')
        self.assertEqual(self.files(), left)
        # (It was hot.)
        connection = sqlite3.connect(self.path)
        connection.execute('SELECT * FROM structs').fetchall()
        connection.close()
        self.assertEqual(os.listdir(self.directory), ['info.db'])


# C's words of a typedef, what it is, its size, and its members, from all sources.
TYPEDEFS = [
    ('number_t', 'int', 4, []), ('twice_t', 'int', 4, []), ('pointer_t', 'pointer', 8, []),
    ('constant_t', 'int', 4, []), ('array_t', 'array', 16, []), ('call_t', 'pointer', 8, []),
    ('atomic_t', 'struct', 4, [('counter', 0, 0)]), ('other_atomic_t', 'struct', 4,
                                                     [('counter', 0, 0)]),
    ('either_t', 'union', 8, [('text', 0, 0), ('value', 0, 0)]), ('choice_t', 'enum', 4, []),
    ('tagged_t', 'struct', 8, [('x', 32, 0)]), ('list_t', 'array', 8, [])]
HOLDER = [
    'struct holder {',
    '    number_t number;          /*     0     4 */  ->number',
    '    twice_t twice;            /*     4     4 */  ->twice',
    '    pointer_t pointer;        /*     8     8 */  ->pointer',
    '    constant_t constant;      /*    16     4 */  ->constant',
    '    array_t array;            /*    20    16 */  ->array',
    '    call_t call;              /*    40     8 */  ->call',
    '    atomic_t atomic;          /*    48     4 */  ->atomic. ...',
    '    other_atomic_t other;     /*    52     4 */  ->other. ...',
    '    either_t either;          /*    56     8 */  ->either. ...',
    '    choice_t choice;          /*    64     4 */  ->choice',
    '    tagged_t tagged;          /*    68     8 */  ->tagged. ...',
    '    list_t list;              /*    76     8 */  ->list[0]. ...',
    '    const atomic_t *atomics;  /*    88     8 */  ->atomics',
    '}; /* size: 96, members: 13 */']


class Agreement(DatabaseTest):
    """Typedefs are the same in BTF, in debug info, and in the databases made of both."""

    PLACES = (0, 4, 8, 16, 20, 40, 48, 52, 56, 64, 68, 76, 88)
    NAMES = ('number twice pointer constant array call atomic other either choice tagged list '
             'atomics').split()

    def btf(self):
        w = btf.Writer()
        integer = w.integer('int', 4, btf.SIGNED)

        def typedef(name, target):
            refs.append(w.add('typedef', name, target))
            return refs[-1]
        refs = []
        number = typedef('number_t', integer)
        typedef('twice_t', number)
        typedef('pointer_t', w.pointer(integer))
        typedef('constant_t', w.add('const', '', integer))
        typedef('array_t', w.array(integer, 4))
        typedef('call_t', w.pointer(w.add('function', '', integer, 1, 0, [0, number])))
        atomic = typedef('atomic_t', w.struct('', 4, [('counter', integer, 0)]))
        typedef('other_atomic_t', atomic)
        typedef('either_t', w.struct('', 8, [('value', integer, 0), ('text', w.pointer(
            w.integer('char', 1, btf.SIGNED)), 0)], 'union'))
        typedef('choice_t', w.enum('', 4, [('NO', 0), ('YES', 1)]))
        tagged = w.struct('tagged', 8, [('x', integer, 32)])
        typedef('tagged_t', tagged)
        typedef('list_t', w.array(atomic, 2))
        refs.append(w.pointer(w.add('const', '', atomic)))
        w.struct('holder', 96, [(name, ref, 8 * place) for name, ref, place in zip(
            self.NAMES, refs, self.PLACES)])
        return w.data()

    def debug_info(self):
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        char = dwarf.number('char', 1, dwarf.SIGNED_CHAR)
        entries, refs = [integer, char], []

        def made(tag, *attributes, **more):
            entries.append(dwarf.Entry(tag, *attributes, **more))
            return entries[-1]

        def typedef(name, target):
            refs.append(made(dwarf.TYPEDEF, (dwarf.NAME, name), (dwarf.TYPE, target)))
            return refs[-1]

        def pointer(target):
            return made(dwarf.POINTER, (dwarf.SIZE, 8), (dwarf.TYPE, target))

        def array(target, last):
            return made(dwarf.ARRAY, (dwarf.TYPE, target), below=[
                dwarf.Entry(dwarf.RANGE, (dwarf.UPPER_BOUND, last))])

        def struct_of(*arguments):
            entries.append(dwarf.struct_of(*arguments))
            return entries[-1]
        number = typedef('number_t', integer)
        typedef('twice_t', number)
        typedef('pointer_t', pointer(integer))
        typedef('constant_t', made(dwarf.CONST, (dwarf.TYPE, integer)))
        typedef('array_t', array(integer, 3))
        typedef('call_t', pointer(made(dwarf.FUNCTION_TYPE, (dwarf.TYPE, integer), below=[
            dwarf.Entry(dwarf.PARAMETER, (dwarf.TYPE, number))])))
        atomic = typedef('atomic_t', struct_of('', 4, [('counter', integer, 0)]))
        typedef('other_atomic_t', atomic)
        typedef('either_t', struct_of('', 8, [('value', integer, 0), ('text', pointer(char), 0)],
                                      dwarf.UNION))
        choice = dwarf.enum_of('', [('NO', 0), ('YES', 1)])
        entries.append(choice)
        typedef('choice_t', choice)
        typedef('tagged_t', struct_of('tagged', 8, [('x', integer, 4)]))
        typedef('list_t', array(atomic, 1))
        refs.append(pointer(made(dwarf.CONST, (dwarf.TYPE, atomic))))
        struct_of('holder', 96, list(zip(self.NAMES, refs, self.PLACES)))
        return elf.elf(elf.symbols([('f', 0x1000, 4)]) + dwarf.sections([dwarf.root(*entries)]))

    def test_typedefs(self):
        raw, vmlinux = self.write('raw', self.btf()), self.write('vmlinux', self.debug_info())
        for source in (raw, vmlinux):
            self.said('-v', source, '--make-db', source + '.db')
        sources = [('-v', raw, 'BTF'), ('-v', vmlinux, 'DWARF'), ('-d', raw + '.db', 'database'),
                   ('-d', vmlinux + '.db', 'database')]
        for option, path, kind in sources:
            self.assertEqual(self.said(option, path, '--info', 'holder').splitlines(), HOLDER, path)
            self.assertIn('(%s)' % kind, self.noted)
            types = tool.from_database(path) if option == '-d' else (
                tool.from_debug_info(path) if kind == 'DWARF' else tool.from_btf(self.btf()))
            self.addCleanup(types.close)
            self.assertEqual(types.names('typedef'), sorted(row[0] for row in TYPEDEFS))
            holder = types.find('struct', 'holder')
            for (words, bare, size, places), name in zip(TYPEDEFS, self.NAMES):
                for found in (types.find('typedef', words), holder.member(name).type,
                              types.type(words), types.type(words + '*').target):
                    # A database has no word that tells a nameless union from a struct.
                    kinds = ['union', 'struct'] if (option, bare) == ('-d', 'union') else [bare]
                    self.assertEqual((found.words, found.size), (words, size), (path, words))
                    self.assertIn(found.kind, kinds)
                    self.assertEqual(found.places() if places else [], places)
            target = types.find('typedef', 'list_t').target
            self.assertEqual((target.words, target.places()), ('atomic_t', [('counter', 0, 0)]))
            for trace, expected in [
                    ('p f a=S!(struct holder *)%di->other.counter', 'a=+0x34(%di):s32'),
                    ('p f a=!(struct holder *)%di->either.text', 'a=+0x0(+0x38(%di)):string'),
                    ('p f a=S!(struct holder *)%di->list[1].counter', 'a=+0x50(%di):s32'),
                    ('p f a=!(atomic_t *)%di->counter', 'a=+0x0(%di):x32'),
                    ('p f a=!(struct holder *)%di->call', 'a=+0x28(%di):symbol'),
                    ('p f a=S!(struct holder *)%di->atomics->counter',
                     'a=+0x0(+0x58(%di)):s32')]:
                self.assertEqual(self.words(path, trace, *((option,) if option == '-d' else ())),
                                 expected, (path, trace))


if __name__ == '__main__':
    unittest.main()

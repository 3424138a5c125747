"""Sources of types other than BTF: C's words, gdb, databases, servers, and which one is taken."""
import json
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import unittest

import btf
import surftrace
from test_dwarf import abbreviations, unit
from test_types import elf, sources

# A text, and what it is from the outside in: kinds, the length of an array, the words inside.
C_TYPES = [
    ('char *', ['pointer'], 'char'),
    ('struct sk_buff**', ['pointer', 'pointer'], 'struct sk_buff'),
    ('const char *', ['pointer', 'const'], 'char'),
    ('char *const', ['const', 'pointer'], 'char'),
    ('volatile unsigned long', ['volatile'], 'unsigned long'),
    ('char[16]', ['array 16'], 'char'),
    ('u8 [3][4]', ['array 3', 'array 4'], 'u8'),
    ('struct page *[]', ['array 0', 'pointer'], 'struct page'),
    ('void (*)(struct callback_head *)', ['pointer', 'function'], 'void'),
    ('void (*[3])(int, char (*)(void))', ['array 3', 'pointer', 'function'], 'void'),
    ('int (*)[5]', ['pointer', 'array 5'], 'int'),
    ('void (**)(int)', ['pointer', 'pointer', 'function'], 'void'),
    ('int (* const)(struct kobject *)', ['const', 'pointer', 'function'], 'int'),
    ('struct sk_buff *(*)(int)', ['pointer', 'function', 'pointer'], 'struct sk_buff'),
    ('union $41234', [], 'union $41234'),
    ('void (*(*)(int))(char)', ['pointer'], 'void'),
]


class Words(unittest.TestCase):

    def test_outermost_first(self):
        for text, kinds, inside in C_TYPES:
            found, words = [], text
            while surftrace.outer_type(words):
                outer = surftrace.outer_type(words)
                found.append(outer.kind + (' %d' % outer.length if outer.kind == 'array' else ''))
                words = outer.target.result if outer.kind == 'function' else outer.target
            self.assertEqual((found, words), (kinds, inside), text)

    def test_spelled_again(self):
        """What is read is written as it was, so that a database can be made from another."""
        types = surftrace.TextTypes('words')
        types.look_up_layout = types.look_up_alias = lambda name: None
        for text in ('struct sk_buff **', 'const char *', 'char *const', 'char[16]',
                     'unsigned short[3][4]', 'void (*)(struct callback_head *)',
                     'void (*[3])(int, char (*)(void))', 'int (*)[5]', 'int (*)(const char *, ...)',
                     'struct page *[]'):
            self.assertEqual(surftrace.declared(types, text), text)

    def test_damaged_words(self):
        for text in ('(', '(*', ')', '[', 'char[', '*(', 'a(*)(', '(*)', '(*' * 50, 'a[1](*)'):
            for _ in range(surftrace.CHAIN_LIMIT):
                outer = surftrace.outer_type(text)
                if outer is None:
                    break
                text = outer.target.result if outer.kind == 'function' else outer.target
            self.assertIsNone(surftrace.outer_type(text))


LAYOUT = '''\
/* offset      |    size */  type = struct sample {
/*      0      |       4 */    unsigned int plain;
/*      4: 0   |       1 */    __u8 low : 4;
/*      4: 4   |       1 */    __u8 high : 4;
/* XXX  3-byte hole      */
/*      8      |      16 */    union {
/*                     8 */        struct sock *sk;
/*                    16 */        struct {
/*      8      |       8 */            void (*done)(struct sk_buff *);
/*     16      |       4 */            atomic_t usage[1];

                                       /* total size (bytes):   16 */
                                   };
/*                     8 */        struct list_head {
/*      8      |       8 */            struct list_head *next;

                                       /* total size (bytes):    8 */
                                   } list;

                                   /* total size (bytes):   16 */
                               };
/*     24      |      16 */    struct {
/*      8      |       4 */        int x;
/*     12      |       4 */        enum {ONE, TWO} y;
                               } pair[2];
/*     40      |       8 */    struct {
/*      8      |       8 */        u64 from;
/*     16      |       4 */        int flags;
                               } *parts;
/*     48      |       0 */    char tail[];

                               /* total size (bytes):   48 */
                             }
'''
# A member's path in LAYOUT, its offset in bits from the start of the struct, and its width.
PLACES = [('plain', 0, 0), ('low', 32, 4), ('high', 36, 4), ('sk', 64, 0), ('done', 64, 0),
          ('usage', 128, 0), ('list', 64, 0), ('pair', 192, 0), ('parts', 320, 0),
          ('tail', 384, 0)]
# As gdb 8.1 to 8.3 printed it: the number behind the colon is that of the bits left over.
OLD_LAYOUT = '''\
/* offset    |  size */  type = struct tyu {
/*    0:31   |     4 */    int a1 : 1;
/*    0:28   |     4 */    int a2 : 3;
/*    0: 5   |     4 */    int a3 : 23;
/*    3: 3   |     1 */    signed char a4 : 2;
/* XXX  3-bit hole  */
/* XXX  4-byte hole */
/*    8      |     8 */    int64_t a5;
/*   16:27   |     4 */    int a6 : 5;
/*   16:56   |     8 */    int64_t a7 : 3;

                           /* total size:   24 bytes */
                         }
'''
OLD_PLACES = [('a1', 0, 1), ('a2', 1, 3), ('a3', 4, 23), ('a4', 27, 2), ('a5', 64, 0),
              ('a6', 128, 5), ('a7', 133, 3)]


class GdbLayouts(unittest.TestCase):

    def setUp(self):
        self.types = surftrace.TextTypes('gdb')
        self.types.look_up_layout = self.types.look_up_alias = lambda name: None

    def places(self, layout):
        found = surftrace.Type(layout.kind, '', layout.size, target=layout.members)
        return [(member.name, member.bit_offset, member.bit_size)
                for member in surftrace.all_members(self.types, found)]

    def test_layout(self):
        layout = surftrace.parse_layout(LAYOUT)
        self.assertEqual((layout.kind, layout.size), ('struct', 48))
        self.assertEqual(sorted(self.places(layout)), sorted(PLACES))

    def test_what_members_are(self):
        found = dict((member.name, member.type) for member in surftrace.all_members(
            self.types, surftrace.Type('struct', target=surftrace.parse_layout(LAYOUT).members)))
        for name, text in [('sk', 'struct sock *'), ('done', 'void (*)(struct sk_buff *)'),
                           ('usage', 'atomic_t[1]'), ('list', 'struct list_head'),
                           ('tail', 'char[]'), ('parts', 'struct {...} *'),
                           ('pair', 'struct {...}[2]')]:
            self.assertEqual(surftrace.declared(self.types, found[name]), text)
        self.assertEqual([(member.name, member.bit_offset)
                          for member in found['parts'].target.target], [('from', 0), ('flags', 64)])
        pair = found['pair']
        self.assertEqual((pair.kind, pair.length, pair.target.size), ('array', 2, 8))
        inner = dict((member.name, member) for member in pair.target.target)
        self.assertEqual((inner['y'].bit_offset, inner['y'].type.kind), (32, 'enum'))

    def test_old_layout(self):
        layout = surftrace.parse_layout(OLD_LAYOUT, bits_left=True)
        self.assertEqual(self.places(layout), OLD_PLACES)
        self.assertEqual(layout.size, 24)

    def test_no_layout(self):
        for text in ('', 'type = int\n', 'type = enum pid_type {A, B}\n', 'garbage'):
            self.assertIsNone(surftrace.parse_layout(text))

    def test_registers(self):
        ranges = ('multi-location:\n  Base address 0x1000  Range 0x1000-0x1000: a variable in $rax'
                  '\n  Range 0x1000-0x1010: a variable in $rsi\n'
                  '  Range 0x1010-0x1020: a variable in $rbx\n, length 8.\n')
        for where, register in [
                ('a variable in $rdi, length 8.\n', 'di'), ('a variable in $x3, length 4.\n', 'x3'),
                ('a variable in $r8, length 8.\n', 'r8'), (ranges, 'si'), ('optimized out.\n', ''),
                (ranges.replace('0x1000', '0x1004'), ''),
                ('a complex DWARF expression:\n  0: DW_OP_fbreg -72\n, length 8.\n', '')]:
            self.assertEqual(surftrace.register_at(0x1000, where), register, where)

    def test_line_table(self):
        text = ('symtab: build/fs/read_write.c ((struct symtab *) 0x1)\n'
                'linetable: ((struct linetable *) 0x2):\n'
                'INDEX  LINE   ADDRESS            IS-STMT PROLOGUE-END \n'
                '0      10     0x0000000000000100 Y                    \n'
                '1      11     0x0000000000000108 Y                    \n'
                '2      11     0x0000000000000110                      \n'
                '3      10     0x0000000000000118 Y                    \n'
                '4      END    0x0000000000000120 Y                    \n'
                'symtab: build/other/read_write.c ((struct symtab *) 0x1)\n'
                '0      10     0x0000000000000200 Y                    \n'
                '1      END    0x0000000000000220 Y                    \n')
        expected = [(10, (0x100, 0x108)), (11, (0x108, 0x118)), (10, (0x118, 0x120))]
        self.assertEqual(surftrace.line_table(text, 'fs/read_write.c'), expected)
        self.assertEqual(surftrace.line_table(text, 'read_write.c'),
                         expected + [(10, (0x200, 0x220))])


FAKE_GDB = '''#!%s
import sys, time, os
ANSWERS = %r
sys.stdout.write('(gdb) \\n')
while True:
    line = sys.stdin.readline()
    if not line:
        break
    for words, answer in ANSWERS:
        if words in line:
            break
    else:
        answer = '^done\\n'
    if answer == 'hang':
        time.sleep(1000)
    if answer == 'die':
        sys.stderr.write('out of wits\\n')
        sys.exit(3)
    if answer == 'flood':
        while True:
            sys.stdout.write('~"' + 'x' * 100000)
    sys.stdout.write(answer)
    sys.stdout.flush()
'''
VERSION = ('-gdb-version', '~"GNU gdb (Debian 13.1-3) 13.1\\n"\n^done\n')


class GdbProcesses(unittest.TestCase):
    """A gdb that misbehaves is told, in time, and nothing of it is left."""

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.elf = surftrace.Elf('/x/vmlinux', 'x86_64', '<', False, {})
        self.started = []

    def start(self, *answers, **options):
        path = os.path.join(self.directory, 'gdb')
        with open(path, 'w') as stream:
            stream.write(FAKE_GDB % (sys.executable, list(answers)))
        os.chmod(path, 0o755)
        popen = surftrace.GdbProcess._start

        def remembered(process):
            self.started.append(popen(process))
            return self.started[-1]
        surftrace.GdbProcess._start = remembered
        try:
            return surftrace.GdbProcess(
                self.elf, options.get('command', path), surftrace.Console(os.open(
                    os.devnull, os.O_WRONLY)), options.get('check', lambda: None),
                options.get('limit', 20))
        finally:
            surftrace.GdbProcess._start = popen

    def refused(self, message, *answers, **options):
        began = time.time()
        with self.assertRaises(surftrace.SourceError) as caught:
            process = self.start(*answers, **options)
            self.addCleanup(process.close)
            surftrace.Gdb(process).functions('f')
        self.assertIn(message, str(caught.exception))
        self.assertLess(time.time() - began, 10)
        self.assertTrue(all(process.poll() is not None for process in self.started))

    def test_versions(self):
        for words, version in [
                ('GNU gdb (GDB) 12.1', (12, 1)),
                ('GNU gdb (GDB) Red Hat Enterprise Linux 8.2-12.el8', (8, 2)),
                ('GNU gdb (Ubuntu 9.2-0ubuntu1~20.04.1) 9.2', (9, 2))]:
            process = self.start(('-gdb-version', '~"%s\\n"\n~"more"\n^done\n' % words))
            self.assertEqual(process.version, version)
            process.close()

    def test_too_old(self):
        self.refused('is version 7.6.1-120.el7, which cannot show offsets', (
            '-gdb-version', '~"GNU gdb (GDB) Red Hat Enterprise Linux 7.6.1-120.el7\\n"\n^done\n'))

    def test_something_else(self):
        self.refused('is no gdb')

    def test_not_there(self):
        self.refused('no such file or directory; name a gdb with -g, or install the package gdb',
                     command=os.path.join(self.directory, 'none'))

    def test_cannot_read_the_file(self):
        self.refused('cannot read /x/vmlinux: \\"x\\": not in executable format: file format not '
                     'recognized; gdb-multiarch can'.replace('\\', ''), VERSION, (
                         'file-exec', '^error,msg="\\"x\\": not in executable format: file format '
                         'not recognized"\n'))

    def test_settings_that_it_does_not_know_are_let_go(self):
        process = self.start(VERSION, ('set index-cache', '^error,msg="Undefined set command"\n'))
        process.close()

    def test_dies(self):
        for words in ('-gdb-version', 'file-exec'):
            self.refused('ended in the middle, with status 3: out of wits', (words, 'die'), VERSION)

    def test_hangs(self):
        for words in ('-gdb-version', 'file-exec'):
            self.refused('gave no answer in 1 s', (words, 'hang'), VERSION, limit=1)

    def test_hangs_later(self):
        process = self.start(VERSION, ('print &', 'hang'), limit=1)
        types = surftrace.Gdb(process)
        self.assertRaises(surftrace.SourceError, types.functions, 'f')
        types.close()
        self.assertIsNotNone(process.process.poll())

    def test_floods(self):
        limit, surftrace.GDB_ANSWER_LIMIT = surftrace.GDB_ANSWER_LIMIT, 1 << 20
        try:
            self.refused('gave no answer', ('file-exec', 'flood'), VERSION)
        finally:
            surftrace.GDB_ANSWER_LIMIT = limit

    def test_a_signal_ends_the_waiting(self):
        checks = []

        def check():
            checks.append(1)
            if len(checks) > 2:
                raise surftrace.StopRun()
        with self.assertRaises(surftrace.StopRun):
            self.start(('-gdb-version', 'hang'), check=check)
        self.assertIsNotNone(self.started[0].poll())

    def test_escapes(self):
        self.assertEqual(surftrace.from_gdb('a\\n\\tb\\"c\\\\n\\303\\244\\e'),
                         'a\n\tb"c\\n' + surftrace.to_text(b'\xc3\xa4') + '\033')
        self.assertEqual(surftrace.escaped_for_gdb('a"b\\c'), 'a\\"b\\\\c')
        self.assertRaises(surftrace.SourceError, surftrace.escaped_for_gdb, 'a\nb')


def open_console():
    return surftrace.Console(os.open(os.devnull, os.O_WRONLY))


class Databases(unittest.TestCase):

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, 'info.db')

    def make(self, *statements):
        connection = sqlite3.connect(self.path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def refused(self, message, call):
        with self.assertRaises(surftrace.SourceError) as caught:
            call()
        self.assertIn(message, str(caught.exception))
        self.assertIn(self.path, str(caught.exception))

    def test_says_what_its_source_says(self):
        source = surftrace.Btf(btf.sample().data(), 'sample')
        surftrace.write_database(self.path, source, 'x86_64', open_console())
        types = surftrace.Database(self.path)
        for kind in ('struct', 'union', 'enum', 'typedef', 'function'):
            self.assertEqual(types.names(kind), source.names(kind))
        for name in source.names('function'):
            self.assertEqual([surftrace.prototype(types, each) for each in types.functions(name)],
                             [surftrace.prototype(source, each)
                              for each in source.functions(name)])
        for kind in ('struct', 'union'):
            for name in source.names(kind):
                self.assertEqual(surftrace.information('%s %s' % (kind, name), types, (), None),
                                 surftrace.information('%s %s' % (kind, name), source, (), None))
        types.close()

    def test_takes_the_place_of_a_database_only(self):
        source = surftrace.Btf(btf.sample().data(), 'sample')
        for _ in range(2):
            surftrace.write_database(self.path, source, 'x86_64', open_console())
        other = os.path.join(self.directory, 'text')
        with open(other, 'w') as stream:
            stream.write('somebody needs this text\n')
        for path in (other, self.directory, os.devnull):
            self.assertRaises(surftrace.Error, surftrace.write_database, path, source, 'x86_64',
                              open_console())
        self.assertEqual(os.path.getsize(other), 25)
        self.assertEqual(sorted(os.listdir(self.directory)), ['info.db', 'text'])

    def test_structs_of_one_name_are_told_apart(self):
        writer = btf.Writer()
        integer = writer.integer('int', 4)
        one = writer.struct('same', 4, [('x', integer, 0)])
        two = writer.struct('same', 8, [('y', integer, 32)])
        writer.function('f', 0, [('a', writer.pointer(one)), ('b', writer.pointer(two))])
        surftrace.write_database(self.path, surftrace.Btf(writer.data(), 'sample'), 'x86_64',
                                 open_console())
        types = surftrace.Database(self.path)
        [function] = types.functions('f')
        found = [[member.name for member in types.members(surftrace.stripped(
            types, surftrace.stripped(types, each.type).target))] for each in function.parameters]
        self.assertEqual(found, [['x'], ['y']])
        self.assertEqual(surftrace.prototype(types, function),
                         'void f(struct same *, struct same *)')

    def test_is_there_when_it_is_whole(self):
        class Damaged(surftrace.Btf):
            def functions(self, name):
                raise surftrace.SourceError('damaged')
        source = Damaged(btf.sample().data(), 'sample')
        with self.assertRaises(surftrace.SourceError):
            surftrace.write_database(self.path, source, 'x86_64', open_console())
        self.assertEqual(os.listdir(self.directory), [])
        with self.assertRaises(surftrace.Error):
            surftrace.write_database('/nonexistent/info.db', source, 'x86_64', open_console())

    OLDER = [
        'CREATE TABLE files (id INTEGER PRIMARY KEY, file TEXT)',
        'CREATE TABLE funs (id INTEGER PRIMARY KEY, func VARCHAR, args VARCHAR, ret VARCHAR, '
        'line INTEGER, fid INTEGER, module VARCHAR)',
        'CREATE TABLE structs (id INTEGER PRIMARY KEY, name VARCHAR, members INTEGER, '
        'bytes INTEGER)',
        'CREATE TABLE members (id INTEGER PRIMARY KEY, fid INTEGER, types VARCHAR, name VARCHAR, '
        'offset INTEGER, bytes INTEGER, bits VARCHAR DEFAULT "")',
        'CREATE TABLE types (id INTEGER PRIMARY KEY, name VARCHAR, alias VARCHAR, bytes INTEGER)',
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
    ]
    TABLE = [
        ('%0->name', '+0x0(%di):string'), ('%0->flag', '+0x11(%di):b3@1/8'),
        ('S%0->sk_backlog.rmem_alloc.counter', '+0x18(%di):s32'),
        ('%0->sk_backlog.rmem_alloc', '+0x18(%di):x32'),
        ('%0->sk_backlog.head', '+0x20(%di):x64'), ('U%0->sk_backlog.bytes[3]', '+0x2b(%di):u8'),
        ('%0->call[1]', '+0x38(%di):symbol'), ('S%1', '%si:s32')]

    def test_the_older_generation(self):
        self.make(*self.OLDER)
        types = surftrace.Database(self.path)
        target = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES)
        for value, expected in self.TABLE:
            tree = surftrace.parse_trace('p tcp_rcv a=' + value)
            try:
                found = surftrace.compile_trace(tree, 'f0', 'tcp_rcv', types,
                                                target).arguments[0].text
            except surftrace.TraceError as error:
                found = str(error)
            self.assertEqual(found, expected, value)
        self.assertEqual(surftrace.prototype(types, types.functions('nothing')[0]),
                         'void nothing(void)')
        self.assertEqual(surftrace.prototype(types, types.functions('printk')[0]),
                         'int printk(const char *, ...)')

    def test_not_a_database(self):
        for data in (b'', b'text, not a database at all', b'\x7fELF' + b'\0' * 100):
            with open(self.path, 'wb') as stream:
                stream.write(data)
            self.refused('not an SQLite database', lambda: surftrace.Database(self.path))
        self.path += 'x'
        self.refused('no such file', lambda: surftrace.Database(self.path))
        self.assertFalse(os.path.exists(self.path))

    def test_cut_short(self):
        self.make(*self.OLDER)
        with open(self.path, 'rb') as stream:
            whole = stream.read()
        with open(self.path, 'wb') as stream:
            stream.write(whole[:len(whole) // 2])
        self.refused('damaged', lambda: surftrace.Database(self.path).functions('tcp_rcv'))

    def test_without_the_tables(self):
        self.make('CREATE TABLE funs (id INTEGER)')
        self.refused('it has no table members, structs, types',
                     lambda: surftrace.Database(self.path))

    def test_a_view_that_never_ends_is_no_table(self):
        self.make(*[line for line in self.OLDER if ' structs' not in line])
        self.make('CREATE VIEW structs AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL '
                  "SELECT id + 1 FROM n) SELECT id, 'struct sock' AS name, 1 AS bytes FROM n")
        self.refused('no table structs', lambda: surftrace.Database(self.path))

    def test_columns_that_are_not_there(self):
        self.make(*['CREATE TABLE %s (id INTEGER)' % name
                    for name in ('funs', 'structs', 'members', 'types')])
        self.refused('damaged', lambda: surftrace.Database(self.path).functions('f'))

    def test_values_that_no_compiler_writes(self):
        for statement in [
                "UPDATE members SET types = 'int; rm -rf /' WHERE id = 1",
                "UPDATE members SET types = 'int' || char(27) || '[2J' WHERE id = 1",
                "UPDATE members SET name = 'a b' WHERE id = 1",
                "UPDATE members SET offset = -1 WHERE id = 1",
                "UPDATE members SET offset = 'x' WHERE id = 1",
                "UPDATE members SET bytes = NULL WHERE id = 1",
                "UPDATE members SET bits = '1' WHERE id = 1",
                "UPDATE members SET types = x'ff00' WHERE id = 1",
                "UPDATE structs SET bytes = 99999999999999 WHERE id = 1"]:
            if os.path.exists(self.path):
                os.remove(self.path)
            self.make(*(self.OLDER + [statement]))
            self.refused('damaged',
                         lambda: surftrace.Database(self.path).find('struct', 'sock'))

    def test_lists_that_are_none(self):
        for text in ('', 'x', '{}', '[1]', '["a;b"]', '[' * 100000, '[%s]' % ('9' * 1000000)):
            if os.path.exists(self.path):
                os.remove(self.path)
            self.make(*self.OLDER)
            connection = sqlite3.connect(self.path)
            connection.execute('UPDATE funs SET args = ? WHERE id = 1', (text,))
            connection.commit()
            connection.close()
            types = surftrace.Database(self.path)
            if text:
                self.refused('damaged', lambda: types.functions('tcp_rcv'))
            else:
                self.assertEqual(types.functions('tcp_rcv')[0].parameters, ())

    def test_names_that_are_none(self):
        self.make(*(self.OLDER + ["INSERT INTO funs VALUES (9, x'00ff', '[]', 'int', 1, 1, '')",
                                  "INSERT INTO types VALUES (9, 7, 'int', 4)",
                                  "INSERT INTO structs VALUES (9, NULL, 0, 4)"]))
        types = surftrace.Database(self.path)
        self.assertEqual(types.names('function'), ['nothing', 'printk', 'tcp_rcv'])
        self.assertEqual(types.names('typedef'), ['atomic_t', 'u8'])
        self.assertEqual(types.names('struct'), ['sock'])

    def test_what_moves_arguments_is_known_or_refused(self):
        self.make(*(self.OLDER + [
            """INSERT INTO funs VALUES (9, 'f', '["struct unknown", "int"]', 'int', 1, 1, '')""",
            """INSERT INTO funs VALUES (10, 'g', '["foo_t", "int"]', 'int', 1, 1, '')"""]))
        types = surftrace.Database(self.path)
        target = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES)
        for name in 'fg':
            with self.assertRaises(surftrace.SourceError) as caught:
                surftrace.compile_trace(surftrace.parse_trace('p %s a=%%1' % name), 'f0', name,
                                        types, target)
            self.assertIn('how large', str(caught.exception))

    def test_a_variant_has_not_its_functions_arguments(self):
        """They may have been moved; only BTF leaves out what has been."""
        self.make(*self.OLDER)
        trace = surftrace.parse_trace('p tcp_rcv.isra.0 a=%0->flag')
        with self.assertRaises(surftrace.TraceError) as caught:
            surftrace.compile_trace(trace, 'f0', 'tcp_rcv.isra.0', surftrace.Database(self.path),
                                    surftrace.Target(surftrace.ARCHITECTURES['x86_64'],
                                                     surftrace.USUAL_FEATURES))
        self.assertIn('no prototype', str(caught.exception))

    def test_is_not_written_to(self):
        self.make(*self.OLDER)
        types = surftrace.Database(self.path)
        self.refused('readonly', lambda: types._query('DELETE FROM funs'))


class RawServer(object):
    """Answers each connection with bytes, however wrong they are."""

    def __init__(self, answer, pause=0):
        self.answer, self.pause = answer, pause
        self.listener = socket.socket()
        self.listener.bind(('127.0.0.1', 0))
        self.listener.listen(5)
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        self.requests = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.daemon = True
        self.thread.start()

    def _serve(self):
        connection, _ = self.listener.accept()
        try:
            data = b''
            while b'\r\n\r\n' not in data or b'}]' not in data:
                data += connection.recv(65536)
            self.requests.append(data)
            for part in self.answer if isinstance(self.answer, list) else [self.answer]:
                connection.sendall(part)
                time.sleep(self.pause)
        except EnvironmentError:
            pass        # whoever asked has gone
        connection.close()

    def close(self):
        self.listener.close()


def http(body, status=b'200 OK', headers=b''):
    return b'HTTP/1.1 ' + status + b'\r\nContent-Type: text/html\r\n' + headers + b'\r\n' + body


def answered(result, code=200, log='ok.'):
    return http(json.dumps({'code': code, 'res': [{'log': log, 'res': result}]}).encode())


CELL = {'type': 'int', 'offset': 8, 'size': 4, 'bits': '', 'name': 'x'}


def cell(**changes):
    return {'name': 'struct s', 'size': 16, 'members': 1, 'cell': [dict(CELL, **changes)]}


class Servers(unittest.TestCase):

    def ask(self, answer, question, limit=5, pause=0):
        server = RawServer(answer, pause)
        self.addCleanup(server.close)
        self.server = server
        began = time.time()
        try:
            return question(surftrace.Server(server.address, '4.19.91', 'aarch64', limit=limit))
        finally:
            self.assertLess(time.time() - began, limit + 2)

    def find(self, types):
        return types.find('struct', 's')

    def refused(self, message, answer, question=None, **options):
        with self.assertRaises(surftrace.SourceError) as caught:
            self.ask(answer, question or self.find, **options)
        self.assertIn(message, str(caught.exception))
        self.assertIn('127.0.0.1:', str(caught.exception))
        self.assertNotIn('\033', str(caught.exception))

    def test_questions(self):
        for question, command, name, result in [
                (lambda types: types.find('struct', 's'), 'struct', 'struct s', None),
                (lambda types: types.alias('u64'), 'type', 'u64', None),
                (lambda types: types.functions('f'), 'func', 'f', [])]:
            self.ask(answered(result), question)
            head, _, body = self.server.requests[0].partition(b'\r\n\r\n')
            self.assertTrue(head.startswith(b'POST /lbc HTTP/1.1\r\n'), head)
            self.assertIn(b'Connection: close', head)
            self.assertEqual(json.loads(body.decode()), [
                {'arch': 'aarch64', 'ver': '4.19.91', 'cmd': command, command: name}])

    def test_answers(self):
        types = self.ask(answered(cell()), lambda types: types.layout('struct s') and types)
        self.assertEqual(types.members('struct s'), (surftrace.Member('x', 'int', 64, 0),))
        found = self.ask(answered([{'func': 'f', 'args': ['int', 'struct s *'], 'ret': 'static int',
                                    'line': 1, 'file': 'x.c'}]), lambda types: types.functions('f'))
        self.assertEqual([(each.result, [p.type for p in each.parameters]) for each in found],
                         [('int', ['int', 'struct s *'])])
        self.assertEqual(self.ask(answered({'name': 'u64', 'type': 'unsigned long long',
                                            'size': 8}), lambda types: types.alias('u64')),
                         surftrace.Alias('unsigned long long', 8))

    def test_chunked_answer(self):
        body = answered(cell()).partition(b'\r\n\r\n')[2]
        chunked = b''.join(b'%x\r\n%s\r\n' % (len(part), part) if sys.version_info[0] > 2 else
                           '%x\r\n%s\r\n' % (len(part), part)
                           for part in (body[:20], body[20:])) + b'0\r\n\r\n'
        self.assertEqual(self.ask(http(chunked, headers=b'Transfer-Encoding: chunked\r\n'),
                                  self.find), 'struct s')

    def test_wrong_answers(self):
        for message, answer in [
                ('no HTTP', b''), ('no HTTP', b'SSH-2.0-OpenSSH_9.2\r\n'),
                ('no JSON', http(b'')), ('no JSON', http(b'<html>hello</html>')),
                ('no JSON', http(b'[' * 1000000)), ('no JSON', http(b'\xff\xfe')),
                ('status 404', http(b'', b'404 Not Found')),
                ('not of the form', http(b'1')), ('not of the form', http(b'{"code": 200}')),
                ('not of the form', http(b'{"code": 200, "res": []}')),
                ("nothing on kernel 4.19.91, aarch64: it says 'no such kernel'",
                 answered(None, 500, 'no such kernel')),
                ("it says '?[2J'", answered(None, 500, '\033[2J'))]:
            self.refused(message, answer)

    def test_wrong_values(self):
        for result in [1, 'x', [], {}, {'cell': 1, 'size': 1}, {'cell': [1], 'size': 1},
                       cell(type='int\033[2J'), cell(name='\033'), cell(offset=-1),
                       cell(offset='1'), cell(size=1 << 40), cell(bits='x'), cell(type=None),
                       cell(type='x' * 5000), cell(type='int (*)(' * 200), cell(name='a.' * 800),
                       cell(offset=int('9' * 400)), cell(type='int\n')]:
            self.refused('damaged', answered(result))
        for result in [1, [1], [{}], [{'ret': 'int', 'args': 1}], [{'ret': 1, 'args': []}],
                       [{'ret': 'int', 'args': ['\033']}]]:
            self.refused('damaged', answered(result), lambda types: types.functions('f'))

    def test_structs_that_never_end(self):
        types = surftrace.Server('127.0.0.1:1', '1', 'x86_64')
        types._ask = lambda command, name, read: read({'size': 8, 'cell': [dict(
            CELL, name='$', type='struct $%d' % (int(name.partition('$')[2] or 0) + 1))]})
        self.assertRaises(surftrace.SourceError, surftrace.find_member, types, 'struct s$0', 'x')
        self.assertRaises(surftrace.SourceError, surftrace.information, 'struct s', types, (), None)

    def test_a_signal_ends_the_waiting(self):
        server = RawServer([b'', b''], pause=5)
        self.addCleanup(server.close)

        def check():
            if server.requests:
                raise surftrace.StopRun()
        began = time.time()
        self.assertRaises(surftrace.StopRun, surftrace.Server(
            server.address, '1', 'x86_64', check).functions, 'f')
        self.assertLess(time.time() - began, 3)

    def test_too_slow(self):
        self.refused('no whole answer in 1 s', [b'H'] * 100, limit=1, pause=0.05)
        self.refused('no whole answer in 1 s', [b'', b''], limit=1, pause=3)

    def test_too_much(self):
        self.refused('does not end', [http(b'x' * 1000000)] * 100)

    def test_nobody_there(self):
        with self.assertRaises(surftrace.SourceError) as caught:
            surftrace.Server('127.0.0.1:1', 'x', 'x86_64').functions('f')
        self.assertIn('refused', str(caught.exception))

    def test_addresses(self):
        for text, host, port in [('a.b', 'a.b', 7655), ('a:1', 'a', 1), ('[::1]:2', '::1', 2)]:
            server = surftrace.Server(text, 'x', 'x86_64')
            self.assertEqual((server.host, server.port), (host, port))
        self.assertRaises(surftrace.UsageError, surftrace.Server, 'a', 'x y', 'x86_64')
        for text in ('', 'a:b', 'a b', 'http://a', 'a:123456', 'a:99999', 'a\r\nb'):
            self.assertRaises(surftrace.UsageError, surftrace.Server, text, 'x', 'x86_64')


class Choosing(unittest.TestCase):
    """Which source is taken, where there are several or none."""

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        for name in ('RUNNING_BTF', 'RUNNING_NOTES', 'DEBUG_FILES'):
            self.addCleanup(setattr, surftrace, name, getattr(surftrace, name))
        self.addCleanup(os.chdir, os.getcwd())
        surftrace.RUNNING_BTF, surftrace.RUNNING_NOTES = self.directory, '/nonexistent'
        surftrace.DEBUG_FILES = (os.path.join(self.directory, 'debug-%s'),)
        os.chdir(self.directory)

    def write(self, name, data=None):
        with open(os.path.join(self.directory, name), 'wb') as stream:
            stream.write(btf.sample().data() if data is None else data)

    def opened(self, **words):
        return sources(here=True, **words).of(None)._open_source()

    def test_the_running_kernels_btf(self):
        self.write('vmlinux')
        self.assertEqual(self.opened().kind, 'BTF')

    def test_the_file_that_is_named(self):
        self.write('vmlinux')
        self.write('other')
        self.assertEqual(self.opened(vmlinux='other').name, 'other')

    def test_a_database_beside_it(self):
        surftrace.write_database('info-1.2.3.db', surftrace.Btf(btf.sample().data(), 'x'),
                                 'aarch64', open_console())
        for mode in ('auto', 'local'):
            self.assertEqual(self.opened(mode=mode, architecture='aarch64').kind, 'database')
            with self.assertRaises(surftrace.SourceError) as caught:
                self.opened(mode=mode, architecture='x86_64')
            self.assertIn('is of aarch64', str(caught.exception))

    def test_another_kernels_vmlinux(self):
        """Its offsets would be wrong numbers that look right."""
        def notes(number):
            return (b'\4\0\0\0\4\0\0\0\0\1\0\0XXX\0abcd'
                    b'\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0' + number * 20)
        self.write('mine', elf([(b'.BTF', btf.sample().data()), (b'.notes', notes(b'1'))]))
        self.write('other', elf([(b'.BTF', btf.sample().data()),
                                 (b'.note.gnu.build-id', notes(b'\n'))]))
        self.write('notes', notes(b'1'))
        surftrace.RUNNING_NOTES = os.path.join(self.directory, 'notes')
        self.assertEqual(self.opened(vmlinux='mine', architecture='x86_64').kind, 'BTF')
        with self.assertRaises(surftrace.SourceError) as caught:
            self.opened(vmlinux='other', architecture='x86_64')
        self.assertIn('other is not of the running kernel, 1.2.3', str(caught.exception))
        self.assertEqual(sources(here=False, vmlinux='other', architecture='x86_64').of(
            None)._open_source().kind, 'BTF')

    def test_debug_info(self):
        """Read without gdb, that of a module from its own file; gdb for what is not known."""
        def debug(form):
            return elf([(b'.symtab', b''), (b'.debug_info', unit(b'\1x\0')), (
                b'.debug_abbrev', abbreviations([(0x11, False, [(3, form, b'')])]))])
        for name in ('RUNNING_MODULE_NOTES', 'DEBUG_MODULES'):
            self.addCleanup(setattr, surftrace, name, getattr(surftrace, name))
        surftrace.DEBUG_MODULES = (os.path.join(self.directory, 'modules-%s'),)
        os.makedirs('modules-1.2.3/net')
        self.write('modules-1.2.3/net/nf-tables.ko.debug', debug(8))
        self.write('debug-1.2.3', debug(8))
        types = sources(here=True, architecture='x86_64')
        for module, name in ((None, 'debug-1.2.3'), ('nf_tables', 'nf-tables.ko.debug'),
                             ('nf', 'debug-1.2.3')):
            source = types.of(module)._open_source()
            self.assertEqual((source.kind, os.path.basename(source.name)), ('DWARF', name))
        types.close()
        self.write('debug-1.2.3', debug(0x7fff))
        for mode, message in (('dwarf', 'form of attributes 0x7fff'), ('auto', '/no/gdb: no such')):
            with self.assertRaises(surftrace.SourceError) as caught:
                self.opened(mode=mode, architecture='x86_64', gdb='/no/gdb')
            self.assertIn(message, str(caught.exception))

    def test_nothing_there_lists_the_ways_out(self):
        with self.assertRaises(surftrace.NoTypesError) as caught:
            self.opened()
        for words in ('kernel 1.2.3', '-v FILE', '--make-db info-1.2.3.db', '-d FILE', '-r HOST'):
            self.assertIn(words, str(caught.exception))

    def test_never_the_network_by_itself(self):
        saved = surftrace.Server
        surftrace.Server = None
        try:
            self.assertRaises(surftrace.NoTypesError, self.opened)
        finally:
            surftrace.Server = saved

    def test_what_is_asked_for_is_not_there(self):
        for mode, message in (('btf', 'CONFIG_DEBUG_INFO_BTF'), ('gdb', 'no vmlinux with debug'),
                              ('dwarf', 'no vmlinux with debug'),
                              ('local', 'no info-1.2.3.db')):
            with self.assertRaises(surftrace.NoTypesError) as caught:
                self.opened(mode=mode)
            self.assertIn(message, str(caught.exception))

    def test_a_vmlinux_that_cannot_do(self):
        self.write('stripped', elf([(b'.text', b'code')]))
        self.write('plain', elf([(b'.symtab', b''), (b'.text', b'code')]))
        self.write('arm', elf([(b'.symtab', b''), (b'.debug_info', b'')], machine=183))
        self.write('armbtf', elf([(b'.BTF', btf.sample().data())], machine=183))
        for name, message in (('stripped', 'is stripped'), ('plain', 'no debug info'),
                              ('arm', 'is of aarch64'), ('armbtf', 'is of aarch64')):
            with self.assertRaises(surftrace.SourceError) as caught:
                self.opened(vmlinux=name, architecture='x86_64')
            self.assertIn(message, str(caught.exception))
        with self.assertRaises(surftrace.NoTypesError) as caught:
            sources(here=True).disassembler()
        self.assertIn('name one with -v; ', str(caught.exception))

    def test_the_package_that_brings_one(self):
        saved = surftrace.text_if_there
        self.addCleanup(setattr, surftrace, 'text_if_there', saved)
        for release, words in (('ID=debian\n', 'apt-get install linux-image-1.2-dbg'),
                               ('NAME=x\nID=ubuntu\nID_LIKE=debian\n', 'linux-image-1.2-dbgsym'),
                               ('ID="anolis"\nID_LIKE="rhel fedora centos"\n',
                                'debuginfo-install kernel-core-1.2'), ('', 'debug package')):
            surftrace.text_if_there = lambda path: release
            self.assertIn(words, surftrace.debug_package('1.2'))

    def test_files_that_are_no_vmlinux(self):
        self.write('text', b'this is a text\n')
        self.write('empty', b'')
        for name in ('text', 'empty'):
            for mode, message in (('auto', 'neither BTF nor an ELF file'), ('gdb', 'no ELF file'),
                                  ('dwarf', 'no ELF file'),
                                  ('btf', 'neither BTF nor an ELF file')):
                with self.assertRaises(surftrace.SourceError) as caught:
                    self.opened(mode=mode, vmlinux=name)
                self.assertIn(message, str(caught.exception))


if __name__ == '__main__':
    unittest.main()

"""Types from gdb: what it prints, and a gdb that is missing, old, slow, or ends in the middle."""
import errno
import os
import signal
import unittest

from tests.lib import dwarf, elf, standin, tool
from tests.lib.files import FileTest

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


class Printed(unittest.TestCase):
    """What gdb prints, and what it says."""

    def test_layout(self):
        found = tool.gdb_struct(LAYOUT)
        self.assertEqual((found.kind, found.size), ('struct', 48))
        self.assertEqual(found.places(), sorted(PLACES))

    def test_what_members_are(self):
        found = dict((member.name, member.type) for member in tool.gdb_struct(LAYOUT).members())
        for name, text in [('sk', 'struct sock *'), ('done', 'void (*)(struct sk_buff *)'),
                           ('usage', 'atomic_t[1]'), ('list', 'struct list_head'),
                           ('tail', 'char[]'), ('parts', 'struct {...} *'),
                           ('pair', 'struct {...}[2]')]:
            self.assertEqual(found[name].words, text)
        self.assertEqual(found['parts'].target.places(), [('flags', 64, 0), ('from', 0, 0)])
        pair = found['pair']
        self.assertEqual((pair.kind, pair.length, pair.target.size), ('array', 2, 8))
        inner = pair.target.member('y')
        self.assertEqual((inner.bit_offset, inner.type.kind), (32, 'enum'))
        self.assertEqual(inner.type.values(), [('ONE', 0), ('TWO', 1)])

    def test_old_layout(self):
        found = tool.gdb_struct(OLD_LAYOUT, bits_left=True)
        self.assertEqual(found.places(), OLD_PLACES)
        self.assertEqual(found.size, 24)

    def test_union(self):
        found = tool.gdb_struct(
            '/* offset    |  size */  type = const union {\n'
            '/*                 4 */    u8 : 4;\n'
            '/*                 4 */    enum {A = -2, B, C = 7, D} choice : 3;\n'
            '/*                16 */    volatile struct {\n'
            '/*    0      |     8 */        int a[2];\n'
            '                           } grid[2][1];\n\n'
            '                           /* total size:   16 bytes */\n')
        self.assertEqual((found.kind, found.size), ('union', 16))
        self.assertEqual(found.places(), [('choice', 0, 3), ('grid', 0, 0)])
        self.assertEqual(found.member('choice').type.values(),
                         [('A', -2), ('B', -1), ('C', 7), ('D', 8)])
        self.assertEqual(found.member('grid').type.words, 'struct {...}[2][1]')
        self.assertEqual(found.member('grid').type.size, 16)

    def test_no_layout(self):
        for text in ('', 'type = int\n', 'type = enum pid_type {A, B}\n', 'garbage'):
            self.assertIsNone(tool.gdb_struct(text))

    def test_registers(self):
        ranges = ('multi-location:\n  Base address 0x1000  Range 0x1000-0x1000: a variable in $rax'
                  '\n  Range 0x1000-0x1010: a variable in $rsi\n'
                  '  Range 0x1010-0x1020: a variable in $rbx\n, length 8.\n')
        for where, register in [
                ('a variable in $rdi, length 8.\n', 'di'), ('a variable in $x3, length 4.\n', 'x3'),
                ('a variable in $r8, length 8.\n', 'r8'), (ranges, 'si'), ('optimized out.\n', ''),
                (ranges.replace('0x1000', '0x1004'), ''),
                ('a complex DWARF expression:\n  0: DW_OP_fbreg -72\n, length 8.\n', '')]:
            self.assertEqual(tool.gdb_register(0x1000, where), register, where)
        for address, register in ((0x100f, 'si'), (0x1010, 'bx'), (0x101f, 'bx'), (0x1020, '')):
            self.assertEqual(tool.gdb_register(address, ranges), register)

    def test_lines(self):
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
        self.assertEqual(tool.gdb_lines(text, 'fs/read_write.c'), expected)
        self.assertEqual(tool.gdb_lines(text, 'read_write.c'), expected + [(10, (0x200, 0x220))])
        self.assertEqual(tool.gdb_lines(text, 'write.c'), [])

    def test_escapes(self):
        self.assertEqual(tool.gdb_text('a\\n\\tb\\"c\\\\n\\303\\244\\e'),
                         'a\n\tb"c\\n' + tool.text_of(b'\xc3\xa4') + '\033')
        self.assertEqual(tool.gdb_question('a"b\\c'), 'a\\"b\\\\c')
        for text in ('a\nb', 'a\0', '\x1f'):
            self.assertRaises(tool.SourceError, tool.gdb_question, text)


FAKE = '''#!/bin/sh
echo $$ > %s
printf '(gdb) \\n'
while read -r line; do
    case $line in
%s
        *) echo '^done' ;;
    esac
done
'''
HANGS, FLOODS = 'exec sleep 1000', "printf '~\"'; exec tr '\\0' x < /dev/zero"
DIES = "echo 'out of wits' >&2; exit 3"
KILLED = 'kill -9 $$'


def quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


def version(words):
    return '-gdb-version', ['~"%s\\n"' % words, '~"more"', '^done']


VERSION = version('GNU gdb (Debian 13.1-3) 13.1')


def says(text):
    """What gdb's machine interface makes of lines of text."""
    return ['~"%s\\n"' % line.replace('"', '\\"') for line in text.splitlines()] + ['^done']


class Fakes(FileTest):
    """Programs that play gdb; each test says what they answer, and to what."""

    def setUp(self):
        FileTest.setUp(self)
        self.vmlinux = self.write('vmlinux', elf.elf(
            elf.symbols([('f', 0x1000, 8), ('f.isra.0', 0x2000, 8), ('init', 0x3000, 8, elf.OBJECT)]
                        ) + [(b'.debug_info', b'x')]))

    def gdb(self, *answers):
        """The path of one that answers what holds some words, (words, answer), first come first.

        An answer is a list of lines, or words of the shell.
        """
        rows = []
        for words, answer in answers:
            if isinstance(answer, list):
                answer = "printf '%%s\\n' %s" % ' '.join(map(quoted, answer))
            rows.append('        *%s*) %s ;;' % (quoted(words), answer))
        path = self.write('gdb', (FAKE % (os.path.join(self.directory, 'pid'), '\n'.join(rows))
                                  ).encode())
        os.chmod(path, 0o755)
        return path

    def nothing_is_left(self):
        if not os.path.exists('pid'):
            return
        with open('pid') as stream:
            number = int(stream.read())
        with self.assertRaises(EnvironmentError) as caught:
            os.kill(number, 0)
        self.assertEqual(caught.exception.errno, errno.ESRCH)

    def ask(self, *answers, **options):
        """The command line that has a trace read by this gdb."""
        return ('-S', '-m', 'gdb', '-g', options.get('command') or self.gdb(*answers), '-v',
                self.vmlinux, options.get('trace', 'p f a=%0->x'))


class Processes(Fakes):
    """A gdb that misbehaves is told, in time, and nothing of it is left."""

    def fails(self, message, *answers, **options):
        text = self.refused(message, *self.ask(*answers, **options))
        self.nothing_is_left()
        return text

    def test_versions(self):
        """From 8.1 on it can show offsets."""
        for words in ('GNU gdb (GDB) 12.1', 'GNU gdb (GDB) 8.1', 'GNU gdb (GDB) v9.1',
                      'GNU gdb (GDB) Red Hat Enterprise Linux 8.2-12.el8',
                      'GNU gdb (Ubuntu 9.2-0ubuntu1~20.04.1) 9.2', 'GNU gdb (GDB) 10.0'):
            answers = version(words), ('print &f', says('$1 = (void (*)(int)) 0x1000 <f>'))
            self.assertEqual(self.said(*self.ask(*answers, trace='p f a=S%0')).count('a=%di:s32'),
                             1, words)
            self.nothing_is_left()
        for words, name in (('GNU gdb (GDB) 8.0', '8.0'), ('GNU gdb (GDB) 8.0.1', '8.0.1'),
                            ('GNU gdb (GDB) 7.12', '7.12'),
                            ('GNU gdb (GDB) Red Hat Enterprise Linux 7.6.1-120.el7',
                             '7.6.1-120.el7')):
            self.fails('/gdb is version %s, which cannot show offsets (ptype/o): it takes 8.1 or '
                       'later' % name, version(words))

    def test_bits_by_version(self):
        """gdb 8 counts those that are left over, later ones where they begin."""
        layout = says('/* offset    |  size */  type = struct s {\n'
                      '/*    0      |     4 */    int first;\n'
                      '/*    4: 5   |     4 */    int x : 3;\n\n'
                      '                           /* total size:    8 bytes */\n}')
        for words, field in (('GNU gdb (GDB) 8.3.1', 'a=+0x7(%di):b3@0/8'),
                             ('GNU gdb (GDB) 9.1', 'a=+0x4(%di):b3@5/8')):
            line = self.said(*self.ask(
                version(words), ('print &f', says('$1 = (void (*)(struct s *)) 0x1000 <f>')),
                ('ptype/o struct s', layout)))
            self.assertIn(field, line)

    def test_something_else(self):
        self.fails('/gdb is no gdb: it does not tell its version')

    def test_not_there(self):
        self.fails('/none: no such file or directory; name a gdb with -g, or install the package '
                   'gdb', command=os.path.join(self.directory, 'none'))

    def test_not_there_for_another_machine(self):
        there = os.uname()[4]
        machine, name = ((elf.AARCH64, 'aarch64') if there == 'x86_64' else
                         (elf.X86_64, 'x86_64'))
        self.write('vmlinux', elf.elf(elf.symbols([('f', 0x1000, 8)]) + [(b'.debug_info', b'x')],
                                      machine=machine))
        text = self.refused('install the package gdb-multiarch', '-a', name, *self.ask(
            command='/nonexistent/gdb'))
        self.assertIn('/nonexistent/gdb: no such file', text)

    def test_cannot_read_the_file(self):
        refusal = '^error,msg="\\"x\\": not in executable format: file format not recognized"'
        self.fails('/gdb cannot read %s: "x": not in executable format: file format not '
                   'recognized; gdb-multiarch can' % self.vmlinux, VERSION,
                   ('file-exec', [refusal]))
        text = self.fails('/gdb cannot read %s: no memory' % self.vmlinux, VERSION,
                          ('file-exec', ['^error,msg="no memory"']))
        self.assertNotIn('gdb-multiarch', text)

    def test_what_it_is_started_with(self):
        """It reads nobody's settings, and asks no server for debug files."""
        self.addCleanup(os.environ.pop, 'DEBUGINFOD_URLS', None)
        os.environ['DEBUGINFOD_URLS'] = 'http://127.0.0.1:1'
        gdb = self.gdb(('-gdb-version', 'echo "$* [$DEBUGINFOD_URLS] $LC_ALL" > started; '
                                        'echo "$line" > asked; echo ^done'),
                       ('interpreter-exec', 'echo "$line" >> asked; echo ^done'))
        with open(gdb) as stream:
            text = stream.read()
        answer = '~"GNU gdb (GDB) 13.1\\n"\n^done'
        with open(gdb, 'w') as stream:
            stream.write(text.replace('echo ^done', "printf '%%s\\n' %s" % quoted(answer), 1))
        self.refused('no prototype', *(self.ask(command=gdb)), status=2)
        with open('started') as stream:
            words = stream.read().split()
        self.assertIn('-nx', words)
        self.assertEqual(words[-2:], ['[]', 'C'])
        with open('asked') as stream:
            asked = stream.read()
        for setting in ('auto-load off', 'confirm off', 'width 0', 'height 0', 'language c',
                        'print demangle off', 'max-value-size unlimited', 'index-cache on',
                        'index-cache enabled on'):
            self.assertIn('"set %s"' % setting, asked)

    def test_settings_that_it_does_not_know_are_let_go(self):
        self.said(*self.ask(VERSION, ('index-cache',
                                      ['^error,msg="Undefined set command"']), (
            'print &f', says('$1 = (void (*)(int)) 0x1000 <f>')), trace='p f a=S%0'))

    def test_dies(self):
        for pattern in ('-gdb-version', 'file-exec', 'print &f'):
            self.fails('/gdb ended in the middle, with status 3: out of wits', (pattern, DIES),
                       VERSION)
        self.fails('ended in the middle, with signal 9 (a large vmlinux takes it 2 GB of memory)',
                   VERSION, ('file-exec', KILLED))

    def test_hangs(self):
        for words in ('-gdb-version', 'file-exec', 'print &f'):
            with self.assertRaises(tool.SourceError) as caught:
                types = tool.from_gdb(self.vmlinux, self.gdb((words, HANGS), VERSION), 0.2)
                self.assertEqual(words, 'print &f')     # the others are met before it is open
                try:
                    types.functions('f')
                finally:
                    types.close()
            self.assertIn('%s: %s/gdb gave no answer in ' % (self.vmlinux, self.directory),
                          str(caught.exception))
            self.nothing_is_left()

    def test_floods(self):
        with self.assertRaises(tool.SourceError) as caught:
            tool.from_gdb(self.vmlinux, self.gdb(('file-exec', FLOODS), VERSION), 60, 1 << 20)
        self.assertIn('gave no answer', str(caught.exception))
        self.nothing_is_left()

    def test_a_signal_ends_the_waiting(self):
        """Of -S, and of a run that is to trace; it has changed nothing by then."""
        box = standin.StandIn(architecture=os.uname()[4])
        self.addCleanup(box.remove)
        machine = {'x86_64': elf.X86_64, 'aarch64': elf.AARCH64}[os.uname()[4]]
        self.write('vmlinux', elf.elf(elf.symbols([('vfs_read', 0x1000, 8)]) + [
            (b'.debug_info', b'x')], machine=machine))
        for name in ('TERM', 'HUP'):
            number = getattr(signal, 'SIG' + name)
            self.unhandled(number)
            command = self.ask(VERSION, ('file-exec', 'kill -%s $PPID; %s' % (name, HANGS)),
                               trace='p vfs_read a=%0->x')
            for arguments in (command, ('--tracefs', box.tracefs) + command[1:]):
                result = tool.run(arguments, on=box)
                self.assertEqual((result.status, result.out), (128 + number, ''), result.err)
                self.nothing_is_left()
        self.assertEqual(box.writes(), [])

    def test_names_that_are_no_symbols(self):
        """Nothing but a name becomes part of a question."""
        plain = self.write('plain', elf.elf([(b'.symtab', b'')]))
        self.refused("'f;shell' is no symbol's name", '-g', self.gdb(VERSION), '-v', plain, '-F',
                     'f;shell', status=2)
        for place in ('f.c', 'f.c:x', 'f.c:12345678', 'a b.c:1', ':1', 'f.c:1;shell'):
            self.refused('-l takes FILE:LINE, like fs/read_write.c:455', '-g', self.gdb(VERSION),
                         '-v', plain, '-l', place, status=2)


class Answers(Fakes):
    """A gdb that knows one function."""

    STRUCT = ('ptype/o struct s', says(
        '/* offset    |  size */  type = struct s {\n/*    0      |     8 */    u64 y;\n'
        '/*    8      |     4 */    int x;\n\n'
        '                           /* total size:   24 bytes */\n}'))
    F = ('print &f"', says('$1 = (int (*)(struct s *, int)) 0xffffffff81001000 <f>'))

    def test_members(self):
        for value, expected in (('S%0->x', 'a=+0x8(%di):s32'), ('%1', 'a=%si:x32'),
                                ('S$retval', 'a=$retval:s32')):
            kind = 'r' if 'retval' in value else 'p'
            line = self.said(*self.ask(VERSION, self.F, self.STRUCT, trace='%s f a=%s' % (
                kind, value)))
            self.assertIn(expected, line)
            self.assertIn('types from %s (gdb)' % self.vmlinux, self.noted)

    def test_names_of_arguments(self):
        """gdb lists the variables of inlined code, too: only those of the right type count."""
        scope = ('info scope', says(
            'Symbol first is a variable in $rdi, length 8.\n'
            'Symbol second is a variable in $rsi, length 4.\n'
            'Symbol third is a variable in $rax, length 4.'))
        types = [('whatis f::first', says('type = struct s *')),
                 ('whatis f::second', says('type = int'))]
        self.assertIn('a=%si:s32', self.said(*self.ask(
            VERSION, self.F, scope, types[0], types[1], self.STRUCT, trace='p f a=S$second')))
        types[1] = ('whatis f::second', says('type = long'))
        self.refused("f has no argument 'second'", *self.ask(
            VERSION, self.F, scope, types[0], types[1], self.STRUCT, trace='p f a=S$second'),
            status=2)

    def test_where_the_arguments_of_a_variant_lie(self):
        scope = ('info scope', says(
            'Symbol first is a variable in $rdx, length 8.\n'
            'Symbol second is a variable in $rsi, length 4.'))
        answers = [VERSION, scope, ('whatis f::first', says('type = struct s *')),
                   ('whatis f::second', says('type = int')), self.STRUCT,
                   ("print &'f.isra.0'", says(
                       '$1 = (int (*)(struct s *, int)) 0x2000 <f.isra.0>'))]
        self.assertIn('a=+0x8(%dx):s32', self.said(*self.ask(
            *answers, trace='p f.isra.0 a=S%0->x')))
        answers[1] = ('info scope', says(
            'Symbol first is a variable in $rdx, length 8.\nSymbol second is optimized out.'))
        self.refused('the compiler changed the arguments of f.isra.0', *self.ask(
            *answers, trace='p f.isra.0 a=%0->x'), status=2)

    def test_in_place_of_the_reader_of_debug_info(self):
        """Where that meets what it does not know, in the middle of a trace."""
        strange = dwarf.Entry(dwarf.REFERENCE)
        held = dwarf.struct_of('s', 24, [('x', strange, 8)])
        to_held = dwarf.pointer(held)
        sections = dwarf.sections([dwarf.root(strange, held, to_held, dwarf.function(
            'f', [('p', to_held)], (dwarf.LOW_PC, dwarf.address(0x1000))))])
        self.write('vmlinux', elf.elf(elf.symbols([('f', 0x1000, 8)]) + sections))
        arguments = self.ask(VERSION, self.F, self.STRUCT, trace='p f a=S%0->x')
        self.assertIn('a=+0x8(%di):s32', self.said('-S', *arguments[3:]))
        self.assertIn('types from %s (DWARF)' % self.vmlinux, self.noted)
        self.assertIn('a type of tag 0x10; gdb reads it instead\nsurftrace: types from %s (gdb)'
                      % self.vmlinux, self.noted)

    def test_variables_and_enums(self):
        answers = [VERSION, ('whatis init', says('type = struct s')), (
            'info address init', says('Symbol "init" is static storage at address 0x3000.')),
            self.STRUCT, ('whatis ONE', says('type = enum {...}')), (
                'info address ONE', says('Symbol "ONE" is constant.')), (
                    'sizeof(ONE)', says('$1 = 4')), ('ptype ONE', says(
                        'type = enum {ONE = 1, TWO}'))]
        line = self.said(*self.ask(*answers, trace='p f a=S@init.x b=!(enum ONE)%si f:b==TWO'))
        self.assertIn('a=@init+0x8:s32 b=%si:x32', line)
        self.assertIn('b==2', line)

    def test_typedefs(self):
        """One stands for other words, for a struct or an enum without a tag, or for a number."""
        answers = [VERSION, ('print &f"', says(
            '$1 = (void (*)(u8, atomic_t *, choice_t)) 0x1 <f>'))]
        for name, stands_for, size in (('u8', 'unsigned char', 1), ('atomic_t', 'struct {...}', 4),
                                       ('choice_t', 'enum {...}', 4)):
            answers += [('whatis (%s *)0' % name, says('type = %s *' % name)),
                        ('whatis ' + name, says('type = ' + stands_for)),
                        ('print sizeof(%s)' % name, says('$1 = %d' % size))]
        answers += [('ptype/o atomic_t', says(
            '/* offset    |  size */  type = struct {\n/*    0      |     4 */    int counter;\n\n'
            '                           /* total size:    4 bytes */\n}')),
            ('ptype choice_t', says('type = enum {NO, YES = 5, MORE}'))]
        line = self.said(*self.ask(*answers, trace='p f a=U%0 b=S%1->counter c=%2 f:c==MORE'))
        self.assertIn('a=%di:u8 b=+0x0(%si):s32 c=%dx:x32', line)
        self.assertIn('c==6', line)

    def test_enums_by_name(self):
        answers = [VERSION, ('sizeof(enum state)', says('$1 = 1')),
                   ('ptype enum state', says('type = enum state {RUNNING, SLEEPING}'))]
        line = self.said(*self.ask(*answers, trace='p f c=!(enum state)%di f:c==SLEEPING'))
        self.assertIn('c=%di:x8', line)
        self.assertIn('c==1', line)

    def test_functions_of_one_name(self):
        """All of them count, unless a struct is another one in each one's file."""
        answers = [VERSION, self.F, self.STRUCT, ('info line f', says(
            'Line 1 of "a.c" starts at address 0x1000 <f>.\n'
            'Line 9 of "b.c" starts at address 0x2000 <f>.')), ('info functions ^f$', says(
                'File a.c:\n1:\\tstatic int f(struct s *, int);\n\nFile b.c:\n'
                '9:\\tstatic int f(struct s *, long);'))]
        self.assertIn('a=+0x8(%di):s32', self.said(*self.ask(*answers, trace='p f a=S%0->x')))
        self.refused('', *self.ask(*answers, trace='p f a=S%1'), status=2)
        # The answer depends on the file that was listed last.
        answers[2] = ('ptype/o struct s', "echo x >> asked; if [ $(wc -l < asked) -gt 1 ]; then "
                      "printf '%s\\n' '~\"type = struct s {\\n\"' ^done; else echo ^done; fi")
        self.refused("several functions are called 'f', each with a struct s of its own: name a "
                     'register, %REGISTER', *self.ask(*answers, trace='p f a=%0'))

    def test_lists(self):
        """What a database is made of."""
        answers = [VERSION, ('info types', says(
            'All defined types:\n\nFile a.c:\n10:\\tstruct s;\n11:\\ttypedef int number;\n'
            '\\ttypedef struct {...} pair_t;\n12:\\tenum state;\n13:\\tstruct s;')),
            ('info functions', says('1:\\tstatic int f(struct s *, int);\n2:\\tvoid g(void);'))]
        types = tool.from_gdb(self.vmlinux, self.gdb(*answers), 60)
        self.addCleanup(types.close)
        for kind, names in (('struct', ['s']), ('union', []), ('enum', ['state']),
                            ('typedef', ['number', 'pair_t']), ('function', ['f', 'g'])):
            self.assertEqual(types.names(kind), names, kind)
        self.assertEqual(types.prototypes('f'), ['int f(struct s *, int)'])

    def test_a_variant_whose_symbol_is_before_its_debug_info(self):
        """As on aarch64, where what ftrace patches lies between them."""
        scope = ('info scope', says('Symbol first is a variable in $rdx, length 4.'))
        for bare, found in ((0x1ff0, True), (0x2000, True), (0x1fef, False), (0x2001, False)):
            answers = [
                VERSION, scope, ('whatis f::first', says('type = int')),
                ("print &'f.isra.0'", says(
                    '$1 = (<text variable, no debug info> *) 0x%x <f.isra.0>' % bare)),
                ('print &f"', says('$1 = (int (*)(int)) 0x2000 <f>'))]
            self.assertIn('a=%dx:s32' if found else 'a=%di:s64',
                          self.said(*self.ask(*answers, trace='p f.isra.0 a=S%0')))


class Instructions(Fakes):
    """-F and -l: offsets count from the symbol, as kprobes do; gdb counts from its debug info."""

    LINES = ('maint info line-table', says(
        'symtab: fs/a.c ((struct symtab *) 0x1)\n'
        '0      10     0x0000000000001000 Y                    \n'
        '1      12     0x0000000000001008 Y                    \n'
        '2      END    0x0000000000001010 Y                    '))
    CODE = ('disassemble', ['~"Dump of assembler code:\\n"',
                            '~"   0x0000000000001008 <+0>:\\tnop\\n"',
                            '~"   0x000000000000100a <f+2>:\\tret\\n"',
                            '~"End of assembler dump.\\n"', '^done'])

    def test_of_a_function(self):
        gdb = self.gdb(VERSION, self.CODE, ('info symbol 0x1008', says('f + 8 in section .text')))
        self.assertEqual(self.said('-g', gdb, '-v', self.vmlinux, '-F', 'f'), (
            'Dump of assembler code:\n   0x0000000000001008 <+8>:\tnop\n'
            '   0x000000000000100a <f+10>:\tret\nEnd of assembler dump.\n'))
        gdb = self.gdb(VERSION, self.CODE, ('info symbol 0x1008', says('f in section .text')))
        self.assertIn('<f+2>:\tret', self.said('-g', gdb, '-v', self.vmlinux, '-F', 'f'))
        self.refused("-F: there is no function 'g'", '-g', gdb, '-v',
                     self.vmlinux, '-F', 'g', status=2)
        gdb = self.gdb(VERSION, ('disassemble', ['^error,msg="No function contains it"']))
        self.refused('-F f: No function contains it', '-g', gdb, '-v', self.vmlinux, '-F', 'f',
                     status=2)

    def test_of_a_line(self):
        gdb = self.gdb(VERSION, self.LINES, self.CODE,
                       ('info symbol 0x1008', says('f + 8 in section .text')))
        self.assertEqual(self.said('-g', gdb, '-v', self.vmlinux, '-l', 'fs/a.c:12'), (
            'fs/a.c:12 is at f+8\n   0x0000000000001008 <+8>:\tnop\n'
            '   0x000000000000100a <f+10>:\tret\n'))
        for line, message in ((11, 'that line has no code; the next that has is 12\n'),
                              (13, 'that line has no code\n')):
            self.refused('-l a.c:%d: %s' % (line, message), '-g', gdb, '-v', self.vmlinux, '-l',
                         'a.c:%d' % line, status=2)
        gdb = self.gdb(VERSION, ('info line', ['^error,msg="No source file named b.c."']))
        self.refused('-l b.c:1: No source file named b.c.', '-g', gdb, '-v', self.vmlinux, '-l',
                     'b.c:1', status=2)

    def test_of_a_file_that_is_stripped(self):
        path = self.write('stripped', elf.elf([(b'.text', b'code')]))
        self.refused('stripped is stripped: it has neither types nor symbols', '-g',
                     self.gdb(VERSION), '-v', path, '-F', 'f')


if __name__ == '__main__':
    unittest.main()

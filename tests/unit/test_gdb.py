"""Types from gdb: what its own Python answers; and a gdb that is missing, slow, or ends early."""
import errno
import json
import os
import signal
import unittest

from tests.lib import dwarf, elf, standin, tool
from tests.lib.files import FileTest

# It answers lines of JSON, and the commands of -F and -l.
FAKE = '''#!/bin/sh
echo $$ > %s
while read -r line; do
    case $line in
%s
        '['*) echo '%snull' ;;
        echo*) printf '\\n%s\\n' ;;
    esac
done
'''
HANGS, FLOODS = 'exec sleep 1000', "exec tr '\\0' x < /dev/zero"
DIES = "echo 'out of wits' >&2; exit 3"
KILLED = 'kill -9 $$'
OPENED = 'opened', 1
NO_PYTHON = 'Python scripting is not supported in this copy of GDB.'


def quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


class Fakes(FileTest):
    """Programs that play gdb; each test says what they answer, and to what."""

    def setUp(self):
        FileTest.setUp(self)
        self.vmlinux = self.write('vmlinux', elf.elf(
            elf.symbols([('f', 0x1000, 8), ('f.isra.0', 0x2000, 8), ('init', 0x3000, 8, elf.OBJECT)]
                        ) + [(b'.debug_info', b'x')]))

    def gdb(self, *answers):
        """The path of one that answers what holds some words, (words, answer), first come first.

        An answer is a value, or words of the shell.
        """
        rows = []
        for words, answer in answers:
            if not isinstance(answer, str):
                answer = 'echo ' + quoted(tool.GDB_MARK + json.dumps(answer))
            rows.append('        *%s*) %s ;;' % (quoted(words), answer))
        path = self.write('gdb', (FAKE % (os.path.join(self.directory, 'pid'), '\n'.join(rows),
                                          tool.GDB_MARK, tool.GDB_MARK)).encode())
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

    def test_something_else(self):
        self.fails('/bin/true ended in the middle, with status 0', command='/bin/true')

    def test_without_python(self):
        self.fails('/gdb: this gdb has no Python, which -m gdb needs; -m dwarf does without it',
                   ('opened', "echo '%s'; echo 'Reading symbols'; exit 1" % NO_PYTHON))

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
        """What it printed last says why."""
        self.fails('/gdb cannot read %s: "x": not in executable format; gdb-multiarch may'
                   % self.vmlinux, ('opened', "echo Reading; echo '\"x\": not in executable format'"
                                              "; echo '%s0'" % tool.GDB_MARK))

    def test_what_it_is_started_with(self):
        """It reads nobody's settings, and asks no server for debug files."""
        self.addCleanup(os.environ.pop, 'DEBUGINFOD_URLS', None)
        os.environ['DEBUGINFOD_URLS'] = 'http://127.0.0.1:1'
        gdb = self.gdb(OPENED)
        with open(gdb) as stream:
            text = stream.read()
        with open(gdb, 'w') as stream:
            stream.write(text.replace('\n', '\necho "$* [$DEBUGINFOD_URLS] $LC_ALL" > started\n',
                                      1))
        self.refused('no prototype', *(self.ask(command=gdb)), status=2)
        self.started_well()
        self.refused('-F f: ', '-g', gdb, '-v', self.vmlinux, '-F', 'f', status=2)
        self.started_well()

    def started_well(self):
        with open('started') as stream:
            text = stream.read()
        self.assertIn('-nx', text.split())
        self.assertEqual(text.split()[-4:], ['--', self.vmlinux, '[]', 'C'])
        for setting in ('auto-load off', 'confirm off', 'width 0', 'height 0', 'language c',
                        'index-cache on', 'index-cache enabled on'):
            self.assertIn(setting, text)

    def test_dies(self):
        for words in ('opened', 'functions'):
            self.fails('/gdb ended in the middle, with status 3: out of wits', (words, DIES),
                       OPENED)
        self.fails('ended in the middle, with signal 9 (a large vmlinux takes it 2 GB of memory)',
                   ('opened', KILLED))

    def test_hangs(self):
        for words in ('opened', 'functions'):
            with self.assertRaises(tool.SourceError) as caught:
                types = tool.from_gdb(self.vmlinux, self.gdb((words, HANGS), OPENED), 0.2)
                self.assertEqual(words, 'functions')    # the other is met before it is open
                try:
                    types.functions('f')
                finally:
                    types.close()
            self.assertIn('%s: %s/gdb gave no answer in ' % (self.vmlinux, self.directory),
                          str(caught.exception))
            self.nothing_is_left()

    def test_floods(self):
        with self.assertRaises(tool.SourceError) as caught:
            tool.from_gdb(self.vmlinux, self.gdb(('opened', FLOODS)), 60, 1 << 20)
        self.assertIn('gave no answer', str(caught.exception))
        self.nothing_is_left()

    def test_answers_nonsense(self):
        for answer in ('{', 'x', '', '[1', '\\377'):
            self.fails('%s is damaged' % self.vmlinux, OPENED, (
                'functions', "printf '%s%s\\n'" % (tool.GDB_MARK, answer)))
        for answer in (5, 'x', [5], [[5]], [[[], 5, 6]], [[[[5]], 7]], {'a': 1}):
            text = self.refused('damaged', *self.ask(OPENED, ('functions', answer if answer != 'x'
                                                              else [['x']])))
            self.assertNotIn('Traceback', text)

    def test_what_it_prints_besides(self):
        """Its warnings are no answers."""
        self.assertIn('a=%di:s32', self.said(*self.ask(
            ('opened', "echo 'warning: x'; echo '@'; echo 'x %s5'; echo '%s1'" % (
                (tool.GDB_MARK,) * 2)), ('functions', [[[['first', 0]], 0]]),
            ('describe', ['int', 'int', 4, None, 0, True]), trace='p f a=S%0')))

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
            command = self.ask(('opened', 'kill -%s $PPID; %s' % (name, HANGS)),
                               trace='p vfs_read a=%0->x')
            for arguments in (command, ('--tracefs', box.tracefs) + command[1:]):
                result = tool.run(arguments, on=box)
                self.assertEqual((result.status, result.out), (128 + number, ''), result.err)
                self.nothing_is_left()
        self.assertEqual(box.writes(), [])

    def test_names_that_are_no_symbols(self):
        """Nothing but a name becomes part of a command."""
        plain = self.write('plain', elf.elf([(b'.symtab', b'')]))
        self.refused("'f;shell' is no symbol's name", '-g', self.gdb(), '-v', plain, '-F',
                     'f;shell', status=2)
        for place in ('f.c', 'f.c:x', 'f.c:12345678', 'a b.c:1', ':1', 'f.c:1;shell'):
            self.refused('-l takes FILE:LINE, like fs/read_write.c:455', '-g', self.gdb(), '-v',
                         plain, '-l', place, status=2)


class Answers(Fakes):
    """A gdb that knows f(struct s *first, int second); its types have numbers."""

    INT, S, TO_S, U64, ENUM, CHOICE = range(6)
    TYPES = [
        ('describe", 0]', ['int', 'int', 4, None, 0, True]),
        ('describe", 1]', ['struct', 's', 24, 1, 0, False]),
        ('members", 1]', [['y', 3, 0, 0], ['x', 0, 64, 0], ['low', 0, 96, 3]]),
        ('describe", 2]', ['pointer', '', 8, 1, 0, False]),
        ('describe", 3]', ['typedef', 'u64', 8, 6, 0, False]),
        ('describe", 6]', ['int', 'unsigned long', 8, None, 0, False]),
        ('describe", 4]', ['enum', 'state', 1, 4, 0, False]),
        ('enumerators", 4]', [['RUNNING', 0], ['SLEEPING', 1]]),
        ('describe", 5]', ['typedef', 'choice_t', 1, 4, 0, False])]
    F = [[['first', TO_S], ['second', INT]], INT]

    def answers(self, *first):
        """The same with other answers before them."""
        return (OPENED,) + first + (('functions", "f"', [self.F]),) + tuple(self.TYPES)

    def test_members(self):
        for value, expected in (('S%0->x', 'a=+0x8(%di):s32'), ('%1', 'a=%si:x32'),
                                ('U%0->low', 'a=+0xc(%di):b3@0/'), ('S$retval', 'a=$retval:s32'),
                                ('U%0->y', 'a=+0x0(%di):u64')):
            kind = 'r' if 'retval' in value else 'p'
            line = self.said(*self.ask(*self.answers(), trace='%s f a=%s' % (kind, value)))
            self.assertIn(expected, line)
            self.assertIn('types from %s (gdb)' % self.vmlinux, self.noted)

    def test_names_of_arguments(self):
        self.assertIn('a=%si:s32', self.said(*self.ask(*self.answers(), trace='p f a=S$second')))
        nameless = 'functions', [[[['', self.TO_S], ['', self.INT]], self.INT]]
        self.refused("f has no argument 'second'", *self.ask(*self.answers(
            nameless), trace='p f a=S$second'), status=2)

    def test_the_arguments_of_a_variant(self):
        """Where they are is for the reader of debug info to say."""
        variant = 'functions", "f.isra.0"', [self.F]
        self.refused("no prototype of 'f.isra.0' is known here: count its arguments", *self.ask(
            *self.answers(variant), trace='p f.isra.0 a=%0->x'), status=2)
        self.assertIn('a=$retval:s32', self.said(*self.ask(
            *self.answers(variant), trace='r f.isra.0 a=S$retval')))

    def test_in_place_of_the_reader_of_debug_info(self):
        """Where that meets what it does not know, in the middle of a trace."""
        strange = dwarf.Entry(dwarf.REFERENCE)
        held = dwarf.struct_of('s', 24, [('x', strange, 8)])
        to_held = dwarf.pointer(held)
        sections = dwarf.sections([dwarf.root(strange, held, to_held, dwarf.function(
            'f', [('p', to_held)], (dwarf.LOW_PC, dwarf.address(0x1000))))])
        self.write('vmlinux', elf.elf(elf.symbols([('f', 0x1000, 8)]) + sections))
        arguments = self.ask(*self.answers(), trace='p f a=S%0->x')
        self.assertIn('a=+0x8(%di):s32', self.said('-S', *arguments[3:]))
        self.assertIn('types from %s (DWARF)' % self.vmlinux, self.noted)
        self.assertIn('a type of tag 0x10; gdb reads it instead\nsurftrace: types from %s (gdb)'
                      % self.vmlinux, self.noted)

    def test_variables_and_enums(self):
        """An enum is called by one of its values, too."""
        line = self.said(*self.ask(*self.answers(
            ('variable", "init"', self.S), ('enums_of", "SLEEPING"', [self.ENUM]),
            ('find", "enum", "state"', self.ENUM)),
            trace='p f a=S@init.x b=!(enum SLEEPING)%si c=!(enum state)%dx f:b==SLEEPING'))
        self.assertIn('a=@init+0x8:s32 b=%si:x8 c=%dx:x8', line)
        self.assertIn('b==1', line)

    def test_typedefs(self):
        function = 'functions', [[[['a', self.U64], ['b', self.CHOICE]], self.INT]]
        line = self.said(*self.ask(*self.answers(function), trace='p f a=U%0 b=%1 f:b==RUNNING'))
        self.assertIn('a=%di:u64 b=%si:x8', line)
        self.assertIn('b==0', line)

    def test_functions_of_one_name(self):
        """They are one if they are the same; else a cast tells."""
        same = 'functions', [self.F, self.F]
        self.assertIn('a=+0x8(%di):s32', self.said(*self.ask(*self.answers(same),
                                                             trace='p f a=S%0->x')))
        others = 'functions', [self.F, [[['first', self.U64]], self.INT]]
        find = 'find", "struct", "s"', self.S
        self.refused('several functions have this name: int f(struct s *, int); int f(u64); cast '
                     '%N or $retval, !(TYPE)%0', *self.ask(*self.answers(others)), status=2)
        self.assertIn('a=+0x8(%di):s32', self.said(*self.ask(
            *self.answers(others, find), trace='p f a=S!(struct s *)%0->x')))

    def test_a_question_is_asked_once(self):
        count = 'functions', "echo >> asked; echo '%s%s'" % (tool.GDB_MARK, json.dumps([self.F]))
        self.said(*self.ask(*self.answers(count), trace='p f a=%0->x b=%0->y c=%1'))
        with open('asked') as stream:
            self.assertEqual(stream.read(), '\n')

    def test_lists(self):
        """What a database is made of."""
        lists = [('names", "%s"' % kind, names) for kind, names in (
            ('struct', ['s']), ('union', []), ('enum', ['state']), ('typedef', ['choice_t', 'u64']),
            ('function', ['f']))]
        types = tool.from_gdb(self.vmlinux, self.gdb(*self.answers(*lists)), 60)
        self.addCleanup(types.close)
        for kind, names in lists:
            self.assertEqual(types.names(kind.split('"')[2]), names, kind)
        self.assertEqual(types.prototypes('f'), ['int f(struct s *, int)'])


class Instructions(Fakes):
    """-F and -l: offsets count from the symbol, as kprobes do; gdb counts from its debug info.

    Its Python has no part in it.
    """

    def printed(self, text):
        """Words of the shell that print a text."""
        return "printf '%%s\\n' %s" % quoted(text)

    def setUp(self):
        Fakes.setUp(self)
        self.lines = ('maint info line-table', self.printed(
            'symtab: fs/a.c ((struct symtab *) 0x1)\n'
            '0      10     0x0000000000001000 Y                    \n'
            '1      12     0x0000000000001008 Y                    \n'
            '2      END    0x0000000000001010 Y                    '))
        self.code = ('disassemble', self.printed(
            'Dump of assembler code:\n'
            '   0x0000000000001008 <+0>:\tnop\n'
            '   0x000000000000100a <f+2>:\tret\n'
            'End of assembler dump.'))
        self.inside = 'info symbol 0x1008', self.printed('f + 8 in section .text')

    def test_of_a_function(self):
        gdb = self.gdb(self.code, self.inside)
        self.assertEqual(self.said('-g', gdb, '-v', self.vmlinux, '-F', 'f'), (
            'Dump of assembler code:\n   0x0000000000001008 <+8>:\tnop\n'
            '   0x000000000000100a <f+10>:\tret\nEnd of assembler dump.\n'))
        gdb = self.gdb(self.code, ('info symbol 0x1008', self.printed('f in section .text')))
        self.assertIn('<f+2>:\tret', self.said('-g', gdb, '-v', self.vmlinux, '-F', 'f'))
        gdb = self.gdb(('disassemble', self.printed('No function contains it')))
        self.refused('-F f: No function contains it', '-g', gdb, '-v', self.vmlinux, '-F', 'f',
                     status=2)
        self.nothing_is_left()

    def test_of_a_line(self):
        gdb = self.gdb(self.lines, self.code, self.inside)
        self.assertEqual(self.said('-g', gdb, '-v', self.vmlinux, '-l', 'fs/a.c:12'), (
            'fs/a.c:12 is at f+8\n   0x0000000000001008 <+8>:\tnop\n'
            '   0x000000000000100a <f+10>:\tret\n'))
        for line in (11, 13):
            self.refused('-l a.c:%d: that line has no code\n' % line, '-g', gdb, '-v', self.vmlinux,
                         '-l', 'a.c:%d' % line, status=2)
        gdb = self.gdb(('info line', self.printed('No source file named b.c.')))
        self.refused('-l b.c:1: No source file named b.c.', '-g', gdb, '-v', self.vmlinux, '-l',
                     'b.c:1', status=2)
        self.nothing_is_left()

    def test_of_a_gdb_without_python(self):
        """It says so at its start, and answers all the same."""
        gdb = self.gdb(self.code, self.inside)
        with open(gdb) as stream:
            text = stream.read()
        with open(gdb, 'w') as stream:
            stream.write(text.replace('\n', "\necho '%s'\n" % NO_PYTHON, 1))
        self.assertTrue(self.said('-g', gdb, '-v', self.vmlinux, '-F', 'f').startswith('Dump of'))

    def test_of_a_file_that_is_stripped(self):
        path = self.write('stripped', elf.elf([(b'.text', b'code')]))
        self.refused('stripped: no vmlinux, or stripped: no symbols', '-g', self.gdb(), '-v', path,
                     '-F', 'f')

    def test_line_tables(self):
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


if __name__ == '__main__':
    unittest.main()

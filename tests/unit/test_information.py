"""--info: what it tells of functions, structs, enums and patterns, against literal text."""
import os
import unittest

from tests.lib import btf, elf, tool
from tests.lib.files import FileTest
from tests.lib.standin import StandIn


def kernel():
    """BTF with one of each thing that is shown in a way of its own."""
    w = btf.Writer()
    char = w.integer('char', 1, btf.SIGNED)
    integer = w.integer('int', 4, btf.SIGNED)
    unsigned = w.integer('unsigned int', 4)
    wide = w.integer('long unsigned int', 8)
    double = w.add('float', 'double', 8)
    u8 = w.add('typedef', 'u8', w.integer('unsigned char', 1))
    text = w.pointer(char)
    constant_text = w.pointer(w.add('const', '', char))
    pair = w.struct('pair', 16, [('a', wide, 0), ('b', wide, 64)])
    large = w.struct('large', 24, [('a', wide, 0), ('b', wide, 64), ('c', wide, 128)])
    w.struct('flags', 12, [('on', unsigned, 0, 1), ('mode', unsigned, 1, 3),
                           ('wide', unsigned, 5, 27), ('sign', integer, 38, 2),
                           ('byte', u8, 64, 4), ('far', u8, 75, 5)])
    point = w.struct('', 8, [('x', integer, 0), ('y', integer, 32)])
    inner = w.struct('', 16, [('number', wide, 0), ('point', point, 64)])
    either = w.struct('', 16, [('', inner, 0), ('name', w.array(char, 16), 0)], 'union')
    address = w.struct('in6_addr', 16, [('words', w.array(unsigned, 4), 0)])
    hidden = w.add('forward', 'hidden')
    w.struct('every_kind_of_member', 640, [
        ('', either, 0), ('points', w.array(point, 3), 128), ('grid', w.array(w.array(
            integer, 4), 2), 320), ('pairs', w.array(pair, 2), 576), ('address', address, 832),
        ('call', w.pointer(w.add('function', '', integer, 1, 0, [0, text])), 960),
        ('held', pair, 1024), ('to_held', w.pointer(pair), 1152), ('lost', hidden, 1216),
        ('argv', w.array(text, 2), 1216), ('many', w.array(integer, 65), 1344),
        ('most', w.array(unsigned, 64), 3424), ('real', double, 5504),
        ('matrix', w.array(w.array(pair, 3), 2), 5568),
        ('flexible', w.array(wide, 0), 7104), ('tail', w.array(char, 0), 7104)])
    w.struct('empty', 0, [])
    w.struct('tagless_member', 8, [('', w.struct('', 8, [('deep', w.struct('', 8, [
        ('deeper', integer, 32)]), 0)]), 0)])
    w.add('typedef', 'atomic_t', w.struct('', 4, [('counter', integer, 0)]))
    w.add('typedef', 'pair_t', pair)
    w.add('typedef', 'number_t', integer)
    w.struct('twin', 8, [('number', wide, 0), ('text', text, 0)], 'union')
    w.struct('twin', 4, [('x', integer, 0)])
    w.enum('state', 4, [('RUNNING', 0), ('SLEEPING', 1), ('LOST', -1)], signed=1)
    w.enum('', 4, [('CLOSED', 7), ('FIN_WAIT', 8)])
    w.add('typedef', 'choice_t', w.enum('', 1, [('NO', 0), ('YES', 1)]))
    w.add('enum64', 'huge', 8, 1, 0, [w.string('TOP'), 0, 1])
    w.enum('nothing', 4, [])
    w.function('read', wide, [('file', w.pointer(pair)), ('buf', text), ('retval', integer),
                              ('arg1', integer), ('', integer), ('stack', wide), ('last', wide),
                              ('onstack', wide)])
    w.function('no_result', 0, [])
    w.function('print', integer, [('format', constant_text), ('', 0)])
    w.function('by_value', large, [('p', pair), ('l', large), ('n', integer)])
    w.function('unplaced', 0, [('d', double), ('n', integer)])
    w.function('twice', 0, [('n', integer)])
    w.function('twice', 0, [('s', text)])
    w.function('pair', 0, [])
    return w.data()


READ = '''\
unsigned long read(struct pair *, char *, int, int, int, unsigned long, unsigned long, \
unsigned long)
  %0   $file            di         struct pair *file
  %1   $buf             si         char *buf
  %2                    dx         int retval
  %3                    cx         int arg1
  %4                    r8         int
  %5                    r9         unsigned long stack
  %6   $last            $stack1    unsigned long last
  %7   $onstack         $stack2    unsigned long onstack
  $retval                          unsigned long
'''
READ_AARCH64 = '''\
unsigned long read(struct pair *, char *, int, int, int, unsigned long, unsigned long, \
unsigned long)
  %0   $file            x0         struct pair *file
  %1   $buf             x1         char *buf
  %2                    x2         int retval
  %3                    x3         int arg1
  %4                    x4         int
  %5                    x5         unsigned long stack
  %6   $last            x6         unsigned long last
  %7   $onstack         x7         unsigned long onstack
  $retval                          unsigned long
'''
BY_VALUE = '''\
struct large by_value(struct pair, struct large, int)
  %0   $p               si         struct pair p
  %1   $l               +0x8($stack) struct large l
  %2   $n               cx         int n
  $retval                          struct large
'''
FLAGS = '''\
struct flags {
    unsigned int on:1;     /*     0: 0  4 */  ->on
    unsigned int mode:3;   /*     0: 1  4 */  ->mode
    unsigned int wide:27;  /*     0: 5  4 */  ->wide
    int sign:2;            /*     4: 6  4 */  ->sign
    u8 byte:4;             /*     8: 0  1 */  ->byte
    u8 far:5;              /*     9: 3  1 */  ->far
}; /* size: 12, members: 6 */
'''
EVERY = '''\
struct every_kind_of_member {
    union {
        struct {
            unsigned long number;  /*     0     8 */  ->number
            struct {
                int x;             /*     8     4 */  ->point.x
                int y;             /*    12     4 */  ->point.y
            } point;               /*     8     8 */
        };                         /*     0    16 */
        char name[16];             /*     0    16 */  ->name
    };                             /*     0    16 */
    struct {
        int x;                     /*    16     4 */  ->points[0].x
        int y;                     /*    20     4 */  ->points[0].y
    } points[3];                   /*    16    24 */
    int grid[2][4];                /*    40    32 */  ->grid
    struct pair pairs[2];          /*    72    32 */  ->pairs[0]. ...
    struct in6_addr address;       /*   104    16 */  ->address  in a value called ip6_...
    int (*call)(char *);           /*   120     8 */  ->call
    struct pair held;              /*   128    16 */  ->held. ...
    struct pair *to_held;          /*   144     8 */  ->to_held
    struct hidden lost;            /*   152     0 */
    char *argv[2];                 /*   152    16 */  ->argv
    int many[65];                  /*   168   260 */  ->many[0]
    unsigned int most[64];         /*   428   256 */  ->most
    double real;                   /*   688     8 */  ->real
    struct pair matrix[2][3];      /*   696    96 */  ->matrix[0][0]. ...
    unsigned long flexible[];      /*   888     0 */  ->flexible[0]
    char tail[];                   /*   888     0 */  ->tail[0]
}; /* size: 640, members: 16 */
'''


class Information(FileTest):

    def setUp(self):
        FileTest.setUp(self)
        self.maxDiff = None
        self.raw = self.write('raw', kernel())

    def shown(self, name, expected, *arguments):
        self.assertEqual(self.said('-v', self.raw, '--info', name, *arguments), expected)

    def test_functions(self):
        """The register of each argument, by its number and its name, where ftrace has no such."""
        self.shown('read', READ)
        self.shown('read', READ_AARCH64, '-a', 'aarch64')
        self.shown('no_result', 'void no_result(void)\n')
        self.shown('print', 'int print(const char *, ...)\n'
                            '  %0   $format          di         const char *format\n'
                            '  $retval                          int\n')

    def test_structs_by_value(self):
        self.shown('by_value', BY_VALUE)
        self.shown('unplaced', 'void unplaced(double, int)\n'
                               '  %0   $d               ?          double d\n'
                               '  %1   $n               ?          int n\n')

    def test_functions_of_one_name(self):
        self.shown('twice', 'void twice(int)\n'
                            '  %0   $n               di         int n\n'
                            'void twice(char *)\n'
                            '  %0   $s               di         char *s\n')

    def test_bitfields(self):
        self.shown('flags', FLAGS)

    def test_every_kind_of_member(self):
        self.shown('every_kind_of_member', EVERY)
        self.shown('struct every_kind_of_member', EVERY)

    def test_members_without_a_name(self):
        self.shown('tagless_member', (
            'struct tagless_member {\n'
            '    struct {\n'
            '        struct {\n'
            '            int deeper;  /*     4     4 */  ->deep.deeper\n'
            '        } deep;          /*     0     8 */\n'
            '    };                   /*     0     8 */\n'
            '}; /* size: 8, members: 1 */\n'))
        self.shown('empty', 'struct empty {\n}; /* size: 0, members: 0 */\n')

    def test_arrays_of_arrays_of_nameless_structs(self):
        """Each dimension has an index."""
        writer = btf.Writer()
        point = writer.struct('', 4, [('x', writer.integer('int', 4, btf.SIGNED), 0)])
        writer.struct('s', 24, [('points', writer.array(writer.array(point, 3), 2), 0)])
        self.assertIn('->points[0][0].x', tool.from_btf(writer.data()).information('s')[2])

    def test_wide_declarations(self):
        """The comments do not go further than behind 48 columns."""
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        for length in (39, 40, 41):
            writer.struct('s%d' % length, 8, [('x' * length, integer, 0), ('y', integer, 32)])
        path = self.write('wide', writer.data())
        for length, columns in ((39, 48), (40, 48), (41, 48)):
            lines = self.said('-v', path, '--info', 's%d' % length).splitlines()
            self.assertEqual(lines[1].index('/*'), length + 11)
            self.assertEqual(lines[2].index('/*'), columns + 2)

    def test_typedefs(self):
        """One of a struct without a tag is that struct's name; others show what they stand for."""
        atomic = ('typedef struct {\n'
                  '    int counter;  /*     0     4 */  ->counter\n'
                  '} atomic_t; /* size: 4, members: 1 */\n')
        self.shown('atomic_t', atomic)
        self.shown('typedef atomic_t', atomic)
        self.shown('pair_t', (
            'struct pair {\n'
            '    unsigned long a;  /*     0     8 */  ->a\n'
            '    unsigned long b;  /*     8     8 */  ->b\n'
            '}; /* size: 16, members: 2 */\n'))

    def test_enums(self):
        self.shown('state', ('enum state {\n    RUNNING = 0,\n    SLEEPING = 1,\n    LOST = -1,\n'
                             '}; /* size: 4 */\n'))
        closed = 'enum {\n    CLOSED = 7,\n    FIN_WAIT = 8,\n}; /* size: 4 */\n'
        for name in ('CLOSED', 'FIN_WAIT', 'enum FIN_WAIT'):
            self.shown(name, closed)
        self.shown('choice_t', 'enum {\n    NO = 0,\n    YES = 1,\n}; /* size: 1 */\n')
        self.shown('huge', 'enum huge {\n    TOP = 4294967296,\n}; /* size: 8 */\n')

    def test_several_of_one_name(self):
        """All that have it are shown, or the kind that is asked for."""
        struct = ('struct twin {\n'
                  '    int x;  /*     0     4 */  ->x\n'
                  '}; /* size: 4, members: 1 */\n')
        union = ('union twin {\n'
                 '    unsigned long number;  /*     0     8 */  ->number\n'
                 '    char *text;            /*     0     8 */  ->text\n'
                 '}; /* size: 8, members: 2 */\n')
        self.shown('twin', struct + union)
        self.shown('struct twin', struct)
        self.shown('union twin', union)
        self.shown('pair', 'void pair(void)\n' + self.said('-v', self.raw, '--info', 'struct pair'))

    def test_patterns(self):
        self.shown('[rn]*', (
            'void no_result(void)\n'
            'unsigned long read(struct pair *, char *, int, int, int, unsigned long, unsigned '
            'long, unsigned long)\n'))
        self.shown('twic?', 'void twice(char *)\nvoid twice(int)\n')
        self.shown('by_*', 'struct large by_value(struct pair, struct large, int)\n')
        self.refused("no function matches 'x*'", '-v', self.raw, '--info', 'x*', status=2)
        # (Pythons differ in whether this is a pattern.)
        self.refused(' no ', '-v', self.raw, '--info', 'vfs_[z-a]*', status=2)

    def test_functions_of_a_vmlinux(self):
        """It lists what can be traced: symbols, of which types do not tell all."""
        path = self.write('vmlinux', elf.elf(elf.symbols(
            [(name, 1, 1) for name in ('read', 'reader', 'reading.isra.0', '__pfx_read',
                                       'read.cold', 'ready', 'read')]) + [(b'.BTF', kernel())]))
        first = READ.splitlines()[0]
        self.assertEqual(self.said('-v', path, '--info', 'read*'),
                         first + '\nreader\nreading.isra.0\nready\n')
        self.assertEqual(self.said('-v', path, '--info', 'reader'),
                         'reader: a function without a known prototype\n')
        for pattern in ('__pfx_*', '*.cold'):
            self.refused("no function matches '%s'" % pattern, '-v', path, '--info', pattern,
                         status=2)
        self.refused("there is no function or type 'readr': did you mean", '-v',
                     path, '--info', 'readr', status=2)

    def test_typedefs_of_numbers(self):
        for name in ('number_t', 'typedef number_t'):
            self.shown(name, 'typedef int number_t; /* size: 4 */\n')

    def test_events(self):
        box = StandIn()
        self.addCleanup(box.remove)
        box.put('/sys/kernel/tracing/events/sched/sched_wakeup/enable', '0')
        result = tool.run(['--info', 'sched/sched_switch'], on=box)
        self.assertEqual(result.out, (
            'sched/sched_switch {\n'
            '    int prev_pid;                         f:prev_pid==-1\n'
            '    char prev_comm[16];                   f:prev_comm==TEXT\n};\n'), result.err)
        # Its name alone will do, and what is no system's is a module's.
        self.assertEqual(tool.run(['--info', 'sched_switch'], on=box).out, result.out)
        result = tool.run(['--info', 'ext4:*'], on=box)
        self.assertIn("no event 'ext4/*'", result.err)
        box.put('/proc/kallsyms', 'ffffffffc0000000 t vfs_read\t[ext4]\n'
                                  'ffffffff81000000 T ip_rcv\n')
        box.put('/sys/kernel/tracing/available_filter_functions', 'vfs_read [ext4]\nip_rcv\n')
        for name, words in (('ext4:*', 'vfs_read\n'), ('ext4:vfs_read', (
                'vfs_read: a function without a known prototype\n'))):
            self.assertEqual(tool.run(['--info', name], on=box).out, words)
        # A system of events may have the module's name.
        box.put('/sys/kernel/tracing/events/ext4/ext4_sync/enable', '0')
        for name, words in (('ext4:*', 'ext4/ext4_sync\n'), ('ext4:vfs_read', words)):
            self.assertEqual(tool.run(['--info', name], on=box).out, words)
        os.remove(box.root + '/sys/kernel/btf/vmlinux')
        self.assertTrue(tool.run(['--info', 'sched_switch'], on=box).out.startswith('sched/'))
        result = tool.run(['--info', 'sched/*'], on=box)
        self.assertEqual(result.out, 'sched/sched_switch\nsched/sched_wakeup\n', result.err)
        result = tool.run(['--info', 'sched/nothing'], on=box)
        self.assertEqual(result.status, 2)
        self.assertIn("no event 'sched/nothing'", result.err)

    def test_what_is_not_there(self):
        for name, near in (('nothing_like_it', ''), ('struct nothing_like_it', ''),
                           ('struct par', ": did you mean 'pair'?"), ('union pair', ''),
                           ('enum pair', ''), ('nothing', None),
                           ('no_reslt', ": did you mean 'no_result'?"), ('a b c', ''), ('int', ''),
                           ('x;y', ''), ('', ''), (' ', '')):
            text = self.refused("there is no function or type '%s'" % name, '-v',
                                self.raw, '--info', name, status=2)
            if near:
                self.assertIn(near, text)

    def test_structs_that_hold_themselves(self):
        writer = btf.Writer()
        inner = writer.struct('', 4, [('', writer.next_id(), 0)])
        writer.struct('outer', 4, [('', inner, 0)])
        self.refused('damaged', '-v',
                     self.write('endless', writer.data()), '--info', 'outer')

    def test_without_the_names_of_arguments(self):
        writer = btf.Writer()
        writer.function('f', 0, [('', writer.integer('int', 4, btf.SIGNED))])
        self.assertEqual(tool.from_btf(writer.data()).information('f'), [
            'void f(int)', '  %0                    di         int '.rstrip()])


if __name__ == '__main__':
    unittest.main()

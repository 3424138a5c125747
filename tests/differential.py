"""One kernel, all sources of types: do they say the same?  And is it what pahole says?

tests/run runs this on Debian's 6.1 kernel: SURFTRACE_BTF names its BTF, SURFTRACE_VMLINUX its
vmlinux with debug info, both for x86_64, SURFTRACE_BTF_ARM and SURFTRACE_VMLINUX_ARM those for
aarch64.  Needs gdb-multiarch, gdb, pahole, pfunct and binutils.  How many things were compared is
printed, and what was measured.
"""
import collections
import json
import os
import random
import re
import shlex
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import surftrace
from loopback import LoopbackServer

BTF, VMLINUX = os.environ['SURFTRACE_BTF'], os.environ['SURFTRACE_VMLINUX']
BTF_ARM, VMLINUX_ARM = os.environ['SURFTRACE_BTF_ARM'], os.environ['SURFTRACE_VMLINUX_ARM']
TOOL = [sys.executable, os.path.join(os.path.dirname(surftrace.__file__), 'surftrace.py')]
X86, ARM = [surftrace.Target(surftrace.ARCHITECTURES[name], surftrace.USUAL_FEATURES)
            for name in ('x86_64', 'aarch64')]
SEED = 20261124
FUNCTIONS, EXPRESSIONS = 1000, 300
PLACE = re.compile(r'/\* +(\d+)(?:: *(\d+))? +(\d+) \*/')


def console():
    return surftrace.Console(os.open(os.devnull, os.O_WRONLY))


def gdb_source(source=surftrace.Gdb, path=VMLINUX, command='gdb'):
    return source(surftrace.GdbProcess(surftrace.elf_of(path), command, console(), lambda: None))


def tell(count, what):
    print('compared: %d %s' % (count, what), flush=True)


class Leaps(unittest.TestCase):
    """Finding a record by leaps over a kernel's BTF, and by walking through it."""

    def test_every_id_and_every_name(self):
        for path in (BTF, BTF_ARM):
            types = surftrace.Btf(surftrace.read_btf(path), path)
            walked = surftrace.marked(types.types)
            self.assertEqual(surftrace.marked_quickly(types.types, types.end_string), walked)
            named, starts = collections.defaultdict(list), []
            for at, mark in enumerate(walked):
                if mark:
                    starts.append(4 * (at - 1))
                    offset, = struct.unpack_from('<I', types.types, starts[-1])
                    named[types._string(offset)].append(len(starts))
            self.assertIsNone(types.places)
            self.assertEqual([types._start(ref + 1) for ref in range(len(starts))], starts)
            named.pop('')
            draw = random.Random(SEED)
            for name in draw.sample(sorted(named), 3000):
                found = sorted(ref for offset in types._string_offsets(name)
                               for ref in types._with_offset(offset))
                self.assertEqual(found, named[name], name)
            for name in draw.sample(sorted(named), 200):        # beyond BTF_NAMES_SINGLY
                self.assertEqual(list(types._named(name)), named[name])
            self.assertIsNotNone(types.index)
            self.assertEqual([types._start(ref + 1) for ref in range(len(starts))], starts)
            tell(len(starts), 'records and 3000 of %d names, by leaps and by a walk' % len(named))

    def test_what_one_expression_touches(self):
        """task_struct has 244 members, whose names are read; all else is a handful."""
        class Counting(surftrace.Btf):
            records = words = names = 0

            def _record(self, ref):
                self.records += 1
                return surftrace.Btf._record(self, ref)

            def _words(self, start, count):
                self.words += count
                return surftrace.Btf._words(self, start, count)

            def _string(self, offset):
                self.names += 1
                return surftrace.Btf._string(self, offset)

        for text, records, words, names in [
                ('p wake_up_new_task comm=%0->comm', 10, 750, 250),
                ('p wake_up_new_task users=S%0->mm->mm_users', 80, 1000, 320),
                ('p ip_rcv proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr',
                 50, 260, 110)]:
            types, tree = Counting(surftrace.read_btf(BTF), BTF), surftrace.parse_trace(text)
            surftrace.compile_trace(tree, 'f0', tree.symbol.text, types, X86)
            self.assertLessEqual(types.records, records, text)
            self.assertLessEqual(types.words, words, text)
            self.assertLessEqual(types.names, names, text)
            self.assertIsNone(types.index)


# -- What pahole says --------------------------------------------------------------------------

def pahole(*options):
    return subprocess.run(['pahole', '-F', 'btf'] + list(options) + [BTF], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()


def places(lines):
    """Return (offset, bit, size) of every member in lines of pahole's form."""
    return tuple(match.groups() for match in map(PLACE.search, lines) if match)


def without_pointers(body):
    """Return pahole's lines without the members of what nameless pointers point at."""
    kept, opened = [], []
    for line in body.splitlines():
        if line.endswith('{'):
            opened.append(len(kept))
        elif re.match(r'\s*\}', line):
            start = opened.pop()
            if re.match(r'\s*\} *\*', line):
                del kept[start:]
        kept.append(line)
    return kept


class Pahole(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.types = surftrace.Btf(surftrace.read_btf(BTF), BTF)

    def test_every_member(self):
        """Of all structs and unions, those of one name and those without among them."""
        expected, found = collections.Counter(), collections.Counter()
        for kind, name, body in re.findall(r'^(struct|union) (\w* ?)\{\n(.*?)^\}',
                                           pahole('-a', '-A'), re.M | re.S):
            expected[kind, name.strip(), places(without_pointers(body))] += 1
        members = 0
        for ref in range(1, self.types.end_id):
            held = self.types.describe(ref)
            if held.kind in ('struct', 'union') and held.target:
                rows = places(where for _, where, _ in surftrace.member_rows(
                    held, self.types, 0, '->', 1))
                found[held.kind, held.name, rows] += 1
                members += len(rows)
        # pahole leaves out what it has printed before, and most that has no name of its own.
        self.assertEqual([key for key in expected if expected[key] > found[key]][:5], [])
        self.assertEqual([key for key in found if key[1] and key not in expected][:5], [])
        tell(members, 'members of %d structs and unions' % sum(found.values()))

    def test_prototypes(self):
        """pfunct writes long unsigned int and a gap before the star; what is meant is the same."""
        names = random.Random(SEED).sample(self.types.names('function'), FUNCTIONS)
        text = subprocess.run(['pfunct', '-F', 'btf', '-P', '--no_parm_names', BTF],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        said = collections.defaultdict(set)
        for line in text.splitlines():
            said[re.search(r'(\w+)\(', line).group(1)].add(self.words(line))
        for name in names:
            ours = set(self.words(surftrace.prototype(self.types, function))
                       for function in self.types.functions(name))
            self.assertEqual(ours & said[name], ours, name)
        tell(len(names), 'prototypes')

    def words(self, text):
        text = re.sub(r'(?:inline|static) |;', '', text)
        for long_form, short in (('long long unsigned int', 'unsigned long long'),
                                 ('long unsigned int', 'unsigned long'),
                                 ('long long int', 'long long'), ('long int', 'long'),
                                 ('short unsigned int', 'unsigned short'), ('short int', 'short')):
            text = text.replace(long_form, short)
        # pfunct writes the const of a const pointer in front.
        return re.sub(r'const|\s+', '', text), text.count('const')


# -- Expressions -------------------------------------------------------------------------------

class Draw(object):
    """Draws traces from a kernel's own functions, and at times what is wrong with them."""

    def __init__(self, types):
        self.types = types
        self.random = random.Random(SEED)
        # What several structs or functions are called, gdb and BTF may take different ones of.
        kinds = collections.Counter(
            (held.kind, held.name) for held in map(types.describe, range(1, types.end_id))
            if held.kind in ('struct', 'union', 'enum') and held.name)
        self.ambiguous = set(name for (_, name), count in kinds.items() if count > 1)
        self.functions = [name for name in types.names('function')
                          if len(types.functions(name)) == 1]
        self.packets = [name for name in self.functions if any(
            surftrace.declared(types, each.type) == 'struct sk_buff *'
            for each in types.functions(name)[0].parameters[:6])]

    def traces(self, count):
        drawn = []
        while len(drawn) < count:
            trace = (self.packet if self.random.random() < 0.15 else self.chain)()
            if trace:
                drawn.append(trace)
        return drawn

    def function(self, names):
        [function] = self.types.functions(self.random.choice(names))
        return function

    def packet(self):
        function = self.function(self.packets)
        [index] = [index for index, each in enumerate(function.parameters)
                   if surftrace.declared(self.types, each.type) == 'struct sk_buff *'][:1]
        header = self.random.choice(('ethhdr', 'iphdr', 'icmphdr', 'tcphdr', 'udphdr'))
        ref = self.types.find('struct', header)
        member = self.random.choice([each.name for each in surftrace.all_members(
            self.types, ref)] + ['sdata[1]', 'ldata[0]', 'Sdata', 'nothing'])
        return 'p %s v=%s@(struct %s *)%s%%%d->%s' % (
            function.name, self.random.choice(('', '', 'X', 'S')), header,
            self.random.choice(('', 'l2', 'l3', 'l4')), index, member)

    def chain(self):
        function = self.function(self.functions)
        pointers = [(index, each.type) for index, each in enumerate(function.parameters)
                    if self.target(each.type)]
        if not pointers:
            return None
        index, ref = self.random.choice(pointers)
        text, held = '%%%d' % index, self.target(ref)
        operator = '->'
        for _ in range(self.random.randint(1, 4)):
            members = list(surftrace.all_members(self.types, held))
            if held.name in self.ambiguous or not members:
                return None
            member = self.random.choice(members)
            name = member.name if self.random.random() < 0.98 else member.name[:-1] + 'q'
            text += operator + name
            ref = member.type
            while surftrace.stripped(self.types, ref).kind == 'array':
                found = surftrace.stripped(self.types, ref)
                if self.random.random() < 0.15:
                    break
                text += '[%d]' % self.random.randint(0, found.length)
                ref = found.target
            found = surftrace.stripped(self.types, ref)
            operator = '.' if found.kind in ('struct', 'union') else '->'
            held = found if operator == '.' else self.target(ref)
            if held is None or not held.size:
                break
        return 'p %s v=%s%s' % (function.name, self.random.choice(('', '', '', 'S', 'U', 'X')),
                                text)

    def target(self, ref):
        """Return the struct that ref points at, None if it does not."""
        held = surftrace.stripped(self.types, ref)
        inner = surftrace.stripped(self.types, held.target) if held.kind == 'pointer' else held
        return inner if held.kind == 'pointer' and inner.kind in ('struct', 'union') else None


def line_of(text, types, target=X86):
    """Return what a trace becomes, or the error that it ends in."""
    tree = surftrace.parse_trace(text)
    try:
        return surftrace.compile_trace(tree, 'f0', tree.symbol.text, types,
                                       target).arguments[0].text
    except surftrace.TraceError as error:
        return '%s (column %s)' % (error, error.column)


class Sources(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.btf = surftrace.Btf(surftrace.read_btf(BTF), BTF)
        cls.traces = Draw(cls.btf).traces(EXPRESSIONS)
        cls.lines = [line_of(text, cls.btf) for text in cls.traces]
        cls.directory = tempfile.TemporaryDirectory()
        cls.database = os.path.join(cls.directory.name, 'info.db')
        surftrace.write_database(cls.database, cls.btf, 'x86_64', console())

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def agree(self, types, what, unknown=lambda name: False, target=X86):
        """Compare all traces.

        Only counted are those of functions that are unknown there, and those that meet an array
        of several dimensions, which BTF has as one (Documentation/bpf/btf.rst).
        """
        differ, left_out = [], 0
        for text, expected in zip(self.traces, self.lines):
            types.nested_array = False
            found = line_of(text, types, target)
            if found != expected and (unknown(text.split()[1]) or types.nested_array):
                left_out += 1
            elif found != expected:
                differ.append((text, found, expected))
        self.assertEqual(differ[:10], [], '%d of %d differ' % (len(differ), len(self.traces)))
        self.assertLess(left_out, EXPRESSIONS * 0.03)
        tell(len(self.traces) - left_out, 'expressions, %s and BTF' % what)

    def test_the_draw_is_worth_something(self):
        kinds = collections.Counter(
            'error' if '(column' in line else 'string' if line.endswith('string') else
            'bitfield' if ':b' in line else 'number' for line in self.lines)
        for kind, least in (('number', 100), ('string', 2), ('bitfield', 5), ('error', 20)):
            self.assertGreater(kinds[kind], least, kinds)
        self.assertGreater(sum(line.count('(') > 1 for line in self.lines), 20)

    def test_database(self):
        self.agree(surftrace.Database(self.database), 'a database')

    def test_dwarf(self):
        for path, btf, target in ((VMLINUX, BTF, X86), (VMLINUX_ARM, BTF_ARM, ARM)):
            source = surftrace.Btf(surftrace.read_btf(btf), btf)
            self.traces = Draw(source).traces(EXPRESSIONS)
            self.lines = [line_of(text, source, target) for text in self.traces]
            types = WatchedDwarf(surftrace.elf_of(path), console())
            self.agree(types, 'DWARF of ' + target.architecture.name, target=target,
                       unknown=lambda name: not types.functions(name))

    def test_gdb_and_the_older_database(self):
        """What gdb answers is the older generation's database, too, in the layout of that one."""
        types = gdb_source(RecordedGdb)
        try:
            def unknown(name):
                # Compilers leave some functions without debug info where BTF has them all.
                return 'no debug info' in types._ask('print &' + name)
            self.agree(types, 'gdb', unknown)
            older = older_database(self.directory.name, types)
        finally:
            types.close()
        self.agree(surftrace.Database(older), 'a database of the older generation', unknown={
            trace.split()[1] for trace in self.traces} .difference(types.known).__contains__)

    def test_aarch64(self):
        """Another machine's vmlinux, and the registers and offsets of its kernel."""
        source = surftrace.Btf(surftrace.read_btf(BTF_ARM), BTF_ARM)
        self.traces = Draw(source).traces(EXPRESSIONS // 3)
        self.lines = [line_of(text, source, ARM) for text in self.traces]
        self.assertGreater(sum('(%x0)' in line for line in self.lines), EXPRESSIONS // 10)
        types = gdb_source(WatchedGdb, VMLINUX_ARM, 'gdb-multiarch')
        try:
            self.agree(types, 'gdb-multiarch', target=ARM, unknown=lambda name: (
                'no debug info' in types._ask('print &' + name)))
        finally:
            types.close()

    def test_server(self):
        with LoopbackServer(self.database) as server:
            types = surftrace.Server('127.0.0.1:%d' % server.port, '6.1', 'x86_64')
            self.agree(types, 'a server')
        self.assertGreater(server.requests, EXPRESSIONS)


SMALL = r'''
typedef unsigned char u8;
typedef struct { int counter; } atomic_t;
typedef enum { OFF, ON } state_t;
enum kind { ONE = 1, TWO };
enum { NAMELESS = 7, BELOW = -1, BIG = 0x7fffffff };
struct list { struct list *next, **back; };
struct sample {
    u8 low:3, high:4;
    unsigned int wide:17;
    union { long number; const char *text; struct { short a, b; }; } ;
    struct { int x; u8 y[3]; } pair[2];
    struct { long first; char second; } *behind;
    void (*call)(struct sample *, int), (*calls[2])(void);
    int (*const fixed)(const char *, ...);
    const char *const names[3];
    atomic_t usage; state_t state; enum kind kind; struct list list;
    volatile long flags; char comm[16]; long long tail[];
};
extern struct sample elsewhere;
struct sample elsewhere;
static const char *text_of[2];
static int quiet(struct sample *s, const char *const *names) { return s->low + names[0][0]; }
struct list *take(struct list *l, atomic_t a, u8 byte, enum kind kind) { return l->next + byte; }
void nothing(void) {}
int variable(const char *format, ...) { return format[0]; }
unsigned long long long_one(long double d, _Bool b) { return (long)d + b; }
int main(int argc, char **argv) {
    struct sample *s = (void *)argv;
    nothing();
    variable("x", 1);
    take(&s->list, s->usage, 1, TWO);
    elsewhere.flags = NAMELESS + BELOW;
    text_of[1] = argv[0];
    return quiet(s, (void *)argv) + long_one(argc, 1);
}
'''


# -- gdb ---------------------------------------------------------------------------------------

def tool(*arguments):
    """Return what the tool prints, the types read by gdb."""
    return subprocess.run(TOOL + ['-m', 'gdb', '-v', VMLINUX] + list(arguments), check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()


class Gdb(unittest.TestCase):

    SEVERAL = ['p wake_up_new_task comm=%0->comm', 'p vfs_read pos=%0->f_pos',
               'p tcp_v4_rcv len=%0->len', 'p ip_rcv a=@(struct iphdr *)l3%0->saddr',
               'r do_filp_open a=$retval->f_pos', 'p kernel_clone a=%0->flags',
               'p icmp_rcv a=%0->len', 'p ip_output a=%2->len']

    def test_what_an_expression_costs(self):
        """No more than gdb's own ptype/o of the struct; several, hardly more than one."""
        with tempfile.TemporaryDirectory() as cache:
            environment = dict(os.environ, XDG_CACHE_HOME=cache)
            seconds = collections.defaultdict(list)

            def run(name, command):
                began = time.monotonic()
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
                seconds[name].append(time.monotonic() - began)
            ours = TOOL + ['-m', 'gdb', '-S', '-v', VMLINUX]
            for _ in range(5):
                run('gdb', ['gdb', '-nx', '-batch', '-ex', 'ptype/o struct task_struct', VMLINUX])
                for left in os.listdir(cache):
                    subprocess.run(['rm', '-r', os.path.join(cache, left)], check=True)
                run('one', ours + self.SEVERAL[:1])
                run('one, again', ours + self.SEVERAL[:1])
                run('several, again', ours + self.SEVERAL)
        ratio = {name: min(times) / min(seconds['gdb']) for name, times in seconds.items()}
        print('measured: of the time of gdb ptype/o (%.1f s), %s' % (
            min(seconds['gdb']), ', '.join('%s %.2f' % item for item in sorted(ratio.items()))),
            flush=True)
        self.assertLess(ratio['one'], 1.1)
        self.assertLess(ratio['several, again'] - ratio['one, again'], 0.1)

    @classmethod
    def setUpClass(cls):
        cls.addresses = collections.defaultdict(list)
        for line in subprocess.check_output(['nm', VMLINUX]).decode().splitlines():
            cls.addresses[line.split()[2]].append(int(line.split()[0], 16))

    def test_a_function_is_disassembled(self):
        [start] = self.addresses['wake_up_new_task']
        found = re.findall(r'0x([0-9a-f]+) <\+(\d+)>:', tool('-F', 'wake_up_new_task'))
        self.assertGreater(len(found), 50)
        for address, offset in found:
            self.assertEqual(int(address, 16) - start, int(offset))

    def test_offsets_count_from_the_symbol(self):
        """On aarch64 debug info begins behind it, and gdb counts from there."""
        symbols = dict((line.split()[2], int(line.split()[0], 16)) for line in
                       subprocess.check_output(['nm', VMLINUX_ARM]).decode().splitlines())
        for name in ('vfs_read', 'icmp_rcv', '__netif_receive_skb_core.constprop.0'):
            text = subprocess.run(TOOL + ['-v', VMLINUX_ARM, '-F', name], check=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()
            found = re.findall(r'0x([0-9a-f]+) <\+(\d+)>:', text)
            self.assertGreater(len(found), 20)
            for address, offset in found:
                self.assertEqual(int(address, 16) - symbols[name], int(offset), name)

    def test_a_variant_is_disassembled(self):
        name = '__netif_receive_skb_core.constprop.0'
        self.assertIn('0x%x <+0>:' % self.addresses[name][0], tool('-F', name))

    def test_a_line_is_where_another_tool_says_it_is(self):
        """addr2line names the line for each place and each instruction."""
        line = int(re.search(r'\n(\d+)\t', tool('-F', 'ksys_read')).group(1))
        found = []
        for number in range(line, line + 12):
            try:
                found.append((number, tool('-l', 'fs/read_write.c:%d' % number)))
            except subprocess.CalledProcessError:
                pass        # no code
        self.assertGreater(len(found), 2)
        for number, text in found:
            places = re.findall(r' is at ([\w.]+)(?:\+(\d+))?\n +0x([0-9a-f]+) ', text)
            self.assertTrue(places)
            for symbol, offset, address in places:
                self.assertIn(int(address, 16) - int(offset or 0), self.addresses[symbol])
                said = subprocess.check_output(['addr2line', '-e', VMLINUX, address]).decode()
                self.assertTrue(said.strip().partition(' (')[0].endswith(
                    '/read_write.c:%d' % number), (said, text))

    def test_a_database_through_gdb(self):
        """Of a small program, whose BTF pahole makes: the whole of both is the same."""
        with tempfile.TemporaryDirectory() as directory:
            source, program, path = (os.path.join(directory, name)
                                     for name in ('small.c', 'small', 'small.db'))
            with open(source, 'w') as stream:
                stream.write(SMALL)
            subprocess.check_call(['gcc', '-g', '-O0', '-gdwarf-4', '-o', program, source])
            subprocess.check_call(TOOL + ['-a', 'x86_64', '-m', 'gdb', '-v', program, '--make-db',
                                          path], stderr=subprocess.DEVNULL)
            subprocess.check_call(['pahole', '-J', program])
            types = surftrace.Btf(surftrace.read_btf(program), program)
            made = surftrace.Database(path)
            self.assertIn('quiet', types.names('function'))
            for name in types.names('function'):
                self.assertEqual([surftrace.prototype(made, each) for each in made.functions(name)],
                                 [surftrace.prototype(types, each)
                                  for each in types.functions(name)])
            self.assertEqual([kind for kind in ('struct', 'union', 'enum')
                              if made.names(kind) != types.names(kind)], [])
            for name in types.names('struct') + types.names('typedef'):
                if name != 'state_t' and name != 'u8':
                    self.assertEqual(surftrace.information(name, made, (), None),
                                     surftrace.information(name, types, (), None))

    def test_the_commands_of_the_readme(self):
        import live
        commands = [item for item in live.documented() if ' -v vmlinux ' in item[0]]
        self.assertGreater(len(commands), 2)
        for command, below in commands:
            if '--make-db' in command:
                continue        # from its BTF: so did Sources
            done = subprocess.run(
                [sys.executable] + shlex.split(command.replace('./surftrace.py', TOOL[1]).replace(
                    ' vmlinux ', ' %s ' % VMLINUX)), stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            if done.returncode:     # another build of this kernel has no code there
                self.assertIn(b'that line has no code', done.stderr)
            elif below:
                self.assertEqual(done.stdout.decode().split('+')[0], below.split('+')[0])

    def test_arguments_of_variants(self):
        """Where they lie is known of some; of others, what is known is said, nothing is guessed."""
        types = gdb_source()
        try:
            line = line_of('p __netif_receive_skb_core.constprop.0 '
                           'v=@(struct iphdr *)l3%0->protocol', types)
            self.assertEqual(line.partition('(+0x0')[2], '(%di))):u8')
            variants = [name for name in sorted(self.addresses)
                        if re.search(r'\.(isra|constprop)\.0$', name) and '.part' not in name]
            known = changed = 0
            for name in random.Random(SEED).sample(variants, 60):
                for function in types.functions(name):
                    places = [each.location for each in function.parameters]
                    known += bool(places) and '' not in places
                    changed += '' in places
                    self.assertEqual('changed the arguments' in line_of(
                        'p %s v=%%0' % name, types), '' in places)
            self.assertGreater(known, 4)
            self.assertGreater(changed, 5)
        finally:
            types.close()


# -- The older generation's database, from gdb's answers ---------------------------------------

class WatchedGdb(surftrace.Gdb):
    """Notes whether an array of arrays was met."""

    nested_array = False

    def describe(self, ref):
        found = surftrace.Gdb.describe(self, ref)
        if found.kind == 'array' and not isinstance(found.target, surftrace.Type):
            self.nested_array |= found.target.endswith(']')
        return found


class WatchedDwarf(surftrace.Dwarf):

    nested_array = False

    def describe(self, ref):
        found = surftrace.Dwarf.describe(self, ref)
        self.nested_array |= found.kind == 'array' and isinstance(found.target, surftrace.Type)
        return found


class RecordedGdb(WatchedGdb):
    """Keeps what was asked: `said` has gdb's own words for each struct and typedef."""

    def __init__(self, process):
        WatchedGdb.__init__(self, process)
        self.said, self.known = {}, set()

    def look_up_layout(self, text):
        self.said[text] = self._ask('ptype/o ' + text)
        return WatchedGdb.look_up_layout(self, text)

    def look_up_alias(self, name):
        self.said['typedef ' + name] = (self._ask('whatis ' + name),
                                        self._ask('print sizeof(%s)' % name))
        return WatchedGdb.look_up_alias(self, name)

    def functions(self, name):
        self.said[name + '()'] = self._ask('whatis ' + name)
        found = WatchedGdb.functions(self, name)
        self.known.update([name] if found else [])
        return found


def older_rows(text):
    """Return the rows of a struct: members of what has no name stand in it, under its path."""
    rows, opened = [], []       # opened: (rows so far, offset, tag) of each struct inside
    for line in text.splitlines()[1:]:
        match = re.match(r'/\*(?: +(\d+)(?:: *(\d+))? +\|)? +(\d+) +\*/ *(.*)$', line)
        if match and match.group(4).endswith('{'):
            offset = match.group(1) or (opened[-1][1] if opened else '0')
            opened.append((len(rows), offset, match.group(4)[:-1].strip(), match.group(3)))
        elif re.match(r' *\}.*;', line):
            start, offset, tag, size = opened.pop()
            name = line.strip()[1:-1].strip()
            if ' ' in tag:          # has a name of its own, where its members are
                rows[start:] = [(tag, name, int(offset), int(size), '')]
            elif name:
                rows[start:] = [(kind, '%s.%s' % (name, inner), at, width, bits)
                                for kind, inner, at, width, bits in rows[start:]]
        elif match and match.group(4).endswith(';'):
            offset, bit, size, code = match.groups()
            offset = int(offset or opened[-1][1] if opened else offset or 0)
            code, _, count = code[:-1].partition(' : ')
            name = (re.search(r'\(\*[* ]*(?:const )?(\w+)', code)
                    or re.search(r'(\w+)(?:\[\d*\])*$', code))
            array = re.search(r'(?:\[\d*\])*$', code).group() if '(*' not in code else ''
            kind = (code[:name.start(1)] + code[name.end(1):]).replace(array, '').strip()
            rows.append((re.sub(r'enum \{.*\}', 'unsigned int', kind), name.group(1) + array,
                         offset, int(size), '%s:%s' % (bit, count) if count else ''))
    return rows


def older_database(directory, types):
    path = os.path.join(directory, 'older.db')
    connection = sqlite3.connect(path)
    for table in ('files (id INTEGER PRIMARY KEY, file TEXT)',
                  'funs (id INTEGER PRIMARY KEY, func VARCHAR, args VARCHAR, ret VARCHAR, '
                  'line INTEGER, fid INTEGER, module VARCHAR)',
                  'structs (id INTEGER PRIMARY KEY, name VARCHAR, members INTEGER, bytes INTEGER)',
                  'members (id INTEGER PRIMARY KEY, fid INTEGER, types VARCHAR, name VARCHAR, '
                  'offset INTEGER, bytes INTEGER, bits VARCHAR DEFAULT "")',
                  'types (id INTEGER PRIMARY KEY, name VARCHAR, alias VARCHAR, bytes INTEGER)'):
        connection.execute('CREATE TABLE ' + table)
    for name, said in types.said.items():
        if name.endswith('()'):
            match = re.match(r'type = (.*?) ?\((.*)\)$', said)
            if match:
                connection.execute('INSERT INTO funs VALUES (NULL, ?, ?, ?, 1, 1, "")', (
                    name[:-2], json.dumps(re.split(r', (?![^(]*\))', match.group(2))),
                    'static ' + match.group(1)))
        elif isinstance(said, tuple):
            alias, size = said[0].strip()[7:], said[1].split('=')[-1]
            name = name.partition(' ')[2]
            if size.strip().isdigit():
                connection.execute('INSERT INTO types VALUES (NULL, ?, ?, ?)', (
                    name, name if '{' in alias else alias, int(size)))
        elif '{' in said:
            total = re.findall(r'total size \(bytes\): +(\d+)', said)
            rows = older_rows(said) if total else []
            serial = connection.execute('INSERT INTO structs VALUES (NULL, ?, ?, ?)', (
                name, len(rows), int(total[-1]) if total else 4)).lastrowid
            connection.executemany('INSERT INTO members VALUES (NULL, ?, ?, ?, ?, ?, ?)',
                                   [(serial,) + row for row in rows])
    connection.commit()
    connection.close()
    return path


if __name__ == '__main__':
    unittest.main()

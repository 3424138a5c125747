"""Debug info read by the script itself: is it what BTF says, of kernels and of small programs?

tests/run names the kernels in SURFTRACE_DWARF: JSON, a list of [architecture, vmlinux, BTF].  Needs
gcc, clang, pahole, gdb, binutils and gcc-aarch64-linux-gnu.  How many things were compared is
printed, and what was measured.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest

import surftrace
from differential import SMALL, TOOL, console, gdb_source, tell

KERNELS = json.loads(os.environ.get('SURFTRACE_DWARF', '[]'))
SEED = 20261125
FUNCTIONS, SINGLY, VARIANTS = 2000, 500, 60


def dwarf(path):
    return surftrace.Dwarf(surftrace.elf_of(path), console())


def btf(path):
    return surftrace.Btf(surftrace.read_btf(path), path)


def layout(types, ref):
    """Return the size of a struct in bytes, and the places of all its members in bits."""
    found = surftrace.described(types, ref)
    return found.size, sorted((member.name, member.bit_offset, member.bit_size)
                              for member in surftrace.all_members(types, found))


def named(types, kind, name):
    """Return all of a BTF's types of a kind and name."""
    return [ref for ref in types._named(name) if types._record(ref)[0] == kind]


VALUES_OF_SMALL = {'TWO': [('ONE', 1), ('TWO', 2)],
                   'BELOW': [('NAMELESS', 7), ('BELOW', -1), ('BIG', 0x7fffffff)]}


def values_of(types, name):
    """Return the values of the enum that has one of a name."""
    return list(types.enumerators(surftrace.described(types, types.enums_of(name)[0])))


def spelled(types, function):
    return (surftrace.prototype(types, function),
            [parameter.name for parameter in function.parameters])


class Kernels(unittest.TestCase):

    def test_all_that_both_know(self):
        """Asked for singly first, which searches; then by name, once all names are known."""
        for arch, vmlinux, path in KERNELS:
            types, known = dwarf(vmlinux), btf(path)
            where = 'DWARF and BTF of %s, %s' % (os.path.basename(vmlinux), arch)
            self.assertIn(('TCP_LISTEN', 10), values_of(types, 'TCP_LISTEN'))
            self.assertEqual(values_of(types, 'SS_CONNECTED'), values_of(known, 'SS_CONNECTED'))
            names = self.names_of_functions(known, vmlinux)
            self.compare_functions(types, known, names[:SINGLY], where)
            self.assertIsNone(types.index)
            self.compare_structs(types, known, where)
            self.assertIsNotNone(types.index)
            self.compare_functions(types, known, names[SINGLY:], where)
            self.compare_enums(types, known, where)

    def compare_structs(self, types, known, where):
        """Size, offset and bits of every member of every struct and union that both name."""
        count = members = 0
        for kind in ('struct', 'union'):
            both = sorted(set(types.names(kind)) & set(known.names(kind)))
            # What is named in a function only, BTF has too.
            self.assertGreater(len(both), 0.99 * len(known.names(kind)))
            for name in both:
                ours = layout(types, types.find(kind, name))
                self.assertIn(ours, [layout(known, ref) for ref in named(known, kind, name)],
                              (kind, name))
                count, members = count + 1, members + len(ours[1])
        self.assertGreater(count, 5000)
        tell(members, 'members of %d structs and unions, %s' % (count, where))

    def compare_enums(self, types, known, where):
        """What the values of every enum with a name are."""
        count = 0
        for name in sorted(set(types.names('enum')) & set(known.names('enum'))):
            ours = surftrace.described(types, types.find('enum', name))
            # Before Linux 6.0 BTF does not tell which have a sign.
            mask = (1 << 8 * ours.size) - 1
            theirs, ours = [[(word, number & mask) for word, number in values] for values in (
                known.enumerators(ref) for ref in named(known, 'enum', name)
                + named(known, 'enum64', name))], [
                    (word, number & mask) for word, number in types.enumerators(ours)]
            if theirs != [[]]:          # too large for that BTF
                self.assertIn(ours, theirs, name)
            count += 1
        self.assertGreater(count, 800)
        tell(count, 'enums, ' + where)

    def names_of_functions(self, known, vmlinux):
        """Draw functions that BTF has once; what there is only a variant of, it may have, too."""
        symbols = set(surftrace.function_symbols(vmlinux).split('\n'))
        return random.Random(SEED).sample(
            [name for name in known.names('function')
             if len(known.functions(name)) == 1 and name in symbols], FUNCTIONS)

    def compare_functions(self, types, known, names, where):
        """Prototypes; arguments' names BTF may have from another declaration."""
        missing, differ = [], []
        for name in names:
            found = [surftrace.prototype(types, each) for each in types.functions(name)]
            expected = surftrace.prototype(known, known.functions(name)[0])
            if not found:
                missing.append(name)
            elif expected not in found:
                differ.append((found, expected))
        # Written in assembler, with a prototype that BTF has from a declaration.
        self.assertLess(len(missing), len(names) * 0.005, missing)
        self.assertLess(len(differ), len(names) * 0.005, differ)
        tell(len(names) - len(missing), 'prototypes, %s; %d differ: %s' % (
            where, len(differ), differ))

    def test_variables(self):
        for _, vmlinux, _ in KERNELS:
            types = dwarf(vmlinux)
            for name, expected in [('init_task', 'struct task_struct'), ('init_net', 'struct net'),
                                   ('saved_command_line', 'char *'),
                                   ('jiffies', 'volatile unsigned long')]:
                self.assertEqual(surftrace.declared(types, types.variable(name).type), expected)

    def test_variants(self):
        """The registers that gdb finds the arguments of .constprop and .isra in."""
        arch, vmlinux, _ = KERNELS[0]
        types, gdb = dwarf(vmlinux), gdb_source(path=vmlinux)
        self.addCleanup(gdb.close)
        symbols = set(surftrace.function_symbols(vmlinux).split('\n'))
        names = [name for name in sorted(symbols)
                 if re.search(r'\.(isra|constprop)\.0$', name) and '.part' not in name]
        compared = dropped = 0
        for name in random.Random(SEED).sample(names, VARIANTS):
            theirs = [[each.location for each in function.parameters]
                      for function in gdb.functions(name)]
            ours = [[each.location for each in function.parameters]
                    for function in types.functions(name)]
            # (Where an argument was dropped, gdb does not know the order of the others.)
            if theirs and '' not in theirs[0]:
                self.assertIn(theirs[0], ours, name)
                compared += 1
            elif ours:
                dropped += '' in ours[0]
        self.assertGreater(compared, 3)
        self.assertGreater(dropped, VARIANTS // 4)
        # Of (dev, attr, buf, bug), as its code shows.
        self.assertEqual([each.location for each in types.functions(
            'cpu_show_common.constprop.0')[0].parameters], ['', '', 'di', 'si'])
        tell(compared, 'variants of functions, DWARF and gdb; %d more with arguments dropped'
             % dropped)

    def test_a_module(self):
        """Its debug file is not linked yet: what refers to its other sections is filled in."""
        path = os.environ['SURFTRACE_MODULE']
        types = dwarf(path)
        self.assertEqual(spelled(types, types.functions('dummy_xmit')[0]), (
            'netdev_tx_t dummy_xmit(struct sk_buff *, struct net_device *)', ['skb', 'dev']))
        known = btf(KERNELS[0][2])
        for name in ('sk_buff', 'net_device', 'net_device_ops'):
            self.assertEqual(layout(types, types.find('struct', name)),
                             layout(known, known.find('struct', name)))
        self.assertIn('dummy_setup', types.names('function'))

    def test_what_it_costs(self):
        """One expression, against gdb in the same run; the files are in the page cache."""
        arch, vmlinux, _ = KERNELS[0]
        ours = TOOL + ['-S', '-m', 'dwarf', '-v', vmlinux]
        theirs = ['gdb', '-nx', '-batch', '-ex', 'ptype /o struct task_struct', vmlinux]
        small = ('import resource, subprocess, sys, time\nbegan = time.time()\n'
                 'subprocess.check_call(sys.argv[1:], stdout=subprocess.DEVNULL,\n'
                 '                      stderr=subprocess.DEVNULL)\n'
                 'print(time.time() - began, resource.getrusage(\n'
                 '    resource.RUSAGE_CHILDREN).ru_maxrss)')

        def cost(command):
            """Return seconds and kB of a command; its parent must be small."""
            return [float(word) for word in subprocess.check_output(
                [sys.executable, '-IS', '-c', small] + command).split()]
        traces = ['p wake_up_new_task comm=%0->comm',
                  'p __netif_receive_skb_core.constprop.0 a=@(struct iphdr *)l3%0->saddr']
        runs = [[cost(theirs)] + [cost(ours + [trace]) for trace in traces] for _ in range(3)]
        gdb = [min(run[0][i] for run in runs) for i in (0, 1)]
        for number, trace in enumerate(traces, 1):
            seconds, memory = [min(run[number][i] for run in runs) / gdb[i] for i in (0, 1)]
            print('measured: of gdb ptype/o (%.1f s, %d MB), %s: time 1/%.0f, memory 1/%.0f' % (
                gdb[0], gdb[1] / 1024, trace, 1 / seconds, 1 / memory), flush=True)
            self.assertLess(seconds, 1 / 20)
            self.assertLess(memory, 1 / 10)


class Compilers(unittest.TestCase):
    """A small program that has everything, whose BTF pahole makes: each form says the same."""

    GCC = [['gcc', '-gdwarf-%d' % version] + more for version in (2, 3, 4, 5) for more in (
        [], ['-c'], ['-gz'], ['-gz=zlib-gnu'])] + [
        ['gcc', '-gdwarf-4', '-fdebug-types-section'], ['gcc', '-gdwarf-5', '-gdwarf64'],
        ['gcc', '-gdwarf-5', '-fdebug-types-section'], ['gcc', '-gdwarf-4', '-gdwarf64', '-c'],
        ['gcc', '-gdwarf-5', '-fno-merge-debug-strings']]
    CLANG = [['clang', '-gdwarf-%d' % version] + more for version in (2, 3, 4, 5)
             for more in ([], ['-c'], ['-gz'])] + [
        ['clang', '-gdwarf-4', '-fdebug-types-section'],
        ['clang', '-gdwarf-5', '-fdebug-types-section'], ['clang', '-gdwarf-5', '-gdwarf64']]
    OTHERS = [['aarch64-linux-gnu-gcc', '-c', '-gdwarf-%d' % version] + more
              for version in (4, 5) for more in ([], ['-mbig-endian'])]

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.source = os.path.join(cls.scratch.name, 'small.c')
        with open(cls.source, 'w') as stream:
            stream.write(SMALL)
        program = cls.built(['gcc', '-gdwarf-4'])
        subprocess.check_call(['pahole', '-J', program])
        cls.known = btf(program)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def built(cls, words):
        path = os.path.join(cls.scratch.name, 'program')
        subprocess.check_call(words + ['-O0', '-w', '-o', path, cls.source])
        return path

    def test_bits_that_begin_before_their_unit(self):
        """clang writes a negative offset then (before DWARF 4); C's rules tell the places."""
        source = os.path.join(self.scratch.name, 'bits.c')
        with open(source, 'w') as stream:
            stream.write('struct __attribute__((packed)) bits { short a:13; unsigned b:30; '
                         'int c:25; unsigned char d; } bits;\n')
        for version in (2, 3, 4, 5):
            path = os.path.join(self.scratch.name, 'bits.o')
            subprocess.check_call(['clang', '-gdwarf-%d' % version, '-c', '-o', path, source])
            types = dwarf(path)
            members = types.members(surftrace.described(types, types.find('struct', 'bits')))
            self.assertEqual([(member.name, member.bit_offset) for member in members],
                             [('a', 0), ('b', 13), ('c', 43), ('d', 72)], version)

    def agree(self, types, without=()):
        """Compare all that has a name; asked for one by one, and once all names are known."""
        for listed in (False, True):
            for kind in ('struct', 'union', 'enum', 'typedef') if listed else ():
                self.assertEqual(set(self.known.names(kind)) - set(types.names(kind)), set())
            for name in self.known.names('function'):
                self.assertEqual([spelled(types, each) for each in types.functions(name)],
                                 [spelled(self.known, each) for each in self.known.functions(name)])
            for kind in ('struct', 'typedef'):
                for name in set(self.known.names(kind)) - set(without):
                    self.assertEqual(
                        self.lines(kind + ' ' + name, types), self.lines(kind + ' ' + name,
                                                                         self.known))
            self.assertIsNone(types.find('struct', 'nobody'))
            self.assertEqual(types.functions('nobody'), [])
            self.assertIsNone(types.variable('nobody'))
            self.assertEqual(types.enums_of('nobody'), [])
            self.assertEqual(values_of(types, 'TWO'), VALUES_OF_SMALL['TWO'])
            self.assertEqual(values_of(types, 'BELOW'), VALUES_OF_SMALL['BELOW'])
            self.assertEqual([surftrace.declared(types, types.variable(name).type)
                              for name in ('elsewhere', 'text_of')],
                             ['struct sample', 'const char *[2]'])

    def lines(self, name, types):
        kind, _, tag = name.partition(' ')
        found = surftrace.stripped(types, types.find(kind, tag))
        return (surftrace.layout_lines(found, types, tag) if found.kind in ('struct', 'union')
                else surftrace.declared(types, types.find(kind, tag)))

    def test_each_form(self):
        for words in self.GCC + self.CLANG:
            with self.subTest(' '.join(words)):
                types = dwarf(self.built(words))
                self.assertEqual(types.order, '<')
                self.agree(types)
        tell(len(self.GCC + self.CLANG), 'forms of debug info and BTF')

    def test_gdb_knows_the_same_values(self):
        types = gdb_source(path=self.built(['gcc', '-g']))
        self.addCleanup(types.close)
        for name, values in VALUES_OF_SMALL.items():
            self.assertEqual(values_of(types, name), values)
        self.assertEqual(types.enums_of('elsewhere'), [])
        self.assertIsNone(types.variable('main'))
        self.assertEqual([surftrace.declared(types, types.variable(name).type)
                          for name in ('elsewhere', 'text_of')],
                         ['struct sample', 'const char *[2]'])
        for name, values in (('state', [('OFF', 0), ('ON', 1)]), ('kind', VALUES_OF_SMALL['TWO'])):
            member = surftrace.find_member(types, 'struct sample', name)
            held = surftrace.stripped(types, member.type)
            self.assertEqual((held.kind, list(types.enumerators(held))), ('enum', values))

    def test_other_machines(self):
        for words in self.OTHERS:
            with self.subTest(' '.join(words)):
                types = dwarf(self.built(words))
                # There the first bits of a byte are its most significant ones; char has no sign.
                self.assertEqual(types.order, '>' if '-mbig-endian' in words else '<')
                self.agree(types, ['sample'] if types.order == '>' else [])
                size, members = layout(types, types.find('struct', 'sample'))
                expected = layout(self.known, self.known.find('struct', 'sample'))
                whole = [[member for member in each if not member[2]]
                         for each in (members, expected[1])]
                self.assertEqual((size, whole[0]), (expected[0], whole[1]))

    def test_what_gdb_is_left_with(self):
        for words, message in [(['gcc', '-g', '-gsplit-dwarf'], 'in other files'),
                               (['clang', '-g', '-gsplit-dwarf'], 'in other files'),
                               (['gcc', '-gdwarf-4', '-gsplit-dwarf'], 'in other files')]:
            path = self.built(words + ['-c'] if words[0] == 'clang' else words)
            with self.assertRaises(surftrace.UnknownDebugInfo) as caught:
                dwarf(path)
            self.assertIn(message, str(caught.exception))
        # Of an object file, each type unit is in a section of its own, all of one name.
        with self.assertRaises(surftrace.UnknownDebugInfo) as caught:
            dwarf(self.built(['gcc', '-g', '-c', '-fdebug-types-section'])).functions('quiet')
        self.assertIn('type unit', str(caught.exception))
        path = self.built(['gcc', '-g'])
        subprocess.check_call(['objcopy', '--add-section', '.gnu_debugaltlink=' + self.source,
                               path])
        done = subprocess.run(TOOL + ['-S', '-v', path, 'p take v=%0->next'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 0, said)
        self.assertRegex(said, r'only gdb may read: .*altlink.*; gdb reads it instead\n')
        self.assertIn('(gdb)', said)
        self.assertIn(b'v=+0x0(%di):x64', done.stdout)

    def test_the_choice(self):
        """A file that has debug info and no BTF is read without gdb."""
        done = subprocess.run(TOOL + ['-S', '-g', '/nonexistent', '-v', self.built(['gcc', '-g']),
                                      'p take v=%0->next'], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertIn(b'(DWARF)', done.stderr)
        self.assertIn(b'v=+0x0(%di):x64', done.stdout)

    def test_a_database(self):
        """One that is made from it says what one that is made from BTF does."""
        made = os.path.join(self.scratch.name, 'made.db')
        subprocess.check_call(TOOL + ['-a', 'x86_64', '-m', 'dwarf', '-v',
                                      self.built(['gcc', '-g']), '--make-db', made],
                              stderr=subprocess.DEVNULL)
        types = surftrace.Database(made)
        for name in self.known.names('function'):
            self.assertEqual([spelled(types, each) for each in types.functions(name)],
                             [spelled(self.known, each) for each in self.known.functions(name)])
        for kind in ('struct', 'union', 'enum'):
            self.assertEqual(types.names(kind), self.known.names(kind))
        for name in self.known.names('struct'):
            self.assertEqual(surftrace.information(name, types, (), None),
                             surftrace.information(name, self.known, (), None))


if __name__ == '__main__':
    unittest.main()

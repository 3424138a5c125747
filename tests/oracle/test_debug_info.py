"""Debug info that the tool reads itself: is it what BTF says, of kernels and of a small program?"""
import os
import random
import re
import shutil
import subprocess
import tempfile
import unittest

from tests.lib import tool
from tests.oracle import common

# kernel, machine, functions whose prototypes are compared, and how many of them are asked for
# before all names are known; and each which struct.
KERNELS = [('6.1', 'x86_64', 2000, 500, 1), ('6.1', 'aarch64', 2000, 500, 1),
           ('5.10', 'x86_64', 2000, 500, 1), ('6.12', 'x86_64', 2000, 500, 1)] if (
    common.WHOLE) else [
        ('6.1', 'x86_64', 2000, 200, 1), ('6.1', 'aarch64', 500, 50, 1),
        ('5.10', 'x86_64', 200, 20, 4), ('6.12', 'x86_64', 200, 20, 4)]
VALUES = {'TWO': [('ONE', 1), ('TWO', 2)],
          'BELOW': [('NAMELESS', 7), ('BELOW', -1), ('BIG', 0x7fffffff)]}


def setUpModule():
    common.need('pahole', 'gcc', 'clang', 'aarch64-linux-gnu-gcc', 'objcopy', 'gdb')


def layout(held):
    """Return the size of a struct in bytes, and the places of all its members in bits."""
    return held.size, held.places()


def spelled(source, name):
    """Return prototype and names of arguments of each function of a name."""
    return [(function.prototype, [each.name for each in function.parameters])
            for function in source.functions(name)]


class Debugged(unittest.TestCase):

    def opened(self, path):
        source = tool.from_debug_info(path)
        self.addCleanup(source.close)
        return source


class Kernels(Debugged):

    def test_all_that_both_know(self):
        """Asked for singly first, which searches; then by name, once all names are known."""
        for kernel, architecture, count, singly, each in KERNELS:
            path = common.vmlinux(kernel, architecture)
            source, known = self.opened(path), common.source(kernel, architecture)
            where = 'debug info and BTF of %s, %s' % (kernel, architecture)
            self.assertIn(('TCP_LISTEN', 10), source.values_with('TCP_LISTEN')[0])
            self.assertEqual(source.values_with('SS_CONNECTED')[0],
                             known.values_with('SS_CONNECTED')[0])
            names = self.names_of_functions(known, path, count)
            self.compare_functions(source, known, names[:singly], where)
            self.compare_structs(source, known, where, each)
            self.compare_functions(source, known, names[singly:], where)
            self.compare_enums(source, known, where)

    def names_of_functions(self, known, path, count):
        """Draw functions that BTF has once; what there is only a variant of, it may have, too."""
        symbols = set(tool.symbols_of(path))
        names = random.Random(common.SEED).sample(
            [name for name in known.names('function') if name in symbols], 2 * count)
        return [name for name in names if len(known.prototypes(name)) == 1][:count]

    def compare_structs(self, source, known, where, each):
        """Size, offset and bits of every member of every struct and union that both name."""
        count = members = 0
        for kind in ('struct', 'union'):
            names = set(known.names(kind))
            both = sorted(set(source.names(kind)) & names)
            # What is named in a function only, BTF has too.
            self.assertGreater(len(both), 0.99 * len(names))
            for name in both[common.SEED % each::each]:
                ours = layout(source.find(kind, name))
                self.assertIn(ours, [layout(other) for other in known.every(kind, name)],
                              (kind, name))
                count, members = count + 1, members + len(ours[1])
        self.assertGreater(count, 5000 // each)
        common.tell(members, 'members of %d structs and unions, %s' % (count, where))

    def compare_enums(self, source, known, where):
        """What the values of every enum with a name are."""
        count = 0
        for name in sorted(set(source.names('enum')) & set(known.names('enum'))):
            held = source.find('enum', name)
            # Before Linux 6.0 BTF does not tell which have a sign.
            mask = (1 << 8 * held.size) - 1
            ours, *theirs = [[(word, number & mask) for word, number in each.values()]
                             for each in [held] + known.every('enum', name)]
            if theirs != [[]]:          # too large for that BTF
                self.assertIn(ours, theirs, name)
            count += 1
        self.assertGreater(count, 800)
        common.tell(count, 'enums, ' + where)

    def compare_functions(self, source, known, names, where):
        """Prototypes; arguments' names BTF may have from another declaration."""
        missing, differ = [], []
        for name in names:
            found, [expected] = source.prototypes(name), known.prototypes(name)
            if not found:
                missing.append(name)
            elif expected not in found:
                differ.append((found, expected))
        # Written in assembler, with a prototype that BTF has from a declaration.
        self.assertLessEqual(len(missing), max(len(names) * 0.005, 3), missing)
        self.assertLessEqual(len(differ), max(len(names) * 0.005, 3), differ)
        common.tell(len(names) - len(missing), 'prototypes, %s; %d differ: %s' % (
            where, len(differ), differ))

    def test_variables(self):
        for kernel, architecture in [words[:2] for words in KERNELS]:
            source = self.opened(common.vmlinux(kernel, architecture))
            for name, expected in [('init_task', 'struct task_struct'), ('init_net', 'struct net'),
                                   ('saved_command_line', 'char *'),
                                   ('jiffies', 'volatile unsigned long')]:
                self.assertEqual(source.variable(name), expected)
            self.assertEqual([source.is_per_cpu(name) for name in (
                'runqueues', 'kernel_cpustat', 'init_task', 'jiffies')], [True, True, False, False])

    def test_a_module(self):
        """Its debug file is not linked yet: what refers to its other sections is filled in."""
        source = self.opened(common.of_machines('debug_module', '6.1'))
        self.assertEqual(spelled(source, 'dummy_xmit')[0], (
            'netdev_tx_t dummy_xmit(struct sk_buff *, struct net_device *)', ['skb', 'dev']))
        for name in ('sk_buff', 'net_device', 'net_device_ops'):
            self.assertEqual(layout(source.find('struct', name)),
                             layout(common.source().find('struct', name)))
        self.assertIn('dummy_setup', source.names('function'))


class Compilers(Debugged):
    """A small program that has everything, whose BTF pahole makes: each form says the same."""

    GCC = [['gcc', '-gdwarf-%d' % version] + more for version in (4, 5)
           for more in ([], ['-c'], ['-gz'])] + [['gcc', '-gdwarf-5', '-fno-merge-debug-strings']]
    CLANG = [['clang', '-gdwarf-%d' % version] + more for version in (4, 5)
             for more in ([], ['-c'], ['-gz'], ['-fdebug-types-section'])] + [
        ['clang', '-gdwarf-5', '-gdwarf-aranges']]      # (of C, clang makes no units of types)
    OTHERS = [['aarch64-linux-gnu-gcc', '-c', '-gdwarf-%d' % version] for version in (4, 5)]
    # What the tool says of the others, which gdb reads.
    UNKNOWN = [(['gcc', '-g', '-gsplit-dwarf'], 'units of kind 4'),
               (['clang', '-g', '-gsplit-dwarf', '-c'], 'units of kind 4'),
               (['gcc', '-gdwarf-4', '-gsplit-dwarf'], 'in other files'),
               (['gcc', '-gdwarf-2'], 'DWARF version 2'), (['clang', '-gdwarf-3'], 'version 3'),
               (['gcc', '-gdwarf-4', '-fdebug-types-section'], 'it has .debug_types'),
               (['gcc', '-gdwarf-5', '-fdebug-types-section'], 'units of kind 2'),
               (['gcc', '-gdwarf-5', '-gdwarf64'], '64-bit DWARF'),
               (['gcc', '-gdwarf-4', '-gdwarf64', '-c'], '64-bit DWARF'),
               (['clang', '-gdwarf-5', '-gdwarf64'], '64-bit DWARF')]

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        program = cls.built(['gcc', '-gdwarf-4'])
        subprocess.check_call(['pahole', '-J', program])
        cls.known = tool.from_btf(tool.btf_section(program))

    @classmethod
    def built(cls, words):
        path = os.path.join(cls.directory, 'program')
        subprocess.check_call(words + ['-O0', '-w', '-o', path, common.SMALL])
        return path

    def agree(self, source):
        """Compare all that has a name; asked for one by one, and once all names are known."""
        for listed in (False, True):
            for kind in ('struct', 'union', 'enum', 'typedef') if listed else ():
                self.assertEqual(set(self.known.names(kind)) - set(source.names(kind)), set())
            for name in self.known.names('function'):
                self.assertEqual(spelled(source, name), spelled(self.known, name))
            for name in self.known.names('struct'):
                self.assertEqual(source.information('struct ' + name),
                                 self.known.information('struct ' + name))
            for name in self.known.names('typedef'):
                ours, theirs = [each.find('typedef', name) for each in (source, self.known)]
                self.assertEqual((ours.kind, ours.words, ours.size),
                                 (theirs.kind, theirs.words, theirs.size))
                if ours.kind in ('struct', 'union'):
                    self.assertEqual(source.information('typedef ' + name),
                                     self.known.information('typedef ' + name))
            self.assertIsNone(source.find('struct', 'nobody'))
            self.assertEqual(source.functions('nobody'), [])
            self.assertIsNone(source.variable('nobody'))
            self.assertEqual(source.values_with('nobody'), [])
            for name, values in VALUES.items():
                self.assertEqual(source.values_with(name)[0], values)
            self.assertEqual([source.variable(name) for name in ('elsewhere', 'text_of')],
                             ['struct sample', 'const char *[2]'])

    def test_each_form(self):
        for words in self.GCC + self.CLANG:
            with self.subTest(' '.join(words)):
                self.agree(self.opened(self.built(words)))
        common.tell(len(self.GCC + self.CLANG), 'forms of debug info and BTF')

    def test_other_machines(self):
        for words in self.OTHERS:
            with self.subTest(' '.join(words)):
                self.agree(self.opened(self.built(words)))

    def test_bits_that_begin_before_their_unit(self):
        """C's rules tell the places."""
        code, path = [os.path.join(self.directory, name) for name in ('bits.c', 'bits.o')]
        with open(code, 'w') as stream:
            stream.write('struct __attribute__((packed)) bits { short a:13; unsigned b:30; '
                         'int c:25; unsigned char d; } bits;\n')
        for version in (4, 5):
            subprocess.check_call(['clang', '-gdwarf-%d' % version, '-c', '-o', path, code])
            members = self.opened(path).find('struct', 'bits').members()
            self.assertEqual([(member.name, member.bit_offset) for member in members],
                             [('a', 0), ('b', 13), ('c', 43), ('d', 72)], version)

    def test_what_gdb_is_left_with(self):
        for words, message in self.UNKNOWN:
            path = self.built(words)
            with self.assertRaisesRegex(tool.Unknown, message):
                self.opened(path)
        path = self.built(['gcc', '-g'])
        subprocess.check_call(['objcopy', '--add-section', '.gnu_debugaltlink=' + common.SMALL,
                               path])
        done = tool.process(['-S', '-v', path, 'p take v=%0->next'])
        out, said = [tool.text_of(data) for data in done.communicate()]
        self.assertEqual(done.returncode, 0, said)
        self.assertTrue(re.search(r'only gdb may read: .*altlink.*; gdb reads it instead\n', said))
        self.assertIn('(gdb)', said)
        self.assertIn('v=+0x0(%di):x64', out)

    def test_the_choice(self):
        """A file that has debug info and no BTF is read without gdb."""
        found = tool.run(['-S', '-g', '/nonexistent', '-v', self.built(['gcc', '-g']),
                          'p take v=%0->next'])
        self.assertEqual(found.status, 0, found.err)
        self.assertIn('(DWARF)', found.err)
        self.assertIn('v=+0x0(%di):x64', found.out)

    def test_a_database(self):
        """One that is made from it says what one that is made from BTF does."""
        path = os.path.join(self.directory, 'made.db')
        found = tool.run(['-a', 'x86_64', '-m', 'dwarf', '-v', self.built(['gcc', '-g']),
                          '--make-db', path])
        self.assertEqual(found.status, 0, found.err)
        made = tool.from_database(path)
        self.addCleanup(made.close)
        for name in self.known.names('function'):
            self.assertEqual(spelled(made, name), spelled(self.known, name))
        for kind in ('struct', 'union', 'enum'):
            self.assertEqual(made.names(kind), self.known.names(kind))
        for name in self.known.names('struct'):
            self.assertEqual(made.information(name), self.known.information(name))


if __name__ == '__main__':
    unittest.main()

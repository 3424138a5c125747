"""What gdb tells through the tool: instructions, lines, a database; and where arguments are."""
import collections
import os
import random
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

from tests.lib import tool
from tests.oracle import common

VARIANTS = 60
LINES = 12 if common.WHOLE else 6


def setUpModule():
    common.need('gdb', 'gdb-multiarch', 'nm', 'addr2line', 'gcc', 'pahole')


def addresses(path):
    """Return the addresses of each symbol of a file, as nm tells them."""
    found = collections.defaultdict(list)
    for line in subprocess.check_output(['nm', path]).decode().splitlines():
        found[line.split()[2]].append(int(line.split()[0], 16))
    return found


def printed(*arguments, path=None):
    """Return what the tool prints on a vmlinux; raises CalledProcessError."""
    return subprocess.run(common.COMMAND + ['-m', 'gdb', '-v', path or common.vmlinux()]
                          + list(arguments), check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout.decode()


def instructions(text):
    """Return (address, offset) of each instruction."""
    return [(int(address, 16), int(offset))
            for address, offset in re.findall(r'0x([0-9a-f]+) <\+(\d+)>:', text)]


class Instructions(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.addresses = addresses(common.vmlinux())

    def test_a_function(self):
        [start] = self.addresses['wake_up_new_task']
        found = instructions(printed('-F', 'wake_up_new_task'))
        self.assertGreater(len(found), 50)
        self.assertEqual([address - start for address, _ in found],
                         [offset for _, offset in found])

    def test_offsets_count_from_the_symbol(self):
        """On aarch64 debug info begins behind it, and gdb counts from there."""
        path = common.vmlinux('6.1', 'aarch64')
        symbols = addresses(path)
        for name in ('vfs_read', 'icmp_rcv', '__netif_receive_skb_core.constprop.0'):
            found = instructions(subprocess.check_output(
                common.COMMAND + ['-v', path, '-F', name], stderr=subprocess.DEVNULL).decode())
            self.assertGreater(len(found), 20)
            self.assertEqual([address - symbols[name][0] for address, _ in found],
                             [offset for _, offset in found], name)

    def test_a_variant(self):
        name = '__netif_receive_skb_core.constprop.0'
        self.assertIn('0x%x <+0>:' % self.addresses[name][0], printed('-F', name))

    def test_a_line_is_where_another_tool_says_it_is(self):
        """addr2line names the line for each place and each instruction."""
        line = int(re.search(r'\n(\d+)\t', printed('-F', 'ksys_read')).group(1))
        found = []
        for number in range(line, line + LINES):
            try:
                found.append((number, printed('-l', 'fs/read_write.c:%d' % number)))
            except subprocess.CalledProcessError:
                pass        # no code
        self.assertGreater(len(found), 2)
        for number, text in found:
            places = re.findall(r' is at ([\w.]+)(?:\+(\d+))?\n +0x([0-9a-f]+) ', text)
            self.assertTrue(places)
            for symbol, offset, address in places:
                self.assertIn(int(address, 16) - int(offset or 0), self.addresses[symbol])
                said = subprocess.check_output(['addr2line', '-e', common.vmlinux(),
                                                address]).decode()
                self.assertTrue(said.strip().partition(' (')[0].endswith(
                    '/read_write.c:%d' % number), (said, text))

    def test_the_commands_of_the_readme(self):
        """(The database is made of BTF, as it is in test_sources_agree.)"""
        with open(tool.README) as stream:
            found = re.findall(r'^    [#$] \./surftrace\.py (.* -v vmlinux .*|-v vmlinux .*)\n'
                               r'((?:    .*\n)*)', stream.read(), re.MULTILINE)
        commands = [item for item in found if '--make-db' not in item[0]]
        self.assertGreater(len(commands), 2)
        for command, below in commands:
            words = [common.vmlinux() if word == 'vmlinux' else word
                     for word in shlex.split(command)]
            done = subprocess.run(common.COMMAND + words, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            if done.returncode:     # another build of this kernel has no code there
                self.assertIn(b'that line has no code', done.stderr)
            elif below:
                self.assertEqual(done.stdout.decode().split('+')[0],
                                 re.sub('(?m)^    ', '', below).split('+')[0])


class Variants(unittest.TestCase):
    """What the compiler made of a function: .constprop and .isra, which lack arguments.

    Debug info says in which registers the others are, and gdb does to whoever asks for the scope.
    """

    @classmethod
    def setUpClass(cls):
        path = common.vmlinux()
        cls.debug_info = tool.from_debug_info(path)
        cls.addClassCleanup(cls.debug_info.close)
        names = [name for name in sorted(set(tool.symbols_of(path)))
                 if re.search(r'\.(isra|constprop)\.0$', name) and '.part' not in name]
        # Always the same: few are of a kind.
        cls.names = random.Random(20261124).sample(names, VARIANTS)
        cls.found = dict((name, cls.debug_info.functions(name)) for name in cls.names)

    def scopes(self):
        """Return what gdb tells of each name's scope, as text."""
        command = ['gdb', '-nx', '-q', '-batch', '-ex', 'set width 0', '-ex', 'set height 0']
        for name in self.names:
            command += ['-ex', 'echo \\n== %s\\n' % name, '-ex', "info scope *&'%s'" % name]
        said = subprocess.run(command + [common.vmlinux()], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT).stdout.decode()
        return dict(part.split('\n', 1) for part in said.split('\n== ')[1:])

    def register(self, text, name, starts):
        """Return the register of a variable when a function begins, '' if none has it there."""
        # That of the function is behind those of inlined code.
        place = re.split(r'(?m)^Symbol %s is ' % name, text)[-1].split('\nSymbol ')[0]
        ranges = [(int(first, 16), int(end, 16), words) for first, end, words in re.findall(
            r'Range 0x([0-9a-f]+)-0x([0-9a-f]+): (.*)', place)] or [(0, 1 << 64, place)]
        for first, end, words in ranges:
            match = re.match(r'a variable in \$(?:r(?=[a-z]))?(\w+)', words)
            if match and any(first <= start < end for start in starts):
                return match.group(1)
        return ''

    def test_debug_info_says_what_gdb_says(self):
        symbols, scopes = addresses(common.vmlinux()), self.scopes()
        compared = dropped = 0
        for name in self.names:
            for function in self.found[name] if len(self.found[name]) == 1 else ():
                for parameter in function.parameters:
                    register = ''
                    if re.search(r'(?m)^Symbol %s is ' % parameter.name, scopes[name]):
                        register = self.register(scopes[name], parameter.name, symbols[name])
                    self.assertEqual(parameter.place, register,
                                     (name, parameter.name, scopes[name]))
                    compared += bool(register)
                    dropped += not register
        self.assertGreater(compared, VARIANTS // 2)
        self.assertGreater(dropped, VARIANTS // 4)
        # Of (dev, attr, buf, bug), as its code shows.
        self.assertEqual([each.place for each in self.debug_info.functions(
            'cpu_show_common.constprop.0')[0].parameters], ['', '', 'di', 'si'])
        common.tell(compared, 'arguments of variants, debug info and gdb; %d more that were '
                    'dropped' % dropped)

    def test_what_becomes_of_a_trace(self):
        """Known of some; of others, what is known is said, nothing is guessed."""
        [value] = tool.compiled('p __netif_receive_skb_core.constprop.0 '
                                'v=@(struct iphdr *)l3%0->protocol', self.debug_info).words
        self.assertEqual(value.partition('(+0x0')[2], '(%di))):u8')
        known = changed = 0
        for name in self.names:
            lacks = ['' in [each.place for each in function.parameters]
                     for function in self.found[name] if function.parameters]
            if len(lacks) != 1:
                continue
            known += not lacks[0]
            changed += lacks[0]
            refused = ''
            try:
                tool.compiled('p %s v=%%0' % name, self.debug_info)
            except tool.Mistake as error:
                refused = str(error)
            self.assertEqual('rearranged the arguments' in refused, lacks[0], (name, refused))
        self.assertGreater(known, 4)
        self.assertGreater(changed, 5)

    def test_gdb_tells_none(self):
        gdb = tool.from_gdb(common.vmlinux())
        self.addCleanup(gdb.close)
        for name in self.names[:3]:
            with self.assertRaises(tool.Mistake) as caught:
                tool.compiled('p %s v=%%0->x' % name, gdb)
            self.assertIn('no prototype of', str(caught.exception))


class SmallProgram(unittest.TestCase):
    """Its BTF pahole makes."""

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.program = os.path.join(self.directory, 'small')
        subprocess.check_call(['gcc', '-g', '-O0', '-gdwarf-4', '-o', self.program, common.SMALL])

    def test_a_database_through_gdb(self):
        """The whole of both is the same."""
        path = os.path.join(self.directory, 'small.db')
        subprocess.check_call(common.COMMAND + ['-a', 'x86_64', '-m', 'gdb', '-v', self.program,
                                                '--make-db', path], stderr=subprocess.DEVNULL)
        subprocess.check_call(['pahole', '-J', self.program])
        known = tool.from_btf(tool.btf_section(self.program))
        made = tool.from_database(path)
        self.addCleanup(made.close)
        self.assertIn('quiet', known.names('function'))
        for name in known.names('function'):
            self.assertEqual(made.prototypes(name), known.prototypes(name))
        for kind in ('struct', 'union', 'enum'):
            self.assertEqual(made.names(kind), known.names(kind))
        for name in known.names('struct') + known.names('typedef'):
            if name not in ('state_t', 'u8'):
                self.assertEqual(made.information(name), known.information(name))

    def test_values_and_variables(self):
        source = tool.from_gdb(self.program)
        self.addCleanup(source.close)
        two = [('ONE', 1), ('TWO', 2)]
        self.assertEqual(source.values_with('TWO'), [two])
        self.assertEqual(source.values_with('BELOW'),
                         [[('NAMELESS', 7), ('BELOW', -1), ('BIG', 0x7fffffff)]])
        self.assertEqual(source.values_with('elsewhere'), [])
        self.assertIsNone(source.variable('main'))
        self.assertEqual([source.variable(name) for name in ('elsewhere', 'text_of')],
                         ['struct sample', 'const char *[2]'])
        for name, values in (('state', [('OFF', 0), ('ON', 1)]), ('kind', two)):
            held = source.find('struct', 'sample').member(name).type
            self.assertEqual((held.kind, held.values()), ('enum', values))


if __name__ == '__main__':
    unittest.main()

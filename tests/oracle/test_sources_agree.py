"""One kernel, all sources of types: traces that were drawn become the same by each of them."""
import collections
import os
import re
import shutil
import tempfile
import unittest

from tests.lib import draw, older, server, tool
from tests.oracle import common

# Of gdb, each answer takes time.
TRACES = 300
OF_DEBUG_INFO, OF_GDB, OF_OTHER_GDB = (300, 300, 100) if common.WHOLE else (150, 60, 20)
# What databases and servers do not know: values of enums.
ENUM_IN_FILTER, NAMED_ARGUMENT = r'v\d==[A-Z_]', r'\$(?!retval\b|comm\b|stack\d*\b)(\w+)'


def setUpModule():
    common.need('gdb', 'gdb-multiarch')


def answer(text, source, architecture):
    """Return what a trace becomes, or the error that it ends in."""
    try:
        found = tool.compiled(text, source, architecture)
    except tool.Mistake as error:
        return '%s (column %s)' % (error, error.column)
    return '%s f:%s' % (' '.join(found.words), found.filter)


def drawn(count, architecture='x86_64'):
    """Return traces, and what they become by BTF."""
    source = common.source('6.1', architecture)
    drawer = draw.Draw(source, common.SEED, architecture, unique=True)
    traces = [drawer.trace() for _ in range(count)]
    return [(text, answer(text, source, architecture)) for text in traces]


def with_numbers(expected, architecture='x86_64'):
    """Return traces that name arguments by their numbers, and what they become by BTF."""
    source, numbered = common.source('6.1', architecture), []
    for text, _ in expected:
        for function in source.functions(text.split()[1]):
            names = [each.name for each in function.parameters]
            text = re.sub(NAMED_ARGUMENT, lambda match: '%%%d' % names.index(match.group(1)), text)
        numbered.append((text, answer(text, source, architecture)))
    return numbered


def mistakes_last(expected, source):
    """Return the same traces; those that are mistakes, or of functions unknown there, go last.

    For a mistake gdb is asked for the names of all functions, and from then on takes prototypes
    from that list, without the arguments' names.  (A mistake ends a run, so nobody meets that.)
    """
    return sorted(expected, key=lambda pair: (
        ' (column ' in pair[1] or not source.functions(pair[0].split()[1])))


def names_in(text, source):
    """Return the names of the arguments of a trace's functions."""
    return [[each.name for each in function.parameters]
            for function in source.functions(text.split()[1])]


def start_of(value, function, source):
    """Return the type that the first word of a value is or points at, and what follows."""
    cast = re.match(r'!\(struct (\w+) \*\)%\w+|@\(struct (\w+) \*\)(?:l\d)?%\d', value)
    if cast:
        return source.find('struct', cast.group(1) or cast.group(2)), value[cast.end():]
    base = re.match(r'%(\d+)|\$(\w+)', value)
    if not base:
        return None, ''
    if base.group() == '$retval':
        return function.result, value[base.end():]
    for number, parameter in enumerate(function.parameters):
        if base.group(1) == str(number) or parameter.name and base.group(2) == parameter.name:
            return parameter.type, value[base.end():]
    return None, ''


def meets_array_of_arrays(text, source):
    """Tell whether a trace meets an array of several dimensions.

    BTF has it as one (Documentation/bpf/btf.rst).
    """
    head, *values = re.split(r' (?=\w*v\d=)', text.partition(' f:')[0])
    functions = source.functions(head.split()[1])
    for value in [re.sub(r'^\w+=[SUX]?', '', value) for value in values]:
        held, rest = start_of(value, functions[0] if functions else None, source)
        for name, cast in re.findall(r'(?:->|\.)(\w+)|!\(struct (\w+) \*\)', rest):
            while held is not None and held.kind in ('pointer', 'array'):
                held = held.target
            if cast:
                held = source.find('struct', cast)
                continue
            member = held.member(name) if held is not None and held.kind in (
                'struct', 'union') else None
            held = member.type if member else None
            if held is not None and held.kind == 'array' and held.target.kind == 'array':
                return True
    return False


class Sources(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.expected = drawn(TRACES)
        cls.directory = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.database = os.path.join(cls.directory, 'info.db')
        tool.write_database(cls.database, common.source())

    def agree(self, source, expected, what, architecture='x86_64', unknown='(?!)'):
        """Compare all traces but those with what the source is known not to know, a pattern.

        Neither counted are those of functions or structs that it has not, and those that meet an
        array of several dimensions: less than 3 in 100.  Where arguments are called otherwise
        there, or not at all, they are numbered.
        """
        known = common.source('6.1', architecture)
        differ, left_out, renamed, count = [], [], [], 0
        for text, words in expected:
            if re.search(unknown, text):
                continue
            count += 1
            found = answer(text, source, architecture)
            if found != words and names_in(text, source) != names_in(text, known):
                renamed.append(text)
                [(text, words)] = with_numbers([(text, words)], architecture)
                found = answer(text, source, architecture)
            if found == words:
                continue
            casts = re.findall(r'!\(struct (\w+) \*\)', text)
            if (not source.functions(text.split()[1]) or meets_array_of_arrays(text, source)
                    or any(source.find('struct', name) is None for name in casts)):
                left_out.append(text)
            else:
                differ.append((text, found, words))
        self.assertEqual(differ[:10], [], '%d of %d differ' % (len(differ), count))
        self.assertLessEqual(len(left_out), max(count * 0.03, 3), left_out)
        self.assertLess(len(renamed), max(count * 0.2, 3), renamed)
        self.assertGreater(count, len(expected) * 0.9)
        common.tell(count - len(left_out), 'traces, %s and BTF' % what)

    def test_the_draw_is_worth_something(self):
        count = collections.Counter()
        for text, words in self.expected:
            count['error' if '(column' in words else 'right'] += 1
            for kind, pattern in (('string', ':string'), ('bitfield', r':b\d'), ('filter', ' f:v'),
                                  ('chain', r'\(\+0x'), ('packet', r'@\(struct'),
                                  ('cast', r'!\(struct'), ('named', NAMED_ARGUMENT),
                                  ('return', '^r .*retval'), ('register', '=%[a-z]')):
                count[kind] += bool(re.search(pattern, text if kind in (
                    'filter', 'packet', 'cast', 'named', 'return', 'register') else words))
        for kind, least in (('right', 150), ('error', 20), ('string', 5), ('bitfield', 5),
                            ('filter', 20), ('chain', 20), ('packet', 10), ('cast', 10),
                            ('named', 30), ('return', 10), ('register', 5)):
            self.assertGreater(count[kind], least, count)

    def test_database(self):
        source = tool.from_database(self.database)
        self.addCleanup(source.close)
        self.agree(source, self.expected, 'a database', unknown=ENUM_IN_FILTER)

    def test_older_database(self):
        path = os.path.join(self.directory, 'older.db')
        older.write_older(self.database, path)
        source = tool.from_database(path)
        self.addCleanup(source.close)
        self.agree(source, with_numbers(self.expected), 'a database of the older generation',
                   unknown=ENUM_IN_FILTER)

    def test_server(self):
        with server.LoopbackServer(self.database) as loopback:
            source = tool.from_server('127.0.0.1:%d' % loopback.port, '6.1', 'x86_64')
            self.agree(source, with_numbers(self.expected), 'a server', unknown=ENUM_IN_FILTER)
        self.assertGreater(loopback.requests, TRACES)

    def test_debug_info(self):
        for architecture in common.ARCHITECTURES:
            source = tool.from_debug_info(common.vmlinux('6.1', architecture))
            self.addCleanup(source.close)
            self.agree(source, drawn(OF_DEBUG_INFO, architecture), 'debug info of ' + architecture,
                       architecture)

    def test_gdb(self):
        source = tool.from_gdb(common.vmlinux())
        self.addCleanup(source.close)
        self.agree(source, mistakes_last(self.expected[:OF_GDB], source), 'gdb')

    def test_gdb_of_another_machine(self):
        """Its vmlinux, and the registers and offsets of its kernel."""
        expected = drawn(OF_OTHER_GDB, 'aarch64')
        self.assertGreater(sum('(%x' in words for _, words in expected), len(expected) // 3)
        source = tool.from_gdb(common.vmlinux('6.1', 'aarch64'), 'gdb-multiarch')
        self.addCleanup(source.close)
        self.agree(source, mistakes_last(expected, source), 'gdb-multiarch', 'aarch64')


if __name__ == '__main__':
    unittest.main()

"""BTF against other readers of it: pahole, pfunct, and a walk from record to record."""
import collections
import random
import re
import subprocess
import unittest

from tests.lib import btf, tool
from tests.oracle import common

PLACE = re.compile(r'/\* +(\d+)(?:: *(\d+))? +(\d+) \*/')
FUNCTIONS, NAMES, NAMES_OF_ONE = 1000, 3000 if common.WHOLE else 500, 200
# A source asks for so many names one by one, and then finds all of them at once.
SINGLY = 10


def setUpModule():
    common.need('pahole', 'pfunct')


class Records(unittest.TestCase):
    """Finding a record in a kernel's BTF, and by walking through it."""

    def test_every_id_and_every_name(self):
        for architecture in common.ARCHITECTURES:
            data = common.read(common.btf('6.1', architecture))
            records = btf.walked(data)
            self.check_ids(tool.from_btf(data), records)
            named = collections.defaultdict(list)
            for record in records:
                named[record.name].append(record)
            named.pop('')
            draw = random.Random(common.SEED)
            names = draw.sample(sorted(named), NAMES)
            for number, name in enumerate(names):
                if not number % SINGLY:
                    source = tool.from_btf(data)
                self.check_name(source, name, named[name])
            for name in draw.sample(sorted(named), NAMES_OF_ONE):
                self.check_name(source, name, named[name])
            self.check_ids(source, records)
            common.tell(len(records), 'records and %d of %d names, by the tool and by a walk' % (
                NAMES, len(named)))

    def check_ids(self, source, records):
        """What a forward declares is a struct or a union; prototypes have no name."""
        found = list(source.ids())
        self.assertEqual(len(found), len(records))
        for (kind, name), record in zip(found, records):
            if record.kind == 'forward':
                self.assertIn(kind, ('struct', 'union'))
            else:
                self.assertEqual(kind, record.kind)
            if record.kind not in ('pointer', 'array', 'function'):
                self.assertEqual(name, record.name)

    def check_name(self, source, name, records):
        for kind in ('struct', 'union', 'enum', 'typedef', 'int', 'float'):
            expected = [record.last for record in records if record.kind == kind]
            self.assertEqual(source.find(kind, name) is not None, bool(expected), (kind, name))
            if kind in ('struct', 'union', 'enum'):
                self.assertEqual([each.size for each in source.every(kind, name)], expected, name)
        # What the compiler made of a function may not have the prototype that pahole gives it.
        self.assertEqual(len(source.functions(name)), 0 if '.' in name else len(set(
            record.last for record in records if record.kind == 'symbol')), name)


def pahole(*options):
    return subprocess.run(['pahole', '-F', 'btf'] + list(options) + [common.btf()], check=True,
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

    def test_every_member(self):
        """Of all structs and unions, those of one name and those without among them."""
        expected, found = collections.Counter(), collections.Counter()
        for kind, name, body in re.findall(r'^(struct|union) (\w* ?)\{\n(.*?)^\}',
                                           pahole('-a', '-A'), re.M | re.S):
            expected[kind, name.strip(), places(without_pointers(body))] += 1
        members = 0
        for held in common.source().everything():
            if held.kind in ('struct', 'union'):
                rows = places(held.rows())
                found[held.kind, held.name, rows] += 1
                members += len(rows)
        self.assertGreater(len(expected), 5000)
        # pahole leaves out what it has printed before, and most that has no name of its own.
        self.assertEqual([key for key in expected if expected[key] > found[key]][:5], [])
        self.assertEqual([key for key in found if key[1] and key not in expected][:5], [])
        common.tell(members, 'members of %d structs and unions' % sum(found.values()))

    def test_prototypes(self):
        """pfunct writes long unsigned int and a gap before the star; what is meant is the same."""
        source = common.source()
        names = random.Random(common.SEED).sample(
            [name for name in source.names('function') if '.' not in name], FUNCTIONS)
        text = subprocess.run(['pfunct', '-F', 'btf', '-P', '--no_parm_names', common.btf()],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        said = collections.defaultdict(set)
        for line in text.splitlines():
            said[re.search(r'(\w+)\(', line).group(1)].add(self.words(line))
        for name in names:
            ours = set(self.words(prototype) for prototype in source.prototypes(name))
            self.assertTrue(ours)
            self.assertEqual(ours & said[name], ours, name)
        common.tell(len(names), 'prototypes')

    def words(self, text):
        text = re.sub(r'(?:inline|static) |;', '', text)
        for long_form, short in (('long long unsigned int', 'unsigned long long'),
                                 ('long unsigned int', 'unsigned long'),
                                 ('long long int', 'long long'), ('long int', 'long'),
                                 ('short unsigned int', 'unsigned short'), ('short int', 'short')):
            text = text.replace(long_form, short)
        # pfunct writes the const of a const pointer in front.
        return re.sub(r'const|\s+', '', text), text.count('const')


if __name__ == '__main__':
    unittest.main()

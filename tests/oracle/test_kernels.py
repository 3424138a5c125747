"""What becomes of traces in real kernels, whose offsets another reader of BTF (pahole) tells."""
import re
import unittest

from tests.lib import cases, draw, pahole, tool
from tests.oracle import common

# Each 40th struct has some thousand members; with SURFTRACE_SHARE=1 it is each fourth.
STRUCTS = 4 if common.WHOLE else 40


def setUpModule():
    common.need('pahole')


def kernels():
    """Yield (kernel, architecture)."""
    for kernel in common.KERNELS:
        for architecture in common.ARCHITECTURES:
            yield kernel, architecture


class Cases(unittest.TestCase):
    """tests/cases/kernels.txt"""

    def test_each_kernel(self):
        wrong, count, used = [], 0, set()
        everything = cases.read('kernels.txt')
        for kernel, architecture in kernels():
            path = common.btf(kernel, architecture)
            layouts = pahole.Layouts(path)

            def run(arguments, stdin=b''):
                return tool.run(['-a', architecture, '-v', path] + arguments, stdin=stdin)
            for case in everything:
                if self.goes_for(case, kernel, architecture):
                    said = cases.settled(self.of_kernel(case, architecture, layouts), run)
                    wrong += ['%s:%d %s %s: %s: %s' % (case.file, case.line, kernel, architecture,
                                                       case.trace, text) for text in said]
                    count += 1
                    used.add(case.line)
        self.assertEqual(wrong, [], '\n' + '\n'.join(wrong))
        self.assertEqual([case for case in everything if case.line not in used], [])
        common.tell(count, 'traces of %d kernels, offsets by pahole' % len(list(kernels())))

    def goes_for(self, case, kernel, architecture):
        return all(value in case.settings.get(name, value).split()
                   for name, value in (('kernel', kernel), ('machine', architecture)))

    def of_kernel(self, case, architecture, layouts):
        """Return a Case with the registers and the offsets of one kernel."""
        registers = draw.REGISTERS[architecture]
        return case._replace(expected=[(sign, re.sub(
            r'%(\d)', lambda match: '%' + registers[int(match.group(1))],
            layouts.filled_in(text)), column) for sign, text, column in case.expected])


class Members(unittest.TestCase):

    def test_what_is_looked_up_can_be_read(self):
        """Each member's words in --info become a value."""
        count = 0
        for kernel, architecture in kernels():
            source = common.source(kernel, architecture)
            register = draw.REGISTERS[architecture][0]
            for name in source.names('struct')[::STRUCTS]:
                for line in source.information('struct ' + name)[1:-1]:
                    words = line.partition('*/')[2].strip()
                    if not words or words.endswith('. ...'):
                        continue
                    text = 'p f a=!(struct %s *)%%%s%s' % (name, register, words)
                    if words.endswith('ip6_...'):
                        text = text.split('  ')[0].replace(' a=', ' ip6_a=')
                    try:
                        tool.compiled(text, source, architecture)
                    except tool.Mistake as error:
                        self.assertIn('the kernel takes a value of', str(error), text)
                    count += 1
        self.assertGreater(count, 5000)
        common.tell(count, 'members that --info tells, and what they become')


class Names(unittest.TestCase):

    def test_functions_that_share_one(self):
        """A kernel has dozens; whatever is asked of them is answered or refused by name."""
        source = common.source()
        several = [name for name in source.names('function')
                   if len(set(source.prototypes(name))) > 1]
        self.assertGreater(len(several), 20)
        refused = 0
        for name in several:
            try:
                tool.compiled('p %s a=%%0' % name, source)
            except tool.Mistake as error:
                refused += 1
                self.assertTrue(re.search('several functions|has 0 arguments|is .* long',
                                          str(error)), error)
        common.tell(len(several), 'names of several functions, %d refused' % refused)


if __name__ == '__main__':
    unittest.main()

"""Only tests/lib/tool.py knows the tool's inner names: renaming one changes one file of tests."""
import os
import re
import unittest

from tests.lib import tool

SEAM = os.path.join('tests', 'lib', 'tool.py')
INNER = r'\b(import|from) surftrace\b|\bsurftrace\.(?!py\b|btf\b|data\b)[A-Za-z_]+'


def files():
    """Yield the path, below the root, and the text of each file of the tests."""
    for directory, _, names in os.walk(os.path.join(tool.ROOT, 'tests')):
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith('.py') or '.' not in name:
                with open(path, 'rb') as stream:
                    yield os.path.relpath(path, tool.ROOT), tool.text_of(stream.read())


class Seam(unittest.TestCase):

    def test_nobody_else_knows_inner_names(self):
        ours = os.path.join('tests', 'unit', os.path.basename(__file__).replace('.pyc', '.py'))
        found = ['%s: %s' % (path, match.group()) for path, text in files()
                 for match in re.finditer(INNER, text) if path not in (SEAM, ours)]
        self.assertEqual(found, [])
        self.assertTrue(re.search(INNER, dict(files())[SEAM]))

    def test_each_record_calls_itself_by_its_name(self):
        self.assertGreater(len(tool.RECORDS), 30)
        self.assertEqual([pair for pair in tool.RECORDS if pair[0] != pair[1]], [])


if __name__ == '__main__':
    unittest.main()

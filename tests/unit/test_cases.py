"""The cases of tests/cases on the sample types: what a person types, and what becomes of it."""
import os
import unittest

from tests.lib import cases, tool
from tests.lib.standin import StandIn

REAL_KERNELS = ('kernels.txt',)     # whose offsets pahole tells; see tests/oracle


class Cases(unittest.TestCase):

    def check(self, name):
        wrong, boxes = [], {}
        found = cases.read(name)
        self.assertTrue(found)
        try:
            for case in found:
                key = repr(sorted(case.settings.items()))
                if key not in boxes:
                    boxes[key] = box_of(case.settings)
                for problem in cases.settled(case, lambda *words: run(boxes[key], *words)):
                    wrong.append('%s:%d: %s\n    %s' % (name, case.line, case.trace, problem))
        finally:
            for box in boxes.values():
                box.remove()
        self.assertFalse(wrong, '%d of %d cases:\n%s' % (len(wrong), len(found), '\n'.join(wrong)))


def box_of(settings):
    """Return the StandIn that the settings of a group of cases describe."""
    box = StandIn(settings.get('kernel', '6.12'), settings.get('machine', 'x86_64'),
                  types=settings.get('types') != 'no')
    for name, text in settings.items():
        if name.startswith('file '):
            box.put(name[5:], text)
    return box


def run(box, arguments, events=b''):
    box.events = events
    return tool.run(arguments, on=box)


def add(name):
    setattr(Cases, 'test_' + name[:-4], lambda self: self.check(name))


for each in sorted(os.listdir(cases.DIRECTORY)):
    if each.endswith('.txt') and each not in REAL_KERNELS:
        add(each)


if __name__ == '__main__':
    unittest.main()

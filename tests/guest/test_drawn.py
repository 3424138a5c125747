"""Traces that were drawn from the kernel's own types: it takes all that the tool does.

SURFTRACE_DRAWN says how many, SURFTRACE_SEED where the draw begins.
"""
import os
import re

from tests.guest.live import (ARCH, SEED, TRACING, Live, forbidden, functions_of_each_name, probed,
                              read, traceable, write)
from tests.lib import tool
from tests.lib.draw import Draw


class Drawn(Live):

    COUNT, AT_ONCE = int(os.environ.get('SURFTRACE_DRAWN', 1000)), 100

    def test_all_are_taken(self):
        source = tool.chosen(mode='btf', here=True)
        self.addCleanup(source.close)
        counts = functions_of_each_name()
        names = set(name for name in traceable() - forbidden() if counts.get(name) == 1)
        names &= set(source.names('function'))
        draw = Draw(source, SEED, ARCH, names)
        readme, compiled, refused = read(TRACING + '/README'), [], {}
        while len(compiled) < self.COUNT:
            text = draw.trace()
            try:
                if text.split()[1] not in names:        # a slip, which compiled() cannot know
                    raise tool.Mistake('no such function', 0)
                compiled.append((text, tool.compiled(text, source, ARCH, readme)))
            except tool.Mistake as error:
                reason = re.sub(r"'.*?'|\d+", '_', str(error))[:60]
                refused[reason] = refused.get(reason, 0) + 1
        wrong = []
        for start in range(0, len(compiled), self.AT_ONCE):
            wrong += self.not_taken(compiled[start:start + self.AT_ONCE])
        print('drawn: %d traces compiled, %d refused before, %d not taken by the kernel, seed %d: '
              '%r' % (len(compiled), sum(refused.values()), len(wrong), SEED, wrong[:5]))
        self.assertEqual(wrong, [])
        self.assertLess(sum(refused.values()), 3 * self.COUNT, refused)

    def not_taken(self, traces):
        """Write the lines and filters of traces, and remove them; return what is refused."""
        wrong, done = [], []
        for number, (text, compiled) in enumerate(traces):
            event = 'drawn/d%d' % number
            line = compiled.line.replace('surftrace/f0', event)
            if not probed(line):
                wrong.append((text, line, self.log()))
                continue
            done.append(event)
            if compiled.filter:
                try:
                    write(TRACING + '/events/%s/filter' % event, compiled.filter)
                except EnvironmentError:
                    wrong.append((text, compiled.filter, self.log()))
        self.assertTrue(probed('\n'.join('-:' + event for event in done)))
        return wrong

    def log(self):
        return read(TRACING + '/error_log').splitlines()[-3:]

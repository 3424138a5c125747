"""What tests/cases says of real kernels: this one takes each line that it is to get."""
import re

from tests.guest.live import ARCH, KERNEL, TRACING, Live, kallsyms, probed, read, traceable
from tests.lib import cases, tool


class Cases(Live):

    def right(self):
        """Return the traces of the cases that are to be right on this kernel."""
        own, found = '%d.%d' % KERNEL, []
        for case in cases.read('kernels.txt'):
            kernels = case.settings.get('kernel', own).split()
            machine = case.settings.get('machine', ARCH)
            if own in kernels and machine == ARCH and '^' not in [sign for sign, _, _ in
                                                                  case.expected]:
                found.append(case.trace)
        return found

    def compile(self, texts):
        """Return those of functions that are here, and that the types here do not refuse.

        Without CONFIG_KALLSYMS_ALL there are no variables (@init_task).
        """
        if ' init_task\n' not in kallsyms():
            texts = [text for text in texts if not re.search(r'@\w', text)]
        source, readme, here = (tool.chosen(mode='btf', here=True), read(TRACING + '/README'),
                                traceable())
        self.addCleanup(source.close)
        compiled = []
        for text in texts:
            try:
                if tool.compiled(text, source, ARCH, readme).line and text.split()[1] in here:
                    compiled.append(text)
            except tool.Mistake:
                pass
        return compiled

    def test_all_are_taken(self):
        right = self.right()
        compiled = self.compile(right)
        status, out, said = tool.run(['-S'] + compiled)
        self.assertEqual(status, 0, said)
        lines = re.findall("(?m)^echo '(.*)' >> .*/kprobe_events$", out)
        self.assertEqual(len(lines), len(compiled))
        wrong = []
        for text, line in zip(compiled, lines):
            if probed(line):
                probed('-:' + line.split()[0].partition(':')[2])
            else:
                wrong.append((text, line))
        print('cases: %d of %d are for functions here and compile' % (len(lines), len(right)))
        self.assertEqual(wrong, [])
        self.assertGreater(2 * len(lines), len(right))

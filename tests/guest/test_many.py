"""A hundred probes at once, against a shell that writes the same lines."""
import re
import subprocess

from tests.guest.live import (TRACING, Live, Run, call, functions_of_each_name, probed, read,
                              traceable, write)


def busy():
    """Return how long this machine's processors have been busy, in ticks of a hundredth second."""
    fields = read('/proc/stat').split('\n')[0].split()[1:]
    return sum(int(fields[at]) for at in (0, 1, 2, 5, 6))      # not idle, not waiting, not stolen


class Many(Live):

    COUNT = 100

    def functions(self):
        """Return names of functions that are there once, and are seldom called."""
        counts, taken = functions_of_each_name(), []
        for name in sorted(traceable(r'(crypto|pci|acpi|blk|scsi)_\w+')):
            if (len(taken) < self.COUNT and counts.get(name) == 1
                    and probed('p:many/%s %s' % (name, name))):
                taken.append(name)
        self.assertTrue(probed('\n'.join('-:many/' + name for name in taken)))
        return taken

    def cost(self, text):
        """Return the time that a shell keeps the machine busy with lines the tool has shown."""
        path = self.path('lines')
        write(path, text)
        began = busy()
        subprocess.check_call(['sh', '-e', path])
        return busy() - began

    def test_on_and_off(self):
        names = self.functions()
        self.assertEqual(len(names), self.COUNT)
        ratios, traces = [], ['p ' + name for name in names]
        for _ in range(3):
            began = busy()
            self.assertEqual(call('-S', *traces)[0], 0)
            shown = busy() - began      # Python's start, and compiling
            began = busy()
            run = Run(traces).ready()
            on = busy() - began - shown
            listed = read(TRACING + '/kprobe_events')
            self.assertEqual(listed.count('p:%s/' % run.name), self.COUNT)
            enabled = read(TRACING + '/instances/%s/set_event' % run.name)
            self.assertEqual(enabled.count(run.name + ':'), self.COUNT)
            began = busy()
            status, _, said = run.end()
            off = busy() - began
            self.assertEqual(status, 0, said)
            lines = re.sub('(?m)^surftrace: .*\n', '', said)
            middle = lines.rindex('echo 0 > %s/instances/%s/tracing_on' % (TRACING, run.name))
            costs = self.cost(lines[:middle]), self.cost(lines[middle:])
            ratios.append((float(on) / costs[0], float(off) / costs[1]))
        on, off = (min(each) for each in zip(*ratios))
        print('measured: %d probes on in %s, off in %s times what a shell takes' % (
            (self.COUNT,) + tuple(' '.join('%.2f' % ratio for ratio in each)
                                  for each in zip(*ratios))))
        self.assertLess(on, 1.5)
        self.assertLess(off, 2)

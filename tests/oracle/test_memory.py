"""Ten million lines, of which each has values to turn around that came never before."""
import re
import subprocess
import sys
import unittest

from tests.lib import tool
from tests.oracle import common

LINES = common.part_of(10000000, 1000000)
TRACE = 'p ip_rcv ip_src=%di:u32 B16_port=%si:x16 n=%dx'
LINE = ('            bash-1234    [000] d..1.  2300.000000: f0: (ip_rcv+0x0/0x1d0) ip_src=%d '
        'B16_port=0x%x n=0x54\n')


class Memory(unittest.TestCase):

    def test_it_stays_flat(self):
        process = subprocess.Popen([sys.executable, '-c', tool.STREAM, TRACE],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        tail = subprocess.Popen(['tail', '-n', '1'], stdin=process.stdout, stdout=subprocess.PIPE)
        process.stdout.close()
        peaks = []
        for tenth in range(10):
            for first in range(tenth * LINES // 10, (tenth + 1) * LINES // 10, 10000):
                process.stdin.write(''.join(LINE % (number, number & 0xffff) for number in
                                            range(first, first + 10000)).encode())
            with open('/proc/%d/status' % process.pid) as stream:
                peaks.append(int(re.search(r'VmHWM:\s+(\d+) kB', stream.read()).group(1)))
        process.stdin.close()
        last = tail.communicate()[0].decode()
        self.assertEqual(common.ended(process), 0)
        number = LINES - 1
        self.assertIn(' ip_src=%d.%d.%d.0 B16_port=0x%02x%02x n=' % (
            number & 255, number >> 8 & 255, number >> 16 & 255, number & 255, number >> 8 & 255),
            last)
        # As many numbers are kept as a port can be: they have all come in 200,000 lines.
        before = peaks[0 if LINES >= 2000000 else 1]
        common.told('%d lines, at most %d kB in the beginning, %d kB in the end' % (
            LINES, before, peaks[-1]))
        self.assertLess(peaks[-1] - before, 1024)


if __name__ == '__main__':
    unittest.main()

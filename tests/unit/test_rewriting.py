"""Lines of events: values that are shown as what they mean, whatever else is in the line.

What each kind of value becomes is in tests/cases/names.txt.
"""
import resource
import unittest

from tests.lib import tool
from tests.unit.test_run import OnABox

HEAD = b'            bash-1234    [000] d..1.  2300.901455: '
TRACE = ('p ip_rcv comm=$comm ip_src=@(struct iphdr *)%0->saddr '
         'b16_port=X@(struct udphdr *)%0->dest n=%0->len')

# What the kernel prints, and what the person sees; None: the same.
LINES = [
    (b'f0: (ip_rcv+0x0/0x1d0) comm="sh" ip_src=16777343 b16_port=0x5000 n=0x54',
     b'f0: (ip_rcv+0x0/0x1d0) comm="sh" ip_src=127.0.0.1 b16_port=80 n=0x54'),
    (b'f0: (ip_rcv+0x0/0x1d0 [mod]) comm=(fault) ip_src=0 b16_port=0x0 n=0x0',
     b'f0: (ip_rcv+0x0/0x1d0 [mod]) comm=(fault) ip_src=0.0.0.0 b16_port=0 n=0x0'),
    # strings with whatever a process puts there
    (b'f0: (ip_rcv+0x0/0x1d0) comm="a b=c d" ip_src=16777343 b16_port=0x5000 n=0x1',
     b'f0: (ip_rcv+0x0/0x1d0) comm="a b=c d" ip_src=127.0.0.1 b16_port=80 n=0x1'),
    (b'f0: (ip_rcv+0x0/0x1d0) comm="" ip_src=7 b16_" ip_src=16777343 b16_port=0x5000 n=0x1',
     b'f0: (ip_rcv+0x0/0x1d0) comm="" ip_src=7 b16_" ip_src=127.0.0.1 b16_port=80 n=0x1'),
    # another event, even with the same names in it
    (b'f1: (ip_rcv+0x0/0x1d0) comm="sh" ip_src=16777343 b16_port=0x5000 n=0x54', None),
    (b'f00: (ip_rcv+0x0/0x1d0) comm="sh" ip_src=16777343 b16_port=0x5000 n=0x54', None),
    (b'sched_exec: ip_src=16777343 b16_port=0x5000', None),
    (b'f0: (ip_rcv+0x0/0x1d0) comm="sh" ip_src=garbage b16_port=0x5000 n=0x54', None),
]


def processor_time(call, *arguments):
    """Return the seconds of processor time that a call takes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    call(*arguments)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before


class Rewriting(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.types = tool.sample()

    def rewrite(self, data, *texts):
        return tool.rewriter(texts or [TRACE], self.types)(data)

    def test_lines(self):
        for line, expected in LINES:
            line = HEAD + line + b'\n'
            self.assertEqual(self.rewrite(line),
                             line if expected is None else HEAD + expected + b'\n')

    def test_blocks(self):
        block = b''.join(HEAD + line + b'\n' for line, _ in LINES)
        expected = b''.join(HEAD + (line if new is None else new) + b'\n' for line, new in LINES)
        self.assertEqual(self.rewrite(block), expected)

    def test_a_process_that_calls_itself_an_event(self):
        line = (b'x-1 1: f0: (y) i-1234    [000] d..1.  2300.901455: f1: (a+0x0/0x1) '
                b'comm="sh" ip_src=16777343 b16_port=0x5000 n=0x54\n')
        self.assertEqual(self.rewrite(line), line)

    def test_values_of_every_kind_beside_each_other(self):
        trace = ('p wake_up_new_task state=%0->state f=%0->run on=%0->on mac_a=%0->bytes '
                 'ip6_b=%0->address t=%0->temper')
        for line, expected in [
                (b'state=0x1 f=x+0x0/0x9 [m] on=0x1 mac_a=94781640299602 ip6_b={0xfe,0x80,0x0,0x0,'
                 b'0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x1} t=-1',
                 b'state=SLEEPING f=x+0x0/0x9 [m] on=true mac_a=52:54:00:12:34:56 ip6_b=fe80::1 '
                 b't=COLD'),
                (b'state=0x7 f=0x0 on=0x2 mac_a=0 ip6_b={0x0} t=5', None)]:
            line = HEAD + b'f0: (wake_up_new_task+0x0/0x1) ' + line + b'\n'
            self.assertEqual(self.rewrite(line, trace), line if expected is None else (
                HEAD + b'f0: (wake_up_new_task+0x0/0x1) ' + expected + b'\n'))

    def test_many_events_of_one_layout(self):
        """They are looked for at once."""
        trace, line = 'p ip_rcv ip_a=U%0->len', b'f%d: (ip_rcv+0x0/0x1) ip_a=16777343\n'
        events = b''.join(HEAD + line.replace(b'%d', b'%d' % number if bytes is str else
                                              str(number).encode()) for number in range(100))
        rewrite, single = [tool.rewriter([trace] * count, self.types) for count in (100, 1)]
        self.assertEqual(rewrite(events), events.replace(b'16777343', b'127.0.0.1'))
        data = (HEAD + line.replace(b'%d', b'0')) * 20000
        self.assertLess(processor_time(rewrite, events * 200),
                        20 * processor_time(single, data) + 0.1)

    def test_several_layouts(self):
        data = (HEAD + b'f0: (ip_rcv+0x0/0x1) ip_a=16777343\n'
                + HEAD + b'f1: (caller+0x36/0x40 <- ip_rcv) r=-2 B32_r=0x1020304\n'
                + HEAD + b'f2: (ip_rcv+0x0/0x1) ip_a=16777343\n')
        self.assertEqual(
            self.rewrite(data, 'p ip_rcv ip_a=U%0->len', 'r ip_rcv r=S$retval B32_r=X$retval',
                         'p ip_rcv n=%0->len'),
            data.replace(b'f0: (ip_rcv+0x0/0x1) ip_a=16777343', b'f0: (ip_rcv+0x0/0x1) '
                         b'ip_a=127.0.0.1').replace(b'-2', b'-ENOENT').replace(
                             b'0x1020304', b'0x4030201'))

    def test_many_strings_that_hold_anything(self):
        """Whoever chooses a string must not choose how long the run is busy with it."""
        trace = 'p ip_rcv a=%si:string b=%si:string c=%si:string ip_n=U%0->len'
        plain = HEAD + b'f0: (x+0x0/0x1) a="1" b="2 3" c="4" 5" ip_n='
        self.assertEqual(self.rewrite(plain + b'16777343\n', trace), plain + b'127.0.0.1\n')
        forged = HEAD + b'f0: (x+0x0/0x1) a="1" b="2" c="" ip_n=010 c="4" ip_n=%s\n'
        self.assertEqual(self.rewrite(forged.replace(b'%s', b'16777343'), trace),
                         forged.replace(b'%s', b'127.0.0.1'))
        self.assertEqual(self.rewrite(forged.replace(b'%s', b'010'), trace),
                         forged.replace(b'%s', b'010'))
        evil = HEAD + b'f0: (x+0x0/0x1) a="' + b'" b="" c="' * 400 + b'\n'
        self.assertEqual(self.rewrite(evil, trace), evil)
        self.assertLess(processor_time(self.rewrite, evil * 20, trace), 2)

    def test_commands_that_hold_anything(self):
        line = HEAD + b'f0: (x+0x0/0x1) comm="%s" ip_n=16777343 text="t"\n'
        for name in (b's"h', b'two\nlines', b'" ip_n=1 text="', b''):
            self.assertEqual(
                self.rewrite(2 * line.replace(b'%s', name),
                             'p ip_rcv comm=$comm ip_n=U%0->len text=%si:string'),
                2 * line.replace(b'%s', name).replace(b'16777343', b'127.0.0.1'))

    def test_more_values_than_are_kept(self):
        """What was met once may be forgotten, and is turned around again."""
        line = HEAD + b'f0: (ip_rcv+0x0/0x1) ip_n=%s\n'
        for number in list(range(0, 70000, 70)) + [0]:
            shown = '%d.%d.%d.0' % (number & 255, number >> 8 & 255, number >> 16 & 255)
            self.assertEqual(
                self.rewrite(line.replace(b'%s', str(number).encode()), 'p ip_rcv ip_n=U%0->len'),
                line.replace(b'%s', shown.encode()))

    def test_nothing_to_rewrite(self):
        data = HEAD + b'f0: (ip_rcv+0x0/0x1) a=16777343\n'
        self.assertEqual(self.rewrite(data, 'p ip_rcv a=%0'), data)


class Calls(OnABox):
    """The result of a system call, where its event shows one."""

    def test_errors_by_name(self):
        head = b'            bash-1234    [000] d..1.  2300.901455: '
        for path in ('enable', 'format'):
            self.box.put('/sys/kernel/tracing/events/syscalls/sys_exit_connect/' + path,
                         '\tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n')
        for text, shown in [
                (b'sys_connect -> 0xfffffffffffffffe', b'sys_connect -> -ENOENT'),
                (b'sys_connect -> 0xffffffffffffffff', b'sys_connect -> -EPERM'),
                (b'sys_connect -> 0x3', None), (b'sys_connect -> 0xfffffffffffff000', None),
                (b'sys_connect -> 0xffffffff', None), (b'sys_open -> 0xfffffffffffffffe', None)]:
            self.box.events = head + text + b'\n'
            result = self.run_on('e syscalls/sys_exit_connect f:ret==-ENOENT')
            self.assertEqual(result.out, tool.text_of(head + (shown or text) + b'\n'))


if __name__ == '__main__':
    unittest.main()

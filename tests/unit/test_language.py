"""The language where a case as text cannot show it: what is long, deep, or no text."""
import unittest

from tests.lib import btf, tool
from tests.lib.standin import StandIn, TRACEFS


class Language(unittest.TestCase):

    def setUp(self):
        self.box = StandIn()
        self.addCleanup(self.box.remove)

    def shown(self, *arguments):
        result = tool.run(('-S',) + arguments, on=self.box)
        self.assertEqual(result.status, 0, result.err)
        return result.out

    def refused(self, message, column, *arguments):
        """Check the message and the column that the last argument is refused with."""
        result = tool.run(('-S',) + arguments, on=self.box)
        lines = result.err.splitlines()
        self.assertEqual((result.status, result.out), (2, ''))
        self.assertIn(message, result.err)
        self.assertEqual(lines[-1].find('^') - 2, column)
        return result.err

    def test_control_characters(self):
        self.assertIn('  p foo?[2J\n', self.refused('control character', 5, 'p foo\x1b[2J'))

    def test_an_empty_trace(self):
        self.refused("starts with 'p '", 0, '')

    def test_white_space_is_blanks(self):
        self.assertEqual(self.shown('p ip_rcv\n\ta=%0->len\tf:a==1\n'),
                         self.shown('p ip_rcv a=%0->len f:a==1'))
        self.assertEqual(self.shown('  p ip_rcv   a=%0->len  b=$comm  '),
                         self.shown('p ip_rcv a=%0->len b=$comm'))

    def test_deep_nesting_is_no_recursion(self):
        self.refused("field's name", 100011, 'p ip_rcv f:' + '(' * 100000)

    def test_as_many_values_as_the_kernel_takes(self):
        text = 'p ip_rcv' + ''.join(' a%d=%%di' % number for number in range(128))
        self.assertIn(' a127=%di', self.shown(text))
        self.refused('at most 128', len(text) + 1, text + ' b=%di')

    def test_as_long_a_line_as_the_kernel_takes(self):
        values = ['%s%03d=+0x100000(+0x100000(%%di)):x64' % ('n' * 20, number)
                  for number in range(77)]
        self.shown('p ip_rcv ' + ' '.join(values[:75]))
        self.refused('4095', 2, 'p ip_rcv ' + ' '.join(values))

    def test_as_long_a_value_as_the_kernel_takes(self):
        value = '+0x123456789(+0x123456789(+0x123456789(+0x1234567(%di)))):x64'
        for length, status in ((62, 0), (63, 0), (64, 2)):
            text = value.replace('0x1', '0x' + '0' * (length - len(value)) + '1', 1)
            self.assertEqual(len(text), length)
            result = tool.run(['-S', 'p ip_rcv a=' + text], on=self.box)
            self.assertEqual((result.status, '63 characters' in result.err), (status, status == 2))

    def test_bytes_that_are_no_text(self):
        text = tool.text_of(b'p ip_rcv comm=$comm f:comm==\xff\xc3\xa9')
        self.assertIn(b'comm=="\xff\xc3\xa9"', tool.bytes_of(self.shown(text)))

    def test_events_have_the_number_of_their_trace(self):
        out = self.shown('p ip_rcv', 'e sched/sched_switch', 'r ip_rcv')
        self.assertIn("'p:surftrace/f0 ip_rcv'", out)
        self.assertIn("'r:surftrace/f2 ip_rcv'", out)

    def test_filters_that_are_too_long(self):
        """The kernel takes less than a page, with its newline, and strings of 255 characters."""
        fits = '||'.join(['a==1'] * 682)
        self.assertEqual(len(fits), 4090)
        self.shown('p ip_rcv a=%0->len f:' + fits)
        text = 'p ip_rcv a=%0->len f:' + fits + '||a==1'
        self.refused('a filter of 4094 characters', text.rindex('1'), text)
        self.assertIn('x' * 255, self.shown('p ip_rcv c=$comm f:c==' + 'x' * 255))
        self.refused('strings of up to 255 characters', 22, 'p ip_rcv c=$comm f:c==' + 'x' * 256)

    def test_the_same_event_twice(self):
        self.refused('twice', 2, 'e sched/sched_switch f:prev_pid==1', 'e sched:sched_switch')

    def test_an_error_points_at_the_trace_it_is_in(self):
        said = self.refused("did you mean 'comm'", 25, 'p wake_up_new_task a=%0->comm',
                            'p wake_up_new_task a=%0->com', )
        self.assertEqual(said.splitlines()[-2], '  p wake_up_new_task a=%0->com')


class SeveralStructs(unittest.TestCase):
    """Types in which names stand for more than one thing."""

    def shown(self, writer, text):
        box = StandIn()
        self.addCleanup(box.remove)
        box.put('/sys/kernel/btf/vmlinux', writer.data())
        box.put(TRACEFS + '/available_filter_functions', 'either\nip_rcv\n')
        result = tool.run(['-S', text], on=box)
        self.assertEqual(result.status, 0, result.err)
        return result

    def test_a_cast_settles_which_prototype_is_meant(self):
        w = btf.sample()
        task = w.pointer(w.struct('thing', 8, [('n', w.integer('int', 4, btf.SIGNED), 0)]))
        for kind in (task, w.integer('unsigned int', 4)):
            w.function('either', 0, [('a', kind)])
        self.assertIn('x=+0x0(%di):x32', self.shown(
            w, 'p either x=!(struct thing *)%0->n').out)

    def test_which_of_several_structs_is_taken(self):
        w = btf.sample()
        w.struct('slot', 48, [('mm', w.pointer(0), 0)])
        w.struct('slot', 64, [('mm', w.pointer(0), 256)])
        for value, said in (('!(struct slot *)%0->mm', True), ('!(struct mm_struct *)%0', False)):
            self.assertEqual(
                "'a': 2 types here are called struct slot; the one of 48 bytes is taken"
                in self.shown(w, 'p ip_rcv a=' + value).err, said)


class Variants(unittest.TestCase):
    """Functions that the compiler made another of: BTF does not tell where its arguments are."""

    def setUp(self):
        self.box = StandIn()
        self.addCleanup(self.box.remove)
        self.box.put(TRACEFS + '/available_filter_functions', 'ip_rcv.constprop.0\nip_rcvv\n')

    def refused(self, text, *messages):
        result = tool.run(['-S', text], on=self.box)
        self.assertEqual(result.status, 2, result.out)
        self.assertNotIn('None', result.err)
        for message in messages:
            self.assertIn(message, result.err)

    def shown(self, text):
        return tool.run(['-S', text], on=self.box).out

    def test_it_has_not_its_functions_prototype(self):
        self.assertIn('a=+0x70(%di):x32', self.shown(
            'p ip_rcv.constprop.0 a=!(struct sk_buff *)%0->len'))
        for value in ('%0->len', '$skb', '@(struct iphdr *)l3%0->saddr'):
            self.refused('p ip_rcv.constprop.0 a=' + value, 'ip_rcv.constprop.0', 'name a register')

    def test_it_returns_what_its_function_does(self):
        self.assertIn('a=$retval:s32', self.shown('r ip_rcv.constprop.0 a=S$retval'))
        self.refused('r ip_rcv.constprop.0 a=$skb->len', 'no prototype of')

    def test_a_function_that_is_not_in_the_types(self):
        for text in ('p ip_rcvv a=$skb', 'p ip_rcvv a=%0->len'):
            self.refused(text, 'no prototype')
        self.assertIn('a=%di:x64', self.shown('p ip_rcvv a=%0'))


if __name__ == '__main__':
    unittest.main()

"""Text and syntax tree: what a trace means, and where it is wrong."""
import unittest

import surftrace


def leaves(value):
    """Return a Value's tree as plain text, None for what is not there."""
    return (value.name.text,
            value.letter and value.letter.text,
            value.packet and (value.packet.header.text,
                              value.packet.layer and value.packet.layer.text),
            value.cast and value.cast.text,
            value.base and (value.base.kind, value.base.text),
            ''.join(access.operator.text + access.name.text + ''.join(
                '[%s]' % index.text for index in access.indexes) + (
                    '!(%s)' % access.cast.text if access.cast else '')
                for access in value.accesses),
            value.fetch_type and value.fetch_type.text,
            value.raw and value.raw.text)


VALUES = [
    ('a=%0', ('a', None, None, None, ('argument', '0'), '', None, None)),
    ('a=%r12', ('a', None, None, None, ('register', 'r12'), '', None, None)),
    ('a=S$retval', ('a', 'S', None, None, ('variable', '$retval'), '', None, None)),
    ('a=$comm', ('a', None, None, None, ('variable', '$comm'), '', None, None)),
    ('a=$skb!(void *)', ('a', None, None, 'void *', ('argument', 'skb'), '', None, None)),
    ('a=$skb', ('a', None, None, None, ('argument', 'skb'), '', None, None)),
    ('a=S$arg->x', ('a', 'S', None, None, ('argument', 'arg'), '->x', None, None)),
    ('a=%0->sk!(struct tcp_sock *)->snd_nxt', ('a', None, None, None, ('argument', '0'),
                                               '->sk!(struct tcp_sock *)->snd_nxt', None, None)),
    ('a=%0->cb[2]!(int)', ('a', None, None, None, ('argument', '0'), '->cb[2]!(int)', None, None)),
    ('a=$stack12', ('a', None, None, None, ('variable', '$stack12'), '', None, None)),
    ('a=U@jiffies', ('a', 'U', None, None, ('symbol', 'jiffies'), '', None, None)),
    ('a=@init_task.comm', ('a', None, None, None, ('symbol', 'init_task'), '.comm', None, None)),
    ('a=S%0->mm->mm_users', ('a', 'S', None, None, ('argument', '0'), '->mm->mm_users', None,
                             None)),
    ('a=%0->pids[1].node.next', ('a', None, None, None, ('argument', '0'),
                                 '->pids[1].node.next', None, None)),
    ('a=%0->grid[0x1][2]', ('a', None, None, None, ('argument', '0'), '->grid[0x1][2]', None,
                            None)),
    ('a=%1:ustring', ('a', None, None, None, ('argument', '1'), '', 'ustring', None)),
    ('a=%0->bytes:x8[6]', ('a', None, None, None, ('argument', '0'), '->bytes', 'x8[6]', None)),
    ('a=%0->x:b3@2/8', ('a', None, None, None, ('argument', '0'), '->x', 'b3@2/8', None)),
    ('a=!(struct sk_buff **)%di->len', ('a', None, None, 'struct sk_buff **', ('register', 'di'),
                                        '->len', None, None)),
    ('a=X@(struct iphdr *)l3%0->sdata[1]', ('a', 'X', ('iphdr', 'l3'), None, ('argument', '0'),
                                            '->sdata[1]', None, None)),
    ('a=@(struct iphdr*)%0->saddr', ('a', None, ('iphdr', None), None, ('argument', '0'),
                                     '->saddr', None, None)),
    ('a=@(struct iphdr *)l4!(struct sk_buff **)%0->x',
     ('a', None, ('iphdr', 'l4'), 'struct sk_buff **', ('argument', '0'), '->x', None, None)),
    # the kernel's own words
    ('a=+0x9(+0xf0(%di)):x8', ('a', None, None, None, None, '', None, '+0x9(+0xf0(%di)):x8')),
    ('a=-8(%sp)', ('a', None, None, None, None, '', None, '-8(%sp)')),
    ('a=@0xffffffff81000000', ('a', None, None, None, None, '', None, '@0xffffffff81000000')),
    ('a=@jiffies+4:u32', ('a', None, None, None, None, '', None, '@jiffies+4:u32')),
    ('a=$arg1:u32', ('a', None, None, None, None, '', None, '$arg1:u32')),
    ('a=\\1234', ('a', None, None, None, None, '', None, '\\1234')),
]

# A trace, with the column of what is wrong marked by the ^ below it.
MISTAKES = [
    ('q x\n^', "starts with 'p '"),
    ('\n^', "starts with 'p '"),
    ('pfoo\n^', "starts with 'p '"),
    ('p\n ^', 'name of a kernel function'),
    ('p a=%0\n  ^', 'name of a kernel function'),
    ('p foo+x\n      ^', 'offset'),
    ('p foo a\n      ^', 'NAME=VALUE'),
    ('p foo a=\n        ^', "missing after 'a='"),
    ('p foo a= b=%0\n        ^', "missing after 'a='"),
    ('p foo a=5\n        ^', 'a value starts from'),
    ('p foo a=$\n        ^', "no '$'"),
    ('p foo a=$1\n        ^', "no '$1'"),
    ('p foo a=!(int)%0!(int)\n                ^', "'!' cannot follow"),
    ('p foo a=%0->b!x\n              ^', "'(' is missing"),
    ('p tcp_*+4\n        ^', 'takes no offset'),
    ('p 1:foo\n  ^', 'no function'),
    ('p mod:\n      ^', 'name of a kernel function'),
    ('p foo a=%\n        ^', "no '%'"),
    ('p foo a=@+\n        ^', "symbol is missing after '@'"),
    ('p foo a=->b\n        ^', 'in single quotes'),
    ('p foo a=%0 f:a==b|a==c\n                 ^', '&& or ||'),
    ('p foo a=%0 f:a==b&c==1\n                 ^', '&& or ||'),
    ('p foo a=%0->\n            ^', 'name after'),
    ('p foo a=%0->b[\n              ^', 'an index'),
    ('p foo a=%0->b[-1]\n              ^', 'an index'),
    ('p foo a=%0->b[1\n               ^', "']' is missing"),
    ('p foo a=%0->b,c=%1\n             ^', "',' cannot follow"),
    ('p foo a=!struct b *)%0\n         ^', "'(' is missing"),
    ('p foo a=!(struct b *%0\n                    ^', "')' is missing"),
    ('p foo a=@(iphdr *)%0\n          ^', "'struct' is missing"),
    ('p foo a=@(struct iphdr)%0\n                      ^', "'*' is missing"),
    ('p foo a=%0:u7\n           ^', "no type 'u7'"),
    ('p foo a=%0:\n           ^', "no type ''"),
    ('p foo a=%0 f:\n             ^', "field's name"),
    ('p foo a=%0 f:a\n              ^', 'comparison is missing'),
    ('p foo a=%0 f:a=1\n              ^', 'equality is =='),
    ('p foo a=%0 f:a==\n                ^', 'something to compare'),
    ('p foo a=%0 f:(a==1\n                  ^', "')' is missing"),
    ('p foo a=%0 f:a==1)\n                 ^', 'closes nothing'),
    ('p foo a=%0 f:a==1 b==2\n                  ^', '&& or || is missing'),
    ('p foo a=%0 f:a==1 &&\n                    ^', "field's name"),
    ('p foo\x1b[2J\n     ^', 'control character'),
    ('e sched\n       ^', 'SYSTEM/EVENT'),
    ('e sched/\n        ^', 'SYSTEM/EVENT'),
    ('e ../../x\n  ^', 'SYSTEM/EVENT'),
    ('e sched/x a=%0\n          ^', 'takes only a filter'),
]


class Syntax(unittest.TestCase):

    def test_values(self):
        for text, expected in VALUES:
            tree = surftrace.parse_trace('p foo ' + text)
            self.assertEqual([leaves(value) for value in tree.values], [expected], text)

    def test_symbols(self):
        for text, module, symbol in [
                ('p foo', None, 'foo'), ('p nf_conntrack:nf_conntrack_in', 'nf_conntrack',
                                         'nf_conntrack_in'),
                ('r tcp_v[46]_* a=$retval', None, 'tcp_v[46]_*'), ('p mod:* a=%0', 'mod', '*'),
                ('p foo.constprop.0+8', None, 'foo.constprop.0')]:
            tree = surftrace.parse_trace(text)
            self.assertEqual((tree.module and tree.module.text, tree.symbol.text),
                             (module, symbol), text)
            self.assertTrue(text[tree.symbol.column:].startswith(symbol))

    def test_mistakes(self):
        for marked, message in MISTAKES:
            text, mark = marked.split('\n')
            with self.assertRaises(surftrace.TraceError) as caught:
                surftrace.parse_trace(text)
            self.assertIn(message, str(caught.exception), text)
            self.assertEqual(caught.exception.column, mark.index('^'), text)

    def test_probe(self):
        tree = surftrace.parse_trace('  p foo.constprop.0+0x15  a=%0 b=$comm f: a==1 ')
        self.assertEqual((tree.kind, tree.symbol.text, tree.offset.text),
                         ('p', 'foo.constprop.0', '0x15'))
        self.assertEqual([value.name.text for value in tree.values], ['a', 'b'])
        self.assertEqual(tree.filter.text, 'a==1 ')

    def test_value_called_f(self):
        tree = surftrace.parse_trace('p foo f=%0 f:f==1')
        self.assertEqual(tree.values[0].name.text, 'f')
        self.assertEqual(tree.filter.text, 'f==1')

    def test_events(self):
        for text in ('e sched/sched_switch', 'e sched:sched_switch'):
            tree = surftrace.parse_trace(text)
            self.assertEqual((tree.system.text, tree.event.text, tree.filter),
                             ('sched', 'sched_switch', None))

    def test_filter(self):
        text = 'a==1&&( b != "x && y" || !(c ~ k*:1)) && d & 0x4'
        tree = surftrace.parse_trace('p foo f:' + text)
        self.assertEqual(tree.filter.text, text)
        self.assertEqual([(predicate.name.text, predicate.operator.text, predicate.operand.text)
                          for predicate in tree.filter.predicates],
                         [('a', '==', '1'), ('b', '!=', '"x && y"'), ('c', '~', 'k*:1'),
                          ('d', '&', '0x4')])

    def test_every_token_keeps_its_column(self):
        text = 'p foo a=S%0->mm.x[2] f:a == "b c"'
        self.assertEqual(''.join(token.text for token in surftrace.tokenize(text)), text)
        for token in surftrace.tokenize(text):
            self.assertTrue(text.startswith(token.text, token.column))

    def test_white_space_is_made_blank(self):
        self.assertEqual(surftrace.one_line('p foo\n\ta=%0\n'), 'p foo  a=%0')

    def test_deep_nesting_is_no_recursion(self):
        with self.assertRaises(surftrace.TraceError):
            surftrace.parse_trace('p foo f:' + '(' * 100000)


if __name__ == '__main__':
    unittest.main()

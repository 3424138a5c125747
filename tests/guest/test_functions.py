"""Which functions a trace takes: patterns, modules, several of one name."""

from tests.guest.live import (KERNEL, MODULES_HAVE_TYPES, TRACING, Live, Run, call, dummy_device,
                              forbidden, functions_of_each_name, read, traceable)


class Functions(Live):

    def test_a_pattern(self):
        listed = traceable('vfs_rea[a-z]*')
        self.assertGreater(len(listed), 2)
        names = listed - forbidden()
        run = Run(['p vfs_rea* count=$comm', 'p kernel_clone']).ready()
        probed = [line.split() for line in read(TRACING + '/kprobe_events').splitlines()]
        read('/proc/self/comm')
        status, lines, said = run.end()
        self.assertEqual(status, 0, said)
        self.assertEqual(sorted(words[1] for words in probed), sorted(names | {'kernel_clone'}))
        self.assertEqual(sorted(words[0] for words in probed), sorted(
            'p:%s/f%d' % (run.name, number) for number in range(len(names) + 1)))
        self.assertIn("surftrace: 'vfs_rea*' takes %d functions" % len(names), said)
        self.assertEqual('left out: %d' % len(listed - names) in said, listed != names)
        self.assertTrue([line for line in lines if '(vfs_read+0x' in line])

    def test_too_many(self):
        self.assertGreater(len(traceable('tcp_v[a-z0-9_]*')), 2)
        status, lines, said = call('--max-probes', '2', 'p tcp_v*')
        self.assertEqual((status, lines), (2, []), said)
        self.assertRegex(said, r'\d+ functions match: choose fewer, or allow them with '
                               r'--max-probes \d+\n')
        self.assertNotIn('kprobe_events', said)

    def test_of_a_module(self):
        value = 'U$skb->len' if MODULES_HAVE_TYPES else 'U!(struct sk_buff *)%0->len'
        with dummy_device() as packet:
            for symbol in ('dummy:dummy_xmit', 'dummy:dummy_x*'):
                lines = self.trace('p %s len=%s f:len==60' % (symbol, value),
                                   workload=lambda: packet.send(b'\xff' * 60))
                self.assertEqual(self.values(lines), ['len=60'])
            self.refused("the module 'dummy' has no function 'vfs_read'", 'p dummy:vfs_read')

    def test_several_of_one_name(self):
        counts = functions_of_each_name()
        name = sorted(name for name in traceable(r'\w+') if counts.get(name, 0) > 1)[0]
        status, _, said = call('-t', '1', 'p ' + name)
        self.assertIn("%d functions are named '%s': " % (counts[name], name), said)
        self.assertEqual((status, 'the symbol is not unique; kprobe_events was given' in said),
                         (1, True) if KERNEL >= (6, 1) else (0, False))     # 6.6, and stable
        self.refused('left out: 1 that cannot be probed', 'p %s[%s]' % (name[:-1], name[-1]))

"""What the kernel refuses is told in its own words, under the person's own expression."""
from tests.guest.live import ARCH, FIRST, Live, call


class Refusals(Live):

    def refused_under(self, under, text, message, status=1):
        """Check that a trace, beside one that is right, is refused, with a ^ at that place."""
        found, lines, said = call('e sched/sched_process_fork', text)
        self.assertEqual((found, lines), (status, []), said)
        self.assertIn(message, said)
        rows = said.splitlines()
        [at] = [at for at, row in enumerate(rows) if row == '  ' + text]
        self.assertTrue(rows[at][rows[at + 1].index('^'):].startswith(under), said)

    def test_not_an_instruction(self):
        self.refused_under('do_sys_openat2', 'p do_sys_openat2+1',
                           'instruction' if ARCH == 'x86_64' else 'refused')

    def test_a_register_that_is_none(self):
        """In a value in ftrace's own words, which goes through as it is."""
        self.refused_under('+8(%nosuch):u8', 'p kernel_clone a=%%%s b=+8(%%nosuch):u8' % FIRST,
                           'refused')

    def test_unknown_function(self):
        self.refused_under('kernel_clonee', 'p kernel_clonee a=%%%s' % FIRST,
                           "did you mean 'kernel_clone'", 2)

    def test_unknown_event(self):
        self.refused_under('sched_process_frok', 'e sched/sched_process_frok',
                           "did you mean 'sched_process_fork'", 2)

    def test_an_event_twice(self):
        self.refused_under('sched', 'e sched/sched_process_fork f:parent_comm==x', 'twice', 2)

    def test_a_filter(self):
        self.refused_under('ptr', 'e kmem/kmalloc f:bytes_alloc>1&&ptr.function==nothing',
                           'refused')

"""Output: lines that are turned around, counted, and given to slow, dead and full readers."""
import os
import pty
import select
import signal
import socket
import threading
import time
import unittest

import surftrace
from test_expression import compiled

HEAD = b'            bash-1234    [000] d..1.  2300.901455: '
TRACE = ('p ip_rcv comm=$comm ip_src=@(struct iphdr *)%0->saddr '
         'b16_port=X@(struct udphdr *)%0->dest n=%0->len')

# What the kernel prints, and what the person sees.
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


class Rewriting(unittest.TestCase):

    def setUp(self):
        self.rewrite = surftrace.make_rewriter([compiled(TRACE)])

    def test_lines(self):
        for line, expected in LINES:
            line = HEAD + line + b'\n'
            expected = line if expected is None else HEAD + expected + b'\n'
            self.assertEqual(self.rewrite(line), expected)

    def test_blocks(self):
        block = b''.join(HEAD + line + b'\n' for line, _ in LINES)
        expected = b''.join(HEAD + (line if new is None else new) + b'\n' for line, new in LINES)
        self.assertEqual(self.rewrite(block), expected)

    def test_a_process_that_calls_itself_an_event(self):
        line = (b'x-1 1: f0: (y) i-1234    [000] d..1.  2300.901455: f1: (a+0x0/0x1) '
                b'comm="sh" ip_src=16777343 b16_port=0x5000 n=0x54\n')
        self.assertEqual(self.rewrite(line), line)

    def test_names_and_addresses(self):
        rewrite = surftrace.make_rewriter([compiled(
            'p wake_up_new_task state=%0->state f=%0->run on=%0->on mac_a=%0->bytes '
            'ip6_b=%0->address t=%0->temper')])
        for line, expected in [
                (b'state=0x1 f=x+0x0/0x9 [m] on=0x1 mac_a=94781640299602 ip6_b={0xfe,0x80,0x0,0x0,'
                 b'0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x1} t=-1',
                 b'state=SLEEPING f=x+0x0/0x9 [m] on=true mac_a=52:54:00:12:34:56 ip6_b=fe80::1 '
                 b't=COLD'),
                (b'state=0x7 f=0x0 on=0x2 mac_a=0 ip6_b={0x0} t=5', None)]:
            line = HEAD + b'f0: (wake_up_new_task+0x0/0x1) ' + line + b'\n'
            self.assertEqual(rewrite(line), line if expected is None else (
                HEAD + b'f0: (wake_up_new_task+0x0/0x1) ' + expected + b'\n'))

    def test_many_events_of_one_layout(self):
        """They are looked for at once."""
        events = ['f%d' % number for number in range(100)]
        rewrite = surftrace.make_rewriter([
            compiled('p ip_rcv ip_a=U%0->len', event=event) for event in events])
        data = b''.join(HEAD + b'%s: (ip_rcv+0x0/0x1) ip_a=16777343\n'.replace(
            b'%s', event.encode()) for event in events)
        self.assertEqual(rewrite(data), data.replace(b'16777343', b'127.0.0.1'))
        began = time.time()
        rewrite(data * 50)
        many = time.time() - began
        single = surftrace.make_rewriter([compiled('p ip_rcv ip_a=U%0->len', event='f1')])
        data = (HEAD + b'f1: (ip_rcv+0x0/0x1) ip_a=16777343\n') * 5000
        began = time.time()
        single(data)
        self.assertLess(many, 20 * (time.time() - began) + 0.1)

    def test_errors(self):
        rewrite = surftrace.make_rewriter([compiled('r ip_rcv r=S$retval')])
        for value, shown in [(b'-2', b'-ENOENT'), (b'0', b'0'), (b'-9999', b'-9999')]:
            line = HEAD + b'f0: (caller+0x36/0x40 <- ip_rcv) r=%s\n'
            self.assertEqual(rewrite(line.replace(b'%s', value)), line.replace(b'%s', shown))

    def test_strings_that_only_fault(self):
        faults = surftrace.Faults([compiled('p ip_rcv a=%si:string b=%dx:string c=%cx:string '
                                            'd=%cx:ustring')])
        for line in (b'a=(fault) b=(fault) c=(fault) d=(fault)', b'a=(fault) b="x" c=(fault) d=""'):
            faults.look(HEAD + b'f0: (x) ' + line + b'\n')
        self.assertEqual(faults.names(), ['a', 'c'])

    def test_lines_of_a_return(self):
        rewrite = surftrace.make_rewriter([compiled('r ip_rcv B32_r=X$retval', event='f3')])
        self.assertEqual(rewrite(HEAD + b'f3: (caller+0x36/0x40 <- ip_rcv) B32_r=0x1020304\n'),
                         HEAD + b'f3: (caller+0x36/0x40 <- ip_rcv) B32_r=0x4030201\n')

    def test_many_strings_that_hold_anything(self):
        """Whoever chooses a string must not choose how long the run is busy with it."""
        rewrite = surftrace.make_rewriter([compiled(
            'p ip_rcv a=%si:string b=%si:string c=%si:string ip_n=U%0->len')])
        plain = HEAD + b'f0: (x+0x0/0x1) a="1" b="2 3" c="4" 5" ip_n='
        self.assertEqual(rewrite(plain + b'16777343\n'), plain + b'127.0.0.1\n')
        forged = HEAD + b'f0: (x+0x0/0x1) a="1" b="2" c="" ip_n=010 c="4" ip_n=%s\n'
        self.assertEqual(rewrite(forged.replace(b'%s', b'16777343')),
                         forged.replace(b'%s', b'127.0.0.1'))
        self.assertEqual(rewrite(forged.replace(b'%s', b'010')), forged.replace(b'%s', b'010'))
        evil = HEAD + b'f0: (x+0x0/0x1) a="' + b'" b="" c="' * 400 + b'\n'
        began = time.time()
        for _ in range(20):
            self.assertEqual(rewrite(evil), evil)
        self.assertLess(time.time() - began, 2)

    def test_commands_that_hold_anything(self):
        rewrite = surftrace.make_rewriter([compiled(
            'p ip_rcv comm=$comm ip_n=U%0->len text=%si:string')])
        line = HEAD + b'f0: (x+0x0/0x1) comm="%s" ip_n=16777343 text="t"\n'
        for name in (b's"h', b'two\nlines', b'" ip_n=1 text="', b''):
            self.assertEqual(rewrite(2 * line.replace(b'%s', name)),
                             2 * line.replace(b'%s', name).replace(b'16777343', b'127.0.0.1'))

    def test_bytes_that_a_terminal_obeys(self):
        for data, expected in [
                (b'plain \t"x"\n', None), (b'\x1b[2J\x07\r\x7f\x00', b'?[2J????'),
                (u'\xe9\u4e2d\u041b\U0001f600'.encode('utf-8'), None),      # (\u041b has a \x9b)
                (u'\x9b2J\x85'.encode('utf-8'), b'??2J??'), (b'\x9b2J \xff', b'?2J ?'),
                (b'\xe0\x80\x9b \xc0\x9b \xf0\x80\x80\x9b', b'??? ?? ????'),     # too long
                (b'\xd0\n\xd0', b'?\n?')]:
            self.assertEqual(surftrace.visible(data), data if expected is None else expected)

    def test_nothing_to_rewrite(self):
        self.assertIsNone(surftrace.make_rewriter([compiled('p ip_rcv a=%0')]))


class Waiting(unittest.TestCase):

    def test_a_signal_does_not_cut_it_short(self):
        read_end, write_end = os.pipe()
        poll = select.poll()
        poll.register(read_end, select.POLLIN)
        earlier = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        began = time.time()
        try:
            self.assertEqual(surftrace.wait_for(poll, 200), [])
        finally:
            signal.signal(signal.SIGALRM, earlier)
        self.assertGreater(time.time() - began, 0.15)
        os.write(write_end, b'x')
        self.assertEqual(len(surftrace.wait_for(poll, 1 << 40)), 1)     # longer than poll can
        os.close(read_end)
        os.close(write_end)


class Counting(unittest.TestCase):

    def test_lines_of_events(self):
        for data, count in [
                (HEAD + b'f0: (x)\n', 1), (HEAD.replace(b'bash', b'a\nb ') + b'f0: (x)\n', 1),
                (HEAD.replace(b'-1234   ', b'-1234    (  99)') + b'f0: (x)\n', 1),
                (HEAD + b'<stack trace>\n => a\n', 0), (b'CPU:0 [LOST 226 EVENTS]\n', 0),
                (HEAD.replace(b' bash', b'<...>') + b'f0: (x) c="\n"\n' + HEAD + b'f1: \n', 2)]:
            read_end, write_end = os.pipe()
            output = surftrace.Output(descriptor=write_end, count=9)
            output.write(data)
            self.assertEqual(9 - output.left, count, data)
            for descriptor in (read_end, write_end, output.descriptor):
                os.close(descriptor)


class Writing(unittest.TestCase):

    def setUp(self):
        self.read_end, self.write_end = os.pipe()
        self.output = surftrace.Output(descriptor=self.write_end)
        self.output.patience = 50

    def tearDown(self):
        os.close(self.write_end)
        if self.read_end is not None:
            os.close(self.read_end)

    def test_bytes_go_through_as_they_are(self):
        self.output.write(b'one\xff\x1b\ntwo')
        self.assertEqual(os.read(self.read_end, 100), b'one\xff\x1b\n')
        self.output.write(b' three\nfour')
        self.output.flush()
        self.assertEqual(os.read(self.read_end, 100), b'two three\nfour')

    def test_a_terminal_is_not_steered(self):
        """What a process calls itself moves no cursor; to a file it goes as it is (above)."""
        master, slave = pty.openpty()
        output = surftrace.Output(descriptor=slave)
        output.write(b'comm="\x1b[31mred\xc2\x9b2J"\npart\x1b')
        output.flush()
        shown, expected = b'', b'comm="?[31mred??2J"\r\npart?'
        while len(shown) < len(expected):       # a terminal hands on what it has so far
            shown += os.read(master, 100)
        self.assertEqual(shown, expected)
        for descriptor in (master, slave, output.descriptor):
            os.close(descriptor)

    def test_a_reader_that_has_gone(self):
        os.close(self.read_end)
        self.read_end = None
        self.output.write(b'line\n')
        self.assertTrue(self.output.closed)
        self.output.write(b'line\n')

    def test_a_slow_reader_gets_everything(self):
        data, parts = b'x' * 99 + b'\n', []

        def read():
            while sum(map(len, parts)) < 5000 * len(data):
                time.sleep(0.0005)
                parts.append(os.read(self.read_end, 1 << 16))
        reader = threading.Thread(target=read)
        reader.start()
        wake, hold = os.pipe()
        for _ in range(50):
            self.output.write(data * 100, wake)
        reader.join()
        self.assertEqual(b''.join(parts), data * 5000)
        os.close(wake)
        os.close(hold)

    def test_a_stopped_reader_does_not_hold_up_the_end(self):
        wake, hold = os.pipe()
        os.write(hold, b'!')
        began = time.time()
        self.output.write(b'line\n' * 100000, wake)         # a signal came
        for _ in range(20):
            self.output.write(b'line\n' * 1000)             # the buffer is drained
        with self.assertRaises(surftrace.Error) as caught:
            self.output.flush()
        self.assertIn('were not written', str(caught.exception))
        self.assertLess(time.time() - began, 5)
        os.close(wake)
        os.close(hold)

    def test_a_socket_whose_reader_is_stopped(self):
        """The journal, or a program that reads it so; no second open file can be had of it."""
        ours, theirs = socket.socketpair()
        wake, hold = os.pipe()
        output = surftrace.Output(descriptor=ours.fileno())
        output.write(b'first\n', wake)
        self.assertEqual(theirs.recv(100), b'first\n')
        os.write(hold, b'!')
        began = time.time()
        output.write(b'line\n' * 1000000, wake)
        with self.assertRaises(surftrace.Error) as caught:
            output.flush()
        self.assertIn('were not written', str(caught.exception))
        self.assertLess(time.time() - began, 5)
        for each in (ours, theirs):
            each.close()
        os.close(wake)
        os.close(hold)

    def test_a_full_disk(self):
        full = os.open('/dev/full', os.O_WRONLY)
        output = surftrace.Output(descriptor=full)
        with self.assertRaises(surftrace.Error) as caught:
            output.write(b'line\n')
        self.assertIn('no space left', str(caught.exception))
        output.write(b'line\n')         # told once: the rest of the buffer goes nowhere
        output.flush()
        os.close(full)

    def test_others_writes_to_the_same_pipe_still_block(self):
        import fcntl
        self.assertFalse(fcntl.fcntl(self.write_end, fcntl.F_GETFL) & os.O_NONBLOCK)


class Consoles(unittest.TestCase):

    def setUp(self):
        self.read_end, self.write_end = os.pipe()
        self.console = surftrace.Console(self.write_end)
        self.console.patience = 50

    def tearDown(self):
        for descriptor in (self.read_end, self.write_end, self.console.descriptor):
            os.close(descriptor)

    def test_an_error_points_at_the_expression(self):
        error = surftrace.TraceError('wrong', 4)
        error.text = 'p a=%0'
        self.console.error(error)
        self.assertEqual(os.read(self.read_end, 100),
                         b'surftrace: wrong\n  p a=%0\n      ^\n')

    def test_nothing_steers_the_terminal(self):
        self.console.note('a\x1b[2Jb')
        self.assertEqual(os.read(self.read_end, 100), b'surftrace: a?[2Jb\n')

    def test_a_reader_who_reads_nothing_is_waited_for_once(self):
        began = time.time()
        for _ in range(5000):
            self.console.line('x' * 100)
        self.assertLess(time.time() - began, 5)

    def test_nor_does_a_terminal_that_is_stopped(self):
        master, slave = pty.openpty()
        console = surftrace.Console(slave)
        console.patience = 50
        began = time.time()
        for _ in range(500):
            console.line('x' * 100)
        self.assertLess(time.time() - began, 5)
        for descriptor in (master, slave, console.descriptor):
            os.close(descriptor)


class Count(unittest.TestCase):
    """As many events as are wanted, with the stack of the last, however they are read."""

    EVENT = ('              sh-7       [000] .....     1.00000%d: f0: (kernel_clone+0x0/0x430)\n')
    STACK = ('              sh-7       [000] .....     1.00000%d: <stack trace>\n'
             ' => kernel_clone\n => __do_sys_clone\n')

    def written(self, count, text, size):
        """Return what is written of text that comes in pieces of size bytes, and the Output."""
        read_end, write_end = os.pipe()
        output = surftrace.Output(descriptor=write_end, count=count)
        data = text.encode()
        for at in range(0, len(data), size):
            output.write(data[at:at + size])
        for descriptor in set([write_end, output.descriptor]):
            os.close(descriptor)
        with os.fdopen(read_end, 'rb') as stream:
            return stream.read().decode(), output

    def test_count(self):
        plain = [self.EVENT % number for number in range(5)]
        stacks = [self.EVENT % number + self.STACK % number for number in range(5)]
        for events in (plain, stacks):
            for count, expected in ((1, 1), (3, 3), (5, 5), (9, 5)):
                for size in (1, 7, 100, 10000):
                    text, output = self.written(count, ''.join(events), size)
                    self.assertEqual(text, ''.join(events[:expected]))
                    self.assertEqual((output.left, output.full), (count - expected, count <= 5))


if __name__ == '__main__':
    unittest.main()

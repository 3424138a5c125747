"""stdout and stderr of a run: counted events; readers that are slow, dead, full, or obey bytes."""
import os
import pty
import re
import signal
import socket
import threading
import time
import unittest

from tests.lib import tool
from tests.unit.test_run import EVENT, OnABox, TASK

HEAD = b'            bash-1234    [000] d..1.  2300.901455: '
LONGEST = 60    # seconds that anything here may take before it counts as held up for ever


class Counting(OnABox):
    """As many events as are wanted, with the stack of the last, however they are read."""

    EVENT = '              sh-7       [000] .....     1.00000%d: f0: (kernel_clone+0x0/0x430)\n'
    STACK = ('              sh-7       [000] .....     1.00000%d: <stack trace>\n'
             ' => kernel_clone\n => __do_sys_clone\n')

    def written(self, count, text, size):
        """Return what is written of text that comes in pieces of size bytes, and how many count."""
        self.box.events, self.box.piece = text.encode(), size
        result = self.run_on('-c', str(count), 'p ip_rcv')
        return result.out, int(self.notes(result)[-1].split()[0])

    def test_count(self):
        plain = [self.EVENT % number for number in range(5)]
        stacks = [self.EVENT % number + self.STACK % number for number in range(5)]
        for events in (plain, stacks):
            for count, expected in ((1, 1), (3, 3), (5, 5), (9, 5)):
                for size in (1, 7, 100, 10000):
                    text, seen = self.written(count, ''.join(events), size)
                    self.assertEqual((text, seen), (''.join(events[:expected]), expected))

    def test_what_is_a_line_of_an_event(self):
        for data, count in [
                (HEAD + b'f0: (x)\n', 1), (HEAD.replace(b'bash', b'a\nb ') + b'f0: (x)\n', 1),
                (HEAD.replace(b'-1234   ', b'-1234    (  99)') + b'f0: (x)\n', 1),
                (HEAD.replace(b'-1234   ', b'-1234    (-----)') + b'f0: (x)\n', 1),
                (HEAD + b'<stack trace>\n => a\n', 0), (b'CPU:0 [LOST 226 EVENTS]\n', 0),
                (HEAD.replace(b' bash', b'<...>') + b'f0: (x) c="\n"\n' + HEAD + b'f1: \n', 2)]:
            self.box.events = data
            result = self.run_on('-c', '9', 'p ip_rcv')
            self.assertEqual(self.notes(result)[-1].split()[0], str(count), data)

    def test_what_only_looks_like_an_event(self):
        """A string with a newline and such a line in it: only the kernel's numbers count."""
        forged = EVENT.replace(b'"sh"', b'"x\n' + HEAD + b'f0: (x) comm="')
        for count, events, seen in ((2, [forged, EVENT], 2), (1, [forged], 1),
                                    (9, [EVENT, forged], 2)):
            self.box.events, self.box.forged = b''.join(events), 1
            self.box.taken = b''
            result = self.run_on('-c', str(count), TASK)
            self.assertEqual(result.out, tool.text_of(b''.join(events)))
        self.box.events, self.box.taken = EVENT + forged, b''
        self.assertEqual(self.notes(self.run_on(TASK))[-1].split(' ')[0], '2')

    def test_what_only_looks_like_a_stack(self):
        path = EVENT.replace(b'"sh"', b'"x: <stack trace>\n"')
        self.box.events = path * 3
        self.assertEqual(self.notes(self.run_on(TASK))[-1].split(' ')[0], '3')
        stack = HEAD + b'<stack trace>\n => a\n'
        self.box.events, self.box.taken = (path + stack) * 3, b''
        self.assertEqual(self.notes(self.run_on('-s', TASK))[-1].split(' ')[0], '3')

    def test_stacks_are_no_events(self):
        """The kernel counts each as one that was read."""
        self.box.events = EVENT + HEAD + b'<stack trace>\n => a\n'
        self.assertEqual(self.notes(self.run_on('-s', TASK))[-1],
                         '1 event, and 5 lost, stacks among them: the ring buffer was full (-b '
                         'makes it larger)')


class Readers(OnABox):

    def piped(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, write_end)
        return read_end, write_end

    def test_bytes_go_through_as_they_are(self):
        data = HEAD + b'f0: (x) c="\xff\x1b\xc2\x9b"\nno end'
        self.box.events = data
        read_end, write_end = self.piped()
        self.assertEqual(self.run_on(TASK, stdout=write_end).status, 0)
        self.assertEqual(os.read(read_end, 1000), data)
        os.close(read_end)

    def test_a_terminal_is_not_steered(self):
        """What a process calls itself moves no cursor; to a pipe it goes as it is (above)."""
        self.addCleanup(os.environ.update, LC_ALL=os.environ.get('LC_ALL', ''))
        master, slave = pty.openpty()
        letters = u'\xe9\u4e2d\u041b\U0001f600'.encode('utf-8')      # (\u041b has a \x9b)
        for locale, data, expected in [
                ('C.UTF-8', b'plain \t"x"\n', None), ('C.UTF-8', b'\x1b[2J\x07\x7f\x00', b'?[2J?'),
                ('C.UTF-8', letters, None), ('C', letters, b'?'),
                ('C.UTF-8', u'\x9b2J\x85'.encode('utf-8'), b'?2J?'),
                ('C.UTF-8', b'\x9b2J \xff', b'?2J ?'),
                ('C.UTF-8', b'\xe0\x80\x9b \xc0\x9b \xf0\x80\x80\x9b', b'? ? ?'),       # too long
                ('C.UTF-8', b'\xd0\n\xd0', b'?\n?'), ('C.UTF-8', b'part\x1b', b'part?')]:
            self.box.events = data + b'end'
            os.environ['LC_ALL'] = locale
            self.assertEqual(self.run_on(TASK, stdout=slave).status, 0)
            expected = (data if expected is None else expected).replace(b'\n', b'\r\n') + b'end'
            seen = b''
            while not seen.endswith(b'end'):        # a terminal hands on what it has so far
                seen += os.read(master, 1000)
            self.assertEqual(re.sub(br'\?+', b'?', seen), expected)
        os.close(master)
        os.close(slave)

    def test_no_terminal_stops_it(self):
        """In the background of one that is set so (stty tostop), what writes there is stopped."""
        process = tool.process(['-S', '-f', '-', '-o', '/dev/null'])
        end = time.time() + LONGEST
        while time.time() < end:
            with open('/proc/%d/status' % process.pid) as stream:
                ignored = re.search(r'SigIgn:\t([0-9a-f]+)', stream.read()).group(1)
            if int(ignored, 16) >> (signal.SIGTTOU - 1) & 1:
                break
            time.sleep(0.01)
        self.assertLess(time.time(), end)
        process.communicate(b'')

    def test_a_reader_that_has_gone(self):
        """It ends the run at once, as | head does; nothing is said of it."""
        read_end, write_end = self.piped()
        os.close(read_end)
        self.box.events, self.box.hold = EVENT, True
        result = self.run_on(TASK, stdout=write_end)
        self.assertEqual(result.status, 0, result.err)
        self.assertNotIn('stdout', result.err)

    def test_a_reader_that_goes_while_nothing_comes(self):
        read_end, write_end = self.piped()
        self.box.hold = True
        self.once_tracing((os.close, read_end))
        self.assertEqual(self.run_on(TASK, stdout=write_end).status, 0)

    def test_a_slow_reader_gets_everything(self):
        self.box.events = EVENT * 5000
        read_end, write_end = self.piped()
        parts = []

        def read():
            while sum(map(len, parts)) < 5000 * len(EVENT):
                time.sleep(0.0005)
                parts.append(os.read(read_end, 1 << 16))
        reader = threading.Thread(target=read)
        reader.start()
        result = self.run_on(TASK, stdout=write_end)
        reader.join()
        os.close(read_end)
        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(b''.join(parts), EVENT * 5000)

    def stopped(self, descriptor):
        """Check how a run ends whose reader takes nothing more; a signal comes."""
        self.box.events, self.box.hold = EVENT * 5000, True
        self.once_tracing((time.sleep, 0.3), (os.kill, os.getpid(), signal.SIGINT))
        began = time.time()
        result = self.run_on(TASK, stdout=descriptor, patience=50)
        self.assertLess(time.time() - began, LONGEST)
        self.assertEqual(result.status, 1)
        self.assertIn('stdout took nothing for a while: ', result.err)
        self.assertIn(' bytes of events were not written', result.err)
        self.assertEqual(self.box.names('instances'), [])

    def test_a_stopped_reader_does_not_hold_up_the_end(self):
        read_end, write_end = self.piped()
        self.stopped(write_end)
        os.close(read_end)

    def test_a_socket_whose_reader_is_stopped(self):
        """The journal, or a program that reads it so; no second open file can be had of it."""
        ours, theirs = socket.socketpair()
        self.box.events = EVENT
        self.assertEqual(self.run_on(TASK, stdout=ours.fileno()).status, 0)
        self.assertEqual(theirs.recv(1000), EVENT)
        self.stopped(ours.fileno())
        ours.close()
        theirs.close()

    def test_a_full_disk(self):
        """It is told once, and the rest of the buffer goes nowhere."""
        full = os.open('/dev/full', os.O_WRONLY)
        self.box.events = EVENT * 1000
        result = self.run_on(TASK, stdout=full)
        os.close(full)
        self.assertEqual(result.status, 1)
        self.assertEqual(result.err.count('stdout: no space left on device'), 1)

    def test_others_writes_to_the_same_pipe_still_block(self):
        import fcntl
        read_end, write_end = self.piped()
        self.box.events = EVENT
        self.run_on(TASK, stdout=write_end)
        self.assertFalse(fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK)
        os.close(read_end)


class Messages(OnABox):

    def test_an_error_points_at_the_expression(self):
        result = self.run_on('p ip_rcv a=%0->qqq')
        self.assertEqual(result.err.splitlines()[-3:], [
            "surftrace: struct sk_buff has no member 'qqq'; --info 'struct sk_buff' lists them",
            '  p ip_rcv a=%0->qqq',
            '                 ^'])

    def test_nothing_steers_the_terminal(self):
        result = self.run_on('p ip_rcv a=%0 f:COMM=="a\x1b[2Jb" && q==1')
        self.assertIn('a?[2Jb', result.err)
        self.assertNotIn('\x1b', result.err)

    def deaf(self, descriptor):
        """Check that a run ends though nobody reads its stderr."""
        self.box.events, began = EVENT, time.time()
        texts = ['p ip_rcv v%d=%%di' % number for number in range(100)]
        result = self.run_on(*texts, stderr=descriptor, patience=50)
        self.assertLess(time.time() - began, LONGEST)
        self.assertEqual((result.status, self.box.probes()), (0, []))

    def test_nobody_reads_stderr(self):
        """It is waited for once: a pipe, and a terminal that is stopped."""
        read_end, write_end = os.pipe()
        os.write(write_end, b'x' * 65536)
        self.deaf(write_end)
        os.close(read_end)
        os.close(write_end)
        master, slave = pty.openpty()
        self.deaf(slave)
        os.close(master)
        os.close(slave)


if __name__ == '__main__':
    unittest.main()

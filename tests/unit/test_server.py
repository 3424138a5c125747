"""Types from a server: what it is asked, what it answers, and answers that do harm."""
import os
import signal
import time
import unittest

from tests.lib import btf, server, standin, tool
from tests.lib.files import FileTest
from tests.lib.server import RawServer, answered, cell, chunked, http

TRACE = 'p f a=!(struct s *)%di->x'


class ServerTest(FileTest):

    def listening(self, answer, pause=0):
        self.server = RawServer(answer, pause)
        self.addCleanup(self.server.close)
        return self.server.address

    def ask(self, answer, question, limit=20, pause=0):
        """What a question to the Source that gets this answer gives."""
        return question(tool.from_server(self.listening(answer, pause), '4.19.91', 'aarch64',
                                         limit))

    def find(self, types):
        return types.find('struct', 's')

    def told(self, message, answer, question=None, **options):
        with self.assertRaises(tool.SourceError) as caught:
            self.ask(answer, question or self.find, **options)
        self.assertIn(message, str(caught.exception))
        self.assertIn('127.0.0.1:', str(caught.exception))
        self.assertNotIn('\033', str(caught.exception))


class Exchange(ServerTest):

    def test_questions(self):
        """One for each name, in the words of the command that it is."""
        for question, command, name, result in [
                (lambda types: types.find('struct', 's'), 'struct', 'struct s', None),
                (lambda types: types.find('union', 'u'), 'struct', 'union u', None),
                (lambda types: types.find('typedef', 'u64'), 'type', 'u64', None),
                (lambda types: types.functions('f'), 'func', 'f', [])]:
            self.ask(answered(result), question)
            head, asked = self.server.asked()
            self.assertTrue(head.startswith(b'POST /lbc HTTP/1.1\r\n'), head)
            lines = head.decode().split('\r\n')
            self.assertIn('Host: ' + self.server.address, lines)
            self.assertIn('Content-Type: application/json', lines)
            body = self.server.requests[0].partition(b'\r\n\r\n')[2]
            self.assertIn('Content-Length: %d' % len(body), lines)
            self.assertEqual(asked, [{'arch': 'aarch64', 'ver': '4.19.91', 'cmd': command,
                                      command: name}])

    def test_answers(self):
        found = self.ask(answered(cell()), self.find)
        self.assertEqual((found.kind, found.name, found.size), ('struct', 's', 16))
        self.assertEqual(found.places(), [('x', 64, 0)])
        self.assertEqual(found.member('x').type.words, 'int')
        found = self.ask(answered(cell(bits='3:5', name='x')), lambda types: types.find(
            'union', 'u'))
        self.assertEqual((found.kind, found.places()), ('union', [('x', 67, 5)]))
        [found] = self.ask(answered([{
            'func': 'f', 'args': ['int', 'char *'], 'ret': 'static int', 'line': 1,
            'file': 'x.c'}]), lambda types: types.functions('f'))
        self.assertEqual(found.prototype, 'int f(int, char *)')
        self.assertEqual([each.name for each in found.parameters], ['', ''])
        [found] = self.ask(answered([{
            'args': ['int', 'char *'], 'argi': ['a', 'b'], 'ret': 'void'}]),
            lambda types: types.functions('f'))
        self.assertEqual([each.name for each in found.parameters], ['a', 'b'])
        found = self.ask(answered({'name': 'u64', 'type': 'unsigned long long', 'size': 8}),
                         lambda types: types.find('typedef', 'u64'))
        self.assertEqual((found.words, found.kind, found.size), ('u64', 'int', 8))

    def test_nothing(self):
        for kind in ('struct', 'union', 'typedef'):
            self.assertIsNone(self.ask(answered(None), lambda types: types.find(kind, 's')))
        for result in (None, []):
            self.assertEqual(self.ask(answered(result), lambda types: types.functions('f')), [])

    def test_each_name_is_asked_once(self):
        """The server answers one question and is gone."""
        types = tool.from_server(self.listening(answered(cell())))
        for _ in range(3):
            self.assertEqual(types.find('struct', 's').places(), [('x', 64, 0)])

    def test_what_a_person_sees(self):
        address = self.listening(answered(cell()))
        self.assertIn("f0 f a=+0x8(%di):x32'",
                      self.said('-S', '-r', address, '-v', '4.19.91', TRACE))
        self.assertEqual(self.noted, 'surftrace: types from %s (server), registers of x86_64\n'
                         % address)

    def test_in_parts(self):
        whole = answered(cell())
        body = whole.partition(b'\r\n\r\n')[2]
        for answer in (chunked(body), chunked(body[:20], body[20:]), [whole[:50], whole[50:]],
                       [whole[:1], whole[1:]], chunked(*[body[at:at + 1]
                                                         for at in range(len(body))]),
                       whole.replace(b'HTTP/1.1', b'HTTP/1.0'),
                       http(b'5\r\n' + body[:5] + b'\r\n', headers=b'x-transfer-encoding: '
                            b'chunked\r\n').replace(b'5\r\n' + body[:5] + b'\r\n', body)):
            self.assertEqual(self.ask(answer, self.find).places(), [('x', 64, 0)])
        # Small letters will do.
        self.assertEqual(self.ask(chunked(body).replace(b'Transfer-Encoding', b'transfer-ENCODING'),
                                  self.find).size, 16)


class Wrong(ServerTest):

    def test_answers(self):
        for message, answer in [
                ('not HTTP', b''), ('not HTTP', b'SSH-2.0-OpenSSH_9.2\r\n'),
                ('not HTTP', b'HTTP/2.0 200 OK\r\n\r\n'), ('not HTTP', b'x' + answered(cell())),
                ('unexpected form', http(b'')), ('unexpected form', http(b'<html>hello</html>')),
                ('damaged', http(b'[' * 1000000)), ('unexpected form', http(b'\xff\xfe')),
                ('status 404', http(b'', b'404 Not Found')),
                ('status 201', http(answered(cell()).partition(b'\r\n\r\n')[2], b'201 Created')),
                ('unexpected form', http(b'1')), ('unexpected form', http(b'{"code": 200}')),
                ('unexpected form', http(b'{"res": [{"log": "ok.", "res": null}]}')),
                ('unexpected form', http(b'{"code": 200, "res": []}')),
                ('unexpected form', http(b'{"code": 404, "res": null}'))]:
            self.told(message, answer)

    def test_refusals(self):
        """It takes both the code and the word that mean success."""
        for code, log in ((500, 'no such kernel'), (500, 'ok.'), (200, 'no such kernel'),
                          (201, 'ok.'), (200, 'ok'), (200, '')):
            self.told('it has nothing on kernel 4.19.91, aarch64: it says "%s"' % log,
                      answered(cell(), code, log))
        self.told(r'it says "\u001b[2J"', answered(None, 500, '\033[2J'))
        self.told('it says "%s' % ('x' * 199), answered(None, 500, 'x' * 300))
        self.refused('it has nothing on kernel 4.19.91, x86_64: it says "unknown"', '-S', '-r',
                     self.listening(answered(None, 404, 'unknown')), '-v', '4.19.91', TRACE)

    def test_values(self):
        for result in [1, 'x', [], {}, {'cell': 1, 'size': 1}, {'cell': [1], 'size': 1},
                       cell(type='int\033[2J'), cell(name='\033'), cell(offset=-1),
                       cell(offset='1'), cell(size=1 << 40), cell(bits='x'), cell(type=None),
                       cell(type='x' * 5000), cell(type='int (*)(' * 200), cell(name='a.' * 800),
                       cell(offset=int('9' * 400)), cell(type='int\n'), cell(offset=None),
                       cell(offset=1.5), cell(name=None), cell(size=[]), cell(type=['int'])]:
            self.told('damaged', answered(result))
        for result in [1, [1], [{}], [{'ret': 'int', 'args': 1}], [{'ret': 1, 'args': []}],
                       [{'ret': 'int', 'args': ['\033']}], [{'ret': 'int', 'args': [],
                                                             'argi': 1}],
                       [{'ret': 'int', 'args': ['int'], 'argi': ['\033']}]]:
            self.told('damaged', answered(result), lambda types: types.functions('f'))
        for result in [1, 'x', [1], {'type': 1, 'size': 1}, {'type': 'int'}, {'type': 'int',
                                                                              'size': -1}]:
            self.told('damaged', answered(result), lambda types: types.find('typedef', 't'))

    def test_structs_that_never_end(self):
        """Each holds another without a name, at the server's will."""
        class Endless(server.LoopbackServer):
            def __init__(self):
                server.LoopbackServer.__init__(self, ':memory:')

            def answer(self, request):
                self.requests += 1
                if request['cmd'] != 'struct' or request['struct'][:8] not in ('struct s',
                                                                               'struct $'):
                    return None
                number = int(request['struct'].partition('$')[2] or 0) + 1
                return dict(cell(name='$', type='struct $%d' % number), size=8)
        with Endless() as endless:
            address = '127.0.0.1:%d' % endless.port
            types = tool.from_server(address, limit=60)
            self.assertRaises(tool.SourceError, types.information, 'struct s')

    def test_too_slow(self):
        self.told('timed out; is -r right', [b'', b''], limit=0.2, pause=60)

    def test_too_much(self):
        self.told('unexpected form', [http(b'x' * 4000000)] * 5)

    def test_nobody_there(self):
        self.refused('Connection refused; is -r right, and can it be reached from here?', '-S',
                     '-r', '127.0.0.1:1', '-v', '4.19.91', TRACE)

    def test_lists(self):
        """A pattern takes a list of names, which a server does not give."""
        self.refused('a server answers for one name at a time, it has no lists', '-r',
                     '127.0.0.1:1', '-a', 'x86_64', '--info', 'tcp_*', on=self.elsewhere())
        self.refused('it has no lists', '-r', '127.0.0.1:1', '--make-db', 'info.db')
        self.assertEqual(os.listdir(self.directory), [])

    def elsewhere(self):
        """A machine on which no functions can be listed."""
        box = standin.StandIn(mounted=False)
        self.addCleanup(box.remove)
        return box


class Addresses(ServerTest):

    def test_where_it_is(self):
        """HOST, HOST:PORT, and an address of IPv6 in brackets."""
        for address, message in [
                ('127.0.0.1:1', '127.0.0.1:1: Connection refused'), ('127.0.0.1',
                                                                     '127.0.0.1:7655: '),
                ('[::1]:2', '::1:2: '), ('[::1]', '::1:7655: '), ('127.0.0.1:65535',
                                                                  '127.0.0.1:65535: ')]:
            self.refused(message, '-S', '-r', address, '-v', 'x', TRACE)

    def test_that_are_none(self):
        for address in ('', 'a:b', 'a b', 'http://a', 'a:123456', 'a\r\nb', '[a', '::1', '[x]'):
            self.refused("-r takes HOST or HOST:PORT, not '", '-S', '-r', address, '-v', 'x', TRACE,
                         status=2)
        for port in ('99999', '65536'):
            self.refused('is -r right', '-S', '-r', '127.0.0.1:' + port, '-v', 'x', TRACE)

    def test_releases(self):
        for release in ('x y', '', 'a\nb'):
            self.refused("is no release of a kernel, which uname -r tells", '-S', '-r', '127.0.0.1',
                         '-v', release or ' ', TRACE, status=2)
        self.listening(answered(cell()))
        self.said('-S', '-r', self.server.address, '-v', '4.19.91-24.8.an8~rc1+x', TRACE)
        self.assertEqual(self.server.asked()[1][0]['ver'], '4.19.91-24.8.an8~rc1+x')
        self.refused("'./x' is no release of a kernel", '-S', '-r', 'a', '-v', './x', TRACE,
                     status=2)

    def test_the_one_of_the_environment(self):
        """-m remote alone asks the one in $LBC_SERVER; without -v for this kernel's release."""
        self.addCleanup(os.environ.pop, 'LBC_SERVER', None)
        os.environ['LBC_SERVER'] = self.listening(answered(cell()))
        box = standin.StandIn(kernel='6.1')
        self.addCleanup(box.remove)
        self.said('-S', '-m', 'remote', 'p vfs_read a=!(struct s *)%di->x', on=box)
        self.assertEqual(self.server.asked()[1], [
            {'arch': 'x86_64', 'ver': '6.1', 'cmd': 'struct', 'struct': 'struct s'}])
        os.environ['LBC_SERVER'] = 'a b'
        self.refused("not 'a b'", '-S', '-m', 'remote', '-v', '6.1', TRACE, status=2)


class Signals(ServerTest):

    def test_end_the_waiting(self):
        """Of -S, and of a run that is to trace, with a server that never answers."""
        box = standin.StandIn(architecture=os.uname()[4])
        self.addCleanup(box.remove)
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self.unhandled(number)
            for arguments in (('-S',), ('--tracefs', box.tracefs)):
                address = self.listening([b'', b''], pause=60)
                # (A signal that comes just before recv() is called does not end it.)
                self.server.when_asked = lambda: (time.sleep(0.2), os.kill(os.getpid(), number))
                result = tool.run(arguments + ('-r', address, '-v', 'x',
                                               'p vfs_read a=!(struct s *)%0->x'), on=box)
                self.assertEqual((result.status, result.out), (128 + number, ''), result.err)
                self.assertEqual(len(self.server.requests), 1)
        self.assertEqual(box.writes(), [])


class Loopback(FileTest):
    """The documented exchange, from a database as the tool makes them."""

    def test_says_what_its_database_says(self):
        raw = self.write('raw', btf.sample().data())
        self.said('-v', raw, '--make-db', 'info.db')
        traces = ['p wake_up_new_task a=%0->comm b=U%0->mode c=S%0->mm->mm_users',
                  'p ip_rcv a=%0->len b=%1', 'r by_value r=S$retval']
        with server.LoopbackServer('info.db') as there:
            self.assertEqual(self.said('-S', '-r', '127.0.0.1:%d' % there.port, '-v',
                                       '4.19.91', *traces),
                             self.said('-S', '-v', raw, *traces))
            self.assertIn('(BTF)', self.noted)
            self.assertGreater(there.requests, 4)


if __name__ == '__main__':
    unittest.main()

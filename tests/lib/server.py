"""Servers of types on the loopback: one that answers from a database, one that says anything."""
import json
import socket
import sqlite3
import threading

try:
    from http.server import BaseHTTPRequestHandler, HTTPServer
except ImportError:     # Python 2
    from BaseHTTPServer import BaseHTTPRequestHandler, HTTPServer


class LoopbackServer(object):
    """Speaks the documented exchange, from a database as the tool makes them; counts requests."""

    def __init__(self, path):
        self.requests = 0
        self.connection = sqlite3.connect(path, check_same_thread=False)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                [request] = json.loads(body.decode())
                assert self.path == '/lbc' and request['arch'] and request['ver']
                data = json.dumps({'code': 200, 'res': [
                    {'log': 'ok.', 'res': outer.answer(request)}]}).encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(('127.0.0.1', 0), Handler)
        self.port = self.server.server_port

    def rows(self, question, value):
        return self.connection.execute(question, (value,)).fetchall()

    def answer(self, request):
        """Return the result for one request: a list, a dictionary, or None."""
        self.requests += 1
        name = request[request['cmd']]
        if request['cmd'] == 'func':
            return [{'func': name, 'args': json.loads(arguments), 'ret': result, 'line': 1,
                     'file': 'x.c'} for arguments, result in self.rows(
                         'SELECT args, ret FROM funs WHERE func = ?', name)]
        if request['cmd'] == 'type':
            for alias, size in self.rows('SELECT alias, bytes FROM types WHERE name = ?', name):
                return {'name': name, 'type': alias, 'size': size}
            return None
        for serial, count, size in self.rows(
                'SELECT id, members, bytes FROM structs WHERE name = ?', name):
            return {'name': name, 'size': size, 'members': count, 'cell': [
                {'type': kind, 'offset': offset, 'size': width, 'bits': bits, 'name': member}
                for kind, offset, width, bits, member in self.rows(
                    'SELECT types, offset, bytes, bits, name FROM members WHERE fid = ? '
                    'ORDER BY id', serial)]}

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class RawServer(object):
    """Answers one connection with bytes, in parts, however wrong they are.

    pause -- seconds behind each part, while the server is not closed
    when_asked -- is called when the question has come
    """

    def __init__(self, answer, pause=0):
        self.parts, self.pause = answer if isinstance(answer, list) else [answer], pause
        self.listener = socket.socket()
        self.listener.settimeout(60)
        self.listener.bind(('127.0.0.1', 0))
        self.listener.listen(5)
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        self.requests, self.closed, self.when_asked = [], threading.Event(), lambda: None
        self.thread = threading.Thread(target=self._serve)
        self.thread.daemon = True
        self.thread.start()

    def _serve(self):
        connection = None
        try:
            connection, _ = self.listener.accept()
            connection.settimeout(60)
            data = b''
            while b'\r\n\r\n' not in data or b'}]' not in data:
                data += connection.recv(65536)
            self.requests.append(data)
            self.when_asked()
            for part in self.parts:
                connection.sendall(part)
                if self.pause:
                    self.closed.wait(self.pause)
        except EnvironmentError:
            pass        # whoever asked has gone
        finally:
            if connection:
                connection.close()

    def asked(self):
        """(head, what is asked for) of the one request that came."""
        head, _, body = self.requests[0].partition(b'\r\n\r\n')
        return head, json.loads(body.decode())

    def close(self):
        self.closed.set()
        self.listener.close()


def http(body, status=b'200 OK', headers=b''):
    return b'HTTP/1.1 ' + status + b'\r\nContent-Type: text/html\r\n' + headers + b'\r\n' + body


def answered(result, code=200, log='ok.'):
    """The whole answer to a question."""
    return http(json.dumps({'code': code, 'res': [{'log': log, 'res': result}]}).encode())


def cell(**changes):
    """The answer on a struct s of 16 bytes with one member, x; changes are of that."""
    return {'name': 'struct s', 'size': 16, 'members': 1, 'cell': [dict(
        {'type': 'int', 'offset': 8, 'size': 4, 'bits': '', 'name': 'x'}, **changes)]}


def chunked(*parts):
    """An answer whose body comes in these parts (RFC 9112, 7.1)."""
    return http(b''.join(('%x;as=it is\r\n' % len(part)).encode() + part + b'\r\n'
                         for part in parts) + b'0\r\n\r\n',
                headers=b'Transfer-Encoding: chunked\r\n')

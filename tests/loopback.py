"""A server of types on the loopback, which answers from a database of the second generation."""
import json
import sqlite3
import threading

try:
    from http.server import BaseHTTPRequestHandler, HTTPServer
except ImportError:     # Python 2
    from BaseHTTPServer import BaseHTTPRequestHandler, HTTPServer


class LoopbackServer(object):
    """Speaks the documented exchange; counts its requests."""

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

"""Hostile input in numbers: each gives an answer or a clean error, in 2 s and 200 MB.

The seconds are the processor's.  What was drawn when something goes wrong is in the message.
"""
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import unittest

from tests.lib import btf, elf, server, tool
from tests.oracle import common

SECONDS, MEGABYTES = 2, 200

TRACES = [
    'r in_registers a=$p->comm b=$n c=!(enum ESTABLISHED)$n d=%0->bytes!(struct pair *)->b '
    'mac_e=$p->bytes ip6_f=$p->address f:mac_e==52:54:00:12:34:56&&c>ESTABLISHED',
    'p mod:wake_up_new_task a=%0->state b=%0->run c=%0->bytes d=!(enum ESTABLISHED)%0 '
    'e=!(struct task_struct)@init_task.pids[1].pid f:a==SLEEPING||b==0x1',
    'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==bash',
    'p wake_up_new_task a=%0->pids[1].node.next b=X%0->comm c=%0->comm[1] d=%0->sign',
    'p wake_up_new_task+0x10 a=%di b=%si:u64 c=+8(%di):x32 d=-0x10(+4(%di)):string',
    'p ip_rcv ip_a=@(struct iphdr *)l3%0->saddr B16_p=@(struct tcphdr *)l4%0->dest f:ip_a==1.2.3.4',
    'p receive_core p=@(struct iphdr *)l3%0->protocol f:p==6&&(common_pid!=1||p<7)',
    'p many a=!(struct task_struct *)%di->comm b=!(u8)%3 c=$stack0 d=$comm e=@jiffies f:d!="x y"',
    'r open_file r=$retval->comm n=S$retval f:r~"ba*"', 'r ip_rcv B32_r=X$retval',
    'e sched/sched_switch f:prev_comm=="a b"&&prev_pid>0', 'e sched:sched_process_fork']
PIECES = ['->', '.', '[', ']', '(', ')', '@(', '!(', 'struct ', '*', '%0', '%', '$', '$retval', '=',
          ' ', '  ', ':', ':string', ':b3@2/8', ':x8[64]', 'f:', '&&', '||', '==', '~', '"', "'",
          '\\', '\n', '\0', '\x1b', '0x', '-1', '9' * 30, '[99999999999]', 'l3', 'S', 'U', 'X', '+',
          '`id`', '$(id)', ';', '\xe9', 'a' * 300, '((((', '->mm' * 40, 'ip_', 'B16_', '@', '/',
          '..']


class TooSlow(BaseException):
    pass


def too_slow(*_):
    raise TooSlow()


def mutated_text(draw, text):
    """Return a text with one to four pieces put in, taken out, doubled or exchanged."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(text) + 1)
        end = min(at + draw.choice((0, 1, 1, 3, 10)), len(text))
        part = draw.choice((draw.choice(PIECES), text[at:end] * 2, '',
                            chr(draw.randrange(32, 127))))
        text = text[:at] + part + text[end:]
    return text


def mutated_bytes(draw, data):
    """Return data of which one to eight bytes, words or pieces are others."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at, kind = draw.randrange(len(data) or 1), draw.randrange(6)
        if kind == 0:
            data[at:at + 1] = bytearray([draw.randrange(256)])
        elif kind == 1:
            data[at:at + 4] = struct.pack('<I', draw.choice(
                (0, 1, 0x7fffffff, 0x80000000, 0xffffffff, draw.randrange(len(data) or 1))))
        elif kind == 2:
            del data[at:at + draw.choice((1, 4, 12, 100))]
        elif kind == 3:
            data[at:at] = data[at:at + draw.choice((1, 4, 12, 100))]
        elif kind == 4:
            data = data[:at] if draw.random() < 0.2 else data
        else:
            other = draw.randrange(len(data) or 1)
            data[at:at + 4] = data[other:other + 4]
    return bytes(data)


class Hostile(unittest.TestCase):

    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=tool.SCRATCH)
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, 'input')
        self.inputs = self.answers = self.errors = 0
        with open('/proc/self/statm') as stream:
            size = int(stream.read().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size + (MEGABYTES << 20), limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_AS, limits)
        for number in (signal.SIGPROF, signal.SIGALRM):
            self.addCleanup(signal.signal, number, signal.signal(number, too_slow))

    def limit(self, seconds, give_up):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, give_up)

    def attempt(self, what, call, *arguments):
        """Call; whatever comes of it but answers and Errors, or nothing in time, is a failure."""
        self.inputs += 1
        try:
            self.asked(call, *arguments)
        except BaseException as error:
            self.limit(0, 0)
            raise AssertionError('%r: %r' % (error, what))
        finally:
            self.limit(0, 0)

    def asked(self, call, *arguments):
        """Call, and count the answer or the clean error that it gives, each in its own time."""
        self.limit(SECONDS, common.PATIENCE)
        try:
            call(*arguments)
            self.answers += 1
        except tool.Error as error:
            self.errors += 1
            self.assertTrue(str(error))

    def tell(self, what):
        """Say how many there were; both answers and errors must be among them."""
        self.assertGreater(self.answers, self.inputs // 100)
        self.assertGreater(self.errors, self.inputs // 100)
        common.tell(self.inputs, '%s: %d answers, %d clean errors' % (
            what, self.answers, self.errors))

    def write(self, data):
        with open(self.path, 'wb') as stream:
            stream.write(data)

    def numbered(self, total, least=20):
        """Yield (number, a draw of its own) for this share of a number of inputs."""
        for number in range(common.part_of(total, least)):
            yield number, random.Random('%d %d' % (common.SEED, number))

    def ask(self, source):
        """Ask a source for whatever it can be asked for."""
        for text in TRACES[:7]:
            self.asked(self.compiled, text, source)
        for name in ('struct task_struct', 'union either', 'state', 'ip_rcv', 'wake_up_*'):
            self.asked(lambda: source.information(name, source.names('function')))

    def compiled(self, text, source):
        lines, script = tool.planned([text], source)
        for line in lines + script.splitlines():
            self.assertNotIn('\0', line)
        # Nothing leads out of tracefs, and each line is one.
        self.assertFalse([line for line in lines if '\n' in line
                          or not re.match(r"(mkdir|(echo|printf '%s\\n') .+ >>?) '?/t/", line)
                          or '/../' in line.split('>')[-1]], lines)

    def file_asked(self, mode='auto'):
        self.asked(tool.symbols_of, self.path)
        source = tool.chosen(mode=mode, architecture='x86_64', vmlinux=self.path)
        try:
            self.ask(source)
        finally:
            source.close()


class Traces(Hostile):

    def test_mutated(self):
        source = tool.sample()
        for text in TRACES:
            self.compiled(text, source)
        for number, draw in self.numbered(100000):
            text = mutated_text(draw, draw.choice(TRACES))
            self.attempt((number, text), self.compiled, text, source)
        self.tell('mutated traces')


class Files(Hostile):

    def test_btf(self):
        whole = btf.sample().data()
        for number, draw in self.numbered(12000):
            self.write(mutated_bytes(draw, whole))
            self.attempt(number, self.file_asked)
        self.tell('mutated BTF files')

    def test_elf(self):
        whole = elf.elf([(b'.BTF', btf.sample().data())] + elf.symbols([('ip_rcv', 0x1000, 64)])
                        + [(b'.note.gnu.build-id', elf.build_id(b'1'))])
        for number, draw in self.numbered(7000):
            # Most of the file is BTF; what is around it is to be met too.
            cut = draw.choice((64, len(whole)))
            at = draw.choice((0, len(whole) - cut))
            self.write(whole[:at] + mutated_bytes(draw, whole[at:at + cut]) + whole[at + cut:])
            self.attempt(number, self.file_asked)
        self.tell('mutated ELF files')

    def test_debug_info(self):
        """Each version, and what only some have; the file around its debug info stays whole."""
        common.need('gcc', 'nm')
        code = os.path.join(os.path.dirname(os.path.abspath(common.__file__)), 'hostile.c')
        forms = []
        for words in ('-gdwarf-2', '-gdwarf-3', '-gdwarf-4', '-gdwarf-5', '-gdwarf-4 -c',
                      '-gdwarf-5 -c', '-gdwarf-5 -gz', '-gdwarf-4 -fdebug-types-section'):
            subprocess.check_call(['gcc', '-O2', '-shared', '-nostdlib', '-fPIC', '-o', self.path,
                                   code] + words.split())
            said = subprocess.check_output(['readelf', '-SW', self.path]).decode()
            places = [(int(at, 16), int(size, 16)) for at, size in re.findall(
                r'\] (?:\.debug_|\.rela\.debug_|\.symtab)\S* +\w+ +\w+ (\w+) (\w+) ', said)]
            self.assertGreater(len(places), 4, said)
            forms.append((common.read(self.path), places))
        for number, draw in self.numbered(20000):
            whole, places = draw.choice(forms)
            at, size = draw.choice(places)
            part = mutated_bytes(draw, whole[at:at + size])
            self.write(whole[:at] + part[:size].ljust(size, b'\0') + whole[at + size:])
            self.attempt(number, self.file_asked, 'dwarf')
        self.tell('mutated files with debug info')

    def test_a_kernels_btf(self):
        whole = common.read(common.btf())
        for number, draw in self.numbered(1000):
            data = bytearray(whole)
            for _ in range(draw.choice((1, 30, 1000))):
                at = draw.choice((draw.randrange(24), draw.randrange(len(data) - 4)))
                data[at:at + 4] = struct.pack('<I', draw.choice(
                    (0, 1, 0xffffffff, draw.randrange(1 << 17), draw.randrange(1 << 32))))
            self.write(data)
            self.attempt(number, self.file_asked)
        self.tell("mutations of a kernel's BTF")


class Databases(Hostile):

    def asked_of_database(self):
        source = tool.from_database(self.path)
        try:
            self.ask(source)
        finally:
            source.close()

    def test_bytes(self):
        tool.write_database(self.path, tool.sample())
        whole = common.read(self.path)
        for number, draw in self.numbered(1500):
            self.write(mutated_bytes(draw, whole))
            self.attempt(number, self.asked_of_database)
        self.tell('mutated databases')

    def test_values(self):
        tool.write_database(self.path, tool.sample())
        connection = sqlite3.connect(self.path)
        for number, draw in self.numbered(1500):
            table, column = draw.choice((('funs', 'args'), ('funs', 'ret'), ('members', 'types'),
                                         ('members', 'name'), ('members', 'offset'),
                                         ('members', 'bits'), ('members', 'bytes'),
                                         ('structs', 'bytes'), ('structs', 'name'),
                                         ('types', 'alias')))
            rows = connection.execute('SELECT id, %s FROM %s' % (column, table)).fetchall()
            serial, value = draw.choice(rows)
            changed = (mutated_text(draw, str(value)) if draw.random() < 0.8
                       else draw.choice((None, -1, 1 << 62, 0.5, 7)))
            if isinstance(changed, bytes):      # Python 2
                changed = changed.decode('latin-1')
            statement = 'UPDATE %s SET %s = ? WHERE id = ?' % (table, column)
            connection.execute(statement, (changed, serial))
            connection.commit()
            self.attempt((number, table, column, changed), self.asked_of_database)
            connection.execute(statement, (value, serial))
            connection.commit()
        connection.close()
        self.tell('databases with mutated values')


class Servers(Hostile):

    def opened(self, answer):
        """Return a Source that has an answer."""
        raw = server.RawServer(answer)
        self.addCleanup(raw.close)
        return raw, tool.from_server(raw.address, '1.2.3', 'x86_64', limit=SECONDS / 2.0)

    def test_mutated_answers(self):
        whole = [server.answered(result) for result in (
            server.cell(), None, {'name': 'u8', 'type': 'x', 'size': 1},
            [{'func': 'ip_rcv', 'args': ['struct s *', 'int'], 'ret': 'int'}])]
        for number, draw in self.numbered(2000, 200):    # few make sense
            answer = draw.choice(whole)
            answer = (mutated_bytes(draw, answer) if draw.random() < 0.5
                      else tool.bytes_of(mutated_text(draw, tool.text_of(answer))))
            raw, source = self.opened(answer)
            if draw.random() < 0.5:
                self.attempt((number, answer), source.information, 'struct s')
            else:
                self.attempt((number, answer), self.compiled, 'p ip_rcv a=S%1', source)
            raw.close()
        self.tell('mutated answers')

    def test_json_that_is_deep(self):
        for answer in ('[' * 100000, '{"a":' * 100000, json.dumps([{}] * 100000)):
            _, source = self.opened(server.answered([]).replace(b'[]', answer.encode()))
            self.limit(SECONDS, common.PATIENCE)
            try:
                self.assertRaises(tool.Error, source.functions, 'f')
            finally:
                self.limit(0, 0)


if __name__ == '__main__':
    unittest.main()

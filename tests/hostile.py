"""Hostile input in numbers: each gives an answer or a clean error, in 2 s and 200 MB.

SURFTRACE_SEED says where the draw begins, SURFTRACE_SHARE which part of the numbers is done (1).
What was drawn when something goes wrong is in the message.
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
import sys
import tempfile
import time
import unittest

import btf
import surftrace
from test_sources import RawServer, answered, cell
from test_types import elf

SEED = int(os.environ.get('SURFTRACE_SEED', 4))
SHARE = float(os.environ.get('SURFTRACE_SHARE', 1))
SECONDS, MEGABYTES = 2, 200
X86 = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES)

TRACES = [
    'r in_registers a=$p->comm b=$o.is_kernel c=$o.level d=%0->bytes!(struct pair *)->b '
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
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, 'input')
        self.console = surftrace.Console(os.open(os.devnull, os.O_WRONLY))
        self.addCleanup(os.close, self.console.descriptor)
        self.inputs = self.answers = self.errors = 0
        with open('/proc/self/statm') as stream:
            size = int(stream.read().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size + (MEGABYTES << 20), limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_AS, limits)
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, too_slow))

    def attempt(self, what, call, *arguments):
        """Call; whatever comes of it but answers and Errors, or nothing in time, is a failure."""
        self.inputs += 1
        try:
            self.asked(call, *arguments)
        except BaseException as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise AssertionError('%r: %r' % (error, what))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def asked(self, call, *arguments):
        """Call, and count the answer or the clean error that it gives, each in its own time."""
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            call(*arguments)
            self.answers += 1
        except surftrace.Error as error:
            self.errors += 1
            self.assertTrue(str(error))

    def tell(self, what):
        """Say how many there were; both answers and errors must be among them."""
        self.assertGreater(self.answers, self.inputs // 100)
        self.assertGreater(self.errors, self.inputs // 100)
        print('compared: %d %s: %d answers, %d clean errors, seed %d'
              % (self.inputs, what, self.answers, self.errors, SEED))

    def write(self, data):
        with open(self.path, 'wb') as stream:
            stream.write(data)

    def numbered(self, total):
        """Yield (number, a draw of its own) for this share of a number of inputs."""
        for number in range(int(total * SHARE)):
            yield number, random.Random('%d %d' % (SEED, number))

    def ask(self, types):
        """Ask a source for whatever it can be asked for."""
        for text in TRACES[:7]:
            self.asked(self.compiled, text, types)
        for name in ('struct task_struct', 'union either', 'state', 'ip_rcv', '*_c*'):
            self.asked(surftrace.information, name, types, types.names('function'),
                       X86.architecture)

    def compiled(self, text, types):
        tree = surftrace.parse_trace(surftrace.one_line(text))
        if tree.kind == 'e':
            trace = surftrace.compile_event(tree, None, types)
        else:
            trace = surftrace.compile_trace(tree, 'f0', tree.symbol.text, types, X86)
        plan = surftrace.make_plan([trace], surftrace.Settings())
        lines = [surftrace.shell_line(step, '/t', 'run') for step in plan.create + plan.start]
        for line in lines + surftrace.script(plan, [text]).splitlines():
            self.assertNotIn('\0', line)
        # Nothing leads out of tracefs, and each line is one.
        self.assertFalse([line for line in lines if '\n' in line
                          or not re.match(r"(mkdir|(echo|printf '%s\\n') .+ >>?) '?/t/", line)
                          or '/../' in line.split('>')[-1]], lines)

    def file_asked(self, mode='auto'):
        choice = surftrace.Choice(mode, 'x86_64', '1.2.3', False, self.path, None, None, None)
        types = surftrace.Types(choice, self.console)
        try:
            self.asked(surftrace.function_symbols, self.path)
            self.ask(types.of(None))
        finally:
            types.close()


class Traces(Hostile):

    def test_mutated(self):
        types = surftrace.Btf(btf.sample().data(), 'sample')
        for text in TRACES:
            self.compiled(text, types)
        for number, draw in self.numbered(100000):
            text = mutated_text(draw, draw.choice(TRACES))
            self.attempt((number, text), self.compiled, text, types)
        self.tell('mutated traces')


class Files(Hostile):

    def test_btf(self):
        whole = btf.sample().data()
        for number, draw in self.numbered(12000):
            self.write(mutated_bytes(draw, whole))
            self.attempt(number, self.file_asked)
        self.tell('mutated BTF files')

    def test_elf(self):
        whole = elf([(b'.BTF', btf.sample().data()), (b'.symtab', b'\0' * 24 + struct.pack(
            '<IBBHQQ', 1, 0x12, 0, 1, 0x1000, 64)), (b'.strtab', b'\0ip_rcv\0'),
            (b'.note.gnu.build-id', b'\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0' + b'1' * 20)], machine=62)
        for number, draw in self.numbered(7000):
            # Most of the file is BTF; what is around it is to be met too.
            cut = draw.choice((64, len(whole)))
            at = draw.choice((0, len(whole) - cut))
            self.write(whole[:at] + mutated_bytes(draw, whole[at:at + cut]) + whole[at + cut:])
            self.attempt(number, self.file_asked)
        self.tell('mutated ELF files')

    SOURCE = """
typedef unsigned char u8;
union either { int number; u8 bytes[4]; };
enum state { OFF, ON };
struct list { struct list *next; };
struct task_struct {
    struct list pids[2]; char comm[16]; unsigned int sign:3, mode:5;
    struct mm_struct { struct { int counter; } mm_users; struct task_struct *mm; } *mm;
    union { union either either; enum state state; }; int (*call)(struct task_struct *, ...);
};
static __attribute__((noinline)) int kept(struct task_struct *p, int a, int b)
{ return p->mode + b; }
int wake_up_new_task(struct task_struct *p, int b) { return kept(p, 1, b); }
int ip_rcv(union either e, u8 array[]) { return e.number + array[0]; }
long many(long a, long b, const char *c, u8 d) { return a + b + c[d]; }
"""

    def test_dwarf(self):
        """Each version, and what only some have; the file around its debug info stays whole."""
        forms, source = [], self.path + '.c'
        with open(source, 'w') as stream:
            stream.write(self.SOURCE)
        for words in ('-gdwarf-2', '-gdwarf-3', '-gdwarf-4', '-gdwarf-5', '-gdwarf-4 -c',
                      '-gdwarf-5 -c', '-gdwarf-5 -gz', '-gdwarf-4 -fdebug-types-section'):
            subprocess.check_call(['gcc', '-O2', '-shared', '-nostdlib', '-fPIC', '-o', self.path,
                                   source] + words.split())
            elf_file = surftrace.elf_of(self.path)
            with open(self.path, 'rb') as stream:
                forms.append((stream.read(), [
                    extent[:2] for name, extent in sorted(elf_file.sections.items())
                    if name.startswith((b'.debug_', b'.rela.debug_', b'.symtab'))]))
        for number, draw in self.numbered(20000):
            whole, places = draw.choice(forms)
            at, size = draw.choice(places)
            part = mutated_bytes(draw, whole[at:at + size])
            self.write(whole[:at] + part[:size].ljust(size, b'\0') + whole[at + size:])
            self.attempt(number, self.file_asked, 'dwarf')
        self.tell('mutated files with DWARF')

    def test_a_kernels_btf(self):
        with open(os.environ['SURFTRACE_BTF'], 'rb') as stream:
            whole = stream.read()
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
        types = surftrace.Database(self.path)
        try:
            self.ask(types)
        finally:
            types.close()

    def test_bytes(self):
        made = os.path.join(self.directory, 'made')
        surftrace.write_database(made, surftrace.Btf(btf.sample().data(), 'sample'), 'x86_64',
                                 self.console)
        with open(made, 'rb') as stream:
            whole = stream.read()
        for number, draw in self.numbered(1500):
            self.write(mutated_bytes(draw, whole))
            self.attempt(number, self.asked_of_database)
        self.tell('mutated databases')

    def test_values(self):
        surftrace.write_database(self.path, surftrace.Btf(btf.sample().data(), 'sample'), 'x86_64',
                                 self.console)
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

    def test_answers_of_a_server(self):
        whole = [answered(cell()), answered(None), answered({'name': 'u8', 'type': 'x', 'size': 1}),
                 answered([{'func': 'ip_rcv', 'args': ['struct s *', 'int'], 'ret': 'int'}])]
        for number, draw in self.numbered(2000):
            answer = draw.choice(whole)
            answer = (mutated_bytes(draw, answer) if draw.random() < 0.5
                      else mutated_text(draw, answer.decode('latin-1')).encode('utf-8'))
            server = RawServer(answer)
            types = surftrace.Server(server.address, '1.2.3', 'x86_64', limit=SECONDS / 2.0)
            call, name = draw.choice(((surftrace.information, 'struct s'), (None, 'ip_rcv')))
            if call:
                self.attempt((number, answer), call, name, types, (), X86.architecture)
            else:
                self.attempt((number, answer), self.compiled, 'p ip_rcv a=S%1', types)
            server.close()
        self.tell('mutated answers')

    def test_json_that_is_deep(self):
        for answer in ('[' * 100000, '{"a":' * 100000, json.dumps([{}] * 100000)):
            server = RawServer(answered([]).replace(b'[]', answer.encode()))
            types = surftrace.Server(server.address, '1.2.3', 'x86_64', limit=SECONDS / 2.0)
            self.assertRaises(surftrace.Error, types.functions, 'f')
            server.close()


class Endless(unittest.TestCase):
    """Ten million lines, of which each has values to turn around that came never before."""

    LINES = int(10000000 * SHARE)
    # What a run does between its set-up and its end, from a pipe instead of from trace_pipe.
    STREAM = '''
import surftrace
trace = surftrace.compile_trace(
    surftrace.parse_trace('p ip_rcv ip_src=%di:u32 B16_port=%si:x16 n=%dx'), 'f0', 'ip_rcv', None,
    surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES))
output = surftrace.Output(surftrace.make_rewriter([trace]))
with surftrace.Signals() as signals:
    session = surftrace.Session(None, None, None, signals)
    session.pipe = 0
    session.stream(output, surftrace.Limits())
'''
    LINE = ('            bash-1234    [000] d..1.  2300.000000: f0: (ip_rcv+0x0/0x1d0) ip_src=%d '
            'B16_port=0x%x n=0x54\n')

    def test_memory_stays_flat(self):
        process = subprocess.Popen([sys.executable, '-c', self.STREAM], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        tail = subprocess.Popen(['tail', '-n', '1'], stdin=process.stdout, stdout=subprocess.PIPE)
        process.stdout.close()
        peaks = []
        for tenth in range(10):
            for first in range(tenth * self.LINES // 10, (tenth + 1) * self.LINES // 10, 10000):
                process.stdin.write(''.join(self.LINE % (number, number & 0xffff) for number in
                                            range(first, first + 10000)).encode())
            with open('/proc/%d/status' % process.pid) as stream:
                peaks.append(int(re.search(r'VmHWM:\s+(\d+) kB', stream.read()).group(1)))
        process.stdin.close()
        last = tail.communicate()[0].decode()
        self.assertEqual(process.wait(), 0)
        number = self.LINES - 1
        self.assertIn(' ip_src=%d.%d.%d.0 B16_port=0x%02x%02x n=' % (
            number & 255, number >> 8 & 255, number >> 16 & 255, number & 255, number >> 8 & 255),
            last)
        print('measured: %d lines, at most %d kB after the first tenth, %d kB in the end' % (
            self.LINES, peaks[0], peaks[-1]))
        self.assertLess(peaks[-1] - peaks[0], 1024)


class Shells(unittest.TestCase):
    """What -S prints and -o writes, run by the shells there are: none finds a command in it."""

    SHELLS = (['dash'], ['bash'], ['busybox', 'sh'])
    STRINGS = ('$(touch x)', '`touch x`', "a'; touch x #", '; touch x', '\\n\\c', '$HOME %s', '*',
               '~ -n', '!! ${x:=y}', '& touch x &', "'$(touch x)'", '\xe9')

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.root = os.path.join(self.directory, 'tra$(touch${IFS}x)\'`id`\'')
        self.directories = os.path.join(self.root, 'events/surftrace/f')
        for number in range(len(self.STRINGS)):
            os.makedirs(self.directories + str(number))
        os.mkdir(os.path.join(self.root, 'options'))
        self.texts = ['p vfs_read c=$comm f:c=="%s"' % text for text in self.STRINGS]
        self.plan = surftrace.make_plan(
            [surftrace.compile_trace(surftrace.parse_trace(text), 'f%d' % number, 'vfs_read', None,
                                     X86) for number, text in enumerate(self.texts)],
            surftrace.Settings(), instances=False)

    def read(self, name):
        with open(os.path.join(self.root, name)) as stream:
            return stream.read()

    def start(self, shell, text, **options):
        return subprocess.Popen(shell + ['-c', text], cwd=self.directory, **options)

    def check(self, shell):
        """Each filter says what was written, and nothing was run."""
        self.assertEqual([self.read('events/surftrace/f%d/filter' % number)
                          for number in range(len(self.STRINGS))],
                         ['c=="%s"\n' % text for text in self.STRINGS], shell)
        self.assertEqual([name for _, _, names in os.walk(self.directory) for name in names
                          if name == 'x'], [], shell)

    def test_lines(self):
        for shell in self.SHELLS:
            lines = [surftrace.shell_line(step, self.root, 'surftrace')
                     for step in self.plan.create + self.plan.start]
            self.assertEqual(self.start(shell, '\n'.join(lines)).wait(), 0, shell)
            self.check(shell)

    def test_script(self):
        for shell in self.SHELLS:
            for step in self.plan.create + self.plan.start:
                with open(os.path.join(self.root, step.path.replace(surftrace.RUN, 'surftrace')),
                          'w') as stream:
                    stream.write('none\n')
            pipe = os.path.join(self.root, 'trace_pipe')
            os.mkfifo(pipe)
            mounts = os.path.join(self.directory, 'mounts')
            with open(mounts, 'w') as stream:
                stream.write('nodev %s tracefs rw 0 0\n' % self.root)
            text = surftrace.script(self.plan, self.texts).replace('/proc/mounts', mounts)
            script = self.start(shell, text, stdout=subprocess.PIPE)
            writer = os.open(pipe, os.O_WRONLY)
            end = time.time() + 10
            while self.read('tracing_on') != '1\n' and time.time() < end:
                time.sleep(0.01)
            self.check(shell)
            os.write(writer, b'an event\n')
            os.close(writer)
            self.assertEqual(script.communicate()[0], b'an event\n')
            self.assertEqual(script.returncode, 0, shell)
            self.assertEqual(self.read('tracing_on'), '0\n')
            os.remove(pipe)


if __name__ == '__main__':
    unittest.main()

"""The tool, as the tests use it: the one file of the tests that knows its inner names.

Most tests type what a person types: run() calls the tool with a command line in this process, on a
StandIn perhaps, and process() starts it in one of its own.  What is below them is for the tests
that ask one part of it alone, a million times or with damaged input.  Nothing that is returned
here is a record of the tool's own: there is text, there are numbers, and CType.
"""
import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

import surftrace

from . import btf

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, 'surftrace.py')
README = os.path.join(ROOT, 'README.md')
# Python 2 has it relative to a directory that tests leave; a database may lie beside it.
surftrace.__file__ = SCRIPT
# Where scratch files are quick; they are gone with the tests.
SCRATCH = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None

# What the tool raises; each error has a status, and perhaps the text and the column it points at.
Error, Mistake, SourceError = surftrace.Error, surftrace.TraceError, surftrace.SourceError
NoTypes, Unknown = surftrace.NoTypesError, surftrace.UnknownDebugInfo
# (command, what it shows) of each example in the help.
EXAMPLES = re.findall(r'(?m)^  surftrace\.py (.*)\n      (.*)', surftrace.EXAMPLES)
ARCHITECTURES = ('x86_64', 'aarch64')

# (what a record is called in the tool, what it calls itself) of each.
RECORDS = [(name, base.__name__) for name, found in sorted(vars(surftrace).items())
           if isinstance(found, type) and issubclass(found, tuple)
           for base in found.__mro__ if hasattr(base, '_fields')]

Result = collections.namedtuple('Result', 'status out err')
SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM,
           signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU)


# -- The whole tool ------------------------------------------------------------------------------

def text_of(data):
    """Bytes as the text of this Python; what is no UTF-8 survives."""
    return data if sys.version_info[0] == 2 else data.decode('utf-8', 'surrogateescape')


def bytes_of(text):
    """The other way round."""
    return text if isinstance(text, bytes) else text.encode('utf-8', 'surrogateescape')


def run(arguments, on=None, stdin=b'', stdout=None, stderr=None, patience=None):
    """Call the tool with a command line, in this process; return its Result.

    on -- the StandIn that it is to take for the machine it is on; None for this one
    stdin -- what it reads there, as bytes
    stdout, stderr -- descriptors for it instead of Result.out and Result.err
    patience -- milliseconds that it waits at its end for a reader who takes nothing
    """
    files = [tempfile.TemporaryFile(dir=SCRATCH) for _ in range(3)]
    files[0].write(stdin)
    for stream in files:
        stream.flush()
        stream.seek(0)
    descriptors = [stream.fileno() if given is None else given
                   for stream, given in zip(files, (None, stdout, stderr))]
    kept = [os.dup(number) for number in range(3)]
    # (That of the listing itself has been closed by then, and its number is free.)
    before = [each for each in os.listdir('/proc/self/fd') if link(each)]
    given = [link(each) for each in (stdout, stderr) if each]
    handlers = [(number, signal.getsignal(number)) for number in SIGNALS
                ] if threading.current_thread().name == 'MainThread' else []
    usual = surftrace.PATIENCE
    surftrace.PATIENCE = patience / 1000.0 if patience else usual
    search = os.environ.get('PATH', '')
    if on is not None:
        surftrace.os, surftrace.open = on.system, on.system.open_file
        os.environ['PATH'] = on.root + '/bin:' + search      # its mount and umount
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    try:
        status = surftrace.main(list(arguments))
    except SystemExit as leaving:
        status = leaving.code
    finally:
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)
        surftrace.os, surftrace.open, surftrace.PATIENCE = os, open, usual
        os.environ['PATH'] = search
        for number, handler in handlers:
            signal.signal(number, handler)
        # One that is not a file is opened once more, and left to the end of the process to close.
        for descriptor in set(os.listdir('/proc/self/fd')) - set(before) if given else ():
            if link(descriptor) in given:
                os.close(int(descriptor))
    said = []
    for stream in files[1:]:
        stream.seek(0)
        said.append(text_of(stream.read()))
        stream.close()
    files[0].close()
    return Result(status, *said)


def become(arguments):
    """Be the tool, in a process that has just been forked; this never returns."""
    os.closerange(3, 1024)      # (whoever forked waits until they are closed)
    try:
        os._exit(surftrace.main(list(arguments)))
    except SystemExit as ended:
        os._exit(ended.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(1)


def link(descriptor):
    """What a descriptor is open on, None if it is closed."""
    try:
        return os.readlink('/proc/self/fd/%s' % descriptor)
    except EnvironmentError:
        return None


def process(arguments, python=sys.executable, **options):
    """Start the tool in a process of its own; return the Popen, with a pipe for what is not said.

    No signal is ignored in it, as a shell's & and nohup make it.
    """
    def ordinary():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
    for stream in ('stdin', 'stdout', 'stderr'):
        options.setdefault(stream, subprocess.PIPE)
    return subprocess.Popen([python, SCRIPT] + list(arguments), preexec_fn=ordinary, **options)


# -- Types ---------------------------------------------------------------------------------------

Member = collections.namedtuple('Member', 'name type bit_offset bit_size')
# place: the register that debug info names for it, '' if it has none, None if it is not told.
Parameter = collections.namedtuple('Parameter', 'name type place')
Function = collections.namedtuple('Function', 'prototype parameters result')


def asked(question):
    """A property: what is asked of a type, as the tool's own callers ask damaged ones."""
    return property(lambda self: surftrace.reporting_damage(question)(self.found))


class CType(object):
    """A type of a source: what is left of it when typedefs and qualifiers are taken off.

    kind -- void, int, float, enum, pointer, array, struct, union, function, missing
    name -- without the word struct; '' if it has none
    words -- the type as C writes it, with its typedefs
    size -- in bytes
    length -- of an array, 0 if it is flexible
    """

    def __init__(self, found):
        self.found = found
        found.kind      # is read at once, for a damaged one to be told here

    kind = asked(lambda found: found.bare.kind)
    name = asked(lambda found: found.bare.name)
    length = asked(lambda found: found.bare.length)
    signed = asked(lambda found: found.bare.signed)
    size = asked(lambda found: found.size)
    words = asked(str)

    @property
    def target(self):
        """What a pointer points at, an array holds, or a function returns."""
        bare = self.found.bare
        return CType(bare.to(bare.record.target.result) if bare.kind == 'function'
                     else bare.target)

    def members(self):
        """Those that have a name, of nameless members too; bit_offset counts from the start."""
        return [self._member(member)
                for member in self.found.bare.members()]

    @staticmethod
    def _member(found):
        return found and Member(found.name, CType(found.type), found.bit_offset, found.bit_size)

    def places(self):
        """(name, offset in bits, width of a bitfield or 0) of each member, in order of names."""
        return sorted((member.name, member.bit_offset, member.bit_size)
                      for member in self.found.bare.members())

    def rows(self):
        """The comment with offset, bit and size of each member, as --info has it."""
        return [where for _, where, _ in surftrace.member_rows(self.found.bare, 0, '->', 1)]

    def member(self, name):
        member = surftrace.reporting_damage(lambda found: found.bare.member(name))
        return self._member(member(self.found))

    def values(self):
        """(name, number) of each value of an enum."""
        return list(self.found.names())


class Source(object):
    """A source of types, and what the tests ask of it."""

    def __init__(self, types):
        opened = argparse.Namespace(open=lambda _: types, lacks=lambda _: False)
        self.types = types if isinstance(types, surftrace.LazySource) else (
            surftrace.LazySource(opened, None))

    @property
    def kind(self):
        return self.types.kind

    @property
    def name(self):
        return self.types.name

    def close(self):
        process = getattr(self.types, 'process', None)
        if process:
            process.close()

    def _type(self, ref):
        return CType(surftrace.Type(self.types, ref))

    def names(self, kind):
        """All names of a kind: struct, union, enum, typedef, int, function."""
        return self.types.names(kind)

    def type(self, text):
        """The CType that C's words name, as a cast does; raises Mistake if there is none."""
        return CType(surftrace.find_type(self.types, text))

    def find(self, kind, name):
        """The CType of that kind and name, None if there is none."""
        ref = self.types.find(kind, name)
        return None if ref is None else self._type(ref)

    def every(self, kind, name):
        """All CTypes of that kind and name, where there are several; of BTF."""
        return [self._type(ref) for ref in self.types._ids(kind, name)]

    def ids(self):
        """(kind, name) of the type of each id of BTF, from 1 on."""
        for ref in range(1, self.types.before[-1] + 1):
            found = self.types.describe(ref)
            # (Of what describes a function, only its symbol has a name.)
            is_symbol = found.kind == 'function' and found.name
            yield 'symbol' if is_symbol else found.kind, found.name

    def everything(self):
        """All CTypes of BTF that are a struct, a union or an enum, and not only declared."""
        for ref in range(1, self.types.before[-1] + 1):
            found = self.types.describe(ref)
            if found.kind in ('struct', 'union', 'enum') and found.target == ref:
                yield self._type(ref)

    def functions(self, name):
        """The Functions of a name."""
        found = []
        for function in self.types.functions(name):
            parameters = [Parameter(each.name, self._type(each.type), each.location)
                          for each in function.parameters or ()]
            found.append(Function(surftrace.prototype(self.types, function), parameters,
                                  self._type(function.result)))
        return found

    def prototypes(self, name):
        prototype = surftrace.reporting_damage(surftrace.prototype)
        return [prototype(self.types, each) for each in self.types.functions(name)]

    def values_with(self, name):
        """The values of each enum that has one of that name."""
        return [self._type(ref).values() for ref in self.types.enums_of(name)]

    def variable(self, name):
        """The C declaration of a variable's type, None if it is not known."""
        found = self.types.variable(name)
        return found and self._type(found.type).words

    def is_per_cpu(self, name):
        """Whether each CPU has a variable of its own."""
        return self.types.variable(name).per_cpu

    def information(self, name, names=(), architecture='x86_64'):
        """What --info says of a name, as lines; names are the functions that can be traced."""
        kernel = surftrace.Kernel(surftrace.ARCHITECTURES[architecture])
        kernel.listings = {'traceable': '\n'.join(names), 'all': ''}
        return surftrace.information(self.types, name, kernel)


def from_btf(data, name='sample', base=None):
    """The Source that the bytes of BTF are; base is that of a module's kernel."""
    return Source(surftrace.Btf(data, name, base and base.types))


def sample():
    """The Source of btf.sample()."""
    return from_btf(btf.sample().data())


def btf_section(path):
    """The BTF in a file, as bytes; None in an ELF file that has none."""
    return surftrace.Elf(path).whole('.BTF') or None


def chosen(module=None, **words):
    """The Source that the tool takes by a person's words, opened.

    mode, vmlinux, database, server, gdb -- as on the command line
    here -- the kernel that is traced is the running one
    """
    choice = dict(mode='auto', architecture=os.uname()[4], release='1.2.3', here=False,
                  vmlinux=None, gdb=None, database=None, server=None)
    choice.update(words)
    choice.update(arch=choice['architecture'], rip=choice['server'])
    sources = surftrace.Sources(argparse.Namespace(**choice), quiet_console())
    sources.open(module)
    return Source(sources.of(module))


def from_debug_info(path):
    """The Source that the tool's own reader makes of a vmlinux or a module."""
    return Source(surftrace.Dwarf(surftrace.Elf(path), quiet_console()))


# Begins the line of a gdb's answer.
GDB_MARK = surftrace.GDB_MARK


def from_gdb(path, command='gdb', seconds=300, limit=surftrace.GDB_ANSWER_SIZE):
    """The Source that gdb is; seconds and bytes for one answer."""
    usual, surftrace.GDB_ANSWER_SIZE = surftrace.GDB_ANSWER_SIZE, limit
    process = surftrace.GdbProcess(
        surftrace.Elf(path), command, quiet_console(), surftrace.Gdb.ARGUMENTS, seconds)
    try:
        return Source(surftrace.Gdb(process))
    except BaseException:
        process.close()
        raise
    finally:
        surftrace.GDB_ANSWER_SIZE = usual


def gdb_lines(text, path):
    """(line, (first address, end)) of each range of a file in gdb's line tables."""
    return surftrace.line_table(text, path)


def from_database(path):
    return Source(surftrace.Database(path))


def from_server(address, release='1.2.3', architecture='x86_64', limit=5):
    """The Source that a server is; limit in seconds, for one answer."""
    return Source(surftrace.Server(address, release, architecture, limit))


def write_database(path, source, architecture='x86_64'):
    surftrace.write_database(path, source.types, (architecture, ''), quiet_console())


def symbols_of(path):
    """The names of the functions in the table of symbols of an ELF file."""
    return surftrace.Elf(path).function_names()


# What the options of a command line would say.
SETTINGS = argparse.Namespace(stack=False, buffer=None, pids=(), maxactive=None, tracefs=None)
NOWHERE = os.open(os.devnull, os.O_WRONLY)


def quiet_console():
    return surftrace.Console(NOWHERE)


# -- One trace -----------------------------------------------------------------------------------

# words: NAME=WORDS of each value, in ftrace's own words.  line: for kprobe_events.
Compiled = collections.namedtuple('Compiled', 'words filter line')


def compiled(text, source=None, architecture='x86_64', readme=None):
    """What becomes of one trace; raises Mistake and the other errors.

    readme -- the text of the kernel's tracefs/README, which tells what it can; None for a kernel
    that cannot be asked
    """
    probe = compiled_trace(text, source, architecture, readme)
    words = ['%s=%s' % (argument.name, argument.text) for argument in probe.arguments]
    line = None
    if probe.kind != 'e':
        line = surftrace.kprobe_step(probe, None, 'surftrace').text
    return Compiled(words, probe.filter and probe.filter.text, line)


class Readme(object):
    """A tracefs of which only README can be read."""

    def __init__(self, text):
        self.text = text

    def read_if_there(self, name):
        return self.text if name == 'README' else ''


class OneSource(object):
    """The sources of a run that has but one."""

    def __init__(self, source):
        self.source = source

    def of(self, _):
        return self.source


def compiled_trace(text, source, architecture='x86_64', readme=None, event='f0'):
    kernel = surftrace.Kernel(surftrace.ARCHITECTURES[architecture],
                              None if readme is None else Readme(readme), here=False)
    tree = surftrace.parse_trace(re.sub(r'[\t\n\v\f\r]', ' ', text.rstrip()))
    types = source and source.types
    if tree.kind == 'e':
        kernel.tracefs = None
        [name] = kernel.events(tree, 1, None)
        return surftrace.compile_event(tree, name, OneSource(types), kernel, set())
    return surftrace.compile_trace(tree, event, tree.traced.text, types, kernel)


def planned(texts, source=None, root='/t', architecture='x86_64'):
    """(lines as -S shows them, the script as -o writes it) of traces, both without asking."""
    probes = [compiled_trace(text, source, architecture, event='f%d' % number)
              for number, text in enumerate(texts)]
    plan = surftrace.make_plan(probes, SETTINGS, 'surftrace')
    return ([surftrace.shell_line(step, root + '/') for step in plan.create + plan.start],
            surftrace.script(probes, SETTINGS, list(texts), ('', '')))


# -- Streams -------------------------------------------------------------------------------------

# What a run does between its set-up and its end, from stdin instead of from trace_pipe, for a
# process of its own: its arguments are traces whose values are turned around.
STREAM = '''
import sys
sys.path.insert(0, %r)
import surftrace
from tests.lib import tool
traces = [tool.compiled_trace(text, None, event='f0') for text in sys.argv[1:]]
output = surftrace.Output(surftrace.make_rewriter(traces, hex))
with surftrace.Signals() as signals:
    plan = surftrace.make_plan([], tool.SETTINGS, '')
    session = surftrace.Session(surftrace.Tracefs('/'), plan, tool.quiet_console(), signals)
    session.pipe = 0
    session.stream(output, None)
output.flush()
''' % ROOT


def rewriter(texts, source=None):
    """A function that turns lines of the events of some traces, as bytes, into what is shown."""
    probes = [compiled_trace(text, source, event='f%d' % number)
              for number, text in enumerate(texts)]
    return surftrace.make_rewriter(probes, hex) or (lambda data: data)


def wait_for(poll, seconds):
    """What poll says within that time, by descriptor, whatever signals come."""
    return surftrace.wait_until(surftrace.clock() + seconds, poll)


def readers(path):
    """'NAME (PID)' of each process that reads a file."""
    return surftrace.readers_of(path)


def quoted(text):
    """A word as the tool writes it for a shell."""
    return surftrace.quoted(text)

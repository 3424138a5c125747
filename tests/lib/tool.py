"""The tool, as the tests use it: the one file of the tests that knows its inner names.

Most tests type what a person types: run() calls the tool with a command line in this process, on a
StandIn perhaps, and process() starts it in one of its own.  What is below them is for the tests
that ask one part of it alone, a million times or with damaged input.  Nothing that is returned
here is a record of the tool's own: there is text, there are numbers, and CType.
"""
import collections
import os
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
# Where scratch files are quick; they are gone with the tests.
SCRATCH = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None

# What the tool raises; each error has a status, and perhaps the text and the column it points at.
Error, Mistake, SourceError = surftrace.Error, surftrace.TraceError, surftrace.SourceError
NoTypes, Unknown = surftrace.NoTypesError, surftrace.UnknownDebugInfo
# (command, what it shows) of each example in the help.
EXAMPLES = surftrace.EXAMPLES
ARCHITECTURES = ('x86_64', 'aarch64')

Result = collections.namedtuple('Result', 'status out err')
SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU)


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
    before, given = os.listdir('/proc/self/fd'), [link(each) for each in (stdout, stderr) if each]
    handlers = [(number, signal.getsignal(number)) for number in SIGNALS
                ] if threading.current_thread().name == 'MainThread' else []
    usual, surftrace.PATIENCE = surftrace.PATIENCE, patience or surftrace.PATIENCE
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


class CType(object):
    """A type of a source: what is left of it when typedefs and qualifiers are taken off.

    kind -- void, int, float, enum, pointer, array, struct, union, function, missing
    name -- without the word struct; '' if it has none
    words -- the type as C writes it, with its typedefs
    size -- in bytes
    length -- of an array, 0 if it is flexible
    """

    def __init__(self, types, ref):
        self.types, self.ref, self.found = types, ref, None

    @property
    def bare(self):
        """The tool's record, looked up when it is asked for: a struct has hundreds of members."""
        if self.found is None:
            self.found = surftrace.stripped(self.types, self.ref)
        return self.found

    kind = property(lambda self: self.bare.kind)
    name = property(lambda self: self.bare.name)
    length = property(lambda self: self.bare.length)
    signed = property(lambda self: self.bare.signed)

    @property
    def words(self):
        return surftrace.declared(self.types, self.ref)

    @property
    def size(self):
        return surftrace.size_of(self.types, self.ref)

    @property
    def target(self):
        """What a pointer points at, an array holds, or a function returns."""
        target = self.bare.target
        return CType(self.types, target.result if self.kind == 'function' else target)

    def members(self):
        """Those that have a name, of nameless members too; bit_offset counts from the start."""
        return [Member(member.name, CType(self.types, member.type), member.bit_offset,
                       member.bit_size)
                for member in surftrace.all_members(self.types, self.bare)]

    def places(self):
        """(name, offset in bits, width of a bitfield or 0) of each member, in order of names."""
        return sorted((member.name, member.bit_offset, member.bit_size)
                      for member in surftrace.all_members(self.types, self.bare))

    def rows(self):
        """The comment with offset, bit and size of each member, as --info has it."""
        return [where for _, where, _ in surftrace.member_rows(self.bare, self.types, 0, '->', 1)]

    def member(self, name):
        return next((member for member in self.members() if member.name == name), None)

    def values(self):
        """(name, number) of each value of an enum."""
        return list(self.types.enumerators(self.bare))


class Source(object):
    """A source of types, and what the tests ask of it."""

    def __init__(self, types):
        self.types = types

    @property
    def kind(self):
        return self.types.kind

    @property
    def name(self):
        return self.types.name

    @property
    def order(self):
        """The order of bytes, < or >; of debug info."""
        return self.types.order

    def close(self):
        self.types.close()

    def names(self, kind):
        """All names of a kind: struct, union, enum, typedef, int, function."""
        return self.types.names(kind)

    def type(self, text):
        """The CType that C's words name, as a cast does; raises Mistake if there is none."""
        return CType(self.types, surftrace.find_c_type(self.types, text))

    def find(self, kind, name):
        """The CType of that kind and name, None if there is none."""
        ref = self.types.find(kind, name)
        return None if ref is None else CType(self.types, ref)

    def every(self, kind, name):
        """All CTypes of that kind and name, where there are several; of BTF."""
        kinds = ('enum', 'enum64') if kind == 'enum' else (kind,)
        return [CType(self.types, ref) for ref in self.types._named(name)
                if self.types._record(ref)[0] in kinds]

    def ids(self):
        """(kind, name) of the type of each id of BTF, from 1 on."""
        for ref in range(1, self.types.end_id):
            found = self.types.describe(ref)
            yield found.kind, found.name

    def everything(self):
        """All CTypes of BTF that are a struct, a union or an enum, and not only declared."""
        for ref in range(1, self.types.end_id):
            found = self.types.describe(ref)
            if found.kind in ('struct', 'union', 'enum') and found.target is not None:
                yield CType(self.types, ref)

    def functions(self, name):
        """The Functions of a name."""
        found = []
        for function in self.types.functions(name):
            parameters = [Parameter(each.name, CType(self.types, each.type), each.location)
                          for each in function.parameters]
            found.append(Function(surftrace.prototype(self.types, function), parameters,
                                  CType(self.types, function.result)))
        return found

    def prototypes(self, name):
        return [surftrace.prototype(self.types, each) for each in self.types.functions(name)]

    def values_with(self, name):
        """The values of each enum that has one of that name."""
        return [list(self.types.enumerators(surftrace.described(self.types, ref)))
                for ref in self.types.enums_of(name)]

    def variable(self, name):
        """The C declaration of a variable's type, None if it is not known."""
        found = self.types.variable(name)
        return found and surftrace.declared(self.types, found.type)

    def information(self, name, names=(), architecture='x86_64'):
        """What --info says of a name, as lines; names are the functions that can be traced."""
        return surftrace.information(name, self.types, names,
                                     surftrace.ARCHITECTURES[architecture])


def from_btf(data, name='sample', base=None):
    """The Source that the bytes of BTF are; base is that of a module's kernel."""
    return Source(surftrace.Btf(data, name, base and base.types))


def sample():
    """The Source of btf.sample()."""
    return from_btf(btf.sample().data())


def btf_scans(data):
    """Where BTF's records begin, by leaps (None: it is not as files are) and by a walk."""
    types = surftrace.Btf(data, 'BTF')
    return (surftrace.marked_quickly(types.types, types.end_string),
            bytearray(surftrace.marked(types.types)))


def btf_section(path):
    """The BTF in a file, as bytes; None in an ELF file that has none."""
    return surftrace.read_btf(path)


def chosen(module=None, **words):
    """The Source that the tool takes by a person's words, opened.

    mode, vmlinux, database, server, gdb -- as on the command line
    here -- the kernel that is traced is the running one
    """
    choice = dict(mode='auto', architecture=os.uname()[4], release='1.2.3', here=False,
                  vmlinux=None, gdb=None, database=None, server=None)
    choice.update(words)
    types = surftrace.Types(surftrace.Choice(**choice), quiet_console())
    return Source(types.of(module)._open_source())


def from_debug_info(path):
    """The Source that the tool's own reader makes of a vmlinux or a module."""
    return Source(surftrace.Dwarf(surftrace.elf_of(path), quiet_console()))


def from_gdb(path, command='gdb', limit=300, answer_limit=1 << 28):
    """The Source that gdb is; limit in seconds, answer_limit in bytes, both for one answer."""
    before, surftrace.GDB_ANSWER_LIMIT = surftrace.GDB_ANSWER_LIMIT, answer_limit
    try:
        return Source(surftrace.Gdb(surftrace.GdbProcess(surftrace.elf_of(path), command,
                                                         quiet_console(), lambda: None, limit)))
    finally:
        surftrace.GDB_ANSWER_LIMIT = before


# What gdb prints, read.

def gdb_struct(text, bits_left=False):
    """The CType of what ptype/o prints, None if that is no struct; bits_left: as before gdb 9."""
    layout = surftrace.parse_layout(text, bits_left)
    types = surftrace.TextTypes('gdb')
    types.look_up_layout = types.look_up_alias = lambda name: None
    return layout and CType(types, surftrace.Type(layout.kind, '', layout.size,
                                                  target=layout.members))


def gdb_register(address, where):
    """The register that holds an argument at an address, by what info scope says of it."""
    return surftrace.register_at(address, where)


def gdb_lines(text, path):
    """(line, (first address, end)) of each range of a file in gdb's line tables."""
    return surftrace.line_table(text, path)


def gdb_text(text):
    """What a string of gdb's machine interface says."""
    return surftrace.from_gdb(text)


def gdb_question(text):
    """A text, as it stands in quotes in a question to gdb."""
    return surftrace.escaped_for_gdb(text)


def from_database(path):
    return Source(surftrace.Database(path))


def from_server(address, release='1.2.3', architecture='x86_64', limit=5):
    """The Source that a server is; limit in seconds, for one answer."""
    return Source(surftrace.Server(address, release, architecture, limit=limit))


def write_database(path, source, architecture='x86_64'):
    surftrace.write_database(path, source.types, architecture, quiet_console())


def symbols_of(path):
    """The names of the functions in the table of symbols of an ELF file."""
    return surftrace.function_symbols(path).split('\n')


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
    trace = compiled_trace(text, source, architecture, readme)
    words = ['%s=%s' % (argument.name, argument.text) for argument in trace.arguments]
    line = None
    if trace.kind != 'e':
        line = surftrace.probe_line(trace, surftrace.Settings()).replace(surftrace.RUN, 'surftrace')
    return Compiled(words, trace.filter and trace.filter.text, line)


def compiled_trace(text, source, architecture='x86_64', readme=None, event='f0'):
    features = surftrace.USUAL_FEATURES if readme is None else frozenset(
        name for name, feature in surftrace.FEATURES.items() if feature.sign in readme)
    target = surftrace.Target(surftrace.ARCHITECTURES[architecture], features)
    tree = surftrace.parse_trace(surftrace.one_line(text))
    types = source and source.types
    if tree.kind == 'e':
        return surftrace.compile_event(tree, None, types)
    return surftrace.compile_trace(tree, event, tree.symbol.text, types, target)


def planned(texts, source=None, root='/t', architecture='x86_64'):
    """(lines as -S shows them, the script as -o writes it) of traces, both without asking."""
    plan = surftrace.make_plan(
        [compiled_trace(text, source, architecture, event='f%d' % number)
         for number, text in enumerate(texts)], surftrace.Settings())
    return ([surftrace.shell_line(step, root, 'surftrace') for step in plan.create + plan.start],
            surftrace.script(plan, list(texts)))


# -- Streams -------------------------------------------------------------------------------------

# What a run does between its set-up and its end, from stdin instead of from trace_pipe, for a
# process of its own: its arguments are traces whose values are turned around.
STREAM = '''
import sys
sys.path.insert(0, %r)
import surftrace
from tests.lib import tool
traces = [tool.compiled_trace(text, None, event='f0') for text in sys.argv[1:]]
output = surftrace.Output(surftrace.make_rewriter(traces))
with surftrace.Signals() as signals:
    session = surftrace.Session(None, None, None, signals)
    session.pipe = 0
    session.stream(output, surftrace.Limits())
output.flush()
''' % ROOT


def rewriter(texts, source=None):
    """A function that turns lines of the events of some traces, as bytes, into what is shown."""
    return surftrace.make_rewriter([compiled_trace(text, source, event='f%d' % number)
                                    for number, text in enumerate(texts)]) or (lambda data: data)


def wait_for(poll, milliseconds):
    """What poll says within that time, whatever signals come."""
    return surftrace.wait_for(poll, milliseconds)


def quoted(text):
    """A word as the tool writes it for a shell."""
    return surftrace.quoted(text)

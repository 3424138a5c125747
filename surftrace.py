#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Surf the Linux kernel: trace its functions and events in the words of its source.

    ./surftrace.py 'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==bash'

The struct members are looked up in the kernel's types (BTF, or debug info), the
line is rewritten into ftrace's kprobe syntax for this machine's registers, written
to tracefs, and the events are streamed until Ctrl+C, which leaves the kernel as it
was.  With -S the shell lines that would do so are printed, and nothing is touched.

Needs Python 2.7 or 3.6 and later, nothing else; to trace also root, and a kernel
(3.10 or later) with CONFIG_KPROBE_EVENTS.  It runs on x86_64 and aarch64.

A probe on a function that runs a million times a second slows the machine down:
choose a calm function, or a filter that lets the kernel drop most of the events.

The file reads in the order in which the data flows:

    language -> types -> values -> filters -> traces -> plan -> kernel -> session -> output

and ends with the command line.  Behind it, as an appendix, stands where types come from: BTF,
debug info (DWARF), gdb, a database, a server.  Only Kernel and Session change the system.
Sizes and offsets are in bytes; what is in bits says so in its name.
"""

import sys

# A re.py beside this script, which may lie in anybody's directory, is not to be run by root.  (With
# -m there is a package, perhaps ''; with -I and -P the directory is not in the path.)
if __name__ == '__main__' and __package__ is None and not (
        getattr(sys.flags, 'isolated', 0) or getattr(sys.flags, 'safe_path', 0)):
    del sys.path[0]

import array
import bisect
import errno
import fcntl
import functools
import itertools
import os
import re
import select
import signal
import stat
import struct
from collections import namedtuple

# Bytes at the edges, text inside.  On Python 2 text is bytes already.
if sys.version_info[0] == 2:
    def to_bytes(text):
        return text

    to_text = to_bytes
else:
    to_bytes, to_text = os.fsencode, os.fsdecode

LONGEST_WAIT = 1 << 30      # milliseconds; poll takes no more


def clock():
    """Seconds on a clock that is never adjusted (Python 2 has no time.monotonic)."""
    return os.times()[4]


def wait_for(poll, milliseconds=None):
    """Return what poll reports within that time (None: ever), whatever signals come."""
    end = None if milliseconds is None else clock() + milliseconds / 1000.0
    while True:
        left = None if end is None else min(max(1000 * (end - clock()), 0), LONGEST_WAIT)
        try:
            return poll.poll(left)
        except (EnvironmentError, select.error) as error:       # Python 2 is interrupted
            if error.args[0] != errno.EINTR:
                raise


def read_file(path):
    """Return the bytes of a file."""
    with open(path, 'rb', 0) as stream:
        return stream.read()


def text_if_there(path):
    """Return the text of a file, '' if it cannot be read."""
    try:
        return to_text(read_file(path))
    except EnvironmentError:
        return ''


def number(text):
    """Return the number written in decimal or, with 0x, in hexadecimal; else raise ValueError."""
    if len(text) > 20 or not re.match(r'(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$', text):
        raise ValueError(text)
    return int(text, 16 if text[:2] in ('0x', '0X') else 10)


def count_of(count, noun):
    """Return '1 event' or '2 events'."""
    return '%d %s%s' % (count, noun, '' if count == 1 else 's')


class Error(Exception):
    """Errors shown to the user, each with its exit status; main() catches and prints them.

    text is the expression that is wrong, where there is one, column the place in it, from 0.
    """

    status, text, column = 1, None, None


class UsageError(Error):
    """The command line is wrong."""

    status = 2


class TraceError(Error):
    """A trace is wrong at a column of its text."""

    status = 2

    def __init__(self, message, column=None):
        Error.__init__(self, message)
        self.column = column


class SourceError(Error):
    """A source of types has none, or damaged ones."""


class NoTypesError(SourceError):
    """There is no source of types on this machine."""


class UnknownDebugInfo(SourceError):
    """Debug info of a kind that only gdb reads."""


def nearest(name, names):
    """Return ": did you mean 'x' or 'y'?" for the names most like name, or ''."""
    import difflib      # only a mistake needs it, and it is slow to load
    stem = name.lstrip('_')[:1]
    likely = [other for other in set(names)
              if abs(len(other) - len(name)) <= 4 and other.lstrip('_')[:1] == stem]
    close = (difflib.get_close_matches(name, likely, 3, 0.7)
             or difflib.get_close_matches(name, set(names) if len(names) < 2000 else (), 3, 0.6))
    return ': did you mean %s?' % ' or '.join("'%s'" % other for other in close) if close else ''


# ---------------------------------------------------------------------------
# Language: a trace as typed -> syntax tree
#
# Takes one shell argument or one line of a file, and gives a Trace or an EventTrace, whose
# tokens know their columns, so that an error can point at them.
# ---------------------------------------------------------------------------

# trace     = ("p" | "r") SPACE [MODULE ":"] SYMBOL ["+" NUMBER] {SPACE value} [SPACE filter]
#           | "e" SPACE SYSTEM ("/" | ":") EVENT [SPACE filter]
# value     = NAME "=" (raw | [letter] [packet] [cast] base [cast] {access} [":" TYPE])
# letter    = "S" | "U" | "X"
# packet    = "@(struct" HEADER "*)" ["l2" | "l3" | "l4"]
# cast      = "!(" C type ")"
# base      = "%" NUMBER | "%" REGISTER | "$" NAME | "@" SYMBOL              (see BASES)
# access    = ("->" | ".") NAME {index} [cast]           the first may be an index alone
# index     = "[" NUMBER "]"
# raw       = what is in ftrace's own words: +8(%sp), @0xff..., @sym+4, $arg1, \1
# filter    = "f:" {"!" | "("} predicate {")"} {("&&" | "||") ...}
# predicate = NAME [".ustring"] ("==" | "!=" | "<" | "<=" | ">" | ">=" | "&" | "~") operand
# operand   = a quoted string, or all up to a blank, &, | or parenthesis
#
# SYMBOL may be a pattern of the shell.  A blank is what separates the words of a trace.

Token = namedtuple('Token', 'text column')
Trace = namedtuple('Trace', 'text kind module symbol offset values filter')
EventTrace = namedtuple('EventTrace', 'text kind system event filter')
Value = namedtuple('Value', 'name letter packet cast base accesses fetch_type raw')
Packet = namedtuple('Packet', 'header layer')
Base = namedtuple('Base', 'kind text column')       # kind: one of those in BASES
Access = namedtuple('Access', 'operator name indexes cast')     # no operator: the base's elements
Filter = namedtuple('Filter', 'text column predicates')
Predicate = namedtuple('Predicate', 'name suffix operator operand')

# What a value can start from: its pattern, and the kind of Base that it is.
BASES = ((r'%[0-9]+(?!\w)', 'argument'), (r'%\w+', 'register'),
         (r'\$(?:retval|comm|stack[0-9]*)(?!\w)', 'variable'), (r'\$[A-Za-z_]\w*', 'argument'),
         (r'@[A-Za-z_]\w*(?:\.(?:constprop|isra|part|cold)(?:\.[0-9]+)*)*', 'symbol'))
RAW = (r'(?:[+\\]|-(?!>)|@(?:[0-9]|[A-Za-z_][\w.$]*[-+](?!>))|\$arg[0-9]+(?!\w))[^ ]*')
FETCH_TYPE = (r'(?:[sux](?:8|16|32|64)|b[0-9]+@[0-9]+/(?:8|16|32|64)|string|ustring|symbol|symstr|'
              r'char)(?:\[[0-9]+\])?$')
NUMBER = r'0[xX][0-9a-fA-F]+|[0-9]+'
FUNCTION = r'[A-Za-z_][A-Za-z0-9_.$]*$'
PATTERN = r'[A-Za-z0-9_.$*?\[\]!-]+$'


class Scanner(object):
    """A trace that is read once, from left to right."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        """Step over what a pattern matches here and return it as a Token, or None."""
        match = re.compile(pattern).match(self.text, self.at)
        if not match:
            return None
        self.at = match.end()
        return Token(match.group(), match.start())

    def need(self, pattern, message):
        """Take what a pattern matches, or raise the error that it is not there."""
        token = self.take(pattern)
        if token is None:
            raise self.error(message)
        return token

    def sees(self, pattern):
        """Return the match of a pattern here, None if there is none."""
        return re.compile(pattern).match(self.text, self.at)

    def error(self, message):
        return TraceError(message, self.at)


def one_line(text):
    """Return a trace with its white space turned into blanks, as a shell's user sees it."""
    return re.sub(r'[\t\n\v\f\r]', ' ', text.rstrip())


def parse_trace(text):
    """Return the Trace or EventTrace that text spells; raises TraceError."""
    control = re.search(r'[\x00-\x1f\x7f]', text)
    if control:
        raise TraceError('a control character cannot be part of a trace', control.start())
    scan = Scanner(text)
    scan.take(' *')
    kind = scan.need(r'[pre](?= |$)', "a trace starts with 'p ' (function entry), 'r ' (return) "
                     "or 'e ' (event)").text
    scan.take(' *')
    return (parse_event if kind == 'e' else parse_probe)(scan, kind)


def parse_event(scan, kind):
    shape = 'an event is named SYSTEM/EVENT, like sched/sched_switch'
    system = scan.need('[A-Za-z0-9_-]+', shape)
    scan.need('[/:]', shape)
    event = scan.need('[A-Za-z0-9_-]+', shape)
    scan.take(' *')
    if not scan.sees('f:|$'):
        raise scan.error('an event takes only a filter, f:...; it has its own values')
    return EventTrace(scan.text, kind, system, event, parse_filter(scan))


def parse_probe(scan, kind):
    module = scan.take(r'[A-Za-z_]\w*(?=:)')
    scan.take(':' if module else '')
    symbol = scan.need('[^ +=]+', 'the name of a kernel function is missing; a trace is one '
                       'argument, in single quotes')
    if not re.match(PATTERN if is_pattern(symbol.text) else FUNCTION, symbol.text):
        raise TraceError("'%s' is no function's name: --info 'vfs_*' lists functions, -l finds the "
                         'place of FILE:LINE, and an event is traced with e' % symbol.text,
                         symbol.column)
    if scan.sees('='):
        raise TraceError('the name of a kernel function is missing before the values',
                         symbol.column)
    offset = scan.take(r'\+') and scan.need(NUMBER, 'the offset, a number of bytes, is missing')
    if offset and is_pattern(symbol.text):
        raise TraceError('a pattern, which takes several functions, takes no offset',
                         offset.column)
    values = []
    while not scan.sees(' *$| +f:'):
        scan.need(' +', 'a blank is missing here')
        values.append(parse_value(scan))
    scan.take(' *')
    return Trace(scan.text, kind, module, symbol, offset, tuple(values), parse_filter(scan))


def is_pattern(name):
    """Tell whether the name of a function is a pattern of the shell."""
    return bool(re.search(r'[*?[]', name))


def parse_value(scan):
    name = scan.need('[^ =]*(?==)', 'a value is written NAME=VALUE, and a filter f:...')
    scan.take('=')
    scan.need('(?=[^ ])', "a value is missing after '%s='; $NAME is there for the shell to take "
              'unless the trace stands in single quotes' % name.text)
    raw = scan.take(RAW)
    if raw:
        return Value(name, None, None, None, None, (), None, raw)
    letter, packet, cast = scan.take('[SUX](?=[%$@!])'), parse_packet(scan), parse_cast(scan)
    base = parse_base(scan)
    cast = cast or parse_cast(scan)
    accesses = parse_accesses(scan)
    fetch_type = scan.take(':') and scan.take('[^ ]*')
    if fetch_type and not re.match(FETCH_TYPE, fetch_type.text):
        raise TraceError("the kernel has no type '%s'; it has s8 to s64, u8 to u64, x8 to x64, "
                         'b<bits>@<first>/<of>, string, ustring, symbol, and [N] behind them'
                         % fetch_type.text, fetch_type.column)
    if not scan.sees(' |$'):
        raise scan.error("'%s' cannot follow here; a member is ->NAME or .NAME, and values are set "
                         'apart by blanks' % scan.sees('->|.').group())
    return Value(name, letter, packet, cast, base, accesses, fetch_type, None)


def parse_packet(scan):
    if not scan.take(r'@\('):
        return None
    shape = "a packet's header is written @(struct iphdr *): '%s' is missing"
    scan.need('struct +', shape % 'struct')
    header = scan.need(r'\w+', shape % 'its name')
    scan.take(' *')
    scan.need(r'\*', shape % '*')
    scan.take(' *')
    scan.need(r'\)', shape % ')')
    return Packet(header, scan.take('l[234]'))


def parse_cast(scan):
    if not scan.take('!'):
        return None
    scan.need(r'\(', "a cast is written !(struct sock *): '(' is missing")
    cast = scan.take(r'[\w *]*')
    scan.need(r'\)', "a cast is written !(struct sock *): ')' is missing")
    return cast


def parse_base(scan):
    for pattern, kind in BASES:
        token = scan.take(pattern)
        if token:
            return Base(kind, token.text if kind == 'variable' else token.text[1:], token.column)
    if scan.sees('->'):
        problem = ('what -> starts from is missing: put the trace in single quotes, or the shell '
                   'takes $NAME away')
    elif scan.sees(r'\('):
        problem = 'a cast is written !(struct NAME *)%0->...'
    elif scan.sees('@'):
        problem = "the name of a kernel symbol is missing after '@'"
    elif scan.sees('[%$]'):
        problem = ("there is no '%s'; there are %%0, %%1 ..., $NAME, %%REGISTER, $retval, $comm, "
                   '$stack and $stackN' % scan.sees(r'.\w*').group())
    else:
        problem = ('a value starts from %0 (the first argument), $NAME (an argument), %REGISTER, '
                   '$retval, $comm, $stackN or @SYMBOL')
    raise scan.error(problem)


def parse_accesses(scan):
    accesses = []
    while True:
        operator = scan.take(r'->|\.')
        name = operator and scan.need(r'[A-Za-z_]\w*', "a member's name after '%s' is missing"
                                      % operator.text)
        indexes = []
        while scan.take(r'\['):
            indexes.append(scan.need(NUMBER, 'an index, a number, is missing'))
            scan.need(r'\]', "']' is missing after the index")
        if not operator and (accesses or not indexes):
            return tuple(accesses)
        accesses.append(Access(operator, name, tuple(indexes), parse_cast(scan)))


def parse_filter(scan):
    """Return the Filter that runs from f: to the end, or None; its words stay as they are."""
    if not scan.take('f: *'):
        return None
    column, depth, predicates = scan.at, 0, []
    while True:
        depth += scan.take('[ !(]*').text.count('(')
        predicates.append(parse_predicate(scan))
        closing = scan.take('[ )]*')
        for place, mark in enumerate(closing.text):
            depth -= mark == ')'
            if depth < 0:
                raise TraceError("this ')' closes nothing", closing.column + place)
        if scan.at == len(scan.text):
            break
        scan.need(r'&&|\|\|', '&& or || is missing here; a string with a blank, & or | in it needs '
                  'quotes: comm=="a b"')
    if depth:
        raise scan.error("')' is missing at the end of the filter")
    return Filter(scan.text[column:], column, tuple(predicates))


def parse_predicate(scan):
    if scan.sees('[%$@]'):
        raise scan.error('a filter compares what has a name: r=$retval f:r==-11')
    name = scan.need(r'[A-Za-z_]\w*', "a field's name is missing")
    suffix = scan.take(r'\.(?=\w)') and scan.take(r'\w+')
    if suffix and suffix.text != 'ustring':
        raise TraceError("a field's name takes .ustring and nothing else: a member is given a "
                         'name first, NAME=%0->MEMBER f:NAME==...', suffix.column)
    scan.take(' *')
    operator = scan.need('[=!<>]=|[<>]|&(?!&)|~', 'a comparison is missing: == != < <= > >= & ~%s'
                         % ('; equality is ==' if scan.sees('=') else ''))
    scan.take(' *')
    operand = scan.take('"[^"]*"|\'[^\']*\'') or scan.take('[^ &|()]*')
    if operand.text[:1] in ('"', "'") and not is_quoted(operand):
        raise TraceError('this quote is not closed', operand.column)
    if not operand.text:
        raise scan.error("something to compare '%s' with is missing" % name.text)
    return Predicate(name, suffix, operator, operand)


def is_quoted(operand):
    """Tell whether an operand stands in quotes."""
    return bool(re.match('"[^"]*"$|\'[^\']*\'$', operand.text))


# ---------------------------------------------------------------------------
# Types: what every source of types answers, and a type that knows its source
#
# A source of types (see the appendix) answers these questions about its kernel:
#
#   functions(name)     the Functions of that name; several static ones may share it
#   find(kind, name)    a reference to 'struct', 'union', 'enum', 'typedef' or 'int' name, or None
#   copies(kind, name)  how many there are, of which find() gives the first
#   describe(ref)       the Record behind a reference
#   members(record)     the Members of a struct or union, in order
#   enumerators(record) (name, number) pairs of an enum
#   enums_of(name)      references to the enums that have an enumerator of that name
#   variable(name)      the Variable of that name, None if these types do not have it
#   names(kind)         all names of a kind; that of functions is 'function'
#
# What a reference is, only the source knows.  Everybody else has Types.
# ---------------------------------------------------------------------------

# kind: void, int, float, enum, pointer, array, struct, union, function, missing (a name that the
# source does not explain), or one of WRAPPERS.  target: a reference to what a pointer points at, an
# array holds, a wrapper wraps; of a struct, union or enum, None if it is only declared; of a
# function, its Function.  length: of an array, 0 if it is flexible.
Record = namedtuple('Record', 'kind name size target length signed')
Record.__new__.__defaults__ = ('', 0, None, 0, False)
Member = namedtuple('Member', 'name type bit_offset bit_size')      # bit_size 0: not a bitfield
# location: the register that holds it when the function begins, '' if it has none, None if the
# calling convention decides.
Parameter = namedtuple('Parameter', 'name type location')
Parameter.__new__.__defaults__ = (None,)
Function = namedtuple('Function', 'name parameters result')         # parameters None: not known
Variable = namedtuple('Variable', 'type per_cpu')                   # each CPU has its own
PER_CPU_SECTION = '.data..percpu'   # of a vmlinux and of a module, in BTF too

POINTER_SIZE = 8
OFFSET_LIMIT = 1 << 31      # bytes; more than any struct has
CHAIN_LIMIT = 64            # wrappers or dimensions in a row; real kernels have a handful
QUALIFIERS = frozenset(('const', 'volatile', 'restrict', 'type_tag'))
WRAPPERS = QUALIFIERS | frozenset(('typedef',))
INTEGER_SIZES = {'char': 1, 'short': 2, 'int': 4, 'long': 8, 'long long': 8, '_Bool': 1}
# What damaged types raise: RuntimeError where one contains itself.
DAMAGE = (LookupError, TypeError, ValueError, struct.error, RuntimeError, OverflowError,
          MemoryError)


def sound(question):
    """Make what a function raises over damaged types a SourceError; of a source, with its name."""
    @functools.wraps(question)
    def asked(*arguments):
        try:
            return question(*arguments)
        except DAMAGE:
            name = getattr(arguments[0], 'name', None)
            raise SourceError('%s is damaged: an entry is cut short, or refers to nothing' % name
                              if isinstance(name, str) else
                              'the types are damaged: one contains itself, or refers to nothing')
    return asked


class Source(object):
    """What a source answers that cannot tell."""

    def close(self):
        """Nothing is kept open."""

    def copies(self, kind, name):
        return 1

    def enumerators(self, record):
        return ()

    def enums_of(self, name):
        return []

    def variable(self, name):
        return None


class Type(object):
    """A type, and the source that tells what it is made of.

    kind, name, length and signed are those of its Record.
    """

    def __init__(self, source, ref):
        self.source = source
        self.record = ref if isinstance(ref, Record) else source.describe(ref)
        self.kind, self.name, _, _, self.length, self.signed = self.record

    def to(self, ref):
        """Return another Type of the same source."""
        return Type(self.source, ref)

    @property
    def target(self):
        """What a pointer points at, an array holds, or a wrapper wraps."""
        return self.to(self.record.target)

    @property
    def bare(self):
        """This type without its typedefs and qualifiers."""
        return self._unwrapped(WRAPPERS)[0]

    def _unwrapped(self, wrappers):
        """Return what is left without wrappers, and the (kind, name) of those taken off."""
        found, taken = self, []
        while found.kind in wrappers:
            if len(taken) == CHAIN_LIMIT:
                raise SourceError('the types are damaged: a type wraps itself')
            taken.append((found.kind, found.name))
            found = found.target
        return found, taken

    @property
    def size(self):
        """Bytes; 0 of what is only declared."""
        bare = self.bare
        return bare.length * bare.target.size if bare.kind == 'array' else bare.record.size

    @property
    def element(self):
        """What an array of any dimensions holds; anything else is its own element."""
        return self.bare.target.element if self.bare.kind == 'array' else self.bare

    @property
    def is_aggregate(self):
        return self.bare.kind in ('struct', 'union')

    @property
    def is_declared_only(self):
        return self.is_aggregate and self.bare.record.target is None

    @property
    def is_number(self):
        """Whether ftrace can show it as a number."""
        return self.bare.size in (1, 2, 4, 8) and self.bare.kind in (
            'int', 'enum', 'pointer', 'float')

    @property
    def is_text(self):
        """Whether it is a character of a string: a char, or a const unsigned char (dentry names).

        A u8 is a number, and so is an unsigned char that is not const.
        """
        found, taken = self._unwrapped(QUALIFIERS)
        return (found.kind, found.name) == ('int', 'char') or (
            (found.kind, found.name) == ('int', 'unsigned char') and 'const' in dict(taken))

    @property
    def is_user(self):
        """Whether it is tagged as memory of user space (__user)."""
        return ('type_tag', 'user') in self._unwrapped(QUALIFIERS)[1]

    def pointer(self):
        return self.to(Record('pointer', size=POINTER_SIZE, target=self.record))

    def own_members(self):
        """Return the Members that are declared in it, those without a name among them."""
        return [member._replace(type=self.to(member.type))
                for member in self.source.members(self.bare.record)]

    def members(self):
        """Yield the Members that have a name, in nameless ones too, as C finds them."""
        waiting, seen = [(0, self)], 0
        while waiting:
            start, found = waiting.pop()
            for member in found.own_members():
                member = member._replace(bit_offset=start + member.bit_offset)
                if member.name:
                    yield member
                elif member.type.is_aggregate:
                    waiting.append((member.bit_offset, member.type))
            seen += 1
            if seen > 1000:
                raise SourceError('the types are damaged: a struct never ends')

    def member(self, name):
        """Return the Member of that name, None if there is none."""
        return next((member for member in self.members() if member.name == name), None)

    def names(self):
        """Return the (name, number) pairs of an enum, or of bool."""
        bare = self.bare
        if (bare.kind, bare.name) == ('int', '_Bool'):
            return (('false', 0), ('true', 1))
        return tuple(self.source.enumerators(bare.record)) if bare.kind == 'enum' else ()

    def __str__(self):
        return self.declare('')

    def declare(self, name, words=None):
        """Return the C declaration of a name as this type; words(Type) spells one of no other."""
        found, qualifiers = self, ''
        for _ in range(CHAIN_LIMIT):
            if found.kind in ('array', 'function') and name.startswith('*'):
                name = '(%s)' % name
            if found.kind == 'pointer':
                name = '*' + name
            elif found.kind == 'array':
                name += '[%s]' % (found.length or '')
            elif found.kind == 'function' and found.record.target:
                name += '(%s)' % parameter_list(self.source, found.record.target, words)
                found = self.to(found.record.target.result)
                continue
            elif found.kind in ('const', 'volatile') and found.target.kind == 'pointer':
                name = found.kind + ' ' + name
            elif found.kind in ('const', 'volatile'):
                if found.kind not in qualifiers:    # an array and its elements may both be const
                    qualifiers += found.kind + ' '
            elif found.kind not in QUALIFIERS:
                gap = '' if name.startswith('[') else ' '
                return (qualifiers + (words or base_words)(found) + gap + name).rstrip()
            found = found.target
        return '...'


def base_words(found):
    """Return C's words for a Type that is made of no other."""
    if found.kind == 'int':
        known = find_integer(found.name.split())
        return known.name if known else found.name
    tag = found.kind + ' ' if found.kind in ('struct', 'union', 'enum') else ''
    return tag + (found.name or (found.kind if found.kind in ('void', 'function') else '{...}'))


def parameter_list(source, function, words=None):
    """Return the types of a Function's parameters as C lists them."""
    listed = [Type(source, parameter.type).declare('', words) for parameter in function.parameters]
    return ', '.join('...' if word == 'void' else word for word in listed) or 'void'


def named_parameters(source, function):
    """Return a Function's parameters without the void that ends a variable list (...)."""
    return [parameter for parameter in function.parameters
            if Type(source, parameter.type).kind != 'void']


def prototype(source, function):
    """Return a Function as C declares it."""
    return Type(source, Record('function', target=function)).declare(function.name)


def find_type(source, text, column=None):
    """Return the Type that text spells in C, 'const struct sock **'; else raise TraceError."""
    name, declared = c_declaration(text)
    found = None if name else c_type(source, declared)
    if found is None:
        word = text.partition(' ')[0]
        meant = re.match(r'\w+$', word) and source.find('struct', word)
        raise TraceError("there is no type '%s' here%s" % (
            text, ": did you mean 'struct %s'?" % text if meant else
            '; write it as C does: struct sock *, unsigned long, u32'), column)
    return Type(source, found)


def c_type(source, declared):
    """Return the reference, or the Record, of a declared type; None if its base is unknown."""
    if not isinstance(declared, Record):
        return find_base_type(source, declared.split())
    target = c_type(source, declared.target)
    return None if target is None else declared._replace(target=target)


def find_enum(source, name):
    """Return the reference of the enum of a name, or of an enumerator's name, or None."""
    return source.find('enum', name) or (source.enums_of(name) or [None])[0]


def find_base_type(source, words):
    if len(words) == 2 and words[0] in ('struct', 'union', 'enum'):
        # An enum without a name is called by one of its enumerators.
        return find_enum(source, words[1]) if words[0] == 'enum' else source.find(*words)
    if words == ['void']:
        return Record('void')
    return find_integer(words) or (
        len(words) == 1 and (source.find('typedef', words[0]) or source.find('int', words[0]))
        or None)


def find_integer(words):
    """Return the Record of C's own integer that words spell, in any order, or None."""
    sign = [word for word in words if word in ('signed', 'unsigned')]
    rest = [word for word in words if word not in sign]
    if len(rest) > 1 and 'int' in rest:
        rest.remove('int')
    name = ' '.join(rest) or ('int' if sign else '')
    if name not in INTEGER_SIZES or len(sign) > 1:
        return None
    signed = sign != ['unsigned'] and name != '_Bool'
    return Record('int', ' '.join(sign + [name]), INTEGER_SIZES[name], signed=signed)


# ---------------------------------------------------------------------------
# Values: syntax tree + types + machine -> ftrace's own words
#
# Takes the values of a trace and gives Arguments, the words of a kprobe line
# (Documentation/trace/kprobetrace.rst).  Where a value is (a Place), how it is shown (a
# FetchType, a Form), and a Compiler for one probe.
# ---------------------------------------------------------------------------

# arguments: the registers of the first arguments, in order.  stack: the N of the $stackN that holds
# the first argument without a register, at a function's entry.  by_reference: a struct of more than
# 16 bytes is passed behind a pointer.
Architecture = namedtuple('Architecture', 'name arguments stack by_reference registers')
ARCHITECTURES = {
    'x86_64': Architecture(
        'x86_64', ('di', 'si', 'dx', 'cx', 'r8', 'r9'), 1, False,
        frozenset('ax bx cx dx si di bp sp ip cs ss flags orig_ax'.split()
                  + ['r%d' % i for i in range(8, 16)])),
    'aarch64': Architecture(
        'aarch64', tuple('x%d' % i for i in range(8)), 0, True,
        frozenset(['x%d' % i for i in range(31)] + ['lr', 'sp', 'pc', 'pstate'])),
}

# What the kernel's trace_probe.h allows.
NAME_LIMIT, VALUE_LIMIT, ARGUMENT_LIMIT, LINE_LIMIT, ARRAY_LIMIT = 32, 63, 128, 4095, 64
RESERVED_NAMES = frozenset((
    'common_type', 'common_flags', 'common_preempt_count', 'common_pid', 'common_tgid',
    '__probe_ip', '__probe_ret_ip', '__probe_func'))


class Argument(namedtuple('Argument', 'name words fetch_type form column warning')):
    """A value of a probe.

    words -- what stands behind NAME=, without the type
    form -- a Form, None if the kernel's text is shown as it is
    column -- of the value in the trace
    warning -- what is less than was asked for, or ''
    """

    @property
    def text(self):
        """What stands behind NAME= in a kprobe line."""
        return '%s:%s' % (self.words, self.fetch_type) if self.fetch_type.name else self.words

    @property
    def kind(self):
        """What a filter takes it for: array, string, signed or unsigned."""
        return 'string' if self.words == '$comm' else self.fetch_type.kind


class FetchType(namedtuple('FetchType', 'name bits first unit length')):
    """How ftrace reads and shows a value.

    name -- s, u, x, b (a bitfield), string, ustring, symbol, symstr, char, or '' for its own choice
    bits -- how many a number or a bitfield has; first, unit -- of a bitfield, in bits
    length -- of an array, None for a single value
    """

    def __str__(self):
        text = self.name + ('%d' % self.bits if self.bits and self.name != 'char' else '')
        if self.name == 'b':
            text += '@%d/%d' % (self.first, self.unit)
        return text + ('[%d]' % self.length if self.length is not None else '')

    @property
    def kind(self):
        return ('array' if self.length is not None else 'string' if 'str' in self.name else
                'signed' if self.name == 's' else 'unsigned')

    @property
    def is_read_in_memory(self):
        return self.name in ('string', 'ustring') or self.length is not None


FetchType.__new__.__defaults__ = (None, None, None, None)
NO_TYPE = FetchType('')


# What kernels have learned: how tracefs/README tells it, since when, and the fetch type that does
# instead, None if none does.  (Before x8 to x64, u8 to u64 print hexadecimal.)
Feature = namedtuple('Feature', 'sign version instead')
FEATURES = {
    'hexadecimal': Feature('x8/16/32/64', '4.9', FetchType('u')),
    'array': Feature('<array-size>', '4.20', None),
    'symbol': Feature(', symbol,', '4.20', FetchType('x', 64)),
    'ustring': Feature('ustring', '5.3', FetchType('string')),
    'symstr': Feature('symstr', '6.2', FetchType('symbol')),
    'char': Feature(' char,', '6.12', FetchType('x', 8)),       # or earlier; 6.1 lacks it
    'checks of types': Feature('<argname>', '6.5', None),       # it knows what functions return
    'arguments on return': Feature('%pd', '6.9', None),         # (the sign is of 6.10)
}
# What is assumed of a kernel that cannot be asked.  It has BTF, or is as old; `char` has a good
# substitute.
USUAL_FEATURES = frozenset(FEATURES) - frozenset(['char'])


def written_type(text):
    """Return the FetchType that a person wrote behind a colon."""
    name, bits, first, unit, length = re.match(
        r'([a-z]+?)([0-9]*)(?:@([0-9]+)/([0-9]+))?(?:\[([0-9]+)\])?$', text).groups()
    if name == 'char':
        bits = '8'
    return FetchType(name, *[each and int(each) for each in (bits or None, first, unit, length)])


def number_type(letter, size):
    return FetchType(letter.lower(), 8 * size)


# Forms: numbers that are shown as what they mean, and written so in the filter

class Form(namedtuple('Form', 'size what show read fetch_type names')):
    """How a value is shown instead of the kernel's text, and written in a filter.

    size -- in bytes, of the value that it takes; None for any number
    what -- words for what a filter's operand has to be
    show(form, text) -- the kernel's text as the person sees it
    read(form, text) -- a filter's operand as a number for the kernel; ValueError if it is none
    fetch_type -- how it is fetched, None for a plain number
    names -- (name, number) pairs
    """

    def shown(self, text):
        return self.show(self, text)


Form.__new__.__defaults__ = (None, ())
BYTE_ORDERS = dict((size, (struct.Struct('<' + code), struct.Struct('>' + code)))
                   for size, code in ((2, 'H'), (4, 'I'), (8, 'Q')))


def swapped(value, size):
    """Return a number with its bytes, size of them, in the other order."""
    little, big = BYTE_ORDERS[size]
    return big.unpack(little.pack(value & (1 << 8 * size) - 1))[0]


def show_hexadecimal(form, text):
    return '0x%x' % swapped(int(text, 0), form.size)


def show_decimal(form, text):
    return '%d' % swapped(int(text, 0), form.size)


def read_swapped(form, text):
    value = number(text)
    if value >> 8 * form.size:
        raise ValueError(text)
    return ('0x%x' if form.show is show_hexadecimal else '%d') % swapped(value, form.size)


def show_ip(_, text):
    return '%d.%d.%d.%d' % struct.unpack('4B', struct.pack('<I', int(text, 0) & 0xffffffff))


def read_ip(_, text):
    if not re.match(r'[0-9]{1,3}(?:\.[0-9]{1,3}){3}$', text):
        raise ValueError(text)
    parts = bytearray(int(part) for part in text.split('.'))        # ValueError from 256 on
    return '0x%x' % struct.unpack('<I', bytes(parts))


def show_mac(_, text):
    return '%02x:%02x:%02x:%02x:%02x:%02x' % struct.unpack(
        '6B2x', struct.pack('<Q', int(text, 0) & 0xffffffffffff))


def read_mac(_, text):
    if not re.match(r'[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$', text):
        raise ValueError(text)
    return '0x' + ''.join(reversed(text.split(':')))


def show_ip6(_, text):
    """Return 16 bytes, printed as an array, as an IPv6 address (RFC 5952)."""
    data = [int(part, 16) for part in text.strip('{}').split(',')]
    text = ':'.join('%x' % (data[at] << 8 | data[at + 1]) for at in range(0, 16, 2))
    zeros = list(re.finditer(r'(?<![^:])0(?::0)+(?![^:])', text))
    if not zeros:
        return text
    longest = max(zeros, key=lambda row: len(row.group()))      # the first of several
    return text[:longest.start()].rstrip(':') + '::' + text[longest.end():].lstrip(':')


def show_name(form, text):
    return dict((value, name) for name, value in reversed(form.names)).get(int(text, 0), text)


def read_name(form, text):
    return '%d' % dict(form.names)[text]


def show_error(_, text):
    name = KERNEL_ERRORS.get(-int(text, 0)) or errno.errorcode.get(-int(text, 0))
    return '-' + name if name else text


def read_error(_, text):
    if text[:1] != '-':
        raise KeyError(text)
    value = getattr(errno, text[1:], None)      # Python knows both names where there are two
    if not isinstance(value, int):
        value = dict((name, each) for each, name in KERNEL_ERRORS.items())[text[1:]]
    return '-%d' % value


FORMS = {       # by the beginning of a value's name
    'ip_': Form(4, 'IPv4 address, as in 10.0.0.1', show_ip, read_ip),
    'mac_': Form(6, 'MAC address, as in 52:54:00:12:34:56', show_mac, read_mac,
                 FetchType('b', 48, 0, 64)),        # as a number, which filters take
    'ip6_': Form(16, 'IPv6 address', show_ip6, None, FetchType('x', 8, length=16)),
}
for bytes_swapped in sorted(BYTE_ORDERS):
    for initial, show_as in (('B', show_hexadecimal), ('b', show_decimal)):
        FORMS['%s%d_' % (initial, 8 * bytes_swapped)] = Form(
            bytes_swapped, 'number of %d bytes' % bytes_swapped, show_as, read_swapped)
ERROR_FORM = Form(None, 'name of an error, as in -ENOENT', show_error, read_error)
# Errors within the kernel (include/linux/errno.h), which no program sees, those that Python 2 does
# not know, and the kernel's own names where there are two.
KERNEL_ERRORS = {
    35: 'EDEADLK', 95: 'EOPNOTSUPP', 123: 'ENOMEDIUM', 124: 'EMEDIUMTYPE', 125: 'ECANCELED',
    126: 'ENOKEY', 127: 'EKEYEXPIRED', 128: 'EKEYREVOKED', 129: 'EKEYREJECTED', 130: 'EOWNERDEAD',
    131: 'ENOTRECOVERABLE', 132: 'ERFKILL', 133: 'EHWPOISON',
    512: 'ERESTARTSYS', 513: 'ERESTARTNOINTR', 514: 'ERESTARTNOHAND', 515: 'ENOIOCTLCMD',
    516: 'ERESTART_RESTARTBLOCK', 517: 'EPROBE_DEFER', 518: 'EOPENSTALE', 519: 'ENOPARAM',
    521: 'EBADHANDLE', 522: 'ENOTSYNC', 523: 'EBADCOOKIE', 524: 'ENOTSUPP', 525: 'ETOOSMALL',
    526: 'ESERVERFAULT', 527: 'EBADTYPE', 528: 'EJUKEBOX', 529: 'EIOCBQUEUED',
    530: 'ERECALLCONFLICT', 531: 'ENOGRACE'}


def form_of(name):
    """Return the Form that a value's name asks for, or None."""
    return FORMS.get(name[:name.find('_') + 1])


def names_form(found):
    """Return the Form of a Type whose numbers have names, None if they have none."""
    names = found.names()
    return Form(None, None, show_name, read_name, None, names) if names else None


# Places: where a value is

# kind: 'register' (base is the word for it), 'memory' (it lies offset bytes behind the address
# base), or 'address' (it is that address, which ftrace can follow but not show).  The base &NAME is
# the address of a symbol.  type: a Type, None if it is not known.  bits: (first, count) of a
# bitfield or of a part of a register, else None.
Place = namedtuple('Place', 'kind base offset type bits')
Place.__new__.__defaults__ = (0, None, None)


def words_of(place):
    """Return ftrace's words for a Place, without a type."""
    if place.kind == 'register':
        return place.base
    if place.base.startswith('&'):      # ftrace's @ reads at the address of a symbol
        return '@' + place.base[1:] + ('+0x%x' % place.offset if place.offset else '')
    return '+0x%x(%s)' % (place.offset, place.base)


def pointee(place):
    """Return the Place that a pointer, or an address, leads to."""
    target = place.type.bare.target
    if place.kind == 'address':
        return place._replace(kind='memory', type=target)
    return Place('memory', words_of(place), 0, target)


def this(found):
    return "this, '%s'," % found


def bare_type(place, cast, column):
    """Return the bare Type of a Place; raises TraceError if it is not known."""
    if place.type is None:
        raise TraceError('the type of %s is not known here: cast it, %s' % (words_of(place), cast),
                         column)
    return place.type.bare


def check_memory(place, what, column, hint=''):
    """Check that a Place is no register, of which ftrace reads no parts."""
    if place.kind == 'register':
        raise TraceError('%s lies in a register, of which ftrace reads no %s%s' % (
            this(place.type), what, hint), column)


def step(place, access):
    """Return the Place that an Access leads to: ->NAME, .NAME, [i], or a cast."""
    if access.operator:
        place = member_of(holder(place, access), access.name)
    for index in access.indexes:
        place = element_of(place, index)
    if access.cast and place.bits:
        raise TraceError('a bitfield, or a part of a register, cannot be cast', access.cast.column)
    return cast(place, access.cast, place.type.source) if access.cast else place


def holder(place, access):
    """Return the Place of the struct or union that an Access takes a member of."""
    operator, name = access.operator, access.name
    whole = place.type
    kind = bare_type(place, '!(struct NAME%s)%s%s%s' % (
        ' *' if operator.text == '->' else '', words_of(place), operator.text, name.text),
        operator.column).kind
    if kind == 'pointer':
        if operator.text == '.':
            raise TraceError('%s is a pointer: use ->%s' % (this(whole), name.text),
                             operator.column)
        place = pointee(place)
        kind = place.type.bare.kind
    elif operator.text == '->' and place.type.is_aggregate:
        raise TraceError('%s is not a pointer: use .%s' % (this(whole), name.text),
                         operator.column)
    if kind == 'array':
        raise TraceError('%s is an array: take one element, [0]' % this(place.type),
                         operator.column)
    if not place.type.is_aggregate:
        raise TraceError('%s has no members%s' % (this(whole), {
            'void': ': cast it, !(struct NAME *)',
            'pointer': ': put [0] before the ->, to follow one pointer more'}.get(kind, '')),
            operator.column)
    if place.type.size > POINTER_SIZE:
        check_memory(place, 'members', operator.column,
                     '; if that holds its address, the type is %s *' % place.type)
    return place


def member_of(place, name):
    found = place.type.member(name.text)
    if found is None:
        names = [member.name for member in place.type.members()]
        raise TraceError("%s has no member '%s'%s" % (
            place.type.bare, name.text, nearest(name.text, names) if names
            else ': it is only declared in these types'), name.column)
    if place.kind == 'memory':
        bits = (found.bit_offset % 8, found.bit_size) if found.bit_size else None
        return place._replace(offset=place.offset + found.bit_offset // 8, type=found.type,
                              bits=bits)
    first = (place.bits or (0,))[0] + found.bit_offset
    count = found.bit_size or 8 * found.type.size
    whole = first == 0 and count == 8 * found.type.size
    return place._replace(type=found.type, bits=None if whole else (first, count))


def element_of(place, index):
    """Return the Place of an array's element, or of what a pointer points at, as in C."""
    held, at = bare_type(place, '!(TYPE *)', index.column), below(index, OFFSET_LIMIT, 'array')
    if held.kind == 'pointer':
        place = pointee(place)
        if not place.type.size:
            raise TraceError('%s points at nothing that has a size: cast it' % this(held),
                             index.column)
        return place._replace(offset=place.offset + at * place.type.size)
    if held.kind != 'array':
        raise TraceError('%s is no array' % this(place.type), index.column)
    check_memory(place, 'elements', index.column)
    if held.length and at >= held.length:
        raise TraceError('the index is past the end: the array has %s, 0 to %d' % (
            count_of(held.length, 'element'), held.length - 1), index.column)
    return place._replace(offset=place.offset + at * held.target.size, type=held.target)


def cast(place, written, source):
    """Return a Place as of another type; as in C, an array cast to a pointer is its address."""
    found = find_type(source, written.text, written.column)
    before = place.type and place.type.bare
    if before and before.kind == 'array' and found.bare.kind == 'pointer':
        return place._replace(kind='address', type=found)
    if before and before.kind in ('int', 'enum') and before.size < found.size:
        if found.bare.kind == 'pointer' or found.is_aggregate:
            raise TraceError('%s has %s, too few for %s' % (
                this(place.type), count_of(before.size, 'byte'),
                'an address' if found.bare.kind == 'pointer' else "a '%s'" % found),
                written.column)
        # What lies beside the value is something else.
        found = found.to(found.bare.record._replace(size=before.size))
    return place._replace(type=found)


def below(token, limit, what):
    """Return the number that a token is, which is to be below a limit."""
    try:
        value = number(token.text)
    except ValueError:
        value = limit
    if value >= limit:
        raise TraceError('no %s is as large as that' % what, token.column)
    return value


# Packets: headers behind a struct sk_buff

# By header: the layer it begins, or lies behind the start of, and the header before it.
HEADERS = {'ethhdr': ('l2', None), 'vlan_hdr': ('l3', 'ethhdr'), 'ipv6hdr': ('l3', 'ethhdr'),
           'iphdr': ('l3', 'ethhdr'), 'icmphdr': ('l4', 'iphdr'), 'tcphdr': ('l4', 'iphdr'),
           'udphdr': ('l4', 'iphdr')}
LAYERS = ('l2', 'l3', 'l4')
# What follows a header, as an array of 1, 2, 4 or 8 bytes, and as a string.
PACKET_DATA = dict(
    (name, Record('array', target=Record('int', kind, size))) for name, kind, size in (
        ('cdata', 'u8', 1), ('sdata', 'u16', 2), ('ldata', 'u32', 4), ('qdata', 'u64', 8),
        ('Sdata', 'char', 1)))


def headers_before(name, layer):
    """Return the headers between the start of a layer and a header, None if it is not there."""
    own, before = HEADERS[name]
    if own == layer:
        return ()
    above = headers_before(before, layer) if before else None
    return None if above is None else above + (before,)


def layers_of(name):
    return [layer for layer in LAYERS
            if name in HEADERS and headers_before(name, layer) is not None]


# A probe's values

class Compiler(object):
    """What compiles the values of one trace, on one symbol.

    kernel is the Kernel that is traced, source the one of types for this symbol.
    """

    def __init__(self, trace, symbol, source, kernel):
        self.trace, self.symbol, self.source, self.kernel = trace, symbol, source, kernel
        self.architecture = kernel.architecture
        self.is_inside = bool(trace.offset and below(trace.offset, OFFSET_LIMIT, 'function'))
        self._functions = None

    # The function

    def function(self, base):
        """Return the Function that is traced, None if no prototype is known.

        Of a variant such as ip_rcv.constprop.0 the parameters are known only where debug info
        tells: the compiler moves and drops arguments, and BTF has the prototype of ip_rcv.
        """
        if self._functions is None:
            found = self.source.functions(self.symbol)
            if not found and '.' in self.symbol and self.source.kind == 'BTF':
                found = [each._replace(parameters=None)
                         for each in self.source.functions(self.symbol.partition('.')[0])][:1]
            self._functions = dict((each.parameters is None or prototype(self.source, each), each)
                                   for each in found)
        if len(self._functions) > 1:
            raise TraceError('several functions have this name: %s; say which with a cast, !(TYPE)'
                             % '; '.join(sorted(self._functions)), base.column)
        return list(self._functions.values())[0] if self._functions else None

    def compile(self, value):
        """Return the Argument of a Value."""
        if value.raw:
            words, colon, fetch_type = value.raw.text.rpartition(':')
            known = colon and re.match(FETCH_TYPE, fetch_type)
            return self._finished(value, words if known else value.raw.text,
                                  written_type(fetch_type) if known else NO_TYPE, None)
        place, accesses, letter = self._base(value), list(value.accesses), 'X'
        if value.packet:
            place, letter = self._packet(value, place, accesses), 'U'
        for access in accesses:
            place = step(place, access)
        words, fetch_type, form = Shown(value, place).words(letter)
        if self._may_be_error(value, place):
            form = ERROR_FORM
        return self._finished(value, words, fetch_type, form)

    def _may_be_error(self, value, place):
        """Tell whether a value, S$retval, may be an error."""
        if value.base.text != '$retval' or not value.letter or value.letter.text != 'S' or (
                value.accesses or value.fetch_type):
            return False
        held = place.type and place.type.bare
        return not held or held.kind == 'pointer' or held.kind == 'int' and held.name != '_Bool'

    def _finished(self, value, words, fetch_type, form):
        """Return the Argument, once it fits what the kernel takes and what its name asks for."""
        name, column = value.name.text, (value.raw or value.base).column
        warning, asked = '', form_of(name)
        if not value.raw:
            fetch_type, warning = self.kernel.supported(fetch_type)
        argument = Argument(name, words, fetch_type, asked or form, column,
                            self._warned(value, warning))
        if len(argument.text) > VALUE_LIMIT:
            raise TraceError('the kernel takes a value of %d characters, this one becomes %d: %s; '
                             'start from a register nearer to it'
                             % (VALUE_LIMIT, len(argument.text), argument.text), column)
        prefix = name[:name.find('_') + 1]
        if form and form.fetch_type and warning:
            raise TraceError('%s takes an array: %s' % (prefix, warning), column)
        if asked and form != asked and not (
                fetch_type == asked.fetch_type or fetch_type.kind in ('signed', 'unsigned')
                and fetch_type.name != 'b' and fetch_type.bits == 8 * asked.size):
            held = fetch_type.bits and fetch_type.name != 'b' and fetch_type.length is None
            raise TraceError("'%s' shows a number of %d bytes, and this is %s; another name "
                             'leaves it as it is' % (
                                 prefix, asked.size, 'one of %d' % (fetch_type.bits // 8) if held
                                 else 'none (name its :type)'), column)
        return argument

    def _warned(self, value, warning):
        """Return a warning that also tells if a cast names one of several structs."""
        casts = [value.cast] + [access.cast for access in value.accesses]
        warnings = [warning] if warning else []
        for kind, name in sorted(set(re.findall(r'(struct|union) +(\w+)', ' '.join(
                cast.text for cast in casts if cast)))):
            copies = self.source.copies(kind, name)
            if copies > 1:
                taken = Type(self.source, self.source.find(kind, name))
                warnings.append('%d different ones are called %s %s here; taken is that of %d '
                                'bytes' % (copies, kind, name, taken.size))
        return '; '.join(warnings)

    # Bases: what a value starts from

    def _base(self, value):
        base = value.base
        place = getattr(self, '_base_' + base.kind)(value, base)
        return cast(place, value.cast, self.source) if value.cast else place

    def _base_register(self, _, base):
        # ftrace's names drop the r of %rdi.
        for name in (base.text, base.text[1:] if base.text.startswith('r') else ''):
            if name in self.architecture.registers:
                return Place('register', '%' + name)
        raise TraceError('%s has no register %%%s%s' % (
            self.architecture.name, base.text, nearest(base.text, self.architecture.registers)),
            base.column)

    def _base_variable(self, value, base):
        if base.text == '$comm' and (value.cast or value.packet or value.accesses or value.letter):
            raise TraceError('$comm is a string: no letter, cast or member goes with it',
                             (value.letter or base).column)
        if base.text != '$retval':
            return Place('register', base.text)
        if self.trace.kind != 'r':
            raise TraceError('$retval is there on return only: begin the trace with r', base.column)
        checks = 'checks of types' in self.kernel.features
        needs_type = value.accesses or value.packet or value.letter and not value.fetch_type
        if value.cast and not checks or not (checks or needs_type):
            return Place('register', base.text)
        return Place('register', base.text, type=self._result(value, base, needs_type))

    def _result(self, value, base, needs_type):
        """Return the Type that the function returns, None if it is not known."""
        try:
            function = self.function(base)
        except NoTypesError:
            if value.accesses or value.packet:
                raise
            return None
        except TraceError:
            # Of several functions, those that return nothing are not meant.
            results = self._results()
            if len(results) != 1 and needs_type and not value.cast:
                raise
            return list(results.values())[0] if len(results) == 1 else None
        result = function and Type(self.source, function.result)
        if result and result.bare.kind == 'void':
            raise TraceError('%s returns nothing (void)' % function.name, base.column)
        return result

    def _results(self):
        """Return the Types that the functions of this name return, by their words, but void."""
        found = [Type(self.source, function.result) for function in self._functions.values()]
        return dict((str(each), each) for each in found if each.bare.kind != 'void')

    def _base_symbol(self, _, base):
        """Return the Place of a variable: what lies at the symbol."""
        try:
            known = self.source.variable(base.text)
        except NoTypesError:
            known = None        # what lies there can be shown all the same
        self.kernel.check_variable(base)
        if known and known.per_cpu:
            raise TraceError("each CPU has a '%s' of its own, and ftrace reads at one address: "
                             'trace a function that has its address as an argument' % base.text,
                             base.column)
        return Place('memory', '&' + base.text, 0, known and Type(self.source, known.type))

    def _base_argument(self, value, base):
        """Return where an argument lies at the entry, or on return what the kernel kept of it."""
        if self.trace.kind == 'r' and 'arguments on return' not in self.kernel.features:
            raise TraceError('on return the argument registers hold something else, and this '
                             'kernel keeps no arguments, as they do from Linux %s on: there is '
                             '$retval, and an entry trace (p) for the arguments'
                             % FEATURES['arguments on return'].version, base.column)
        if self.is_inside:
            raise TraceError('inside a function the argument registers hold something else: name a '
                             'register, %%%s, with a cast where a member is wanted, '
                             '!(struct NAME *)%%%s->...' % (self.architecture.arguments[:1] * 2),
                             base.column)
        is_counted = base.text.isdigit()
        try:
            function = self.function(base)
        except NoTypesError:
            if value.accesses or value.packet or not is_counted:
                raise
            function = None
        except TraceError:
            if not (is_counted and value.cast):
                raise
            function = None
        if function and function.parameters is not None:
            return self._parameter(base, function)
        if not is_counted or (value.accesses or value.packet) and not value.cast:
            raise TraceError("no prototype of '%s' is known here, so %s %s%s" % (
                self.symbol, spelled(base), self._untyped_problem(value),
                self.kernel.spelling_hint(self.symbol, self.source)), base.column)
        return self._slot(below(base, ARGUMENT_LIMIT, 'list of arguments'), (), None, base)

    def _untyped_problem(self, value):
        """Return what is wrong with an argument of no known type, and what to write."""
        base, packet = value.base, value.packet
        if packet:
            return 'has no type: cast it, @(struct %s *)%s!(struct sk_buff **)%s->...' % (
                packet.header.text, packet.layer.text if packet.layer else '', spelled(base))
        if base.text.isdigit():
            return 'has no type: cast it, !(struct NAME *)%s->...' % spelled(base)
        if '.' not in self.symbol:
            return ('is not known: count it, and cast it, !(struct NAME *)%0->... for the first '
                    'argument')
        return 'may lie anywhere: ' + (
            'use an entry trace (p) and a register' if self.trace.kind == 'r' else
            'name a register, with a cast where a member is wanted')

    def _parameter(self, base, function):
        """Return the Place of a parameter of a Function whose prototype is known."""
        parameters = named_parameters(self.source, function)
        index = parameter_index(base, function, parameters, self.source)
        if '' in [parameter.location for parameter in parameters]:
            left = ['%s in %%%s' % (parameter.name or Type(self.source, parameter.type),
                                    parameter.location)
                    for parameter in parameters if parameter.location]
            raise TraceError('the compiler rearranged the arguments of %s, so %s cannot be '
                             'located: name a register, with a cast where a member is wanted '
                             '(known: %s)' % (function.name, spelled(base),
                                              ', '.join(left) or 'none'), base.column)
        place = self.parameter_place(index, function, base)
        if place is None:
            raise TraceError('cannot tell where %s is passed: it, or one before it, is a float, 16 '
                             'bytes long, or unaligned: name a register' % spelled(base),
                             base.column)
        return place

    def parameter_place(self, index, function, base=None):
        """Return the Place of a Function's parameter, None if that cannot be told."""
        kinds = [Type(self.source, each.type) for each in function.parameters[:index + 1]]
        location = function.parameters[index].location
        if location is not None:
            return Place('register', '%' + location, type=kinds[index])
        for found in kinds + [Type(self.source, function.result)]:
            if found.bare.kind == 'missing' or found.is_declared_only:
                raise SourceError("these types do not say how large '%s' is, an argument that "
                                  'moves the others: name a register' % found)
        if not all(is_passed_as_usual(found) for found in kinds):
            return None
        return self._slot(index, kinds, Type(self.source, function.result), base)

    def _slot(self, index, kinds, result, base):
        """Return the Place of an argument by the calling convention (System V x86-64, AAPCS64).

        kinds are the Types of the arguments up to this one, or fewer: the others take one word.
        """
        names, by_reference = self.architecture.arguments, self.architecture.by_reference
        used, stack = 0, self.architecture.stack
        if result and result.is_aggregate and result.size > 16 and not by_reference:
            used = 1                    # the address that the result is written to comes first
        for position in range(index + 1):
            found = kinds[position] if position < len(kinds) else None
            size = found.size if found and found.is_aggregate else POINTER_SIZE
            is_behind_pointer = size > 16 and by_reference
            count = 1 if is_behind_pointer else (size + 7) // 8
            in_registers = count <= 2 and used + count <= len(names)
            first = used if in_registers else stack
            if in_registers:
                used += count
            else:
                stack += count
                used = len(names) if by_reference and count > 1 else used
        if in_registers:
            base_words = '%' + (names[first:] + ('',))[0]
        else:
            base_words = '$stack%d' % first
        is_on_stack = not in_registers and size > POINTER_SIZE and not is_behind_pointer
        if self.trace.kind == 'r':
            base_words = self._kept(first, in_registers, is_on_stack, base)
        if is_behind_pointer:
            return Place('memory', base_words, 0, found)
        if is_on_stack:
            return Place('memory', '$stack', 8 * first, found)
        return Place('register', base_words, type=found)

    def _kept(self, first, in_registers, is_struct, base):
        """Return the words for what the kernel keeps of an argument until the return."""
        if is_struct or not in_registers and self.architecture.by_reference:
            raise TraceError('on return the kernel keeps no argument that lies in $stack%d: use an '
                             'entry trace (p)' % first, base.column)
        return '$arg%d' % (1 + (first if in_registers else len(self.architecture.arguments)
                                - self.architecture.stack + first))

    # Packets

    def _packet(self, value, place, accesses):
        """Return where a packet's header begins, or what follows it (then accesses change)."""
        header, layer = value.packet.header, value.packet.layer
        mark = layer.text if layer else 'l3'
        if mark not in layers_of(header.text):
            legal = layers_of(header.text)
            raise TraceError("there is no '%s' at %s: %s" % (
                header.text, mark if layer else 'l3, the layer where none is named',
                'its layers are ' + ', '.join(legal) if legal else
                'the headers are ' + ', '.join(sorted(HEADERS))), header.column)
        data = self._skb_data(value, place)
        found = self._struct(header.text, header)
        before = sum(self._struct(name, header).size
                     for name in headers_before(header.text, mark))
        if not accesses:
            raise TraceError('name a member of the header: %s->%s' % (header.text, ' or ->'.join(
                member.name for member in found.members())), value.base.column)
        if not accesses[0].operator:
            raise TraceError('leave out the index: of a struct sk_buff ** the first skb is taken',
                             accesses[0].indexes[0].column)
        behind = PACKET_DATA.get(accesses[0].name.text)
        if behind and accesses[0].operator.text == '->':
            accesses[0] = accesses[0]._replace(operator=None)
            return Place('memory', data, before + found.size, found.to(behind))
        return Place('address', data, before, found.pointer())

    def _skb_data(self, value, place):
        """Return ftrace's words for sk_buff->data; a struct sk_buff ** is followed once more."""
        skb = self._struct('sk_buff', value.packet.header)
        if place.type is None:
            place = place._replace(type=skb.pointer())
        elif place.type.bare.kind == 'pointer' and place.type.bare.target.bare.kind == 'pointer':
            place = pointee(place)
        held = place.type.bare
        target = held.target.bare if held.kind == 'pointer' else held
        if held.kind != 'pointer' or (target.kind, target.name) != ('struct', 'sk_buff'):
            raise TraceError('%s is no struct sk_buff *: @(...) reads the packet of an skb; or '
                             'cast it, !(struct sk_buff *)' % this(held), value.base.column)
        data = skb.member('data')
        if data is None:
            raise SourceError('struct sk_buff has no member data in these types')
        return words_of(pointee(place)._replace(offset=data.bit_offset // 8))

    def _struct(self, name, token):
        ref = self.source.find('struct', name)
        if ref is None:
            raise TraceError("these types have no 'struct %s'" % name, token.column)
        return Type(self.source, ref)


def spelled(base):
    """Return an argument as the person wrote it."""
    return ('%' if base.text.isdigit() else '$') + base.text


def parameter_index(base, function, parameters, source):
    """Return the number, from 0, of the parameter that a base counts or names."""
    names = [parameter.name for parameter in parameters]
    if base.text in names:
        return names.index(base.text)
    if not base.text.isdigit():
        raise TraceError("%s has no argument '%s'%s" % (
            function.name, base.text, nearest(base.text, names) or (
                ': it has ' + ', '.join(names) if all(names) and names else
                '; these types do not tell their names: count, %%0 is the first of %d' % len(names)
                if names else ': it has none')), base.column)
    index = below(base, ARGUMENT_LIMIT, 'list of arguments')
    if index >= len(parameters):
        raise TraceError('%s has %s: %s' % (function.name, count_of(
            len(parameters), 'argument'), prototype(source, function)), base.column)
    return index


def is_passed_as_usual(found, at=0):
    """Tell whether Compiler._slot() knows how an argument, or a part at a bit of it, is passed."""
    bare = found.bare
    if bare.kind == 'array':
        return is_passed_as_usual(bare.target, at)
    if bare.is_aggregate:
        return all(member.bit_size or is_passed_as_usual(member.type, at + member.bit_offset)
                   for member in bare.own_members())
    return bare.kind != 'float' and bare.size <= POINTER_SIZE and not (
        bare.size and at % (8 * bare.size))


# How a place is shown

class Shown(object):
    """How the value at a Place is shown: ftrace's words, a FetchType, and a Form or None."""

    def __init__(self, value, place):
        self.value, self.place, self.type = value, place, place.type
        self.letter = value.letter and value.letter.text
        names = [access.name for access in value.accesses if access.name]
        self.end = (names[-1] if names else value.base).column      # of the last word

    def words(self, letter):
        """Return the three; letter is how a number is shown where the person did not say."""
        value, place, asked = self.value, self.place, form_of(self.value.name.text)
        if asked and asked.fetch_type:
            return self._address(asked)
        if value.fetch_type:
            return self._written()
        if not (self.letter or value.cast or value.accesses or value.packet) and (
                value.base.kind == 'register' or value.base.text in ('$retval', '$comm')):
            return place.base, NO_TYPE, None
        if self.type is None:
            return words_of(place), number_type(self.letter or 'X', POINTER_SIZE), None
        if place.bits:
            return self._bitfield()
        if self.type.bare.kind == 'array':
            return self._array()
        return self._single(letter)

    def _single(self, letter):
        """The same of what is no array and no bitfield."""
        held, place = self.type.bare, self.place
        if not self.letter and held.kind == 'pointer':
            if held.target.is_text:
                text = FetchType('ustring' if held.target.is_user else 'string')
                return words_of(pointee(place)), text, None
            if held.target.bare.kind == 'function':
                return words_of(place), FetchType('symbol'), None
        if place.kind == 'address' or held.size not in (1, 2, 4, 8) or held.kind == 'void':
            raise TraceError(self._unshowable(), self.end)
        if self.letter:
            return words_of(place), number_type(self.letter, held.size), None
        if (held.kind, held.name) == ('int', 'char'):
            return words_of(place), FetchType('char', 8), None
        letter = 'S' if held.kind == 'enum' and held.signed else letter
        return words_of(place), number_type(letter, held.size), names_form(held)

    def _written(self):
        """The same with a :type; a string or an array is read where a pointer points."""
        token, fetch_type, place = self.value.fetch_type, written_type(
            self.value.fetch_type.text), self.place
        if place.kind == 'register' and place.bits:
            raise TraceError('it is bits %d to %d of a register, which no type of ftrace takes: '
                             'leave out the %s' % (place.bits[0], sum(place.bits) - 1, token.text),
                             token.column)
        if place.kind == 'address' and not fetch_type.is_read_in_memory:
            raise TraceError(self._unshowable(), self.end)
        words = words_of(place)
        if fetch_type.is_read_in_memory and self.value.base.text != '$comm':
            if self.type and self.type.bare.kind == 'pointer':
                words = words_of(pointee(place))
            elif place.kind == 'register' and self.type:
                raise TraceError('%s lies in a register, and is no pointer: there is no %s there'
                                 % (this(self.type), token.text), token.column)
            elif place.kind == 'register':
                words = '+0x0(%s)' % words
        return words, fetch_type, None

    def _address(self, asked):
        """The same for a MAC address (6 bytes) or an IPv6 address (16)."""
        value, place, found = self.value, self.place, self.type
        prefix = value.name.text[:value.name.text.index('_') + 1]
        if value.letter or value.fetch_type:
            token = value.letter or value.fetch_type
            raise TraceError('%s shows an address: leave out the %s' % (prefix, token.text),
                             token.column)
        fits = False
        if found and found.bare.kind == 'pointer':
            place = pointee(place)
            found = place.type
            fits = found.bare.kind == 'int' and found.size == 1     # the first of its bytes
        if found and (found.bare.kind == 'array' or (found.bare.kind, found.bare.name) == (
                'struct', 'in6_addr')):
            # (MAX_ADDR_LEN is 32, of which a MAC address is the first.)
            fits = found.size in ((6, 32) if asked.size == 6 else (asked.size,))
        if not fits or place.kind == 'register':
            raise TraceError('%s takes the %d bytes of an address in memory, %s, or a pointer to '
                             'them' % (prefix, asked.size, 'an array of u8' if asked.size == 6 else
                                       'a struct in6_addr or an array'), self.end)
        return words_of(place), asked.fetch_type, asked

    def _bitfield(self):
        """The same for a bitfield, or a part of a register: the smallest unit that holds it."""
        first, count = self.place.bits
        unit = [bits for bits in (8, 16, 32, 64) if first + count <= bits]
        if self.type.is_aggregate or self.type.bare.kind == 'array' or not unit:
            raise TraceError(self._unshowable() if unit else 'these %d bits lie in nine bytes, '
                             'which ftrace cannot take in one' % count, self.end)
        if self.letter == 'X' or self.letter == 'S' and self.type.bare.signed:
            raise TraceError('the kernel shows a bitfield, or a part of a register, in decimal and '
                             'without a sign: leave out the %s' % self.letter,
                             self.value.letter.column)
        return (words_of(self.place), FetchType('b', count, first, unit[0]),
                None if self.letter else names_form(self.type))

    def _array(self):
        """The same for a whole array: of char as a string, else as numbers."""
        held, element, letter = self.type.bare, self.type.element, self.letter or 'X'
        check_memory(self.place, 'arrays', self.end)
        if held.target.is_text and held.target.bare.name == 'char':
            if not self.letter:
                return words_of(self.place), FetchType('string'), None
            if letter != 'X':
                raise TraceError('a char array shows as a string, or with X as its bytes; %s goes '
                                 'with an element, [0]' % letter, self.value.letter.column)
        length = self.type.size // element.size if element.size else 0
        if not element.is_number or not length:
            raise TraceError('%s is an array: take one element, [0], or give a :type'
                             % this(self.type), self.end)
        if length > ARRAY_LIMIT:
            raise TraceError('the kernel shows up to %d elements of an array, and this has %d: '
                             'take one, [0]' % (ARRAY_LIMIT, length), self.end)
        return (words_of(self.place),
                number_type(letter, element.size)._replace(length=length), None)

    def _unshowable(self):
        """Return why ftrace cannot show what is here."""
        held = self.type.bare
        if self.place.kind == 'address':
            return ('ftrace shows what lies at an address, not the address itself: take a member '
                    "of this '%s', ->..." % held.target)
        if self.type.is_declared_only:
            return '%s is only declared in these types' % this(self.type)
        if self.type.is_aggregate:
            return '%s is %s long: take a member of it%s' % (
                this(self.type), count_of(held.size, 'byte'),
                ', or call it ip6_...' if held.name == 'in6_addr' else '')
        if held.kind == 'missing':
            return "%s: these types do not say what '%s' is" % (this(self.type), held.name)
        return '%s is no value that ftrace can show' % this(self.type)


# ---------------------------------------------------------------------------
# Filters: what a person compares -> the filter that the kernel takes
#
# Takes the Filter of a trace and the Fields that it may name, and gives a KernelFilter
# (Documentation/trace/events.rst): the person's own text with other operands.
# ---------------------------------------------------------------------------

# marks: (position in text, column in the trace) of each predicate.
KernelFilter = namedtuple('KernelFilter', 'text marks')
# What a filter can name.  kind: an Argument's, or 'user string' (a pointer into a program's
# memory), 'ip' (four bytes), 'other', or None if it is not known.  bits: of a number, else None.
Field = namedtuple('Field', 'kind bits form')
Field.__new__.__defaults__ = (None, None)

# Fields that every event has, and the kernel's own.
COMMON_FIELDS = {
    'common_type': Field('unsigned', 16), 'common_flags': Field('unsigned', 8),
    'common_preempt_count': Field('unsigned', 8), 'common_pid': Field('signed', 32),
    'CPU': Field('unsigned', 32), 'cpu': Field('unsigned', 32), 'COMM': Field('string'),
    'comm': Field('string')}
DECIMAL_OR_HEXADECIMAL = r'-?(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$'      # (010 is 8 to the kernel)


def probe_fields(trace, arguments):
    """Return the Fields that the filter of a probe may name."""
    fields = dict(COMMON_FIELDS)
    for name in ('__probe_func', '__probe_ret_ip') if trace.kind == 'r' else ('__probe_ip',):
        fields[name] = Field('unsigned', 64)
    for argument in arguments:
        fields[argument.name] = Field(argument.kind, argument.fetch_type.bits, argument.form)
    return fields


def compile_filter(written, fields, source):
    """Return the KernelFilter; fields is a dictionary, None for an event whose own are unknown."""
    known = fields
    if fields is None:      # (an event may have a cpu of its own)
        known = dict((name, COMMON_FIELDS[name]) for name in COMMON_FIELDS if name != 'cpu')
    text, marks, done = '', [], written.column
    for predicate in written.predicates:
        name, operand = predicate.name, predicate.operand
        if fields is not None and name.text not in fields:
            raise TraceError("this trace has no '%s' to filter on%s" % (
                name.text, nearest(name.text, fields) or ': there is ' + ', '.join(
                    sorted(set(fields) - set(COMMON_FIELDS) - RESERVED_NAMES) or ['common_pid'])),
                name.column)
        marks.append((len(text) + name.column - done, name.column))
        text += written.text[done - written.column:operand.column - written.column]
        text += compile_operand(predicate, known.get(name.text, Field(None)), source)
        done = operand.column + len(operand.text)
    return KernelFilter(text + written.text[done - written.column:], tuple(marks))


def compile_operand(predicate, field, source):
    """Return an operand in the kernel's words."""
    kind, form, operand = field.kind, field.form, predicate.operand
    check_comparison(predicate, kind)
    written = re.match(DECIMAL_OR_HEXADECIMAL, operand.text)
    if kind == 'ip' and not written:
        form = FORMS['ip_']
    if form and not (written and (form.names or form is ERROR_FORM)):
        return read_operand(predicate, form)
    if kind in ('signed', 'unsigned', 'ip'):
        return checked_number(operand.text if written else
                              '%d' % named_number(predicate, kind, source), predicate, field)
    if is_quoted(operand) or kind == 'other' or written and kind is None:
        return operand.text
    if kind is None and (re.match('-E[A-Z]', operand.text)
                         or re.match('[A-Z][A-Z0-9]*_[A-Z0-9_]+$', operand.text)
                         and enumerator_numbers(operand.text, source)):
        return '%d' % named_number(predicate, 'signed', source)
    # The kernel takes an unquoted string no more (Linux 4.17).
    return "'%s'" % operand.text if '"' in operand.text else '"%s"' % operand.text


def check_comparison(predicate, kind):
    """Check that the kernel can compare a field of a kind so, None if it is not known."""
    name, suffix, operator, _ = predicate
    if kind == 'user string' and not suffix:
        raise TraceError("'%s' points into a program's memory, of which this would never match: "
                         'write %s.ustring (from Linux 5.17 on)' % (name.text, name.text),
                         name.column)
    if suffix and kind not in ('user string', None):
        raise TraceError("'%s' does not point into a program's memory: leave out .ustring"
                         % name.text, suffix.column)
    if kind == 'array':
        raise TraceError("'%s' is an array, on which the kernel cannot filter; in a probe, give "
                         'one element a name of its own, or write :string behind what is text'
                         % name.text, name.column)
    if kind in ('signed', 'unsigned') and operator.text == '~':
        raise TraceError("'%s' is a number: ~ goes with strings" % name.text, operator.column)
    if kind in ('string', 'user string') and operator.text not in ('==', '!=', '~'):
        raise TraceError("'%s' is a string: compare it with ==, != or ~ (a pattern)" % name.text,
                         operator.column)


def checked_number(text, predicate, field):
    """Return a number, as text, that a field can be; the kernel would cut off what is too much."""
    value, limit, is_signed = int(text, 0), 1 << (field.bits or 64), field.kind == 'signed'
    if not is_signed and (value < 0 or not value and predicate.operator.text == '<'):
        raise TraceError("'%s' has no sign here: write S before its value, if it is a probe's"
                         % predicate.name.text, predicate.operand.column)
    # In hexadecimal the bits are meant: 0xffffffff is -1, too.
    highest = limit // 2 if is_signed and (text[:2] not in ('0x', '0X') or limit >> 64) else limit
    if not (-limit // 2 if is_signed else 0) <= value < highest:
        raise TraceError("'%s' is %s bits%s, which %s does not fit into" % (
            predicate.name.text, field.bits or 64, ' with a sign' if is_signed else '', text),
            predicate.operand.column)
    return text


def named_number(predicate, kind, source):
    """Return the number that an operand names: an enumerator, an error, or a character."""
    name, _, _, operand = predicate
    word = operand.text.strip('"\'')
    if is_quoted(operand) and len(word) == 1 and not word.isdigit():
        return ord(word)
    if kind == 'signed' and re.match('-E[A-Z]', word):
        return int(read_operand(predicate, ERROR_FORM))
    numbers = enumerator_numbers(word, source)
    if len(numbers) > 1:
        raise TraceError("'%s' is %s, in different enums: write the number" % (
            word, ' or '.join('%d' % each for each in numbers)), operand.column)
    if not numbers:
        hint = ('; call it ip_%s to compare addresses' % name.text
                if re.match(r'[0-9]+(?:\.[0-9]+){3}', word) else
                '; a value with S takes the names of errors' if re.match('-E[A-Z]', word) else
                '; a zero in front would make it octal' if re.match('-?0[0-9]', word) else
                '; macros are not in the types' if re.match(r'[A-Z_]+$', word) else '')
        raise TraceError("'%s' is a number, '%s' is not%s" % (name.text, operand.text, hint),
                         operand.column)
    return numbers[0]


def enumerator_numbers(word, source):
    """Return the numbers that have a name in the enums of these types, in order."""
    try:
        enums = source.enums_of(word) if re.match(r'[A-Za-z_]\w*$', word) else []
    except NoTypesError:
        return []
    return sorted(set(dict(Type(source, ref).names()).get(word, 0) for ref in enums))


def read_operand(predicate, form):
    """Return what a Form makes of an operand, as text for the kernel."""
    name, _, operator, operand = predicate
    word = operand.text.strip('"\'')
    if form.size and operator.text not in ('==', '!=', '&'):
        raise TraceError("the bytes of '%s' are in network order: only ==, != and & mean anything"
                         % name.text, operator.column)
    try:
        return form.read(form, word)
    except ValueError:
        raise TraceError("'%s' is no %s" % (operand.text, form.what), operand.column)
    except KeyError:
        raise TraceError("'%s' is no number, and no %s%s" % (
            operand.text, form.what or "value of '%s'" % name.text,
            nearest(word, dict(form.names))), operand.column)


# ---------------------------------------------------------------------------
# Traces: syntax trees -> probes and events, on one kernel
#
# Takes the trees of all traces, the Sources of types and the Kernel that is traced, and
# gives Probes: what the plan writes.  Here patterns become many probes.
# ---------------------------------------------------------------------------

# text: the person's.  kind: p, r or e.  event: its name; place: what is probed, or the event's
# system.  columns: where in the text each word of the kprobe line comes from.
Probe = namedtuple('Probe', 'text kind event place arguments filter columns')


def compile_all(trees, sources, kernel, console, limit):
    """Return the Probes of all trees; limit is how many functions a pattern may take."""
    events, probes = set(), []
    for tree in trees:
        try:
            if tree.kind == 'e':
                probes.append(compile_event(tree, sources, kernel, events))
            elif is_pattern(tree.symbol.text):
                symbols = kernel.matching(tree, limit, console)
                probes += compile_pattern(tree, symbols, len(probes), sources, kernel, console)
            else:
                symbol = kernel.named(tree, console)
                probes.append(compile_probe(tree, symbol, len(probes), sources, kernel))
        except TraceError as error:
            error.text = tree.text
            raise
    for warning in sorted(set("'%s': %s" % (argument.name, argument.warning) for probe in probes
                              for argument in probe.arguments if argument.warning)):
        console.note(warning)
    return probes


@sound
def compile_event(tree, sources, kernel, events):
    name = tree.system.text, tree.event.text
    if name in events:
        raise TraceError('this event is there twice: join the filters with ||', tree.system.column)
    events.add(name)
    fields = kernel.event_fields(tree)
    if fields is not None:
        fields = dict(COMMON_FIELDS, **fields)
    return Probe(tree.text, tree.kind, name[1], name[0], (),
                 tree.filter and compile_filter(tree.filter, fields, sources.of(None)),
                 (tree.system.column,))


def compile_probe(tree, symbol, place, sources, kernel):
    """Return the Probe of a tree on a Symbol; place is its number among the probes."""
    words = tree, 'f%d' % place, symbol.name
    try:
        return compile_trace(*words + (sources.of(symbol.module), kernel))
    except UnknownDebugInfo as unknown:
        if not sources.fall_back(unknown):
            raise
        return compile_trace(*words + (sources.of(symbol.module), kernel))


@sound
def compile_trace(tree, event, symbol, source, kernel):
    """Return the Probe of a tree on a symbol, to be the event of that name."""
    place = (tree.module.text + ':' if tree.module else '') + symbol + (
        '+' + tree.offset.text if tree.offset else '')
    if tree.kind == 'r' and tree.offset:
        raise TraceError('a return trace takes no offset', tree.offset.column)
    check_names(tree)
    compiler = Compiler(tree, symbol, source, kernel)
    arguments = tuple(compiler.compile(value) for value in tree.values)
    size = len(place) + sum(len(argument.name + argument.text) + 2 for argument in arguments)
    if size > LINE_LIMIT - NAME_LIMIT:
        raise TraceError('the kernel takes a line of %d characters, this needs %d: split it into '
                         'two traces' % (LINE_LIMIT, size + NAME_LIMIT), tree.symbol.column)
    return Probe(tree.text, tree.kind, event, place, arguments, tree.filter and compile_filter(
        tree.filter, probe_fields(tree, arguments), source), (0, tree.symbol.column) + tuple(
            argument.column for argument in arguments))


def compile_pattern(tree, symbols, first, sources, kernel, console):
    """Return the Probes of a pattern's Symbols, but of those that lack what is asked for."""
    probes, errors = [], []
    for symbol in symbols:
        try:
            probes.append(compile_probe(tree, symbol, first + len(probes), sources, kernel))
        except TraceError as error:
            errors.append(error)
    if not probes:
        raise max(errors, key=lambda error: error.column or 0)      # which came furthest
    if errors:
        console.note('left out: %s, of which this cannot be asked (%s ...)' % (
            count_of(len(errors), 'function'), errors[0]))
    return probes


def check_names(tree):
    """Check the names of a trace's values."""
    seen = set()
    if len(tree.values) > ARGUMENT_LIMIT:
        raise TraceError('a trace holds at most %d values, this has %d'
                         % (ARGUMENT_LIMIT, len(tree.values)),
                         tree.values[ARGUMENT_LIMIT].name.column)
    for value in tree.values:
        name = value.name.text
        if not re.match(r'[A-Za-z_][A-Za-z0-9_]*$', name):
            problem = 'is no name: letters, digits and _, a letter or _ first'
        elif len(name) > NAME_LIMIT:
            problem = 'is %d characters long, the kernel takes %d' % (len(name), NAME_LIMIT)
        elif name in RESERVED_NAMES:
            problem = "is the kernel's own name; choose another"
        elif name in seen:
            problem = 'is there twice; values need different names'
        else:
            seen.add(name)
            continue
        raise TraceError("'%s' %s" % (name, problem), value.name.column)


# ---------------------------------------------------------------------------
# Plan: probes -> steps, each with its undo
#
# The plan is data.  -S prints it, a live run performs it, -o writes it as a script: three
# readers of one list.  Its texts are unquoted; those who print for a shell quote.
# ---------------------------------------------------------------------------

# action: mkdir, rmdir, append or write.  path: below the root of tracefs.  undo: a Step, or None
# where another's undo does it.  origin: the Probe that a refusal by the kernel should point at.
Step = namedtuple('Step', 'action path text undo origin')
Step.__new__.__defaults__ = (None, None, None)
# create makes the instance and the probes, start makes them fire; between the undo of the one and
# of the other what is left in the ring buffer is read.
Plan = namedtuple('Plan', 'create start')
# What a person sets for a whole run: buffer_size in KB for each CPU, pids the threads that are
# traced, maxactive the concurrent calls an r trace can track; None or empty for the kernel's own.
Settings = namedtuple('Settings', 'stacks buffer_size pids maxactive')
Settings.__new__.__defaults__ = (False, None, (), None)

RUN_NAME = 'surftrace'      # of the instance and the group that -S shows
SCRIPT_RUN = '\0'           # stands for that of a script, which is known when it is run


def make_plan(probes, settings, run):
    """Return the Plan that sets up Probes in an instance and a group of their own, called run."""
    top = 'instances/%s/' % run
    create = [Step('mkdir', top[:-1], undo=Step('rmdir', top[:-1]))]
    if settings.buffer_size:
        create.append(Step('write', top + 'buffer_size_kb', str(settings.buffer_size)))
    filters, enables = [], []
    for probe in probes:
        group = probe.place if probe.kind == 'e' else run
        directory = '%sevents/%s/%s/' % (top, group, probe.event)
        if probe.kind != 'e':
            create.append(Step('append', 'kprobe_events', probe_line(probe, settings, run), Step(
                'append', 'kprobe_events', '-:%s/%s' % (run, probe.event)), probe))
        if probe.filter:
            filters.append(Step('write', directory + 'filter', probe.filter.text, None, probe))
        enables.append(Step('write', directory + 'enable', '1',
                            Step('write', directory + 'enable', '0'), probe))
    threads = [Step('write', top + 'options/event-fork', '1'),
               Step('write', top + 'set_event_pid', ' '.join(map(str, settings.pids)))
               ] if settings.pids else []
    return Plan(create, filters + threads + enables + [
        Step('write', top + 'options/stacktrace', '1' if settings.stacks else '0'),
        Step('write', top + 'tracing_on', '1', Step('write', top + 'tracing_on', '0'))])


def probe_line(probe, settings, run):
    """Return the line for kprobe_events."""
    maxactive = str(settings.maxactive or '') if probe.kind == 'r' else ''
    words = ['%s%s:%s/%s' % (probe.kind, maxactive, run, probe.event), probe.place]
    return ' '.join(words + ['%s=%s' % (each.name, each.text) for each in probe.arguments])


def joined_undo(steps):
    """Return the undo of steps, in reverse; neighbours that append to one file are one Step."""
    joined = []
    for undo in [step.undo for step in reversed(steps) if step.undo]:
        if joined and undo.action == 'append' == joined[-1].action:
            undo = undo._replace(text=joined.pop().text + '\n' + undo.text)
        joined.append(undo)
    return joined


def quoted(text):
    """Return text as one word of a shell; of a script, "$run" is the name of its run."""
    return '"$run"'.join(
        part if not part or re.match(r'[A-Za-z0-9_./:+-]+$', part) else
        "'%s'" % part.replace("'", "'\\''") for part in text.split(SCRIPT_RUN)) or "''"


def shell_line(step, root=''):
    """Return a Step as a line that a person can paste into a shell."""
    path = quoted(root + step.path)
    if step.action in ('mkdir', 'rmdir'):
        return '%s %s' % (step.action, path)
    # The echo of some shells turns \n and the like around; printf's %s does not.
    echo = "printf '%s\\n'" if '\\' in step.text else 'echo'
    return '%s %s %s %s' % (echo, quoted(step.text), '>>' if step.action == 'append' else '>', path)


SCRIPT = '''\
#!/bin/sh
# Written by surftrace.py.  It sets up, streams, and cleans up what is its own:
%(traces)s
set -u
say() { echo "surftrace: $*" >&2; }
give_up() { say "$*"; exit 1; }

run=surftrace_$$ step=0 reader= made= tracing= mounted= ended=
find_mount() {
    while read -r device directory type rest; do
        case $type in
            tracefs) tracing=$directory; break ;;
            debugfs) [ -n "$tracing" ] || tracing=$directory/tracing ;;
        esac
    done < /proc/mounts
}
warn() { say "not undone: $*"; status=1; }
clean_up() {
    status=$?
    trap '' HUP INT QUIT PIPE TERM
%(stop)s
    # What the reader has not taken yet is still in the buffer.
    if [ -n "$reader" ]; then
        sleep 1
        kill "$reader" 2> /dev/null
        wait "$reader" 2> /dev/null
        sed '/^#/d' instances/"$run"/trace 2> /dev/null
    fi
    exec 3<&-
%(remove)s
    [ -z "$made" ] || rmdir instances/"$run" || warn "rmdir $tracing/instances/$run"
    cd /
    # If somebody else uses it by now, it stays.
    [ -z "$mounted" ] || umount "$mounted" 2> /dev/null
    exit "$status"
}
done_with() { step=$1; [ -z "$ended" ] || exit "$ended"; }

# What is being done when a signal comes is finished first, so that it can be undone.
trap clean_up EXIT
trap 'ended=0' INT PIPE
trap 'ended=129' HUP
trap 'ended=131' QUIT
trap 'ended=143' TERM
find_mount
[ -n "$tracing" ] || {
    for mounted in /sys/kernel/tracing /sys/kernel/debug; do
        mount -t "$([ "${mounted##*/}" = debug ] && echo debugfs || echo tracefs)" \\
            surftrace "$mounted" && break
        mounted=
    done
    find_mount
} 2> /dev/null
cd "${tracing:-/nonexistent}" 2> /dev/null || give_up 'no tracefs here: run as root'

(trap '' HUP INT QUIT TERM; exec mkdir instances/"$run") 2> /dev/null ||
    give_up "no instance can be made in $tracing/instances: run as root"
made=1
exec 3< instances/"$run"/trace_pipe
done_with 0
%(steps)s
cat <&3 &
reader=$!
trap 'exit 0' INT PIPE
trap 'exit 129' HUP
trap 'exit 131' QUIT
trap 'exit 143' TERM
done_with "$step"
wait "$reader"
status=$?
reader=
[ "$status" -ne 141 ] || status=0       # it met a closed pipe, as | head makes one
exit "$status"
'''


def script(probes, settings, texts):
    """Return a script for /bin/sh, dash and busybox ash; texts are its traces."""
    plan = make_plan(probes, settings, SCRIPT_RUN)
    steps = list(enumerate((plan.create + plan.start)[1:], 1))
    undo = ['    [ "$step" -lt %d ] || %s || warn %s' % (
        place, shell_line(step.undo), quoted(step.undo.path))
        for place, step in reversed(steps) if step.undo]
    first = len([step for step in plan.start if step.undo])
    return SCRIPT % {
        'traces': '\n'.join('#   ' + quoted(text) for text in texts),
        'stop': '\n'.join(undo[:first]), 'remove': '\n'.join(undo[first:]),
        'steps': '\n'.join('%s || give_up %s\ndone_with %d' % (
            shell_line(step), quoted('the kernel refused: ' + (
                step.origin.text if step.origin else step.path.rpartition('/')[2])), place)
            for place, step in steps)}


# ---------------------------------------------------------------------------
# Kernel: the kernel that is traced, here or elsewhere
#
# What it knows (symbols, fields of events, features), its tracefs and that one's mount, and
# its refusals in the person's own terms.  This section and Session are the only ones that
# touch tracefs, its mount, /proc/kallsyms, and the list of what cannot be probed.
# ---------------------------------------------------------------------------

# copies: how many functions have that name.
Symbol = namedtuple('Symbol', 'name module copies')
Symbol.__new__.__defaults__ = (None, 1)

DEFAULT_ROOT = '/sys/kernel/debug/tracing'      # where the manual's lines and all kernels have it
FORBIDDEN = '/sys/kernel/debug/kprobes/blacklist'
NOT_A_FUNCTION = r'__(?:pfx|cfi)_|.*\.cold$'    # pieces of code that go with one
VARIANT = r'\.(?:constprop|isra)\.[0-9]+(?:\.(?:constprop|isra)\.[0-9]+)*$'
MOUNTS = (('tracefs', '/sys/kernel/tracing', ''), ('debugfs', '/sys/kernel/debug', '/tracing'))


class KernelError(Error):
    """A file of tracefs could not be read or written."""

    def __init__(self, message, error_number=None):
        Error.__init__(self, message)
        self.errno = error_number


class Tracefs(object):
    """The files of one tracefs; names are below its root."""

    def __init__(self, root):
        self.root = root

    def path(self, name):
        return os.path.join(self.root, name)

    def attempt(self, call, name, *rest):
        """Return what a call on a file gives; raises KernelError."""
        try:
            return call(self.path(name), *rest)
        except EnvironmentError as error:
            raise self.failure(name, error)

    def failure(self, name, error):
        """Return the KernelError for a file and what the system said of it."""
        return KernelError('%s: %s' % (self.path(name), explain(error.errno)), error.errno)

    def read(self, name):
        return to_text(self.attempt(read_file, name))

    def read_if_there(self, name):
        """Return a file's text, '' if this kernel has no such file."""
        try:
            return self.read(name)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return ''

    def write(self, name, text, append=False):
        """Write a line; with append behind what is there (without it, everyone's is emptied)."""
        self.attempt(write_file, name, to_bytes(text + '\n'),
                     os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))

    def names(self, name):
        """Return the names in a directory."""
        return self.attempt(os.listdir, name)

    def has(self, name):
        return os.path.exists(self.path(name))

    def probes(self):
        """Return GROUP/EVENT of each line of kprobe_events; one event may have several."""
        return [line.split()[0].partition(':')[2]
                for line in self.read_if_there('kprobe_events').splitlines() if line.strip()]


def write_file(path, data, flags):
    # open(path, 'a') would seek, which these files refuse.
    descriptor = os.open(path, flags)
    try:
        while data:
            data = data[os.write(descriptor, data):]
    finally:
        os.close(descriptor)


def explain(error_number):
    """Return what an errno means here, with the way out where there is one."""
    reason = os.strerror(error_number).lower()
    if error_number == errno.EROFS:
        return reason + ': mount it again with -o remount,rw (a container: on the host)'
    if error_number not in (errno.EACCES, errno.EPERM):
        return reason
    if os.geteuid():
        return reason + ': run as root'
    if '[confidentiality]' in text_if_there('/sys/kernel/security/lockdown'):
        return reason + (': the kernel is locked down, which forbids tracing until it is booted '
                         'with lockdown=integrity or none')
    return reason + (': in a container, run it on the host or with --privileged; a kernel may also '
                     'be locked down (lockdown=confidentiality)')


def find_mount():
    """Return where /proc/mounts has tracefs, None if it has none."""
    found = {}
    # (What any user mounts may have every other white space in its name.)
    for where, kind in re.findall(r'(?m)^[^ \n]+ ([^ \n]+) ([^ \n]+) ',
                                  text_if_there('/proc/mounts')):
        found.setdefault(kind, re.sub(r'\\([0-7]{3})', lambda match: chr(int(match.group(1), 8)),
                                      where))
    for kind, _, below_it in MOUNTS:
        if kind in found:
            return found[kind] + below_it
    return None


def mount_commands():
    """Return (the command that mounts it, where tracefs is then), the best first."""
    return [(['mount', '-t', kind, RUN_NAME, directory], directory + below_it)
            for kind, directory, below_it in MOUNTS if os.path.isdir(directory)]


def run_mount(command, console):
    """Run mount or umount, show it, and tell whether it succeeded."""
    import subprocess       # seldom needed, and slow to load
    console.line(' '.join(quoted(word) for word in command))
    try:
        # In a session of its own no second Ctrl+C reaches it.
        process = subprocess.Popen(command, stderr=subprocess.PIPE, close_fds=True,
                                   preexec_fn=os.setsid)
    except EnvironmentError as error:
        console.note('%s: %s' % (command[0], explain(error.errno)))
        return False
    complaint = to_text(process.communicate()[1]).strip()
    if process.returncode:
        console.note(complaint or '%s failed' % ' '.join(command))
    return process.returncode == 0


def make_mount(console):
    """Mount tracefs; return where it is, and the directory to unmount."""
    if os.geteuid():
        raise KernelError('tracing needs root; -S shows the lines without')
    for command, root in mount_commands():
        if run_mount(command, console):
            return root, command[-1]
    raise KernelError('tracefs cannot be mounted from here: in a container, run it on the host or '
                      'with --privileged; else this kernel has none (CONFIG_FTRACE)')


def open_tracefs(root):
    """Return the Tracefs at a root (None: where it is mounted) that can be read, or None."""
    root = root or find_mount()
    tracefs = Tracefs(root) if root else None
    try:
        return tracefs if tracefs and tracefs.read('README') is not None else None
    except KernelError:
        return None


def check_tracefs(tracefs):
    """Raise the KernelError that this is no tracefs, cannot be read, or has no instances."""
    try:
        tracefs.read('README')
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise KernelError('%s/README: no such file or directory: no tracefs is mounted there; '
                              'mount -t tracefs nodev %s' % (tracefs.root, MOUNTS[0][1]),
                              error.errno)
        raise
    if not tracefs.has('instances'):
        raise KernelError('%s is not there: a kernel before Linux 3.10 cannot be traced with this'
                          % tracefs.path('instances'))


def running_architecture():
    """Return the name of this machine's architecture, as ARCHITECTURES has it if it does."""
    return os.uname()[4]


class Kernel(object):
    """The kernel that is traced, as far as it can be asked; each list is read once.

    architecture is an Architecture.  tracefs is the running kernel's, None if it cannot be read.
    Of a kernel elsewhere (here=False), vmlinux may name an ELF file with its symbols.
    """

    def __init__(self, architecture, tracefs=None, here=True, vmlinux=None):
        self.architecture, self.tracefs, self.here = architecture, tracefs, here
        self.vmlinux = vmlinux
        readme = tracefs.read_if_there('README') if tracefs else ''
        self.features = frozenset(name for name, feature in FEATURES.items()
                                  if feature.sign in readme) if readme else USUAL_FEATURES
        self.lists = {}

    def supported(self, fetch_type):
        """Return a FetchType that this kernel has for one, and a warning if that shows less."""
        feature = 'hexadecimal' if fetch_type.name == 'x' else fetch_type.name
        if feature in FEATURES and feature not in self.features:
            instead = FEATURES[feature].instead
            return self.supported(fetch_type._replace(
                name=instead.name, bits=instead.bits or fetch_type.bits))
        if fetch_type.length is None or 'array' in self.features:
            return fetch_type, ''
        return fetch_type._replace(length=None), (
            'this kernel shows no arrays, which came with Linux %s: only the first element'
            % FEATURES['array'].version)

    # Symbols

    def listing(self, name):
        """Return ftrace's list, 'traceable', or kallsyms, 'all'; '' if it cannot be read."""
        if name not in self.lists:
            self.lists[name] = self._read_list(name)
        return self.lists[name]

    def _read_list(self, name):
        if not self.here:
            return function_symbols(self.vmlinux) if self.vmlinux and name == 'traceable' else ''
        if name == 'all':
            return text_if_there('/proc/kallsyms')
        try:
            return self.tracefs.read_if_there('available_filter_functions') if self.tracefs else ''
        except KernelError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise
            return ''       # then spelling goes unchecked, and the kernel refuses what it must

    def functions(self):
        """Return the Symbols of the functions that can be traced, none if no list can be read."""
        return all_symbols(self.listing('traceable') or self.listing('all'))

    def module(self, name):
        """Return the module that a function lives in, None for the kernel's own."""
        for symbol in symbols_like(self.listing('traceable'), 0, name):
            if symbol.name == name:
                return symbol.module
        return None

    def spelling_hint(self, symbol, source):
        """Return what a function's name may be meant to be, '' where it is known to be right."""
        if '.' in symbol or self.functions() or source.kind == 'gdb':      # it takes minutes
            return ''
        try:
            return nearest(symbol, source.names('function')).replace(':', '; or', 1)
        except SourceError:
            return ''       # a server has no lists

    def check_variable(self, base):
        """Raise the error that there is no symbol of that name; kallsyms may be unreadable."""
        listing = self.listing('all')
        if not listing or re.search(r' %s(?:\t|$)' % re.escape(base.text), listing, re.M):
            return
        if ' jiffies\n' not in listing:
            raise TraceError("this kernel tells the addresses of functions only (no "
                             "CONFIG_KALLSYMS_ALL): it cannot read '%s'" % base.text, base.column)
        raise TraceError("this kernel has no symbol '%s'%s" % (
            base.text, nearest(base.text, symbol_names(listing))), base.column)

    def named(self, tree, console):
        """Return the Symbol that a trace names, or its only variant."""
        token, module = tree.symbol, tree.module.text if tree.module else None
        symbol = self._find(token, not tree.offset, module)
        if symbol is None:
            return Symbol(token.text, module)
        if symbol.copies > 1:
            console.note("%d functions are named '%s': older kernels trace the first, newer ones "
                         'refuse; MODULE:%s takes that of a module'
                         % (symbol.copies, symbol.name, symbol.name))
        if symbol.name != token.text:
            console.note("this kernel has '%s' only as '%s', which is traced; the compiler may "
                         'have moved or dropped arguments' % (token.text, symbol.name))
        return symbol

    def _find(self, token, is_entry, module):
        """Return the Symbol of a name, or of its only variant; None if no list can be read.

        ftrace's own list is for the entry and the return of functions.
        """
        fragments, is_listed = set(), False
        for name, column in ((('traceable', 0),) if is_entry else ()) + (('all', 2),):
            is_listed = is_listed or bool(self.listing(name))
            found = {}
            for symbol in symbols_like(self.listing(name), column, token.text):
                if module in (None, symbol.module):
                    found.setdefault(symbol.name, []).append(symbol)
            if token.text in found:
                return first_of(found[token.text])
            variants = [each for each in found if re.match(VARIANT, each[len(token.text):])]
            if len(variants) == 1:
                return first_of(found[variants[0]])
            if variants:
                raise TraceError("the compiler made several of '%s', trace the one you mean: %s"
                                 % (token.text, ', '.join(sorted(variants))), token.column)
            fragments.update(found)
        if is_listed and module and self.here:
            raise TraceError("the module '%s' has no function '%s', or it is not loaded" % (
                module, token.text), token.column)
        if is_listed and not module:
            names = symbol_names(self.listing('all') or self.listing('traceable'))
            raise TraceError("this kernel has no function '%s'%s" % (
                token.text, '; there are only fragments of it, ' + ', '.join(sorted(fragments))
                if fragments else nearest(token.text, names) or
                ': it may be inlined, or have another name here'), token.column)
        return None

    def matching(self, tree, limit, console):
        """Return the Symbols that a trace's pattern takes, which are to be no more than limit."""
        token = tree.symbol
        if not self.functions():
            raise TraceError('which functions match can only be told on the machine itself, or '
                             'from a vmlinux that has symbols (-v)', token.column)
        try:
            found, left_out = self._matching(token.text, tree.module and tree.module.text)
        except re.error as error:
            raise TraceError('this is no pattern: %s' % error, token.column)
        if len(found) > limit:
            raise TraceError('%d functions match: choose fewer, or allow them with --max-probes %d'
                             % (len(found), len(found)), token.column)
        if not found:
            raise TraceError("no function that can be traced matches '%s'%s" % (
                token.text, '; %d cannot, or are several of one name' % left_out if left_out else
                ''), token.column)
        console.note("'%s' takes %s%s" % (token.text, count_of(len(found), 'function'), (
            '; left out: %d that cannot be probed, or of which there are several' % left_out)
            if left_out else ''))
        return found

    def _matching(self, pattern, module):
        """Return the Symbols that a pattern takes, and how many are left out.

        Those are left out that cannot be probed, or of which there are several of one name.
        """
        import fnmatch      # only patterns need it
        match, by_name = re.compile(fnmatch.translate(pattern)).match, {}
        for symbol in self.functions():
            if match(symbol.name) and module in (None, symbol.module) and not re.match(
                    NOT_A_FUNCTION, symbol.name):
                by_name.setdefault(symbol.name, []).append(symbol)
        # debugfs lists the functions that kprobes must not touch.
        forbidden = frozenset(line.split('\t')[-1].strip() for line in text_if_there(
            FORBIDDEN).splitlines()) if self.here else ()
        copies = {}         # ftrace's list lacks some that the kernel counts all the same
        for symbol in all_symbols(self.listing('all')) if not module else ():
            copies[symbol.name] = copies.get(symbol.name, 0) + 1
        kept = [found[0] for name, found in sorted(by_name.items())
                if len(found) == 1 and copies.get(name, 1) == 1 and name not in forbidden]
        return kept, len(by_name) - len(kept)

    # Events

    def event_fields(self, tree):
        """Return the Fields of an event by name; None if they cannot be read."""
        if not self.tracefs:
            return None
        system = 'events/' + tree.system.text
        directory = system + '/' + tree.event.text
        if not self.tracefs.has(directory):
            token, above = ((tree.event, system) if self.tracefs.has(system)
                            else (tree.system, 'events'))
            raise TraceError("this kernel has no event '%s/%s'%s" % (
                tree.system.text, tree.event.text,
                nearest(token.text, self.tracefs.names(above))), token.column)
        found = re.findall(r'\tfield:([^;]*?)(\w+)(\[[^;]*\])?;.*size:([0-9]+);.*signed:([01]);',
                           self.tracefs.read_if_there(directory + '/format'))
        return dict((name, event_field(tree.system.text, declaration, array, int(size),
                                       signed == '1'))
                    for declaration, name, array, size, signed in found) or None


def first_of(symbols):
    """Return the one of several Symbols of one name that the kernel takes: its own go first."""
    own = [symbol for symbol in symbols if symbol.module is None]
    return (own or symbols)[0]._replace(copies=len(symbols))


def symbols_like(listing, column, name):
    """Yield the Symbols called name, or name and a suffix, of a list with names in that column."""
    at = listing.find(name)
    while at >= 0:
        start, end = listing.rfind('\n', 0, at) + 1, listing.find('\n', at)
        end = len(listing) if end < 0 else end
        fields = listing[start:end].split()
        if (fields[column:] and (fields[column] == name or fields[column].startswith(name + '.'))
                and (not column or fields[1] in 'tTwW')):
            yield Symbol(fields[column], fields[-1].strip('[]') if fields[column + 1:] else None)
        at = listing.find(name, end)


def all_symbols(listing):
    """Return the Symbols of the functions in ftrace's list, or in kallsyms (ADDRESS TYPE NAME)."""
    return [Symbol(name, module or None) for name, module in re.findall(
        r'^(?:[0-9a-fA-F]+ [tTwW] )?(\S+)(?:\s+\[(\S+)\])?$', listing, re.M)]


def symbol_names(listing):
    """Return the names in a list of symbols, kallsyms' (ADDRESS TYPE NAME) or ftrace's."""
    return re.findall(r'^(?:\S+ \S )?(\S+)', listing, re.M)


def event_field(system, declaration, array, size, signed):
    """Return the Field, of size bytes, that an event's format declares."""
    if re.search(r'\bchar\[\]', declaration) or array and declaration.strip() == 'char':
        return Field('string')
    if re.search(r'\bchar ?\* *$', declaration):
        return Field('user string' if system == 'syscalls' else 'string')
    if array == '[4]' and size == 4 and 'char' not in declaration:
        return Field('ip', 32)      # as sock/inet_sock_set_state has them
    if array and size not in (1, 2, 4, 8) and 'char' not in declaration:
        return Field('array')       # (a comparison with it the kernel takes, and cannot make)
    if array or re.search(r'\*|struct|__data_loc|__rel_loc', declaration):
        return Field('other')
    return Field('signed' if signed else 'unsigned', 8 * size)


# Refusals

ERROR_LOG = r'error: (?:error: )?(.*)\n  Command: (.*)\n( *)\^'
# What the bare number means where the kernel keeps no error_log (before 5.2).
REFUSALS = {
    errno.EINVAL: 'invalid argument (dmesg may know more)',
    errno.ENOENT: 'it has no such function',
    errno.EILSEQ: 'the offset is not at the start of an instruction',
    errno.EEXIST: 'an event of that name is there already',
    errno.E2BIG: 'too many values',
    errno.EADDRNOTAVAIL: 'the symbol is not unique',
    errno.EOPNOTSUPP: 'this function cannot be probed',
    errno.ENODEV: 'no such device',
}


def refusal(step, error, tracefs, top):
    """Return the Error for a Step that the kernel refused, in its own words where it has some."""
    is_filter = step.path.endswith('filter')
    # (A filter of too many words gets EPERM.)
    if step.origin is None or error.errno not in REFUSALS and not (
            is_filter and error.errno == errno.EPERM):
        return error
    if error.errno == errno.ENOENT and (step.action != 'append' or not tracefs.has(step.path)):
        return error
    reason, column = REFUSALS.get(error.errno, os.strerror(error.errno).lower()), None
    # The file keeps the last eight; another run's may be among them.
    log = tracefs.read_if_there((top if is_filter else '') + 'error_log')
    for logged, command, caret in re.findall(ERROR_LOG, log):
        if command.split() == step.text.split():
            reason = logged[:1].lower() + logged[1:]
            column = origin_column(step, len(caret) - len('  Command: '), command, is_filter)
    refused = Error('the kernel refused this %s: %s; %s was given: %s' % (
        'filter' if is_filter else 'trace', reason, step.path, step.text))
    refused.text = step.origin.text
    refused.column = column if column is not None else step.origin.columns[0]
    return refused


def origin_column(step, position, command, is_filter):
    """Return the column in the person's text of a position in the kernel's command, or None."""
    probe = step.origin
    if is_filter:
        before = [column for mark, column in probe.filter.marks if mark <= position]
        return before[-1] if before else None
    word = len(command[:position].split(' ')) - 1
    return probe.columns[word] if 0 <= word < len(probe.columns) else None


# ---------------------------------------------------------------------------
# Session: one live run
#
# Takes a Plan and a Tracefs, performs the one on the other, streams events to an Output
# until the run ends, and undoes all that was done.  What killed runs left is removed first.
# ---------------------------------------------------------------------------

# Events as the kernel counts them: read, left in the buffer, lost, and missed by p and r probes.
Counts = namedtuple('Counts', 'read left lost missed missed_returns')

READ_SIZE = 1 << 16     # bytes
# A run is named after its process; where that name is taken, a number is appended.
RUN_PATTERN = RUN_NAME + r'_([0-9]+)(?:_[0-9]+)?$'


class StopRun(Exception):
    """A signal came in the middle of the set-up: not an error, an early end."""


class Signals(object):
    """The signals that end a run, taken while it is under way.

    One only marks the run for its end, and wakes whoever polls `wake`; what is being done is
    finished first, and a second one changes nothing.
    """

    def __enter__(self):
        self.received = None
        self.wake, self._write_end = os.pipe()
        # The byte is written when the signal comes: the function below runs only when Python is
        # next at work, which is too late for a poll that is just about to begin.
        fcntl.fcntl(self._write_end, fcntl.F_SETFL, os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write_end)
        self._taken = []
        for taken in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            # A shell's & ignores INT and QUIT, which would leave no way to end; nohup is meant.
            if taken != signal.SIGHUP or signal.getsignal(taken) != signal.SIG_IGN:
                self._taken.append(taken)
                signal.signal(taken, self._take)
                signal.siginterrupt(taken, False)
        return self

    def _take(self, number_of_signal, _):
        if self.received is None:
            self.received = number_of_signal

    def check(self):
        """Raise StopRun if the run is to end."""
        if self.received is not None:
            raise StopRun()

    def __exit__(self, *_):
        # The program is about to end: one more Ctrl+C must not change how.
        for taken in self._taken:
            signal.signal(taken, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self.wake)
        os.close(self._write_end)

    def status(self):
        """Return the exit status: Ctrl+C is the ordinary end of a trace."""
        return 0 if self.received in (None, signal.SIGINT) else 128 + self.received


def free_run_name(tracefs):
    """Return the first name for this process's run that nobody has."""
    taken = set(probe.partition('/')[0] for probe in tracefs.probes())
    taken.update(tracefs.names('instances'))
    name, more = '%s_%d' % (RUN_NAME, os.getpid()), 0
    while name in taken:
        more += 1
        name = '%s_%d_%d' % (RUN_NAME, os.getpid(), more)
    return name


def sweep(tracefs, console):
    """Remove what killed runs have left: what is named after a process that is no more."""
    groups = set(probe.partition('/')[0] for probe in tracefs.probes())
    for run in sorted(groups.union(tracefs.names('instances'))):
        match = re.match(RUN_PATTERN, run)
        if match and is_left_behind(int(match.group(1))):
            try:
                sweep_run(run, tracefs, console)
            except KernelError as error:
                if error.errno == errno.EBUSY:
                    console.note('%s is left alone: somebody reads it, a script perhaps, or the '
                                 'cat of one that was killed' % tracefs.path('instances/' + run))
                elif error.errno != errno.ENOENT:       # another run has just removed it
                    raise


def is_left_behind(pid):
    """Tell whether a run of a process, or of an earlier one with our number, can be no more."""
    try:
        os.kill(pid, 0)
    except EnvironmentError as error:
        return error.errno == errno.ESRCH
    except OverflowError:
        return False        # a number that no process has
    return pid == os.getpid()


def sweep_run(run, tracefs, console):
    """Remove the instance and the probes of a run; raises KernelError, EBUSY if it is in use."""
    instance = 'instances/' + run
    found = tracefs.has(instance)
    if found:
        # The kernel lets one process read it: rmdir answers EBUSY for other reasons, too.
        os.close(tracefs.attempt(os.open, instance + '/trace_pipe', os.O_RDONLY | os.O_NONBLOCK))
        tracefs.attempt(os.rmdir, instance)
    probes = sorted(set(each for each in tracefs.probes() if each.startswith(run + '/')))
    if probes:
        tracefs.write('kprobe_events', '\n'.join('-:' + each for each in probes), append=True)
    console.note('removed what a run that was killed had left: %s%s of %s' % (
        'an instance and ' if found else '', count_of(len(probes), 'probe'), run))


class Session(object):
    """What a run has done to the kernel so far, and the way back."""

    def __init__(self, tracefs, plan, console, signals):
        self.tracefs, self.plan, self.console, self.signals = tracefs, plan, console, signals
        self.run = plan.create[0].path.partition('/')[2]
        self.top = plan.create[0].path + '/'
        self.pipe = None                        # trace_pipe, from the first step to the last
        self.created, self.started = [], []     # steps done
        self.clean, self.is_left = True, False  # is_left: something could not be undone

    def set_up(self):
        """Perform the plan; raises KernelError, or StopRun if a signal comes."""
        for steps, done in ((self.plan.create, self.created), (self.plan.start, self.started)):
            for step in steps:
                self.signals.check()
                self.console.line(shell_line(step, self.tracefs.root + '/'))
                try:
                    self._perform(step)
                except KernelError as error:
                    raise refusal(step, error, self.tracefs, self.top)
                done.append(step)
                if step.action == 'mkdir':
                    # While it is open, other runs see that this one is alive.
                    self.pipe = self.tracefs.attempt(os.open, self.top + 'trace_pipe',
                                                     os.O_RDONLY | os.O_NONBLOCK)

    def _perform(self, step):
        if step.action in ('mkdir', 'rmdir'):
            self.tracefs.attempt(os.mkdir if step.action == 'mkdir' else os.rmdir, step.path)
        else:
            self.tracefs.write(step.path, step.text, step.action == 'append')

    def stream(self, output, seconds):
        """Copy events to output until a signal comes, it takes no more, or time is up."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        poll.register(self.signals.wake, select.POLLIN)
        poll.register(output.descriptor, 0)     # wakes when its reader has gone
        end, data = seconds and clock() + seconds, b''
        while not (self.signals.received or output.closed or output.full or data is None
                   or end and clock() >= end):
            data = b''
            if not output.pending:
                ready = dict(wait_for(poll, end and 1000 * (end - clock())))
                output.closed = bool(ready.get(output.descriptor, 0) & (
                    select.POLLERR | select.POLLHUP))
                data = self._events()
            output.write(data or b'', self.signals.wake, end)

    def _events(self):
        """Return what is in the buffer, READ_SIZE bytes or a little more; None at its end."""
        parts, size = [], 0
        while size < READ_SIZE:
            try:
                part = os.read(self.pipe, READ_SIZE)
            except EnvironmentError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise self.tracefs.failure(self.top + 'trace_pipe', error)
                break
            if not part:
                return b''.join(parts) or None
            parts.append(part)
            size += len(part)
        return b''.join(parts)

    def stop(self, output):
        """Stop the events, drain the buffer into output, count, and undo the rest.

        Returns the Counts, None if the run did not come as far as that.  Whatever cannot be
        undone is told, and does not keep the rest from being undone.
        """
        has_started, counts = bool(self.started), None
        self._undo(self.started)
        if has_started:
            try:
                self._drain(output)
            except Error as error:
                self.clean = False
                self.console.note(str(error))
            try:
                counts = self._count()
            except Error as error:
                self.clean = False
                self.console.note(str(error))
        if self.pipe is not None:
            os.close(self.pipe)
        self._undo(self.created)
        if self.is_left:
            self.console.note('the next run removes what this one could not')
        return counts

    def _drain(self, output):
        """Write what is in the buffer, as long as stdout takes it."""
        data = b''
        while data is not None and not output.closed:
            output.write(data)
            data = None if output.pending else self._events() or None
        output.flush()

    def _undo(self, done):
        """Undo steps in reverse; what cannot be undone is told."""
        for step in joined_undo(done):
            self.console.line(shell_line(step, self.tracefs.root + '/'))
            try:
                self._perform(step)
            except KernelError as error:
                # One by one, what a write of several lines has left.
                lines = step.text.split('\n') if step.action == 'append' else [None]
                for line in lines if lines[1:] else [None]:
                    self._undo_singly(step, line, error)

    def _undo_singly(self, step, line, error):
        """Undo one line of a Step, if it is still to be undone; None stands for all of it."""
        try:
            if line is None:
                raise error
            if line[2:] in self.tracefs.probes():
                self.tracefs.write(step.path, line, append=True)
        except KernelError as refused:
            self.clean, self.is_left = False, True
            self.console.note('not undone: %s%s' % (refused, ': ' + line[2:] if line else ''))

    def _statistics(self, words):
        """Return the sum over all CPUs of what the ring buffer counts under these words."""
        counts = []
        for name in self.tracefs.names(self.top + 'per_cpu'):
            text = self.tracefs.read('%sper_cpu/%s/stats' % (self.top, name))
            counts += re.findall(r'^(?:%s): (\d+)' % words, text, re.MULTILINE)
        return sum(map(int, counts))

    def _count(self):
        """Return the Counts of this run."""
        return Counts(self._statistics('read events'), self._statistics('entries'),
                      self._statistics('overrun|commit overrun|dropped events'),
                      self._missed('p'), self._missed('r'))

    def _missed(self, kind):
        """Return how often our probes of a kind, p or r, were missed."""
        for _ in range(9):
            lines = self.tracefs.read_if_there('kprobe_events').splitlines()
            profile = [line.split() for line in self.tracefs.read(
                'kprobe_profile').splitlines()] if lines else []
            # It has no group in its lines, but the order of kprobe_events, unless another run
            # has added or removed probes between the one and the other.
            if [line.split()[0].partition('/')[2] for line in lines] == [
                    row[0] for row in profile]:
                break
        return sum(int(row[-1]) for line, row in zip(lines, profile)
                   if re.match(r'%s[0-9]*:%s/' % (kind, self.run), line))


# ---------------------------------------------------------------------------
# Output: trace lines -> the person
#
# Takes the kernel's lines as bytes and shows values in their Forms.  stdout carries the
# product, stderr what is said to the person; neither can hold up the clean-up.
# ---------------------------------------------------------------------------

# How a line of an event begins: the command's name takes 16 columns, whatever is in it, also a
# newline.  Where the option record-tgid is on, a number in parentheses follows.
EVENT_LINE = to_bytes(r'(?m)^[\s\S]{16}-[0-9]+ +(?:\( *[0-9-]+\) +)?\[[0-9]+\] '
                      r'[^\n]*?[0-9]\.[0-9]{6}: ')
NUMBERS = r'-?(?:0|[1-9][0-9]{0,19})|0x[0-9a-f]{1,16}'
BYTES = r'\{0x[0-9a-f]{1,2}(?:,0x[0-9a-f]{1,2}){15}\}'
SHOWN_LIMIT = 1 << 16   # numbers that are kept as they are shown: all that a port can be
PATIENCE = 2000         # milliseconds that a reader may take nothing while the run ends

# A character of UTF-8 that is no control character, or else a byte that a terminal may obey.
KEPT_OR_OBEYED = (
    br'(\xc2[\xa0-\xbf]|[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|'
    br'[\xe1-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf4][\x80-\xbf]{3})'
    br'|[^\t\n -~]')
PLAIN = b'\t\n' + bytes(bytearray(range(0x20, 0x7f)))


def visible(data):
    """Return bytes for a terminal: each byte that it could obey is a question mark."""
    if not data.translate(None, PLAIN):
        return data
    return re.sub(KEPT_OR_OBEYED, lambda match: match.group(1) or b'?', data)


class Writer(object):
    """A descriptor whose reader may be slow, gone, or asleep.

    pending is what it has not taken yet.  patience: milliseconds, None for ever.
    """

    def __init__(self, descriptor):
        self.descriptor = opened_again(descriptor)
        self.is_terminal = os.isatty(descriptor)
        # Of a socket there is no other open file: it is given what it can take without waiting.
        self.at_once = select.PIPE_BUF if is_socket(descriptor) else None
        self.pending, self.closed, self.patience = b'', False, PATIENCE

    def add(self, data):
        """Let data be written next; on a terminal, what could steer it is made visible."""
        self.pending += visible(data) if self.is_terminal else data

    def push(self, wake=None, end=None):
        """Write what is pending; raises EnvironmentError, but for a reader that has gone.

        Its reader is waited for until `wake` is readable or the clock is at `end`; without wake,
        as long as our patience lasts, and once only.
        """
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        while self.pending and not self.closed:
            try:
                if self.at_once and self.descriptor not in dict(wait_for(poll, 0)):
                    raise OSError(errno.EAGAIN, '')
                self.pending = self.pending[
                    os.write(self.descriptor, self.pending[:self.at_once]):]
            except EnvironmentError as error:
                if error.errno != errno.EAGAIN:
                    self.closed = True      # its reader has gone, or its disk is full
                    if error.errno != errno.EPIPE:
                        raise
                elif not self._is_ready(poll, wake, end):
                    return

    def _is_ready(self, poll, wake, end):
        left = 1000 * max(end - clock(), 0) if end else None
        ready = dict(wait_for(poll, self.patience if wake is None else left))
        if self.descriptor not in ready and wake is None:
            self.patience = 0       # it has been waited for once
        return self.descriptor in ready


def opened_again(descriptor):
    """Return a descriptor of the same pipe or terminal whose writes do not block.

    It is an open file of our own, since others share the first; else the descriptor itself.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            return descriptor
        opened = os.open('/proc/self/fd/%d' % descriptor,
                         os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        if opened > 2:
            return opened
        copy = fcntl.fcntl(opened, fcntl.F_DUPFD, 3)    # not in place of a stdout that is closed
        os.close(opened)
        return copy
    except EnvironmentError:
        return descriptor       # closed, or somebody else's: it will have to do


def is_socket(descriptor):
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except EnvironmentError:
        return False        # it is closed


class Console(object):
    """stderr: echoed lines, notes and errors.  What nobody reads is dropped, never waited for."""

    def __init__(self, descriptor=2):
        self.writer = Writer(descriptor)
        self.shown = ''         # of what is under way

    def _write(self, data):
        self.writer.pending = data
        try:
            self.writer.push()
        except EnvironmentError:
            self.writer.closed = False      # a full disk may have room again
        self.writer.pending = b''

    def line(self, text):
        """Write a line, with whatever could steer a terminal made visible."""
        self.progress('')
        self._write(visible(to_bytes(text)) + b'\n')

    def note(self, text):
        self.line('surftrace: ' + text)

    def progress(self, text):
        """Show on a terminal what takes long, in a line that the next one replaces; '' ends it."""
        if text != self.shown and self.writer.is_terminal:
            self.shown = text
            self._write(b'\r' + visible(to_bytes(text and 'surftrace: ' + text)) + b'\033[K')

    def error(self, error):
        self.note(str(error))
        if error.text is not None:
            self.line('  ' + error.text)
            if error.column is not None:
                self.line('  ' + ' ' * error.column + '^')


class Output(object):
    """stdout: the lines of a trace, in large blocks.

    rewrite(bytes of whole lines) gives what is shown of them, None leaves them as they are.
    count is how many events are wanted, None for all.
    """

    def __init__(self, rewrite=None, count=None, descriptor=1):
        self.writer = Writer(descriptor)
        self.descriptor = self.writer.descriptor
        self.rewrite = rewrite
        self.count = self.left = count
        self.is_beyond = False      # one more than are wanted has come
        self.stacks = 0             # written so far; each is an event to the ring buffer
        self.partial = b''          # a line whose end has not been read yet
        self.closed = False         # nothing more is to be written

    @property
    def pending(self):
        return self.writer.pending

    @property
    def full(self):
        """Whether all events that are wanted have been written."""
        return self.left == 0 and not self.pending

    def write(self, data, wake=None, end=None):
        """Write events; for what stdout does not take see Writer.push()."""
        data = self.partial + data
        cut = data.rfind(b'\n') + 1
        data, self.partial = data[:cut], data[cut:]
        if self.left is not None:
            data = self._wanted(data)
        self.stacks += data.count(b': <stack trace>\n')
        self.writer.add(self.rewrite(data) if self.rewrite else data)
        self._push(wake, end)

    def _push(self, wake=None, end=None):
        try:
            if not self.closed:
                self.writer.push(wake, end)
        except EnvironmentError as error:
            raise Error('stdout: %s' % os.strerror(error.errno).lower())
        finally:
            self.closed = self.closed or self.writer.closed

    def _wanted(self, data):
        """Return the lines up to the last event that is wanted, its stack among them."""
        for match in () if self.is_beyond else re.finditer(EVENT_LINE, data):
            if data.startswith(b'<stack trace>', match.end()):
                continue
            if not self.left:
                self.is_beyond = True
                return data[:match.start()]
            self.left -= 1
        return b'' if self.is_beyond else data

    def flush(self):
        """Write what is left, unless the reader takes nothing for as long as our patience."""
        self.writer.add(b'' if self.left == 0 else self.partial)
        self.partial = b''
        self._push()
        if self.pending and not self.closed:
            raise Error('stdout took nothing for a while: %d bytes of events were not written'
                        % len(self.pending))


class ShownValues(dict):
    """Cache: the kernel's text -> the text shown, both bytes."""

    def __init__(self, form):
        dict.__init__(self)
        self.form = form

    def __missing__(self, printed):
        if len(self) == SHOWN_LIMIT:
            self.clear()
        self[printed] = text = to_bytes(self.form.shown(to_text(printed)))
        return text


def make_rewriter(probes):
    """Return a function that shows the values of Probes that have a Form, None if there are none.

    It takes and returns bytes of whole lines.  Nothing but these probes' events is touched.
    """
    alike = {}      # the events of a pattern of functions have the same values
    for probe in probes:
        if any(argument.form for argument in probe.arguments):
            layout = tuple(argument._replace(
                words=argument.words if argument.words == '$comm' else '', column=0)
                for argument in probe.arguments)
            alike.setdefault(layout, []).append(probe.event)
    patterns = [event_pattern(events, layout) for layout, events in sorted(
        alike.items(), key=lambda item: item[1])]

    def rewrite(data):
        for pattern, numbers in patterns:
            # What is between the lines, then text and number by turns, and the end of the line.
            parts, each = pattern.split(data), 2 * len(numbers) + 2
            for place, shown in enumerate(numbers):
                at = slice(2 * place + 2, None, each)
                parts[at] = map(shown.__getitem__, parts[at])
            data = b''.join(parts)
        return data
    return rewrite if patterns else None


def event_pattern(events, arguments):
    """Return a pattern that matches the lines of events, and ShownValues for their values.

    It has a group for each value that is shown otherwise, and for what is before and behind it.
    The command's name takes 16 columns, whatever is in it; the values follow in the order of the
    arguments.  $comm may hold anything, and of other strings the last one quotes: a second one
    that may would make the search slow, at the will of whoever chose the string.  Lines that do
    not match are left as they are.
    """
    text = r'^.{16}-[0-9]+ [^:\n]+: (?:%s): \([^()\n]*\)' % '|'.join(
        re.escape(event) for event in events)
    numbers = []
    strings = [argument for argument in arguments
               if argument.kind == 'string' and argument.words != '$comm']
    for argument in arguments:
        value = r"(?:\{[^}\n]*\}|'[^\n]'|[^ \n]+(?: \[\w+\])?)"
        if argument.kind == 'string':
            value = r'(?:"%s"|\(fault\)|[^ "\n]+)' % (
                '.{0,15}' if argument.words == '$comm' else
                r'[^\n]*' if argument is strings[-1] else r'[^"\n]*')
        if argument.form:
            numbers.append(ShownValues(argument.form))
            value = r')(%s)(' % (BYTES if argument.kind == 'array' else NUMBERS)
        text += ' %s=%s' % (argument.name, value)
    return re.compile(to_bytes('(?ms)(%s$)' % text)), numbers


# ---------------------------------------------------------------------------
# Command line: arguments -> a run
#
# Options are declared, read and checked here, and nowhere else; main() is the only place
# that ends the program.
# ---------------------------------------------------------------------------

MAX_PROBES = 100        # functions


def above_zero(kind):
    """Return a function that reads a number, of a Python type, above zero."""
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = -1
        if not 0 < value < 1 << 31:
            import argparse
            raise argparse.ArgumentTypeError(
                "takes a number above zero, below 2^31, not '%s'" % text)
        return value
    return read


def source_mode(text):
    """Return a mode of the sources of types."""
    modes = ['auto'] + [source[0] for source in SOURCES]
    if text not in modes:
        import argparse
        raise argparse.ArgumentTypeError("takes %s or %s, not '%s'" % (
            ', '.join(modes[:-1]), modes[-1], text))
    return text


# An option: its names, what the help calls its value ('' if it takes none), the help, and perhaps a
# function that reads the value, or the values that there are.
OPTIONS = (
    ('-h', '--help', '', 'show this help'),
    ('-v', '--vmlinux', 'FILE', 'take types from this vmlinux, or raw BTF (with -r: a release)'),
    ('-m', '--mode', 'MODE', 'where types come from: auto, btf, dwarf, gdb, local, remote',
     source_mode),
    ('-g', '--gdb', 'FILE', 'the gdb for -m gdb, -F and -l'),
    ('-d', '--database', 'FILE', 'take types from this database'),
    ('-r', '--rip', 'HOST[:PORT]', 'ask this server for types'),
    ('-f', '--file', 'FILE', 'read traces from a file, one a line (#: a comment); - is stdin'),
    ('-o', '--output', 'FILE', 'write a shell script that does the same'),
    ('-a', '--arch', 'ARCH', 'take the registers of aarch64 or x86_64', sorted(ARCHITECTURES)),
    ('-s', '--stack', '', 'show the kernel stack of each event'),
    ('-c', '--count', 'N', 'end after N events', above_zero(int)),
    ('-t', '--time', 'SECONDS', 'end after so long', above_zero(float)),
    ('-p', '--pid', 'PID', 'only this process: its threads, and what it starts from now on',
     above_zero(int)),
    ('-b', '--buffer', 'KB', 'the size of the ring buffer of each CPU', above_zero(int)),
    ('', '--maxactive', 'N', 'concurrent calls of a function that an r trace can track',
     above_zero(int)),
    ('', '--max-probes', 'N', 'functions that a pattern may take (%d)' % MAX_PROBES,
     above_zero(int)),
    ('-S', '--show', '', 'show the lines, and touch nothing'),
    ('-F', '--func', 'FUNC', 'disassemble a function'),
    ('-l', '--line', 'FILE:LINE', 'disassemble a line of the source'),
    ('', '--info', 'NAME', "show a function, a struct, an enum, or the functions like 'tcp_*'"),
    ('', '--make-db', 'FILE', 'write all types into a database for -d'),
    ('', '--tracefs', 'DIR', 'where tracefs is mounted, if not where /proc/mounts says'),
)

HELP = """\
usage: surftrace.py [options] TRACE [TRACE ...]

Trace kernel functions and events in the words of the kernel source.

a trace, one argument each:
  p SYMBOL[+OFFSET] [NAME=VALUE ...] [f:FILTER]    when a kernel function is entered
  r SYMBOL [NAME=VALUE ...] [f:FILTER]             when it returns
  e SYSTEM/EVENT [f:FILTER]                        when an event of the kernel fires

  SYMBOL  a function, MODULE:FUNCTION, or a pattern: tcp_v4_*
  VALUE   %0->mm->mm_users  a member of the first argument     $retval   what is returned
          $skb->len  the same of the argument called skb       @jiffies  a variable
          $pos[0]  what the argument pos points at
          %di  a register        !(struct sock *)%di->sk_rcvbuf  with a type of its own
          S, U, X in front: signed, unsigned, hexadecimal;   :TYPE behind: ftrace's own
          @(struct iphdr *)l3%0->saddr  a header in the packet of the sk_buff %0
  NAME    ip_... ip6_... mac_... show an address, B16_ B32_ B64_ b16_ b32_ b64_ swap bytes
  FILTER  f:comm==bash&&(users>1||common_pid==1)
"""

# Each is run by the tests: a command, and what it shows.
EXAMPLES = (
    ("-S 'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users'",
     'the lines that would set this up; no root, nothing is touched'),
    ("'p wake_up_new_task comm=%0->comm f:comm!=bash'",
     'every new task but those of bash, until Ctrl+C'),
    ("'r kernel_clone pid=S$retval'",
     'the process id that each fork returns'),
    ("-s 'p do_sys_openat2 file=%1:ustring'",
     'every file that is opened, with the kernel stack'),
    ("'p ip_rcv ip_src=@(struct iphdr *)l3%0->saddr len=%0->len'",
     'each IPv4 packet that comes in'),
    ("'e sched/sched_process_exec'",
     'every program that is started'),
    ("--info tcp_sendmsg",
     'its arguments, and where they lie'),
    ("-o trace.sh -S 'p kernel_clone comm=$comm'",
     'a script that does it on a machine without Python'),
)


def help_lines():
    rows = ['  %-3s %-22s %s' % (letter and letter + ',', '%s %s' % (name, value), words)
            for letter, name, value, words in (option[:4] for option in OPTIONS)]
    examples = ['  surftrace.py %s\n      %s' % example for example in EXAMPLES]
    return HELP.splitlines() + ['', 'options:'] + rows + ['', 'examples:'] + examples


def parse_arguments(argv):
    """Return the namespace that argparse makes of a command line, with the traces in `traces`."""
    import argparse

    class Once(argparse.Action):
        """An option that is there twice is a slip."""

        def __call__(self, parser, namespace, value, name=None):
            if getattr(namespace, self.dest) is not None:
                raise UsageError('%s is there twice' % name)
            setattr(namespace, self.dest, value)

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            raise UsageError('%s; -h shows how' % re.sub(r'^argument (\S+):', r'\1', message))

    parser = Parser(add_help=False, argument_default=None)
    for letter, name, value, _, read in (option + (None,) * (5 - len(option))
                                         for option in OPTIONS):
        names = [name] if not letter else [letter, name]
        if not value:
            parser.add_argument(*names, action='store_true')
        elif callable(read):
            parser.add_argument(*names, action=Once, type=read)
        else:
            parser.add_argument(*names, action=Once, choices=read)
    cut = argv.index('--') if '--' in argv else len(argv)
    refuse_unknown(argv[:cut])
    options, traces = parser.parse_known_args(argv[:cut])
    options.traces = traces + argv[cut + 1:]
    return options


def refuse_unknown(argv):
    """Raise the error for what looks like an option and is none; argparse would take a part of one.

    (allow_abbrev=False breaks -sS on Python 3.6 and 3.7.)
    """
    names = dict((name, option[2]) for option in OPTIONS for name in option[:2])
    is_value = False
    for argument in argv:
        name = argument.partition('=')[0] if argument.startswith('--') else argument[:2]
        if not is_value and argument.startswith('-') and len(argument) > 1 and name not in names:
            raise UsageError('option %s not recognized; -h shows how' % name)
        is_value = not is_value and argument in names and bool(names[argument])


def read_options(argv):
    """Return the checked options."""
    options = parse_arguments(argv)
    if options.help:
        return options
    options.action = chosen_action(options)
    check_machine(options)
    options.choice = read_choice(options)
    options.settings = Settings(options.stack, options.buffer, threads_of(options),
                                options.maxactive)
    texts = [one_line(text) for text in options.traces]
    if options.file is not None:
        texts += read_trace_file(options.file)
    options.trees = [parsed(text) for text in texts]
    if bool(options.trees) != (options.action in (show, trace_live)):
        raise UsageError('traces do not go with --info, --make-db, -F or -l' if options.trees else
                         "no trace: try -S 'p wake_up_new_task comm=%0->comm'; -h shows more")
    return options


def parsed(text):
    try:
        return parse_trace(text)
    except TraceError as error:
        error.text = text
        raise


def chosen_action(options):
    """Return the function that does what is asked for."""
    actions = [action for action, chosen in (
        (show_information, options.info), (make_database, options.make_db),
        (show_instructions, options.func), (show_instructions, options.line)) if chosen is not None]
    if len(actions) > 1:
        raise UsageError('--info, --make-db, -F and -l: one at a time')
    return actions[0] if actions else show if options.show else trace_live


def check_machine(options):
    """Settle whose registers are taken, and whether the kernel that is traced is this one."""
    here = running_architecture()
    changes_nothing = options.action is not trace_live
    if changes_nothing and options.vmlinux and not options.arch and options.rip is None:
        elf = elf_of(options.vmlinux) if options.mode != 'remote' else None
        options.arch = elf.architecture if elf and elf.architecture in ARCHITECTURES else None
    if options.arch and options.arch != here and not changes_nothing:
        raise UsageError('-a %s on a machine that is %s: add -S, which shows the lines for it'
                         % (options.arch, here))
    if not options.arch and here not in ARCHITECTURES:
        raise UsageError('the registers of %s are not known; -a takes %s, with -S'
                         % (here, ' or '.join(sorted(ARCHITECTURES))))
    options.arch = options.arch or here
    # What a file says of another kernel is not to be checked against this one.
    options.elsewhere = bool(changes_nothing and (options.vmlinux or options.arch != here
                                                  or options.database))


def threads_of(options):
    """Return the ids of the threads of the process that is asked for."""
    if not options.pid or options.elsewhere:
        return (options.pid,) if options.pid else ()
    try:
        return tuple(sorted(int(name) for name in os.listdir('/proc/%d/task' % options.pid)))
    except EnvironmentError:
        raise UsageError('there is no process %d' % options.pid)


def read_choice(options):
    """Return the Choice of sources that the options make."""
    mode, release, vmlinux = options.mode or 'auto', os.uname()[2], options.vmlinux
    for name, asked, wanted in (('-r', options.rip, 'remote'), ('-d', options.database, 'local')):
        if asked is not None and mode not in ('auto', wanted):
            raise UsageError('%s goes with -m %s' % (name, wanted))
        mode = mode if asked is None else wanted
    if mode == 'remote':
        release, vmlinux = vmlinux or release, None
        if '/' in release:
            raise UsageError('a server is asked by release, not by file: -v %s' % os.uname()[2])
    if mode == 'local' and vmlinux:
        raise UsageError('-v and -d (or -m local) both name a source of types: take one')
    return Choice(mode, options.arch, release, not options.elsewhere, vmlinux, options.gdb,
                  options.database, options.rip)


def read_trace_file(path):
    """Return the traces in a file; blank lines and those that begin with # are none."""
    try:
        if path == '-':
            with os.fdopen(os.dup(0), 'rb') as stream:
                data = stream.read()
        else:
            data = read_file(path)
    except EnvironmentError as error:
        raise UsageError('%s: %s' % (path, os.strerror(error.errno).lower()))
    if b'\0' in data:
        raise UsageError('%s: no text, and so no traces; -v names a file with types' % path)
    lines = [one_line(line) for line in to_text(data).splitlines()]
    return [line for line in lines if line.strip() and not line.lstrip().startswith('#')]


# Actions

def kernel_of(options, tracefs):
    return Kernel(ARCHITECTURES[options.arch], tracefs, not options.elsewhere,
                  options.choice.vmlinux)


def compiled(options, sources, kernel, console):
    """Return the Probes of all traces."""
    if not kernel.tracefs and kernel.here and any(tree.kind == 'e' for tree in options.trees):
        console.note('no tracefs can be read here: the names of events and fields are not checked')
    return compile_all(options.trees, sources, kernel, console, options.max_probes or MAX_PROBES)


def show(options, sources, console):
    """Print the set-up, and touch nothing."""
    tracefs = None if options.elsewhere else open_tracefs(options.tracefs)
    probes = compiled(options, sources, kernel_of(options, tracefs), console)
    if options.output is not None:
        write_script(options, probes, console)
    plan, lines, root = make_plan(probes, options.settings, RUN_NAME), [], options.tracefs
    if not root and not options.elsewhere:
        root = find_mount()
        for command, mounted in mount_commands()[:1] if not root else ():
            lines, root = [' '.join(command)], mounted      # as a live run would begin
    return print_lines(lines + [shell_line(step, (root or DEFAULT_ROOT) + '/')
                                for step in plan.create + plan.start])


def print_lines(lines):
    """Print lines, as slowly as their reader takes them."""
    output = Output()
    output.writer.patience = None       # there is nothing to clean up: it can wait
    output.write(to_bytes(''.join(line + '\n' for line in lines)))
    output.flush()
    return 0


def show_information(options, sources, console):
    """Print what is known of a function, a type, or the functions of a pattern."""
    if not options.info.strip():
        raise UsageError('--info takes the name of a function, struct, union or enum')
    tracefs = None if options.elsewhere else open_tracefs(options.tracefs)
    kernel = kernel_of(options, tracefs)
    names = [symbol.name for symbol in kernel.functions()]
    source = sources.of(kernel.module(options.info))
    if not names and is_pattern(options.info):
        names = source.names('function')
    return print_lines(information(options.info, source, names, kernel))


def make_database(options, sources, console):
    """Write a database of all types."""
    size = write_database(options.make_db, sources.of(None), options.arch, console)
    console.note('%s: %.1f MB' % (options.make_db, size / 1e6))
    return 0


def show_instructions(options, sources, console):
    """Print the instructions of a function, or of a line of the source."""
    names = function_symbols(options.vmlinux).splitlines() if options.vmlinux else ()
    if options.func and names and options.func not in names:
        raise UsageError("-F: there is no function '%s'%s" % (
            options.func, nearest(options.func, names)))
    disassembler = sources.disassembler()
    if options.func is not None:
        return print_lines([disassembler.function(options.func).rstrip()])
    lines = []
    for symbol, instructions in disassembler.line(options.line):
        lines += ['%s is at %s' % (options.line, symbol), instructions]
    return print_lines(lines)


def write_script(options, probes, console):
    """Write a script that can be executed, and tell what it cannot do."""
    for name, used in (('-c', options.count), ('-t', options.time)):
        if used:
            console.note('%s: a script has no %s, it runs until Ctrl+C' % (options.output, name))
    if make_rewriter(probes):
        console.note('%s: a script shows addresses and names as the numbers that the kernel has'
                     % options.output)
    try:
        with open(options.output, 'wb') as stream:
            stream.write(to_bytes(script(probes, options.settings,
                                         [tree.text for tree in options.trees])))
            mode = os.fstat(stream.fileno()).st_mode
            if stat.S_ISREG(mode):
                os.fchmod(stream.fileno(), stat.S_IMODE(mode) | (mode & 0o444) >> 2)
    except EnvironmentError as error:
        raise Error('%s: %s' % (options.output, os.strerror(error.errno).lower()))


def trace_live(options, sources, console):
    """Set up, stream until the end, and clean up; return the exit status."""
    root, mounted = options.tracefs or find_mount(), None
    try:
        if not root:
            root, mounted = make_mount(console)
        tracefs = Tracefs(root)
        check_tracefs(tracefs)
        if not tracefs.has('kprobe_events') and any(tree.kind != 'e' for tree in options.trees):
            raise KernelError('%s is not there: this kernel has no kprobes (CONFIG_KPROBE_EVENTS); '
                              'events (e ...) can be traced, and -S shows the lines for another'
                              % tracefs.path('kprobe_events'))
        probes = compiled(options, sources, kernel_of(options, tracefs), console)
        sources.close()         # gdb holds much memory
        if options.output is not None:
            write_script(options, probes, console)
        with Signals() as signals:
            return run_session(options, probes, tracefs, signals, console)
    finally:
        if mounted:
            for number_of_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number_of_signal, signal.SIG_IGN)
            run_mount(['umount', mounted], console)         # if nobody else uses it by now


def run_session(options, probes, tracefs, signals, console):
    """Trace Probes until the run ends; return the exit status."""
    sweep(tracefs, console)
    # Threads may have been started meanwhile.
    settings = options.settings._replace(pids=threads_of(options))
    session = Session(tracefs, make_plan(probes, settings, free_run_name(tracefs)), console,
                      signals)
    output, status = Output(make_rewriter(probes), options.count), 0
    try:
        session.set_up()
        session.stream(output, options.time)
    except StopRun:
        pass
    except Error as error:
        console.error(error)
        status = error.status
    finally:
        counts = session.stop(output)
    if counts:
        tell_counts(counts, output, console)
    return status or (signals.status() if session.clean else 1)


def tell_counts(counts, output, console):
    """Say what was seen and what was not."""
    seen = max(counts.read - output.stacks, 0)
    if output.count is not None:
        seen = output.count - output.left
    message = count_of(seen, 'event')
    if counts.lost:
        message += ', and %d lost%s: the ring buffer was full (-b makes it larger)' % (
            counts.lost, ', stacks among them' if output.stacks else '')
    if counts.left:
        message += ', and %d not read, as stdout took nothing' % counts.left
    if counts.missed_returns:
        message += (', and %s missed: too many calls were under way at once (--maxactive lets '
                    'there be more)' % count_of(counts.missed_returns, 'return'))
    if counts.missed:
        message += ', and %d missed, each while another probe was at work' % counts.missed
    console.note(message)


def leave(number_of_signal, _):
    """End by way of all that is to be closed; a live run has its own way."""
    sys.exit(128 + number_of_signal)


def main(argv):
    console = Console()
    for number_of_signal in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number_of_signal) != signal.SIG_IGN:
            signal.signal(number_of_signal, leave)
    try:
        try:
            os.fstat(1)
        except EnvironmentError:        # a pipe or file that is opened later would take its place
            raise Error('stdout is closed')
        options = read_options(argv)
        if options.help:
            return print_lines(help_lines())
        sources = Sources(options.choice, console)
        try:
            return options.action(options, sources, console)
        finally:
            sources.close()
    except Error as error:
        if 'SURFTRACE_DEBUG' in os.environ:
            raise
        console.error(error)
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT      # (a live run takes it as its ordinary end)


# ---------------------------------------------------------------------------
# Where types come from: which source
#
# Takes what the person said of sources and gives the one for each symbol, opened at the first
# question.  Looks for files where distributions put them.  The sources themselves follow.
# ---------------------------------------------------------------------------

# mode: auto, or one of those in SOURCES.  release: of the kernel that is traced.  here: that kernel
# is the running one.  The others are the person's, None where nothing was said.
Choice = namedtuple('Choice', 'mode architecture release here vmlinux gdb database server')

RUNNING_BTF = '/sys/kernel/btf'
RUNNING_NOTES = '/sys/kernel/notes'
RUNNING_MODULE_NOTES = '/sys/module/%s/notes/.note.gnu.build-id'
DEBUG_MODULES = ('/usr/lib/debug/lib/modules/%s/kernel', '/usr/lib/debug/usr/lib/modules/%s/kernel',
                 '/usr/lib/debug/lib/modules/%s/extra')
DEBUG_FILES = ('/usr/lib/debug/lib/modules/%s/vmlinux', '/usr/lib/debug/boot/vmlinux-%s',
               '/usr/lib/debug/usr/lib/modules/%s/vmlinux', '/lib/modules/%s/build/vmlinux',
               '/boot/vmlinux-%s', '/usr/lib/debug/boot/vmlinux-%s.debug',
               '/usr/lib/debug/usr/lib/modules/%s/vmlinux.debug')       # the last two: SUSE
UNPACKERS = {'.zst': 'unzstd', '.xz': 'unxz', '.gz': 'gunzip'}
# How distributions' packages with a vmlinux that has debug info are installed, by os-release ID.
DEBUG_PACKAGES = (
    (('ubuntu',), 'apt-get install linux-image-%s-dbgsym'),     # it says it is like Debian
    (('debian',), 'apt-get install linux-image-%s-dbg'),
    (('fedora', 'rhel', 'centos', 'rocky', 'almalinux', 'anolis', 'alinux', 'openEuler'),
     'dnf debuginfo-install kernel-core-%s'),
    (('sles', 'opensuse-leap', 'opensuse-tumbleweed'), 'zypper install kernel-default-debuginfo'),
)


class Sources(object):
    """The sources of a run."""

    def __init__(self, choice, console):
        self.choice, self.console = choice, console
        self.opened = {}        # by module, None for the kernel
        self.elves = {}         # by path, None for raw BTF

    def of(self, module):
        """Return the source for the symbols of a module, or of the kernel where that is None."""
        return LazySource(self, module)

    def close(self):
        """Close what was opened, and end gdb."""
        for opened in list(self.opened.values()) + list(self.elves.values()):
            if opened is not None:
                opened.close()

    def fall_back(self, unknown):
        """Let gdb read what is unknown, if it was ours to choose; return whether it was."""
        if self.choice.mode != 'auto':
            return False
        self.console.note('%s; gdb reads it instead' % unknown)
        self.opened = {None: self._told(self._gdb(self._vmlinux()))}
        return True

    def disassembler(self):
        """Return the Disassembler of a vmlinux, of which the symbols are enough."""
        path = self._vmlinux()
        if not path:
            raise NoTypesError('instructions are read from a vmlinux; name one with -v; %s'
                               % debug_package(self.choice.release))
        self.opened['gdb'] = Disassembler(self._start_gdb(path, Disassembler.ARGUMENTS, False))
        return self.opened['gdb']

    def open(self, module):
        """Return the source of a module's types, or of the kernel's, opened."""
        if module not in self.opened:
            path = module and self._module_file(module)
            self.opened[module] = (self._module(path) if path else
                                   self.open(None) if module else self._told(self._chosen()))
        return self.opened[module]

    def lacks(self, module):
        """Tell whether what open() gives for a module knows only the kernel's own functions."""
        kernel = self.open(None)
        if module is None or self.open(module) is not kernel or kernel.kind not in (
                'BTF', 'DWARF', 'gdb'):
            return False
        elf = self._elf(kernel.name)        # a module's own, if -v names that
        return elf is None or not elf.relocatable

    def _elf(self, path):
        """Return the Elf at a path, None if that is raw BTF."""
        if path not in self.elves:
            self.elves[path] = elf_of(path)
        return self.elves[path]

    def _chosen(self):
        """Return the source that the mode asks for, or the first that is there."""
        mode, choice = self.choice.mode, self.choice
        if mode != 'remote' and not (choice.here or choice.vmlinux or choice.database):
            raise NoTypesError("the types of this machine's kernel would be wrong for %s: name a "
                               'file with that kernel\'s types with -v or -d'
                               % choice.architecture)
        for name, find, open_source, missing in SOURCES:
            place = find(self) if mode in ('auto', name) else None
            if place is not None:
                return open_source(self, place)
            if mode == name:
                raise NoTypesError(missing % {'release': choice.release,
                                              'package': debug_package(choice.release)})
        raise NoTypesError(ways_out(choice.release))

    def _told(self, source):
        """Return a source of types once the person knows which it is."""
        registers = '' if self.choice.here else ', registers of ' + self.choice.architecture
        self.console.note('types from %s (%s)%s' % (source.name, source.kind, registers))
        return source

    # Finding: each returns a place, or None

    def _btf_file(self):
        path = self.choice.vmlinux
        if not path:
            path = os.path.join(RUNNING_BTF, 'vmlinux')
            return path if os.path.exists(path) else None
        elf = self._elf(path) if self.choice.mode == 'auto' else None
        # (A module's BTF is only what its kernel's lacks.)
        lacks = elf and ('.BTF' not in elf.sections
                         or elf.relocatable and elf.has_debug_info)
        return None if lacks else path

    def _vmlinux(self):
        """Return the path of a vmlinux, the person's or one with debug info of this kernel."""
        if self.choice.vmlinux:
            return self.choice.vmlinux
        for pattern in DEBUG_FILES:
            path = pattern % self.choice.release
            try:
                if self.choice.here and os.path.exists(path) and self._elf(path).has_debug_info:
                    return path
            except (SourceError, AttributeError):
                pass        # it is something else
        return None

    def _database_file(self):
        if self.choice.database:
            return self.choice.database
        name = 'info-%s.db' % self.choice.release
        for directory in ('.', os.path.dirname(os.path.abspath(__file__))):
            path = os.path.join(directory, name)
            if not os.path.exists(path):
                continue
            status = os.stat(path)
            if directory != '.' or status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                return path
            self.console.note('%s is not taken: it is not yours, or others may write to it; '
                              '-d names it' % path)
        return None

    def _server(self):
        if self.choice.mode != 'remote':
            return None         # the network is never asked unless the person says so
        address = self.choice.server
        return (os.environ.get('LBC_SERVER') or SERVER) if address is None else address

    def _module_file(self, module):
        """Return the file with a module's own types, of the kind that its kernel's are; or None."""
        kernel = self.open(None)
        if kernel.kind == 'BTF':        # those of modules lie beside it, as in /sys/kernel/btf
            path = os.path.join(os.path.dirname(kernel.name), module)
            return path if path != kernel.name and is_btf(path) else None
        if kernel.kind != 'DWARF' or not self.choice.here or self.choice.vmlinux:
            return None
        return self._module_debug_file(module)

    def _module_debug_file(self, module):
        """Return the file with the debug info of a module, as distributions place it, or None."""
        for pattern in DEBUG_MODULES:
            for directory, _, names in os.walk(pattern % self.choice.release):
                for name in names:
                    path, ending = os.path.join(directory, name), os.path.splitext(name)[1]
                    if module_of(name) != module or '.ko' not in name:
                        continue
                    if ending not in UNPACKERS:
                        return path
                    self.console.note('%s is compressed, and skipped: %s %s unpacks it'
                                      % (path, UNPACKERS[ending], path))
        return None

    # Opening: each takes a place that was found

    def _btf(self, path):
        elf, data = self._elf(path), read_btf(path)
        if data is None:
            raise SourceError('%s: this ELF file has no section .BTF; -m gdb reads its debug info'
                              % path)
        if elf:
            self._check_machine(elf)
        if elf and elf.relocatable:
            raise SourceError("%s: a module's BTF is only what its kernel's lacks; %s" % (
                path, '-m dwarf reads its debug info' if elf.has_debug_info else
                "name the kernel's vmlinux"))
        source = Btf(data, path)
        if self.choice.vmlinux and not elf:
            self._check_architecture(path, btf_architecture(source))
        return source

    def _dwarf(self, path):
        try:
            return Dwarf(self._debug_elf(path), self.console)
        except UnknownDebugInfo as unknown:
            if self.choice.mode != 'auto':
                raise
            self.console.note('%s; gdb reads it instead' % unknown)
            return self._gdb(path)

    def _gdb(self, path):
        return Gdb(self._start_gdb(path, Gdb.ARGUMENTS))

    def _database(self, path):
        source = Database(path)
        self._check_architecture(path, source.architecture)
        return source

    def _remote(self, address):
        return Server(address, self.choice.release, self.choice.architecture)

    def _module(self, path):
        kernel = self.open(None)
        return (Btf(read_btf(path), path, kernel) if kernel.kind == 'BTF' else
                self._told(Dwarf(self._debug_elf(path), self.console)))

    def _start_gdb(self, path, arguments, debug_info=True):
        elf = self._debug_elf(path, debug_info)
        return GdbProcess(elf, self.choice.gdb or default_gdb(elf.architecture), self.console,
                          arguments)

    # Checks: another kernel's offsets would be wrong numbers that look right

    def _debug_elf(self, path, debug_info=True):
        """Return the Elf of a vmlinux of the right kernel, which is to have debug info."""
        elf, package = self._elf(path), debug_package(self.choice.release)
        if elf is None:
            raise SourceError('%s: no ELF file, which a vmlinux is' % path)
        self._check_machine(elf)
        if '.symtab' not in elf.sections:
            raise SourceError('%s is stripped: it has neither types nor symbols; %s' % (
                path, package))
        if debug_info and not elf.has_debug_info:
            raise SourceError('%s has symbols and no debug info; %s' % (path, package))
        return elf

    def _check_machine(self, elf):
        """Raise the error that an Elf is another kernel's than the one that is traced."""
        self._check_architecture(elf.path, elf.architecture)
        notes = RUNNING_MODULE_NOTES % module_of(elf.path) if elf.relocatable else RUNNING_NOTES
        if self.choice.here and os.path.exists(notes):
            ids = build_id(read_file(notes)), elf.build_id
            if None not in ids and ids[0] != ids[1]:
                raise SourceError('%s is not of the running kernel, %s: their build ids differ'
                                  % (elf.path, self.choice.release))

    def _check_architecture(self, name, architecture):
        if architecture not in (None, self.choice.architecture):
            raise SourceError('%s is for %s, but this trace is for %s%s' % (
                name, architecture, self.choice.architecture, ': say -a %s, with -S' % architecture
                if architecture in ARCHITECTURES else ''))


NO_VMLINUX = ('there is no vmlinux with debug info of kernel %(release)s here; name one with -v; '
              '%(package)s')
# In the order in which auto tries them: the mode, what finds it, what opens it, and what is said
# if that mode is asked for and finds nothing.
SOURCES = (
    ('btf', Sources._btf_file, Sources._btf,
     'this kernel has no %s/vmlinux (CONFIG_DEBUG_INFO_BTF, from 5.4 on); name a file that holds '
     'its BTF with -v' % RUNNING_BTF),
    ('dwarf', Sources._vmlinux, Sources._dwarf, NO_VMLINUX),
    ('gdb', Sources._vmlinux, Sources._gdb, NO_VMLINUX),
    ('local', Sources._database_file, Sources._database,
     'there is no info-%(release)s.db here or beside the script; name a database with -d, or make '
     'one with --make-db'),
    ('remote', Sources._server, Sources._remote, ''),
)


class LazySource(object):
    """The source of a module's symbols, or of the kernel's: opened when it is asked first."""

    def __init__(self, sources, module):
        self._sources, self._module = sources, module

    def __getattr__(self, question):
        answer = getattr(self._sources.open(self._module), question)
        setattr(self, question, answer)     # the next time it is found at once
        return answer

    def functions(self, name):
        if self._sources.lacks(self._module):
            return []       # the kernel may have another function of that name
        # Clang's link-time optimization only renames: NAME.llvm.123.
        return self._sources.open(self._module).functions(re.sub(r'\.llvm\.[0-9]+$', '', name))


def default_gdb(architecture):
    """Return the gdb to start where none is named: one that can read the architecture."""
    if architecture != running_architecture():
        for directory in os.environ.get('PATH', '').split(':'):
            if directory and os.access(os.path.join(directory, 'gdb-multiarch'), os.X_OK):
                return 'gdb-multiarch'
    return 'gdb'


def module_of(path):
    """Return the name of the module that a file is of: x_y for x-y.ko.debug."""
    return os.path.basename(path).partition('.')[0].replace('-', '_')


def debug_package(release):
    """Return how to get a vmlinux with debug info of a kernel, on this distribution."""
    ids = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text_if_there('/etc/os-release'), re.M)
    for names, command in DEBUG_PACKAGES:
        if set(' '.join(ids).split()) & set(names):
            return 'to get one that has: ' + (command % release if '%s' in command else command)
    return "the distribution's kernel debug package brings one that has"


def ways_out(release):
    return ('nothing on this machine tells the types of kernel %s. Ways out:\n'
            '  %s, then trace again\n'
            '  surftrace.py -v FILE ...   a vmlinux of this kernel, or its BTF\n'
            '  surftrace.py -d FILE ...   a database of it; one is made, where there is a vmlinux, '
            'with\n'
            '                             surftrace.py -v VMLINUX --make-db info-%s.db\n'
            '  surftrace.py -r HOST ...   a server that knows it'
            % (release, debug_package(release), release))


# ---------------------------------------------------------------------------
# BTF: a file -> types
#
# Takes the bytes of raw BTF, or of an ELF file's section .BTF.  All of it stays in memory; where
# each type's record begins is marked once, and a name is found by where the offset of its string
# stands.
# ---------------------------------------------------------------------------

# BTF, as Documentation/bpf/btf.rst lays it down: a header, the types, the strings.  A type's record
# is three words (name, info, size or type) and what its kind adds.
BTF_MAGIC = b'\x9f\xeb'
BTF_KINDS = ('void', 'int', 'pointer', 'array', 'struct', 'union', 'enum', 'forward', 'typedef',
             'volatile', 'const', 'restrict', 'symbol', 'function', 'variable', 'section',
             'float', 'decl_tag', 'type_tag', 'enum')       # the last is of 8 bytes
# By kind, how many words a record has, and how many more for each member, value or parameter.
BTF_WORDS = ((3, 0), (4, 0), (3, 0), (6, 0), (3, 3), (3, 3), (3, 2), (3, 0), (3, 0), (3, 0), (3, 0),
             (3, 0), (3, 0), (3, 2), (4, 0), (3, 3), (3, 0), (4, 0), (3, 0), (3, 3))
# By the top byte of a record's second word, 1 for those of which no other word has one: not for
# int, enum, section, decl_tag and enum64, nor for what has the kind_flag, as bitfields do.
BTF_PLAIN = b'\0\2\1\1\1\1\2\1\1\1\1\1\1\1\1\2\1\2\1\2' + b'\2' * 236
BTF_BLOCK = 512             # words; ids are counted from the start of each
BTF_LIMIT = 1 << 26         # bytes; a kernel has 4 to 32 MB
BTF_NAMES_SINGLY = 20       # names that are searched for one by one, before all are indexed


def record_size(info):
    """Return how many words a record of BTF has, by its second one."""
    fixed, each = BTF_WORDS[info >> 24 & 0x1f]
    return fixed + each * (info & 0xffff)


class Btf(Source):
    """The types of a kernel, or of a module on top of its kernel's Btf.

    A reference is a type's id, a number; a module's ids and strings go on where its kernel's end.
    """

    kind = 'BTF'

    def __init__(self, data, name, kernel=None):
        self.name = name
        types, strings = self._parts(data)
        marks, self.has_signs = self._marked(types)
        self.own = 1        # the first id of a module's own types
        if kernel:
            self.own, self.has_signs = kernel.before[-1] + 1, kernel.has_signs or self.has_signs
            types, strings, marks = (
                kernel.types + types, kernel.strings + strings, kernel.marks + marks)
        self.types, self.strings, self.marks = types, strings, marks
        self.before = [0]   # how many records begin before each block of words, and in all
        for at in range(0, len(marks), BTF_BLOCK):
            self.before.append(self.before[-1] + marks.count(b'\1', at, at + BTF_BLOCK))
        self.named, self.index = {}, None       # ids by name; later by kind and name

    def _damaged(self, why):
        return SourceError('%s: damaged BTF: %s' % (self.name, why))

    def _parts(self, data):
        """Return the types, and the strings, as bytes."""
        if data[:2] == BTF_MAGIC[::-1]:
            raise SourceError('%s: big-endian BTF; only little-endian machines are known'
                              % self.name)
        if data[:2] != BTF_MAGIC:
            raise SourceError('%s: neither BTF nor an ELF file' % self.name)
        if len(data) < 24:
            raise self._damaged('it is cut short')
        version, _, header, type_offset, type_size, string_offset, string_size = (
            struct.unpack_from('<BBIIIII', data, 2))
        if version != 1:
            raise SourceError('%s: BTF version %d; only 1 is known' % (self.name, version))
        types = data[header + type_offset:header + type_offset + type_size]
        strings = data[header + string_offset:header + string_offset + string_size]
        if len(types) != type_size or type_size % 4 or len(strings) != string_size:
            raise self._damaged('it is cut short')
        if strings[-1:] != b'\0':
            raise self._damaged('its strings are not closed')
        return types, strings

    def _marked(self, types):
        """Return a byte for each word, 1 if it is a record's second; and whether enums have signs.

        A walk over all records takes three times as long, so it leaps.  Names, ids, sizes and
        offsets are small: of a plain record, the second word is the only one whose top byte, the
        kind, is not zero.  So plain records are marked at once, and leapt over if the last one
        ends where one that is not plain begins, and no marks are closer than the three words that
        each record has: a size or an array's length that is large, or the offset of a struct's
        last member, would be marked within two words of a record's second.  (That would miss some
        structs of 12 to 16 MB; there are none.)
        """
        infos, kinds, at = array.array('I', types), set(), 0
        marks = bytearray(types[3::4].translate(BTF_PLAIN))
        try:
            while at < len(marks):
                other = marks.find(b'\2', at + 1)
                other = len(marks) + 1 if other < 0 else other
                last = marks.rfind(b'\1', at, other)
                if last >= 0 and last + record_size(infos[last]) == other and (
                        marks.find(b'\1\1', at, other) < 0 > marks.find(b'\1\0\1', at, other)):
                    at = other - 1
                else:
                    kinds.add(infos[at + 1] >> 24)
                    end = at + record_size(infos[at + 1])
                    marks[at:end] = b'\0\1'.ljust(end - at, b'\0')
                    at = end
        except IndexError:
            at = -1
        if at != len(marks) or 4 * at != len(types):
            raise self._damaged('it holds a type of no known kind, or its last one is cut short')
        # Before Linux 6.0 no enum (6) had the flag, nor was there enum64 (19).
        return marks, not kinds.isdisjoint((0x86, 19, 0x80 + 19))

    def _start(self, ref):
        """Return where a type's record begins, in words."""
        if not 0 < ref <= self.before[-1]:
            raise self._damaged('there is no type %d' % ref)
        block = bisect.bisect_left(self.before, ref) - 1
        at = BTF_BLOCK * block - 1
        for _ in range(ref - self.before[block]):
            at = self.marks.find(b'\1', at + 1)
        return at - 1

    def _id(self, word):
        """Return the id of the type in whose record a word stands."""
        # (The first word of a record stands before its mark.)
        end = word + 2
        block = end // BTF_BLOCK
        return self.before[block] + self.marks.count(b'\1', BTF_BLOCK * block, end)

    @sound
    def _record(self, ref):
        """Return a type's kind, flag, name, last word, and the words that it adds, in rows."""
        start = 4 * self._start(ref)
        name, info, last = struct.unpack_from('<3I', self.types, start)
        fixed, each = BTF_WORDS[info >> 24 & 0x1f]
        count = fixed - 3 + each * (info & 0xffff)
        more = struct.unpack_from('<%dI' % count, self.types, start + 12)
        return BTF_KINDS[info >> 24 & 0x1f], info >> 31, self._text(name), last, (
            [more[i:i + each] for i in range(0, count, each)] if each else more)

    def _text(self, offset):
        end = self.strings.find(b'\0', offset)
        if end < 0:
            raise self._damaged('a name lies outside of its strings')
        return to_text(self.strings[offset:end])

    # Names

    def _places(self, name):
        """Yield (id, number of the word) of the records in which a name's offset stands."""
        sought = b'\0' + to_bytes(name) + b'\0'
        at = self.strings.find(sought)
        while at >= 0:
            # Four times as quick as find(), which among so many zeros is slow.
            search = re.compile(re.escape(struct.pack('<I', at + 1))).search
            match = search(self.types)
            while match:
                word, rest = divmod(match.start(), 4)
                if not rest:
                    ref = self._id(word)
                    yield ref, word - self._start(ref)
                match = search(self.types, match.start() + 1)
            at = self.strings.find(sought, at + 1)

    def _ids(self, kind, name):
        """Return the ids of all types of that kind and name, the kernel's of a module, too."""
        if self.index is None and name not in self.named:
            self.named[name] = [ref for ref, word in self._places(name) if not word]
            if len(self.named) > BTF_NAMES_SINGLY:
                self.index = self._index()
        if self.index is None:
            return [ref for ref in self.named[name] if self._record(ref)[0] == kind]
        return self.index.get((kind, name), ())

    def _index(self):
        """Return the ids of all types that have a name, by kind and name."""
        words, index = array.array('I', self.types), {}
        for ref, match in enumerate(re.finditer(b'\1', self.marks), 1):
            offset, info = words[match.start() - 1], words[match.start()]
            if offset:
                key = BTF_KINDS[info >> 24 & 0x1f], self._text(offset)
                index.setdefault(key, []).append(ref)
        return index

    def _own(self, refs):
        """Return those of a module's own types, if there are any, else all."""
        return sorted(ref for ref in refs if ref >= self.own) or sorted(refs)

    def _all(self, kind, name):
        return self._own(self._ids(kind, name))

    def find(self, kind, name):
        return (self._all(kind, name) or [None])[0]

    def copies(self, kind, name):
        return len(self._all(kind, name))

    def names(self, kind):
        self.index = self.index or self._index()
        wanted = 'symbol' if kind == 'function' else kind
        return sorted(name for each, name in self.index if each == wanted)

    def functions(self, name):
        # What a compiler made of a function has a suffix; newer pahole gives it the prototype of
        # the original, whose arguments it may not have.
        refs = [] if '.' in name else self._all('symbol', name)
        return [self._function(name, target)
                for target in sorted(set(self._record(ref)[3] for ref in refs))]

    def _function(self, name, ref):
        kind, _, _, result, rows = self._record(ref)
        if kind != 'function':
            raise self._damaged("'%s' has no prototype" % name)
        return Function(name, tuple(Parameter(self._text(word), target) for word, target in rows),
                        result)

    def variable(self, name):
        """Return the Variable of a name; compilers tell of few others than each CPU's."""
        for ref in self._all('variable', name):
            sections = self._ids('section', PER_CPU_SECTION)
            return Variable(self._record(ref)[3], any(
                row[0] == ref for each in sections for row in self._record(each)[4]))
        return None

    def enums_of(self, name):
        enums = [(ref, self.describe(ref)) for ref, word in self._places(name) if word >= 3]
        return self._own([ref for ref, record in enums
                          if record.kind == 'enum' and name in dict(self.enumerators(record))])

    # Types

    def describe(self, ref):
        """Return the Record of an id; 0 is void."""
        if ref == 0:
            return Record('void')
        kind, flag, name, last, more = self._record(ref)
        if kind == 'pointer':
            return Record(kind, size=POINTER_SIZE, target=last)
        if kind == 'array':
            return Record(kind, target=more[0], length=more[2])
        if kind in WRAPPERS:
            return Record(kind, name, target=last)
        if kind == 'int':
            return Record(kind, name, last, signed=bool(more[0] >> 24 & 1))
        if kind in ('struct', 'union'):
            return Record(kind, name, last, ref)
        if kind == 'enum':
            # Where none says that it has a sign, one has it if a number looks negative.
            signed = flag if self.has_signs or last > 4 else any(row[1] >> 31 for row in more)
            return Record(kind, name, last, ref, signed=bool(signed))
        if kind == 'function':
            return Record(kind, target=self._function('', ref))
        if kind == 'forward':
            # A struct is declared where its definition was not known, which another file has.
            kind = 'union' if flag else 'struct'
            defined = self.find(kind, name)
            return self.describe(defined) if defined else Record(kind, name)
        return Record(kind, name, last if kind == 'float' else 0)

    def members(self, record):
        """Return the Members of a struct or union; none of one that is only declared."""
        if record.target is None:
            return []
        _, flag, _, _, rows = self._record(record.target)
        return [Member(self._text(name), ref, place & 0xffffff, place >> 24) if flag else
                Member(self._text(name), ref, place, 0) for name, ref, place in rows]

    def enumerators(self, record):
        """Return the (name, number) pairs of an enum."""
        _, _, _, size, rows = self._record(record.target)
        bits = 32
        if rows and len(rows[0]) == 3:
            rows, bits = [(name, low | high << 32) for name, low, high in rows], 64
        elif size > 4:      # before enum64 (Linux 6.0) their numbers were cut
            rows = []
        sign = 1 << bits - 1 if record.signed else 0
        return [(self._text(name), (number ^ sign) - sign) for name, number in rows]


def open_types_file(path):
    """Return the file that types are to be read from, open."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceError('%s: not a file that types can be read from' % path)
        return open(path, 'rb', 0)
    except EnvironmentError as error:
        raise SourceError('%s: %s' % (path, os.strerror(error.errno).lower()))


def is_btf(path):
    """Tell whether a file is raw BTF, of either order of bytes."""
    if not os.path.isfile(path):
        return False
    with open_types_file(path) as stream:
        return stream.read(2) in (BTF_MAGIC, BTF_MAGIC[::-1])


def read_btf(path):
    """Return the bytes of raw BTF, or of an ELF file's section .BTF; None if it has none."""
    elf = elf_of(path)
    if elf:
        return elf.whole('.BTF') or None
    with open_types_file(path) as stream:
        if os.fstat(stream.fileno()).st_size > BTF_LIMIT:
            raise SourceError("%s: too large for a kernel's BTF, which has up to 32 MB" % path)
        return stream.read()


def btf_architecture(types):
    """Return the architecture of the kernel whose Btf it is, by its registers; None if untold."""
    ref = types.find('struct', 'pt_regs')
    names = [member.name for member in Type(types, ref).members()] if ref else ()
    return ('aarch64' if 'pstate' in names else 'x86_64' if 'r15' in names else
            'another architecture' if names else None)


# ---------------------------------------------------------------------------
# ELF: a path -> sections and symbols of a vmlinux or a module
# ---------------------------------------------------------------------------

# elf.5: ET_REL of a file, SHT_NOBITS of a section, SHF_COMPRESSED of its flags, STT_FUNC
ELF_RELOCATABLE, ELF_NO_BITS, ELF_COMPRESSED, ELF_FUNCTION = 1, 8, 1 << 11, 2
ELF_MACHINES = {62: 'x86_64', 183: 'aarch64'}
SECTION_LIMIT = 1 << 30     # bytes of a section that is unpacked, or read as a whole
SEARCH_WINDOW = 1 << 20     # bytes that a search reads at a time
# Bytes that the types of relocations set which the debug info of modules has.
RELOCATIONS = {'x86_64': {1: 8, 10: 4, 11: 4}, 'aarch64': {257: 8, 258: 4}}
SYMBOL = re.compile(br'[A-Za-z_][\w.$]*\Z')
# gzip, zstd, xz, lz4 (both), bzip2; a vmlinuz of x86 (bzImage), and of EFI (zboot).
PACKED = re.compile(br'\x1f\x8b|\x28\xb5\x2f\xfd|\xfd7zXZ|\x02\x21L\x18|\x04\x22M\x18|BZh'
                    br'|.{514}HdrS|.{4}zimg', re.DOTALL)

Extent = namedtuple('Extent', 'offset size packed')     # of a section in its file, in bytes


class Elf(object):
    """A 64-bit little-endian ELF file (elf.5).

    architecture: a name as ARCHITECTURES has it, where it does.  relocatable: it is a module, not
    linked yet.  sections: their Extents by name.
    """

    @sound
    def __init__(self, path):
        self.path = self.name = path
        self.stream = open_types_file(path)
        self.kept = {}          # sections that were asked for as a whole
        head = self.stream.read(518)
        if PACKED.match(head):
            raise SourceError('%s: is compressed: unpack it first; extract-vmlinux of the '
                              "kernel's scripts does that for a vmlinuz" % self.path)
        if head[:4] != b'\x7fELF':
            raise SourceError('%s: neither BTF nor an ELF file' % self.path)
        if head[4:6] != b'\2\1':
            raise SourceError('%s: a %s ELF file; only 64-bit little-endian ones are known' % (
                self.path, '32-bit' if head[4:5] == b'\1' else 'big-endian'))
        kind, machine, _, _, _, table, _, _, _, _, _, count, names = struct.unpack_from(
            '<HHIQQQIHHHHHH', head, 16)
        self.relocatable = kind == ELF_RELOCATABLE
        self.architecture = ELF_MACHINES.get(machine, 'machine %d' % machine)
        data = self._read(table, 64 * count)
        rows = [struct.unpack_from('<IIQQQQIIQQ', data, 64 * i) for i in range(count)]
        texts = self._read(*rows[names][4:6]) if rows else b''
        self.section_names = [to_text(texts[row[0]:texts.index(b'\0', row[0])]) for row in rows]
        self.sections = dict(
            (name, Extent(row[4], row[5], bool(row[2] & ELF_COMPRESSED)))
            for name, row in zip(self.section_names, rows)
            if row[1] != ELF_NO_BITS)       # a debug file lacks what these hold

    def close(self):
        self.stream.close()

    def unknown(self, why):
        return UnknownDebugInfo('%s: debug info that only gdb may read: %s' % (self.path, why))

    def _read(self, at, size):
        # Sizes are the file's own words; no more is read than there is.
        self.stream.seek(min(at, OFFSET_LIMIT << 8))
        data = self.stream.read(min(size, os.fstat(self.stream.fileno()).st_size))
        if len(data) != size:
            raise SourceError('%s: a damaged ELF file: it is cut short' % self.path)
        return data

    @property
    def has_debug_info(self):
        return '.debug_info' in self.sections

    @property
    def build_id(self):
        return build_id(self.whole('.notes') or self.whole('.note.gnu.build-id'))

    # Sections

    def size(self, name):
        """Return the size of a section, unpacked; 0 if there is none."""
        _, size, packed = self.sections.get(name, (0, 0, False))
        return len(self.whole(name)) if packed else size

    @sound
    def whole(self, name):
        """Return the bytes of a section, which are kept; none if there is no such section."""
        if name not in self.kept:
            offset, size, packed = self.sections.get(name, (0, 0, False))
            if size > SECTION_LIMIT:
                raise self.unknown('%s is too large' % name)
            data = self._read(offset, size)
            if packed:
                data = self._unpacked(name, data)
            if self.relocatable and '.rela' + name in self.sections:
                data = self._relocated(name, data)
            self.kept[name] = data
        return self.kept[name]

    def _unpacked(self, name, data):
        import zlib
        kind, _, size = struct.unpack_from('<IIQ', data)        # Elf64_Chdr
        if kind != 1 or size > SECTION_LIMIT:
            raise self.unknown('%s is compressed by other means than zlib, or too large' % name)
        try:
            return zlib.decompressobj().decompress(data[24:], size or 1)
        except zlib.error as error:
            raise SourceError('%s is damaged: %s: %s' % (self.path, name, error))

    def _relocated(self, name, data):
        """Return a module's section with what its linker would have filled in."""
        data, table, symbols = bytearray(data), self.whole('.rela' + name), self.whole('.symtab')
        sizes = RELOCATIONS.get(self.architecture, {})
        for at in range(0, len(table), 24):
            place, info, addend = struct.unpack_from('<QQq', table, at)
            size = sizes.get(info & 0xffffffff)
            if size is None:
                raise self.unknown('%s has relocations of type %d' % (name, info & 0xffffffff))
            value, = struct.unpack_from('<Q', symbols, 24 * (info >> 32) + 8)
            struct.pack_into('<Q' if size == 8 else '<I', data, place,
                             (value + addend) & ((1 << 8 * size) - 1))
        return bytes(data)

    def part(self, name, at, size):
        """Return so many bytes of a section; IndexError if they are not all there."""
        if self.relocatable:
            self.whole(name)
        if not 0 <= at <= at + size <= self.size(name):
            raise IndexError(at)
        if name in self.kept:
            return self.kept[name][at:at + size]
        return self._read(self.sections[name].offset + at, size)

    def places(self, name, keys):
        """Yield (place, key) where any of the keys stands in a section, window by window."""
        total, overlap = self.size(name), max(map(len, keys)) - 1
        for first in range(0, total, SEARCH_WINDOW):
            data = self.part(name, first, min(SEARCH_WINDOW + overlap, total - first))
            for key in keys:
                at = data.find(key)
                while 0 <= at < SEARCH_WINDOW:      # what begins behind it, the next window has
                    yield first + at, key
                    at = data.find(key, at + 1)

    # Symbols: entries of 24 bytes (name's offset, type, visibility, section, address, size)

    def _name_offsets(self):
        table = self.whole('.symtab')
        return array.array('I', table[:len(table) // 24 * 24])[::6]

    @sound
    def function_names(self):
        strings, offsets = self.whole('.strtab'), self._name_offsets()
        kinds = bytearray(self.whole('.symtab')[4::24])
        names = [strings[offset:strings.find(b'\0', offset)]
                 for offset, kind in zip(offsets, kinds) if kind & 15 == ELF_FUNCTION]
        return [to_text(name) for name in names if SYMBOL.match(name)]

    def _symbols(self, name):
        """Return the (type, section's number, address) of each symbol of a name."""
        # Linkers let one name end another, so it may stand in several places.
        places = set(match.start() for match in re.finditer(
            re.escape(to_bytes(name)) + br'(?:\.llvm\.[0-9]+)?\0', self.whole('.strtab')))
        return [struct.unpack_from('<4xBxHQ', self.whole('.symtab'), 24 * number)
                for number, offset in enumerate(self._name_offsets()) if offset in places]

    @sound
    def addresses(self, name):
        """Return the addresses of the functions of a name, in order."""
        return sorted(set(address for kind, _, address in self._symbols(name)
                          if kind & 15 == ELF_FUNCTION))

    @sound
    def is_per_cpu(self, name):
        """Tell whether each CPU has a variable of that name of its own."""
        return PER_CPU_SECTION in [self.section_names[section] for _, section, _
                                   in self._symbols(name) if section < len(self.section_names)]


def elf_of(path):
    """Return the Elf at a path, None if that is raw BTF."""
    return None if is_btf(path) else Elf(path)


def function_symbols(path):
    """Return the names of the functions in an ELF file's table of symbols, one a line."""
    elf = elf_of(path)
    return '\n'.join(elf.function_names()) if elf else ''


def build_id(notes):
    """Return the build id in the bytes of ELF notes, None if there is none."""
    match = re.search(b'\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0(.{20})', notes, re.DOTALL)
    return match and match.group(1)


# ---------------------------------------------------------------------------
# DWARF: the debug info of a vmlinux or a module -> types
#
# Takes an Elf, and reads as little of it as a question needs: a function's unit is found by its
# address, a name by where the offset of its string stands.  Knows DWARF 4 and 5 as gcc and clang
# write them for a kernel; what else there is, gdb reads (UnknownDebugInfo).
# ---------------------------------------------------------------------------

# DWARF (dwarfstd.org) is a tree of entries for each compiled file, a unit.  An entry begins with
# the number of an abbreviation, which says its tag, and which attributes follow in what forms; its
# children come behind it, up to a zero.  All numbers are the standard's.
TAG_KINDS = {0x01: 'array', 0x04: 'enum', 0x0f: 'pointer', 0x13: 'struct', 0x15: 'function',
             0x16: 'typedef', 0x17: 'union', 0x24: 'int', 0x26: 'const', 0x35: 'volatile',
             0x37: 'restrict', 0x3b: 'void', 0x47: 'volatile'}      # the last is _Atomic
NAMED_TAGS = {'struct': 0x13, 'union': 0x17, 'enum': 0x04, 'typedef': 0x16, 'int': 0x24,
              'function': 0x2e, 'variable': 0x34}
TAG_PARAMETER, TAG_MEMBER, TAG_ANY_MORE, TAG_RANGE = 0x05, 0x0d, 0x18, 0x21
TAG_ENUMERATOR, TAG_ANNOTATION = 0x28, 0x6000
ATTRIBUTES = {
    1: 'sibling', 2: 'location', 3: 'name', 11: 'byte_size', 12: 'bit_offset', 13: 'bit_size',
    17: 'low_pc', 19: 'language', 28: 'constant', 47: 'upper_bound', 49: 'origin', 55: 'count',
    56: 'place', 59: 'line', 60: 'declaration', 62: 'encoding', 71: 'specification', 73: 'type',
    85: 'ranges', 107: 'data_bit_offset', 114: 'string_base', 115: 'address_base',
    118: 'other_file', 0x2130: 'other_file'}
ENCODING_FLOATS, ENCODING_SIGNED = (3, 4), (5, 6)
LANGUAGE_ASSEMBLER = 0x8001
OPERATION_REGISTER = 0x50
HAS_CODE = frozenset(('low_pc', 'ranges'))      # what a function has one of, if it is not inlined
# By form: what its bytes are, and how many, None if these tell.  An 'entry' is counted from its
# unit's start; what is 'unused' is passed over.
DWARF_FORMS = {
    0x01: ('number', 8), 0x03: ('block', 2), 0x04: ('block', 4), 0x05: ('number', 2),
    0x06: ('number', 4), 0x07: ('number', 8), 0x08: ('text', None), 0x09: ('block', None),
    0x0a: ('block', 1), 0x0b: ('number', 1), 0x0c: ('number', 1), 0x0d: ('signed', None),
    0x0e: ('.debug_str', 4), 0x0f: ('number', None), 0x10: ('number', 4),
    0x11: ('entry', 1), 0x12: ('entry', 2), 0x13: ('entry', 4), 0x14: ('entry', 8),
    0x15: ('entry', None), 0x17: ('number', 4), 0x18: ('block', None), 0x19: ('flag', 0),
    0x1a: ('string_base', None), 0x1b: ('address_base', None), 0x1e: ('unused', 16),
    0x1f: ('.debug_line_str', 4), 0x21: ('constant', 0), 0x22: ('unused', None),
    0x23: ('unused', None), 0x25: ('string_base', 1), 0x26: ('string_base', 2),
    0x27: ('string_base', 3), 0x28: ('string_base', 4), 0x29: ('address_base', 1),
    0x2a: ('address_base', 2), 0x2b: ('address_base', 3), 0x2c: ('address_base', 4)}
FORM_ENTRY, FORM_CONSTANT = 0x13, 0x21
STRUCT_CODES = dict((size, struct.Struct('<' + code).unpack_from)
                    for size, code in ((1, 'B'), (2, 'H'), (4, 'I'), (8, 'Q')))
STRUCT_CODES[3] = lambda data, at: (data[at] | data[at + 1] << 8 | data[at + 2] << 16,)
UNITS_AT_HAND = 64          # that are kept as they were read
# DWARF's numbers of registers, in ftrace's names.
DWARF_REGISTERS = {'x86_64': 'ax dx cx bx si di bp sp r8 r9 r10 r11 r12 r13 r14 r15'.split(),
                   'aarch64': ['x%d' % each for each in range(31)] + ['sp']}
ENTRY_GAP = 16      # bytes from a symbol to where its function's debug info begins, on aarch64

# start, entries and end are places in .debug_info.  table: where its abbreviations stand.
Unit = namedtuple('Unit', 'start entries end version table')
# attributes: (name, form, constant) each.  size: bytes of them all, None if they vary.  offsets: of
# each attribute, the bytes before it, None if they vary.  sibling: the offset of the reference to
# the next entry that is no child, None if there is none.
Abbreviation = namedtuple('Abbreviation', 'tag children attributes size offsets sibling')
# values: of its attributes, by name.  below: where its children begin, 0 if it has none.
Entry = namedtuple('Entry', 'ref unit tag values below')


def leb128(data, at):
    """Return the number of variable length at a place of a bytearray, and where it ends."""
    value = shift = 0
    while shift < 70:
        value |= (data[at] & 0x7f) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    raise IndexError(at)


def signed_leb128(data, at):
    value, end = leb128(data, at)
    return value - (1 << 7 * (end - at)) if data[end - 1] & 0x40 else value, end


def defines(abbreviation, tag):
    """Tell whether an Abbreviation is of a definition; of a variable, a declaration will do."""
    return abbreviation.tag == tag and (
        'declaration' not in abbreviation.offsets or tag == NAMED_TAGS['variable'])


class Dwarf(Source):
    """The types in the debug info of one ELF file.  A reference is the place of an entry."""

    kind = 'DWARF'

    @sound
    def __init__(self, elf, console):
        self.name, self.elf, self.console = elf.path, elf, console
        self.close, self._unknown = elf.close, elf.unknown
        self.at_hand = {}           # by unit: its bytes, its abbreviations, its top entries
        self.found = {}             # references by kind and name, None for what is not there
        self.index = self.same = self.ranges = None     # filled when they are asked for
        for section in ('.gnu_debugaltlink', '.debug_types'):
            if section in self.elf.sections:
                raise self._unknown('it has %s' % section)
        if self.elf.sections['.debug_info'].packed:
            self.console.note('%s: its debug info is compressed, which takes a moment' % self.name)
        self.tables = bytearray(self.elf.whole('.debug_abbrev'))
        self.units, at = [], 0
        while at < self.elf.size('.debug_info'):
            self.units.append(self._read_unit(at))
            at = self.units[-1].end
        self.starts = [unit.start for unit in self.units]
        if 'other_file' in self._root(self.units[0]).values:
            raise self._unknown('it lies in other files (.dwo)')
        # Before Linux 5.12, files in assembler had DWARF 2, which tells of lines alone.
        for unit in self.units:
            if unit.version < 4 and (
                    self._root(unit).values.get('language') != LANGUAGE_ASSEMBLER):
                raise self._unknown('DWARF version %d' % unit.version)

    # Units and entries

    def _read_unit(self, start):
        """Return the Unit whose header stands at a place (DWARF 5, 7.5.1)."""
        length, version = struct.unpack('<IH', self.elf.part('.debug_info', start, 6))
        more = self.elf.part('.debug_info', start + 6, 6)
        if version == 5:
            kind, width, table = struct.unpack('<BBI', more)
        else:
            kind, (table, width) = 1, struct.unpack('<IB', more[:5])
        if length == 0xffffffff or width != 8:
            raise self._unknown('64-bit DWARF, or addresses that are not')
        if not 2 <= version <= 5:
            raise self._unknown('DWARF version %d' % version)
        if kind not in (1, 3):          # a compiled file, or what several share
            raise self._unknown('it has type units' if kind == 2 else
                                'it lies in other files (.dwo)')
        return Unit(start, start + (12 if version == 5 else 11), start + 4 + length, version, table)

    def _unit_at(self, ref):
        """Return the Unit that a reference lies in."""
        return self.units[max(bisect.bisect(self.starts, ref) - 1, 0)]

    def _at_hand(self, unit):
        """Return the bytes of a Unit, its Abbreviations, and a list for its top entries."""
        if unit.start not in self.at_hand:
            if len(self.at_hand) == UNITS_AT_HAND:
                self.at_hand.clear()
            data = self.elf.part('.debug_info', unit.start, unit.end - unit.start)
            self.at_hand[unit.start] = bytearray(data), self._abbreviations(unit.table), []
        return self.at_hand[unit.start]

    def _abbreviations(self, at):
        """Return the Abbreviations of a table by number (DWARF 5, 7.5.3)."""
        found = {}
        while True:
            code, at = leb128(self.tables, at)
            if not code:
                return found
            tag, at = leb128(self.tables, at)
            children, at, attributes = self.tables[at], at + 1, []
            while True:
                attribute, at = leb128(self.tables, at)
                form, at = leb128(self.tables, at)
                constant = None
                if form == FORM_CONSTANT:
                    constant, at = signed_leb128(self.tables, at)
                if not form:
                    break
                attributes.append((ATTRIBUTES.get(attribute, attribute), form, constant))
            found[code] = self._abbreviation(tag, children, attributes)

    def _abbreviation(self, tag, children, attributes):
        size, offsets, sibling = 0, {}, None
        for name, form, _ in attributes:
            if form not in DWARF_FORMS:
                raise self._unknown('a form of attributes 0x%x' % form)
            if name == 'sibling' and form == FORM_ENTRY:
                sibling = size
            offsets[name] = size
            kind, each = DWARF_FORMS[form]
            size = None if size is None or each is None or kind == 'block' else size + each
        return Abbreviation(tag, children, attributes, size, offsets, sibling)

    def _entry(self, ref):
        """Return the Entry at a reference."""
        unit = self._unit_at(ref)
        data, table, _ = self._at_hand(unit)
        code, at = leb128(data, ref - unit.start)
        abbreviation, values = table[code], {}
        for name, form, constant in abbreviation.attributes:
            values[name], at = self._value(unit, data, at, form, constant)
        return Entry(ref, unit, abbreviation.tag, values,
                     unit.start + at if abbreviation.children else 0)

    def _root(self, unit):
        return self._entry(unit.entries)

    @staticmethod
    def _value(unit, data, at, form, constant):
        """Return what a form's bytes say, and where they end; what stands elsewhere as a pair."""
        kind, size = DWARF_FORMS[form]
        if kind == 'text':
            end = data.index(b'\0', at)
            return bytes(data[at:end]), end + 1
        if kind == 'signed':
            return signed_leb128(data, at)
        if size == 0:
            return constant if kind == 'constant' else 1, at
        if size == 16:
            return None, at + size
        if size is None:
            value, at = leb128(data, at)
        else:
            value, at = STRUCT_CODES[size](data, at)[0], at + size
        if kind == 'number':
            return value, at
        if kind == 'entry':
            return unit.start + value, at
        if kind == 'block':
            return data[at:at + value], at + value
        return None if kind == 'unused' else (kind, value), at

    def _text(self, entry, attribute='name'):
        """Return the text of an attribute, '' if there is none."""
        value = entry.values.get(attribute, b'')
        if isinstance(value, tuple):
            section, place = value
            if section == 'string_base':
                place = self._indexed(entry.unit, section, '.debug_str_offsets', place, 4)
                section = '.debug_str'
            strings = self.elf.whole(section)
            value = strings[place:strings.index(b'\0', place)]
        if not isinstance(value, bytes):
            raise ValueError(value)
        return to_text(value)

    def _address(self, entry):
        """Return where the code of an Entry begins, None if it does not say."""
        value = entry.values.get('low_pc')
        if isinstance(value, tuple):
            return self._indexed(entry.unit, value[0], '.debug_addr', value[1], 8)
        return value

    def _indexed(self, unit, base, section, number, size):
        """Return a number from a section in which a Unit's begin at a base (DWARF 5, 7.26)."""
        at = self._root(unit).values[base] + number * size
        return STRUCT_CODES[size](self.elf.part(section, at, size))[0]

    def _number(self, entry, attribute, default=0):
        """Return a size or a count."""
        value = entry.values.get(attribute)
        return value if isinstance(value, int) and 0 <= value < OFFSET_LIMIT else default

    def _below(self, unit, at):
        """Yield (reference, Abbreviation) of the entries at a place, up to the zero behind them.

        What stands below them is leapt over if they say how far it goes.
        """
        data, table, _ = self._at_hand(unit)
        depth, at, end = 0, at - unit.start, len(data)
        while at < end:
            start = at
            code, at = leb128(data, at)
            if not code:
                depth -= 1
                if depth < 0:
                    return
                continue
            abbreviation = table[code]
            if not depth:
                yield unit.start + start, abbreviation
            if abbreviation.children and abbreviation.sibling is not None:
                at = STRUCT_CODES[4](data, at + abbreviation.sibling)[0]
                if at <= start:
                    raise IndexError(at)
                continue
            depth += 1 if abbreviation.children else 0
            if abbreviation.size is None:
                for _, form, constant in abbreviation.attributes:
                    at = self._value(unit, data, at, form, constant)[1]
            else:
                at += abbreviation.size

    def _top(self, unit, place=None):
        """Return (reference, Abbreviation) of the entries below a Unit: all, or that at a place."""
        top = self._at_hand(unit)[2]
        if not top:
            below = self._root(unit).below
            top += self._below(unit, below) if below else ()
        if place is None or not top:
            return top
        return [top[max(bisect.bisect([ref for ref, _ in top], place) - 1, 0)]]

    def _children(self, entry, *tags):
        """Yield the Entries of some tags that stand directly below another."""
        for ref, abbreviation in self._below(entry.unit, entry.below) if entry.below else ():
            if abbreviation.tag in tags:
                yield self._entry(ref)

    # Names

    @sound
    def find(self, kind, name):
        if (kind, name) not in self.found:
            self.found[kind, name] = (
                self._search(NAMED_TAGS[kind], name) if self.index is None or kind == 'variable'
                else (self.index.get((kind, name)) or [None])[0])
        return self.found[kind, name]

    def _search(self, tag, name):
        """Return the reference of a definition, of those at hand the first, or None."""
        at_hand = [(self._unit_at(start), None) for start in sorted(self.at_hand)]
        for places in (at_hand, self._places(name)):
            for unit, place in places:
                for ref in self._definitions(unit, place, tag):
                    if self._text(self._entry(ref)) == name:
                        return ref
        return None

    def _places(self, name):
        """Yield (Unit, place) where the name's bytes, or the offset of its string, stand.

        Linkers let one string end another: task_struct may stand in put_task_struct.  The place is
        None in a unit that names strings by number (clang, DWARF 5).
        """
        text = to_bytes(name) + b'\0'
        keys = [struct.pack('<I', match.start())
                for match in re.finditer(re.escape(text), self.elf.whole('.debug_str'))]
        bases = self._bases(keys) if keys else []
        for place, key in self.elf.places('.debug_info', keys + [text] + bases):
            yield self._unit_at(place), None if key in bases else place

    def _bases(self, keys):
        """Return what units that number one of these strings have as their base, as bytes."""
        section, starts, at, found = '.debug_str_offsets', [], 0, set()
        while at < self.elf.size(section):
            starts.append(at + 8)
            at += 4 + STRUCT_CODES[4](self.elf.part(section, at, 4))[0]
        for place, _ in self.elf.places(section, keys) if starts else ():
            found.add(max(start for start in starts if start <= max(place, 8)))
        return [struct.pack('<I', start) for start in sorted(found)]

    def _definitions(self, unit, place, tag):
        """Yield the definitions of a tag at the top of a Unit, around a place if that is known."""
        if place is None or self._may_define(unit, place, tag):
            for ref, abbreviation in self._top(unit, place):
                if defines(abbreviation, tag):
                    yield ref

    def _may_define(self, unit, place, tag):
        """Tell, by the abbreviations alone, whether a definition may stand around a place."""
        data, table, _ = self._at_hand(unit)
        before = data[place - unit.start - 1]
        # A name is mostly the first attribute; before it stands the abbreviation's number.
        return any(defines(each, tag) and (
            each.offsets.get('name') != 0 or before == (code if code < 0x80 else code >> 7))
                   for code, each in table.items())

    @sound
    def enums_of(self, name):
        """Return the reference of the first enum that has an enumerator of a name, in a list."""
        for unit, place in self._places(name):
            for ref, abbreviation in self._top(unit, place):
                if defines(abbreviation, NAMED_TAGS['enum']) and name in dict(
                        self.enumerators(self.describe(ref))):
                    return [ref]
        return []

    def variable(self, name):
        """Return the Variable of a name, or None; debug info may have no more than an extern."""
        ref = self.find('variable', name)
        return ref and Variable(self._entry(ref).values.get('type', 0), self.elf.is_per_cpu(name))

    @sound
    def names(self, kind):
        if self.index is None:
            self.index, self.same = self._index(), {}
            self.found.clear()
        return sorted(name for each, name in self.index if each == kind)

    def _index(self):
        """Return the references of all definitions, by kind and name."""
        kinds, index, seen = dict((tag, kind) for kind, tag in NAMED_TAGS.items()), {}, set()
        for number, unit in enumerate(self.units):
            if not number % 50:
                self.console.progress('%s: unit %d of %d' % (self.name, number, len(self.units)))
            data = self._at_hand(unit)[0]
            for ref, abbreviation in self._top(unit):
                kind = kinds.get(abbreviation.tag)
                if not kind or 'declaration' in abbreviation.offsets or (
                        kind == 'function' and HAS_CODE.isdisjoint(abbreviation.offsets)):
                    continue
                # What headers define stands in each unit again, its name's offset first.
                start = ref - unit.start + (1 if data[ref - unit.start] < 0x80 else 2)
                text = bytes(data[start:start + 4])
                if (kind, text) in seen:
                    continue
                if abbreviation.attributes[0][:2] == ('name', 0x0e):
                    seen.add((kind, text))
                name = self._text(self._origin(self._entry(ref)))
                if name:
                    index.setdefault((kind, name), []).append(ref)
        self.console.progress('')
        return index

    # Functions

    @sound
    def functions(self, name):
        """Return the Functions of that name; of a variant, with where its arguments lie."""
        found = []
        if self.index is not None:
            found = [self._function(name, self._origin(self._entry(ref)))
                     for ref in self.index.get(('function', name), ())]
        # (Identical functions may be merged: one body, several symbols, one name.)
        for address in () if found else self.elf.addresses(name):
            found += self._functions_at(address, name)
        return found

    def _functions_at(self, address, name):
        """Return the Functions of a name that are defined at an address."""
        plain, found, folded = name.partition('.')[0], [], []
        for unit in self._units_of(address, plain):
            for ref in self._definitions(unit, None, NAMED_TAGS['function']):
                entry = self._entry(ref)
                origin = self._origin(entry)
                if self._text(origin) != plain:
                    continue
                low = self._address(entry)
                if HAS_CODE.isdisjoint(entry.values):
                    folded.append(origin)
                elif low is None or address <= low <= address + ENTRY_GAP:
                    found.append(self._function(name, origin, entry if name != plain else None,
                                                address if low is None else low))
        # Of functions with the same code, one may have it; others are inlined wherever called.
        if not found and name == plain:
            found = [self._function(name, origin) for origin in folded[:1]]
        return found

    def _units_of(self, address, name):
        """Return the Units that may define a function, by its address, or else by its name."""
        if self.ranges is None:
            self.ranges = self._read_ranges()
        around = [self.ranges[max(bisect.bisect(self.ranges, (place,)) - 1, 0)]
                  for place in (address + 1, address + ENTRY_GAP + 1)] if self.ranges else []
        units = [self._unit_at(ref) for first, end, ref in around
                 if first - ENTRY_GAP <= address < end]
        if not around or not around[0][0] <= address < around[0][1]:
            # A compiler may leave out .debug_aranges (clang), or an assembler's be all there is.
            units += [unit for unit, place in self._places(name) if place is None
                      or self._may_define(unit, place, NAMED_TAGS['function'])]
        return sorted(set(units))

    def _read_ranges(self):
        """Return (first address, end, reference of its Unit) of all code that is told, in order."""
        data, at, found = self.elf.whole('.debug_aranges'), 0, []
        while at < len(data) and not self.elf.relocatable:
            length, _, ref = struct.unpack_from('<IHI', data, at)
            end = at + 4 + length
            for at in range(at + 16, end, 16):
                first, size = struct.unpack_from('<QQ', data, at)
                if size:
                    found.append((first, first + size, ref))
            at = end
        return sorted(found)

    def _origin(self, entry):
        """Return the Entry that an instance of a function, or of a parameter, is made from."""
        ref = entry.values.get('origin') or entry.values.get('specification')
        return self._origin(self._entry(ref)) if ref else entry

    def _function(self, name, entry, variant=None, address=0):
        """Return the Function of an Entry; variant is that of its own code, at an address."""
        places = dict((self._origin(each).ref, self._register(each, address))
                      for each in self._children(variant, TAG_PARAMETER)) if variant else {}
        parameters = [
            Parameter(self._text(each), each.values.get('type', 0),
                      places.get(each.ref, '') if variant else None)
            for each in self._children(entry, TAG_PARAMETER, TAG_ANY_MORE)]
        return Function(name, tuple(parameters), entry.values.get('type', 0))

    def _register(self, parameter, address):
        """Return the register that holds a parameter at an address, '' if none does."""
        where = parameter.values.get('location')
        if isinstance(where, int):
            lists = self._locations if parameter.unit.version == 5 else self._old_locations
            # (Where only the symbol is known, debug info begins a few bytes behind it.)
            where = next((words for at in (address, address + ENTRY_GAP // 2)
                          for first, end, words in lists(parameter.unit, where)
                          if first <= at < end), None)
        number = where[0] - OPERATION_REGISTER if where and len(where) == 1 else -1
        names = DWARF_REGISTERS.get(self.elf.architecture, ())
        return names[number] if 0 <= number < len(names) else ''

    def _locations(self, unit, at):
        """Yield (first, end, expression) of a list of locations (DWARF 5, 7.7.3).

        Those that count in .debug_addr are clang's, which makes no variants.
        """
        base, size = self._address(self._root(unit)) or 0, self.elf.size('.debug_loclists')
        data = bytearray(self.elf.part('.debug_loclists', at, min(size - at, 1 << 16)))
        at = 0
        while data[at] in (4, 6, 8):        # counted from the base, the base, where and how long
            kind, at = data[at], at + 1
            first, at = leb128(data, at) if kind == 4 else (STRUCT_CODES[8](data, at)[0], at + 8)
            if kind == 6:
                base = first
                continue
            end, at = leb128(data, at)
            size, at = leb128(data, at)
            start, end = (base + first, base + end) if kind == 4 else (first, first + end)
            yield start, end, data[at:at + size]
            at += size

    def _old_locations(self, unit, at):
        """The same before DWARF 5 (DWARF 4, 2.6.2)."""
        base = self._address(self._root(unit)) or 0
        while True:
            first, end = struct.unpack('<QQ', self.elf.part('.debug_loc', at, 16))
            at += 16
            if first == (1 << 64) - 1:
                base = end
                continue
            if not first and not end:
                return
            size, = STRUCT_CODES[2](self.elf.part('.debug_loc', at, 2))
            yield base + first, base + end, bytearray(self.elf.part('.debug_loc', at + 2, size))
            at += 2 + size

    # Types

    @sound
    def describe(self, ref):
        """Return the Record of a reference; 0, or None, is void."""
        if not ref:
            return Record('void')
        entry = self._entry(ref)
        kind, target = TAG_KINDS.get(entry.tag), entry.values.get('type', 0)
        if kind is None:
            raise self._unknown('a type of tag 0x%x' % entry.tag)
        name, size = self._text(entry), self._number(entry, 'byte_size')
        if kind == 'pointer':
            return Record(kind, size=POINTER_SIZE, target=self._tagged(entry, target))
        if kind == 'array':
            return self._array(entry, target)
        if kind == 'function':
            return Record(kind, target=self._function('', entry))
        if kind in ('struct', 'union'):
            return self._struct(entry, kind, name, size)
        if kind in WRAPPERS:
            return Record(kind, name, target=target)
        if kind == 'enum':
            signed = bool(target) and Type(self, target).bare.signed
            return Record(kind, name, size, ref, signed=signed)
        encoding = entry.values.get('encoding')
        return Record('float' if encoding in ENCODING_FLOATS else kind, name, size,
                      signed=encoding in ENCODING_SIGNED)

    def _tagged(self, pointer, target):
        """Return what a pointer points at, with the tags that clang notes (__user)."""
        for each in self._children(pointer, TAG_ANNOTATION):
            if self._text(each) == 'btf_type_tag':
                target = Record('type_tag', self._text(each, 'constant'), target=target)
        return target

    def _array(self, entry, target):
        # The last index of an array without a length is not there, or -1.
        lengths = [self._number(each, 'count') or self._number(each, 'upper_bound', -1) + 1
                   for each in self._children(entry, TAG_RANGE)] or [0]
        for length in lengths[:0:-1]:
            target = Record('array', target=target, length=length)
        return Record('array', target=target, length=lengths[0])

    def _struct(self, entry, kind, name, size):
        """Return the Record of a struct or union; one that is only declared has no size."""
        if self.same is None or not name:
            return Record(kind, name, size, entry.ref)
        if 'declaration' in entry.values:
            ref = self.find(kind, name)
            return self.describe(ref) if ref else Record(kind, name)
        # Each unit that knows a struct has its own; for --make-db, which visits all, they are one.
        ref = self.same.setdefault((kind, name, size, entry.values.get('line')), entry.ref)
        return Record(kind, name, size, ref)

    @sound
    def members(self, record):
        """Return the Members of a struct or union; none of one that is nowhere defined."""
        entry = record.target and self._entry(record.target)
        if entry and 'declaration' in entry.values:
            ref = self.find(TAG_KINDS[entry.tag], self._text(entry))
            entry = ref and self._entry(ref)
        return [self._member(each) for each in self._children(entry, TAG_MEMBER)] if entry else []

    def _member(self, entry):
        values, bits = entry.values, self._number(entry, 'bit_size')
        first = 8 * values.get('place', 0) + values.get('data_bit_offset', 0)
        if 'bit_offset' in values:      # counted from the most significant bit of a unit
            unit = 8 * (self._number(entry, 'byte_size') or Type(self, values['type']).size)
            # It is less than 0 where the bits begin before the unit; clang writes 64 bits then.
            back = (values['bit_offset'] + (1 << 63)) % (1 << 64) - (1 << 63)
            first += unit - back - bits
        if not 0 <= first < 8 * OFFSET_LIMIT:
            raise ValueError(first)
        return Member(self._text(entry), values.get('type', 0), first, bits)

    @sound
    def enumerators(self, record):
        return [(self._text(each), int(each.values['constant']))
                for each in self._children(self._entry(record.target), TAG_ENUMERATOR)]


# ---------------------------------------------------------------------------
# Types in C's words: what a person casts to, and what databases and servers tell -> records
#
# Takes words such as 'void (*)(struct sock *)' and gives Records, whose innermost target is
# words again: a reference of a source of TextTypes.  What comes from outside is checked here.
# ---------------------------------------------------------------------------

# A struct, union or enum: its size in bytes, and its Members.
Layout = namedtuple('Layout', 'kind size members')
Alias = namedtuple('Alias', 'text size')        # what a typedef stands for, and its bytes
# A member as databases and servers list it: offset and size in bytes, bits 'first:count' or ''.
Row = namedtuple('Row', 'type name offset size bits')

TAGS = ('struct', 'union', 'enum')
C_QUALIFIERS = ('const', 'volatile', 'restrict')
C_TYPE = r'(?:[A-Za-z_][A-Za-z0-9_$ *()\[\],.{}]*|\.\.\.)\Z'
C_NAME = r'(?:[A-Za-z_][A-Za-z0-9_.\[\]]{0,500}|\$[0-9]*)?\Z'
BITS = r'(?:([0-9]{1,3}):([0-9]{1,3}))?\Z'
TEXT_LIMIT = 4096       # characters of a type


def c_declaration(text):
    """Return (name, type) of a C declaration, as in 'char *names[4]' or, without name, 'char *'.

    The type is a Record whose innermost target is words, or these words alone.  A text that is no
    declaration is returned as such words: they name nothing that is known.
    """
    tokens = re.findall(r'[\w.$]+|\{\.\.\.\}|\S', text)[::-1]       # the next one is the last
    try:
        name, found = parse_declaration(tokens)
    except (IndexError, ValueError):
        return '', text
    return ('', text) if tokens else (name, found)


def parse_declaration(tokens):
    """Take a declaration off the tokens; raises IndexError or ValueError if there is none."""
    words = []
    while tokens and re.match(r'[\w.${]', tokens[-1]):
        words.append(tokens.pop())
    base = ' '.join(word for word in words if word not in C_QUALIFIERS)
    name, layers = parse_declarator(tokens)
    layers = [Record(word) for word in words if word in C_QUALIFIERS][::-1] + layers
    if not base or len(layers) >= CHAIN_LIMIT:
        raise ValueError(base)
    for layer in layers:
        base = layer._replace(target=layer.target._replace(result=base)
                              if layer.kind == 'function' else base)
    return name, base


def parse_declarator(tokens):
    """Take a declarator off the tokens; return its name and its Records, the innermost first."""
    layers, suffixes, name, outer = [], [], '', []
    while tokens and (tokens[-1] == '*' or tokens[-1] in C_QUALIFIERS):
        word = tokens.pop()
        layers.append(Record('pointer', size=POINTER_SIZE) if word == '*' else Record(word))
    if tokens[-2:] == ['*', '(']:
        tokens.pop()
        name, outer = parse_declarator(tokens)
        take(tokens, ')')
    elif tokens and re.match(r'\w', tokens[-1]):
        name = tokens.pop()
    while tokens and tokens[-1] in ('[', '('):
        if tokens.pop() == '[':
            length = int(tokens.pop()[:20]) if tokens[-1].isdigit() else 0
            take(tokens, ']')
            suffixes.append(Record('array', length=length))
        else:
            suffixes.append(Record('function', target=Function('', parse_parameters(tokens), '')))
    return name, layers + suffixes[::-1] + outer


def parse_parameters(tokens):
    """Take a list of parameters and its ')' off the tokens; return the Parameters."""
    parameters = []
    while tokens[-1] != ')':
        if tokens[-1] == '...':
            parameters.append(Parameter('', tokens.pop() and 'void'))
        else:
            parameters.append(Parameter(*parse_declaration(tokens)))
        if tokens[-1] != ')':
            take(tokens, ',')
    tokens.pop()
    return () if [each.type for each in parameters] == ['void'] else tuple(parameters)


def take(tokens, wanted):
    if tokens.pop() != wanted:
        raise ValueError(wanted)


class TextTypes(Source):
    """A source that speaks C, without enumerators; its subclasses look up one name at a time.

    look_up_layout(text) returns a Layout, look_up_alias(name) an Alias, each None for what is
    not there, and functions(name) is a source's own.  A reference is a text.
    """

    def __init__(self, name):
        self.name = name
        self.layouts, self.aliases = {}, {}

    def damaged(self, why):
        return SourceError('%s: damaged: %s' % (self.name, why))

    def layout(self, text):
        if text not in self.layouts:
            self.layouts[text] = self.look_up_layout(text)
        return self.layouts[text]

    def alias(self, name):
        if name not in self.aliases:
            self.aliases[name] = self.look_up_alias(name)
        return self.aliases[name]

    def find(self, kind, name):
        if kind in TAGS:
            text = '%s %s' % (kind, name)
            return text if self.layout(text) else None
        return name if self.alias(name) else None

    @sound
    def describe(self, text):
        found = c_declaration(text)[1]
        if isinstance(found, Record):
            return found
        words = found.split()
        known = Record('void') if words == ['void'] else find_integer(words)
        return known or (self._tagged(words) if words[0] in TAGS else self._typedef(found))

    def _tagged(self, words):
        """Return the Record of a struct, union or enum."""
        text = ' '.join(words)
        layout = self.layout(text) if len(words) == 2 else None
        # A $ suffix distinguishes types that share a name or have none.
        return Record(words[0], words[-1].partition('$')[0].replace('{...}', ''),
                      layout.size if layout else 0, target=text if layout else None)

    def _typedef(self, text):
        """Return the Record of a name without a tag."""
        alias = self.alias(text)
        if alias is None:
            return Record('missing', text)
        if alias.text != text:
            return Record('typedef', text, target=alias.text)
        layout = self.layout(text)      # of a struct without a name, if it is one
        return (Record('typedef', text, target=Record(layout.kind, '', layout.size, text))
                if layout else Record('int', text, alias.size))

    def members(self, record):
        if record.target is None or isinstance(record.target, tuple):
            return record.target or ()
        layout = self.layout(record.target)
        return layout.members if layout else ()

    # What comes from outside is checked before it is used.

    def text(self, value, pattern):
        """Return a value from outside as text if it matches pattern."""
        if (not isinstance(value, (str, type(u''))) or len(value) > TEXT_LIMIT
                or value.count('(') > CHAIN_LIMIT or not re.match(pattern, value)):
            raise self.damaged('not a C type or name')
        return str(value)

    def size(self, value):
        """Return a value from outside as a number of bytes."""
        if not isinstance(value, (int, type(1 << 64))) or not 0 <= value < OFFSET_LIMIT:
            raise self.damaged('no type has such a size or offset')
        return int(value)

    def row(self, kind, name, offset, size, bits):
        """Return a checked Row; array dimensions are moved from the name to the type."""
        found = self.text(kind, C_TYPE)
        path, dot, last = self.text(name, C_NAME).rpartition('.')
        for length in re.findall(r'\[([0-9]*)\]', last)[::-1]:
            found = Record('array', target=found, length=int(length or 0))
        last = '' if last.startswith('$') else last.partition('[')[0]
        return Row(found, path + dot + last, self.size(offset), self.size(size),
                   self.text(bits or '', BITS))

    def function(self, name, result, kinds, names):
        """Return a checked Function; names may be fewer than kinds, or none."""
        if not isinstance(kinds, list) or not isinstance(names, list):
            raise self.damaged('what should be a list of arguments is none')
        kinds = [self.text(kind, C_TYPE) for kind in kinds if kind != 'void']
        names = [self.text(each, C_NAME) for each in names] + [''] * len(kinds)
        result = re.sub(r'^(?:static|inline) ', '', self.text(result, C_TYPE))
        return Function(name, tuple(Parameter(each, 'void' if kind == '...' else kind)
                                    for each, kind in zip(names, kinds)), result)


def parse_json(text):
    """Return what JSON from outside says; raises ValueError."""
    import json     # few runs need it, and it is slow to load
    try:
        # A number of a million digits would take minutes.
        return json.loads(text, parse_int=lambda digits: int(digits[:20]))
    except (RuntimeError, TypeError) as error:      # RuntimeError: nested too deeply
        raise ValueError(str(error))


def text_members(rows, start=0):
    """Return the Members of Rows whose struct starts at `start` bytes.

    The dotted names of the first generation, a.b and a.c, are the members of a struct a
    that has no tag.
    """
    members = []
    for (outer, dot), group in itertools.groupby(rows, lambda row: row.name.partition('.')[:2]):
        group = list(group)
        if dot:
            inner = [row._replace(name=row.name.partition('.')[2]) for row in group]
            first = min(row.offset for row in inner)
            size = max(row.offset + row.size for row in inner) - first
            found = Record('struct', '', size, tuple(text_members(inner, first)))
            members.append(Member(outer.partition('[')[0], found, 8 * (first - start), 0))
            continue
        for row in group:
            bit, width = re.match(BITS, row.bits).groups()
            members.append(Member(row.name, row.type, 8 * (row.offset - start) + int(bit or 0),
                                  int(width or 0)))
    return tuple(members)


# ---------------------------------------------------------------------------
# gdb: what only gdb reads, as its own Python tells it; and instructions
#
# One gdb process a run: it reads a vmlinux for seconds before the first answer, and answers the
# rest at once.  No text out of a file is ever part of a question: GDB_PROGRAM, which runs inside
# gdb, looks names up, numbers the types that it finds, and takes these numbers.
# ---------------------------------------------------------------------------

GDB_SECONDS = 300               # for one answer; the first one of a large vmlinux takes 20
GDB_ANSWER_SIZE = 1 << 28       # bytes
GDB_MARK = '@surftrace '        # begins the line that ends an answer
# The first reading of a vmlinux leaves an index in gdb's own cache (~/.cache/gdb), with which the
# next ones take a second.  (By version, index-cache is turned on in one of two ways.)
GDB_SETTINGS = ('auto-load off', 'confirm off', 'width 0', 'height 0', 'language c',
                'index-cache on', 'index-cache enabled on')
# It runs in Python 2 or 3, from gdb 8.1 on.  A question is a line, [function, argument ...] in
# JSON, and so is the answer, null where gdb knows none.
GDB_PROGRAM = r'''
import gdb, json, os, re, sys

KINDS = dict((getattr(gdb, "TYPE_CODE_" + code), kind) for code, kind in (
    ("INT", "int"), ("CHAR", "int"), ("BOOL", "int"), ("FLT", "float"), ("ENUM", "enum"),
    ("PTR", "pointer"), ("ARRAY", "array"), ("STRUCT", "struct"), ("UNION", "union"),
    ("FUNC", "function"), ("TYPEDEF", "typedef"), ("VOID", "void")))
for setting in SETTINGS:
    try:
        gdb.execute("set " + setting)
    except gdb.error:
        pass        # not there in this version
types, numbers = [], {}         # by number, and the number of a struct by what it is made of
listed = {}                     # what a command has printed

def opened():
    return len(gdb.objfiles())

def number_of(found):
    """Return the number of a type, the same one for structs that are the same."""
    key = len(types)
    if KINDS.get(found.code) in ("struct", "union", "enum"):
        key = str(found), found.sizeof, tuple((field.name, getattr(field, "bitpos", 0), str(
            field.type)) for field in found.fields())
    if key not in numbers:
        numbers[key] = len(types)
        types.append(found)
    return numbers[key]

def words_of(found):
    return re.findall(r"\b(?:const|volatile|restrict)\b", str(found))

def describe(number):
    found = types[number]
    bare = found.unqualified()
    taken = words_of(found)
    for word in words_of(bare):
        taken.remove(word)
    if taken:
        rest = bare.volatile() if "volatile" in taken[1:] else bare
        return taken[0], "", 0, number_of(rest), 0, False
    kind, target, length, signed = KINDS.get(found.code, "missing"), None, 0, False
    size = 0 if kind in ("void", "function") else found.sizeof
    if kind in ("pointer", "array", "typedef"):
        target = number_of(found.target())
    if kind in ("struct", "union", "enum") and found.fields():
        target = number
    if kind == "array":
        length = found.range()[1] + 1 if found.sizeof else 0
    if kind == "function":
        target = parameters(found), number_of(found.target())
    if kind in ("int", "enum") and found.sizeof <= 8:
        signed = int(gdb.Value(-1).cast(found)) < 0
    return kind, found.name or getattr(found, "tag", None) or "", size, target, length, signed

def parameters(found):
    """Return (name, number) of each; of a function's type the names are not known."""
    listed = [("", number_of(field.type)) for field in found.fields()]
    void = gdb.lookup_type("void")
    return listed + [("", number_of(void))] if str(found).endswith("...)") else listed

def members(number):
    return [(field.name or "", number_of(field.type), field.bitpos, field.bitsize)
            for field in types[number].fields()]

def enumerators(number):
    return [(field.name, int(field.enumval)) for field in types[number].fields()]

def find(kind, name):
    tag = "" if kind in ("typedef", "int") else kind + " "
    found = gdb.lookup_type(tag + name)
    return number_of(found) if KINDS.get(found.code) == kind else None

def meaning(name):
    """Return the number and the kind of the type of what a name is, and its address."""
    value = gdb.parse_and_eval(re.match(r"[A-Za-z_]\w*\Z", name).group())
    return number_of(value.type), KINDS.get(value.type.code), value.address

def enums_of(name):
    number, kind, address = meaning(name)
    return [number] if kind == "enum" and address is None else []

def variable(name):
    number, kind, address = meaning(name)
    return None if kind == "function" or address is None else number

def functions(symbol):
    """Return (parameters, result) of each function that a symbol is of, with parameters' names."""
    found, plain = {}, re.match(r"([A-Za-z_]\w*)(?:\.[\w.]+)?\Z", symbol).group(1)
    for place in gdb.decode_line(plain)[1] or ():
        block = gdb.block_for_pc(place.pc)
        while block and not (block.function and block.superblock.is_static):   # it may be inlined
            block = block.superblock
        if not block:
            continue        # the symbol itself, where debug info begins behind it
        there = gdb.execute("info symbol 0x%x" % block.start, to_string=True).split()[0]
        there = re.sub(r"\.llvm\.[0-9]+$", "", there)
        if block.function.name != plain or there != symbol and (
                symbol != plain or there.startswith(plain + ".")):
            continue
        kind, names = block.function.type, [each.name for each in block if each.is_argument]
        listed = parameters(kind)
        if len(names) == len(kind.fields()):
            listed = list(zip(names + [""], [number for _, number in listed]))
        found.setdefault(str(kind), (listed, number_of(kind.target())))
    return [found[words] for words in sorted(found)]

def names(kind):
    command = "info functions" if kind == "function" else "info types"
    if command not in listed:       # it takes minutes
        listed[command] = gdb.execute(command, to_string=True)
    return sorted(set(re.findall(r"(?m)^(?:\d+:)?\t%s;$" % {
        "function": r"(?:static )?.*\W(\w+)\(.*\)", "typedef": r"typedef .*?(\w+)"}.get(
            kind, kind + r" (\w+)"), listed[command])))

def serve():
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        try:
            answer = globals()[question[0]](*question[1:])
        except Exception:       # gdb has no such thing
            answer = None
        data = (MARK + json.dumps(answer) + "\n").encode("ascii")
        while data:
            data = data[os.write(1, data):]
'''


class GdbProcess(object):
    """A gdb with a vmlinux."""

    def __init__(self, elf, command, console, arguments, seconds=GDB_SECONDS):
        import subprocess       # only gdb and mount need it, and it is slow to load
        self.elf, self.path = elf, elf.path
        self.command, self.console, self.seconds = command, console, seconds
        # It asks for memory in small pieces, and would ask the network for debug files.
        environment = dict(os.environ, MALLOC_TOP_PAD_=str(1 << 27), DEBUGINFOD_URLS='',
                           GLIBC_TUNABLES='glibc.malloc.hugetlb=1', LC_ALL='C')
        try:
            # In a session of its own: Ctrl+C is for this script to take.
            self.process = subprocess.Popen(
                [command, '-nx', '-q'] + arguments + ['--', os.path.abspath(elf.path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                bufsize=0, env=environment, preexec_fn=os.setsid)
        except EnvironmentError as error:
            raise SourceError('%s: %s; name a gdb with -g, or install the package %s' % (
                command, os.strerror(error.errno).lower(), 'gdb' if
                elf.architecture == running_architecture() else 'gdb-multiarch'))

    def ask(self, question):
        """Send a line; return what is printed before the mark, and what stands behind that."""
        try:
            self.process.stdin.write(to_bytes(question + '\n'))
        except EnvironmentError:
            pass        # it has ended, which reading tells
        data, mark, began, poll = b'\n', b'', clock(), select.poll()
        poll.register(self.process.stdout, select.POLLIN)
        while not mark:
            if clock() > began + self.seconds or len(data) > GDB_ANSWER_SIZE:
                raise SourceError('%s: %s gave no answer in %g s' % (
                    self.path, self.command, self.seconds))
            if not wait_for(poll, min(500, 1000 * self.seconds)):
                self.console.progress('%s reads %s: %d s' % (
                    self.command, self.path, clock() - began))
                continue
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise self._ended(to_text(data))
            data += more
            if more.endswith(b'\n'):
                printed, mark, answer = data.rpartition(to_bytes('\n' + GDB_MARK))
        self.console.progress('')
        return to_text(printed).strip('\n'), to_text(answer)

    def _ended(self, printed):
        if 'Python scripting is not supported' in printed:
            return SourceError('%s: this gdb has no Python, which -m gdb takes; -m dwarf does '
                               'without it' % self.command)
        status, last = self.process.wait(), printed.strip().rpartition('\n')[2]
        return SourceError('%s: %s ended in the middle, with %s%s' % (
            self.path, self.command, 'status %d' % status if status >= 0 else
            'signal %d (a large vmlinux takes it 2 GB of memory)' % -status,
            ': ' + last if last else ''))

    def close(self):
        """End the process, whatever it is doing."""
        self.console.progress('')
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Gdb(Source):
    """The types of a vmlinux with debug info.  A reference is a number of GDB_PROGRAM's."""

    kind = 'gdb'
    # The program is there before the file is read, and its loop takes over stdin behind that.
    ARGUMENTS = ['-batch', '-iex', 'python MARK, SETTINGS = %r, %r' % (GDB_MARK, GDB_SETTINGS),
                 '-iex', 'python exec(%r)' % GDB_PROGRAM, '-ex', 'python serve()']

    def __init__(self, process):
        self.name, self.process, self.close = process.path, process, process.close
        self.answers = {}
        try:
            printed, answer = process.ask('["opened"]')
            if answer.strip() in ('0', 'null'):
                raise SourceError('%s cannot read %s: %s; gdb-multiarch may' % (
                    process.command, self.name, printed.rpartition('\n')[2]))
        except BaseException:
            self.close()
            raise

    @sound
    def _ask(self, *question):
        """Return the program's answer, None if gdb has none; each question is asked once."""
        import json
        if question not in self.answers:
            self.answers[question] = as_text(json.loads(self.process.ask(json.dumps(question))[1]))
        return self.answers[question]

    def find(self, kind, name):
        return self._ask('find', kind, name)

    def describe(self, ref):
        found = self._ask('describe', ref)
        record = Record(*found) if found else Record('missing')
        return record._replace(target=self._function('', *record.target)) if (
            record.kind == 'function') else record

    def _function(self, name, parameters, result):
        return Function(name, tuple(Parameter(*each) for each in parameters), result)

    def members(self, record):
        return [Member(*each) for each in self._ask('members', record.target) or ()]

    def enumerators(self, record):
        return [tuple(pair) for pair in self._ask('enumerators', record.target) or ()]

    def enums_of(self, name):
        return self._ask('enums_of', name) or []

    def variable(self, name):
        ref = self._ask('variable', name)
        return None if ref is None else Variable(ref, self.process.elf.is_per_cpu(name))

    def functions(self, name):
        """Return the Functions of a name; where the arguments of a variant are is not told."""
        found = [self._function(name, *each) for each in self._ask('functions', name) or ()]
        return [each._replace(parameters=None) for each in found] if '.' in name else found

    def names(self, kind):
        return self._ask('names', kind) or []


def as_text(answer):
    """Return an answer with its text as this Python's own (JSON's is unicode in Python 2)."""
    if isinstance(answer, list):
        return [as_text(part) for part in answer]
    return str(answer) if isinstance(answer, type(u'')) else answer


class Disassembler(object):
    """The instructions of a vmlinux, of which the symbols are enough; gdb needs no Python."""

    ARGUMENTS = [word for setting in GDB_SETTINGS for word in ('-iex', 'set ' + setting)] + [
        '-iex', 'set prompt']

    def __init__(self, process):
        self.process, self.close = process, process.close
        self._ask('')       # what it says of the file and of settings that it does not know

    def _ask(self, command):
        """Return what a command of gdb's prints, with its errors."""
        return self.process.ask('%s\necho \\n%s\\n' % (command, GDB_MARK))[0].strip('\n')

    def function(self, name):
        """Return the instructions of a function, with source lines where there are some."""
        if not re.match(r'[A-Za-z_][\w.]*\Z', name):
            raise UsageError("'%s' is no symbol's name" % name)
        # (In quotes, short names would be characters.)
        said = self._ask('disassemble /s ' + ("'%s'" % name if '.' in name else name))
        if not re.search('0x[0-9a-f]+ <', said):
            raise UsageError('-F %s: %s' % (name, said))
        # The source is not there, which gdb says once.
        return self._from_symbol(re.sub(r'(?m)^(\d+)\t(.*): No such file or directory\.$',
                                        r'\1\tin \2', said))

    def _from_symbol(self, text):
        """Return instructions with offsets that count from the symbol, as kprobes do.

        gdb counts from where the debug info of a function begins: on aarch64 that is behind the
        instructions that ftrace patches.
        """
        address = int(re.search(r'0x([0-9a-f]+) <', text).group(1), 16)
        start = address - int(self._symbol(address).partition('+')[2] or 0)
        return re.sub(r'0x([0-9a-f]+) (<[\w.]*)\+\d+>:', lambda match: '0x%s %s+%d>:' % (
            match.group(1), match.group(2), int(match.group(1), 16) - start), text)

    def _symbol(self, address):
        return self._ask('info symbol 0x%x' % address).split(' in section')[0].replace(' + ', '+')

    def line(self, place):
        """Return (SYMBOL+OFFSET, instructions) for each range of addresses of a FILE:LINE."""
        path, _, line = place.rpartition(':')
        if not re.match(r'[\w./+-]+\Z', path) or not re.match(r'[0-9]{1,7}\Z', line):
            raise UsageError('-l takes FILE:LINE, like fs/read_write.c:455')
        said = self._ask('info line ' + place)      # reads the file's line tables
        table = line_table(self._ask('maint info line-table ' + re.escape(
            os.path.basename(path))), path)
        ranges = sorted(set(part for number_of_line, part in table if number_of_line == int(line)))
        later = sorted(set(other for other, _ in table if other > int(line)))
        if not ranges:
            raise UsageError('-l %s: %s%s' % (place, 'that line has no code' if table else said,
                                              '; the next that has is %d' % later[0] if later
                                              else ''))
        return [(self._symbol(first), '\n'.join(self._from_symbol(self._ask(
            'disassemble 0x%x,0x%x' % (first, end))).splitlines()[1:-1])) for first, end in ranges]


def line_table(text, path):
    """Return (line, (first address, end)) of what belongs to path in gdb's line tables."""
    found = []
    for table in text.split('symtab: ')[1:]:
        name = table.partition(' ((struct')[0]
        if name == path or name.endswith('/' + path):
            rows = re.findall(r'(?m)^\d+ +(\d+|END) +.*?(0x[0-9a-f]+)(?: +[YN ]*)?$', table)
            starts = [(line, int(next(group)[1], 16))
                      for line, group in itertools.groupby(rows, lambda row: row[0])]
            found += [(int(line), (first, end)) for (line, first), (_, end)
                      in zip(starts, starts[1:]) if line != 'END' and first < end]
    return found


# ---------------------------------------------------------------------------
# Types from a database: an SQLite file made for one kernel -> records, and back
#
# The files that are published for distributions' kernels come in two generations; both are read,
# the second is written.  Nothing that lies beside a database is ever read, made or removed.
# ---------------------------------------------------------------------------

# Of one question: seconds, and rows and characters that it may give.
QUESTION_SECONDS, QUESTION_SIZE = 10, 1 << 27
DATABASE_TABLES = {
    'files': 'id INTEGER PRIMARY KEY, file TEXT',
    'funs': 'id INTEGER PRIMARY KEY, func VARCHAR, args VARCHAR, argi VARCHAR, ret VARCHAR, '
            'line INTEGER, fid INTEGER, module VARCHAR',
    'structs': 'id INTEGER PRIMARY KEY, name VARCHAR, members INTEGER, bytes INTEGER',
    'members': 'id INTEGER PRIMARY KEY, fid INTEGER, types VARCHAR, name VARCHAR, '
               'offset INTEGER, bytes INTEGER, bits VARCHAR DEFAULT ""',
    'types': 'id INTEGER PRIMARY KEY, name VARCHAR, alias VARCHAR, bytes INTEGER',
    'kernel': 'architecture VARCHAR',       # our own
}
DATABASE_MAGIC = b'SQLite format 3\0'


def sqlite():
    """Return the module sqlite3, which few runs need and some Pythons are built without."""
    try:
        import sqlite3
    except ImportError:
        raise SourceError('this Python has no sqlite3, which databases take: install it, or use '
                          'another source of types, -m btf or -m gdb')
    return sqlite3


def database_header(path):
    """Return the first bytes of a file (sqlite.org/fileformat.html)."""
    with open_types_file(path) as stream:
        return bytearray(stream.read(100))


def open_database(module, path):
    """Return a connection that reads a database and takes no notice of what lies beside it.

    SQLite would carry out a journal that it finds there, and delete files that this names.
    """
    if sys.version_info[0] > 2 and module.sqlite_version_info >= (3, 8, 5):
        from urllib.parse import quote      # (Python 3's)
        return module.connect('file:%s?mode=ro&immutable=1' % quote(
            to_bytes(os.path.abspath(path))), uri=True)
    # The others do not know immutable=1: they get a copy where nobody else can lay a journal.
    import shutil
    import tempfile
    directory = tempfile.mkdtemp()
    try:
        copy = os.path.join(directory, 'copy.db')
        shutil.copyfile(path, copy)
        connection = module.connect(copy)
        connection.execute('PRAGMA schema_version')     # it is opened when it is first read
        return connection
    finally:
        shutil.rmtree(directory)


class Database(TextTypes):
    """The types in a database file."""

    kind = 'database'

    def __init__(self, path):
        TextTypes.__init__(self, path)
        header = database_header(path)
        if not header.startswith(DATABASE_MAGIC):
            raise SourceError('%s: not an SQLite database' % path)
        if 2 in header[18:20]:
            raise SourceError("%s: a part of it may still lie in %s-wal: where it was made, "
                              "sqlite3 %s 'PRAGMA journal_mode=DELETE' puts all into one file"
                              % (path, path, os.path.basename(path)))
        module = sqlite()
        self.errors, self.deadline = (module.Error, UnicodeError), 0
        try:
            self.connection = open_database(module, path)
        except self.errors as error:
            raise SourceError('%s: a damaged database: %s' % (path, error))
        self.connection.text_factory = str
        self.connection.set_progress_handler(lambda: clock() > self.deadline, 100000)
        # A view that stands in for a table could compute for ever.
        tables = set(row[0] for row in self._query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE %'"))
        missing = sorted(set(DATABASE_TABLES) - set(['files', 'kernel']) - tables)
        if missing:
            raise SourceError('%s: not a database of types: it has no table %s'
                              % (path, ', '.join(missing)))
        of = self._query('SELECT architecture FROM kernel') if 'kernel' in tables else ()
        self.architecture = of[0][0] if of else None        # None: it does not tell
        self.has_names = 'argi' in [row[1] for row in self._query('PRAGMA table_info(funs)')]

    def _query(self, question, *values):
        self.deadline = clock() + QUESTION_SECONDS
        rows, size = [], 0
        try:
            for row in self.connection.execute(question, values):
                rows.append(row)
                size += sum(len(value) if isinstance(value, (str, bytes)) else 1 for value in row)
                if size > QUESTION_SIZE:
                    raise self.damaged('one answer takes more than %d bytes' % QUESTION_SIZE)
        except self.errors as error:
            raise SourceError('%s: a damaged database: %s' % (self.name, error))
        return rows

    def close(self):
        self.connection.close()

    def look_up_layout(self, text):
        found = self._query('SELECT id, bytes FROM structs WHERE name = ? ORDER BY id', text)
        if not found:
            return None
        rows = self._query('SELECT types, name, offset, bytes, bits FROM members WHERE fid = ? '
                           'ORDER BY id', found[0][0])
        return Layout('union' if text.startswith('union ') else 'struct', self.size(found[0][1]),
                      text_members([self.row(*row) for row in rows]))

    def look_up_alias(self, name):
        found = self._query('SELECT alias, bytes FROM types WHERE name = ? ORDER BY id', name)
        return found and Alias(self.text(found[0][0], C_TYPE), self.size(found[0][1])) or None

    def names(self, kind):
        questions = {'function': 'SELECT DISTINCT func FROM funs',
                     'typedef': 'SELECT name FROM types'}
        rows = self._query(questions.get(kind) or "SELECT substr(name, %d) FROM structs WHERE "
                           "name LIKE '%s %%'" % (len(kind) + 2, kind))
        return sorted(row[0] for row in rows
                      if isinstance(row[0], str) and re.match(r'[A-Za-z_][\w.]*\Z', row[0]))

    def functions(self, name):
        found = []
        for result, kinds, names in self._query('SELECT ret, args, %s FROM funs WHERE func = ?' % (
                'argi' if self.has_names else "'[]'"), name):
            function = self.function(name, result, self._list(kinds), self._list(names))
            if function not in found:
                found.append(function)
        return found

    def _list(self, text):
        try:
            return parse_json(text or '[]')
        except ValueError:
            raise self.damaged('what should be a list of arguments is none')


class DatabaseWriter(object):
    """A database in the making, from a source of types."""

    def __init__(self, connection, source, console):
        self.connection, self.source, self.console = connection, source, console
        self.named = {}         # what distinguishes a struct -> its name
        self.taken = set()      # names of structs
        self.waiting = []       # structs that have a name and are not written yet

    def write(self, architecture):
        for table in sorted(DATABASE_TABLES):
            self.connection.execute('CREATE TABLE %s (%s)' % (table, DATABASE_TABLES[table]))
        self.connection.execute("INSERT INTO files VALUES (1, '')")
        self.connection.execute('INSERT INTO kernel VALUES (?)', (architecture,))
        for kind in TAGS + ('typedef', 'function'):
            names = self.source.names(kind)
            for number_written, name in enumerate(names):
                if not number_written % 1000:
                    self.console.progress('writing %ss: %d of %d' % (
                        kind, number_written, len(names)))
                self._write(kind, name)
                while self.waiting:
                    self._struct(*self.waiting.pop())
        self.console.progress('')
        for table, column in (('structs', 'name'), ('members', 'fid'), ('types', 'name'),
                              ('funs', 'func')):
            self.connection.execute('CREATE INDEX %s_%s ON %s (%s)' % (
                table, column, table, column))
        self.connection.commit()

    def _insert(self, table, *values):
        return self.connection.execute('INSERT INTO %s VALUES (NULL%s)' % (
            table, ', ?' * len(values)), values).lastrowid

    def _write(self, kind, name):
        """Write what has a name."""
        if kind == 'function':
            return self._functions(name)
        ref = self.source.find(kind, name)
        if ref is not None and kind == 'typedef':
            self._typedef(name, Type(self.source, ref))
        elif ref is not None:
            self._name(Type(self.source, ref))

    def _typedef(self, name, typedef):
        target = typedef.target if typedef.kind == 'typedef' else typedef
        # It stands in for the name that its struct does not have.
        stands_in = target.is_aggregate and target.kind == target.bare.kind and not (
            target.name or self._name(target, name) != name)
        self._insert('types', name, name if stands_in else self._words(target) or name,
                     typedef.size)

    def _functions(self, name):
        import json
        for function in self.source.functions(name):
            kinds = [self._words(Type(self.source, each.type)) for each in function.parameters]
            self._insert('funs', name,
                         json.dumps(['...' if kind == 'void' else kind for kind in kinds]),
                         json.dumps([each.name for each in function.parameters]),
                         self._words(Type(self.source, function.result)), 0, 1, '')

    def _name(self, found, name=None):
        """Return the name in the database of a struct, union or enum, and see that it is written.

        name is what it is called there if it has none.
        """
        key = found.kind, found.name, found.kind != 'enum' and found.record.target, found.size
        if key not in self.named:
            if name is None:
                name = '%s %s' % (found.kind, found.name)
                if not found.name or name in self.taken:
                    name = '%s$%d' % (name, len(self.named))
            self.named[key] = name
            self.taken.add(name)
            self.waiting.append((name, found))
        return self.named[key]

    def _words(self, found):
        """Return a type in C's words, with the database's names of what has none of its own."""
        return found.declare('', lambda base: self._name(base) if base.kind in TAGS and (
            base.kind == 'enum' or base.record.target is not None) else base_words(base))

    def _struct(self, name, found):
        members = found.own_members() if found.kind != 'enum' else ()
        serial = self._insert('structs', name, len(members), found.size)
        for member in members:
            bits = '%d:%d' % (member.bit_offset % 8, member.bit_size) if member.bit_size else ''
            self._insert('members', serial, self._words(member.type), member.name or '$',
                         member.bit_offset // 8, member.type.size, bits)


def write_database(path, source, architecture, console):
    """Write all that a source of types knows into a new database file; return its size in bytes.

    It has its name only when it is whole, and takes the place of nothing but a database.
    """
    import shutil
    import tempfile
    module = sqlite()
    if os.path.exists(path):
        if not os.path.isfile(path):
            raise Error('%s: no place for a database: it is no file' % path)
        header = database_header(path)
        if header and not header.startswith(DATABASE_MAGIC):
            raise Error('%s: there is a file already, which is no database' % path)
    scratch = None
    try:
        # In a directory of its own nobody else can lay a journal for SQLite.
        scratch = tempfile.mkdtemp(prefix='.making-', dir=os.path.dirname(path) or '.')
        making = os.path.join(scratch, 'making.db')
        connection = module.connect(making)
        try:
            connection.executescript('PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF')
            sound(DatabaseWriter(connection, source, console).write)(architecture)
        finally:
            connection.close()
        os.rename(making, path)
    except EnvironmentError as error:
        raise Error('%s: %s' % (path, os.strerror(error.errno).lower()))
    except (module.Error, UnicodeError) as error:
        raise Error('%s: %s' % (path, error))
    finally:
        if scratch:
            shutil.rmtree(scratch)
    return os.path.getsize(path)


# ---------------------------------------------------------------------------
# Types from a server: HTTP -> records
#
# One POST for each name that is asked; what comes back is checked before it is used.
# The only section that opens sockets.
# ---------------------------------------------------------------------------

SERVER = 'pylcc.openanolis.cn'
SERVER_PORT = 7655
SERVER_SECONDS = 15             # for one question
SERVER_ANSWER_SIZE = 1 << 24    # bytes


class Server(TextTypes):
    """The types of one published kernel, as a server tells them."""

    kind = 'server'

    def __init__(self, address, release, architecture, seconds=SERVER_SECONDS):
        match = re.match(r'([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?$', address)
        if not match:
            raise UsageError("-r takes HOST or HOST:PORT, not '%s'" % address)
        self.host, self.port = match.group(1).strip('[]'), int(match.group(2) or SERVER_PORT)
        if self.port > 65535:
            raise UsageError('-r: there is no port %d' % self.port)
        TextTypes.__init__(self, '%s:%d' % (self.host, self.port))
        if not re.match(r'[\w.+~-]+\Z', release):
            raise UsageError("'%s' is no release of a kernel, which uname -r tells" % release)
        self.release, self.architecture, self.seconds = release, architecture, seconds

    def _failed(self, why):
        return SourceError('%s: %s' % (self.name, why))

    def _ask(self, command, name, read):
        """Return what read makes of the server's result for a name, None if it has none."""
        import json
        request = json.dumps([{'arch': self.architecture, 'ver': self.release, 'cmd': command,
                               command: name}]).encode('ascii')
        try:
            answer = parse_json(self._post(request).decode('utf-8'))
        except ValueError:
            raise self._failed('the answer is no JSON: is it the right server?')
        try:
            result = answer['res'][0]
            code, log, found = answer['code'], result['log'], result['res']
        except (TypeError, LookupError):
            raise self._failed('the answer is not of the form that is asked for%s' % (
                said(answer.get('code')) if isinstance(answer, dict) else ''))
        if code != 200 or log != 'ok.':
            raise self._failed('it has nothing on kernel %s, %s%s' % (
                self.release, self.architecture, said(log)))
        try:
            return None if found is None else read(found)
        except (TypeError, LookupError, AttributeError):
            raise self.damaged('what should be a %s is none' % command)

    def _post(self, body):
        """Return the body of the answer to a POST."""
        try:
            from http import client
        except ImportError:     # Python 2
            import httplib as client
        connection = client.HTTPConnection(self.host, self.port)
        connection.strict = 1   # or Python 2 takes anything for an answer
        before = signal.signal(signal.SIGALRM, self._expire)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            connection.request('POST', '/lbc', body, {'Content-Type': 'application/json',
                                                      'Connection': 'close'})
            response, parts, size = connection.getresponse(), [], 0
            if response.status != 200:
                raise self._failed('HTTP status %d' % response.status)
            while size <= SERVER_ANSWER_SIZE:
                parts.append(response.read(1 << 16))
                size += len(parts[-1])
                if not parts[-1]:
                    return b''.join(parts)
            raise self._failed('the answer does not end: more than %d bytes' % SERVER_ANSWER_SIZE)
        except client.HTTPException:
            raise self._failed('what answers there speaks no HTTP')
        except (EnvironmentError, UnicodeError) as error:
            raise self._failed('%s; is -r right, and can it be reached from here?' % (
                getattr(error, 'strerror', None) or error))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            connection.close()

    def _expire(self, *_):
        """End the waiting for an answer, a whole one, however slowly it comes."""
        raise self._failed('no whole answer in %g s' % self.seconds)

    def look_up_layout(self, text):
        return self._ask('struct', text, lambda found: Layout(
            'union' if text.startswith('union ') else 'struct', self.size(found['size']),
            text_members([self.row(cell['type'], cell['name'], cell['offset'], cell['size'],
                                   cell['bits']) for cell in found['cell']])))

    def look_up_alias(self, name):
        return self._ask('type', name, lambda found: found and Alias(
            self.text(found['type'], C_TYPE), self.size(found['size'])))

    def functions(self, name):
        return self._ask('func', name, lambda found: [
            self.function(name, each['ret'], each['args'], each.get('argi', []))
            for each in found]) or []

    def names(self, _):
        raise self._failed('a server answers for one name at a time, it has no lists')


def said(text):
    """Return ": it says '...'" for what a server said, with nothing in it that a terminal obeys."""
    return ": it says '%s'" % re.sub(r'[^ -~]', '?', '%s' % (text,))[:200]


# ---------------------------------------------------------------------------
# Information: a name -> what a person looks up
#
# Takes the name of a function, struct, union or enum, or a pattern of functions, and gives
# lines of text, each with the words that a trace has for it.
# ---------------------------------------------------------------------------

ROW_LIMIT = 100000      # lines of a layout; the longest of a kernel has 2,000
VALUE_NAMES = r'(?:retval|comm|stack[0-9]*|arg[0-9]+)$'     # what $NAME means to ftrace


@sound
def information(name, source, names, kernel):
    """Return the lines on a name; names are those of functions, of which a pattern takes some."""
    if is_pattern(name):
        return pattern_lines(name, source, names)
    lines = []
    for function in source.functions(name) if re.match(r'[\w.]+$', name) else ():
        lines += function_lines(function, source, kernel)
    kind, _, tag = name.rpartition(' ')
    for found in named_types(source, kind, tag):
        lines += enum_lines(found) if found.kind == 'enum' else layout_lines(found, tag)
    if not lines and name in names:
        return ['%s: a function without a known prototype' % name]
    if not lines:
        # (The others would take long to list theirs.)
        structs = source.names('struct') if source.kind in ('BTF', 'database') else []
        raise UsageError("there is no function, struct, union or enum '%s'%s" % (
            name, nearest(tag, structs + list(names or source.names('function')
                                              if structs else names))))
    return lines


def named_types(source, wanted, tag):
    """Return the structs, unions and enums of a name, as bare Types; wanted is a kind, or ''."""
    found = []
    for kind in TAGS + ('typedef',) if re.match(r'\w+$', tag) else ():
        # (An enum without a name is called by one of its values.)
        if wanted in ('', kind):
            ref = find_enum(source, tag) if kind == 'enum' else source.find(kind, tag)
            found += [] if ref is None else [Type(source, ref).bare]
    return [each for each in found if each.is_aggregate or each.kind == 'enum' and each.names()]


def pattern_lines(pattern, source, names):
    """Return the prototypes of the functions that a pattern of the shell matches."""
    import fnmatch      # only this needs it
    lines = []
    for name in sorted(set(fnmatch.filter(names, pattern))):
        if not re.match(NOT_A_FUNCTION, name):
            lines += sorted(set(name if function.parameters is None
                                else prototype(source, function._replace(name=name))
                                for function in source.functions(name))) or [name]
    if not lines:
        raise UsageError("no function matches '%s'" % pattern)
    return lines


def function_lines(function, source, kernel):
    """Return a Function's prototype, and where each argument is when it begins."""
    if function.parameters is None:
        return ['%s %s: where its arguments are is not known' % (
            Type(source, function.result), function.name)]
    lines = [prototype(source, function)]
    entry = Trace('', 'p', None, None, None, (), None)
    compiler = Compiler(entry, function.name, source, kernel)
    for index, parameter in enumerate(named_parameters(source, function)):
        place = None if parameter.location == '' else compiler.parameter_place(index, function)
        name = parameter.name and '$' + parameter.name
        lines.append('  %%%-3d %-16s %-10s %s' % (
            index, '' if re.match(VALUE_NAMES, parameter.name) else name,
            words_of(place).lstrip('%') if place else '?',
            Type(source, parameter.type).declare(parameter.name)))
    result = str(Type(source, function.result))
    return lines + ['  $retval                          ' + result] * (result != 'void')


def enum_lines(found):
    """Return the values of an enum, whose names a filter takes."""
    return ([('enum %s' % found.name).rstrip() + ' {']
            + ['    %s = %d,' % pair for pair in found.names()]
            + ['}; /* size: %d */' % found.size])


def layout_lines(found, alias):
    """Return the layout of a struct or union as pahole prints it, with each member's words.

    alias is the name of the typedef of one that has none itself.
    """
    rows = list(itertools.islice(member_rows(found, 0, '->', 1), ROW_LIMIT))
    if len(rows) == ROW_LIMIT:
        raise SourceError('the types are damaged: a struct never ends')
    width = min(max([len(text) for text, _, _ in rows] + [0]), 48)
    head = '%s %s {' % (found.kind, found.name) if found.name else 'typedef %s {' % found.kind
    tail = '}%s; /* size: %d, members: %d */' % (
        '' if found.name else ' ' + alias, found.size, len(found.own_members()))
    return [head] + [('%-*s  %s  %s' % (width, text, where, expression)).rstrip()
                     for text, where, expression in rows] + [tail]


def member_rows(found, start, path, depth):
    """Yield (C, place, words for a trace) of each member; start in bits, path leads to found."""
    if depth > CHAIN_LIMIT:
        raise SourceError('the types are damaged: a struct holds itself')
    indent = '    ' * depth
    for member in found.own_members():
        at = start + member.bit_offset
        where, inner = place_comment(member, at), nameless_struct(member.type)
        if not inner:
            name = member.name + (':%d' % member.bit_size if member.bit_size else '')
            yield (indent + member.type.declare(name) + ';', where,
                   reading(member, path + member.name))
            continue
        # '{...} name' is what C says of it: the dots are to be spelled out.
        head, _, tail = member.type.declare(member.name).partition('{...}')
        element = '[0]' if member.type.bare.kind == 'array' else ''
        yield indent + head + '{', '', ''
        for row in member_rows(inner, at, '%s%s%s.' % (path, member.name, element)
                               if member.name else path, depth + 1):
            yield row
        yield indent + '}' + tail + ';', where, ''


def place_comment(member, at):
    """Return the comment with the place of a member, which is `at` bits from the start."""
    size = member.type.size
    if not member.bit_size:
        return '/* %5d %5d */' % (at // 8, size)
    unit = size if size and at % (8 * size) + member.bit_size <= 8 * size else 1
    return '/* %5d:%2d %2d */' % (at // (8 * unit) * unit, at % (8 * unit), size)


def reading(member, path):
    """Return what a trace has to say to read a member; dots where that goes on."""
    held = member.type.bare
    if held.kind == 'array' and not (held.target.is_text and held.length):
        element, dimensions, inner = held.element, '', held
        while inner.kind == 'array':
            dimensions, inner = dimensions + '[0]', inner.target.bare
        if not element.is_number or not 0 < held.size // element.size <= ARRAY_LIMIT:
            path, held = path + dimensions, element
    if (held.kind, held.name) == ('struct', 'in6_addr'):
        return path + '  in a value called ip6_...'
    if held.is_aggregate:
        return '' if held.is_declared_only else path + '. ...'
    return path if held.kind == 'array' or held.is_number else ''


def nameless_struct(found):
    """Return the struct or union without a name that a Type is, or holds in an array, or None."""
    for _ in range(CHAIN_LIMIT):
        if found.kind in QUALIFIERS or found.kind == 'array':
            found = found.target
    return found if found.is_aggregate and not found.name else None


if __name__ == '__main__':
    exit_status = main(sys.argv[1:])
    # All that is left to do is to free memory, which the kernel does in no time.
    os._exit(exit_status)

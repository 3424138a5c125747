#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Surf the Linux kernel: trace its functions and events in the words of its source.

    ./surftrace.py 'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==bash'

The struct members are looked up in the kernel's own type information (BTF), the
line is rewritten into ftrace's kprobe syntax for this machine's registers, written
to tracefs, and the events are streamed until Ctrl+C, which leaves the kernel as it
was.  With -S the shell lines that would do so are printed, and nothing is touched.

Needs Python 2.7 or 3.6 and later, nothing else; to trace also root, and a kernel
with CONFIG_KPROBE_EVENTS.  It runs on x86_64 and aarch64.

A probe on a function that runs a million times a second slows the machine down:
choose a calm function, or a filter that the kernel can drop most events by.

The file reads in the order in which the data flows:

    text -> syntax tree -> types -> kernel expression -> plan -> kernel -> output
"""

from __future__ import print_function

import argparse
import array
import errno
import fcntl
import os
import re
import select
import signal
import stat
import struct
import sys
from collections import namedtuple

# Bytes at the edges, text inside.  On Python 2 text is bytes already.
if sys.version_info[0] == 2:
    def to_bytes(text):
        return text

    def to_text(data):
        return data
else:
    to_bytes, to_text = os.fsencode, os.fsdecode


# ---------------------------------------------------------------------------
# Errors
#
# Every error that a person can meet, with the exit status it ends in.
# main() is the one place that catches and prints them.
# ---------------------------------------------------------------------------

class Error(Exception):
    """The environment, a file or the kernel refused; the message says what to do."""

    status = 1
    text = None      # the person's own expression, where there is one
    column = None    # where in it, counted from 0


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
    """A file that should hold types does not, or holds damaged ones."""


class NoTypesError(SourceError):
    """There is nothing on this machine to learn types from."""


class StopRun(Exception):
    """A signal came in the middle of the set-up: not an error, an early end."""


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
# Text: a trace as typed -> tokens
#
# Takes one shell argument or one line of a file, gives tokens that keep their
# column, so that whatever goes wrong later can point at the person's own words.
# ---------------------------------------------------------------------------

Token = namedtuple('Token', 'kind text column')

TOKEN = re.compile(r'''
    (?P<space>  \ + )
  | (?P<number> 0[xX][0-9a-fA-F]+ | [0-9]+ )
  | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
  | (?P<quoted> "[^"]*" | '[^']*' )
  | (?P<mark>   -> | && | \|\| | [=!<>]= | . )
''', re.VERBOSE)


def one_line(text):
    """Return text with every white space made one blank, so that columns hold on a screen."""
    return re.sub(r'[\t\r\n\v\f]', ' ', text).rstrip()


def tokenize(text):
    """Return the tokens of text, with one of kind 'end' behind the last."""
    control = re.search(r'[\x00-\x1f\x7f]', text)
    if control:
        raise TraceError('a control character cannot be part of a trace', control.start())
    tokens = [Token(match.lastgroup, match.group(), match.start())
              for match in TOKEN.finditer(text)]
    return tokens + [Token('end', '', len(text))]


class Cursor(object):
    """The tokens of one trace, read once from left to right."""

    def __init__(self, text):
        self.text = text
        self.tokens = tokenize(text)
        self.index = 0

    @property
    def token(self):
        return self.tokens[self.index]

    def next_is(self, *texts):
        """Tell whether the token after the current one reads as one of texts."""
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)].text in texts

    def advance(self):
        token = self.token
        if token.kind != 'end':
            self.index += 1
        return token

    def take(self, *texts):
        """Step over the current token and return it if it reads as one of texts, else None."""
        return self.advance() if self.token.text in texts and self.token.kind != 'end' else None

    def skip_space(self):
        if self.token.kind == 'space':
            self.advance()

    def at_gap(self):
        return self.token.kind in ('space', 'end')

    def expect_kind(self, kind, what):
        if self.token.kind != kind:
            raise self.error('%s is missing' % what)
        return self.advance()

    def expect(self, text, what):
        if not self.take(text):
            raise self.error("'%s' is missing %s" % (text, what))

    def take_run(self, *stops):
        """Return as one token all that stands before the next blank or one of stops."""
        first = self.token
        while not self.at_gap() and self.token.text not in stops:
            self.advance()
        return Token('run', self.text[first.column:self.token.column], first.column)

    def error(self, message):
        return TraceError(message, self.token.column)


# ---------------------------------------------------------------------------
# Syntax tree: tokens -> a tree of namedtuples
#
# Takes the tokens of one trace and gives its tree, in which every leaf is a
# token.  Knows the language and nothing of types, machines or kernels.
#
#   trace     = ("p" | "r") symbol [ "+" offset ] { name "=" value } [ "f:" filter ]
#             | "e" system ( "/" | ":" ) event [ "f:" filter ]
#   value     = [ "S" | "U" | "X" ] [ packet ] [ cast ] base { member } [ ":" type ]
#             | anything in the kernel's own syntax, as it is
#   packet    = "@(" "struct" name "*" ")" [ "l2" | "l3" | "l4" ]
#   cast      = "!(" C type ")"
#   base      = "%" N | "%" register | "$retval" | "$comm" | "$stack" | "$stack" N
#             | "@" symbol
#   member    = ( "->" | "." ) name { "[" index "]" }
#   filter    = { "!" | "(" } predicate { ")" } [ ( "&&" | "||" ) filter ]
#   predicate = name ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "&" | "~" ) operand
# ---------------------------------------------------------------------------

Probe = namedtuple('Probe', 'text kind symbol offset values filter')
Event = namedtuple('Event', 'text kind system event filter')
Value = namedtuple('Value', 'name letter packet cast base accesses fetch_type raw')
Packet = namedtuple('Packet', 'header layer')
Base = namedtuple('Base', 'kind text column')    # kind: argument, register, variable, symbol
Access = namedtuple('Access', 'operator name indexes')
Filter = namedtuple('Filter', 'text column predicates')
Predicate = namedtuple('Predicate', 'name operator operand')

COMPARISONS = ('==', '!=', '<', '<=', '>', '>=', '&', '~')
FETCH_TYPE = re.compile(
    r'(?:[sux](?:8|16|32|64)|b[0-9]+@[0-9]+/(?:8|16|32|64)|string|ustring|symbol|symstr|char)'
    r'(?:\[[0-9]+\])?$')
VARIABLE = re.compile(r'(?:retval|comm|stack[0-9]*)$')


def parse_trace(text):
    """Return the Probe or Event that text spells; raises TraceError."""
    cursor = Cursor(text)
    cursor.skip_space()
    kind = cursor.take('p', 'r', 'e')
    if not kind or not cursor.at_gap():
        raise TraceError("a trace starts with 'p ' (function entry), 'r ' (return) "
                         "or 'e ' (event)", cursor.tokens[0].column)
    cursor.skip_space()
    return (parse_event if kind.text == 'e' else parse_probe)(cursor, kind.text)


def parse_event(cursor, kind):
    system = cursor.take_run('/', ':')
    if not cursor.take('/', ':'):
        raise cursor.error('an event is named SYSTEM/EVENT, like sched/sched_switch')
    event = cursor.take_run()
    for token in (system, event):
        if not re.match(r'[A-Za-z0-9_-]+$', token.text):
            raise TraceError('an event is named SYSTEM/EVENT, like sched/sched_switch',
                             token.column)
    cursor.skip_space()
    if cursor.token.kind != 'end' and not at_filter(cursor):
        raise cursor.error('an event takes only a filter, f:...; it has its own values')
    return Event(cursor.text, kind, system, event, parse_filter(cursor))


def parse_probe(cursor, kind):
    symbol = cursor.take_run('+', '=')
    if not re.match(r'[A-Za-z_][A-Za-z0-9_.$]*$', symbol.text):
        raise TraceError('the name of a kernel function is missing', symbol.column)
    offset = cursor.take('+') and cursor.expect_kind('number', 'the offset, a number of bytes')
    if cursor.take('='):
        raise TraceError('the name of a kernel function is missing before the values',
                         symbol.column)
    values = []
    while True:
        if not cursor.at_gap():
            raise cursor.error('a blank is missing here')
        cursor.skip_space()
        if cursor.token.kind == 'end' or at_filter(cursor):
            break
        values.append(parse_value(cursor))
    return Probe(cursor.text, kind, symbol, offset, tuple(values), parse_filter(cursor))


def parse_value(cursor):
    name = cursor.take_run('=')
    if not cursor.take('='):
        raise TraceError('a value is written NAME=VALUE, and a filter f:...', name.column)
    if cursor.at_gap():
        raise cursor.error("a value is missing after '%s='" % name.text)
    if at_kernel_syntax(cursor):
        return Value(name, None, None, None, None, (), None, cursor.take_run())
    letter = cursor.take('S', 'U', 'X')
    packet = parse_packet(cursor)
    cast = parse_cast(cursor)
    base = parse_base(cursor)
    accesses = parse_accesses(cursor)
    fetch_type = parse_fetch_type(cursor)
    if not cursor.at_gap():
        raise cursor.error("'%s' cannot follow here; a member is ->NAME or .NAME, "
                           'and values are set apart by blanks' % cursor.token.text)
    return Value(name, letter, packet, cast, base, accesses, fetch_type, None)


def at_kernel_syntax(cursor):
    """Tell whether a value in ftrace's own words begins: +8(%sp), @0xff..., @sym+4, $arg1, \\1."""
    rest = cursor.text[cursor.token.column:]
    return bool(re.match(r'[-+\\]|@(?:[0-9]|[A-Za-z_][\w.$]*[-+](?!>))|\$arg[0-9]', rest))


def parse_packet(cursor):
    if not (cursor.token.text == '@' and cursor.next_is('(')):
        return None
    cursor.advance()
    cursor.advance()
    cursor.expect('struct', "in a packet's header, @(struct iphdr *)")
    cursor.skip_space()
    header = cursor.expect_kind('word', "the header's name")
    cursor.skip_space()
    cursor.expect('*', "behind the header's name, @(struct %s *)" % header.text)
    cursor.skip_space()
    cursor.expect(')', 'to close the header')
    return Packet(header, cursor.take('l2', 'l3', 'l4'))


def parse_cast(cursor):
    if not cursor.take('!'):
        return None
    cursor.expect('(', 'to open the type of a cast, !(struct sock *)')
    start = cursor.token.column
    while cursor.token.kind in ('word', 'space') or cursor.token.text == '*':
        cursor.advance()
    cast = Token('cast', cursor.text[start:cursor.token.column], start)
    cursor.expect(')', 'to close the type of a cast')
    return cast


def parse_base(cursor):
    sigil = cursor.take('%', '$', '@')
    if not sigil:
        raise cursor.error('a value starts from %0 (the first argument), %REGISTER, $retval, '
                           '$comm, $stackN or @SYMBOL')
    token = cursor.token
    if sigil.text == '@':
        while cursor.token.kind in ('word', 'number') or (
                cursor.token.text == '.' and cursor.next_is('constprop', 'isra', 'part', 'cold')):
            cursor.advance()
        name = cursor.text[token.column:cursor.token.column]
        return Base('symbol', symbol_name(name, sigil.column), sigil.column)
    cursor.advance()
    if sigil.text == '%' and token.kind in ('number', 'word'):
        kind = 'argument' if token.kind == 'number' else 'register'
        return Base(kind, token.text, sigil.column)
    if sigil.text == '$' and VARIABLE.match(token.text):
        return Base('variable', '$' + token.text, sigil.column)
    raise TraceError("there is no '%s%s'; there are %%0, %%1 ..., %%REGISTER, $retval, $comm, "
                     '$stack and $stackN' % (sigil.text, token.text), sigil.column)


def symbol_name(name, column):
    if not re.match(r'[A-Za-z_]', name):
        raise TraceError("the name of a kernel symbol is missing after '@'", column)
    return name


def parse_accesses(cursor):
    accesses = []
    while True:
        operator = cursor.take('->', '.')
        if not operator:
            return tuple(accesses)
        name = cursor.expect_kind('word', "a member's name after '%s'" % operator.text)
        indexes = []
        while cursor.take('['):
            indexes.append(cursor.expect_kind('number', 'an index, a number,'))
            cursor.expect(']', 'after the index')
        accesses.append(Access(operator, name, tuple(indexes)))


def parse_fetch_type(cursor):
    if not cursor.take(':'):
        return None
    fetch_type = cursor.take_run()
    if not FETCH_TYPE.match(fetch_type.text):
        raise TraceError("the kernel has no type '%s'; it has s8 to s64, u8 to u64, x8 to x64, "
                         'b<bits>@<first>/<of>, string, ustring, symbol, and [N] behind them'
                         % fetch_type.text, fetch_type.column)
    return fetch_type


def at_filter(cursor):
    return cursor.token.text == 'f' and cursor.next_is(':')


def parse_filter(cursor):
    """Return the Filter that runs from f: to the end, or None; its words stay as they are."""
    if not at_filter(cursor):
        return None
    cursor.advance()
    cursor.advance()
    cursor.skip_space()
    column, depth, predicates = cursor.token.column, 0, []
    while True:
        depth += skip_marks(cursor, '!', '(').count('(')
        predicates.append(parse_predicate(cursor))
        depth -= skip_marks(cursor, ')').count(')')
        if depth < 0:
            raise TraceError("this ')' closes nothing", cursor.tokens[cursor.index - 1].column)
        if cursor.token.kind == 'end':
            break
        if not cursor.take('&&', '||'):
            raise cursor.error('&& or || is missing here; a string with a blank in it '
                               'needs quotes: comm=="a b"')
    if depth:
        raise cursor.error("')' is missing at the end of the filter")
    return Filter(cursor.text[column:], column, tuple(predicates))


def skip_marks(cursor, *marks):
    """Step over marks and blanks; return the marks as text."""
    passed = ''
    while cursor.token.kind == 'space' or cursor.token.text in marks:
        passed += cursor.advance().text
    return passed


def parse_predicate(cursor):
    name = cursor.expect_kind('word', "a field's name")
    cursor.skip_space()
    operator = cursor.take(*COMPARISONS)
    if not operator:
        hint = '; equality is ==' if cursor.token.text == '=' else ''
        raise cursor.error('a comparison is missing: %s%s' % (' '.join(COMPARISONS), hint))
    cursor.skip_space()
    operand = (cursor.advance() if cursor.token.kind == 'quoted'
               else cursor.take_run('&&', '||', '(', ')'))
    if not operand.text:
        raise cursor.error("something to compare '%s' with is missing" % name.text)
    return Predicate(name, operator, operand)


# ---------------------------------------------------------------------------
# Types: a file -> records
#
# A source of types answers four questions, each from the file it was opened on:
#
#   functions(name)    the Functions of that name; several static ones may share it
#   find(kind, name)   a reference to 'struct', 'union', 'enum', 'typedef' or 'int' name
#   describe(ref)      the Type behind a reference
#   members(ref)       the Members of a struct or union, in order
#
# What a reference is, is the source's own affair.  Reads type files, touches
# nothing else.  Sizes are in bytes; what is in bits says so in its name.
# ---------------------------------------------------------------------------

# kind: void, int, float, enum, pointer, array, struct, union, function, and the
# wrappers typedef, const, volatile, restrict, type_tag.  target: what a pointer
# points at, an array holds, a wrapper wraps; of a struct or union, what members()
# takes.  length: an array's, 0 if it is flexible.
Type = namedtuple('Type', 'kind name size target length signed')
Type.__new__.__defaults__ = ('', 0, None, 0, False)

Member = namedtuple('Member', 'name type bit_offset bit_size')     # bit_size 0: no bitfield
Parameter = namedtuple('Parameter', 'name type')
Function = namedtuple('Function', 'name parameters result')

POINTER_SIZE = 8
CHAIN_LIMIT = 64        # wrappers or dimensions in a row; real kernels have a handful
QUALIFIERS = frozenset(('const', 'volatile', 'restrict', 'type_tag'))
WRAPPERS = QUALIFIERS | frozenset(('typedef',))
INTEGER_SIZES = {'char': 1, 'short': 2, 'int': 4, 'long': 8, 'long long': 8, '_Bool': 1}


def described(types, ref):
    """Return the Type of ref, which may be one already (of a cast, say)."""
    return ref if isinstance(ref, Type) else types.describe(ref)


def stripped(types, ref, wrappers=WRAPPERS):
    """Return the Type that is left when the typedefs and qualifiers are taken off ref."""
    for _ in range(CHAIN_LIMIT):
        found = described(types, ref)
        if found.kind not in wrappers:
            return found
        ref = found.target
    raise SourceError('the types are damaged: a type wraps itself')


def size_of(types, ref):
    """Return the size of ref in bytes."""
    count = 1
    for _ in range(CHAIN_LIMIT):
        found = stripped(types, ref)
        if found.kind != 'array':
            return count * found.size
        count *= found.length
        ref = found.target
    raise SourceError('the types are damaged: an array holds itself')


def spelled(types, ref):
    """Return ref as C spells it, for a message."""
    prefix = suffix = ''
    for _ in range(CHAIN_LIMIT):
        found = described(types, ref)
        if found.kind == 'const' and described(types, found.target).kind == 'pointer':
            suffix = 'const' + suffix
        elif found.kind == 'const':
            prefix = 'const '
        elif found.kind == 'pointer':
            suffix = '*' + suffix
        elif found.kind == 'array':
            suffix = '%s[%s]' % (suffix, found.length or '')
        elif found.kind not in QUALIFIERS:
            tag = found.kind + ' ' if found.kind in ('struct', 'union', 'enum') else ''
            name = found.name or (found.kind if found.kind in ('void', 'function') else '{...}')
            return prefix + tag + name + (' ' if suffix.startswith('*') else '') + suffix
        ref = found.target
    return '...'


def prototype(types, function):
    """Return a Function as C declares it."""
    parameters = ', '.join(spelled(types, parameter.type) for parameter in function.parameters)
    return '%s %s(%s)' % (spelled(types, function.result), function.name, parameters or 'void')


def is_text(types, ref):
    """Tell whether ref, which a pointer points at or an array holds, is a character of a string.

    That is a char, or a const unsigned char (a dentry's name); a u8 is a number,
    and so is an unsigned char that is not const.
    """
    const = False
    for _ in range(CHAIN_LIMIT):
        found = described(types, ref)
        if found.kind not in QUALIFIERS:
            return found.kind == 'int' and (
                found.name == 'char' or const and found.name == 'unsigned char')
        const = const or found.kind == 'const'
        ref = found.target
    return False


def find_member(types, ref, name, depth=0):
    """Return the Member called name, looked for as C does: through members without a name.

    Its bit_offset counts from the start of ref; None if there is no such member.
    """
    if depth > CHAIN_LIMIT:
        raise SourceError('the types are damaged: a struct holds itself')
    for member in types.members(ref):
        if member.name == name:
            return member
        if not member.name:
            held = stripped(types, member.type)
            if held.kind in ('struct', 'union'):
                inner = find_member(types, held, name, depth + 1)
                if inner:
                    return inner._replace(bit_offset=member.bit_offset + inner.bit_offset)
    return None


def member_names(types, ref, depth=0):
    """Return the names that find_member would find."""
    names = []
    for member in types.members(ref):
        held = None if member.name else stripped(types, member.type)
        if member.name:
            names.append(member.name)
        elif held.kind in ('struct', 'union') and depth < CHAIN_LIMIT:
            names.extend(member_names(types, held, depth + 1))
    return names


def find_c_type(types, text):
    """Return a reference to the type that text spells in C, as in 'const struct sock **'.

    Raises TraceError, without a column, for what is no type or is not there.
    """
    words = text.replace('*', ' * ').split()
    first_star = words.index('*') if '*' in words else len(words)
    base, rest = words[:first_star], words[first_star:]
    ref = find_base_type(types, [word for word in base if word not in ('const', 'volatile')])
    if ref is None or set(rest) - set(('*', 'const', 'volatile')):
        raise TraceError("there is no type '%s' here; write it as C does: struct sock *, "
                         'unsigned long, u32' % text)
    if 'const' in base:
        ref = Type('const', target=ref)
    for _ in range(rest.count('*')):
        ref = Type('pointer', size=POINTER_SIZE, target=ref)
    return ref


def find_base_type(types, words):
    if len(words) == 2 and words[0] in ('struct', 'union', 'enum'):
        return types.find(words[0], words[1])
    if words == ['void']:
        return Type('void')
    return find_integer(words) or (
        len(words) == 1 and (types.find('typedef', words[0]) or types.find('int', words[0]))
        or None)


def find_integer(words):
    """Return the Type of C's own integer that words spell, in any order, or None."""
    sign = [word for word in words if word in ('signed', 'unsigned')]
    rest = [word for word in words if word not in sign]
    if len(rest) > 1 and 'int' in rest:
        rest.remove('int')
    name = ' '.join(rest) or (sign and 'int')
    if name not in INTEGER_SIZES or len(sign) > 1:
        return None
    signed = sign != ['unsigned'] and name != '_Bool'
    return Type('int', ' '.join(sign + [name]), INTEGER_SIZES[name], signed=signed)


# BTF, as Documentation/bpf/btf.rst lays it down: a header, the types, the strings.
# A type is three words (name, info, size or type) and what its kind adds.
BTF_MAGIC = b'\x9f\xeb'
BTF_KINDS = ('void', 'int', 'pointer', 'array', 'struct', 'union', 'enum', 'forward', 'typedef',
             'volatile', 'const', 'restrict', 'symbol', 'function', 'variable', 'section',
             'float', 'decl_tag', 'type_tag', 'enum64')
BTF_FIXED_WORDS = {'int': 1, 'array': 3, 'variable': 1, 'decl_tag': 1}
BTF_WORDS_EACH = {'struct': 3, 'union': 3, 'enum': 2, 'function': 2, 'section': 3, 'enum64': 3}
BTF_INT_SIGNED = 1
# Strings are stored once; a name that is there more often than this is no compiler's work.
BTF_NAME_COPIES = 8


class Btf(object):
    """The types of one BTF file; those of a module's stand on its kernel's, the base.

    A reference is a type's id, a number.
    """

    def __init__(self, data, name, base=None):
        self.name = name
        self.base = base
        self.first_id = base.end_id if base else 1
        self.first_string = base.end_string if base else 0
        self.words, self.strings = self._sections(data)
        self.end_string = self.first_string + len(self.strings)
        self.starts = self._starts()
        self.end_id = self.first_id + len(self.starts)

    def _damaged(self, why):
        return SourceError('%s: damaged BTF: %s' % (self.name, why))

    def _sections(self, data):
        """Return the types as an array of 32-bit words and the strings as bytes."""
        if data[:2] == BTF_MAGIC[::-1]:
            raise SourceError('%s: big-endian BTF; only little-endian machines are known'
                              % self.name)
        if data[:2] != BTF_MAGIC or len(data) < 24:
            raise SourceError('%s: neither BTF nor an ELF file' % self.name)
        version, _, header, type_offset, type_size, string_offset, string_size = (
            struct.unpack_from('<BBIIIII', data, 2))
        if version != 1:
            raise SourceError('%s: BTF version %d; only 1 is known' % (self.name, version))
        types = data[header + type_offset:header + type_offset + type_size]
        strings = data[header + string_offset:header + string_offset + string_size]
        if len(types) != type_size or len(strings) != string_size or type_size % 4:
            raise self._damaged('it is cut short')
        if strings[-1:] != b'\0' or strings[:1] != b'\0' and not self.base:
            raise self._damaged('its strings are not closed')
        words = array.array('I')
        getattr(words, 'frombytes', getattr(words, 'fromstring', None))(types)
        return words, strings

    def _starts(self):
        """Return where each type starts, in words; its place is its id, less first_id."""
        words, position, starts = self.words, 0, array.array('I')
        fixed = [BTF_FIXED_WORDS.get(kind, 0) for kind in BTF_KINDS]
        each = [BTF_WORDS_EACH.get(kind, 0) for kind in BTF_KINDS]
        note, end = starts.append, len(words)
        try:
            while position < end:
                note(position)
                info = words[position + 1]
                kind = info >> 24 & 0x1f
                position += 3 + fixed[kind] + each[kind] * (info & 0xffff)
        except IndexError:
            raise self._damaged('type %d is of no known kind' % (self.first_id + len(starts) - 1))
        if position != end:
            raise self._damaged('its last type is cut short')
        return starts

    def _record(self, ref):
        """Return a type's kind, vlen, kind_flag, name offset, last word, and where it goes on."""
        if not self.first_id <= ref < self.end_id:
            raise self._damaged('there is no type %d' % ref)
        start = self.starts[ref - self.first_id]
        name, info, last = self.words[start:start + 3]
        return BTF_KINDS[info >> 24 & 0x1f], info & 0xffff, info >> 31, name, last, start + 3

    def _string(self, offset):
        if offset < self.first_string:
            return self.base._string(offset)
        start = offset - self.first_string
        end = self.strings.find(b'\0', start)
        if end < 0:
            raise self._damaged('a name lies outside of its strings')
        return to_text(self.strings[start:end])

    def _string_offsets(self, name):
        """Yield where the string called name stands, here and in the base."""
        if self.base:
            for offset in self.base._string_offsets(name):
                yield offset
        sought = to_bytes(name) + b'\0'
        if self.strings.startswith(sought):     # only a module's strings start with one
            yield self.first_string
        at = self.strings.find(b'\0' + sought)
        for _ in range(BTF_NAME_COPIES):
            if at < 0:
                return
            yield self.first_string + at + 1
            at = self.strings.find(b'\0' + sought, at + 1)

    def _named(self, name):
        """Return the ids of the types called name."""
        offsets = set(self._string_offsets(name))
        words = self.words
        return [self.first_id + place for place, start in enumerate(self.starts)
                if words[start] in offsets] if offsets else []

    def find(self, kind, name):
        """Return the id of the type of that kind and name, or None."""
        for ref in self._named(name):
            found = self._record(ref)[0]
            if found == kind or kind == 'enum' and found == 'enum64':
                return ref
        return self.base.find(kind, name) if self.base else None

    def functions(self, name):
        """Return the Functions called name, a module's before its kernel's."""
        found = []
        for ref in self._named(name):
            kind, _, _, _, target, _ = self._record(ref)
            if kind == 'symbol':
                found.append(self._function(name, target))
        return found or (self.base.functions(name) if self.base else [])

    def _function(self, name, ref):
        if ref < self.first_id:
            return self.base._function(name, ref)
        kind, count, _, _, result, at = self._record(ref)
        if kind != 'function':
            raise self._damaged("'%s' has no prototype" % name)
        pairs = [self.words[at + 2 * i:at + 2 * i + 2] for i in range(count)]
        return Function(name, tuple(Parameter(self._string(pair[0]), pair[1]) for pair in pairs),
                        result)

    def describe(self, ref):
        """Return the Type of an id; 0 is void."""
        if ref == 0:
            return Type('void')
        if ref < self.first_id:
            return self.base.describe(ref)
        kind, _, kind_flag, name, last, at = self._record(ref)
        if kind == 'pointer':
            return Type('pointer', size=POINTER_SIZE, target=last)
        if kind == 'array':
            return Type('array', target=self.words[at], length=self.words[at + 2])
        name = self._string(name)
        if kind in WRAPPERS:
            return Type(kind, name, target=last)
        if kind == 'int':
            return Type('int', name, last, signed=bool(self.words[at] >> 24 & BTF_INT_SIGNED))
        if kind in ('struct', 'union'):
            return Type(kind, name, last, target=ref)
        if kind in ('enum', 'enum64'):
            return Type('enum', name, last, signed=bool(kind_flag))
        if kind == 'forward':
            return Type('union' if kind_flag else 'struct', name)
        return Type(kind, name, last if kind == 'float' else 0)

    def members(self, ref):
        """Return the Members of a struct or union: its id, or the Type that describe gave."""
        ref = ref.target if isinstance(ref, Type) else ref
        if ref is None:     # a struct that is only declared
            return []
        if ref < self.first_id:
            return self.base.members(ref)
        kind, count, kind_flag, _, _, at = self._record(ref)
        if kind not in ('struct', 'union'):
            raise self._damaged('type %d has no members' % ref)
        words = self.words[at:at + 3 * count]
        return [self._member(words[i], words[i + 1], words[i + 2], kind_flag)
                for i in range(0, 3 * count, 3)]

    def _member(self, name, ref, offset, kind_flag):
        if kind_flag:
            return Member(self._string(name), ref, offset & 0xffffff, offset >> 24)
        first, bits = self._integer_bits(ref)
        return Member(self._string(name), ref, offset + first, bits)

    def _integer_bits(self, ref):
        """Return first bit and count where ref is an int narrower than its storage, else 0, 0.

        So bitfields were written before BTF had its kind_flag (Linux 5.0).
        """
        if ref < self.first_id:
            return self.base._integer_bits(ref) if self.base and ref else (0, 0)
        kind, _, _, _, size, at = self._record(ref)
        encoding = self.words[at] if kind == 'int' else 0
        bits, first = encoding & 0xff, encoding >> 16 & 0xff
        return (first, bits) if bits and bits != 8 * size else (0, 0)


ELF_MAGIC = b'\x7fELF'
ELF_HEADER = '<HHIQQQIHHHHHH'       # what follows the 16 bytes of e_ident
ELF_SECTION = '<IIQQQQIIQQ'


def read_btf(path):
    """Return the BTF in a file: all of it, or an ELF file's section .BTF; None if it has none."""
    try:
        with open(path, 'rb', 0) as stream:
            ident = stream.read(16)
            if ident[:4] != ELF_MAGIC:
                return ident + stream.read()
            if ident[4:6] != b'\x02\x01':
                raise SourceError('%s: a %s ELF file; only 64-bit little-endian ones are known' % (
                    path, 'big-endian' if ident[5:6] == b'\x02' else '32-bit'))
            return read_elf_section(stream, path, b'.BTF')
    except EnvironmentError as error:
        raise SourceError('%s: %s' % (path, error.strerror))


def read_elf_section(stream, path, wanted):
    """Return the bytes of the section called wanted of a 64-bit ELF file, or None."""
    def read(offset, size):
        # The size is the file's own word: reading no more than there is, is the check.
        stream.seek(min(offset, end))
        data = stream.read(min(size, end))
        if len(data) != size:
            raise SourceError('%s: a damaged ELF file: it is cut short' % path)
        return data

    stream.seek(0, os.SEEK_END)
    end = stream.tell()
    header = struct.unpack(ELF_HEADER, read(16, struct.calcsize(ELF_HEADER)))
    table, entry_size, count, names = header[5], header[10], header[11], header[12]
    if entry_size != struct.calcsize(ELF_SECTION) or names >= count:
        return None
    data = read(table, entry_size * count)
    sections = [struct.unpack_from(ELF_SECTION, data, entry_size * i) for i in range(count)]
    strings = read(sections[names][4], sections[names][5])
    for name, _, _, _, offset, size, _, _, _, _ in sections:
        if strings[name:strings.find(b'\0', name)] == wanted:
            return read(offset, size)
    return None


class Types(object):
    """The sources of a run, each opened at the first question that needs it.

    path names a file for the kernel's types; without one they are the running kernel's.
    """

    RUNNING = '/sys/kernel/btf'

    def __init__(self, path=None, unavailable=None):
        self.path = path
        self.unavailable = unavailable      # why there can be none, where there cannot
        self.opened = {}

    def of(self, module):
        """Return the source for the symbols of a module, or of the kernel where that is None."""
        return LazySource(lambda: self._open(module))

    def _open(self, module):
        if module not in self.opened:
            self.opened[module] = self._read(module)
        return self.opened[module]

    def _read(self, module):
        if self.unavailable:
            raise NoTypesError(self.unavailable)
        if self.path:
            path = self.path
        else:
            path = os.path.join(self.RUNNING, module or 'vmlinux')
            if not os.path.exists(path):
                if module:
                    return self._open(None)
                raise NoTypesError('this kernel has no %s (CONFIG_DEBUG_INFO_BTF, from 5.4 on); '
                                   'name a file that holds its BTF with -v' % path)
            if module:
                return Btf(read_btf(path), path, self._open(None))
        data = read_btf(path)
        if data is None:
            raise SourceError('%s: this ELF file has no section .BTF' % path)
        return Btf(data, path)


class LazySource(object):
    """A source of types that is opened when it is asked for the first time."""

    def __init__(self, open_source):
        self._open_source = open_source

    def __getattr__(self, question):
        return getattr(self._open_source(), question)

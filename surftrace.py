#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Surf the Linux kernel: trace its functions and events in the words of its source.

    ./surftrace.py 'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==bash'

The struct members are looked up in the kernel's types (BTF, or debug info), the
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


def clock():
    """Return seconds since some moment, of a clock that nobody sets (Python 2 has no monotonic)."""
    return os.times()[4]


LONGEST_WAIT = 1 << 30       # milliseconds, of poll


def wait_for(poll, milliseconds=None):
    """Return what poll has to say within so long, None for ever, whatever signals come."""
    end = None if milliseconds is None else clock() + milliseconds / 1000.0
    while True:
        left = None if end is None else min(max(1000 * (end - clock()), 0), LONGEST_WAIT)
        try:
            return poll.poll(left)
        except (EnvironmentError, select.error) as error:       # Python 2 is interrupted
            if error.args[0] != errno.EINTR:
                raise


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
#   trace     = ("p" | "r") [ module ":" ] symbol [ "+" offset ] { name "=" value }
#               [ "f:" filter ]
#             | "e" system ( "/" | ":" ) event [ "f:" filter ]
#   symbol    = a function's name, or a pattern of the shell that takes several
#   value     = [ "S" | "U" | "X" ] [ packet ] [ cast ] base [ cast ] [ elements ] { member }
#               [ ":" type ]
#             | anything in the kernel's own syntax, as it is
#   packet    = "@(" "struct" name "*" ")" [ "l2" | "l3" | "l4" ]
#   cast      = "!(" C type ")"
#   base      = "%" N | "$" argument's name | "%" register | "$retval" | "$comm"
#             | "$stack" | "$stack" N | "@" symbol
#   member    = ( "->" | "." ) name [ cast | elements ]
#   elements  = "[" index "]" { "[" index "]" } [ cast ]
#   filter    = { "!" | "(" } predicate { ")" } [ ( "&&" | "||" ) filter ]
#   predicate = name [ ".ustring" ] ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "&" | "~" ) operand
# ---------------------------------------------------------------------------

Probe = namedtuple('Probe', 'text kind module symbol offset values filter')
Event = namedtuple('Event', 'text kind system event filter')
Value = namedtuple('Value', 'name letter packet cast base accesses fetch_type raw')
Packet = namedtuple('Packet', 'header layer')
# kind: argument (its text is a number or a name), register, variable, symbol
Base = namedtuple('Base', 'kind text column')
Access = namedtuple('Access', 'operator name indexes cast')     # no operator: the base's elements
Filter = namedtuple('Filter', 'text column predicates')
Predicate = namedtuple('Predicate', 'name suffix operator operand')

COMPARISONS = ('==', '!=', '<', '<=', '>', '>=', '&', '~')
FETCH_TYPE = (r'(?:[sux](?:8|16|32|64)|b[0-9]+@[0-9]+/(?:8|16|32|64)|string|ustring|symbol|symstr|'
              r'char)(?:\[[0-9]+\])?$')
VARIABLE = r'(?:retval|comm|stack[0-9]*)$'      # whatever a function's arguments are called
FUNCTION = r'[A-Za-z_][A-Za-z0-9_.$]*$'
PATTERN = r'[A-Za-z0-9_.$*?\[\]!-]+$'


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
    module, symbol = split_symbol(cursor.take_run('+', '='))
    if not re.match(PATTERN if is_pattern(symbol.text) else FUNCTION, symbol.text):
        raise TraceError("'%s' is no function's name: --info 'vfs_*' lists functions, -l finds the "
                         'place of FILE:LINE, and an event is traced with e' % symbol.text
                         if symbol.text else 'the name of a kernel function is missing; a trace is '
                         'one argument, in single quotes', symbol.column)
    offset = cursor.take('+') and cursor.expect_kind('number', 'the offset, a number of bytes')
    if offset and is_pattern(symbol.text):
        raise TraceError('a pattern, which takes several functions, takes no offset',
                         offset.column)
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
    return Probe(cursor.text, kind, module, symbol, offset, tuple(values), parse_filter(cursor))


def split_symbol(token):
    """Return the module that is named before a ':', or None, and the symbol, as tokens."""
    module, colon, name = token.text.rpartition(':')
    if not re.match(r'[A-Za-z_]\w*$', module):
        return None, token
    return (Token('run', module, token.column),
            Token('run', name, token.column + len(module + colon)))


def is_pattern(name):
    """Tell whether the name of a function is a pattern of the shell."""
    return bool(re.search(r'[*?[]', name))


def parse_value(cursor):
    name = cursor.take_run('=')
    if not cursor.take('='):
        raise TraceError('a value is written NAME=VALUE, and a filter f:...', name.column)
    if cursor.at_gap():
        raise cursor.error("a value is missing after '%s='; $NAME is there for the shell to take "
                           'unless the trace stands in single quotes' % name.text)
    if at_kernel_syntax(cursor):
        return Value(name, None, None, None, None, (), None, cursor.take_run())
    letter = cursor.take('S', 'U', 'X')
    packet = parse_packet(cursor)
    cast = parse_cast(cursor)
    base = parse_base(cursor)
    cast = cast or parse_cast(cursor)
    accesses = parse_accesses(cursor)
    fetch_type = parse_fetch_type(cursor)
    if not cursor.at_gap():
        raise cursor.error("'%s' cannot follow here; a member is ->NAME or .NAME, "
                           'and values are set apart by blanks' % cursor.token.text)
    return Value(name, letter, packet, cast, base, accesses, fetch_type, None)


def at_kernel_syntax(cursor):
    """Tell whether a value in ftrace's own words begins: +8(%sp), @0xff..., @sym+4, $arg1, \\1."""
    rest = cursor.text[cursor.token.column:]
    return bool(re.match(r'[+\\]|-(?!>)|@(?:[0-9]|[A-Za-z_][\w.$]*[-+](?!>))|'
                         r'\$arg[0-9]+(?!\w)', rest))


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
    if not sigil and cursor.token.text == '->':
        raise cursor.error('what -> starts from is missing: put the trace in single quotes, or the '
                           'shell takes $NAME away')
    if not sigil and cursor.token.text == '(':
        raise cursor.error('a cast is written !(struct NAME *)%0->...')
    if not sigil:
        raise cursor.error('a value starts from %0 (the first argument), $NAME (an argument), '
                           '%REGISTER, $retval, $comm, $stackN or @SYMBOL')
    token = cursor.token
    if sigil.text == '@':
        while cursor.token.kind in ('word', 'number') or (
                cursor.token.text == '.' and cursor.next_is('constprop', 'isra', 'part', 'cold')):
            cursor.advance()
        name = cursor.text[token.column:cursor.token.column]
        if not re.match(r'[A-Za-z_]', name):
            raise TraceError("the name of a kernel symbol is missing after '@'", sigil.column)
        return Base('symbol', name, sigil.column)
    cursor.advance()
    if sigil.text == '%' and token.kind in ('number', 'word'):
        kind = 'argument' if token.kind == 'number' else 'register'
        return Base(kind, token.text, sigil.column)
    if sigil.text == '$' and re.match(VARIABLE, token.text):
        return Base('variable', '$' + token.text, sigil.column)
    if sigil.text == '$' and token.kind == 'word':
        return Base('argument', token.text, sigil.column)
    raise TraceError("there is no '%s%s'; there are %%0, %%1 ..., $NAME, %%REGISTER, $retval, "
                     '$comm, $stack and $stackN' % (sigil.text, token.text), sigil.column)


def parse_accesses(cursor):
    indexes = parse_indexes(cursor)
    accesses = [Access(None, None, indexes, parse_cast(cursor))] if indexes else []
    while True:
        operator = cursor.take('->', '.')
        if not operator:
            return tuple(accesses)
        name = cursor.expect_kind('word', "a member's name after '%s'" % operator.text)
        accesses.append(Access(operator, name, parse_indexes(cursor), parse_cast(cursor)))


def parse_indexes(cursor):
    indexes = []
    while cursor.take('['):
        indexes.append(cursor.expect_kind('number', 'an index, a number,'))
        cursor.expect(']', 'after the index')
    return tuple(indexes)


def parse_fetch_type(cursor):
    if not cursor.take(':'):
        return None
    fetch_type = cursor.take_run()
    if not re.match(FETCH_TYPE, fetch_type.text):
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
            raise cursor.error('&& or || is missing here; a string with a blank, & or | in it '
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
    if cursor.token.text in ('%', '$', '@'):
        raise cursor.error('a filter compares what has a name: r=$retval f:r==-11')
    name = cursor.expect_kind('word', "a field's name")
    suffix = cursor.take('.') and cursor.expect_kind('word', "'ustring' behind the point")
    if suffix and suffix.text != 'ustring':
        raise TraceError("a field's name takes .ustring and nothing else: a member is given a "
                         'name first, NAME=%0->MEMBER f:NAME==...', suffix.column)
    cursor.skip_space()
    operator = cursor.take(*COMPARISONS)
    if not operator:
        hint = '; equality is ==' if cursor.token.text == '=' else ''
        raise cursor.error('a comparison is missing: %s%s' % (' '.join(COMPARISONS), hint))
    cursor.skip_space()
    operand = (cursor.advance() if cursor.token.kind == 'quoted'
               else cursor.take_run('&&', '||', '&', '|', '(', ')'))
    if operand.kind == 'run' and operand.text[:1] in ('"', "'"):
        raise TraceError('this quote is not closed', operand.column)
    if not operand.text:
        raise cursor.error("something to compare '%s' with is missing" % name.text)
    return Predicate(name, suffix, operator, operand)


# ---------------------------------------------------------------------------
# Types: the records that every source of types gives
#
# A source of types answers these questions, each from what it was opened on:
#
#   functions(name)    the Functions of that name; several static ones may share it
#   find(kind, name)   a reference to 'struct', 'union', 'enum', 'typedef' or 'int' name
#   copies(kind, name) how many of them there are, of which find() gives the first
#   describe(ref)      the Type behind a reference
#   members(ref)       the Members of a struct or union, in order
#   enumerators(ref)   (name, number) pairs of an enum
#   enums_of(name)     references to the enums with an enumerator of that name; of debug info,
#                      which has most of them a hundred times, only the first
#   variable(name)     the Variable of that name, None if these types do not have it
#   names(kind)        all names of a kind; that of functions is 'function'
#
# What a reference is, is the source's own affair.  This section asks sources and
# touches nothing.  Sizes are in bytes; what is in bits says so in its name.
# ---------------------------------------------------------------------------

# kind: void, int, float, enum, pointer, array, struct, union, function, missing (a
# name that the source does not explain), and the wrappers typedef, const, volatile,
# restrict, type_tag.  target: what a pointer points at, an array holds, a wrapper wraps;
# of a struct or union, what members() takes, of an enum, what enumerators() takes; of a
# function, its Function.  length: an array's, 0 if it is flexible.
Type = namedtuple('Type', 'kind name size target length signed')
Type.__new__.__defaults__ = ('', 0, None, 0, False)

Member = namedtuple('Member', 'name type bit_offset bit_size')     # bit_size 0: no bitfield
# location: the register that holds it when the function begins, '' if none does; None where
# the calling convention says it.
Parameter = namedtuple('Parameter', 'name type location')
Parameter.__new__.__defaults__ = (None,)
Function = namedtuple('Function', 'name parameters result')        # parameters None: not known
Variable = namedtuple('Variable', 'type per_cpu')

POINTER_SIZE = 8
CHAIN_LIMIT = 64        # wrappers or dimensions in a row; real kernels have a handful
NAMELESS_LIMIT = 1000   # structs without a name in one that has one
QUALIFIERS = frozenset(('const', 'volatile', 'restrict', 'type_tag'))
WRAPPERS = QUALIFIERS | frozenset(('typedef',))
INTEGER_SIZES = {'char': 1, 'short': 2, 'int': 4, 'long': 8, 'long long': 8, '_Bool': 1}


def described(types, ref):
    """Return the Type of ref, which may be one already (of a cast, say)."""
    return ref if isinstance(ref, Type) else types.describe(ref)


def unwrapped(types, ref, wrappers=QUALIFIERS):
    """Return the Type that is left when wrappers are taken off ref, and (kind, name) of those."""
    taken = []
    for _ in range(CHAIN_LIMIT):
        found = described(types, ref)
        if found.kind not in wrappers:
            return found, taken
        taken.append((found.kind, found.name))
        ref = found.target
    raise SourceError('the types are damaged: a type wraps itself')


def stripped(types, ref, wrappers=WRAPPERS):
    """Return the Type that is left when the typedefs and qualifiers are taken off ref."""
    return unwrapped(types, ref, wrappers)[0]


def size_of(types, ref):
    """Return the size of ref in bytes."""
    element, count, _ = elements_of(types, stripped(types, ref))
    return count * element.size


def elements_of(types, held, wrappers=WRAPPERS):
    """Return the Type of an array's elements, how many there are, and in how many dimensions."""
    count = 1
    for dimensions in range(CHAIN_LIMIT):
        if held.kind != 'array':
            return held, count, dimensions
        count *= held.length
        held = stripped(types, held.target, wrappers)
    raise SourceError('the types are damaged: an array holds itself')


def is_number(held):
    """Tell whether ftrace can show a Type as a number."""
    return held.size in (1, 2, 4, 8) and held.kind in ('int', 'enum', 'pointer', 'float')


def base_words(found):
    """Return C's words for a Type that is made of no other."""
    if found.kind == 'int':
        known = find_integer(found.name.split())
        return known.name if known else found.name
    tag = found.kind + ' ' if found.kind in ('struct', 'union', 'enum') else ''
    return tag + (found.name or (found.kind if found.kind in ('void', 'function') else '{...}'))


def declared(types, ref, name='', words=base_words):
    """Return the C declaration of name as a ref, or without a name C's words for ref."""
    qualifiers = ''
    for _ in range(CHAIN_LIMIT):
        found = described(types, ref)
        ref = found.target
        if found.kind in ('array', 'function') and name.startswith('*'):
            name = '(%s)' % name
        if found.kind == 'pointer':
            name = '*' + name
        elif found.kind == 'array':
            name += '[%s]' % (found.length or '')
        elif found.kind == 'function' and found.target:
            name += '(%s)' % parameter_list(types, found.target, words)
            ref = found.target.result
        elif found.kind in ('const', 'volatile') and described(types, ref).kind == 'pointer':
            name = found.kind + ' ' + name
        elif found.kind in ('const', 'volatile'):
            if found.kind not in qualifiers:        # an array and its elements may both be const
                qualifiers += found.kind + ' '
        elif found.kind not in QUALIFIERS:
            gap = '' if name.startswith('[') else ' '
            return (qualifiers + words(found) + gap + name).rstrip()
    return '...'


def parameter_list(types, function, words):
    """Return the types of a Function's parameters as C lists them."""
    listed = [declared(types, parameter.type, '', words) for parameter in function.parameters]
    return ', '.join('...' if word == 'void' else word for word in listed) or 'void'


def named_parameters(types, function):
    """Return a Function's parameters without the void that ends a list of any length, (...)."""
    return [parameter for parameter in function.parameters
            if described(types, parameter.type).kind != 'void']


def prototype(types, function):
    """Return a Function as C declares it."""
    return declared(types, Type('function', target=function), function.name)


def is_text(types, ref):
    """Tell whether ref, which a pointer points at or an array holds, is a character of a string.

    That is a char, or a const unsigned char (a dentry's name); a u8 is a number,
    and so is an unsigned char that is not const.
    """
    found, taken = unwrapped(types, ref)
    return (found.kind, found.name) == ('int', 'char') or (
        (found.kind, found.name) == ('int', 'unsigned char') and 'const' in dict(taken))


def is_user(types, ref):
    """Tell whether ref, which a pointer points at, is tagged as memory of user space, __user."""
    return ('type_tag', 'user') in unwrapped(types, ref)[1]


def find_member(types, ref, name):
    """Return the Member called name, looked for as C does: through members without a name.

    Its bit_offset counts from the start of ref; None if there is no such member.
    """
    return next((each for each in all_members(types, ref) if each.name == name), None)


def all_members(types, ref):
    """Yield the Members of ref that have a name, those of its nameless members among them."""
    waiting, seen = [(0, ref)], set()
    while waiting:
        start, ref = waiting.pop()
        for member in types.members(ref):
            held = None if member.name else stripped(types, member.type)
            member = member._replace(bit_offset=start + member.bit_offset)
            if member.name:
                yield member
            # A damaged file may have a struct in itself, or in a thousand others.
            elif held.kind in ('struct', 'union') and held.target not in seen:
                seen.add(held.target)
                waiting.append((member.bit_offset, held))
        if len(seen) > NAMELESS_LIMIT:
            raise SourceError('the types are damaged: a struct never ends')


def find_c_type(types, text, column=None):
    """Return a reference to the type that text spells in C, as in 'const struct sock **'.

    Raises TraceError, at a column, for what is no type or is not there.
    """
    ref = c_type(types, text) if text.count('*') < CHAIN_LIMIT else None
    if ref is None:
        word = text.partition(' ')[0]
        if re.match(r'\w+$', word) and types.find('struct', word):
            raise TraceError("there is no type '%s' here: did you mean 'struct %s'?" % (text, text),
                             column)
        raise TraceError("there is no type '%s' here; write it as C does: struct sock *, "
                         'unsigned long, u32' % text, column)
    return ref


def c_type(types, text):
    outer = outer_type(text)
    if outer is None:
        return find_base_type(types, text.split())
    target = c_type(types, outer.target)
    return None if target is None else outer._replace(target=target)


def outer_type(text):
    """Return the outermost Type that C's words spell, its target as words; None for a base.

    'char *[4]' is an array of 'char *', 'void (*)(int)' a pointer to 'void (int)'.
    """
    text = text.strip()
    opening = text.find('(')
    if text.startswith('(*', opening):
        closing = matching_parenthesis(text, opening)
        head, inner, tail = text[:opening], text[opening + 1:closing].strip(), text[closing + 1:]
        array = re.match(r'([^\[(]*)\[(\d*)\](.*)$', inner)
        qualified = re.match(r'(.*\*)\s*(const|volatile)$', inner)
        left = (array.group(1) + array.group(3) if array else
                qualified.group(1) if qualified else re.sub(r'\*\s*$', '', inner))
        rest = '%s(%s)%s' % (head, left, tail) if left else head + tail
        if qualified:
            return Type(qualified.group(2), target=rest)
        if left == inner:       # a function that returns a pointer to another: nobody goes on
            rest = 'void'
        return (Type('array', target=rest, length=int(array.group(2) or 0)) if array else
                Type('pointer', size=POINTER_SIZE, target=rest))
    if text.endswith(')'):
        result, _, listed = text[:-1].partition('(')
        return Type('function', target=c_function('', result, split_parameters(listed)))
    array = re.match(r'([^\[]*)\[(\d*)\](.*)$', text)
    if array:
        return Type('array', target=(array.group(1) + array.group(3)).strip(),
                    length=int(array.group(2) or 0))
    qualified = (re.match(r'(.*[\s*])(const|volatile)$', text)
                 or not text.endswith('*') and re.match(r'()(const|volatile)\s+(.*)$', text))
    if qualified:
        return Type(qualified.group(2), target=(qualified.group(1) or qualified.group(3)).strip())
    if text.endswith('*'):
        return Type('pointer', size=POINTER_SIZE, target=text[:-1].strip())
    return None


def c_function(name, result, kinds, names=()):
    """Return a Function whose types are C's words; names may be fewer than kinds."""
    names = list(names) + [''] * len(kinds)
    return Function(name, tuple(Parameter(name, 'void' if kind == '...' else kind)
                                for name, kind in zip(names, kinds)), result.strip())


def matching_parenthesis(text, opening):
    """Return where the parenthesis that opens there closes, the text's end if it does not."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {'(': 1, ')': -1}.get(text[position], 0)
        if not depth:
            return position
    return len(text)


def split_parameters(text):
    """Return the parts of a list of C types; commas within parentheses are theirs."""
    parts, depth = [''], 0
    for character in text:
        depth += {'(': 1, ')': -1}.get(character, 0)
        if character == ',' and not depth:
            parts.append('')
        else:
            parts[-1] += character
    parts = [part.strip() for part in parts]
    return [] if parts in ([''], ['void']) else parts


def find_enum(types, name):
    """Return the reference of the enum of a name, or of an enumerator's name, or None."""
    return types.find('enum', name) or (types.enums_of(name) or [None])[0]


def find_base_type(types, words):
    if len(words) == 2 and words[0] in ('struct', 'union', 'enum'):
        # An enum without a name is called by one of its enumerators.
        return find_enum(types, words[1]) if words[0] == 'enum' else types.find(*words)
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
    name = ' '.join(rest) or ('int' if sign else '')
    if name not in INTEGER_SIZES or len(sign) > 1:
        return None
    signed = sign != ['unsigned'] and name != '_Bool'
    return Type('int', ' '.join(sign + [name]), INTEGER_SIZES[name], signed=signed)


# ---------------------------------------------------------------------------
# Files that hold types: a path -> an ELF file's sections and symbols
#
# Takes the path of a file and tells what it is; reads the tables of ELF files (elf.5),
# touches nothing.
# ---------------------------------------------------------------------------

ELF_MAGIC = b'\x7fELF'
ELF_HEADER = 'HHIQQQIHHHHHH'        # what follows the 16 bytes of e_ident
ELF_SECTION = 'IIQQQQIIQQ'
# ET_REL of a file, STT_FUNC of a symbol, SHT_NOBITS of a section, SHF_COMPRESSED of its flags
ELF_RELOCATABLE, ELF_FUNCTION, ELF_NO_BITS, ELF_COMPRESSED = 1, 2, 8, 1 << 11
SYMBOL = br'[A-Za-z_][\w.$]*\Z'
ELF_MACHINES = {62: 'x86_64', 183: 'aarch64'}

# architecture: a name as ARCHITECTURES has it, where it does.  order: of its bytes, as struct has
# it.  relocatable: it is a module.  sections: name -> Extent, empty where it has no table of them.
Elf = namedtuple('Elf', 'path architecture order relocatable sections')
Extent = namedtuple('Extent', 'offset size compressed')     # in bytes


def open_types_file(path):
    """Return a file that types are to be read from, open, and its first 16 bytes."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceError('%s: not a file that types can be read from' % path)
        stream = open(path, 'rb', 0)
        return stream, stream.read(16)
    except EnvironmentError as error:
        raise SourceError('%s: %s' % (path, os.strerror(error.errno).lower()))


def elf_of(path):
    """Return the Elf at path, None if that is a file of another kind."""
    stream, ident = open_types_file(path)
    with stream:
        return read_elf(stream, path) if ident[:4] == ELF_MAGIC else None


def has_debug_info(elf):
    return b'.debug_info' in elf.sections or b'.zdebug_info' in elf.sections


def read_elf(stream, path):
    """Return the Elf in an open file."""
    stream.seek(0)
    ident = stream.read(16)
    order = {b'\x02\x01': '<', b'\x02\x02': '>'}.get(ident[4:6])
    if not order:
        raise SourceError('%s: a 32-bit ELF file; only 64-bit ones are known' % path)
    header = struct.unpack(order + ELF_HEADER, read_part(
        stream, path, 16, struct.calcsize('<' + ELF_HEADER)))
    table, entry_size, count, names = header[5], header[10], header[11], header[12]
    found = {}
    if entry_size == struct.calcsize('<' + ELF_SECTION) and names < count:
        data = read_part(stream, path, table, entry_size * count)
        entries = [struct.unpack_from(order + ELF_SECTION, data, entry_size * i)
                   for i in range(count)]
        strings = read_part(stream, path, entries[names][4], entries[names][5])
        for entry in entries:
            if entry[1] == ELF_NO_BITS:     # a debug file has only the headers of these
                continue
            name = strings[entry[0]:strings.find(b'\0', entry[0])][:64]
            found[name] = Extent(entry[4], entry[5], bool(entry[2] & ELF_COMPRESSED))
    return Elf(path, ELF_MACHINES.get(header[1], 'machine %d' % header[1]), order,
               header[0] == ELF_RELOCATABLE, found)


def read_section(stream, elf, name):
    """Return the bytes of the section of that name, None if there is none."""
    place = elf.sections.get(name)
    return place and read_part(stream, elf.path, place.offset, place.size)


def read_part(stream, path, offset, size):
    # The size is the file's own word: reading no more than there is, is the check.
    end = os.fstat(stream.fileno()).st_size
    stream.seek(min(offset, end))
    data = stream.read(min(size, end))
    if len(data) != size:
        raise SourceError('%s: a damaged ELF file: it is cut short' % path)
    return data


def function_symbols(path):
    """Return the names of the functions in an ELF file's table of symbols, one a line."""
    elf = elf_of(path)
    if elf is None or b'.symtab' not in elf.sections or b'.strtab' not in elf.sections:
        return ''
    with open(path, 'rb', 0) as stream:
        table = read_section(stream, elf, b'.symtab')
        strings = read_section(stream, elf, b'.strtab')
    names = [strings[offset:strings.find(b'\0', offset)]
             for _, offset in function_entries(table, elf.order)]
    return to_text(b'\n'.join(name for name in names if re.match(SYMBOL, name)))


def function_entries(table, order):
    """Return (number, offset of the name) of the functions in the bytes of a table of symbols."""
    kinds = bytearray(table[4::24])
    return [(number, offset) for number, offset in enumerate(name_offsets(table, order))
            if kinds[number] & 15 == ELF_FUNCTION]


def name_offsets(table, order):
    """Return the offset of the name of each entry in the bytes of a table of symbols."""
    import array
    # An entry is 24 bytes: a name's offset, in the fifth byte the type, and more.
    offsets = array.array('I', table[:len(table) // 24 * 24])
    if order != {'little': '<', 'big': '>'}[sys.byteorder]:
        offsets.byteswap()
    return offsets[::6]


def symbol_extents(path, names):
    """Return (address, size in bytes) by name of those of some symbols that an ELF file has.

    A size is None where it is not told; all is None if it is no ELF file with a table of symbols.
    """
    elf = elf_of(path)
    if elf is None or b'.symtab' not in elf.sections or b'.strtab' not in elf.sections:
        return None
    with open(path, 'rb', 0) as stream:
        table = read_section(stream, elf, b'.symtab')
        strings = read_section(stream, elf, b'.strtab')
    places, found = {}, {}
    for name in names:
        # Linkers let one name end another, so it may stand in several places.
        for match in re.finditer(re.escape(to_bytes(name)) + b'\0', strings):
            places[match.start()] = name
    for number, offset in enumerate(name_offsets(table, elf.order)):
        if offset in places:
            name = places[offset]
            if name not in found:
                address, size = struct.unpack_from(elf.order + 'QQ', table, 24 * number + 8)
                found[name] = address, size or None
    return found


# ---------------------------------------------------------------------------
# Types from BTF: a file -> records
#
# Takes the path of raw BTF or of an ELF file that holds it, and gives what the questions
# above ask for.  Reads that file, touches nothing else.
# ---------------------------------------------------------------------------

# BTF, as Documentation/bpf/btf.rst lays it down: a header, the types, the strings.
# A type is three words (name, info, size or type) and what its kind adds.
BTF_MAGIC = b'\x9f\xeb'
BTF_KINDS = ('void', 'int', 'pointer', 'array', 'struct', 'union', 'enum', 'forward', 'typedef',
             'volatile', 'const', 'restrict', 'symbol', 'function', 'variable', 'section',
             'float', 'decl_tag', 'type_tag', 'enum64')
# By kind, how many words a record has, and how many more for each member, value or parameter.
BTF_WORDS = ((3, 0), (4, 0), (3, 0), (6, 0), (3, 3), (3, 3), (3, 2), (3, 0), (3, 0), (3, 0), (3, 0),
             (3, 0), (3, 0), (3, 2), (4, 0), (3, 3), (3, 0), (4, 0), (3, 0), (3, 3))
# By the top byte of a record's second word, 1 for those of which no other word is large: not for
# int, enum, section, decl_tag and enum64, nor for what has the kind_flag, as bitfields do.
BTF_PLAIN = b'\0\2\1\1\1\1\2\1\1\1\1\1\1\1\1\2\1\2\1\2' + b'\2' * 236
BTF_LARGE = b'\0' * 32 + b'\1' * 224        # by the third byte of a word
BTF_BLOCK = 512         # words; ids are counted from the start of each
BTF_INT_SIGNED = 1
BTF_PER_CPU = '.data..percpu'       # the section whose variables each CPU has its own of
# Strings are stored once; a name that is there more often than this is no compiler's work.
BTF_NAME_COPIES = 8
BTF_FUNCTION_COPIES = 64
BTF_NAMES_SINGLY = 20       # names that are looked for one by one, before all are indexed
BTF_NAME_SIZE = 4096        # bytes; the kernel's own limit for a symbol is 512


class Btf(object):
    """The types of one BTF file; those of a module's stand on its kernel's, the base.

    A reference is a type's id, a number.
    """

    kind = 'BTF'

    def __init__(self, data, name, base=None):
        self.name = name
        self.base = base
        self.first_id = base.end_id if base else 1
        self.first_string = base.end_string if base else 0
        self.types, self.strings = self._sections(data)
        self.end_string = self.first_string + len(self.strings)
        self.marks = self._marks()
        self.before = ids_before(self.marks)
        self.end_id = self.first_id + self.before[-1]
        # Filled when many types are asked for: where each id's mark is, and all ids by name.
        self.places, self.index = None, None
        self.named = {}

    def _damaged(self, why):
        return SourceError('%s: damaged BTF: %s' % (self.name, why))

    def _sections(self, data):
        """Return the types, and the strings, as bytes."""
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
        return types, strings

    def _marks(self):
        """Return a byte for each word of the types, 1 if it is the second of a record."""
        try:
            return marked_quickly(self.types, self.end_string) or marked(self.types)
        except (IndexError, struct.error):
            raise self._damaged('it holds a type of no known kind, or its last one is cut short')

    def _start(self, ref):
        """Return where a type's record begins, in bytes."""
        if not self.first_id <= ref < self.end_id:
            raise self._damaged('there is no type %d' % ref)
        if self.places:
            return 4 * (self.places[ref - self.first_id] - 1)
        place, block, above = ref - self.first_id, 0, len(self.before)
        while above - block > 1:
            middle = (block + above) // 2
            block, above = (middle, above) if self.before[middle] <= place else (block, middle)
        at = BTF_BLOCK * block - 1
        for _ in range(place - self.before[block] + 1):
            at = self.marks.find(b'\1', at + 1)
        return 4 * (at - 1)

    def _record(self, ref):
        """Return a type's kind, vlen, kind_flag, name offset, last word, and where it goes on."""
        start = self._start(ref)
        name, info, last = struct.unpack_from('<3I', self.types, start)
        following = self.marks.find(b'\1', start // 4 + 2)
        end = following - 1 if following >= 0 else len(self.marks)
        if end - start // 4 != record_words(info):
            raise self._damaged('type %d is longer or shorter than it says' % ref)
        return BTF_KINDS[info >> 24 & 0x1f], info & 0xffff, info >> 31, name, last, start + 12

    def _words(self, start, count):
        """Return so many words of what a record adds, from its byte `start` on."""
        return struct.unpack_from('<%dI' % count, self.types, start)

    def _string(self, offset):
        if offset < self.first_string:
            return self.base._string(offset)
        start = offset - self.first_string
        end = self.strings.find(b'\0', start, start + BTF_NAME_SIZE)
        if end < 0:
            raise self._damaged('a name lies outside of its strings, or has no end')
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
        """Return the ids of the types called name; each name is looked for once."""
        if self.index is not None:
            return self.index.get(name, ())
        if name not in self.named:
            self.named[name] = sorted(ref for offset in self._string_offsets(name)
                                      for ref in self._with_offset(offset))
            if len(self.named) == BTF_NAMES_SINGLY:
                self.index = self._index()
        return self.named[name]

    def _index(self):
        """Return the ids of all types that have a name, by name."""
        by_offset, index = {}, {}
        for ref, offset in enumerate(self._column(0), self.first_id):
            if offset in by_offset:
                by_offset[offset].append(ref)
            elif offset:
                by_offset[offset] = [ref]
        for offset, found in by_offset.items():
            text = self._string(offset)
            index[text] = sorted(index[text] + found) if text in index else found
        return index

    def _column(self, number):
        """Return the first word of each record, its name's offset, or the second, its info."""
        import array    # only where many types are asked for
        if self.places is None:
            self.places = [match.start() for match in re.finditer(b'\1', self.marks)]
        words = array.array('I', self.types)
        return [words[place - 1 + number] for place in self.places]

    def _with_offset(self, offset):
        """Yield the ids of the records whose name stands at this offset of the strings."""
        for word in self._words_equal_to(offset):
            if self.marks[word + 1:word + 2] == b'\1':
                yield self._id(word)

    def _words_equal_to(self, number):
        """Yield the words of the types that are a number."""
        # Four times as quick as find(), which among so many zeros is slow.
        search = re.compile(re.escape(struct.pack('<I', number))).search
        match = search(self.types)
        while match:
            word, rest = divmod(match.start(), 4)
            if not rest:
                yield word
            match = search(self.types, match.start() + 1)

    def _id(self, word):
        """Return the id of the type whose record begins at a word."""
        block = word // BTF_BLOCK
        return (self.first_id + self.before[block]
                + self.marks.count(b'\1', block * BTF_BLOCK, word + 1))

    def find(self, kind, name):
        """Return the id of the type of that kind and name, or None."""
        found = self._found(kind, name)
        return found[0] if found else self.base.find(kind, name) if self.base else None

    def copies(self, kind, name):
        """Return how many types of that kind and name there are."""
        return len(self._found(kind, name)) or (self.base.copies(kind, name) if self.base else 0)

    def _found(self, kind, name):
        kinds = ('enum', 'enum64') if kind == 'enum' else (kind,)
        return [ref for ref in self._named(name) if self._record(ref)[0] in kinds]

    def names(self, kind):
        """Return the names of all types of a kind, of functions for 'function', in order."""
        kinds = {'function': ('symbol',), 'enum': ('enum', 'enum64')}.get(kind, (kind,))
        return sorted(set(
            self._string(offset) for offset, info in zip(self._column(0), self._column(1))
            if offset and BTF_KINDS[info >> 24 & 0x1f] in kinds))

    def functions(self, name):
        """Return the Functions called name, a module's before its kernel's."""
        records = [self._record(ref) for ref in self._named(name)]
        targets = sorted(set(record[4] for record in records if record[0] == 'symbol'))
        if len(targets) > BTF_FUNCTION_COPIES:
            raise self._damaged("%d functions are called '%s'" % (len(targets), name))
        found = [self._function(name, target) for target in targets]
        return found or (self.base.functions(name) if self.base else [])

    def _function(self, name, ref):
        if self.base and ref < self.first_id:
            return self.base._function(name, ref)
        kind, count, _, _, result, at = self._record(ref)
        if kind != 'function':
            raise self._damaged("'%s' has no prototype" % name)
        words = self._words(at, 2 * count)
        return Function(name, tuple(Parameter(self._string(words[i]), words[i + 1])
                                    for i in range(0, 2 * count, 2)), result)

    def close(self):
        """Nothing is kept open."""

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
            target, _, length = self._words(at, 3)
            return Type('array', target=target, length=length)
        name = self._string(name)
        if kind in WRAPPERS:
            return Type(kind, name, target=last)
        if kind == 'int':
            return Type('int', name, last,
                        signed=bool(self._words(at, 1)[0] >> 24 & BTF_INT_SIGNED))
        if kind in ('struct', 'union'):
            return Type(kind, name, last, target=ref)
        if kind in ('enum', 'enum64'):
            return Type('enum', name, last, ref, signed=bool(kind_flag))
        if kind == 'function':
            return Type(kind, target=self._function('', ref))
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
        words = self._words(at, 3 * count)
        return [self._member(words[i], words[i + 1], words[i + 2], kind_flag)
                for i in range(0, 3 * count, 3)]

    def enumerators(self, ref):
        """Return (name, number) of each enumerator of an enum: its id, or its Type."""
        ref = ref.target if isinstance(ref, Type) else ref
        if ref < self.first_id:
            return self.base.enumerators(ref)
        kind, count, signed, _, size, at = self._record(ref)
        if kind == 'enum' and size > 4:     # before enum64 (Linux 6.0) their numbers were cut
            return []
        each, code = (3, 'q' if signed else 'Q') if kind == 'enum64' else (
            2, 'i' if signed else 'I')
        return [(self._string(self._words(place, 1)[0]),
                 struct.unpack_from('<' + code, self.types, place + 4)[0])
                for place in range(at, at + 4 * each * count, 4 * each)]

    def enums_of(self, name):
        """Return the ids of the enums that have an enumerator of a name."""
        found = []
        for offset in self._string_offsets(name):
            for word in self._words_equal_to(offset):
                start = self.marks.rfind(b'\1', 0, word) - 1
                ref = self._id(start) if start >= 0 else 0
                if ref and self.describe(ref).kind == 'enum' and name in dict(
                        self.enumerators(ref)):
                    found.append(ref)
        return found or (self.base.enums_of(name) if self.base else [])

    def variable(self, name):
        """Return the Variable of a name; compilers tell of few others than each CPU's."""
        for ref in self._named(name):
            kind, _, _, _, target, _ = self._record(ref)
            if kind == 'variable':
                return Variable(target, ref in self._per_cpu())
        return self.base.variable(name) if self.base else None

    def _per_cpu(self):
        """Return the ids of the variables of which each CPU has its own."""
        for ref in self._named(BTF_PER_CPU):
            kind, count, _, _, _, at = self._record(ref)
            if kind == 'section':
                return self._words(at, 3 * count)[::3]
        return ()

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
        encoding = self._words(at, 1)[0] if kind == 'int' else 0
        bits, first = encoding & 0xff, encoding >> 16 & 0xff
        return (first, bits) if bits and bits != 8 * size else (0, 0)


def record_words(info):
    """Return how many words a record takes, by its second one; IndexError for no kind."""
    fixed, each = BTF_WORDS[info >> 24 & 0x1f]
    return fixed + each * (info & 0xffff)


def marked(types):
    """Return the marks of a file by a walk from record to record; raises IndexError."""
    at, marks = 0, bytearray(len(types) // 4)
    while at < len(marks):
        marks[at + 1] = 1
        at += record_words(struct.unpack_from('<I', types, 4 * at + 4)[0])
    if at != len(marks):
        raise IndexError(at)
    return marks


def marked_quickly(types, string_size):
    """Return the marks of a file; None if it is not as files are, and is to be walked over.

    Names, ids, sizes and offsets are small: of a plain record, the second word is the only one
    whose top byte, the kind, is not zero.  So a search for such bytes leaps over all plain records
    to the next that is not; there the last plain one has to end.  In a struct of less than 2 MB
    all offsets, in bits, are small; that of an array's length, or of a size, which is not would
    be taken for a record that does not begin where another ends, or too close to the next.
    """
    marks = bytearray(types[3::4].translate(BTF_PLAIN))
    words, end, at, info_at = len(marks), 0, marks.find(b'\2'), struct.Struct('<I').unpack_from
    try:
        while at >= 0:
            last = marks.rfind(b'\1', end, at)
            if last >= 0:
                end = last - 1 + record_words(info_at(types, 4 * last)[0])
            if end != at - 1:
                return None
            end += record_words(info_at(types, 4 * at)[0])
            marks[at:end] = b'\1'.ljust(end - at, b'\0')
            at = marks.find(b'\2', end)
    except (IndexError, struct.error):
        return None
    close = b'\1\1' in marks or b'\1\0\1' in marks or marks[-1:] == b'\1'
    large = (len(types) >= 1 << 24 or string_size >= 1 << 24 or len(marks) != words
             or has_large_struct(types, marks))
    return None if close or large else marks


def has_large_struct(types, marks):
    """Tell whether one of the marked structs and unions has 2 MB (1 << 21) or more."""
    large = types[2::4].translate(BTF_LARGE)
    at = large.find(b'\1')
    while at >= 0:
        if marks[at - 1] == 1 and bytearray(types[4 * at - 1:4 * at])[0] & 0x1f in (4, 5):
            return True
        at = large.find(b'\1', at + 1)
    return False


def ids_before(marks):
    """Return how many records begin before each block of words, and in all."""
    total, before = 0, [0]
    for start in range(0, len(marks), BTF_BLOCK):
        total += marks.count(b'\1', start, start + BTF_BLOCK)
        before.append(total)
    return before


def is_btf(path):
    """Tell whether a file is there and raw BTF."""
    return os.path.isfile(path) and open_types_file(path)[1][:2] == BTF_MAGIC


def btf_architecture(types):
    """Return the architecture of the kernel whose Btf it is, by its registers; None if untold."""
    ref = types.find('struct', 'pt_regs')
    names = [member.name for member in all_members(types, types.describe(ref))] if ref else ()
    return ('aarch64' if 'pstate' in names else 'x86_64' if 'r15' in names else
            'another architecture' if names else None)


def read_btf(path):
    """Return the BTF in a file: all of it, or an ELF file's section .BTF; None if it has none."""
    stream, ident = open_types_file(path)
    with stream:
        if ident[:4] == ELF_MAGIC:
            return read_section(stream, read_elf(stream, path), b'.BTF')
        stream.seek(0)
        return stream.read() if BTF_MAGIC in (ident[:2], ident[1::-1]) else ident


# ---------------------------------------------------------------------------
# Types from DWARF: a vmlinux or module with debug info -> records
#
# Takes an Elf and gives what the questions above ask for, from as little of the file as
# they need: a function's unit is found by its address, a name by where its string's offset
# stands.  Reads that file, maps the parts that it searches, touches nothing else.
# ---------------------------------------------------------------------------

# DWARF (dwarfstd.org, versions 2 to 5) is a tree of entries for each compiled file, a unit.  An
# entry begins with the number of an abbreviation, which says its tag, and which attributes follow
# in what forms; its children come behind it, up to a zero.  All numbers are the standard's.
TAG_KINDS = {0x01: 'array', 0x04: 'enum', 0x0f: 'pointer', 0x13: 'struct', 0x15: 'function',
             0x16: 'typedef', 0x17: 'union', 0x24: 'int', 0x26: 'const', 0x35: 'volatile',
             0x37: 'restrict', 0x3b: 'void', 0x47: 'volatile'}      # the last is _Atomic
NAMED_TAGS = {'struct': 0x13, 'union': 0x17, 'enum': 0x04, 'typedef': 0x16, 'int': 0x24,
              'function': 0x2e}
TAG_VARIABLE, TAG_ENUM, TAG_ENUMERATOR, TAG_ANNOTATION = 0x34, 0x04, 0x28, 0x6000
TAG_PARAMETER, TAG_MEMBER, TAG_ANY_MORE, TAG_RANGE, TAG_FUNCTION = 0x05, 0x0d, 0x18, 0x21, 0x2e
AT_SIBLING, AT_LOCATION, AT_NAME, AT_BYTE_SIZE, AT_BIT_OFFSET, AT_BIT_SIZE = 1, 2, 3, 11, 12, 13
AT_LOW_PC, AT_CONSTANT, AT_UPPER_BOUND, AT_ORIGIN, AT_COUNT, AT_PLACE, AT_LINE = (
    17, 28, 47, 49, 55, 56, 59)
AT_DECLARATION, AT_ENCODING, AT_SPECIFICATION, AT_TYPE, AT_RANGES = 60, 62, 71, 73, 85
AT_SIGNATURE, AT_DATA_BIT_OFFSET, AT_STRINGS_BASE, AT_SPLIT, AT_GNU_SPLIT = (
    0x69, 0x6b, 0x72, 0x76, 0x2130)
ENCODING_FLOATS, ENCODING_SIGNED = (3, 4), (5, 6)
OPERATION_PLUS, OPERATION_REGISTER = 0x23, 0x50

# By form: what its bytes are, and how many, where the form alone says so.  A near entry is counted
# from its unit's start, a wide number is passed over.
FORMS = {
    0x01: ('address', None), 0x03: ('block', 2), 0x04: ('block', 4), 0x05: ('number', 2),
    0x06: ('number', 4), 0x07: ('number', 8), 0x08: ('text', None), 0x09: ('block', None),
    0x0a: ('block', 1), 0x0b: ('number', 1), 0x0c: ('number', 1), 0x0d: ('signed', None),
    0x0e: ('.debug_str', None), 0x0f: ('unsigned', None), 0x10: ('entry', None),
    0x11: ('near', 1), 0x12: ('near', 2), 0x13: ('near', 4), 0x14: ('near', 8),
    0x15: ('near', None), 0x16: ('indirect', None), 0x17: ('offset', None), 0x18: ('block', None),
    0x19: ('flag', 0), 0x1a: ('index', None), 0x1b: ('unsigned', None), 0x1e: ('wide', 16),
    0x1f: ('.debug_line_str', None), 0x20: ('signature', 8), 0x21: ('constant', 0),
    0x22: ('unsigned', None), 0x23: ('unsigned', None), 0x25: ('index', 1), 0x26: ('index', 2),
    0x27: ('index', 3), 0x28: ('index', 4), 0x29: ('wide', 1), 0x2a: ('wide', 2),
    0x2b: ('wide', 3), 0x2c: ('wide', 4)}
SMALL_SECTIONS = ('.debug_str', '.debug_line_str', '.debug_str_offsets', '.strtab')
UNITS_AT_HAND = 64          # that are kept as they were read
FIRST_WINDOW, LAST_WINDOW = 1 << 20, 1 << 24    # bytes that a search maps at a time, at first
UNPACKED_LIMIT = 1 << 30    # bytes of a compressed section
# Bytes that the types of relocations set which the debug info of modules has.
RELOCATIONS = {'x86_64': {1: 8, 10: 4, 11: 4}, 'aarch64': {257: 8, 258: 4}}
# DWARF's numbers of registers, in ftrace's names.
DWARF_REGISTERS = {'x86_64': 'ax dx cx bx si di bp sp r8 r9 r10 r11 r12 r13 r14 r15'.split(),
                   'aarch64': ['x%d' % number for number in range(31)] + ['sp']}
ENTRY_GAP = 16      # bytes from a symbol to where its function's debug info begins, on aarch64


class UnknownDebugInfo(SourceError):
    """Debug info of a kind that this reader does not know; gdb may."""


# start, entries and end are references: places in .debug_info, counted on into .debug_types.
# width: bytes of an offset, 4 or 8.  table: where its abbreviations stand.
Unit = namedtuple('Unit', 'start entries end version width address_size table')
# attributes: (attribute, form, constant) each.  size: bytes of them all, None where they vary.
# sibling: bytes before the reference to the next entry that is no child, None if there is none.
# declares: it defines nothing.
Abbreviation = namedtuple('Abbreviation', 'tag children attributes size sibling declares')
# values: what its attributes say, by number.  below: where its children begin, 0 if it has none.
Entry = namedtuple('Entry', 'ref unit tag values below')


class Section(object):
    """The bytes of a section: in its file, or in memory where they are small or had to be made."""

    def __init__(self, size, data=None, stream=None, offset=0):
        self.size, self.data = size, data
        self.stream, self.offset = stream, offset       # where there is no data

    def part(self, at, size):
        """Return so many bytes; IndexError if they are not all there."""
        if not 0 <= at <= at + size <= self.size:
            raise IndexError(at)
        if self.data is not None:
            return self.data[at:at + size]
        self.stream.seek(self.offset + at)
        return self.stream.read(size)

    def number(self, order, code, at):
        """Return the number that struct's code reads at a place."""
        return struct.unpack(order + code, self.part(at, struct.calcsize('<' + code)))[0]

    def text(self, at):
        """Return the bytes of a section in memory up to the next zero; IndexError if none comes."""
        end = self.data.find(b'\0', at)
        if not 0 <= at < self.size or end < 0:
            raise IndexError(at)
        return self.data[at:end]

    def places(self, keys):
        """Yield where any of the keys stands; what is not asked for is not searched.

        Each window is mapped by itself, so that what a search has read does not stay in memory.
        """
        first, size, overlap = 0, FIRST_WINDOW, max(map(len, keys)) - 1
        while first < self.size:
            end = min(first + size + overlap, self.size)
            data, start = self._window(first, end)
            for key in keys:
                at = data.find(key, start, start + end - first)
                while at >= 0:
                    if at - start < size:       # else the next window has it
                        yield first + at - start
                    at = data.find(key, at + 1, start + end - first)
            first, size = first + size, min(4 * size, LAST_WINDOW)

    def _window(self, first, end):
        """Return bytes that hold first to end, and where first is in them."""
        if self.data is not None:
            return self.data, first
        import mmap
        start = (self.offset + first) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        return mmap.mmap(self.stream.fileno(), self.offset + end - start, offset=start,
                         access=mmap.ACCESS_READ), self.offset + first - start


def leb128(data, at):
    """Return the number of variable length at a place of a bytearray, and where it ends."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value, shift = value & 0x7f, 7
    while shift < 70:
        at += 1
        value |= (data[at] & 0x7f) << shift
        if data[at] < 0x80:
            return value, at + 1
        shift += 7
    raise IndexError(at)


def defines(abbreviation, tag):
    """Tell whether an Abbreviation is of a definition; of a variable, a declaration will do."""
    return abbreviation.tag == tag and (not abbreviation.declares or tag == TAG_VARIABLE)


class Dwarf(object):
    """The types in the debug info of one ELF file.

    A reference is the place of an entry; 0 is void.  What it raises when a file is damaged,
    IndexError or struct.error, its four questions turn into a SourceError.
    """

    kind = 'DWARF'

    def __init__(self, elf, console):
        self.name, self.elf, self.console = elf.path, elf, console
        self.order = elf.order
        self.sections = {}
        self.read = {}              # units at hand: start -> (bytes, abbreviations, top entries)
        self.found = {}             # references by kind and name, None for what is not there
        self.index = self.same = None       # filled when all names are asked for
        self.signatures = {}        # of type units -> reference of the type
        self.stream = open(elf.path, 'rb', 0)
        try:
            self._guarded(self._open)
        except SourceError:
            self.close()
            raise

    def _open(self):
        if b'.gnu_debugaltlink' in self.elf.sections:
            raise self._unknown('a part of it lies in another file (.gnu_debugaltlink)')
        self.types_start = self._section('.debug_info').size
        self.table_bytes = bytearray(self._all('.debug_abbrev'))
        self.units = self._read_units()
        self.starts = [unit.start for unit in self.units]
        root = self._root(self.units[0])
        if AT_SPLIT in root.values or AT_GNU_SPLIT in root.values:
            raise self._unknown('it lies in other files (.dwo)')

    def close(self):
        """Close the file."""
        self.stream.close()

    def _damaged(self, why):
        return SourceError('%s: damaged debug info: %s' % (self.name, why))

    def _unknown(self, why):
        return UnknownDebugInfo('%s: debug info that only gdb may read: %s' % (self.name, why))

    def _guarded(self, call, *arguments):
        """Return what a call gives; a damaged file leads it out of what there is."""
        try:
            return call(*arguments)
        except (LookupError, TypeError, ValueError, struct.error, RuntimeError, OverflowError):
            raise self._damaged('an entry is cut short, or refers to nothing')

    # Sections

    def _section(self, name):
        if name not in self.sections:
            self.sections[name] = self._open_section(name)
        return self.sections[name]

    def _open_section(self, name):
        extent = self.elf.sections.get(to_bytes(name))
        packed = extent or self.elf.sections.get(to_bytes(name.replace('.', '.z', 1)))
        if not packed:
            return Section(0, b'')
        if packed.offset + packed.size > os.fstat(self.stream.fileno()).st_size:
            raise self._damaged('the file is cut short')
        section = Section(packed.size, None, self.stream, packed.offset)
        if name in SMALL_SECTIONS:
            section = Section(packed.size, section.part(0, packed.size))
        if packed.compressed or not extent:
            section = self._unpacked(name, section, packed.compressed)
        if self.elf.relocatable:
            section = self._relocated(name, section)
        return section

    def _all(self, name):
        section = self._section(name)
        return section.part(0, section.size)

    def _unpacked(self, name, section, has_header):
        """Return a Section as it was before it was compressed, by the linker or as .zdebug_."""
        import zlib
        self.console.note('%s: %s is compressed, which takes a moment' % (self.name, name))
        if has_header:      # Elf64_Chdr
            kind, size, start = section.number(self.order, 'I', 0), section.number(
                self.order, 'Q', 8), 24
        else:
            kind, size, start = section.part(0, 4) == b'ZLIB', section.number('>', 'Q', 4), 12
        if kind != 1 or size > UNPACKED_LIMIT:
            raise self._unknown('%s is compressed by other means than zlib, or too large' % name)
        try:
            data = zlib.decompressobj().decompress(
                section.part(start, section.size - start), size or 1)
        except zlib.error as error:
            raise self._damaged('%s: %s' % (name, error))
        if len(data) != size:
            raise self._damaged('%s is cut short' % name)
        return Section(size, data)

    def _relocated(self, name, section):
        """Return a Section of a module with what its linker would have filled in."""
        if to_bytes('.rela' + name) not in self.elf.sections:
            return section
        sizes = RELOCATIONS.get(self.elf.architecture, {})
        data, table = bytearray(section.part(0, section.size)), self._all('.rela' + name)
        symbols = self._all('.symtab')
        for at in range(0, len(table) - 23, 24):
            place, info, addend = struct.unpack_from(self.order + 'QQq', table, at)
            size = sizes.get(info & 0xffffffff)
            if size is None or place + size > len(data):
                raise self._unknown('%s has relocations of type %d' % (name, info & 0xffffffff))
            value, = struct.unpack_from(self.order + 'Q', symbols, 24 * (info >> 32) + 8)
            struct.pack_into(self.order + ('Q' if size == 8 else 'I'), data, place,
                             (value + addend) & ((1 << 8 * size) - 1))
        return Section(len(data), bytes(data))

    # Units

    def _read_units(self):
        units = []
        for name, base in (('.debug_info', 0), ('.debug_types', self.types_start)):
            section, at = self._section(name), 0
            while at < section.size:
                units.append(self._read_unit(section, base, at))
                at = units[-1].end - base
        return units

    def _read_unit(self, section, base, start):
        """Return the Unit whose header stands at a place of a section (DWARF 5, 7.5.1)."""
        def take(code):
            numbers.append(section.number(self.order, code, start + sum(sizes)))
            sizes.append(struct.calcsize('<' + code))
            return numbers[-1]
        numbers, sizes, offset = [], [], 'I'
        length = take('I')
        if length == 0xffffffff:
            length, offset = take('Q'), 'Q'
        end, version = start + sum(sizes) + length, take('H')
        if not 2 <= version <= 5:
            raise self._unknown('DWARF version %d' % version)
        if not start < end <= section.size:
            raise IndexError(end)
        kind = take('B') if version == 5 else 2 if base else 1
        if version == 5:
            address_size, table = take('B'), take(offset)
        else:
            table, address_size = take(offset), take('B')
        if kind in (4, 5, 6):
            raise self._unknown('it lies in other files (.dwo)')
        if address_size not in (4, 8):
            raise IndexError(address_size)
        if kind == 2:
            signature = take('Q')
            self.signatures[signature] = base + start + take(offset)
        return Unit(base + start, base + start + sum(sizes), base + end, version,
                    8 if offset == 'Q' else 4, address_size, table)

    def _unit_at(self, ref):
        """Return the Unit that a reference lies in."""
        import bisect
        unit = self.units[bisect.bisect(self.starts, ref) - 1]
        if not unit.entries <= ref < unit.end:
            raise IndexError(ref)
        return unit

    def _at_hand(self, unit):
        """Return the bytes of a Unit, its abbreviations, and a list for its top entries."""
        if unit.start not in self.read:
            if len(self.read) == UNITS_AT_HAND:
                self.read.clear()
            section, base = self._section('.debug_info'), 0
            if unit.start >= self.types_start:
                section, base = self._section('.debug_types'), self.types_start
            self.read[unit.start] = (
                bytearray(section.part(unit.start - base, unit.end - unit.start)),
                self._abbreviations(unit), [])
        return self.read[unit.start]

    def _abbreviations(self, unit):
        """Return the Abbreviations of a Unit by number (DWARF 5, 7.5.3)."""
        data, at, found = self.table_bytes, unit.table, {}
        while True:
            code, at = leb128(data, at)
            if not code:
                return found
            tag, at = leb128(data, at)
            children, at, attributes = data[at], at + 1, []
            while True:
                attribute, at = leb128(data, at)
                form, at = leb128(data, at)
                constant = None
                if form == 0x21:
                    constant, at = self._signed(data, at)
                if not form:
                    break
                attributes.append((attribute, form, constant))
            found[code] = self._abbreviation(unit, tag, children, attributes)

    def _abbreviation(self, unit, tag, children, attributes):
        size, sibling = 0, None
        for attribute, form, _ in attributes:
            if attribute == AT_SIBLING and form == 0x13:
                sibling = size
            each = self._form_size(unit, form)
            size = None if size is None or each is None else size + each
        declares = bool(set((AT_DECLARATION, AT_SIGNATURE)).intersection(
            attribute for attribute, _, _ in attributes))
        return Abbreviation(tag, children, tuple(attributes), size, sibling, declares)

    def _form_size(self, unit, form):
        """Return how many bytes a form takes in a Unit, None where its bytes tell."""
        if form not in FORMS:
            raise self._unknown('a form of attributes 0x%x' % form)
        kind, size = FORMS[form]
        if kind in ('.debug_str', '.debug_line_str', 'offset'):
            return unit.width
        if kind == 'address' or kind == 'entry' and unit.version == 2:
            return unit.address_size
        return unit.width if kind == 'entry' else None if kind == 'block' else size

    # Entries

    def _entry(self, ref):
        """Return the Entry at a reference."""
        unit = self._unit_at(ref)
        data, table, _ = self._at_hand(unit)
        code, at = leb128(data, ref - unit.start)
        abbreviation, values = table[code], {}
        for attribute, form, constant in abbreviation.attributes:
            values[attribute], at = self._value(unit, data, at, form, constant)
        return Entry(ref, unit, abbreviation.tag, values,
                     unit.start + at if abbreviation.children else 0)

    def _root(self, unit):
        return self._entry(unit.entries)

    def _value(self, unit, data, at, form, constant):
        """Return what a form's bytes say, and where they end; texts as (section, place)."""
        kind, size = FORMS[form][0], self._form_size(unit, form)
        if kind == 'indirect':
            form, at = leb128(data, at)
            if form in (0x16, 0x21):
                raise IndexError(form)
            return self._value(unit, data, at, form, None)
        if kind == 'block':
            size = FORMS[form][1]
            count, at = self._number(data, at, size) if size else leb128(data, at)
            if at + count > len(data):
                raise IndexError(at)
            return data[at:at + count], at + count
        if kind == 'text':
            end = data.index(b'\0', at)
            return bytes(data[at:end]), end + 1
        if kind == 'signed':
            return self._signed(data, at)
        if kind in ('flag', 'constant'):
            return constant if kind == 'constant' else 1, at
        if kind == 'wide':
            return None, at + size
        value, at = leb128(data, at) if size is None else self._number(data, at, size)
        if kind == 'near':
            value += unit.start
        elif kind == 'signature':
            if value not in self.signatures:
                raise self._unknown('it refers to a type unit that it does not have')
            value = self.signatures[value]
        elif kind in ('.debug_str', '.debug_line_str', 'index'):
            value = kind, value
        return value, at

    def _number(self, data, at, size):
        """Return the number of so many bytes, and where they end."""
        if size == 3:
            low, middle, high = data[at:at + 3][::1 if self.order == '<' else -1]
            return low | middle << 8 | high << 16, at + 3
        return struct.unpack_from(self.order + {1: 'B', 2: 'H', 4: 'I', 8: 'Q'}[size],
                                  data, at)[0], at + size

    def _signed(self, data, at):
        value, end = leb128(data, at)
        return value - (1 << 7 * (end - at)) if data[end - 1] & 0x40 else value, end

    def _name(self, entry):
        """Return the name of an Entry, '' if it has none."""
        return self._text(entry, entry.values.get(AT_NAME, b''))

    def _text(self, entry, value):
        """Return the text that an attribute's value is, or where it stands."""
        if isinstance(value, tuple):
            kind, place = value
            if kind == 'index':
                kind, place = '.debug_str', self._string_offset(entry.unit, place)
            value = self._section(kind).text(place)
        if not isinstance(value, bytes):
            raise IndexError(value)
        return to_text(value)

    def _string_offset(self, unit, number):
        base = self._root(unit).values.get(AT_STRINGS_BASE, 2 * unit.width)
        return self._section('.debug_str_offsets').number(
            self.order, 'Q' if unit.width == 8 else 'I', base + number * unit.width)

    def _below(self, unit, at):
        """Yield (reference, Abbreviation) of the entries at a place, up to the zero behind them.

        What stands below them is leapt over where they say how far it goes.
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
                at = self._number(data, at + abbreviation.sibling, 4)[0]
                if at <= start:
                    raise IndexError(at)
                continue
            depth += 1 if abbreviation.children else 0
            if abbreviation.size is None:
                for _, form, constant in abbreviation.attributes:
                    at = self._value(unit, data, at, form, constant)[1]
            else:
                at += abbreviation.size

    def _top(self, unit):
        """Return (reference, Abbreviation) of each entry that is below nothing but its Unit."""
        top = self._at_hand(unit)[2]
        if not top:
            below = self._root(unit).below
            top += self._below(unit, below) if below else ()
        return top

    def _children(self, entry, *tags):
        """Yield the Entries of some tags that stand directly below another."""
        for ref, abbreviation in self._below(entry.unit, entry.below) if entry.below else ():
            if abbreviation.tag in tags:
                yield self._entry(ref)

    # Names

    def find(self, kind, name):
        """Return the reference of the type of that kind and name, or None."""
        if (kind, name) not in self.found:
            self.found[kind, name] = (
                self._guarded(self._search, NAMED_TAGS[kind], name) if self.index is None
                else (self.index.get((kind, name)) or [None])[0])
        return self.found[kind, name]

    def copies(self, kind, name):
        """Return 1: of several, find() gives the one that the function's own file has."""
        return 1

    def _search(self, tag, name):
        """Return the reference of a definition, of those at hand the first, or None."""
        for unit in [self._unit_at_start(start) for start in sorted(self.read)]:
            ref = self._definition(unit, None, tag, name)
            if ref:
                return ref
        for unit, place in self._places(name):
            ref = self._definition(unit, place, tag, name)
            if ref:
                return ref
        return None

    def _places(self, name):
        """Yield (Unit, place) where the name's bytes, or the offset of its string, stand.

        Linkers let one string end another: task_struct may stand in put_task_struct.  The place is
        None in a unit that names strings by number, which cannot be searched for.
        """
        strings, text, keys = self._section('.debug_str'), to_bytes(name) + b'\0', []
        for offset in strings.places([text]):
            # The likely one first: a string of its own.
            alone = not offset or strings.part(offset - 1, 1) == b'\0'
            keys.insert(0 if alone else len(keys), struct.pack(self.order + 'I', offset))
        for section, base in (('.debug_info', 0), ('.debug_types', self.types_start)):
            for place in self._section(section).places(keys + [text]):
                yield self._around(self.units, self.starts, base + place), base + place
        if keys and self._section('.debug_str_offsets').size:
            for unit in self._units_with_strings(keys):
                yield unit, None

    @staticmethod
    def _around(found, starts, place):
        """Return the one of found that begins last before a place."""
        import bisect
        return found[max(bisect.bisect(starts, place) - 1, 0)]

    def _units_with_strings(self, keys):
        """Yield the Units that may number one of these strings (DWARF 5, 7.26)."""
        section, bases, at = self._section('.debug_str_offsets'), [], 0
        while at + 8 <= section.size:
            length = section.number(self.order, 'I', at)
            bases.append(at + 8)
            at += 4 + length
        parts = sorted(set(self._around(range(len(bases)), bases, place)
                           for place in section.places(keys)))
        # There is one for each unit, in their order.
        if len(bases) == len(self.units) and all(
                self._root(self.units[part]).values.get(AT_STRINGS_BASE) == bases[part]
                for part in parts):
            return [self.units[part] for part in parts]
        return self.units

    def _definition(self, unit, place, tag, name):
        """Return the reference of a definition in a Unit, around a place if that is known."""
        if place is not None and not self._may_define(unit, place, tag):
            return None
        for ref, abbreviation in self._top_around(unit, place):
            if defines(abbreviation, tag) and self._name(self._entry(ref)) == name:
                return ref
        return None

    def _top_around(self, unit, place):
        """Return the one of a Unit's top entries that a place lies in, or all if that is None."""
        top = self._top(unit)
        if place is not None and top:
            return [self._around(top, [ref for ref, _ in top], place)]
        return top

    def enums_of(self, name):
        """Return the reference of the first enum that has an enumerator of a name, in a list."""
        return self._guarded(self._enums_of, name)

    def _enums_of(self, name):
        for unit, place in self._places(name):
            for ref, abbreviation in self._top_around(unit, place):
                if defines(abbreviation, TAG_ENUM) and name in dict(self.enumerators(ref)):
                    return [ref]
        return []

    def variable(self, name):
        """Return the Variable of a name, or None; whether each CPU has its own is not told."""
        if ('variable', name) not in self.found:
            self.found['variable', name] = self._guarded(self._search, TAG_VARIABLE, name)
        ref = self.found['variable', name]
        return ref and Variable(self._guarded(self._entry, ref).values.get(AT_TYPE, 0), False)

    def _may_define(self, unit, place, tag):
        """Tell, by the abbreviations alone, whether a definition's name may stand at a place."""
        data, table, _ = self._at_hand(unit)
        before = data[place - unit.start - 1]
        for code, abbreviation in table.items():
            if defines(abbreviation, tag) and (
                    not abbreviation.attributes or abbreviation.attributes[0][0] != AT_NAME
                    or unit.width == 8 or before == (code if code < 0x80 else code >> 7)):
                return True
        return False

    # Functions

    def functions(self, name):
        """Return the Functions of that name; of a variant, with where its arguments lie."""
        return self._guarded(self._functions, name)

    def _functions(self, name):
        plain, found = name.partition('.')[0], []
        if self.index is not None and name == plain:
            for ref in self.index.get(('function', name), ()):
                found.append(self._function(name, self._origin(self._entry(ref))))
        # (Functions of the same code are one, which has several symbols and one of their names.)
        for unit, address in () if found else self._units_of(name, plain):
            found += self._functions_in(unit, name, plain, address)
        return found

    def _units_of(self, name, plain):
        """Return (Unit, address) pairs in which a function may be defined; no address is None."""
        ranges = self._ranges()
        if ranges and self._section('.symtab').size:
            starts, pairs = [start for start, _, _ in ranges], []
            for address in self._addresses(name):
                for start, end, ref in set(self._around(ranges, starts, address + gap)
                                           for gap in (0, ENTRY_GAP)):
                    if start - ENTRY_GAP <= address < end:
                        pairs.append((self._unit_at_start(ref), address))
            return pairs
        units = dict((unit.start, unit) for unit, place in self._places(plain)
                     if place is None or self._may_define(unit, place, TAG_FUNCTION))
        return [(units[start], None) for start in sorted(units)]

    def _unit_at_start(self, start):
        return self._around(self.units, self.starts, start)

    def _functions_in(self, unit, name, plain, address):
        """Return the Functions of a name that a Unit defines: at an address, where it is known."""
        found, folded = [], []
        for ref, abbreviation in self._top(unit):
            if abbreviation.tag != TAG_FUNCTION or abbreviation.declares:
                continue
            entry = self._entry(ref)
            low, origin = entry.values.get(AT_LOW_PC), self._origin(entry)
            if self._name(origin) != plain:
                continue
            if low is None and AT_RANGES not in entry.values:
                folded.append(origin)
            elif address is None or low is None or address <= low <= address + ENTRY_GAP:
                found.append(self._function(name, origin, entry if name != plain else None,
                                            address if low is None else low))
        # Of functions with the same code, one may have it; others are inlined wherever called.
        if not found and address is not None and name == plain:
            found = [self._function(name, origin) for origin in folded[:1]]
        return found

    def _origin(self, entry):
        """Return the Entry that an instance of a function, or of a parameter, is made from."""
        for _ in range(CHAIN_LIMIT):
            ref = entry.values.get(AT_ORIGIN) or entry.values.get(AT_SPECIFICATION)
            if not ref:
                return entry
            entry = self._entry(ref)
        raise IndexError(entry.ref)

    def _function(self, name, entry, variant=None, address=0):
        """Return the Function of an Entry; variant is that of its own code, at an address."""
        places = {}
        for each in self._children(variant, TAG_PARAMETER) if variant else ():
            places[self._origin(each).ref] = self._register_at_entry(each, address)
        parameters = []
        for each in self._children(entry, TAG_PARAMETER, TAG_ANY_MORE):
            parameters.append(Parameter(
                self._name(each), each.values.get(AT_TYPE, 0),
                places.get(each.ref, '') if variant else None))
        return Function(name, tuple(parameters), entry.values.get(AT_TYPE, 0))

    def _register_at_entry(self, parameter, address):
        """Return the register that holds a parameter at an address, '' if none does."""
        where = parameter.values.get(AT_LOCATION)
        if isinstance(where, int):      # (where only the symbol is known, it begins behind that)
            where = (self._listed_location(parameter.unit, where, address)
                     or self._listed_location(parameter.unit, where, address + ENTRY_GAP // 2))
        number = where[0] - OPERATION_REGISTER if where and len(where) == 1 else -1
        names = DWARF_REGISTERS.get(self.elf.architecture, ())
        return names[number] if 0 <= number < len(names) else ''

    def _listed_location(self, unit, at, address):
        """Return the expression that a list of locations has for an address, or None."""
        if unit.version < 5:
            return self._old_listed_location(unit, at, address)
        # DWARF 5, 7.7.3; those that count in .debug_addr are of compilers that make no variants.
        section, code = self._section('.debug_loclists'), 'Q' if unit.address_size == 8 else 'I'
        base = self._root(unit).values.get(AT_LOW_PC, 0)
        data = bytearray(section.part(at, min(section.size - at, 1 << 16)))
        at = 0
        while data[at] in (4, 6, 7, 8):
            kind, at = data[at], at + 1
            if kind in (6, 7, 8):
                first, = struct.unpack_from(self.order + code, data, at)
                at += unit.address_size
            if kind == 6:
                base = first
                continue
            if kind == 4:
                first, at = leb128(data, at)
                first += base
            if kind == 7:
                end, = struct.unpack_from(self.order + code, data, at)
                at += unit.address_size
            else:
                end, at = leb128(data, at)
                end += base if kind == 4 else first
            size, at = leb128(data, at)
            if first <= address < end:
                return data[at:at + size]
            at += size
        return None

    def _old_listed_location(self, unit, at, address):
        """The same before DWARF 5, from .debug_loc (DWARF 4, 2.6.2)."""
        section, code = self._section('.debug_loc'), 'Q' if unit.address_size == 8 else 'I'
        base = self._root(unit).values.get(AT_LOW_PC, 0)
        while True:
            first, end = (section.number(self.order, code, at),
                          section.number(self.order, code, at + unit.address_size))
            at += 2 * unit.address_size
            if not first and not end:
                return None
            if first == (1 << 8 * unit.address_size) - 1:
                base = end
                continue
            size = section.number(self.order, 'H', at)
            if base + first <= address < base + end:
                return bytearray(section.part(at + 2, size))
            at += 2 + size

    def _addresses(self, name):
        """Return the addresses of the functions that the table of symbols has by a name."""
        table, sought = self._all('.symtab'), to_bytes(name) + b'\0'
        offsets = set(self._section('.strtab').places([sought]))
        return sorted(set(struct.unpack_from(self.order + 'Q', table, 24 * number + 8)[0]
                          for number, offset in function_entries(table, self.order)
                          if offset in offsets))

    def _ranges(self):
        """Return (first address, end, reference of the Unit) of all code, in order.

        None are known where a compiler leaves out .debug_aranges, or nothing has its address yet.
        """
        section, at, found = self._section('.debug_aranges'), 0, []
        while at < section.size and not self.elf.relocatable:
            start, length = at, section.number(self.order, 'I', at)
            if length == 0xffffffff or section.number(self.order, 'B', at + 10) != 8:
                return []
            at += 16        # the pairs are aligned to their size
            data = section.part(at, start + 4 + length - at)
            words = struct.unpack('%s%dQ' % (self.order, len(data) // 8), data[:len(data) // 8 * 8])
            ref = section.number(self.order, 'I', start + 6)
            found += [(first, first + size, ref) for first, size in zip(words[::2], words[1::2])
                      if size]
            at = start + 4 + length
        return sorted(found)

    # Types

    def describe(self, ref):
        """Return the Type of a reference; 0, or None, is void."""
        return self._guarded(self._describe, ref) if ref else Type('void')

    def _describe(self, ref):
        entry = self._entry(ref)
        kind, target = TAG_KINDS.get(entry.tag), entry.values.get(AT_TYPE, 0)
        if kind is None:
            raise self._unknown('a type of tag 0x%x' % entry.tag)
        name, size = self._name(entry), self._size(entry, AT_BYTE_SIZE)
        if kind == 'pointer':
            return Type(kind, size=POINTER_SIZE, target=self._tagged(entry, target))
        if kind == 'array':
            return self._array(entry, target)
        if kind == 'function':
            return Type(kind, target=self._function('', entry))
        if kind in ('struct', 'union'):
            return self._struct(entry, kind, name, size)
        encoding = entry.values.get(AT_ENCODING)
        if kind == 'int' and encoding in ENCODING_FLOATS:
            return Type('float', name, size)
        if kind in WRAPPERS:
            return Type(kind, name, target=target)
        signed = encoding in ENCODING_SIGNED or kind == 'enum' and bool(
            target and stripped(self, target).signed)
        return Type(kind, name, size, ref if kind == 'enum' else None, signed=signed)

    def _tagged(self, pointer, target):
        """Return what a pointer points at, with the tags that clang notes (__user)."""
        for each in self._children(pointer, TAG_ANNOTATION):
            if self._name(each) == 'btf_type_tag':
                tag = each.values.get(AT_CONSTANT)
                target = Type('type_tag', self._text(each, tag), target=target)
        return target

    def enumerators(self, ref):
        """Return (name, number) of each enumerator of an enum: its reference, or its Type."""
        ref = ref.target if isinstance(ref, Type) else ref
        return self._guarded(self._enumerators, ref)

    def _enumerators(self, ref):
        return [(self._name(each), each.values[AT_CONSTANT])
                for each in self._children(self._entry(ref), TAG_ENUMERATOR)]

    def _size(self, entry, attribute):
        """Return a size in bytes, or bits, that an attribute tells, 0 where it does not."""
        value = entry.values.get(attribute)
        return value if isinstance(value, int) and 0 <= value < OFFSET_LIMIT else 0

    def _struct(self, entry, kind, name, size):
        """Return the Type of a struct or union; one that is only declared has no size."""
        if AT_SIGNATURE in entry.values:
            return self._describe(entry.values[AT_SIGNATURE])
        ref = entry.ref
        if self.same is not None and name:      # each unit that knows a struct has its own
            if AT_DECLARATION in entry.values:
                ref = self.find(kind, name)
                return self._describe(ref) if ref else Type(kind, name)
            ref = self.same.setdefault((kind, name, size, entry.values.get(AT_LINE)), ref)
        return Type(kind, name, size, target=ref)

    def _array(self, entry, target):
        lengths = []
        for each in self._children(entry, TAG_RANGE):
            last = each.values.get(AT_UPPER_BOUND)
            # That of an array without a length is not there, or -1.
            lengths.append(self._size(each, AT_COUNT) or (
                last + 1 if isinstance(last, int) and last < OFFSET_LIMIT else 0))
        for length in lengths[:0:-1]:
            target = Type('array', target=target, length=length)
        return Type('array', target=target, length=lengths[0] if lengths else 0)

    def members(self, ref):
        """Return the Members of a struct or union: its reference, or the Type of it."""
        ref = ref.target if isinstance(ref, Type) else ref
        return self._guarded(self._members, ref) if ref else []

    def _members(self, ref):
        entry = self._entry(ref)
        if AT_DECLARATION in entry.values or AT_SIGNATURE in entry.values:
            ref = entry.values.get(AT_SIGNATURE) or self.find(TAG_KINDS[entry.tag],
                                                              self._name(entry))
            entry = ref and self._entry(ref)
        return [self._member(each) for each in self._children(entry, TAG_MEMBER)] if entry else []

    def _member(self, entry):
        values, place = entry.values, entry.values.get(AT_PLACE, 0)
        ref, bit_size = values.get(AT_TYPE, 0), self._size(entry, AT_BIT_SIZE)
        if isinstance(place, (bytes, bytearray)):
            place = leb128(place, 1)[0] if place[0] == OPERATION_PLUS else OFFSET_LIMIT
        first = values.get(AT_DATA_BIT_OFFSET, 0)
        if AT_BIT_OFFSET in values:
            # Before DWARF 4 it is counted from the most significant bit of a unit of storage.
            unit = 8 * (self._size(entry, AT_BYTE_SIZE) or size_of(self, ref))
            # It is less than 0 where the bits begin before the unit; clang writes 64 bits then.
            first = (values[AT_BIT_OFFSET] + (1 << 63)) % (1 << 64) - (1 << 63)
            first = first if self.order == '>' else unit - first - bit_size
        if not 0 <= 8 * place + first < 8 * OFFSET_LIMIT:
            raise IndexError(place)
        return Member(self._name(entry), ref, 8 * place + first, bit_size)

    def names(self, kind):
        """Return the names of all types of a kind, of functions for 'function', in order."""
        if self.index is None:
            self.index, self.same = self._guarded(self._index), {}
            self.found.clear()
        return sorted(name for each, name in self.index if each == kind)

    def _index(self):
        """Return the references of all definitions, by kind and name."""
        index, seen = {}, set()
        for number, unit in enumerate(self.units):
            if not number % 50:
                self.console.progress('%s: unit %d of %d' % (self.name, number, len(self.units)))
            data, wanted = self._at_hand(unit)[0], self._definitions(unit)
            for ref, abbreviation in self._top(unit):
                kind = wanted.get(id(abbreviation))
                # What headers define stands in each unit again.
                start = ref - unit.start + (1 if data[ref - unit.start] < 0x80 else 2)
                text = bytes(data[start:start + unit.width])
                if not kind or (kind, text) in seen:
                    continue
                if abbreviation.attributes[0][:2] == (AT_NAME, 0x0e):
                    seen.add((kind, text))
                name = self._name(self._origin(self._entry(ref)))
                if name:
                    index.setdefault((kind, name), []).append(ref)
        self.console.progress('')
        return index

    def _definitions(self, unit):
        """Return the kinds of a Unit's Abbreviations, by id, that define what has a name."""
        kinds, found = dict((tag, kind) for kind, tag in NAMED_TAGS.items()), {}
        for abbreviation in self._at_hand(unit)[1].values():
            numbers = set(attribute for attribute, _, _ in abbreviation.attributes)
            if (abbreviation.tag in kinds and not abbreviation.declares
                    and (abbreviation.tag != TAG_FUNCTION
                         or numbers & set((AT_LOW_PC, AT_RANGES)))):
                found[id(abbreviation)] = kinds[abbreviation.tag]
        return found


# ---------------------------------------------------------------------------
# Types in C's words: what gdb, databases and servers tell -> records
#
# These sources name types as C does, so a reference is such a text, or the Type of
# a struct that stands inside another and has no name.  Touches nothing.
# ---------------------------------------------------------------------------

# A struct or union: its size in bytes and its Members, with their types as text.
Layout = namedtuple('Layout', 'kind size members')
Alias = namedtuple('Alias', 'text size')        # what a typedef stands for, and its bytes
# A member as databases and servers list it: offset and size in bytes, bits 'first:count' or ''.
Row = namedtuple('Row', 'type name offset size bits')

TAGS = ('struct', 'union', 'enum')
C_TYPE = r'(?:[A-Za-z_][A-Za-z0-9_$ *()\[\],.{}]*|\.\.\.)\Z'
C_NAME = r'(?:[A-Za-z_][A-Za-z0-9_.\[\]]{0,500}|\$[0-9]*)?\Z'
BITS = r'(?:([0-9]{1,3}):([0-9]{1,3}))?\Z'
TEXT_LIMIT = 4096       # characters of a type


class TextTypes(object):
    """A source that speaks C; its subclasses look up one name at a time.

    look_up_layout(text) returns a Layout, look_up_alias(name) an Alias, each None for what is
    not there, and functions(name) is a source's own.
    """

    def __init__(self, name):
        self.name = name
        self.layouts, self.aliases = {}, {}

    def _damaged(self, why):
        return SourceError('%s: %s' % (self.name, why))

    def layout(self, text):
        if text not in self.layouts:
            self.layouts[text] = self.look_up_layout(text)
        return self.layouts[text]

    def alias(self, name):
        if name not in self.aliases:
            self.aliases[name] = self.look_up_alias(name)
        return self.aliases[name]

    def find(self, kind, name):
        """Return the text of the type of that kind and name, or None."""
        if kind in TAGS:
            text = '%s %s' % (kind, name)
            return text if self.layout(text) else None
        return name if self.alias(name) else None

    def copies(self, kind, name):
        """Return 1: gdb gives the one that the function's own file has, the others know one."""
        return 1

    def describe(self, ref):
        """Return the Type that a text spells, what it is made of as text."""
        return outer_type(ref) or self._base(ref)

    def _base(self, text):
        words = text.split()
        known = Type('void') if text == 'void' else find_integer(words)
        if known:
            return known
        if words[0] in TAGS:
            layout = self.layout(text) if len(words) == 2 else None
            # What stands behind a $ only tells apart those of one name, or of none.
            return Type(words[0], words[-1].partition('$')[0].replace('{...}', ''),
                        layout.size if layout else 0, target=text if layout else None)
        alias = self.alias(text)
        if alias is None:
            return Type('missing', text)
        if alias.text != text:
            return Type('typedef', text, target=alias.text)
        layout = self.layout(text)
        if layout:
            return Type('typedef', text, target=Type(layout.kind, '', layout.size, target=text))
        return self.scalar(text, alias.size)

    def scalar(self, name, size):
        """Return the Type of a name that stands for no other, and for no struct."""
        return Type('int', name, size)

    def members(self, ref):
        """Return the Members of a struct or union."""
        ref = ref.target if isinstance(ref, Type) else ref
        if ref is None or isinstance(ref, tuple):
            return ref or ()
        layout = self.layout(ref)
        return layout.members if layout else ()

    def enumerators(self, ref):
        """Return (name, number) pairs; databases and servers have none."""
        return ref.target if isinstance(ref.target, tuple) else ()

    def enums_of(self, _):
        """Return []: only gdb knows enumerators."""
        return []

    def variable(self, _):
        """Return None: only gdb knows variables."""

    # What comes from outside is checked before it is used.

    def text(self, value, pattern):
        """Return a value from outside as text if it matches pattern."""
        if (not isinstance(value, (str, type(u''))) or len(value) > TEXT_LIMIT
                or value.count('(') > CHAIN_LIMIT or not re.match(pattern, value)):
            raise self._damaged('damaged: it holds what no compiler writes')
        return str(value)

    def number(self, value):
        """Return a value from outside as a number of bytes."""
        if not isinstance(value, (int, type(1 << 64))) or not 0 <= value < OFFSET_LIMIT:
            raise self._damaged('damaged: it holds a size or an offset that nothing has')
        return int(value)

    def row(self, kind, name, offset, size, bits):
        """Return a checked Row; both generations' way to write an array is C's own in the end."""
        bits = self.text(bits or '', BITS)
        name, kind = self.text(name, C_NAME), self.text(kind, C_TYPE)
        path, dot, last = name.rpartition('.')
        last, bracket, dimensions = last.partition('[')
        if bracket:
            name, inside = path + dot + last, kind.find('(*')
            closing = matching_parenthesis(kind, inside) if inside >= 0 else len(kind)
            kind = kind[:closing] + bracket + dimensions + kind[closing:]
        return Row(kind, '' if name.startswith('$') else name, self.number(offset),
                   self.number(size), bits)

    def function(self, name, result, kinds, names):
        """Return a checked Function; names may be fewer than kinds, or none."""
        if not isinstance(kinds, list) or not isinstance(names, list):
            raise self._damaged('damaged: what should be a list of arguments is none')
        kinds = [self.text(kind, C_TYPE) for kind in kinds if kind != 'void']
        result = re.sub(r'^(?:static|inline) ', '', self.text(result, C_TYPE))
        return c_function(name, result, kinds, [self.text(each, C_NAME) for each in names])


def parse_json(text):
    """Return what JSON from outside says; raises ValueError."""
    import json     # only databases and servers need it, and it is slow to load
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
    members, groups = [], []
    for row in rows:
        outer, dot, inner = row.name.partition('.')
        if not dot:
            groups.append((row.name, row))
        elif groups and groups[-1][0] == outer and isinstance(groups[-1][1], list):
            groups[-1][1].append(row._replace(name=inner))
        else:
            groups.append((outer, [row._replace(name=inner)]))
    for name, found in groups:
        if isinstance(found, list):
            first = min(row.offset for row in found)
            size = max(row.offset + row.size for row in found) - first
            kind = Type('struct', '', size, target=tuple(text_members(found, first)))
            members.append(Member(name.partition('[')[0], kind, 8 * (first - start), 0))
        else:
            first, count = re.match(BITS, found.bits).groups()
            members.append(Member(name, found.type, 8 * (found.offset - start) + int(first or 0),
                                  int(count or 0)))
    return tuple(members)


# ---------------------------------------------------------------------------
# Types from gdb: a vmlinux with debug info -> records
#
# One gdb process a run, asked line by line through its machine interface (MI): it
# reads a vmlinux for seconds before the first answer, and answers the rest at once.
# Starts and ends that process, touches nothing else.
# ---------------------------------------------------------------------------

GDB_LIMIT = 300         # seconds for one answer; the first one of a large vmlinux takes 20
GDB_ANSWER_LIMIT = 1 << 28      # bytes
GDB_FIRST = (8, 1)      # the first version that has ptype/o
GDB_BIT_OFFSETS = (9, 0)        # from here on it prints where bits begin, before, how many are left

# A line of ptype/o: offset in bytes and in bits, size in bytes, C.  In a union the offset is
# not there, since all are the same.
LAYOUT_LINE = r'(?:/\*(?: +(\d+)(?:: *(\d+))? +\|)? +(\d+) +\*/)? *(.*)$'
DECLARATOR = r'(.*?\(\*+ *(?:const |volatile )*)(\w+)(.*)$|(.*?)(\w+)((?:\[\d*\])*)$'
MI_ESCAPES = {b'n': b'\n', b't': b'\t', b'r': b'\r', b'e': b'\033'}


class GdbRefusal(SourceError):
    """gdb's own error on one question."""


class GdbProcess(object):
    """A gdb process with a vmlinux, and what it has said."""

    def __init__(self, elf, command, console, check, limit=GDB_LIMIT):
        self.elf, self.command, self.limit = elf, command, limit
        self.console = console
        self.check = check          # raises StopRun when a signal has come
        self.waiting, self.last_words = b'', ''
        self.began = clock()
        self.process = self._start()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _start(self):
        import subprocess       # only gdb and mount need it, and it is slow to load
        # It asks for memory in small pieces, and would ask the network for debug files.
        environment = dict(os.environ, MALLOC_TOP_PAD_=str(1 << 27), DEBUGINFOD_URLS='',
                           GLIBC_TUNABLES='glibc.malloc.hugetlb=1', LC_ALL='C')
        try:
            # In a session of its own: Ctrl+C is for this script to take.
            return subprocess.Popen(
                [self.command, '-nx', '-q', '--interpreter=mi2'], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, env=environment,
                preexec_fn=os.setsid)
        except EnvironmentError as error:
            package = ('gdb' if self.elf.architecture == running_architecture()
                       else 'gdb-multiarch')
            raise SourceError('%s: %s; name a gdb with -g, or install the package %s' % (
                self.command, os.strerror(error.errno).lower(), package))

    def _open(self):
        words = re.search(r'^GNU gdb.* v?((\d+)\.(\d+)\S*)$', self._command('-gdb-version'), re.M)
        if not words:
            raise SourceError('%s is no gdb: it does not tell its version' % self.command)
        self.version = int(words.group(2)), int(words.group(3))
        if self.version < GDB_FIRST:
            raise SourceError('%s is version %s, which cannot show offsets (ptype/o): it takes '
                              '%d.%d or later' % ((self.command, words.group(1)) + GDB_FIRST))
        # index-cache: the first reading of a vmlinux leaves an index in gdb's own cache
        # (~/.cache/gdb), with which the next ones take a second.
        for setting in ('auto-load off', 'confirm off', 'width 0', 'height 0', 'language c',
                        'print demangle off', 'max-value-size unlimited', 'index-cache on',
                        'index-cache enabled on'):
            try:
                self.ask('set ' + setting)
            except GdbRefusal:
                pass        # not there in this version
        try:
            self._command('-file-exec-and-symbols "%s"' % escaped_for_gdb(self.elf.path))
        except GdbRefusal as refusal:
            raise SourceError('%s cannot read %s: %s%s' % (
                self.command, self.elf.path, refusal, '; gdb-multiarch can'
                if 'not recognized' in str(refusal) else ''))

    def ask(self, question):
        """Return what gdb prints for a question; raises GdbRefusal with its error."""
        return self._command('-interpreter-exec console "%s"' % escaped_for_gdb(question))

    def _command(self, command):
        try:
            self.process.stdin.write(to_bytes(command + '\n'))
        except EnvironmentError:
            pass        # it has ended, which reading tells
        printed, began = [], clock()
        while True:
            line = self._line(began)
            if line.startswith('~"'):
                printed.append(from_gdb(line[2:-1]))
            elif line.startswith('^error'):
                raise GdbRefusal(from_gdb(line.partition('msg="')[2].rpartition('"')[0]))
            elif line.startswith('^'):
                return ''.join(printed)
            elif line and line[0] not in '&=*+@(':
                self.last_words = line

    def _line(self, began):
        while b'\n' not in self.waiting:
            self.waiting += self._read(began)
        line, _, self.waiting = self.waiting.partition(b'\n')
        return to_text(line).rstrip('\r')

    def _read(self, began):
        poll = select.poll()
        poll.register(self.process.stdout, select.POLLIN)
        while True:
            self.check()
            seconds = clock() - began
            if seconds > self.limit or len(self.waiting) > GDB_ANSWER_LIMIT:
                raise SourceError('%s: %s gave no answer in %d s' % (
                    self.elf.path, self.command, self.limit))
            if wait_for(poll, min(500, 1000 * self.limit)):
                data = os.read(self.process.stdout.fileno(), READ_SIZE)
                if not data:
                    raise self._ended()
                self.console.progress('')
                return data
            self.console.progress('%s reads %s: %d s' % (self.command, self.elf.path,
                                                         clock() - self.began))

    def _ended(self):
        status = self.process.wait()
        return SourceError('%s: %s ended in the middle, with %s%s' % (
            self.elf.path, self.command, 'status %d' % status if status >= 0 else
            'signal %d (a large vmlinux takes it 2 GB of memory)' % -status,
            ': ' + self.last_words if self.last_words else ''))

    def close(self):
        """End the process, whatever it is doing."""
        self.console.progress('')
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def escaped_for_gdb(text):
    if re.search(r'[\x00-\x1f]', text):
        raise SourceError("gdb takes no control characters: '%s'" % text)
    return text.replace('\\', '\\\\').replace('"', '\\"')


def quoted_for_gdb(name):
    """Return a symbol as gdb reads it; in quotes, short ones would be characters."""
    if not re.match(SYMBOL, to_bytes(name)):
        raise UsageError("'%s' is no symbol's name" % name)
    return "'%s'" % name if '.' in name else name


def from_gdb(text):
    """Return the text of a C string as gdb's machine interface writes it."""
    def unescaped(match):
        code = match.group(1)
        return bytes(bytearray([int(code, 8)])) if len(code) == 3 else MI_ESCAPES.get(code, code)
    return to_text(re.sub(br'\\([0-7]{3}|.)', unescaped, to_bytes(text)))


class Gdb(TextTypes):
    """The types of a vmlinux with debug info, as gdb tells them."""

    kind = 'gdb'

    def __init__(self, process):
        TextTypes.__init__(self, process.elf.path)
        self.process = process
        self.close = process.close
        self.listed = {}        # the Functions of all names, once they have been asked for

    def _ask(self, question):
        """Return gdb's answer, '' if it refuses."""
        try:
            return self.process.ask(question)
        except GdbRefusal:
            return ''

    def look_up_layout(self, text):
        if text.startswith('enum '):
            size = re.search(r'= (\d+)$', self._ask('print sizeof(%s)' % text), re.M)
            return size and Layout('enum', int(size.group(1)), ())
        return parse_layout(self._ask('ptype/o ' + text), self.process.version < GDB_BIT_OFFSETS)

    def enumerators(self, ref):
        """Return (name, number) of each enumerator of an enum's Type."""
        if isinstance(ref.target, tuple) or not ref.name:
            return ref.target or ()
        return parse_enumerators(self._ask('ptype enum ' + ref.name))

    def scalar(self, name, size):
        """Return the Type of a name that stands for no other: perhaps for an enum without one."""
        said = self._ask('ptype ' + name)
        if said.startswith('type = enum'):
            return Type('typedef', name, target=Type('enum', '', size, parse_enumerators(said)))
        return TextTypes.scalar(self, name, size)

    def enums_of(self, name):
        """Return the Type of the enum that has an enumerator of a name, in a list."""
        found = re.match(r'type = enum (\w*)', self._ask('whatis ' + name))
        if not found or self._ask('info address ' + name).find('constant') < 0:
            return []
        size = re.search(r'= (\d+)$', self._ask('print sizeof(%s)' % name), re.M)
        return [Type('enum', found.group(1), int(size.group(1)) if size else 4,
                     None if found.group(1) else parse_enumerators(self._ask('ptype ' + name)))]

    def variable(self, name):
        """Return the Variable of a name, or None; whether each CPU has its own is not told."""
        found = re.match(r'type = (.*)$', self._ask('whatis ' + quoted_for_gdb(name)))
        static = 'static storage' in self._ask('info address ' + quoted_for_gdb(name))
        return Variable(found.group(1), False) if found and static else None

    def look_up_alias(self, name):
        if not self._ask('whatis (%s *)0' % name):      # whatis NAME answers for variables too
            return None
        found = re.match(r'type = (.*)$', self._ask('whatis ' + name))
        size = re.search(r'= (\d+)$', self._ask('print sizeof(%s)' % name), re.M)
        if not found or not size:
            return None
        # A struct without a name has that of its typedef.
        nameless = re.match(r'(?:const |volatile )*\w+ \{\.\.\.\}$', found.group(1))
        return Alias(name if nameless else found.group(1), int(size.group(1)))

    def names(self, kind):
        """Return the names of all types of a kind, of functions for 'function'."""
        if kind == 'function':
            self.listed = self._list()
            return sorted(self.listed)
        pattern = r'^(?:\d+:)?\ttypedef .*?(\w+);$' if kind == 'typedef' else (
            r'^(?:\d+:)?\t%s (\w+);$' % kind)
        return sorted(set(re.findall(pattern, self._ask('info types'), re.M)))

    def _list(self, name=None):
        """Return the Functions of that name, or all, by name; their parameters have no names."""
        found = {}
        for result, name, kinds in sorted(set(re.findall(
                r'^(?:\d+:)?\t(?:static )?(.*\W)(\w+)\((.*)\);$', self._ask(
                    'info functions' + (' ^%s$' % name if name else '')), re.M))):
            found.setdefault(name, []).append(c_function(name, result, split_parameters(kinds)))
        return found

    def functions(self, name):
        """Return the Functions of that name; of a variant, with where its arguments lie."""
        plain = name.partition('.')[0]
        if name in self.listed:
            return self.listed[name]
        shown = self._pointer(name)
        if not shown:
            return []
        # From here on, a struct of several is the one that this function's file sees.
        self._ask('list *' + shown.group(3))
        self.layouts.clear()
        self.aliases.clear()
        places = re.findall(r'^Line .* address (0x[0-9a-f]+)', self._ask('info line ' + name), re.M)
        if name == plain and len(places) > 1:
            found = self._list(name).get(name, [])
            self._check_same_structs(found, places)
            return found
        function = c_function(name, shown.group(1), split_parameters(shown.group(2)))
        return [self._told_apart(function, shown.group(3), name != plain)]

    def _check_same_structs(self, functions, places):
        """Raise the error that functions of one name mean different structs by one name."""
        tags = sorted(set(re.findall(r'(?:struct|union) \w+', ' '.join(
            parameter.type for function in functions for parameter in function.parameters))))
        meant = set()
        for place in places:
            self._ask('list *' + place)
            meant.add(tuple(self._ask('ptype/o ' + tag) for tag in tags))
        if len(meant) > 1:
            raise self._damaged("several functions are called '%s', each with a %s of its own: "
                                'name a register, %%REGISTER' % (functions[0].name,
                                                                 ' or '.join(tags)))

    def _pointer(self, name):
        """Return a match of the result, the parameters and the address of a function, or None."""
        said = self._ask('print &' + quoted_for_gdb(name))
        shown = re.search(r'= \((.*?)\(\*\)\((.*)\)\) (0x[0-9a-f]+)', said)
        bare = re.search(r'no debug info.* (0x[0-9a-f]+) ', said)
        if shown or not bare or '.' not in name:
            return shown
        # On aarch64 debug info begins behind the instructions that ftrace patches, so that a
        # variant's symbol, which lies before them, has none of its own.
        plain = self._pointer(name.partition('.')[0])
        if plain and 0 <= int(plain.group(3), 16) - int(bare.group(1), 16) <= ENTRY_GAP:
            return plain
        return None

    def _told_apart(self, function, entry, variant):
        """Return a Function with its parameters' names, of a variant with their registers too."""
        scope = re.findall(r'^Symbol (\w+) is (.*?)(?=^Symbol |\Z)', re.sub(
            r'^Scope for .*:\n', '', self._ask('info scope *' + entry)), re.M | re.S)
        scope = scope[:len(function.parameters)]
        if not self._are_parameters(function, [name for name, _ in scope]):
            scope = [('', '')] * len(function.parameters)
        places = [register_at(int(entry, 16), where) if variant else None for _, where in scope]
        if '' in places:        # gcc names those first that are left, whatever their order was
            places = [''] * len(places)
        return function._replace(parameters=tuple(
            parameter._replace(name=name, location=place)
            for (name, _), place, parameter in zip(scope, places, function.parameters)))

    def _are_parameters(self, function, names):
        """Tell whether names are those of the parameters: gdb lists those of inlined code too."""
        plain = function.name.partition('.')[0]
        return len(names) == len(function.parameters) and all(
            self._ask('whatis %s::%s' % (plain, name)).strip() == 'type = ' + parameter.type
            for name, parameter in zip(names, function.parameters))

    # Disassembly

    def disassembly(self, name):
        """Return the instructions of a function, with source lines where there are some."""
        try:
            return self._from_symbol(self.process.ask('disassemble /s ' + quoted_for_gdb(name)))
        except GdbRefusal as refusal:
            raise UsageError("-F %s: %s" % (name, refusal))

    def _from_symbol(self, text):
        """Return instructions with offsets that count from the symbol, as kprobes do.

        gdb counts from where the debug info of a function begins (see _pointer).
        """
        first = re.search(r'0x([0-9a-f]+) <', text)
        if not first:
            return text
        address = int(first.group(1), 16)
        start = address - int(self._symbol(address).partition('+')[2] or 0)
        return re.sub(r'0x([0-9a-f]+) (<[\w.]*)\+\d+>:', lambda match: '0x%s %s+%d>:' % (
            match.group(1), match.group(2), int(match.group(1), 16) - start), text)

    def line_places(self, place):
        """Return (SYMBOL+OFFSET, instructions) for each range of addresses of a FILE:LINE."""
        path, _, line = place.rpartition(':')
        if not re.match(r'[\w./+-]+\Z', path) or not re.match(r'[0-9]{1,7}\Z', line):
            raise UsageError('-l takes FILE:LINE, like fs/read_write.c:455')
        try:
            self.process.ask('info line %s' % place)       # reads the file's line tables
        except GdbRefusal as refusal:
            raise UsageError('-l %s: %s' % (place, refusal))
        table = line_table(self._ask('maint info line-table ' + re.escape(
            os.path.basename(path))), path)
        ranges = sorted(set(part for number, part in table if number == int(line)))
        if not ranges:
            later = sorted(set(number for number, _ in table if number > int(line)))
            raise UsageError('-l %s: that line has no code%s' % (
                place, '; the next that has is %d' % later[0] if later else ''))
        return [(self._symbol(first), '\n'.join(self._from_symbol(self._ask(
            'disassemble 0x%x,0x%x' % (first, end))).splitlines()[1:-1]))
            for first, end in ranges]

    def _symbol(self, address):
        words = self._ask('info symbol 0x%x' % address).split(' in section')[0]
        return words.replace(' + ', '+')


def line_table(text, path):
    """Return (line, (first address, end)) of what belongs to path in gdb's line tables."""
    found, mine, before = [], False, None
    for row in text.splitlines():
        if row.startswith('symtab: '):
            name = row[8:].partition(' ((struct')[0]
            mine, before = name == path or name.endswith('/' + path), None
        match = mine and re.match(r'\d+ +(\d+|END) +.*?(0x[0-9a-f]+)(?: +[YN ]*)?$', row)
        if match:
            number, address = match.group(1), int(match.group(2), 16)
            if before and number != before[0]:
                if before[1] < address:
                    found.append((int(before[0]), (before[1], address)))
                before = None
            if not before and number != 'END':
                before = number, address
    return found


def register_at(entry, where):
    """Return the register that holds a variable at a function's entry, '' if none does.

    where is what gdb's info scope says: one place, or a list of ranges with a place each.
    """
    always = re.match(r'a variable in \$(\w+)', where)
    if always:
        return kernel_register(always.group(1))
    for first, end, register in re.findall(
            r'Range 0x([0-9a-f]+)-0x([0-9a-f]+): a variable in \$(\w+)$', where, re.M):
        if int(first, 16) <= entry < int(end, 16):
            return kernel_register(register)
    return ''


def kernel_register(name):
    """Return ftrace's name of a register of gdb's: di for rdi."""
    return name[1:] if re.match(r'r[a-z]', name) else name


def parse_layout(text, bits_left=False):
    """Return the Layout that gdb's ptype/o prints, None if it is no struct's.

    bits_left: what is printed of a bitfield is the count of bits behind it in its unit
    (gdb's commit 9d3421afbb9f, of 2019, has changed that).
    """
    lines = text.splitlines()
    first = re.search(r'type = (?:const |volatile )*(struct|union) .*\{', (lines or [''])[0])
    if not first:
        return None
    # Structs that are open, innermost last: kind, tag, offset in bytes, size, and what is in
    # them: (offset in bits, Member), or None instead of the Member for what only fills a gap.
    opened = [(first.group(1), '', 0, 0, [])]
    total = 0
    for line in lines[1:]:
        size = re.search(r'/\* total size(?: \(bytes\))?: +(\d+)', line)
        if size:
            total = int(size.group(1))
            continue
        offset, bit, size, declaration = re.match(LAYOUT_LINE, line).groups()
        offset, bit, size = int(offset or 0), int(bit or 0), int(size or 0)
        nested = re.match(r'(?:const |volatile )*(struct|union) (\w*) ?\{$', declaration)
        if nested:
            opened.append(nested.groups() + (offset, size, []))
        elif declaration.startswith('}') and len(opened) > 1:
            closed = opened.pop()
            opened[-1][4].append((8 * closed[2], closed_member(closed, declaration)))
        elif declaration.endswith(';'):
            member = declared_member(declaration[:-1], size)
            if bits_left and member and member.bit_size:
                bit = 8 * size - member.bit_size - bit
            opened[-1][4].append((8 * offset + bit, member))
    return Layout(first.group(1), total, placed_members(opened[0][0], opened[0][4]))


def placed_members(kind, found):
    """Return the Members of a struct or union from (offset in bits, Member) pairs.

    A struct begins where its first member does, whatever gdb counts from: in an array's
    element or behind a pointer it counts from another struct's start.
    """
    start = found[0][0] // 8 * 8 if kind == 'struct' and found else 0
    return tuple(member._replace(bit_offset=at - start) for at, member in found if member)


def parse_enumerators(text):
    """Return (name, number) pairs from C's words for an enum, in which some are counted on."""
    found, number = [], -1
    for name, written in re.findall(r'(\w+)(?: = (-?\d+))?(?=[,}])', text.partition('{')[2]):
        number = int(written) if written else number + 1
        found.append((name, number))
    return tuple(found)


def closed_member(closed, declaration):
    """Return the Member that ends with a declaration such as '} name[2];' or '} *name;'."""
    kind, tag, _, size, found = closed
    stars, name, dimensions = re.match(r'\} ?([* ]*)(\w*)((?:\[\d*\])*)', declaration).groups()
    lengths = [int(length or 0) for length in re.findall(r'\[(\d*)\]', dimensions)]
    for length in lengths:
        size //= length or 1
    # How large it is what a pointer points at, gdb does not show.
    ref = '%s %s' % (kind, tag) if tag else Type(kind, '', 0 if stars else size,
                                                 target=placed_members(kind, found))
    for _ in range(stars.count('*')):
        ref = Type('pointer', size=POINTER_SIZE, target=ref)
    for length in reversed(lengths):
        ref = Type('array', target=ref, length=length)
    return Member(name, ref, 0, 0)


def declared_member(text, size):
    """Return the Member, at offset 0, of a C declaration; None if it only fills a gap."""
    text, colon, bits = text.partition(' : ')
    enum = re.match(r'enum \{.*\} (\w+)$', text)
    if enum:
        return Member(enum.group(1), Type('enum', '', size, parse_enumerators(text)), 0,
                      int(bits or 0))
    match = re.match(DECLARATOR, text)
    if not match or colon and not re.search(r'\w \w+$', text):
        return None
    before, name, behind = match.groups()[:3] if match.group(2) else match.groups()[3:]
    return Member(name, before.strip() + behind, 0, int(bits or 0))


# ---------------------------------------------------------------------------
# Types from a database: an SQLite file made for one kernel -> records, and back
#
# The files that are published for distributions' kernels come in two generations; both
# are read, the second is written.  Reads and writes such files, touches nothing else.
# ---------------------------------------------------------------------------

DATABASE_LIMIT = 10     # seconds for one question
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


class Database(TextTypes):
    """The types in a database file."""

    kind = 'database'

    def __init__(self, path):
        TextTypes.__init__(self, path)
        self.sqlite = sqlite()
        stream, ident = open_types_file(path)       # which sqlite would make if it were not there
        stream.close()
        if ident != DATABASE_MAGIC:
            raise SourceError('%s: not an SQLite database' % path)
        self.deadline = 0
        try:
            self.connection = self.sqlite.connect(path)
            self.connection.text_factory = str
        except (self.sqlite.Error, UnicodeError) as error:
            raise SourceError('%s: %s' % (path, error))
        self.connection.set_progress_handler(lambda: clock() > self.deadline, 100000)
        self._query('PRAGMA query_only = 1')
        # A view that stands in for a table could compute for ever.
        tables = set(row[0] for row in self._query(
            "SELECT name FROM sqlite_master WHERE type = 'table'"))
        missing = sorted(set(DATABASE_TABLES) - set(['files', 'kernel']) - tables)
        if missing:
            raise SourceError('%s: not a database of types: it has no table %s'
                              % (path, ', '.join(missing)))
        of = self._query('SELECT architecture FROM kernel') if 'kernel' in tables else ()
        self.architecture = of[0][0] if of else None        # None: it does not tell
        self.has_names = 'argi' in [row[1] for row in self._query('PRAGMA table_info(funs)')]

    def _query(self, question, *values):
        self.deadline = clock() + DATABASE_LIMIT
        try:
            return self.connection.execute(question, values).fetchall()
        except (self.sqlite.Error, UnicodeError) as error:
            raise SourceError('%s: a damaged database: %s' % (self.name, error))

    def close(self):
        self.connection.close()

    def look_up_layout(self, text):
        found = self._query('SELECT id, bytes FROM structs WHERE name = ? ORDER BY id', text)
        if not found:
            return None
        rows = self._query('SELECT types, name, offset, bytes, bits FROM members WHERE fid = ? '
                           'ORDER BY id', found[0][0])
        return Layout('union' if text.startswith('union ') else 'struct', self.number(found[0][1]),
                      text_members([self.row(*row) for row in rows]))

    def look_up_alias(self, name):
        found = self._query('SELECT alias, bytes FROM types WHERE name = ? ORDER BY id', name)
        return found and Alias(self.text(found[0][0], C_TYPE), self.number(found[0][1])) or None

    def names(self, kind):
        """Return the names of all types of a kind, of functions for 'function'."""
        if kind == 'function':
            rows = self._query('SELECT DISTINCT func FROM funs')
        elif kind == 'typedef':
            rows = self._query('SELECT name FROM types')
        else:
            rows = self._query("SELECT substr(name, ?) FROM structs WHERE name LIKE ? || ' %'",
                               len(kind) + 2, kind)
        return sorted(row[0] for row in rows
                      if isinstance(row[0], str) and re.match(r'[A-Za-z_][\w.]*\Z', row[0]))

    def functions(self, name):
        """Return the Functions of that name."""
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
            raise self._damaged('damaged: what should be a list of arguments is none')


class DatabaseWriter(object):
    """A database in the making, from a source of types."""

    def __init__(self, connection, types, architecture, console):
        self.connection, self.types, self.console = connection, types, console
        self.architecture = architecture
        self.named = {}         # what tells a struct apart -> its name
        self.taken = set()      # names of structs
        self.waiting = []       # structs that are named and not written yet
        self.serial = 0

    def write(self):
        for table in sorted(DATABASE_TABLES):
            self.connection.execute('CREATE TABLE %s (%s)' % (table, DATABASE_TABLES[table]))
        self.connection.execute("INSERT INTO files VALUES (1, '')")
        self.connection.execute('INSERT INTO kernel VALUES (?)', (self.architecture,))
        for kind, write in (('struct', self._tagged), ('union', self._tagged),
                            ('enum', self._tagged), ('typedef', self._typedef),
                            ('function', self._functions)):
            names = self.types.names(kind)
            for number, name in enumerate(names):
                if not number % 1000:
                    self.console.progress('writing %ss: %d of %d' % (kind, number, len(names)))
                write(kind, name)
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

    def _tagged(self, kind, name):
        ref = self.types.find(kind, name)
        if ref is not None:
            self._name(described(self.types, ref))

    def _typedef(self, _, name):
        ref = self.types.find('typedef', name)
        if ref is None:
            return
        found, typedef = stripped(self.types, ref), described(self.types, ref)
        nameless = found.kind in ('struct', 'union') and not found.name
        target = typedef.target if typedef.kind == 'typedef' else typedef
        # It stands in for the name that its struct does not have.
        direct = (nameless and described(self.types, target).kind == found.kind
                  and self._name(found, name) == name)
        self._insert('types', name, name if direct else self._words(target) or name,
                     size_of(self.types, ref))

    def _functions(self, _, name):
        import json
        for function in self.types.functions(name):
            kinds = [self._words(each.type) for each in function.parameters]
            self._insert('funs', name,
                         json.dumps(['...' if kind == 'void' else kind for kind in kinds]),
                         json.dumps([each.name for each in function.parameters]),
                         self._words(function.result), 0, 1, '')

    def _name(self, found, name=None):
        """Return the name in the database of a struct, union or enum, which is its to write."""
        key = (found.kind, found.name, found.kind != 'enum' and found.target, found.size)
        if key not in self.named:
            if name is None:
                name = '%s %s' % (found.kind, found.name)
                if not found.name or name in self.taken:
                    self.serial += 1
                    name = '%s$%d' % (name, self.serial)
            self.named[key] = name
            self.taken.add(name)
            self.waiting.append((name, found))
        return self.named[key]

    def _words(self, ref):
        """Return a type in C's words, with the database's names of what has none of its own."""
        return declared(self.types, ref, '', lambda found: (
            self._name(found) if found.kind in TAGS and (found.target is not None
                                                         or found.kind == 'enum')
            else base_words(found)))

    def _struct(self, name, found):
        members = self.types.members(found) if found.kind != 'enum' else ()
        serial = self._insert('structs', name, len(members), found.size)
        for member in members:
            held = stripped(self.types, member.type)
            bits = '%d:%d' % (member.bit_offset % 8, member.bit_size) if member.bit_size else ''
            self._insert('members', serial, self._words(member.type), member.name or '$',
                         member.bit_offset // 8,
                         held.size if member.bit_size else size_of(self.types, member.type), bits)


def write_database(path, types, architecture, console):
    """Write all that a source of types knows into a new database file; return its size in bytes.

    It has its name only when it is whole, and takes the place of nothing but a database.
    """
    import tempfile
    module = sqlite()
    if os.path.exists(path):
        if not os.path.isfile(path):
            raise Error('%s: no place for a database: it is no file' % path)
        stream, ident = open_types_file(path)
        stream.close()
        if ident not in (DATABASE_MAGIC, b''):
            raise Error('%s: there is a file already, which is no database' % path)
    try:
        descriptor, scratch = tempfile.mkstemp('.db', '.making-', os.path.dirname(path) or '.')
        os.close(descriptor)
    except EnvironmentError as error:
        raise Error('%s: %s' % (path, os.strerror(error.errno).lower()))
    try:
        connection = module.connect(scratch)
        try:
            connection.execute('PRAGMA synchronous = OFF')
            DatabaseWriter(connection, types, architecture, console).write()
        finally:
            connection.close()
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(scratch, 0o666 & ~mask)
        os.rename(scratch, path)
    except (module.Error, EnvironmentError, OverflowError, UnicodeError) as error:
        raise Error('%s: %s' % (path, error))
    finally:
        for left in (scratch, scratch + '-journal'):
            if os.path.exists(left):
                os.remove(left)
    return os.path.getsize(path)


# ---------------------------------------------------------------------------
# Types from a server: HTTP -> records
#
# One POST for each name that is asked; what comes back is checked before it is used.
# The only section that opens sockets.
# ---------------------------------------------------------------------------

SERVER = 'pylcc.openanolis.cn'
SERVER_PORT = 7655
SERVER_LIMIT = 15               # seconds for one question
SERVER_ANSWER_LIMIT = 1 << 24   # bytes


class Server(TextTypes):
    """The types of one published kernel, as a server tells them."""

    kind = 'server'

    def __init__(self, address, release, architecture, check=lambda: None, limit=SERVER_LIMIT):
        match = re.match(r'([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?$', address)
        if not match:
            raise UsageError("-r takes HOST or HOST:PORT, not '%s'" % address)
        self.host, self.port = match.group(1).strip('[]'), int(match.group(2) or SERVER_PORT)
        if self.port > 65535:
            raise UsageError('-r: there is no port %d' % self.port)
        TextTypes.__init__(self, '%s:%d' % (self.host, self.port))
        if not re.match(r'[\w.+~-]+\Z', release):
            raise UsageError("'%s' is no release of a kernel, which uname -r tells" % release)
        self.release, self.architecture, self.limit = release, architecture, limit
        self.check = check          # raises StopRun when a signal has come

    def close(self):
        """Nothing is kept open between two questions."""

    def _ask(self, command, name, read):
        """Return what read makes of the server's result for a name, None if it has none."""
        import json
        request = json.dumps([{'arch': self.architecture, 'ver': self.release, 'cmd': command,
                               command: name}]).encode('ascii')
        try:
            answer = parse_json(self._post(request).decode('utf-8'))
        except ValueError:
            raise self._damaged('the answer is no JSON: is it the right server?')
        try:
            result = answer['res'][0]
            code, log, found = answer['code'], result['log'], result['res']
        except (TypeError, LookupError):
            raise self._damaged('the answer is not of the form that is asked for%s' % (
                '' if not isinstance(answer, dict) else said(answer.get('code'))))
        if code != 200 or log != 'ok.':
            raise self._damaged('it has nothing on kernel %s, %s%s' % (
                self.release, self.architecture, said(log)))
        try:
            return None if found is None else read(found)
        except (TypeError, LookupError, AttributeError):
            raise self._damaged("damaged: what should be a %s is none" % command)

    def _post(self, body):
        """Return the body of the answer to a POST."""
        head, _, answer = self._exchange((
            'POST /lbc HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n'
            'Content-Length: %d\r\nConnection: close\r\n\r\n' % (self.name, len(body))
        ).encode('ascii') + body).partition(b'\r\n\r\n')
        status = re.match(br'HTTP/1\.[01] ([0-9]{3})', head)
        if not status:
            raise self._damaged('what answers there speaks no HTTP')
        if status.group(1) != b'200':
            raise self._damaged('HTTP status %s' % to_text(status.group(1)))
        if re.search(br'(?im)^transfer-encoding:.*chunked', head):
            return unchunked(answer)
        return answer

    def _exchange(self, request):
        """Send a request and return all that comes back, within the limits of time and size."""
        import socket
        deadline, parts, size = clock() + self.limit, [], 0

        def left():
            seconds = deadline - clock()
            if seconds <= 0:
                raise socket.timeout()
            return seconds
        try:
            connection = socket.create_connection((self.host, self.port), left())
            try:
                connection.sendall(request)
                poll = select.poll()
                poll.register(connection, select.POLLIN)
                while size <= SERVER_ANSWER_LIMIT:
                    self.check()
                    connection.settimeout(left())
                    if not wait_for(poll, 1000 * min(left(), 0.5)):
                        continue
                    part = connection.recv(READ_SIZE)
                    if not part:
                        return b''.join(parts)
                    parts.append(part)
                    size += len(part)
            finally:
                connection.close()
        except socket.timeout:
            raise self._damaged('no whole answer in %g s' % self.limit)
        except (EnvironmentError, UnicodeError) as error:
            raise self._damaged('%s; is -r right, and can it be reached from here?' % (
                getattr(error, 'strerror', None) or error))
        raise self._damaged('the answer does not end: more than %d bytes' % SERVER_ANSWER_LIMIT)

    def look_up_layout(self, text):
        return self._ask('struct', text, lambda found: Layout(
            'union' if text.startswith('union ') else 'struct', self.number(found['size']),
            text_members([self.row(cell['type'], cell['name'], cell['offset'], cell['size'],
                                   cell['bits']) for cell in found['cell']])))

    def look_up_alias(self, name):
        return self._ask('type', name, lambda found: found and Alias(
            self.text(found['type'], C_TYPE), self.number(found['size'])))

    def functions(self, name):
        """Return the Functions of that name."""
        return self._ask('func', name, lambda found: [
            self.function(name, each['ret'], each['args'], each.get('argi', []))
            for each in found]) or []

    def names(self, _):
        """Raise the error that a server cannot list what it has."""
        raise self._damaged('a server answers for one name at a time, it has no lists')


def said(text):
    """Return ": it says '...'" for what a server said, with nothing in it that a terminal obeys."""
    words = re.sub(r'[^ -~]', '?', '%s' % (text,))[:200]
    return ": it says '%s'" % words


def unchunked(data):
    """Return the body of an answer that came in chunks (RFC 9112, 7.1)."""
    parts, at = [], 0
    while True:
        match = re.compile(br'([0-9A-Fa-f]{1,8})[^\r\n]*\r\n').match(data, at)
        size = int(match.group(1), 16) if match else 0
        if not size:
            return b''.join(parts)
        parts.append(data[match.end():match.end() + size])
        at = match.end() + size + 2


# ---------------------------------------------------------------------------
# Types: which source
#
# Takes what the person said of sources and gives the one for each symbol, opened at
# the first question.  Looks for files where distributions put them.
# ---------------------------------------------------------------------------

# mode: auto, btf, dwarf, gdb, local or remote.  release: of the kernel that is traced.  here: that
# kernel is the running one.  The others are the person's, None where nothing was said.
Choice = namedtuple('Choice', 'mode architecture release here vmlinux gdb database server')

RUNNING_BTF = '/sys/kernel/btf'
RUNNING_NOTES = '/sys/kernel/notes'
RUNNING_MODULE_NOTES = '/sys/module/%s/notes/.note.gnu.build-id'
DEBUG_MODULES = ('/usr/lib/debug/lib/modules/%s/kernel', '/usr/lib/debug/usr/lib/modules/%s/kernel',
                 '/usr/lib/debug/lib/modules/%s/extra')
DEBUG_FILES = ('/usr/lib/debug/lib/modules/%s/vmlinux', '/usr/lib/debug/boot/vmlinux-%s',
               '/usr/lib/debug/usr/lib/modules/%s/vmlinux', '/lib/modules/%s/build/vmlinux',
               '/boot/vmlinux-%s')
# How distributions' packages with a vmlinux that has debug info are installed, by os-release ID.
DEBUG_PACKAGES = (
    (('ubuntu',), 'apt-get install linux-image-%s-dbgsym'),     # it says it is like Debian
    (('debian',), 'apt-get install linux-image-%s-dbg'),
    (('fedora', 'rhel', 'centos', 'rocky', 'almalinux', 'anolis', 'alinux', 'openEuler'),
     'dnf debuginfo-install kernel-core-%s'),
    (('sles', 'opensuse-leap', 'opensuse-tumbleweed'), 'zypper install kernel-default-debuginfo'),
)


class Types(object):
    """The sources of a run."""

    def __init__(self, choice, console, check=lambda: None):
        self.choice, self.console = choice, console
        self.check = check          # raises StopRun when a signal has come
        self.opened = {}

    def of(self, module):
        """Return the source for the symbols of a module, or of the kernel where that is None."""
        return LazySource(lambda: self._open(module))

    def close(self):
        """End what was opened."""
        for source in self.opened.values():
            source.close()

    def disassembler(self):
        """Return the Gdb on a vmlinux, of which the symbols are enough."""
        path = self.choice.vmlinux or self._debug_file()
        if not path:
            raise NoTypesError('instructions are read from a vmlinux; name one with -v; %s'
                               % debug_package(self.choice.release))
        self.opened['gdb'] = Gdb(self.start_gdb(path, False))
        return self.opened['gdb']

    def _open(self, module):
        if module not in self.opened:
            path = module and self._module_file(module)
            self.opened[module] = (self._read_module(path) if path else
                                   self._open(None) if module else self._read())
        return self.opened[module]

    def _module_file(self, module):
        """Return the file with a module's own types, of the kind that its kernel's are; or None."""
        kernel = self._open(None)
        if isinstance(kernel, Btf):     # those of modules lie beside it, as in /sys/kernel/btf
            path = os.path.join(os.path.dirname(kernel.name), module)
            return path if path != kernel.name and is_btf(path) else None
        if kernel.kind != 'DWARF' or not self.choice.here or self.choice.vmlinux:
            return None
        return module_debug_file(module, self.choice.release)

    def _read_module(self, path):
        if isinstance(self._open(None), Btf):
            return Btf(read_btf(path), path, self._open(None))
        return self._told(Dwarf(self._debug_elf(path, True), self.console))

    def _read(self):
        mode, choice = self.choice.mode, self.choice
        if mode != 'remote' and not (choice.here or choice.vmlinux or choice.database):
            raise NoTypesError("the types of this machine's kernel would be wrong for %s: name a "
                               'file with that kernel\'s types with -v or -d'
                               % choice.architecture)
        return self._told({'auto': self._choose, 'btf': self._btf, 'dwarf': self._dwarf,
                           'gdb': self._gdb, 'local': self._local, 'remote': self._remote}[mode]())

    def _told(self, source):
        """Return a source of types once the person knows which it is."""
        registers = '' if self.choice.here else ', registers of ' + self.choice.architecture
        self.console.note('types from %s (%s)%s' % (source.name, source.kind, registers))
        return source

    def falls_back(self, unknown):
        """Tell whether gdb reads from now on what was not known, if it was ours to choose."""
        if self.choice.mode != 'auto':
            return False
        self.console.note('%s; gdb reads it instead' % unknown)
        self.opened = {None: self._told(self._gdb())}
        return True

    def _choose(self):
        """Return the first source that is on this machine."""
        if self.choice.vmlinux:
            elf, data = elf_of(self.choice.vmlinux), read_btf(self.choice.vmlinux)
            # (A module's BTF is only what its kernel's lacks.)
            without = data is None or elf and elf.relocatable and has_debug_info(elf)
            return self._dwarf_or_gdb() if without else self._btf(data)
        for find, source in ((self._running_btf, self._btf), (self._debug_file, self._dwarf_or_gdb),
                             (self._database_file, self._local)):
            if find():
                return source()
        raise NoTypesError(ways_out(self.choice.release))

    def _check_machine(self, elf):
        """Raise the error that a vmlinux is another kernel's than the one that is traced."""
        if elf:
            self._check_architecture(elf.path, elf.architecture)
        notes = elf and (RUNNING_MODULE_NOTES % module_of(elf.path) if elf.relocatable
                         else RUNNING_NOTES)
        if elf and self.choice.here and os.path.exists(notes):
            ids = build_id(read_file(notes)), vmlinux_build_id(elf)
            if None not in ids and ids[0] != ids[1]:
                raise SourceError('%s is not of the running kernel, %s: their build ids differ'
                                  % (elf.path, self.choice.release))

    def _check_architecture(self, name, architecture):
        if architecture not in (None, self.choice.architecture):
            raise SourceError('%s is of %s, and the registers are to be those of %s%s' % (
                name, architecture, self.choice.architecture, ': say -a %s, with -S' % architecture
                if architecture in ARCHITECTURES else ''))

    def _running_btf(self):
        path = os.path.join(RUNNING_BTF, 'vmlinux')
        return path if os.path.exists(path) else None

    def _btf(self, data=None):
        path = self.choice.vmlinux or self._running_btf()
        if not path:
            raise NoTypesError('this kernel has no %s/vmlinux (CONFIG_DEBUG_INFO_BTF, from 5.4 '
                               'on); name a file that holds its BTF with -v' % RUNNING_BTF)
        data = data or read_btf(path)
        if data is None:
            raise SourceError('%s: this ELF file has no section .BTF; -m gdb reads its debug info'
                              % path)
        elf = elf_of(path)
        self._check_machine(elf)
        if elf and elf.relocatable:
            raise SourceError("%s: a module's BTF is only what its kernel's lacks; %s" % (
                path, '-m dwarf reads its debug info' if has_debug_info(elf) else
                "name the kernel's vmlinux"))
        types = Btf(data, path)
        if self.choice.vmlinux and not elf:
            self._check_architecture(path, btf_architecture(types))
        return types

    def _dwarf_or_gdb(self):
        try:
            return self._dwarf()
        except UnknownDebugInfo as unknown:
            self.console.note('%s; gdb reads it instead' % unknown)
            return self._gdb()

    def _dwarf(self):
        return Dwarf(self._debug_elf(self._vmlinux(), True), self.console)

    def _gdb(self):
        return Gdb(self.start_gdb(self._vmlinux(), True))

    def _vmlinux(self):
        """Return the path of a vmlinux with debug info."""
        path = self.choice.vmlinux or self._debug_file()
        if not path:
            raise NoTypesError('there is no vmlinux with debug info of kernel %s here; name one '
                               'with -v; %s' % (self.choice.release,
                                                debug_package(self.choice.release)))
        return path

    def start_gdb(self, path, debug_info):
        """Return a GdbProcess on a vmlinux, which is to have debug info."""
        elf = self._debug_elf(path, debug_info)
        return GdbProcess(elf, self.choice.gdb or default_gdb(elf.architecture), self.console,
                          self.check)

    def _debug_elf(self, path, debug_info):
        """Return the Elf of a vmlinux of the right kernel, which is to have debug info."""
        elf = elf_of(path)
        if elf is None:
            raise SourceError('%s: no ELF file, which a vmlinux is' % path)
        self._check_machine(elf)
        if b'.symtab' not in elf.sections:
            raise SourceError('%s is stripped: it has neither types nor symbols; %s' % (
                path, debug_package(self.choice.release)))
        if debug_info and not has_debug_info(elf):
            raise SourceError('%s has symbols and no debug info; %s' % (
                path, debug_package(self.choice.release)))
        return elf

    def _debug_file(self):
        """Return a vmlinux with debug info of this kernel, None if there is none."""
        for pattern in DEBUG_FILES:
            path = pattern % self.choice.release
            if self.choice.here and os.path.exists(path):
                elf = elf_of(path)
                if elf and has_debug_info(elf):
                    return path
        return None

    def _database_file(self):
        name = 'info-%s.db' % self.choice.release
        for directory in ('.', os.path.dirname(os.path.abspath(__file__))):
            if os.path.exists(os.path.join(directory, name)):
                return os.path.join(directory, name)
        return None

    def _local(self):
        path = self.choice.database or self._database_file()
        if not path:
            raise NoTypesError('there is no info-%s.db here or beside the script; name a database '
                               'with -d, or make one with --make-db' % self.choice.release)
        source = Database(path)
        self._check_architecture(path, source.architecture)
        return source

    def _remote(self):
        address = self.choice.server
        if address is None:
            address = os.environ.get('LBC_SERVER') or SERVER
        return Server(address, self.choice.release, self.choice.architecture, self.check)


class LazySource(object):
    """A source of types that is opened when it is asked for the first time."""

    def __init__(self, open_source):
        self._open_source = open_source

    def __getattr__(self, question):
        return getattr(self._open_source(), question)


def default_gdb(architecture):
    """Return the gdb to start: one that lies here, else one that can read the architecture."""
    # (Of our own, that is: in /tmp anybody can leave one.)
    if os.path.exists('./gdb') and os.stat('./gdb').st_uid == os.geteuid():
        return './gdb'
    if architecture != running_architecture():
        for directory in os.environ.get('PATH', '').split(':'):
            if directory and os.access(os.path.join(directory, 'gdb-multiarch'), os.X_OK):
                return 'gdb-multiarch'
    return 'gdb'


def module_of(path):
    """Return the name of the module that a file is of: x_y for x-y.ko.debug."""
    return os.path.basename(path).partition('.')[0].replace('-', '_')


def module_debug_file(module, release):
    """Return the file with the debug info of a module, as distributions place it, or None."""
    for pattern in DEBUG_MODULES:
        for directory, _, names in os.walk(pattern % release):
            for name in names:
                if module_of(name) == module and '.ko' in name:
                    return os.path.join(directory, name)
    return None


def build_id(notes):
    """Return the build id in the bytes of ELF notes, None if there is none."""
    match = re.search(b'\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0(.{20})', notes, re.DOTALL)
    return match and match.group(1)


def vmlinux_build_id(elf):
    with open(elf.path, 'rb', 0) as stream:
        return build_id(read_section(stream, elf, b'.notes')
                        or read_section(stream, elf, b'.note.gnu.build-id') or b'')


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
# Kernel expression: tree + types + machine -> ftrace's own words
#
# A pure function of the tree, the types and the Target, whose Symbols are asked where a
# variable lies.  Gives a Compiled trace: the words of a kprobe line
# (Documentation/trace/kprobetrace.rst), the filter, and where in the person's text each
# came from.  Touches nothing.
# ---------------------------------------------------------------------------

# arguments: the registers of the first arguments, in order.  stack: the index in
# $stackN of the first argument that found no register, at a function's entry.
# by_reference: a struct of more than 16 bytes is passed behind a pointer.
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

# What is traced on: an Architecture, what its kernel has of FEATURES, and the Symbols of that
# kernel, None where nothing is to be asked of them.
Target = namedtuple('Target', 'architecture features symbols')
Target.__new__.__defaults__ = (None,)

# What kernels have learned: how tracefs/README tells of it, since when they have it, and the fetch
# type that does instead, '' where there is none.  (Before x8 to x64, u8 to u64 print hexadecimal.)
Feature = namedtuple('Feature', 'sign version instead')
FEATURES = {
    'hexadecimal': Feature('x8/16/32/64', '4.9', 'u'),
    'array': Feature('<array-size>', '4.20', ''),          # its first element
    'symbol': Feature(', symbol,', '4.20', 'x64'),
    'ustring': Feature('ustring', '5.3', 'string'),
    'symstr': Feature('symstr', '6.2', 'symbol'),
    'char': Feature(' char,', '6.12', 'x8'),            # or before: 6.1 lacks it
    'checks of types': Feature('<argname>', '6.5', ''),     # it knows what functions return
    'arguments on return': Feature('%pd', '6.9', ''),       # (that is of 6.10)
}
# What a kernel that cannot be asked is taken to have: all but the type that has a good substitute.
# It was built with BTF, or is as old; then it says itself what it does not take.
USUAL_FEATURES = frozenset(FEATURES) - frozenset(['char'])

# A value on its way: in memory `offset` bytes behind the address that base fetches,
# or base itself where offset is None; the base &NAME is the address of a symbol.
# type is a reference, None if it is not known.  registers: of a struct that is passed in
# registers, those that hold it, base being the first.
Place = namedtuple('Place', 'base offset type bit_offset bit_size registers')
Place.__new__.__defaults__ = (0, 0, ())

# The kernel's words for a value, its fetch type ('' for none), and the Conversion of what is
# printed for the screen, None where it is shown as it is.
Words = namedtuple('Words', 'text type conversion')
Words.__new__.__defaults__ = ('', None)

# text: the kernel's words behind NAME=.  size in bytes, None if the kernel decides.
# kind: 'string', 'signed', 'unsigned', 'array', 'other'.  column: where it stands in the person's
# text.  warning: what is not quite what was asked for, ''.
Argument = namedtuple('Argument', 'name text kind size column conversion warning')

# columns: where in the person's text each word of the kprobe line comes from.
Compiled = namedtuple('Compiled', 'text kind event place arguments filter columns')
KernelFilter = namedtuple('KernelFilter', 'text marks')     # marks: (position, column) pairs

# What the kernel's trace_probe.h allows.
NAME_LIMIT, VALUE_LIMIT, ARGUMENT_LIMIT, LINE_LIMIT = 32, 63, 128, 4095
ARRAY_LIMIT = 64
OFFSET_LIMIT = 1 << 31      # bytes, and more than any struct has
RESERVED_NAMES = frozenset((
    'common_type', 'common_flags', 'common_preempt_count', 'common_pid', 'common_tgid',
    '__probe_ip', '__probe_ret_ip', '__probe_func'))

# Headers in a packet, by the layer that skb->data points at: what lies before them.
PACKET_LAYERS = {
    'l2': {'ethhdr': (), 'vlan_hdr': ('ethhdr',), 'ipv6hdr': ('ethhdr',), 'iphdr': ('ethhdr',),
           'icmphdr': ('ethhdr', 'iphdr'), 'tcphdr': ('ethhdr', 'iphdr'),
           'udphdr': ('ethhdr', 'iphdr')},
    'l3': {'vlan_hdr': (), 'ipv6hdr': (), 'iphdr': (), 'icmphdr': ('iphdr',),
           'tcphdr': ('iphdr',), 'udphdr': ('iphdr',)},
    'l4': {'icmphdr': (), 'tcphdr': (), 'udphdr': ()},
}
# What follows a header, as arrays of 1, 2, 4 or 8 bytes, and as a string.
PACKET_DATA = dict((name, Type('array', target=Type('int', kind, size))) for name, kind, size in (
    ('cdata', 'u8', 1), ('sdata', 'u16', 2), ('ldata', 'u32', 4), ('qdata', 'u64', 8),
    ('Sdata', 'char', 1)))

# How what the kernel prints is shown on the screen, and is written in the filter.  size in bytes,
# None for any number.  form: 'ip', 'mac', 'ip6', 'names' or 'errno', or the base that the number
# with swapped bytes is shown in.  names: (name, number) pairs.
Conversion = namedtuple('Conversion', 'size form names')
Conversion.__new__.__defaults__ = ((),)
CONVERSIONS = {         # by the beginning of a value's name
    'ip_': Conversion(4, 'ip'), 'mac_': Conversion(6, 'mac'), 'ip6_': Conversion(16, 'ip6'),
    'B16_': Conversion(2, 16), 'B32_': Conversion(4, 16), 'B64_': Conversion(8, 16),
    'b16_': Conversion(2, 10), 'b32_': Conversion(4, 10), 'b64_': Conversion(8, 10),
}
BYTE_ORDERS = dict((size, (struct.Struct('<' + code), struct.Struct('>' + code)))
                   for size, code in ((2, 'H'), (4, 'I'), (8, 'Q')))
BOOLEAN = Conversion(None, 'names', (('false', 0), ('true', 1)))
ERRNO = Conversion(None, 'errno')
ADDRESS_TYPES = {'mac': 'b48@0/64', 'ip6': 'x8[16]'}     # the first as a number: filters take one
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


def number(text):
    """Return the number that text writes in decimal or, with 0x, hexadecimal; else ValueError."""
    if len(text) > 20 or not re.match(r'(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$', text):
        raise ValueError(text)
    return int(text, 16 if text[:2] in ('0x', '0X') else 10)


def number_at(token, limit, what):
    """Return the number of a token, which is to stay below limit."""
    try:
        value = number(token.text)
    except ValueError:
        value = limit
    if value >= limit:
        raise TraceError('no %s is as large as that' % what, token.column)
    return value


def conversion_of(name):
    """Return the Conversion that a value's name asks for, or None."""
    return CONVERSIONS.get(name[:name.find('_') + 1])


def swapped(number, size):
    """Return number with its bytes, size of them, in the other order."""
    little, big = BYTE_ORDERS[size]
    return big.unpack(little.pack(number & (1 << 8 * size) - 1))[0]


def shown(conversion, printed):
    """Return, as text for the screen, what the kernel printed of a value."""
    form = conversion.form
    if form == 'ip6':
        return ip6_text([int(part, 16) for part in printed.strip('{}').split(',')])
    value = int(printed, 0)
    if form == 'ip':
        return '%d.%d.%d.%d' % struct.unpack('4B', struct.pack('<I', value & 0xffffffff))
    if form == 'mac':
        return '%02x:%02x:%02x:%02x:%02x:%02x' % struct.unpack(
            '6B2x', struct.pack('<Q', value & 0xffffffffffff))
    if form == 'errno':
        return '-' + error_name(-value) if error_name(-value) else printed
    if form == 'names':
        return dict((number, name) for name, number in reversed(conversion.names)).get(
            value, printed)
    return ('0x%x' if form == 16 else '%d') % swapped(value, conversion.size)


def error_name(number):
    """Return the name of an error, of which Python has this machine's table; '' for none."""
    return KERNEL_ERRORS.get(number) or errno.errorcode.get(number, '')


def error_number(name):
    """Return the number of the error of a name; KeyError if there is none."""
    number = getattr(errno, name, None)     # Python knows both names where there are two
    if isinstance(number, int):
        return number
    return dict((known, number) for number, known in KERNEL_ERRORS.items())[name]


def ip6_text(data):
    """Return 16 numbers as an IPv6 address is written (RFC 5952)."""
    text = ':'.join('%x' % (data[at] << 8 | data[at + 1]) for at in range(0, 16, 2))
    zeros = list(re.finditer(r'(?<![^:])0(?::0)+(?![^:])', text))
    if not zeros:
        return text
    longest = max(zeros, key=lambda row: len(row.group()))      # the first of several
    return text[:longest.start()].rstrip(':') + '::' + text[longest.end():].lstrip(':')


def kernel_number(conversion, operand):
    """Return, as text for a filter, what the person wrote.

    ValueError, or KeyError where names are known, if it is no such value.
    """
    form = conversion.form
    if form == 'ip':
        if not re.match(r'[0-9]{1,3}(?:\.[0-9]{1,3}){3}$', operand):
            raise ValueError(operand)
        parts = bytearray(int(part) for part in operand.split('.'))     # each below 256
        return '0x%x' % struct.unpack('<I', bytes(parts))
    if form == 'mac':
        if not re.match(r'[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$', operand):
            raise ValueError(operand)
        return '0x' + ''.join(reversed(operand.split(':')))
    if form == 'names':
        return '%d' % dict(conversion.names)[operand]
    if form == 'errno':
        return '-%d' % error_number(operand[1:] if operand[:1] == '-' else '')
    value = number(operand)
    if value >> 8 * conversion.size:
        raise ValueError(operand)
    return ('0x%x' if form == 16 else '%d') % swapped(value, conversion.size)


def compile_trace(trace, event, symbol, types, target):
    """Return the Compiled form of a Probe on symbol, to be the event called event."""
    symbol_text = (trace.module.text + ':' if trace.module else '') + symbol + (
        '+' + trace.offset.text if trace.offset else '')
    if trace.kind == 'r' and trace.offset:
        raise TraceError("a return trace takes no offset", trace.offset.column)
    check_names(trace)
    arguments = compile_values(trace, symbol, types, target)
    line_size = len(symbol_text) + sum(len(argument.name + argument.text) + 2
                                       for argument in arguments)
    if line_size > LINE_LIMIT - NAME_LIMIT:
        raise TraceError('the kernel takes a line of %d characters, this needs %d: split it into '
                         'two traces' % (LINE_LIMIT, line_size + NAME_LIMIT), trace.symbol.column)
    columns = (0, trace.symbol.column) + tuple(argument.column for argument in arguments)
    return Compiled(trace.text, trace.kind, event, symbol_text, arguments,
                    trace.filter and compile_filter(trace.filter, probe_fields(trace, arguments),
                                                    arguments, types), columns)


def compile_event(trace, fields, types):
    """Return the Compiled form of an Event; fields are its format's, None if they are unknown."""
    if fields is not None:
        fields = dict(COMMON_FIELDS, **fields)
    return Compiled(trace.text, trace.kind, trace.event.text, trace.system.text, (),
                    trace.filter and compile_filter(trace.filter, fields, (), types),
                    (trace.system.column,))


def check_names(trace):
    seen = set()
    if len(trace.values) > ARGUMENT_LIMIT:
        raise TraceError('a trace holds at most %d values, this has %d'
                         % (ARGUMENT_LIMIT, len(trace.values)),
                         trace.values[ARGUMENT_LIMIT].name.column)
    for value in trace.values:
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


def compile_values(trace, symbol, types, target):
    """Return the Arguments of a Probe, the same for every prototype that its function has."""
    prototypes = [None]
    if any(needs_prototype(value, target) for value in trace.values):
        prototypes = find_prototypes(trace, symbol, types) or [None]
    if not any(function and function.parameters is not None for function in prototypes):
        for value in trace.values:
            check_untyped(value, trace, symbol, types, target)
    return tuple(warned(compile_for_all(value, trace, prototypes, types, target), value, types)
                 for value in trace.values)


def warned(argument, value, types):
    """Return an Argument with a warning if its casts name a struct that is one of several."""
    casts = [value.cast] + [access.cast for access in value.accesses]
    for kind, name in sorted(set(re.findall(r'(struct|union) +(\w+)', ' '.join(
            cast.text for cast in casts if cast)))):
        copies = types.copies(kind, name)
        if copies > 1:
            argument = argument._replace(warning='%s%d different ones are called %s %s here; taken '
                                         'is that of %d bytes' % (
                                             argument.warning and argument.warning + '; ', copies,
                                             kind, name, size_of(types, types.find(kind, name))))
    return argument


def is_inside(trace):
    """Tell whether a trace is somewhere inside of its function."""
    return bool(trace.offset and number_at(trace.offset, OFFSET_LIMIT, 'function'))


def check_untyped(value, trace, symbol, types, target):
    """Check that a value, in a function without a prototype, needs none."""
    base = value.base
    if value.raw or base.kind != 'argument' or is_inside(trace) or base.text.isdigit() and (
            value.cast or not (value.accesses or value.packet)):
        return
    if trace.kind == 'r':
        check_return(base, target)
    raise TraceError("no prototype of '%s' is known here, so %s %s%s" % (
        symbol, spelled(base), untyped_problem(value, trace, symbol),
        spelling_hint(symbol, types, target)), base.column)


def untyped_problem(value, trace, symbol):
    """Return what is wrong with a value of an argument without a type, and the way out."""
    base = value.base
    if value.packet and base.text.isdigit():
        return 'has no type: cast it, @(struct %s *)%s!(struct sk_buff **)%s->...' % (
            value.packet.header.text, value.packet.layer.text if value.packet.layer else '',
            spelled(base))
    if base.text.isdigit():
        return 'has no type: cast it, !(struct NAME *)%s->...' % spelled(base)
    if '.' not in symbol:
        return 'is not known: count it, and cast it, !(struct NAME *)%0->... for the first argument'
    return 'may lie anywhere: ' + (
        'use an entry trace (p) and a register' if trace.kind == 'r' else
        'name a register, with a cast where a member is wanted')


def spelling_hint(symbol, types, target):
    """Return what a function's name may be meant to be, '' where it is known to be right."""
    if '.' in symbol or target.symbols and target.symbols.names():
        return ''
    try:
        return nearest(symbol, types.names('function')).replace(':', '; or', 1)
    except SourceError:
        return ''       # a server has no lists


def needs_prototype(value, target):
    if value.raw or value.base.text == '$comm':
        return False
    if value.base.kind == 'argument':
        return True
    return value.base.text == '$retval' and ('checks of types' in target.features or bool(
        not value.cast and (value.accesses or value.packet or value.letter and (
            not value.fetch_type))))


def find_prototypes(trace, symbol, types):
    """Return the Functions of a symbol, [] if none is known.

    Of a variant, ip_rcv.constprop.0, the parameters are known only where debug info tells its own:
    the compiler moves and drops arguments, and the BTF of its function says nothing of it.
    """
    try:
        found = types.functions(symbol)
        if not found and '.' in symbol and types.kind == 'BTF':
            found = [function._replace(parameters=None)
                     for function in types.functions(symbol.partition('.')[0])][:1]
        if any(value.base and value.base.text == '$retval' for value in trace.values):
            # Of several functions those that return nothing are not meant.
            found = [function for function in found if stripped(
                types, function.result).kind != 'void'] or found
        return found
    except NoTypesError:
        if any(value.accesses or value.packet or value.base and value.base.kind == 'argument'
               and not value.base.text.isdigit() for value in trace.values):
            raise
        return []       # a register alone can be shown without types


def compile_for_all(value, trace, prototypes, types, target):
    outcomes = []
    for function in prototypes:
        try:
            outcomes.append(compile_value(value, trace, function, types, target))
        except TraceError as error:
            outcomes.append(error)
    compiled = [outcome for outcome in outcomes if isinstance(outcome, Argument)]
    if not compiled:
        raise outcomes[0]
    if len(compiled) < len(outcomes) and not value.cast or len(set(compiled)) > 1:
        raise TraceError('several functions have this name, and the value differs: %s; say which '
                         'with a cast, !(TYPE)' % '; '.join(
                             sorted(set(prototype(types, function) for function in prototypes))),
                         value.base.column)
    return compiled[0]


def compile_value(value, trace, function, types, target):
    """Return the Argument of a Value, in a trace of function, a Function or None."""
    if value.raw:
        text, colon, fetch_type = value.raw.text.rpartition(':')
        return finish(value, Words(value.raw.text, fetch_type if colon else ''), target)
    if value.base.text == '$comm' and (value.cast or value.packet or value.accesses):
        raise TraceError('$comm is a string: it has no members and takes no cast',
                         value.base.column)
    place = base_place(value, trace, function, types, target)
    if value.packet:
        return finish(value, packet_words(value, place, types), target)
    for access in value.accesses:
        place = follow(place, access, types)
    words = place_words(value, place, types, 'X')
    if is_status(value, place, types):
        words = words._replace(conversion=ERRNO)
    return finish(value, words, target)


def is_status(value, place, types):
    """Tell whether a value, S$retval, may be an error."""
    if value.base.text != '$retval' or not value.letter or value.letter.text != 'S' or (
            value.accesses or value.fetch_type):
        return False
    held = place.type and stripped(types, place.type)
    return not held or held.kind == 'pointer' or held.kind == 'int' and held.name != '_Bool'


def finish(value, words, target):
    """Return the Argument of a Value from the kernel's words for it."""
    name, column = value.name.text, (value.raw or value.base).column
    fetch_type, warning = (words.type, '') if value.raw else supported(words.type, target)
    whole = words.text + ':' + fetch_type if fetch_type and not value.raw else words.text
    if len(whole) > VALUE_LIMIT:
        raise TraceError('the kernel takes a value of %d characters, this one becomes %d: %s; '
                         'start from a register nearer to it'
                         % (VALUE_LIMIT, len(whole), whole), column)
    kind, size = 'unsigned', None
    match = re.match(r'([sux])([0-9]+)$', fetch_type)
    if match:
        kind = 'signed' if match.group(1) == 's' else 'unsigned'
        size = int(match.group(2)) // 8
    elif fetch_type == 'char':
        size = 1
    elif '[' in fetch_type:
        kind = 'array'
    elif 'str' in fetch_type or words.text == '$comm':
        kind = 'string'
    conversion = conversion_of(name)
    if words.conversion and warning:
        raise TraceError('%s takes an array: %s' % (name[:name.index('_') + 1], warning), column)
    if conversion and words.conversion != conversion and size != conversion.size and (
            fetch_type != ADDRESS_TYPES.get(conversion.form)):
        raise TraceError("'%s' turns around a number of %d bytes, and this is %s; another name "
                         'leaves it as it is' % (
                             name[:name.index('_') + 1], conversion.size,
                             'one of %d' % size if size else 'none (name its :type)'), column)
    return Argument(name, whole, kind, size, column, conversion or words.conversion, warning)


def supported(fetch_type, target):
    """Return a fetch type that the kernel has for one, and a warning where that shows less."""
    kind, bracket, length = fetch_type.partition('[')
    feature = feature_of(kind)
    while feature and feature not in target.features:
        kind = FEATURES[feature].instead + (kind[1:] if feature == 'hexadecimal' else '')
        feature = feature_of(kind)
    if bracket and 'array' not in target.features:
        return kind, ('this kernel shows no arrays, which came with Linux %s: only the first '
                      'element' % FEATURES['array'].version)
    return kind + bracket + length, ''


def feature_of(kind):
    """Return the one of FEATURES that a fetch type, of no array, takes, or None."""
    return 'hexadecimal' if kind.startswith('x') else kind if kind in FEATURES else None


def base_place(value, trace, function, types, target):
    """Return the Place that a value starts from, of the type that it is cast to."""
    base, architecture = value.base, target.architecture
    if base.kind == 'symbol':
        return symbol_place(value, types, target)
    if base.kind == 'argument':
        place = argument_place(base, trace, function, types, target)
    elif base.kind == 'register':
        place = Place('%' + register_name(base, architecture), None, None)
    elif base.text == '$retval':
        if trace.kind != 'r':
            raise TraceError('$retval is there on return only: begin the trace with r', base.column)
        if function and stripped(types, function.result).kind == 'void':
            raise TraceError('%s returns nothing (void)' % function.name, base.column)
        place = Place('$retval', None, function and function.result)
    else:
        place = Place(base.text, None, None)
    return cast_place(place, value.cast, types) if value.cast else place


def cast_place(place, cast, types, is_object=False):
    """Return a Place cast to a type; is_object: what lies there is meant where that is a pointer.

    So it is in C with an array, which decays to its address.
    """
    ref = find_c_type(types, cast.text, cast.column)
    held = stripped(types, ref)
    if is_object and held.kind == 'pointer':
        ref = Type('decayed', target=held.target)
    before = held if place.type is None else stripped(types, place.type)
    if before.kind in ('int', 'enum') and before.size < held.size:
        if held.kind in ('pointer', 'struct', 'union'):
            raise TraceError('%s has %s, too few for %s' % (
                what_is(types, place.type), count_of(before.size, 'byte'),
                'an address' if held.kind == 'pointer' else "a '%s'" % declared(types, ref)),
                cast.column)
        ref = held._replace(size=before.size)       # what lies behind it is something else
    return place._replace(type=ref)


def symbol_place(value, types, target):
    """Return the Place at a symbol, of the type that it is cast to."""
    base = value.base
    symbol = target.symbols and target.symbols.variable(base)
    variable = variable_of(types, base.text)
    if symbol and symbol.per_cpu or variable and variable.per_cpu:
        raise TraceError("each CPU has a '%s' of its own, and ftrace reads at one address only: "
                         'trace a function that has its address as an argument' % base.text,
                         base.column)
    place = Place('&' + base.text, 0, variable and variable.type)
    if not variable and symbol and symbol.size in (1, 2, 4):
        place = place._replace(type=Type('int', 'u%d' % (8 * symbol.size), symbol.size))
    if not value.cast:
        return place
    return cast_place(place, value.cast, types, is_object(value, symbol, variable, types))


def variable_of(types, name):
    try:
        return types.variable(name)
    except NoTypesError:
        return None         # what lies there can be shown all the same


def is_object(value, symbol, variable, types):
    """Tell whether what a cast to a pointer points at lies at the symbol itself.

    Else a pointer does.  The variable's type tells, or else whether there is room for the object
    before the next symbol; both may not be known.
    """
    if variable:
        return stripped(types, variable.type).kind in ('struct', 'union', 'array')
    held = stripped(types, find_c_type(types, value.cast.text, value.cast.column))
    if held.kind != 'pointer':
        return False
    aggregate = stripped(types, held.target).kind in ('struct', 'union')
    room = symbol.size if symbol else None
    has_elements = value.accesses and not value.accesses[0].operator
    # (What lies behind a pointer may be aligned to 64 bytes.)
    if has_elements and not aggregate and (room is None or POINTER_SIZE < room <= 64):
        raise TraceError("whether '%s' is an array or points at one is not known here; a vmlinux "
                         'with debug info (-v) tells' % value.base.text, value.base.column)
    if room is not None:
        return room >= max(size_of(types, held.target), POINTER_SIZE + 1) and (
            aggregate or room > 64)
    if aggregate:
        pointed = declared(types, held.target)
        raise TraceError("whether '%s' is a %s or points at one is not known here: if it is one, "
                         'write !(%s)@%s.%s; a vmlinux (-v) tells' % (
                             value.base.text, pointed, pointed, value.base.text,
                             value.accesses[0].name.text
                             if value.accesses and value.accesses[0].name else 'MEMBER'),
                         value.base.column)
    return False


def register_name(base, architecture):
    """Return the kernel's name of a register, which drops the r of %rdi."""
    for name in (base.text, base.text[1:] if base.text.startswith('r') else ''):
        if name in architecture.registers:
            return name
    raise TraceError('%s has no register %%%s%s' % (
        architecture.name, base.text, nearest(base.text, architecture.registers)), base.column)


def argument_place(base, trace, function, types, target):
    """Return where an argument lies when the function begins, or on return what the kernel kept."""
    architecture = target.architecture
    if trace.kind == 'r':
        check_return(base, target)
    if is_inside(trace):
        raise TraceError('inside a function the argument registers hold something else: name a '
                         'register, %%%s, with a cast where a member is wanted, '
                         '!(struct NAME *)%%%s->...'
                         % (architecture.arguments[0], architecture.arguments[0]), base.column)
    if function is None or function.parameters is None:
        place = locate_argument(number_at(base, ARGUMENT_LIMIT, 'list of arguments'), [], None,
                                None, architecture)
    else:
        place = known_argument_place(base, function, types, architecture)
    return kept_argument(place, base, architecture) if trace.kind == 'r' else place


def check_return(base, target):
    """Check that the kernel keeps arguments until the return."""
    if 'arguments on return' not in target.features:
        raise TraceError('on return the argument registers hold something else, and this kernel '
                         'keeps no arguments, as they do from Linux %s on: there is $retval, and '
                         'an entry trace (p) for the arguments'
                         % FEATURES['arguments on return'].version, base.column)


def known_argument_place(base, function, types, architecture):
    parameters = named_parameters(types, function)
    index = parameter_index(base, function, parameters, types)
    if '' in [parameter.location for parameter in parameters]:
        left = ['%s in %%%s' % (parameter.name or declared(types, parameter.type),
                                parameter.location)
                for parameter in parameters if parameter.location]
        raise TraceError('the compiler changed the arguments of %s, so that %s counts no more: '
                         'name a register, with a cast where a member is wanted (known: %s)'
                         % (function.name, spelled(base), ', '.join(left) or 'none'), base.column)
    place = parameter_place(index, function, types, architecture)
    if place is None:
        raise TraceError("where %s lies is not known here (floating point, 16 bytes in one, or not "
                         'aligned, it or one before it): name a register' % spelled(base),
                         base.column)
    return place


def parameter_index(base, function, parameters, types):
    """Return the number, from 0, of the parameter that a base counts or calls by its name."""
    names = [parameter.name for parameter in parameters]
    if base.text in names:
        return names.index(base.text)
    if not base.text.isdigit():
        raise TraceError("%s has no argument '%s'%s" % (
            function.name, base.text, nearest(base.text, names) or (
                ': it has ' + ', '.join(names) if all(names) and names else
                '; these types do not tell their names: count, %%0 is the first of %d' % len(names)
                if names else ': it has none')), base.column)
    index = number_at(base, ARGUMENT_LIMIT, 'list of arguments')
    if index >= len(parameters):
        raise TraceError('%s has %s: %s' % (function.name, count_of(
            len(parameters), 'argument'), prototype(types, function)), base.column)
    return index


def spelled(base):
    """Return an argument as the person wrote it."""
    return ('%' if base.text.isdigit() else '$') + base.text


def kept_argument(place, base, architecture):
    """Return the Place on return of an argument: the kernel keeps what $argN was at the entry."""
    def kept(register):
        stack = re.match(r'\$stack([0-9]+)$', register)
        if register[1:] in architecture.arguments:
            return '$arg%d' % (architecture.arguments.index(register[1:]) + 1)
        if stack and not architecture.by_reference:     # aarch64 keeps none from the stack
            return '$arg%d' % (len(architecture.arguments) + 1 - architecture.stack
                               + int(stack.group(1)))
        raise TraceError('on return the kernel keeps no argument that lies in %s: use an entry '
                         'trace (p)' % register, base.column)
    return place._replace(base=kept(place.base), registers=tuple(map(kept, place.registers)))


def parameter_place(index, function, types, architecture):
    """Return the Place of a Function's parameter when it begins, None if that is not known."""
    parameter = function.parameters[index]
    if parameter.location is not None:
        return Place('%' + parameter.location, None, parameter.type)
    sizes = []
    for other in function.parameters[:index + 1]:
        held = stripped(types, other.type)
        if not is_passed_as_usual(types, held):
            return None
        sizes.append(aggregate_size(types, held))
    return locate_argument(index, sizes, aggregate_size(types, function.result), parameter.type,
                           architecture)


def is_passed_as_usual(types, ref, at=0):
    """Tell whether locate_argument() knows how an argument, or a part at a bit of it, is passed."""
    held = stripped(types, ref)
    if held.kind == 'array':
        return is_passed_as_usual(types, held.target, at)
    if held.kind in ('struct', 'union'):
        return all(member.bit_size or is_passed_as_usual(types, member.type, at + member.bit_offset)
                   for member in types.members(held))
    return held.kind != 'float' and held.size <= POINTER_SIZE and not (
        held.size and at % (8 * held.size))


def aggregate_size(types, ref):
    """Return the bytes of a struct or union that is passed by value, None for all else."""
    found = stripped(types, ref)
    if found.kind == 'missing' or found.kind in ('struct', 'union') and found.target is None:
        raise SourceError("these types do not say how large '%s' is, an argument that moves the "
                          'others: name a register' % declared(types, ref))
    return found.size if found.kind in ('struct', 'union') else None


def locate_argument(index, sizes, result_size, ref, architecture):
    """Return the Place of an argument by the calling convention (System V x86-64, AAPCS64).

    sizes are in bytes, of the arguments up to this one that are a struct by value, and None
    for the others; they move what follows them.  So does a large result on x86_64: the address
    that it is to be written to comes first.
    """
    registers, stack = 0, architecture.stack
    if result_size and result_size > 16 and not architecture.by_reference:
        registers = 1
    for position in range(index + 1):
        size = sizes[position] if position < len(sizes) else None
        by_reference = size is not None and size > 16 and architecture.by_reference
        words = 1 if size is None or by_reference else (size + 7) // 8
        in_memory = words > 2
        if not in_memory and registers + words <= len(architecture.arguments):
            held_by = ['%' + name for name in architecture.arguments[registers:registers + words]]
            place = Place((held_by or [''])[0], None, ref,
                          registers=() if size is None or by_reference else tuple(held_by))
            registers += words
        else:
            place = Place('$stack%d' % stack, None, ref)
            if size is not None and not by_reference:
                place = Place('$stack', 8 * stack, ref)
            stack += words
            if architecture.by_reference and words > 1:
                registers = len(architecture.arguments)
    return Place(place.base, 0, ref) if by_reference else place


def fetch(place):
    """Return the kernel's words for a Place, without a type."""
    if place.offset is None:
        return place.base
    if place.base.startswith('&'):      # ftrace's @ fetches what lies at a symbol
        return '@' + place.base[1:] + ('+0x%x' % place.offset if place.offset else '')
    return '+0x%x(%s)' % (place.offset, place.base)


def follow(place, access, types):
    """Return the Place of a member, or of an element, of what lies at place."""
    if access.operator:
        place, held = holder(place, access.operator, access.name, types)
        place = member_place(place, held, access.name, types)
    return with_elements(place, access, types)


def with_elements(place, access, types):
    """Return the Place that the indexes and the cast of an Access lead to."""
    for index in access.indexes:
        place = element_place(place, index, types)
    if access.cast and place.bit_size:
        raise TraceError('a bitfield, or a part of a register, cannot be cast',
                         access.cast.column)
    if access.cast:
        place = cast_place(place, access.cast, types, stripped(types, place.type).kind == 'array')
    return place


def holder(place, operator, name, types):
    """Return the Place, and the Type, of the struct or union that a member is taken of."""
    if place.type is None:
        raise TraceError('the type of %s is not known here: cast it, !(struct NAME%s)%s%s%s' % (
            fetch(place), ' *' if operator.text == '->' else '', fetch(place), operator.text,
            name.text), operator.column)
    held = stripped(types, place.type)
    if held.kind in ('pointer', 'decayed'):
        if operator.text == '.':
            raise TraceError('%s is a pointer: use ->%s' % (what_is(types, (
                place.type if held.kind == 'pointer' else held._replace(kind='pointer'))),
                name.text), operator.column)
        place, held = pointed_at(place, held, types)
    elif operator.text == '->' and held.kind in ('struct', 'union'):
        raise TraceError('%s is not a pointer: use .%s' % (
            what_is(types, place.type), name.text), operator.column)
    if held.kind == 'array':
        raise TraceError('%s is an array: take one element, [0]' % what_is(types, place.type),
                         operator.column)
    if held.kind not in ('struct', 'union'):
        whole = place.type if held.kind != 'pointer' else Type('pointer', target=place.type)
        raise TraceError('%s has no members%s' % (what_is(types, whole), {
            'void': ': cast it, !(struct NAME *)',
            'pointer': ': put [0] before the ->, to follow one pointer more'}.get(held.kind, '')),
            operator.column)
    if place.offset is None and not place.registers:
        raise TraceError("%s lies in a register, of which ftrace reads no members; if that holds "
                         'its address, the type is %s *' % (
                             what_is(types, place.type), declared(types, place.type)),
                         operator.column)
    return place, held


def pointed_at(place, held, types):
    """Return the Place, and the Type, that a pointer or a decayed array at a Place points at."""
    return (Place(fetch(place), 0, held.target) if held.kind == 'pointer'
            else place._replace(type=held.target)), stripped(types, held.target)


def what_is(types, ref):
    return "this, '%s'," % declared(types, ref)


def member_place(place, held, name, types):
    member = find_member(types, held, name.text)
    if member is None:
        names = [member.name for member in all_members(types, held)]
        raise TraceError("%s has no member '%s'%s" % (
            declared(types, held), name.text, nearest(name.text, names) if names
            else ': it is only declared in these types'), name.column)
    if place.offset is None:
        return place_in_registers(place, member, types)
    return Place(place.base, place.offset + member.bit_offset // 8, member.type,
                 member.bit_offset % 8, member.bit_size)


def place_in_registers(place, member, types):
    """Return the Place of a member of a struct that lies in registers: bits of one of them."""
    number, first = divmod(place.bit_offset + member.bit_offset, 8 * POINTER_SIZE)
    if number >= len(place.registers):
        raise SourceError('the types are damaged: a member lies outside of its struct')
    bits = member.bit_size
    if first and stripped(types, member.type).kind not in ('struct', 'union', 'array'):
        bits = bits or 8 * size_of(types, member.type)
    return Place(place.registers[number], None, member.type, first, bits, place.registers[number:])


def element_place(place, index, types):
    """Return the Place of an array's element, or of what a pointer points at, as in C."""
    if place.type is None:
        raise TraceError('the type of %s is not known here: cast it, !(TYPE *)' % fetch(place),
                         index.column)
    held, at = stripped(types, place.type), number_at(index, OFFSET_LIMIT, 'array')
    if held.kind == 'pointer':
        if not size_of(types, held.target):
            raise TraceError('%s points at nothing that has a size: cast it'
                             % what_is(types, place.type), index.column)
        return Place(fetch(place), at * size_of(types, held.target), held.target)
    if held.kind == 'decayed':
        return place._replace(offset=place.offset + at * size_of(types, held.target),
                              type=held.target)
    if held.kind != 'array':
        raise TraceError('%s is no array' % what_is(types, place.type), index.column)
    if place.offset is None:
        raise TraceError('%s lies in a register, of which ftrace reads no elements'
                         % what_is(types, place.type), index.column)
    if held.length and at >= held.length:
        raise TraceError('the index is past the end: the array has %s, 0 to %d' % (
            count_of(held.length, 'element'), held.length - 1), index.column)
    return Place(place.base, place.offset + at * size_of(types, held.target), held.target)


def packet_words(value, place, types):
    """Return the Words for a value in the packet of the sk_buff at place."""
    layer, header = value.packet.layer, value.packet.header
    headers = PACKET_LAYERS[layer.text if layer else 'l3']
    if header.text not in headers:
        legal = [mark for mark in sorted(PACKET_LAYERS) if header.text in PACKET_LAYERS[mark]]
        raise TraceError("there is no '%s' at %s: %s" % (
            header.text, layer.text if layer else 'l3, the layer where none is named',
            'its layers are ' + ', '.join(legal) if legal else 'the headers are ' + ', '.join(
                sorted(PACKET_LAYERS['l2']))), header.column)
    start = skb_data(value, place, types)
    before = sum(size_of(types, find_struct(types, name, header)) for name in headers[header.text])
    struct_ref = find_struct(types, header.text, header)
    start = start._replace(offset=before, type=Type('decayed', target=struct_ref))
    if not value.accesses:
        raise TraceError('name a member of the header: %s->%s' % (
            header.text, ' or ->'.join(member.name for member in all_members(types, struct_ref))),
            value.base.column)
    first = value.accesses[0]
    if not first.operator:
        raise TraceError('leave out the index: of a struct sk_buff ** the first skb is taken',
                         first.indexes[0].column)
    if first.operator.text == '->' and first.name.text in PACKET_DATA:
        place = with_elements(start._replace(offset=before + size_of(types, struct_ref),
                                             type=PACKET_DATA[first.name.text]), first, types)
    else:
        place = follow(start, first, types)
    for access in value.accesses[1:]:
        place = follow(place, access, types)
    return place_words(value, place, types, 'U')


def skb_data(value, place, types):
    """Return the Place at sk_buff->data; a struct sk_buff ** is followed once more."""
    column = value.base.column
    skb = find_struct(types, 'sk_buff', value.packet.header)
    if place.type is not None:
        held = stripped(types, place.type)
        inner = stripped(types, held.target) if held.kind == 'pointer' else held
        if inner.kind == 'pointer':
            place, inner = Place(fetch(place), 0, None), stripped(types, inner.target)
        if held.kind != 'pointer' or (inner.kind, inner.name) != ('struct', 'sk_buff'):
            raise TraceError('%s is no struct sk_buff *: @(...) reads the packet of an skb; '
                             'or cast it, !(struct sk_buff *)'
                             % what_is(types, held), column)
    data = find_member(types, skb, 'data')
    if data is None:
        raise SourceError('struct sk_buff has no member data in these types')
    return Place(fetch(Place(fetch(place), data.bit_offset // 8, None)), 0, None)


def find_struct(types, name, token):
    ref = types.find('struct', name)
    if ref is None:
        raise TraceError("these types have no 'struct %s'" % name, token.column)
    return ref


def number_type(letter, size):
    """Return the fetch type of a number of size bytes."""
    return '%s%d' % (letter.lower(), 8 * size)


def place_words(value, place, types, default):
    """Return the Words that show what lies at place, as a number by the letter `default`."""
    conversion = conversion_of(value.name.text)
    if conversion and conversion.form in ADDRESS_TYPES:
        return address_words(value, place, types, conversion)
    if value.fetch_type:
        return typed_words(value, place, types)
    if place.type is None or is_plain(value):
        return untyped_words(value, place)
    held = stripped(types, place.type)
    if place.bit_size:
        return bitfield_words(value, place, held, types)
    if held.kind == 'array':
        return array_words(value, place, held, types)
    if held.kind == 'decayed' and not value.letter and is_text(types, held.target):
        return Words(fetch(place), 'string')
    if held.kind == 'pointer' and not value.letter:
        if is_text(types, held.target):
            return Words('+0x0(%s)' % fetch(place),
                         'ustring' if is_user(types, held.target) else 'string')
        if stripped(types, held.target).kind == 'function':
            return Words(fetch(place), 'symbol')
    if held.size not in (1, 2, 4, 8) or held.kind == 'void':
        raise TraceError(unshowable(types, place.type, held), value_end(value))
    if value.letter:
        return Words(fetch(place), number_type(value.letter.text, held.size))
    if (held.kind, held.name) == ('int', 'char'):
        return Words(fetch(place), 'char')
    letter = 'S' if held.kind == 'enum' and held.signed else default
    return Words(fetch(place), number_type(letter, held.size), names_of(types, held))


def names_of(types, held):
    """Return the Conversion of numbers of a Type that has names for them, or None."""
    if (held.kind, held.name) == ('int', '_Bool'):
        return BOOLEAN
    names = tuple(types.enumerators(held)) if held.kind == 'enum' else ()
    return Conversion(None, 'names', names) if names else None


def is_plain(value):
    """Tell whether a value is a register or $retval and nothing else."""
    return not (value.letter or value.cast or value.accesses) and (
        value.base.kind == 'register' or value.base.text == '$retval')


def untyped_words(value, place):
    if value.base.text == '$comm':
        if value.letter:
            raise TraceError('$comm is a string, which no letter goes with', value.letter.column)
        return Words('$comm')
    if is_plain(value):
        return Words(fetch(place))
    return Words(fetch(place), number_type(value.letter.text if value.letter else 'X', 8))


def typed_words(value, place, types):
    """Return the Words for a value with a :type; a string or an array is where a pointer points."""
    text, fetch_type = fetch(place), value.fetch_type.text
    if place.offset is None and place.bit_offset:
        raise TraceError('it is bits %d to %d of a register, which no type of ftrace takes: leave '
                         'out the %s' % (place.bit_offset, place.bit_offset + place.bit_size - 1,
                                         fetch_type), value.fetch_type.column)
    if place.type is not None and stripped(types, place.type).kind == 'decayed' and not (
            'str' in fetch_type or '[' in fetch_type):
        raise TraceError(unshowable(types, place.type, stripped(types, place.type)),
                         value_end(value))
    if re.match(r'u?string|.*\[', fetch_type) and value.base.text != '$comm':
        held = None if place.type is None else stripped(types, place.type)
        if held.kind == 'pointer' if held else place.offset is None:
            text = '+0x0(%s)' % text
        elif place.offset is None:
            raise TraceError('%s lies in a register, and is no pointer: there is no %s there'
                             % (what_is(types, place.type), fetch_type), value.fetch_type.column)
    return Words(text, fetch_type)


def address_words(value, place, types, conversion):
    """Return the Words for a MAC address (6 bytes) or an IPv6 address (16)."""
    size, prefix = conversion.size, value.name.text[:value.name.text.index('_') + 1]
    if value.letter or value.fetch_type:
        raise TraceError('%s shows an address: leave out the %s' % (
            prefix, (value.letter or value.fetch_type).text),
            (value.letter or value.fetch_type).column)
    held = None if place.type is None else stripped(types, place.type)
    if held and held.kind in ('pointer', 'decayed'):
        place, held = pointed_at(place, held, types)
        fits = held.kind == 'int' and held.size == 1        # the first of its bytes
    else:
        fits = False
    if held and (held.kind == 'array' or (held.kind, held.name) == ('struct', 'in6_addr')):
        # (MAX_ADDR_LEN is 32, of which a MAC address is the first.)
        fits = size_of(types, place.type) in ((6, 32) if size == 6 else (16,))
    if not fits or place.offset is None:
        raise TraceError('%s takes the %d bytes of an address in memory, %s, or a pointer to them'
                         % (prefix, size, 'an array of u8' if size == 6 else
                            'a struct in6_addr or an array'), value_end(value))
    return Words(fetch(place), ADDRESS_TYPES[conversion.form], conversion)


def bitfield_words(value, place, held, types):
    """Return the Words for a bitfield: of the smallest unit that holds its bits."""
    last = place.bit_offset + place.bit_size
    unit = [bits for bits in (8, 16, 32, 64) if last <= bits]
    if not unit:
        raise TraceError('these %d bits lie in nine bytes, which ftrace cannot take in one'
                         % place.bit_size, value_end(value))
    letter = value.letter.text if value.letter else 'U'
    if letter == 'X' or letter == 'S' and held.signed:
        raise TraceError('the kernel shows a bitfield, or a part of a register, in decimal and '
                         'without a sign: leave out the %s' % letter, value.letter.column)
    return Words(fetch(place), 'b%d@%d/%d' % (place.bit_size, place.bit_offset, unit[0]),
                 None if value.letter else names_of(types, held))


def array_words(value, place, held, types):
    """Return the Words for a whole array: of char as a string, else as numbers."""
    letter = value.letter.text if value.letter else 'X'
    if place.offset is None:
        raise TraceError('%s lies in a register, of which ftrace reads no arrays'
                         % what_is(types, place.type), value_end(value))
    text = is_text(types, held.target) and stripped(types, held.target).name == 'char'
    if text and letter in ('S', 'U'):
        raise TraceError('a char array shows as a string, or with X as its bytes; %s goes with '
                         'an element, [0]' % letter, value.letter.column)
    if text and not value.letter:
        return Words(fetch(place), 'string')
    element, length, _ = elements_of(types, held)
    if not is_number(element) or not length:
        raise TraceError('%s is an array: take one element, [0], or give a :type'
                         % what_is(types, place.type), value_end(value))
    if length > ARRAY_LIMIT:
        raise TraceError('the kernel shows up to %d elements of an array, and this has %d: take '
                         'one, [0]' % (ARRAY_LIMIT, length), value_end(value))
    return Words(fetch(place), '%s[%d]' % (number_type(letter, element.size), length))


def unshowable(types, ref, held):
    if held.kind in ('struct', 'union') and held.target is None:
        return '%s is only declared in these types' % what_is(types, ref)
    if held.kind in ('struct', 'union'):
        return '%s is %s long: take a member of it%s' % (
            what_is(types, ref), count_of(held.size, 'byte'),
            ', or call it ip6_...' if held.name == 'in6_addr' else '')
    if held.kind == 'decayed':
        return ('ftrace shows what lies at an address, not the address itself: take a member of '
                "this '%s', ->..." % declared(types, held.target))
    if held.kind == 'missing':
        return "%s: these types do not say what '%s' is" % (what_is(types, ref), held.name)
    return '%s is no value that ftrace can show' % what_is(types, ref)


def value_end(value):
    """Return the column of the last word of a value."""
    names = [access.name for access in value.accesses if access.name]
    return (names[-1] if names else value.base).column


def count_of(count, noun):
    return '%d %s%s' % (count, noun, '' if count == 1 else 's')


# What a filter can name.  kind: an Argument's, or 'user string', a pointer into a program's memory,
# or 'ip', four bytes; None if it is not known.  bits: how many a number has, None likewise.
Field = namedtuple('Field', 'kind bits')
Field.__new__.__defaults__ = (None,)

# Fields that every event has, and the kernel's own (Documentation/trace/events.rst).
COMMON_FIELDS = {
    'common_type': Field('unsigned', 16), 'common_flags': Field('unsigned', 8),
    'common_preempt_count': Field('unsigned', 8), 'common_pid': Field('signed', 32),
    'CPU': Field('unsigned', 32), 'cpu': Field('unsigned', 32), 'COMM': Field('string'),
    'comm': Field('string')}
NUMBER = r'-?(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$'      # (to the kernel, 010 is 8)


def probe_fields(trace, arguments):
    """Return the Fields that a filter of this Probe may name."""
    fields = dict(COMMON_FIELDS)
    for name in ('__probe_func', '__probe_ret_ip') if trace.kind == 'r' else ('__probe_ip',):
        fields[name] = Field('unsigned', 64)
    for argument in arguments:
        bitfield = re.search(r':b([0-9]+)@', argument.text)
        fields[argument.name] = Field(argument.kind, (
            int(bitfield.group(1)) if bitfield else argument.size and 8 * argument.size))
    return fields


def compile_filter(written, fields, arguments, types):
    """Return the KernelFilter: the person's text with the operands that the kernel wants.

    fields maps names to Fields; where it is None, those of an event are unknown.
    """
    conversions = dict((argument.name, argument.conversion) for argument in arguments)
    known = fields
    if fields is None:      # (an event may have a cpu of its own)
        known = dict((name, COMMON_FIELDS[name]) for name in COMMON_FIELDS if name != 'cpu')
    text, marks, done = '', [], written.column
    for predicate in written.predicates:
        name, operand = predicate.name, predicate.operand
        if fields is not None and name.text not in fields:
            raise TraceError("this trace has no '%s' to filter on%s" % (
                name.text, nearest(name.text, fields) or ': there is ' + ', '.join(
                    [argument.name for argument in arguments] or sorted(
                        set(fields) - set(COMMON_FIELDS)) or ['common_pid'])), name.column)
        marks.append((len(text) + name.column - done, name.column))
        text += written.text[done - written.column:operand.column - written.column]
        text += compile_operand(predicate, known.get(name.text, Field(None)),
                                conversions.get(name.text), types)
        done = operand.column + len(operand.text)
    return KernelFilter(text + written.text[done - written.column:], tuple(marks))


def of_command(compiled, name):
    """Return a Compiled trace that also asks for the name of the current task."""
    condition = 'COMM=="%s"' % name
    if not compiled.filter:
        return compiled._replace(filter=KernelFilter(condition, ()))
    return compiled._replace(filter=KernelFilter(
        '(%s)&&%s' % (compiled.filter.text, condition),
        tuple((position + 1, column) for position, column in compiled.filter.marks)))


def compile_operand(predicate, field, conversion, types):
    """Return an operand in the kernel's words."""
    kind, operand = field.kind, predicate.operand
    check_comparison(predicate, kind)
    written = re.match(NUMBER, operand.text)
    if kind == 'ip':
        return (checked_number(operand.text, predicate, field) if written
                else convert_operand(predicate, CONVERSIONS['ip_']))
    if conversion and not (written and conversion.form in ('names', 'errno')):
        return convert_operand(predicate, conversion)
    if kind in ('signed', 'unsigned'):
        return checked_number(operand.text if written else
                              '%d' % named_number(predicate, kind, types), predicate, field)
    if operand.kind == 'quoted' or kind == 'other' or written and kind is None:
        return operand.text
    if kind is None and (re.match('-E[A-Z]', operand.text)
                         or re.match('[A-Z][A-Z0-9]*_[A-Z0-9_]+$', operand.text)
                         and enumerator_numbers(operand.text, types)):
        return '%d' % named_number(predicate, 'signed', types)
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
    number, limit = int(text, 0), 1 << (field.bits or 64)
    if field.kind != 'signed' and (number < 0 or not number and predicate.operator.text == '<'):
        raise TraceError("'%s' has no sign here: write S before its value, if it is a probe's"
                         % predicate.name.text, predicate.operand.column)
    # In hexadecimal the bits are meant: 0xffffffff is -1, too.
    signed = field.kind == 'signed' and (text[:2] not in ('0x', '0X') or limit >> 64)
    if not (-limit // 2 if field.kind == 'signed' else 0) <= number < (
            limit // 2 if signed else limit):
        raise TraceError("'%s' is %s bits%s, which %s does not fit into" % (
            predicate.name.text, field.bits or 64, ' with a sign' if signed else '',
            text), predicate.operand.column)
    return text


def named_number(predicate, kind, types):
    """Return the number that an operand names: an enumerator, an error, or a character."""
    name, _, _, operand = predicate
    word = operand.text.strip('"\'')
    if operand.kind == 'quoted' and len(word) == 1 and not word.isdigit():
        return ord(word)
    if kind == 'signed' and re.match('-E[A-Z]', word):
        return int(convert_operand(predicate, ERRNO))
    numbers = enumerator_numbers(word, types)
    if len(numbers) > 1:
        raise TraceError("'%s' is %s, in different enums: write the number" % (
            word, ' or '.join('%d' % number for number in numbers)), operand.column)
    if not numbers:
        hint = ('; call it ip_%s to compare addresses' % name.text
                if re.match(r'[0-9]+(?:\.[0-9]+){3}', word) else
                '; a value with S takes the names of errors' if re.match('-E[A-Z]', word) else
                '; a zero in front would make it octal' if re.match('-?0[0-9]', word) else
                '; macros are not in the types' if re.match(r'[A-Z_]+$', word) else '')
        raise TraceError("'%s' is a number, '%s' is not%s" % (name.text, operand.text, hint),
                         operand.column)
    return numbers[0]


def enumerator_numbers(word, types):
    """Return the numbers that have a name in the enums of these types, in order."""
    try:
        enums = types.enums_of(word) if re.match(r'[A-Za-z_]\w*$', word) else []
    except NoTypesError:
        return []
    return sorted(set(dict(types.enumerators(described(types, ref))).get(word, 0)
                      for ref in enums))


def convert_operand(predicate, conversion):
    name, _, operator, operand = predicate
    if conversion.form not in ('names', 'errno') and operator.text not in ('==', '!=', '&'):
        raise TraceError("the bytes of '%s' are in network order: only ==, != and & mean anything"
                         % name.text, operator.column)
    try:
        return kernel_number(conversion, operand.text.strip('"\''))
    except ValueError:
        raise TraceError("'%s' is %s" % (operand.text, {
            'ip': 'no IPv4 address, as in 10.0.0.1',
            'mac': 'no MAC address, as in 52:54:00:12:34:56'}.get(
                conversion.form, 'no number of %s bytes' % conversion.size)), operand.column)
    except KeyError:
        names = dict(conversion.names)
        raise TraceError("'%s' is no number, and no %s%s" % (
            operand.text, 'name of an error, as in -ENOENT' if conversion.form == 'errno' else
            "value of '%s'" % name.text, nearest(operand.text.strip('"\''), names)),
            operand.column)


# ---------------------------------------------------------------------------
# Information: a name -> what a person looks up
#
# Takes the name of a function, struct, union or enum, or a pattern of functions, and gives
# lines of text, each with the words that a trace has for it.  Touches nothing.
# ---------------------------------------------------------------------------

ROW_LIMIT = 100000      # lines of a layout; the longest of a kernel has 2,000


def information(name, types, names, architecture):
    """Return the lines on a name; names are those of functions, of which a pattern takes some."""
    if re.search(r'[*?[]', name):
        return pattern_lines(name, types, names)
    lines = []
    for function in types.functions(name) if re.match(r'[\w.]+$', name) else ():
        lines += function_lines(function, types, architecture)
    named, _, tag = name.rpartition(' ')
    for kind in ('struct', 'union', 'enum', 'typedef'):
        # (An enum without a name is called by one of its values.)
        ref = (find_enum(types, tag) if kind == 'enum'
               else types.find(kind, tag)) if (
                   named in ('', kind) and re.match(r'\w+$', tag)) else None
        found = None if ref is None else stripped(types, ref)
        if found and found.kind in ('struct', 'union'):
            lines += layout_lines(found, types, tag)
        elif found and found.kind == 'enum' and types.enumerators(found):
            lines += enum_lines(found, types)
    if not lines and name in names:
        return ['%s: a function without a known prototype' % name]
    if not lines:
        # (The others would take long to list theirs.)
        structs = types.names('struct') if types.kind in ('BTF', 'database') else []
        raise UsageError("there is no function, struct, union or enum '%s'%s" % (
            name, nearest(tag, structs + list(names or types.names('function')
                                              if structs else names))))
    return lines


def enum_lines(found, types):
    """Return the values of an enum, whose names a filter takes."""
    return ([('enum %s' % found.name).rstrip() + ' {']
            + ['    %s = %d,' % pair for pair in types.enumerators(found)]
            + ['}; /* size: %d */' % found.size])


def pattern_lines(pattern, types, names):
    """Return the prototypes of the functions that a pattern of the shell matches."""
    import fnmatch      # only this needs it
    lines = []
    for name in sorted(set(fnmatch.filter(names, pattern))):
        if re.match(NO_FUNCTION, name):
            continue
        found = types.functions(name)
        lines += sorted(set(prototype(types, function._replace(name=name))
                            for function in found)) or [name]
    if not lines:
        raise UsageError("no function matches '%s'" % pattern)
    return lines


def function_lines(function, types, architecture):
    """Return a Function's prototype, and where each argument lies when it begins."""
    lines = [prototype(types, function)]
    for index, parameter in enumerate(named_parameters(types, function)):
        place = None
        if parameter.location != '':
            place = parameter_place(index, function, types, architecture)
        where = fetch(place).lstrip('%') if place else '?'
        name = parameter.name and '$' + parameter.name
        if re.match(VARIABLE + r'|arg[0-9]+$', parameter.name):
            name = ''       # which ftrace has for something else
        lines.append('  %%%-3d %-16s %-10s %s' % (
            index, name, where, declared(types, parameter.type, parameter.name)))
    result = declared(types, function.result)
    return lines + ['  $retval                          ' + result] * (result != 'void')


def layout_lines(found, types, alias):
    """Return the layout of a struct or union as pahole prints it, with each member's words.

    alias is the name of the typedef of one that has none itself.
    """
    rows = []
    for row in member_rows(found, types, 0, '->', 1):
        rows.append(row)
        if len(rows) > ROW_LIMIT:
            raise SourceError('the types are damaged: a struct never ends')
    width = min(max([len(text) for text, _, _ in rows] + [0]), 48)
    count = sum(1 for _ in types.members(found))
    head = '%s %s {' % (found.kind, found.name) if found.name else 'typedef %s {' % found.kind
    tail = '}%s; /* size: %d, members: %d */' % ('' if found.name else ' ' + alias, found.size,
                                                 count)
    return [head] + [('%-*s  %s  %s' % (width, text, where, expression)).rstrip()
                     for text, where, expression in rows] + [tail]


def member_rows(found, types, start, path, depth):
    """Yield (C, place, words for a trace) of each member; start in bits, path leads to found."""
    for member in types.members(found):
        at = start + member.bit_offset
        size = size_of(types, member.type)
        where = '/* %5d %5d */' % (at // 8, size)
        if member.bit_size:
            unit = size if size and at % (8 * size) + member.bit_size <= 8 * size else 1
            where = '/* %5d:%2d %2d */' % (at // (8 * unit) * unit, at % (8 * unit), size)
        indent, inner = '    ' * depth, nameless_struct(types, member.type)
        if depth > CHAIN_LIMIT:
            raise SourceError('the types are damaged: a struct holds itself')
        if not inner:
            name = member.name + (':%d' % member.bit_size if member.bit_size else '')
            yield (indent + declared(types, member.type, name) + ';', where,
                   reading(types, member, path + member.name))
            continue
        # '{...} name' is what C says of it: the dots are to be spelled out.
        head, _, tail = declared(types, member.type, member.name).partition('{...}')
        element = '[0]' if stripped(types, member.type).kind == 'array' else ''
        yield indent + head + '{', '', ''
        for row in member_rows(inner, types, at, '%s%s%s.' % (path, member.name, element)
                               if member.name else path, depth + 1):
            yield row
        yield indent + '}' + tail + ';', where, ''


def reading(types, member, path):
    """Return what a trace has to say to read a member; dots where that goes on."""
    held = stripped(types, member.type)
    if held.kind == 'array' and not (is_text(types, held.target) and held.length):
        element, length, dimensions = elements_of(types, held)
        if not is_number(element) or not 0 < length <= ARRAY_LIMIT:
            path, held = path + '[0]' * dimensions, element
    if (held.kind, held.name) == ('struct', 'in6_addr'):
        return path + '  in a value called ip6_...'
    if held.kind in ('struct', 'union'):
        return path + '. ...' if held.target is not None else ''
    return path if held.kind == 'array' or is_number(held) else ''


def nameless_struct(types, ref):
    """Return the struct or union without a name that ref is or holds in an array, or None."""
    found = elements_of(types, stripped(types, ref, QUALIFIERS), QUALIFIERS)[0]
    return found if found.kind in ('struct', 'union') and not found.name else None


# ---------------------------------------------------------------------------
# Plan: compiled traces -> steps, each with its undo
#
# The plan is data.  -S prints it, a live run performs it, -o writes it as a script:
# three readers of one list.  Its texts are unquoted; those who print for a shell quote.
# Touches nothing.
# ---------------------------------------------------------------------------

# action: mkdir, rmdir, append, write, or restore (write what was there before).
# path: below the root of tracefs.  undo: a Step, or None where another's undo does it.
# origin: the Compiled trace that a kernel's refusal should point at.
Step = namedtuple('Step', 'action path text undo origin')
Step.__new__.__defaults__ = (None, None, None)

# What a person sets for a whole run.  buffer_size in KB for each CPU, pids the threads that
# are to be traced, maxactive the calls of a function that can be under way between entry and
# return; each None (or empty) to leave it to the kernel.
Settings = namedtuple('Settings', 'stacks buffer_size pids maxactive')
Settings.__new__.__defaults__ = (False, None, (), None)

# create makes the instance and the probes, start makes them fire: what is still in the
# ring buffer has to be read between the undoing of the one and of the other.
Plan = namedtuple('Plan', 'create start')

# Stands in a plan for the name of the run, which is that of its instance and of its
# group: known when it is claimed.  No argument of a process can hold this character.
RUN = '\0'
RUN_NAME = 'surftrace'
RUN_LIMIT = 100
RUN_PATTERN = RUN_NAME + r'[0-9]{0,2}$'
DEFAULT_ROOT = '/sys/kernel/debug/tracing'      # where the manual's lines and all kernels have it


def make_plan(traces, settings, instances=True):
    """Return the Plan that sets up Compiled traces, in an instance of its own if there can be."""
    top = 'instances/%s/' % RUN if instances else ''
    create = [Step('mkdir', top[:-1], undo=Step('rmdir', top[:-1]))] if instances else []

    def own(name, text):
        """Return the Step that sets what goes with the instance, or else is set back."""
        return Step('write', top + name, text, None if instances else Step('restore', top + name))
    if settings.buffer_size:
        create.append(own('buffer_size_kb', str(settings.buffer_size)))
    filters, enables = [], []
    for trace in traces:
        group = trace.place if trace.kind == 'e' else RUN
        directory = '%sevents/%s/%s/' % (top, group, trace.event)
        private = instances or trace.kind != 'e'    # nobody else's events, or view of them
        if trace.kind != 'e':
            create.append(Step('append', 'kprobe_events', probe_line(trace, settings), Step(
                'append', 'kprobe_events', '-:%s/%s' % (RUN, trace.event)), trace))
        if trace.filter:
            filters.append(Step('write', directory + 'filter', trace.filter.text,
                                None if private else Step('restore', directory + 'filter'), trace))
        enables.append(Step('write', directory + 'enable', '1',
                            Step('write', directory + 'enable', '0') if private
                            else Step('restore', directory + 'enable'), trace))
    threads = [own('options/event-fork', '1'),
               own('set_event_pid', ' '.join(str(pid) for pid in settings.pids))
               ] if settings.pids else []
    return Plan(create, filters + threads + enables + [
        own('options/stacktrace', '1' if settings.stacks else '0'),
        Step('write', top + 'tracing_on', '1',
             Step('write', top + 'tracing_on', '0') if instances
             else Step('restore', top + 'tracing_on'))])


def probe_line(trace, settings):
    kind = trace.kind
    if kind == 'r' and settings.maxactive:
        kind += str(settings.maxactive)
    words = ['%s:%s/%s' % (kind, RUN, trace.event), trace.place]
    return ' '.join(words + ['%s=%s' % (argument.name, argument.text)
                             for argument in trace.arguments])


def joined_undo(steps):
    """Return the undo of steps in reverse order; neighbours that append to one file are one."""
    joined = []
    for undo in [step.undo for step in reversed(steps) if step.undo]:
        if joined and undo.action == 'append' == joined[-1].action and undo.path == joined[-1].path:
            undo = undo._replace(text=joined.pop().text + '\n' + undo.text)
        joined.append(undo)
    return joined


def quoted(text):
    """Return text as one word of a shell."""
    return text if re.match(r'[A-Za-z0-9_./:+-]+$', text) else "'%s'" % text.replace("'", "'\\''")


def quoted_for_run(text):
    """Return text as one word of a script in which $run is the name of the run."""
    return '"$run"'.join(quoted(part) if part else '' for part in text.split(RUN))


def shell_line(step, root, run):
    """Return a Step as a line that a person can paste into a shell."""
    return shell_words(step, lambda text: quoted(text.replace(RUN, run)), root + '/')


def shell_words(step, quote, root=''):
    path = quote(root + step.path)
    if step.action in ('mkdir', 'rmdir'):
        return '%s %s' % (step.action, path)
    # The echo of some shells turns \n and the like around; printf's %s does not.
    echo = "printf '%s\\n'" if '\\' in step.text else 'echo'
    return '%s %s %s %s' % (echo, quote(step.text), '>>' if step.action == 'append' else '>', path)


SCRIPT_HEAD = '''\
#!/bin/sh
# Written by surftrace.py.  It sets up, streams, and cleans up what is its own:
%s
set -u
say() { echo "surftrace: $*" >&2; }
give_up() { say "$*"; exit 1; }

run=%s number=0 step=0 reader= claimed= tracing= mounted= ended=
find_mount() {
    while read -r device directory type rest; do
        case $type in
            tracefs) tracing=$directory ;;
            debugfs) [ -z "$tracing" ] || continue; tracing=$directory/tracing ;;
            *) continue ;;
        esac
        mounted=
        [ "$device" != "$run" ] || mounted=$directory
        [ "$type" != tracefs ] || break
    done < /proc/mounts
}
warn() { say "not undone: $*"; status=1; }
clean_up() {
    status=$?
    trap '' HUP INT QUIT PIPE TERM
%s
    # What the reader has not taken yet is still in the buffer.
    if [ -n "$reader" ]; then
        sleep 1
        kill "$reader" 2> /dev/null
        wait "$reader" 2> /dev/null
        sed '/^#/d' %strace 2> /dev/null
    fi
    exec 3<&-
%s
    cd /
    # If somebody else uses it by now, the last run takes it away.
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
    mount -t tracefs "$run" /sys/kernel/tracing || mount -t debugfs "$run" /sys/kernel/debug
    find_mount
} 2> /dev/null
cd "${tracing:-/nonexistent}" 2> /dev/null || give_up 'no tracefs here: run as root'
'''

SCRIPT_CLAIM = '''
# The first free name; whoever opens trace_pipe first has it.
while :; do
    if (trap '' HUP INT QUIT TERM; exec mkdir instances/"$run"); then
        command exec 3< instances/"$run"/trace_pipe && break
        rmdir instances/"$run"
    fi 2> /dev/null
    number=$((number + 1)) run=%s$number
    [ "$number" -lt %d ] || give_up "no instance can be made in $tracing/instances: run as root"
done
claimed=1
done_with 0
'''

SCRIPT_TAIL = '''
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


def script(plan, texts):
    """Return a Plan as a script for /bin/sh, dash and busybox ash; texts are its traces."""
    steps = [step for step in plan.create + plan.start if step.action != 'mkdir']
    instances = len(steps) < len(plan.create + plan.start)
    undo = [script_undo(number, step) for number, step in enumerate(steps, 1) if step.undo]
    first_start = sum(1 for step in plan.create if step.action != 'mkdir' and step.undo)
    undo_create, undo_start = undo[:first_start][::-1], undo[first_start:][::-1]
    if instances:
        undo_create.append('    [ -z "$claimed" ] || rmdir instances/"$run" || '
                           'warn "rmdir $tracing/instances/$run"')
    head = SCRIPT_HEAD % ('\n'.join('#   ' + quoted(text) for text in texts), RUN_NAME,
                          '\n'.join(undo_start), 'instances/"$run"/' if instances else '',
                          '\n'.join(undo_create))
    claim = SCRIPT_CLAIM % (RUN_NAME, RUN_LIMIT) if instances else '\nexec 3< trace_pipe\n'
    return head + claim + '\n'.join(
        script_step(number, step) for number, step in enumerate(steps, 1)) + SCRIPT_TAIL


def script_step(number, step):
    line = shell_words(step, quoted_for_run)
    if step.undo and step.undo.action == 'restore':
        line = ("saved%d=$(trap '' HUP INT QUIT TERM; cat %s) || give_up 'it cannot be read'\n%s"
                % (number, quoted_for_run(step.path), line))
    return '%s || give_up %s\ndone_with %d' % (line, quoted(
        'the kernel refused: ' + (step.origin.text if step.origin
                                  else step.path.replace(RUN, RUN_NAME))), number)


def script_undo(number, step):
    undo = step.undo
    if undo.action == 'restore':
        saved = 'saved%d' % number
        line = '{ [ "$%s" != none ] || %s=0; echo "$%s" > %s; }' % (
            saved, saved, saved, quoted_for_run(undo.path))
    else:
        line = shell_words(undo, quoted_for_run)
    return '    [ "$step" -lt %d ] || %s || warn %s' % (number, line, quoted_for_run(undo.path))


# ---------------------------------------------------------------------------
# Kernel: the plan -> tracefs, and back
#
# The only section that touches tracefs, its mount and the lock on that, kallsyms, the list of
# what cannot be probed, and the file that tells of a lockdown.  Gives what the running kernel
# knows (symbols, fields of events, what it can do), and the Session, which performs a plan,
# streams, and undoes it.
# ---------------------------------------------------------------------------

# copies: how many functions have that name.
Symbol = namedtuple('Symbol', 'name module copies')
Symbol.__new__.__defaults__ = (None, 1)
# The place of a variable: its size in bytes, None if it is not known, and whether each CPU has one.
Storage = namedtuple('Storage', 'size per_cpu')
# Events, in the kernel's own count: read, left in the buffer, lost, and missed by p and r probes.
Counts = namedtuple('Counts', 'read left lost missed missed_returns')

NO_FUNCTION = r'__(?:pfx|cfi)_|.*\.cold$'      # pieces of code that go with one
VARIANT = r'\.(?:constprop|isra)\.[0-9]+(?:\.(?:constprop|isra)\.[0-9]+)*$'
FORBIDDEN = '/sys/kernel/debug/kprobes/blacklist'
READ_SIZE = 1 << 16     # bytes
RATE_SECONDS = 3        # how long too many events may come

# When a run ends by itself: after so many seconds, or when more events come in a second than
# rate; None for never.  (How many events are wanted, Output knows.)
Limits = namedtuple('Limits', 'seconds rate')
Limits.__new__.__defaults__ = (None, None)


class KernelError(Error):
    """A file of tracefs could not be read or written."""

    def __init__(self, message, number=None):
        Error.__init__(self, message)
        self.errno = number


class Tracefs(object):
    """The files of one tracefs; paths are relative to its root."""

    def __init__(self, root, console=None, mounted=None, lock=None):
        self.root = root
        self.console = console
        self.mounted = mounted      # the directory that a run mounted it at
        self.lock = lock            # that on MOUNT_LOCK, None if it could not be had
        # A script, which takes no lock, cannot take it back while something is open there.
        self.inside = os.open(mounted, os.O_RDONLY) if mounted else None

    def path(self, name):
        return os.path.join(self.root, name)

    def _attempt(self, call, name, *rest):
        try:
            return call(self.path(name), *rest)
        except EnvironmentError as error:
            raise self.failure(name, error)

    def failure(self, name, error):
        """Return the KernelError that tells of a file and what the system said of it."""
        return KernelError('%s: %s' % (self.path(name), explain(error.errno)), error.errno)

    def read(self, name):
        """Return a file's text."""
        return to_text(self._attempt(read_file, name))

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
        self._attempt(write_file, name, to_bytes(text + '\n'),
                      os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))

    def make_directory(self, name):
        """Make a directory; return False if it is there already."""
        try:
            self._attempt(os.mkdir, name)
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            return False
        return True

    def remove_directory(self, name):
        self._attempt(os.rmdir, name)

    def open(self, name, flags=os.O_RDONLY):
        return self._attempt(os.open, name, flags)

    def has(self, name):
        return os.path.exists(self.path(name))

    def probes(self):
        """Return GROUP/EVENT of each line of kprobe_events; one event may have several."""
        return [line.split()[0].partition(':')[2]
                for line in self.read_if_there('kprobe_events').splitlines() if line.strip()]

    def names(self, name):
        """Return the names in a directory."""
        return self._attempt(os.listdir, name)

    def forbidden(self):
        """Return the names of the functions that kprobes must not touch; debugfs has the list."""
        return frozenset(line.split('\t')[-1].strip()
                         for line in text_if_there(FORBIDDEN).splitlines())

    def close(self):
        """Take back the mount, if no other run needs it; tell whether that succeeded."""
        needed = not self.mounted or self._needed()
        if self.inside is not None:
            os.close(self.inside)
        done = needed or run_mount(self.console, ['umount', self.mounted])
        if self.lock is not None:
            os.close(self.lock)
        return done

    def _needed(self):
        """Tell whether another run has our mount in use; a script has only its instance to show."""
        if self.lock is None:
            return True
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except EnvironmentError:
            return True
        return self.has('instances') and any(
            re.match(RUN_PATTERN, name) for name in self.names('instances'))


def read_file(path):
    with open(path, 'rb', 0) as stream:
        return stream.read()


def write_file(path, data, flags):
    # open(path, 'a') would seek, which these files refuse.
    descriptor = os.open(path, flags)
    try:
        while data:
            data = data[os.write(descriptor, data):]
    finally:
        os.close(descriptor)


def text_if_there(path):
    try:
        return to_text(read_file(path))
    except EnvironmentError:
        return ''


def explain(number):
    """Return what an errno means here, with the way out where there is one."""
    reason = os.strerror(number).lower()
    if number == errno.EROFS:
        return reason + ': mount it again with -o remount,rw (a container: on the host)'
    if number not in (errno.EACCES, errno.EPERM):
        return reason
    if os.geteuid():
        return reason + ': run as root'
    if '[confidentiality]' in text_if_there('/sys/kernel/security/lockdown'):
        return reason + (': the kernel is locked down, which forbids tracing until it is booted '
                         'with lockdown=integrity or none')
    return reason + (': in a container, run it on the host or with --privileged; a kernel may also '
                     'be locked down (lockdown=confidentiality)')


# root: where tracefs is; directory: what is mounted there; ours: a run has mounted it.
Mount = namedtuple('Mount', 'root directory ours')

# A directory above all of these mounts: who looks for one, or makes one, holds it by a shared lock,
# who takes one back by an exclusive one.
MOUNT_LOCK = '/sys/kernel'
MOUNTS = (('tracefs', '/sys/kernel/tracing', ''), ('debugfs', '/sys/kernel/debug', 'tracing'))


def find_mount():
    """Return the Mount of tracefs that /proc/mounts has, or None."""
    found = {}
    # (What any user mounts may have every other white space in its name.)
    for device, where, kind in re.findall(r'(?m)^([^ \n]+) ([^ \n]+) ([^ \n]+) ',
                                          text_if_there('/proc/mounts')):
        where = re.sub(r'\\([0-7]{3})', lambda match: chr(int(match.group(1), 8)), where)
        found.setdefault(kind, (where, device == RUN_NAME))
    for kind, _, below in MOUNTS:
        if kind in found:
            directory, ours = found[kind]
            return Mount(os.path.join(directory, below).rstrip('/'), directory, ours)
    return None


def possible_mounts():
    """Return (mount's command, the Mount that it would make), the best first."""
    return [(['mount', '-t', kind, RUN_NAME, directory],
             Mount(os.path.join(directory, below).rstrip('/'), directory, True))
            for kind, directory, below in MOUNTS if os.path.isdir(directory)]


def readable_tracefs(root):
    """Return the Tracefs to look things up in, None if there is none that can be read from here.

    root: where it is, None for where /proc/mounts says.
    """
    mount = find_mount()
    if not root and not mount:
        return None
    tracefs = Tracefs(root or mount.root)
    try:
        tracefs.read('README')
    except KernelError:
        return None
    return tracefs


def open_tracefs(root, console, check=lambda: None):
    """Return the Tracefs to trace with; it is mounted if nobody has done so."""
    lock = lock_mounts(check)
    mount = Mount(root, root, False) if root else find_mount() or make_mount(console)
    tracefs = Tracefs(mount.root, console, mount.directory if mount.ours else None, lock)
    try:
        tracefs.read('README')
    except KernelError as error:
        tracefs.close()
        if error.errno == errno.ENOENT:
            raise KernelError('%s/README: no such file or directory: no tracefs is mounted there; '
                              'mount -t tracefs nodev %s' % (mount.root, MOUNTS[0][1]),
                              errno.ENOENT)
        raise
    return tracefs


def lock_mounts(check):
    """Return a descriptor with the shared lock on MOUNT_LOCK, None if that is not to be had.

    Taking a mount back takes a moment; who holds the other lock for longer only means to disturb.
    """
    try:
        lock = os.open(MOUNT_LOCK, os.O_RDONLY)
    except EnvironmentError:
        return None
    for _ in range(20):
        check()
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return lock
        except EnvironmentError:
            wait_for(select.poll(), 100)
    os.close(lock)
    return None


def make_mount(console):
    """Mount tracefs, and return the Mount."""
    if os.geteuid():
        raise KernelError('tracing needs root; -S shows the lines without')
    for command, mount in possible_mounts():
        mount = mount if run_mount(console, command) else find_mount()      # another run's perhaps
        if mount:
            return mount
    raise KernelError('tracefs cannot be mounted from here: in a container, run it on the host or '
                      'with --privileged; else this kernel has none (CONFIG_FTRACE)')


def run_mount(console, command):
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


def running_architecture():
    """Return the name of this machine's architecture, as ARCHITECTURES has it where it does."""
    return os.uname()[4]


def running_target(tracefs, architecture, symbols):
    """Return the Target that the running kernel is, as far as it tells."""
    readme = tracefs.read_if_there('README') if tracefs else ''
    return Target(architecture, frozenset(
        name for name, feature in FEATURES.items() if feature.sign in readme) if readme
        else USUAL_FEATURES, symbols)


def check_kprobes(trees, tracefs):
    """Raise the error that this kernel has no kprobes, if the trees of traces need them."""
    if not tracefs.has('kprobe_events') and any(tree.kind != 'e' for tree in trees):
        raise KernelError('%s is not there: this kernel has no kprobes (CONFIG_KPROBE_EVENTS); '
                          'events (e ...) can be traced, and -S shows the lines for another'
                          % tracefs.path('kprobe_events'), errno.ENOENT)


class Symbols(object):
    """The functions of the kernel that is traced, as far as they can be read; each list once.

    tracefs is the running kernel's, None if it cannot be read; vmlinux names an ELF file that
    has the symbols of another kernel, and without one, here=False, nothing is known of it.
    """

    def __init__(self, tracefs, here=True, vmlinux=None):
        self.tracefs, self.here, self.vmlinux = tracefs, here, vmlinux
        self.read, self.extents = {}, {}

    def _listing(self, traceable):
        """Return what ftrace (or a vmlinux) or what kallsyms lists, '' if it cannot be read."""
        if traceable not in self.read:
            self.read[traceable] = self._read(traceable)
        return self.read[traceable]

    def variable(self, base):
        """Return the Storage at the symbol that a base names, None if nothing is known of it."""
        if not self._look_up([base.text, '__per_cpu_start', '__per_cpu_end']):
            return None
        if self.extents[base.text] is None:
            raise self._no_variable(base)
        address, size = self.extents[base.text]
        first, end = [(self.extents[name] or (0, 0))[0]
                      for name in ('__per_cpu_start', '__per_cpu_end')]
        # Without root all addresses are 0.
        return Storage(size, first <= address < end) if address or end else None

    def _look_up(self, names):
        """Look up where symbols are, each once; return False if no list can be read."""
        missing = [name for name in names if name not in self.extents]
        if missing:
            found = (listed_extents(self._listing(False), missing) if self.here
                     else self.vmlinux and symbol_extents(self.vmlinux, missing))
            if found is None:
                return False
            self.extents.update((name, found.get(name)) for name in missing)
        return True

    def _no_variable(self, base):
        """Return the error for a symbol that is not there."""
        listing = self._listing(False)
        if listing and ' jiffies\n' not in listing:
            return TraceError("this kernel tells the addresses of functions only "
                              "(no CONFIG_KALLSYMS_ALL): it cannot read '%s'" % base.text,
                              base.column)
        return TraceError("this kernel has no symbol '%s'%s" % (
            base.text, nearest(base.text, symbol_names(listing)) or ''), base.column)

    def matching(self, pattern, module):
        """Return the Symbols of the functions that a pattern takes, and how many are left out.

        Those are left out that cannot be probed, or of which there are several of one name.
        """
        import fnmatch      # only patterns need it
        match = re.compile(fnmatch.translate(pattern)).match
        matches = [symbol for symbol in self._functions()
                   if match(symbol.name) and module in (None, symbol.module)
                   and not re.match(NO_FUNCTION, symbol.name)]
        by_name = {}
        for symbol in matches:
            by_name.setdefault(symbol.name, []).append(symbol)
        forbidden = self.tracefs.forbidden() if self.tracefs and self.here else ()
        copies = {}         # ftrace's list lacks some that the kernel counts all the same
        for symbol in all_symbols(self._listing(False)) if self.here and not module else ():
            copies[symbol.name] = copies.get(symbol.name, 0) + 1
        kept = [found[0] for name, found in sorted(by_name.items())
                if len(found) == 1 and copies.get(name, 1) == 1 and name not in forbidden]
        return kept, len(by_name) - len(kept)

    def _read(self, traceable):
        if not self.here:
            return function_symbols(self.vmlinux) if self.vmlinux and traceable else ''
        if not traceable:
            return text_if_there('/proc/kallsyms')
        try:
            return self.tracefs.read_if_there('available_filter_functions') if self.tracefs else ''
        except KernelError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise
            return ''       # then spelling goes unchecked, and the kernel refuses what it must

    def names(self):
        """Return the names of the functions that can be traced, none if no list can be read."""
        return [symbol.name for symbol in self._functions()]

    def _functions(self):
        """Return the Symbols of the functions that can be traced, as far as is known."""
        return all_symbols(self._listing(True) or self._listing(False))

    def module(self, name):
        """Return the module that a function lives in, None for the kernel's own."""
        for symbol in symbols_like(self._listing(True), 0, name):
            if symbol.name == name:
                return symbol.module
        return None

    def find(self, token, traceable, module=None):
        """Return the Symbol that a trace names, or its only variant; None if no list can be read.

        traceable: the entry or return of the function is wanted, which ftrace's own list is for.
        module: the one in which it is to be, None for anywhere.
        """
        fragments, listed = set(), False
        for ftrace in (True, False) if traceable else (False,):
            listing, column = self._listing(ftrace), 0 if ftrace else 2
            listed = listed or bool(listing)
            found = {}
            for symbol in symbols_like(listing, column, token.text):
                if module in (None, symbol.module):
                    found.setdefault(symbol.name, []).append(symbol)
            if token.text in found:
                return first_of(found[token.text])
            variants = [name for name in found if re.match(VARIANT, name[len(token.text):])]
            if len(variants) == 1:
                return first_of(found[variants[0]])
            if variants:
                raise TraceError("the compiler made several of '%s', trace the one you mean: %s"
                                 % (token.text, ', '.join(sorted(variants))), token.column)
            fragments.update(found)
        if listed and module and self.here:
            raise TraceError("the module '%s' has no function '%s', or it is not loaded" % (
                module, token.text), token.column)
        if listed and not module:
            self._miss(token, sorted(fragments))
        return None

    def _miss(self, token, fragments):
        """Raise the error for a function that is not there."""
        names = [] if fragments else symbol_names(self._listing(False) or self._listing(True))
        raise TraceError("this kernel has no function '%s'%s" % (
            token.text, '; there are only fragments of it, ' + ', '.join(fragments) if fragments
            else nearest(token.text, names) or ': it may be inlined, or have another name here'),
            token.column)


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


def listed_extents(listing, names):
    """Return (address, size in bytes) by name of some symbols of kallsyms; None if it has none.

    A symbol ends at the latest where the next one begins; size is None if that is not known.
    """
    if not listing:
        return None
    found = {}
    for name in names:
        at = listing.find(' %s\n' % name)
        at = at if at >= 0 else listing.find(' %s\t' % name)       # a module's
        if at >= 0:
            start = listing.rfind('\n', 0, at) + 1
            address, size = int(listing[start:at].split()[0], 16), None
            for following in listing[at:at + 4096].split('\n')[1:-1]:
                size = int(following.split()[0], 16) - address
                if size:
                    break
            found[name] = address, size if size and size > 0 else None
    return found


def symbol_names(listing):
    """Return the names in a list of symbols, kallsyms' (ADDRESS TYPE NAME) or ftrace's."""
    return re.findall(r'^(?:\S+ \S )?(\S+)', listing, re.M)


def event_fields(tracefs, trace):
    """Return the Fields of an event by name; None if they cannot be read here."""
    system = 'events/' + trace.system.text
    directory = system + '/' + trace.event.text
    if not tracefs.has(directory):
        token, above = ((trace.event, system) if tracefs.has(system)
                        else (trace.system, 'events'))
        raise TraceError("this kernel has no event '%s/%s'%s" % (
            trace.system.text, trace.event.text, nearest(token.text, tracefs.names(above))),
            token.column)
    text = tracefs.read_if_there(directory + '/format')
    return dict((name, event_field(trace.system.text, declaration, array, int(size), signed == '1'))
                for declaration, name, array, size, signed in re.findall(
                    r'\tfield:([^;]*?)(\w+)(\[[^;]*\])?;.*size:([0-9]+);.*signed:([01]);', text)
                ) if text else None


def event_field(system, declaration, array, size, signed):
    """Return the Field, of size bytes, that an event's format declares."""
    if re.search(r'\bchar\[\]', declaration) or array and declaration.strip() == 'char':
        return Field('string')
    if re.search(r'\bchar ?\* *$', declaration):
        return Field('user string' if system == 'syscalls' else 'string')
    if array == '[4]' and size == 4 and 'char' not in declaration:
        return Field('ip', 32)      # as sock/inet_sock_set_state has them
    if array and size not in (1, 2, 4, 8) and 'char' not in declaration:
        return Field('array')   # (a comparison with it the kernel takes, and cannot make)
    if array or re.search(r'\*|struct|__data_loc|__rel_loc', declaration):
        return Field('other')
    return Field('signed' if signed else 'unsigned', 8 * size)


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

    def _take(self, number, _):
        if self.received is None:
            self.received = number

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


class Session(object):
    """One live run: what it has done to the kernel so far, and the way back.

    Its instance is locked by flock on the directory, which tells other runs that it is alive,
    and by its open trace_pipe, of which the kernel allows one (a replayed script has no other).
    """

    def __init__(self, tracefs, plan, console, signals):
        self.tracefs, self.plan, self.console, self.signals = tracefs, plan, console, signals
        self.run = None
        self.top = ''               # the instance's directory, or the root's
        self.lock = self.pipe = None
        self.created, self.started = [], []     # steps done, with the undo they need
        self.clean = True
        self.left = False           # something could not be undone

    def set_up(self):
        """Perform the plan; raises KernelError, or StopRun if a signal comes."""
        if not any(step.action == 'mkdir' for step in self.plan.create):
            self._claim_top()
        for steps, done in ((self.plan.create, self.created), (self.plan.start, self.started)):
            for step in steps:
                self.signals.check()
                self._perform(step, done)

    def _perform(self, step, done):
        if step.action == 'mkdir':
            self._claim()
            self.console.line(shell_line(step, self.tracefs.root, self.run))
            done.append(step)
            return self._sweep()
        undo = step.undo
        if undo and undo.action == 'restore':
            before = self.tracefs.read(self._path(undo)).strip()
            undo = undo._replace(action='write', text='0' if before == 'none' else before)
        self.console.line(shell_line(step, self.tracefs.root, self.run))
        try:
            self._write(step)
        except KernelError as error:
            raise refusal(step, error, self.tracefs, self.top, self.run)
        done.append(step._replace(undo=undo))

    def _path(self, step):
        return step.path.replace(RUN, self.run)

    def _write(self, step):
        self.tracefs.write(self._path(step), step.text.replace(RUN, self.run),
                           step.action == 'append')

    # Claiming a name

    def _claim(self):
        for number in range(RUN_LIMIT):
            run = RUN_NAME + str(number or '')
            if self._claim_name(run):
                self.run, self.top = run, 'instances/%s/' % run
                return
        raise KernelError('%d runs are under way already, or left behind: see %s'
                          % (RUN_LIMIT, self.tracefs.path('instances')))

    def _claim_name(self, run):
        """Make, lock and open an instance; tell whether it is ours now.

        What a killed run left under that name is removed first.
        """
        directory, leftover = 'instances/' + run, False
        for _ in range(RUN_LIMIT):
            self.signals.check()
            made = self.tracefs.make_directory(directory)
            try:
                held = self._hold(directory)
                if held is None:
                    return False
                if made:
                    self.lock, self.pipe = held
                    self._tell_leftover(run, leftover, self._remove_probes(run))
                    return True
                self._remove_instance(run, held)
                leftover = True
            except KernelError as error:
                self._unlock()
                if error.errno == errno.ENOENT:
                    continue            # somebody has just removed it
                if made:
                    self._remove_made(directory)
                if error.errno == errno.EBUSY:
                    return False        # somebody reads it, or has its probes enabled
                raise
        return False

    def _remove_made(self, directory):
        try:
            self.tracefs.remove_directory(directory)
        except KernelError as error:
            self._warn(error)

    def _claim_top(self):
        """Take the top-level buffer, all that kernels before 3.10 have."""
        self.run = RUN_NAME
        try:
            held = self._hold('')
        except KernelError as error:
            if error.errno != errno.EBUSY:
                raise
            held = None
        if held is None:
            raise KernelError('%s is being read by somebody else, and this kernel has no '
                              'instances' % self.tracefs.path('trace_pipe'))
        self.lock, self.pipe = held
        self._remove_probes(self.run)

    def _hold(self, directory):
        """Return (a locked descriptor of a directory, one of its trace_pipe).

        None if somebody else has the lock; raises KernelError, EBUSY if somebody reads it.
        """
        lock = self.tracefs.open(directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink == 0:        # removed since it was opened
                raise self.tracefs.failure(directory, EnvironmentError(errno.ENOENT, ''))
            return lock, self.tracefs.open(os.path.join(directory, 'trace_pipe'),
                                           os.O_RDONLY | os.O_NONBLOCK)
        except KernelError:
            os.close(lock)
            raise
        except EnvironmentError as error:
            os.close(lock)
            if error.errno != errno.EAGAIN:
                raise self.tracefs.failure(directory, error)
            return None

    def _unlock(self):
        self._close_pipe()
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def _close_pipe(self):
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def _sweep(self):
        """Remove what killed runs have left under other names than ours."""
        runs = set(probe.partition('/')[0] for probe in self.tracefs.probes())
        for run in sorted(runs.union(self.tracefs.names('instances'))):
            if re.match(RUN_PATTERN, run) and run != self.run:
                try:
                    self._sweep_name(run)
                except KernelError as error:
                    if error.errno == errno.EBUSY:
                        self.console.note('%s is left alone: somebody reads it, a script perhaps, '
                                          'or the cat of one that was killed'
                                          % self.tracefs.path('instances/' + run))
                    elif error.errno != errno.ENOENT:       # somebody has just removed it
                        raise

    def _sweep_name(self, run):
        directory, leftover = 'instances/' + run, False
        if self.tracefs.has(directory):
            held = self._hold(directory)
            if held is None:
                return
            self._remove_instance(run, held)
            leftover = True
        # Probes are removed by whoever has the name, which is to be had while nobody else has it.
        if self._probes_of(run) and self.tracefs.make_directory(directory):
            held = self._hold(directory)
            if held:
                try:
                    self._tell_leftover(run, leftover, self._remove_probes(run))
                finally:
                    self._remove_instance(run, held)
        else:
            self._tell_leftover(run, leftover, 0)

    def _remove_instance(self, run, held):
        """Remove an instance that is held; refused with EBUSY while a script still reads there."""
        lock, pipe = held
        os.close(pipe)
        try:
            self.tracefs.remove_directory('instances/' + run)
        finally:
            os.close(lock)

    def _tell_leftover(self, run, instance, probes):
        if instance or probes:
            self.console.note('removed what a run that was killed had left: %s%s of %s' % (
                'an instance and ' if instance else '', count_of(probes, 'probe'), run))

    def _probes_of(self, run):
        return sorted(set(probe for probe in self.tracefs.probes()
                          if probe.startswith(run + '/')))

    def _remove_probes(self, run):
        """Remove all probes of the group called run; return how many there were."""
        probes = self._probes_of(run)
        if probes:
            self.tracefs.write('kprobe_events', '\n'.join('-:' + probe for probe in probes),
                               append=True)
        return len(probes)

    # Streaming

    def stream(self, output, limits):
        """Copy events to output until a signal comes, output takes no more, or a limit is met."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        poll.register(self.signals.wake, select.POLLIN)
        poll.register(output.descriptor, 0)     # wakes when its reader has gone
        end, watch = limits.seconds and clock() + limits.seconds, RateWatch(limits.rate)
        while self.signals.received is None and not output.closed and not output.full:
            if end and clock() >= end:
                break
            data = b''
            if not output.pending:
                for descriptor, happened in wait_for(poll, end and 1000 * (end - clock())):
                    if descriptor == output.descriptor and happened & (select.POLLERR
                                                                       | select.POLLHUP):
                        output.closed = True
                data = self._read_events()
                if data is None:
                    break
            # The rate is watched while a slow reader is waited for, too.
            output.write(data, self.signals.wake, min(end or clock() + 1, clock() + 1))
            watch.look(self._written)

    def _read_events(self):
        """Return what is in the buffer, READ_SIZE bytes or a little more, None at its end."""
        parts, size = [], 0
        while size < READ_SIZE:
            try:
                part = os.read(self.pipe, READ_SIZE)
            except EnvironmentError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    break
                raise self.tracefs.failure(self.top + 'trace_pipe', error)
            if not part:
                return b''.join(parts) or None
            parts.append(part)
            size += len(part)
        return b''.join(parts)

    # The way back

    def stop(self, output):
        """Stop the events, drain the buffer into output, count, and undo the rest.

        Returns the Counts, None if the run did not come as far as that.  Whatever cannot be
        undone is told, and does not keep the rest from being undone.
        """
        started, counts = bool(self.started), None
        self._undo(self.started)
        if started:
            self._or_tell(self._drain, output)
            counts = self._or_tell(self._count)
        self._close_pipe()
        self._undo(self.created)
        self._unlock()
        if self.left and self.top:
            self.console.note('the next run removes what this one could not')
        return counts

    def _or_tell(self, call, *arguments):
        """Return what call gives, None if it fails, which is told."""
        try:
            return call(*arguments)
        except Error as error:
            self.clean = False
            self.console.note(str(error))

    def _drain(self, output):
        """Write what is in the buffer, as long as stdout takes it."""
        data = b''
        while data is not None and not output.closed:
            output.write(data)
            data = None if output.pending else self._read_events() or None
        output.flush()

    def _undo(self, done):
        steps = joined_undo(done)
        del done[:]
        for step in steps:
            self.console.line(shell_line(step, self.tracefs.root, self.run))
            try:
                self._undo_step(step)
            except KernelError as error:
                self._warn(error)

    def _undo_step(self, step):
        if step.action == 'rmdir':
            return self.tracefs.remove_directory(self._path(step))
        try:
            self._write(step)
        except KernelError:
            if '\n' not in step.text:
                raise
            self._remove_singly(step)

    def _remove_singly(self, step):
        """Remove one by one what a write of several lines has left."""
        left = self.tracefs.probes()
        for line in step.text.replace(RUN, self.run).split('\n'):
            if line[2:] in left:
                try:
                    self.tracefs.write(step.path, line, append=True)
                except KernelError as error:
                    self._warn(error, ': ' + line[2:])

    def _warn(self, error, what=''):
        self.clean, self.left = False, True
        self.console.note('not undone: %s%s' % (error, what))

    def _statistics(self, words):
        """Return the sum over all CPUs of what the ring buffer counts under these words."""
        counts = []
        for name in self.tracefs.names(self.top + 'per_cpu'):
            text = self.tracefs.read('%sper_cpu/%s/stats' % (self.top, name))
            counts += re.findall(r'^(?:%s): (\d+)' % words, text, re.MULTILINE)
        return sum(int(count) for count in counts)

    def _written(self):
        """Return how many events there have been, read or not."""
        return self._statistics('entries|overrun|dropped events|read events')

    def _count(self):
        """Return the Counts of what was read and dropped, and of the probes that were missed."""
        lost = self._statistics('overrun|commit overrun|dropped events')
        return Counts(self._statistics('read events'), self._statistics('entries'), lost,
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


class RateWatch(object):
    """Ends a run in which more than rate events a second come for RATE_SECONDS; None never."""

    def __init__(self, rate):
        self.rate = rate
        self.seen, self.at, self.above = 0, clock(), 0      # above: seconds in a row

    def look(self, count):
        """Look, once a second, at how many events count() tells of; raises Error."""
        now = clock()
        if not self.rate or now - self.at < 1:
            return
        seen = count()
        above = seen - self.seen > self.rate * (now - self.at)
        self.above = self.above + now - self.at if above else 0
        self.seen, self.at = seen, now
        if self.above >= RATE_SECONDS:
            raise Error('stopped: more than %d events a second; a filter keeps most away, and '
                        '--max-rate 0 lets them all come' % self.rate)


ERROR_LOG = r'error: (?:error: )?(.*)\n  Command: (.*)\n( *)\^'


def refusal(step, error, tracefs, top, run):
    """Return the Error for a step that the kernel refused, in its own words where it has some."""
    is_filter = step.path.endswith('filter')
    # (EPERM is what a filter of too many words gets.)
    if step.origin is None or error.errno not in (
            errno.EINVAL, errno.ENOENT, errno.EILSEQ, errno.EEXIST, errno.E2BIG,
            errno.EADDRNOTAVAIL, errno.ENODEV, errno.EOPNOTSUPP, is_filter and errno.EPERM):
        return error
    if error.errno == errno.ENOENT and (step.action != 'append'
                                        or not tracefs.has(step.path.replace(RUN, run))):
        return error
    text = step.text.replace(RUN, run)
    reason, column = REFUSALS.get(error.errno, os.strerror(error.errno).lower()), None
    # The file keeps the last eight; another run's may be among them.
    log = tracefs.read_if_there((top if is_filter else '') + 'error_log')
    for logged, command, caret in re.findall(ERROR_LOG, log):
        if command.split() == text.split():
            reason = logged[:1].lower() + logged[1:]
            column = origin_column(step, len(caret) - len('  Command: '), command, is_filter)
    refused = Error('the kernel refused this %s: %s; %s was given: %s' % (
        'filter' if is_filter else 'trace', reason, step.path.replace(RUN, run), text))
    refused.text = step.origin.text
    refused.column = column if column is not None else step.origin.columns[0]
    return refused


# What the bare number means where the kernel keeps no error_log (before 5.2).
REFUSALS = {
    errno.EINVAL: 'invalid argument (dmesg may know more)',
    errno.ENOENT: 'it has no such function',
    errno.EILSEQ: 'the offset is not at the start of an instruction',
    errno.EEXIST: 'an event of that name is there already',
    errno.E2BIG: 'too many values',
    errno.EADDRNOTAVAIL: 'the symbol is not unique',
    errno.EOPNOTSUPP: 'this function cannot be probed',
}


def origin_column(step, position, command, is_filter):
    """Return the column in the person's text of a position in the kernel's command, or None."""
    trace = step.origin
    if is_filter:
        before = [column for mark, column in trace.filter.marks if mark <= position]
        return before[-1] if before else None
    word = len(command[:position].split(' ')) - 1
    return trace.columns[word] if 0 <= word < len(trace.columns) else None


# ---------------------------------------------------------------------------
# Output: trace lines -> the person
#
# Takes the kernel's lines as bytes and turns around the values whose names ask for
# it.  stdout carries the product, stderr what is said to the person.
# Touches these two and nothing else; neither can hold up the clean-up.
# ---------------------------------------------------------------------------

# How a line of an event begins: the command's name takes 16 columns, whatever is in it, also a
# newline.  Where the option record-tgid is on, a number in parentheses follows.
EVENT_LINE = to_bytes(r'(?m)^[\s\S]{16}-[0-9]+ +(?:\( *[0-9-]+\) +)?\[[0-9]+\] '
                      r'[^\n]*?[0-9]\.[0-9]{6}: ')
NUMBERS = r'-?(?:0|[1-9][0-9]{0,19})|0x[0-9a-f]{1,16}'
BYTES = r'\{0x[0-9a-f]{1,2}(?:,0x[0-9a-f]{1,2}){15}\}'

SHOWN_LIMIT = 1 << 16   # numbers that are kept as they are shown: all that a port can be
PATIENCE = 2000     # milliseconds that a reader may take nothing while the run ends


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


def opened_again(descriptor):
    """Return a descriptor of the same pipe or terminal whose writes do not block.

    It is an open file of our own, since others share the first.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            opened = os.open('/proc/self/fd/%d' % descriptor,
                             os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            return opened if opened > 2 else moved_up(opened)
    except EnvironmentError:
        pass        # closed, or somebody else's: it will have to do
    return descriptor


def moved_up(descriptor):
    """Return a copy that does not take the place of a stdout that is closed."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 3)
    os.close(descriptor)
    return copy


def is_socket(descriptor):
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except EnvironmentError:
        return False        # it is closed


class Console(object):
    """stderr: echoed lines, notes and errors.  What nobody reads is dropped, never waited for."""

    def __init__(self, descriptor=2):
        self.descriptor = opened_again(descriptor)
        self.patience = PATIENCE
        self.shown = ''         # of what is under way

    def line(self, text):
        """Write a line, with whatever could steer a terminal made visible."""
        self.progress('')
        self._write(visible(to_bytes(text)) + b'\n')

    def _write(self, data):
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        while data:
            if not wait_for(poll, self.patience):
                self.patience = 0
                return
            try:
                # A pipe that can be written to takes this much without blocking.
                data = data[os.write(self.descriptor, data[:select.PIPE_BUF]):]
            except EnvironmentError as error:
                if error.errno != errno.EAGAIN:
                    return

    def note(self, text):
        self.line('surftrace: ' + text)

    def progress(self, text):
        """Show on a terminal what takes long, in a line that the next one replaces; '' ends it."""
        if text != self.shown and os.isatty(self.descriptor):
            self.shown = text
            self._write(b'\r' + visible(to_bytes(text and 'surftrace: ' + text)) + b'\033[K')

    def error(self, error):
        self.note(str(error))
        if error.text is not None:
            self.line('  ' + error.text)
            if error.column is not None:
                self.line('  ' + ' ' * error.column + '^')


class Output(object):
    """stdout: the lines of a trace, in large blocks."""

    def __init__(self, rewrite=None, descriptor=1, count=None, faults=None):
        self.descriptor = opened_again(descriptor)
        self.terminal = os.isatty(descriptor)
        # Of a socket there is no other open file: it is given what it can take without waiting.
        self.at_once = select.PIPE_BUF if is_socket(descriptor) else None
        self.rewrite = rewrite      # bytes of whole lines -> bytes, None to leave them
        self.faults = faults or Faults(())
        self.count = self.left = count      # of events that are wanted, None for all
        self.beyond = False         # one more than are wanted has come
        self.closed = False         # it takes nothing more
        self.stacks = 0             # written so far; each is an event to the ring buffer
        self.partial = b''          # a line whose end has not been read yet
        self.pending = b''          # what its reader has not taken yet
        self.patience = PATIENCE

    @property
    def full(self):
        """Tell whether all events that are wanted have been written."""
        return self.left == 0 and not self.pending

    def write(self, data, wake=None, end=None):
        """Write events; what stdout does not take stays pending.

        It is waited for until `wake` is readable or the clock is at `end`.
        """
        if self.closed:
            return
        data = self.partial + data
        cut = data.rfind(b'\n') + 1
        data, self.partial = data[:cut], data[cut:]
        if self.left is not None:
            data = self._wanted(data)
        self.stacks += data.count(b': <stack trace>\n')
        self.faults.look(data)
        self._show(self.rewrite(data) if self.rewrite else data)
        self._write_pending(wake, end)

    def _show(self, data):
        """Let data be written next; what processes put there must not steer a terminal."""
        self.pending += visible(data) if self.terminal else data

    def _wanted(self, data):
        """Return the lines up to the last event that is wanted, its stack among them."""
        for match in () if self.beyond else re.finditer(EVENT_LINE, data):
            if data.startswith(b'<stack trace>', match.end()):
                continue
            if not self.left:
                self.beyond = True
                return data[:match.start()]
            self.left -= 1
        return b'' if self.beyond else data

    def flush(self):
        """Write what is left, unless the reader takes nothing for as long as our patience."""
        self._show(b'' if self.left == 0 else self.partial)
        self.partial = b''
        self._write_pending()
        if self.pending and not self.closed:
            raise Error('stdout took nothing for a while: %d bytes of events were not written'
                        % len(self.pending))

    def _write_pending(self, wake=None, end=None):
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
                if error.errno == errno.EAGAIN:
                    patience = 1000 * max(end - clock(), 0) if end else None
                    ready = wait_for(poll, self.patience if wake is None else patience)
                    if self.descriptor not in [descriptor for descriptor, _ in ready]:
                        if wake is None:
                            self.patience = 0       # it has been waited for once
                        return
                    continue
                self.closed = True      # its reader has gone, or its disk is full
                if error.errno != errno.EPIPE:
                    raise Error('stdout: %s' % os.strerror(error.errno).lower())


class Faults(object):
    """Watches for strings that could never be read: those of programs perhaps, not the kernel's."""

    def __init__(self, traces):
        # By name, how often there was none; what has been read once is watched no more.
        self.counts = dict((argument.name, 0) for trace in traces
                           for argument in trace.arguments if argument.text.endswith(':string'))

    def look(self, data):
        """Look at the lines of events, as bytes."""
        for name in list(self.counts):
            start = to_bytes(' %s=' % name)
            if start + b'"' in data:
                del self.counts[name]
            else:
                self.counts[name] += data.count(start + b'(fault)')

    def names(self):
        """Return the names of the values that were (fault) whenever they came."""
        return sorted(name for name, count in self.counts.items() if count)


class ShownValues(dict):
    """What the kernel printed of a value -> what is shown of it, both bytes; the last ones met."""

    def __init__(self, conversion):
        dict.__init__(self)
        self.conversion = conversion

    def __missing__(self, printed):
        if len(self) == SHOWN_LIMIT:
            self.clear()
        self[printed] = text = to_bytes(shown(self.conversion, to_text(printed)))
        return text


def make_rewriter(traces):
    """Return a function that shows the values of Compiled traces that have a Conversion, or None.

    It takes and returns bytes of whole lines.  Nothing but these traces' own events is touched.
    """
    alike = {}      # the events of a pattern of functions have the same values
    for trace in traces:
        if any(argument.conversion for argument in trace.arguments):
            layout = tuple(argument._replace(
                text=argument.text if argument.text == '$comm' else '', column=0)
                for argument in trace.arguments)
            alike.setdefault(layout, []).append(trace.event)
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
               if argument.kind == 'string' and argument.text != '$comm']
    for argument in arguments:
        value = r"(?:\{[^}\n]*\}|'[^\n]'|[^ \n]+(?: \[\w+\])?)"
        if argument.kind == 'string':
            value = r'(?:"%s"|\(fault\)|[^ "\n]+)' % (
                '.{0,15}' if argument.text == '$comm' else
                r'[^\n]*' if argument is strings[-1] else r'[^"\n]*')
        if argument.conversion:
            numbers.append(ShownValues(argument.conversion))
            value = r')(%s)(' % (BYTES if argument.kind == 'array' else NUMBERS)
        text += ' %s=%s' % (argument.name, value)
    return re.compile(to_bytes('(?ms)(%s$)' % text)), numbers


# ---------------------------------------------------------------------------
# Command line: arguments -> a run
#
# Options are declared, read and checked here, and nowhere else; main() is the only
# place that ends the program.
# ---------------------------------------------------------------------------

MODES = ('auto', 'btf', 'dwarf', 'gdb', 'local', 'remote')
MAX_RATE = 100000       # events a second
MAX_PROBES = 100        # functions


def above_zero(kind, lowest=None):
    """Return a function that reads a number, of a Python type, above zero, or the lowest itself."""
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = -1
        if not (0 < value < 1 << 31 or value == lowest):
            raise ValueError('a number above zero, below 2^31')
        return value
    return read


def one_of(names):
    """Return a function that reads one of some names."""
    def read(text):
        if text not in names:
            raise ValueError(', '.join(names[:-1]) + ' or ' + names[-1])
        return text
    return read


# letter: '' where there is none.  value: what the help calls the option's value, '' where it takes
# none.  read: makes the value of its text, or raises ValueError with what it should have been.
Option = namedtuple('Option', 'letter name value help read')
Option.__new__.__defaults__ = (str,)

OPTIONS = (
    Option('h', 'help', '', 'show this help'),
    Option('v', 'vmlinux', 'FILE',
           'take types from this vmlinux, or raw BTF (with -r: a release)'),
    Option('m', 'mode', 'MODE', 'where types come from: ' + ', '.join(MODES), one_of(MODES)),
    Option('g', 'gdb', 'FILE', 'the gdb for -m gdb, -F and -l'),
    Option('d', 'database', 'FILE', 'take types from this database'),
    Option('r', 'rip', 'HOST[:PORT]', 'ask this server for types'),
    Option('f', 'file', 'FILE',
           'read traces from a file, one a line (#: a comment); - is stdin'),
    Option('o', 'output', 'FILE', 'write a shell script that does the same'),
    Option('a', 'arch', 'ARCH', 'take the registers of aarch64 or x86_64',
           one_of(sorted(ARCHITECTURES))),
    Option('s', 'stack', '', 'show the kernel stack of each event'),
    Option('c', 'count', 'N', 'end after N events', above_zero(int)),
    Option('t', 'time', 'SECONDS', 'end after so long', above_zero(float)),
    Option('p', 'pid', 'PID',
           'only this process: its threads, and what it starts from now on', above_zero(int)),
    Option('', 'comm', 'NAME', 'only tasks of this name'),
    Option('b', 'buffer', 'KB', 'the size of the ring buffer of each CPU', above_zero(int)),
    Option('', 'maxactive', 'N',
           'calls of a function that an r trace can follow at a time', above_zero(int)),
    Option('', 'max-probes', 'N',
           'functions that a pattern may take (%d)' % MAX_PROBES, above_zero(int)),
    Option('', 'max-rate', 'N',
           'end if more events come in a second, for 3 s (%d; 0: never)' % MAX_RATE,
           above_zero(int, 0)),
    Option('S', 'show', '', 'show the lines, and touch nothing'),
    Option('F', 'func', 'FUNC', 'disassemble a function'),
    Option('l', 'line', 'FILE:LINE', 'disassemble a line of the source'),
    Option('', 'info', 'NAME',
           "show a function, a struct, an enum, or the functions like 'tcp_*'"),
    Option('', 'make-db', 'FILE', 'write all types into a database for -d'),
    Option('', 'tracefs', 'DIR', 'where tracefs is mounted, if not where /proc/mounts says'),
    Option('', 'debug', '', 'show a traceback with an error'),
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


class Options(object):
    """What the command line says: an attribute for each of OPTIONS, and what follows from them."""

    def __init__(self, argv):
        import getopt
        try:
            found, self.traces = getopt.gnu_getopt(
                argv, ''.join(option.letter + ':' * bool(option.value)
                              for option in OPTIONS if option.letter),
                [option.name + '=' * bool(option.value) for option in OPTIONS])
        except getopt.GetoptError as error:
            raise UsageError('%s; -h shows how' % error)
        for option in OPTIONS:
            self._set(option.name, None if option.value else False)
        self.mode, self.max_rate, self.max_probes = 'auto', MAX_RATE, MAX_PROBES
        seen = []
        for flag, text in found:
            option, = [each for each in OPTIONS if flag in ('-' + each.letter, '--' + each.name)]
            if option.value and option in seen:
                raise UsageError('%s is there twice' % flag)
            seen.append(option)
            self._read(option, flag, text)

    def _set(self, name, value):
        setattr(self, name.replace('-', '_'), value)

    def _read(self, option, flag, text):
        try:
            self._set(option.name, option.read(text) if option.value else True)
        except ValueError as error:
            raise UsageError("%s takes %s, not '%s'" % (flag, error, text))


def help_lines():
    """Return the lines of the help; none is longer than 100 columns."""
    rows = ['  %-3s --%-20s %s' % (option.letter and '-%s,' % option.letter, '%s %s' % (
        option.name, option.value), option.help) for option in OPTIONS]
    examples = ['  surftrace.py %s\n      %s' % example for example in EXAMPLES]
    return HELP.splitlines() + ['', 'options:'] + rows + ['', 'examples:'] + examples


def read_options(argv):
    """Return the checked Options."""
    options = Options(argv)
    if options.help:
        return options
    options.action = chosen_action(options)
    check_machine(options)
    options.choice = read_choice(options)
    options.settings = Settings(options.stack, options.buffer, threads_of(options),
                                options.maxactive)
    if options.comm is not None and not re.match(br'[^"\x00-\x1f]{1,15}\Z', to_bytes(options.comm)):
        raise UsageError("--comm takes a task's name, of up to 15 bytes and without quotes")
    options.texts = [one_line(text) for text in options.traces]
    if options.file:
        options.texts += read_trace_file(options.file)
    options.trees = [pointing_at(text, parse_trace, text) for text in options.texts]
    if bool(options.trees) != (options.action in (show, trace_live)):
        raise UsageError('traces do not go with --info, --make-db, -F or -l' if options.trees else
                         "no trace: try -S 'p wake_up_new_task comm=%0->comm'; -h shows more")
    return options


def chosen_action(options):
    """Return the function that does what is asked for."""
    actions = [action for action, chosen in (
        (show_information, options.info), (make_database, options.make_db),
        (show_instructions, options.func), (show_instructions, options.line)) if chosen is not None]
    if len(actions) > 1:
        raise UsageError('--info, --make-db, -F and -l: one at a time')
    return actions[0] if actions else show if options.show else trace_live


def check_machine(options):
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
    # What a file says of another kernel is not to be checked against this one.
    options.arch = options.arch or here
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
    mode, release, vmlinux = options.mode, os.uname()[2], options.vmlinux
    for option, asked, wanted in (('-r', options.rip, 'remote'), ('-d', options.database, 'local')):
        if asked is not None and mode not in ('auto', wanted):
            raise UsageError('%s goes with -m %s' % (option, wanted))
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


def compile_all(options, types, tracefs, console):
    """Return the Compiled traces; tracefs is None where it cannot or must not be asked."""
    symbols, events, traces = symbols_of(options, tracefs), set(), []
    if not tracefs and not options.elsewhere and any(tree.kind == 'e' for tree in options.trees):
        console.note('no tracefs can be read here: the names of events and fields are not checked')
    target = running_target(tracefs, ARCHITECTURES[options.arch], symbols)

    def compile_tree(tree):
        if tree.kind == 'e':
            name = tree.system.text, tree.event.text
            if name in events:
                raise TraceError('this event is there twice: join the filters with ||',
                                 tree.system.column)
            events.add(name)
            fields = event_fields(tracefs, tree) if tracefs else None
            return [compile_event(tree, fields, types.of(None))]
        if is_pattern(tree.symbol.text):
            chosen = matching_symbols(tree, symbols, options.max_probes, console)
            return compile_pattern(tree, chosen, len(traces), types, target, console)
        symbol = named_symbol(tree, symbols, console)
        return [compile_probe(tree, symbol, len(traces), types, target)]
    for tree in options.trees:
        traces += pointing_at(tree.text, compile_tree, tree)
    for warning in sorted(set("'%s': %s" % (argument.name, argument.warning) for trace in traces
                              for argument in trace.arguments if argument.warning)):
        console.note(warning)
    return [of_command(trace, options.comm) for trace in traces] if options.comm else traces


def compile_probe(tree, symbol, number_of_probe, types, target):
    words = tree, 'f%d' % number_of_probe, symbol.name, types.of(symbol.module), target
    try:
        return compile_trace(*words)
    except UnknownDebugInfo as unknown:
        if not types.falls_back(unknown):
            raise
        return compile_trace(*words)


def compile_pattern(tree, chosen, first, types, target, console):
    """Return the Compiled traces of a pattern's Symbols, but those that lack what is asked for."""
    compiled, errors = [], []
    for symbol in chosen:
        try:
            compiled.append(compile_probe(tree, symbol, first + len(compiled), types, target))
        except TraceError as error:
            errors.append(error)
    if not compiled:
        raise max(errors, key=lambda error: error.column or 0)      # which came furthest
    if errors:
        console.note('left out: %s, of which this cannot be asked (%s ...)' % (
            count_of(len(errors), 'function'), errors[0]))
    return compiled


def symbols_of(options, tracefs):
    return Symbols(tracefs, not options.elsewhere, options.choice.vmlinux)


def pointing_at(text, call, *arguments):
    """Return what call gives, and let its errors point at text."""
    try:
        return call(*arguments)
    except TraceError as error:
        error.text = text
        raise


def named_symbol(tree, symbols, console):
    """Return the Symbol to probe: what is named, or its only variant."""
    token, module = tree.symbol, tree.module.text if tree.module else None
    symbol = symbols.find(token, not tree.offset, module)
    if symbol is None:
        return Symbol(token.text, module)
    if symbol.copies > 1:
        console.note("%d functions are called '%s': this kernel may trace the first of them, or "
                     'refuse the name, as later ones do; MODULE:%s takes that of a module'
                     % (symbol.copies, symbol.name, symbol.name))
    if symbol.name != token.text:
        console.note("this kernel has '%s' only as '%s', which is traced; the compiler may have "
                     'moved or dropped arguments' % (token.text, symbol.name))
    return symbol


def matching_symbols(tree, symbols, limit, console):
    """Return the Symbols that a pattern takes, which are to be no more than the limit."""
    token = tree.symbol
    if not symbols.names():
        raise TraceError('which functions match can only be told on the machine itself, or from a '
                         'vmlinux that has symbols (-v)', token.column)
    try:
        found, left_out = symbols.matching(token.text, tree.module.text if tree.module else None)
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


def show(options, types, console):
    """Print the set-up, and touch nothing."""
    tracefs = None if options.elsewhere else readable_tracefs(options.tracefs)
    traces = compile_all(options, types, tracefs, console)
    plan = make_plan(traces, options.settings, tracefs.has('instances') if tracefs else True)
    if options.output:
        write_script(options, plan, traces, console)
    before, root = setting_for(options)
    return print_lines(before + [shell_line(step, root, RUN_NAME)
                                 for step in plan.create + plan.start])


def setting_for(options):
    """Return what is to be run before the lines of a set-up, and the root that they are for."""
    if options.tracefs or options.elsewhere:
        return [], options.tracefs or DEFAULT_ROOT
    mount = find_mount()
    if mount or not possible_mounts():
        return [], mount.root if mount else DEFAULT_ROOT
    command, mount = possible_mounts()[0]       # as a live run would begin
    return [' '.join(command)], mount.root


def print_lines(lines):
    """Print lines, as slowly as their reader takes them."""
    output = Output()
    output.patience = None      # there is nothing to clean up: it can wait
    output.write(to_bytes(''.join(line + '\n' for line in lines)))
    output.flush()
    return 0


def show_information(options, types, console):
    """Print what is known of a function, a struct, or the functions of a pattern."""
    if not options.info.strip():
        raise UsageError('--info takes the name of a function, struct, union or enum')
    tracefs = None if options.elsewhere else readable_tracefs(options.tracefs)
    symbols = symbols_of(options, tracefs)
    names, source = symbols.names(), types.of(symbols.module(options.info))
    if not names and re.search(r'[*?[]', options.info):
        names = source.names('function')
    return print_lines(information(options.info, source, names, ARCHITECTURES[options.arch]))


def make_database(options, types, console):
    """Write a database of all types."""
    size = write_database(options.make_db, types.of(None), options.arch, console)
    console.note('%s: %.1f MB' % (options.make_db, size / 1e6))
    return 0


def show_instructions(options, types, console):
    """Print the instructions of a function, or of a line of the source."""
    names = function_symbols(options.vmlinux).splitlines() if options.vmlinux else ()
    if options.func and names and options.func not in names:
        raise UsageError("-F: there is no function '%s'%s" % (
            options.func, nearest(options.func, names)))
    gdb = types.disassembler()
    lines = []
    if options.func:
        lines.append(gdb.disassembly(options.func).rstrip())
    for symbol, instructions in gdb.line_places(options.line) if options.line else ():
        lines += ['%s is at %s' % (options.line, symbol), instructions]
    return print_lines(lines)


def trace_live(options, types, console):
    """Set up, stream until the end, and clean up; return the exit status."""
    with Signals() as signals:
        types.check, tracefs = signals.check, None
        try:
            tracefs = open_tracefs(options.tracefs, console, signals.check)
            check_kprobes(options.trees, tracefs)
            traces = compile_all(options, types, tracefs, console)
            types.close()       # gdb holds much memory
            # Threads may have been started meanwhile.
            settings = options.settings._replace(pids=threads_of(options))
            plan = make_plan(traces, settings, tracefs.has('instances'))
            if options.output:
                write_script(options, plan, traces, console)
            output = Output(make_rewriter(traces), count=options.count, faults=Faults(traces))
            session = Session(tracefs, plan, console, signals)
            limits = Limits(options.time, options.max_rate)
            status = run_session(session, output, limits, console, signals)
        except StopRun:
            status = signals.status()
        finally:
            unmounted = tracefs is None or tracefs.close()
        return status if unmounted else status or 1


def run_session(session, output, limits, console, signals):
    status = 0
    try:
        session.set_up()
        session.stream(output, limits)
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
    for name in output.faults.names():
        console.note("'%s' could never be read: if it is a string of the program's, and not of the "
                     "kernel's, write :ustring behind its value (Linux 5.3 and later)" % name)


def write_script(options, plan, traces, console):
    """Write the plan as a script that can be executed, and tell what that cannot do."""
    for option, used in (('-c', options.count), ('-t', options.time),
                         ('--max-rate', options.max_rate != MAX_RATE)):
        if used:
            console.note('%s: a script has no %s, it runs until Ctrl+C' % (options.output, option))
    if make_rewriter(traces):
        console.note('%s: a script shows addresses and names as the numbers that the kernel has'
                     % options.output)
    try:
        with open(options.output, 'wb') as stream:
            stream.write(to_bytes(script(plan, options.texts)))
            mode = os.fstat(stream.fileno()).st_mode
            if stat.S_ISREG(mode):
                os.fchmod(stream.fileno(), stat.S_IMODE(mode) | (mode & 0o444) >> 2)
    except EnvironmentError as error:
        raise Error('%s: %s' % (options.output, os.strerror(error.errno).lower()))


def check_stdout():
    try:
        os.fstat(1)
    except EnvironmentError:
        raise Error('stdout is closed')


def leave(number, _):
    """End by way of all that is to be closed; a live run has its own way."""
    sys.exit(128 + number)


def main(argv):
    console = Console()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        # Else a pipe or file that is opened later takes its place.
        check_stdout()
        options = read_options(argv)
        if options.help:
            return print_lines(help_lines())
        types = Types(options.choice, console)
        try:
            return options.action(options, types, console)
        finally:
            types.close()
    except Error as error:
        if '--debug' in argv:
            raise
        console.error(error)
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT      # (a live run takes it as its ordinary end)


if __name__ == '__main__':
    exit_status = main(sys.argv[1:])
    # All that is left to do is to free memory, which the kernel does in no time.
    os._exit(exit_status)

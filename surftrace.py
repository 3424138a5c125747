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

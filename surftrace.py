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

The file reads in the order in which the data flows: language, types, values, fields, filters
and histograms, traces, plan, kernel, session, output, and then the command line.  An appendix holds
where types come from and what --info tells.  Only the sections Kernel and Session change the
kernel.  Sizes and offsets are in bytes unless a name or a docstring says that they are in bits.
"""

import sys

# Root must not run a re.py beside this script, perhaps in somebody else's directory.  (With
# -m there is a package, perhaps ''; with -I and -P the directory is not in the path.)
if __name__ == '__main__' and __package__ is None and not (
        getattr(sys.flags, 'isolated', 0) or getattr(sys.flags, 'safe_path', 0)):
    del sys.path[0]

import signal

if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)        # until main() takes it

import argparse
import array
import bisect
import contextlib
import errno
import fcntl
import functools
import gc
import itertools
import os
import re
import select
import stat
import struct
from collections import Counter, namedtuple

# Bytes at the edges, text inside.  On Python 2 text is bytes already.
to_bytes, to_text = getattr(os, 'fsencode', str), getattr(os, 'fsdecode', str)


def clock():
    """Seconds on a clock that is never adjusted (Python 2 has no time.monotonic)."""
    return os.times()[4]


def wait_until(end, poll):
    """Return poll's {descriptor: events}, {} once the clock is at `end`."""
    while True:
        # (In milliseconds; poll takes no more than that.)
        left = int(min(max(1000 * (end - clock()), 0), 1 << 30))
        try:
            return dict(poll.poll(left))
        except (EnvironmentError, select.error) as error:       # Python 2 is interrupted
            if error.args[0] != errno.EINTR:
                raise


def read_file(path):
    with open(path, 'rb', 0) as stream:
        return stream.read()


def text_if_there(path):
    """Return the text of a file, '' if it cannot be read."""
    try:
        return to_text(read_file(path))
    except EnvironmentError:
        return ''


def is_left_behind(pid):
    """Tell whether a run is dead: its process has ended, or its number is ours by now."""
    try:
        os.kill(pid, 0)
    except EnvironmentError as error:
        return error.errno == errno.ESRCH
    return pid == os.getpid()


def make_file(path, write):
    """Have write() make a file beside path, which replaces path once it is complete."""
    import shutil
    import tempfile     # both are slow to load
    directory = os.path.dirname(path) or '.'
    try:
        for name in os.listdir(directory):      # what killed runs of ours have left
            left = re.match(r'\.making-([0-9]{1,9})-', name)
            beside = os.path.join(directory, name)
            if left and is_left_behind(int(left.group(1))) and (
                    os.lstat(beside).st_uid == os.geteuid()):
                shutil.rmtree(beside, ignore_errors=True)
        scratch = tempfile.mkdtemp(prefix='.making-%d-' % os.getpid(), dir=directory)
        try:
            write(os.path.join(scratch, 'making'))
            os.rename(os.path.join(scratch, 'making'), path)
        finally:
            shutil.rmtree(scratch)
    except EnvironmentError as error:
        raise Error('%s: %s' % (path, os.strerror(error.errno).lower()))


def count_of(count, noun):
    """Return '1 event' or '2 events'."""
    return '%d %s%s' % (count, noun, '' if count == 1 else 's')


class Error(Exception):
    """An error that main() prints; column is a place in text, line is text's FILE:LINE."""

    status, text, column, line = 1, None, None, ''


class UsageError(Error):
    """The command line is wrong."""

    status = 2


class TraceError(UsageError):
    """A trace is wrong at a column of its text."""

    def __init__(self, message, column=None):
        Error.__init__(self, message)
        self.column = column


@contextlib.contextmanager
def pointing_at(column):
    """Have a TraceError that knows no column point at this one."""
    try:
        yield
    except TraceError as error:
        if error.column is None:
            error.column = column
        raise


class SourceError(Error):
    """A source of types cannot be had, is another kernel's, or is damaged."""


class NoTypesError(SourceError):
    """No source of types is there."""


class UnknownDebugInfo(SourceError):
    """Debug info of a kind that only gdb reads."""


def did_you_mean(names):
    return ': did you mean %s?' % ' or '.join("'%s'" % name for name in names) if names else ''


def nearest(name, names):
    """Return ": did you mean 'x' or 'y'?" for the names most like name, or ''."""
    import difflib      # only a mistake needs it, and it is slow to load
    names, likeness = set(names), 0.65
    if len(names) > 2000:       # of so many, those that are likely
        likeness = 0.7
        names = [other for other in names if abs(len(other) - len(name)) <= 4
                 and other.lstrip('_')[:1] == name.lstrip('_')[:1]]
    return did_you_mean(difflib.get_close_matches(name, names, 3, likeness))


# -- Language: a trace as typed -> syntax tree --------------------------------
#
# Gives a Trace, whose tokens know their columns, for errors to point at.

# trace     = ("p" | "r" | "c") SPACE [MODULE ":"] SYMBOL ["+" NUMBER] {SPACE value} rest
#           | "e" SPACE [SYSTEM ("/" | ":")] EVENT rest
# rest      = [SPACE histogram] [SPACE filter]
# value     = NAME "=" (raw | [letter] [packet] [cast] base {access} [":" TYPE])
# letter    = "S" | "U" | "X"
# packet    = "@(struct" HEADER "*)" ["l2" | "l3" | "l4"]
# cast      = "!(" C type ")"
# base      = "%" NUMBER | "%" REGISTER | "$" NAME | "@" SYMBOL    (see BASES); or base and cast
# access    = ("->" | ".") NAME | "[" NUMBER "]" | cast       (a cast is not the first)
# raw       = what is in ftrace's own words: +8(%sp), @0xff..., @sym+4, $arg1, \1
# histogram = "h:" key {"," key} [":" NAME {"," NAME}]      (what is summed)
# key       = NAME ["." WORD]
# filter    = "f:" {"!" | "("} predicate {")"} {("&&" | "||") ...}
# predicate = NAME ["." WORD] ("==" | "!=" | "<" | "<=" | ">" | ">=" | "&" | "~") operand
# operand   = a quoted string, or all up to a blank, &, | or parenthesis
#
# WORD is ustring or function, of a key a KEY_WORD.  SYMBOL and EVENT may be patterns of the shell.
# A blank is what separates the words of a trace.

Token = namedtuple('Token', 'text column')
# traced: a function or an event; owner: its module or system, or None.  line: the FILE:LINE that
# the trace stands in, '' on the command line.
Trace = namedtuple('Trace', 'text kind owner traced offset values histogram filter line')
# text: all that stands after the =.
Value = namedtuple('Value', 'name letter packet cast base accesses fetch_type text')
Packet = namedtuple('Packet', 'header layer')
Base = namedtuple('Base', 'kind text column')       # kind: one of those in BASES, or raw
Access = namedtuple('Access', 'operator word')      # operator: ->, ., [ or !, word: a Token
Histogram = namedtuple('Histogram', 'column keys sums')
Key = namedtuple('Key', 'name word')
Filter = namedtuple('Filter', 'text column predicates')
Predicate = namedtuple('Predicate', 'name suffix operator operand word')    # word: without quotes

# What a value can start from: its pattern, and the kind of Base, which Compiler._base_KIND takes.
BASES = ((r'%[0-9]{1,2}(?!\w)', 'argument'), (r'%\w+', 'register'),
         (r'\$(?:retval|comm|stack[0-9]*)(?!\w)', 'variable'), (r'\$[A-Za-z_]\w*', 'argument'),
         (r'@[A-Za-z_]\w*(?:\.(?:constprop|isra|part|cold)(?:\.[0-9]+)*)*', 'symbol'))
# Messages by the pattern that the wrong text matches; %s is what its parentheses match.
PROGRAMS = 'programs cannot be traced here, only the kernel: perf probe -x traces them'
BEGINNING = "a trace begins with p, r, c or e: did you mean '%s %%s'?"
NO_TRACE = (
    (r'u(?:ret)?(?:probe)?:|/', PROGRAMS),
    (r'(\w+=\S*|[fh]:\S*)', "'%s' belongs to the trace before it: one pair of quotes around both"),
    (r'(?:p:\S+|kprobe) +(\w[^ =]*(?: .*)?)$', BEGINNING % 'p'),
    (r'(?:r:\S+|k?ret|kretprobe) +(\w[^ =]*(?: .*)?)$', BEGINNING % 'r'),
    (r'(?:kprobe|kfunc|fentry|p)[:/](\S+)', BEGINNING % 'p'),
    (r'(?:kretprobe|kretfunc|fexit|r)[:/](\S+)', BEGINNING % 'r'),
    (r'(?:(?:event|tracepoint|t|e)[: ] *)?(\w+[:/]\w+.*)', BEGINNING % 'e'),
    (r'(\w\w+(?: .*)?)$', BEGINNING % 'p' + ' (a command to run stands after --)'),
    ('', "a trace starts with 'p ' (entry), 'r ' (return), 'c ' (whole call) or 'e ' (event)"))
NO_SYMBOL = (
    ('/', PROGRAMS),
    (r'([\w.]+)%return', 'a return is traced with r: r %s'),
    ('(.*)', "'%s' is no function's name: --info 'vfs_*' lists functions, -l finds the place of "
     'FILE:LINE, and an event is traced with e'))
NO_BASE = (
    ('->', 'nothing stands before ->: the shell leaves $NAME there only in single quotes'),
    ('=', 'a comparison stands in the filter: f:NAME==...'),
    (r'~?\(', 'a cast is written !(struct NAME *)%%0->...'),
    (r'\*+([$%]\w+)', 'what a pointer points at is its element [0]: %s[0]'),
    (r'\*+(\w+)', 'what a pointer points at is its element [0]: $%s[0]'),
    (r'\w+\(', 'ftrace calls no functions: b16_NAME= swaps bytes, :ustring reads user memory'),
    (r'arg([0-9])(?!\w)', 'arguments are counted from 0: %%%s'),
    (r'(x[0-9]+|[er]?(?:[a-d]x|[sd]i|[sb]p|ip)|r[0-9]+)(?!\w)', 'a register is written %%%s'),
    (r'(pid|tid)(?!\w)', "an argument is written $%s; the task's own number stands in each line, "
     'and f: and h: call it common_pid'),
    (r'([A-Za-z_]\w*)', 'an argument is written $NAME: did you mean $%s?'),
    ('', 'a value starts from %%0 or $NAME, %%REGISTER, $retval, $comm, $stackN or @SYMBOL'))
RAW = r'(?:[+\\]|-(?!>)|@(?:[0-9]|[A-Za-z_][\w.$]*[-+](?!>))|\$arg[1-9][0-9]*(?!\w))[^ #]*'
FETCH_TYPE = (r'(?:[sux](?:8|16|32|64)|b[0-9]+@[0-9]+/(?:8|16|32|64)|u?string|symbol|symstr|'
              r'char|%p[dD])(?:\[(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)\])?(?= |$)')
NAME = r'[A-Za-z_]\w*'
KEY_WORD = r'(?:log2|buckets=[1-9][0-9]{0,8}|hex|sym|syscall)(?!\w)'
NUMBER = r'(?:0[xX][0-9a-fA-F]{1,8}|0|[1-9][0-9]{0,8})(?!\w)'       # at most 32 bits
FUNCTION = r'[A-Za-z_][A-Za-z0-9_.$]*$'
PATTERN = r'[A-Za-z0-9_.$*?\[\]!-]+$'


def wrong(token, problem, at=None):
    """Return the error "'TEXT' problem" for a Token, which points at it or at another."""
    return TraceError("'%s' %s" % (token.text, problem), (at or token).column)


class Scanner(object):
    """A trace that is read from left to right."""

    compiled = {}       # patterns; re looks its own up in twice the time

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        """Step over what a pattern matches here and return it as a Token, or None."""
        match = self.sees(pattern)
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
        if pattern not in self.compiled:
            self.compiled[pattern] = re.compile(pattern)
        return self.compiled[pattern].match(self.text, self.at)

    def error(self, message):
        return TraceError(message, self.at)


def message_for(table, text):
    """Return a table's message for a text, by the first pattern that matches."""
    for pattern, message in table:
        match = re.match(pattern, text)
        if match:
            return message % match.groups()


def parse_trace(text):
    """Return the Trace that text spells; raises TraceError."""
    control = re.search(r'[\x00-\x09\x0b-\x1f\x7f]', text)       # (a string may have a newline)
    if control:
        raise TraceError('a control character cannot be part of a trace', control.start())
    scan = Scanner(text)
    scan.take(' *')
    kind = scan.take(r'[prce](?= |$)')
    if kind is None:
        raise scan.error(message_for(NO_TRACE, text[scan.at:]))
    scan.take(' *')
    return (parse_event if kind.text == 'e' else parse_probe)(scan, kind.text)


def parse_event(scan, kind):
    shape = 'an event is named SYSTEM/EVENT, like sched/sched_switch'
    system = scan.take('[A-Za-z0-9_-]+(?=[/:])')
    scan.take('[/:]' if system else '')
    event = scan.need('[A-Za-z0-9_*?\\[\\]!-]+', shape)
    scan.take(' *')
    scan.need('(?=[fh]:|$)', 'an event takes only a histogram, h:..., and a filter, f:...; it has '
              'its own values')
    return Trace(scan.text, kind, system, event, None, (), parse_histogram(scan),
                 parse_filter(scan), '')


def parse_probe(scan, kind):
    module = scan.take(r'[A-Za-z_]\w*(?=:)')
    scan.take(':' if module else '')
    symbol = scan.need('[^ +]+', 'the name of a kernel function is missing; a trace is one '
                       'argument, in single quotes')
    if not re.match(PATTERN if is_pattern(symbol.text) else FUNCTION, symbol.text):
        raise TraceError(message_for(NO_SYMBOL, symbol.text), symbol.column)
    offset = scan.take(r'\+') and scan.need(NUMBER, 'the offset, a number of bytes, is missing')
    if offset and is_pattern(symbol.text):
        raise TraceError('a pattern of functions takes no offset', offset.column)
    values = []
    while not scan.sees(' *$| +[fh]:'):
        scan.need(' +', 'a blank is missing here')
        values.append(parse_value(scan))
    scan.take(' *')
    return Trace(scan.text, kind, module, symbol, offset, tuple(values), parse_histogram(scan),
                 parse_filter(scan), '')


def is_pattern(name):
    return bool(re.search(r'[*?[]', name))


def matcher(pattern, column=None):
    """Return the match function of a pattern of the shell; raises TraceError."""
    import fnmatch      # only patterns need it
    try:
        return re.compile(fnmatch.translate(pattern)).match
    except re.error as error:       # a range from z to a
        raise TraceError('this is no pattern: %s' % error, column)


def parse_value(scan):
    name = scan.take('[^ =]*(?==)')
    if name is None:
        unnamed, compared = scan.sees(r'\$(\w+)'), scan.sees(r'\w+[<>~&!]\S*')
        raise scan.error('a value is written NAME=VALUE%s, and a filter f:%s' % (
            ': %s=$%s' % (unnamed.groups() * 2) if unnamed else '',
            compared.group() if compared else '...'))
    scan.take('=')
    scan.need('(?=[^ ])', "a value is missing after '%s='; the shell replaces $NAME unless the "
              'trace is in single quotes' % name.text)
    begin, raw = scan.at, scan.take(RAW)
    if raw:
        scan.need('(?!#)', "'#' begins a comment for the kernel, which would drop what follows")
        if re.match(r'\\"[^"]*$', raw.text):
            raise scan.error('the kernel takes no blank in a string that is a value')
        base = Base('raw', raw.text, raw.column)
        return Value(name, None, None, None, base, (), None, raw.text)
    letter, packet, cast = scan.take('[SUX](?=[%$@!])'), parse_packet(scan), parse_cast(scan)
    base = parse_base(scan)
    cast = cast or parse_cast(scan)
    accesses = parse_accesses(scan)
    fetch_type = scan.take(':') and scan.need(
        FETCH_TYPE, "the kernel has no type '%s'; it has s8 to s64, u8 to u64, x8 to x64, "
        'b<bits>@<first>/<of>, string, ustring, symbol, and [N] after them'
        % scan.sees('[^ ]*').group())
    scan.need('(?= |$)', "'%s' cannot follow here: a member is ->NAME or .NAME, blanks set values "
              'apart, and ftrace does no arithmetic; a filter compares, f:%s!=...'
              % (scan.text[scan.at:scan.at + 1], name.text))
    text = scan.text[begin:scan.at]
    return Value(name, letter, packet, cast, base, accesses, fetch_type, text)


def parse_packet(scan):
    if not scan.take(r'@\('):
        return None
    shape = "a packet's header is written @(struct iphdr *)"
    scan.need('struct +', shape)
    header = scan.need(r'\w+', shape)
    scan.need(r' *\* *\)', shape)
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
    raise scan.error(message_for(NO_BASE, scan.text[scan.at:]))


def parse_accesses(scan):
    accesses = []
    while scan.sees(r'->|[.[!]' if accesses else r'->|[.[]'):
        cast = parse_cast(scan)
        operator = '!' if cast else scan.take(r'->|[.[]').text
        if operator == '[':
            word = scan.need(NUMBER, 'an index, a number, is missing')
            scan.need(r'\]', "']' is missing after the index")
        else:
            word = cast or scan.need(NAME, "a member's name after '%s' is missing" % operator)
        accesses.append(Access(operator, word))
    return tuple(accesses)


def parse_histogram(scan):
    """Return the Histogram that h: begins, or None."""
    column = scan.at
    if not scan.take('h:'):
        return None
    keys, sums = [], []
    while not keys or scan.take(','):
        name = scan.need(NAME, 'what to count by is missing: h:NAME of a value, or h:stacktrace')
        word = scan.take(r'\.') and scan.need(
            KEY_WORD, 'a name to count by takes .log2, .buckets=N (N from 1 on), .hex, .sym or '
            '.syscall')
        keys.append(Key(name, word))
    while scan.take(',' if sums else ':'):
        sums.append(scan.need(NAME, 'the name of a number to add up is missing; a value is given '
                              'one before h:, size=%2'))
    scan.need(' *(?=f:|$)', 'h: is written h:KEY,KEY:SUM,SUM and only a filter, f:..., follows it')
    return Histogram(column, tuple(keys), tuple(sums))


def parse_filter(scan):
    """Return the Filter that runs from f: to the end, or None; its words stay as they are."""
    if not scan.take('f: *'):
        return None
    column, depth, predicates = scan.at, 0, []
    while True:
        depth += scan.take('[ !(]*').text.count('(')
        predicates.append(parse_predicate(scan))
        while depth and scan.take(r' *\)'):
            depth -= 1
        scan.take(' *')
        scan.need(r'(?!\))', "this ')' closes nothing")
        if scan.at == len(scan.text):
            break
        scan.need('(?!h:)', 'h: stands before f:')
        scan.need(r'(?!\w+=[^=])', 'values stand before f:')
        scan.need(r'&&|\|\|', '&& or || is missing here; a string with a blank, & or | in it needs '
                  'quotes: comm=="a b"')
    if depth:
        raise scan.error("')' is missing at the end of the filter")
    return Filter(scan.text[column:], column, tuple(predicates))


def parse_predicate(scan):
    unnamed = scan.sees(r'[%$@]\w*(?:(?:->|\.)\w+)*')
    if unnamed:
        raise scan.error('a filter compares what has a name: n=%s f:n==...' % unnamed.group())
    name = scan.need(NAME, "a field's name is missing")
    scan.need(r'(?!->|\[)', 'a filter compares what has a name: n=$%s->... f:n==...' % name.text)
    scan.need('(?!:ustring)', 'in a filter it is %s.ustring' % name.text)
    suffix = scan.take(r'\.(?=\w)') and scan.need(
        r'(?:ustring|function)(?!\w)', "a field's name takes .ustring or .function: a member is "
        'given a name first, NAME=%0->MEMBER f:NAME==...')
    scan.take(' *')
    operator = scan.need('[=!<>]=|[<>]|&(?!&)|~', 'a comparison is missing: == != < <= > >= & ~%s'
                         % ('; equality is ==' if scan.sees('=') else ''))
    scan.take(' *')
    operand = scan.take('"[^"]*"|\'[^\']*\'') or scan.need(
        '(?![\'"])[^ &|()]*', 'this quote is not closed')
    if not operand.text:
        raise scan.error("something to compare '%s' with is missing" % name.text)
    return Predicate(name, suffix, operator, operand, operand.text.strip('"\''))


# -- Types: what every source of types answers, and a type that knows its source --
#
# A source of types (see the appendix) answers these questions about its kernel:
#
#   functions(name)     the Functions of that name; several static ones may share it
#   find(kind, name)    a reference to 'struct', 'union', 'enum', 'typedef' or 'int' name, or None
#   copies(kind, name)  how many there are, of which find() gives the first; 1 if it cannot tell
#   describe(ref)       the Record behind a reference
#   members(record)     the Members of a struct or union, in order
#   enumerators(record) (name, number) pairs of an enum
#   enums_of(name)      references to the enums that have an enumerator of that name, or the first
#   variable(name)      the Variable of that name, None if these types do not have it
#   names(kind)         all names of a kind; that of functions is 'function'
#
# What a reference is, only the source knows.  Everybody else has Types.

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
TAGS = ('struct', 'union', 'enum')
QUALIFIERS = frozenset(('const', 'volatile', 'restrict', 'type_tag'))
WRAPPERS = QUALIFIERS | frozenset(('typedef',))
INTEGER_SIZES = {'char': 1, 'short': 2, 'int': 4, 'long': 8, 'long long': 8, '_Bool': 1}
# What damaged types raise: RuntimeError where one contains itself.
DAMAGE = (LookupError, TypeError, ValueError, struct.error, RuntimeError, OverflowError,
          MemoryError)


def reporting_damage(question):
    """Turn a function's errors over damaged types into a SourceError, with the source's name."""
    def asked(*arguments):
        try:
            return question(*arguments)
        except DAMAGE as error:
            holder = getattr(question, '__self__', None) or arguments[0]
            name = getattr(holder, 'name', 'a source of types')
            if isinstance(error, MemoryError):
                raise SourceError('%s: not enough memory, unless it is damaged' % name)
            raise SourceError('%s is damaged: an entry is cut short, contains itself, or refers to '
                              'nothing' % name)
    return asked


class Source(object):
    """Default answers of a source of types.  kind is its word for the person, name the file's."""

    lists_quickly = False       # names() takes less than a second
    knows_modules = False       # it has the functions of all modules, too
    release = None              # of the kernel that the types are of, if the source tells
    index = {}                  # references by kind and name, once all names are wanted

    def names(self, kind):
        self.index = self.index or self.make_index()
        return sorted(name for each, name in self.index if each == kind)

    def describe(self, ref):
        """Return the Record behind a reference, which is made once."""
        if ref not in self.known:
            self.known[ref] = self._described(ref)
        return self.known[ref]

    def copies(self, kind, name):
        return 1

    def enumerators(self, record):
        return ()

    def enums_of(self, name):
        return []

    def variable(self, name):
        return None


class Type(object):
    """A type in its source, with the kind, name, length and signed of its Record."""

    def __init__(self, source, ref):
        self.source, self.ref = source, ref

    def __getattr__(self, name):
        """Read the Record when it is asked for: of most members only the name is."""
        is_read = isinstance(self.ref, Record)
        self.record = self.ref if is_read else self.source.describe(self.ref)
        self.kind, self.name, _, _, self.length, self.signed = self.record
        return object.__getattribute__(self, name)

    def to(self, ref):
        return Type(self.source, ref)

    @property
    def target(self):
        """What a pointer points at, an array holds, or a wrapper wraps."""
        return self.to(self.record.target)

    @property
    def bare(self):
        """This type without its typedefs and qualifiers."""
        return self.target.bare if self.kind in WRAPPERS else self

    @property
    def wrappers(self):
        """(kind, name) of each wrapper, outermost first."""
        return [self.record[:2]] + self.target.wrappers if self.kind in WRAPPERS else []

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
        """Whether these types do not say what it is made of."""
        bare = self.bare
        return bare.kind == 'missing' or bare.is_aggregate and bare.record.target is None

    @property
    def is_number(self):
        """Whether ftrace can show it as a number."""
        return self.bare.size in (1, 2, 4, 8) and self.bare.kind in (
            'int', 'enum', 'pointer', 'float')

    @property
    def is_text(self):
        """Whether it is a character of a string: char, or const unsigned char (dentry names)."""
        kinds = [kind for kind, _ in self.wrappers]
        name = self.bare.name if 'typedef' not in kinds else ''     # (a u8 is a number)
        return name == 'char' or name == 'unsigned char' and 'const' in kinds

    @property
    def is_network_order(self):
        """Whether a typedef says that its bytes are in network order."""
        return any(name in ('__be16', '__be32', '__be64') for _, name in self.wrappers)

    def pointer(self):
        return self.to(Record('pointer', size=POINTER_SIZE, target=self.record))

    def own_members(self, start=0):
        """Yield its Members, without a name too, with their Types, counted from bit `start`."""
        for name, ref, bit_offset, bit_size in self.source.members(self.bare.record):
            yield Member(name, self.to(ref), start + bit_offset, bit_size)

    def members(self, start=0):
        """Yield the named Members, in nameless ones too, counted from bit `start`."""
        for member in self.own_members(start):
            if member.name:
                yield member
            elif member.type.is_aggregate:
                for inner in member.type.members(member.bit_offset):
                    yield inner

    def member(self, name):
        """Return the Member of that name, None if there is none."""
        return next((member for member in self.members() if member.name == name), None)

    def paths(self, depth):
        """Yield the path, a.b, of each named member that lies at most `depth` structs inside."""
        for member in self.members():
            yield member.name
            is_deeper = depth and member.type.is_aggregate
            for path in member.type.paths(depth - 1) if is_deeper else ():
                yield '%s.%s' % (member.name, path)

    def names(self):
        """Return the (name, number) pairs of an enum, or of bool."""
        bare = self.bare
        if (bare.kind, bare.name) == ('int', '_Bool'):
            return (('false', 0), ('true', 1))
        return self.source.enumerators(bare.record) if bare.kind == 'enum' else ()

    def __str__(self):
        return self.declare('')

    def declare(self, name, words=None):
        """Return the C declaration of a name as this type; words(Type) spells the base type."""
        if self.kind in ('array', 'function') and name.startswith('*'):
            name = '(%s)' % name
        if self.kind == 'pointer':
            return self.target.declare('*' + name, words)
        if self.kind == 'array':
            return self.target.declare('%s[%s]' % (name, self.length or ''), words)
        if self.kind == 'function' and self.record.target:
            function = self.record.target
            listed = ['...'] if function.parameters is None else [
                self.to(each.type).declare('', words) for each in function.parameters]
            name += '(%s)' % (', '.join('...' if word == 'void' else word for word in listed)
                              or 'void')
            return self.to(function.result).declare(name, words)
        if self.kind in ('const', 'volatile') and self.target.kind == 'pointer':
            return self.target.declare('%s %s' % (self.kind, name), words)
        if self.kind in QUALIFIERS:
            text = self.target.declare(name, words)
            # (An array and its elements may both be const; C has no word for a type_tag.)
            is_shown = self.kind in ('const', 'volatile') and not text.startswith(self.kind)
            return '%s %s' % (self.kind, text) if is_shown else text
        gap = '' if name.startswith('[') else ' '
        return ((words or base_words)(self) + gap + name).rstrip()


def base_words(found):
    """Return C's words for a Type that is made of no other."""
    if found.kind == 'int':
        known = find_integer(found.name.split())
        return known.name if known else found.name
    tag = found.kind + ' ' if found.kind in TAGS else ''
    return tag + (found.name or (found.kind if found.kind in ('void', 'function') else '{...}'))


def named_parameters(source, function):
    """Return a Function's Parameters, with Types; the void that ends a list with ... is none."""
    parameters = [each._replace(type=Type(source, each.type)) for each in function.parameters]
    return [each for each in parameters if each.type.kind != 'void']


def prototype(source, function):
    return Type(source, Record('function', target=function)).declare(function.name)


def find_type(source, text):
    """Return the Type that text spells in C, 'const struct sock **'; else raise TraceError."""
    found = c_type(source, text)
    if found is not None:
        return Type(source, found)
    kind, tag = re.match(r'((?:struct|union|enum)\b)? *(\w*)', text).groups('')
    names = source.names(kind or 'typedef') if source.lists_quickly else ()
    hint = nearest(tag, names) or '; write it as C does: struct sock *, unsigned long, u32'
    if tag and not kind and source.find('struct', tag):
        hint = ": did you mean 'struct %s'?" % text
    raise TraceError("there is no type '%s' here%s" % (text, hint))


def c_type(source, text):
    """Return the reference, or the Record, of a type in C; None if its base is unknown."""
    declared = c_layer(text)
    if isinstance(declared, Record):
        target = c_type(source, declared.target)
        return None if target is None else declared._replace(target=target)
    words = declared.split()
    if len(words) == 2 and words[0] in TAGS:
        return find_tagged(source, *words)
    return find_integer(words) or (source.find('typedef', declared) or source.find('int', declared)
                                   if len(words) == 1 else None)


def find_tagged(source, kind, name):
    """Return the reference of a type, or None; one of its values names an enum, too."""
    found = source.find(kind, name)
    if found is None and kind == 'enum':
        return next(iter(source.enums_of(name)), None)
    return found


def find_integer(words):
    """Return the Record of C's own void or integer that words spell, in any order, or None."""
    if words == ['void']:
        return Record('void')
    sign = [word for word in words if word in ('signed', 'unsigned')]
    rest = [word for word in words if word not in sign]
    if len(rest) > 1 and 'int' in rest:
        rest.remove('int')
    name = ' '.join(rest) or ('int' if sign else '')
    if name not in INTEGER_SIZES or len(sign) > 1:
        return None
    signed = sign != ['unsigned'] and name != '_Bool'
    return Record('int', ' '.join(sign + [name]), INTEGER_SIZES[name], signed=signed)


# -- Values: syntax tree + types + machine -> ftrace's own words --------------
#
# Gives Arguments, the words of a kprobe line (Documentation/trace/kprobetrace.rst), by way of
# where a value is (a Place), and how it is shown (a FetchType, a Form).

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


class Argument(namedtuple(
        'Argument', 'name words fetch_type form column warnings with_sign swap_prefix')):
    """A value of a probe.

    words -- what stands after NAME=, without the type
    form -- a Form, None if the kernel's text is shown as it is
    warnings -- what is less than was asked for, or perhaps not what was meant
    with_sign -- how it would be written with a sign, '' if it cannot be
    swap_prefix -- the prefix that would swap it, if it is in network order and has none, or ''
    """

    @property
    def text(self):
        """What stands after NAME= in a kprobe line."""
        return '%s:%s' % (self.words, self.fetch_type) if self.fetch_type.name else self.words

    @property
    def kind(self):
        """What a filter takes it for: array, string, signed or unsigned."""
        is_string = re.match(r'\$comm$|\\"', self.words)
        return 'string' if is_string else self.fetch_type.kind

    @property
    def is_of_return(self):
        """Whether a whole call takes it at its return."""
        return '$retval' in self.words


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
        return text + ('[%d]' % self.length if self.length else '')

    @property
    def kind(self):
        return ('array' if self.length is not None else
                'string' if 'str' in self.name or self.name[:1] == '%' else
                'signed' if self.name == 's' else 'unsigned')


FetchType.__new__.__defaults__ = (None, None, None, None)
NO_TYPE = FetchType('')

# What kernels have learned: how tracefs/README tells it, since when, and the fetch type that does
# instead, None if none does.  (Before x8 to x64, u8 to u64 print hexadecimal.)
Feature = namedtuple('Feature', 'sign version instead')
FEATURES = {
    'x': Feature('x8/16/32/64', '4.9', FetchType('u')),
    'array': Feature('<array-size>', '4.20', None),
    'symbol': Feature(', symbol,', '4.20', FetchType('x', 64)),
    'ustring': Feature('ustring', '5.3', FetchType('string')),
    'symstr': Feature('symstr', '6.2', FetchType('symbol')),
    'char': Feature(' char,', '6.12', FetchType('x', 8)),       # or earlier; 6.1 lacks it
    '%pd': Feature('%pd/%pD', '6.9', None), '%pD': Feature('%pd/%pD', '6.9', None),
    'checks of types': Feature('<argname>', '6.5', None),       # it knows what functions return
    'arguments on return': Feature('%pd', '6.9', None),         # (the sign is of 6.10)
    'histograms': Feature('hist trigger', '4.7, and need CONFIG_HIST_TRIGGERS', None),
    'buckets': Feature('.buckets=', '5.15', None),
    'synthetic events': Feature(
        's:[synthetic/]', '5.0, and need CONFIG_HIST_TRIGGERS and CONFIG_SYNTH_EVENTS', None),
}
# What is assumed of a kernel that cannot be asked; `char` has a good substitute.
USUAL_FEATURES = frozenset(FEATURES) - frozenset(['char'])


def written_type(text):
    """Return the FetchType that a person wrote after a colon."""
    name, bits, first, unit, length = re.match(
        r'(%p[dD]|[a-z]+?)([0-9]*)(?:@([0-9]+)/([0-9]+))?(?:\[(\w+)\])?$', text).groups()
    bits, first, unit = [int(each) if each else None for each in (bits, first, unit)]
    length = length and int(length, 0)
    if length is not None and not 0 < length <= ARRAY_LIMIT:
        raise TraceError('the kernel shows arrays of 1 to %d elements' % ARRAY_LIMIT)
    if name == 'b' and not 0 < bits <= unit - first:
        raise TraceError('a bitfield, b<bits>@<first>/<of>, lies within the bits that it is of')
    return FetchType(name, 8 if name == 'char' else bits, first, unit, length)


def number_type(letter, size):
    return FetchType(letter.lower(), 8 * size)


# How numbers are shown as what they mean, and written so in the filter.  size: in bytes, None for
# any.  what: words for a filter's operand.  show(form, text): the kernel's text as the person sees
# it.  read(form, text): a filter's operand as a number for the kernel; ValueError or KeyError if it
# is none.  fetch_type: None for a plain number.  names: (name, number) pairs.
Form = namedtuple('Form', 'size what show read fetch_type names')
Form.__new__.__defaults__ = (None, ())


def swapping(size, shape):
    """Return the Form of a number whose bytes, size of them, are in the other order."""
    def show(_, text):
        data = struct.pack('<Q', int(text, 0) & (1 << 8 * size) - 1)
        return shape % (struct.unpack('>Q', data)[0] >> 64 - 8 * size)

    def read(form, text):
        if int(text, 0) >> 8 * size:
            raise ValueError(text)
        return show(form, text)
    return Form(size, 'number of %d bytes' % size, show, read)


def bytewise(size, base, shape, what, fetch_type=None):
    """Return the Form of a number whose bytes are shown one by one, as they lie in memory."""
    def show(_, text):
        data = struct.pack('<Q', int(text, 0) & (1 << 64) - 1)
        return shape % tuple(bytearray(data)[:size])

    def read(form, text):
        parts = enumerate(re.split('[.:]', text))
        number = '0x%x' % sum(int(part, base) << 8 * index for index, part in parts)
        if show(form, number) != text.lower():
            raise ValueError(text)
        return number
    return Form(size, what, show, read, fetch_type)


def show_ip6(_, text):
    import socket       # few runs need it, and it is slow to load
    numbers = [int(part, 16) for part in text.strip('{}').split(',')]       # {0x0,0x1}
    return socket.inet_ntop(socket.AF_INET6, bytes(bytearray(numbers)))


def show_name(form, text):
    number = int(text, 0)
    return next((name for name, value in form.names if value == number), text)


def read_name(form, text):
    return '%d' % dict(form.names)[text]


def show_result(_, text):
    value = int(text, 16) - (1 << 64 if len(text) == 18 else 0)
    return show_name(ERROR_FORM, '%d' % value) if -4096 < value < 0 else text


FORMS = {       # by the beginning of a value's name
    'ip_': bytewise(4, 10, '%d.%d.%d.%d', 'IPv4 address, as in 10.0.0.1'),
    'mac_': bytewise(6, 16, '%02x:%02x:%02x:%02x:%02x:%02x', 'MAC address, as in 52:54:00:12:34:56',
                     FetchType('b', 48, 0, 64)),        # as a number, which filters take
    'ip6_': Form(16, 'IPv6 address', show_ip6, None, FetchType('x', 8, length=16)),
}
for width in (16, 32, 64):
    FORMS['B%d_' % width] = swapping(width // 8, '0x%x')
    FORMS['b%d_' % width] = swapping(width // 8, '%d')
STRUCT_FORMS = {'in6_addr': 'ip6_'}     # the prefix that shows a struct as a whole
# Errors that no program sees (include/linux/errno.h) or Python 2 does not know, and the kernel's
# own name where there are two; by the first of numbers in a row.
KERNEL_ERRORS = {
    95: 'EOPNOTSUPP',
    123: 'ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD '
         'ENOTRECOVERABLE ERFKILL EHWPOISON',
    512: 'ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK '
         'EPROBE_DEFER EOPENSTALE ENOPARAM',
    521: 'EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE EJUKEBOX '
         'EIOCBQUEUED ERECALLCONFLICT ENOGRACE'}
ERROR_FORM = Form(None, 'name of an error, as in -ENOENT', show_name, read_name, None, tuple(
    ('-' + name, -number) for first, names in KERNEL_ERRORS.items()
    for number, name in enumerate(names.split(), first)) + tuple(
        ('-' + name, -getattr(errno, name)) for name in dir(errno) if name[0] == 'E'))
RESULT_FORM = Form(None, '', show_result, None)         # of a system call, as its event shows it


def prefix_of(name):
    """Return a value's name up to its first _, perhaps a key of FORMS."""
    return name[:name.find('_') + 1]


def names_form(found, mask=-1):
    """Return the Form of a Type whose numbers have names, None if they have none."""
    names = tuple((name, number & mask) for name, number in found.names())
    return Form(None, None, show_name, read_name, None, names) if names else None


class Place(namedtuple('Place', 'kind base offset type bits')):
    """Where a value is.

    kind -- 'register' (base is the word for it), 'memory' (it lies offset bytes behind the
        address base), or 'address' (it is that address, which ftrace can follow but not show)
    base -- of a symbol's address, &NAME
    type -- a Type, None if it is not known
    bits -- (first, count) of a bitfield or of a part of a register, else None
    """

    @property
    def words(self):
        """ftrace's words for it, without a type."""
        if self.kind == 'register':
            return self.base
        if self.base.startswith('&'):       # ftrace's @ reads at the address of a symbol
            return '@' + self.base[1:] + ('+0x%x' % self.offset if self.offset else '')
        return '+0x%x(%s)' % (self.offset, self.base)

    def pointee(self):
        """Return the Place that a pointer, or an address, leads to."""
        target = self.type.bare.target
        if ('type_tag', 'percpu') in target.wrappers:
            raise self.error('points at what each CPU has its own of: ftrace reads at one address')
        if self.kind == 'address':
            return self._replace(kind='memory', type=target)
        return Place('memory', self.words, 0, target)

    @property
    def is_pointer(self):
        return bool(self.type) and self.type.bare.kind == 'pointer'

    def error(self, message):
        return TraceError("this '%s' %s" % (self.type, message))

    def unshowable(self):
        """Return the error that ftrace cannot show what is here."""
        if self.kind == 'address':
            return self.error('is an address, and ftrace shows what lies there, not the address '
                              'itself: take a member of it, ->...')
        if self.type.is_declared_only:
            return self.error('is only declared in these types')
        if self.type.is_aggregate:
            prefix = STRUCT_FORMS.get(self.type.bare.name)
            hint = ', or call it %s...' % prefix if prefix else ''
            return self.error('is %s long: take a member of it%s' % (
                count_of(self.type.size, 'byte'), hint))
        return self.error('is no value that ftrace can show')

    def check_type(self, cast):
        if self.type is None:
            raise TraceError('the type of %s is not known here: cast it, %s' % (self.words, cast))

    def check_memory(self, what):
        if self.kind == 'register':
            raise self.error('lies in a register, of which ftrace reads no ' + what)

    def step(self, access, source):
        """Return the Place that an Access leads to."""
        operator, word = access
        with pointing_at(word.column):
            if operator == '!':
                return self.cast(find_type(source, word.text))
            if operator == '[':
                return self.element(int(word.text, 0))
            with pointing_at(word.column - len(operator)):
                holder = self._holder(operator, word.text)
            return holder.member(word.text)

    def _holder(self, operator, name):
        """Return the Place of the struct or union that the operator takes a member of."""
        self.check_type('!(struct NAME%s)%s%s%s' % (
            ' *' if operator == '->' else '', self.words, operator, name))
        if self.is_pointer and operator == '.':
            raise self.error('is a pointer: use ->' + name)
        if self.type.is_aggregate and operator == '->':
            raise self.error('is not a pointer: use .' + name)
        place = self.pointee() if self.is_pointer else self
        if not place.type.is_aggregate:
            raise self.error('has no members' + NO_MEMBERS.get(place.type.bare.kind, ''))
        if place.type.size > POINTER_SIZE:
            place.check_memory('members; if that holds its address, the type is %s *' % place.type)
        return place

    def member(self, name):
        found = self.type.member(name)
        if found is None:
            # Macros turn sk_state into __sk_common.skc_state.
            alike = re.compile(r'[\w.]+\.%s$' % re.sub('^[^_]*_', '[^_.]*_', name))
            near, deep = [next((': it is ' + path for path in self.type.paths(depth)
                                if alike.match(path)), '') for depth in (1, 2)]
            names = list(self.type.paths(0))
            prefixed = [other for other in names if re.match('[a-z]?_+%s$' % name, other)]
            hint = ': it is empty, or only declared in these types' if not names else (
                did_you_mean(prefixed) or near or nearest(name, names) or deep
                or "; --info '%s' lists them" % self.type.bare)
            raise TraceError("%s has no member '%s'%s" % (self.type.bare, name, hint))
        if self.kind == 'memory':
            bits = (found.bit_offset % 8, found.bit_size) if found.bit_size else None
            offset = self.offset + found.bit_offset // 8
            return self._replace(offset=offset, type=found.type, bits=bits)
        first = (self.bits or (0,))[0] + found.bit_offset
        count = found.bit_size or 8 * found.type.size
        whole = first == 0 and count == 8 * found.type.size
        return self._replace(type=found.type, bits=None if whole else (first, count))

    def element(self, index):
        """Return the Place of an array's element, or of what a pointer points at, as in C."""
        self.check_type('!(TYPE *)')
        if self.is_pointer:
            place = self.pointee()
            return place._replace(offset=place.offset + index * place.type.size)
        held = self.type.bare
        if held.kind != 'array':
            raise self.error('is no array')
        self.check_memory('elements')
        # (One element at a struct's end is the old way to write an array without a length.)
        if held.length > 1 and index >= held.length:
            raise self.error('has %d elements, 0 to %d' % (held.length, held.length - 1))
        return self._replace(offset=self.offset + index * held.target.size, type=held.target)

    def cast(self, found):
        """Return it as of another type; as in C, an array cast to a pointer is its address."""
        if self.bits:
            raise TraceError('a bitfield, or a part of a register, cannot be cast')
        before = self.type and self.type.bare
        if before and before.kind == 'array' and found.bare.kind == 'pointer':
            return self._replace(kind='address', type=found)
        if before and before.kind in ('int', 'enum') and before.size < found.size:
            if found.bare.kind == 'pointer' or found.is_aggregate:
                raise self.error("has %s, too few for '%s'" % (
                    count_of(before.size, 'byte'), found))
            # The bytes beside it belong to others.
            found = found.to(found.bare.record._replace(size=before.size))
        return self._replace(type=found)


Place.__new__.__defaults__ = (0, None, None)
NO_MEMBERS = {'void': ': cast it, !(struct NAME *)', 'array': ': take one element, [0]',
              'pointer': ': put [0] before the ->, to follow one pointer more'}
EACH_CPU = ('is one of each CPU, and ftrace reads at one address: trace a function that has its '
            'address as an argument')


# Headers of packets, by their layers.
HEADERS = {'ethhdr': 2, 'vlan_hdr': 3, 'iphdr': 3, 'ipv6hdr': 3,
           'icmphdr': 4, 'tcphdr': 4, 'udphdr': 4}
# Where skb->data points at the entry of functions that are not at layer 3 (5.10 to 7.2).
LAYERS = dict.fromkeys('__dev_queue_xmit dev_hard_start_xmit sch_direct_xmit'.split(), 2)
LAYERS.update(dict.fromkeys((
    'tcp_v4_rcv tcp_v6_rcv tcp_v4_do_rcv tcp_v6_do_rcv tcp_rcv_established tcp_rcv_state_process '
    'udp_rcv udpv6_rcv __udp4_lib_rcv __udp6_lib_rcv icmp_rcv icmpv6_rcv igmp_rcv').split(), 4))
# What follows a header: the name and size of its elements.
PACKET_DATA = {'cdata': ('u8', 1), 'sdata': ('u16', 2), 'ldata': ('u32', 4), 'qdata': ('u64', 8),
               'Sdata': ('char', 1)}


class Compiler(object):
    """What compiles the values of one trace, on one symbol, whose types are in the source."""

    def __init__(self, trace, symbol, source, kernel):
        self.trace, self.symbol, self.source, self.kernel = trace, symbol, source, kernel
        self.architecture = kernel.architecture
        self.is_inside = bool(trace.offset and int(trace.offset.text, 0))
        self.warnings = []      # of the value that is compiled
        self._functions = None

    def function(self, needs_types, needs_one):
        """Return the Function that is traced, or None where it need not be known, or be one."""
        try:
            if self._functions is None:
                listed = self.source.functions(self.symbol)
                self._functions = dict((prototype(self.source, each) if listed[1:] else '', each)
                                       for each in listed)
        except NoTypesError:
            if needs_types:
                raise
            return None
        if len(self._functions) > 1 and needs_one:
            raise TraceError('several functions have this name: %s; cast %%N or $retval, !(TYPE)%%0'
                             % '; '.join(sorted(self._functions)))
        return list(self._functions.values())[0] if len(self._functions) == 1 else None

    def compile(self, value):
        """Return the Argument of a Value."""
        self.warnings = self._copies(value)
        with pointing_at(value.base.column):
            return self._raw(value) if value.base.kind == 'raw' else self._compiled(value)

    def _compiled(self, value):
        place = getattr(self, '_base_' + value.base.kind)(value, value.base)
        if value.cast:
            place = place.step(Access('!', value.cast), self.source)
        accesses = value.accesses
        if value.packet:
            place, accesses = self._packet(value, place)
        for access in accesses:
            place = place.step(access, self.source)
        members = [access.word for access in value.accesses if access.operator in ('->', '.')]
        with pointing_at((members or [value.base])[-1].column):
            words, fetch_type, form = shown(value, place)
        if value.base.text == '$retval' and value.letter and value.letter.text == 'S' and not (
                value.accesses or value.fetch_type or place.type and place.type.names()):
            form = ERROR_FORM
        if words == '$retval' and fetch_type == NO_TYPE and (
                'checks of types' in self.kernel.features):
            fetch_type = number_type('X', POINTER_SIZE)     # it would take the function's
        fetch_type, warning = self.kernel.supported(fetch_type, value.fetch_type or value.base)
        if form and form.fetch_type and warning:
            raise TraceError('%s takes an array: %s' % (prefix_of(value.name.text), warning))
        self.warnings += [warning] if warning else []
        return self._finished(value, words, fetch_type, form, place.type)

    def _raw(self, value):
        words, fetch_type = value.base.text, NO_TYPE
        typed = re.match('(.*):(%s)' % FETCH_TYPE, words)
        if typed:
            words = typed.group(1)
            with pointing_at(value.base.column + typed.start(2)):
                fetch_type = written_type(typed.group(2))
                if fetch_type.length and not re.match('[-+@]', words):
                    raise TraceError('ftrace reads arrays in memory only')
        symbol = re.match(r'@([A-Za-z_][\w.$]*)', words)
        if symbol:
            self.kernel.check_variable(Token(symbol.group(1), value.base.column))
        return self._finished(value, words, fetch_type, None, None)

    def _finished(self, value, words, fetch_type, form, held):
        """Return the Argument; held is the Type of what is read, None if it is not known."""
        prefix = prefix_of(value.name.text)
        asked, is_network_order = FORMS.get(prefix), held and held.is_network_order
        is_cast = value.cast or value.accesses and value.accesses[-1].operator == '!'
        swaps = asked and prefix[1:-1] in ('16', '32', '64')
        if swaps and held and not (is_network_order or value.packet or is_cast):
            self.warnings.append("%s swaps the bytes of this '%s', which is not in network order "
                                 'by its type' % (prefix, held))
        swap_prefix = ''
        if is_network_order and not asked:
            swap_prefix = {2: 'b16_', 4: 'ip_', 8: 'b64_'}.get(held.size)
        with_sign = 'S' + re.sub('^[UX](?=[%$@!])', '', value.text)
        if value.base.kind == 'raw' or value.fetch_type:
            with_sign = ''
        argument = Argument(value.name.text, words, fetch_type, asked or form, value.base.column,
                            tuple(self.warnings), with_sign, swap_prefix)
        if len(argument.text) > VALUE_LIMIT:
            raise TraceError('the kernel takes values of up to %d characters, not %s: start from a '
                             'register nearer to it' % (VALUE_LIMIT, argument.text))
        if asked and fetch_type not in (
                asked.fetch_type, number_type(fetch_type.name, asked.size)):
            raise TraceError("'%s' needs a number of %d bytes, which this is not: give it the "
                             ':type of one' % (prefix, asked.size))
        return argument

    def _copies(self, value):
        """Return a warning for each cast that names one of several structs."""
        named = re.findall(r'!\([\w *]*\b(struct|union) +(\w+)', value.text)
        return ['%d types here are called %s %s; the one of %d bytes is taken' % (
            self.source.copies(kind, name), kind, name,
            Type(self.source, self.source.find(kind, name)).size)
                for kind, name in sorted(set(named)) if self.source.copies(kind, name) > 1]

    def suggested(self, name):
        """Return a hint to add the argument that a Token names as a value, '' if it names none."""
        function = self.function(False, False)
        names = [each.name for each in function and function.parameters or ()]
        value = '$' + name.text if name.text in names else ''
        if not value and name.text in ('ret', 'retval') and self.trace.kind != 'p' and function:
            is_void = Type(self.source, function.result).bare.kind == 'void'
            value = '' if is_void else 'S$retval'
        return value and ': add %s=%s before the filter' % (name.text, value)

    def _base_register(self, _, base):
        registers = self.architecture.registers
        # ftrace's names drop the r of %rdi.
        name = base.text if base.text in registers else re.sub('^r', '', base.text)
        if name not in registers:
            raise TraceError('%s has no register %%%s%s' % (
                self.architecture.name, base.text, nearest(base.text, registers)))
        if self.trace.kind == 'r' and name in self.architecture.arguments and name != 'x0':
            self.warnings.append('at return %%%s holds no argument any more; %%N is what the '
                                 'kernel kept of it (Linux 6.9)' % name)
        return Place('register', '%' + name)

    def _base_variable(self, value, base):
        goes_on = value.packet or value.accesses
        if base.text == '$comm' and (value.cast or value.letter or goes_on):
            raise TraceError('$comm is a string: no letter, cast or member goes with it',
                             (value.letter or base).column)
        place = Place('register', base.text)
        if base.text != '$retval':
            return place
        if self.trace.kind not in ('r', 'c'):
            raise TraceError('$retval is there on return only: begin the trace with r, or with c '
                             'for the whole call')
        needs_type = goes_on or value.letter and not value.fetch_type
        if value.cast or not (needs_type or 'checks of types' in self.kernel.features):
            return place
        function = self.function(goes_on, needs_type)
        result = function and Type(self.source, function.result)
        if result and result.bare.kind == 'void':
            raise TraceError('%s returns nothing (void)' % function.name)
        return place._replace(type=result)

    def _base_symbol(self, _, base):
        try:
            known = self.source.variable(base.text)
        except NoTypesError:        # what lies there can be shown all the same
            known = None
        self.kernel.check_variable(base)
        if known and known.per_cpu:
            raise wrong(base, EACH_CPU)
        return Place('memory', '&' + base.text, 0, known and Type(self.source, known.type))

    def _base_argument(self, value, base):
        """Return where an argument lies at the entry, or on return what the kernel kept of it."""
        if self.is_inside:
            raise TraceError('inside a function the argument registers hold something else: name a '
                             'register, !(struct NAME *)%%%s->...' % self.architecture.arguments[0])
        is_counted, goes_on = base.text.isdigit(), value.accesses or value.packet
        function = self.function(goes_on or not is_counted, not (is_counted and value.cast))
        if function and function.parameters is not None:
            place = self._parameter(base, function)
        elif is_counted and (value.cast or not goes_on):
            place = self._slot([None] * (int(base.text) + 1), None)
        else:
            raise TraceError("no prototype of '%s' is known here: count its arguments, or name a "
                             'register, and cast: !(struct NAME *)%%0->...' % self.symbol)
        if self.trace.kind == 'r' and 'arguments on return' not in self.kernel.features:
            raise TraceError('this kernel keeps no arguments until the return, as Linux 6.9 does: '
                             + ('trace the whole call, with c' if 'synthetic events' in
                                self.kernel.features else 'trace the entry, with p'))
        return place

    def _parameter(self, base, function):
        """Return the Place of the parameter that a base counts, from 0, or names."""
        parameters = named_parameters(self.source, function)
        names = [parameter.name for parameter in parameters]
        index = names.index(base.text) if base.text in names else (
            int(base.text) if base.text.isdigit() else len(names))
        if index >= len(names):
            variables = ['$' + name for name in names if name] + ['$retval', '$comm', '$stack']
            raise TraceError("%s has no argument '%s'%s" % (
                function.name, base.text, nearest('$' + base.text, variables) or
                ': ' + prototype(self.source, function)))
        if '' in [parameter.location for parameter in parameters]:
            left = ['%s in %%%s' % (parameter.name, parameter.location)
                    for parameter in parameters if parameter.location]
            raise TraceError('the compiler rearranged the arguments of %s: name a register, with a '
                             'cast where a member is wanted (known: %s)' % (
                                 function.name, ', '.join(left) or 'none'))
        place = self.parameter_place(index, function)
        if place is None:
            raise TraceError('cannot tell where this is passed: it, or one before it, is a float, '
                             '16 bytes long, unaligned, or of unknown size: name a register')
        return place

    def parameter_place(self, index, function):
        """Return the Place of a Function's parameter, None if that cannot be told."""
        kinds = [each.type for each in named_parameters(self.source, function)[:index + 1]]
        result = Type(self.source, function.result)
        location = function.parameters[index].location
        if location is not None:
            return Place('register', '%' + location, type=kinds[index])
        if result.is_declared_only or not all(is_passed_as_usual(found) for found in kinds):
            return None
        return self._slot(kinds, result)

    def _slot(self, kinds, result):
        """Return the Place of an argument by the calling convention (System V x86-64, AAPCS64).

        kinds: the Types of the arguments up to this one, None for one word.
        """
        names, by_reference = self.architecture.arguments, self.architecture.by_reference
        used, behind = 0, len(names)    # slots: registers, and behind them those on the stack
        if result and result.is_aggregate and result.size > 16 and not by_reference:
            used = 1                    # the address that the result is written to comes first
        for found in kinds:
            size = found.size if found and found.is_aggregate else POINTER_SIZE
            is_behind_pointer = size > 16 and by_reference
            count = 1 if is_behind_pointer else (size + 7) // 8
            if count <= 2 and used + count <= len(names):
                slot, used = used, used + count
            else:
                slot, behind = behind, behind + count
                used = len(names) if by_reference and count > 1 else used
        on_stack, on_return = slot >= len(names), self.trace.kind == 'r'
        stack = slot - len(names) + self.architecture.stack
        if on_return and on_stack and (count > 1 or by_reference):
            raise TraceError('on return the kernel keeps no argument that lies in $stack%d: use an '
                             'entry trace (p)' % stack)
        if on_stack and count > 1:
            return Place('memory', '$stack', 8 * stack, found)
        words = '$stack%d' % stack if on_stack else '%' + names[slot]
        if on_return:
            words = '$arg%d' % (1 + slot)
        return Place('memory' if is_behind_pointer else 'register', words, 0, found)

    def _packet(self, value, place):
        """Return the Place of a packet's header, or of the data behind it, and what follows."""
        header, layer = value.packet.header, value.packet.layer
        last, mark = HEADERS.get(header.text), int(layer.text[1]) if layer else 3
        if not last:
            raise TraceError('the headers are ' + ', '.join(sorted(HEADERS)), header.column)
        if mark > last:
            raise TraceError('struct %s is read from %s, and where none is named, l3 is taken' % (
                header.text, ', '.join(('l2', 'l3', 'l4')[:last - 1])), header.column)
        own = mark if self.is_inside or self.trace.kind == 'r' else LAYERS.get(self.symbol, mark)
        if own != mark:
            self.warnings.append('in %s skb->data points at layer %d: %s' % (
                self.symbol, own, 'write @(struct %s *)l%d...' % (header.text, own)
                if own <= last else 'the %s lies before it' % header.text))
        data = self._packet_data(place)
        with pointing_at(header.column):
            found = find_type(self.source, 'struct ' + header.text)
        between = ('ethhdr', 'iphdr')[mark - 2:last - 2]
        before = sum(find_type(self.source, 'struct ' + name).size for name in between)
        for operator, word in value.accesses[:1]:
            if operator == '->' and word.text in PACKET_DATA:
                behind = found.to(Record('array', target=Record('int', *PACKET_DATA[word.text])))
                return Place('memory', data, before + found.size, behind), value.accesses[1:]
        return Place('address', data, before, found.pointer()), value.accesses

    def _packet_data(self, place):
        """Return ftrace's words for sk_buff->data; a struct sk_buff ** is followed once more."""
        skb = find_type(self.source, 'struct sk_buff')
        if place.type is None:
            place = place._replace(type=skb.pointer())
        if place.is_pointer and place.pointee().is_pointer:
            place = place.pointee()
        if not place.is_pointer or str(place.type.bare.target.bare) != 'struct sk_buff':
            raise place.error('is no struct sk_buff *, whose packet @(...) reads: cast it, '
                              '!(struct sk_buff *)')
        return place.pointee().member('data').words


def is_passed_as_usual(found, at=0):
    """Tell whether Compiler._slot() knows how an argument, or a part at a bit of it, is passed."""
    bare = found.bare
    if bare.kind == 'array':
        return is_passed_as_usual(bare.target, at)
    if bare.is_aggregate:
        return not bare.is_declared_only and all(
            member.bit_size or is_passed_as_usual(member.type, at + member.bit_offset)
            for member in bare.own_members())
    is_plain = bare.kind not in ('float', 'missing') and bare.size <= POINTER_SIZE
    return is_plain and not (bare.size and at % (8 * bare.size))


def shown(value, place):
    """Return how the value at a Place is shown: ftrace's words, a FetchType, a Form or None."""
    asked = FORMS.get(prefix_of(value.name.text))
    if asked and asked.fetch_type:
        return shown_bytes(value, place, asked)
    if value.fetch_type:
        with pointing_at(value.fetch_type.column):
            return shown_as_written(value, place, written_type(value.fetch_type.text))
    if not (value.letter or value.cast or value.accesses or value.packet) and (
            value.base.kind == 'register' or value.base.text in ('$retval', '$comm')):
        return place.base, NO_TYPE, None
    letter = value.letter.text if value.letter else ''
    if place.type is None:
        return place.words, number_type(letter or 'X', POINTER_SIZE), None
    if place.bits:
        return shown_bitfield(value.letter, place)
    if place.type.bare.kind == 'array':
        return shown_array(letter, place)
    return shown_single(letter, place, 'U' if value.packet else 'X')


def shown_single(letter, place, usual):
    """Return what shown() does for a pointer, number or enum; usual: the letter of a number."""
    held = place.type.bare
    if not letter and held.kind == 'pointer':
        if held.target.is_text:
            is_user = ('type_tag', 'user') in held.target.wrappers
            return place.pointee().words, FetchType('ustring' if is_user else 'string'), None
        if held.target.bare.kind == 'function':
            return place.words, FetchType('symbol'), None
    if place.kind == 'address' or held.size not in (1, 2, 4, 8):
        raise place.unshowable()
    if letter:
        return place.words, number_type(letter, held.size), None
    if held.record[:2] == ('int', 'char'):
        return place.words, FetchType('char', 8), None
    letter = 'S' if held.kind == 'enum' and held.signed else usual
    return place.words, number_type(letter, held.size), names_form(held)


def shown_as_written(value, place, fetch_type):
    """Return what shown() does with a :type; a string or array is read where a pointer points."""
    text, words = value.fetch_type.text, place.words
    is_in_memory = fetch_type.name in ('string', 'ustring') or fetch_type.length
    if place.kind == 'register' and place.bits:
        raise TraceError('it is bits %d to %d of a register, which no type of ftrace takes: '
                         'leave out the %s' % (place.bits[0], sum(place.bits) - 1, text))
    if place.kind == 'address' and not is_in_memory:
        raise place.unshowable()
    if value.base.text == '$comm' and str(fetch_type) != 'string':
        raise TraceError('$comm is a string: leave out the :%s' % text)
    if not is_in_memory or value.base.text == '$comm':
        return words, fetch_type, None
    is_bytes = place.type and place.type.bare.kind == 'array' and place.type.element.size == 1
    if is_bytes and 'str' in fetch_type.name and fetch_type.length:
        raise TraceError('this is one string: leave out the [N]')
    if place.is_pointer:
        words = place.pointee().words
    elif place.type and (place.kind == 'register' or not (is_bytes or fetch_type.length)):
        raise place.error('is no pointer: there is no %s there; with a cast, %s!(char *):%s'
                          % (text, value.text.rpartition(':')[0], text))
    elif place.kind == 'register':
        words = '+0x0(%s)' % words
    return words, fetch_type, None


def shown_bytes(value, place, asked):
    """Return what shown() does for a Form of bytes in memory, a MAC or an IPv6 address."""
    prefix, other = prefix_of(value.name.text), value.letter or value.fetch_type
    if other:
        raise TraceError('%s shows it in its own way: leave out the %s' % (prefix, other.text),
                         other.column)
    points = place.is_pointer
    place = place.pointee() if points else place
    size = place.type.size if place.type else 0
    # The first of the bytes that a pointer points at, or 32 (MAX_ADDR_LEN) for a MAC, will do.
    fits = size == asked.size or points and size == 1 or (
        asked.size == 6 and size == 32 and place.type.bare.kind == 'array')
    if place.kind == 'register' or not fits:
        raise TraceError('%s takes %d bytes in memory, or a pointer to them' % (
            prefix, asked.size))
    return place.words, asked.fetch_type, asked


def shown_bitfield(letter, place):
    """Return what shown() does for a bitfield or a part of a register, in its smallest unit."""
    first, count = place.bits
    unit = [bits for bits in (8, 16, 32, 64) if first + count <= bits]
    if not place.type.is_number:
        raise place.unshowable()
    if letter and letter.text in ('XS' if place.type.bare.signed else 'X'):
        raise TraceError('the kernel shows a bitfield, or a part of a register, in decimal and '
                         'without a sign: leave out the %s' % letter.text, letter.column)
    # (Without a sign, it is shown as so many bits.)
    form = None if letter else names_form(place.type, (1 << count) - 1)
    return place.words, FetchType('b', count, first, unit[0]), form


def shown_array(letter, place):
    """Return what shown() does for a whole array: of char as a string, else as numbers."""
    held, element = place.type.bare, place.type.element
    place.check_memory('arrays')
    if not letter and held.target.is_text and held.target.bare.name == 'char':
        return place.words, FetchType('string'), None
    length = held.size // element.size if element.size else 0
    if not element.is_number or not 0 < length <= ARRAY_LIMIT:
        raise place.error('is an array, and the kernel shows those of up to %d numbers: take one '
                          'element, [0], or give a :type' % ARRAY_LIMIT)
    fetch_type = number_type(letter or 'X', element.size)._replace(length=length)
    return place.words, fetch_type, None


# -- Fields: what a filter and a histogram can name ---------------------------
#
# Gives the Fields of one trace: a probe's values or an event's own, and those of all events.

# Like an Argument: what a filter or a histogram can name.  kind: an Argument's, or 'user string'
# (a pointer into a program's memory), 'ip' (four bytes), 'other', None if it is not known.
Field = namedtuple('Field', 'kind fetch_type form with_sign swap_prefix words')
Field.__new__.__defaults__ = (FetchType('u'), None, '', '', '')

# Fields that every event has, and the kernel's own.
COMMON_FIELDS = dict((name, Field(fetch_type.kind, fetch_type)) for name, fetch_type in (
    ('common_type', FetchType('u', 16)), ('common_flags', FetchType('u', 8)),
    ('common_preempt_count', FetchType('u', 8)), ('common_pid', FetchType('s', 32)),
    ('CPU', FetchType('u', 32)), ('COMM', FetchType('string', 128)),
    ('cpu', FetchType('u', 32)), ('comm', FetchType('string', 128))))
# What each kind of probe adds to them.
ADDRESS = Field('unsigned', FetchType('symbol'))
PROBE_FIELDS = {'p': {'__probe_ip': ADDRESS}, 'c': {'us': Field('unsigned', FetchType('u', 64))},
                'r': {'__probe_func': ADDRESS, '__probe_ret_ip': ADDRESS}}
COMM_NAMES = frozenset(('COMM', 'comm'))
TASK_FIELDS = COMM_NAMES | frozenset(('common_pid',))


class Fields(dict):
    """What the filter and the histogram of a trace can name, by name.

    own are those that not every event has, none for an event that is not known.
    suggested(Token) tells what to do about a name that is no field's.
    """

    def __init__(self, own, suggested=lambda name: ''):
        # (An event that is not known may have a cpu of its own.)
        dict.__init__(self, COMMON_FIELDS, **(own or {'cpu': Field(None)}))
        self.is_known, self.suggested = bool(own), suggested

    def find(self, name, use):
        """Return the Field that a Token names; use is what cannot be done if there is none."""
        if name.text in self or not self.is_known:
            return self.setdefault(name.text, Field(None))
        own = sorted(set(self) - set(COMMON_FIELDS) - RESERVED_NAMES) or ['common_pid']
        own += ['COMM', 'CPU', 'stacktrace'] if use == 'count by' else []
        hint = self.suggested(name) or nearest(name.text, set(self).union(own))
        if name.text in ('pid', 'tid'):
            hint = ": common_pid is the task's"
        raise TraceError("this trace has no '%s' to %s%s" % (
            name.text, use, hint or ': there is ' + ', '.join(own)), name.column)


# -- Filters: what a person compares -> the filter that the kernel takes ------
#
# Takes the Filter of a trace and the Fields that it may name, and gives a KernelFilter
# (Documentation/trace/events.rst): the person's own text with other operands.

# columns: where each predicate begins in the trace.  asks_task: it depends on the task alone, so
# nested calls pass or fail together, and the entry can test it.  warnings: (name, text).
KernelFilter = namedtuple('KernelFilter', 'text columns asks_task warnings')
FILTER_LIMIT, OPERAND_LIMIT = 4094, 255      # characters
DECIMAL_OR_HEXADECIMAL = r'-?(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)$'      # (010 is 8 to the kernel)


def compile_filter(written, fields, source, here):
    """Return the KernelFilter; here: this machine's macros apply."""
    text, end, warnings = '', 0, []
    for predicate in written.predicates:
        field, operand = fields.find(predicate.name, 'filter on'), predicate.operand
        begin = operand.column - written.column
        with pointing_at(operand.column):
            compared = kernel_operand(predicate, field, source, here)
        warnings += [(predicate.name.text, doubt) for doubt in doubts(predicate, field, compared)]
        text += written.text[end:begin] + compared
        if len(text) > FILTER_LIMIT:
            raise TraceError('the kernel takes a filter of %d characters, this one is longer'
                             % FILTER_LIMIT, operand.column)
        end = begin + len(operand.text)
    names = [predicate.name for predicate in written.predicates]
    return KernelFilter(text + written.text[end:], [name.column for name in names],
                        all(name.text in TASK_FIELDS for name in names), warnings)


def doubts(predicate, field, compared):
    """Yield what is perhaps not meant by a comparison that the kernel takes."""
    name, operator, word = predicate.name.text, predicate.operator.text, predicate.word
    if field.swap_prefix and re.search('[1-9a-fA-F]', compared):
        yield ('its bytes are in network order, and the filter compares them as they lie; call it '
               '%s%s, and compare with ==, != or &' % (field.swap_prefix, name))
    if compared[0] not in '"\'':
        return
    room = 16 if field.words == '$comm' else (field.fetch_type.bits or 0) // 8
    if operator == '~' and re.match('[^!]', word) and not is_pattern(word):
        yield "~ '%s' takes just that; *%s* takes what contains it" % (word, word)
    elif operator != '~' and '*' in word:
        yield "%s takes '%s' as it is; ~ compares with a pattern" % (operator, word)
    elif field.kind == 'string' and 0 < room <= len(to_bytes(word)):
        yield "it has %d bytes at most, '%s' has more" % (room - 1, word)
    elif field.kind is None and re.match(CONSTANT, predicate.operand.text):
        yield "'%s' is compared as a string, since no number of that name is known here" % word


# What may be meant by an operand that is no number.
NO_NUMBER = ((r'[0-9]+(?:\.[0-9]+){3}', '; call it ip_NAME to compare addresses'),
             ('-?E[A-Z0-9]+$', '; an error, as -ENOENT, is negative: it goes with signed values '
              '(S)'),
             ('-?0[0-9]', '; a zero in front would make it octal'),
             (r'-?[0-9]+(?:[,_.]|[a-zA-Z]+$)', '; write digits alone, and no unit (0x begins a '
              'hexadecimal number)'),
             ('sys_', '; one system call is e syscalls/sys_enter_...'),
             ('[A-Z][A-Z0-9_]+$', '; no enum here has it, and macros are not in the types: write '
              'the number'), ('', ''))
# What is taken for a constant, if there is one, even where the field's kind is not known.
CONSTANT = '-E[A-Z]|[A-Z][A-Z0-9]*_[A-Z0-9_]+$|SIG[A-Z]'


def kernel_operand(predicate, field, source, here):
    """Return the operand of a Predicate on a Field as the kernel takes it; errors point at it."""
    text, kind, form = predicate.operand.text, field.kind, field.form
    # The kernel's own words for processors and functions.
    asks_function = predicate.suffix and predicate.suffix.text == 'function'
    if asks_function or re.match(r'CPUS\{[0-9,-]+\}$', text):
        return text
    check_comparison(predicate, kind)
    is_number = re.match(DECIMAL_OR_HEXADECIMAL, text)
    takes_numbers = kind == 'ip' or form and form.names
    if form and form.read and not (is_number and takes_numbers):
        return read_operand(predicate, form)
    if kind in ('signed', 'unsigned', 'ip') or kind is None and re.match(CONSTANT, text):
        number = text if is_number else named_number(predicate, field, source, here)
        if kind:
            check_number(predicate, field, number)
        if number:
            return number
    if text[0] in '"\'' or kind == 'other' or is_number and kind is None:
        return text
    if '"' in text and "'" in text:
        raise TraceError('the kernel takes no string with both kinds of quotes in it')
    # The kernel takes an unquoted string no more (Linux 4.17).
    return "'%s'" % text if '"' in text else '"%s"' % text


def check_comparison(predicate, kind):
    """Check that the kernel can compare a field of this kind (None: unknown) like this."""
    name, operator = predicate.name, predicate.operator
    if kind == 'user string' and not predicate.suffix:
        raise wrong(name, "points into a program's memory: write %s.ustring (Linux 5.17)"
                    % name.text)
    if kind == 'array':
        raise wrong(name, 'is an array, on which the kernel cannot filter; in a probe, give one '
                    'element a name, or write :string after text')
    if kind in ('signed', 'unsigned') and operator.text == '~':
        raise wrong(name, 'is a number: ~ goes with strings', operator)
    if len(predicate.word) > OPERAND_LIMIT:
        raise TraceError('the kernel compares strings of up to %d characters' % OPERAND_LIMIT)
    if kind in ('string', 'user string') and operator.text not in ('==', '!=', '~'):
        raise wrong(name, 'is a string: compare it with ==, != or ~ (a pattern)', operator)


def check_number(predicate, field, number):
    """Check that a number, as text, fits a Field; the kernel would cut off what does not."""
    name, operand = predicate.name, predicate.operand
    if number is None:
        hint = message_for(NO_NUMBER, predicate.word)
        raise wrong(name, "is a number, '%s' is not%s" % (
            operand.text, hint.replace('NAME', name.text)), operand)
    value, bits, is_signed = int(number, 0), field.fetch_type.bits or 64, field.kind == 'signed'
    if not is_signed and (value < 0 or not value and predicate.operator.text == '<'):
        way = ': with a sign it is %s=%s' % (name.text, field.with_sign) if (
            field.with_sign) else ' here'
        raise wrong(name, 'is unsigned' + way, operand)
    # In hexadecimal the bits are meant: 0xffffffff is -1, too.
    is_decimal = number[:2] not in ('0x', '0X') or bits >= 64
    highest = 1 << (bits - 1 if is_signed and is_decimal else bits)
    if not -(1 << bits - 1) <= value < highest:
        sign = ' with a sign' if is_signed else ''
        raise wrong(name, 'is %d bits%s, which %s does not fit into' % (bits, sign, number),
                    operand)


def named_number(predicate, field, source, here):
    """Return the number, as text, of an enumerator, a macro, an error or a character, or None."""
    word, is_quoted = predicate.word, predicate.operand.text[0] in '"\''
    if is_quoted and len(word) == 1 and not word.isdigit() and field.fetch_type.bits == 8:
        return '%d' % ord(word)
    if field.kind in ('signed', None) and re.match('-E[A-Z]', word):
        return read_operand(predicate, ERROR_FORM)
    numbers = enumerator_numbers(word, source) or (macro_numbers(word) if here else [])
    if len(numbers) > 1:
        raise TraceError("'%s' is %s, in different enums: write the number" % (
            word, ' or '.join(map(str, numbers))))
    return '%d' % numbers[0] if numbers else None


def enumerator_numbers(word, source):
    """Return the numbers that have this name in the enums of these types, in order."""
    if not re.match(r'[A-Za-z_]\w*$', word):
        return []
    try:
        enums = [Type(source, ref) for ref in source.enums_of(word)]
    except NoTypesError:
        return []
    return sorted(set(dict(enum.names()).get(word, 0) for enum in enums))


def macro_numbers(word):
    """Return the number, in a list, of a macro of C that Python knows (never 0)."""
    import socket       # few filters need it, and it is slow to load
    for prefix, owner in (('O_', os), ('SIG(?!_)', signal), ('AF_', socket)):
        if re.match(prefix, word) and getattr(owner, word, 0):
            return [int(getattr(owner, word))]
    return []


def read_operand(predicate, form):
    """Return what a Form makes of the operand, as text for the kernel."""
    name, _, operator, operand, word = predicate
    if form.size and operator.text not in ('==', '!=', '&'):
        raise TraceError("the bytes of '%s' are in network order: only ==, != and & mean "
                         'anything' % name.text, operator.column)
    try:
        return form.read(form, word)
    except ValueError:
        raise wrong(operand, 'is no ' + form.what)
    except KeyError:
        raise wrong(operand, 'is no number, and no %s%s' % (
            form.what or "value of '%s'" % name.text, nearest(word, dict(form.names))))


# -- Histograms: what a person counts by -> what the kernel counts by ---------
#
# Takes the Histogram of a trace and the Fields that it may name, and gives a KernelHistogram
# (Documentation/trace/histogram.rst), which knows how the kernel prints its rows.

# columns: a Column for each key.  sums: (name, its Field or Argument) of what is added up.
# from_zero: names whose negative numbers are not counted.  column: where it begins in the trace.
KernelHistogram = namedtuple('KernelHistogram', 'columns sums from_zero column')
# What it counts by.  words: the kernel's.  kind: one of KEY_KINDS.  size: in bytes, in a key.
Column = namedtuple('Column', 'name words kind size field')
# hits: how many were counted; dropped: how many were not, as the kernel's table was full.
Totals = namedtuple('Totals', 'hits entries dropped')

KEY_LIMIT, SUM_LIMIT = 3, 2             # TRACING_MAP_KEYS_MAX, TRACING_MAP_VALS_MAX less hitcount
STRING_SIZE, STACK_SIZE = 256, 128      # bytes (newer kernels keep longer stacks)
KEY_SIZE = STRING_SIZE + STACK_SIZE     # HIST_KEY_SIZE_MAX
# Frames on top of a stack that are there because it is traced.
TRACER_FRAME = (r'(?:0x[0-9a-f]+|trace_event_(?:raw_event_synth|buffer_commit)|action_trace|'
                r'event_hist_trigger|event_triggers_call|aggr_pre_handler|k(?:ret)?probe_\w+|'
                r'(?:arch_)?rethook_\w+|__kretprobe_trampoline\w*|trampoline_probe_handler|'
                r'(?:call_break_hook|brk_handler|do_el1_brk64|el1_brk64)|do_debug_exception|'
                r'el1_dbg|el1h_64_sync\w*)(?:\.\w+)*(?:\+\S+)?(?: \[\w+\])?')


def compile_histogram(written, fields, kernel):
    kernel.check_feature('histograms', Token('h:', written.column))
    keys = [key.name for key in written.keys]
    for names, limit, noun in ((keys, KEY_LIMIT, 'key'), (written.sums, SUM_LIMIT, 'sum')):
        if len(names) > limit:
            raise TraceError('the kernel takes %d %ss, this one is too many' % (limit, noun),
                             names[limit].column)
    columns = [histogram_column(key, fields, kernel) for key in written.keys]
    # One of two strings can be the task's name, for which the kernel can use its number.
    for index, column in enumerate(columns):
        is_task_name = column.kind == 'string' and column.field.words == '$comm'
        if is_task_name and sum(each.size for each in columns) > KEY_SIZE:
            columns[index] = TASK_NAME._replace(name=column.name)
    if sum(column.size for column in columns) > KEY_SIZE:
        raise TraceError('the kernel counts by one string at most; beside it go numbers, or a '
                         'stacktrace alone', keys[-1].column)
    sums = []
    for name in written.sums:
        field = countable(name, fields, 'add up')
        if field.kind == 'string':
            raise wrong(name, 'is no number that could be added up')
        sums.append((name.text, field))
    # (The kernel counts what is below 0 as 2^0, or as 2^64.)
    from_zero = [column.name for column in columns
                 if column.kind in RANGES and column.field.kind == 'signed']
    # (A stack ends its row.)
    columns.sort(key=lambda column: column.kind == 'stack')
    return KernelHistogram(tuple(columns), tuple(sums), tuple(from_zero), written.column)


def histogram_column(key, fields, kernel):
    """Return the Column of a Key; raises TraceError if the kernel would not count by it."""
    name, word = key.name.text, key.word.text if key.word else ''
    kind = word.partition('=')[0]
    is_common = fields.get(name) is COMMON_FIELDS.get(name)
    if is_common and name in TASK_COLUMNS and (not word or name == 'stacktrace'):
        if word:
            raise wrong(key.name, 'is counted by as it is', key.word)
        return TASK_COLUMNS[name]
    field = countable(key.name, fields, 'count by')
    if field.kind == 'string':
        if word:
            raise wrong(key.name, 'is a string: .%s goes with numbers' % word, key.word)
        size = (field.fetch_type.bits or 0) // 8
        return Column(name, name, 'string', size or STRING_SIZE, field)
    if kind == 'buckets':
        kernel.check_feature('buckets', Token('.buckets', key.word.column))
    if kind in KEY_KINDS:
        return Column(name, '%s.%s' % (name, word), kind, 8, field)
    if word:
        field = Field(field.kind, FetchType('x', 64) if word == 'hex' else FetchType('symbol'))
    return Column(name, name, 'number', 8, field)


def countable(name, fields, use):
    """Return the Field of a number or a string that a Token names, to count by or to add up."""
    field = fields.find(name, use)
    if field.kind == 'user string':
        raise wrong(name, "points into a program's memory: trace a function that is given it, "
                    'p FUNCTION n=%1:ustring h:n')
    if field.kind in ('array', 'other'):
        raise wrong(name, 'is no number or string, and the kernel counts by nothing else; in a '
                    'probe, give one element a name')
    return field


def totals(text):
    """Return the Totals at the end of the kernel's text of a histogram, 0 if there is none."""
    numbers = re.findall(r'(?m)^    (?:Hits|Entries|Dropped): ([0-9]+)$', text)
    return Totals(*map(int, numbers[-3:] or (0, 0, 0)))


def shown_number(text, field, symbol_at):
    """Return a number of the kernel as a probe prints it, or as its Form shows that."""
    kind, bits = field.fetch_type.name, field.fetch_type.bits or 64
    number = int(text) & (1 << bits) - 1
    if kind == 's' and number >> bits - 1:
        number -= 1 << bits
    text = ("'%s'" % to_text(struct.pack('B', number)) if kind == 'char' else
            symbol_at(number) if kind == 'symbol' else
            '0x%x' % number if kind in ('x', '') else '%d' % number)
    return shown_string(field.form.show(field.form, text) if field.form else text)


def shown_string(text, *_):
    """Return a string in one line, of which each has its own."""
    return re.sub(r'[\x00-\x1f\x7f]', lambda found: '\\x%02x' % ord(found.group()),
                  text.rstrip(' '))


def shown_power(text, *_):
    """Return the numbers that the kernel counts as 2^N, which it rounds up to."""
    power = int(text)
    return '(%d, %d]' % (1 << power - 1, 1 << power) if power else '[0, 1]'


def shown_stack(text, *_):
    """Return the frames of a stack, one a line, without the tracer's own."""
    frames = [line.strip() for line in text.splitlines()]
    own = list(itertools.takewhile(re.compile(TRACER_FRAME + '$').match, frames))
    return '\n'.join(frames[len(own):])


# By kind: how the kernel prints a key, and show(text, field, symbol_at), what a person sees.
KEY_KINDS = {
    'number': (' +([0-9]+)', shown_number),
    'string': (r' ([\s\S]*?) *', shown_string),
    'stack': (r'\n((?: +[^\n]+\n)*)', shown_stack),
    'log2': (r' ~ 2\^([0-9]+) *', shown_power),
    'buckets': (' ~ ([0-9]+-[0-9]+)', lambda text, *_: '[%s]' % text.replace('-', ', ')),
    'syscall': (r' (\S+) *\[ *[0-9]+\]', shown_string),
    'task': (r' ([\s\S]*?) *\[ *[0-9]+\]', shown_string),
}
RANGES = ('log2', 'buckets')
# What every trace can be counted by; a task's name is the one that it had when counted first.
TASK_NAME = Column('comm', 'common_pid.execname', 'task', 8, None)
TASK_COLUMNS = {
    'comm': TASK_NAME, 'COMM': TASK_NAME._replace(name='COMM'),
    'CPU': Column('CPU', 'cpu', 'number', 8, COMMON_FIELDS['CPU']),
    'stacktrace': Column('', 'stacktrace', 'stack', STACK_SIZE, None)}


# -- Traces: syntax trees -> probes and events, on one kernel -----------------
#
# Takes the trees of all traces, the Sources of types and the Kernel, and gives Probes: what the
# plan writes.  Here patterns become many probes.

# text: the person's.  kind: p, r, c or e.  event: its name; target: what is probed, or the event's
# system.  column: where that stands in the text.  matched: it is one of those a pattern takes.
Probe = namedtuple('Probe', 'text kind event target arguments filter histogram column matched')
CALL_LIMIT = 14         # values; of 16 variables, TRACING_MAP_VARS_MAX, two are the times


def compile_all(trees, sources, kernel, console, limit):
    """Return the Probes of all trees; limit: how many functions or events a pattern may take."""
    events, probes, warnings = set(), [], set()
    for tree in trees:
        try:
            if tree.kind == 'e':
                found = kernel.events(tree, limit, console)
            elif is_pattern(tree.traced.text):
                found = kernel.matching(tree, limit, console)
            else:
                found = [kernel.named(tree, console)]
            probes += compile_each(tree, found, len(probes), events, sources, kernel, console)
        except TraceError as error:
            error.text, error.line = tree.text, tree.line
            raise
    for probe in probes:
        for argument in probe.arguments:
            warnings.update((argument.name, warning) for warning in argument.warnings)
        for name in probe.histogram.from_zero if probe.histogram else ():
            warnings.add((name, 'counts from 0 on: negative numbers are left out'))
        warnings.update(probe.filter.warnings if probe.filter else ())
    for warning in sorted(warnings):
        console.note("'%s': %s" % warning)
    return probes


def compile_each(tree, found, first, events, sources, kernel, console):
    """Return a tree's Probes on each of those found that it compiles for, numbered from first."""
    probes, errors = [], []
    for one in found:
        try:
            if tree.kind == 'e':
                probes.append(compile_event(tree, one, sources, kernel, events))
            else:
                name, source = 'f%d' % (first + len(probes)), sources.of(one.module)
                probes.append(compile_trace(tree, name, one.name, source, kernel))
        except TraceError as error:
            errors.append(error)
    if not probes:
        raise max(errors, key=lambda error: error.column or 0)      # which came furthest
    if errors:
        console.note('left out: %d that this does not fit (%s ...)' % (len(errors), errors[0]))
    return probes


@reporting_damage
def compile_event(tree, name, sources, kernel, events):
    """Return the Probe of a tree on the event called name, (system, event)."""
    if name in events:
        raise TraceError('this event is given twice: join the filters with ||, and keys with ,',
                         (tree.owner or tree.traced).column)
    events.add(name)
    fields = Fields(dict(each[1:] for each in kernel.event_fields(*name)))
    condition = tree.filter and compile_filter(tree.filter, fields, sources.of(None), kernel.here)
    histogram = tree.histogram and compile_histogram(tree.histogram, fields, kernel)
    return Probe(tree.text, tree.kind, name[1], name[0], (), condition, histogram,
                 (tree.owner or tree.traced).column, is_pattern(tree.traced.text))


@reporting_damage
def compile_trace(tree, event, symbol, source, kernel):
    """Return the Probe of a tree on a symbol, to be the event of that name."""
    target = tree.owner.text + ':' + symbol if tree.owner else symbol
    if tree.offset:
        target += '+' + tree.offset.text
        if tree.kind != 'p':
            raise TraceError('a return or a whole call takes no offset', tree.offset.column)
        kernel.check_offset(tree.offset, symbol)
    if tree.kind == 'c':
        kernel.check_feature('synthetic events', Token('c', tree.traced.column),
                             ': trace the entry and the return, p and r, side by side')
    names = set(COMM_NAMES).difference(value.name.text for value in tree.values)
    for name in [key.name for key in tree.histogram.keys] if tree.histogram else ():
        if name.text in names:
            names.remove(name.text)
            value = parse_value(Scanner(name.text + '=$comm'))._replace(name=name)
            tree = tree._replace(values=tree.values + (value,))
    check_names(tree)
    compiler = Compiler(tree, symbol, source, kernel)
    arguments = tuple(compiler.compile(value) for value in tree.values)
    for argument in arguments if tree.kind == 'c' else ():
        if argument.kind == 'array':
            raise wrong(Token(argument.name, argument.column),
                        'is an array, and from the entry to the return the kernel keeps '
                        'numbers and strings alone: take an element, or trace it with p')
    size = len(target) + sum(len(argument.name + argument.text) + 2 for argument in arguments)
    if size > LINE_LIMIT - NAME_LIMIT:
        raise TraceError('the kernel takes a line of %d characters, this needs %d: split it into '
                         'two traces' % (LINE_LIMIT, size + NAME_LIMIT), tree.traced.column)
    fields = Fields(PROBE_FIELDS[tree.kind], compiler.suggested)
    fields.update((each.name, each) for each in arguments)
    condition = tree.filter and compile_filter(tree.filter, fields, source, kernel.here)
    histogram = tree.histogram and compile_histogram(tree.histogram, fields, kernel)
    return Probe(tree.text, tree.kind, event, target, arguments, condition, histogram,
                 tree.traced.column, is_pattern(tree.traced.text))


def check_names(tree):
    of_call, holder, limit, seen = (), 'a probe', ARGUMENT_LIMIT, set()
    if tree.kind == 'c':
        of_call, holder, limit = ('us', CALL_KEY.name), 'a whole call', CALL_LIMIT
    for value in tree.values:
        name = value.name.text
        for is_so, problem in (
                (not re.match(r'[A-Za-z_][A-Za-z0-9_]*$', name),
                 'is no name: letters, digits and _, a letter or _ first'),
                (len(name) > NAME_LIMIT,
                 'is %d characters long, the kernel takes %d' % (len(name), NAME_LIMIT)),
                (name in RESERVED_NAMES, "is the kernel's own name; choose another"),
                (name in of_call, 'is of the call itself; choose another name'),
                (name in seen, 'is given twice; values need different names'),
                (len(seen) == limit,
                 'is one too many: %s has at most %d values' % (holder, limit))):
            if is_so:
                raise wrong(value.name, problem)
        seen.add(name)


# -- Plan: probes -> steps, each with its undo --------------------------------
#
# The plan is data.  -S prints it, a live run performs it, -o writes it as a script: three
# readers of one list.  Its texts are unquoted; those who print for a shell quote.

# action: mkdir, rmdir, append or write.  path: below the root of tracefs.  undo: a Step, or None
# where another's undo does it.  origin: the Probe that a refusal by the kernel should point at.
Step = namedtuple('Step', 'action path text undo origin')
Step.__new__.__defaults__ = (None, None, None)
# create makes the instance and the probes, start makes them fire.  At the end start is undone, the
# rest of the ring buffer and the histograms are read, and create is undone.  histograms: (Probe,
# path); call_tables: the path of each table that whole calls are made of.
Plan = namedtuple('Plan', 'create start histograms call_tables probe_count')

CALLS = 1024                # of one function that can be under way at once, unless --maxactive says
RUN_NAME = 'surftrace'      # begins the name of each run's instance and group; -S shows it alone
SCRIPT_RUN = '\0'           # stands for that of a script, which is known when it is run
# How an instance is to show its events; a new one begins with what somebody has set at the top.
DISPLAY = (('context-info', '1'), ('latency-format', '0'), ('raw', '0'), ('hex', '0'), ('bin', '0'),
           ('fields', '0'), ('userstacktrace', '0'))


def make_plan(probes, options, run, changed=(), reader=None):
    """Return the Plan that sets up Probes in an instance and a group of their own, called run.

    changed are those of DISPLAY that somebody has set otherwise; reader is the number of the
    process that reads the events, and makes none itself.
    """
    instance = 'instances/' + run

    def setting(name, value):
        return Step('write', '%s/%s' % (instance, name), value)
    create = [Step('mkdir', instance, undo=Step('rmdir', instance))]
    create += [setting('options/' + name, value) for name, value in changed]
    create += [setting('options/stacktrace', '1' if options.stack else '0'),
               setting('tracing_on', '0')]      # it begins with 1
    if options.buffer:
        create.append(setting('buffer_size_kb', str(options.buffer)))
    start, enables, counts = [], [], []
    for probe in probes:
        phases = probe_steps(probe, options, run)
        for steps, more in zip((create, start, enables, counts), phases):
            steps += more
    if options.pids:
        start += [setting('options/event-fork', '1'),
                  setting('set_event_pid', ' '.join(map(str, options.pids)))]
    if reader:
        start.append(setting('set_event_notrace_pid', str(reader)))
    # (Histograms count while tracing is off, too, and then by another clock: they begin last, or
    # the first calls would be wrong by milliseconds.)
    start += enables + [with_undo(setting('tracing_on', '1'), '0')] + counts
    histograms = [(probe, event_directory(probe, run) + 'hist')
                  for probe in probes if probe.histogram]
    calls = ['%s/events/%s/%s/hist' % (instance, run, name) for probe in probes
             if probe.kind == 'c' for name in (probe.event, probe.event + 'r')]
    return Plan(create, start, histograms, calls, len(probes))


def with_undo(step, text, origin=None):
    """Return a Step that is undone by writing another text into the same file."""
    return step._replace(undo=step._replace(text=text), origin=origin)


def event_directory(probe, run):
    """Return the path of the event that a Probe's lines or counts come from, with its last /."""
    group = {'e': probe.target, 'c': 'synthetic'}.get(probe.kind, run)
    return 'instances/%s/events/%s/%s%s/' % (
        run, group, run + '_' if probe.kind == 'c' else '', probe.event)


def probe_steps(probe, options, run):
    """Return the Steps that make a Probe, filter it, let it fire, and let it count: four lists."""
    made, filters, counts, directory = [], [], [], event_directory(probe, run)
    if probe.kind == 'c':
        made, counts = call_steps(probe, options, run)
    elif probe.kind != 'e':
        made = [kprobe_step(probe, options.maxactive, run)]
    if probe.histogram:
        paused, going = histogram_steps(probe, directory + 'trigger')
        return made + [paused], [], [], counts + [going]
    if probe.filter:
        filters = [Step('write', directory + 'filter', probe.filter.text, origin=probe)]
    enable = with_undo(Step('write', directory + 'enable', '1'), '0', probe)
    return made, filters, [enable], counts


def excluding_process(process, probes):
    """Return Probes whose filters leave a process out, where a kernel has no other way."""
    condition, changed = 'common_pid!=%d' % process, []
    for probe in probes:
        kept = KernelFilter(condition, [probe.column], True, ())
        if probe.filter:
            kept = probe.filter._replace(text='(%s)&&%s' % (probe.filter.text, condition))
        changed.append(probe._replace(filter=kept))
    return changed


def kprobe_step(probe, maxactive, run):
    maxactive = str(maxactive or '') if probe.kind == 'r' else ''
    words = ['%s%s:%s/%s' % (probe.kind, maxactive, run, probe.event), probe.target]
    words += ['%s=%s' % (each.name, each.text) for each in probe.arguments]
    return with_undo(Step('append', 'kprobe_events', ' '.join(words)),
                     '-:%s/%s' % (run, probe.event), probe)


def table_size(probe):
    """Return how many keys a Probe's table has room for: those of a pattern's many are small."""
    return 1 << 11 if probe.matched else 1 << 14


def histogram_steps(probe, path):
    """Return the Step that makes a histogram in a pause, and the one that lets it count."""
    histogram = probe.histogram
    conditions = [name + '>=0' for name in histogram.from_zero]
    if probe.filter:
        conditions.insert(0, ('(%s)' if conditions else '%s') % probe.filter.text)
    condition = ' if ' + '&&'.join(conditions) if conditions else ''
    text = 'hist:keys=' + ','.join(column.words for column in histogram.columns)
    if histogram.sums:
        text += ':vals=' + ','.join(name for name, _ in histogram.sums)
    text += ':sort=hitcount.descending:size=%d' % table_size(probe)
    pause, go = text + ':pause' + condition, text + ':cont' + condition
    return (with_undo(Step('append', path, pause), '!' + text + condition, probe),
            with_undo(Step('append', path, go), pause, probe))


# A whole call: a histogram of the entry keeps its time and its values by the stack that it runs on,
# and one of the return takes them there and makes a synthetic event of them.  (Every task and every
# CPU's interrupts have a stack of their own, 16 KB or more, and a call returns on the stack that it
# entered on; the task's number is 0 on every idle CPU, and does not change in an interrupt.)

CALL_KEY = Argument('__stack', '%sp', FetchType('b', 50, 14, 64), None, 0, (), '', '')


def call_values(probe):
    """Return the Arguments of a whole call as its event has them: strings, unquoted, come last."""
    return sorted(probe.arguments, key=lambda argument: argument.kind == 'string')


def call_steps(probe, options, run):
    """Return the Steps that make what a whole call needs, and those that match its two ends."""
    entry, back, event = probe.event, probe.event + 'r', '%s_%s' % (run, probe.event)
    values, made, matches = call_values(probe), [], []
    # The variables of an instance are one name space: f0t is the time of the entry.
    kept = {entry: entry + 't=common_timestamp.usecs',
            back: '%s_us=common_timestamp.usecs-$%st' % (entry, entry)}
    declared, passed = event + ' u64 us', '$%s_us' % entry
    for each in values:
        bits = each.fetch_type.unit or each.fetch_type.bits or 64
        shape = '; char %s[]' if each.kind == 'string' else '; %s%d %%s' % (each.kind[0], bits)
        declared += shape % each.name
        passed += ',$%s_%s' % (entry, each.name)
        kept[back if each.is_of_return else entry] += ',%s_%s=%s' % (entry, each.name, each.name)
    ends = {entry: ' if ' + probe.filter.text if probe.filter and probe.filter.asks_task else '',
            back: ':onmatch(%s.%s).trace(%s,%s)' % (run, entry, event, passed)}
    for kind, name in (('p', entry), ('r', back)):
        arguments = (CALL_KEY,) + tuple(
            each for each in values if each.is_of_return == (kind == 'r'))
        half = probe._replace(kind=kind, event=name, arguments=arguments)
        made.append(kprobe_step(half, options.maxactive or CALLS, run))
        text = 'hist:keys=%s:%s:size=%d%s' % (
            CALL_KEY.name, kept[name], table_size(probe), ends[name])
        path = 'instances/%s/events/%s/%s/trigger' % (run, run, name)
        matches.append(with_undo(Step('append', path, text), '!' + text, probe))
    made.append(with_undo(Step('append', 'dynamic_events', 's:' + declared), '-:' + event, probe))
    return made, matches


def quoted(text):
    """Return text as one word of a shell; SCRIPT_RUN in it becomes "$run"."""
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
say() { printf 'surftrace: %%s\\n' "$*" >&2; }
give_up() { say "$*"; exit 1; }
%(check)s
run=surftrace_$$ step=0 reader= tracing_on= made= mounted= ended=
find_tracefs() {
    for tracing in %(roots)s; do
        [ ! -d "$tracing/instances" ] || return 0
    done
    return 1
}
# On a terminal, control characters and what is not ASCII are shown as question marks.
show() {
    [ ! -t 1 ] || exec tr '\\000-\\010\\013-\\037\\177-\\377' '?'
    exec cat
}
warn() { say "not undone: $*"; status=1; }
clean_up() {
    status=$?
    trap '' ALRM HUP INT QUIT PIPE TERM USR1 USR2
%(stop)s
    # What has not been taken is still in the buffer; a reader that takes nothing is not waited for.
    if [ -n "$reader" ]; then
        sleep 1
        kill "$reader" 2> /dev/null
        wait "$reader" 2> /dev/null
        # (None of these has a file of the instance open when show ends.)
        exec 3<&-
        { sed '/^#/d' instances/"$run"/trace; cat %(tables)s; :; } 2> /dev/null |
            (trap - TERM; show) &
        reader=$!
        (
            trap - TERM
            sleep 10 &
            trap "kill $!; exit" TERM
            wait
            kill "$reader"
        ) > /dev/null 2>&1 &
        wait "$reader" 2> /dev/null
        kill $! 2> /dev/null
    fi
    exec 3<&-
%(remove)s
    [ -z "$made" ] || rmdir instances/"$run" || warn "rmdir $tracing/instances/$run"
    cd /
    # If somebody else uses it by now, it stays.
    [ -z "$mounted" ] || umount "$mounted" 2> /dev/null
    exit "$status"
}
# What is being done when a signal comes is finished first, so that it can be undone.
end_with() { ended=$1; [ -z "$tracing_on" ] || exit "$1"; }
done_with() { step=$1; [ -z "$ended" ] || exit "$ended"; }

trap clean_up EXIT
trap 'end_with 0' INT PIPE
for signal in 1 3 10 12 14 15; do       # HUP QUIT USR1 USR2 ALRM TERM
    trap "end_with $((128 + signal))" "$signal"
done
trap '' TTOU
find_tracefs || {
    mounted=/sys/kernel/tracing
    mount -t tracefs surftrace "$mounted" || mounted=
} 2> /dev/null
find_tracefs && cd "$tracing" || give_up 'no tracefs here: run as root'

(trap '' HUP INT QUIT TERM; exec mkdir instances/"$run") 2> /dev/null ||
    give_up "no instance can be made in $tracing/instances: run as root"
made=1
exec 3< instances/"$run"/trace_pipe
done_with 0
%(create)s
# What this script does itself is not traced (Linux 5.7).
show <&3 &
reader=$!
[ ! -e instances/"$run"/set_event_notrace_pid ] ||
    echo "$$ $reader" > instances/"$run"/set_event_notrace_pid
%(start)s
tracing_on=1
done_with "$step"
wait "$reader"
status=$?
reader=
[ "$status" -ne 141 ] || status=0       # it met a closed pipe, as | head makes one
exit "$status"
'''


# How a script checks that it runs on the kernel that its offsets are of.
CHECKS = {'release': '''
here=$(uname -r)
[ "$here" = %(kernel)s ] || [ "${ANY_KERNEL-}" = 1 ] ||
    give_up "made for kernel "%(kernel)s", this is $here: ANY_KERNEL=1 runs it all the same"
''', 'btf': '''
if here=$(sha256sum /sys/kernel/btf/vmlinux 2> /dev/null); then
    [ "${here%%%% *}" = %(kernel)s ] || [ "${ANY_KERNEL-}" = 1 ] ||
        give_up 'made for another kernel, of other BTF: ANY_KERNEL=1 runs it all the same'
else
    say 'no BTF or no sha256sum here: cannot tell whether this is the kernel that it was made for'
fi
''', 'unknown': '''
say 'cannot tell whether this is the kernel that it was made for'
''', '': ''}


def script(probes, options, texts, made_for):
    """Return a script for /bin/sh, dash and busybox ash; made_for is as Sources has it."""
    plan = make_plan(probes, options, SCRIPT_RUN)
    lines, undo = [], []
    for number, step in enumerate((plan.create + plan.start)[1:], 1):
        what = step.origin.text if step.origin else step.path.rpartition('/')[2]
        lines.append('%s || give_up %s\ndone_with %d' % (
            shell_line(step), quoted('the kernel refused: ' + what), number))
        if step.undo:
            undo.insert(0, '    [ "$step" -lt %d ] || %s || warn %s' % (
                number, shell_line(step.undo), quoted(step.undo.path)))
    first, made = len([step for step in plan.start if step.undo]), len(plan.create) - 1
    roots = ([options.tracefs] if options.tracefs else []) + [MOUNT[-1], DEFAULT_ROOT]
    return SCRIPT % {
        'traces': '\n'.join('#   ' + line for text in texts for line in quoted(text).split('\n')),
        'check': CHECKS[made_for[0]] % {'kernel': quoted(made_for[1])},
        'tables': ' '.join(quoted(path) for _, path in plan.histograms) or '/dev/null',
        'roots': ' '.join(map(quoted, roots)),
        'create': '\n'.join(lines[:made]),
        'start': '\n'.join(lines[made:]),
        'stop': '\n'.join(undo[:first]),
        'remove': '\n'.join(undo[first:])}


# -- Kernel: the kernel that is traced, here or elsewhere ---------------------
#
# What it knows (symbols, fields of events, features), its tracefs and that one's mount, and
# its refusals in the person's own terms.

Symbol = namedtuple('Symbol', 'name module')      # module None: the kernel itself

DEFAULT_ROOT = '/sys/kernel/debug/tracing'      # in the manual's examples, and on all kernels
FORBIDDEN = '/sys/kernel/debug/kprobes/blacklist'
NOT_A_FUNCTION = r'__(?:pfx|cfi|SCT_)_|.*\.cold$'      # pieces of code that go with one
# The names of one function over time.
RENAMED = (('do_fork', '_do_fork', 'kernel_clone'), ('do_filp_open', 'do_file_open'),
           ('do_sys_open', 'do_sys_openat2'), ('generic_make_request', 'submit_bio_noacct'))
MOUNT = ('mount', '-t', 'tracefs', 'surftrace', '/sys/kernel/tracing')      # Linux 4.1


class KernelError(Error):
    """This kernel cannot be traced, or a file of tracefs not be read or written."""

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
            raise KernelError('%s: %s' % (self.path(name), explain(error.errno)), error.errno)

    def read(self, name):
        return to_text(self.attempt(read_file, name))

    def read_if_there(self, name):
        """Return a file's text, '' if this kernel has no such file."""
        return self.read(name) if self.has(name) else ''

    def write(self, name, text, append=False):
        """Write lines: append them, or empty the file first (for everyone)."""
        self.attempt(write_file, name, to_bytes(text + '\n'),
                     os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))

    def names(self, name):
        return self.attempt(os.listdir, name)

    def has(self, name):
        return os.path.exists(self.path(name))

    def probes(self):
        """Return GROUP/EVENT of each line of kprobe_events; one event may have several."""
        return re.findall(r'(?m)^[^ :]+:(\S+)', self.read_if_there('kprobe_events'))

    def events(self, top='', system=None):
        """Return (SYSTEM, EVENT) of each event that can be enabled, in order; top: '' or DIR/."""
        systems = [each for each in ([system] if system else self.names(top + 'events'))
                   if self.has('%sevents/%s/' % (top, each))]
        return sorted((each, event) for each in systems
                      for event in self.names('%sevents/%s' % (top, each))
                      if self.has('%sevents/%s/%s/enable' % (top, each, event)))

    def synthetic_events(self):
        return re.findall(r'(?m)^s:(?:synthetic/)?(\w+)', self.read_if_there('dynamic_events'))


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
        reason += ': mount it again with -o remount,rw (a container: on the host)'
    elif error_number in (errno.EACCES, errno.EPERM):
        reason += ': run as root' if os.geteuid() else (
            ': in a container, run it on the host or with --privileged; or the kernel is locked '
            'down (boot it with lockdown=integrity or none)')
    return reason


def find_mount():
    """Return where /proc/mounts has tracefs, None if it has none."""
    # (Not \s: what a user mounts may have a \v, \f or \r in its name; a blank is \040.)
    mounts = re.findall(r'(?m)^[^ \n]+ ([^ \n]+) ([^ \n]+) ', text_if_there('/proc/mounts'))
    for wanted, below_it in ('tracefs', ''), ('debugfs', '/tracing'):
        for directory, kind in mounts:
            if kind == wanted:
                return re.sub(r'\\([0-7]{3})', lambda octal: chr(int(octal.group(1), 8)),
                              directory) + below_it
    return None


def run_mount(command, console):
    """Run mount or umount, show it, and tell whether it succeeded; a signal ends us after it."""
    import subprocess       # seldom needed, and slow to load
    console.echo(' '.join(command))
    received = []
    before = [(taken, signal.signal(taken, lambda number, _: received.append(number)))
              for taken in ending_signals()]
    try:
        # In a session of its own no Ctrl+C reaches it.
        return subprocess.call(command, close_fds=True, preexec_fn=os.setsid) == 0
    finally:
        for taken, handler in before:
            signal.signal(taken, handler)
        for number in received[:1]:
            os.kill(os.getpid(), number)


def make_mount(console):
    if os.geteuid():
        raise KernelError('tracing needs root; -S shows the lines without')
    if not run_mount(MOUNT, console):
        raise KernelError('tracefs cannot be mounted from here: in a container, run it on the host '
                          'or with --privileged; else this kernel has none (CONFIG_FTRACE)')


def forbidden_functions():
    """Return the names of the functions that kprobes must not touch, as debugfs lists them."""
    return frozenset(re.findall(r'\t(\S+)', text_if_there(FORBIDDEN)))


class Kernel(object):
    """The kernel that is traced, as far as it can be asked; each list is read once.

    architecture is an Architecture.  tracefs is the running kernel's, None if it cannot be read.
    Of a kernel elsewhere (here=False), vmlinux may name an ELF file with its symbols.
    """

    def __init__(self, architecture, tracefs=None, here=True, vmlinux=None):
        self.architecture, self.tracefs, self.here = architecture, tracefs, here
        self.vmlinux, self.listings, self._in_order = vmlinux, {}, None
        readme = tracefs.read_if_there('README') if tracefs else ''
        self.features = frozenset(name for name, feature in FEATURES.items()
                                  if feature.sign in readme) if readme else USUAL_FEATURES

    def supported(self, fetch_type, token):
        """Return this kernel's FetchType for a Token's, and a warning if it shows no array."""
        if fetch_type.name in FEATURES and fetch_type.name not in self.features:
            _, version, instead = FEATURES[fetch_type.name]
            if instead is None:
                raise TraceError("this kernel has no type '%s', which came with Linux %s" % (
                    fetch_type.name, version), token.column)
            return self.supported(fetch_type._replace(
                name=instead.name, bits=instead.bits or fetch_type.bits), token)
        if fetch_type.length is None or 'array' in self.features:
            return fetch_type, ''
        return fetch_type._replace(length=None), (
            'this kernel shows no arrays, which came with Linux %s: only the first element'
            % FEATURES['array'].version)

    def check_feature(self, feature, token, instead=''):
        """Raise TraceError if the kernel lacks what a Token takes."""
        if feature not in self.features:
            raise TraceError('this kernel has no %s, which %s takes; they came with Linux %s%s' % (
                feature, token.text, FEATURES[feature].version, instead), token.column)

    # Symbols

    def listing(self, name):
        """Return ftrace's list, 'traceable', or kallsyms, 'all'; '' if it cannot be read."""
        if name not in self.listings:
            text = ''
            if self.here and name == 'all':
                text = text_if_there('/proc/kallsyms')
            elif self.here and self.tracefs:
                text = text_if_there(self.tracefs.path('available_filter_functions'))
            elif self.vmlinux and not self.here and name == 'traceable':    # as far as it tells
                text = '\n'.join(Elf(self.vmlinux).function_names())
            self.listings[name] = text
        return self.listings[name]

    def functions(self):
        """Return the Symbols of the functions that can be traced, as far as a list tells."""
        return all_symbols(self.listing('traceable') or self.listing('all'))

    def module(self, name):
        """Return the module that a function lives in, None for the kernel's own."""
        like = symbols_like(self.listing('traceable'), name)
        return next((symbol.module for symbol in like if symbol.name == name), None)

    def check_variable(self, base):
        """Raise TraceError if kallsyms, where it can be read, has no one variable of that name."""
        listing = self.listing('all')
        found = dict((name, int(address, 16)) for address, name in re.findall(
            r'(?m)^([0-9a-f]+) \S (__per_cpu_(?:start|end)|%s)(?:\t|$)' % re.escape(base.text),
            listing))
        if found.get('__per_cpu_start', 0) <= found.get(base.text, -1) < found.get(
                '__per_cpu_end', 0):
            raise wrong(base, EACH_CPU)
        if not listing or base.text in found:
            return
        way = ': without CONFIG_KALLSYMS_ALL it lists functions alone'
        if ' jiffies\n' in listing:
            way = nearest(base.text, re.findall(r'^\S+ \S (\S+)', listing, re.M))
        raise TraceError("this kernel lists no symbol '%s'%s" % (base.text, way), base.column)

    def named(self, tree, console):
        """Return the Symbol that a trace names, or its only variant; tell if that may be wrong."""
        token, module = tree.traced, tree.owner and tree.owner.text
        name = token.text
        # (With an offset, kprobes take what ftrace does not list.  The other list is long.)
        lists = ('all',) if tree.offset else ('traceable', 'all')
        for each in lists:
            like = [symbol for symbol in symbols_like(self.listing(each), name)
                    if module in (None, symbol.module)]
            like = [symbol for symbol in like if symbol.name == name] or like
            variants = sorted(set(symbol.name for symbol in like))
            if variants[1:]:
                raise TraceError("the compiler made several of '%s', trace the one you mean: %s"
                                 % (name, ', '.join(variants)), token.column)
            if like:
                return self._chosen(like, name, console)
        listings = [self.listing(each) for each in lists]
        if not any(listings) or module and not self.here:
            return Symbol(name, module)
        if not module:
            raise TraceError("this kernel has no function '%s'%s" % (name, self._instead(name)),
                             token.column)
        way = ', or it is not loaded'
        if Symbol(name, None) in symbols_like('\n'.join(listings), name):
            way = ': it is in the kernel itself, leave %s: out' % module
        raise TraceError("the module '%s' has no function '%s'%s" % (module, name, way),
                         token.column)

    def _instead(self, name):
        """Return what may be meant by a function that is not there."""
        names = set(symbol.name for symbol in self.functions())
        if re.search(' [bBdDrRvV] %s$' % re.escape(name), self.listing('all'), re.M):
            return ': it is data, which a value reads: @' + name
        for group in RENAMED:
            for other in names.intersection(group if name in group else ()):
                return ': it is %s here' % other
        call = re.sub('^(?:__x64_|__arm64_|__se_|__do_|k)?(?:sys|SyS)_', 'sys_', name)
        for other in ('__x64_' + call, '__arm64_' + call):
            if other in names:
                return ': it is %s here, and its arguments are members of $regs' % other
        return nearest(name, names) or ': it may be inlined, or have another name here'

    def _chosen(self, symbols, asked, console):
        """Return the one of several Symbols of a name that the kernel takes: its own go first."""
        own = [symbol for symbol in symbols if symbol.module is None]
        symbol = (own or symbols)[0]
        if symbols[1:]:
            way = ''
            if len(own) < len(symbols):
                way = '; MODULE:%s takes that of a module' % symbol.name
            elif self.addresses('_text'):
                ways = ['_text+0x%x' % (address - self.addresses('_text')[0])
                        for address in self.addresses(symbol.name)]
                way = '; each has an address of its own, ' + ' or '.join(ways)
            console.note("%d functions are named '%s': older kernels trace the first, newer ones "
                         'refuse%s' % (len(symbols), symbol.name, way))
        if symbol.name != asked:
            console.note("this kernel has '%s' only as '%s', which is traced; the compiler may "
                         'have moved or dropped arguments' % (asked, symbol.name))
        return symbol

    def addresses(self, name):
        """Return the addresses of all symbols of a name, as far as symbols_in_order() has them."""
        return [address for address, other in self.symbols_in_order() if other == name]

    def symbols_in_order(self):
        """Return (address, name) of each symbol, in order; none if they are not for us to see."""
        if self._in_order is None:
            self._in_order = sorted((int(address, 16), name) for address, name in re.findall(
                r'(?m)^([0-9a-f]+) [^aA] (\S+)', self.listing('all')) if address.strip('0'))
        return self._in_order

    def symbol_at(self, address):
        """Return NAME+0xOFFSET of an address, 0x... if no symbol lies before it, or none after."""
        at = bisect.bisect(self.symbols_in_order(), (address + 1,))
        if not 0 < at < len(self.symbols_in_order()):
            return '0x%x' % address
        start, name = self.symbols_in_order()[at - 1]
        return '%s+0x%x' % (name, address - start)

    def check_offset(self, offset, name):
        """Raise TraceError if an offset, a Token, lies beyond a function."""
        starts = [] if name in ('_text', '_stext') else self.addresses(name)
        behind = [address for address, _ in self.symbols_in_order()
                  if starts and address > starts[0]]
        if behind and int(offset.text, 0) >= behind[0] - starts[0]:
            raise TraceError("'%s' has %d bytes" % (name, behind[0] - starts[0]), offset.column)

    def matching(self, tree, limit, console):
        """Return the Symbols that a trace's pattern takes, which are to be no more than limit."""
        token, module, known = tree.traced, tree.owner and tree.owner.text, self.functions()
        if not known:
            raise TraceError('which functions match can only be told on the machine itself, or '
                             'from a vmlinux that has symbols (-v)', token.column)
        match = matcher(token.text, token.column)
        like = set(symbol for symbol in known if match(symbol.name) and
                   module in (None, symbol.module) and not re.match(NOT_A_FUNCTION, symbol.name))
        # (ftrace's list lacks some that the kernel counts all the same.)
        copies = Counter(
            symbol.name for symbol in all_symbols(self.listing('all') or self.listing('traceable'))
            if module in (None, symbol.module))
        forbidden = forbidden_functions() if self.here else ()
        found = sorted((symbol for symbol in like if copies[symbol.name] < 2
                        and symbol.name not in forbidden), key=lambda symbol: symbol.name)
        check_limit(found, limit, 'function', token)
        rest = ''
        if len(found) < len(like):
            rest = ('; left out: %d that cannot be probed, or of which there are several'
                    % (len(like) - len(found)))
        if not found:
            raise TraceError("no function that can be traced matches '%s'%s%s" % (
                token.text, " in the module '%s'" % module if module else '', rest), token.column)
        console.note("'%s' takes %s%s" % (token.text, count_of(len(found), 'function'), rest))
        return found

    # Events

    def events(self, tree, limit, console):
        """Return (system, event) of each event that a trace names, no more than limit."""
        system, token = tree.owner and tree.owner.text, tree.traced
        name = '%s/%s' % (system, token.text) if system else token.text
        if not self.tracefs:
            if not system or is_pattern(token.text):
                raise TraceError('which events there are can only be told where tracefs can be '
                                 'read; name one, SYSTEM/EVENT', token.column)
            return [(system, token.text)]
        all_events = self.tracefs.events(system=system)
        match = matcher(token.text, token.column)
        found = [each for each in all_events if match(each[1])]
        if not found and self.tracefs.has('events/%s/' % name):
            raise TraceError("this event is ftrace's own, which cannot be traced" if system else
                             "this is a system of events: --info '%s/*' lists them" % name,
                             token.column)
        if not found:
            around = token if all_events else tree.owner
            names = [event for _, event in all_events] or self.tracefs.names('events')
            # (Where exec is wanted, sched_process_exec is.)
            longer = sorted(set(each for each in names if each.endswith('_' + around.text)),
                            key=lambda each: (not each.startswith('sys_enter_'), len(each), each))
            likely = did_you_mean(longer[:3]) or nearest(around.text, names)
            raise TraceError("this kernel has no event '%s'%s" % (name, likely), around.column)
        if not is_pattern(token.text) and found[1:]:
            systems = ', '.join('/'.join(each) for each in found)
            raise TraceError('several systems have it: ' + systems, token.column)
        check_limit(found, limit, 'event', token)
        if is_pattern(token.text) and console:
            console.note("'%s' takes %s" % (token.text, count_of(len(found), 'event')))
        return found

    def event_fields(self, system, event):
        """Return (C, name, Field) of each field of an event; none if they cannot be read."""
        path = 'events/%s/%s/format' % (system, event)
        text = self.tracefs.read_if_there(path) if self.tracefs else ''
        forms, fields = {'ret': ERROR_FORM} if event.startswith('sys_exit') else {}, []
        for name, pairs in re.findall(r'__print_symbolic\(REC->(\w+), (\{.*?\})\)', text):
            names = tuple((word, int(number, 0)) for number, word in re.findall(
                r'\{ (-?(?:0x[0-9a-f]+|[0-9]+)), "([^"]*)" \}', pairs))
            forms[name] = Form(None, None, show_name, None, None, names)
        for declaration, name, length, size, signed in re.findall(
                r'\tfield:([^;]*?)(\w+)(\[[^;]*\])?;.*size:([0-9]+);.*signed:([01]);', text):
            field = event_field(system, declaration, length, size, signed)
            field = field._replace(form=forms.get(name, field.form))
            fields.append((declaration + name + length, name, field))
        return fields


def check_limit(found, limit, noun, token):
    if len(found) > limit:
        way = ', or allow them with --max-probes %d' % len(found) if len(found) <= 1000 else ''
        raise TraceError('%d %ss match: choose fewer%s' % (len(found), noun, way), token.column)


def symbols_like(listing, name):
    """Yield the Symbols called name, or variants of it, of the functions in a list."""
    rest = re.compile(r'((?:\.(?:constprop|isra)\.[0-9]+)*)(?:[ \t]+\[(\S+)\])?$', re.M)
    at = listing.find(name)
    while at >= 0:      # ten times as quick as finditer()
        match = rest.match(listing, at + len(name))
        before = listing[max(at - 3, 0):at]
        if match and (before[-1:] in ('', '\n') or before in (' t ', ' T ', ' w ', ' W ')):
            yield Symbol(name + match.group(1), match.group(2))
        at = listing.find(name, at + 1)


def all_symbols(listing):
    """Return the Symbols of the functions in ftrace's list, or in kallsyms (ADDRESS TYPE NAME)."""
    return [Symbol(name, module or None) for name, module in re.findall(
        r'^(?:[0-9a-fA-F]+ [tTwW] )?(\S+)(?:\s+\[(\S+)\])?$', listing, re.M)]


def event_field(system, declaration, array, size, signed):
    """Return the Field that an event's format declares, in its texts."""
    size, is_pointer = int(size), '*' in declaration
    if array and declaration.strip() == 'char':
        return Field('string', FetchType('string', 8 * size))
    if re.search(r'\bchar\[\]', declaration):
        return Field('string')
    if re.search(r'\bchar ?\* *$', declaration):
        return Field('user string' if system == 'syscalls' else 'string')
    if array == '[4]' and size == 4 and 'char' not in declaration:
        return Field('ip', FetchType('u', 32), FORMS['ip_'])    # as sock/inet_sock_set_state has
    if array and size not in (1, 2, 4, 8) and 'char' not in declaration:
        return Field('array')       # (the kernel accepts such a filter, and cannot apply it)
    if array or re.search(r'struct|__data_loc|__rel_loc', declaration) and not is_pointer:
        return Field('other')
    kind = 'signed' if signed == '1' and not is_pointer else 'unsigned'
    return Field(kind, FetchType(kind[0], 8 * size))


# Refusals

ERROR_LOG = r'error: (?:error: )?(.*)\n  Command: (.*)\n( *)\^'
# What is a refusal of the kernel's, and what it means if there is no error_log (before 5.2).
REFUSALS = {
    errno.EINVAL: 'invalid argument (dmesg may know more)',
    errno.ENOENT: 'it has no such function',
    errno.EILSEQ: 'the offset is not at the start of an instruction',
    errno.EEXIST: 'an event of that name is there already',
    errno.E2BIG: 'too many values',
    errno.EADDRNOTAVAIL: 'the symbol is not unique',
    errno.EOPNOTSUPP: 'this function cannot be probed',
}


def refusal(step, error, tracefs, top):
    """Return the Error for a Step that the kernel refused, in its own words where it has some."""
    probe = step.origin
    if probe is None:
        return error
    kind, reason, before = step.path.rpartition('/')[2], explain(error.errno), ''
    if kind == 'kprobe_events':
        reason = REFUSALS.get(error.errno, reason)
    # The file keeps the last eight; another run's may be among them.
    log = tracefs.read_if_there((top if kind in ('filter', 'trigger') else '') + 'error_log')
    for logged, command, caret in re.findall(ERROR_LOG, log):
        if command.split() == step.text.split():
            reason = logged[:1].lower() + logged[1:]
            before = command[:len(caret) - len('  Command: ')]
    name = probe.target.rpartition(':')[2].partition('+')[0]
    if kind == 'kprobe_events' and reason.startswith(('failed to register', 'invalid argument')):
        if name in forbidden_functions():
            reason += ', since kprobes must not touch it (%s)' % FORBIDDEN
        elif name not in [each.name for each in all_symbols(
                tracefs.read_if_there('available_filter_functions'))]:
            reason += ", since it is not among ftrace's available_filter_functions"
    # What the columns are of, and what stands between two of them.
    what, columns, between = 'trace', [0, probe.column], ' '
    columns += [argument.column for argument in probe.arguments]
    if kind == 'filter':
        before = re.sub(r'"[^"]*"|\'[^\']*\'', '', before)
        what, columns, between = 'filter', probe.filter.columns, r'&&|\|\|'
    elif kind == 'trigger' and probe.histogram:
        what, columns = 'histogram', [probe.histogram.column]
    refused = Error('the kernel refused this %s: %s; %s was given: %s' % (
        what, reason, step.path, step.text))
    refused.text, refused.column = probe.text, columns[:len(re.split(between, before))][-1]
    return refused


# -- Session: one live run ----------------------------------------------------
#
# Takes a Plan and a Tracefs, performs the one on the other, streams events to an Output
# until the run ends, and undoes all that was done.  What killed runs left is removed first.

READ_SIZE = 1 << 16     # bytes
LOST = 'overrun|commit overrun|dropped events'      # in per_cpu/cpuN/stats
INITIAL_NAMESPACE = 'pid:[4026531836]'      # include/linux/proc_ns.h, PROC_PID_INIT_INO


def ending_signals():
    """Return the signals that end a run (SCRIPT has the same), though & ignores some."""
    return [taken for taken in (
        signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM,
        signal.SIGUSR1, signal.SIGUSR2)
            if taken != signal.SIGHUP or signal.getsignal(taken) != signal.SIG_IGN]


class Signals(object):
    """The signals that end a run, taken while it is under way.

    One only marks the run for its end, and wakes whoever polls `wake`; what is being done is
    finished first.
    """

    def __enter__(self):
        self.received = []
        self.wake, self._write_end = os.pipe()
        # The byte is written when the signal comes: these functions run only when Python is
        # next at work, which is too late for a poll that is just about to begin.
        for end in self.wake, self._write_end:
            fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write_end)
        for taken in ending_signals():
            signal.signal(taken, lambda number, _: self.received.append(number))
            signal.siginterrupt(taken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)      # which only wakes
        signal.siginterrupt(signal.SIGCHLD, False)
        return self

    def drain(self):
        """Forget what has woken so far."""
        try:
            os.read(self.wake, READ_SIZE)
        except EnvironmentError:
            pass        # nothing has

    def __exit__(self, *_):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The program is about to end: one more Ctrl+C must not change how.
        for taken in ending_signals():
            signal.signal(taken, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self.wake)
        os.close(self._write_end)

    def status(self):
        """Return the exit status: Ctrl+C is the ordinary end of a trace."""
        first = self.received[0] if self.received else signal.SIGINT
        return 0 if first == signal.SIGINT else 128 + first


class Command(object):
    """A program that is held until all is set up; status is None while it runs."""

    def __init__(self, path, words):
        self.words, self.status, self.is_released = words, None, False
        held, self._hold = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._run(held, path)
        os.close(held)

    def _run(self, held, path):
        """Be the program, once a byte comes; does not return."""
        try:
            os.close(self._hold)
            for ignored in signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU:      # by Python, and us
                signal.signal(ignored, signal.SIG_DFL)
            with open('/proc/self/comm', 'w') as stream:        # what it is counted by
                stream.write(os.path.basename(path))
            if os.read(held, 1):
                os.execv(path, self.words)
        except EnvironmentError as error:
            os.write(2, to_bytes('surftrace: %s: %s\n' % (path, os.strerror(error.errno).lower())))
        finally:
            os._exit(126)

    def release(self):
        self.is_released = True
        os.write(self._hold, b'.')

    def has_ended(self):
        """Tell whether it has ended; then its status is as shells have it."""
        if self.status is None:
            pid, ended = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = 128 + os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else (
                    os.WEXITSTATUS(ended))
        return self.status is not None

    def forget(self, console):
        """Say that it still runs, if it does; one that has not begun never will."""
        os.close(self._hold)
        if not self.is_released:
            os.waitpid(self.pid, 0)
        elif not self.has_ended():
            console.note('%s (%d) is left running' % (self.words[0], self.pid))


def run_names(tracefs):
    """Return all names that a run may have: of instances, groups of probes, and calls."""
    return set(tracefs.names('instances')).union(
        [probe.partition('/')[0] for probe in tracefs.probes()],
        [event.rpartition('_')[0] for event in tracefs.synthetic_events()])


def sweep(tracefs, console):
    """Remove what killed runs have left: what is named after a process that is no more."""
    for run in sorted(run_names(tracefs)):
        match = re.match(RUN_NAME + r'_([0-9]{1,9})(?:_1)*$', run)
        if match and is_left_behind(int(match.group(1))):
            try:
                sweep_run(run, tracefs, console)
            except KernelError as error:
                if error.errno == errno.EBUSY:
                    path = tracefs.path('instances/' + run)
                    console.note('%s is left alone: somebody uses it, %s' % (
                        path, ', '.join(readers_of(path + '/trace_pipe'))
                        or 'a script perhaps, or the cat of one that was killed'))
                elif error.errno != errno.ENOENT:       # another run has just removed it
                    raise


def readers_of(path):
    """Return 'NAME (PID)' of each process that has a file open."""
    found = []
    for pid in [name for name in os.listdir('/proc') if name.isdigit()]:
        try:
            files = ['/proc/%s/fd/%s' % (pid, name) for name in os.listdir('/proc/%s/fd' % pid)]
            if path in [os.readlink(each) for each in files]:
                found.append('%s (%s)' % (text_if_there('/proc/%s/comm' % pid).strip(), pid))
        except EnvironmentError:
            pass        # it has ended, or is somebody else's
    return found


def own_number(tracefs, run):
    """Return this process's number in the initial pid namespace, by which the kernel traces."""
    if os.path.realpath('/proc/self/ns/pid').endswith(INITIAL_NAMESPACE):
        return os.getpid()
    instance = 'instances/' + run       # which shows it beside a mark of ours
    tracefs.attempt(os.mkdir, instance)
    try:
        tracefs.write(instance + '/trace_marker', RUN_NAME)
        shown = re.search(r'(?m)-([0-9]+) +[^\n]*: tracing_mark_write: %s$' % RUN_NAME,
                          tracefs.read(instance + '/trace'))
        return int(shown.group(1)) if shown else os.getpid()
    finally:
        tracefs.attempt(os.rmdir, instance)


def sweep_run(run, tracefs, console):
    instance = 'instances/' + run
    found = tracefs.has(instance)
    if found:
        # EBUSY here means that somebody reads it; from rmdir it may mean something else.
        os.close(tracefs.attempt(os.open, instance + '/trace_pipe', os.O_RDONLY | os.O_NONBLOCK))
        # Opening a trigger like this empties it: f0r's, which uses f0's variables, goes first.
        for event in reversed(tracefs.events(instance + '/')):
            path = '%s/events/%s/%s/trigger' % ((instance,) + event)
            if re.search('(?m)^[^#]', tracefs.read_if_there(path)):
                os.close(tracefs.attempt(os.open, path, os.O_WRONLY | os.O_TRUNC))
        tracefs.attempt(os.rmdir, instance)
    probes = sorted(set(each for each in tracefs.probes() if each.startswith(run + '/')))
    calls = [event for event in tracefs.synthetic_events() if event.rpartition('_')[0] == run]
    for path, events in ('kprobe_events', probes), ('dynamic_events', calls):
        if events:
            tracefs.write(path, '\n'.join('-:' + event for event in events), append=True)
    if found or probes or calls:        # (else another run has just removed it)
        console.note('removed what a killed run had left: ' + run)


class Session(object):
    """What a run has done to the kernel so far, and the way back."""

    def __init__(self, tracefs, plan, console, signals, threads=tuple, command=None):
        self.tracefs, self.plan, self.console, self.signals = tracefs, plan, console, signals
        self.threads = threads      # gives the ids of those that are traced
        self.command = command      # whose end is that of the run
        self.top = plan.create[0].path + '/'
        self.pipe = None            # trace_pipe, from the first step to the last
        self.created, self.started = [], []     # steps done
        self.tables = []            # (Probe, text) of each histogram, once it has stopped
        self.status = 0             # of an error, if there was one

    def trace(self, output, seconds):
        """Trace until the run ends, and undo all; return what stop() does."""
        try:
            self.set_up()
            if not self.signals.received:
                if self.command:
                    self.command.release()
                self.stream(output, seconds)
        except Error as error:
            self.console.error(error)
            self.status = error.status
        finally:
            summary = self.stop(output)
            if self.command:
                self.command.forget(self.console)
        return summary

    def set_up(self):
        """Perform the plan until a signal comes; of a pattern, without what the kernel refuses."""
        refused = {}        # errors by target
        for steps, done in ((self.plan.create, self.created), (self.plan.start, self.started)):
            for step in steps:
                if self.signals.received:
                    return
                target = step.origin and (step.origin.text, step.origin.target)
                if target in refused:
                    continue
                try:
                    self._perform(step)
                except KernelError as error:
                    error = refusal(step, error, self.tracefs, self.top)
                    if step.path != 'kprobe_events' or not step.origin.matched:
                        raise error
                    refused[target] = error
                    continue
                done.append(step)
                if self.pipe is None and step.path.endswith('/tracing_on'):
                    # While it is open, other runs see that this one is alive.  (The options that
                    # there are now settle what it shows.)
                    self.pipe = self.tracefs.attempt(os.open, self.top + 'trace_pipe',
                                                     os.O_RDONLY | os.O_NONBLOCK)
                elif step.path.endswith('/set_event_pid'):
                    self._add_threads(step)
            if refused and done is self.created:
                first = refused[min(refused)]
                if len(refused) == len(set((step.origin.text, step.origin.target)
                                           for step in steps if step.path == 'kprobe_events')):
                    raise first
                self.console.note('left out: %s that the kernel refused (%s)' % (
                    count_of(len(refused), 'function'), first))

    def _add_threads(self, step):
        """Add the threads that have started since the list was read."""
        known = set(map(int, step.text.split()))
        new = set(self.threads()) - known
        while new:
            self._perform(Step('append', step.path, ' '.join(map(str, sorted(new)))))
            known |= new
            new = set(self.threads()) - known

    def _perform(self, step):
        self.console.echo(shell_line(step, self.tracefs.root + '/'))
        if step.action in ('mkdir', 'rmdir'):
            self.tracefs.attempt(getattr(os, step.action), step.path)
        else:
            self.tracefs.write(step.path, step.text, step.action == 'append')

    def stream(self, output, seconds):
        """Copy events to output until a signal comes, it takes no more, or time is up."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        poll.register(self.signals.wake, select.POLLIN)
        poll.register(output.writer.descriptor, 0)      # wakes when its reader has gone
        end, data = clock() + (seconds or float('inf')), b''
        next_told = self._tell_hits()
        while not (self._is_told_to_end() or output.writer.closed or data is None
                   or clock() >= end
                   or output.is_complete() and not output.writer.pending):
            data = b''
            if clock() >= next_told:
                next_told = self._tell_hits()
            if not output.writer.pending:
                if output.writer.descriptor in wait_until(min(end, next_told), poll):
                    output.writer.closed = True
                data = self._events()
            output.write(data or b'', self.signals.wake, end)

    def _is_told_to_end(self):
        """Tell whether a signal or the command ends the run; the command gets Ctrl+C, too."""
        if self.command is None:
            return self.signals.received
        self.signals.drain()        # what comes from here on wakes again
        return self.command.has_ended() or self.signals.received not in ([], [signal.SIGINT])

    def _tell_hits(self):
        """Show how many are counted, where nothing else is shown; return when to do so again."""
        if (not self.console.writer.is_terminal or self.command
                or len(self.plan.histograms) < self.plan.probe_count):
            return float('inf')
        begun = clock()
        self.console.progress('%d counted so far' % sum(
            totals(self.tracefs.read_if_there(path)).hits for _, path in self.plan.histograms))
        # Large tables take their time: it is to be no more than a tenth of all.
        return clock() + max(1, 10 * (clock() - begun))

    def _events(self):
        """Return what is in the buffer, about READ_SIZE bytes at the most; None at its end."""
        data = b''
        while len(data) < READ_SIZE:
            try:
                part = self.tracefs.attempt(lambda _: os.read(self.pipe, READ_SIZE),
                                            self.top + 'trace_pipe')
            except KernelError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
                return data
            if not part:
                return data or None
            data += part
        return data

    def stop(self, output):
        """Undo all, and count in between; return a summary, None if nothing had been started."""
        summary = None
        dropped = sum(totals(self._text(path)).dropped for path in self.plan.call_tables)
        self._undo(self.started)
        if self.started:
            self._tolerate(self._drain, output)
            tables = [(probe, self._text(path)) for probe, path in self.plan.histograms]
            self.tables = [table for table in tables if table[1]]       # (it refused some)
            summary = self._tolerate(self._summary, output, dropped)
        if self.pipe is not None:
            os.close(self.pipe)
        self._undo(self.created)
        return summary

    def _tolerate(self, call, *arguments):
        """Return what a call gives; its error is printed, and ends nothing."""
        try:
            return call(*arguments)
        except Error as error:
            self.status = self.status or error.status
            self.console.note(str(error))

    def _text(self, path):
        return self._tolerate(self.tracefs.read_if_there, path) or ''

    def _drain(self, output):
        data = b''
        while data is not None and not output.writer.closed:
            output.write(data)
            data = None if output.writer.pending else self._events() or None
        output.flush()

    def _undo(self, done):
        """Undo steps, the last first; a busy one is tried again after the others."""
        steps = [step.undo for step in reversed(done) if step.undo]
        count = len(steps)
        for number, step in enumerate(steps):
            try:
                self._perform(step)
            except KernelError as error:
                is_busy = error.errno == errno.EBUSY
                if is_busy and number < count:
                    steps.append(step)      # a trigger in the instance goes with that
                    continue
                self.status = self.status or error.status
                trigger = 'events/%s/trigger' % (step.text or '').partition(':')[2]
                if is_busy and re.search('(?m)^[^#]', self.tracefs.read_if_there(trigger)):
                    error = '%s, as %s holds it' % (error, self.tracefs.path(trigger))
                self.console.note('not undone: %s (the next run removes what is left)' % error)

    def _summary(self, output, dropped):
        """Return how many events there were, and how many were lost, left or missed."""
        seen = self.events_read(output.stacks) if output.count is None else (
            min(output.events, output.count))
        lost, left = self._statistics(LOST), self._statistics('entries')
        missed, returns = self._missed('p'), self._missed('r')
        told = (
            (len(self.plan.histograms) < self.plan.probe_count, count_of(seen, 'event')),
            (lost, '%d lost%s: the ring buffer was full (-b makes it larger)' % (
                lost, ', stacks among them' if output.stacks else '')),
            (left, '%d not read, as stdout took nothing' % left),
            (returns, '%s missed: too many calls were under way at once (--maxactive '
                      'allows more)' % count_of(returns, 'return')),
            (missed, '%d missed, each while another probe was at work' % missed),
            (dropped, '%s dropped: too many threads call this (-p, or a filter on COMM or '
                      'common_pid alone, makes them fewer)' % count_of(dropped, 'call')))
        return ', and '.join(text for is_worth_it, text in told if is_worth_it)

    def events_read(self, stacks):
        """Return how many events have been read, less their stacks, of which so many were seen."""
        read = self._statistics('read events')
        # A string may look like a stack; but an event, also one that was lost, has one at most.
        return read - min(stacks, (read + self._statistics(LOST)) // 2)

    def _statistics(self, words):
        """Return the sum over all CPUs of what is counted under these words."""
        texts = [self.tracefs.read('%sper_cpu/%s/stats' % (self.top, name))
                 for name in self.tracefs.names(self.top + 'per_cpu')]
        return sum(map(int, re.findall(r'(?m)^(?:%s): (\d+)' % words, '\n'.join(texts))))

    def _missed(self, kind):
        for _ in range(9):
            lines, profile = [self.tracefs.read_if_there(name).splitlines()
                              for name in ('kprobe_events', 'kprobe_profile')]
            # The profile lacks the groups, but has the order of the probes, unless another run has
            # changed these in between.
            names = [line.split()[0].partition('/')[2] for line in lines]
            if names == [row.split()[0] for row in profile]:
                break
        return sum(int(row.split()[-1]) for line, row in zip(lines, profile)
                   if re.match(r'%s[0-9]*:%s' % (kind, self.top.partition('/')[2]), line))


# -- Output: trace lines -> the person ----------------------------------------
#
# Takes the kernel's lines as bytes and shows values in their Forms.  stdout carries the
# product, stderr what is said to the person; neither can hold up the clean-up.

# How a line of an event begins: the command's name takes 16 columns, whatever is in it, also a
# newline.  Where the option record-tgid is on, a number in parentheses follows.
EVENT_HEAD = r'(?ms)(^.{16}-[0-9]+ [^:\n]+: '       # in a group that is to be closed
EVENT_LINE = to_bytes(r'(?m)^[\s\S]{16}-[0-9]+ +(?:\( *[0-9-]+\) +)?\[[0-9]+\] '
                      r'[^\n]*?[0-9]\.[0-9]{6}: ')
STACK_LINE = EVENT_LINE + b'<stack trace>\n'
NUMBERS = r'-?(?:0|[1-9][0-9]{0,19})|0x[0-9a-f]{1,16}'
BYTES = r'\{0x[0-9a-f]{1,2}(?:,0x[0-9a-f]{1,2}){%d}\}'
SHOWN_LIMIT = 1 << 16   # numbers that are kept as they are shown: all that a port can be
PATIENCE = 2            # seconds that a reader may take nothing while the run ends


def visible(data):
    """Return bytes for a terminal: what it could obey, or its locale does not have, is a '?'."""
    # Where the locale is not UTF-8, \x9b within a character begins an escape sequence.
    locale = os.environ.get('LC_ALL') or os.environ.get('LC_CTYPE') or os.environ.get('LANG', '')
    text = data.decode('utf-8' if re.search('(?i)utf-?8', locale) else 'ascii', 'replace')
    return re.sub(u'[\0-\x08\x0b-\x1f\x7f-\x9f\ufffd]', u'?', text).encode('utf-8')


class Writer(object):
    """A descriptor whose reader may be slow, gone, or asleep; pending: what it has not taken."""

    def __init__(self, descriptor):
        self.is_terminal = os.isatty(descriptor)
        self.pending, self.closed, self.patience = b'', False, PATIENCE
        # A pipe or terminal is opened once more, for writes that do not block, since others share
        # the first.  A socket cannot be: it is given what it takes without waiting.
        self.descriptor, self.at_once = descriptor, select.PIPE_BUF     # bytes of one write
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
                self.descriptor = os.open('/proc/self/fd/%d' % descriptor,
                                          os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                fcntl.fcntl(self.descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            if not stat.S_ISSOCK(mode):
                self.at_once = None
        except EnvironmentError:
            pass        # closed, somebody else's, or without /proc

    def add(self, data):
        """Let data be written next; on a terminal, what could steer it is made visible."""
        self.pending += visible(data) if self.is_terminal else data

    def push(self, wake=None, end=None):
        """Write what is pending; raises Error, but for a reader that has gone.

        Its reader is waited for until `wake` is readable or the clock is at `end`; without end, as
        long as our patience lasts, and once only.
        """
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        while self.pending and not self.closed:
            if self.descriptor not in wait_until(end or clock() + self.patience, poll):
                if end is None:
                    self.patience = 0       # it has been waited for once
                return
            try:
                written = os.write(self.descriptor, self.pending[:self.at_once])
                self.pending = self.pending[written:]
            except EnvironmentError as error:
                if error.errno != errno.EAGAIN:
                    self.closed = True      # its reader has gone, or its disk is full
                    if error.errno != errno.EPIPE:
                        raise Error('stdout: %s' % os.strerror(error.errno).lower())


class Console(object):
    """stderr: echoed lines, notes and errors.  What nobody reads is dropped."""

    def __init__(self, descriptor=2):
        self.writer = Writer(descriptor)
        self.shown = ''         # of what is under way

    def _write(self, data):
        self.writer.pending = data
        try:
            self.writer.push()
        except Error:
            self.writer.closed = False      # a full disk may have room again
        self.writer.pending = b''

    def echo(self, text):
        """Write a line, with whatever could steer a terminal made visible."""
        self.progress('')
        self._write(visible(to_bytes(text)) + b'\n')

    def note(self, text):
        self.echo('surftrace: ' + text)

    def progress(self, text):
        """Show on a terminal what takes long, in a line that the next replaces; '' ends it."""
        if text != self.shown and self.writer.is_terminal:
            self.shown = text
            self._write(b'\r' + visible(to_bytes(text and 'surftrace: ' + text)) + b'\033[K')

    def error(self, error):
        self.note((error.line + ': ' if error.line else '') + str(error))
        if error.text is not None:
            self.echo('  ' + error.text)
            if error.column is not None:
                self.echo('  ' + ' ' * error.column + '^')


class Output(object):
    """stdout: the lines of a trace, in large blocks.

    rewrite(bytes of whole lines) gives what is shown of them, None leaves them as they are.
    count is how many events are wanted, None for all; read(stacks) tells how many have been read.
    """

    def __init__(self, rewrite=None, count=None, has_stacks=False, read=None):
        self.writer, self.rewrite = Writer(1), rewrite
        self.has_stacks, self.read, self.count = has_stacks, read, count
        self.events = 0             # that have come, as far as their lines tell
        self.stacks = 0             # that have come; each is an event to the ring buffer
        self.partial = b''          # a line whose end has not been read yet

    def is_complete(self):
        """Tell whether all events that are wanted have come."""
        return self.count is not None and self.events >= self.count

    def write(self, data, wake=None, end=None):
        """Write events; for what stdout does not take see Writer.push()."""
        data = self.partial + data
        cut = data.rfind(b'\n') + 1
        data, self.partial = data[:cut], data[cut:]
        self.stacks += len(re.findall(STACK_LINE, data)) if self.has_stacks else 0
        if self.count is not None:
            data = self._wanted(data)
        self.writer.add(self.rewrite(data) if self.rewrite else data)
        self.writer.push(wake, end)

    def _wanted(self, data):
        """Return the lines up to the last event that is wanted, its stack among them."""
        if self.events > self.count:
            return b''
        cut = len(data)
        for match in re.finditer(EVENT_LINE, data):
            if not data.startswith(b'<stack trace>', match.end()):
                self.events += 1
                if self.events == self.count + 1:
                    cut = match.start()
        # A string may hold a newline and what looks like an event: only the kernel's numbers count.
        # Where they differ all lines are written, so perhaps a few events more.
        read = self.read(self.stacks) if self.is_complete() else self.events
        if read < self.events:
            self.events, cut = read, len(data)
        return data[:cut]

    def flush(self):
        """Write what is left, as long as our patience lasts."""
        self.writer.add(b'' if self.is_complete() else self.partial)
        self.partial = b''
        self.writer.push()
        if self.writer.pending and not self.writer.closed:
            raise Error('stdout took nothing for a while: %d bytes of events were not written'
                        % len(self.writer.pending))


class ShownValues(dict):
    """Cache: the kernel's text -> the text shown, both bytes."""

    def __init__(self, form):
        dict.__init__(self)
        self.form = form

    def __missing__(self, printed):
        if len(self) == SHOWN_LIMIT:
            self.clear()
        self[printed] = text = to_bytes(self.form.show(self.form, to_text(printed)))
        return text


def make_rewriter(probes, symbol_at):
    """Return a function that rewrites values with Forms, and calls, in whole lines, or None."""
    alike = {}      # the events of a pattern of functions have the same values
    calls = dict((probe.event, probe) for probe in probes if probe.kind == 'c')
    for probe in probes:
        forms = tuple(argument.form for argument in probe.arguments if argument.form)
        if forms and probe.kind != 'c':
            layout = r'(?:%%s): \([^()\n]*\)%s' % values_pattern(probe.arguments), forms
            alike.setdefault(layout, []).append(probe.event)
        elif (probe.kind, probe.target, probe.event[:9]) == ('e', 'syscalls', 'sys_exit_'):
            layout = 'sys_(?:%s) -> )(0x[0-9a-f]+)(', (RESULT_FORM,)
            alike.setdefault(layout, []).append(probe.event[9:])
    patterns = []
    for (text, forms), events in alike.items():
        text = EVENT_HEAD + text % '|'.join(map(re.escape, events)) + '$)'
        patterns.append((re.compile(to_bytes(text)), [ShownValues(form) for form in forms]))

    def rewrite(data):
        for pattern, numbers in patterns:
            # What is between the lines, then text and number by turns, and the end of the line.
            parts, each = pattern.split(data), 2 * len(numbers) + 2
            for index, shown in enumerate(numbers):
                at = slice(2 * index + 2, None, each)
                parts[at] = map(shown.__getitem__, parts[at])
            data = b''.join(parts)
        return show_calls(data) if calls else data

    show_calls = call_rewriter(calls, symbol_at)
    return rewrite if patterns or calls else None


def call_rewriter(calls, symbol_at):
    """Return a function that makes the lines of whole calls (Probes by event) look like others."""
    # The kernel's have decimal numbers, and strings without quotes; one may look like the next.
    patterns = dict((event, re.compile('(?s)us=([0-9]+)' + ''.join(
        ' %s=(?P<%s>%s)' % (each.name, each.name, '.*?' if each.kind == 'string' else '-?[0-9]+')
        for each in call_values(probe)) + '$')) for event, probe in calls.items())
    line = re.compile(to_bytes(EVENT_HEAD + r')%s_[0-9_]+_(f[0-9]+): ([^\n]*)$' % RUN_NAME))
    frames = re.compile(to_bytes(
        r'(: <stack trace>\n)(?= => (?:trace_event_raw_event_synth|action_trace)\b)(?: => %s\n)+'
        % TRACER_FRAME))

    def shown(match):
        event = to_text(match.group(2))
        found = event in calls and patterns[event].match(to_text(match.group(3)))
        if not found:
            return match.group()
        probe, texts = calls[event], ['us=' + found.group(1)]
        for each in probe.arguments:
            text = found.group(each.name)
            texts.append('%s=%s' % (each.name, '"%s"' % text if each.kind == 'string' else
                                    shown_number(text, each, symbol_at)))
        where = '(%s) ' % probe.target if probe.matched else ''
        return match.group(1) + to_bytes('%s: %s%s' % (event, where, ' '.join(texts)))
    return lambda data: frames.sub(b'\\1', line.sub(shown, data))


def values_pattern(arguments):
    """Return what matches the values in a line of an event; each that has a Form is a group.

    (The group before it ends there, and another begins.)  $comm may hold anything, and the last of
    the other strings may hold quotes: if a second one might, whoever chose the string could make
    the search slow.
    """
    text = ''
    strings = [argument for argument in arguments
               if argument.kind == 'string' and argument.words != '$comm']
    for argument in arguments:
        value = r"(?:\{[^}\n]*\}|'[^\n]'|[^ \n]+(?: \[\w+\])?)"
        if argument.kind == 'string':
            value = r'(?:"%s"|\(fault\)|[^ "\n]+)' % (
                '.{0,15}' if argument.words == '$comm' else
                r'[^\n]*' if argument is strings[-1] else r'[^"\n]*')
        if argument.form:
            length = argument.fetch_type.length
            value = r')(%s)(' % (BYTES % (length - 1) if length else NUMBERS)
        text += ' %s=%s' % (argument.name, value)
    return text


# Tables

def table_lines(counted, symbol_at):
    """Return the lines of a table for each trace; counted are (Probe, text) of each histogram."""
    # (What a pattern takes is in one table.)
    tables = [list(table) for _, table in itertools.groupby(
        counted, lambda pair: (pair[0].text, '' if pair[0].matched else pair[0].event))]
    lines = []
    for table in tables:
        lines += ([''] if lines else []) + ([table[0][0].text] if tables[1:] else [])
        lines += one_table(table, symbol_at)
    return lines


def one_table(counted, symbol_at):
    """Return the lines of the table of one trace, and below them how many there are."""
    probe, rows, found = counted[0][0], {}, 0       # rows: {texts of the keys: [count, sum ...]}
    columns, sums = probe.histogram.columns, probe.histogram.sums
    noun = 'event' if probe.kind == 'e' else 'call'
    pattern = r'(?m)^\{ %s ?\} hitcount: +([1-9][0-9]*)%s *$' % (
        ', '.join(r'[\w.]+:' + KEY_KINDS[column.kind][0] for column in columns),
        ''.join(r' +%s: +([0-9]+)' % name for name, _ in sums))
    for each, text in counted:
        first = () if not probe.matched else (each.event if noun == 'event' else each.target,)
        for parts in re.findall(pattern, text):
            numbers = [int(part) for part in parts[len(columns):]]
            for at, (_, argument) in enumerate(sums, 1):
                if argument.kind == 'signed' and numbers[at] >> 63:
                    numbers[at] -= 1 << 64
            texts = first + tuple(KEY_KINDS[column.kind][1](word, column.field, symbol_at)
                                  for column, word in zip(columns, parts))
            before = rows.get(texts, [0] * len(numbers))
            rows[texts] = [sum(pair) for pair in zip(before, numbers)]
            found += 1
    lines = []
    if rows:
        makes_bars = columns[0].kind in RANGES and not (columns[1:] or sums or probe.matched)
        lines = (bar_lines if makes_bars else cell_lines)(rows, probe, noun)
    hits, entries, dropped = [sum(each) for each in zip(*[totals(text) for _, text in counted])]
    lines.append('%s, %s' % (count_of(hits, noun), count_of(len(rows), 'key')))
    if dropped:
        lines[-1] += (", and %d not counted: the kernel's table was full (a filter, .log2 or "
                      '.buckets=N makes fewer keys)' % dropped)
    # A name may hold what looks like a row: then the numbers differ.
    if (found, sum(row[0] for row in rows.values())) != (entries, hits):
        lines.append('the rows are not what the kernel counted: a name may hold what looks '
                     'like a row')
    return lines


def cell_lines(rows, probe, noun):
    """Return the lines of a table, most frequent first; a stack stands below its row."""
    heads = [column.name for column in probe.histogram.columns]
    if probe.matched:
        heads.insert(0, 'event' if noun == 'event' else 'function')
    has_stacks = probe.histogram.columns[-1].kind == 'stack'
    texts = len(heads) - has_stacks         # how many of the columns are texts
    numbers = [noun + 's']
    for name, _ in probe.histogram.sums:
        numbers += [name, 'mean']
    rows, cells = sorted(rows.items(), key=lambda row: (-row[1][0], row[0])), []
    for keys, counted in rows:
        cells.append(list(keys[:texts]) + ['%d' % counted[0]])
        for number in counted[1:]:
            cells[-1] += ['%d' % number, '%.1f' % (float(number) / counted[0])]
    lines = aligned([heads[:texts] + numbers] + cells, texts)
    if has_stacks:
        lines[1:] = [line + ('\n' + keys[-1]).replace('\n', '\n    ')
                     for line, (keys, _) in zip(lines[1:], rows)]
    return lines


def bar_lines(rows, probe, noun):
    """Return the lines of powers of two or of buckets, lowest first."""
    [column] = probe.histogram.columns
    texts = sorted([text for text, in rows],
                   key=lambda text: int(re.search('[0-9]+', text).group()))
    if column.kind == 'log2':       # those between that have none
        powers = [shown_power(power) for power in range(65)]
        texts = powers[powers.index(texts[0]):powers.index(texts[-1]) + 1]
    counts = [rows.get((text,), [0])[0] for text in texts]
    lines = aligned([[column.name, noun + 's']] + [
        [text, '%d' % count] for text, count in zip(texts, counts)], 1)
    space = max(terminal_width() - len(lines[0]) - len(' ||'), 8)
    return lines[:1] + ['%s |%s|' % (line, ('@' * (count * space // max(counts))).ljust(space))
                        for line, count in zip(lines[1:], counts)]


def aligned(cells, texts):
    """Return rows of cells as lines; the first columns, so many, are texts, not numbers."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ['  '.join(cell.ljust(width) if index < texts else cell.rjust(width)
                      for index, (cell, width) in enumerate(zip(line, widths))).rstrip()
            for line in cells]


def terminal_width():
    """Return how many columns stdout has."""
    import termios      # few runs need it
    try:
        return struct.unpack('4H', fcntl.ioctl(1, termios.TIOCGWINSZ, b'\0' * 8))[1] or 80
    except EnvironmentError:
        return 80


# -- Command line: arguments -> a run -----------------------------------------
#
# The help declares the options; main() runs what they ask for, and tells errors.

VERSION = '2.0'
MAX_PROBES = 100        # functions or events of a pattern


def above_zero(text, kind=int, what='a number', below=1 << 31):
    """Return the number that an option's value is."""
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < below:
        raise argparse.ArgumentTypeError("takes %s above zero, below %d, not '%s'" % (
            what, below, text))
    return value


MODES = ('auto', 'btf', 'dwarf', 'gdb', 'local', 'remote')
HELP = """\
usage: surftrace.py [options] TRACE [TRACE ...] [-- COMMAND [ARGUMENT ...]]

Trace kernel functions and events in the words of the kernel source.

a trace, one argument each:
  p SYMBOL[+OFFSET] [NAME=VALUE ...] [h:KEYS] [f:FILTER]  a function is entered
  r SYMBOL [NAME=VALUE ...] [h:KEYS] [f:FILTER]           it returns
  c SYMBOL [NAME=VALUE ...] [h:KEYS] [f:FILTER]           a whole call: us=TIME
  e [SYSTEM/]EVENT [h:KEYS] [f:FILTER]                    an event fires

COMMAND  a program to run; only its processes are traced

SYMBOL  a function, MODULE:FUNCTION, or a pattern: tcp_v4_*

VALUE
  %0->mm->mm_users    a member of what the first argument points at
  $skb->len           the same of the argument called skb
  $pos[0]             what the argument pos points at
  $retval             what is returned
  $comm               the current task's name
  %di                 a register
  @jiffies            a variable
  !(struct sock *)%di->sk_rcvbuf    with a type of its own
  @(struct iphdr *)l3%0->saddr      a header in the packet of the sk_buff %0;
                      l2, l3, l4: the layer that skb->data points at there
  S, U, X in front    signed, unsigned, hexadecimal
  :TYPE after         ftrace's own word: %1:ustring, %0->data:x8[6]

NAME
  ip_ ip6_ mac_       begin the name of an address
  b16_ b32_ b64_      of a number whose bytes are to be swapped (ports)
  B16_ B32_ B64_      of one that is shown in hexadecimal then

KEYS  h:comm,size.log2:size      counts, made by the kernel; a table at the end
  NAME,NAME,NAME      up to three values to count by, or COMM, CPU, stacktrace
  .log2 .buckets=100  after a name: by powers of two, or hundreds
  .hex .sym .syscall  after a name: how it is shown
  :NAME,NAME          numbers to add up

FILTER  f:comm==bash&&(users>1||common_pid==1)
  == != < <= > >=     compare
  &                   has one of these bits
  ~                   is like a pattern, *.log
  && || ! ( )         join
  COMM                the current task's name, whatever the trace
  common_pid          its number
  CPU                 the processor it runs on

options:
"""
# An option: its names, what the help calls its value ('' if it takes none), the help, and how its
# value is read, if it is no text.
OPTIONS = (
    ('-h', '--help', '', 'show this help'),
    ('', '--version', '', 'show the version'),
    ('-v', '--vmlinux', 'FILE', 'take types from this vmlinux, or raw BTF\n(with -r: the release)'),
    ('-m', '--mode', 'MODE', 'where types come from:\n' + ', '.join(MODES), {'choices': MODES}),
    ('-g', '--gdb', 'FILE', 'the gdb for -m gdb, -F and -l'),
    ('-d', '--database', 'FILE', 'take types from this database'),
    ('-r', '--rip', 'HOST[:PORT]', 'ask this server for types'),
    ('-f', '--file', 'FILE', 'read traces from a file, one a line; - is stdin'),
    ('-o', '--output', 'FILE', 'write a shell script that does the same'),
    ('-a', '--arch', 'ARCH', 'take the registers of aarch64 or x86_64',
     {'choices': sorted(ARCHITECTURES)}),
    ('-s', '--stack', '', 'show the kernel stack of each event'),
    ('-c', '--count', 'N', 'end after N events', {'type': above_zero}),
    ('-t', '--time', 'SECONDS', 'end after so long',
     {'type': lambda text: above_zero(text, float, 'seconds')}),
    ('-p', '--pid', 'PID', 'only this process: its threads, and what it starts\nfrom now on',
     {'type': above_zero}),
    ('-b', '--buffer', 'KB', 'the size of the ring buffer of each CPU', {'type': above_zero}),
    ('', '--maxactive', 'N', 'concurrent calls that an r or c trace can track',
     {'type': lambda text: above_zero(text, below=4097)}),       # the kernel's own limit
    ('', '--max-probes', 'N', 'what a pattern may take (%d)' % MAX_PROBES, {'type': above_zero}),
    ('-S', '--show', '', 'show the lines, and touch nothing'),
    ('-F', '--func', 'FUNC', 'disassemble a function (needs gdb and a vmlinux)'),
    ('-l', '--line', 'FILE:LINE', 'disassemble a source line (needs both, too)'),
    ('', '--info', 'NAME', 'show a function, a type, an event, or those like\n'
     "'tcp_*' or 'sched/*'"),
    ('', '--make-db', 'FILE', 'write all types into a database for -d'),
    ('', '--tracefs', 'DIR', 'where tracefs is, if not where /proc/mounts says'),
)
EXAMPLES = """
examples:
  surftrace.py -S 'p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users'
      the lines that would set this up; no root, nothing is touched
  surftrace.py 'p wake_up_new_task comm=%0->comm f:comm!=bash'
      every new task but those of bash, until Ctrl+C
  surftrace.py 'r kernel_clone pid=S$retval'
      the process id that each fork returns
  surftrace.py -s 'p do_sys_openat2 file=%1:ustring'
      every file that is opened, with the kernel stack
  surftrace.py 'p ip_rcv ip_src=@(struct iphdr *)l3%0->saddr len=%0->len'
      each IPv4 packet that comes in
  surftrace.py 'e sched/sched_process_exec'
      every program that is started
  surftrace.py 'c vfs_fsync_range name=%0->f_path.dentry->d_name.name f:us>10'
      each flush of a file that takes more than ten microseconds
  surftrace.py 'p vfs_read size=%2 h:COMM:size'
      who reads how often, and how much
  surftrace.py 'e raw_syscalls/sys_enter h:id.syscall' -- ls
      the system calls of one command
  surftrace.py --info tcp_sendmsg
      its arguments, and where they lie
  surftrace.py -o trace.sh -S 'p kernel_clone comm=$comm'
      a script that does it on a machine without Python"""


def help_text():
    rows = ''
    for option in OPTIONS:
        short, name, value, text = option[:4]
        names = '%-3s %s %s' % (short and short + ',', name, value)
        rows += '  %-23s %s\n' % (names, text.replace('\n', '\n' + 26 * ' '))
    return HELP + rows + EXAMPLES


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError('%s; -h shows how' % re.sub(r'^argument (\S+):', r'\1', message))

    def _get_option_tuples(self, option_string):
        """Complete no long name; allow_abbrev=False breaks -sS on Python 3.6 and 3.7."""
        if option_string.startswith('--'):
            return []
        return argparse.ArgumentParser._get_option_tuples(self, option_string)


def parse_arguments(argv):
    """Return the namespace of a command line, with what is no option in `traces`."""
    # (Without a width, each option makes argparse load much to ask for that of the terminal.)
    parser = Parser(add_help=False, formatter_class=functools.partial(
        argparse.HelpFormatter, width=80))
    for option in OPTIONS:
        names, how = [name for name in option[:2] if name], option[4] if option[4:] else {}
        parser.add_argument(*names, action='append' if option[2] else 'store_true', **how)
    cut = argv.index('--') if '--' in argv else len(argv)
    options, traces = parser.parse_known_args(argv[:cut])
    for unknown in [trace for trace in traces if trace.startswith('-')]:
        raise UsageError('option %s not recognized; -h shows how%s' % (
            unknown.partition('=')[0], " (an event is a trace: 'e sched/sched_switch')"
            if unknown == '-e' else ''))
    for name, values in vars(options).items():
        if isinstance(values, list):
            if values[1:]:
                raise UsageError('--%s is given twice' % name.replace('_', '-'))
            setattr(options, name, values[0])
    options.traces, options.command = traces, argv[cut + 1:]
    if '--' in argv and not options.command:
        raise UsageError('a command is missing after --')
    return options


def read_options(argv):
    options = parse_arguments(argv)
    if options.help or options.version:
        return options
    options.action = chosen_action(options)
    choose_source(options)
    choose_machine(options)
    options.pids = threads_of(options)
    options.trees = []
    for text, line in [(trace, '') for trace in options.traces] + read_trace_file(options.file):
        # A newline within quotes is a string's own; else what is white is a blank.
        text = re.sub(r'("[^"]*"|\'[^\']*\')|[\t\n\v\f\r]', lambda match: match.group(1) or ' ',
                      text.rstrip())
        try:
            options.trees.append(parse_trace(text)._replace(line=line))
        except TraceError as error:
            error.text, error.line = text, line
            raise
    if options.maxactive and options.trees and not set('rc').intersection(
            tree.kind for tree in options.trees):
        raise UsageError('--maxactive is for r and c traces, and there is none')
    if options.command:
        if options.action is not trace_live or options.output is not None or options.pid:
            raise UsageError('-- COMMAND runs it and traces it: it does not go with -p, -S or -o')
        options.program = executable(options.command[0])
    counting = [tree for tree in options.trees if tree.histogram]
    if counting and options.count:
        raise UsageError('-c N ends after N events are shown, and h: shows none: use -t')
    if counting and options.stack and len(counting) == len(options.trees):
        raise UsageError('-s shows the stack of each line, and h: prints none: count by it, '
                         'h:stacktrace')
    if bool(options.trees) != (options.action in (show, trace_live)):
        raise UsageError('traces do not go with --info, --make-db, -F or -l' if options.trees else
                         "no trace: try -S 'p wake_up_new_task comm=%0->comm'; -h shows more")
    return options


def executable(name):
    """Return the path of a command; raises an Error with the status that shells give it."""
    paths = [name] if '/' in name else [
        os.path.join(each, name) for each in os.environ.get('PATH', os.defpath).split(':')]
    found = [path for path in paths if os.path.isfile(path) or path == name and os.path.isdir(path)]
    for path in found:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    error = Error("'%s' cannot be run" % name if found else "there is no command '%s'" % name)
    error.status = 126 if found else 127
    raise error


def chosen_action(options):
    actions = [action for action, chosen in (
        (show_information, options.info), (make_database, options.make_db),
        (show_instructions, options.func), (show_instructions, options.line)) if chosen is not None]
    if len(actions) > 1:
        raise UsageError('--info, --make-db, -F and -l: one at a time')
    return actions[0] if actions else show if options.show else trace_live


def choose_machine(options):
    """Settle whose registers are taken, and whether this kernel is the one that is traced."""
    here, is_live = os.uname()[4], options.action is trace_live
    if options.vmlinux and not (options.arch or is_live):
        found = Elf(options.vmlinux).architecture
        options.arch = found if found in ARCHITECTURES else None
    options.arch = options.arch or here
    if options.arch != here and is_live:
        raise UsageError('-a %s on a machine that is %s: add -S, which shows the lines for it'
                         % (options.arch, here))
    if options.arch not in ARCHITECTURES:
        raise UsageError('the registers of %s are not known; -a takes %s, with -S'
                         % (here, ' or '.join(sorted(ARCHITECTURES))))
    # What a file says of another kernel is not to be checked against this one.
    options.here = is_live or (options.release, options.arch) == (os.uname()[2], here) and not (
        options.vmlinux or options.database)


def threads_of(options):
    """Return the ids of the threads of the process that is asked for."""
    if not options.pid or not options.here:
        return (options.pid,) if options.pid else ()
    try:
        return tuple(sorted(int(name) for name in os.listdir('/proc/%d/task' % options.pid)))
    except EnvironmentError:
        raise UsageError('there is no process %d' % options.pid)


def choose_source(options):
    """Settle which source of types is asked, and for which release."""
    options.mode, options.release = options.mode or 'auto', os.uname()[2]
    for name, asked, wanted in (('-r', options.rip, 'remote'), ('-d', options.database, 'local')):
        if asked is not None and options.mode not in ('auto', wanted):
            raise UsageError('%s goes with -m %s' % (name, wanted))
        options.mode = options.mode if asked is None else wanted
    if options.mode == 'remote':
        options.release, options.vmlinux = options.vmlinux or options.release, None
    if options.mode == 'local' and options.vmlinux:
        raise UsageError('-v and -d (or -m local) both name a source of types: take one')


def read_trace_file(path):
    """Return (trace, FILE:LINE) of a file, if one is named, without blank and # lines."""
    if path not in (None, '-') and stat.S_IFMT(os.stat(path).st_mode) not in (
            stat.S_IFREG, stat.S_IFIFO):
        raise UsageError('%s: not a file of traces' % path)
    data = b'' if path is None else read_file('/proc/self/fd/0' if path == '-' else path)
    if data[:4] == b'\x7fELF' or data[:2] == BTF_MAGIC:
        raise UsageError('%s: no traces; types come from -v FILE' % path)
    return [(line, '%s:%d' % (path, number))
            for number, line in enumerate(to_text(data).split('\n'), 1)
            if line.strip() and not line.lstrip().startswith('#')]


# Actions

def kernel_of(options, tracefs=None):
    """Return the Kernel that is traced, with this machine's Tracefs if none is given."""
    root = options.tracefs or find_mount()
    if not tracefs and options.here and root and text_if_there(root + '/README'):
        tracefs = Tracefs(root)
    return Kernel(ARCHITECTURES[options.arch], tracefs, options.here, options.vmlinux)


def compiled(options, sources, kernel, console):
    """Return the Probes of all traces, once the script that is asked for is written."""
    if not kernel.tracefs and kernel.here and any(tree.kind == 'e' for tree in options.trees):
        console.note('no tracefs can be read here: the names of events and fields are not checked')
    probes = sources.with_gdb_fallback(functools.partial(
        compile_all, options.trees, sources, kernel, console, options.max_probes or MAX_PROBES))
    if options.output is not None:
        write_script(options, probes, sources.made_for(), console)
    return probes


def write_script(options, probes, made_for, console):
    if options.count or options.time:
        console.note('%s: a script runs until Ctrl+C, without -c and -t; timeout -s INT 60 sh %s '
                     'ends it after a minute' % (options.output, quoted(options.output)))
    if make_rewriter(probes, None):
        console.note('%s: a script shows addresses and names as the numbers that the kernel has'
                     % options.output)
    text = script(probes, options, [tree.text for tree in options.trees], made_for)
    write = functools.partial(write_file, data=to_bytes(text), flags=os.O_WRONLY | os.O_CREAT)
    if os.path.exists(options.output) and not os.path.isfile(options.output):
        write(options.output)       # a pipe, or /dev/stdout
    else:
        make_file(options.output, write)


def show(options, sources, console):
    """Print the set-up, and touch nothing."""
    probes = compiled(options, sources, kernel_of(options), console)
    plan, lines = make_plan(probes, options, RUN_NAME), []
    root = options.tracefs or find_mount()
    if not root and os.path.isdir(MOUNT[-1]):       # as a live run would begin
        lines, root = [' '.join(MOUNT)], MOUNT[-1]
    print_lines(lines + [shell_line(step, (root or DEFAULT_ROOT) + '/')
                         for step in plan.create + plan.start])


def print_lines(lines, wake=None):
    """Print lines, as slowly as their reader takes them, until `wake` is readable.

    Return how many bytes are left then.
    """
    output = Output()
    output.write(to_bytes(''.join(line + '\n' for line in lines)), wake, float('inf'))
    return len(output.writer.pending)


def show_information(options, sources, console):
    name, kernel = options.info, kernel_of(options)
    owned = re.match(r'([\w-]+)[/:]([\w*?\[\]!-]+)$', name)
    if owned:
        print_lines(owned_lines(name, owned.group(1), owned.group(2), sources, kernel))
        return
    try:
        lines = information(sources.of(kernel.module(name)), name, kernel)
    except (UsageError, NoTypesError) as error:
        events = kernel.tracefs.events() if kernel.tracefs else ()
        if name in [event for _, event in events]:
            lines = event_lines(name, kernel)
        else:
            lines = [line for module in sources.modules_that_name(name.rpartition(' ')[2])
                     for line in information(sources.of(module), name, kernel)]
        if not lines:
            raise error
    print_lines(lines)


def owned_lines(name, owner, rest, sources, kernel):
    """Return the lines on what a module has, MODULE:REST, or else on SYSTEM/REST's events."""
    names = [symbol.name for symbol in kernel.functions() if symbol.module == owner]
    is_system = kernel.tracefs and kernel.tracefs.has('events/' + owner)
    if ':' in name and (rest in names or names and not is_system):
        return information(sources.of(owner), rest, kernel, names)
    return event_lines(name, kernel)


def make_database(options, sources, console):
    sources.open(None)          # which made_for() tells of
    release = dict([sources.made_for()]).get('release', '')
    write_database(options.make_db, sources.of(None), (options.arch, release), console)


def show_instructions(options, sources, console):
    disassembler = sources.disassembler()
    print_lines(disassembler.line(options.line) if options.func is None else
                disassembler.function(options.func))


def trace_live(options, sources, console):
    root = options.tracefs or find_mount()
    try:
        if not root:
            make_mount(console)
        tracefs = Tracefs(root or MOUNT[-1])
        tracefs.read('README')      # which every tracefs has
        if not tracefs.has('instances'):
            raise KernelError('%s is not there: a kernel before Linux 3.10 cannot be traced with '
                              'this' % tracefs.path('instances'))
        if not tracefs.has('kprobe_events') and any(tree.kind != 'e' for tree in options.trees):
            raise KernelError('%s is not there: this kernel has no kprobes (CONFIG_KPROBE_EVENTS); '
                              'events (e ...) can be traced, and -S shows the lines for another'
                              % tracefs.path('kprobe_events'))
        kernel = kernel_of(options, tracefs)
        probes = compiled(options, sources, kernel, console)
        sources.close()         # gdb holds much memory
        with Signals() as signals:
            return run_session(options, probes, kernel, signals, console)
    finally:
        if not root and find_mount():
            run_mount(['umount', MOUNT[-1]], console)       # if nobody else uses it by now


def run_session(options, probes, kernel, signals, console):
    """Trace Probes until the run ends; return the exit status."""
    sweep(kernel.tracefs, console)
    session = new_session(options, probes, kernel.tracefs, signals, console)
    output = Output(make_rewriter(probes, kernel.symbol_at), options.count, options.stack,
                    session.events_read)
    summary = session.trace(output, options.time)
    if summary or summary is None and not session.status:
        console.note(summary or 'ended before tracing began')
    if session.tables:
        signals.drain()         # (the next one ends this, too)
        if print_lines(table_lines(session.tables, kernel.symbol_at), signals.wake):
            console.note('not all of the table was written: stdout took nothing')
            return session.status or signals.status() or 1
    ended = session.command and session.command.status
    return session.status or (signals.status() if ended is None else ended)


def new_session(options, probes, tracefs, signals, console):
    """Return the Session of a run, with its command, if there is one, held."""
    run, taken, command = '%s_%d' % (RUN_NAME, os.getpid()), run_names(tracefs), None
    while run in taken:         # by another container's process of that number
        run += '_1'
    number = own_number(tracefs, run)
    if (options.pid or options.command) and number != os.getpid():
        raise UsageError('%s: in this pid namespace a process has another number than the kernel '
                         'traces by; run it on the host' % ('-p' if options.pid else '--'))
    if options.command:
        command = Command(options.program, options.command)
        options.pid, options.pids = command.pid, (command.pid,)
    changed = [(name, value) for name, value in DISPLAY
               if tracefs.read_if_there('options/' + name).strip() not in ('', value)]
    if not tracefs.has('set_event_notrace_pid'):        # before Linux 5.7
        probes, number = excluding_process(number, probes), None
    plan = make_plan(probes, options, run, changed, number)
    return Session(tracefs, plan, console, signals, lambda: threads_of(options), command)


def end_by(number, _):
    """End the program by way of every finally, which a second signal must not disturb."""
    for taken in ending_signals():
        signal.signal(taken, signal.SIG_IGN)
    sys.exit(128 + number)


def main(argv):
    gc.set_threshold(100000)    # looking for cycles, which are rare, takes a third of --make-db
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)       # stty tostop holds up no clean-up
    opened = [os.open(os.devnull, os.O_RDWR)]
    while opened[-1] < 3:       # a pipe of ours must not take the place of one that is closed
        opened.append(os.open(os.devnull, os.O_RDWR))
    os.close(opened[-1])
    console = Console()
    try:
        if 1 in opened:
            raise Error('stdout is closed')
        options = read_options(argv)
        if options.help or options.version:
            print_lines([help_text() if options.help else 'surftrace.py ' + VERSION])
            return 0
        for taken in ending_signals():
            # Not sooner: until here nothing is to be undone, and argparse's imports may swallow
            # an exception.  (A live run has its own handlers.)
            signal.signal(taken, end_by)
        sources = Sources(options, console)
        try:
            return options.action(options, sources, console) or 0
        finally:
            sources.close()
    except (Error, EnvironmentError) as error:
        if 'SURFTRACE_DEBUG' in os.environ:
            raise
        if isinstance(error, EnvironmentError):
            error = Error((error.filename + ': ' if error.filename else '')
                          + os.strerror(error.errno).lower())
        console.error(error)
        return error.status
    except MemoryError:
        console.note('not enough memory')
    except ImportError as error:        # sqlite3 or zlib
        console.note('this Python lacks a module that is needed: %s' % error)
    return 1


# -- Where types come from: which source --------------------------------------
#
# Takes what the person said of sources, looks for files where distributions put them, and gives
# the source for each symbol, opened at the first question.

RUNNING_BTF = '/sys/kernel/btf'
BUILD_ID = b'(?s)\4\0\0\0\x14\0\0\0\3\0\0\0GNU\0(.{20})'        # in ELF notes
DEBUG_MODULES = ('/usr/lib/debug/lib/modules/%s', '/usr/lib/debug/usr/lib/modules/%s')
DEBUG_FILES = ('/usr/lib/debug/lib/modules/%s/vmlinux', '/usr/lib/debug/boot/vmlinux-%s',
               '/usr/lib/debug/usr/lib/modules/%s/vmlinux', '/lib/modules/%s/build/vmlinux',
               '/boot/vmlinux-%s', '/usr/lib/debug/boot/vmlinux-%s.debug',
               '/usr/lib/debug/usr/lib/modules/%s/vmlinux.debug')       # the last two: SUSE
# By os-release ID: the releases of a distribution's own kernels, how debug info of one is
# installed, and the vmlinux that this brings.
DEBUG_PACKAGES = (
    (('ubuntu',), r'-\d+-[a-z]+$', 'apt-get install linux-image-%s-dbgsym', DEBUG_FILES[1]),
    (('debian',), r'-(?:amd64|arm64)$', 'apt-get install linux-image-%s-dbg', DEBUG_FILES[1]),
    (('fedora', 'rhel', 'centos', 'rocky', 'almalinux', 'anolis', 'alinux', 'openEuler'),
     r'\.(?:x86_64|aarch64)$', 'dnf debuginfo-install kernel-core-%s', DEBUG_FILES[0]),
    (('sles', 'opensuse-leap', 'opensuse-tumbleweed'), '-default$',
     'zypper install kernel-default-debuginfo', DEBUG_FILES[5]))


class Sources(object):
    """The sources of a run."""

    def __init__(self, options, console):
        self.options, self.console = options, console
        self.opened = {}        # by module, None for the kernel
        self.gdb = None         # its process, once it is needed
        self.elves = {}         # by path

    def of(self, module):
        return LazySource(self, module)

    def close(self):
        """End gdb, which holds much memory."""
        if self.gdb:
            self.gdb.close()

    def with_gdb_fallback(self, question):
        """Return a question's answer, from gdb if only that can read it and the mode is auto."""
        try:
            return question()
        except UnknownDebugInfo as unknown:
            if self.options.mode != 'auto':
                raise
            self.console.note('%s; gdb reads it instead' % unknown)
        self.opened = {None: self._announced(self._gdb())}
        return question()

    def disassembler(self):
        """Return the Disassembler of a vmlinux, of which the symbols are enough."""
        path = self._vmlinux()
        if not path:
            raise NoTypesError('instructions are read from a vmlinux; name one with -v; %s'
                               % debug_package(self.options.release))
        return Disassembler(self._start_gdb(path, Disassembler.ARGUMENTS, False))

    def open(self, module):
        """Return the source of a module's types, or of the kernel's, opened."""
        if module not in self.opened:
            self.opened[module] = (self._of_module(module) if module else
                                   self._announced(self._chosen()))
        return self.opened[module]

    def lacks(self, module):
        """Tell whether what open() gives for a module knows only the kernel's own functions."""
        kernel = self.open(None)
        elf = self.elves.get(kernel.name)
        knows = kernel.knows_modules or elf and elf.relocatable     # -v may name the module itself
        return module is not None and self.open(module) is kernel and not knows

    def _elf(self, path):
        if path not in self.elves:
            self.elves[path] = Elf(path)
        return self.elves[path]

    def _chosen(self):
        mode, options = self.options.mode, self.options
        if mode == 'remote':        # the network is never asked unless the person says so
            usual = os.environ.get('LBC_SERVER') or SERVER
            return Server(usual if options.rip is None else options.rip, options.release,
                          options.arch)
        if not (options.here or options.vmlinux or options.database):
            raise NoTypesError("the types of this machine's kernel would be wrong for %s: name a "
                               "file with that kernel's types with -v or -d" % options.arch)
        # (Where _dwarf() finds no file, _gdb() finds none.)
        for name in ('btf', 'dwarf', 'local') if mode == 'auto' else (mode,):
            source = getattr(self, '_' + name)()
            if source is not None:
                return source
        raise NoTypesError(NOTHING_FOUND[mode] % {
            'release': options.release, 'package': debug_package(options.release)})

    def _announced(self, source):
        registers = '' if self.options.here else ', registers of ' + self.options.arch
        self.console.note('types from %s (%s)%s' % (source.name, source.kind, registers))
        return source

    def made_for(self):
        """Return what tells the kernel that the types are of, as far as any were asked for.

        ('release', that of uname -r), ('btf', the SHA-256 of its BTF), ('unknown', ''), ('', '').
        """
        source = self.opened.get(None)
        if source is None:
            return '', ''
        release, types = self.options.release if self.options.here else source.release, b''
        if source.name in self.elves and not release:
            elf = self.elves[source.name]
            types = elf.whole('.BTF')
            release = re.search(br'Linux version (\S+) \(', elf.whole('.rodata'))
            release = release and to_text(release.group(1))
        if release:
            return 'release', release
        import hashlib      # few runs need it
        return ('btf', hashlib.sha256(types).hexdigest()) if types else ('unknown', '')

    def _vmlinux(self):
        """Return the path of a vmlinux that debug info is read from, None if there is none."""
        if self.options.vmlinux or not self.options.here:
            return self.options.vmlinux
        for pattern in DEBUG_FILES:
            path = pattern % self.options.release
            try:
                if '.debug_info' in self._elf(path).sections:
                    return path
            except (SourceError, EnvironmentError):
                pass        # it is something else
        return None

    def _database_file(self):
        here = './info-%s.db' % self.options.release
        if os.path.exists(here):
            status = os.stat(here)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                return here
            self.console.note('%s is ignored: it is not yours, or others may write to it; -d takes '
                              'it all the same' % here)
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.path.basename(here))
        return beside if os.path.exists(beside) else None

    def _of_module(self, module):
        """Return a module's own types, of the kind that its kernel's are; else its kernel's."""
        kernel = self.open(None)
        if kernel.kind == 'BTF':        # those of modules lie beside it, as in /sys/kernel/btf
            path = os.path.join(os.path.dirname(kernel.name), module)
            if os.path.isfile(path) and path != kernel.name:
                data = read_file(path)
                return Btf(data, path, kernel) if data[:2] == BTF_MAGIC else kernel
        if kernel.kind == 'DWARF' and self.options.here and not self.options.vmlinux:
            found = [os.path.join(directory, name) for pattern in DEBUG_MODULES
                     for directory, _, names in os.walk(pattern % self.options.release)
                     for name in names if module_of(name) == module]
            for path in found:
                if path.endswith(('.ko', '.ko.debug')):
                    return self._announced(Dwarf(self._debug_elf(path), self.console))
                self.console.note('%s is compressed, and so not read; unpack it' % path)
        return kernel

    def modules_that_name(self, name):
        """Return the modules whose own BTF has a name in it."""
        if self.open(None).name != os.path.join(RUNNING_BTF, 'vmlinux'):
            return []
        return [module for module in sorted(os.listdir(RUNNING_BTF)) if module != 'vmlinux'
                and b'\0' + to_bytes(name) + b'\0' in read_file(os.path.join(RUNNING_BTF, module))]

    # Opening: each returns a source, None where there is no file to take

    def _btf(self):
        path = self.options.vmlinux or os.path.join(RUNNING_BTF, 'vmlinux')
        if not self.options.vmlinux and not os.path.exists(path):
            return None
        elf = self._elf(path)
        has_btf, has_debug_info = '.BTF' in elf.sections, '.debug_info' in elf.sections
        is_whole = has_btf and not elf.relocatable      # a module's is what its kernel's lacks
        if self.options.mode == 'auto' and not is_whole and (has_debug_info or not has_btf):
            return None
        self._check_machine(elf)
        if not is_whole:
            raise SourceError("%s: it has no kernel's BTF; -m dwarf reads its debug info" % path)
        source, own = Btf(elf.whole('.BTF'), path), os.path.join(RUNNING_BTF, 'vmlinux')
        if self.options.vmlinux:
            self._check_architecture(path, btf_architecture(source))
            if self.options.here and list(elf.sections) == ['.BTF'] and os.path.exists(own) and (
                    read_file(own) != elf.whole('.BTF')):
                raise SourceError('%s is not of the running kernel, %s, whose own BTF differs: '
                                  'leave out the -v' % (path, self.options.release))
        return source

    def _dwarf(self):
        path = self._vmlinux()
        return path and Dwarf(self._debug_elf(path), self.console)

    def _gdb(self):
        path = self._vmlinux()
        return path and Gdb(self._start_gdb(path, Gdb.ARGUMENTS))

    def _local(self):
        path = self.options.database or self._database_file()
        source = path and Database(path)
        if source:
            self._check_architecture(path, source.architecture)
            if self.options.here and source.release not in (None, self.options.release):
                raise SourceError('%s is of kernel %s, not of the running one, %s'
                                  % (path, source.release, self.options.release))
        return source

    def _start_gdb(self, path, arguments, debug_info=True):
        elf = self._debug_elf(path, debug_info)
        self.gdb = GdbProcess(elf, self.options.gdb, self.console, arguments)
        return self.gdb

    # Checks: another kernel's offsets would be wrong numbers that look right

    def _debug_elf(self, path, debug_info=True):
        """Return the Elf of a vmlinux of the right kernel, which is to have debug info."""
        elf = self._elf(path)
        self._check_machine(elf)
        lacks = None
        if '.symtab' not in elf.sections:
            lacks = 'no vmlinux, or stripped: no symbols'
        elif debug_info and '.debug_info' not in elf.sections:
            lacks = 'it has no debug info'
        if lacks:
            raise SourceError('%s: %s; %s' % (path, lacks, debug_package(self.options.release)))
        return elf

    def _check_machine(self, elf):
        self._check_architecture(elf.path, elf.architecture)
        notes = '/sys/kernel/notes'
        if elf.relocatable:
            notes = '/sys/module/%s/notes/.note.gnu.build-id' % module_of(elf.path)
        if self.options.here and os.path.exists(notes):
            ids = [re.findall(BUILD_ID, data)[:1] for data in (
                read_file(notes), elf.whole('.notes') or elf.whole('.note.gnu.build-id'))]
            if [] not in ids and ids[0] != ids[1]:
                raise SourceError('%s is not of the running kernel, %s: their build ids differ'
                                  % (elf.path, self.options.release))

    def _check_architecture(self, name, architecture):
        if architecture not in (None, self.options.arch):
            raise SourceError('%s is for %s, but this trace is for %s%s' % (
                name, architecture, self.options.arch, ': say -a %s%s' % (
                    architecture, ', with -S' if self.options.here else '')
                if architecture in ARCHITECTURES else ''))


NOTHING_FOUND = {
    'btf': 'this kernel has no %s/vmlinux (CONFIG_DEBUG_INFO_BTF, from 5.4 on); name a file that '
           'holds its BTF with -v' % RUNNING_BTF,
    'dwarf': 'there is no vmlinux with debug info of kernel %(release)s here; name one with -v; '
             '%(package)s',
    'local': 'there is no info-%(release)s.db here or beside the script; name a database with -d, '
             'or make one with --make-db',
    'auto': '''\
nothing on this machine tells the types of kernel %(release)s. Ways out:
  %(package)s, then trace again
  surftrace.py -v FILE ...   a vmlinux of this kernel, or its BTF
  surftrace.py -d FILE ...   a database of it; one is made, where there is a vmlinux, with
                             surftrace.py -v VMLINUX --make-db info-%(release)s.db
  surftrace.py -r HOST ...   a server that knows it'''}
NOTHING_FOUND['gdb'] = NOTHING_FOUND['dwarf']


class LazySource(object):
    """The source of a module's symbols, or the kernel's: opened when it is asked."""

    def __init__(self, sources, module):
        self._sources, self._module = sources, module

    def __getattr__(self, question):
        found = getattr(self._sources.open(self._module), question)
        if callable(found):
            found = reporting_damage(found)
            setattr(self, question, found)      # it is asked for once
        return found

    def functions(self, name):
        if self._sources.lacks(self._module):
            return []       # the kernel may have another function of that name
        # Clang's link-time optimization only renames: NAME.llvm.123.
        functions = reporting_damage(self._sources.open(self._module).functions)
        return functions(re.sub(r'\.llvm\.[0-9]+$', '', name))


def module_of(path):
    """Return the name of the module that a file is of: x_y for x-y.ko.debug."""
    return os.path.basename(path).partition('.')[0].replace('-', '_')


def debug_package(release):
    """Return how to get a vmlinux with debug info of a kernel, on this distribution."""
    ids = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text_if_there('/etc/os-release'), re.M)
    for names, own, command, brings in DEBUG_PACKAGES:
        if set(' '.join(ids).split()) & set(names) and re.search(own, release):
            return 'debug info: %s, which brings %s' % (
                command.replace('%s', release), brings % release)
    return "debug info comes with a distribution's debug package, or as a build's own vmlinux"


# -- BTF: a file -> types -----------------------------------------------------
#
# Takes the bytes of raw BTF, or of an ELF file's section .BTF.  Where each type's record begins is
# marked once; a name is found by where the offset of its string stands.

# BTF, as Documentation/bpf/btf.rst lays it down: a header, the types, the strings.  A type's record
# is three words (name, info, size or type) and what its kind adds.
BTF_MAGIC = b'\x9f\xeb'
BTF_KINDS = ('void', 'int', 'pointer', 'array', 'struct', 'union', 'enum', 'forward', 'typedef',
             'volatile', 'const', 'restrict', 'function', 'prototype', 'variable', 'section',
             'float', 'decl_tag', 'type_tag', 'enum')       # the last is of 8 bytes
# By kind, how many words a record has, and how many more for each member, value or parameter.
BTF_WORDS = ((3, 0), (4, 0), (3, 0), (6, 0), (3, 3), (3, 3), (3, 2), (3, 0), (3, 0), (3, 0), (3, 0),
             (3, 0), (3, 0), (3, 2), (4, 0), (3, 3), (3, 0), (4, 0), (3, 0), (3, 3))
# By the top byte of a record's second word: 1 if no other word of the record has one, so not for
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
    lists_quickly = True

    @reporting_damage
    def __init__(self, data, name, kernel=None):
        self.name = name
        if data[:3] != BTF_MAGIC + b'\1' or len(data) < 24:
            raise SourceError('%s: neither BTF (version 1, little-endian) nor an ELF file' % name)
        header, type_offset, type_size, string_offset, string_size = (
            struct.unpack_from('<IIIII', data, 4))
        first_type, first_string = header + type_offset, header + string_offset
        types = data[first_type:first_type + type_size]
        strings = data[first_string:first_string + string_size]
        if (len(types), len(strings)) != (type_size, string_size) or strings[-1:] != b'\0':
            raise ValueError('it is cut short')
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
        self.starts = []        # the first word of each record, once all names are indexed
        self.named = {}         # ids by name
        self.known = {0: Record('void')}        # by id

    def _marked(self, types):
        """Return a byte for each word, 1 if it is a record's second; and whether enums have signs.

        A walk over all records takes three times as long.  As names, ids, sizes and offsets are
        small, only the second word of a plain record has a top byte, the kind.  So these are
        marked at once, and leapt over if the last one ends where one that is not plain begins, and
        no marks are closer than the three words of a record, as on a large size they would be.
        """
        kinds, at, number_at = set(), 0, struct.Struct('<I').unpack_from
        marks = bytearray(types[3::4].translate(BTF_PLAIN))
        while at < len(marks):
            other = marks.find(b'\2', at + 1)
            other = len(marks) + 1 if other < 0 else other
            last = marks.rfind(b'\1', at, other)
            if last >= 0 and last + record_size(*number_at(types, 4 * last)) == other and (
                    marks.find(b'\1\1', at, other) < 0 > marks.find(b'\1\0\1', at, other)):
                at = other - 1
            else:
                info, = number_at(types, 4 * at + 4)
                kinds.add(info >> 24)
                end = at + record_size(info)
                marks[at:end] = b'\0\1'.ljust(end - at, b'\0')
                at = end
        if 4 * at != len(types):
            raise ValueError('a type of no known kind, or the last one is cut short')
        # Before Linux 6.0 no enum (6) had the flag, nor was there enum64 (19).
        return marks, not kinds.isdisjoint((0x86, 19, 0x80 + 19))

    def _start(self, ref):
        if not 0 < ref <= self.before[-1]:
            raise IndexError(ref)
        if self.starts:
            return self.starts[ref - 1]
        block = bisect.bisect_left(self.before, ref) - 1
        at = BTF_BLOCK * block - 1
        for _ in range(ref - self.before[block]):
            at = self.marks.find(b'\1', at + 1)
        return at - 1

    def _id(self, word):
        """Return the id of the record that a word is in."""
        end = word + 2      # (the first word of a record stands before its mark)
        block = end // BTF_BLOCK
        return self.before[block] + self.marks.count(b'\1', BTF_BLOCK * block, end)

    def _record(self, ref):
        """Return a type's kind, flag, name, last word, and the words that it adds, in rows."""
        start = 4 * self._start(ref)
        name, info, last = struct.unpack_from('<3I', self.types, start)
        fixed, each = BTF_WORDS[info >> 24 & 0x1f]
        count = fixed - 3 + each * (info & 0xffff)
        more = struct.unpack_from('<%dI' % count, self.types, start + 12)
        if each:
            more = [more[at:at + each] for at in range(0, count, each)]
        return BTF_KINDS[info >> 24 & 0x1f], info >> 31, self._text(name), last, more

    def _text(self, offset):
        return to_text(self.strings[offset:self.strings.index(b'\0', offset)])

    # Names

    def _occurrences(self, name):
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
        """Return the ids of that kind and name, in order: a module's own, if it has any."""
        if not self.index and name not in self.named:
            self.named[name] = [ref for ref, word in self._occurrences(name) if not word]
            if len(self.named) > BTF_NAMES_SINGLY:
                self.index = self.make_index()
        if self.index:
            return self._own(self.index.get((kind, name), ()))
        return self._own(ref for ref in self.named[name] if self._record(ref)[0] == kind)

    def make_index(self):
        words, index = array.array('I', self.types), {}
        self.starts = array.array('I', [match.start() - 1
                                        for match in re.finditer(b'\1', self.marks)])
        for ref, start in enumerate(self.starts, 1):
            offset, info = words[start], words[start + 1]
            if offset:
                key = BTF_KINDS[info >> 24 & 0x1f], self._text(offset)
                index.setdefault(key, []).append(ref)
        return index

    def _own(self, refs):
        """Return those of a module's own types, if there are any, else all."""
        refs = sorted(refs)
        return refs[bisect.bisect_left(refs, self.own):] or refs

    def find(self, kind, name):
        return next(iter(self._ids(kind, name)), None)

    def copies(self, kind, name):
        return len(self._ids(kind, name))

    def functions(self, name):
        """Return the Functions of a name; of a variant (ip_rcv.constprop.0) only what it returns.

        The compiler moves and drops its arguments, which BTF does not tell.
        """
        if '.' in name:
            plain = self.functions(name.partition('.')[0])
            return [function._replace(parameters=None) for function in plain[:1]]
        targets = set(self._record(ref)[3] for ref in self._ids('function', name))
        return [self._function(name, target) for target in sorted(targets)]

    def _function(self, name, ref):
        _, _, _, result, rows = self._record(ref)
        parameters = tuple(Parameter(self._text(offset), target) for offset, target in rows)
        return Function(name, parameters, result)

    def variable(self, name):
        ref = self.find('variable', name)
        per_cpu = [row[0] for section, word in self._occurrences(PER_CPU_SECTION) if not word
                   for row in self._record(section)[4]]
        return ref and Variable(self._record(ref)[3], ref in per_cpu)

    def enums_of(self, name):
        enums = set((ref, self.describe(ref)) for ref, word in self._occurrences(name) if word >= 3)
        return self._own([ref for ref, record in enums
                          if record.kind == 'enum' and name in dict(self.enumerators(record))])

    # Types

    def _described(self, ref):
        kind, flag, name, last, more = self._record(ref)
        if kind == 'pointer':
            return Record(kind, size=POINTER_SIZE, target=last)
        if kind == 'array':
            return Record(kind, target=more[0], length=more[2])
        if kind in WRAPPERS:
            return Record(kind, name, target=last)
        if kind in ('function', 'prototype'):
            prototype_ref = last if kind == 'function' else ref
            return Record('function', name, target=self._function(name, prototype_ref))
        if kind == 'forward':
            # A struct is declared where its definition was not known, which another file has.
            kind = 'union' if flag else 'struct'
            defined = self.find(kind, name)
            return self.describe(defined) if defined else Record(kind, name)
        signed = kind == 'int' and more[0] >> 24 & 1
        if kind == 'enum':
            # Where none says that it has a sign, one has it if a number looks negative.
            signed = flag if self.has_signs or last > 4 else any(row[1] >> 31 for row in more)
        return Record(kind, name, last, ref, signed=bool(signed))

    def members(self, record):
        if record.target is None:       # it is only declared
            return []
        _, flag, _, _, rows = self._record(record.target)
        return [Member(self._text(name), ref, bits & 0xffffff, bits >> 24) if flag else
                Member(self._text(name), ref, bits, 0) for name, ref, bits in rows]

    def enumerators(self, record):
        _, _, _, size, rows = self._record(record.target)
        bits = 32
        if rows and len(rows[0]) == 3:
            rows, bits = [(name, low | high << 32) for name, low, high in rows], 64
        elif size > 4:      # before enum64 (Linux 6.0) their numbers were cut
            rows = []
        sign = 1 << bits - 1 if record.signed else 0
        return [(self._text(name), (number ^ sign) - sign) for name, number in rows]


@reporting_damage
def btf_architecture(types):
    """Return the architecture of the kernel whose Btf it is, by its registers; None if untold."""
    ref = types.find('struct', 'pt_regs')
    names = [member.name for member in Type(types, ref).members()] if ref else ()
    return ('aarch64' if 'pstate' in names else 'x86_64' if 'r15' in names else
            'another architecture' if names else None)


# -- ELF: a path -> sections and symbols of a vmlinux or a module -------------

# elf.5: ET_REL of a file, SHT_NOBITS of a section, SHF_COMPRESSED of its flags, STT_FUNC
ELF_RELOCATABLE, ELF_NO_BITS, ELF_COMPRESSED, ELF_FUNCTION = 1, 8, 1 << 11, 2
ELF_MACHINES = {62: 'x86_64', 183: 'aarch64'}
SECTION_LIMIT = 1 << 30     # bytes of a section that is unpacked, or read as a whole
SEARCH_WINDOW = 1 << 20     # bytes that a search reads at a time
# By type of relocation, of those in a module's debug info: the bytes that it sets.
RELOCATIONS = {'x86_64': {1: 8, 10: 4, 11: 4}, 'aarch64': {257: 8, 258: 4}}
SYMBOL = br'[A-Za-z_][\w.$]*\Z'

Extent = namedtuple('Extent', 'offset size packed')     # of a section in its file, in bytes
NO_EXTENT = Extent(0, 0, False)


class Elf(object):
    """A 64-bit little-endian ELF file (elf.5).

    architecture: a name as ARCHITECTURES has it, where it does.  relocatable: it is a module, not
    linked yet.  sections: their Extents by name.
    """

    @reporting_damage
    def __init__(self, path):
        self.path = self.name = path
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceError('%s: not a file that types can be read from' % path)
        self.stream = open(path, 'rb', 0)
        self.kept = {}          # sections that were asked for as a whole
        head = self.stream.read(64)
        if head[:2] == BTF_MAGIC:       # raw BTF is a file with that section alone
            size = os.fstat(self.stream.fileno()).st_size
            if size > BTF_LIMIT:
                raise SourceError("%s: too large for a kernel's BTF, which has up to 32 MB" % path)
            self.sections, self.kept['.BTF'] = {'.BTF': Extent(0, size, False)}, read_file(path)
            self.relocatable, self.architecture = False, None
            return
        if head[:6] != b'\x7fELF\2\1':
            raise SourceError("%s: neither BTF nor a 64-bit little-endian ELF file; the kernel's "
                              'scripts/extract-vmlinux unpacks a compressed one' % path)
        kind, machine, table, count, names = struct.unpack_from('<HH20xQ12xHH', head, 16)
        self.relocatable = kind == ELF_RELOCATABLE
        self.architecture = ELF_MACHINES.get(machine, 'machine %d' % machine)
        data = self._read(table, 64 * count)
        rows = [struct.unpack_from('<IIQ8xQQ', data, 64 * i) for i in range(count)]
        texts = self._read(*rows[names][3:]) if rows else b''
        self.section_names, self.sections = [], {}
        for name_at, kind, flags, offset, size in rows:
            name = to_text(texts[name_at:texts.index(b'\0', name_at)])
            self.section_names.append(name)
            if kind != ELF_NO_BITS:     # a debug file lacks what these hold
                self.sections[name] = Extent(offset, size, bool(flags & ELF_COMPRESSED))

    def unknown(self, why):
        return UnknownDebugInfo('%s: debug info that only gdb may read: %s' % (self.path, why))

    def _read(self, at, size):
        if at + size > os.fstat(self.stream.fileno()).st_size:
            raise SourceError('%s: a damaged ELF file: it is cut short' % self.path)
        self.stream.seek(at)
        return self.stream.read(size)

    # Sections

    def size(self, name):
        """Return the size of a section, unpacked; 0 if there is none."""
        extent = self.sections.get(name, NO_EXTENT)
        return len(self.whole(name)) if extent.packed or self.relocatable else extent.size

    @reporting_damage
    def whole(self, name):
        """Return the bytes of a section, which are kept; none if there is no such section."""
        if name not in self.kept:
            offset, size, packed = self.sections.get(name, NO_EXTENT)
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
            offset, info, addend = struct.unpack_from('<QQq', table, at)
            size = sizes.get(info & 0xffffffff)
            if size is None:
                raise self.unknown('%s has relocations of type %d' % (name, info & 0xffffffff))
            value, = struct.unpack_from('<Q', symbols, 24 * (info >> 32) + 8)
            struct.pack_into('<Q' if size == 8 else '<I', data, offset,
                             (value + addend) & ((1 << 8 * size) - 1))
        return bytes(data)

    def part(self, name, at, size):
        """Return so many bytes of a section; IndexError if they are not all there."""
        if not 0 <= at <= at + size <= self.size(name):
            raise IndexError(at)
        if name in self.kept:
            return self.kept[name][at:at + size]
        return self._read(self.sections[name].offset + at, size)

    def occurrences(self, name, keys):
        """Yield (offset, key) where any of the keys stands in a section, window by window."""
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

    @reporting_damage
    def function_names(self):
        strings, offsets = self.whole('.strtab'), self._name_offsets()
        kinds = bytearray(self.whole('.symtab')[4::24])
        names = [strings[offset:strings.find(b'\0', offset)]
                 for offset, kind in zip(offsets, kinds) if kind & 15 == ELF_FUNCTION]
        return [to_text(name) for name in names if re.match(SYMBOL, name)]

    def _symbols(self, name):
        """Return the (type, section's number, address) of each symbol of a name."""
        # Linkers let one name end another, so it may stand in several places.
        places = set(match.start() for match in re.finditer(
            re.escape(to_bytes(name)) + br'(?:\.llvm\.[0-9]+)?\0', self.whole('.strtab')))
        return [struct.unpack_from('<4xBxHQ', self.whole('.symtab'), 24 * number)
                for number, offset in enumerate(self._name_offsets()) if offset in places]

    def addresses(self, name):
        return sorted(set(address for kind, _, address in self._symbols(name)
                          if kind & 15 == ELF_FUNCTION))

    def is_per_cpu(self, name):
        return PER_CPU_SECTION in [self.section_names[section] for _, section, _
                                   in self._symbols(name) if section < len(self.section_names)]


# -- DWARF: the debug info of a vmlinux or a module -> types ------------------
#
# Takes an Elf, and reads as little of it as a question needs: a function's unit is found by its
# address, a name by where the offset of its string stands.  Knows DWARF 4 and 5 as gcc and clang
# write them for a kernel; what else there is, gdb reads (UnknownDebugInfo).

# DWARF (dwarfstd.org) is a tree of entries for each compiled file, a unit.  An entry begins with
# the number of an abbreviation, which says its tag, and which attributes follow in what forms; its
# children come after it, up to a zero.  All numbers are the standard's.
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
    56: 'member_offset', 59: 'line', 60: 'declaration', 62: 'encoding', 71: 'specification',
    73: 'type', 85: 'ranges', 107: 'data_bit_offset', 114: 'string_base', 115: 'address_base',
    118: 'other_file', 0x2130: 'other_file'}
ENCODING_FLOATS, ENCODING_SIGNED = (3, 4), (5, 6)
LANGUAGE_ASSEMBLER = 0x8001
OPERATION_REGISTER = 0x50
HAS_CODE = frozenset(('low_pc', 'ranges'))      # what a function has one of, if it is not inlined
# By what a form's bytes are: the forms, and how many bytes (of a block, how many its length has),
# None if these tell.  An 'entry' is counted from its unit's start; 'elsewhere' is not looked up.
FORMS_BY_KIND = {
    'number': {0x01: 8, 0x05: 2, 0x06: 4, 0x07: 8, 0x0b: 1, 0x0c: 1, 0x0f: None, 0x10: 4, 0x17: 4},
    'signed': {0x0d: None}, 'constant': {0x19: 0, 0x21: 0}, 'text': {0x08: None},
    'block': {0x03: 2, 0x04: 4, 0x09: None, 0x0a: 1, 0x18: None},
    'entry': {0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x15: None},
    '.debug_str': {0x0e: 4}, '.debug_line_str': {0x1f: 4},
    'string_base': {0x1a: None, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4},
    'address_base': {0x1b: None, 0x29: 1, 0x2a: 2, 0x2b: 3, 0x2c: 4},
    'elsewhere': {0x1e: 16, 0x22: None, 0x23: None}}
DWARF_FORMS = dict((form, (kind, forms[form])) for kind, forms in FORMS_BY_KIND.items()
                   for form in forms)
FORM_ENTRY, FORM_CONSTANT = 0x13, 0x21
# By base of a unit: the section with what is counted from it, and the bytes of each (7.26).
INDEXED = {'string_base': ('.debug_str_offsets', 4), 'address_base': ('.debug_addr', 8)}
# By how many bytes a number has: what reads it.
NUMBER_READERS = dict((size, struct.Struct('<' + code).unpack_from)
                      for size, code in ((1, 'B'), (2, 'H'), (4, 'I'), (8, 'Q'), (16, '16s')))
NUMBER_READERS[3] = lambda data, at: (data[at] | data[at + 1] << 8 | data[at + 2] << 16,)
UNITS_AT_HAND = 64          # that are kept as they were read
# DWARF's numbers of registers, in ftrace's names.
DWARF_REGISTERS = {'x86_64': 'ax dx cx bx si di bp sp r8 r9 r10 r11 r12 r13 r14 r15'.split(),
                   'aarch64': ['x%d' % each for each in range(31)] + ['sp']}
ENTRY_GAP = 16      # bytes from a symbol to where its function's debug info begins, on aarch64

# start and end are places in .debug_info.  table: where its abbreviations stand.
Unit = namedtuple('Unit', 'start end version table')
# attributes: (name, form, constant) each.  names: of these.  size: bytes of them all, None if they
# vary.  sibling: the bytes before the reference to the next entry that is no child, or None.
# defines: the tag, 0 of a declaration; of a variable, a declaration will do.
Abbreviation = namedtuple('Abbreviation', 'tag children attributes names size sibling defines')
# values: of its attributes, by name.  below: where its children begin, or else its unit ends.
Entry = namedtuple('Entry', 'ref unit tag values below')


def leb128(data, at):
    """Return the number of variable length at a place of a bytearray, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte, at = data[at], at + 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
    raise IndexError(at)


def signed_leb128(data, at):
    value, end = leb128(data, at)
    return value - (1 << 7 * (end - at)) if data[end - 1] & 0x40 else value, end


class Dwarf(Source):
    """The types in the debug info of one ELF file.  A reference is the place of an entry."""

    kind = 'DWARF'

    @reporting_damage
    def __init__(self, elf, console):
        self.name, self.elf, self.console = elf.path, elf, console
        self.at_hand = {}           # by unit: its bytes, its abbreviations, its top entries
        self.found = {}             # references by kind and name, None for what is not there
        self.same = {}              # references of the structs that are one for --make-db
        for section in ('.gnu_debugaltlink', '.debug_types'):
            if section in elf.sections:
                raise self.elf.unknown('it has %s' % section)
        self.tables = bytearray(elf.whole('.debug_abbrev'))
        self.units, at = [], 0
        while at < elf.size('.debug_info'):
            unit = self._read_unit(at)
            self.units.append(unit)
            at = unit.end
            # Before Linux 5.12, files in assembler had DWARF 2, which tells of lines alone.
            if unit.version < 4 and self._root(unit).values.get('language') != LANGUAGE_ASSEMBLER:
                raise self.elf.unknown('DWARF version %d' % unit.version)
        if 'other_file' in self._root(self.units[0]).values:
            raise self.elf.unknown('it lies in other files (.dwo)')
        self.ranges = self._ranges()

    # Units and entries

    def _read_unit(self, start):
        """Return the Unit whose header stands at a place (DWARF 5, 7.5.1)."""
        head = self.elf.part('.debug_info', start, 12)
        length, version = struct.unpack_from('<IH', head)
        kind = 1        # a compiled file; 3 is what several share
        if version == 5:
            kind, width, table = struct.unpack_from('<BBI', head, 6)
        else:
            table, width = struct.unpack_from('<IB', head, 6)
        if length == 0xffffffff:
            raise self.elf.unknown('64-bit DWARF')
        if not 2 <= version <= 5 or kind not in (1, 3) or width != 8:
            raise self.elf.unknown('DWARF version %d, units of kind %d, addresses of %d bytes' % (
                version, kind, width))
        return Unit(start, start + 4 + length, version, table)

    def _unit_at(self, ref):
        return self.units[bisect.bisect(self.units, (ref + 1,)) - 1]

    def _at_hand(self, unit):
        """Return the bytes of a Unit, its Abbreviations, and a list for its top entries."""
        if unit not in self.at_hand:
            if len(self.at_hand) == UNITS_AT_HAND:
                self.at_hand.clear()
            data = self.elf.part('.debug_info', unit.start, unit.end - unit.start)
            self.at_hand[unit] = bytearray(data), self._abbreviations(unit.table), []
        return self.at_hand[unit]

    def _abbreviations(self, at):
        """Return the Abbreviations of a table by number (DWARF 5, 7.5.3)."""
        found = {}
        while True:
            code, at = leb128(self.tables, at)
            if not code:
                return found
            tag, at = leb128(self.tables, at)
            children, at, attributes, size, sibling = self.tables[at], at + 1, [], 0, None
            while True:
                attribute, at = leb128(self.tables, at)
                form, at = leb128(self.tables, at)
                if not form:
                    break
                name, constant = ATTRIBUTES.get(attribute, attribute), 1    # as a flag is set
                if form == FORM_CONSTANT:
                    constant, at = signed_leb128(self.tables, at)
                if form not in DWARF_FORMS:
                    raise self.elf.unknown('a form of attributes 0x%x' % form)
                sibling = size if (name, form) == ('sibling', FORM_ENTRY) else sibling
                kind, each = DWARF_FORMS[form]
                size = None if None in (size, each) or kind == 'block' else size + each
                attributes.append((name, form, constant))
            names = [name for name, _, _ in attributes]
            defines = 0 if 'declaration' in names and tag != NAMED_TAGS['variable'] else tag
            found[code] = Abbreviation(tag, children, attributes, names, size, sibling, defines)

    def _entry(self, ref):
        unit = self._unit_at(ref)
        data, table, _ = self._at_hand(unit)
        code, at = leb128(data, ref - unit.start)
        abbreviation, values = table[code], {}
        for name, form, constant in abbreviation.attributes:
            values[name], at = self._value(unit, data, at, form, constant)
        below = unit.start + at if abbreviation.children else unit.end
        return Entry(ref, unit, abbreviation.tag, values, below)

    def _root(self, unit):
        return self._entry(unit.start + (12 if unit.version == 5 else 11))

    @staticmethod
    def _value(unit, data, at, form, constant):
        """Return what a form's bytes say, and where they end; what stands elsewhere as a pair."""
        kind, size = DWARF_FORMS[form]
        if kind == 'text':
            end = data.index(b'\0', at)
            return bytes(data[at:end]), end + 1
        if kind == 'signed':
            return signed_leb128(data, at)
        if kind == 'constant':
            return constant, at
        if size is None:
            value, at = leb128(data, at)
        else:
            value, at = NUMBER_READERS[size](data, at)[0], at + size
        if kind == 'number':
            return value, at
        if kind == 'entry':
            return unit.start + value, at
        if kind == 'block':
            return data[at:at + value], at + value
        return (kind, value), at

    def _text(self, entry, attribute='name'):
        value = entry.values.get(attribute, b'')
        if isinstance(value, tuple):
            section, offset = value
            if section == 'string_base':
                section, offset = '.debug_str', self._indexed(entry.unit, section, offset)
            strings = self.elf.whole(section)
            value = strings[offset:strings.index(b'\0', offset)]
        if not isinstance(value, bytes):
            raise ValueError(value)
        return to_text(value)

    def _address(self, entry):
        value = entry.values.get('low_pc')
        return self._indexed(entry.unit, *value) if isinstance(value, tuple) else value

    def _indexed(self, unit, base, number):
        section, size = INDEXED[base]
        at = self._root(unit).values[base] + number * size
        return NUMBER_READERS[size](self.elf.part(section, at, size), 0)[0]

    def _number(self, entry, attribute, default=0):
        value = entry.values.get(attribute)
        return value if isinstance(value, int) and 0 <= value < OFFSET_LIMIT else default

    def _below(self, unit, at):
        """Yield (reference, Abbreviation) of the entries at a place, up to the zero after them.

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
                at, = NUMBER_READERS[4](data, at + abbreviation.sibling)
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
        """Return (reference, Abbreviation) of the entries below a Unit."""
        top = self._at_hand(unit)[2]
        if not top:
            top += self._below(unit, self._root(unit).below)
        return top

    def _children(self, entry, *tags):
        for ref, abbreviation in self._below(entry.unit, entry.below):
            if abbreviation.tag in tags:
                yield self._entry(ref)

    # Names

    def find(self, kind, name):
        if (kind, name) not in self.found:
            if self.index:
                refs = self.index.get((kind, name), ())
            else:
                tag, at_hand = NAMED_TAGS[kind], [(unit, None) for unit in sorted(self.at_hand)]
                occurrences = itertools.chain(at_hand, self._occurrences(name, tag))
                refs = (ref for ref in self._definitions(occurrences, tag)
                        if self._text(self._entry(ref)) == name)
            self.found[kind, name] = next(iter(refs), None)
        return self.found[kind, name]

    def _occurrences(self, name, tag):
        """Yield (Unit, offset) where a name may be that of a tag's definition.

        Linkers let one string end another: task_struct may stand in put_task_struct.  The offset is
        None in a unit that names strings by number (clang, DWARF 5).
        """
        text = to_bytes(name) + b'\0'
        keys = [struct.pack('<I', match.start())
                for match in re.finditer(re.escape(text), self.elf.whole('.debug_str'))]
        bases = self._bases(keys) if keys else []
        for offset, key in self.elf.occurrences('.debug_info', keys + [text] + bases):
            unit = self._unit_at(offset)
            data, table, _ = self._at_hand(unit)
            # A name is mostly the first attribute; before it stands the abbreviation's number.
            before = data[offset - unit.start - 1]
            if key in bases:
                yield unit, None
            elif any(each.defines == tag and (
                    each.names[:1] != ['name'] or before == (code if code < 0x80 else code >> 7))
                     for code, each in table.items()):
                yield unit, offset

    def _bases(self, keys):
        """Return, as bytes, the bases of units that name one of these strings by number."""
        section, starts, at = '.debug_str_offsets', [], 0
        while at < self.elf.size(section):
            starts.append(at + 8)
            at += 4 + NUMBER_READERS[4](self.elf.part(section, at, 4), 0)[0]
        found = set(starts[bisect.bisect(starts, max(offset, 8)) - 1]
                    for offset, _ in self.elf.occurrences(section, keys))
        return [struct.pack('<I', start) for start in sorted(found)]

    def _definitions(self, occurrences, tag):
        """Yield the references of a tag's definitions at (Unit, offset), in all of it if None."""
        for unit, offset in occurrences:
            top = self._top(unit)
            if offset is not None:
                behind = bisect.bisect(top, (offset,))
                top = top[behind - 1:behind]
            for ref, abbreviation in top:
                if abbreviation.defines == tag:
                    yield ref

    def enums_of(self, name):
        for ref in self._definitions(self._occurrences(name, TAG_ENUMERATOR),
                                     NAMED_TAGS['enum']):
            if name in dict(self.enumerators(self.describe(ref))):
                return [ref]
        return []

    def variable(self, name):
        ref = self.find('variable', name)       # perhaps no more than an extern
        return ref and Variable(self._entry(ref).values.get('type', 0), self.elf.is_per_cpu(name))

    def make_index(self):
        kinds, index, seen = dict((tag, kind) for kind, tag in NAMED_TAGS.items()), {}, set()
        for number, unit in enumerate(self.units):
            self.console.progress('%s: unit %d of %d' % (self.name, number, len(self.units)))
            data = self._at_hand(unit)[0]
            for ref, abbreviation in self._top(unit):
                kind = kinds.get(abbreviation.defines)
                if not kind or kind == 'function' and HAS_CODE.isdisjoint(abbreviation.names):
                    continue
                # What headers define stands in each unit again, its name's offset first.
                start = ref - unit.start + (1 if data[ref - unit.start] < 0x80 else 2)
                key = kind, bytes(data[start:start + 4])
                if abbreviation.attributes[0][:2] == ('name', 0x0e):
                    if key in seen:
                        continue
                    seen.add(key)
                name = self._text(self._origin(self._entry(ref)))
                if name:
                    index.setdefault((kind, name), []).append(ref)
        self.console.progress('')
        return index

    # Functions

    def functions(self, name):
        found = [self._function(name, self._origin(self._entry(ref)))
                 for ref in self.index.get(('function', name), ())]
        # (Identical functions may be merged: one body, several symbols, one name.)
        for address in () if found else self.elf.addresses(name):
            found += self._functions_at(address, name)
        return found

    def _functions_at(self, address, name):
        """Return the Functions of a name that are defined at an address."""
        plain, found, folded = name.partition('.')[0], [], []
        for ref in self._definitions(self._units_of(address, plain), NAMED_TAGS['function']):
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
        """Return (Unit, None) of each that may define a function, by its address, or its name."""
        around = [row for row in self.ranges if row[0] - ENTRY_GAP <= address < row[1]]
        units = set(self._unit_at(ref) for _, _, ref in around)
        if not any(first <= address for first, _, _ in around):
            # A compiler may leave out .debug_aranges (clang), or they cover assembler files only.
            units.update(unit for unit, _ in self._occurrences(name, NAMED_TAGS['function']))
        return [(unit, None) for unit in sorted(units)]

    def _ranges(self):
        """Return (first address, end, reference of its Unit) of all code that is told."""
        data, at, found = self.elf.whole('.debug_aranges'), 0, []
        while at < len(data) and not self.elf.relocatable:
            length, _, ref = struct.unpack_from('<IHI', data, at)
            end = at + 4 + length
            for at in range(at + 16, end, 16):
                first, size = struct.unpack_from('<QQ', data, at)
                if size:
                    found.append((first, first + size, ref))
            at = end
        return found

    def _origin(self, entry):
        ref = entry.values.get('origin') or entry.values.get('specification')
        return self._origin(self._entry(ref)) if ref else entry

    def _function(self, name, entry, variant=None, address=0):
        """Return the Function of an Entry; variant is the Entry of its own code, at an address."""
        places, parameters = {}, []
        for each in self._children(variant, TAG_PARAMETER) if variant else ():
            places[self._origin(each).ref] = self._register(each, address)
        for each in self._children(entry, TAG_PARAMETER, TAG_ANY_MORE):
            place = places.get(each.ref, '') if variant else None
            parameters.append(Parameter(self._text(each), each.values.get('type', 0), place))
        return Function(name, tuple(parameters), entry.values.get('type', 0))

    def _register(self, parameter, address):
        """Return the register that holds a parameter at an address, '' if none does."""
        where = parameter.values.get('location')
        if isinstance(where, int):
            base = self._address(self._root(parameter.unit)) or 0
            locations = self._locations if parameter.unit.version == 5 else self._old_locations
            # (Where only the symbol is known, debug info begins a few bytes after it.)
            where = next((words for at in (address, address + ENTRY_GAP // 2)
                          for first, end, words in locations(where, base)
                          if first <= at < end), None)
        registers = dict(enumerate(DWARF_REGISTERS[self.elf.architecture], OPERATION_REGISTER))
        return registers.get(where[0], '') if where and len(where) == 1 else ''

    def _locations(self, at, base):
        """Yield (first, end, expression) of a list of locations (DWARF 5, 7.7.3).

        Those that count in .debug_addr are clang's, which makes no variants.
        """
        size = min(self.elf.size('.debug_loclists') - at, 1 << 16)
        data = bytearray(self.elf.part('.debug_loclists', at, size))
        at = 0
        while data[at] in (4, 6, 8):        # counted from the base, the base, where and how long
            kind, at = data[at], at + 1
            first, at = leb128(data, at) if kind == 4 else (NUMBER_READERS[8](data, at)[0], at + 8)
            if kind == 6:
                base = first
                continue
            end, at = leb128(data, at)
            size, at = leb128(data, at)
            start, end = (base + first, base + end) if kind == 4 else (first, first + end)
            yield start, end, data[at:at + size]
            at += size

    def _old_locations(self, at, base):
        """Yield the same before DWARF 5 (DWARF 4, 2.6.2)."""
        first = end = None
        while (first, end) != (0, 0):
            first, end = struct.unpack('<QQ', self.elf.part('.debug_loc', at, 16))
            at += 16
            if first == (1 << 64) - 1:
                base = end
            elif end:
                size, = NUMBER_READERS[2](self.elf.part('.debug_loc', at, 2), 0)
                data = self.elf.part('.debug_loc', at + 2, size)
                yield base + first, base + end, bytearray(data)
                at += 2 + size

    # Types

    def describe(self, ref):
        """Return the Record of a reference; 0, or None, is void."""
        if not ref:
            return Record('void')
        entry = self._entry(ref)
        kind, target = TAG_KINDS.get(entry.tag), entry.values.get('type', 0)
        if kind is None:
            raise self.elf.unknown('a type of tag 0x%x' % entry.tag)
        name, size = self._text(entry), self._number(entry, 'byte_size')
        encoding = entry.values.get('encoding')
        signed = encoding in ENCODING_SIGNED
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
        if encoding in ENCODING_FLOATS:
            kind = 'float'
        return Record(kind, name, size, ref, signed=signed)

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
        for length in reversed(lengths):
            target = Record('array', target=target, length=length)
        return target

    def _struct(self, entry, kind, name, size):
        """Return the Record of a struct or union; one that is only declared has no size."""
        if not self.index or not name:
            return Record(kind, name, size, entry.ref)
        if 'declaration' in entry.values:
            ref = self.find(kind, name)
            return self.describe(ref) if ref else Record(kind, name)
        # Each unit that knows a struct has its own; for --make-db, which visits all, they are one.
        ref = self.same.setdefault((kind, name, size, entry.values.get('line')), entry.ref)
        return Record(kind, name, size, ref)

    def members(self, record):
        ref = record.target
        if ref and 'declaration' in self._entry(ref).values:
            ref = self.find(record.kind, record.name)
        if not ref:
            return []
        return [self._member(each) for each in self._children(self._entry(ref), TAG_MEMBER)]

    def _member(self, entry):
        values, bits = entry.values, self._number(entry, 'bit_size')
        first = 8 * values.get('member_offset', 0) + values.get('data_bit_offset', 0)
        if 'bit_offset' in values:      # counted from the most significant bit of a unit
            unit = 8 * (self._number(entry, 'byte_size') or Type(self, values['type']).size)
            # (Below 0, where the bits begin before the unit, clang writes it as 64 bits.)
            first = (first + unit - values['bit_offset'] - bits) % (1 << 64)
        if not 0 <= first < 8 * OFFSET_LIMIT:
            raise ValueError(first)
        return Member(self._text(entry), values.get('type', 0), first, bits)

    def enumerators(self, record):
        return [(self._text(each), int(each.values['constant']))
                for each in self._children(self._entry(record.target), TAG_ENUMERATOR)]


# -- Types in C's words: what a person casts to, and what databases and servers tell -> records --
#
# The target of a Record is words again: a reference of a source of TextTypes, which checks them.

# A member as databases and servers list it: offset and size in bytes, bits 'first:count'.
Row = namedtuple('Row', 'type name offset size bits')

C_QUALIFIED = r'(.*[*(]|)([^*(]*?)\b(const|volatile|restrict)\b([^*(]*)$'
C_TYPE = r'(?:[A-Za-z_][A-Za-z0-9_$ *()\[\],.{}]*|\.\.\.)\Z'
C_NAME = r'(?:[A-Za-z_][A-Za-z0-9_\[\]]{0,200}(?:\.[A-Za-z0-9_\[\]]{0,200}){0,8}|\$[0-9]*)?\Z'
BITS = r'[0-9]{1,3}:[0-9]{1,3}\Z'
TEXT_LIMIT = 4096       # characters of a type


def c_layer(text):
    """Return a C type's outermost Record, its target in words; or the words of a base type."""
    # A name would stand after the base type, or after the stars in the innermost parentheses.
    at = re.match(r'[^()[\]]*(?:\( *\*[^()[\]]*)*', text).end()
    before, behind = text[:at].rstrip(), text[at:]
    dimension, qualified = re.match(r'\[(\d*)\]', behind), re.match(C_QUALIFIED, before)
    if len(re.findall(r'[*[]|const|volatile|restrict', text)) >= CHAIN_LIMIT:
        return text
    if dimension:
        return Record('array', target=before + behind[dimension.end():],
                      length=int(dimension.group(1) or 0))
    if behind.startswith('('):
        parameters, behind = c_parameters(behind)
        return Record('function', target=Function('', parameters, before + behind))
    if qualified:
        outer, left, word, right = qualified.groups()
        return Record(word, target=outer + left + right + behind)
    if before.endswith('*'):
        before = before[:-1].rstrip()
        if before.endswith('('):
            before, behind = before[:-1], behind[1:]
        return Record('pointer', size=POINTER_SIZE, target=before + behind)
    return ' '.join(text.split())


def c_parameters(text):
    """Return the Parameters in the parentheses that a text begins with, and what is after."""
    depth, listed = 0, ['']
    for at, sign in enumerate(text):
        depth += {'(': 1, ')': -1}.get(sign, 0)
        if depth == 0:
            break
        if depth == 1 and sign == ',':
            listed.append('')
        elif at:
            listed[-1] += sign
    if ''.join(listed).strip() in ('', 'void'):
        listed = []
    return tuple(Parameter('', each) for each in listed), text[at + 1:]


class TextTypes(Source):
    """A source that speaks C, without enumerators; its subclasses look up one name at a time.

    look_up_layout(text) returns the size of a struct, union or enum, and what row() takes of each
    member; look_up_alias(name) what a typedef stands for, and its size.  A reference is a text.
    """

    def __init__(self, name):
        self.name = name
        self.known = {}         # the Record of each text: it is asked once

    def failed(self, why):
        return SourceError('%s: %s' % (self.name, why))

    def find(self, kind, name):
        text = '%s %s' % (kind, name) if kind in TAGS else name
        found = self.describe(text)
        is_unknown = found.kind == 'missing' or kind in TAGS and found.target is None
        return None if is_unknown else text

    def _described(self, text):
        declared = c_layer(text)
        if isinstance(declared, Record):
            return declared
        if declared == '...':       # ends a list of parameters
            return Record('void')
        kind, _, name = declared.partition(' ')
        if kind in TAGS:
            # A $ suffix distinguishes types that share a name or have none.
            return self._struct(kind, re.sub(r'\$.*|\{\.\.\.\}', '', name), declared)
        return find_integer(declared.split()) or self._typedef(declared)

    def _struct(self, kind, name, text):
        layout = self.look_up_layout(text)
        if layout is None:
            return Record(kind, name)
        size, rows = layout
        members = text_members([self.row(*row) for row in rows])
        return Record(kind, name, self.size(size), members)

    def _typedef(self, name):
        alias = self.look_up_alias(name)
        if alias is None:
            return Record('missing', name)
        target, size = self.text(alias[0], C_TYPE), self.size(alias[1])
        if target != name:
            return Record('typedef', name, target=target)
        held = self._struct('struct', '', name)     # one without a name, if it is one
        if held.target is None:
            return Record('int', name, size)
        return Record('typedef', name, target=held)

    def members(self, record):
        return record.target or ()

    def text(self, value, pattern):
        """Return a value from outside as text if it matches pattern."""
        if (not re.match(pattern, value) or len(value) > TEXT_LIMIT
                or value.count('(') > CHAIN_LIMIT):
            raise self.failed('damaged: not a C type or name')
        return str(value)

    def size(self, value):
        """Return a value from outside as a number of bytes."""
        if not isinstance(value, (int, type(1 << 64))) or not 0 <= value < OFFSET_LIMIT:
            raise self.failed('damaged: no type has such a size or offset')
        return int(value)

    def row(self, kind, name, offset, size, bits):
        """Return a checked Row; array dimensions are moved from the name to the type."""
        found = self.text(kind, C_TYPE)
        path, dot, last = self.text(name, C_NAME).rpartition('.')
        for length in re.findall(r'\[([0-9]*)\]', last)[::-1]:
            found = Record('array', target=found, length=int(length or 0))
        name = path + dot + re.match(r'\w*', last).group()     # one without a name is called $
        return Row(found, name, self.size(offset), self.size(size), self.text(bits or '0:0', BITS))

    def function(self, name, result, kinds, names):
        """Return a checked Function; names may be fewer than kinds, or none."""
        if not isinstance(kinds, list) or not isinstance(names, list):
            raise self.failed('damaged: what should be a list of arguments is none')
        kinds = [self.text(kind, C_TYPE) for kind in kinds if kind != 'void']
        names = [self.text(each, C_NAME) for each in names] + [''] * len(kinds)
        result = re.sub(r'^(?:static|inline) ', '', self.text(result, C_TYPE))
        return Function(name, tuple(Parameter(*pair) for pair in zip(names, kinds)), result)


def parse_json(text):
    """Return what JSON from outside says; a number of a million digits would take minutes."""
    import json     # few runs need it, and it is slow to load
    return json.loads(text, parse_int=lambda digits: int(digits[:20]))


def text_members(rows):
    """Return the Members of Rows; those called a.b and a.c are of a struct a that has no tag."""
    members = []
    for (outer, dot), group in itertools.groupby(rows, lambda row: row.name.partition('.')[:2]):
        group = list(group)
        if dot:
            first = min(row.offset for row in group)
            inner = [row._replace(name=row.name.partition('.')[2], offset=row.offset - first)
                     for row in group]
            size = max(row.offset + row.size for row in inner)
            found = Record('struct', '', size, text_members(inner))
            group = [Row(found, outer.partition('[')[0], first, size, '0:0')]
        for row in group:
            bit, width = row.bits.split(':')
            members.append(Member(row.name, row.type, 8 * row.offset + int(bit), int(width)))
    return tuple(members)


# -- gdb: what only gdb reads, as its own Python tells it; and instructions ---
#
# One gdb process a run: it reads a vmlinux for seconds before the first answer, and answers the
# rest at once.  No text out of a file is ever a command of gdb's: GDB_PROGRAM, which runs inside
# gdb, looks names up, numbers the types that it finds, and takes these numbers.

GDB_SECONDS = 300               # for one answer; the first one of a large vmlinux takes 20
GDB_ANSWER_SIZE = 1 << 28       # bytes
GDB_MARK = '@surftrace '        # begins the line that ends an answer
# The first reading of a vmlinux leaves an index in gdb's own cache (~/.cache/gdb), with which the
# next ones take a second.  (By version, index-cache is turned on in one of two ways.)
GDB_SETTINGS = [word for setting in (
    'auto-load off', 'confirm off', 'width 0', 'height 0', 'language c', 'index-cache on',
    'index-cache enabled on') for word in ('-iex', 'set ' + setting)]
# It runs in Python 2 or 3, from gdb 8.1 on.  A question is a line, [function, argument ...] in
# JSON, and so is the answer, null where gdb knows none.
GDB_PROGRAM = r'''
import gdb, json, os, re, sys

KINDS = dict((getattr(gdb, "TYPE_CODE_" + code), kind) for code, kind in (
    ("INT", "int"), ("CHAR", "int"), ("BOOL", "int"), ("FLT", "float"), ("ENUM", "enum"),
    ("PTR", "pointer"), ("ARRAY", "array"), ("STRUCT", "struct"), ("UNION", "union"),
    ("FUNC", "function"), ("TYPEDEF", "typedef"), ("VOID", "void")))
types, numbers = [None], {}     # by number, and the number of a struct by what it is made of
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
    """Return the number and kind of a name's type, and its address."""
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
    for location in gdb.decode_line(plain)[1] or ():
        block = gdb.block_for_pc(location.pc)
        while block and not (block.function and block.superblock.is_static):   # it may be inlined
            block = block.superblock
        if not block:
            continue        # the symbol itself, where debug info begins after it
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
        os.write(1, (MARK + json.dumps(answer) + "\n").encode("ascii"))
'''


class GdbProcess(object):
    """A gdb with a vmlinux; command is the one that a person names, None for the usual one."""

    def __init__(self, elf, command, console, arguments, seconds=GDB_SECONDS):
        import subprocess       # only gdb and mount need it, and it is slow to load
        usual = 'gdb' if elf.architecture == os.uname()[4] else 'gdb-multiarch'
        self.elf, self.console, self.seconds = elf, console, seconds
        self.command = command or usual
        # It asks for memory in small pieces, and would ask the network for debug files.
        environment = dict(os.environ, MALLOC_TOP_PAD_=str(1 << 27), DEBUGINFOD_URLS='',
                           GLIBC_TUNABLES='glibc.malloc.hugetlb=1', LC_ALL='C')
        try:
            # In a session of its own: Ctrl+C is for this script to take.
            self.process = subprocess.Popen(
                [self.command, '-nx', '-q'] + arguments + ['--', os.path.abspath(elf.path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                bufsize=0, env=environment, preexec_fn=os.setsid)
        except EnvironmentError as error:
            raise SourceError('%s: %s; name a gdb with -g, or install the package %s' % (
                self.command, os.strerror(error.errno).lower(), usual))

    def ask(self, question):
        """Send a line; return what is printed before the mark, and what stands after that."""
        try:
            self.process.stdin.write(to_bytes(question + '\n'))
        except EnvironmentError:
            pass        # it has ended, which reading tells
        data, mark, began, poll = b'\n', b'', clock(), select.poll()
        poll.register(self.process.stdout, select.POLLIN)
        while not mark:
            seconds = clock() - began
            if seconds > self.seconds or len(data) > GDB_ANSWER_SIZE:
                raise self._failed('gave no answer in %d s' % seconds)
            if not wait_until(clock() + 0.5, poll):
                self.console.progress('gdb reads %s: %d s' % (self.elf.path, seconds))
                continue
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise self._ended(to_text(data))
            data += more
            if more.endswith(b'\n'):
                printed, mark, answer = data.rpartition(to_bytes('\n' + GDB_MARK))
        self.console.progress('')
        return to_text(printed).strip('\n'), to_text(answer)

    def _failed(self, what):
        return SourceError('%s: %s %s' % (self.elf.path, self.command, what))

    def _ended(self, printed):
        if 'Python scripting is not supported' in printed:
            return SourceError('%s: this gdb has no Python, which -m gdb needs; -m dwarf does '
                               'without it' % self.command)
        status = self.process.wait()
        how = ('status %d' % status if status >= 0 else
               'signal %d (a large vmlinux takes it 2 GB of memory)' % -status)
        last = printed.strip().rpartition('\n')[2]
        return self._failed('ended in the middle, with %s%s' % (how, last and ': ' + last))

    def close(self):
        self.console.progress('')
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Gdb(Source):
    """The types of a vmlinux with debug info.  A reference is a number of GDB_PROGRAM's."""

    kind = 'gdb'
    # The program is there before the file is read, and its loop takes over stdin after that.
    ARGUMENTS = GDB_SETTINGS + ['-batch', '-iex', 'python MARK = %r' % GDB_MARK, '-iex',
                                'python exec(%r)' % GDB_PROGRAM, '-ex', 'python serve()']

    def __init__(self, process):
        self.name, self.process, self.answers = process.elf.path, process, {}
        printed, answer = process.ask('["opened"]')
        if answer.strip() in ('0', 'null'):
            raise SourceError('%s cannot read %s: %s; gdb-multiarch may' % (
                process.command, self.name, printed.rpartition('\n')[2]))

    def _ask(self, *question):
        import json
        if question not in self.answers:
            self.answers[question] = as_text(json.loads(self.process.ask(json.dumps(question))[1]))
        return self.answers[question]

    def find(self, kind, name):
        return self._ask('find', kind, name)

    def describe(self, ref):
        record = Record(*self._ask('describe', ref) or ['missing'])
        if record.kind == 'function':
            return record._replace(target=self._function('', *record.target))
        return record

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

    ARGUMENTS = GDB_SETTINGS + ['-iex', 'set prompt']

    def __init__(self, process):
        self.process = process
        self._ask('')       # what it says of the file and of settings that it does not know

    def _ask(self, command):
        return self.process.ask('%s\necho \\n%s\\n' % (command, GDB_MARK))[0]

    def function(self, name):
        """Return the lines of a function's instructions, with the source's if they are there."""
        if not re.match(r'[A-Za-z_][\w.]*\Z', name):
            raise UsageError("'%s' is no symbol's name" % name)
        # (In quotes, short names would be characters.)
        said = self._ask('disassemble /s ' + ("'%s'" % name if '.' in name else name))
        if not re.search('0x[0-9a-f]+ <', said):
            raise UsageError('-F %s: %s' % (name, said))
        return self._from_symbol(said).splitlines()

    def _from_symbol(self, text):
        """Return instructions with offsets that count from the symbol, as kprobes do."""
        # (gdb counts from where debug info begins: on aarch64 that is after what ftrace patches.)
        address = int(re.search(r'0x([0-9a-f]+) <', text).group(1), 16)
        start = address - int(self._symbol(address).partition('+')[2] or 0)
        return re.sub(r'0x([0-9a-f]+) (<[\w.]*)\+\d+>:', lambda match: '0x%s %s+%d>:' % (
            match.group(1), match.group(2), int(match.group(1), 16) - start), text)

    def _symbol(self, address):
        return self._ask('info symbol 0x%x' % address).split(' in section')[0].replace(' + ', '+')

    def line(self, location):
        """Return the lines of the instructions of a FILE:LINE, each range below its place."""
        match = re.match(r'([\w./+-]+):([0-9]{1,7})\Z', location)
        if not match:
            raise UsageError('-l takes FILE:LINE, like fs/read_write.c:455')
        path, line = match.groups()
        said = self._ask('info line ' + location)      # reads the file's line tables
        tables = self._ask('maint info line-table ' + re.escape(os.path.basename(path)))
        table = line_table(tables, path)
        ranges = sorted(set(part for number, part in table if number == int(line)))
        if not ranges:
            raise UsageError('-l %s: %s' % (location, 'that line has no code' if table else said))
        lines = []
        for first, end in ranges:
            said = self._from_symbol(self._ask('disassemble 0x%x,0x%x' % (first, end)))
            lines += ['%s is at %s' % (location, self._symbol(first))] + said.splitlines()[1:-1]
        return lines


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


# -- Types from a database: an SQLite file made for one kernel -> records, and back --
#
# The files that are published for distributions' kernels come in two generations; both are read,
# the second is written.  Of what lies beside one that is read, nothing is read, made or removed.

DATABASE_TABLES = {
    'files': 'id INTEGER PRIMARY KEY, file TEXT',
    'funs': 'id INTEGER PRIMARY KEY, func VARCHAR, args VARCHAR, argi VARCHAR, ret VARCHAR, '
            'line INTEGER, fid INTEGER, module VARCHAR',
    'structs': 'id INTEGER PRIMARY KEY, name VARCHAR, members INTEGER, bytes INTEGER',
    'members': 'id INTEGER PRIMARY KEY, fid INTEGER, types VARCHAR, name VARCHAR, '
               'offset INTEGER, bytes INTEGER, bits VARCHAR DEFAULT ""',
    'types': 'id INTEGER PRIMARY KEY, name VARCHAR, alias VARCHAR, bytes INTEGER',
    'kernel': 'architecture VARCHAR, release VARCHAR',      # our own
}


class Database(TextTypes):
    """The types in a database file."""

    kind = 'database'
    lists_quickly = knows_modules = True

    def __init__(self, path):
        import shutil
        import sqlite3
        import tempfile
        TextTypes.__init__(self, path)
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > SECTION_LIMIT:
            raise self.failed('not a file that types can be read from')
        directory = tempfile.mkdtemp()      # beside a copy nobody lays a journal for SQLite
        try:
            copy = os.path.join(directory, 'copy.db')
            shutil.copyfile(path, copy)
            self.connection = sqlite3.connect(copy)
            self.connection.text_factory = str
            rows = self._query("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND "
                               "sql LIKE 'CREATE TABLE %'")
        finally:
            shutil.rmtree(directory)
        # A view that stands in for a table, or a column that is computed, could take for ever.
        tables = dict(row for row in rows if not re.search(r'(?i)\bas\b', row[1]))
        missing = sorted(set(['funs', 'structs', 'members', 'types']) - set(tables))
        if missing:
            raise self.failed('not a database of types: it has no table ' + ', '.join(missing))
        self.names_column = 'argi' if 'argi' in tables['funs'] else "'[]'"
        named = re.match(r'info-([0-9]+\.[0-9].*)\.db$', os.path.basename(path))
        self.release, self.architecture = named and named.group(1), None
        for row in self._query('SELECT * FROM kernel') if 'kernel' in tables else ():
            self.architecture = row[0]
            self.release = ''.join(map(str, row[1:])) or self.release

    def _query(self, question, *values):
        import sqlite3
        try:
            return self.connection.execute(question, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise self.failed('a damaged database: %s' % error)

    def look_up_layout(self, text):
        found = self._query('SELECT id, bytes FROM structs WHERE name = ? ORDER BY id', text)
        if not found:
            return None
        rows = self._query('SELECT types, name, offset, bytes, bits FROM members WHERE fid = ? '
                           'ORDER BY id', found[0][0])
        return found[0][1], rows

    def look_up_alias(self, name):
        found = self._query('SELECT alias, bytes FROM types WHERE name = ? ORDER BY id', name)
        return found[0] if found else None

    def names(self, kind):
        table, column = {'function': ('funs', 'func'), 'typedef': ('types', 'name')}.get(
            kind, ('structs', 'name'))
        pattern = (kind + ' ' if kind in TAGS else '') + r'([A-Za-z_][\w.]*)\Z'
        rows = self._query('SELECT DISTINCT %s FROM %s' % (column, table))
        found = [re.match(pattern, row[0]) for row in rows if isinstance(row[0], str)]
        return sorted(match.group(1) for match in found if match)

    def functions(self, name):
        found = []
        for result, kinds, names in self._query(
                'SELECT ret, args, %s FROM funs WHERE func = ?' % self.names_column, name):
            function = self.function(name, result, parse_json(kinds or '[]'),
                                     parse_json(names or '[]'))
            if function not in found:
                found.append(function)
        return found


class DatabaseWriter(object):
    """A database in the making, from a source of types."""

    def __init__(self, source, of_kernel, console):
        self.source, self.of_kernel, self.console = source, of_kernel, console
        self.named = {}         # what distinguishes a struct -> its name
        self.taken = set()      # names of structs
        self.waiting = []       # structs that have a name and are not written yet

    @reporting_damage
    def write(self, path):
        import sqlite3
        # (In a directory of its own nobody else can lay a journal for SQLite.)
        self.connection = sqlite3.connect(path)
        self.connection.executescript('PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF')
        for table in sorted(DATABASE_TABLES):
            self.connection.execute('CREATE TABLE %s (%s)' % (table, DATABASE_TABLES[table]))
        self.connection.execute("INSERT INTO files VALUES (1, '')")
        self.connection.execute('INSERT INTO kernel VALUES (?, ?)', self.of_kernel)
        for kind in TAGS + ('typedef', 'function'):
            names = self.source.names(kind)
            for count, name in enumerate(names):
                thousands = count // 1000 * 1000
                self.console.progress('writing %ss: %d of %d' % (kind, thousands, len(names)))
                if kind == 'function':
                    self._write_functions(name)
                else:
                    self._write(kind, name)
                while self.waiting:
                    self._struct(*self.waiting.pop())
        self.console.progress('')
        for indexed in ('structs (name)', 'members (fid)', 'types (name)', 'funs (func)'):
            self.connection.execute('CREATE INDEX by_%s ON %s' % (indexed.split()[0], indexed))
        self.connection.commit()
        self.connection.close()

    def _insert(self, table, *values):
        return self.connection.execute('INSERT INTO %s VALUES (NULL%s)' % (
            table, ', ?' * len(values)), values).lastrowid

    def _write(self, kind, name):
        ref = self.source.find(kind, name)
        if ref is None:
            return
        found = Type(self.source, ref)
        if kind != 'typedef':
            self._name(found)
            return
        target = found.target if found.kind == 'typedef' else found
        if target.kind in ('struct', 'union') and not target.name:
            self._name(target, name)        # it stands in for the name that its struct lacks
        self._insert('types', name, self._words(target.record), found.size)

    def _write_functions(self, name):
        import json
        for function in self.source.functions(name):
            kinds = [self._words(each.type) for each in function.parameters]
            kinds = ['...' if kind == 'void' else kind for kind in kinds]
            names = [each.name for each in function.parameters]
            self._insert('funs', name, json.dumps(kinds), json.dumps(names),
                         self._words(function.result), 0, 1, '')

    def _name(self, found, name=None):
        """Return what a struct, union or enum is called, or is to be called; have it written."""
        key = found.record[:3] if found.kind == 'enum' else found.record
        if key not in self.named:
            if name is None:
                name = '%s %s' % (found.kind, found.name)
                if not found.name or name in self.taken:
                    name = '%s$%d' % (name, len(self.named))
            self.named[key] = name
            self.taken.add(name)
            self.waiting.append((name, found))
        return self.named[key]

    def _words(self, ref):
        """Return a type in C's words, with the database's names of what has none of its own."""
        return Type(self.source, ref).declare('', lambda base: base_words(base) if (
            base.kind not in TAGS or base.is_declared_only) else self._name(base))

    def _struct(self, name, found):
        members = list(found.own_members()) if found.kind != 'enum' else ()
        serial = self._insert('structs', name, len(members), found.size)
        for member in members:
            bits = '%d:%d' % (member.bit_offset % 8, member.bit_size) if member.bit_size else ''
            self._insert('members', serial, self._words(member.type.record), member.name or '$',
                         member.bit_offset // 8, member.type.size, bits)


def write_database(path, source, of_kernel, console):
    """Write all that a source of types knows; of_kernel: (architecture, release or '')."""
    import sqlite3
    if os.path.exists(path) and not os.path.isfile(path):
        raise Error('%s: no file that could be replaced' % path)
    try:
        make_file(path, DatabaseWriter(source, of_kernel, console).write)
    except sqlite3.Error as error:
        raise Error('%s: %s' % (path, error))
    console.note('%s: %.1f MB' % (path, os.path.getsize(path) / 1e6))


# -- Types from a server: HTTP -> records -------------------------------------
#
# One POST for each name that is asked; what comes back is checked before it is used.

SERVER = 'pylcc.openanolis.cn'
SERVER_PORT = 7655
SERVER_SECONDS = 15             # that it may say nothing
SERVER_ANSWER_SIZE = 1 << 24    # bytes


class Server(TextTypes):
    """The types of one published kernel, as a server tells them."""

    kind = 'server'
    knows_modules = True

    def __init__(self, address, release, architecture, seconds=SERVER_SECONDS):
        match = re.match(r'([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?$', address)
        if not match:
            raise UsageError("-r takes HOST or HOST:PORT, not '%s'" % address)
        self.host, self.port = match.group(1).strip('[]'), int(match.group(2) or SERVER_PORT)
        TextTypes.__init__(self, '%s:%d' % (self.host, self.port))
        if not re.match(r'[\w.+~-]+\Z', release):
            raise UsageError("'%s' is no release of a kernel, which uname -r tells" % release)
        self.release, self.architecture, self.seconds = release, architecture, seconds

    def _ask(self, command, name):
        """Return the server's result for a name, None if it has none."""
        import json
        request = [{'arch': self.architecture, 'ver': self.release, 'cmd': command, command: name}]
        try:
            answer = parse_json(self._post(json.dumps(request).encode('ascii')).decode('utf-8'))
            result = answer['res'][0]
            code, log, found = answer['code'], result['log'], result['res']
        except (ValueError, TypeError, LookupError):
            raise self.failed('the answer has an unexpected form: is this the right server?')
        if code != 200 or log != 'ok.':
            raise self.failed('it has nothing on kernel %s, %s: it says %s' % (
                self.release, self.architecture, json.dumps(log)[:200]))
        return found

    def _post(self, body):
        try:
            from http import client
        except ImportError:     # Python 2
            import httplib as client
        connection = client.HTTPConnection(self.host, self.port, timeout=self.seconds)
        connection.strict = 1   # or Python 2 takes anything for an answer
        try:
            connection.request('POST', '/lbc', body, {'Content-Type': 'application/json'})
            response = connection.getresponse()
            data = response.read(SERVER_ANSWER_SIZE)
        except client.HTTPException:
            raise self.failed('the answer is not HTTP')
        except (EnvironmentError, UnicodeError) as error:
            raise self.failed('%s; is -r right, and can it be reached from here?' % (
                getattr(error, 'strerror', None) or error))
        finally:
            connection.close()
        if response.status != 200:
            raise self.failed('HTTP status %d' % response.status)
        return data

    def look_up_layout(self, text):
        found = self._ask('struct', text)
        return found if found is None else (found['size'], [
            [cell[key] for key in ('type', 'name', 'offset', 'size', 'bits')]
            for cell in found['cell']])

    def look_up_alias(self, name):
        found = self._ask('type', name)
        return found if found is None else (found['type'], found['size'])

    def functions(self, name):
        return [self.function(name, each['ret'], each['args'], each.get('argi', []))
                for each in self._ask('func', name) or ()]

    def names(self, _):
        raise self.failed('a server answers for one name at a time, it has no lists')


# -- Information: a name -> what a person looks up ----------------------------
#
# Each line has the words that a trace has for what it shows.

ROW_LIMIT = 100000      # lines of a layout; the longest of a kernel has 2,000
# What a filter says of a field of an event, by its kind.
EVENT_FILTERS = {'string': 'f:FIELD==TEXT', 'user string': 'f:FIELD.ustring==TEXT',
                 'ip': 'f:FIELD==10.0.0.1', 'signed': 'f:FIELD==-1', 'unsigned': 'f:FIELD==1'}


@reporting_damage
def information(source, name, kernel, names=None):
    """Return the lines on a function or a type, or on those of the names that a pattern takes."""
    names = names or [symbol.name for symbol in kernel.functions()]
    if is_pattern(name):
        return pattern_lines(name, source, names or source.names('function'))
    lines = []
    wanted, _, tag = name.rpartition(' ')
    if re.match(r'[\w.]+$', name):
        for function in source.functions(name):
            lines += function_lines(function, source, kernel)
    for kind in TAGS + ('typedef',) if re.match(r'\w+$', tag) else ():
        if wanted in ('', kind):
            lines += type_lines(source, kind, tag)
    if lines:
        return lines
    if name in names:
        return ['%s: a function without a known prototype' % name]
    variants = sorted(set(each for each in names if each.startswith(name + '.')))
    if source.lists_quickly:
        names += source.names('struct') + source.names('function')
    raise UsageError("there is no function or type '%s'%s" % (
        name, did_you_mean(variants[:3]) or nearest(tag, names)))


def event_lines(name, kernel):
    """Return the fields of SYSTEM/EVENT with a filter's words for each, or a pattern's events."""
    if not kernel.tracefs:
        raise UsageError('events can only be looked up where tracefs can be read')
    names = kernel.events(parse_trace('e ' + name), sys.maxsize, None)
    if is_pattern(name):
        return ['/'.join(each) for each in names]
    lines = ['/'.join(names[0]) + ' {']
    for declaration, field_name, field in kernel.event_fields(*names[0]):
        words = EVENT_FILTERS.get(field.kind, '').replace('FIELD', field_name)
        lines.append(('    %-36s  %s' % (declaration + ';', words)).rstrip())
    return lines + ['};']


def pattern_lines(pattern, source, names):
    """Return the prototypes of the functions that a pattern of the shell matches."""
    lines = []
    for name in sorted(set(filter(matcher(pattern), names))):
        if not re.match(NOT_A_FUNCTION, name):
            lines += sorted(set(name if function.parameters is None
                                else prototype(source, function._replace(name=name))
                                for function in source.functions(name))) or [name]
    if not lines:
        raise UsageError("no function matches '%s'" % pattern)
    return lines


def function_lines(function, source, kernel):
    """Return a Function's prototype, and where each argument is when it begins."""
    result = str(Type(source, function.result))
    if function.parameters is None:
        return ['%s %s: where its arguments are is not known' % (result, function.name)]
    lines = [prototype(source, function)]
    compiler = Compiler(parse_trace('p ' + function.name), function.name, source, kernel)
    for index, parameter in enumerate(named_parameters(source, function)):
        place = parameter.location != '' and compiler.parameter_place(index, function)
        name = parameter.name and '$' + parameter.name
        if name and parse_value(Scanner('a=' + name)).base.kind != 'argument':
            name = ''       # it is ftrace's own, $comm
        lines.append('  %%%-3d %-16s %-10s %s' % (
            index, name, place.words.lstrip('%') if place else '?',
            parameter.type.declare(parameter.name)))
    if result != 'void':
        lines.append('  $retval                          ' + result)
    return lines


def type_lines(source, kind, name):
    """Return the lines on the struct, union, enum or typedef of a name, none if there is none."""
    ref = find_tagged(source, kind, name)
    if ref is None:
        return []
    found = Type(source, ref)
    if found.is_aggregate:
        return layout_lines(found.bare, name)
    if found.bare.kind == 'enum' and found.names():
        head = ('enum %s' % found.bare.name).rstrip() + ' {'
        return ([head] + ['    %s = %d,' % pair for pair in found.names()]
                + ['}; /* size: %d */' % found.size])
    if found.kind == 'typedef':
        return ['typedef %s; /* size: %d */' % (found.target.declare(name), found.size)]
    return []


def layout_lines(found, alias):
    """Return the layout of a struct or union, as pahole prints it; alias is a typedef's name."""
    rows = list(itertools.islice(member_rows(found, 0, '->', 1), ROW_LIMIT))
    if len(rows) == ROW_LIMIT:
        raise SourceError('the types are damaged: a struct never ends')
    width = min(max([len(text) for text, _, _ in rows] + [0]), 48)
    head, tail = '%s %s {' % (found.kind, found.name), '}'
    if not found.name:
        head, tail = 'typedef %s {' % found.kind, '} ' + alias
    return [head] + [('%-*s  %s  %s' % (width, text, where, words)).rstrip()
                     for text, where, words in rows] + [
        '%s; /* size: %d, members: %d */' % (tail, found.size, len(list(found.own_members())))]


def member_rows(found, start, path, depth):
    """Yield (C, place, words for a trace) of each member; start in bits, path leads to found."""
    indent = '    ' * depth
    for member in found.own_members(start):
        where, inner = place_comment(member), nameless_struct(member.type)
        name = member.name + (':%d' % member.bit_size if member.bit_size else '')
        words = indent + member.type.declare(name)
        if not inner:
            yield words + ';', where, access_path(member, path + member.name)
            continue
        # '{...} name' is what C says of it: the dots are to be spelled out.
        head, _, tail = words.partition('{...}')
        below = path
        if name:
            below += name + '[0]' * dimensions(member.type) + '.'
        yield head + '{', '', ''
        for row in member_rows(inner, member.bit_offset, below, depth + 1):
            yield row
        yield indent + '}' + tail + ';', where, ''


def place_comment(member):
    """Return the comment with the place of a Member, counted from the outermost struct."""
    size, at = member.type.size, member.bit_offset
    if not member.bit_size:
        return '/* %5d %5d */' % (at // 8, size)
    unit = size if size and at % (8 * size) + member.bit_size <= 8 * size else 1
    return '/* %5d:%2d %2d */' % (at // (8 * unit) * unit, at % (8 * unit), size)


def access_path(member, path):
    """Return what a trace has to say to read a member; dots where that goes on."""
    held = member.type.bare
    if held.kind == 'array' and not (held.target.is_text and held.length):
        element = held.element
        if not element.is_number or not 0 < held.size // element.size <= ARRAY_LIMIT:
            path, held = path + '[0]' * dimensions(held), element
    if held.name in STRUCT_FORMS:
        return '%s  in a value called %s...' % (path, STRUCT_FORMS[held.name])
    if held.is_aggregate:
        return '' if held.is_declared_only else path + '. ...'
    return path if held.kind == 'array' or held.is_number else ''


def dimensions(found):
    """Return how many dimensions an array has; 0 of anything else."""
    return 1 + dimensions(found.bare.target) if found.bare.kind == 'array' else 0


def nameless_struct(found):
    """Return the struct or union without a name that a Type is, or holds in an array, or None."""
    if found.kind in QUALIFIERS or found.kind == 'array':
        return nameless_struct(found.target)
    return found if found.is_aggregate and not found.name else None


if __name__ == '__main__':
    try:
        exit_status = main(sys.argv[1:])
    except SystemExit as ended:
        exit_status = ended.code
    # All that is left to do is to free memory, which the kernel does in no time.
    os._exit(exit_status)

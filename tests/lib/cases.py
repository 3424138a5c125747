"""Cases as text: what a person types, and what becomes of it.

    == strings
    kernel: 4.0

    # An array of char is a string.
    p wake_up_new_task a=%0->comm f:a==sh
      = a=+0x10(%di):string
      f: a=="sh"
    p wake_up_new_task a=%0->com
                             ^ did you mean 'comm'

A case is a trace, and below it, indented by two blanks:

    = WORDS        the values in ftrace's own words; of several such lines, one after the other
    f: FILTER      the filter, as the kernel gets it
    h: WORDS       the first histogram, as the kernel gets it, less its size and order
    > ONE -> OTHER values as the kernel prints them, and as the person sees them
    ! WORDS        what is said on stderr has these words in it
    ^ WORDS        it is refused, with these words in the message; the ^ stands below the column

What is said on stderr without a line for it is a mistake.  A line with == begins a group of cases.
What stands between it and the first of them goes for the group:

    kernel: 6.1          the kernels that it goes for, by their release (6.12, with tests/lib/
                         standin.py: one; with real kernels: all that are there)
    machine: aarch64     the architectures (x86_64)
    types: no            there are none to ask
    file /proc/kallsyms: what the machine has in a file, in the lines below, indented by four blanks

In cases for real kernels {struct.member} is an offset that pahole tells, in hexadecimal ({a.b+c.d}
is a sum, 2*16 a number), and %0 the register of the first argument.
"""
import collections
import os
import re
import shlex

DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'cases')
# settings: of its group, by name; those of files have the name 'file PATH'.  expected: what
# stands below the trace, as a list of (sign, text, column).
Case = collections.namedtuple('Case', 'file line group settings trace expected')
HEAD = '            bash-1234    [000] d..1.  2300.901455: f0: (place+0x0/0x1d0) '


def read(name):
    """The Cases in a file of tests/cases."""
    with open(os.path.join(DIRECTORY, name)) as stream:
        lines = stream.read().splitlines()
    cases, group, settings, path = [], '', {}, None
    for number, line in enumerate(lines, 1):
        setting = re.match(r'(kernel|machine|types|file [^ :]+): ?(.*)$', line)
        sign = re.match(r'(?: *(?=\^)|  )(\^|=|[fh]:|>|!)(?: (.*))?$', line)
        if line.startswith('== '):
            group, settings, path = line[3:], {}, None
        elif setting:
            path = setting.group(1)
            settings = dict(settings, **{path: setting.group(2)})
        elif line.startswith('    ') and path and path.startswith('file ') and not sign:
            settings[path] += line[4:] + '\n'
        elif sign and cases:
            cases[-1].expected.append((sign.group(1), sign.group(2) or '', sign.start(1)))
        elif line.startswith(' '):
            raise AssertionError('%s:%d: not a line of a case: %s' % (name, number, line))
        elif line and not line.startswith('#'):
            path = None
            cases.append(Case(name, number, group, settings, line, []))
    return cases


def settled(case, tool_run):
    """What is wrong with a Case, as a list of texts; tool_run(arguments) calls the tool."""
    wrong, signs = [], [sign for sign, _, _ in case.expected]
    result = tool_run(['-S', case.trace])
    said = [line for line in result.err.splitlines()
            if not line.startswith('surftrace: types from ')]
    if '^' in signs:
        return refused_wrongly(case, result, said)
    if result.status:
        return ['refused: ' + '\n'.join(said)]
    words, condition, histogram = shown(result.out)
    if '=' in signs:
        wrong += differs('=', ' '.join(text for sign, text, _ in case.expected if sign == '='),
                         words)
    for sign, text, _ in case.expected:
        if sign in ('f:', 'h:'):
            wrong += differs(sign, text, (condition if sign == 'f:' else histogram) or '')
        if sign == '>':
            printed, _, seen = text.partition(' -> ')
            line = tool_run([case.trace], (HEAD + printed + '\n').encode('utf-8')).out
            wrong += differs('>', HEAD + seen + '\n', line)
    expected = [text for sign, text, _ in case.expected if sign == '!']
    wrong += ['not said: ' + text for text in expected if text not in '\n'.join(said)]
    wrong += ['said: ' + line for line in said if not any(text in line for text in expected)]
    return wrong if signs else ['nothing is expected of it']


def refused_wrongly(case, result, said):
    """What is wrong with the refusal of a Case."""
    [(words, column)] = [(text, column) for sign, text, column in case.expected if sign == '^']
    pointed = said.index('  ' + case.trace) if '  ' + case.trace in said else None
    if not result.status or pointed is None:
        return ['not refused: ' + (result.out or '\n'.join(said))]
    caret = said[pointed + 1].index('^') - 2
    message = '\n'.join(said[:pointed])
    return ([] if words in message and 'None' not in message else ['says: ' + message]) + (
        [] if caret == column else ['the ^ stands at %d' % caret])


def shown(out):
    """(values in ftrace's words, filter, histogram) of the lines of one trace, as -S shows them.

    Those that are not there are None.
    """
    words = condition = histogram = None
    for line in out.splitlines():
        text, target = ([''] + shlex.split(line))[-3::2]        # echo TEXT > FILE, mkdir FILE
        if target.endswith('/kprobe_events'):
            values = [word for word in text.split(' ')[2:] if not word.startswith('__stack=')]
            words = ' '.join(([words] if words else []) + values)
        elif target.endswith('/filter'):
            condition = text
        elif target.endswith('/trigger') and histogram is None:
            histogram = re.sub(':sort=[a-z.]+|:size=[0-9]+|:pause|^hist:', '', text)
    return words, condition, histogram


def differs(sign, expected, found):
    return [] if expected == found else ['%s %s' % (sign, found)]

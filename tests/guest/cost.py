"""What a million events cost, in a guest: each way of tracing, of the time without any.

    tests/vm [--kernel 7.2] python tests/guest/cost.py [ROUNDS]

Each round runs every way once; a ratio is the median of the rounds' own ratios.
"""
import re
import subprocess
import sys
import time

sys.path[0] = '/work'

from tests.guest.live import Run  # noqa: E402 (after the line above)

LOOP = ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=1', 'count=500000']    # a read and a write each
WAYS = [
    ('nothing', None),
    ('`p`, lines to a file', 'p vfs_%s size=%%2 comm=$comm'),
    ('`e`, lines to a file', 'e raw_syscalls/sys_enter'),
    ('`p`, all filtered away', 'p vfs_%s size=%%2 f:size==12345'),
    ('`e`, all filtered away', 'e raw_syscalls/sys_enter f:id==12345'),
    ('`p` with `h:`', 'p vfs_%s size=%%2 comm=$comm h:comm'),
    ('`e` with `h:`', 'e raw_syscalls/sys_enter h:id'),
    ('`c`, only slow calls', 'c vfs_%s r=S$retval f:us>1000000'),
    ('`c` with `h:`', 'c vfs_%s h:us.log2')]


def loop():
    began = time.time()
    subprocess.check_call(LOOP, stderr=subprocess.DEVNULL)
    return time.time() - began


def measured(trace):
    """Return (the seconds of the loop, how many events were lost or missed) of a way."""
    if trace is None:
        return loop(), 0
    traces = [trace % name for name in ('read', 'write')] if '%s' in trace else [trace]
    with open('/tmp/lines', 'wb') as stream:
        run = Run(traces, stdout=stream)
        run.wait_for('echo 1 > /sys/kernel/tracing/instances/%s/tracing_on\n' % run.name)
        time.sleep(1)       # (where each system call is an event, it never waits)
        seconds = loop()
        status, _, said = run.end()
    with open('/tmp/lines') as stream:
        counted = sum(map(int, re.findall(r'(?m)^(\d+) (?:call|event)s?, ', stream.read())))
    lost = sum(map(int, re.findall(r'(\d+) (?:lost|missed|returns? missed|calls? dropped)', said)))
    if status or 'h:' in trace and counted < 1000000:
        sys.exit('%s: %d, %d counted\n%s' % (trace, status, counted, said))
    return seconds, lost


def main():
    rounds = int((sys.argv + [3])[1])
    found = [[measured(trace) for _, trace in WAYS] for _ in range(rounds)]
    for number, (name, _) in enumerate(WAYS):
        ratios = sorted(each[number][0] / each[0][0] for each in found)
        lost = sorted(each[number][1] for each in found)
        print('| %-24s | %5.2f | %9d |' % (name, ratios[rounds // 2], lost[rounds // 2]))


if __name__ == '__main__':
    main()

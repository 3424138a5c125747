"""What the comparisons share: kernels to compare with, what is drawn, and what is said of it.

SURFTRACE_SHARE is the part of the stated numbers that is done, 1 for all; SURFTRACE_SEED is where
the draws begin.  How many things were compared is printed, and what was measured.
"""
import os
import subprocess
import sys
import time
import unittest

from tests.lib import tool

SHARE = float(os.environ.get('SURFTRACE_SHARE') or 0.1)
SEED = int(os.environ.get('SURFTRACE_SEED') or 20261124)
WHOLE = SHARE >= 1
PATIENCE = 60       # seconds by the clock, for what waits and does not work
KERNELS, ARCHITECTURES = ('5.10', '6.1', '6.12', '7.2'), ('x86_64', 'aarch64')
SMALL = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'small.c')
COMMAND = [sys.executable, tool.SCRIPT]
# machines.py needs a Python 3, which tests do not.
FETCH = ('import sys\nfrom tests.lib import machines\n'
         'print(getattr(machines, sys.argv[1])(*sys.argv[2:]))')
# The parent of what is measured must be small: a process begins with the memory of its parent.
MEASURE = '''
import os, resource, subprocess, sys
with open(os.devnull, 'w') as nothing:
    subprocess.check_call(sys.argv[1:], stdout=nothing, stderr=nothing)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print('%f %d' % (used.ru_utime + used.ru_stime, used.ru_maxrss))
'''
fetched, sources = {}, {}


def of_machines(function, *arguments):
    """Return what a function of tests/lib/machines.py does, as text; without it skip the test."""
    if (function, arguments) not in fetched:
        python = sys.executable if sys.version_info[0] == 3 else 'python3'
        process = subprocess.Popen([python, '-c', FETCH, function] + list(arguments),
                                   cwd=tool.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, said = process.communicate()
        if process.returncode:
            missing = '%s%r: %s' % (function, arguments, tool.text_of(said).strip()[-300:])
            if os.environ.get('SURFTRACE_SKIP') == 'no':
                raise AssertionError(missing)
            raise unittest.SkipTest(missing)
        lines = tool.text_of(out).splitlines()
        fetched[function, arguments] = lines[-1]
    return fetched[function, arguments]


def need(*programs):
    """Have programs installed."""
    of_machines('need', *programs)


def btf(kernel='6.1', architecture='x86_64'):
    """Return the path of a kernel's BTF."""
    return of_machines('btf', kernel, architecture)


def vmlinux(kernel='6.1', architecture='x86_64'):
    """Return the path of a kernel's vmlinux with debug info."""
    return of_machines('debug_vmlinux', kernel, architecture)


def source(kernel='6.1', architecture='x86_64'):
    """Return the Source that a kernel's BTF is, the same one each time."""
    path = btf(kernel, architecture)
    if path not in sources:
        sources[path] = tool.from_btf(read(path), path)
    return sources[path]


def read(path):
    with open(path, 'rb') as stream:
        return stream.read()


def part_of(number, least=1):
    """Return this run's share of a number."""
    return max(int(number * SHARE), least)


def tell(count, what):
    print('compared: %d %s, seed %d' % (count, what, SEED))
    sys.stdout.flush()


def told(text):
    print('measured: ' + text)
    sys.stdout.flush()


def ended(process):
    """Return the status of a process that has nothing left to do; if it hangs, it is killed."""
    end = time.time() + PATIENCE
    while process.poll() is None and time.time() < end:
        time.sleep(0.01)
    if process.poll() is None:
        process.kill()
        raise AssertionError('it did not end')
    return process.returncode


def cost(command, **environment):
    """Return the processor's seconds that a command and what it starts take, and its MB at most."""
    seconds, memory = subprocess.check_output(
        [sys.executable, '-ESc', MEASURE] + command, env=dict(os.environ, **environment)).split()
    return float(seconds), int(memory) / 1024.0

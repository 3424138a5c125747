"""Run parts of the tests, a few at a time, and tell what happens.  Python 3.8 or later.

A Part is one call of unittest, on this machine or in a guest.  It has an end: a limit on the
clock, so generous that only what hangs meets it, also while the processors are busy with
something else.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from . import machines

PYTHONS = ['2.7'] + ['3.%d' % minor for minor in range(6, 14)]
# A test of unittest's -v, once it has begun; what the tests tell of their work; what was skipped.
BEGUN = re.compile(rb'^(?:test\w*) \((?:[\w]+\.)*(test_\w+)\.', re.MULTILINE)
REMARK = re.compile(r'\b(?:compared|concurrent|drawn|hostile|killed|measured|mutated|seed): .*')
SKIPPED = re.compile(r'^.*\bskipped .*$', re.MULTILINE)
COUNT = ('import sys, unittest; '
         'print(unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:]).countTestCases())')


def interpreters():
    """The path of every supported Python here, by version, oldest first."""
    found = {}
    for version in PYTHONS:
        candidates = [shutil.which('python' + version)] + sorted(glob.glob(
            os.path.expanduser('~/.pyenv/versions/%s.*/bin/python%s' % (version, version))))
        if version == '%d.%d' % sys.version_info[:2]:
            candidates.insert(0, sys.executable)
        for path in filter(None, candidates):
            # pyenv's stand-ins exist for versions that are not chosen, and only complain.
            if subprocess.run([path, '-c', ''], stderr=subprocess.DEVNULL).returncode == 0:
                found[version] = path
                break
    return found or {'%d.%d' % sys.version_info[:2]: sys.executable}


def tests_in(kind):
    """The modules of tests/unit, tests/guest or tests/oracle, by what stands behind test_."""
    paths = glob.glob(os.path.join(machines.ROOT, 'tests', kind, 'test_*.py'))
    return {os.path.basename(path)[5:-3]: 'tests.%s.%s' % (kind, os.path.basename(path)[:-3])
            for path in sorted(paths)}


def tally(text, status):
    """(passed, failed, skipped) of what unittest printed and how it ended."""
    ran = re.search(r'^Ran (\d+) test', text, re.MULTILINE)
    if not ran:
        return 0, 1, 0
    counts = dict((word, int(count)) for word, count in re.findall(
        r'(failures|errors|skipped)=(\d+)', text[ran.end():]))
    failed = counts.get('failures', 0) + counts.get('errors', 0)
    if status and not failed:
        failed = 1
    skipped = counts.get('skipped', 0)
    return max(int(ran.group(1)) - failed - skipped, 0), failed, skipped


class Stopped(Exception):
    """The whole run is to end."""


class Part:
    """Modules of tests under one Python of this machine.

    seconds -- about how long it takes; the longest parts begin first
    limit -- seconds on the clock after which it is ended, and has failed
    environment -- variables for the tests
    counts -- (passed, failed, skipped), once it has ended
    """

    def __init__(self, name, modules, python, seconds, limit, environment):
        self.name, self.modules, self.python = name, modules, python
        self.seconds, self.limit, self.environment = seconds, limit, environment
        self.output, self.tests = b'', 0
        self.began = self.took = self.counts = None
        self.stopping = False

    def run(self):
        """Run it; the output is there while it grows, the counts at the end."""
        self.began = time.monotonic()
        try:
            self.tests = self.count()
            status = self.call()
        except Stopped:
            status = 1
        except Exception as error:      # no part takes the others with it
            self.output += b'\n%s: %s\n' % (self.name.encode(), str(error).encode())
            status = 1
        self.took = time.monotonic() - self.began
        self.counts = tally(self.text, status)
        return self

    def count(self):
        """How many tests there will be, 0 if that is not known."""
        done = subprocess.run([self.python, '-W', 'ignore', '-c', COUNT] + self.modules,
                              cwd=machines.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=self.limit)
        return int(done.stdout) if re.match(rb'\d+\s*$', done.stdout) else 0

    def call(self):
        """Call unittest; returns its status."""
        with tempfile.NamedTemporaryFile(prefix='surftrace-tests-') as output:
            process = subprocess.Popen(
                [self.python, '-W', 'ignore', '-m', 'unittest', '-v'] + self.modules,
                cwd=machines.ROOT, env=dict(os.environ, **self.environment),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True)
            if machines.follow(process, output.name, self.limit, self.seen):
                return process.returncode
        self.met_limit()
        return 1

    def met_limit(self):
        self.output += ('\n%s: not done after %d seconds, ended\n' % (
            self.name, self.limit)).encode()

    def seen(self, data):
        """Take what the tests print."""
        self.output += data
        if self.stopping:
            raise Stopped()

    @property
    def text(self):
        return self.output.decode(errors='replace')

    @property
    def under_way(self):
        """What it is at, in a few words."""
        begun = BEGUN.findall(self.output)
        if not begun:
            return self.name
        return '%s: %d of %d %s' % (self.name, len(begun), max(self.tests, len(begun)),
                                    begun[-1].decode())

    def report(self):
        """What to tell of it at its end."""
        lines = ['  ' + line for line in REMARK.findall(self.text)]
        if self.counts[1]:
            # The details, which follow the list of all tests; all there is if there are none.
            lines.append(re.sub(r'\A.*?(?=^={70}$)', '', self.text, count=1, flags=re.M | re.S))
            if not re.search(r'^Ran \d', self.text, re.MULTILINE) and BEGUN.search(self.output):
                lines.append('%s: it ended in %s' % (self.name, self.text[
                    [match.start() for match in BEGUN.finditer(self.output)][-1]:].split('\n')[0]))
        else:
            lines += ['  ' + line for line in SKIPPED.findall(self.text)]
        lines.append('%-32s %4d passed, %d failed, %d skipped, %d s' % (
            (self.name,) + self.counts + (self.took,)))
        return '\n'.join(lines)


class Guest(Part):
    """Modules of tests in a machine with a kernel of its own.

    files -- a function that returns more files for it, see machines.run
    """

    def __init__(self, name, modules, machine, files, seconds, limit, environment):
        super().__init__(name, modules, sys.executable, seconds, limit, environment)
        self.machine, self.files = machine, files

    def call(self):
        words = ['env', 'PYTHONPATH=/work'] + [
            '%s=%s' % variable for variable in sorted(self.environment.items())]
        words += ['python', '-W', 'ignore', '-m', 'unittest', '-v'] + self.modules
        kernel, arch, python = self.machine
        files = self.files(kernel, arch)
        for last in False, True:
            self.output = b''
            left = self.limit - (time.monotonic() - self.began)
            try:
                result = machines.run(words, kernel, arch, python, left, files, self.seen)
                self.output = result.output
                return result.status
            except machines.MachineLost as lost:
                # Emulation is not perfect: a machine that is lost gets a second chance, said so.
                left = self.limit - (time.monotonic() - self.began)
                if last or left < self.limit / 2:
                    self.output += ('\n%s\n' % lost).encode()
                    if left <= 0:
                        self.met_limit()
                    return 1
                print('%s: the machine was lost, once more\n%s' % (self.name, lost), flush=True)


class Progress:
    """What is under way: a line that moves on a terminal, else a line now and then."""

    EVERY = 60      # seconds, where it is no terminal

    def __init__(self, parts, out=None):
        self.parts, self.out = parts, out or sys.stdout
        self.moves = self.out.isatty()
        self.began = self.said = time.monotonic()
        self.known = set()

    def line(self):
        now = time.monotonic() - self.began
        ended = sum(part.counts is not None for part in self.parts)
        active = [part.under_way for part in self.parts if part.began and not part.counts]
        return '%d of %d  %s   %d:%02d' % (ended, len(self.parts), '   '.join(active), now // 60,
                                           now % 60)

    def tick(self):
        """Called a few times a second."""
        if self.moves:
            columns = shutil.get_terminal_size().columns
            self.out.write('\r%s\x1b[K' % self.line()[:columns - 1])
        else:
            for part in self.parts:
                if part.began and part not in self.known:
                    self.known.add(part)
                    self.out.write('%s: begins\n' % part.name)
            if time.monotonic() - self.said > self.EVERY:
                self.said = time.monotonic()
                self.out.write(self.line() + '\n')
        self.out.flush()

    def tell(self, text):
        """Print something else."""
        self.out.write('\r\x1b[K' * self.moves + text + '\n')
        self.out.flush()


def run(parts, at_once):
    """Run the parts, the longest first, so that all processors come to an end together."""
    parts = sorted(parts, key=lambda part: -part.seconds)
    progress = Progress(parts)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        waiting = {pool.submit(part.run) for part in parts}
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(
                    waiting, 0.2, concurrent.futures.FIRST_COMPLETED)
                progress.tick()
                for each in done:
                    progress.tell(each.result().report())
        except BaseException:
            for each in waiting:
                each.cancel()
            for part in parts:
                part.stopping = True
            progress.tell('ended: ' + progress.line())
            raise
    return tuple(map(sum, zip((0, 0, 0), *(part.counts for part in parts))))

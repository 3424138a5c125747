"""A directory that stands in for tracefs: it does what the kernel does with what is written.

mkdir in instances/ fills the directory, a line appended to kprobe_events makes an event appear in
every instance, -: takes it away, rmdir removes the files too.  Every operation is logged, and any
one of them can be made to fail.
"""
import errno
import os
import re
import shutil
import tempfile

import surftrace


class StandIn(surftrace.Tracefs):
    """fail_at: the number of the operation (from 0) that fails with fail_with, None for none."""

    def __init__(self, fail_at=None, fail_with=errno.EIO, instances=True):
        surftrace.Tracefs.__init__(self, tempfile.mkdtemp(prefix='standin'))
        self.log = []
        self.fail_at, self.fail_with = None, fail_with
        self._fill('')
        self._file('kprobe_events', '')
        self._file('kprobe_profile', '')
        self._file('README', 'x8/16/32/64')
        self._file('error_log', '')
        if instances:
            os.mkdir(self.path('instances'))
        self.fail_at = fail_at
        self.log = []

    def remove(self):
        shutil.rmtree(self.root)

    def _file(self, name, text):
        path = self.path(name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, 'w') as stream:
            stream.write(text)

    def _fill(self, top):
        """Make the files that the root and each instance have."""
        for name, text in [('tracing_on', '1\n'), ('options/stacktrace', '0\n'), ('set_event', ''),
                           ('events/enable', '0\n'), ('error_log', ''),
                           ('per_cpu/cpu0/stats',
                            'overrun: 3\ndropped events: 2\nread events: 2\n'),
                           ('events/sched/sched_switch/format',
                            '\tfield:int prev_pid;\toffset:8;\tsize:4;\tsigned:1;\n'
                            '\tfield:char prev_comm[16];\toffset:12;\tsize:16;\tsigned:0;\n')]:
            self._file(top + name, text)
        self._event(top, 'sched', 'sched_switch')
        for line in surftrace.text_if_there(self.path('kprobe_events')).splitlines():
            self._event(top, *line.split()[0].split(':')[1].split('/'))
        os.mkfifo(self.path(top + 'trace_pipe'))

    def _event(self, top, group, event):
        self._file('%sevents/%s/%s/enable' % (top, group, event), '0\n')
        self._file('%sevents/%s/%s/filter' % (top, group, event), 'none\n')

    def _tops(self):
        return [''] + ['instances/%s/' % name for name in self.names('instances')]

    def _attempt(self, call, name, *rest):
        """Log an operation, and fail if it is the one that is to."""
        text = rest[0] if call is surftrace.write_file else ''
        self.log.append((call.__name__, name, text if isinstance(text, str) else text.decode()))
        if self.fail_at is not None and len(self.log) - 1 == self.fail_at:
            number = self.fail_with
            raise surftrace.KernelError('%s: %s' % (self.path(name), os.strerror(number).lower()),
                                        number)
        if call is os.rmdir:
            call = shutil.rmtree
        result = surftrace.Tracefs._attempt(self, call, name, *rest)
        if call is os.mkdir:
            self._fill(name + '/')
        if name == 'kprobe_events' and text:
            self._kprobes()
        return result

    def _kprobes(self):
        """Carry out the -: lines of kprobe_events, and let the events of the others appear."""
        lines = surftrace.text_if_there(self.path('kprobe_events')).splitlines()
        kept = []
        for line in lines:
            if line.startswith('-:'):
                kept = [other for other in kept if other.split()[0].split(':')[1] != line[2:]]
                for top in self._tops():
                    shutil.rmtree(self.path(top + 'events/' + line[2:]), ignore_errors=True)
            else:
                kept.append(line)
                for top in self._tops():
                    group, event = re.match(r'\w+:(\w+)/(\w+)', line).groups()
                    if not self.has('%sevents/%s/%s' % (top, group, event)):
                        self._event(top, group, event)
        self._file('kprobe_events', ''.join(line + '\n' for line in kept))

    def state(self):
        """Return every file's text, by name; what must be the same before and after a run."""
        found = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                if name != 'trace_pipe':
                    found[os.path.relpath(path, self.root)] = surftrace.text_if_there(path)
        return found

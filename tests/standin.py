"""A directory that stands in for tracefs: it does what the kernel does with what is written.

mkdir in instances/ fills the directory, a line appended to kprobe_events makes an event appear in
every instance, -: takes it away, rmdir removes the files too, whoever opens a trace_pipe reads
`events` to their end.  Every system call that concerns the directory is logged, and any one of
them can be made to fail.
"""
import errno
import os
import re
import shutil
import tempfile

import surftrace


class System(object):
    """surftrace's os, which passes on to a StandIn what concerns it."""

    def __init__(self):
        self.stand_ins, self.files = [], {}     # files: open descriptor -> (StandIn, name)

    def __getattr__(self, name):
        return getattr(os, name)

    def whose(self, path):
        """Return the StandIn that has path and its name there, or (None, None)."""
        for stand_in in self.stand_ins:
            if path == stand_in.root or path.startswith(stand_in.root + '/'):
                return stand_in, path[len(stand_in.root) + 1:]
        return None, None

    def _pass(self, call, path, *rest):
        stand_in, name = self.whose(path)
        if stand_in:
            stand_in.operation(call, name)
            return getattr(stand_in, 'do_' + call, getattr(os, call))(path, *rest)
        return getattr(os, call)(path, *rest)

    def mkdir(self, path):
        return self._pass('mkdir', path)

    def rmdir(self, path):
        return self._pass('rmdir', path)

    def listdir(self, path):
        return self._pass('listdir', path)

    def open(self, path, *rest):
        descriptor = self._pass('open', path, *rest)
        stand_in, name = self.whose(path)
        if stand_in:
            self.files[descriptor] = stand_in, name
        return descriptor

    def close(self, descriptor):
        self.files.pop(descriptor, None)
        os.close(descriptor)

    def read(self, descriptor, size):
        if descriptor in self.files:
            stand_in, name = self.files[descriptor]
            stand_in.operation('read', name)
        return os.read(descriptor, size)

    def write(self, descriptor, data):
        if descriptor not in self.files:
            return os.write(descriptor, data)
        stand_in, name = self.files[descriptor]
        stand_in.operation('write', name, data.decode())
        return stand_in.do_write(descriptor, name, data)

    def open_file(self, path, *rest):
        """Stand for open(), of which surftrace wants read() only where tracefs is concerned."""
        if self.whose(path)[0]:
            return File(self, path)
        return open(path, *rest)


class File(object):

    def __init__(self, system, path):
        self.system, self.descriptor = system, system.open(path, os.O_RDONLY)

    def __enter__(self):
        return self

    def read(self):
        return self.system.read(self.descriptor, 1 << 20)

    def __exit__(self, *_):
        self.system.close(self.descriptor)


SYSTEM = System()
surftrace.os = SYSTEM
surftrace.open = SYSTEM.open_file


class StandIn(surftrace.Tracefs):
    """A Tracefs on such a directory.

    fail_at -- the number of the operation (from 0) that fails with fail_with, None for none
    instances -- whether this kernel has them
    readme -- what its README says
    takes -- a pattern of the values that its kprobe_events takes
    """

    def __init__(self, instances=True, readme='x8/16/32/64', takes='.*'):
        surftrace.Tracefs.__init__(self, tempfile.mkdtemp(prefix='standin'))
        self.log, self.takes, self.events = [], takes, b''
        self.missed = {}        # GROUP/EVENT -> how often, for kprobe_profile
        self.fail_at, self.fail_with = None, None
        self._fill('')
        for name, text in (('kprobe_events', ''), ('kprobe_profile', ''), ('README', readme),
                           ('available_filter_functions', 'vfs_read\nwake_up_new_task\n')):
            self.file(name, text)
        if instances:
            os.mkdir(self.path('instances'))
        SYSTEM.stand_ins.append(self)

    def remove(self):
        SYSTEM.stand_ins.remove(self)
        shutil.rmtree(self.root)

    def file(self, name, text):
        """Make a file, without a trace in the log."""
        path = self.path(name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, 'w') as stream:
            stream.write(text)

    def text(self, name):
        """Return a file's text, without a trace in the log."""
        with open(self.path(name)) as stream:
            return stream.read()

    def _fill(self, top):
        """Make the files that the root and each instance have."""
        for name, text in [('tracing_on', '1\n'), ('options/stacktrace', '0\n'), ('set_event', ''),
                           ('events/enable', '0\n'), ('error_log', ''),
                           ('per_cpu/cpu0/stats',
                            'overrun: 3\ndropped events: 2\nread events: 2\n'),
                           ('events/sched/sched_switch/format',
                            '\tfield:int prev_pid;\toffset:8;\tsize:4;\tsigned:1;\n'
                            '\tfield:char prev_comm[16];\toffset:12;\tsize:16;\tsigned:0;\n')]:
            self.file(top + name, text)
        self._event(top, 'sched', 'sched_switch')
        if top:
            for line in self.text('kprobe_events').splitlines():
                self._event(top, *line.split()[0].split(':')[1].split('/'))
        os.mkfifo(self.path(top + 'trace_pipe'))

    def _event(self, top, group, event):
        self.file('%sevents/%s/%s/enable' % (top, group, event), '0\n')
        self.file('%sevents/%s/%s/filter' % (top, group, event), 'none\n')

    def _tops(self):
        directory = self.path('instances')
        names = os.listdir(directory) if os.path.isdir(directory) else []
        return [''] + ['instances/%s/' % name for name in names]

    # What the kernel does

    def operation(self, call, name, text=''):
        """Log an operation, and fail if it is the one that is to."""
        self.log.append((call, name, text))
        if self.fail_at is not None and len(self.log) - 1 == self.fail_at:
            raise EnvironmentError(self.fail_with, os.strerror(self.fail_with))

    def do_open(self, path, flags):
        descriptor = os.open(path, flags)
        if path.endswith('trace_pipe'):
            writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(writer, self.events)
            os.close(writer)
        return descriptor

    def do_mkdir(self, path):
        os.mkdir(path)
        self._fill(SYSTEM.whose(path)[1] + '/')

    def do_rmdir(self, path):
        shutil.rmtree(path)

    def do_write(self, descriptor, name, data):
        if name == 'kprobe_events':
            for line in data.decode().splitlines():
                self._kprobe(line)
            return len(data)
        return os.write(descriptor, data)

    def _kprobe(self, line):
        """Carry out a line that is written to kprobe_events."""
        lines = self.text('kprobe_events').splitlines()
        if line.startswith('-:'):
            lines = [other for other in lines if other.split()[0].split(':')[1] != line[2:]]
            for top in self._tops():
                shutil.rmtree(self.path(top + 'events/' + line[2:]), ignore_errors=True)
        else:
            for value in line.split()[2:]:
                if not re.match('(?:%s)$' % self.takes, value.partition('=')[2]):
                    raise EnvironmentError(errno.EINVAL, 'Invalid argument')
            lines.append(line)
            for top in self._tops():
                self._event(top, *re.match(r'\w+:(\w+)/(\w+)', line).groups())
        self.file('kprobe_events', ''.join(line + '\n' for line in lines))
        probes = [line.split()[0].partition(':')[2] for line in lines]
        self.file('kprobe_profile', ''.join('  %-44s %15d %15d\n' % (
            probe.partition('/')[2], 9, self.missed.get(probe, 0)) for probe in probes))

    def state(self):
        """Return every file's text, by name; what must be the same before and after a run."""
        found = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                name = os.path.relpath(os.path.join(directory, name), self.root)
                if not name.endswith('trace_pipe'):
                    found[name] = self.text(name)
        return found

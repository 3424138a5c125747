"""A machine in small for the tool to run on: its tracefs, and the other files of a kernel.

    >>> box = StandIn(kernel='6.1')
    >>> box.put('/proc/kallsyms', 'ffffffff81000000 T vfs_read\\n')
    >>> tool.run(['-S', 'p vfs_reed'], on=box)

What a kernel has below /sys and in some files of /proc, /etc, /boot and /usr/lib/debug, the tool
finds in a directory, under the names that it knows.  The directory does what tracefs does with
what is written: mkdir in instances/ fills the new directory, a line appended to kprobe_events makes
an event appear in every instance and -: takes it away, unless it is enabled or has a trigger
(EBUSY); s: in dynamic_events does so, too.  A trigger that is appended stands in its file, and !
with the same takes it away.  rmdir removes an instance, unless a file of it is open or a trigger
stands there (EBUSY); whoever opens a trace_pipe first reads `events` to their end, and nobody else
can open it (EBUSY).  mount and umount change /proc/mounts, on which depends whether tracefs is
there.

Every system call that concerns tracefs is logged; any of them can be made to fail, and a signal
can come at it.
"""
import errno
import fcntl
import functools
import os
import re
import shutil
import tempfile

from . import btf

TRACEFS, DEBUGFS = '/sys/kernel/tracing', '/sys/kernel/debug'
# What stands in for a file of the machine; all else is this machine's own.
PLACES = ('/sys/', '/proc/mounts', '/proc/kallsyms', '/proc/modules', '/etc/os-release',
          '/usr/lib/debug/', '/boot/', '/lib/modules/', '/usr/lib/modules/')
SCRATCH = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
PIPE_SIZE = 1 << 20     # bytes; as much as a user may have
SET_PIPE_SIZE = 1031    # F_SETPIPE_SZ of fcntl(2)

# What tracefs/README says of histograms (Debian's kernels before 6.1 have none), and of types, by
# release.
HISTOGRAMS = ('  s:[synthetic/]<event> <field> [<field>]\n'
              '      hist trigger\t- If set, event hits are aggregated into a hash table\n'
              '            .buckets=size  display values in groups of size rather than raw\n')
READMES = {
    '4.0': 'type: s8/16/32/64, u8/16/32/64\n',
    '4.19': 'type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string,\n'
            '      b<bit-width>@<bit-offset>/<container-size>\n',
    '5.10': 'type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string, symbol,\n'
            '      b<bit-width>@<bit-offset>/<container-size>, ustring,\n'
            '      <type>\\[<array-size>\\]\n',
    '6.1': 'type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string, symbol,\n'
           '      b<bit-width>@<bit-offset>/<container-size>, ustring,\n'
           '      symstr, <type>\\[<array-size>\\]\n' + HISTOGRAMS,
    '6.12': '<argname>[->field[->field|.field...]],\n'
            'type: s8/16/32/64, u8/16/32/64, x8/16/32/64, char, string, symbol,\n'
            '      b<bit-width>@<bit-offset>/<container-size>, ustring,\n'
            '      symstr, %pd/%pD, <type>\\[<array-size>\\]\n' + HISTOGRAMS}
FUNCTIONS = ('by_array by_single by_struct by_value either_way from_user in_one_register '
             'in_registers ip_rcv large_result many no_result odd_float odd_packed odd_wide '
             'open_file receive_core tcp_close twice udp_rcv unknown vfs_read wake_up_new_task '
             'free_pid'.split())
MOUNT = '''#!/bin/sh
[ -z "$(cat %(root)s/refuses-mounts)" ] || { echo "mount: $4: permission denied." >&2; exit 32; }
[ ! -e %(root)s/on-mount ] || . %(root)s/on-mount
echo "$3 $4 $2 rw 0 0" >> %(root)s/proc/mounts
'''
UMOUNT = '''#!/bin/sh
grep -v " $1 " %(root)s/proc/mounts > %(root)s/mounts
cat %(root)s/mounts > %(root)s/proc/mounts
'''


class StandIn(object):
    """Such a machine.

    kernel -- a release of READMES
    architecture -- as uname -m tells it
    mounted -- tracefs is mounted at the beginning
    user -- the effective user id of whoever runs the tool
    events -- bytes that are read from the first trace_pipe
    hold -- there may come more: its end is not reached until feed(b'') is called
    piece -- how many bytes a read of trace_pipe gives at the most
    missed -- GROUP/EVENT -> how often, for kprobe_profile
    takes -- a pattern of the values that kprobe_events takes
    refuses -- a part of a line -> (errno, what error_log says or '', the word its caret points at)
    fail -- (number of the operation on tracefs, from 0, and the errno that it fails with)
    signal -- (number of the operation, and the signal that comes at it)
    forged -- how many of the lines that look like events are parts of strings
    table -- what every file called hist has in it
    """

    def __init__(self, kernel='6.12', architecture='x86_64', mounted=True, types=True):
        self.root = tempfile.mkdtemp(prefix='stand-in-', dir=SCRATCH)
        self.tracefs = self.root + TRACEFS
        self.kernel, self.architecture, self.user = kernel, architecture, 0
        self.log, self.takes, self.events, self.missed, self.refuses = [], '.*', b'', {}, {}
        self.fail = self.signal = self._writer = None
        self.hold, self.piece = False, 1 << 20
        self.forged, self.taken, self.table = 0, b'', ''
        self.system = System(self)
        for directory in (DEBUGFS, '/unmounted', '/bin', TRACEFS + '/instances'):
            os.makedirs(self.root + directory)
        self.put('/refuses-mounts', '')
        self.put('/proc/mounts', '')
        for name, text in (('mount', MOUNT), ('umount', UMOUNT)):
            self.put('/bin/' + name, text % {'root': self.root})
            os.chmod(self.root + '/bin/' + name, 0o755)
        self._fill('')
        for name, text in (('kprobe_events', ''), ('kprobe_profile', ''),
                           ('README', READMES[kernel]), ('dynamic_events', ''),
                           ('available_filter_functions', '\n'.join(FUNCTIONS) + '\n')):
            self.put(TRACEFS + '/' + name, text)
        if mounted:
            self.put('/proc/mounts', 'tracefs %s tracefs rw 0 0\n' % TRACEFS)
        if types:
            self.put('/sys/kernel/btf/vmlinux', btf.sample().data())

    def remove(self):
        if self._writer is not None:
            os.close(self._writer)
        shutil.rmtree(self.root)

    def put(self, path, text):
        """Make a file of the machine; its directory is made, too."""
        path = self.root + path
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, 'wb') as stream:
            stream.write(text if isinstance(text, bytes) else text.encode('utf-8'))

    def get(self, name):
        """The text of a file of tracefs."""
        with open(os.path.join(self.tracefs, name)) as stream:
            return stream.read()

    def names(self, name):
        """The names in a directory of tracefs, in order."""
        return sorted(os.listdir(os.path.join(self.tracefs, name)))

    def probes(self):
        """GROUP/EVENT of each line of kprobe_events, in order."""
        if not os.path.exists(self.tracefs + '/kprobe_events'):
            return []
        return sorted(line.split()[0].partition(':')[2]
                      for line in self.get('kprobe_events').splitlines())

    def probe(self, line):
        """Add a probe, as somebody else would."""
        self._kprobe(line)

    def instance(self, name):
        """Make an instance, as somebody else would."""
        os.mkdir(os.path.join(self.tracefs, 'instances', name))
        self._fill('instances/%s/' % name)

    def writes(self):
        """(name, text) of all that has been written into tracefs."""
        return [(name, text) for call, name, text in self.log if call == 'write']

    def state(self):
        """The text of every file of tracefs, by name; what must be the same after a run."""
        found = {}
        for directory, below, names in os.walk(self.tracefs):
            for name in names + below:
                path = os.path.join(directory, name)
                name = os.path.relpath(path, self.tracefs)
                if not name.endswith('trace_pipe'):
                    found[name] = '' if os.path.isdir(path) else self.get(name)
        return found

    def stands_for(self, path):
        """The path of what stands in for a file of the machine; the file itself if nothing does."""
        if path.startswith(DEBUGFS + '/tracing') and self._mounts(DEBUGFS):
            path = TRACEFS + path[len(DEBUGFS + '/tracing'):]
        elif (path + '/').startswith(TRACEFS + '/') and not self._mounts(TRACEFS):
            return self.root + '/unmounted' + path[len(TRACEFS):]
        return self.root + path if (path + '/').startswith(PLACES) else path

    def _mounts(self, directory):
        with open(self.root + '/proc/mounts') as stream:
            return ' %s ' % directory in stream.read()

    # What the kernel does

    def operation(self, call, name, text=''):
        """Log an operation on tracefs; it may fail, and a signal may come at it."""
        number = len(self.log)
        self.log.append((call, name, text))
        if self.signal and self.signal[0] == number:
            os.kill(os.getpid(), self.signal[1])
        if self.fail and self.fail[0] == number:
            raise EnvironmentError(self.fail[1], os.strerror(self.fail[1]))

    def _fill(self, top):
        """Make the files that the root and each instance have."""
        for name, text in [('tracing_on', '1\n'), ('options/stacktrace', '0\n'),
                           ('options/event-fork', '0\n'), ('set_event', ''),
                           ('set_event_pid', ''), ('set_event_notrace_pid', ''),
                           ('buffer_size_kb', '1410\n'), ('error_log', ''),
                           ('per_cpu/cpu0/stats',
                            'entries: 0\noverrun: 3\ncommit overrun: 0\ndropped events: 2\n'
                            'read events: 2\n'),
                           ('events/sched/sched_switch/format',
                            '\tfield:int prev_pid;\toffset:8;\tsize:4;\tsigned:1;\n'
                            '\tfield:char prev_comm[16];\toffset:12;\tsize:16;\tsigned:0;\n')]:
            self.put('%s/%s%s' % (TRACEFS, top, name), text)
        for name in self.names('options') if top else ():       # what is set at the top
            if not os.path.exists('%s/%soptions/%s' % (self.tracefs, top, name)):
                self.put('%s/%soptions/%s' % (TRACEFS, top, name), self.get('options/' + name))
        self._event(top, 'sched', 'sched_switch')
        for system in self.names('events') if top else ():
            for event in self.names('events/' + system):
                self._event(top, system, event)
        os.mkfifo(os.path.join(self.tracefs, top + 'trace_pipe'))

    def _event(self, top, group, event):
        for name, text in (('enable', '0\n'), ('filter', 'none\n'), ('trigger', ''),
                           ('hist', self.table)):
            self.put('%s/%sevents/%s/%s/%s' % (TRACEFS, top, group, event, name), text)

    def _tops(self):
        return [''] + ['instances/%s/' % name for name in self.names('instances')]

    def opened(self, name, flags):
        """Open a file of tracefs."""
        path = os.path.join(self.tracefs, name)
        if name.endswith('trace_pipe') and name in self.system.files.values():
            raise EnvironmentError(errno.EBUSY, 'busy')
        if name.endswith('/trigger') and flags & os.O_TRUNC and self._used(name):
            flags &= ~os.O_TRUNC
        if name == 'kprobe_events' and flags & os.O_TRUNC:
            for line in self.get(name).splitlines():
                self._kprobe('-:' + line.split()[0].partition(':')[2])
        descriptor = os.open(path, flags)
        if name.endswith('trace_pipe'):
            writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            if len(self.events) > 1 << 16:
                fcntl.fcntl(writer, SET_PIPE_SIZE, PIPE_SIZE)
            self.events = self.events[os.write(writer, self.events):] if self.events else b''
            if self.hold:
                self._writer = writer
            else:
                os.close(writer)
        return descriptor

    def has_read(self, name, data):
        """Count the events in what has been read of a trace_pipe, as the kernel does."""
        self.taken += data
        lines = len(re.findall(br'[0-9]\.[0-9]{6}: ', self.taken))
        if lines:
            self.put('%s/%sper_cpu/cpu0/stats' % (TRACEFS, name[:-len('trace_pipe')]),
                     'entries: 0\noverrun: 3\ncommit overrun: 0\ndropped events: 2\n'
                     'read events: %d\n' % (lines - self.forged))

    def feed(self, data):
        """Let more events come; b'' is their end."""
        if data:
            os.write(self._writer, data)
        else:
            os.close(self._writer)
            self._writer = None

    def made(self, name):
        os.mkdir(os.path.join(self.tracefs, name))
        self._fill(name + '/')

    def removed(self, name):
        if any(open_file.startswith(name + '/') for open_file in self.system.files.values()) or any(
                text for path, text in self.state().items()
                if path.startswith(name + '/') and path.endswith('/trigger')):
            raise EnvironmentError(errno.EBUSY, 'busy')
        shutil.rmtree(os.path.join(self.tracefs, name))

    def written(self, descriptor, name, data):
        text = data.decode('utf-8', 'replace')
        for part, (number, reason, word) in self.refuses.items():
            if part in text:
                log = name.partition('events/')[0] if 'instances/' in name else ''
                if reason:
                    self.put('%s/%serror_log' % (TRACEFS, log), (
                        '[    1.000000] trace_kprobe: error: %s\n  Command: %s\n'
                        '           %s^\n' % (reason, text.strip(), ' ' * text.find(word))))
                raise EnvironmentError(number, os.strerror(number))
        change = (self._kprobe if name == 'kprobe_events' else
                  self._synthetic if name == 'dynamic_events' else
                  functools.partial(self._trigger, name) if name.endswith('/trigger') else None)
        if not change:
            return os.write(descriptor, data)
        for line in text.splitlines():
            change(line)
        return len(data)

    def _used(self, name):
        """Tell whether a trigger elsewhere uses the variables of those in a file."""
        event = '.'.join(name.split('/')[-3:-1])
        return any('onmatch(%s)' % event in text for path, text in self.state().items()
                   if path.endswith('/trigger'))

    def _trigger(self, name, line):
        """Carry out a line that is written to a trigger file."""
        lines = self.get(name).splitlines()
        plain = re.sub(':(pause|cont)', '', line.lstrip('!'))
        if line.startswith('!'):
            if plain not in lines:
                raise EnvironmentError(errno.EINVAL, 'Invalid argument')
            if self._used(name):
                raise EnvironmentError(errno.EBUSY, 'busy')
            lines.remove(plain)
        elif plain not in lines:
            lines.append(plain)
        self.put('%s/%s' % (TRACEFS, name), ''.join(each + '\n' for each in lines))

    def _synthetic(self, line):
        """Carry out a line that is written to dynamic_events."""
        lines = self.get('dynamic_events').splitlines()
        name = 'synthetic/' + re.match(r'(?:s|-):(\w+)', line).group(1)
        if line.startswith('s:'):
            lines.append(line.replace('s:', 's:synthetic/', 1))
            for top in self._tops():
                self._event(top, *name.split('/'))
        else:
            if any(self.get(top + 'events/%s/enable' % name).startswith('1')
                   or self.get(top + 'events/%s/trigger' % name) for top in self._tops()):
                raise EnvironmentError(errno.EBUSY, 'busy')
            lines = [other for other in lines if other.split()[0] != 's:' + name]
            for top in self._tops():
                shutil.rmtree(os.path.join(self.tracefs, top + 'events/' + name))
                if not self.names(top + 'events/synthetic'):
                    os.rmdir(os.path.join(self.tracefs, top + 'events/synthetic'))
        self.put(TRACEFS + '/dynamic_events', ''.join(each + '\n' for each in lines))

    def _kprobe(self, line):
        """Carry out a line that is written to kprobe_events."""
        lines = self.get('kprobe_events').splitlines()
        if line.startswith('-:'):
            if any(self.get(top + 'events/%s/enable' % line[2:]).startswith('1')
                   or self.get(top + 'events/%s/trigger' % line[2:]) for top in self._tops()):
                raise EnvironmentError(errno.EBUSY, 'busy')
            lines = [other for other in lines if other.split()[0].split(':')[1] != line[2:]]
            for top in self._tops():
                directory = os.path.join(self.tracefs, top + 'events/' + line[2:])
                shutil.rmtree(directory)
                if not os.listdir(os.path.dirname(directory)):
                    os.rmdir(os.path.dirname(directory))
        else:
            for value in line.split()[2:]:
                if not re.match('(?:%s)$' % self.takes, value.partition('=')[2]):
                    raise EnvironmentError(errno.EINVAL, 'Invalid argument')
            lines.append(line)
            for top in self._tops():
                self._event(top, *re.match(r'\w+:(\w+)/(\w+)', line).groups())
        self.put(TRACEFS + '/kprobe_events', ''.join(line + '\n' for line in lines))
        probes = [line.split()[0].partition(':')[2] for line in lines]
        self.put(TRACEFS + '/kprobe_profile', ''.join('  %-44s %15d %15d\n' % (
            probe.partition('/')[2], 9, self.missed.get(probe, 0)) for probe in probes))


class System(object):
    """The module os, and open(), as they are on a StandIn."""

    def __init__(self, stand_in):
        self.stand_in = stand_in
        self.files = {}             # open descriptor -> name below tracefs
        self.path = Paths(stand_in)

    def __getattr__(self, name):
        return getattr(os, name)

    def _name(self, path):
        """(what stands in for a path, its name below tracefs, or None)."""
        if not isinstance(path, (str, type(u''))):
            return path, None
        path = self.stand_in.stands_for(path)
        below = (path + '/').startswith(self.stand_in.tracefs + '/')
        return path, path[len(self.stand_in.tracefs) + 1:] if below else None

    def open(self, path, flags, *mode):
        path, name = self._name(path)
        if name is None:
            return os.open(path, flags, *mode)
        self.stand_in.operation('open', name)
        descriptor = self.stand_in.opened(name, flags)
        self.files[descriptor] = name
        return descriptor

    def close(self, descriptor):
        self.files.pop(descriptor, None)
        os.close(descriptor)

    def read(self, descriptor, size):
        if descriptor in self.files:
            self.stand_in.operation('read', self.files[descriptor])
            if self.files[descriptor].endswith('trace_pipe'):
                data = os.read(descriptor, min(size, self.stand_in.piece))
                self.stand_in.has_read(self.files[descriptor], data)
                return data
        return os.read(descriptor, size)

    def write(self, descriptor, data):
        if descriptor not in self.files:
            return os.write(descriptor, data)
        self.stand_in.operation('write', self.files[descriptor], data.decode('utf-8', 'replace'))
        return self.stand_in.written(descriptor, self.files[descriptor], data)

    def mkdir(self, path, *mode):
        path, name = self._name(path)
        if name is None:
            return os.mkdir(path, *mode)
        self.stand_in.operation('mkdir', name)
        self.stand_in.made(name)

    def rmdir(self, path):
        path, name = self._name(path)
        if name is None:
            return os.rmdir(path)
        self.stand_in.operation('rmdir', name)
        self.stand_in.removed(name)

    def listdir(self, path):
        path, name = self._name(path)
        if name is not None:
            self.stand_in.operation('listdir', name)
        return os.listdir(path)

    def stat(self, path):
        return os.stat(self._name(path)[0])

    def access(self, path, mode):
        return os.access(self._name(path)[0], mode)

    def walk(self, top):
        for directory, below, names in os.walk(self._name(top)[0]):
            if directory.startswith(self.stand_in.root):
                directory = directory[len(self.stand_in.root):]
            yield directory, below, names

    def uname(self):
        own = os.uname()
        return (own[0], 'stand-in', self.stand_in.kernel, own[3], self.stand_in.architecture)

    def geteuid(self):
        return self.stand_in.user

    def open_file(self, path, *rest):
        """Stand for open(), of which the tool wants read() only where tracefs is concerned."""
        found, name = self._name(path)
        return open(found, *rest) if name is None else File(self, path)


class Paths(object):
    """The module os.path on a StandIn."""

    def __init__(self, stand_in):
        self.stand_in = stand_in

    def __getattr__(self, name):
        function = getattr(os.path, name)
        if name in ('exists', 'lexists', 'isfile', 'isdir', 'islink', 'getsize', 'ismount'):
            return lambda path: function(self.stand_in.stands_for(path))
        return function


class File(object):
    """What open() gives for a file of tracefs."""

    def __init__(self, system, path):
        self.system, self.descriptor = system, system.open(path, os.O_RDONLY)

    def __enter__(self):
        return self

    def read(self):
        return self.system.read(self.descriptor, 1 << 20)

    def __exit__(self, *_):
        self.system.close(self.descriptor)

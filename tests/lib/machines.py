"""Boot real Debian kernels under QEMU and run commands in them.

    >>> from tests.lib import machines
    >>> machines.run(['uname', '-r'], kernel='6.1', arch='aarch64').output
    b'6.1.0-50-cloud-arm64\\n'

Each machine starts from nothing: a Debian cloud kernel, busybox, a small Python, and all files of
the project in /work.  Kernels and Pythons are Debian packages, fetched once, from the mirror this
machine's apt uses, into ~/.cache/surftrace (or $XDG_CACHE_HOME/surftrace); after that nothing is
fetched.  To get newer ones, remove that directory.  SURFTRACE_MIRROR names another mirror.

QEMU and the other tools needed here are installed when they are missing and the user is root.
Python 3.8 or later, standard library only.
"""
import contextlib
import fcntl
import glob
import hashlib
import os
import re
import secrets
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

Result = namedtuple('Result', 'status output seconds')
Kernel = namedtuple('Kernel', 'name release image btf modules')
Entry = namedtuple('Entry', 'path mode data')
Architecture = namedtuple('Architecture', 'debian triplet loader port qemu')
Python = namedtuple('Python', 'suite version packages')

# The kernel's own messages go to the first serial port, the job to a second one (`port`), so
# that the two never mix.
ARCHITECTURES = {
    'x86_64': Architecture(
        'amd64', 'x86_64-linux-gnu', 'ld-linux-x86-64.so.2', 'ttyS1',
        # Without -cx16 one boot of 6.12 in ten crashes under emulation.
        'qemu-system-x86_64 -cpu max,-cx16 -append console=ttyS0 '
        '-serial chardev:console -serial chardev:job'),
    'aarch64': Architecture(
        'arm64', 'aarch64-linux-gnu', 'ld-linux-aarch64.so.1', 'ttyS0',
        # -cpu max is three times slower.
        'qemu-system-aarch64 -machine virt -cpu cortex-a57 -append console=ttyAMA0 '
        '-serial chardev:console -device pci-serial,chardev=job'),
}
# This machine's own architecture, if kernels of it can be booted.
OWN = os.uname().machine if os.uname().machine in ARCHITECTURES else 'x86_64'
SUITES = {'5.10': 'bullseye', '6.1': 'bookworm', '6.12': 'trixie', '7.2': 'sid'}
PYTHONS = {
    '3': Python('bookworm', 'python3.11', 'python3.11-minimal libpython3.11-minimal '
                'libpython3.11-stdlib libc6 zlib1g libexpat1 libffi8 libsqlite3-0 libgcc-s1'),
    '2.7': Python('bullseye', 'python2.7', 'python2.7-minimal libpython2.7-minimal '
                  'libpython2.7-stdlib libc6 zlib1g libexpat1 libffi7 libsqlite3-0 libgcc-s1'),
}
# What a guest never needs of Python's library.  Without _hashlib, hashlib uses the built-in
# functions, which saves libcrypto.
UNUSED = (
    r'(test|tests|idlelib|ensurepip|distutils|tkinter|lib-tk|lib2to3|pydoc_data|turtledemo|venv|'
    r'curses|dbm|bsddb|compiler|hotshot|lib-old|wsgiref|xmlrpc|config[^/]*|__pycache__|turtle.py|'
    r'lib-dynload/(_hashlib|_ssl|_curses|_dbm|_bsddb|_test|_xx|xxl|_codecs_|_ctypes_test|_lzma|'
    r'_bz2|bz2|dbm|nis|readline|oss|linuxaudio|_uuid|_hotshot)[^/]*|'
    r'encodings/(cp(?!437)|mac_|iso8859_(?!1\.|15)|iso2022|koi8|kz|ptcp|tis|hp_|big5|gb|euc|'
    r'shift|johab|hz)[^/]*|.*\.egg-info)(/|$)')
TOOLS = {'qemu-system-x86_64': 'qemu-system-x86', 'qemu-system-aarch64': 'qemu-system-arm',
         'apt-get': 'apt', 'dpkg': 'dpkg', 'xz': 'xz-utils', 'zstd': 'zstd', 'lz4': 'lz4',
         'setpriv': 'util-linux', 'pahole': 'pahole', 'pfunct': 'pahole', 'gdb': 'gdb',
         'gdb-multiarch': 'gdb-multiarch', 'nm': 'binutils', 'addr2line': 'binutils', 'gcc': 'gcc',
         'clang': 'clang', 'aarch64-linux-gnu-gcc': 'gcc-aarch64-linux-gnu', 'objcopy': 'binutils',
         'dash': 'dash', 'bash': 'bash', 'busybox': 'busybox',
         KEYRING: 'debian-archive-keyring'}

# What unpacks the kernel and its modules.
UNPACKERS = {'5.10': ['lz4'], '6.1': ['lz4'], '6.12': ['zstd', 'xz'], '7.2': ['zstd', 'xz']}
# About how many megabytes are fetched for each.
LISTS, KERNEL, PYTHON, BUSYBOX, DEBUG = 9, 30, 8, 1, 300

# The guest's first program; /vm/settings comes with each boot (see `initrd`).
INIT = r'''#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 TERM=linux
. /vm/settings
for each in proc:/proc sysfs:/sys devtmpfs:/dev devpts:/dev/pts tmpfs:/dev/shm tmpfs:/tmp \
        tmpfs:/run tracefs:/sys/kernel/tracing debugfs:/sys/kernel/debug; do
    mkdir -p ${each#*:}
    mount -t ${each%:*} ${each%:*} ${each#*:}
done
ip link set lo up
hostname surftrace
cd /work
# Held open here, the port keeps its settings and, whoever else closes it, what it has to send.
exec 3<>/dev/$port
stty $modes <&3
setsid $control sh /vm/job <&3 3>&-
printf '\036%s %s;' $mark $? >/dev/$port
# stty waits until everything has been sent.
stty -F /dev/$port -echo
poweroff -f
'''
# A job with a terminal, among things that happen now and then.
JOB_WITH_TERMINAL = r'''exec >&0 2>&1
sh -c 'while :; do ping -c 1 127.0.0.1; sleep 1; done' >/dev/null 2>&1 </dev/null &
printf '\036%s ready;'
trap : INT QUIT
(trap - INT QUIT; exec %s)
status=$?
stty -echo
exit $status
'''


INSTALL = ['install', '-y', '--no-install-recommends']


class HarnessError(Exception):
    """The machine could not be made ready; the message says what to do."""


class MachineLost(Exception):
    """The machine ended without a word about its command: a panic, a hang, a dead QEMU.

    `console` is what the kernel said, `output` what the command had printed until then.
    """

    def __init__(self, reason, console, output=b''):
        self.console, self.output = console, output
        tail = b'\n'.join(console.splitlines()[-30:]).decode(errors='replace')
        said = b'\n'.join(output.splitlines()[-10:]).decode(errors='replace')
        super().__init__('%s\n-- console, last lines:\n%s\n-- output, last lines:\n%s'
                         % (reason, tail, said))


# -- The host's tools, the cache, Debian's packages --------------------------------------------

def need(*tools):
    """Install those of the tools that are missing, or say how to."""
    if missing(tools) and can_install():
        environment = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
        with _locked('tools'):
            for words in INSTALL, ['update'], INSTALL:
                absent = missing(tools)
                if absent:
                    subprocess.run(['apt-get', '-qq'] + words + absent * (words is INSTALL),
                                   env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=sys.stderr)
    if missing(tools):
        raise HarnessError('%s missing here; on Debian, as root: apt-get update; apt-get %s %s' % (
            ', '.join(missing(tools)), ' '.join(INSTALL), ' '.join(missing(tools))))


def missing(tools):
    """The packages of those tools that are not there."""
    return sorted({TOOLS[tool] for tool in tools
                   if not (shutil.which(tool) or os.path.isfile(tool))})


def can_install():
    return os.geteuid() == 0 and bool(shutil.which('apt-get'))


def to_install(tools):
    """What need() would install of the tools, in apt's own words; '' if nothing."""
    absent = missing(tools)
    if not absent or not can_install():
        return ''
    words = ['apt-get', '--assume-no'] + INSTALL[:1] + INSTALL[2:] + absent
    said = subprocess.run(words, env=dict(os.environ, LC_ALL='C'), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    many = re.search(r'(\d+) newly installed', said)
    much = re.search(r'Need to get (.*) of archives', said)
    return '%s (%s)' % (' '.join(absent), (
        'packages in all: %s, %s' % (many.group(1), much.group(1)) if many and much
        else "and what they need; apt's lists are fetched first"))


def to_fetch(kernels, debug=()):
    """About how many megabytes (kernel, architecture, Python) and debug info would fetch."""
    wanted = {}         # what is fetched -> its megabytes
    for kernel, arch, python in kernels:
        if not _cached('kernel-%s-%s' % (kernel, arch)):
            wanted['kernel', kernel, arch] = KERNEL
            wanted['lists', SUITES[kernel], arch] = LISTS
        if not _cached('python-%s-%s' % (python, arch)):
            wanted['busybox', arch] = BUSYBOX
            wanted['lists', 'bookworm', arch] = LISTS
            for each in arch, OWN:
                wanted['python', python, each] = PYTHON
                wanted['lists', PYTHONS[python].suite, each] = LISTS
    for kernel, arch in debug:
        if not _cached('debug-%s-%s' % (kernel, arch)):
            wanted['debug', kernel, arch] = DEBUG
            wanted['lists', SUITES[kernel], arch] = LISTS
    return sum(wanted.values())


def _cached(name):
    return bool(glob.glob(cache(name + '-' + '[0-9a-f]' * 12)))


def machine_tools(kernel, arch):
    """The tools that booting a kernel takes, for need()."""
    return [ARCHITECTURES[arch].qemu.split()[0], 'setpriv', 'apt-get', 'dpkg', KEYRING] + (
        [] if _cached('kernel-%s-%s' % (kernel, arch)) else UNPACKERS[kernel])


def cache(name=''):
    """The path of a file in the cache, which is outside of the repository."""
    home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    os.makedirs(os.path.join(home, 'surftrace'), exist_ok=True)
    return os.path.join(home, 'surftrace', name)


@contextlib.contextmanager
def _locked(name):
    with open(cache(name + '.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(name, recipe, make):
    # The path of a directory in the cache which make(directory) fills; made again when the
    # recipe changes.  Whoever comes second waits for the first.
    path = cache('%s-%s' % (name, hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]))
    if not os.path.isdir(path):
        with _locked(name):
            if not os.path.isdir(path):
                print('vm: fetching %s, once' % name, file=sys.stderr, flush=True)
                prefix = '.making-%s-' % name
                for left in glob.glob(cache(prefix + '*')):
                    shutil.rmtree(left, ignore_errors=True)
                with tempfile.TemporaryDirectory(dir=cache(), prefix=prefix) as scratch:
                    os.mkdir(os.path.join(scratch, 'made'))
                    make(os.path.join(scratch, 'made'), scratch)
                    os.rename(os.path.join(scratch, 'made'), path)
    return path


def _output(argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode:
        raise HarnessError('%s failed: %s' % (
            ' '.join(argv[:3]), done.stderr.decode(errors='replace').strip()[-800:]))
    return done.stdout


def _mirrors():
    if os.environ.get('SURFTRACE_MIRROR'):
        return [os.environ['SURFTRACE_MIRROR']]
    listed = _output(['apt-get', 'indextargets', '--format', '$(SITE) $(RELEASE)',
                      'Created-By: Packages']).decode().splitlines()
    # Security and update suites live on mirrors of their own; the packages used here do not.
    return list(dict.fromkeys(line.split()[0] for line in listed if '-' not in line.split()[-1]))


_packages, _packages_lock = {}, threading.Lock()


def packages(suite, debian):
    """The Packages of a suite and architecture, whose lists are fetched once in this process."""
    with _packages_lock:
        if (suite, debian) not in _packages:
            _packages[suite, debian] = Packages(suite, debian)
        return _packages[suite, debian]


class Packages:
    """Debian's packages for one suite and architecture, with an apt state of their own."""

    def __init__(self, suite, debian):
        need('apt-get', 'dpkg', KEYRING)
        self.state = tempfile.TemporaryDirectory(prefix='surftrace-apt-')
        self.suite, self.debian, self.directory = suite, debian, self.state.name
        self.configuration = os.path.join(self.directory, 'apt.conf')
        for name in 'lists/partial', 'cache/archives/partial':
            os.makedirs(os.path.join(self.directory, name))
        open(os.path.join(self.directory, 'status'), 'w').close()
        # A file given with -c is read last, so it wins; the machine's proxy settings still hold.
        with open(self.configuration, 'w') as out:
            out.write('#clear APT::Architectures;\n#clear APT::Update;\n'
                      'APT { Architecture "%(debian)s"; Architectures { "%(debian)s"; };\n'
                      ' Sandbox::User "root"; };\n'
                      'Acquire::Languages "none";\n'
                      'Dir { State "%(here)s"; State::Lists "lists"; State::status "status";\n'
                      ' Cache "%(here)s/cache"; Etc::sourcelist "%(here)s/sources.list";\n'
                      ' Etc::sourceparts "-"; Etc::preferences "-"; Etc::preferencesparts "-"; };\n'
                      % {'debian': debian, 'here': self.directory})
        self._update()

    def _update(self):
        mirrors, reasons = _mirrors(), []
        for mirror in mirrors:
            with open(os.path.join(self.directory, 'sources.list'), 'w') as out:
                out.write('deb [arch=%s target=Packages signed-by=%s] %s %s main\n' % (
                    self.debian, KEYRING, mirror, self.suite))
            try:
                return self._apt('apt-get', 'update', '-qq', '-o', 'APT::Update::Error-Mode=any')
            except HarnessError as error:
                reasons.append(str(error))
        raise HarnessError('no mirror has Debian %s (tried %s; SURFTRACE_MIRROR names '
                           'another)\n%s' % (self.suite, mirrors, '\n'.join(reasons)))

    def _apt(self, tool, *words, directory=None):
        return _output([tool, '-c', self.configuration] + list(words), cwd=directory).decode()

    def depends(self, name):
        """Names of the packages that one depends on."""
        shown = self._apt('apt-cache', 'show', '--no-all-versions', name)
        return re.findall(r'[^\s,|(]+', re.search(r'(?m)^Depends:(.*)$', shown).group(1))

    def unpack(self, names, target):
        """Download packages and unpack them into a directory."""
        with tempfile.TemporaryDirectory(dir=self.directory) as debs:
            self._apt('apt-get', 'download', '-qq', *names, directory=debs)
            for name in os.listdir(debs):
                _output(['dpkg', '-x', os.path.join(debs, name), target])


# -- Kernels -----------------------------------------------------------------------------------

def kernels():
    """Names of the kernels that can be booted, oldest first."""
    return list(SUITES)


def _check(what, name, known, arch):
    if name not in known or arch not in ARCHITECTURES:
        raise HarnessError('no %s %s for %s; there are %s for %s' % (
            what, name, arch, ', '.join(known), ', '.join(ARCHITECTURES)))


def kernel_files(name, arch):
    """The named kernel's files, as a Kernel."""
    _check('kernel', name, SUITES, arch)
    made = _made('kernel-%s-%s' % (name, arch), [name, arch, SUITES[name], 1],
                 lambda made, scratch: _make_kernel(name, arch, made, scratch))
    with open(os.path.join(made, 'release')) as source:
        release = source.read()
    return Kernel(name, release, *(os.path.join(made, part)
                                   for part in ('image', 'btf', 'modules.cpio')))


def btf(kernel, arch='x86_64'):
    """The path of a kernel's raw BTF, the same as its /sys/kernel/btf/vmlinux."""
    return kernel_files(kernel, arch).btf


def debug_vmlinux(name, arch='x86_64'):
    """The path of a kernel's vmlinux with debug info, 600 MB; its package has 250."""
    release, made = _debug_files(name, arch)
    return os.path.join(made, 'vmlinux-' + release)


def debug_module(name, arch='x86_64'):
    """The path of the debug info of the kernel's module `dummy`."""
    return os.path.join(_debug_files(name, arch)[1], 'dummy.ko.debug')


def _debug_files(name, arch):
    release = kernel_files(name, arch).release
    return release, _made('debug-%s-%s' % (name, arch), [release],
                          lambda made, scratch: _make_debug(name, arch, release, made, scratch))


def _make_debug(name, arch, release, made, scratch):
    tree = os.path.join(scratch, 'tree')
    packages(SUITES[name], ARCHITECTURES[arch].debian).unpack(
        ['linux-image-%s-dbg' % release], tree)
    shutil.move(os.path.join(tree, 'usr/lib/debug/boot/vmlinux-' + release), made)
    [module] = glob.glob(os.path.join(tree, 'usr/lib/debug/lib/modules', release,
                                      'kernel/drivers/net/dummy.ko*'))
    shutil.move(module, os.path.join(made, 'dummy.ko.debug'))


def _make_kernel(name, arch, made, scratch):
    debian = ARCHITECTURES[arch].debian
    source = packages(SUITES[name], debian)
    image = next(package for package in source.depends('linux-image-cloud-' + debian)
                 if re.match(r'linux-image-\d', package))
    release = image[len('linux-image-'):]
    if not release.startswith(name + '.'):
        print('vm: kernel %s: Debian %s now has %s, using that' % (name, SUITES[name], release),
              file=sys.stderr)
    # Newer releases keep kernel and modules in packages of their own.
    parts = [package for package in source.depends(image)
             if package in ('linux-binary-' + release, 'linux-modules-' + release)]
    tree = os.path.join(scratch, 'tree')
    source.unpack(parts or [image], tree)
    found = {re.sub(r'-\d.*|\.ko.*', '', file): os.path.join(directory, file)
             for directory, _, files in os.walk(tree) for file in files}
    content = {'image': _read(found['vmlinuz']), 'release': release.encode(),
               'modules.cpio': cpio([Entry('lib/modules/dummy.ko', 0o100644,
                                           _decompressed(_read(found['dummy'])))])}
    content['btf'] = _btf_section(_decompressed(_payload(content['image'])))
    for file, data in content.items():
        with open(os.path.join(made, file), 'wb') as out:
            out.write(data)


def _payload(image):
    # A bzImage's header says where the compressed kernel is (Documentation/arch/x86/boot.rst:
    # setup_sects at 0x1f1, payload_offset and payload_length at 0x248).  Its last four bytes are
    # the length.  arm64's Image is the kernel as it is.
    if image[0x202:0x206] != b'HdrS':
        return image
    offset, length = struct.unpack_from('<II', image, 0x248)
    offset += (image[0x1f1] + 1) * 512
    return image[offset:offset + length - 4]


def _decompressed(data):
    for magic, tool in ((b'\x02\x21\x4c\x18', 'lz4'), (b'\x28\xb5\x2f\xfd', 'zstd'),
                        (b'\xfd7zXZ', 'xz')):
        if data.startswith(magic):
            need(tool)
            return _output([tool, '-dc'], input=data)
    return data


def _btf_section(binary):
    # Found by its header (magic, version 1, no flags, 24 bytes long), because arm64's Image has
    # no table of sections: types first, the strings right after them.
    for match in re.finditer(rb'\x9f\xeb\x01\x00\x18\x00\x00\x00', binary):
        types, length, strings, size = struct.unpack_from('<4I', binary, match.start() + 8)
        if types == 0 and strings == length and size:
            return binary[match.start():match.start() + 24 + length + size]
    raise HarnessError('no BTF in this kernel')


# -- The guest's files -------------------------------------------------------------------------

def _read(path):
    with open(path, 'rb') as source:
        return source.read()


def cpio(entries):
    """An archive of entries in the format the kernel unpacks at boot ("newc")."""
    made, chunks = set(), []
    for path, mode, data in entries:
        steps = path.split('/')
        for parent in ('/'.join(steps[:depth]) for depth in range(1, len(steps))):
            if parent not in made:
                made.add(parent)
                chunks.append(_member(parent, 0o040755, b''))
        chunks.append(_member(path, mode, data))
    return b''.join(chunks) + _member('TRAILER!!!', 0, b'')


def _member(path, mode, data):
    name = os.fsencode(path) + b'\0'
    head = '070701' + '%08X' * 13 % (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    return b''.join(part + b'\0' * (-len(part) % 4) for part in (head.encode() + name, data))


def _entries(top, keep):
    # Those of a directory's files whose path matches, as entries.
    for directory, _, files in os.walk(top):
        for full in (os.path.join(directory, file) for file in sorted(files)):
            path = os.path.relpath(full, top)
            if not re.match(keep, path):
                continue
            if os.path.islink(full):
                yield Entry(path, 0o120777, os.fsencode(os.readlink(full)))
            else:
                yield Entry(path, os.stat(full).st_mode, _read(full))


def base(arch, python):
    """The path of the archive with busybox and Python."""
    _check('python', python, PYTHONS, arch)
    recipe = [arch, PYTHONS[python], UNUSED, 2]
    return os.path.join(_made('python-%s-%s' % (python, arch), recipe,
                              lambda made, scratch: _make_base(arch, python, made, scratch)),
                        'base.cpio')


def _make_base(arch, python, made, scratch):
    suite, version, names = PYTHONS[python]
    ours = os.uname().machine
    if ours not in ARCHITECTURES:
        raise HarnessError('this needs a machine with %s' % ' or '.join(ARCHITECTURES))
    trees = {}
    for each in {arch, ours}:
        trees[each] = os.path.join(scratch, each)
        packages(suite, ARCHITECTURES[each].debian).unpack(names.split(), trees[each])
    # Bytecode is the same for all architectures, so this machine's own interpreter makes it.
    _compile(trees[ours], ARCHITECTURES[ours], version, trees[arch])
    shell = os.path.join(scratch, 'busybox')
    packages('bookworm', ARCHITECTURES[arch].debian).unpack(['busybox-static'], shell)
    keep = r'usr/bin/%s$|usr/lib/%s/(?!%s).*(?<!\.py)$|lib64/|%s' % (
        version, version, UNUSED, r'(usr/)?lib/([^/]*-linux-gnu[^/]*/)?[^/]*\.so[^/]*$')
    entries = list(_entries(trees[arch], keep)) + list(_entries(shell, 'bin/busybox$'))
    entries += [Entry('usr/bin/' + link, 0o120777, version.encode())
                for link in ('python', version[:7])]
    entries += [Entry('usr/bin/env', 0o120777, b'/bin/busybox'),
                Entry('etc/passwd', 0o100644, b'root:x:0:0:root:/root:/bin/sh\n'),
                Entry('etc/group', 0o100644, b'root:x:0:\n'),
                Entry('etc/hosts', 0o100644, b'127.0.0.1 localhost\n')]
    with open(os.path.join(made, 'base.cpio'), 'wb') as out:
        out.write(cpio(entries))


def _compile(tree, architecture, version, target):
    # Bytecode beside the source; only it goes to the guest, where imports from source would cost
    # seconds.  The interpreter runs by its own loader and libraries: nothing of this machine's.
    paths = [os.path.join(tree, above, architecture.triplet) for above in ('lib', 'usr/lib')]
    library = os.path.join(target, 'usr/lib', version)
    _output([os.path.join(paths[0], architecture.loader), '--library-path', ':'.join(paths),
             os.path.join(tree, 'usr/bin', version), '-S', '-m', 'compileall', '-q',
             '-x', re.escape(library + '/') + UNUSED, '-d', '/usr/lib/' + version]
            + ['-b'] * version.startswith('python3') + [library],
            env={'PYTHONHOME': os.path.join(tree, 'usr'), 'PYTHONDONTWRITEBYTECODE': '1'})


# -- Running -----------------------------------------------------------------------------------

def project_files():
    """The project's files: path below the guest's /work -> path on this machine.

    All that git lists, or, where there is no git or no checkout, all that are not hidden.
    """
    try:
        listed = _output(['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=ROOT)
        names = os.fsdecode(listed).split('\0')
    except (HarnessError, OSError):
        names = []
        for directory, below, files in os.walk(ROOT):
            below[:] = [name for name in below if name[0] != '.' and name != '__pycache__']
            names += [os.path.relpath(os.path.join(directory, name), ROOT)
                      for name in files if name[0] != '.' and not name.endswith('.pyc')]
    paths = {name: os.path.join(ROOT, name) for name in names}
    return {name: path for name, path in paths.items() if os.path.isfile(path)}


def initrd(path, command, modules, arch, python, files=None, terminal=None):
    """Write the archive a machine boots from; returns the mark that its results carry.

    With `terminal` (words for stty) the job has the second serial port as its terminal, while
    something happens in the background now and then.
    """
    mark = secrets.token_hex(8)
    words = ' '.join(map(shlex.quote, command))
    if terminal:
        # The first process waits until everything has been sent, because the terminal drops the
        # rest when it ends.  It outlives a Ctrl+C, which reaches it too.
        job = JOB_WITH_TERMINAL % (mark, words)
    else:
        job = 'exec >&0 2>&1 </dev/null\nexec %s\n' % words
    settings = "port=%s mark=%s control=%s modes='%s'\n" % (
        ARCHITECTURES[arch].port, mark, '-c' if terminal else '', terminal or 'raw -opost')
    entries = [Entry(name, 0o040755, b'') for name in ('proc', 'sys', 'dev', 'tmp', 'run', 'root')]
    entries += [Entry('init', 0o100755, INIT.encode()),
                Entry('vm/settings', 0o100644, settings.encode()),
                Entry('vm/job', 0o100644, os.fsencode(job))]
    for name, content in sorted(dict(project_files(), **(files or {})).items()):
        if isinstance(content, bytes):
            mode = 0o100755 if content.startswith(b'#!') else 0o100644
        else:
            mode = 0o100000 | os.stat(content).st_mode & 0o777
            content = _read(content)
        entries.append(Entry(os.path.join('/work', name).lstrip('/'), mode, content))
    with open(path, 'wb') as out:
        for part in base(arch, python), modules:
            with open(part, 'rb') as source:
                shutil.copyfileobj(source, out)
        out.write(cpio(entries))
    return mark


def qemu(arch, image, archive, console, job):
    """The command that boots a machine; console and job are QEMU's words for a chardev."""
    need(ARCHITECTURES[arch].qemu.split()[0], 'setpriv')
    words = ARCHITECTURES[arch].qemu.split()
    where = words.index('-append') + 1
    words[where] += ' quiet panic=-1 oops=panic'
    # The machine ends with whoever started it, however that ends.
    return ['setpriv', '--pdeathsig', 'KILL'] + words + [
        '-accel', 'tcg', '-smp', '1', '-m', '640', '-nodefaults', '-display', 'none',
        '-no-reboot', '-kernel', image, '-initrd', archive,
        '-chardev', console + ',id=console', '-chardev', job + ',id=job']


def follow(process, path, timeout, seen=None):
    """Wait for a process that writes to a file; returns whether it ended in so many seconds.

    process -- the leader of its session; what is left of that is killed
    seen -- is given what has been written since its last call, as bytes, perhaps none, a few
        times a second; what it raises ends the process and goes on
    """
    end = time.monotonic() + timeout
    try:
        with open(path, 'rb') as output:
            while True:
                try:
                    # What is written by then is passed on, too.
                    done = process.wait(timeout=0.2) is not None
                except subprocess.TimeoutExpired:
                    done = False
                if seen:
                    seen(output.read())
                if done or time.monotonic() > end:
                    return done
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run(command, kernel='6.1', arch='x86_64', python='3', timeout=180, files=None, seen=None):
    """Boot a machine, run a command in its /work, and return a Result.

    command -- a list of words; no shell reads them, and standard input is empty
    kernel, arch, python -- see kernels(), ARCHITECTURES, PYTHONS
    timeout -- seconds for everything; a machine that takes longer is lost
    files -- more files for the guest: path (below /work, or absolute) -> bytes, or the path of
        a file here; those of the project are always there
    seen -- see follow(); it is given the command's output

    The result's output is standard output and standard error together; its status is 128+n for
    a command that signal n ended.  Raises MachineLost when the command's end was not seen.
    """
    booted = kernel_files(kernel, arch)
    with tempfile.TemporaryDirectory(prefix='surftrace-vm-') as scratch:
        archive, console, job, said = (os.path.join(scratch, name)
                                       for name in ('initrd', 'console', 'job', 'qemu'))
        mark = initrd(archive, command, booted.modules, arch, python, files)
        argv = qemu(arch, booted.image, archive, 'file,path=' + console, 'file,path=' + job)
        for path in console, job:
            open(path, 'w').close()
        began = time.monotonic()
        with open(said, 'wb') as out:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        if follow(process, job, timeout, seen):
            reason = 'the machine ended early (qemu exit status %d) %s' % (
                process.returncode, _read(said).decode(errors='replace').strip())
        else:
            reason = 'the machine was not done after %d seconds' % timeout
        seconds = time.monotonic() - began
        kernel_said, output = _read(console), _read(job)
    ended = re.search(rb'\x1e%s (\d+);' % mark.encode(), output)
    if not ended:
        raise MachineLost(reason, kernel_said, output)
    return Result(int(ended.group(1)), output[:ended.start()], seconds)

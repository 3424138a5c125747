"""Which source of types is taken, where there are several or none, and what fits to which."""
import os
import re
import subprocess
import sys
import unittest

from tests.lib import btf, dwarf, elf, standin, tool
from tests.lib.files import FileTest
from tests.lib.server import RawServer

TRACE = 'p wake_up_new_task a=!(struct s *)%0->x'


def types(place):
    """BTF whose struct s tells where it is from: the place of its member x, in bytes."""
    writer = btf.Writer()
    integer = writer.integer('int', 4, btf.SIGNED)
    held = writer.struct('s', 64, [('x', integer, 8 * place)])
    writer.function('wake_up_new_task', 0, [('p', writer.pointer(held))])
    return writer.data()


def debug(place, more=(), form=None, **options):
    """A file whose debug info tells the same; form: of an attribute that it has besides."""
    integer = dwarf.number('int', 4, dwarf.SIGNED)
    entries = [integer, dwarf.struct_of('s', 64, [('x', integer, place)])]
    if form:
        entries.append(dwarf.Entry(dwarf.STRUCT, (0x1235, dwarf.Form(form))))
    return elf.elf(dwarf.sections([dwarf.root(*entries)]) + elf.symbols(
        [('wake_up_new_task', 0x1000, 8)]) + list(more), **options)


class Choosing(FileTest):

    def setUp(self):
        FileTest.setUp(self)
        self.box = standin.StandIn(kernel='6.1', types=False)
        self.addCleanup(self.box.remove)

    def taken(self, place, name, kind, *arguments, **options):
        """Check which source says where x is, on the machine that the kernel is of."""
        trace = options.get('trace', TRACE)
        out = self.said('-S', *(arguments + (trace,)), on=self.box)
        self.assertIn('a=+0x%x(%s):x32' % (place, options.get('register', '%di')), out)
        self.assertIn('surftrace: types from %s (%s)\n' % (name, kind), self.noted)

    def fails(self, message, *arguments):
        return self.refused(message, '-S', *(arguments + (TRACE,)), on=self.box)


class Order(Choosing):
    """The first that is there is taken; a mode asks for one of them."""

    def test_the_running_kernels_btf(self):
        self.box.put('/sys/kernel/btf/vmlinux', types(4))
        for mode in ('auto', 'btf'):
            self.taken(4, '/sys/kernel/btf/vmlinux', 'BTF', '-m', mode)
        self.taken(4, '/sys/kernel/btf/vmlinux', 'BTF')

    def test_each_comes_before_the_next(self):
        database = self.write('types', types(8))
        self.said('-v', database, '--make-db', 'info-6.1.db')
        debug_files = ('/usr/lib/debug/lib/modules/6.1/vmlinux', '/usr/lib/debug/boot/vmlinux-6.1',
                       '/usr/lib/debug/usr/lib/modules/6.1/vmlinux',
                       '/lib/modules/6.1/build/vmlinux', '/boot/vmlinux-6.1',
                       '/usr/lib/debug/boot/vmlinux-6.1.debug',
                       '/usr/lib/debug/usr/lib/modules/6.1/vmlinux.debug')
        self.taken(8, './info-6.1.db', 'database')
        for place, path in enumerate(reversed(debug_files)):
            self.box.put(path, debug(12 + place))
            self.taken(12 + place, path, 'DWARF')
            self.taken(12 + place, path, 'DWARF', '-m', 'dwarf')
        self.box.put('/sys/kernel/btf/vmlinux', types(4))
        self.taken(4, '/sys/kernel/btf/vmlinux', 'BTF')
        self.write('own', types(20))
        self.taken_elsewhere(20, 'own')
        # Each can be asked for all the same.
        self.taken(8, './info-6.1.db', 'database', '-m', 'local')
        self.taken(18, debug_files[0], 'DWARF', '-m', 'dwarf')
        self.fails('/no/gdb: no such file', '-m', 'gdb', '-g', '/no/gdb')

    def taken_elsewhere(self, place, path):
        """A file that is named with -v is taken for another kernel's where nothing is traced."""
        out = self.said('-S', '-v', path, TRACE, on=self.box)
        self.assertIn('a=+0x%x(%%di):x32' % place, out)
        self.assertIn('types from %s (BTF), registers of x86_64' % path, self.noted)

    def test_files_without_debug_info_are_passed_over(self):
        self.box.put('/usr/lib/debug/boot/vmlinux-6.1', elf.elf(elf.symbols([('f', 1, 1)])))
        self.box.put('/lib/modules/6.1/build/vmlinux', b'this is a text')
        self.box.put('/boot/vmlinux-6.1', debug(8))
        self.taken(8, '/boot/vmlinux-6.1', 'DWARF')
        self.box.put('/boot/vmlinux-6.1', b'')
        self.fails('nothing on this machine tells the types of kernel 6.1')
        self.box.put('/boot/vmlinux-6.1', elf.elf(elf.symbols([('f', 1, 1)]) + [
            (b'.debug_info', b'x')]))
        self.fails('/boot/vmlinux-6.1 is damaged')

    def test_what_needs_none(self):
        """What is wrong with it is told all the same."""
        self.refused("this trace has no 'count' to filter on: there is ", '-S',
                     'p vfs_read n=%2 f:count==1', status=2, on=self.box)

    def test_other_releases(self):
        self.box.put('/boot/vmlinux-6.12', debug(8))
        self.said('-v', self.write('types', types(8)), '--make-db', 'info-6.12.db')
        self.fails('nothing on this machine tells the types of kernel 6.1')

    def test_a_database_beside_the_script(self):
        """A box gets both in one directory, and the script is started from anywhere."""
        os.mkdir('box')
        for name in ('surftrace.py', '__pycache__'):      # what is compiled already
            os.symlink(os.path.join(tool.ROOT, name), os.path.join('box', name))
        beside = os.path.join(self.directory, 'box', 'info-%s.db' % os.uname()[2])
        self.said('-v', self.write('types', types(8)), '-a', os.uname()[4], '--make-db', beside)
        process = subprocess.Popen(
            [sys.executable, '-m', 'surftrace', '-m', 'local', '--make-db', 'again.db'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=os.path.join(self.directory, 'box')))
        out, said = process.communicate()
        self.assertEqual((process.returncode, out), (0, b''), said)
        self.assertIn('surftrace: types from %s (database)\n' % beside, tool.text_of(said))
        self.said('-S', '-d', 'again.db', '-a', os.uname()[4], TRACE)

    def test_a_database_of_somebody_else(self):
        """Where the tool is started, anybody may have laid one."""
        self.said('-v', self.write('types', types(8)), '--make-db', 'info-6.1.db')
        for mode, user in ((0o666, os.geteuid()), (0o620, os.geteuid()), (0o644, 12345)):
            os.chmod('info-6.1.db', mode)
            self.box.user = user
            text = self.fails('there is no info-6.1.db here', '-m', 'local')
            self.assertIn('./info-6.1.db is ignored: it is not yours, or others may write to it; '
                          '-d takes it all the same\n', text)
            self.said('-S', '-d', 'info-6.1.db', TRACE, on=self.box)

    def test_nothing_there_lists_the_ways_out(self):
        self.box.put('/etc/os-release', 'ID=arch\n')
        self.assertEqual(self.fails('nothing'), (
            'surftrace: nothing on this machine tells the types of kernel 6.1. Ways out:\n'
            "  debug info comes with a distribution's debug package, or as a build's own vmlinux, "
            'then trace again\n'
            '  surftrace.py -v FILE ...   a vmlinux of this kernel, or its BTF\n'
            '  surftrace.py -d FILE ...   a database of it; one is made, where there is a vmlinux, '
            'with\n'
            '                             surftrace.py -v VMLINUX --make-db info-6.1.db\n'
            '  surftrace.py -r HOST ...   a server that knows it\n'))

    def test_never_the_network_by_itself(self):
        """Not even where everything points at a server."""
        server = RawServer(b'')
        self.addCleanup(server.close)
        self.addCleanup(os.environ.pop, 'LBC_SERVER', None)
        os.environ['LBC_SERVER'] = server.address
        self.fails('nothing on this machine')
        self.assertEqual(server.requests, [])
        self.fails('the answer is not HTTP', '-m', 'remote')
        self.assertEqual(len(server.requests), 1)

    def test_what_is_asked_for_is_not_there(self):
        self.box.put('/etc/os-release', '')
        for mode, message in (
                ('btf', 'this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF, from '
                        '5.4 on); name a file that holds its BTF with -v'),
                ('gdb', 'there is no vmlinux with debug info of kernel 6.1 here; name one with -v; '
                        "debug info comes with a distribution's debug package"),
                ('dwarf', 'there is no vmlinux with debug info of kernel 6.1 here; name one'),
                ('local', 'there is no info-6.1.db here or beside the script; name a database with '
                          '-d, or make one with --make-db')):
            self.fails(message, '-m', mode)

    def test_options_that_do_not_go_together(self):
        self.write('own', types(4))
        for arguments, message in [
                (('-v', 'own', '-d', 'x.db'), '-v and -d (or -m local) both name a source'),
                (('-m', 'local', '-v', 'own'), '-v and -d (or -m local) both name a source'),
                (('-d', 'x.db', '-m', 'btf'), '-d goes with -m local'),
                (('-r', 'host', '-m', 'gdb'), '-r goes with -m remote')]:
            self.refused(message, '-S', *(arguments + (TRACE,)), status=2, on=self.box)

    def test_another_machine_takes_a_file(self):
        self.box.put('/sys/kernel/btf/vmlinux', types(4))
        self.fails("the types of this machine's kernel would be wrong for aarch64: name a file "
                   "with that kernel's types with -v or -d", '-a', 'aarch64')
        self.write('own', types(20))
        self.assertIn('a=+0x14(%x0):x32', self.said('-S', '-a', 'aarch64', '-v', 'own', TRACE,
                                                    on=self.box))


class Packages(Choosing):
    """How a vmlinux with debug info is installed, by /etc/os-release."""

    UNKNOWN = "debug info comes with a distribution's debug package, or as a build's own vmlinux"

    def test_by_distribution(self):
        brought, beside = '/usr/lib/debug/boot/vmlinux-', '/usr/lib/debug/lib/modules/'
        for text, release, words in [
                ('ID=debian\n', '6.1.0-50-cloud-amd64',
                 'apt-get install linux-image-%s-dbg, which brings ' + brought + '%s'),
                ('NAME="x"\nID=debian\nVERSION_ID="12"\n', '6.1.0-50-arm64',
                 'apt-get install linux-image-%s-dbg, which brings ' + brought + '%s'),
                ('NAME=x\nID=ubuntu\nID_LIKE=debian\n', '6.8.0-31-generic',
                 'apt-get install linux-image-%s-dbgsym, which brings ' + brought + '%s'),
                ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', '6.8.0-31-aws',
                 'apt-get install linux-image-%s-dbgsym, which brings ' + brought + '%s'),
                ('ID="anolis"\nID_LIKE="rhel fedora centos"\n', '5.10.134-16.an8.x86_64',
                 'dnf debuginfo-install kernel-core-%s, which brings ' + beside + '%s/vmlinux'),
                ('ID=fedora\n', '6.9.7-200.fc40.aarch64',
                 'dnf debuginfo-install kernel-core-%s, which brings ' + beside + '%s/vmlinux')]:
            self.box.kernel = release
            self.box.put('/etc/os-release', text)
            self.assertIn('\n  debug info: %s, then trace again\n' % words.replace('%s', release),
                          self.fails('nothing'), text)
        self.box.kernel = '5.14.21-150500.53-default'
        for name in ('sles', 'opensuse-leap', 'opensuse-tumbleweed'):
            self.box.put('/etc/os-release', 'ID="%s"\n' % name)
            self.fails('zypper install kernel-default-debuginfo, which brings %s%s.debug, then' % (
                brought, self.box.kernel))

    def test_others(self):
        for text in ('', 'ID=arch\n', 'NAME=debian\n', 'XID=debian\n', 'ID=debianish\n'):
            self.box.put('/etc/os-release', text)
            self.fails('  %s, then trace again' % self.UNKNOWN)
        # A kernel that a distribution did not build: nobody has a package of it.
        for text in ('ID=debian\n', 'ID=ubuntu\nID_LIKE=debian\n', 'ID=fedora\n', 'ID="sles"\n'):
            self.box.put('/etc/os-release', text)
            self.fails('  %s, then trace again' % self.UNKNOWN)
        os.remove(self.box.root + '/etc/os-release')
        self.fails('  %s, then trace again' % self.UNKNOWN)

    def test_wherever_one_is_needed(self):
        self.box.put('/etc/os-release', 'ID=fedora\n')
        self.box.kernel = '6.1.9-200.fc37.x86_64'
        words = 'debug info: dnf debuginfo-install kernel-core-6.1.9-200.fc37.x86_64, which brings '
        self.refused('instructions are read from a vmlinux; name one with -v; ' + words, '-F', 'f',
                     on=self.box)
        for name, data, message in [
                ('stripped', elf.elf([(b'.text', b'code')]),
                 'stripped: no vmlinux, or stripped: no symbols; '),
                ('plain', elf.elf(elf.symbols([('wake_up_new_task', 1, 1)])),
                 'plain: it has no debug info; ')]:
            self.write(name, data)
            for mode in ('auto', 'dwarf', 'gdb'):
                self.fails(message + words, '-m', mode, '-v', name)


class Kernels(Choosing):
    """Another kernel's offsets would be wrong numbers that look right."""

    def named(self, path, *arguments):
        """Trace with a file that is named, on the machine that it is to be of."""
        return tool.run(['-v', path, '-c', '1', '-t', '5'] + list(arguments) + [TRACE], on=self.box)

    def test_the_build_id_tells(self):
        notes = (b'.notes', elf.build_id(b'1')), (b'.note.gnu.build-id', elf.build_id(b'1'))
        for name, section in (('notes', notes[0]), ('note', notes[1])):
            for number, fits in ((b'1', True), (b'2', False), (b'\n', False)):
                self.box.put('/sys/kernel/notes', elf.build_id(number))
                path = self.write(name, elf.elf([(b'.BTF', types(8)), section]))
                result = self.named(path)
                if fits:
                    self.assertIn('types from %s (BTF)\n' % path, result.err)
                    continue
                self.assertEqual(result.status, 1)
                self.assertIn('%s is not of the running kernel, 6.1: their build ids differ' % path,
                              result.err)
                self.assertEqual(self.box.probes(), [])
                # To show lines, it may be of any kernel.
                self.assertIn('a=+0x8(%di)', self.said('-S', '-v', path, TRACE, on=self.box))

    def test_what_tells_none_is_taken(self):
        self.box.put('/sys/kernel/notes', elf.build_id(b'1'))
        for data in (types(8), elf.elf([(b'.BTF', types(8))]),
                     elf.elf([(b'.BTF', types(8)), (b'.notes', b'no build id')])):
            self.assertIn('(BTF)\n', self.named(self.write('own', data)).err)
        self.box.put('/sys/kernel/notes', b'')
        path = self.write('own', elf.elf([(b'.BTF', types(8)), (b'.notes', elf.build_id(b'1'))]))
        self.assertIn('(BTF)\n', self.named(path).err)
        os.remove(self.box.root + '/sys/kernel/notes')
        self.assertIn('(BTF)\n', self.named(path).err)

    def test_raw_btf_of_another_kernel(self):
        """This kernel's own BTF is there to compare with."""
        self.box.put('/sys/kernel/btf/vmlinux', types(8))
        self.assertIn('(BTF)\n', self.named(self.write('own', types(8))).err)
        path = self.write('other', types(12))
        self.assertIn('%s is not of the running kernel, 6.1, whose own BTF differs' % path,
                      self.named(path).err)
        self.said('-S', '-v', path, TRACE, on=self.box)

    def test_databases_of_another_kernel(self):
        self.box.put('/sys/kernel/btf/vmlinux', types(8))
        raw = '-v', self.write('raw', types(8))
        for release, arguments in (('6.1', ()), ('6.2', raw), ('custom', raw)):
            path = 'info-%s.db' % release
            self.said(*(arguments + ('--make-db', path)), on=self.box)
            result = tool.run(['-d', path, '-c', '1', '-t', '5', TRACE], on=self.box)
            self.assertIn('%s is of kernel 6.2, not of the running one, 6.1' % path
                          if release == '6.2' else 'types from %s (database)' % path, result.err)

    def test_debug_info_is_checked_as_well(self):
        self.box.put('/sys/kernel/notes', elf.build_id(b'1'))
        path = self.write('own', debug(8, [(b'.notes', elf.build_id(b'2'))]))
        for mode in ('auto', 'dwarf', 'gdb'):
            self.assertIn('their build ids differ', self.named(path, '-m', mode).err)
        self.box.put('/boot/vmlinux-6.1', debug(8, [(b'.notes', elf.build_id(b'2'))]))
        self.fails('/boot/vmlinux-6.1 is not of the running kernel, 6.1: their build ids differ')


class Machines(Choosing):

    def test_files_of_another_machine(self):
        for name, data in [('arm', debug(8, machine=elf.AARCH64)), (
                'armbtf', elf.elf([(b'.BTF', types(8))], machine=elf.AARCH64))]:
            self.write(name, data)
            self.refused('%s is for aarch64, but this trace is for x86_64: say -a aarch64'
                         % name, '-S', '-a', 'x86_64', '-v', name, TRACE,
                         on=self.box)
        self.write('other', elf.elf([(b'.BTF', types(8))], machine=243))
        self.assertTrue(self.fails('other is for machine 243, but this trace is for x86_64',
                                   '-v', 'other').endswith('x86_64\n'))

    def test_raw_btf_tells_by_its_registers(self):
        for member, machine in (('r15', 'x86_64'), ('pstate', 'aarch64'), ('gpr', None)):
            writer = btf.Writer()
            integer = writer.integer('int', 4, btf.SIGNED)
            inner = writer.struct('', 8, [(member, integer, 0)])
            writer.struct('pt_regs', 16, [('', inner, 64)])
            writer.struct('s', 64, [('x', integer, 64)])
            path = self.write('raw', writer.data())
            for architecture in ('x86_64', 'aarch64'):
                arguments = ('-S', '-a', architecture, '-v', path, 'p f a=!(struct s *)$stack->x')
                if architecture == machine:
                    self.said(*arguments)
                else:
                    text = self.refused('%s is for %s, but this trace is for %s' % (
                        path, machine or 'another architecture', architecture), *arguments)
                    self.assertEqual('say -a' in text, machine is not None)
        # Without struct pt_regs it is not told.
        for architecture in ('x86_64', 'aarch64'):
            self.said('-S', '-a', architecture, '-v', self.write('raw', types(8)),
                      'p f a=!(struct s *)$stack->x')

    def test_databases_tell(self):
        raw = self.write('raw', types(8))
        self.said('-v', raw, '-a', 'aarch64', '--make-db', 'info-6.1.db')
        for mode in ('auto', 'local'):
            self.fails('./info-6.1.db is for aarch64', '-m', mode)
        self.said('-v', raw, '-a', 'x86_64', '--make-db', 'info-6.1.db')
        for mode in ('auto', 'local'):
            self.taken(8, './info-6.1.db', 'database', '-m', mode)


class Modules(Choosing):
    """Types of modules lie beside those of their kernel."""

    KALLSYMS = ('ffffffff81000000 T wake_up_new_task\n'
                'ffffffffc0000000 t nf_hook\t[nf_tables]\n')
    MODULE_TRACE = 'p nf_hook a=!(struct own *)%0->x'

    def setUp(self):
        Choosing.setUp(self)
        self.box.put('/proc/kallsyms', self.KALLSYMS)
        self.box.put(standin.TRACEFS + '/available_filter_functions',
                     'wake_up_new_task\nnf_hook [nf_tables]\n')

    def module(self, place):
        """The BTF of a module on types(4)."""
        base = btf.Writer()
        integer = base.integer('int', 4, btf.SIGNED)
        held = base.struct('s', 64, [('x', integer, 32)])
        base.function('wake_up_new_task', 0, [('p', base.pointer(held))])
        assert base.data() == types(4)
        writer = btf.Writer(base)
        writer.struct('own', 64, [('x', integer, 8 * place)])
        return writer.data()

    def test_btf(self):
        self.box.put('/sys/kernel/btf/vmlinux', types(4))
        self.box.put('/sys/kernel/btf/nf_tables', self.module(12))
        out = self.said('-S', self.MODULE_TRACE, TRACE, on=self.box)
        self.assertIn('f0 nf_hook a=+0xc(%di):x32', out)
        self.assertIn('f1 wake_up_new_task a=+0x4(%di):x32', out)
        # Without a file of its own it has its kernel's.
        for data in (b'this is a text', None):
            if data is None:
                os.remove(self.box.root + '/sys/kernel/btf/nf_tables')
            else:
                self.box.put('/sys/kernel/btf/nf_tables', data)
            self.refused("there is no type 'struct own *' here", '-S', self.MODULE_TRACE,
                         status=2, on=self.box)
            self.said('-S', 'p nf_hook a=!(struct s *)%0->x', on=self.box)

    def test_what_only_a_module_has(self):
        """It is looked up in the BTF of modules that have its name."""
        self.box.put('/sys/kernel/btf/vmlinux', types(4))
        self.box.put('/sys/kernel/btf/nf_tables', self.module(12))
        self.box.put('/sys/kernel/btf/other', b'this is a text')
        self.assertIn('struct own {', self.said('--info', 'struct own', on=self.box))
        self.refused("there is no function or type 'struct owm'", '--info',
                     'struct owm', status=2, on=self.box)

    def test_debug_info_that_is_compressed(self):
        """It is passed over, and that is said."""
        self.box.put('/boot/vmlinux-6.1', debug(4))
        path = '/usr/lib/debug/lib/modules/6.1/kernel/net/nf_tables.ko.xz'
        self.box.put(path, b'xz')
        result = tool.run(['-S', 'p nf_hook a=!(struct s *)%0->x'], on=self.box)
        self.assertEqual(result.status, 0)
        self.assertIn(path + ' is compressed, and so not read; unpack it', result.err)

    def test_debug_info(self):
        """As distributions install it; not of another module whose name begins so."""
        self.box.put('/boot/vmlinux-6.1', debug(4))
        for directory, name in (('lib/modules/6.1/kernel/net', 'nf-tables.ko.debug'),
                                ('usr/lib/modules/6.1/kernel/net', 'nf_tables.ko'),
                                ('lib/modules/6.1/extra', 'nf-tables.ko.debug')):
            directory = '/usr/lib/debug/' + directory
            path = '%s/%s' % (directory, name)
            self.box.put(path, debug(12))
            self.box.put(directory + '/nf.ko.debug', debug(16))
            self.box.put(directory + '/nf-tables.txt', b'')
            out = self.said('-S', 'p nf_hook a=!(struct s *)%0->x', TRACE, on=self.box)
            self.assertIn('f0 nf_hook a=+0xc(%di):x32', out)
            self.assertIn('f1 wake_up_new_task a=+0x4(%di):x32', out)
            self.assertIn('surftrace: types from %s (DWARF)\n' % path, self.noted)
            os.remove(self.box.root + path)
        out = self.said('-S', 'p nf_hook a=!(struct s *)%0->x', on=self.box)
        self.assertIn('f0 nf_hook a=+0x4(%di):x32', out)

    def test_a_module_without_types_has_no_functions(self):
        """The kernel may have another one of that name."""
        symbols = self.KALLSYMS + 'ffffffffc0000100 t wake_up_new_task\t[nf_tables]\n'
        self.box.put('/proc/kallsyms', symbols)
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        held = writer.struct('s', 64, [('x', integer, 32)])
        writer.function('nf_hook', 0, [('p', writer.pointer(held))])
        self.box.put('/sys/kernel/btf/vmlinux', writer.data())
        self.refused("no prototype of 'nf_hook' is known here", '-S', 'p nf_hook a=%0->x',
                     status=2, on=self.box)
        self.said('-S', 'p nf_hook a=!(struct s *)%0->x', on=self.box)

    def test_the_build_id_of_a_module(self):
        path = '/usr/lib/debug/lib/modules/6.1/kernel/nf-tables.ko.debug'
        self.box.put('/boot/vmlinux-6.1', debug(4))
        self.box.put(path, debug(12, [(b'.note.gnu.build-id', elf.build_id(b'1'))],
                                 kind=elf.RELOCATABLE))
        trace = 'p nf_hook a=!(struct s *)%0->x'
        for number in (b'1', b'2'):
            self.box.put('/sys/module/nf_tables/notes/.note.gnu.build-id', elf.build_id(number))
            # Whatever the kernel itself is.
            self.box.put('/sys/kernel/notes', elf.build_id(b'3'))
            if number == b'1':
                self.assertIn('a=+0xc(%di):x32', self.said('-S', trace, on=self.box))
            else:
                self.refused('nf-tables.ko.debug is not of the running kernel, 6.1: their build '
                             'ids differ', '-S', trace, on=self.box)

    def test_a_module_is_named(self):
        """Its debug info is whole, its BTF is only what its kernel's lacks."""
        path = self.write('x.ko', debug(8, [(b'.BTF', types(4))], kind=elf.RELOCATABLE))
        self.assertEqual(self.words(path, TRACE), 'a=+0x8(%di):x32')
        self.refused("x.ko: it has no kernel's BTF; -m dwarf reads its debug info", '-S', '-m',
                     'btf', '-v', path, TRACE)
        path = self.write('y.ko', elf.elf([(b'.BTF', types(4))], kind=elf.RELOCATABLE))
        self.refused("y.ko: it has no kernel's BTF", '-S', '-v', path, TRACE)


class Symbols(Choosing):
    """A symbol may have another name than its function."""

    def test_what_clang_renames(self):
        """With link-time optimization a local function gets another name, and is whole."""
        self.box.put('/proc/kallsyms', 'ffffffff81000000 t wake_up_new_task.llvm.123\n')
        self.box.put(standin.TRACEFS + '/available_filter_functions',
                     'wake_up_new_task.llvm.123\n')
        trace = 'p wake_up_new_task.llvm.123 a=%0->x'
        writer = btf.Writer()
        integer = writer.integer('int', 4, btf.SIGNED)
        held = writer.struct('s', 64, [('x', integer, 32)])
        proto = writer.pointer(held)
        writer.function('wake_up_new_task', 0, [('p', proto)])
        self.box.put('/sys/kernel/btf/vmlinux', writer.data())
        self.taken(4, '/sys/kernel/btf/vmlinux', 'BTF', trace=trace)
        integer = dwarf.number('int', 4, dwarf.SIGNED)
        held = dwarf.struct_of('s', 64, [('x', integer, 8)])
        to_held = dwarf.pointer(held)
        self.box.put('/boot/vmlinux-6.1', elf.elf(dwarf.sections([dwarf.root(
            integer, held, to_held, dwarf.function('wake_up_new_task', [('p', to_held)], (
                dwarf.LOW_PC, dwarf.address(0x1000))))]) + elf.symbols(
                    [('wake_up_new_task.llvm.123', 0x1000, 8)])))
        self.taken(8, '/boot/vmlinux-6.1', 'DWARF', '-m', 'dwarf', trace=trace)


class Fallback(Choosing):
    """What the reader of debug info does not know, gdb reads, if it was ours to choose."""

    def test_when_it_is_opened(self):
        path = self.write('own', debug(8, [(b'.gnu_debugaltlink', b'x')]))
        message = 'it has .gnu_debugaltlink'
        text = self.fails(message + '; gdb reads it instead\nsurftrace: /no/gdb: no such file',
                          '-v', path, '-g', '/no/gdb')
        self.assertIn('own: debug info that only gdb may read: ', text)
        text = self.fails(message, '-m', 'dwarf', '-v', path, '-g', '/no/gdb')
        self.assertNotIn('/no/gdb', text)

    def test_when_it_is_read(self):
        """A kind of entry that comes up when a trace needs it."""
        strange = dwarf.Entry(dwarf.REFERENCE)
        path = self.write('own', elf.elf(dwarf.sections([dwarf.root(strange, dwarf.struct_of(
            's', 8, [('x', strange, 0)]))]) + elf.symbols([('wake_up_new_task', 0x1000, 8)])))
        text = self.fails('a type of tag 0x10; gdb reads it instead\nsurftrace: /no/gdb: no such '
                          'file', '-v', path, '-g', '/no/gdb')
        self.assertIn('types from own (DWARF)', text.replace(self.directory + '/', ''))
        text = self.fails('a type of tag 0x10\n', '-m', 'dwarf', '-v', path, '-g', '/no/gdb')
        self.assertNotIn('gdb reads it', text)

    def test_btf_comes_before_debug_info(self):
        path = self.write('own', debug(8, [(b'.BTF', types(4))]))
        self.assertEqual(self.words(path, TRACE), 'a=+0x4(%di):x32')
        self.assertEqual(self.words(path, TRACE, '-m', 'dwarf'), 'a=+0x8(%di):x32')


class Gdbs(Choosing):
    """The gdb that is taken where none is named."""

    def setUp(self):
        Choosing.setUp(self)
        self.write('own', debug(8))
        self.write('arm', debug(8, machine=elf.AARCH64))
        self.addCleanup(os.environ.__setitem__, 'PATH', os.environ.get('PATH', ''))
        os.environ['PATH'] = self.directory + '/bin'

    def named(self, path, *arguments):
        """The gdb that is started for a file; there is none of that name, or it ends at once."""
        text = self.fails('', '-m', 'gdb', '-v', path, *arguments)
        return re.search(r' (\S+)(?:: no such file| ended in the middle)', text).group(1)

    def program(self, name, mode):
        os.chmod(self.write(name, b'#!/bin/sh\nexit 3\n'), mode)

    def test_by_machine(self):
        self.assertEqual((self.named('own'), self.named('arm')), ('gdb', 'gdb-multiarch'))
        self.assertEqual(self.named('arm', '-g', '/no/gdb'), '/no/gdb')

    def test_packages(self):
        self.assertIn('install the package gdb\n', self.fails('', '-m', 'gdb', '-v', 'own'))
        self.assertIn('install the package gdb-multiarch\n',
                      self.fails('', '-m', 'gdb', '-v', 'arm'))


class Files(Choosing):

    def test_that_are_no_vmlinux(self):
        for name, data in (('text', b'this is a text\n'), ('empty', b'')):
            self.write(name, data)
            for mode in ('auto', 'gdb', 'dwarf', 'btf'):
                self.fails('%s: neither BTF nor a 64-bit' % name, '-m', mode, '-v', name)
        self.write('raw', types(8))
        for mode in ('gdb', 'dwarf'):
            self.fails('raw: no vmlinux, or stripped: no symbols', '-m', mode, '-v', 'raw')

    def test_that_cannot_do(self):
        self.write('stripped', elf.elf([(b'.text', b'code')]))
        self.write('plain', elf.elf([(b'.symtab', b''), (b'.text', b'code')]))
        for name, message in (('stripped', 'no vmlinux, or stripped'),
                              ('plain', 'it has no debug info')):
            self.fails(message, '-v', name)
        self.fails("stripped: it has no kernel's BTF; -m dwarf reads its debug info", '-m', 'btf',
                   '-v', 'stripped')


if __name__ == '__main__':
    unittest.main()

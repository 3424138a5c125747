"""ELF files: their sections, their symbols, and what becomes of damaged ones."""
import unittest

from tests.lib import btf, elf, tool
from tests.lib.files import FileTest

BTF = (b'.BTF', btf.sample().data())


class Sections(FileTest):

    def section(self, *arguments, **options):
        return tool.btf_section(self.write('vmlinux', elf.elf(*arguments, **options)))

    def test_found_by_name(self):
        data = BTF[1]
        for sections in ([BTF], [(b'.BTF.ext', b'other'), BTF], [(b'.text', b'x'), BTF]):
            self.assertEqual(self.section(sections), data)
        for sections in ([], [(b'.BTF.ext', data)], [(b'x.BTF', data)]):
            self.assertIsNone(self.section(sections))

    def test_headers_without_bytes(self):
        """A file with debug info alone keeps the headers of sections that it does not have."""
        self.assertIsNone(self.section([BTF + (0, elf.NO_BITS)]))
        self.assertEqual(self.section([BTF, (b'.BTF', b'x', 0, elf.NO_BITS)]), BTF[1])

    def test_no_table_of_sections(self):
        """As in a file whose headers were stripped, which is no damage."""
        data = elf.elf([BTF])
        self.assertIsNone(tool.btf_section(self.write('vmlinux', data[:60] + b'\0\0' + data[62:])))
        # The names of sections are in none of those that there are.
        for names_at in (1, 100):
            with self.assertRaises(tool.SourceError) as caught:
                self.section([BTF], names_at=names_at)
            self.assertIn('damaged', str(caught.exception))

    def test_of_another_kind(self):
        for ident in (elf.IDENT[:4] + b'\1' + elf.IDENT[5:], elf.BIG_ENDIAN):
            path = self.write('vmlinux', elf.elf([BTF], ident))
            with self.assertRaises(tool.SourceError) as caught:
                tool.btf_section(path)
            self.assertIn('%s: neither BTF nor a 64-bit little-endian ELF file' % path,
                          str(caught.exception))

    def test_cut_anywhere(self):
        whole = elf.elf([(b'.data', b'x' * 100), BTF])
        for size in list(range(16, 300)) + list(range(len(whole) - 300, len(whole))):
            path = self.write('vmlinux', whole[:size])
            with self.assertRaises(tool.SourceError) as caught:
                tool.btf_section(path)
            self.assertIn('damaged', str(caught.exception))
            self.assertIn('cut short', str(caught.exception))


class Symbols(FileTest):

    ROWS = [('vfs_read', 0x1000, 0x40), ('.L', 0x1000, 0), ('jiffies', 0x2000, 8, elf.OBJECT),
            ('vfs_read.isra.0', 0x1100, 0x40), ('9lives', 0x1200, 4), ('a-b', 0x1300, 4),
            ('vfs_write', 0x1400, 0x40), ('__pfx_vfs_write', 0x13f0, 0x10)]

    def test_functions(self):
        path = self.write('vmlinux', elf.elf(elf.symbols(self.ROWS)))
        self.assertEqual(tool.symbols_of(path), ['vfs_read', 'vfs_read.isra.0', 'vfs_write',
                                                 '__pfx_vfs_write'])

    def test_no_table(self):
        table, strings = elf.symbols(self.ROWS)
        for sections in ([], [table], [strings]):
            path = self.write('vmlinux', elf.elf(sections))
            self.assertEqual(tool.symbols_of(path), [])
        self.assertEqual(tool.symbols_of(self.write('raw', BTF[1])), [])

    def test_a_table_that_is_cut(self):
        """An entry takes 24 bytes; what is left at the end is none."""
        table, strings = elf.symbols(self.ROWS)
        path = self.write('vmlinux', elf.elf([(table[0], table[1] + b'\0' * 23), strings]))
        self.assertEqual(len(tool.symbols_of(path)), 4)

    def test_what_they_are_for(self):
        """Names are checked by them, and patterns match them."""
        path = self.write('vmlinux', elf.elf(elf.symbols(self.ROWS + [
            ('wake_up_new_task', 0x1500, 0x40)]) + [BTF]))
        self.assertIn("no function 'vfs_reed': did you mean 'vfs_read'", self.refused(
            'vfs_reed', '-S', '-v', path, 'p vfs_reed', status=2))
        self.assertEqual(self.words(path, 'p wake_up_new_task a=%0->comm'), 'a=+0x10(%di):string')
        self.assertEqual(self.said('-v', path, '--info', 'vfs_*'),
                         'unsigned long vfs_read(void *, char *, unsigned long)\n'
                         'vfs_read.isra.0\nvfs_write\n')

    def test_names_that_end_others(self):
        """Linkers let one name end another."""
        table, strings = elf.symbols([('put_one', 0x1000, 4), ('x', 0x2000, 2)])
        data = bytearray(table[1])
        data[48] = strings[1].index(b'one')     # the name of the second
        path = self.write('vmlinux', elf.elf([(table[0], bytes(data)), strings]))
        self.assertEqual(tool.symbols_of(path), ['put_one', 'one'])


class Machines(FileTest):

    def test_the_registers_are_those_of_the_file(self):
        """Unless the person says otherwise, which is a mistake then."""
        for machine, register, other in ((elf.X86_64, '%di', 'aarch64'),
                                         (elf.AARCH64, '%x0', 'x86_64')):
            path = self.write('vmlinux', elf.elf([BTF], machine=machine))
            result = tool.run(['-S', '-v', path, 'p wake_up_new_task a=%0->comm'])
            self.assertIn('a=+0x10(%s):string' % register, result.out)
            result = tool.run(['-S', '-a', other, '-v', path, 'p wake_up_new_task a=%0->comm'])
            self.assertEqual(result.status, 1)
            self.assertIn('but this trace is for %s: say -a ' % other, result.err)

    def test_machines_that_are_not_known(self):
        path = self.write('vmlinux', elf.elf([BTF], machine=243))
        self.assertTrue(self.refused(
            '%s is for machine 243, but this trace is for x86_64' % path, '-S', '-v', path,
            'p wake_up_new_task a=%0->comm').endswith('x86_64\n'))


if __name__ == '__main__':
    unittest.main()

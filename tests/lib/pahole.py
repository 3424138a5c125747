"""The layouts of a kernel as pahole tells them, another reader of BTF."""
import os
import re
import subprocess


class Layouts(object):
    """The layouts of one BTF file."""

    def __init__(self, path):
        self.path, self.layouts = path, {}

    def layout(self, name):
        """Return the offset, in bytes, of each member of a struct."""
        if name not in self.layouts:
            with open(os.devnull, 'w') as nothing:      # it speaks of kinds that it does not know
                text = subprocess.check_output(['pahole', '-F', 'btf', '-C', name, self.path],
                                               stderr=nothing).decode()
            self.layouts[name] = dict((member, int(offset)) for member, offset in re.findall(
                r'(\w+)\)?(?:\[\d+\]|\([^;]*\))*(?::\d+)?(?: __attribute__\(\(.*\)\))?; +'
                r'/\* +(\d+)[ :]', text))
        return self.layouts[name]

    def filled_in(self, text):
        """Return text with an offset in the place of each {struct.member+struct.member+2*16}."""
        return re.sub(r'\{([a-z_]\w*\.[^{}]*)\}', self._offset, text)

    def _offset(self, match):
        total = 0
        for part in match.group(1).split('+'):
            if '*' in part:
                count, size = part.split('*')
                total += int(count) * int(size)
            else:
                name, _, member = part.partition('.')
                total += self.layout(name)[member]
        return '0x%x' % total

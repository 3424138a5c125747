"""Draw traces from a kernel's own types: chains of members, packets, casts, registers ...

One in fifty has a slip, a letter that is wrong in the name of a member or a function; of the others
many say what cannot be done, as people do: a whole struct, an element behind the end of an array.
The same seed gives the same traces, on one Python.
"""
import random
import re

REGISTERS = {'x86_64': ('di', 'si', 'dx', 'cx', 'r8', 'r9'),
             'aarch64': ('x0', 'x1', 'x2', 'x3', 'x4', 'x5')}
HEADERS = ('ethhdr', 'iphdr', 'ipv6hdr', 'icmphdr', 'tcphdr', 'udphdr')
BEHIND_A_HEADER = ('cdata[0]', 'sdata[1]', 'ldata[0]', 'qdata[2]', 'Sdata')
LETTERS = ('', '', '', 'S', 'U', 'X')
FTRACE_TYPES = ('x8', 'u16', 's32', 'x64', 'u64', 'string')
# What a value may be called to be shown otherwise, by its size in bytes.
PREFIXES = {2: ('B16_', 'b16_'), 4: ('ip_', 'B32_', 'b32_'), 8: ('B64_', 'b64_')}
NUMBERS = ('0', '1', '-1', '5', '100', '0x7f', '4096')
SLIPS = 0.02


class Draw(object):
    """Draws from a Source of BTF.

    names -- the functions to draw from, if not all that the source knows
    unique -- whether to leave out functions and structs that share their name with others, of
    which another source may take another one
    """

    def __init__(self, source, seed, architecture='x86_64', names=None, unique=False):
        self.source, self.unique = source, unique
        self.registers = REGISTERS[architecture]
        self.random = random.Random(seed)
        self.names = sorted(set(source.names('function') if names is None else names))
        # By their names: to look at the arguments of all functions takes too long in a guest.
        self.packets = [name for name in self.names if re.search('skb|xmit|_rcv', name)]
        self.structs = sorted(set(source.names('struct')))
        self.shared = {}

    def trace(self):
        """Return one trace as text."""
        while True:
            names = self.packets if self.packets and self.chance(0.15) else self.names
            name = self.random.choice(names)
            functions = self.source.functions(name)
            if not functions or self.unique and len(functions) > 1:
                continue
            kind = 'r' if self.chance(0.2) else 'p'
            drawn = [self.value(kind, functions[0], names is self.packets)
                     for _ in range(self.random.choice((1, 1, 2, 3)))]
            if None in drawn:
                continue
            values = ['%sv%d' % (self.prefix(text, found), place)
                      for place, (text, found) in enumerate(drawn)]
            words = [kind, name] + ['%s=%s' % (value, text)
                                    for value, (text, _) in zip(values, drawn)]
            if self.chance(0.2):
                words.append('f:' + self.filter(values, drawn))
            text = ' '.join(words)
            return self.with_a_slip(text) if self.chance(SLIPS) else text

    def chance(self, share):
        return self.random.random() < share

    # A value is (its text, the CType of what it ends in or None), or None if nothing was found.

    def value(self, kind, function, packet):
        indexes = [index for index, each in enumerate(function.parameters[:6])
                   if each.type.words == 'struct sk_buff *']
        if packet and kind == 'p' and indexes and self.chance(0.8):
            return self.of_packet(self.random.choice(indexes))
        if self.chance(0.05):
            return self.of_register()
        if self.chance(0.08):
            name = self.random.choice(self.structs)
            return self.chain('!(struct %s *)%%%s->' % (name, self.random.choice(self.registers)),
                              self.source.find('struct', name))
        if kind == 'r' and self.chance(0.1 if function.result.kind == 'void' else 0.7):
            return self.chain('$retval', function.result)
        if not function.parameters:
            return None
        index = self.random.randrange(len(function.parameters))
        parameter = function.parameters[index]
        named = parameter.name and self.chance(0.4)
        return self.chain('$' + parameter.name if named else '%%%d' % index, parameter.type)

    def of_packet(self, index):
        header = self.random.choice(HEADERS)
        members = [each.name for each in self.source.find('struct', header).members()]
        return '%s@(struct %s *)%s%%%d->%s' % (
            self.random.choice(('', '', 'X', 'S', 'U')), header,
            self.random.choice(('', 'l2', 'l3', 'l4')), index,
            self.random.choice(members + list(BEHIND_A_HEADER))), None

    def of_register(self):
        register = '%' + self.random.choice(self.registers)
        return self.random.choice(('$comm', '$stack', '$stack2', register, register + ':u32', (
            '+0x%x(%s):x%d' % (self.random.randrange(256), register, self.random.choice((8, 64)))
        ), register + ':string')), None

    def chain(self, text, held):
        """Go on from text, which is of the type held; or, if it ends in ->, points at it."""
        steps = self.random.randint(1, 4)
        while True:
            if held.kind == 'array' and not self.chance(0.15):
                # Now and then one past the end; a flexible array has none.
                last = held.length if self.chance(0.1) else max(held.length - 1, 0)
                text, held = text + '[%d]' % self.random.randint(0, last), held.target
                continue
            inner = held.target if held.kind == 'pointer' else held
            if held.kind == 'pointer' and self.chance(0.03):
                name = self.random.choice(self.structs)
                text, inner = text + '!(struct %s *)' % name, self.source.find('struct', name)
            if inner.kind not in ('struct', 'union') or not inner.size:
                if held.kind == 'pointer' and inner.kind in ('int', 'enum') and self.chance(0.2):
                    text, held = text + '[0]', inner
                break
            if held.kind == 'pointer' and not steps or held.kind != 'pointer' and self.chance(0.05):
                break
            members = [each for each in inner.members() if each.name]
            if self.unique and self.is_shared(inner):
                return None
            if not members:
                break
            member = self.random.choice(members)
            if not text.endswith('->'):
                text += '->' if held.kind == 'pointer' else '.'
            text, held, steps = text + member.name, member.type, max(steps - 1, 0)
        if text.endswith('->'):
            return None
        text = self.random.choice(LETTERS) + text
        if self.chance(0.03):
            text += ':' + self.random.choice(FTRACE_TYPES)
        return text, held

    def is_shared(self, found):
        """Tell whether several types are called like that one."""
        key = found.kind, found.name
        if key not in self.shared:
            self.shared[key] = bool(found.name) and len(self.source.every(*key)) > 1
        return self.shared[key]

    def prefix(self, text, found):
        """Return what the name of a value begins with, to have it shown as an address or so."""
        if found is None or re.match('[SUX]', text):
            return ''
        if found.kind == 'struct' and found.name == 'in6_addr':
            return 'ip6_'
        if found.kind == 'array' and found.length == 6 and found.target.size == 1:
            return self.random.choice(('', 'mac_'))
        if found.kind == 'int' and self.chance(0.05):
            return self.random.choice(PREFIXES.get(found.size, ('',)))
        return ''

    def filter(self, values, drawn):
        """Compare one or two of the values, or a field that all events have."""
        parts = [self.comparison(*self.random.choice(list(zip(values, drawn))))
                 for _ in range(self.random.choice((1, 1, 2)))]
        if self.chance(0.3):
            parts.append('(common_pid!=1||CPU==0)')
        return self.random.choice(('&&', '||')).join(parts)

    def comparison(self, value, drawn):
        text, found = drawn
        lettered = re.match('[SUX]', text)
        inner = found.target if found and found.kind in ('array', 'pointer') else None
        if text == '$comm' or inner and inner.words.endswith('char') and not lettered:
            return value + self.random.choice(('=="bash"', '!=sh', '~"ba*"'))
        if found and found.kind == 'enum' and not lettered and self.chance(0.7):
            return '%s==%s' % (value, self.random.choice(found.values())[0])
        return value + self.random.choice(('==', '!=', '<', '<=', '>', '>=', '&')) + (
            self.random.choice(NUMBERS))

    def with_a_slip(self, text):
        """Make the last letter of a name another one, so that the trace is refused."""
        values = text.partition(' f:')[0]
        ends = [match.end() for match in re.finditer(r'(?:->|\.)[a-z_]\w*', values)]
        # Without its prototype a function still has registers.
        if re.search(r'=[SUX]?(?:%\d|\$(?!retval|comm|stack))', values):
            ends.append(len(' '.join(values.split()[:2])))
        if not ends:
            return text
        end = self.random.choice(ends)
        return text[:end - 1] + ('x' if text[end - 1] == 'q' else 'q') + text[end:]

"""Types in C's words: as a person casts to them, and as databases, servers and gdb spell them."""
import unittest

from tests.lib import btf, database, tool
from tests.lib.files import FileTest

# Words, and what they are from the outside in: kinds (const is none of them), the length of an
# array, and what is left inside.
WORDS = [
    ('char *', ['pointer'], 'char'),
    ('struct sk_buff**', ['pointer', 'pointer'], 'struct sk_buff'),
    ('const char *', ['pointer'], 'const char'),
    ('char *const', ['pointer'], 'char'),
    ('char * const *', ['pointer', 'pointer'], 'char'),
    ('volatile unsigned long', [], 'volatile unsigned long'),
    ('const volatile int', [], 'const volatile int'),
    ('char[16]', ['array 16'], 'char'),
    ('u8 [3][4]', ['array 3', 'array 4'], 'u8'),
    ('struct page *[]', ['array 0', 'pointer'], 'struct page'),
    ('void (*)(struct callback_head *)', ['pointer', 'function'], 'void'),
    ('void (*[3])(int, char (*)(void))', ['array 3', 'pointer', 'function'], 'void'),
    ('int (*)[5]', ['pointer', 'array 5'], 'int'),
    ('void (**)(int)', ['pointer', 'pointer', 'function'], 'void'),
    ('int (* const)(struct kobject *)', ['pointer', 'function'], 'int'),
    ('struct sk_buff *(*)(int)', ['pointer', 'function', 'pointer'], 'struct sk_buff'),
    ('struct s$41234', [], 'struct s'), ('union $41234', [], 'union'),
    # A function that returns a pointer to another.
    ('void (*(*)(int))(char)', ['pointer', 'function', 'pointer', 'function'], 'void'),
]
# Words that come out as they were read.
SPELLED = ('struct sk_buff **', 'const char *', 'char *const', 'char[16]', 'unsigned short[3][4]',
           'void (*)(struct callback_head *)', 'void (*[3])(int, char (*)(void))', 'int (*)[5]',
           'int (*)(const char *, ...)', 'struct page *[]',
           'volatile unsigned long', 'char *const *', 'void (*)(int, void (*)(int, char *), long)',
           'struct sk_buff *(*)(int)', 'enum state', 'union either')
DAMAGED = ('(', '(*', ')', '[', 'char[', '*(', 'a(*)(', '(*)', '(*' * 50, 'a[1](*)', 'a(', 'a)',
           'a(*', 'a(*)(*)', 'a(*)[', 'a(*[)(', 'a' + '(*' * 50, 'a*(*)**', 'const', 'const *')


class Spelled(FileTest):
    """As a database spells them: the types of a function's arguments."""

    def types(self, *kinds):
        path = self.directory + '/info.db'
        database.make(path, *(database.TABLES + [database.function('f', kinds)]))
        types = tool.from_database(path)
        self.addCleanup(types.close)
        [function] = types.functions('f')
        return [parameter.type for parameter in function.parameters]

    def test_outermost_first(self):
        for (text, kinds, inside), found in zip(WORDS, self.types(*[row[0] for row in WORDS])):
            seen = []
            while found.kind in ('pointer', 'array', 'function'):
                seen.append(found.kind + (' %d' % found.length if found.kind == 'array' else ''))
                found = found.target
            left = found.words.replace('{...}', '').strip()
            self.assertEqual(seen, kinds, text)
            if 'const' not in inside and 'volatile' not in inside:
                self.assertEqual(left, inside, text)

    def test_spelled_again(self):
        """What is read is written as it was, so that a database can be made from another."""
        for text, found in zip(SPELLED, self.types(*SPELLED)):
            self.assertEqual(found.words, text)

    def test_sizes(self):
        for text, size in (('char *', 8), ('char[16]', 16), ('char *[4]', 32), ('int[3][4]', 48),
                           ('unsigned long', 8), ('short int', 2), ('char[]', 0),
                           ('void (*)(int)', 8), ('_Bool', 1)):
            self.assertEqual(self.types(text)[0].size, size, text)

    def test_damaged(self):
        """Words that no compiler writes lead to an end."""
        for text in DAMAGED:
            if not text[0].isalpha():
                self.assertRaises(tool.SourceError, self.types, text)
                continue
            [found] = self.types(text)
            for _ in range(64):
                if found.kind not in ('pointer', 'array', 'function'):
                    break
                found = found.target
            else:
                self.fail('%s never ends' % text)

    def test_lists_of_arguments(self):
        path = self.directory + '/info.db'
        database.make(path, *(database.TABLES + [
            database.function('none', ['void'], result='void'),
            database.function('any', ['const char *', '...']),
            database.function('static', ['int'], ['a'], 'static unsigned int'),
            database.function('inline', [], [], 'inline char *')]))
        types = tool.from_database(path)
        self.addCleanup(types.close)
        for name, words in (('none', 'void none(void)'), ('any', 'int any(const char *, ...)'),
                            ('static', 'unsigned int static(int)'),
                            ('inline', 'char *inline(void)')):
            self.assertEqual(types.prototypes(name), [words])


class Casts(FileTest):
    """As a person writes them."""

    def test_found(self):
        types = tool.sample()
        for text, kind, size in [
                ('struct task_struct', 'struct', 0x400), ('struct task_struct *', 'pointer', 8),
                ('struct sk_buff**', 'pointer', 8), ('unsigned long', 'int', 8),
                ('long unsigned int', 'int', 8), ('u8', 'int', 1), ('const char *', 'pointer', 8),
                ('unsigned', 'int', 4), ('short int', 'int', 2), ('long long', 'int', 8),
                ('union either', 'union', 8), ('enum state', 'enum', 4), ('void *', 'pointer', 8),
                ('const struct sk_buff * const', 'pointer', 8), ('volatile u8', 'int', 1),
                ('enum RUNNING', 'enum', 4), ('_Bool', 'int', 1), ('char[3]', 'array', 3),
                ('long unsigned', 'int', 8), ('int' + '*' * 63, 'pointer', 8)]:
            found = types.type(text)
            self.assertEqual((found.kind, found.size), (kind, size), text)

    def test_refused(self):
        types = tool.sample()
        for text in ('struct nope', 'nope', '', '*', 'struct', 'unsigned nope', 'char * x',
                     'signed unsigned', 'struct task_struct x', 'enum nope', 'u8 int', 'int u8',
                     'unsigned unsigned', 'unsigned _Bool x', 'int' + '*' * 64, 'long short'):
            self.assertRaises(tool.Mistake, types.type, text)
        for text in DAMAGED:
            if not set('()').intersection(text):
                self.assertRaises(tool.Mistake, types.type, text)

    def test_integers(self):
        """C's own, in any order of their words, whatever the file has."""
        types = tool.from_btf(btf.Writer().data())
        for text, words, size, signed in [
                ('char', 'char', 1, True), ('unsigned char', 'unsigned char', 1, False),
                ('signed char', 'signed char', 1, True), ('short', 'short', 2, True),
                ('short unsigned int', 'unsigned short', 2, False), ('int', 'int', 4, True),
                ('unsigned int', 'unsigned int', 4, False), ('unsigned', 'unsigned int', 4, False),
                ('signed', 'signed int', 4, True), ('long', 'long', 8, True),
                ('int long unsigned', 'unsigned long', 8, False),
                ('long long unsigned int', 'unsigned long long', 8, False),
                ('_Bool', '_Bool', 1, False), ('long long int', 'long long', 8, True)]:
            found = types.type(text)
            self.assertEqual((found.words, found.size, found.signed), (words, size, signed), text)

    def test_what_a_person_sees(self):
        path = self.write('raw', btf.sample().data())
        for cast, expected in [('struct task_struct *', 'a=+0x10(%di):string'),
                               ('const struct task_struct *', 'a=+0x10(%di):string'),
                               ('struct task_struct * const', 'a=+0x10(%di):string')]:
            self.assertEqual(self.words(path, 'p f a=!(%s)%%di->comm' % cast), expected)
        for cast, message in [
                ('task_struct *', "there is no type 'task_struct *' here: did you mean "
                                  "'struct task_struct *'?"),
                ('struct nope *', "there is no type 'struct nope *' here; write it as C does: "
                                  'struct sock *, unsigned long, u32'),
                ('nope', "there is no type 'nope' here; write it as C does")]:
            said = self.refused(message, '-S', '-v', path, 'p f a=!(%s)%%di->comm' % cast,
                                status=2)
            self.assertEqual(said.rstrip('\n').splitlines()[-1], '          ^')


if __name__ == '__main__':
    unittest.main()

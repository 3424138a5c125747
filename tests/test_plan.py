"""Plan: the steps, their undo, and that its readers agree."""
import os
import re
import shlex
import subprocess
import tempfile
import unittest

import btf
import surftrace

TEXTS = ['p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm=="a b"&&users<4',
         'r ip_rcv r=$retval', 'e sched/sched_switch f:prev_pid>1']


def compiled(texts=TEXTS):
    types = surftrace.Btf(btf.sample().data(), 'sample')
    target = surftrace.Target(surftrace.ARCHITECTURES['x86_64'], surftrace.USUAL_FEATURES)
    traces = []
    for number, text in enumerate(texts):
        tree = surftrace.parse_trace(text)
        traces.append(surftrace.compile_event(tree, None, None) if tree.kind == 'e' else
                      surftrace.compile_trace(tree, 'f%d' % number, tree.symbol.text, types,
                                              target))
    return traces


def lines_of(plan):
    return [surftrace.shell_line(step, '/t', 'surftrace') for step in plan.create + plan.start]


class Plan(unittest.TestCase):

    def test_lines(self):
        self.assertEqual(lines_of(surftrace.make_plan(compiled(), surftrace.Settings(True))), [
            'mkdir /t/instances/surftrace',
            "echo 'p:surftrace/f0 wake_up_new_task comm=+0x10(%di):string "
            "users=+0x10(+0x20(%di)):s32' >> /t/kprobe_events",
            "echo 'r:surftrace/f1 ip_rcv r=$retval' >> /t/kprobe_events",
            "echo 'comm==\"a b\"&&users<4' > "
            "/t/instances/surftrace/events/surftrace/f0/filter",
            "echo 'prev_pid>1' > /t/instances/surftrace/events/sched/sched_switch/filter",
            'echo 1 > /t/instances/surftrace/events/surftrace/f0/enable',
            'echo 1 > /t/instances/surftrace/events/surftrace/f1/enable',
            'echo 1 > /t/instances/surftrace/events/sched/sched_switch/enable',
            'echo 1 > /t/instances/surftrace/options/stacktrace',
            'echo 1 > /t/instances/surftrace/tracing_on'])

    def test_undo_is_in_reverse_and_removes_probes_with_one_write(self):
        plan = surftrace.make_plan(compiled(), surftrace.Settings())
        undo = [surftrace.shell_line(step, '/t', 'surftrace')
                for part in (plan.start, plan.create) for step in surftrace.joined_undo(part)]
        self.assertEqual(undo, [
            'echo 0 > /t/instances/surftrace/tracing_on',
            'echo 0 > /t/instances/surftrace/events/sched/sched_switch/enable',
            'echo 0 > /t/instances/surftrace/events/surftrace/f1/enable',
            'echo 0 > /t/instances/surftrace/events/surftrace/f0/enable',
            "echo '-:surftrace/f1\n-:surftrace/f0' >> /t/kprobe_events",
            'rmdir /t/instances/surftrace'])

    def test_without_instances_what_was_there_is_restored(self):
        plan = surftrace.make_plan(compiled(), surftrace.Settings(), instances=False)
        restored = [step.path for step in plan.start
                    if step.undo and step.undo.action == 'restore']
        self.assertEqual(restored, ['events/sched/sched_switch/filter',
                                    'events/sched/sched_switch/enable',
                                    'options/stacktrace', 'tracing_on'])
        self.assertFalse([step for step in plan.create + plan.start if 'instances' in step.path])

    def test_every_change_has_an_undo(self):
        plan = surftrace.make_plan(compiled(), surftrace.Settings(True))
        without = [step.path for step in plan.create + plan.start if not step.undo]
        # These go with the instance and the event they belong to.
        self.assertTrue(all(re.search('filter$|stacktrace$', path) for path in without), without)


class Quoting(unittest.TestCase):
    NASTY = ['a', '', "it's", '$(touch x)', '`touch x`', 'a b', '"', '\\', '\\n', '*', '-n', ';x',
             '#', '~', 'a\\"b']

    def test_words_survive_a_shell(self):
        for text in self.NASTY:
            shell = 'printf "<%%s>" %s' % surftrace.quoted(text)
            self.assertEqual(subprocess.check_output(['sh', '-c', shell]).decode(),
                             '<%s>' % text)

    def test_lines_write_what_the_plan_says(self):
        directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, directory)
        path = os.path.join(directory, 'file')
        for text in self.NASTY:
            if text == '-n':
                continue        # no line of a plan begins with an option of echo
            step = surftrace.Step('write', 'file', text)
            subprocess.check_call(['sh', '-c', surftrace.shell_line(step, directory, 'x')])
            self.assertEqual(surftrace.text_if_there(path), text + '\n')
        os.remove(path)


class Script(unittest.TestCase):

    def test_sets_up_as_the_lines_do(self):
        """The lines of the script, once $run is known, are those of -S, less the root."""
        plan = surftrace.make_plan(compiled(), surftrace.Settings(True))
        lines = surftrace.script(plan, TEXTS).replace('"$run"', 'surftrace').split('\n')
        found = [shlex.split(line.split(' || give_up')[0]) for line in lines
                 if re.match('(echo|printf) .*\\|\\| give_up', line)]
        expected = [shlex.split(line.replace('/t/', '')) for line in lines_of(plan)
                    if not line.startswith('mkdir')]
        self.assertEqual(found, expected)

    def test_undoes_every_step(self):
        for instances in (True, False):
            plan = surftrace.make_plan(compiled(), surftrace.Settings(True), instances)
            text = surftrace.script(plan, TEXTS)
            undo = re.findall(r'"\$step" -lt (\d+)', text)
            numbers = [str(number) for number, step in enumerate(
                [step for step in plan.create + plan.start if step.action != 'mkdir'], 1)
                if step.undo]
            self.assertEqual(sorted(undo), sorted(numbers))
            self.assertEqual('rmdir instances/' in text, instances)

    def test_is_a_shell_script(self):
        for instances in (True, False):
            text = surftrace.script(surftrace.make_plan(
                compiled(), surftrace.Settings(True), instances), TEXTS)
            process = subprocess.Popen(['sh', '-n'], stdin=subprocess.PIPE)
            process.communicate(text.encode())
            self.assertEqual(process.returncode, 0)


if __name__ == '__main__':
    unittest.main()

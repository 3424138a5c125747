"""The runner of the tests: what it counts, and the ends that it puts to what hangs."""
import io
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

MODULE = '''
import os, time, unittest
class Sample(unittest.TestCase):
    def test_1(self):
        print('measured: nothing')
    def test_2(self):
        """With words of its own."""
        time.sleep(float(os.environ.get('SECONDS', 0)))
    def test_3(self):
        self.skipTest('as told')        # Python 3.12.1 does not count @unittest.skip
    def test_4(self):
        self.assertNotIn('FAIL', os.environ)
'''
PASSED = 'Ran 7 tests in 1.0s\n\nOK (skipped=2)\n'
FAILED = 'Ran 7 tests in 1.0s\n\nFAILED (failures=1, errors=2, skipped=1)\n'

# The runner is for the Pythons that it runs by; the others have no tests here.
if sys.version_info >= (3, 8):
    from tests.lib import machines, runner

    class Tally(unittest.TestCase):
        """(passed, failed, skipped) of what unittest printed."""

        def test_counts(self):
            self.assertEqual(runner.tally(PASSED, 0), (5, 0, 2))
            self.assertEqual(runner.tally(FAILED, 1), (3, 3, 1))

        def test_what_ends_without_a_word_has_failed(self):
            self.assertEqual(runner.tally('Segmentation fault\n', 139), (0, 1, 0))
            self.assertEqual(runner.tally('', 0), (0, 1, 0))

        def test_a_status_counts_although_all_tests_passed(self):
            self.assertEqual(runner.tally(PASSED, 1), (4, 1, 2))

        def test_each_python_here_is_counted(self):
            self.assertIn('%d.%d' % sys.version_info[:2], runner.interpreters())

    class Parts(unittest.TestCase):
        """A part in a process, from its beginning to its end."""

        def setUp(self):
            self.scratch = tempfile.mkdtemp()
            self.addCleanup(shutil.rmtree, self.scratch)
            with open(os.path.join(self.scratch, 'test_sample.py'), 'w') as stream:
                stream.write(MODULE)

        def part(self, limit=60, **environment):
            environment.update(PYTHONPATH=self.scratch)
            return runner.Part('part', ['test_sample'], sys.executable, 1, limit, environment)

        def run_all(self, *parts):
            """(counts, what is printed) of parts."""
            kept, sys.stdout = sys.stdout, io.StringIO()
            try:
                return runner.run(parts, 2), sys.stdout.getvalue()
            finally:
                sys.stdout = kept

        def test_counts_remarks_and_skips_are_told(self):
            counts, said = self.run_all(self.part(), self.part())
            self.assertEqual(counts, (6, 0, 2))
            self.assertEqual(said.count('  measured: nothing\n'), 2)
            self.assertRegex(said, r"\n  test_3 .* skipped 'as told'\n")
            self.assertRegex(said, r'\npart +3 passed, 0 failed, 1 skipped, \d+ s\n')

        def test_details_of_a_failure_are_told(self):
            counts, said = self.run_all(self.part(FAIL='yes'))
            self.assertEqual(counts, (2, 1, 1))
            self.assertIn("AssertionError: 'FAIL' unexpectedly found in", said)

        def test_what_is_under_way(self):
            part = self.part()
            self.assertEqual(part.under_way, 'part')
            part.run()
            self.assertEqual(part.under_way, 'part: 4 of 4 test_sample')

        def test_what_hangs_is_ended_and_named(self):
            began = time.monotonic()
            counts, said = self.run_all(self.part(limit=1, SECONDS='1000'))
            self.assertEqual(counts, (0, 1, 0))
            self.assertIn('part: not done after 1 seconds, ended\n', said)
            self.assertIn('part: it ended in test_2 (test_sample.Sample', said)
            self.assertLess(time.monotonic() - began, 500)

        def test_a_part_that_cannot_begin_has_failed(self):
            part = self.part()
            part.python = os.path.join(self.scratch, 'none')
            self.assertEqual(self.run_all(part)[0], (0, 1, 0))

        def test_an_end_of_the_run_ends_its_parts(self):
            part = self.part(SECONDS='1000')
            part.stopping = True
            self.assertEqual(part.run().counts, (0, 1, 0))

    class Plans(unittest.TestCase):
        """tests/run itself."""

        RUN = os.path.join(machines.ROOT, 'tests', 'run')

        def test_what_is_missing_is_skipped_or_fails(self):
            plan = runpy.run_path(self.RUN)['Plan']({})
            plan.unit(['9.9'])
            self.assertEqual(plan.missing, [('unit python9.9', 'there is no such Python here')])
            kept = os.environ.get('SURFTRACE_SKIP'), sys.stdout
            try:
                for word, status in ('no', 1), ('yes', 0):
                    os.environ['SURFTRACE_SKIP'], sys.stdout = word, io.StringIO()
                    self.assertEqual(plan.run(), status)
                    self.assertEqual(sys.stdout.getvalue(),
                                     'not run: unit python9.9: there is no such Python here\n'
                                     '0 passed, 0 failed, 1 skipped\n')
            finally:
                os.environ.pop('SURFTRACE_SKIP')
                if kept[0] is not None:
                    os.environ['SURFTRACE_SKIP'] = kept[0]
                sys.stdout = kept[1]

        def test_every_guest_test_is_run_somewhere_and_what_locks_down_is_last(self):
            given = runpy.run_path(self.RUN)
            whole = {module for machine in given['MACHINES']
                     for module in given['modules']('guest', None, machine.without)}
            self.assertEqual(whole, set(runner.tests_in('guest').values()))
            self.assertEqual(given['modules']('guest')[-1], 'tests.guest.test_forbidden')

        def test_every_kernel_and_architecture_is_in_the_whole(self):
            given = runpy.run_path(self.RUN)
            pairs = {(kernel, arch) for kernel in machines.kernels()
                     for arch in machines.ARCHITECTURES}
            self.assertEqual({machine[:2] for machine in given['MACHINES']}, pairs)
            self.assertEqual({machine[:3] for machine in given['SOAK']},
                             {pair + (python,) for pair in pairs for python in machines.PYTHONS})

        def test_help_goes_to_stdout_and_slips_to_stderr(self):
            done = subprocess.run([sys.executable, self.RUN, '-h'], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stderr), (0, b''))
            self.assertIn(b'tests/run --soak', done.stdout)
            done = subprocess.run([sys.executable, self.RUN, 'guest/test_none'],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, b'', b'tests/run: no tests/guest/test_none.py\n'))

    class Files(unittest.TestCase):
        """What of the project a guest gets."""

        def test_all_files_with_git_and_without(self):
            found = machines.project_files()
            for name in 'README.md', 'surftrace.py', 'tests/run', 'tests/unit/test_runner.py':
                self.assertEqual(found[name], os.path.join(machines.ROOT, name))
            kept = os.environ['PATH']
            os.environ['PATH'] = '/nowhere'
            try:
                walked = machines.project_files()
            finally:
                os.environ['PATH'] = kept
            self.assertIn('tests/run', walked)
            self.assertLessEqual({name for name in found if not name.startswith('.')}, set(walked))
            self.assertEqual([name for name in walked if '__pycache__' in name], [])

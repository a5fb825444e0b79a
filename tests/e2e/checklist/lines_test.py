"""The table of the checklist: a line is good by a check that has passed, and by nothing else."""
import io
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checklist import lines  # noqa: E402


class All(unittest.TestCase):
    @lines.shows(*range(1, lines.COUNT + 1))
    def test_all(self):
        pass


class Fails(unittest.TestCase):
    @lines.shows(7)
    def test_fails(self):
        self.fail()


class FailsInPart(unittest.TestCase):
    @lines.shows(7)
    def test_fails_in_part(self):
        with self.subTest():
            self.fail()


class Skipped(unittest.TestCase):
    @lines.shows(7)
    def test_skipped(self):
        self.skipTest("not today")


def result_of(*cases):
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    return unittest.TextTestRunner(stream=io.StringIO(), resultclass=lines.Result).run(suite)


class Table(unittest.TestCase):
    def test_verdicts(self):
        whole = result_of(All)
        self.assertTrue(lines.is_whole(whole))
        self.assertEqual(lines.table(whole).count(" passed "), lines.COUNT)
        none = result_of()
        self.assertFalse(lines.is_whole(none))
        self.assertEqual(none.verdict(7), "NO CHECK")
        for case in (Fails, FailsInPart, Skipped):
            one = result_of(All, case)
            self.assertEqual((one.verdict(7), one.verdict(8), lines.is_whole(one)), ("FAILED", "passed", False), case)


if __name__ == "__main__":
    unittest.main(defaultTest="Table")

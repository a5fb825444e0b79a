"""The checklist as a table: a check says which lines it shows (`@shows(3, 8)`), and a line is good when all of its checks have
passed, and there is one. lines.json has what each line asks."""
import json
import pathlib
import unittest

LINES = {line["line"]: line for line in json.loads((pathlib.Path(__file__).parent / "lines.json").read_text())["lines"]}
COUNT = 41


def shows(*lines):
    def mark(check):
        check.lines = lines
        return check
    return mark


class Result(unittest.TextTestResult):
    """Keeps what became of each check."""

    def __init__(self, *words, **more):
        super().__init__(*words, **more)
        self.passed, self.checks, self.at_fault = set(), {}, set()

    def startTest(self, test):
        super().startTest(test)
        for line in getattr(getattr(test, test._testMethodName), "lines", ()):
            self.checks.setdefault(line, set()).add(test._testMethodName)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.add(test._testMethodName)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.at_fault.add(test._testMethodName)

    def verdict(self, line):
        checks = self.checks.get(line, set())
        if not checks:
            reason = LINES[line].get("not_applicable")
            return f"not applicable: {reason}" if reason else "NO CHECK"
        return "passed" if checks <= self.passed - self.at_fault else "FAILED"


def table(result):
    return "".join(f"{line:2} {result.verdict(line):8} {LINES[line]['asks']}"
                   f" [{', '.join(sorted(result.checks.get(line, ())))}]\n" for line in sorted(LINES))


def is_whole(result):
    return sorted(LINES) == list(range(1, COUNT + 1)) and all(
        result.verdict(line) == "passed" or result.verdict(line).startswith("not applicable: ") for line in LINES)

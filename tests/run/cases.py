#!/usr/bin/env python3
"""cases.py check | tests KIND [NAME…] | report FOLDER [NAME…]: the cases in tests/cases/ and the tests that show each of them.

A case is a line with its name and the rule that must hold, and below it, indented, one line for each of its tests: the kind
(a folder of the workspace; `stories` and `extension` for theirs) and the end of the test's path. NAMEs choose cases whose
name or rule contains one of them.

check    fails unless every test exists and the cases of each file are numbered without a gap
tests    prints the paths of the tests of a KIND, one a line; for `units` those of all kinds but stories and extension
report   reads the output of the tests from KIND.log in FOLDER and prints PASS or FAIL for each case; fails if one does not hold
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = {
    "stories": "tests/stories",
    "extension": "pg_nebula/src/tests",
    "core": "pg_nebula/core",
    "gateway": "gateway/src",
    "media-kind": "gateway/media-kind",
    "worker": "worker",
    "cli": "cli",
}


def parts(path):
    """The modules and the function of a path, without the modules and prefixes that only tests have."""
    names = [name for name in path.split("::") if name != "tests"]
    return [*names[:-1], names[-1].removeprefix("pg_")]


class Test:
    def __init__(self, kind, path):
        self.kind, self.path, self.parts = kind, path, parts(path)

    def exists(self):
        *modules, function = self.parts
        declared = re.compile(rf"#\[(\w+::)?(pg_)?test\b(?:(?!\bfn\b)[\s\S])*\bfn {function}\(")
        for file in (ROOT / FOLDERS[self.kind]).rglob("*.rs"):
            places = [name for name in file.with_suffix("").relative_to(ROOT).parts if name not in ("tests", "src")]
            if places[len(places) - len(modules) :] == modules and declared.search(file.read_text()):
                return True
        return False

    def is_reported_as(self, path):
        return parts(path)[-len(self.parts) :] == self.parts


class Case:
    def __init__(self, name, rule):
        self.name, self.rule, self.tests = name, rule, []


def read(words):
    cases, problems = [], []
    for file in sorted((ROOT / "tests/cases").glob("*.txt")):
        number = 0
        for line in file.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            first, _, rest = line.strip().partition(" ")
            rest = rest.strip()
            if not line.startswith(" "):
                number += 1
                cases.append(Case(first, rest))
                if first != f"{file.stem}-{number:02}":
                    problems.append(f"{first} should be {file.stem}-{number:02}")
            elif first in FOLDERS:
                cases[-1].tests.append(Test(first, rest))
            else:
                problems.append(f"{cases[-1].name}: no such kind of tests: {first}")
    if problems:
        sys.exit("error: " + "\n       ".join(problems))
    chosen = [case for case in cases if not words or any(word in f"{case.name} {case.rule}" for word in words)]
    if not chosen:
        sys.exit(f"error: no case has {' or '.join(words)} in its name or rule")
    return chosen


def check():
    lost = [f"{case.name}: {test.path}" for case in read([]) for test in case.tests if not test.exists()]
    lost += [f"{case.name}: no test" for case in read([]) if not case.tests]
    if lost:
        sys.exit("error: tests/cases names tests that do not exist\n       " + "\n       ".join(lost))


def tests(kind, words):
    def is_wanted(test):
        return test.kind not in ("stories", "extension") if kind == "units" else test.kind == kind

    # The extension's tests are functions with a prefix, so that only the last part is the same in every kind.
    found = {test.parts[-1] for case in read(words) for test in case.tests if is_wanted(test)}
    print("\n".join(sorted(found)))


class Log:
    """What the test programs printed."""

    def __init__(self, file):
        text = file.read_text(errors="replace") if file.exists() else ""
        # Other programs write between the name of a test and its result.
        self.ended = re.findall(r"^test (\S+) \.\.\.(?:(?!^test )[\s\S])*?(?:^| )(ok|FAILED)$", text, re.M)
        self.said = dict(re.findall(r"^---- (\S+) stdout ----\n([\s\S]*?)(?=\n---- |\nfailures:\n)", text, re.M))

    def fault(self, test):
        """Why a test does not show its rule; None if it does."""
        results = [(path, result) for path, result in self.ended if test.is_reported_as(path)]
        if not results:
            return "did not run to its end"
        failed = [path for path, result in results if result == "FAILED"]
        if not failed:
            return None
        lines = [line for line in self.said.get(failed[0], "").splitlines() if line.strip()]
        # libtest names the thread and the place before the message.
        lines = [line for line in lines if not line.startswith(("thread '", "note: ", "Postgres Messages"))]
        return "\n         ".join(line[:200] for line in lines[:4]) or "failed"


def report(folder, words):
    logs = {kind: Log(pathlib.Path(folder) / f"{kind}.log") for kind in ("stories", "extension", "units")}
    cases, held = read(words), 0
    for case in cases:
        faults = [(test, logs.get(test.kind, logs["units"]).fault(test)) for test in case.tests]
        faults = [(test, fault) for test, fault in faults if fault]
        held += not faults
        print("FAIL" if faults else "PASS", case.name, case.rule)
        for test, fault in faults:
            print(f"     {test.path}:\n         {fault}")
    print(f"{held} of {len(cases)} cases hold")
    sys.exit(held < len(cases))


match sys.argv[1:]:
    case ["check", *words]:
        read(words)
        check()
    case ["tests", kind, *words]:
        tests(kind, words)
    case ["report", folder, *words]:
        report(folder, words)
    case _:
        sys.exit(__doc__)

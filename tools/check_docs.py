#!/usr/bin/env python3
"""Checks that each test named in docs/reliability.md exists in tests/."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.M)
NAMED = re.compile(r"`([A-Z]\w+)(?:\.(\w+))?`")


def tests_of(folder: Path) -> set[str]:
    """Suites, and tests as Suite.Name."""
    names: set[str] = set()
    for source in folder.rglob("*_test.cc"):
        for suite, test in TEST.findall(source.read_text(encoding="utf-8")):
            names |= {suite, f"{suite}.{test}"}
    return names


def missing(page: str, known: set[str]) -> list[str]:
    """The tests that the page's tables name and that are not known."""
    rows = [line for line in page.splitlines() if line.startswith("|")]
    named = [".".join(filter(None, m)) for m in NAMED.findall("\n".join(rows))]
    return [name for name in named if name not in known]


def main() -> int:
    known = tests_of(ROOT / "tests")
    lost = missing(PAGE.read_text(encoding="utf-8"), known)
    for name in lost:
        print(f"{PAGE.relative_to(ROOT)}: there is no test {name}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

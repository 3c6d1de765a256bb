"""The claims of docs/threat-model.md, with the tests that each names, and what is known of where these run."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
HELPER = TESTS / "helper"
PAGE = TESTS.parent / "docs" / "threat-model.md"


class Test(NamedTuple):
    """A test that holds a claim.

    Attributes:
        file: Where it is, below `TESTS`.
        name: Of its function; empty for all of the file.

    """

    file: str
    name: str

    @property
    def in_a_guest(self) -> bool:
        """Whether it is run by the pytest of a guest, and not by this one."""
        return self.file.startswith(("vm/guest/", "vm/systemd/"))

    @property
    def in_the_root(self) -> bool:
        """Whether it is run in the lab's root: all of that folder is, by tests/vm/test_root.py."""
        return self.file.startswith("vm/root/")


def claims() -> dict[str, list[Test]]:
    """Return the tests of each claim: what the tables of the page have in their two columns."""
    rows = [line.split("|")[1:3] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {
        claim.strip(): [
            Test(str((HELPER / file).resolve().relative_to(TESTS)), name)
            for file, name in re.findall(r"`(\S+\.py)(?:::(\w+))?`", tests)
        ]
        for claim, tests in rows
        if claim.strip() != "claim"
    }


def named() -> set[Test]:
    """Return all tests that hold a claim."""
    return {test for tests in claims().values() for test in tests}


@functools.cache
def functions(file: Path) -> dict[str, ast.FunctionDef]:
    """Return the tests that pytest finds in a file: functions of the module itself."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name: node for node in module.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }

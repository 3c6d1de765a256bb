"""docs/threat-model.md: each of its claims names the tests that hold it, and these exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "threat-model.md"


def test_every_claim_names_tests_that_exist() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    claims = [(claim.strip(), test) for claim, test in rows if claim.strip() != "claim"]
    assert claims
    for claim, tests in claims:
        named = re.findall(r"`(\S+\.py)(?:::(\w+))?`", tests)
        assert named, claim
        for file, function in named:
            assert not function or f"def {function}(" in (HERE / file).read_text(encoding="utf-8"), (file, function)

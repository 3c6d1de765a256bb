"""The tests in ``guest/``, run by a pytest inside each kernel of the lab while other tests run here: see guests.py.

A test here fails with what the pytest in its guest printed, and with what the kernel complained about.
"""

from __future__ import annotations

import background
import claims
import pytest
import support
from guests import GUESTS
from rootfs import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


@pytest.mark.parametrize("guest", GUESTS)
def test_in_guest(pytestconfig: pytest.Config, guest: str) -> None:
    if wrong := background.of(pytestconfig).result(guest):
        pytest.fail(wrong, pytrace=False)


def test_every_test_of_a_claim_that_needs_a_guest_has_passed_in_one(pytestconfig: pytest.Config) -> None:
    if background.of(pytestconfig).names != tuple(GUESTS):
        pytest.skip("needs a run of all guests")
    passed = {name for path in support.reports() for name in support.passed(path)}
    needed = {test for test in claims.named() if test.in_a_guest}
    assert needed
    assert [test for test in needed if f"{test.file}::{test.name}" not in passed] == []


def test_readme_says_which_walkers_work_where(pytestconfig: pytest.Config) -> None:
    if background.of(pytestconfig).names != tuple(GUESTS):
        pytest.skip("needs a run of all guests")
    shown = support.BLOCK.search(support.README.read_text(encoding="utf-8"))
    assert shown
    made = support.table(support.reports())
    assert shown[0] == made, "README's table is not what the tests ran: type make support"

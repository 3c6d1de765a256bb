"""A plugin of pytest: a report says on which machine the tests ran, for the table of what works where: support.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    record_testsuite_property("kernel", os.uname().release)
    record_testsuite_property("encoding", hardware.encoding())
    record_testsuite_property("page_size", hardware.PAGE_SIZE)
    record_testsuite_property("levels", hardware.levels())

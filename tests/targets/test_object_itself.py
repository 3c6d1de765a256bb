"""What is said of an object of which only itself is known where it lies: no more than is true."""

from __future__ import annotations

import datetime as dt
import io
import re
import uuid
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from pte_magic.targets.objects import find


class Empty:
    pass


@pytest.mark.parametrize(
    "thing",
    [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.date(2026, 1, 1), dt.timedelta(1), Decimal("1.5"), pd.NA, pd.NaT,
     pd.Timestamp("2026-01-01"), pd.Timedelta(1, "s"), Empty()],
    ids=lambda thing: type(thing).__name__,
)  # fmt: skip
def test_of_what_holds_its_value_nothing_is_said_to_be_elsewhere(thing: Any) -> None:
    note = find(thing).note
    assert re.fullmatch(rf"the {type(thing).__name__} object itself, [0-9,]+ bytes", note)


@pytest.mark.parametrize("thing", [uuid.UUID(int=5), slice(1, 2), lambda: 1, re.compile("a")])
def test_references_are_said_to_be_elsewhere(thing: Any) -> None:
    assert find(thing).note.endswith(" bytes; the objects that it refers to are elsewhere")


def test_the_text_of_a_stream_exists() -> None:
    stream = io.StringIO("x" * 10_000)
    assert find(stream).note.endswith(" bytes; the data that it reads or writes is elsewhere")
    assert find(x for x in "abc").note.endswith("; its items are made on demand")

"""``pte-magic why``: the same as in Python, as text and as data, and huge pages by ``--try``."""

from __future__ import annotations

import json

from causes import huge, small
from conftest import forked, needs_root
from handmade import HUGE, NewMap, write
from typed_commands import run, said

import pte_magic


@needs_root
def test_it_says_and_does_what_python_does(new_map: NewMap) -> None:
    address = small(new_map)
    target = f"{address:#x}-{address + HUGE:#x}"
    with forked(lambda: write(address, HUGE)) as child:
        child.step()  # each has its own pages then
        line, todo, *_ = said("why", child.pid, target).splitlines()
        assert line == pte_magic.why(address, address + HUGE, pid=child.pid).attrs["line"]
        assert line.startswith("not on huge pages: nothing forbids them now")
        assert todo == f"type this: pte-magic why --try {child.pid} {target}"
        rows = [json.loads(row) for row in said("why", "--json", child.pid, target).splitlines()]
        assert {row["check"]: row["forbids"] for row in rows}["advice"] is False
        assert huge(address, child.pid) == 0
        assert said(*todo.removeprefix("type this: pte-magic ").split()).startswith("on huge pages: all of ")
        assert huge(address, child.pid) == HUGE


def test_a_process_that_is_not_there_is_one_line() -> None:
    done = run("why", 4194303)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "no such process" in done.stderr

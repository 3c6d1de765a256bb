"""An interrupt at any moment of a snapshot leaves whole files or nothing: no thread, and no directory in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import python
from interrupting import AT_ANY_MOMENT
from peaks import waiting

if TYPE_CHECKING:
    from pathlib import Path

SNAPSHOTS = (
    AT_ANY_MOMENT
    + """
import threading
from pathlib import Path

top = Path({path!r})
pte_magic.snapshot(top / "first", [{pid}])
before = descriptors()
number = written = 1
where = ("take_snapshot.py", "concurrent/futures/thread.py", "threading.py", "pathlib", "pte_magic/api/progress.py")
(top / "below").mkdir()
while True:
    path = top / "below" / str(number)
    done = interrupted(lambda: pte_magic.snapshot(path, [{pid}]), number, where)
    assert threading.enumerate() == [threading.current_thread()], number
    assert descriptors() == before, number
    left = sorted(file.name for file in (top / "below").rglob("*") if file.is_file())
    if left:
        assert left == ["part-0.parquet"], (number, left)
        assert len(pte_magic.load(path).frame())
        written += 1
        for place in (*(top / "below").glob("*/*/*/*"), *(top / "below").glob("*/*/*"), *(top / "below").glob("*/*")):
            (place.unlink if place.is_file() else place.rmdir)()
        path.rmdir()
    assert not path.exists(), (number, [*path.rglob("*")])
    if not done:
        break
    number += 1
print(number > 100, written > 1)
"""
)


def test_whenever_it_is_interrupted_nothing_is_left_but_whole_files(tmp_path: Path) -> None:
    with waiting("sh", "-c", "echo up; read answer") as pid:
        assert python(SNAPSHOTS.format(path=str(tmp_path), pid=pid)) == "True True"


IGNORED = """
import os, signal
from pathlib import Path
signal.signal(signal.SIGINT, signal.SIG_IGN)
import pte_magic
from pte_magic.api.snapshots import parquet_writer

def interrupting(*arguments, write=parquet_writer.write, **named):
    os.kill(os.getpid(), signal.SIGINT)
    return write(*arguments, **named)

parquet_writer.write = interrupting
print(len(pte_magic.snapshot({path!r})), len(pte_magic.load({path!r}).processes()))
"""


def test_who_ignores_interrupts_gets_all_of_it(tmp_path: Path) -> None:
    assert python(IGNORED.format(path=str(tmp_path / "new"))) == "1 1"

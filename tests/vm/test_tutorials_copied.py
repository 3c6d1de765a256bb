"""What `make vm-lab` opens: the tutorials as they are now, and what a person wrote into older ones is not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutorials import EXAMPLES, NOTEBOOKS, copied

if TYPE_CHECKING:
    from pathlib import Path


def test_new_tutorials_come_beside_those_that_a_person_has_changed(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    (examples / "data").mkdir(parents=True)
    (examples / "01.ipynb").write_text("old", encoding="utf-8")
    (examples / "data" / "01").write_text("recorded", encoding="utf-8")
    first = tmp_path / NOTEBOOKS / copied(tmp_path, examples)
    (first / "01.ipynb").write_text("a person's", encoding="utf-8")
    assert tmp_path / NOTEBOOKS / copied(tmp_path, examples) == first
    (examples / "01.ipynb").write_text("new", encoding="utf-8")
    second = tmp_path / NOTEBOOKS / copied(tmp_path, examples)
    assert [(place / "01.ipynb").read_text(encoding="utf-8") for place in (first, second)] == ["a person's", "new"]
    assert (second / "data" / "01").read_text(encoding="utf-8") == "recorded"
    assert len(list((tmp_path / NOTEBOOKS).iterdir())) == 2


def test_all_that_a_tutorial_needs_is_there(tmp_path: Path) -> None:
    place = tmp_path / NOTEBOOKS / copied(tmp_path)
    assert {path.name for path in EXAMPLES.glob("*.ipynb")} < {path.name for path in place.iterdir()}
    assert (place / "recorded.py").exists()
    assert list((place / "data").iterdir())

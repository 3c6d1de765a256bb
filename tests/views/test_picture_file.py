"""Saved pictures: documents that other programs read, with the words and the squares of the picture."""

from __future__ import annotations

import mmap
import re
import resource
import struct
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import pte_magic
from pte_magic.errors import MissingPackageError, TargetError
from pte_magic.views import watch_history
from pte_magic.views.watch_history import Event, History, Kind

ENTRY = 0x8000000153016067
SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    """Return the lines of text of a document, which is XML and refers to nothing outside of it."""
    found = [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  (it is our own)
    assert not re.search(r"href|<style|<script|var\(", svg)
    used, defined = set(re.findall(r"url\(#(\w+)\)", svg)), re.findall(r'id="(\w+)"', svg)
    assert used <= set(defined)
    assert len(set(defined)) == len(defined)
    return found


def test_bits_are_saved_with_all_fields(tmp_path: Path) -> None:
    bits = pte_magic.BitField(ENTRY)
    bits.entry = ENTRY ^ 2
    bits.save(tmp_path / "bits.svg")
    saved = words((tmp_path / "bits.svg").read_text(encoding="utf-8"))
    lines = bits.text().splitlines()
    assert [line for line in saved if line in lines] == lines
    assert "63" in saved
    assert any(line.startswith(">      1  rw") for line in saved)  # it was changed


def test_a_map_is_saved_with_its_squares_and_its_legend(tmp_path: Path) -> None:
    view = pte_magic.walk(bytes(1 << 20)).map(color="state")
    view.save(str(tmp_path / "map.SVG"))
    svg = (tmp_path / "map.SVG").read_text(encoding="utf-8")
    saved = [line.split() for line in words(svg)]
    assert view.layer["summary"].split() in saved
    for category in view.layer["legend"]:
        assert " ".join(category["words"]).split() in saved
    entries = len(view.frame)
    assert svg.count("M") - svg.count("MiB") >= entries


def test_a_watch_is_saved_with_its_numbers_and_its_last_change() -> None:
    present, none = Kind("present", 4096), Kind("none", 0)
    events = [
        Event(0.5, "first look", {present: (1, 4096), none: (3, 12288)}),
        Event(1.5, "2 <new>", {present: (3, 12288), none: (1, 4096)}),
    ]
    svg = watch_history.svg(History("watch of a: 1 change", "stopped", events))
    saved = words(svg)
    assert saved[0] == "watch of a: 1 change; stopped"
    assert any(line.endswith("  2 <new>") for line in saved)
    assert "present 4 KiB 3 12 KiB 1 3" in [" ".join(line.split()) for line in saved]
    # The first look lasted for a second, which is as much as is shown; the last one for a fortieth of it.
    boxes = [[float(number) for number in box] for box in re.findall(r'<rect x="([\d.]+)" [^>]*width="([\d.]+)"', svg)]
    assert [box[0] for box in boxes] == pytest.approx([0, 1200 * 40 / 41], rel=1e-3)
    assert [box[1] for box in boxes] == pytest.approx([1200 * 40 / 41, 1200 / 41], rel=1e-3)
    first, last = (float(height) for height in re.findall(r'<rect x="[^>]* height="([\d.]+)"', svg))
    assert last / first == pytest.approx(3, rel=1e-3)


def test_a_running_watch_is_saved(tmp_path: Path) -> None:
    memory = mmap.mmap(-1, 4 * mmap.PAGESIZE)
    with pte_magic.watch(memory, every=1000) as watch:
        watch.save(tmp_path / "watch.svg")
    saved = words((tmp_path / "watch.svg").read_text(encoding="utf-8"))
    assert "first look: " in "".join(saved)


def test_png_has_two_pixels_for_one(tmp_path: Path) -> None:
    bits, found = pte_magic.BitField(ENTRY), []
    width, height = re.findall(r'viewBox="0 0 (\d+) (\d+)"', bits.svg())[0]
    for entry in (ENTRY, ENTRY ^ 2):
        bits.entry = entry
        bits.save(tmp_path / "bits.png")  # which is overwritten
        found.append((tmp_path / "bits.png").read_bytes())
        assert found[-1][:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", found[-1][16:24]) == (2 * int(width), 2 * int(height))
    assert found[0] != found[1]


@pytest.mark.parametrize("name", ["bits.gif", "bits", "", ".svg", 5, None, b"bits.svg", ["bits.svg"]])
def test_another_name_is_one_line(tmp_path: Path, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=r"^cannot save a picture as .*: type a name that ends in \.svg or \.png$"):
        pte_magic.BitField(ENTRY).save(name)
    assert not list(tmp_path.iterdir())


def test_what_png_needs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingPackageError, match=r"resvg-py is not installed; type `pip install 'pte-magic\[png\]'`"):
        pte_magic.BitField(ENTRY).save(tmp_path / "bits.png")
    assert not list(tmp_path.iterdir())
    with pytest.raises(TargetError):
        pte_magic.BitField(ENTRY).save(tmp_path / "nowhere" / "bits.svg")


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_is_not_lost_where_the_next_one_finds_no_room(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bits, file = pte_magic.BitField(ENTRY), Path(f"bits.{suffix}")
    bits.save(file)
    file.chmod(0o640)
    (tmp_path / f"link.{suffix}").symlink_to(file)
    saved = file.read_bytes()
    bits.entry = ENTRY ^ 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(TargetError, match=rf"^cannot save a picture as 'bits\.{suffix}': File too large; type the"):
            bits.save(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_bytes() == saved
    bits.save(tmp_path / f"link.{suffix}")
    assert file.read_bytes() != saved
    assert file.stat().st_mode & 0o777 == 0o640
    assert {one.name for one in tmp_path.iterdir()} == {f"bits.{suffix}", f"link.{suffix}"}


def test_a_new_picture_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    pte_magic.BitField(ENTRY).save(tmp_path / "bits.svg")
    (tmp_path / "other").touch()
    assert (tmp_path / "bits.svg").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("name", "why"),
    [("absent/bits.svg", "No such file or directory"), ("a\0.svg", "embedded null byte"), (".svg/x.svg", "Not a dir"),
     ("b" * 256 + ".svg", "File name too long"), ("full.svg", "Is a directory")],
)  # fmt: skip
def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, name: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".svg").touch()
    (tmp_path / "full.svg").mkdir()
    with pytest.raises(TargetError, match=rf"^cannot save a picture as .*: {why}.*; type the name of a file"):
        pte_magic.BitField(ENTRY).save(name)
    assert {one.name for one in tmp_path.iterdir()} == {".svg", "full.svg"}

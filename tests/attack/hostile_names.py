"""Names that mean ill, of processes, files, memfds and a machine: what is shown is text, and no region is another."""

from __future__ import annotations

import json
import os
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conftest import python
from handmade import PAGE, READ, SHARED, WRITE, libc, new_maps, write
from test_hostile_names import FORGED, called, entries_of, in_map_files, mapped, ranges, unseen

import pte_magic
from pte_magic.errors import PteMagicError
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from turn import Turn

WHAT = "hostile names in tables, pictures and regions"
NEEDS_ROOT = ""

FILES, PROCESSES = 12, 6  # of a round
MARK = "pwned"
"""What each name has somewhere; no tag and no attribute of HTML may have it."""
_PIECES = (
    b"<script>", b"</td>", f"<img src=x onerror={MARK}()>".encode(), f"<{MARK}>".encode(), b"&lt;", b"&#60;b&#62;",
    f"\" {MARK}=\"1\" '".encode(), b"-->", b"</style><svg onload=1>", b"\x1b[2J", b"\x1b]0;t\x07", b"\x9b31m", b"\r",
    b"\n", b"\x0b", b"\x00"[:0], b"\x7f", b"\xff\xfe", "\u2028".encode(), "\u202e".encode(), "\x85".encode(), b"[heap]",
    b"[stack]", b" (deleted)", b"\\x1b", b"\\012", FORGED, b"{x}", b"%s", b"$x", b"  ", b"libc.so.6",
    "приложение".encode()[:-1],
)  # fmt: skip

_HOST = """
import ctypes, json, numpy, os
import pte_magic
name = {name!r}
assert ctypes.CDLL(None).sethostname(name, len(name)) == 0
a = numpy.ones(5000)
found, table = pte_magic.walk(a), pte_magic.machine()
pte_magic.snapshot({path!r})
saved = pte_magic.load({path!r})
back = saved.frame(pid=os.getpid())
texts = [repr(found), repr(table), repr(back), repr(saved), repr(saved.processes())]
print(json.dumps([texts, [found._repr_html_(), table._repr_html_(), back._repr_html_(), saved.processes().to_html()],
                  [*{{*found["host"], *back["host"]}}]]))
"""


class Tags(HTMLParser):
    """Collects what is live in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        ill = [name for name, _ in attrs if name.startswith("on") or MARK in name]
        if tag in {"script", "iframe", "object", "embed"} or MARK in tag or ill:
            self.live.append((tag, attrs))
        self.live += [(tag, name, value) for name, value in attrs if value and "javascript:" in value.lower()]

    def handle_comment(self, data: str) -> None:
        if MARK in data:
            self.live.append(data)


def harmless(*shown: str, pages: Sequence[str | None] = ()) -> int:
    """Fail if a text or a page moves a cursor, or a page has something live; return how many there were."""
    for text in (*shown, *pages):
        assert unseen(text or "") == [], text
    for page in pages:
        tags = Tags()
        tags.feed(page or "")
        tags.close()
        assert not tags.live, (tags.live, page)
    return len(shown) + len(pages)


def name(chance: random.Random, size: int) -> bytes:
    """Return a name of any pieces; the kernel takes no zero and, in a path, no slash."""
    made = b"".join(chance.choice((*_PIECES, chance.randbytes(3))) for _ in range(chance.randrange(1, 7)))
    return (made.replace(b"\0", b"").replace(b"/", b"") or b"x")[:size]


def files(chance: random.Random, place: Path) -> int:
    """Map files and memfds of such names; find each of them, and nothing else, by its name."""
    shown = 0
    heap = min(start for start, _ in entries_of(b"[heap]"))  # it may have been cut in two
    with new_maps() as new_map:
        names: dict[bytes, int] = {}
        for _ in range(FILES):
            called_ = name(chance, 200)
            if chance.random() < 0.3:
                fd = libc.memfd_create(called_[:240], 0)
                os.truncate(fd, PAGE)
                address = new_map(PAGE, READ | WRITE, SHARED, fd)
                os.close(fd)
            else:
                path = bytes(place) + b"/" + called_
                if path in names or called_ in {b".", b".."}:
                    continue
                address = mapped(new_map, path)
                names[path] = address
                if chance.random() < 0.2:
                    os.unlink(path)  # noqa: PTH108  (bytes)
            write(address)
            found = {region.start: region for region in own().regions()}
            told = in_map_files(address)
            assert found[address].path == told, (found[address].path, told)
            assert unseen(found[address].name) == [], found[address].name
            assert 0x7F0000000000 not in found  # what FORGED says
            top = libc.sbrk(0)
            for start, end in ranges("[heap]"):
                # malloc may grow the heap, or give its end back, between this and that.
                assert heap <= start < end <= max(top, libc.sbrk(0)), (hex(start), hex(end), called_)
            walked = pte_magic.walk(address, address + PAGE)
            table = walked.frames() if not os.geteuid() and chance.random() < 0.2 else walked  # it takes a second
            shown += harmless(repr(table), walked.map().text(), pages=[table._repr_html_(), walked.map().html()])
            try:
                text = repr(pte_magic.walk(os.fsdecode(called_)))
            except PteMagicError as error:
                text = str(error)
                assert len(text.splitlines()) == 1, text
            shown += harmless(text)
        for path, address in names.items():
            if os.path.exists(path):  # noqa: PTH110  (bytes)
                assert (address, address + PAGE) in ranges(os.fsdecode(path)), path
    return shown


def processes(chance: random.Random) -> int:
    """Look at processes that call themselves so."""
    with called(*(name(chance, 15) for _ in range(PROCESSES))) as children:
        found = pte_magic.machine()
        mine = found[found["pid"].isin([child.pid for child in children])]
        assert len(mine) == PROCESSES, mine
        shown = harmless(repr(mine), repr(mine["name"]), pages=[mine._repr_html_()])
        if not os.geteuid():
            picture = mine.map()
            shown += harmless(picture.text(), pages=[picture.html()])
            for text in json.dumps(picture.get_state()["layer"]["legend"], ensure_ascii=False).splitlines():
                shown += harmless(text)
        return shown


def machine(chance: random.Random, place: Path) -> int:
    code = _HOST.format(name=name(chance, 64), path=str(place / "saved"))
    texts, pages, hosts = json.loads(python(code, "unshare", "--uts"))
    return harmless(*texts, *hosts, pages=pages)


def attack(turn: Turn) -> None:
    for chance in turn.rounds():
        with tempfile.TemporaryDirectory(prefix="pte-magic-attack-") as made:
            turn.count(names_of_files=FILES, outputs=files(chance, Path(made)))
            turn.count(names_of_processes=PROCESSES, outputs=processes(chance))
            if not os.geteuid() and chance.random() < 0.3:
                turn.count(names_of_machines=1, outputs=machine(chance, Path(made)))

"""Makes the pictures in README: ``make screenshots``, or ``screenshots.py NAME ...`` for some of them."""

from __future__ import annotations

import html
import os
import pty
import re
import socket
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from jupyter import running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter import Jupyter, Notebook, Theme
    from playwright.sync_api import FloatRect, Locator

IMAGES = Path(__file__).parents[2] / "examples" / "images"
WIDTH, HEIGHT = 1060, 1800  # of the window, for all alike, so that all have letters of one size; and all unscrolled
SCALE = 2  # for screens with small pixels
STYLE = """
.jp-cell-toolbar, .jp-cell-menu, .jp-Collapser { visibility: hidden !important }
.jp-Notebook .jp-Cell { border-color: transparent !important; box-shadow: none !important; outline: none !important }
"""  # no cell looks chosen
APART = "PTE_MAGIC_SCREENSHOTS"  # in the environment of the process that sees its own processes only


class Picture(NamedTuple):
    """A picture of one of some cells and what it shows, by default the last, in a light page and in a dark one.

    Or of the window, from its tool bar downwards; or of a table down to the row that a word heads. The name is that of
    the file.
    """

    name: str
    cells: tuple[str, ...]
    crop: Literal["cell", "window"] = "cell"
    height: int = HEIGHT
    at: int = -1
    until: str = ""

    def of(self, notebook: Notebook) -> Locator:
        if self.crop == "window":
            return notebook.page.locator(".jp-NotebookPanel:visible")
        return notebook.cell(range(len(self.cells))[self.at])


START = ("%load_ext pte_magic\nimport pte_magic", "import mmap, os, time, numpy as np")
FIRST = ("%load_ext pte_magic", "import numpy as np\na = np.ones(10_000_000)", "%pte a")
# 2 MiB of small pages, of which one half is there and then every fourth; then large ones, and nothing between them.
SIZES = """memory = mmap.mmap(-1, 128 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE, 0, 2 << 20); memory.madvise(mmap.MADV_HUGEPAGE, 2 << 20)
b = np.frombuffer(memory, np.uint8)
b[: 1 << 20 : 4096] = 1; b[1 << 20 : 2 << 20 : 4 * 4096] = 1
b[2 << 20 : 50 << 20 : 2 << 20] = 1; b[64 << 20 :: 6 << 20] = 1"""
# 4 MiB of small pages, of which three quarters are there.
SMALL = """memory = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
a = np.frombuffer(memory, np.uint8)
a[: 3 << 20 : 4096] = 1"""
WRITTEN = """%%pte --map a
a[3 << 20 : 3_500_000] = 1
memory.madvise(mmap.MADV_DONTNEED, 1 << 20, 300 << 10);"""
PROTECTED = """%%pte a
if os.fork() == 0: time.sleep(9); os._exit(0)
a[: 8192] = 2"""
# While it is watched, one page after the other is written, half of them are given back, and all are written.
WATCHED = """def write(first, end):
    for page in range(first, end, 32): a[page * 4096 : (page + 32) * 4096 : 4096] = 1; time.sleep(0.2)
write(768, 1024); memory.madvise(mmap.MADV_DONTNEED, 0, 2 << 20); time.sleep(1); write(0, 512)"""

# One name is an array, one a small view of much, and one has many objects.
OWNERS = """a = np.ones((1000, 5000))
small = np.ones(10_000_000)[:10]
words = [f"word {at}" for at in range(300_000)]"""
FORKED = """from pte_magic.workloads import fork_with, private_mapping
a, b = private_mapping(1024), private_mapping(512)
a[:] = b[:] = 1
child, other = fork_with(a), fork_with(a)
for page in range(0, 384): child.write(page)
for page in range(0, 128): other.write(page)
b[256:] = 2"""

PICTURES = (
    Picture("vars", (*START, OWNERS, "%pte --vars")),
    Picture("why", (*START, SMALL, "%pte --why a"), until="holes"),
    Picture("shared", (*START, FORKED, "%pte --shared a, b")),
    Picture("first", FIRST, "window", 620),
    Picture("regions", (*START, SIZES, "%pte all")),
    Picture("bits", (*START, SMALL, "%pte --bits a")),
    Picture("translation", (*START, SMALL, "%pte --translation a.ctypes.data+0x5123")),
    Picture("map", (*START, SIZES, "%pte --map --color size b")),
    Picture("before-after", (*START, SMALL, WRITTEN)),
    Picture("diff", (*START, SMALL, PROTECTED)),
    Picture("watch", (*START, SMALL, "%pte --watch --every 0.1 a", WATCHED), at=-2),
    Picture("machine-map", (*START, "a = np.ones(1 << 27)  # 1 GiB", "%pte --machine --map")),
)
THEMES: tuple[tuple[str, Theme], ...] = (("", "light"), ("-dark", "dark"))

COLUMNS, LINES = 100, 9  # of the terminal, and of what a command writes at most
TERMINAL = "terminal"
PAGE = """<style>
body { margin: 0; background: BACK; }
main { width: 1030px; border: 1px solid EDGE; border-radius: 8px; overflow: hidden; color: INK; background: BACK; }
header { padding: 9px 12px; border-bottom: 1px solid EDGE; background: BAR; display: flex; gap: 7px; }
header i { width: 11px; height: 11px; border-radius: 50%; background: DOT; }
pre {
  width: COLUMNSch; margin: 0; padding: 12px 16px; font: 15px/1.4 "DejaVu Sans Mono", monospace; white-space: pre;
}
</style><main><header><i></i><i></i><i></i></header><pre>TEXT</pre></main>"""
INKS: dict[Theme, dict[str, str]] = {
    "light": {"BACK": "#fff", "INK": "#222", "BAR": "#f0f0f0", "EDGE": "#ccc", "DOT": "#bbb"},
    "dark": {"BACK": "#111", "INK": "#ddd", "BAR": "#222", "EDGE": "#444", "DOT": "#555"},
}
# A process of which the commands tell: with small pages and large ones, and files.
SHOWN = """import mmap, sys
memory = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, 48 << 20, 4096): memory[at] = 1
import ctypes
print(hex(ctypes.addressof(ctypes.c_char.from_buffer(memory)) + (5 << 20)), flush=True)
sys.stdin.read()"""


def take_all(jupyter: Jupyter, names: list[str]) -> None:
    """Take the pictures of these names, or all."""
    for picture in PICTURES:
        for suffix, theme in THEMES:
            if names and picture.name not in names:
                continue
            with jupyter.notebook(picture.cells, theme=theme, width=WIDTH) as notebook:
                notebook.page.set_viewport_size({"width": WIDTH, "height": picture.height})
                what = picture.of(notebook)
                row = what.get_by_role("rowheader", name=picture.until, exact=True) if picture.until else None
                take(what, f"{picture.name}{suffix}", row)
    if not names or TERMINAL in names:
        text = typed()
        for suffix, theme in THEMES:
            page = PAGE
            for name, value in (("COLUMNS", str(COLUMNS)), *INKS[theme].items(), ("TEXT", text)):
                page = page.replace(name, value)
            with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
                file.write(page)
                file.flush()
                with jupyter.page(Path(file.name).as_uri()) as shown:
                    shown.set_viewport_size({"width": WIDTH, "height": HEIGHT})
                    take(shown.locator("main"), f"{TERMINAL}{suffix}")


def take(what: Locator, name: str, until: Locator | None = None) -> None:
    path = IMAGES / f"{name}.png"
    if until is None:
        what.screenshot(path=path, animations="disabled", style=STYLE)
    else:
        what.scroll_into_view_if_needed()
        whole, last = what.bounding_box(), until.bounding_box()
        assert whole
        assert last
        height = last["y"] + last["height"] - whole["y"]
        area: FloatRect = {"x": whole["x"], "y": whole["y"], "width": whole["width"], "height": height}
        what.page.screenshot(path=path, animations="disabled", style=STYLE, clip=area)
    sys.stdout.write(f"{path}\n")


def typed() -> str:
    """Return as HTML what a terminal shows after a few commands about a process."""
    with subprocess.Popen(
        ["python3", "-c", SHOWN], executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        pid = str(process.pid)
        whole, one = (written(words).splitlines() for words in (("show", pid), ("show", pid, address)))
        process.communicate()
    lines = [f"<b>$ pte-magic show {pid} | head</b>", *map(as_html, whole[:LINES]), ""]
    return "\n".join([*lines, f"<b>$ pte-magic show {pid} {address}</b>", *map(as_html, one)])


def written(words: Sequence[str]) -> str:
    """Return what the command ``pte-magic`` writes to a terminal."""
    command = [sys.executable, "-m", "pte_magic", *words]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, COLUMNS))
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    text = b""
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}):
        os.close(theirs)
        while True:
            try:
                text += os.read(ours, 1 << 16)
            except OSError:  # nobody has it open any more
                break
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def as_html(line: str) -> str:
    """Return a line as HTML, its bold letters, colours and dim ones as they are in a terminal."""
    looks = {
        "1": "font-weight: bold",
        "2": "opacity: 0.65",
        "4": "text-decoration: underline",
        "7": "outline: 1px solid",
    }
    looks |= {str(30 + at): f"color: {name}" for at, name in enumerate(COLOURS)}
    made, depth = "", 0
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if not part.startswith("\x1b["):
            made += html.escape(part)
            continue
        codes = [code for code in part[2:-1].split(";") if code in looks]
        if codes:
            made += f'<span style="{"; ".join(looks[code] for code in codes)}">'
            depth += 1
        else:
            made += "</span>" * depth
            depth = 0
    return made + "</span>" * depth


COLOURS = ("#555", "#c33", "#2a8a5c", "#a0713d", "#3d7fc0", "#8a63d2", "#16869c", "#888")
"""Of a terminal: black, red, green, yellow, blue, magenta, cyan, white, for light pages and dark ones."""


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    known = [*(picture.name for picture in PICTURES), TERMINAL]
    if unknown := set(names) - set(known):
        sys.exit(f"{', '.join(sorted(unknown))}: no such picture; there are {', '.join(known)}")
    if APART not in os.environ:  # those of all processes show the lab and the browser, and none of the host's others
        apart = [
            "unshare",
            "--uts",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            sys.executable,
            __file__,
            *names,
        ]
        sys.exit(subprocess.run(apart, env=os.environ | {APART: "1"}, check=False).returncode)
    socket.sethostname("laptop")  # for us only, as above
    IMAGES.mkdir(exist_ok=True)
    with running(SCALE) as jupyter:
        take_all(jupyter, names)


if __name__ == "__main__":
    main(sys.argv[1:])

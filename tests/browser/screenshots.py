"""Makes the pictures in README: ``make screenshots``, or ``screenshots.py NAME ...`` for some of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from jupyter import running

if TYPE_CHECKING:
    from jupyter import Notebook, Theme
    from playwright.sync_api import Locator

IMAGES = Path(__file__).parents[2] / "examples" / "images"
HEIGHT = 1800  # all of it, unscrolled
SCALE = 2  # for screens with small pixels
STYLE = """
.jp-cell-toolbar, .jp-cell-menu, .jp-Collapser { visibility: hidden !important }
.jp-Notebook .jp-Cell { border-color: transparent !important; box-shadow: none !important; outline: none !important }
"""  # no cell looks chosen


class Picture(NamedTuple):
    """A picture of what the last of some cells shows, or of that cell, `width` pixels wide.

    Or of the window, from its tool bar downwards.
    """

    name: str
    cells: tuple[str, ...]
    theme: Theme = "light"
    width: int = 900
    crop: Literal["output", "cell", "window"] = "output"
    height: int = HEIGHT

    def of(self, notebook: Notebook) -> Locator:
        if self.crop == "window":
            return notebook.page.locator(".jp-NotebookPanel:visible")
        last = len(self.cells) - 1
        return notebook.output(last) if self.crop == "output" else notebook.cell(last)


HOST = "import pte_magic.linux.hardware\npte_magic.linux.hardware.host = lambda: 'laptop'\n"
START = ("%load_ext pte_magic\nimport pte_magic", "import mmap, numpy as np")
FIRST = ("%load_ext pte_magic", "import numpy as np\na = np.ones(1500)", "%pte a")
# Pages that are written, read, and neither; then some of 2 MiB, if there are such pages.
MADE = """memory = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE, 0, 4 << 20); memory.madvise(mmap.MADV_HUGEPAGE, 4 << 20)
a = np.frombuffer(memory, np.uint8)
a[: 1 << 20 : 4096] = 1; a[6 << 20 : 9 << 20 : 4096] = 1"""
# 2 MiB of small pages, of which one half is there and then every fourth; then large ones, and nothing between them.
SIZES = """memory = mmap.mmap(-1, 128 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE, 0, 2 << 20); memory.madvise(mmap.MADV_HUGEPAGE, 2 << 20)
b = np.frombuffer(memory, np.uint8)
b[: 1 << 20 : 4096] = 1; b[1 << 20 : 2 << 20 : 4 * 4096] = 1
b[2 << 20 : 50 << 20 : 2 << 20] = 1; b[64 << 20 :: 6 << 20] = 1"""
PROTECTED = """before = pte_magic.walk(a)
if os.fork() == 0: time.sleep(9); os._exit(0)
a[: 8192] = 2
before.diff(pte_magic.walk(a))"""

SUFFIXES: tuple[tuple[str, Theme], ...] = (("", "light"), ("-dark", "dark"))

PICTURES = tuple(
    Picture(f"{name}{suffix}", (*START, MADE, *cells), theme, width, "cell")
    for suffix, theme in SUFFIXES
    for name, cells, width in (
        ("bits", ("%pte --bits a",), 960),
        ("map", (SIZES, "pte_magic.walk(b).map(color='size')"), 960),
        ("translation", ("%pte --translation a.ctypes.data+0x5123",), 1100),
        ("diff", ("import os, time", PROTECTED), 1400),
    )
) + tuple(Picture(f"first{suffix}", FIRST, theme, 1000, "window", 500) for suffix, theme in SUFFIXES)


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    if unknown := set(names) - {picture.name for picture in PICTURES}:
        sys.exit(f"{', '.join(sorted(unknown))}: no such picture; there are {', '.join(p.name for p in PICTURES)}")
    IMAGES.mkdir(exist_ok=True)
    with running(SCALE) as jupyter:
        startup = Path(jupyter._server.environment["IPYTHONDIR"], "profile_default", "startup")  # run before any cell
        startup.mkdir(parents=True)
        (startup / "host.py").write_text(HOST, encoding="utf-8")
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            with jupyter.notebook(picture.cells, theme=picture.theme, width=picture.width) as notebook:
                notebook.page.set_viewport_size({"width": picture.width, "height": picture.height})
                path = IMAGES / f"{picture.name}.png"
                picture.of(notebook).screenshot(path=path, animations="disabled", style=STYLE)
                sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

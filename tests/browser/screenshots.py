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
SCALE = 2  # for screens with small pixels
STYLE = """
.jp-cell-toolbar, .jp-cell-menu, .jp-Collapser { visibility: hidden !important }
.jp-Notebook .jp-Cell { border-color: transparent !important; box-shadow: none !important; outline: none !important }
"""  # no cell looks chosen


class Picture(NamedTuple):
    """A picture of what the last of some cells shows, or of that cell, or of the whole window, `width` pixels wide."""

    name: str
    cells: tuple[str, ...]
    theme: Theme = "light"
    width: int = 900
    crop: Literal["output", "cell", "window"] = "output"

    def of(self, notebook: Notebook) -> Locator:
        if self.crop == "window":
            return notebook.page.locator("body")
        last = len(self.cells) - 1
        return notebook.output(last) if self.crop == "output" else notebook.cell(last)


START = ("%load_ext pte_magic", "import numpy as np\na = np.ones(1500)")

PICTURES = (
    Picture("pte", (*START, "%pte a"), width=1400, crop="cell"),
    Picture("pte-dark", (*START, "%pte a"), "dark", 1400, "cell"),
)


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    if unknown := set(names) - {picture.name for picture in PICTURES}:
        sys.exit(f"{', '.join(sorted(unknown))}: no such picture; there are {', '.join(p.name for p in PICTURES)}")
    IMAGES.mkdir(exist_ok=True)
    with running(SCALE) as jupyter:
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            with jupyter.notebook(picture.cells, theme=picture.theme, width=picture.width) as notebook:
                path = IMAGES / f"{picture.name}.png"
                picture.of(notebook).screenshot(path=path, animations="disabled", style=STYLE)
                sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

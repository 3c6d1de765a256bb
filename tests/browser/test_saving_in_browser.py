"""Buttons that save a picture: the browser downloads what Python draws, and a PNG made of it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import axe
import pytest
from jupyter import THEMES
from test_keys_in_browser import CELLS, SHOWN

if TYPE_CHECKING:
    from jupyter import Jupyter


@pytest.mark.parametrize("what", ["bits", "map", "watch", "two maps"])
def test_a_picture_is_saved_by_a_button(jupyter: Jupyter, what: str) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run(SHOWN[what])
        saved = {}
        for kind in ("SVG", "PNG"):
            button = output.get_by_role("button", name=kind, exact=True)
            with notebook.page.expect_download() as download:
                button.press("Enter")
            assert download.value.suggested_filename == f"pte-magic.{kind.lower()}"
            saved[kind] = Path(download.value.path()).read_bytes()
        root = ET.fromstring(saved["SVG"])  # noqa: S314  (it is our own)
        size = tuple(2 * int(root.get(name, 0)) for name in ("width", "height"))
        assert saved["PNG"][:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", saved["PNG"][16:24]) == size
        for theme in THEMES:
            notebook.theme(theme)
            assert not axe.violations(output)

"""What the helper is for: JupyterLab of an ordinary user, in which ``%pte a`` shows raw entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, needs_root
from handmade import PAGE
from playwright.sync_api import expect
from server import serving

import pte_magic
from pte_magic.helper import python_location
from pte_magic.helper.policy import HelperError
from pte_magic.walkers.helper_protocol import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter import Jupyter
    from serving import Helper

pytestmark = needs_root

FRAME = 0x000F_FFFF_FFFF_F000


@pytest.fixture(scope="module")
def of_nobody(jupyter: Jupyter, helper: Helper) -> Iterator[Jupyter]:
    """JupyterLab of a user who owns nothing, and whose group may connect to the helper."""
    try:
        python_location.check_reachable()
    except HelperError as error:
        pytest.skip(str(error))
    with serving(NOBODY, **{VARIABLE: str(helper.path)}) as server, jupyter.of(server) as found:
        yield found


def test_pte_shows_the_raw_entries_that_root_sees(of_nobody: Jupyter) -> None:
    with of_nobody.notebook(("%load_ext pte_magic", "import os, numpy as np\na = np.ones(1500)")) as notebook:
        pid, user, address, size = map(
            int, notebook.text("print(os.getpid(), os.geteuid(), a.ctypes.data, a.nbytes)").split()
        )
        output = notebook.run("%pte a")
        raw = pte_magic.walk(address // PAGE * PAGE, -(-(address + size) // PAGE) * PAGE, pid=pid, walker="bpf")
        assert user == NOBODY
        assert raw["present"].all()
        rows = output.get_by_role("table").locator("tbody").get_by_role("row")
        expect(rows).to_have_count(len(raw))
        for row, (vaddr, entry) in enumerate(zip(raw["vaddr"], raw["entry"], strict=True)):
            told = [text for text in rows.nth(row).get_by_role("cell").all_inner_texts() if text.startswith("0x")]
            assert [int(text.replace("?", "0"), 16) for text in told] == [vaddr, int(entry) & ~FRAME]
        expect(output.get_by_text("walker helper")).to_be_visible()
        notebook.picture("ordinary-user", output)

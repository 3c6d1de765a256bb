"""A watch in a notebook: it shows what happens while it happens, is paused and stopped by its buttons, and ends."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import axe
import pytest
from jupyter import NARROW, THEMES, WIDE
from playwright.sync_api import expect
from waiting import wait_until

if TYPE_CHECKING:
    from jupyter import Jupyter, Notebook

CELLS = (
    "%load_ext pte_magic",
    "import mmap, threading\nm = mmap.mmap(-1, 64 * 4096)  # shared memory: nothing of it is in a huge page",
    "seen = %pte --watch --every 0.05 m",
)


# What an item of the menu Kernel does, and what happens without one.
ENDS = {
    "restarted": "jupyterapp.commands.execute('notebook:restart-kernel')",
    "shut down": "jupyterapp.shell.currentWidget.sessionContext.shutdown()",
    "killed": None,
}


def write(notebook: Notebook, page: int) -> None:
    notebook.run(f"m[{page} * 4096] = 1")


def test_what_happens_is_shown_in_both_themes(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("seen")
        expect(output.get_by_role("status")).to_have_text("watching")
        entries = output.get_by_role("row", name="present 4 KiB").get_by_role("cell").nth(1)
        for page in range(4):
            write(notebook, page)
            expect(entries).to_have_text(str(page + 1))
        notebook.run("for page in range(8, 40): m[page * 4096] = 1")
        expect(entries).to_have_text("36")
        expect(output.get_by_role("row", name="none").get_by_role("cell").nth(1)).to_have_text("28")
        expect(output.get_by_role("listitem").filter(has_text="1 of 64 entries changed: 1 mapped")).to_have_count(4)
        expect(output.get_by_role("img")).to_have_accessible_name(re.compile("^what was mapped, .*: at most 144 KiB$"))
        present = notebook.text("print(*seen.counts()['present 4 KiB'].drop_duplicates())").split()
        assert (present[:5], present[-1]) == (["0", "1", "2", "3", "4"], "36")
        for width in (WIDE, NARROW):
            notebook.width(width)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"watch-{theme}-{width}", output)
                assert not axe.violations(output)


def test_the_keyboard_pauses_and_stops_it(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("seen")
        status = output.get_by_role("status")
        output.get_by_role("button", name="Pause").press("Enter")
        expect(status).to_have_text("paused")
        expect(output.get_by_role("button", name="Resume")).to_be_focused()
        assert notebook.text("print(seen.paused)") == "True"
        write(notebook, 5)
        assert notebook.text("print(len(seen.counts()))") == "1"
        output.get_by_role("button", name="Resume").press(" ")
        expect(output.get_by_role("row", name="present 4 KiB")).to_be_visible()
        notebook.run("seen.paused = True")
        expect(status).to_have_text("paused")
        stop = output.get_by_role("button", name="Stop")
        stop.press("Enter")
        expect(status).to_have_text("stopped")
        expect(stop).to_be_focused()
        expect(stop).to_have_attribute("aria-disabled", "true")
        expect(output.get_by_text(re.compile(r"^watch of m: \d+ changes?; stopped$"))).to_be_visible()
        assert notebook.text("print(seen.running, [t.name for t in threading.enumerate() if 'watch' in t.name])") == (
            "False []"
        )
        assert not axe.violations(output)


def test_it_ends_when_its_last_view_is_taken_away(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("seen")
        expect(output.get_by_role("status")).to_have_text("watching")
        notebook.run("seen")
        notebook.clear(3)
        assert notebook.text("print(seen.running)") == "True"  # the other one is left
        notebook.clear(4)
        wait_until(lambda: notebook.text("print(seen.running)") == "False")


@pytest.mark.parametrize("how", ENDS)
def test_it_says_so_when_its_kernel_has_ended(jupyter: Jupyter, how: str) -> None:
    # JupyterLab itself often asks the kernel something, and rejects the promise of the answer when that has ended.
    with jupyter.notebook(CELLS, may_say="Canceled future for ") as notebook:
        output = notebook.run("seen")
        status = output.get_by_role("status")
        expect(status).to_have_text("watching")
        pid = int(notebook.text("import os; print(os.getpid())"))
        if end := ENDS[how]:
            notebook.page.evaluate(f"() => void {end}.catch(() => {{}})")
            if how == "restarted":
                notebook.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
        else:
            os.kill(pid, signal.SIGKILL)
        expect(status).to_have_text("its kernel has ended")
        # A kernel that is asked to end stops its watches itself.
        ended = (
            "ended, as its kernel has ended or was restarted" if how == "killed" else "(ended, as its kernel|stopped)"
        )
        expect(output.get_by_text(re.compile(f"^watch of m: 0 changes; {ended}"))).to_be_visible()
        for name in ("Pause", "Stop"):
            expect(output.get_by_role("button", name=name)).to_have_attribute("aria-disabled", "true")
        output.get_by_role("button", name="Pause").press("Enter")
        expect(status).to_have_text("its kernel has ended")
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"watch-ended-{theme}", output)
            assert not axe.violations(output)


def test_it_ends_when_its_cell_is_deleted(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("seen")
        expect(output.get_by_role("status")).to_have_text("watching")
        notebook.run("0")
        notebook.page.evaluate("""async () => {
          jupyterapp.shell.currentWidget.content.activeCellIndex = 3;
          await jupyterapp.commands.execute("notebook:delete-cell");
        }""")
        wait_until(lambda: notebook.text("print(seen.running)") == "False")

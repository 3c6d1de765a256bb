"""Widgets live in the tests' JupyterLab without a network, and what they hold is the same in the page and in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
from jupyter import THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter

COUNTER = '''
import traitlets
from pte_magic.views.markup import module
from pte_magic.views.widget import View

class Counter(View):
    _esm = module("""
    function live({model, el}) {
      const button = document.createElement("button");
      const show = () => button.textContent = `pressed ${model.get("count")} times`;
      button.onclick = () => { model.set("count", model.get("count") + 1); model.save_changes(); };
      model.on("change:count", show);
      show();
      el.append(button);
    }
    """)
    count = traitlets.Int(0).tag(sync=True)

    def text(self):
        return f"pressed {self.count} times, as text"

    def html(self):
        return f"<p>pressed {self.count} times, as HTML</p>"

    def svg(self):
        return f"<svg>{self.count}</svg>"

counter = Counter()
'''


def test_a_slider_and_its_trait_move_together(jupyter: Jupyter) -> None:
    with jupyter.notebook(["import ipywidgets\nslider = ipywidgets.IntSlider(3, max=10)"]) as notebook:
        handle = notebook.run("slider").get_by_role("slider")
        expect(handle).to_have_attribute("aria-valuenow", "3.0")
        handle.press("ArrowRight")
        assert notebook.text("print(slider.value)") == "4"
        notebook.run("slider.value = 9")
        expect(handle).to_have_attribute("aria-valuenow", "9.0")


def test_a_view_and_its_trait_change_together(jupyter: Jupyter) -> None:
    with jupyter.notebook([COUNTER]) as notebook:
        output = notebook.run("counter")
        button = output.get_by_role("button", name="pressed 0 times", exact=True)
        button.click()
        assert notebook.text("print(counter.count)") == "1"
        output.get_by_role("button", name="pressed 1 times", exact=True).press("Enter")
        assert notebook.text("print(counter.count)") == "2"
        notebook.run("counter.count = 40")
        expect(output.get_by_role("button").first).to_have_accessible_name("pressed 40 times")
        assert "as HTML" not in output.inner_text()
        assert "as text" not in output.inner_text()
        for theme in THEMES:
            notebook.theme(theme)
            assert not axe.violations(output)


def test_what_takes_long_is_told_below_its_cell_and_nothing_is_left_of_it(jupyter: Jupyter) -> None:
    cells = ["%load_ext pte_magic", "import mmap; m = mmap.mmap(-1, 8 * 4096)"]
    with jupyter.notebook(cells) as notebook:
        notebook.page.evaluate("""() => {
          window.told = [];
          new MutationObserver(() => {
            const line = document.querySelector(".pte-magic-line");
            if (line) told.push(`${line.closest(".jp-Cell").dataset.windowedListIndex} ${line.textContent}`);
          }).observe(document, { childList: true, subtree: true });
        }""")
        output = notebook.run("%%pte --settle 3 m\nx = m[0]")
        expect(output).to_have_count(1)
        told = notebook.page.evaluate("told")
        assert told
        assert all(line.startswith("2 waiting for later changes |") for line in told)
        notebook.run(
            "from pte_magic.views.line_below_cell import CellLine\n"
            "for text in ('here', '', 'there', ''): line = CellLine(); line.write(text); line.write('')"
        )  # gone before the page knows of it
        expect(notebook.page.locator(".pte-magic-line")).to_have_count(0)
        assert len(notebook.saved().cells[2].outputs) == 1

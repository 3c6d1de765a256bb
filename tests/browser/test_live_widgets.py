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
from pte_magic.views.view import View

class Counter(View):
    _esm = """
    function render({model, el}) {
      const button = document.createElement("button");
      const show = () => button.textContent = `pressed ${model.get("count")} times`;
      button.onclick = () => { model.set("count", model.get("count") + 1); model.save_changes(); };
      model.on("change:count", show);
      show();
      el.append(button);
    }
    export default { render };
    """
    count = traitlets.Int(0).tag(sync=True)

    def text(self):
        return f"pressed {self.count} times, as text"

    def html(self):
        return f"<p>pressed {self.count} times, as HTML</p>"

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
        expect(output.get_by_role("button")).to_have_accessible_name("pressed 40 times")
        assert "as HTML" not in output.inner_text()
        assert "as text" not in output.inner_text()
        for theme in THEMES:
            notebook.theme(theme)
            assert not axe.violations(output)

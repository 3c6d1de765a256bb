"""Notebooks that were executed keep what they showed, for whoever reads them where no widget runs."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter

PAGES = 3
VIEW = """
from pte_magic.views.view import View

class Address(View):
    _esm = "export default { render({el}) { el.textContent = 'alive'; } };"

    def text(self):
        return f"as text: {a.ctypes.data:#x}"

    def html(self):
        return f"<b>as HTML: {a.ctypes.data:#x}</b>"
"""
CELLS = (
    "%load_ext pte_magic",
    f"import mmap, numpy as np\na = np.frombuffer(mmap.mmap(-1, {PAGES} * 4096), np.uint8)\na[:] = 1",
    "print(a.ctypes.data)",
    "%pte a",
    VIEW,
    "Address()",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # Nothing of the user's own configuration, and nothing left in it.
        for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(home))
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
        client = NotebookClient(
            notebook, kernel_name="python3", timeout=120, store_widget_state=False,
            extra_arguments=["--log-level=40"],  # no warning that the kernel's sockets are not encrypted
        )  # fmt: skip
        return client.execute()


@pytest.fixture(scope="module")
def start(executed: nbformat.NotebookNode) -> int:
    return int(executed.cells[2].outputs[0].text)


@pytest.mark.parametrize("exporter", [HTMLExporter, MarkdownExporter])
def test_addresses_of_the_table_are_in_what_nbconvert_writes(
    executed: nbformat.NotebookNode, start: int, exporter: type[HTMLExporter | MarkdownExporter]
) -> None:
    written, _ = exporter().from_notebook_node(executed)
    for page in range(PAGES):
        assert f"<td>{start + page * 4096:#x}</td>" in written


@pytest.mark.parametrize("exporter", [HTMLExporter, MarkdownExporter])
def test_a_view_is_its_html_where_no_widget_runs(
    executed: nbformat.NotebookNode, start: int, exporter: type[HTMLExporter | MarkdownExporter]
) -> None:
    written, _ = exporter().from_notebook_node(executed)
    assert f"<b>as HTML: {start:#x}</b>" in written
    assert "widget-view+json" not in written


def test_the_notebook_keeps_a_view_as_text_too_and_no_state_of_widgets(
    executed: nbformat.NotebookNode, start: int
) -> None:
    assert executed.cells[-1].outputs[0].data["text/plain"] == f"as text: {start:#x}"
    assert "widgets" not in executed.metadata

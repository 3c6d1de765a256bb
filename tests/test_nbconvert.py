"""Notebooks that were executed keep what they showed, for whoever reads them where no widget runs."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter

PAGES = 3
VIEW = """
from pte_magic.views.markup import module
from pte_magic.views.widget import View

class Address(View):
    _esm = module("function live({ el }) { el.textContent = 'alive'; }")

    def text(self):
        return f"as text: {a.ctypes.data:#x}"

    def html(self):
        return f"<b>as HTML: {a.ctypes.data:#x}</b>"

    def svg(self):
        return "<svg/>"
"""
MADE = """
import pte_magic
from pte_magic.api import pte_frame as frame
from pte_magic.formats import kernel
from pte_magic.walkers.entries import SPAN, Entries
from pte_magic.linux.geometry import LEVELS

def made(*rows):
    spans = np.array([(vaddr, size, 1, LEVELS.index(level)) for vaddr, size, level, _ in rows], SPAN)
    raw = np.array([entry for *_, entry in rows], np.uint64)
    return frame.build(Entries(raw, spans, "x86_64", "bpf"), kernel.running(), pid=1)

tables = (0, 1 << 39, "pgd", 0x1067), (0, 1 << 30, "pud", 0x2067), (0, 2 << 20, "pmd", 0x3067)
way = made(*tables, (0x5000, 4096, "pte", 0x4067))
one, other = made((0x5000, 4096, "pte", 0x4067)), made((0x5000, 4096, "pte", 0x9065))
"""
FIELD = '<td><code>rw</code></td><td><span class="pte-mono">1</span></td>'
# Of each view that comes with pte-magic: what says in one line what it shows, and a part of its HTML.
VIEWS = {
    "pte_magic.BitField(0x67)": ("pte entry 0x0000000000000067: present, maps 4 KiB", FIELD),
    "%pte --map a": (f"page map: {PAGES} entries, 12 KiB", '<img alt="page map: '),
    "way": ("pte entry 0x0000000000004067: present, maps 4 KiB at physical address 0x4000", FIELD),
    "way.translation()": ("virtual address 0x5000: physical address 0x4000, in a page of 4 KiB", FIELD),
    "one.diff(other)": ("1 of 1 entry changed: 1 new page frame, 1 write-protected", "write-protected</td>"),
}
CELLS = (
    "%load_ext pte_magic",
    f"import mmap, numpy as np\na = np.frombuffer(mmap.mmap(-1, {PAGES} * 4096), np.uint8)\na[:] = 1",
    "print(a.ctypes.data)",
    "%pte a",
    VIEW,
    "Address()",
    MADE,
    *VIEWS,
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
            notebook, kernel_name="python3", timeout=600, store_widget_state=False,
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
@pytest.mark.parametrize("code", VIEWS)
def test_every_view_is_what_it_shows(
    executed: nbformat.NotebookNode, code: str, exporter: type[HTMLExporter | MarkdownExporter]
) -> None:
    headline, part = VIEWS[code]
    cell = next(cell for cell in executed.cells if cell.source == code)
    written, _ = exporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert headline in written
    assert part in written
    assert headline in cell.outputs[0].data["text/plain"]
    assert "<button" not in written.partition("<body")[2]


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
    shown = next(cell for cell in executed.cells if cell.source == "Address()").outputs[0].data
    assert shown["text/plain"] == f"as text: {start:#x}"
    assert "widgets" not in executed.metadata

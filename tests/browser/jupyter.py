"""Notebooks in a browser: cells are run by the real JupyterLab in the real Chromium, and looked at there."""

from __future__ import annotations

import math
import subprocess
import sys
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import nbformat
from playwright.sync_api import expect, sync_playwright
from server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, Locator, Page, Request
    from server import Server

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",  # root has none; the only pages are our own
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
OUTPUT = Path(__file__).with_name("output")
"""Where tests keep pictures, to be looked at by people. git ignores it."""

WIDE, NARROW, HEIGHT = 1280, 600, 900
SECONDS = 300
"""How long to wait for anything in the page: a kernel that starts on a busy machine takes its time."""

_LOADED = """async () => {
  await jupyterapp.restored;
  jupyterapp.shell.mode = "single-document";
  jupyterapp.shell.collapseLeft();
}"""
_OPEN = """async path => {
  const panel = await jupyterapp.commands.execute("docmanager:open", {path, factory: "Notebook"});
  await panel.context.ready;
  await panel.sessionContext.ready;
  return panel.id;
}"""
_RUN = """async code => {
  const notebook = jupyterapp.shell.currentWidget.content;
  const model = notebook.model.sharedModel;
  if (!model.cells.at(-1).source) model.deleteCell(model.cells.length - 1);  // JupyterLab leaves none without a cell
  const at = model.cells.length;
  model.addCell({cell_type: "code", source: code});
  notebook.activeCellIndex = at;
  await jupyterapp.commands.execute("notebook:run-cell");
  return [at, notebook.widgets[at].model.outputs.toJSON()];
}"""
_CLEAR = """async at => {
  jupyterapp.shell.currentWidget.content.widgets[at].model.clearExecution();
}"""
_CLOSE = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.sessionContext.shutdown();
  panel.dispose();
}"""
_SAVE = """async () => {
  const { context } = jupyterapp.shell.currentWidget;
  await context.save();
  return context.path;
}"""
_STATE = """() => {
  const { content } = jupyterapp.shell.currentWidget;
  const cells = content.widgets.map(({ model: { id, type, executionCount, sharedModel: { source } } }) => [
    id, type, executionCount, source,
  ]);
  const collapsed = content.widgets.map((cell) => cell.outputHidden ?? false);
  const { clientHeight } = content.node;
  return JSON.stringify([cells, collapsed, content.activeCellIndex, content.mode, clientHeight]);
}"""
_THEME = """async theme => {
  await jupyterapp.commands.execute("apputils:change-theme", {theme});
}"""


_IN_TIME = """value => Promise.race([
  (%s)(value),
  new Promise((_, fail) => setTimeout(() => fail(new Error("it takes too long")), %d)),
])"""


def ask(page: Page, script: str, value: str | int | None = None) -> Any:
    """Call a function in the page, and wait for what it promises, but not for ever."""
    return page.evaluate(_IN_TIME % (script, SECONDS * 1000), value)


def _wait(page: Page) -> None:
    """Wait until JupyterLab is there."""
    page.wait_for_function("window.jupyterapp")
    ask(page, _LOADED)
    # JupyterLab's body is flat and hides what flows over: axe-core takes all in it for invisible.
    page.add_style_tag(content="body { height: 100vh }")


class Notebook:
    """An open notebook with a kernel of its own."""

    def __init__(self, page: Page, panel: str, root: Path) -> None:
        self.page = page
        self._root = root
        self._cells = page.locator(f'[id="{panel}"] .jp-Notebook .jp-Cell')

    def run(self, code: str) -> Locator:
        """Add a cell at the end, run it, and return what `output` would; an exception in it fails the test."""
        at, outputs = ask(self.page, _RUN, code)
        for output in outputs:
            assert output["output_type"] != "error", "\n".join([code, *output["traceback"]])
        return self.output(at)

    def cell(self, at: int) -> Locator:
        """Return the element of a cell, with its code; cells count from 0."""
        return self._cells.nth(at)

    def count(self) -> int:
        """Return how many cells there are."""
        return self._cells.count()

    def output(self, at: int) -> Locator:
        """Return the elements that show a cell's outputs, one for each."""
        return self.cell(at).locator(".jp-OutputArea-output")

    def fails(self, code: str) -> Locator:
        """Do as `run` does with a cell that has to raise."""
        at, outputs = ask(self.page, _RUN, code)
        assert any(output["output_type"] == "error" for output in outputs), f"this did not raise: {code}"
        return self.output(at)

    def state(self) -> str:
        """Return what the notebook is: its cells, which one is active, and whether that is being edited."""
        return str(ask(self.page, _STATE))

    def saved(self) -> nbformat.NotebookNode:
        """Save it, and return what is in the file."""
        found: nbformat.NotebookNode = nbformat.read(self._root / ask(self.page, _SAVE), as_version=4)
        return found

    def reload(self) -> None:
        """Save it, load the page anew, and open it again, with the same kernel."""
        path = ask(self.page, _SAVE)
        self.page.reload()
        _wait(self.page)
        self._cells = self.page.locator(f'[id="{ask(self.page, _OPEN, path)}"] .jp-Notebook .jp-Cell')

    def clear(self, at: int) -> None:
        """Take a cell's outputs away."""
        ask(self.page, _CLEAR, at)

    def text(self, code: str) -> str:
        """Return what a cell prints."""
        return self.run(code).inner_text().strip()

    def theme(self, name: Theme) -> None:
        """Change the theme of all of JupyterLab."""
        title = f"JupyterLab {name.capitalize()}"
        ask(self.page, _THEME, title)
        self.page.locator(f'body[data-jp-theme-name="{title}"]').wait_for(state="attached")  # it has no height

    def width(self, pixels: int) -> None:
        """Make the window narrow or wide."""
        self.page.set_viewport_size({"width": pixels, "height": HEIGHT})

    def picture(self, name: str, what: Locator | None = None) -> Path:
        """Keep a picture of an element, or of the window, as ``NAME.png`` in `OUTPUT`."""
        OUTPUT.mkdir(exist_ok=True)
        path = OUTPUT / f"{name}.png"
        size, box = self.page.viewport_size, what and what.bounding_box()
        if size and box:  # what is scrolled out of the window would not be in the picture
            self.page.set_viewport_size({"width": size["width"], "height": HEIGHT + math.ceil(box["height"])})
        (what or self.page).screenshot(path=path, animations="disabled")
        if size and box:
            self.page.set_viewport_size(size)
        return path


class Jupyter:
    """A server and a browser with one window, in which one notebook after the other is opened."""

    def __init__(self, server: Server, browser: Browser, scale: float) -> None:
        self._server = server
        self._browser = browser
        self._scale = scale
        self._page: Page | None = None
        self._wrong: list[str] = []

    @contextmanager
    def notebook(
        self, cells: Sequence[str] = (), *, theme: Theme = "light", width: int = WIDE, may_say: str = ""
    ) -> Iterator[Notebook]:
        """Open a notebook, run its cells, and close it, its kernel and its file afterwards.

        The test fails if meanwhile a script in the page failed, or the page asked anything but the server. An error
        that begins with what it `may_say` is none.
        """
        made = nbformat.v4.new_notebook()
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        with self._opened(made, theme, width, may_say=may_say) as notebook:
            for cell in cells:
                notebook.run(cell)
            yield notebook

    @contextmanager
    def again(
        self, saved: nbformat.NotebookNode, *, trusted: bool, theme: Theme = "light", width: int = WIDE
    ) -> Iterator[Notebook]:
        """Open what a notebook `saved`, with a new kernel and in a window of its own, as somebody else does later.

        JupyterLab trusts what it saved itself; it does not know what was changed since, unless it is told to trust it.
        """
        saved = nbformat.from_dict({**saved, "metadata": {**saved.metadata, "changed": uuid.uuid4().hex}})
        with self.of(self._server) as other, other._opened(saved, theme, width, trusted=trusted) as notebook:
            yield notebook

    @contextmanager
    def _opened(
        self, made: nbformat.NotebookNode, theme: Theme, width: int, *, trusted: bool = False, may_say: str = ""
    ) -> Iterator[Notebook]:
        path = self._server.root / f"{uuid.uuid4().hex}.ipynb"
        nbformat.write(made, path)
        if trusted:
            command = [sys.executable, "-m", "nbformat.sign", str(path)]
            subprocess.run(command, env=self._server.environment, check=True, capture_output=True)
        self._wrong.clear()
        page = self._page = self._page or self._load()
        try:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            notebook = Notebook(page, ask(page, _OPEN, path.name), self._server.root)
            notebook.theme(theme)
            yield notebook
            ask(page, _CLOSE)
        except BaseException:
            self._page = None  # in whatever state it is, the next notebook gets a new one
            page.context.close()
            raise
        finally:
            path.unlink()
        wrong = [error for error in self._wrong if not (may_say and error.startswith(may_say))]
        assert not wrong, "\n".join(wrong)

    @contextmanager
    def of(self, server: Server) -> Iterator[Jupyter]:
        """Look at another server, in a window of its own."""
        other = Jupyter(server, self._browser, self._scale)
        try:
            yield other
        finally:
            if other._page:
                other._page.context.close()

    def _load(self) -> Page:
        context = self._browser.new_context(device_scale_factor=self._scale)
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: self._wrong.append(f"{error.message}\n{error.stack}"))
        page.on("request", self._seen)
        page.goto(f"{self._server.url}lab?reset&token={self._server.token}")
        _wait(page)
        return page

    @contextmanager
    def page(self, address: str) -> Iterator[Page]:
        """Open a page of its own, in a browser that has no network."""
        context = self._browser.new_context(device_scale_factor=self._scale, offline=True)
        try:
            page = context.new_page()
            page.goto(address)
            yield page
        finally:
            context.close()

    def _seen(self, request: Request) -> None:
        if not request.url.startswith((self._server.url, "data:", "blob:")):
            self._wrong.append(f"asked for {request.url}")


@contextmanager
def running(scale: float = 1) -> Iterator[Jupyter]:
    """Start the server and the browser, and end them. Pictures have `scale` pixels for one of the window."""
    expect.set_options(timeout=SECONDS * 1000)
    with ExitStack() as stack:
        server = stack.enter_context(serving())
        chromium = stack.enter_context(sync_playwright()).chromium
        environment: dict[str, Any] = dict(server.environment)
        browser = chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, env=environment)
        stack.callback(browser.close)
        yield Jupyter(server, browser, scale)

"""What shall fail a test does: errors of Python and JavaScript, questions to the network, what axe-core finds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import axe
import pytest
from conftest import lacking
from playwright.sync_api import Error

if TYPE_CHECKING:
    from jupyter import Jupyter

UNREADABLE = """
from IPython.display import HTML
HTML('<p style="color: #777; background: #888">Who can read this?</p><button></button>')
"""


def evaluate(jupyter: Jupyter, script: str) -> None:
    with jupyter.notebook() as notebook, suppress(Error):
        notebook.page.evaluate(script)


def test_an_exception_in_a_cell(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook, pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.run("1 / 0")


def test_an_exception_in_the_page(jupyter: Jupyter) -> None:
    with pytest.raises(AssertionError, match="on purpose"):
        evaluate(jupyter, "setTimeout(() => { throw new Error('on purpose') })")


def test_a_page_that_asks_another_server(jupyter: Jupyter) -> None:
    with pytest.raises(AssertionError, match=r"asked for http://127\.0\.0\.2"):
        evaluate(jupyter, "fetch('http://127.0.0.2:9/')")


def test_what_cannot_be_read_and_what_has_no_name(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(UNREADABLE)
        found = axe.violations(output)
        assert "color-contrast (serious)" in found
        assert "Who can read this?" in found
        assert "button-name (critical)" in found
        allowed = {"color-contrast": "it is on purpose", "button-name": "it is on purpose"}
        assert axe.violations(output, allowed=allowed) == ""


@pytest.mark.parametrize(
    ("ci", "user", "outcome"),
    [("true", 0, "Failed"), ("true", 1000, "Skipped"), ("", 0, "Skipped"), (None, 1000, "Skipped")],
)
def test_without_a_browser_tests_are_skipped_but_not_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch, ci: str | None, user: int, outcome: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("os.geteuid", lambda: user)
    with pytest.raises(BaseException, match="needs chromium") as raised:
        lacking("needs chromium")
    assert type(raised.value).__name__ == outcome

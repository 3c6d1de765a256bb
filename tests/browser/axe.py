"""Whether everybody can use what a cell shows: axe-core's rules for WCAG, levels A and AA, and its best practices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Locator

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
_MARK = "data-axe-looks-here"
_axe = Axe()


def violations(output: Locator, *, allowed: Mapping[str, str] | None = None) -> str:
    """Return what axe-core finds wrong within an element, or several, and nowhere else; an empty text if nothing.

    `allowed` names rules that are not asked for, each with the reason why not.
    """
    count = output.count()
    assert count, "there is no such element"
    output.first.wait_for()  # until it is visible: a busy machine may still be drawing it anew, in another theme
    output.evaluate_all(f"elements => elements.forEach(element => element.setAttribute('{_MARK}', ''))")
    rules = {rule: {"enabled": False} for rule in allowed or {}}
    options = {"runOnly": {"type": "tag", "values": TAGS}, "rules": rules, "resultTypes": ["violations"]}
    try:
        found = _axe.run(output.page, f"[{_MARK}]", options).response
    finally:
        output.evaluate_all(f"elements => elements.forEach(element => element.removeAttribute('{_MARK}'))")
    assert found["passes"], "no rule had anything to look at"
    return "\n".join(
        f"{rule['id']} ({rule['impact']}): {rule['help']}\n"
        f"  {', '.join(map(str, node['target']))}: {node['html']}\n"
        f"  {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    )

"""What widgets have in common cannot be made by itself, nor without what a saved notebook shows of it."""

from __future__ import annotations

from typing import Any

import pytest
import traitlets

from pte_magic import BitField
from pte_magic.views.widget import View


class Half(View):
    """Has text, and neither HTML nor SVG."""

    def text(self) -> str:
        return "half"


class Whole(Half):
    """Has all, and a trait."""

    number = traitlets.Int(3)

    def html(self) -> str:
        return f"<p>{self.number}</p>"

    def svg(self) -> str:
        return f"<svg>{self.number}</svg>"


@pytest.mark.parametrize(("kind", "missing"), [(View, "html.*text"), (Half, "html")])
def test_what_has_nothing_to_show_cannot_be_made(kind: Any, missing: str) -> None:
    with pytest.raises(TypeError, match=f"abstract.*{missing}"):
        kind()


def test_what_has_all_can_be_made_and_still_has_traits() -> None:
    seen: list[int] = []
    whole = Whole(number=4)
    whole.observe(lambda change: seen.append(change.new), "number")
    whole.number = 5
    data, _ = whole._repr_mimebundle_()
    assert (seen, data["text/plain"], "<p>5</p>" in data["text/html"]) == ([5], "half", True)
    with pytest.raises(traitlets.TraitError):
        whole.number = "many"  # type: ignore[assignment]
    assert isinstance(BitField(0x67), View)

"""Which modules a kernel takes, by what its files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("sig_enforce", "lockdown", "signed"),
    [
        ("N\n", "[none] integrity confidentiality\n", False),
        ("N\n", None, False),
        (None, None, False),
        ("Y\n", "[none] integrity confidentiality\n", True),
        ("N\n", "none [integrity] confidentiality\n", True),
        (None, "none integrity [confidentiality]\n", True),
    ],
)
def test_signed_modules_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sig_enforce: str | None, lockdown: str | None, *, signed: bool
) -> None:
    for name, text in {"_SIGNED_ONLY": sig_enforce, "_LOCKDOWN": lockdown}.items():
        path = tmp_path / name
        if text is not None:
            path.write_text(text, encoding="ascii")
        monkeypatch.setattr(toolchain, name, path)
    assert toolchain.signed_only() == signed

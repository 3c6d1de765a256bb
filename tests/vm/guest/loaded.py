"""What of SystemTap is loaded and running, for tests that it is there no longer than it should."""

from __future__ import annotations

import re
from pathlib import Path

from waiting import wait_until


def modules() -> set[str]:
    """Names of our modules that are loaded."""
    names = (line.split()[0] for line in Path("/proc/modules").read_text(encoding="ascii").splitlines())
    return {name for name in names if re.fullmatch(r"pte_m.*_\d+", name)}


def programs() -> set[int]:
    """Pids of SystemTap's programs."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text(encoding="utf-8").strip() in {"stap", "staprun", "stapio", "staprun-d"}:
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until_nothing_is_left() -> None:
    wait_until(lambda: not modules() and not programs(), instead=lambda: (modules(), programs()))

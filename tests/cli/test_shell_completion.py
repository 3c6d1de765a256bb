"""Completion, as bash asks for it by argcomplete's own function."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from conftest import forked
from waiting import SECONDS

# What Tab does: the function that argcomplete registers looks at these variables, and leaves its answer in COMPREPLY.
_TAB = """
eval "$(register-python-argcomplete pte-magic)"
COMP_LINE={line} COMP_POINT={end} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<< "$COMP_LINE"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_python_argcomplete pte-magic
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(line: str, directory: Path) -> set[str]:
    """Return what is offered after Tab at the end of a line."""
    (directory / "pte-magic").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pte_magic "$@"\n', encoding="utf-8"
    )
    (directory / "pte-magic").chmod(0o755)
    python = Path(sys.executable).parent
    script = _TAB.format(line=shlex.quote(line), end=len(line))
    env = os.environ | {"PATH": f"{directory}:{python}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=SECONDS, check=True)
    return {word.strip() for word in done.stdout.splitlines() if word.strip()}


def test_commands_options_processes_and_regions_are_offered(tmp_path: Path) -> None:
    assert offered("pte-magic s", tmp_path) == {"show", "summary", "snapshot", "serve"}
    assert offered("pte-magic show --ru", tmp_path) == {"--runs"}
    assert offered("pte-magic decode --color a", tmp_path) == {"auto", "always"}
    with forked() as child:
        assert str(child.pid) in offered(f"pte-magic show {str(child.pid)[:-1]}", tmp_path)
        assert "[stack]" in {word.replace("\\", "") for word in offered(f"pte-magic summary {child.pid} [st", tmp_path)}

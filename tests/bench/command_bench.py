"""The time of ``pte-magic show PID ADDRESS``, from its start to its end, beside Python's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import fastest, report

GOAL = 0.25  # seconds


def run(*words: str) -> None:
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Measure one address of a process that sleeps."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            start = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").partition("-")[0]
            address = fastest(lambda: run("-m", "pte_magic", "show", str(process.pid), f"0x{start}"), repeat=15)
        finally:
            process.kill()
    nothing = fastest(lambda: run("-c", "pass"), repeat=15)
    numpy = fastest(lambda: run("-c", "import numpy"), repeat=15)
    version = fastest(lambda: run("-m", "pte_magic", "--help"), repeat=15)
    report(
        "`pte-magic show PID ADDRESS`: time over `python -c pass`", address / nothing, f"in at most {GOAL} s",
        reached=address <= GOAL,
        measured=f"{address * 1e3:.0f} ms; Python {nothing * 1e3:.0f} ms, with numpy {numpy * 1e3:.0f} ms, "
        f"`pte-magic --help` {version * 1e3:.0f} ms",
    )  # fmt: skip


if __name__ == "__main__":
    main()

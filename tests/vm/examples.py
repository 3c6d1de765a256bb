"""Executes the tutorials for a guest of the lab, or those named, in its newest kernel, and keeps what they made."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import boot
from chroot import WORK
from lab import print_now
from machine import Machine
from prepared import prepared
from recipe import PROJECT
from rootfs import LabError
from tutorials import SWAP

COMMAND = f"{SWAP}python examples/execute.py"
SECONDS = 1800


def main() -> int:
    """Boot a guest with two nodes and swap space; return an exit status. What was executed is kept only if all was."""
    root = prepared("newest")
    with tempfile.TemporaryDirectory(prefix="examples-", dir=root.work) as made:
        machine = Machine(mib=4096, cpus=2, numa=2)
        to = f"{WORK}/{Path(made).name}"
        command = f"{COMMAND} --to {to} {' '.join(sys.argv[1:]) or '--lab'}"
        result = boot.boot(root, "newest", command, machine, timeout=SECONDS, on_line=print_now)
        if report := result.report():
            sys.stderr.write(f"{report}\n")
            return 1
        for path in Path(made).rglob("*.*"):
            shutil.copyfile(path, PROJECT / "examples" / path.relative_to(made))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up then, too
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")

"""The tests in ``lab/``, run in a network of its own, whose hosts are namespaces that end with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chroot import isolated
from conftest import lacking

LAB = Path(__file__).parent / "lab"
STUCK = ("-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true")
"""Clients wait without end for an answer that got lost: what each of their threads then does is what to know."""
PROGRAMS = ("ip", "nsenter", "setpriv", "unshare")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root can make a network of its own")
@pytest.mark.parametrize("what", ["engines", "workers"])
def test_on_hosts_of_a_network(what: str) -> None:
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        lacking(f"needs {' and '.join(missing)}: make test installs iproute2 on Debian and its relatives, as root")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *STUCK, str(LAB / f"test_{what}.py")]
    done = subprocess.run(
        isolated(command, "--net"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)

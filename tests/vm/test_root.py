"""The tests in ``root/``, run in the lab's root with this machine's kernel: what needs SystemTap, but loads nothing."""

from __future__ import annotations

import chroot
import pytest
from chroot import TREE
from rootfs import missing, ready

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


def test_in_root() -> None:
    command = ["python", "-m", "pytest", "-p", "no:cacheprovider", f"{TREE}/tests/vm/root"]
    done = chroot.in_root(ready().files, command, check=False, timeout=1800)
    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)

"""The tests in ``root/``, run in the lab's root with this machine's kernel: what needs SystemTap, but loads nothing."""

from __future__ import annotations

import again
import chroot
import pytest
from chroot import TREE, WORK
from rootfs import missing, ready

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


def test_in_root() -> None:
    command = ["python", "-m", "pytest", "-p", "no:cacheprovider", f"{TREE}/tests/vm/root"]
    root = ready()
    unsteady = root.work / "root.unsteady"
    env = {again.VARIABLE: f"{WORK}/{unsteady.name}"}
    done = chroot.in_root(root.files, command, env=env, check=False, timeout=1800)
    again.tell(unsteady, "the lab's root")
    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)

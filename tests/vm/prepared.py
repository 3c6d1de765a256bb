"""The lab's root with the modules that its guests load: compiled outside, in seconds, not inside, in minutes."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chroot import TREE, in_root
from rootfs import LabError, ready

if TYPE_CHECKING:
    from rootfs import Root

COMPILE = ("python", f"{TREE}/tests/vm/guest/precompile.py")


def prepared(*kernels: str) -> Root:
    """Return the root when what guests with these kernels, or all, will load has been compiled."""
    root = ready()
    releases = [root.release(kernel) for kernel in kernels] or root.releases
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda release: in_root(root.files, [*COMPILE, release], check=False), releases)
        for release, compiler in zip(releases, done, strict=True):
            if compiler.returncode:
                message = f"the modules for kernel {release} were not compiled:\n{compiler.stdout[-3000:]}"
                raise LabError(message)
            sys.stdout.write(compiler.stdout)
            sys.stdout.flush()
    return root

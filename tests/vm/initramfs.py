"""The few files with which a kernel finds the root: busybox, the modules for a virtual disk, and a script.

Debian's own initramfs takes longer to make and to boot. This one is made in a moment, at every boot.
"""

from __future__ import annotations

import lzma
import stat
from typing import TYPE_CHECKING

from chroot import TREE, WORK

if TYPE_CHECKING:
    from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4", "overlay", "9p", "9pnet_virtio")
"""Asked for by name; crc32c is what older kernels' ext4 wants to find, without depending on it."""

# The root is a disk that nobody writes to: what a guest writes is in its memory, and gone with it.
INIT = f"""#!/bin/busybox sh
for name in sh mount mkdir insmod switch_root; do /bin/busybox ln -s busybox /bin/$name; done
mount -t devtmpfs dev /dev
while read module; do insmod /modules/$module; done < /modules/order
mount -t ext4 -o ro /dev/vda /lower
mount -t tmpfs tmpfs /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
mkdir -p /root{TREE} /root{WORK}
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,ro tree /root{TREE}
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=mmap work /root{WORK}
mount -o move /dev /root/dev
exec switch_root /root /bin/sh {WORK}/runs/$lab_run/init
"""


def initramfs(root: Path, release: str) -> bytes:
    """Return an initramfs for a kernel in the root; the kernel's parameter ``lab_run`` names what it starts."""
    files = {"init": INIT.encode(), "bin/busybox": (root / "usr/bin/busybox").read_bytes()}
    order = []
    for path in modules(root, release):
        content = path.read_bytes()
        order.append(path.name.removesuffix(".xz"))
        files[f"modules/{order[-1]}"] = lzma.decompress(content) if path.suffix == ".xz" else content
    files["modules/order"] = "".join(f"{name}\n" for name in order).encode()
    folders = ("bin", "dev", "lower", "modules", "root", "upper")
    entries = [cpio(name, b"", stat.S_IFDIR | 0o755) for name in folders]
    entries += [cpio(name, content, stat.S_IFREG | 0o755) for name, content in files.items()]
    return b"".join(entries) + cpio("TRAILER!!!", b"", 0)


def modules(root: Path, release: str) -> list[Path]:
    """Return the files of the modules, each after those that it needs."""
    base = root / "usr/lib/modules" / release
    needs = {}
    for line in (base / "modules.dep").read_text(encoding="utf-8").splitlines():
        name, _, others = line.partition(":")
        needs[name] = others.split()
    by_name = {name.rpartition("/")[2].partition(".")[0]: name for name in needs}
    found: dict[str, None] = {}
    for module in MODULES:
        if module in by_name:  # the others are part of this kernel
            found |= dict.fromkeys([*reversed(needs[by_name[module]]), by_name[module]])
    return [base / name for name in found]


def cpio(name: str, content: bytes, mode: int) -> bytes:
    """Return one file of an archive in cpio's "newc" format, the one that the kernel unpacks."""
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)

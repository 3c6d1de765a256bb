"""The computer that QEMU plays, by software alone: the same on every host."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rootfs import System

LAST = ("setpriv", "--pdeathsig=KILL", "--")
"""No guest outlives whoever waits for it."""

FIXED = (
    *("-accel", "tcg"),
    *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
    # What the command prints goes through a port of its own, so that the kernel's messages do not run into it.
    *("-device", "virtio-serial-pci", "-chardev", "stdio,id=out,signal=off", "-device", "virtconsole,chardev=out"),
)


PATIENT = ("watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=300", "sysctl.kernel.hung_task_timeout_secs=600")
"""A guest whose host has no time for it stands still; its kernel shall not take that for a fault of its own."""

WITHOUT = {"x86_64": ",-erms,-fsrm", "x86_32": ",-erms,-fsrm"}
"""What a kernel takes for fast and QEMU is slow at, by architecture: it moves bytes one by one, for each page too."""


@dataclass(frozen=True)
class Machine:
    """What a test wants of its guest."""

    append: tuple[str, ...] = ()
    """More words for the kernel's command line, such as "no5lvl", "hugepagesz=1G", "hugepages=1"."""
    mib: int = 3072
    """MiB of memory."""
    cpus: int = 1
    """How many CPUs; each node has one at least. With one alone, nothing in the guest ever happens at the same time."""
    numa: int = 1
    """Nodes, which share the memory, and have at least one CPU each."""
    disks: tuple[str, ...] = ()
    """Sizes ("512M") of empty disks: /dev/vdb, /dev/vdc ..."""
    ports: tuple[tuple[int, int], ...] = ()
    """Ports of the host's 127.0.0.1 that lead to ports of the guest: (host, guest). Without any it has no network."""
    cpu: str = ""
    """QEMU's name of the processor, such as "cortex-a57"; by default the one with all that can be emulated."""

    def qemu(self, system: System, release: str, run: Path, shared: dict[str, tuple[Path, str]]) -> list[str]:
        """Return QEMU's command line; what the guest needs besides, the initrd too, is in the directory `run`."""
        architecture = system.architecture
        words = [f"console={architecture.console}", "panic=-1", f"lab_run={run.name}", *PATIENT, *self.append]
        cpu = self.cpu or f"{architecture.cpu}{WITHOUT.get(architecture.machine, '')}"
        command = [*LAST, *architecture.qemu, "-cpu", cpu, *FIXED]
        command += ["-kernel", str(system.files / "boot" / f"vmlinuz-{release}"), "-initrd", str(run / "initrd")]
        command += ["-append", " ".join(words), "-serial", f"file:{run / 'console'}"]
        command += [*self._memory(), *_drive(system.disk, "readonly=on")]
        for number, size in enumerate(self.disks):
            subprocess.run(["truncate", "--size", size, run / f"disk{number}"], check=True)
            command += _drive(run / f"disk{number}", "cache=unsafe")
        for tag, (path, options) in shared.items():
            command += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{options}"]
        if self.ports:
            forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in self.ports)
            command += ["-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="]
        return command

    def _memory(self) -> list[str]:
        cpus = max(self.cpus, self.numa)
        words = ["-m", f"{self.mib}M", "-smp", f"{cpus}"]
        for node in range(self.numa if self.numa > 1 else 0):
            words += ["-object", f"memory-backend-ram,id=node{node},size={self.mib // self.numa}M"]
            own = "".join(f",cpus={cpu}" for cpu in range(node, cpus, self.numa))
            words += ["-numa", f"node,nodeid={node},memdev=node{node}{own}"]
        return words


def _drive(path: Path, options: str) -> list[str]:
    return ["-drive", f"file={path},format=raw,if=virtio,{options}"]

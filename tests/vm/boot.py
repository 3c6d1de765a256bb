"""Boots a kernel of the lab in QEMU, runs a command there, and hears what the kernel has to say about it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from chroot import ENVIRONMENT, TREE, WORK
from initramfs import initramfs
from machine import Machine
from recipe import PROJECT
from result import MARK, Result, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootfs import Root

BOOT_SECONDS = 300
"""It takes 10, or 60 on a busy machine. A guest that needs more than this got stuck before its first program."""

INIT = """
mkdir -p /dev/pts /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devpts -o ptmxmode=666 devpts /dev/pts
for place in /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 tmpfs $place; done
for kind in debugfs:debug tracefs:tracing; do mount -t ${{kind%:*}} none /sys/kernel/${{kind#*:}}; done
hostname lab
ip link set lo up
{setup}
if [ "$lab_init" = systemd ]; then
    mount -o remount,mode=755 /run
    tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
    echo lab > /etc/hostname
    echo 127.0.0.1 localhost lab > /etc/hosts
    touch /etc/.updated /var/.updated
    for unit in d.service d-control.socket d-kernel.socket -trigger.service; do
        ln -s /dev/null /etc/systemd/system/systemd-udev$unit
    done
    printf '[Service]\\nType=exec\\nExecStart=/bin/sh {run}/main\\n' > /etc/systemd/system/lab.service
    exec /lib/systemd/systemd --unit=lab.service
fi
exec sh {run}/main
"""
"""The guest's first program. The word ``lab_init=systemd`` for the kernel has it be systemd, without udev."""

MAIN = """
cd {tree}
tainted=$(cat /proc/sys/kernel/tainted)
echo '<5>{mark}' > /dev/kmsg
touch {run}/started
{command}
echo $? $tainted $(cat /proc/sys/kernel/tainted) > {run}/ending
busybox poweroff -f
"""
"""Runs the command, and says how it ended."""

NETWORK = """
modprobe virtio_net
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
echo nameserver 10.0.2.3 > /etc/resolv.conf
"""  # what QEMU's "user" network gives to the first guest

_guests: set[subprocess.Popen[str]] = set()
_no_more = threading.Event()


def kill_all() -> None:
    """End the guests that other threads wait for, and those that they are about to start."""
    _no_more.set()
    for guest in list(_guests):
        guest.kill()


def boot(  # noqa: PLR0913  (all but three have defaults)
    root: Root,
    kernel: str,
    command: str | Sequence[str],
    machine: Machine | None = None,
    *,
    timeout: float | None = 600,
    on_line: Callable[[str], object] | None = None,
    interactive: bool = False,
) -> Result:
    """Boot "6.1", "newest" or "6.12-arm64", run a command, or a line of shell, as root, and say what happened.

    `on_line` gets each line of output when it comes; a command that is `interactive` has the terminal instead.
    A guest that does not come up is started once more.
    """
    machine = machine or Machine()
    system, release = root.find(kernel)
    root.work.joinpath("runs").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.work / "runs") as name:
        run = Path(name)
        run.joinpath("initrd").write_bytes(initramfs(system.files, release))
        line = command if isinstance(command, str) else shlex.join(command)
        run.joinpath("command").write_text(_exports() + line, encoding="utf-8")
        for program, text in _programs(run.name, network=bool(machine.ports), interactive=interactive).items():
            run.joinpath(program).write_text(text, encoding="utf-8")
        shared = {"tree": (PROJECT, ",readonly=on"), "work": (root.work, "")}
        qemu = machine.qemu(system, release, run, shared)
        for _ in range(2):
            result = _run(qemu, run, release, timeout, on_line, interactive=interactive)
            if run.joinpath("started").exists() or _no_more.is_set():
                break
        return result


def _run(  # noqa: PLR0913
    qemu: Sequence[str],
    run: Path,
    kernel: str,
    timeout: float | None,
    on_line: Callable[[str], object] | None,
    *,
    interactive: bool,
) -> Result:
    """Start QEMU, pass its lines on, and wait for its end, or for the time when it has to have one."""
    began = time.monotonic()
    output: list[str] = []
    problems: list[str] = []
    with ExitStack() as stack:
        stdin, stdout = (None, None) if interactive else (subprocess.DEVNULL, subprocess.PIPE)
        stderr = stdout and subprocess.STDOUT
        guest = stack.enter_context(
            subprocess.Popen(qemu, stdin=stdin, stdout=stdout, stderr=stderr, text=True, errors="replace"),
        )
        stack.callback(guest.kill)
        _guests.add(guest)
        stack.callback(_guests.discard, guest)
        if _no_more.is_set():
            guest.kill()

        def late(what: str, *, unless: str) -> None:
            if not run.joinpath(unless).exists():
                problems.append(what)
                guest.kill()

        for seconds, file in ((BOOT_SECONDS, "started"), (timeout, "ending")):
            if seconds is None:
                continue
            timer = threading.Timer(seconds, late, (f"not {file} after {seconds:.0f} s",), {"unless": file})
            timer.start()
            stack.callback(timer.cancel)
        for line in guest.stdout or ():
            output.append(line)
            if on_line:
                on_line(line)
        guest.wait()
    seconds = time.monotonic() - began
    ending = run / "ending"
    said = ending.read_text(encoding="ascii").strip() if ending.exists() else ""
    console = run / "console"
    log = console.read_text(encoding="utf-8", errors="replace") if console.exists() else ""
    return judge(kernel, said or "; ".join(problems) or "the guest vanished", log, "".join(output), seconds)


def _exports() -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in ENVIRONMENT.items())


def _programs(run: str, *, network: bool, interactive: bool) -> dict[str, str]:
    """Return the guest's first programs, by their names."""
    where = f"{WORK}/runs/{run}"
    if interactive:
        columns, rows = shutil.get_terminal_size()
        terminal = f"stty rows {rows} cols {columns}; export TERM={shlex.quote(os.environ.get('TERM', 'linux'))}"
        command = f"setsid --ctty --wait sh -c '{terminal}; exec bash {where}/command' < /dev/hvc0 > /dev/hvc0 2>&1"
    else:
        command = f"{{ stty -opost < /dev/hvc0; TERM=dumb bash {where}/command < /dev/null; }} > /dev/hvc0 2>&1"
    setup = NETWORK if network else ""
    main = MAIN.format(tree=TREE, mark=MARK, run=where, command=command)
    return {"init": INIT.format(setup=setup, run=where), "main": main}

"""A lab of real kernels: a Debian root with SystemTap, and guests that boot the kernels of three Debians.

Guests are x86-64 machines, arm64 ones, and 32-bit x86.

    lab.py build                      make the root, if there is none yet
    lab.py run 6.12 -- COMMAND ...    boot a kernel, run a command, exit as it did
    lab.py shell 6.12                 a shell in a guest
    lab.py jupyter 6.12               JupyterLab in a guest with two nodes and swap space, for the browser outside
    lab.py root -- COMMAND ...        run a command in the root with this machine's own kernel: compile modules

A kernel is the beginning of a release ("6.12"), a suite ("trixie"), or "newest". Other flavours than x86-64's are
appended: "6.12-arm64", "7.2-arm64-16k", "6.1-686", "6.1-686-pae".
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Any

import boot as booting
import chroot
from chroot import WORK
from machine import Machine
from prepared import prepared
from rootfs import LabError, ready
from tutorials import NOTEBOOKS, SWAP, copied

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from result import Result

__all__ = ["LabError", "Machine", "boot", "in_root", "ready"]

SHELL = "cd; exec bash"
JUPYTER = f"""{SWAP}
cd {WORK}/{NOTEBOOKS}
exec jupyter lab --allow-root --no-browser --ip=0.0.0.0 --port={{port}} --port-retries=0 \\
    --LabApp.default_url=/lab/tree/{{tutorials}}/01_first_pte.ipynb
"""


def in_root(command: str | Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in the lab's root with the host's kernel; options are those of `chroot.in_root`."""
    return chroot.in_root(ready().files, command, **options)


def boot(kernel: str, command: str | Sequence[str], machine: Machine | None = None, **options: Any) -> Result:
    """Boot a kernel and run a command in it; options are those of `boot.boot`."""
    return booting.boot(ready(), kernel, command, machine, **options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = main.add_subparsers(dest="what", required=True, metavar="build|run|shell|jupyter|root")
    what.add_parser("build")
    for name in ("run", "shell", "jupyter"):
        guest = what.add_parser(name)
        guest.add_argument("kernel", nargs="?" if name != "run" else None, default="newest")
        guest.add_argument("--append", action="append", default=[], help='a word for the kernel, such as "no5lvl"')
        guest.add_argument("--cpu", default="", help='of another kind ("cortex-a57")')
        guest.add_argument("--mib", type=int, default=3072, help="MiB of memory")
        guest.add_argument("--cpus", type=int, default=1)
        guest.add_argument("--numa", type=int, default=2 if name == "jupyter" else 1, help="number of nodes")
        guest.add_argument("--disk", action="append", default=[], help='size ("512M") of an empty disk: /dev/vdb ...')
        if name == "run":
            guest.add_argument("--timeout", type=float, default=600, help="seconds")
            guest.add_argument("command", nargs="+")
        if name == "jupyter":
            guest.add_argument("--port", type=int, default=8888, help="port of 127.0.0.1 for the browser")
    what.add_parser("root").add_argument("command", nargs="+")
    return main


def guest(options: argparse.Namespace) -> int:
    """Boot what the command line asks for; return an exit status."""
    ports = ((options.port, options.port),) if options.what == "jupyter" else ()
    parts = {"cpu": options.cpu, "mib": options.mib, "cpus": options.cpus, "numa": options.numa}
    root = prepared(options.kernel)
    machine = Machine(tuple(options.append), disks=tuple(options.disk), ports=ports, **parts)
    if options.what == "run":
        result = boot(options.kernel, options.command, machine, timeout=options.timeout, on_line=print_now)
    else:
        command = SHELL
        if options.what == "jupyter":
            command = JUPYTER.format(port=options.port, tutorials=copied(root.work))
        result = boot(options.kernel, command, machine, timeout=None, interactive=True)
    if report := result.report():
        sys.stderr.write(f"{report}\n")
    return result.status if result.status >= 0 else 1


def print_now(line: str) -> None:
    """Pass a line of a guest on at once, also into a pipe."""
    sys.stdout.write(line)
    sys.stdout.flush()


def main() -> int:
    """Do what the command line says."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up then, too
    try:
        if options.what == "build":
            ready()
            return 0
        if options.what == "root":
            return in_root(options.command, check=False, stdout=None, stderr=None).returncode
        return guest(options)
    except LabError as error:
        sys.exit(f"lab: {error}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""``pte-magic install-service``: lets systemd start the helper when a client connects to its socket."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.helper import policy, python_location
from pte_magic.helper.policy import HelperError
from pte_magic.helper.privileges import NO_THREADS
from pte_magic.walkers import what_to_type
from pte_magic.walkers.helper_protocol import DEFAULT_SOCKET, UNIT

if TYPE_CHECKING:
    import argparse

SOCKET, SERVICE = UNIT.name, "pte-magic.service"
TEMPLATES = Path(__file__).with_name("units")
DIRECTORY = UNIT.parent
RUNNING = Path("/run/systemd/system")  # there is one if systemd runs, sd_booted(3)


def install_service(given: argparse.Namespace) -> None:
    """Install or remove the service, and print the steps.

    Raises:
        HelperError: It cannot be done; says why.

    """
    if os.geteuid():
        message = f"only root may do this; type `{what_to_type.command('install-service')}`"
        raise HelperError(message)
    if not DIRECTORY.is_dir():
        message = f"there is no {DIRECTORY}, so no systemd; type `{what_to_type.command('serve')}`"
        raise HelperError(message)
    if given.remove:
        _remove()
    else:
        _install(given.group, given.frames)


def units(group: int, frames: int | None) -> dict[str, str]:
    """Return the contents of the unit files, by name."""
    command = python_location.SERVE if frames is None else (*python_location.SERVE, "--frames", str(frames))
    values = {
        "socket": DEFAULT_SOCKET,
        "group": str(group),
        "command": " ".join(map(_quoted, command)),
        "environment": "Environment=" + " ".join(f"{name}={value}" for name, value in NO_THREADS.items()),
        "home": "read-only" if python_location.in_a_home() else "yes",
    }
    return {name: (TEMPLATES / name).read_text(encoding="utf-8").format_map(values) for name in (SOCKET, SERVICE)}


def _install(group: str | None, frames: str | None) -> None:
    allowed = policy.default_group() if group is None else policy.group(group)
    seen = None if frames is None else policy.group(frames)
    python_location.check_reachable()
    for name, text in units(allowed, seen).items():
        _say(f"{'replaced' if (DIRECTORY / name).exists() else 'wrote'} {DIRECTORY / name}")
        (DIRECTORY / name).write_text(text, encoding="utf-8")
        (DIRECTORY / name).chmod(0o644)
    whose = "nobody" if seen is None else f"members of group {policy.name_of(seen)}"
    _say(f"members of group {policy.name_of(allowed)} may connect to {DEFAULT_SOCKET}; page frames for {whose}")
    for place in python_location.others():
        _say(
            f"beware: others than root may change what the service runs, at {place}; better type {python_location.HOW}"
        )
    _systemctl(["daemon-reload"], ["enable", SOCKET], ["restart", SOCKET])


def _remove() -> None:
    there = [DIRECTORY / name for name in (SOCKET, SERVICE) if (DIRECTORY / name).exists()]
    if not there:
        _say(f"nothing to remove: there is no {DIRECTORY / SOCKET}")
        return
    if RUNNING.exists():
        _systemctl(["disable", "--now", SOCKET, SERVICE])
    (DIRECTORY / "sockets.target.wants" / SOCKET).unlink(missing_ok=True)
    for path in there:
        path.unlink()
        _say(f"removed {path}")
    _systemctl(["daemon-reload"])
    with suppress(OSError):  # it was not made, or somebody has put something else there
        Path(DEFAULT_SOCKET).parent.rmdir()


def _systemctl(*commands: list[str]) -> None:
    """Run systemctl, if systemd runs here; return the lines to print."""
    lines = [" ".join(["systemctl", *command]) for command in commands]
    if not RUNNING.exists():
        _say(f"systemd does not run here; where it does, type {' and '.join(f'`{line}`' for line in lines)}")
        return
    for line in lines:
        # S603: no shell reads them, and the lines are constants of this module
        done = subprocess.run(line.split(), capture_output=True, text=True, errors="backslashreplace", check=False)  # noqa: S603
        if done.returncode:
            message = f"`{line}` failed: {done.stderr.strip()}; `systemctl status {SOCKET}` says more"
            raise HelperError(message)
        _say(f"did `{line}`")


def _quoted(word: str) -> str:
    """Return a word quoted for ExecStart= (systemd.service(5), "Command lines")."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return word if escaped == word and " " not in word else f'"{escaped}"'


def _say(text: str) -> None:
    print(text)  # noqa: T201  (a command says what it did)

"""Commands in messages, with their full path: sudo's own PATH does not lead into a virtual environment."""

from __future__ import annotations

import grp
import os
import re
import shlex
import sys
from pathlib import Path

from pte_magic.text import screen
from pte_magic.walkers.helper_protocol import DEFAULT_SOCKET, UNIT, socket_path
from pte_magic.walkers.walker import NO_FRAMES


def command(*words: str) -> str:
    """Return the line that runs this Python's ``pte-magic`` as root, such as ``sudo /opt/venv/bin/pte-magic serve``.

    Args:
        words: The words after the command, as typed; the reader replaces ``GROUP`` and the like.

    """
    return _as_root(_beside(sys.executable), *words)


def serve(*options: str, path: str | None = None) -> str:
    """Return the line that runs a helper at a path, by default the one that this process uses."""
    path = path or socket_path()
    return command("serve", *(() if path == DEFAULT_SOCKET else ("--socket", shlex.quote(path))), *options)


def start_helper(path: str | None = None) -> str:
    """Return the line that starts a helper there: the installed service, or else a command."""
    path = path or socket_path()
    if path == DEFAULT_SOCKET and UNIT.exists():
        return _as_root(["systemctl"], "restart", UNIT.name)
    return serve(path=path)


def show_frames() -> str:
    """Return the line that lets a helper show page frames to this user's group."""
    frames = ("--frames", _name(os.getegid()))
    if socket_path() == DEFAULT_SOCKET and (python := _of_service()):
        return _as_root(_beside(python), "install-service", *_group_of_socket(), *frames)
    return serve(*frames)


def walk_with(walker: str) -> str:
    """Return what to type to see entries by a walker: in a notebook, or at a shell."""
    return screen.either(f"%pte --walker {walker} self", f"pte-magic show --walker {walker} $$")


def frames_by_helper() -> str:
    """Return what to type where a walker shows page frames to those only to whom pagemap does."""
    return f"{NO_FRAMES} without CAP_SYS_ADMIN; a helper can show them, type `{show_frames()}`"


def _as_root(program: list[str], *words: str) -> str:
    sudo = ["sudo"] if os.geteuid() else []  # which a container's root seldom has
    return " ".join([*sudo, shlex.join(program), *words])


def _beside(python: str) -> list[str]:
    """Return the command installed with a Python; its module where there is no command."""
    program = Path(python).with_name("pte-magic")
    return [str(program)] if os.access(program, os.X_OK) else [python, "-m", "pte_magic"]


def _of_service() -> str | None:
    """Return the Python of the service that ``pte-magic install-service`` has installed; None without a service."""
    try:
        text = UNIT.with_suffix(".service").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r'^ExecStart="?([^" ]+)', text, re.MULTILINE)
    return found[1] if found else None


def _group_of_socket() -> tuple[str, ...]:
    """Return the options that keep the current group that may connect."""
    try:
        return ("--group", _name(Path(DEFAULT_SOCKET).stat().st_gid))
    except OSError:
        return ()


def _name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)

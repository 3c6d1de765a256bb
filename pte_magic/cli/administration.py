"""The commands for administrators, and their options: the helper, and the installation of what users may need."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.cli.argument_parser import quoted
from pte_magic.helper import policy

if TYPE_CHECKING:
    from pte_magic.cli.argument_parser import Parser

LOCAL = ("bpf", "stap")
"""The walkers that a helper can have."""
_DIGITS = 18  # of a number that fits into 64 bits
_FRAMES = "group whose members see page frame numbers and swap locations (default: nobody)"
_GROUP = f"who may connect, besides root ({policy.DEFAULT_GROUP})"


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add them to the commands of ``pte-magic``."""
    _serve(commands)
    _install_module(commands)
    _install_service(commands)


def _serve(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "serve",
        help="walk page tables for notebooks without privileges",
        description="Walk page tables for notebooks without privileges: those of processes whose /proc/PID/pagemap the "
        "kernel lets them open. Needs root until its walker is loaded; for bpf, CAP_BPF and CAP_PERFMON are enough.",
    )
    parser.set_defaults(function="pte_magic.cli.serve:serve", parser=parser)
    defaults = policy.Policy()
    parser.add_argument("--socket", metavar="PATH", help="where to listen (default: PTE_MAGIC_SOCKET of the "
                        "environment, or /run/pte-magic/socket)")  # fmt: skip
    parser.add_argument("--group", help=_GROUP)
    parser.add_argument("--frames", metavar="GROUP", help=_FRAMES)
    parser.add_argument("--walker", choices=LOCAL, help=f"the walker (default: {LOCAL[0]} if it works)")
    parser.add_argument("--max-clients", metavar="N", type=_positive, default=defaults.clients,
                        help="the most connections at a time; each takes 2.5 MB (default: %(default)s)")  # fmt: skip
    parser.add_argument("--max-clients-per-user", metavar="N", type=_positive, default=defaults.clients_of_a_user,
                        help="the most connections of one user (default: %(default)s)")  # fmt: skip
    parser.add_argument("--max-rows", metavar="N", type=_positive,
                        help="the most entries of one answer (default: 131072)")  # fmt: skip


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 0
    if number < 1:
        message = f"{quoted(text)} is not a number from 1 on; type one such as 64"
        raise argparse.ArgumentTypeError(message)
    return number


def _install_module(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "install-module",
        help="install the walker of SystemTap for users without privileges",
        description="Compile the module of the walker stap and put it where SystemTap lets members of the group "
        "stapusr load it from. They see the page-table entries of processes whose /proc/PID/pagemap they may open, "
        "without page frames and swap locations, as in that file. Needs root.",
    )
    parser.set_defaults(function="pte_magic.helper.install_module:install_module", parser=parser)
    parser.add_argument(
        "--release",
        default=platform.release(),
        help="the kernel to compile for (default: the running one)",
    )
    parser.add_argument("--key", help="private key to sign the module with, PEM, or a URI of PKCS #11")
    parser.add_argument("--certificate", metavar="FILE", type=Path, help="X.509 certificate of that key, DER or PEM")
    parser.add_argument("--remove", action="store_true", help="remove the module")


def _install_service(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "install-service",
        help="let systemd start the helper when a notebook connects",
        description="Write pte-magic.socket and pte-magic.service to /etc/systemd/system, and have systemd listen at "
        "/run/pte-magic/socket. The service runs as a user of its own, with the Python that runs this command. Needs "
        "root.",
    )
    parser.set_defaults(function="pte_magic.helper.install_service:install_service", parser=parser)
    parser.add_argument("--group", help=_GROUP)
    parser.add_argument("--frames", metavar="GROUP", help=_FRAMES)
    parser.add_argument("--remove", action="store_true", help="stop the service, and remove both files")

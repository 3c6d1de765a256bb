"""The command ``pte-magic``: its subcommands and their options."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pte_magic import walkers
from pte_magic.errors import PteMagicError
from pte_magic.errors.arguments import shown
from pte_magic.errors.escapes import visible
from pte_magic.helper import install_module, install_service, journal, policy, privileges
from pte_magic.helper.listener import Listener
from pte_magic.helper.policy import HelperError, Policy
from pte_magic.helper.requests import Tables
from pte_magic.helper.server import Server
from pte_magic.walkers import stap
from pte_magic.walkers.bpf import walker as bpf
from pte_magic.walkers.helper_protocol import socket_path
from pte_magic.walkers.shared_memory import SharedMemoryWalker
from pte_magic.walkers.what_to_type import command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_DIGITS = 18  # of a number that fits into 64 bits
_LOCAL = (bpf.NAME, stap.NAME)


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and what to type."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.register("action", None, _Value)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {visible(message)}; type `{self.prog} --help`\n")


class _Value(argparse.Action):
    """The value of an option, typed once; no value is empty."""

    _is_typed = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  (as argparse calls it)
        namespace: argparse.Namespace,
        value: Any,
        option: str | None = None,
    ) -> None:
        if self._is_typed:
            message = f"typed twice, the second time with {shown(str(value))}; type it once"
            raise argparse.ArgumentError(self, message)
        if value in {"", Path()}:  # of an unset variable of the shell
            message = f"the value is empty; type {option} {self.metavar or self.dest.upper()}"
            raise argparse.ArgumentError(self, message)
        self._is_typed = True
        setattr(namespace, self.dest, value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status."""
    given = _parser().parse_args(arguments)
    try:
        given.function(given)
    except PteMagicError as error:
        print(f"pte-magic: {error}", file=sys.stderr)  # noqa: T201  (a command says so to who typed it)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(prog="pte-magic", description="Page-table entries of running processes.")
    commands = parser.add_subparsers(title="commands", required=True)
    serve_ = commands.add_parser(
        "serve",
        help="walk page tables for notebooks without privileges",
        description="Walk page tables for notebooks without privileges: those of processes whose /proc/PID/pagemap the "
        "kernel lets them open. Needs root until its walker is loaded; for bpf, CAP_BPF and CAP_PERFMON are enough.",
    )
    serve_.set_defaults(function=serve)
    defaults = Policy()
    serve_.add_argument("--socket", metavar="PATH", help=f"where to listen (default: {socket_path()})")
    serve_.add_argument("--group", help=f"who may connect, besides root ({policy.DEFAULT_GROUP})")
    serve_.add_argument(
        "--frames",
        metavar="GROUP",
        help="group whose members see page frame numbers and swap locations (default: nobody)",
    )
    serve_.add_argument("--walker", choices=_LOCAL, help=f"the walker (default: {_LOCAL[0]} if it works)")
    serve_.add_argument("--max-clients", metavar="N", type=_positive, default=defaults.clients,
                        help="the most connections at a time; each takes 2.5 MB (default: %(default)s)")  # fmt: skip
    serve_.add_argument("--max-clients-per-user", metavar="N", type=_positive, default=defaults.clients_of_a_user,
                        help="the most connections of one user (default: %(default)s)")  # fmt: skip
    serve_.add_argument("--max-rows", metavar="N", type=_positive,
                        help="the most entries of one answer (default: 131072)")  # fmt: skip
    install_module.add_parser(commands)
    install_service.add_parser(commands)
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 0
    if number < 1:
        message = f"{shown(text)} is not a number from 1 on; type one such as 64"
        raise argparse.ArgumentTypeError(message)
    return number


def serve(given: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT, and end this process.

    Raises:
        PteMagicError: It cannot serve; says why.

    """
    privileges.have_one_thread()
    frames = None if given.frames is None else policy.group(given.frames)
    allowed = policy.default_group() if given.group is None else policy.group(given.group)
    rules = Policy(frames, given.max_clients, given.max_clients_per_user, given.max_rows)
    walker = _walker(given.walker)
    tables = Tables(walker, rules.rows)
    if rules.frames is not None and not tables.shows_frames:
        message = f"--frames {given.frames}: walker {walker.name} shows none to this user; type `{command('serve')}`"
        raise HelperError(message)
    listener = Listener(given.socket or socket_path(), allowed)
    try:
        walker.settle()
        _give_up_privileges()
        gc.collect()
        gc.disable()  # it would close what another thread opened, under a number that is another file's here
        server = Server(listener.socket, tables, rules)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)
        who = f"for group {policy.name_of(allowed)}" if listener.made else "for whom its unit names"
        seen = "nobody" if frames is None else f"group {policy.name_of(frames)}"
        journal.say(f"serving {who} at {listener.path}, walker {walker.name}, page frames for {seen}")
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        privileges.own_files_again()
        listener.close()
        walkers.close()
    journal.say("ended")
    _end()


def _give_up_privileges() -> None:
    try:
        privileges.drop()
        privileges.own_descriptors(1 << 30)  # there are none; it shows whether clients' threads can have theirs
    except OSError as error:
        message = f"{error.strerror or error}; Linux 5.9 or newer is needed, and close_range(2) allowed by its sandbox"
        raise HelperError(message) from error


def _walker(name: str | None) -> SharedMemoryWalker:
    """Return the walker that was named, or the first that works."""
    why = []
    for candidate in [name] if name else _LOCAL:
        found = walkers.attempt(candidate)
        if isinstance(found, SharedMemoryWalker):
            return found
        why.append(str(found))
    raise HelperError("; ".join(why))


def _end() -> NoReturn:
    """Exit at once: clients' threads wait for messages, and some may wait for ever."""
    sys.stdout.flush()
    os._exit(0)

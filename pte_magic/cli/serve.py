"""``pte-magic serve``: the helper from its options to its end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from pte_magic import walkers
from pte_magic.cli.administration import LOCAL
from pte_magic.helper import journal, policy, privileges
from pte_magic.helper.listener import Listener
from pte_magic.helper.policy import HelperError, Policy
from pte_magic.helper.requests import Tables
from pte_magic.helper.server import Server
from pte_magic.walkers.helper_protocol import socket_path
from pte_magic.walkers.shared_memory import SharedMemoryWalker
from pte_magic.walkers.what_to_type import command

if TYPE_CHECKING:
    import argparse
    from typing import NoReturn


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
    for candidate in [name] if name else LOCAL:
        found = walkers.attempt(candidate)
        if isinstance(found, SharedMemoryWalker):
            return found
        why.append(str(found))
    raise HelperError("; ".join(why))


def _end() -> NoReturn:
    """Exit at once: clients' threads wait for messages, and some may wait for ever."""
    sys.stdout.flush()
    os._exit(0)

"""The line ``%pte --shared``: which processes and which targets are named in it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pte_magic.api import shared
from pte_magic.api.shared_watch import SharedWatch
from pte_magic.api.sharing.members import members
from pte_magic.api.sharing.request import Wanted
from pte_magic.api.sharing.targets_or_regions import Named, is_container
from pte_magic.errors import TargetError, arguments
from pte_magic.linux import kernel_text, parents_and_children
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.notebook.expressions import compiles, evaluate, names_in, pid_of
from pte_magic.notebook.line_target import named, split_pid
from pte_magic.notebook.typed_words import split
from pte_magic.targets import memory_in_attributes
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping


def shown(text: str, options: argparse.Namespace, namespace: Mapping[str, Any], known: Iterable[str]) -> object:
    """Return the result of a line.

    Args:
        text: The typed targets and pids, perhaps none.
        options: The values of the options.
        namespace: Python's variables.
        known: Option names to suggest for an undefined name.

    Raises:
        PteMagicError, NameError: A part of the text is neither a target nor a pid, or there is nothing to compare.

    """
    wanted = read(text, namespace, known)
    if options.watch:
        return SharedWatch(wanted, every=options.every or 1.0, walker=options.walker)
    with members(wanted.pids) as found:
        return shared.of_members(found, wanted, options.walker)


def read(text: str, namespace: Mapping[str, Any], known: Iterable[str] = ()) -> Wanted:
    """Return what a line names: pids and targets, each after a comma; raises as `shown`."""
    pids: list[int] = []
    found: list[Named] = []
    for part in split(text) if text else []:
        if not part:
            message = f"{arguments.shown(text)}: a target is missing at a comma; type %pte --shared a, b"
            raise TargetError(message)
        if (pid := _pid(part, namespace)) is not None:
            pids.append(pid)
            continue
        before, name = split_pid(part, namespace)
        if _is_value(name, namespace) and is_container(value := evaluate(name, namespace)):
            pids += [] if before is None or (pid := pid_of(before, namespace)) is None else [pid]
            found.append(Named(name, value, None))
            continue
        with ExitStack() as stack:
            one = stack.enter_context(named(part, namespace, options=known))
            if one.space.pid != own().pid:
                pids.append(one.space.pid)
            if one.meant.ranges != targets.whole().ranges:
                found.append(Named(one.name, one.value, one.meant))
    pids = list(dict.fromkeys(pids))
    if not found:
        return Wanted(text, pids or None, None, namespace)
    once = {(one.name, id(one.thing) if one.meant is None else one.meant.ranges): one for one in found}
    return Wanted(text, pids or None, list(once.values()))


def _is_value(text: str, namespace: Mapping[str, Any]) -> bool:
    """Tell whether a text is a Python expression of defined names."""
    used = names_in(text)
    return bool(used) and used <= namespace.keys() and compiles(text)


def _pid(text: str, namespace: Mapping[str, Any]) -> int | None:
    """Return the pid that a part of a line stands for; None if it is a target, or one with a pid before it.

    Raises:
        NoSuchProcessError: It can only be a pid, and no process has it.

    """
    if split_pid(text, namespace)[0] is not None:
        return None
    if text.strip().isdecimal() and text.strip() != str(int(text)):  # an address, as /proc/PID/maps has it
        return None
    if not text.strip().isdecimal() and not _is_value(text, namespace):
        return None
    value = evaluate(text, namespace)
    process = memory_in_attributes.own(value, "_popen")  # of multiprocessing: its own pid is a property
    pid = memory_in_attributes.own(value if process is None else process, "pid")
    found = value if type(value) is int else pid
    if type(found) is not int or parents_and_children.member(found):
        return found if type(found) is int else None
    if 0 < found <= kernel_text.MOST_PIDS:
        AddressSpace(found).close()  # says that there is no such process; an address is typed in hex
    return None

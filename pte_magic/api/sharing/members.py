"""The processes that are compared: one, and those that were forked from it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.api.machine.visiting import same_memory
from pte_magic.errors import NoSuchProcessError, PteMagicError, TargetError, arguments
from pte_magic.linux import parents_and_children
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOW = "fork some, as a pool does, or type %pte --shared PID for another process and its children"


class Members(NamedTuple):
    """The processes to compare, open.

    Attributes:
        here: The one that the others were forked from.
        others: The others.
        names: The name of each process, by its pid.
        left_out: For each process that is not compared why, in one line, by its pid.

    """

    here: AddressSpace
    others: list[AddressSpace]
    names: dict[int, str]
    left_out: dict[int, str]


@contextmanager
def members(pids: Sequence[int] | None) -> Iterator[Members]:
    """Open the processes to compare.

    Args:
        pids: The processes; None for this one and its children. See `chosen`.

    Raises:
        PteMagicError: There is none to compare with, or the one that they were forked from cannot be looked at.

    """
    mine, theirs = chosen(pids)
    with ExitStack() as stack:
        here = own() if mine == own().pid else stack.enter_context(AddressSpace(mine))
        others: list[AddressSpace] = []
        left_out: dict[int, str] = {}
        names = {mine: _name(mine)}
        for pid in theirs:
            names[pid] = _name(pid)
            try:
                space = AddressSpace(pid)
            except PteMagicError as error:
                left_out[pid] = str(error)
                continue
            stack.enter_context(space)
            if why := _not_a_copy(pid, here, space):
                left_out[pid] = why
            else:
                others.append(space)
        if not others:
            raise nobody(mine, left_out)
        yield Members(here, others, names, left_out)


def nobody(pid: int, left_out: dict[int, str]) -> TargetError:
    """Return the error that says that there is nobody to compare with, and why."""
    if left_out:
        first = next(iter(left_out.values()))
        more = f" (and {len(left_out) - 1:,} more)" if len(left_out) > 1 else ""
        return TargetError(f"no process shares memory with pid {pid} since a fork: {first}{more}")
    who = "this process" if pid == own().pid else f"pid {pid}"
    return TargetError(f"{who} has no children to compare with; {_HOW}")


def chosen(pids: Sequence[int] | None) -> tuple[int, list[int]]:
    """Return the process that the others were forked from, and the others.

    That is this process if one of the named ones was forked from it; else a single one that has children, which are
    compared then; else the named one that the others were forked from; else the nearest process that all were.

    Raises:
        TargetError: They have nothing to do with each other, or are threads.

    """
    me = own().pid
    if pids is None:
        return me, parents_and_children.children(me)
    named = list(dict.fromkeys(map(arguments.process, pids)))
    for pid in named:
        if (process := parents_and_children.process_of(pid)) != pid:
            message = f"pid {pid} is a thread of process {process}, which has the same memory; type {process}"
            raise TargetError(message)
    others = [pid for pid in named if pid != me]
    if not others:
        return me, parents_and_children.children(me)
    there = [pid for pid in others if parents_and_children.member(pid)]
    if not there:
        raise NoSuchProcessError(others[0])
    above = {pid: parents_and_children.forked_from(pid) for pid in there}
    if me in named or any(me in ones for ones in above.values()):
        return me, others
    if len(others) == 1 and (found := parents_and_children.children(others[0])):
        return others[0], found
    first = [pid for pid in there if len(others) > 1 and all(pid in above[one] for one in there if one != pid)]
    common = [pid for pid in above[there[0]] if pid != 1 and all(pid in ones for ones in above.values())]
    if first or common:
        mine = (first or common)[0]
        return mine, [pid for pid in others if pid != mine]
    raise _strangers(others)


def _strangers(pids: list[int]) -> TargetError:
    said = ", ".join(map(str, pids[:3]))
    found = parents_and_children.member(pids[0])
    if len(pids) == 1 and found and found.execed and found.parent == own().pid:
        return TargetError(_execed(pids[0]))
    if len(pids) == 1:
        message = (
            f"pid {said} has no children, and shares nothing since a fork: it has called exec, or its parent ended; "
        )
    else:
        message = f"pids {said} were forked neither from this process nor from each other; "
    return TargetError(message + "name the process that others were forked from, as in %pte --shared 1234")


def _not_a_copy(pid: int, here: AddressSpace, space: AddressSpace) -> str:
    """Return why the memory of a process is not a copy of another one's; or an empty text."""
    if same_memory(space, here.thread):
        return f"pid {pid}: still uses the memory of pid {here.pid} itself, as between vfork and exec"
    return "" if here.pid in parents_and_children.forked_from(pid) else _execed(pid)


def _execed(pid: int) -> str:
    return f"pid {pid}: has called exec since the fork, so its memory is another one"


def _name(pid: int) -> str:
    found = parents_and_children.member(pid)
    return found.name if found else ""

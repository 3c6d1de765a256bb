"""Walkers: one contract, several sources. Each takes an address space and a range, and returns raw entries."""

from __future__ import annotations

import functools
import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pte_magic.errors import TargetError, WalkerClosedError, WalkerUnavailableError, arguments
from pte_magic.linux import descriptors, memory_encryption
from pte_magic.linux.address_bits import PLAIN
from pte_magic.linux.interrupts import Lock, deferred
from pte_magic.text.suggestions import did_you_mean
from pte_magic.walkers import helper_client, helper_greeting, pagemap, stap
from pte_magic.walkers.bpf import walker as bpf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.entries import Entries
    from pte_magic.walkers.walker import Walker

_T = TypeVar("_T")

AUTO = "auto"
KINDS: tuple[type[Walker], ...] = (bpf.BpfWalker, helper_client.HelperWalker, stap.StapWalker, pagemap.PagemapWalker)
"""All walkers, the one that sees most first; of two that see the same, the faster one."""
NAMES = tuple(kind.name for kind in KINDS)
"""Their names."""
_MAKERS: dict[str, Callable[..., Walker]] = {kind.name: kind.make for kind in KINDS}
_attempts: dict[str, Walker | WalkerUnavailableError] = {}
_chosen: dict[str, Walker] = {}  # by the name that was asked for, `AUTO` included
_lock = Lock()  # of those who make walkers
_TRIES = 5  # to walk, while others close the walkers


def attempt(name: str, *, again: bool = False, patient: bool = False) -> Walker | WalkerUnavailableError:
    """Return a walker, or the error that says why it cannot work here. It is tried once per process.

    Args:
        name: Its name.
        again: Try again if it could not work: a missing part may exist now.
        patient: Wait for a helper that does not greet at once.

    Raises:
        ResourceError: Too few descriptors are free to try it.

    """
    found = _usable(name)
    if found and not (again and isinstance(found, WalkerUnavailableError)):
        return found
    with _lock, deferred():  # whatever comes, what is loaded is kept here, for close()
        now = _usable(name)
        if now is None or now is found:  # else another thread was quicker
            try:
                now = _MAKERS[name](patient=patient)
            except (WalkerUnavailableError, OSError) as error:
                if not descriptors.are_free():  # it may work later
                    raise descriptors.none_free() from error
                if isinstance(error, OSError):
                    raise
                now = _without_frames(error)
            _attempts[name] = now
            _chosen.clear()  # the best of all may be another one
    return now


def _without_frames(error: WalkerUnavailableError) -> WalkerUnavailableError:
    """Return an error to keep: with its causes, but with no frame of a caller, which would keep a user's arrays."""
    link: BaseException | None = error
    while link:
        link.__traceback__ = link.__context__ = None
        link = link.__cause__
    return error


def _usable(name: str) -> Walker | WalkerUnavailableError | None:
    """Return the kept result for a walker, unless it was closed since."""
    found = _attempts.get(name)
    return None if found and not isinstance(found, WalkerUnavailableError) and found.closed else found


def get(name: str = AUTO) -> Walker:
    """Return the walker of this name, or the best that works here. It is kept; a forked child makes its own.

    Raises:
        WalkerUnavailableError: It cannot work here; the message says why.
        TargetError: There is no such walker.

    """
    if type(name) is not str:
        name = arguments.text(name, "walker", f"type one of {AUTO}, {', '.join(NAMES)}")
    found = _chosen.get(name)
    if found is None or found.closed or (name == AUTO and helper_greeting.is_awaited() and helper_greeting.has_come()):
        found = _chosen[name] = _choose(name)
    return found


def _choose(name: str) -> Walker:
    if name == AUTO:
        name = next(filter(_works, NAMES))
    elif name not in NAMES:
        near = did_you_mean(name, (AUTO, *NAMES))
        message = f"walker {arguments.shown(name)} does not exist; type one of {AUTO}, {', '.join(NAMES)}{near}"
        raise TargetError(message)
    found = attempt(name, again=True, patient=True)
    if isinstance(found, WalkerUnavailableError):
        raise type(found)(found.walker, found.why) from found.__cause__  # the kept one would get this call's frames
    return found


def _works(name: str) -> bool:
    """Tell whether a walker works here; a helper may greet late, and is then used from the next walk on."""
    found = attempt(
        name, again=name == helper_client.NAME and helper_greeting.is_awaited() and helper_greeting.has_come()
    )
    if not isinstance(found, WalkerUnavailableError):
        return True
    if name == helper_client.NAME and helper_greeting.is_awaited():
        _warn(f"{found.why}; another walker is used until it greets")
    return False


@functools.cache
def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def known(name: str) -> Walker | WalkerUnavailableError | None:
    """Return the last result of `attempt` for this walker; None if it was not called."""
    return _attempts.get(name)


def reading(name: str, read: Callable[[Walker], _T]) -> _T:
    """Return the result of `read`, called with the walker of this name; with another if it was closed meanwhile.

    Raises:
        WalkerClosedError: Several walkers were closed.
        PteMagicError: As for `get`, and for `read`.

    """
    for _ in range(_TRIES - 1):
        try:
            return read(get(name))
        except WalkerClosedError:  # by another thread
            pass
    return read(get(name))


def chunks(reader: Walker, space: AddressSpace, start: int, end: int) -> Iterator[Entries]:
    """Yield the pieces of `Walker.chunks`; if it is closed meanwhile, as by a fork, another of its name goes on.

    Raises:
        PteMagicError: As for `reading`, and for the walker.

    """
    tries, told = 0, None
    while start < end:
        try:
            for piece in reader.chunks(space, start, end):
                reached = piece.end
                yield piece if told is None else piece.disjoint(end, told)
                start, tries = reached, 0
        except WalkerClosedError:
            tries += 1
            if tries == _TRIES:
                raise
            reader, told = get(reader.name), start


def close() -> None:
    """Unload the walkers. The next walk loads them again; after an interrupt, the rest is unloaded at exit."""
    used = []
    with suppress(KeyError):
        while True:  # one by one: another thread may be making one, which is not to be lost
            used.append(_attempts.popitem()[1])
    _chosen.clear()
    helper_greeting.forget()
    for walker in used:
        if not isinstance(walker, WalkerUnavailableError):
            walker.close()


def _encryption_mask(make: bool) -> int:  # noqa: FBT001  (`memory_encryption` asks)
    """Return the bit of memory encryption that this process' walkers found; with `make`, make the quick ones first."""
    for name in (bpf.NAME, helper_client.NAME) if make else ():
        attempt(name)
    return max(getattr(known(name), "address_bits", PLAIN).encryption_mask for name in NAMES)


def _forget() -> None:
    _attempts.clear()
    _chosen.clear()


def _in_child() -> None:
    global _lock  # noqa: PLW0603  (another thread of the parent may have it)
    _lock = Lock()
    _forget()


memory_encryption.walkers.append(_encryption_mask)
os.register_at_fork(after_in_child=_in_child)

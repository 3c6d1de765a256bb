"""Targets typed in a line, ``[PID] TARGET``: the object itself, its addresses, and its address space."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pte_magic.api import walk
from pte_magic.errors import TargetError
from pte_magic.linux import kernel_text
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.notebook.expressions import Names, compiles, evaluate, names_in, pid_of, short
from pte_magic.notebook.typed_words import LONGEST_PID, split, words
from pte_magic.targets import target as targets
from pte_magic.targets.named_target import Named
from pte_magic.targets.objects import memory
from pte_magic.text.suggestions import did_you_mean, undefined
from pte_magic.text.typed_numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pte_magic.targets.target import Target

_REGION = re.compile(r"\[[\w:. -]+\]")
# Python would take these for an item of the pid: names of arch_vma_name() and of anonymous memory (fs/proc/task_mmu.c).
_OWN_NAMES = r"heap|stack(?::\d+)?|vdso|vvar\w*|vsyscall|vectors|sigpage|uprobes|anon(?:_shmem)?:[^]]*"
_PID_AND_REGION = re.compile(rf"(.*\S)\s+(\[(?:{_OWN_NAMES})\])", re.DOTALL)
# Python would index or call a number.
_NUMBER_AND_MORE = re.compile(r"(-?\d+)\s+([\[({].*)", re.DOTALL)
_OPERATORS = frozenset("+*%<>=!&|^@.,:;)]}")  # with these no target begins
_SELF_AND_MORE = re.compile(r"(self)\s+([\[({].*)", re.DOTALL)


@contextmanager
def named(text: str, namespace: Mapping[str, Any], *, options: Iterable[str] = ()) -> Iterator[Named]:
    """Resolve a text to a target, and keep its address space open.

    Args:
        text: The typed text.
        namespace: Python's variables.
        options: Option names to suggest for an undefined name.

    Raises:
        PteMagicError, NameError: It does not name a target, or this user may not look at it.

    """
    known = (*namespace, *options)
    pid_text, name = split_pid(text, namespace)
    try:
        pid = None if pid_text is None else pid_of(pid_text, namespace)
    except NameError as error:
        raise _undefined(error, known) from error
    except TargetError as error:
        if error.__cause__ is None and compiles(pid_text or "") and compiles(name):
            message = f"{error}; between two targets type a comma"
            raise TargetError(message) from error
        raise
    with ExitStack() as stack:
        space = own() if pid_text is None else stack.enter_context(AddressSpace(pid))
        value, meant = _resolve(name, namespace, space, known)
        if meant.address is not None and not _is_mapped(meant.address, space):
            if pid_text is None and _is_pid(name, meant.address):
                _refuse_expression(name, meant.address)
                space = stack.enter_context(AddressSpace(meant.address))
                meant = targets.whole()
            else:
                meant = _with_note(name, meant, may_be_pid=pid_text is None)
        yield Named(text, name, value, meant, space)


@contextmanager
def named_together(text: str, namespace: Mapping[str, Any], *, options: Iterable[str] = ()) -> Iterator[list[Named]]:
    """Resolve a text with commas: one target per address space, with all its named parts.

    Raises:
        PteMagicError, NameError: A part does not name a target, or this user may not look at it.

    """
    parts = split(text)
    if len(parts) > 1 and targets.parse(text, own()) is not None:  # a file with a comma in its name
        parts = [text]
    if not all(parts):
        message = f"{short(text)}: a target is missing at a comma; type %pte a, or %pte a, child.pid a"
        raise TargetError(message)
    with ExitStack() as stack:
        found = [stack.enter_context(named(part, namespace, options=options)) for part in dict.fromkeys(parts)]
        if len(found) == 1:
            yield found
            return
        by_pid: dict[int, list[Named]] = {}
        for one in found:
            by_pid.setdefault(one.space.pid, []).append(one)
        yield [_joined(ones) for ones in by_pid.values()]


def at_first_byte(found: Named) -> Named:
    """Return the same with one address, for a picture of its translation, and a note that names it."""
    if found.meant.address is not None:
        return found
    if found.value is None:
        address, what = found.meant.ranges[0][0], "first address"
    else:
        address, what = memory(found.value)[0][0], "first byte"
    notes = (f"{address:#x}, the {what} of {short(found.text)[1:-1]}", found.meant.note)
    return found._replace(meant=targets.at(address)._replace(note="; ".join(filter(None, notes))))


def of_value(value: object, space: AddressSpace) -> Target:
    """Return the addresses of an expression's value; in a notebook a string is an object like any other."""
    return targets.of_object(value) if isinstance(value, str) else walk.resolve(value, None, space)


def _joined(ones: list[Named]) -> Named:
    text = ", ".join(one.text for one in ones)
    meant = targets.together([(one.text, one.meant) for one in ones])
    return Named(text, text, [one.value for one in ones], meant, ones[0].space)


def split_pid(text: str, namespace: Mapping[str, Any]) -> tuple[str | None, str]:
    """Split a pid, if there is one, from the target. A text that is one Python expression has no pid."""
    typed = words(text)
    if isinstance(namespace, Names) and len(typed) > 1 and typed[0].text in namespace.placed:
        return typed[0].text, text[typed[1].start :]
    found = _PID_AND_REGION.fullmatch(text) or _NUMBER_AND_MORE.fullmatch(text)
    if not found and "self" not in namespace:
        found = _SELF_AND_MORE.fullmatch(text)
    if found and compiles(found[1]):
        return found[1], found[2]
    if len(typed) < 2 or compiles(text) or targets.parse(text, own()) is not None:  # noqa: PLR2004  (a pid and a target)
        return None, text
    cuts = [(text[: word.start].rstrip(), text[word.start :]) for word in typed[1:LONGEST_PID]]
    cuts = [
        (before, after) for before, after in cuts if compiles(before) and after[0] not in _OPERATORS and after != "-"
    ]
    whole = (cut for cut in cuts if compiles(cut[1]) or number(cut[1], digits_are_hex=False))
    return next(whole, cuts[0] if cuts else (None, text))


def _resolve(
    text: str, namespace: Mapping[str, Any], space: AddressSpace, known: tuple[str, ...]
) -> tuple[object, Target]:
    """Return the object that a text names, and its target. A defined name takes precedence over a region."""
    used = names_in(text)
    if _REGION.fullmatch(text) or not used or not used <= namespace.keys():
        meant = targets.parse(text, space)
        if meant is not None:
            return None, meant
        if _REGION.fullmatch(text) and text[1:-1].isidentifier() and not used <= namespace.keys():
            raise targets.unknown(text, space)
    try:
        value = evaluate(text, namespace)
    except NameError as error:
        raise _undefined(error, (*known, *targets.suggestions(space), "all")) from error
    except TargetError as error:
        if compiles(text) or not (near := did_you_mean(text, targets.suggestions(space))):
            raise
        message = f"{short(text)} is not a region of pid {space.pid}{near}"
        raise TargetError(message) from error
    return value, of_value(value, space)


def _undefined(error: NameError, known: Iterable[str]) -> TargetError:
    if error.name == "self":
        return TargetError("'self' is this process; type self TARGET, such as self all")
    said = undefined(error, known)
    return TargetError(said if said != str(error) else f"{error}, here or as a region; see %pte? for possible targets")


def _is_mapped(address: int, space: AddressSpace) -> bool:
    return any(region.start <= address < region.end for region in space.regions())


def _is_pid(text: str, address: int) -> bool:
    """Tell whether a number was not written as an address, and a process has this number."""
    read = number(text, digits_are_hex=False)
    plain = text.strip().replace("_", "")
    is_decimal = read is None or (plain.isdecimal() and int(plain) == address)  # zeros first are hex
    return is_decimal and Path(f"/proc/{address}").exists()


def _refuse_expression(text: str, address: int) -> None:
    """Refuse an expression whose value is a pid: it may be any number, where somebody who typed digits meant a process.

    Raises:
        TargetError: It is one.

    """
    if number(text, digits_are_hex=False) is None:
        what = short(text)[1:-1]
        message = f"{what}, {address}, is the pid of a process, and nothing is mapped at that address; "
        message += f"type {what} all for the process, or {address:#x} for the address"
        raise TargetError(message)


def _with_note(text: str, meant: Target, *, may_be_pid: bool) -> Target:
    """Return an address at which nothing is mapped with a note that says so, and how its text was read."""
    read = number(text, digits_are_hex=False)
    note = f"nothing is mapped at {meant.address:#x}"
    plain = text.strip()
    if may_be_pid and plain.isascii() and plain.isdecimal() and meant.address == int(plain) <= kernel_text.MOST_PIDS:
        note += f", and no process has the pid {meant.address}"
    return meant._replace(note="; ".join(filter(None, (note, meant.note, read.note if read else ""))))

"""Ranges of addresses with owners, made disjoint: each byte has one owner, the first of all that have it."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ranges = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int32]]

_BITS = 2  # of a state


class Disjoint(NamedTuple):
    """Ranges that do not overlap, ascending.

    Attributes:
        start: First addresses, ``uint64[n]``.
        end: First addresses after them, ``uint64[n]``.
        owner: The first owner of each, ``int32[n]``.
        state: The greatest state that the owner has there, or that of what several owners have, ``int8[n]``.

    """

    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    owner: NDArray[np.int32]
    state: NDArray[np.int8]


def keys(owner: NDArray[np.int32], state: NDArray[np.int8]) -> NDArray[np.int32]:
    """Return owners and states, from 0 to 3, as one number each."""
    return (owner << np.int32(_BITS)) | state


def touching(start: NDArray[np.uint64], end: NDArray[np.uint64], key: NDArray[np.int32]) -> Ranges:
    """Join ranges that touch or overlap the one before them and have its key, as neighbours of one owner do."""
    if not len(start):
        return start, end, key
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, end, key = start[order], end[order], key[order]
    first = np.flatnonzero(np.append(True, (start[1:] > end[:-1]) | (key[1:] != key[:-1])))
    return start[first], np.maximum.reduceat(end, first), key[first]


def disjoint(parts: list[Ranges], several: int) -> Disjoint:
    """Return ranges that cover the same addresses; the list is emptied, as it may be large.

    Args:
        parts: First addresses, first addresses after them, and keys, ``uint64[n], uint64[n], int32[n]``, in any order;
            a key is an owner and a state, as `keys` made them: of several owners, the smallest counts. Empty ranges are
            left out.
        several: The state of what several owners have.

    """
    start, end, key = _in_order(parts)
    if not len(start):
        return _made(start, end, key)
    # A cluster begins where no range before reaches; those of one key that only touch are one.
    reach = np.maximum.accumulate(end)[:-1]
    is_first = np.append(True, (start[1:] > reach) | ((start[1:] == reach) & (key[1:] != key[:-1])))
    del reach
    first = np.flatnonzero(is_first)
    least, greatest = np.minimum.reduceat(key, first), np.maximum.reduceat(key, first)
    mixed = least != greatest
    del greatest
    if not mixed.any():
        last = np.maximum.reduceat(end, first)
        del key, end
        return _made(start[first], last, least)
    last = np.maximum.reduceat(end, first)
    inside = mixed[np.cumsum(is_first) - 1]
    swept = _swept(*_by_key(start[inside], end[inside], key[inside]), several)
    del inside, end, key
    single = ~mixed
    return _made(*_in_order([(start[first[single]], last[single], least[single]), swept]))


def _in_order(parts: list[Ranges]) -> Ranges:
    """Join parts and sort them; each column takes as much memory once more, so that is done one after the other."""
    starts, ends, keys_ = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    while parts:
        start, end, key = parts.pop()
        used = end > start
        starts.append(start[used])
        ends.append(end[used])
        keys_.append(key[used])
    start = np.concatenate(starts)
    starts.clear()
    order = np.argsort(start, kind="stable")
    start = start[order]
    end = np.concatenate(ends)
    ends.clear()
    end = end[order]
    return start, end, np.concatenate(keys_)[order]


def _made(start: NDArray[np.uint64], end: NDArray[np.uint64], key: NDArray[np.int32]) -> Disjoint:
    return Disjoint(start, end, key >> np.int32(_BITS), (key & (1 << _BITS) - 1).astype(np.int8))


def _by_key(start: NDArray[np.uint64], end: NDArray[np.uint64], key: NDArray[np.int32]) -> Ranges:
    """Join ranges of one key that overlap or touch; the result is sorted by key."""
    made: tuple[list[int], list[int], list[int]] = ([], [], [])
    order = np.lexsort((start, key))
    for first, after, of in zip(start[order].tolist(), end[order].tolist(), key[order].tolist(), strict=True):
        if made[2] and made[2][-1] == of and first <= made[1][-1]:
            made[1][-1] = max(made[1][-1], after)
        else:
            for values, value in zip(made, (first, after, of), strict=True):
                values.append(value)
    return np.array(made[0], np.uint64), np.array(made[1], np.uint64), np.array(made[2], np.int32)


def _swept(start: NDArray[np.uint64], end: NDArray[np.uint64], key: NDArray[np.int32], several: int) -> Ranges:
    """Cut ranges, disjoint for each key, where another begins or ends; of each piece the first owner has it."""
    events = sorted(
        [(at, True, of) for at, of in zip(start.tolist(), key.tolist(), strict=True)]
        + [(at, False, of) for at, of in zip(end.tolist(), key.tolist(), strict=True)]
    )  # at one address, ends come first
    made: tuple[list[int], list[int], list[int]] = ([], [], [])
    active, owners, first_owner = set[int](), Counter[int](), list[int]()
    before = 0
    for at, begins, of in events:
        if active and at > before:
            while not owners[first_owner[0]]:
                heapq.heappop(first_owner)
            owner = first_owner[0]
            state = several if len(owners) > 1 else max(one & (1 << _BITS) - 1 for one in active)
            for values, value in zip(made, (before, at, owner << _BITS | state), strict=True):
                values.append(value)
        before = at
        if begins:
            active.add(of)
            owners[of >> _BITS] += 1
            heapq.heappush(first_owner, of >> _BITS)
        else:
            active.discard(of)
            owners[of >> _BITS] -= 1
            if not owners[of >> _BITS]:
                del owners[of >> _BITS]
    return np.array(made[0], np.uint64), np.array(made[1], np.uint64), np.array(made[2], np.int32)

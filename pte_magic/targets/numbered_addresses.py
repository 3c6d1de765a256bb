"""`Places`: numbers for the addresses of objects, in the order in which they are met; many at once, with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 1 << 12  # slots
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)  # Fibonacci hashing: the high half of the product is well mixed
_MIX_ONE, _ALL_ONES = int(_MIX), (1 << 64) - 1
_HALF = np.uint64(32)


class Places:
    """A hash table with open addressing: 12 bytes a slot, where one of Python takes 100 bytes an entry.

    Attributes:
        count: How many addresses have a number: 0, 1, ….

    """

    def __init__(self) -> None:
        self.count = 0
        self._addresses = np.zeros(_LEAST, np.uint64)
        self._numbers = np.zeros(_LEAST, np.int32)

    def add(self, addresses: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
        """Give numbers to addresses that have none; none of them is 0.

        Returns:
            The number of each, ``int32[n]``, and where in the argument the new ones are, ``intp[m]``, by number.

        """
        self._make_room(len(addresses))
        numbers = np.empty(len(addresses), np.int32)
        at = np.arange(len(addresses))
        slot = self._slots(addresses)
        new = []
        while len(at):
            wanted, there = addresses[at], self._addresses[slot]
            empty = np.flatnonzero(there == 0)[::-1]  # of several for one slot, the last that is written stays
            if len(empty):
                places = slot[empty]
                self._addresses[places] = wanted[empty]
                self._numbers[places] = empty
                chosen = empty[self._numbers[places] == empty][::-1]
                self._numbers[slot[chosen]] = np.arange(self.count, self.count + len(chosen))
                self.count += len(chosen)
                new.append(at[chosen])
                there = self._addresses[slot]
            here = there == wanted
            numbers[at[here]] = self._numbers[slot[here]]
            at, slot = at[~here], (slot[~here] + 1) & (len(self._addresses) - 1)
        return numbers, np.concatenate(new) if new else np.empty(0, np.intp)

    def add_one(self, address: int) -> tuple[int, bool]:
        """Give a number to one address, if it has none; return it, and whether it is new."""
        self._make_room(1)
        last = len(self._addresses) - 1
        slot = (address * _MIX_ONE & _ALL_ONES) >> 32 & last  # as `_slots`
        while there := self._addresses.item(slot):
            if there == address:
                return self._numbers.item(slot), False
            slot = slot + 1 & last
        self._addresses[slot], self._numbers[slot] = address, self.count
        self.count += 1
        return self.count - 1, True

    def _slots(self, addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (((addresses * _MIX) >> _HALF) & np.uint64(len(self._addresses) - 1)).astype(np.int64)

    def _make_room(self, more: int) -> None:
        """Have at most three slots in four used after more addresses: most of these are often known already."""
        if 4 * (self.count + more) > 3 * len(self._addresses):
            self._grow(2 * (self.count + more))

    def _grow(self, least: int) -> None:
        """Have more slots, and put the addresses that are there into others."""
        used = self._addresses != 0
        addresses, numbers = self._addresses[used], self._numbers[used]
        slots = 1 << (least - 1).bit_length()
        self._addresses, self._numbers = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
        slot = self._slots(addresses)
        while len(addresses):
            empty = np.flatnonzero(self._addresses[slot] == 0)
            self._addresses[slot[empty]] = addresses[empty]
            here = self._addresses[slot] == addresses
            self._numbers[slot[here]] = numbers[here]
            addresses, numbers, slot = addresses[~here], numbers[~here], (slot[~here] + 1) & (slots - 1)

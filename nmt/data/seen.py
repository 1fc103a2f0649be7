"""A memory-efficient set of 8-byte keys."""

from __future__ import annotations

from array import array

_FULL = 0.65  # the load at which the table grows: up to it, finding that a key is absent takes about five probes
_GROWTH = 1.5  # the factor by which it grows


class Seen:
    """An exact set of the keys (0 to 2**64 - 1) that were added.

    It takes 12 to 19 bytes per key, and 31 while the table grows; a set of ints takes about 100.

    The table uses open addressing with linear probing (Knuth, The Art of Computer Programming, vol. 3, sec. 6.4): a key
    is at position key % size, or at the next position that was free. Keys should be evenly distributed, as hashes are.
    """

    def __init__(self) -> None:
        self._places = array("Q", bytes(8 * 1024))  # 0 marks a free position
        self._zero = False  # whether key 0 was added, which the table cannot contain
        self._length = 0  # number of keys in the table

    def __len__(self) -> int:
        return self._length + self._zero

    def __contains__(self, key: int) -> bool:
        return self._places[_find(self._places, key)] == key if key else self._zero

    def add(self, key: int) -> bool:
        """Add a key and return whether it is new."""
        if not key:
            new, self._zero = not self._zero, True
            return new
        place = _find(self._places, key)
        if self._places[place]:
            return False
        self._places[place] = key
        self._length += 1
        if self._length > _FULL * len(self._places):
            self._grow()
        return True

    def _grow(self) -> None:
        places = array("Q", bytes(8)) * int(_GROWTH * len(self._places))
        for key in self._places:
            if key:
                places[_find(places, key)] = key
        self._places = places


def _find(places: array[int], key: int) -> int:
    """Return the position of a key or, if it is absent, the free position where it belongs."""
    place = key % len(places)
    while (there := places[place]) and there != key:
        place = (place + 1) % len(places)
    return place

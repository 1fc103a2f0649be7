"""A set of many 8-byte keys in little memory."""

from __future__ import annotations

from array import array

_FULL = 0.65  # of the places: then a key that is not there is looked for in some five of them
_GROWTH = 1.5


class Seen:
    """The keys (0 to 2**64 - 1) that were added; exact.

    12 to 19 bytes a key, 31 while the table grows, where a set of ints takes some 100.

    Open addressing with linear probing (Knuth, The Art of Computer Programming, vol. 3, sec. 6.4): a key lies at its
    place, or at the next that was free. Keys are taken to be spread evenly, as hashes are.
    """

    def __init__(self) -> None:
        self._places = array("Q", bytes(8 * 1024))  # 0: free
        self._zero = False  # whether key 0, which marks a free place, was added
        self._length = 0  # of the others

    def __len__(self) -> int:
        return self._length + self._zero

    def __contains__(self, key: int) -> bool:
        return self._places[_find(self._places, key)] == key if key else self._zero

    def add(self, key: int) -> bool:
        """Add a key; whether it is new."""
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
    """Where the key is, or the free place where it would be."""
    place = key % len(places)
    while (there := places[place]) and there != key:
        place = (place + 1) % len(places)
    return place

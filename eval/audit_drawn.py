"""A sample of people that does not go by the order in which they come, and no larger than was asked for."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any


@dataclass(frozen=True, eq=False)
class Drawn:
    """A person of the sample."""

    key: str  # what the sample goes by, see `sample_key`
    row: Mapping[str, Any]  # the explanation, or the fields of it that are needed
    groups: Mapping[str, str]  # slice -> the group that the person is in


@dataclass(eq=False)
class Sample:
    """The `n` people with the smallest keys of all that were offered; a smaller sample is the beginning of it."""

    n: int
    _heap: list[tuple[int, int, Drawn]] = field(default_factory=list)  # the largest key first
    _serial: Iterator[int] = field(default_factory=count)  # so that people themselves are never compared

    def takes(self, key: str) -> bool:
        """Whether a person with this key would be taken in."""
        return len(self._heap) < self.n or (bool(self._heap) and -int(key, 16) > self._heap[0][0])

    def offer(self, person: Drawn) -> None:
        """Take a person in, if the key is small enough."""
        if self.takes(person.key):
            push = heapq.heappush if len(self._heap) < self.n else heapq.heapreplace
            push(self._heap, (-int(person.key, 16), next(self._serial), person))

    def merge(self, other: "Sample") -> None:
        """Take in whom another sample holds, as far as their keys are small enough."""
        for person in other.people(other.n):
            self.offer(person)

    def people(self, n: int) -> list[Drawn]:
        """Return the first `n` of the sample, by their keys."""
        return sorted((person for _, _, person in self._heap), key=lambda person: person.key)[:n]

"""What a search asks and keeps account of, and what it has shown when it stops.

A search is a generator: it yields requests and is sent the gaps that the removals leave (above 0: the answer has
changed), so that whoever drives it can pack the candidates of several people into one batch. Gaps for fewer candidates
than were requested mean that the budget is spent.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb, fsum, inf
from typing import TypeVar

import numpy as np

from recexplain.counterfactual import Candidate, Question

CHUNK = 1024  # candidates that are made and requested at once at most
SHOWN = 100  # alternatives that a result holds at most


@dataclass(frozen=True)
class Request:
    """Candidates whose gaps a search needs."""

    candidates: Sequence[Candidate]
    again: bool = False  # they were scored before: now each on its own, which is not counted again


@dataclass(frozen=True)
class Result:
    """What a search found, and how much it has tested."""

    candidate: Candidate | None  # verified; None: nothing found
    status: str  # optimal, irreducible, found, none_up_to or budget
    proven_size: int  # all sets up to this size were tested without success
    alternatives: tuple[Candidate, ...] = ()  # other sets that cost as much and change the answer too, as tested
    n_minimal: int | None = None  # how many sets that cost as much change the answer; None: not all were tested
    criticality: tuple[float, ...] = ()  # of each position of the history: the share of those that hold it
    order: tuple[int, ...] = ()  # the positions in the order that the search followed, where it followed one
    changing: frozenset[Candidate] | None = None  # all of that size that change the answer; None: not all were tested


T = TypeVar("T")
Step = Generator[Request, Sequence[float], T]
Search = Step[Result]


class Spent(Exception):  # noqa: N818  the end of a search, not an error
    """The budget is spent."""


class Ledger:
    """What one search has tested."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.gaps: dict[Candidate, float] = {}  # of all that was tested, in that order; rounded as the batch was
        self.changing: list[Candidate] = []  # those that change the answer, in the order of the tests
        self.alone: dict[Candidate, float] = {}  # gaps of those that were scored again on their own
        self.below = 0.0  # every set that costs less was tested
        self._n_tested: Counter[int] = Counter()  # by size

    def test(self, candidates: Iterable[Candidate]) -> Step[None]:
        """Have candidates tested, none of them twice; `Spent` where the budget does not allow all of them."""
        untested = (candidate for candidate in candidates if candidate not in self.gaps)
        while chunk := list(dict.fromkeys(islice(untested, CHUNK))):
            gaps = yield Request(chunk)
            for candidate, gap in zip(chunk, gaps, strict=False):
                self.gaps[candidate] = gap
                self._n_tested[len(candidate)] += 1
                if gap > 0:
                    self.changing.append(candidate)
            if len(gaps) < len(chunk):
                raise Spent

    @property
    def found(self) -> Candidate | None:
        """The cheapest set that changes the answer, of equal ones the first tested."""
        return min(self.changing, key=self.question.cost, default=None)

    @property
    def left(self) -> float:
        """How many evaluations the budget still allows; infinity without one."""
        most = self.question.options.max_evaluations
        return inf if most is None else most - len(self.gaps)

    def is_closed(self, size: int) -> bool:
        """Whether every set of a size was tested."""
        return self._n_tested[size] == comb(len(self.question.removable), size)

    def n_open(self, size: int) -> int:
        """Return how many sets of a size were not tested."""
        return comb(len(self.question.removable), size) - self._n_tested[size]

    def result(self, *, spent: bool) -> Result:
        """Return what was found with the strongest claim that the tested sets support."""
        most = self.question.most
        n_closed = next((size - 1 for size in range(1, most + 1) if not self.is_closed(size)), most)
        smallest = min(map(len, self.changing), default=most + 1)
        proven = min(n_closed, smallest - 1)
        if self.found is None:
            return Result(None, "budget" if spent else "none_up_to", proven)
        below, cost = max(self.below, self._untested_cost(n_closed)), self.question.cost(self.found)
        minimal = [candidate for candidate in self.changing if self.question.cost(candidate) == cost]
        found = next(filter(self._is_irreducible, minimal), minimal[0])
        status = "optimal" if cost <= below else "irreducible" if self._is_irreducible(found) else "found"
        others = tuple(candidate for candidate in minimal if candidate != found)[:SHOWN]
        if cost >= below and (self.question.costs or not self.is_closed(len(found))):
            return Result(found, status, proven, others)
        shares = criticality(minimal, len(self.question.history))
        changing = None if self.question.costs else frozenset(minimal)
        return Result(found, status, proven, others, len(minimal), shares, changing=changing)

    def _is_irreducible(self, candidate: Candidate) -> bool:
        """Whether every set with one position less was tested, and none of them changes the answer."""
        smaller = (some for some in combinations(candidate, len(candidate) - 1) if some)
        return all(self.gaps.get(some, inf) <= 0 for some in smaller)

    def _untested_cost(self, n_closed: int) -> float:
        """Return the least that a set of more than `n_closed` positions may cost."""
        costs = self.question.costs or (1.0,) * len(self.question.history)
        cheapest = sorted(costs[position] for position in self.question.removable)
        return fsum(cheapest[: n_closed + 1]) if n_closed < self.question.most else inf


def criticality(minimal: Sequence[Candidate], length: int) -> tuple[float, ...]:
    """Return, for each position of a history, the share of the minimal sets that hold it."""
    n_holding = np.bincount([position for candidate in minimal for position in candidate], minlength=length)
    return tuple(float(share) for share in n_holding / len(minimal))


def null_sets(size: int, removable: Sequence[int], rng: np.random.Generator) -> list[Candidate]:
    """Return the random sets that `null_rate` is the share of: all where at most 1,000 exist, else 200 distinct."""
    if comb(len(removable), size) <= 1000:
        return list(combinations(removable, size))
    chosen: dict[Candidate, None] = {}
    while len(chosen) < 200:
        drawn = rng.choice(len(removable), size, replace=False)
        chosen[tuple(sorted(removable[place] for place in drawn))] = None
    return list(chosen)

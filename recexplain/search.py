"""The order in which removals are tried, and what a search has shown when it stops.

A search is a generator: it yields candidates and is sent their verdicts, so that whoever drives it can pack the
candidates of several people into one batch. Verdicts for fewer candidates than were yielded mean that the budget is
spent.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest
from math import comb

import numpy as np

from recexplain.causal.pds import LegalSet
from recexplain.counterfactual import Candidate


@dataclass(frozen=True)
class Result:
    """What a search found, and how much it has tested."""

    candidate: Candidate | None  # verified; None: nothing found
    status: str  # optimal, irreducible, found, none_up_to or budget
    proven_size: int  # all sets up to this size were tested without success


Search = Generator[Sequence[Candidate], Sequence[bool], Result]


def smallest_first(levels: Iterable[Sequence[Candidate]], removable: Sequence[int]) -> Search:
    """Search levels of candidates, each of one size, ascending: the first success of the first level that has one.

    A level is finished even after a success, so that cost and certificate do not depend on the batch size.
    """
    tested: set[Candidate] = set()
    most = len(removable) - 1  # a removal never empties a history
    for level in levels:
        answers = yield level
        tested.update(level[: len(answers)])
        found = next((candidate for candidate, changes in zip(level, answers, strict=False) if changes), None)
        if found is not None:
            return certify(found, tested, removable)
        if len(answers) < len(level):
            return Result(None, "budget", _proven_size(tested, removable, most))
    return Result(None, "none_up_to", _proven_size(tested, removable, most))


def certify(found: Candidate, tested: set[Candidate], removable: Sequence[int]) -> Result:
    """Return a found set with the strongest status that the tested sets support; none smaller changed the answer."""
    size = len(found)
    proven = _proven_size(tested, removable, size - 1)
    if proven == size - 1:
        return Result(found, "optimal", proven)
    if all(smaller in tested for smaller in combinations(found, size - 1)):
        return Result(found, "irreducible", proven)
    return Result(found, "found", proven)


def null_sets(size: int, removable: Sequence[int], rng: np.random.Generator) -> list[Candidate]:
    """Return the random sets that `null_rate` is the share of: all where at most 1,000 exist, else 200 distinct."""
    if comb(len(removable), size) <= 1000:
        return list(combinations(removable, size))
    chosen: dict[Candidate, None] = {}
    while len(chosen) < 200:
        drawn = rng.choice(len(removable), size, replace=False)
        chosen[tuple(sorted(removable[place] for place in drawn))] = None
    return list(chosen)


def merged_levels(graphs: Sequence[Iterator[Sequence[LegalSet]]], first: int) -> Iterator[list[Candidate]]:
    """Yield the legal sets of several graphs as candidates, size by size: nearest first, then by graph.

    A set that several graphs give counts once, where it comes first. Node i is position `first + i`.
    """
    for level in zip_longest(*graphs, fillvalue=()):
        ranked = sorted(
            (legal.distance, graph, place, legal.nodes)
            for graph, sets in enumerate(level)
            for place, legal in enumerate(sets)
        )
        yield list(dict.fromkeys(tuple(node + first for node in nodes) for *_, nodes in ranked))


def _proven_size(tested: set[Candidate], removable: Sequence[int], most: int) -> int:
    """Return the largest size, `most` at the most, up to which every set is among the tested."""
    by_size = np.bincount([len(candidate) for candidate in tested], minlength=most + 2)
    size = 0
    while size < most and by_size[size + 1] == comb(len(removable), size + 1):
        size += 1
    return size

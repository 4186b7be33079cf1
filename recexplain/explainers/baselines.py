"""What `causal` is compared with, on the same account of evaluations: every set, and simple orders of removal.

An order is followed greedily: the shortest of its prefixes that changes the answer is pruned until no item can be
spared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar, TypeVar

import networkx as nx
import numpy as np

from recexplain.counterfactual import Candidate, Question
from recexplain.errors import OptionError, is_whole
from recexplain.explainers.graphs import checked_attention
from recexplain.recommender import AttentiveRecommender, Recommender, id_of, without_attention
from recexplain.search import Ledger, Search, Step
from recexplain.steps import greedy_prefix, levels_until_found, pruned, searched, strongest_first
from recexplain.verdicts import measured, measured_alone

Graphs = Sequence[nx.DiGraph]  # none: these explainers have no graphs

T = TypeVar("T")


@dataclass(frozen=True)
class Exhaustive:
    """Every set, smallest first, older positions first, up to the end of the first size that holds a change."""

    name: ClassVar[str] = "exhaustive"

    max_size: int | None = 3  # the largest sets that are tried; None: all

    def __post_init__(self) -> None:
        if self.max_size is not None and not is_whole(self.max_size, 1):
            raise OptionError(f"max_size must be a whole number of 1 or more, or null for all, not {self.max_size!r}")

    def search(self, _: Recommender, question: Question, __: Graphs = (), /) -> Search:
        """Return the search over all sets."""
        most = question.most if self.max_size is None else min(self.max_size, question.most)
        ledger = Ledger(question)
        return searched(ledger, levels_until_found(ledger, _all_sets(question.removable, most)))


@dataclass(frozen=True)
class Occlusion:
    """The item first whose removal alone leaves the largest gap (leave-one-out)."""

    name: ClassVar[str] = "occlusion"

    def search(self, _: Recommender, question: Question, __: Graphs = (), /) -> Search:
        """Return the search; every single item is tested first."""
        ledger = Ledger(question)
        return searched(ledger, self._steps(ledger))

    def order(self, recommender: Recommender, question: Question) -> list[int]:
        """Return the removable positions in this order; of equal gaps the older first."""
        ranked = carried_out(recommender, question, self._ranked(Ledger(question)))
        return [position for (position,) in ranked]

    def _steps(self, ledger: Ledger) -> Step[None]:
        yield from ledger.test(_singles(ledger.question))
        if not ledger.changing:
            by_effect = yield from self._ranked(ledger)
            yield from _in_order(ledger, [position for (position,) in by_effect])

    def _ranked(self, ledger: Ledger) -> Step[list[Candidate]]:
        singles = _singles(ledger.question)
        yield from ledger.test(singles)
        ranked = yield from strongest_first(ledger, singles)
        return ranked


@dataclass(frozen=True)
class Attention:
    """The item first that the target attends to most, on average over the heads of the deepest layer."""

    name: ClassVar[str] = "attention"

    def search(self, recommender: Recommender, question: Question, _: Graphs = (), /) -> Search:
        """Return the search."""
        return followed(question, self.order(recommender, question))

    def order(self, recommender: Recommender, question: Question) -> list[int]:
        """Return the removable positions in this order; what the attention does not show comes last, newest first."""
        if not isinstance(recommender, AttentiveRecommender):
            raise without_attention(self.name, recommender)
        weights = checked_attention(recommender, question)[-1].mean(0)[-1, :-1]
        first = len(question.history) - len(weights)
        weight = {first + place: float(share) for place, share in enumerate(weights)}
        return sorted(question.removable, key=lambda p: (-weight.get(p, -1.0), -p))


@dataclass(frozen=True)
class Recency:
    """The newest item first."""

    name: ClassVar[str] = "recency"

    def search(self, recommender: Recommender, question: Question, _: Graphs = (), /) -> Search:
        """Return the search."""
        return followed(question, self.order(recommender, question))

    def order(self, _: Recommender, question: Question) -> list[int]:
        """Return the removable positions in this order."""
        return sorted(question.removable, reverse=True)


@dataclass(frozen=True)
class Random:
    """Any item first: the order comes from the seed and the user."""

    name: ClassVar[str] = "random"

    def search(self, recommender: Recommender, question: Question, _: Graphs = (), /) -> Search:
        """Return the search."""
        return followed(question, self.order(recommender, question))

    def order(self, _: Recommender, question: Question) -> list[int]:
        """Return the removable positions in this order."""
        order: list[int] = question.rng("random").permutation(np.array(question.removable)).tolist()
        return order


@dataclass(frozen=True)
class Popularity:
    """The item first that most people took, of equal ones the newest."""

    name: ClassVar[str] = "popularity"

    counts: Mapping[str, int] | None = None  # item id -> how often it was taken; the command line counts its data

    def search(self, recommender: Recommender, question: Question, _: Graphs = (), /) -> Search:
        """Return the search; `OptionError` without counts."""
        return followed(question, self.order(recommender, question))

    def order(self, recommender: Recommender, question: Question) -> list[int]:
        """Return the removable positions in this order; `OptionError` without counts."""
        if self.counts is None:
            raise OptionError(
                "the explainer popularity needs to know how often each item was taken: Popularity(counts={item id: n})"
            )
        taken = {p: self.counts.get(id_of(recommender, int(question.history[p])), 0) for p in question.removable}
        return sorted(taken, key=lambda p: (-taken[p], -p))


def carried_out(recommender: Recommender, question: Question, step: Step[T]) -> T:
    """Return what a step comes to that is taken on its own, whatever the budget."""
    try:
        request = next(step)
        while True:
            asked = [(question, candidate) for candidate in request.candidates]
            gaps = measured_alone(recommender, asked) if request.again else measured(recommender, asked)
            request = step.send(gaps.tolist())
    except StopIteration as stopped:
        result: T = stopped.value
    return result


def _singles(question: Question) -> list[Candidate]:
    return [(position,) for position in question.removable]


def followed(question: Question, order: Sequence[int]) -> Search:
    """Return the search that follows an order of the removable positions."""
    ledger = Ledger(question)
    result = yield from searched(ledger, _in_order(ledger, order))
    return replace(result, order=tuple(order))


def _in_order(ledger: Ledger, order: Sequence[int]) -> Step[None]:
    found = yield from greedy_prefix(ledger, order)
    if found is not None:
        yield from pruned(ledger, found, order)


def _all_sets(removable: Candidate, most: int) -> Iterator[Iterable[Candidate]]:
    return (combinations(removable, size) for size in range(1, most + 1))

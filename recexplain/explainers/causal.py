"""The causal graph gives the order, enumeration the proof; where that is too long, a beam gives the set."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import ClassVar

import networkx as nx

from recexplain.counterfactual import Candidate, Question
from recexplain.errors import OptionError, is_whole
from recexplain.explainers.graphs import GraphOptions
from recexplain.recommender import AttentiveRecommender, Recommender
from recexplain.search import Ledger, Search, Step
from recexplain.steps import beam, cheapest_first, greedy_prefix, pruned, searched, sets_by_rank, strongest_first

WIDTHS = (1, 4, 16)  # of the beams, one after the other
POOL = 16  # positions of the largest effects that a beam grows by at the least


@dataclass(frozen=True)
class Causal(GraphOptions):
    """Tests the sets of each size as near as their items are in the causal graphs, and closes one size after another.

    Closed sizes are the proof. A size is closed only if that fits into the budget and needs no more than `max_sets`
    evaluations. Before size 3, and where a size cannot be closed, some set is made greedily, newest items first and
    then those with the largest effect when removed alone, and pruned until no item can be spared; beams, ever wider,
    that start from the strongest sets of the last closed size look for a smaller one. A recommender without attention
    has no graph: then items come newest first.
    """

    name: ClassVar[str] = "causal"

    max_sets: int = 20_000  # a size with more sets than this is not closed: 3 of 50 items, 2 of 200 are

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_whole(self.max_sets, 1):
            raise OptionError(f"max_sets must be a whole number of 1 or more, not {self.max_sets!r}")

    def graphs(self, recommender: Recommender, question: Question, /) -> tuple[nx.DiGraph, ...]:
        """Return the PAGs over the items beside the target and, last, the target; none without attention."""
        if not isinstance(recommender, AttentiveRecommender):
            return ()
        return self.learnt(recommender, question)

    def search(self, _: Recommender, question: Question, graphs: Sequence[nx.DiGraph], /) -> Search:
        """Return the search for the smallest set, or, where removals have costs, the cheapest."""
        ledger = Ledger(question)
        return searched(ledger, self._steps(ledger, self.nearest_first(question, graphs)))

    def head_of(self, candidate: Candidate, question: Question, graphs: Sequence[nx.DiGraph], /) -> int:
        """Return the head in whose graph the candidate is nearest to the target in sum, then the lower head."""
        far = len(question.history)
        sums = []
        for graph in graphs:
            near = self.distances(question, graph)
            sums.append(sum(near.get(position, far) for position in candidate))
        return sums.index(min(sums))

    def nearest_first(self, question: Question, graphs: Sequence[nx.DiGraph]) -> list[int]:
        """Return the removable positions by their distance from the target in the nearest graph, then newest first."""
        far = len(question.history)
        near = dict.fromkeys(question.removable, far)
        for graph in graphs:
            for position, distance in self.distances(question, graph).items():
                if position in near:
                    near[position] = min(near[position], distance)
        return sorted(near, key=lambda position: (near[position], -position))

    def _steps(self, ledger: Ledger, nearest: Sequence[int]) -> Step[None]:
        question, newest = ledger.question, sorted(nearest, reverse=True)
        if ledger.left < 2 * len(nearest) or question.options.max_seconds is not None:
            yield from self._greedy(ledger, newest)  # the single items might spend most of it, or the pairs all
        yield from ledger.test((position,) for position in nearest)
        if any(len(candidate) == 1 for candidate in ledger.changing) and not question.costs:
            return
        by_effect = yield from strongest_first(ledger, [(position,) for position in nearest])
        strongest = [position for (position,) in by_effect]
        if question.costs:
            yield from self._greedy(ledger, newest, strongest)
            yield from cheapest_first(ledger, self.max_sets)
            return
        for size in range(2, question.most + 1):
            if size == 3 or not self._can_close(ledger, size):
                yield from self._greedy(ledger, newest, strongest)
                yield from self._widening(ledger, size - 1, strongest)
            if not self._can_close(ledger, size):
                return
            yield from ledger.test(sets_by_rank(nearest, size))
            if ledger.found is not None and len(ledger.found) <= size:
                return

    def _greedy(self, ledger: Ledger, *orders: Sequence[int]) -> Step[None]:
        """Find some set that no item can be spared of, in each of the orders."""
        for order in orders:
            found = yield from greedy_prefix(ledger, order)
            if found is not None:
                yield from pruned(ledger, found, order)

    def _widening(self, ledger: Ledger, size: int, order: Sequence[int]) -> Step[None]:
        """Look for a smaller set with ever wider beams from a closed size, as long as the budget covers their way."""
        for width in WIDTHS:
            largest = ledger.question.most if ledger.found is None else len(ledger.found) - 1
            if largest <= size:
                return
            per_level = min(ledger.left, self.max_sets) // (width * (largest - size))
            if width > 1 and per_level < POOL:
                return
            pool = order[: int(max(POOL, min(per_level, len(order))))]
            yield from beam(ledger, size, pool, width=width, largest=largest)
            if ledger.found is not None:
                yield from pruned(ledger, ledger.found, order)

    def _can_close(self, ledger: Ledger, size: int) -> bool:
        """Whether every set of a size can be tested, with something left for what comes next."""
        n_items, n_open = len(ledger.question.removable), ledger.n_open(size)
        is_last = size == ledger.question.most or (ledger.found is not None and size == len(ledger.found))
        return comb(n_items, size) <= self.max_sets and n_open + (0 if is_last else 2 * n_items) <= ledger.left

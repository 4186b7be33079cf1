"""The steps that searches are made of: whole levels, greedy prefixes, beams, pruning to what cannot be spared.

Every step is a generator of requests, as a search is. No order depends on how rounding fell in a batch: where gaps are
too near to each other, those histories are scored again one at a time.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from math import fsum

import numpy as np

from recexplain.counterfactual import CLOSE, Candidate, Question
from recexplain.search import CHUNK, Ledger, Request, Search, Spent, Step

FAR = 1e30  # gaps beyond are taken for it: an infinite one has no distance to another


def searched(ledger: Ledger, steps: Step[None]) -> Search:
    """Return the search that takes the steps, as far as the budget lets it."""
    try:
        yield from steps
    except Spent:
        return ledger.result(spent=True)
    return ledger.result(spent=False)


def levels_until_found(ledger: Ledger, levels: Iterable[Iterable[Candidate]]) -> Step[None]:
    """Test levels of candidates, each of one size, up to the end of the first that holds a change."""
    for level in levels:
        yield from ledger.test(level)
        if ledger.changing:
            return


def sets_by_rank(order: Sequence[int], size: int) -> Iterator[Candidate]:
    """Yield all sets of a size of the ordered positions: by the sum of their places in the order, then the earlier."""
    places = np.array(list(combinations(range(len(order)), size)))
    positions = np.sort(np.asarray(order)[places], axis=1)
    for row in np.argsort(places.sum(1), kind="stable"):
        yield tuple(positions[row].tolist())


def strongest_first(ledger: Ledger, candidates: Iterable[Candidate], count: int | None = None) -> Step[list[Candidate]]:
    """Return the `count` tested candidates that leave the largest gaps, largest first; by default all of them.

    Neighbours in this order that are nearer than rounding may move them are scored again, alone, and ordered by that;
    equal ones stay in the order given.
    """
    gap = {candidate: float(np.clip(ledger.gaps[candidate], -FAR, FAR)) for candidate in candidates}
    given = {candidate: place for place, candidate in enumerate(gap)}
    ranked = sorted(gap, key=lambda candidate: -gap[candidate])
    blur = CLOSE * ledger.question.scale
    ends = [i for i, (a, b) in enumerate(pairwise(ranked), start=1) if gap[a] - gap[b] >= blur]
    ordered: list[Candidate] = []
    for start, end in pairwise([0, *ends, len(ranked)]):
        if count is not None and start >= count:
            break
        near = ranked[start:end]
        unknown = [candidate for candidate in near if candidate not in ledger.alone] if len(near) > 1 else []
        if unknown:
            ledger.alone.update(zip(unknown, (yield Request(unknown, again=True)), strict=True))
        ordered += near if len(near) == 1 else sorted(near, key=lambda c: (-ledger.alone[c], given[c]))
    return ordered[:count]


def greedy_prefix(ledger: Ledger, order: Sequence[int]) -> Step[Candidate | None]:
    """Return the shortest prefix of the order that changes the answer, or None; ever longer stretches are tested."""
    start, stretch = 1, 2
    while start <= ledger.question.most:
        stop = min(start + stretch, ledger.question.most + 1)
        prefixes = [tuple(sorted(order[:size])) for size in range(start, stop)]
        yield from ledger.test(prefixes)
        found = next((prefix for prefix in prefixes if ledger.gaps[prefix] > 0), None)
        if found is not None:
            return found
        start, stretch = stop, 2 * stretch
    return None


def pruned(ledger: Ledger, found: Candidate, order: Sequence[int]) -> Step[Candidate]:
    """Return an irreducible part of a set that changes the answer: the dearest, then the last of the order, go first.

    Each round tests what is left without each position, and then without ever more of those that can be spared alone.
    """
    place = {position: number for number, position in enumerate(order)}
    cost = ledger.question.cost
    while len(found) > 1:
        yield from ledger.test(combinations(found, len(found) - 1))
        spared = [p for p in found if ledger.gaps[tuple(q for q in found if q != p)] > 0]
        if not spared:
            break
        spared.sort(key=lambda p: (-cost((p,)), -place[p]))
        less = [tuple(q for q in found if q not in spared[:n]) for n in range(1, len(spared) + 1)]
        less = [candidate for candidate in less if candidate]
        yield from ledger.test(less)
        found = next(candidate for candidate in reversed(less) if ledger.gaps[candidate] > 0)
    return found


def beam(ledger: Ledger, size: int, pool: Sequence[int], *, width: int, largest: int) -> Step[None]:
    """Grow the `width` strongest tested sets of a size by a position of the pool, until one changes the answer.

    No set of more than `largest` positions is tested.
    """
    level = [candidate for candidate in ledger.gaps if len(candidate) == size]
    while size < largest and level:
        strongest = yield from strongest_first(ledger, level, width)
        size += 1
        level = sorted({tuple(sorted((*some, p))) for some in strongest for p in pool if p not in some})
        yield from ledger.test(level)
        if any(ledger.gaps[candidate] > 0 for candidate in level):
            return


def cheapest_first(ledger: Ledger, most_sets: float) -> Step[None]:
    """Test sets in the order of their cost until the cheapest that changes the answer is known, with its equals.

    At most so many sets are looked at.
    """
    question, pending, level_cost = ledger.question, list[Candidate](), 0.0
    for number, (cost, candidate) in enumerate(sets_by_cost(question)):
        if cost > level_cost or len(pending) == CHUNK:
            yield from ledger.test(pending)
            pending = []
        if cost > level_cost:
            level_cost = ledger.below = cost
            if ledger.found and question.cost(ledger.found) < cost:
                return
        if number >= most_sets:
            return
        pending.append(candidate)
    yield from ledger.test(pending)
    ledger.below = np.inf


def sets_by_cost(question: Question) -> Iterator[tuple[float, Candidate]]:
    """Yield every set that may be removed with its cost, cheapest first, made only as they are needed."""
    costs, most = question.costs, question.most
    order = sorted(question.removable, key=lambda position: (costs[position], position))

    def entry(places: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        return fsum(costs[order[place]] for place in places), places

    waiting = [entry((0,))]
    while waiting:
        cost, places = heapq.heappop(waiting)
        if len(places) <= most:
            yield cost, tuple(sorted(order[place] for place in places))
        if places[-1] + 1 < len(order):
            heapq.heappush(waiting, entry((*places[:-1], places[-1] + 1)))
            if len(places) < most:
                heapq.heappush(waiting, entry((*places, places[-1] + 1)))

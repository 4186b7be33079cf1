"""The steps of a search, each by hand and against plain answers."""

from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from math import inf
from typing import Any

import numpy as np
import pytest
from test_search import question

from recexplain.counterfactual import CLOSE, Candidate
from recexplain.search import Ledger
from recexplain.steps import (
    beam,
    cheapest_first,
    greedy_prefix,
    pruned,
    sets_by_cost,
    sets_by_rank,
    strongest_first,
)


def returned(steps: Any, gap: Callable[[Candidate], float], alone: Callable[[Candidate], float] | None = None) -> Any:
    """Drive steps with gaps; what they return, what was tested, and what was scored again alone."""
    tested: list[Candidate] = []
    again: list[Candidate] = []
    try:
        request = next(steps)
        while True:
            (again if request.again else tested).extend(request.candidates)
            answer = (alone or gap) if request.again else gap
            request = steps.send([answer(candidate) for candidate in request.candidates])
    except StopIteration as stopped:
        return stopped.value, tested, again


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sets_come_by_the_sum_of_their_places(size: int) -> None:
    order = [5, 2, 9, 7]
    place = {position: number for number, position in enumerate(order)}
    found = list(sets_by_rank(order, size))
    assert sorted(found) == sorted(combinations(sorted(order), size))
    sums = [sum(place[position] for position in candidate) for candidate in found]
    assert sums == sorted(sums)
    assert found[0] == tuple(sorted(order[:size]))
    assert all(list(candidate) == sorted(candidate) for candidate in found)


def singles(ledger: Ledger, gaps: Sequence[float]) -> list[Candidate]:
    candidates = [(position,) for position in ledger.question.removable]
    returned(ledger.test(candidates), lambda c: gaps[c[0] - 2])
    return candidates


def test_the_strongest_come_first_and_equal_ones_as_given() -> None:
    ledger = Ledger(question(4))
    candidates = singles(ledger, [-1, -0.5, -1, 2])
    assert returned(strongest_first(ledger, candidates), lambda _: -1)[0] == [(5,), (3,), (2,), (4,)]
    assert returned(strongest_first(ledger, candidates[::-1]), lambda _: -1)[0] == [(5,), (3,), (4,), (2,)]
    assert returned(strongest_first(ledger, candidates, 2), lambda _: -1)[0] == [(5,), (3,)]
    assert returned(strongest_first(ledger, []), lambda _: -1)[0] == []


@pytest.mark.parametrize("wobble", list(permutations([0, 0.3 * CLOSE, -0.3 * CLOSE, 0.1 * CLOSE])))
def test_rounding_in_a_batch_decides_no_order(wobble: Sequence[float]) -> None:
    """The true gaps are 0, 0.1, 0.2 and 30 times `CLOSE`: three are nearer than rounding may move them."""
    true = [0, 0.1 * CLOSE, 0.2 * CLOSE, 30 * CLOSE]
    ledger = Ledger(question(4))
    candidates = singles(ledger, [a + b for a, b in zip(true, wobble, strict=True)])
    order, tested, again = returned(strongest_first(ledger, candidates), lambda _: inf, lambda c: true[c[0] - 2])
    assert order == [(5,), (4,), (3,), (2,)]
    assert (tested, sorted(again)) == ([], [(2,), (3,), (4,)])
    repeated = returned(strongest_first(ledger, candidates), lambda _: inf, lambda _: inf)
    assert repeated == (order, [], [])  # nothing twice
    assert returned(strongest_first(ledger, candidates, 1), lambda _: inf)[2] == []


def test_infinite_gaps_have_an_order_too() -> None:
    ledger = Ledger(question(4))
    candidates = singles(ledger, [-inf, inf, -inf, 0])
    assert returned(strongest_first(ledger, candidates), lambda _: 0.0)[0] == [(3,), (5,), (2,), (4,)]


@pytest.mark.parametrize("needed", range(1, 9))
def test_the_shortest_prefix_is_found_in_few_tests(needed: int) -> None:
    ledger = Ledger(question(8))
    order = [9, 2, 8, 3, 7, 4, 6, 5]
    found, tested, _ = returned(greedy_prefix(ledger, order), lambda c: 1.0 if len(c) >= needed else -1.0)
    assert found == (tuple(sorted(order[:needed])) if needed < 8 else None)  # a removal never empties a history
    assert len(tested) <= max(2, 2 * needed + 2)


@pytest.mark.parametrize("needed", [{2}, {4, 7}, {2, 3, 9}, {3, 4, 5, 6, 7, 8}])
def test_a_set_is_pruned_to_what_cannot_be_spared(needed: set[int]) -> None:
    ledger = Ledger(question(9))
    found = tuple(range(2, 10))
    changes = lambda c: 1.0 if needed <= {*c} else -1.0  # noqa: E731  short
    returned(ledger.test([found]), changes)
    left, tested, _ = returned(pruned(ledger, found, range(2, 11)), changes)
    assert left == tuple(sorted(needed))
    assert set(combinations(left, len(left) - 1)) - {()} <= set(ledger.gaps)
    assert len(tested) < 60


def test_what_is_pruned_first_is_dear_then_late_in_the_order() -> None:
    changes = lambda c: 1.0 if len(c) >= 2 else -1.0  # noqa: E731  short
    for costs, left in [((), (2, 4)), ((1, 1, 1, 1, 9, 1), (2, 5)), ((1, 1, 9, 1, 1, 1), (4, 5))]:
        ledger = Ledger(question(4, costs=costs))
        assert returned(pruned(ledger, (2, 3, 4, 5), [4, 2, 5, 3]), changes)[0] == left


def test_a_beam_finds_what_the_strongest_grow_to_and_stays_below_the_largest() -> None:
    strength = {2: 0.1, 3: 0.5, 4: 0.2, 5: 0.4, 6: 0.3}
    gap = lambda c: sum(strength[p] for p in c) - 1.1  # noqa: E731  short
    for width, largest, expected in [(1, 4, (3, 5, 6)), (9, 4, (3, 5, 6)), (1, 2, None)]:
        ledger = Ledger(question(5))
        returned(ledger.test([(p,) for p in range(2, 7)]), gap)
        _, tested, _ = returned(beam(ledger, 1, range(2, 7), width=width, largest=largest), gap)
        assert max(map(len, tested)) <= largest
        assert ledger.found == expected or (expected and expected in ledger.changing)
        assert (width > 1) == (len([c for c in tested if len(c) == 2]) > 4)


def test_a_beam_grows_by_the_pool_only() -> None:
    ledger = Ledger(question(5))
    returned(ledger.test([(p,) for p in range(2, 7)]), lambda c: -c[0])
    _, tested, _ = returned(beam(ledger, 1, [4, 6], width=2, largest=3), lambda c: -sum(c))
    assert set(tested) == {(2, 4), (2, 6), (3, 4), (3, 6), (2, 4, 6), (3, 4, 6), (2, 3, 4)} - {(2, 3, 4), (3, 4, 6)} | (
        {c for c in tested if len(c) == 3}
    )
    assert all({*c} - {2, 3} <= {4, 6} for c in tested)


@pytest.mark.parametrize("seed", range(6))
def test_sets_by_cost_are_all_of_them_cheapest_first(seed: int) -> None:
    draw = np.random.default_rng(seed)
    costs = tuple(float(cost) for cost in draw.choice([0.1, 0.2, 0.3, 0.7, 1.0], 7))
    asked = question(5, costs=costs)
    found = list(sets_by_cost(asked))
    assert [cost for cost, _ in found] == sorted(cost for cost, _ in found)
    assert all(cost == asked.cost(candidate) for cost, candidate in found)
    every = [c for size in range(1, 5) for c in combinations(asked.removable, size)]
    assert sorted(candidate for _, candidate in found) == sorted(every)


@pytest.mark.parametrize("seed", range(8))
def test_the_cheapest_is_found_with_its_equals_and_nothing_dearer_is_tested(seed: int) -> None:
    draw = np.random.default_rng(seed)
    asked = question(5, costs=tuple(float(cost) for cost in draw.choice([0.5, 1.0, 1.5], 7)))
    every = [c for size in range(1, 5) for c in combinations(asked.removable, size)]
    winning = {every[i] for i in draw.choice(len(every), 4, replace=False)}
    ledger = Ledger(asked)
    _, tested, _ = returned(cheapest_first(ledger, inf), lambda c: 1.0 if c in winning else -1.0)
    best = min(map(asked.cost, winning))
    assert set(tested) == {c for c in every if asked.cost(c) <= best}
    result = ledger.result(spent=False)
    assert (result.status, result.n_minimal) == ("optimal", sum(asked.cost(c) == best for c in winning))


def test_no_more_sets_are_made_than_allowed() -> None:
    ledger = Ledger(question(30, costs=(1.0,) * 32))
    _, tested, _ = returned(cheapest_first(ledger, 100), lambda _: -1.0)
    assert 30 <= len(tested) <= 100
    assert ledger.result(spent=False).status == "none_up_to"

"""The order of candidates, and what a search may claim when it stops."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, islice
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recexplain.causal.pds import LegalSet
from recexplain.counterfactual import Candidate
from recexplain.search import Result, merged_levels, null_sets, smallest_first

Level = Sequence[Candidate]


def run(
    levels: Iterable[Level], removable: Sequence[int], changes: Callable[[Candidate], bool], budget: int = 10**9
) -> tuple[Result, set[Candidate]]:
    """Drive a search with a budget of tests; its result, and what was tested."""
    search, tested = smallest_first(levels, removable), set()
    try:
        level = next(search)
        while True:
            part = level[: budget - len(tested)]
            tested |= set(part)
            level = search.send([changes(candidate) for candidate in part])
    except StopIteration as stopped:
        return stopped.value, tested


SINGLES = [(2,), (3,), (4,)]
PAIRS = [(2, 3), (2, 4), (3, 4)]
REMOVABLE = range(2, 5)


@pytest.mark.parametrize(
    ("levels", "winning", "budget", "expected"),
    [
        pytest.param([SINGLES, PAIRS], {(3,)}, 99, Result((3,), "optimal", 0), id="one item"),
        pytest.param([[(4,)], PAIRS], {(4,)}, 99, Result((4,), "optimal", 0), id="one item of some"),
        pytest.param([SINGLES, PAIRS], {(3, 4)}, 99, Result((3, 4), "optimal", 1), id="two, all singles tested"),
        pytest.param([SINGLES[:2], PAIRS], {(2, 3)}, 99, Result((2, 3), "irreducible", 0), id="its own singles tested"),
        pytest.param([SINGLES[:2], PAIRS], {(3, 4)}, 99, Result((3, 4), "found", 0), id="not all its singles tested"),
        pytest.param([[], PAIRS], {(3, 4)}, 99, Result((3, 4), "found", 0), id="no singles at all"),
        pytest.param([SINGLES, PAIRS], {(2, 3), (3, 4)}, 99, Result((2, 3), "optimal", 1), id="the first of a level"),
        pytest.param([SINGLES, PAIRS[::-1]], {(2, 3), (3, 4)}, 99, Result((3, 4), "optimal", 1), id="first in order"),
        pytest.param([SINGLES, PAIRS], set(), 99, Result(None, "none_up_to", 2), id="nothing, everything tested"),
        pytest.param(
            [SINGLES, PAIRS[:2]], set(), 99, Result(None, "none_up_to", 1), id="nothing, not all pairs tested"
        ),
        pytest.param([SINGLES[:2], PAIRS], set(), 99, Result(None, "none_up_to", 0), id="nothing, a single left out"),
        pytest.param([], set(), 99, Result(None, "none_up_to", 0), id="no candidates"),
        pytest.param([[]], set(), 99, Result(None, "none_up_to", 0), id="an empty level"),
        pytest.param([SINGLES, [], PAIRS], {(2, 3)}, 99, Result((2, 3), "optimal", 1), id="an empty level between"),
        pytest.param([SINGLES, PAIRS], {(2, 3)}, 3, Result(None, "budget", 1), id="budget at a level's end"),
        pytest.param([SINGLES, PAIRS], set(), 6, Result(None, "none_up_to", 2), id="budget at the very end"),
        pytest.param([SINGLES, PAIRS], {(3, 4)}, 5, Result(None, "budget", 1), id="budget before the winner"),
        pytest.param([SINGLES, PAIRS], {(2, 4)}, 5, Result((2, 4), "optimal", 1), id="budget at the winner"),
        pytest.param([SINGLES, PAIRS], {(2, 3)}, 4, Result((2, 3), "optimal", 1), id="budget after the winner"),
        pytest.param([SINGLES, PAIRS], {(2,)}, 0, Result(None, "budget", 0), id="no budget"),
        pytest.param([SINGLES, PAIRS], {(4,)}, 2, Result(None, "budget", 0), id="budget inside the singles"),
        pytest.param([SINGLES[:1], SINGLES[1:], PAIRS], {(2, 3)}, 99, Result((2, 3), "optimal", 1), id="split level"),
    ],
)
def test_a_result_by_hand(levels: list[Level], winning: set[Candidate], budget: int, expected: Result) -> None:
    assert run(levels, REMOVABLE, winning.__contains__, budget)[0] == expected


def test_a_level_is_tested_to_its_end_and_no_further() -> None:
    _, tested = run([SINGLES, PAIRS], REMOVABLE, {(2,)}.__contains__)
    assert tested == set(SINGLES)


def test_no_level_is_made_before_it_is_needed() -> None:
    def levels() -> Iterator[Level]:
        yield SINGLES
        raise AssertionError("not needed")

    assert run(levels(), REMOVABLE, {(3,)}.__contains__)[0].candidate == (3,)


@settings(deadline=None)
@given(data=st.data())
def test_no_claim_is_more_than_was_tested(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 5))
    removable = range(3, 3 + n)
    levels = []
    for size in range(1, n):
        every = list(combinations(removable, size))
        some = data.draw(st.one_of(st.just(every), st.lists(st.sampled_from(every), unique=True)))
        levels.append(data.draw(st.permutations(some)))
    winning = set(data.draw(st.lists(st.sampled_from([c for s in range(1, n) for c in combinations(removable, s)]))))
    budget = data.draw(st.integers(0, 40))
    result, tested = run(levels, removable, winning.__contains__, budget)
    offered = [candidate for level in levels for candidate in level]
    hits = [candidate for candidate in offered[:budget] if candidate in winning]
    assert result.candidate == (hits[0] if hits else None)
    assert tested == set(part_up_to(levels, result.candidate, budget))
    most = len(result.candidate) - 1 if result.candidate else n - 1
    closed = [size for size in range(1, n) if sum(len(c) == size for c in tested) == comb(n, size)]
    assert result.proven_size == max((s for s in range(most + 1) if set(range(1, s + 1)) <= set(closed)), default=0)
    if result.candidate is None:
        assert result.status == ("budget" if len(offered) > budget else "none_up_to")
    else:
        smaller = set(combinations(result.candidate, len(result.candidate) - 1))
        assert not any(candidate in winning for candidate in tested if len(candidate) < len(result.candidate))
        is_optimal = result.proven_size == len(result.candidate) - 1
        assert result.status == ("optimal" if is_optimal else "irreducible" if smaller <= tested else "found")


def part_up_to(levels: Sequence[Level], found: Candidate | None, budget: int) -> list[Candidate]:
    """What is tested: whole levels up to the one that has the first success, cut by the budget."""
    taken: list[Candidate] = []
    for level in levels:
        taken += level
        if found in level:
            break
    return taken[:budget]


def test_levels_of_several_graphs_are_merged_nearest_first_then_by_graph_each_set_once() -> None:
    first = [
        [LegalSet(1, (4,)), LegalSet(2, (0,)), LegalSet(2, (3,))],
        [LegalSet(3, (0, 4)), LegalSet(3, (3, 4))],
    ]
    second = [[LegalSet(1, (0,)), LegalSet(1, (1,)), LegalSet(2, (2,)), LegalSet(3, (4,))]]
    third = [[LegalSet(1, (0,))], [], [LegalSet(9, (0, 1, 2))]]
    levels = list(merged_levels([iter(first), iter(second), iter(third)], 10))
    assert levels == [
        [(14,), (10,), (11,), (13,), (12,)],  # 10 by its distance in the second graph
        [(10, 14), (13, 14)],
        [(10, 11, 12)],
    ]


def test_merged_levels_are_made_one_at_a_time() -> None:
    def endless() -> Iterator[list[LegalSet]]:
        yield [LegalSet(1, (0,))]
        raise AssertionError("not asked for")

    assert list(islice(merged_levels([endless()], 0), 1)) == [[(0,)]]
    assert list(merged_levels([], 0)) == []


@pytest.mark.parametrize(("n", "size"), [(10, 1), (1000, 1), (45, 2), (19, 3), (8, 7)])
def test_all_sets_are_random_sets_where_there_are_few(n: int, size: int) -> None:
    assert comb(n, size) <= 1000
    removable = range(5, 5 + n)
    assert null_sets(size, removable, np.random.default_rng(0)) == list(combinations(removable, size))


@pytest.mark.parametrize(("n", "size"), [(1001, 1), (46, 2), (50, 3), (60, 57)])
def test_two_hundred_random_sets_stand_for_many(n: int, size: int) -> None:
    removable = range(5, 5 + n)
    assert comb(n, size) > 1000
    drawn = null_sets(size, removable, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == 200
    assert all(len(some) == size and list(some) == sorted(set(some)) for some in drawn)
    assert all(position in removable for some in drawn for position in some)
    assert drawn == null_sets(size, removable, np.random.default_rng(0))
    assert drawn != null_sets(size, removable, np.random.default_rng(1))
    counts = np.bincount(np.array(drawn).ravel() - 5, minlength=n)
    assert abs(counts[: n // 2].sum() - counts[n - n // 2 :].sum()) < 6 * np.sqrt(200 * size)  # neither old nor new

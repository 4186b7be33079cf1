"""What a search may claim when it stops, and what it has counted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recexplain.counterfactual import Candidate, Options, Question
from recexplain.search import Ledger, Result, Search, null_sets
from recexplain.steps import levels_until_found, searched

Level = Sequence[Candidate]


def question(n: int, *, first: int = 2, **more: Any) -> Question:
    """A question with n removable positions from `first` on."""
    return Question(np.arange(1, first + n + 1), first, (99,), 99, **more)


def drive(search: Search, changes: Callable[[Candidate], bool], budget: int = 10**9) -> tuple[Result, list[Candidate]]:
    """Drive a search with a budget of tests; its result, and what was tested."""
    tested: list[Candidate] = []
    try:
        request = next(search)
        while True:
            part = request.candidates[: budget - len(tested)]
            tested += part
            request = search.send([1.0 if changes(candidate) else -1.0 for candidate in part])
    except StopIteration as stopped:
        return stopped.value, tested


def run(levels: Iterable[Level], n: int, changes: Callable[[Candidate], bool], budget: int = 10**9) -> Any:
    ledger = Ledger(question(n))
    return drive(searched(ledger, levels_until_found(ledger, levels)), changes, budget)


SINGLES = [(2,), (3,), (4,)]
PAIRS = [(2, 3), (2, 4), (3, 4)]


@pytest.mark.parametrize(
    ("levels", "winning", "budget", "expected"),
    [
        pytest.param([SINGLES, PAIRS], {(3,)}, 99, ((3,), "optimal", 0), id="one item"),
        pytest.param([[(4,)], PAIRS], {(4,)}, 99, ((4,), "optimal", 0), id="one item of some"),
        pytest.param([SINGLES, PAIRS], {(3, 4)}, 99, ((3, 4), "optimal", 1), id="two, all singles tested"),
        pytest.param([SINGLES[:2], PAIRS], {(2, 3)}, 99, ((2, 3), "irreducible", 0), id="its own singles tested"),
        pytest.param([SINGLES[:2], PAIRS], {(3, 4)}, 99, ((3, 4), "found", 0), id="not all its singles tested"),
        pytest.param([[], PAIRS], {(3, 4)}, 99, ((3, 4), "found", 0), id="no singles at all"),
        pytest.param([SINGLES, PAIRS], {(2, 3), (3, 4)}, 99, ((2, 3), "optimal", 1), id="the first of a level"),
        pytest.param([SINGLES, PAIRS[::-1]], {(2, 3), (3, 4)}, 99, ((3, 4), "optimal", 1), id="first in order"),
        pytest.param([SINGLES[:2], PAIRS[::-1]], {(2, 3), (3, 4)}, 99, ((2, 3), "irreducible", 0), id="the surer"),
        pytest.param([SINGLES, PAIRS], set(), 99, (None, "none_up_to", 2), id="nothing, everything tested"),
        pytest.param([SINGLES, PAIRS[:2]], set(), 99, (None, "none_up_to", 1), id="nothing, not all pairs tested"),
        pytest.param([SINGLES[:2], PAIRS], set(), 99, (None, "none_up_to", 0), id="nothing, a single left out"),
        pytest.param([], set(), 99, (None, "none_up_to", 0), id="no candidates"),
        pytest.param([[]], set(), 99, (None, "none_up_to", 0), id="an empty level"),
        pytest.param([SINGLES, [], PAIRS], {(2, 3)}, 99, ((2, 3), "optimal", 1), id="an empty level between"),
        pytest.param([SINGLES, PAIRS], {(2, 3)}, 3, (None, "budget", 1), id="budget at a level's end"),
        pytest.param([SINGLES, PAIRS], set(), 6, (None, "none_up_to", 2), id="budget at the very end"),
        pytest.param([SINGLES, PAIRS], {(3, 4)}, 5, (None, "budget", 1), id="budget before the winner"),
        pytest.param([SINGLES, PAIRS], {(2, 4)}, 5, ((2, 4), "optimal", 1), id="budget at the winner"),
        pytest.param([SINGLES, PAIRS], {(2, 3)}, 4, ((2, 3), "optimal", 1), id="budget after the winner"),
        pytest.param([SINGLES, PAIRS], {(2,)}, 0, (None, "budget", 0), id="no budget"),
        pytest.param([SINGLES, PAIRS], {(4,)}, 2, (None, "budget", 0), id="budget inside the singles"),
        pytest.param([SINGLES[:1], SINGLES[1:], PAIRS], {(2, 3)}, 99, ((2, 3), "optimal", 1), id="split level"),
        pytest.param([PAIRS, SINGLES], {(2, 3)}, 99, ((2, 3), "found", 0), id="larger sets first"),
    ],
)
def test_a_result_by_hand(levels: list[Level], winning: set[Candidate], budget: int, expected: Any) -> None:
    result = run(levels, 3, winning.__contains__, budget)[0]
    assert (result.candidate, result.status, result.proven_size) == expected


@pytest.mark.parametrize(
    ("levels", "winning", "alternatives", "n_minimal", "shares"),
    [
        ([SINGLES], {(2,), (4,)}, ((4,),), 2, (0, 0, 0.5, 0, 0.5)),
        ([SINGLES, PAIRS], {(2, 3), (3, 4)}, ((3, 4),), 2, (0, 0, 0.5, 1, 0.5)),
        ([SINGLES, PAIRS], {(2, 4)}, (), 1, (0, 0, 1, 0, 1)),
        ([SINGLES[:2], PAIRS], {(2, 3), (3, 4)}, ((3, 4),), 2, (0, 0, 0.5, 1, 0.5)),
        ([SINGLES, PAIRS[:2]], {(2, 3), (2, 4)}, ((2, 4),), None, ()),  # one pair was not tested
        ([SINGLES, PAIRS], set(), (), None, ()),
    ],
)
def test_minimal_sets_are_counted_where_all_of_their_size_were_tested(
    levels: list[Level], winning: set[Candidate], alternatives: Any, n_minimal: int | None, shares: Any
) -> None:
    result = run(levels, 3, winning.__contains__)[0]
    assert (result.alternatives, result.n_minimal, result.criticality) == (alternatives, n_minimal, shares)


def test_no_more_alternatives_are_held_than_are_shown_but_all_are_counted() -> None:
    singles = [(position,) for position in range(2, 302)]
    result = run([singles], 300, lambda _: True)[0]
    assert (result.n_minimal, result.alternatives) == (300, tuple(singles[1:101]))
    assert result.criticality == (0.0, 0.0, *[1 / 300] * 300)


def test_a_level_is_tested_to_its_end_and_no_further() -> None:
    assert run([SINGLES, PAIRS], 3, {(2,)}.__contains__)[1] == SINGLES


def test_no_level_is_made_before_it_is_needed() -> None:
    def levels() -> Iterator[Level]:
        yield SINGLES
        raise AssertionError("not needed")

    assert run(levels(), 3, {(3,)}.__contains__)[0].candidate == (3,)


def test_candidates_are_made_as_they_are_tested_and_none_twice() -> None:
    made = []

    def level() -> Iterator[Candidate]:
        for size in (1, 1, 2, 3):
            for candidate in combinations(range(2, 22), size):
                made.append(candidate)
                yield candidate

    ledger = Ledger(question(20))
    search = searched(ledger, ledger.test(level()))
    asked = next(search).candidates
    assert len(made) == 1024
    assert len(asked) == len(set(asked)) == 1024 - 20  # the singles come twice
    ledger = Ledger(question(20))
    result, tested = drive(searched(ledger, ledger.test(level())), lambda _: False)
    assert len(tested) == len(set(tested)) == 20 + comb(20, 2) + comb(20, 3)
    assert result.status == "none_up_to"


@settings(deadline=None)
@given(data=st.data())
def test_no_claim_is_more_than_was_tested(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 5))
    asked = (
        question(n, first=3, costs=tuple(data.draw(st.lists(st.sampled_from([0.5, 1, 1, 2]), min_size=8, max_size=8))))
        if data.draw(st.booleans())
        else question(n, first=3)
    )
    every = [c for size in range(1, n) for c in combinations(asked.removable, size)]
    order = data.draw(st.one_of(st.just(every), st.permutations(every), st.lists(st.sampled_from(every), unique=True)))
    winning = set(data.draw(st.lists(st.sampled_from(every))))
    budget = data.draw(st.integers(0, 40))
    ledger = Ledger(asked)
    result, tested = drive(searched(ledger, ledger.test(order)), winning.__contains__, budget)
    assert tested == order[:budget]
    hits = [candidate for candidate in tested if candidate in winning]
    cost = min(map(asked.cost, hits), default=None)
    assert (result.candidate in hits and asked.cost(result.candidate) == cost) if hits else result.candidate is None
    closed = [size for size in range(1, n) if sum(len(c) == size for c in tested) == comb(n, size)]
    clean = [size for size in closed if not any(len(c) == size for c in hits)]
    assert result.proven_size == max((s for s in range(n) if set(range(1, s + 1)) <= set(clean)), default=0)
    if result.candidate is None:
        assert result.status == ("budget" if len(order) > budget else "none_up_to")
        return
    cheaper = {candidate for candidate in every if asked.cost(candidate) < cost}
    equal = {candidate for candidate in every if asked.cost(candidate) == cost}
    smaller = {some for some in combinations(result.candidate, len(result.candidate) - 1) if some}
    if result.status == "optimal":
        assert cheaper <= set(tested)
    elif result.status == "irreducible":
        assert smaller <= set(tested) - winning
    else:
        assert not smaller <= set(tested) - winning
    if not asked.costs:
        assert (result.status == "optimal") == (cheaper <= set(tested))
        assert (result.n_minimal is not None) == (equal <= set(tested))
    if result.n_minimal is not None:
        assert equal <= set(tested)
        assert {result.candidate, *result.alternatives} == equal & winning
        assert result.n_minimal == len(equal & winning)


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


def test_the_options_of_the_question_tell_what_is_left() -> None:
    ledger = Ledger(question(4, options=Options(max_evaluations=3)))
    assert ledger.left == 3
    drive(searched(ledger, ledger.test([(2,), (3,)])), lambda _: False)
    assert (ledger.left, ledger.n_open(1), ledger.n_open(2)) == (1, 2, 6)
    assert Ledger(question(4)).left == np.inf

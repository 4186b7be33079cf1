"""One round of separation: what is asked, in which order, and what a removed edge changes."""

from itertools import combinations

import numpy as np
import pytest

from recexplain.causal.answers import Answers
from recexplain.causal.pag import ARROW, CIRCLE, MARKS, TAIL, Pag, bit_set
from recexplain.causal.pds import legal_sets, pds_tree, pds_walks
from recexplain.causal.skeleton import (
    _Candidates,
    separate_by_legal_sets,
    separated_by_neighbours,
    separated_by_nothing,
)

Planted = dict[tuple[int, int, tuple[int, ...]], float]


class Asked:
    """A test that knows some answers, calls all else dependent, and writes down what it is asked."""

    def __init__(self, known: Planted) -> None:
        self.known, self.questions = known, list[tuple[int, int, tuple[int, ...]]]()

    def __call__(self, x: int, y: int, z: tuple[int, ...] = ()) -> float:
        self.questions.append((x, y, z))
        return self.known.get((x, y, z), 0.0)


def star() -> Pag:
    pag = Pag(5)
    for v in range(1, 5):
        pag.connect(0, v)
    return pag


def random_pag(draw: np.random.Generator, share: float) -> Pag:
    pag = Pag(8)
    for x, y in combinations(range(8), 2):
        if draw.random() < share:
            pag.connect(x, y, *draw.choice([ARROW, *MARKS, *MARKS], 2).tolist())
    return pag


def no_copies(n: int) -> tuple[int, ...]:
    return (0,) * n


def test_pairs_that_nothing_separates_stay() -> None:
    test = Asked({(0, 2, ()): 0.5, (1, 3, ()): 0.01})
    pag = separated_by_nothing(Answers(4, test, 0.01))
    assert pag.edges() == [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert [question[:2] for question in test.questions] == list(combinations(range(4), 2))


@pytest.mark.parametrize(("is_frozen", "left"), [(False, [(0, 2)]), (True, [])])
def test_a_removed_neighbour_still_counts_in_a_frozen_round(is_frozen: bool, left: list[tuple[int, int]]) -> None:
    """Once 0-1 is gone, 1 is a neighbour of neither 0 nor 2."""
    pag = Pag(3)
    pag.connect(0, 1, ARROW, ARROW)
    pag.connect(0, 2, ARROW, ARROW)
    answers = Answers(3, Asked({(0, 1, (2,)): 0.5, (0, 2, (1,)): 0.5}), 0.01)
    after, found = separated_by_neighbours(pag, answers, is_frozen=is_frozen)
    assert found
    assert after.edges() == left
    assert pag.edges() == [(0, 1), (0, 2)]
    assert after.separating_set(0, 1) == (2,)


@pytest.mark.parametrize(("is_frozen", "left"), [(False, [(0, 2), (0, 3), (2, 3)]), (True, [(0, 2), (0, 3)])])
def test_a_removed_edge_still_counts_in_a_frozen_round(is_frozen: bool, left: list[tuple[int, int]]) -> None:
    """The walk 2, 0, 1 over the collider 0 makes {0, 1} legal around 2; 0-1 goes before 2-3 is looked at."""
    pag = Pag(4)
    pag.connect(0, 1, ARROW, CIRCLE)
    pag.connect(0, 2, ARROW, CIRCLE)
    pag.connect(0, 3)
    pag.connect(2, 3)
    answers = Answers(4, Asked({(0, 1, (2, 3)): 0.5, (2, 3, (0, 1)): 0.5}), 0.01)
    assert separate_by_legal_sets(pag, answers, 2, no_copies(4), pag.edges(), is_frozen=is_frozen)[0] == 4 - len(left)
    assert pag.edges() == left
    assert pag.separating_set(0, 1) == (2, 3)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_no_question_is_asked_twice(is_frozen: bool) -> None:
    test = Asked({})
    answers = Answers(5, test, 0.01)
    pag = Pag.complete(5)
    found = separate_by_legal_sets(pag, answers, 2, no_copies(5), pag.edges(), is_frozen=is_frozen)
    assert found == (0, pag.edges())
    assert len(test.questions) == len(set(test.questions)) == 10 * 3
    assert answers.n_tests == [0, 0, 30]


def test_no_sets_is_nothing_found() -> None:
    answers = Answers(5, Asked({}), 0.01)
    assert separate_by_legal_sets(star(), answers, 4, no_copies(5), star().edges(), is_frozen=False) == (0, [])
    assert answers.n_tests == []


def test_no_set_holds_copies() -> None:
    test = Asked({})
    copies = (0b00010, 0b00001, 0, 0, 0)
    pag = Pag.complete(5)
    separate_by_legal_sets(pag, Answers(5, test, 0.01), 2, copies, pag.edges(), is_frozen=False)
    assert test.questions
    assert not any({0, 1} <= {x, y, *z} for x, y, z in test.questions)


@pytest.mark.parametrize("size", [2, 3])
def test_what_is_kept_after_a_removal_is_what_would_be_computed_afresh(size: int) -> None:
    draw, n_sets = np.random.default_rng(size), 0
    for _ in range(60):
        pag = random_pag(draw, 0.5)
        kept = _Candidates(pag, size, no_copies(8), is_frozen=False)
        for x, y in draw.permutation(pag.edges())[:4].tolist():
            for pair in pag.edges():
                kept.of_pair(*pair)
            pag.separate(x, y, ())
            kept.forget(x, y)
            for pair in pag.edges():
                sets = kept.of_pair(*pair)
                assert sets == _Candidates(pag, size, no_copies(8), is_frozen=False).of_pair(*pair)
                n_sets += len(sets)
    assert n_sets > 500


def test_sets_hold_possible_ancestors_only() -> None:
    pag = star()
    pag.connect(0, 3, TAIL, ARROW)
    assert _Candidates(pag, 2, no_copies(5), is_frozen=False).of_pair(0, 1) == [(2, 4)]
    assert bit_set([2, 4]) == pag.possible_ancestors(0) & ~bit_set([0, 1])


@pytest.mark.parametrize("is_frozen", [False, True])
def test_no_root_is_given_up_that_has_a_set(is_frozen: bool) -> None:
    draw, n_given_up, n_sets = np.random.default_rng(0), 0, 0
    for _ in range(400):
        pag, size = random_pag(draw, 0.3), int(draw.integers(2, 5))
        root, allowed = int(draw.integers(8)), int(draw.integers(1 << 8))
        allowed &= ~(1 << root)
        sets = legal_sets((pds_walks if is_frozen else pds_tree)(pag, root, size), size, allowed=allowed)
        may_reach = _Candidates(pag, size, no_copies(8), is_frozen)._may_reach(root, allowed)
        assert may_reach or not sets
        n_given_up += not may_reach
        n_sets += bool(sets)
    assert min(n_given_up, n_sets) > 50

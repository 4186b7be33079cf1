"""Answers from arrays are those of the test itself, to the last tie and count."""

from collections.abc import Sequence
from itertools import combinations
from math import inf, nextafter

import numpy as np
import pytest

from recexplain.causal import answers as module
from recexplain.causal.answers import Answers, CorrelationAnswers
from recexplain.causal.independence import PartialCorrelation
from recexplain.causal.pag import bit_set, members


def random_matrix(seed: int, n: int = 9) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix = np.round((rows @ rows.T + np.eye(n)) / 2, 3)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray((matrix + matrix.T) / 2)


def both(matrix: np.ndarray, n_samples: int, alpha: float) -> tuple[Answers, CorrelationAnswers]:
    test = PartialCorrelation(matrix, n_samples)
    return Answers(len(matrix), test, alpha), CorrelationAnswers(test, alpha)


def decisions(answers: Answers, seed: int) -> Sequence[object]:
    draw = np.random.default_rng(seed)
    apart = [answers.apart(x) for x in range(answers.n)]
    found: list[object] = list(apart)
    for x, y in combinations(range(answers.n), 2):
        if not apart[x] >> y & 1:  # what arrays are made for
            others = draw.permutation([v for v in range(answers.n) if v not in (x, y)]).tolist()
            parts = bit_set(others[:3]), bit_set(others[3:6])
            found.append(answers.first_alone(x, y, *parts))
            found.append(answers.best_alone(x, y, bit_set(others[:5])))
            found.append(answers.first(x, y, [tuple(sorted(others[:2])), tuple(sorted(others[:3]))]))
    return [*found, answers.n_tests]


@pytest.mark.parametrize("n_samples", [2, 3, 4, 5, 20, 64, 1000])
@pytest.mark.parametrize("alpha", [1e-6, 0.01, 0.05, 0.5, 0.999])
def test_arrays_decide_as_the_test_does(n_samples: int, alpha: float) -> None:
    for seed in range(5):
        one, other = both(random_matrix(seed), n_samples, alpha)
        assert decisions(one, seed) == decisions(other, seed)


def test_a_tie_of_p_and_alpha_is_decided_alike() -> None:
    n_separating = 0
    for seed in range(3):
        matrix = random_matrix(seed)
        test = PartialCorrelation(matrix, 40)
        for x, y in ((0, 1), (2, 5)):
            for tied in (test(x, y), test(x, y, (3,)), test(x, y, (4,))):
                for alpha in (nextafter(tied, 0), tied, nextafter(tied, inf)):
                    if 0 < alpha < 1:
                        one, other = both(matrix, 40, alpha)
                        assert decisions(one, seed) == decisions(other, seed)
                        n_separating += 1
    assert n_separating > 20


def test_copies_separate_nothing() -> None:
    matrix = random_matrix(0)
    matrix[1], matrix[:, 1] = matrix[0], matrix[:, 0]
    matrix[1, 1] = matrix[0, 1] = matrix[1, 0] = 1.0
    one, other = both(matrix, 30, 0.05)
    assert decisions(one, 0) == decisions(other, 0)
    assert not other.apart(0) & 0b10
    assert other.first_alone(0, 1, 0b111111100, 0) is None


def test_the_size_of_a_chunk_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decisions(both(random_matrix(1), 40, 0.05)[1], 1)
    monkeypatch.setattr(module, "CHUNK", 1)
    assert decisions(both(random_matrix(1), 40, 0.05)[1], 1) == whole


@pytest.mark.parametrize("kind", [Answers, CorrelationAnswers])
def test_the_first_stops_and_the_best_has_the_largest_p(kind: type[Answers]) -> None:
    matrix = random_matrix(4)
    test = PartialCorrelation(matrix, 20)
    n_told_apart = 0
    for x, y in combinations(range(9), 2):
        nodes = [v for v in range(9) if v not in (x, y)]
        p = {v: test(x, y, (v,)) for v in nodes}
        separating = [v for v in nodes if p[v] > 0.1]
        if test(x, y) > 0.1 or not separating:
            continue
        answers = CorrelationAnswers(test, 0.1) if kind is CorrelationAnswers else Answers(9, test, 0.1)
        assert answers.first_alone(x, y, bit_set(nodes), 0) == (separating[0],)
        assert answers.n_tests == [0, nodes.index(separating[0]) + 1]
        best = max(separating, key=p.__getitem__)
        assert answers.best_alone(x, y, bit_set(nodes)) == (best,)
        assert answers.n_tests == [0, nodes.index(separating[0]) + 1 + len(nodes)]
        n_told_apart += best != separating[0]
    assert n_told_apart > 3


def test_of_equals_the_first_is_kept() -> None:
    answers = Answers(6, lambda _x, _y, _z=(): 0.5, 0.05)
    assert answers.best(0, 1, [(4, 5), (2, 3)]) == (4, 5)
    assert answers.best_alone(0, 1, bit_set([5, 3])) == (3,)
    assert members(answers.apart(3)) == (4, 5)
    assert answers.n_tests == [2, 2, 2]


def test_nothing_asked_is_nothing_counted() -> None:
    answers = Answers(3, lambda _x, _y, _z=(): 0.0, 0.05)
    assert answers.n_tests == []
    assert answers.first(0, 1, []) is answers.best(0, 1, []) is None
    assert answers.n_tests == []
    assert answers.first(0, 1, [(2,)]) is None
    assert answers.n_tests == [0, 1]

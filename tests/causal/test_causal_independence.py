"""The partial-correlation test, and the memory that any test can be given."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from recexplain.causal.independence import Independence, PartialCorrelation, Remembered, bit_sets
from recexplain.errors import OptionError


def random_correlation(seed: int, n: int = 7) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 2 * n))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix = rows @ rows.T
    np.fill_diagonal(matrix, 1.0)
    return (matrix + matrix.T) / 2


def by_precision(matrix: np.ndarray, n_samples: int, x: int, y: int, z: tuple[int, ...]) -> float:
    precision = np.linalg.inv(matrix[np.ix_([x, y, *z], [x, y, *z])])
    r = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    return float(2 * norm.sf(np.sqrt(n_samples - len(z) - 3) * abs(np.arctanh(r))))


def test_a_value_known_by_hand() -> None:
    matrix = np.array([[1.0, 0.5], [0.5, 1.0]])
    # atanh(0.5) = log(3) / 2 and sqrt(19 - 3) = 4: two tails beyond 2 log(3)
    assert PartialCorrelation(matrix, 19)(0, 1) == pytest.approx(2 * norm.sf(2 * np.log(3)), rel=1e-13)


def test_a_chain_is_independent_given_its_middle() -> None:
    chain = np.array([[1.0, 0.6, 0.36], [0.6, 1.0, 0.6], [0.36, 0.6, 1.0]])
    test = PartialCorrelation(chain, 100)
    assert test(0, 2) < 0.001
    assert test(0, 2, (1,)) == pytest.approx(1)


@pytest.mark.parametrize("size", range(5))
def test_closed_forms_equal_the_precision_matrix(size: int) -> None:
    for seed in range(20):
        matrix = random_correlation(seed)
        z = tuple(range(2, 2 + size))
        assert PartialCorrelation(matrix, 40)(0, 1, z) == pytest.approx(by_precision(matrix, 40, 0, 1, z), rel=1e-10)


def test_small_tails_are_not_lost() -> None:
    matrix = np.array([[1.0, 0.9], [0.9, 1.0]])
    assert 0 < PartialCorrelation(matrix, 100)(0, 1) < 1e-40


@given(st.integers(0, 10**6), st.integers(4, 60), st.permutations(range(7)), st.integers(0, 5))
def test_swapping_and_reordering_change_nothing(seed: int, n_samples: int, nodes: list[int], size: int) -> None:
    test = PartialCorrelation(random_correlation(seed), n_samples)
    x, y, z = nodes[0], nodes[1], tuple(nodes[2 : 2 + size])
    assert test(y, x, z[::-1]) == test(x, y, z)  # to the last bit


@given(st.integers(0, 10**6), st.permutations(range(6)))
def test_renumbering_the_rows_changes_nothing(seed: int, order: list[int]) -> None:
    matrix = random_correlation(seed, 6)
    renumbered = PartialCorrelation(matrix[np.ix_(order, order)], 30)
    expected = PartialCorrelation(matrix, 30)(order[0], order[1], (order[2], order[3]))
    assert renumbered(0, 1, (2, 3)) == expected  # to the last bit


@pytest.mark.parametrize("kind", ["any", "copies", "nearly copies", "equal sums"])
def test_two_nodes_are_taken_out_as_many_are(kind: str) -> None:
    for seed in range(40):
        matrix = random_correlation(seed)
        if kind in ("copies", "nearly copies"):
            matrix = matrix[np.ix_([0, 1, 2, 3, 3, 4, 0], [0, 1, 2, 3, 3, 4, 0])]
            same = np.abs(matrix - np.eye(7)) == 1
            matrix[same] *= 1 + 5e-7 if kind == "copies" else 1 - 10.0 ** -(seed % 16)
        if kind == "equal sums":
            matrix = np.full((7, 7), 0.5) + np.eye(7) / 2
            matrix[0, 1:3] = matrix[1:3, 0] = 0.1, 0.9
        test = PartialCorrelation(matrix, 40)
        for x, y, *z in permutations(range(7), 4):
            assert test._given_two(x, y, *z) == test._given_many(x, y, tuple(z))  # to the last bit


@pytest.mark.parametrize(("n_samples", "expected"), [(5, 0.0), (4, 0.0), (1, 0.0)])
def test_too_few_samples_count_as_dependent(n_samples: int, expected: float) -> None:
    assert PartialCorrelation(random_correlation(3), n_samples)(0, 1, (2, 3, 4)) == expected


def test_just_enough_samples_show_nothing() -> None:
    assert PartialCorrelation(random_correlation(3), 6)(0, 1, (2, 3, 4)) == 1


COPY = np.array([[1.0, 1.0, 0.3, 0.2], [1.0, 1.0, 0.3, 0.2], [0.3, 0.3, 1.0, 0.1], [0.2, 0.2, 0.1, 1.0]])


@pytest.mark.parametrize("z", [(), (2,), (2, 3)])
def test_copies_are_dependent(z: tuple[int, ...]) -> None:
    assert PartialCorrelation(COPY, 64)(0, 1, z) == 0


@pytest.mark.parametrize(("x", "y", "z"), [(0, 2, (1,)), (0, 2, (1, 3)), (2, 3, (0, 1))])
def test_given_a_copy_all_is_dependent(x: int, y: int, z: tuple[int, ...]) -> None:
    assert PartialCorrelation(COPY, 64)(x, y, z) == 0


def test_opposite_rows_are_copies_too() -> None:
    opposite = np.array([[1.0, -1.0, 0.5], [-1.0, 1.0, -0.5], [0.5, -0.5, 1.0]])
    test = PartialCorrelation(opposite, 64)
    assert test(0, 1) == test(0, 2, (1,)) == test(1, 2, (0,)) == 0


def test_a_singular_matrix_is_dependent() -> None:
    matrix = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.6], [0.0, 0.0, 0.6, 1.0]])
    assert PartialCorrelation(matrix, 64)(0, 1, (2, 3)) == 1
    assert PartialCorrelation(matrix, 64)(0, 1, (2, 2)) == 0  # a repeated node: no inverse


@pytest.mark.parametrize("seed", range(20))
def test_given_a_mixture_of_the_rest_all_is_dependent(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(5, 9))
    rows = np.vstack([rows, rows[2:5].sum(axis=0)])  # 5 is a mixture of 2, 3 and 4
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    test = PartialCorrelation(rows @ rows.T, 64)
    assert test(0, 1, (2, 3, 4, 5)) == test(0, 5, (2, 3, 4)) == test(3, 5, (2, 4)) == 0
    assert test(0, 1, (2, 3, 4)) > 0


def test_nearly_a_copy_is_still_told_apart() -> None:
    near = 1 - 1e-9
    matrix = np.array([[1.0, 0.5, near, 0.0], [0.5, 1.0, 0.5, 0.0], [near, 0.5, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    test = PartialCorrelation(matrix, 64)
    # what is left of 0 once 2 is out has the variance 1 - near ** 2, and shares 0.5 - 0.5 near with what is left of 1
    r = (0.5 - 0.5 * near) / np.sqrt((1 - near * near) * 0.75)
    assert test(0, 1, (2, 3)) == pytest.approx(2 * norm.sf(np.sqrt(59) * np.arctanh(r)), rel=1e-6)


def test_what_is_copied_is_known() -> None:
    assert PartialCorrelation(COPY, 64).copies == (0b10, 0b01, 0, 0)


def test_the_correlation_is_copied() -> None:
    matrix = random_correlation(0)
    before = matrix.copy()
    test = PartialCorrelation(matrix, 64)
    p = [test(0, 1), test(0, 1, (2,)), test(0, 1, (2, 3))]
    assert (matrix == before).all()
    matrix[:] = np.eye(7)
    assert [test(0, 1), test(0, 1, (2,)), test(0, 1, (2, 3))] == p


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.ones((2, 3)), "correlation must be a square matrix"),
        (np.array([[1.0, 0.2], [0.1, 1.0]]), "correlation must be symmetric"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "correlation must be finite"),
        (np.array([[1.0, np.inf], [np.inf, 1.0]]), "correlation must be finite"),
        (np.array([[2.0, 0.1], [0.1, 2.0]]), "ones on its diagonal"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "from -1 to 1 everywhere"),
    ],
)
def test_what_is_no_correlation_is_refused(matrix: np.ndarray, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        PartialCorrelation(matrix, 64)


@pytest.mark.parametrize("n_samples", [0, -1, float("nan")])
def test_a_sample_is_needed(n_samples: int) -> None:
    with pytest.raises(OptionError, match="n_samples must be at least 1, not "):
        PartialCorrelation(np.eye(2), n_samples)


# The memory


def spied(seen: list[tuple[int, int, tuple[int, ...]]]) -> Independence:
    def independence(x: int, y: int, z: tuple[int, ...] = ()) -> float:
        seen.append((x, y, z))
        return (x + y) / 100

    return independence


def test_a_question_is_asked_once_and_counted_by_size() -> None:
    seen: list[tuple[int, int, tuple[int, ...]]] = []
    test = Remembered(spied(seen))
    for x, y in ((0, 3), (3, 0)):
        assert test(x, y) == test(x, y, ()) == 0.03
        for z in permutations((5, 4, 1)):
            assert test(x, y, z) == 0.03
    assert seen == [(0, 3, ()), (0, 3, (1, 4, 5))]
    assert test.n_tests == [1, 0, 0, 1]


def test_nothing_asked_is_nothing_counted() -> None:
    assert Remembered(spied([])).n_tests == []


def test_different_questions_are_not_confused() -> None:
    test = Remembered(PartialCorrelation(random_correlation(5), 30))
    answers = {test(x, y, z) for x, y in ((0, 1), (0, 2), (1, 2)) for z in ((), (3,), (4,), (3, 4))}
    assert len(answers) == 12
    assert test.n_tests == [3, 6, 3]


@pytest.mark.parametrize("n", [0, 1, 8, 63, 64, 65, 130])
def test_bit_sets_hold_the_columns_of_each_row(n: int) -> None:
    claims = np.random.default_rng(n).random((9, n)) < 0.5
    claims[0], claims[1] = True, False
    assert bit_sets(claims) == [sum(1 << v for v in range(n) if row[v]) for row in claims.tolist()]

"""What an attention matrix says about correlation, and what is refused."""

import numpy as np
import pytest

from recexplain.causal.correlation import correlation
from recexplain.errors import OptionError


def test_it_is_the_cosine_of_the_rows() -> None:
    attention = np.array([[3.0, 4.0], [4.0, 3.0]]) / 7
    np.testing.assert_allclose(correlation(attention), [[1, 0.96], [0.96, 1]], rtol=1e-15)


def test_the_scale_of_a_row_does_not_matter() -> None:
    rows = np.random.default_rng(0).random((6, 6))
    np.testing.assert_allclose(correlation(rows), correlation(rows * np.arange(1, 7)[:, None]), rtol=1e-14)


def test_it_is_float64_and_symmetric_with_ones_on_the_diagonal() -> None:
    rows = np.random.default_rng(1).random((50, 50)).astype(np.float32)
    result = correlation(rows)
    assert result.dtype == np.float64
    assert (result == result.T).all()
    assert (result.diagonal() == 1).all()


@pytest.mark.parametrize("n", range(1, 60, 7))
def test_equal_rows_correlate_exactly(n: int) -> None:
    row = np.random.default_rng(n).random(n) + 0.1
    assert (correlation(np.tile(row, (n, 1)) * np.linspace(1, 3, n)[:, None]) == 1).all()


def test_nearly_equal_rows_are_not_equal() -> None:
    assert correlation(np.array([[1.0, 0.0], [1.0, 1e-5]]))[0, 1] < 1


def test_the_input_is_not_changed() -> None:
    rows = np.eye(3) + 0.1
    before = rows.copy()
    correlation(rows)
    assert (rows == before).all()


def test_no_and_one_position() -> None:
    assert correlation(np.zeros((0, 0))).shape == (0, 0)
    assert correlation(np.array([[0.25]])).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("attention", "sentence"),
    [
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "row 1 of attention is all zeros"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "must be finite"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), "must be finite"),
        (np.ones((2, 3)), r"must be a square matrix, not of shape \(2, 3\)"),
        (np.ones(3), "must be a square matrix"),
        (np.ones((2, 3, 3)), "must be a square matrix"),
    ],
)
def test_what_is_no_attention_is_refused(attention: np.ndarray, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        correlation(attention)

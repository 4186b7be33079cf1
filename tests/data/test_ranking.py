"""Ranks and the metrics made of them, by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from recexplain.errors import OptionError
from recexplain.evaluation import ranking
from recexplain.evaluation.ranking import held_out_ranks, hit_rate_at, mean_reciprocal_rank, ndcg_at
from recexplain.sequences import Histories


class Fixed:
    """Scores the same after every history; remembers which were scored."""

    max_length, mask_item, vocabulary = 50, None, None

    def __init__(self, *scores: float) -> None:
        self.n_items = len(scores)
        self.row = np.array([-np.inf, *scores], dtype=np.float32)
        self.asked: list[list[int]] = []

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.asked += [history.tolist() for history in histories]
        return np.tile(self.row, (len(histories), 1))


@pytest.mark.parametrize(
    ("history", "rank"),
    [
        ([1, 2], 1),  # item 2 scores most
        ([2, 1], 4),  # 2 is seen; before 1 are 3, 4 and 5
        ([1, 3], 2),  # 3, 4 and 5 are equal: smaller first; 2 is better
        ([1, 4], 3),
        ([1, 5], 4),
        ([3, 4], 2),  # 3 is seen: it does not come before 4
        ([2, 3, 4], 1),
        ([6], 6),  # nothing seen
        ([1, 2, 3, 4, 5, 6], 1),  # all others seen
        ([4, 2, 4], 2),  # seen before and the target all the same: only 3, smaller and equal, comes before it
    ],
)
def test_the_rank_of_the_newest_item(history: list[int], rank: int) -> None:
    model = Fixed(1, 9, 5, 5, 5, 0)
    assert held_out_ranks(model, [np.array(history)]).tolist() == [rank]
    assert model.asked == [history[:-1]]


def test_ranks_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = Histories.of(list("abcde"), [[1, 2], [2, 1], [1, 5], [3, 4], [6, 3, 3]])
    whole = held_out_ranks(Fixed(1, 9, 5, 5, 5, 0), histories).tolist()
    assert whole == [1, 4, 4, 2, 2]
    monkeypatch.setattr(ranking, "BATCH", 2)
    told: list[int] = []
    assert held_out_ranks(Fixed(1, 9, 5, 5, 5, 0), histories, progress=told.append).tolist() == whole
    assert told == [2, 2, 1]


def test_scores_that_are_nan_do_not_rank_first() -> None:
    with pytest.raises(OptionError, match="NaN"):
        held_out_ranks(Fixed(1, float("nan"), 2), [np.array([1, 2])])


def test_metrics_by_hand() -> None:
    ranks = np.array([1, 3, 7, 11])
    assert hit_rate_at(ranks, 10) == 3 / 4
    assert hit_rate_at(ranks, 3) == 2 / 4  # a rank of exactly k is a hit
    assert hit_rate_at(ranks, 2) == 1 / 4
    # 1 / log2(1 + 1) = 1, 1 / log2(3 + 1) = 1 / 2, 1 / log2(7 + 1) = 1 / 3
    assert ndcg_at(ranks, 10) == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert ndcg_at(ranks, 3) == pytest.approx((1 + 1 / 2) / 4)
    assert ndcg_at(np.array([4]), 3) == 0
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 3 + 1 / 7 + 1 / 11) / 4)

"""Popularity and sequential rules on histories small enough to count by hand."""

import numpy as np
import pytest

from recexplain.errors import OptionError
from recexplain.models.counting import Popularity, SequentialRules
from recexplain.recommender import Recommender, top_items

HISTORIES = [np.array(h) for h in ([1, 2, 3], [1, 2], [2, 4], [1, 3])]  # taken: 1 x3, 2 x3, 3 x2, 4 x1, 5 never
N = 5


def ranking(model: Recommender, history: list[int]) -> list[int]:
    """All items, best first, seen ones too."""
    return top_items(model.scores([np.array(history, dtype=np.int64)])[0], [], N).tolist()


def rounded(model: SequentialRules, history: list[int]) -> list[float]:
    """Scores without the tie-break, which is far below a rule's weight."""
    scores = model.scores([np.array(history, dtype=np.int64)])[0, 1:] - model.tie_break[1:]
    return [round(float(score), 5) for score in scores]


def test_popularity_counts_and_ignores_the_history() -> None:
    model = Popularity(HISTORIES, N)
    scores = model.scores([np.array([4]), np.array([], dtype=np.int64)])
    assert scores.dtype == np.float32
    assert scores.tolist() == [[-np.inf, 3, 3, 2, 1, 0]] * 2
    assert ranking(model, [4]) == [1, 2, 3, 4, 5]  # 1 and 2 are equal: the smaller number first


def test_popularity_of_a_repeated_item_and_of_no_history() -> None:
    assert Popularity([np.array([2, 2, 2, 1])], 2).counts.tolist() == [0, 1, 3]
    assert Popularity([], 2).counts.tolist() == [0, 0, 0]
    assert Popularity([], 2).scores([]).shape == (0, 3)


def test_markov_1_counts_what_came_next() -> None:
    model = SequentialRules(HISTORIES, N, last=1)
    assert rounded(model, [1]) == [0, 2, 1, 0, 0]  # after 1: 2 twice, 3 once
    assert rounded(model, [4, 2]) == [0, 0, 1, 1, 0]  # after 2: 3 and 4 once each; 4 is not looked at
    assert ranking(model, [2]) == [3, 4, 1, 2, 5]  # equal sums: 3 is more popular than 4; then by popularity
    assert rounded(model, [5]) == [0] * 5
    assert ranking(model, [5]) == [1, 2, 3, 4, 5]


def test_rules_weigh_by_distance_on_both_sides() -> None:
    model = SequentialRules(HISTORIES, N, last=2, decay=0.5)
    # after 1: 2 (2 at distance 1), 3 (1 at distance 1, 1 at distance 2 for 0.5); after 2: 3 and 4 once
    assert rounded(model, [1]) == [0, 2, 1.5, 0, 0]
    assert rounded(model, [1, 2]) == [0, 0.5 * 2, 1 + 0.5 * 1.5, 1, 0]
    assert rounded(model, [3, 1, 2]) == rounded(model, [1, 2])  # only the newest two
    assert rounded(model, [1, 0]) == [0, 0.5 * 2, 0.5 * 1.5, 0, 0]  # a 0 keeps its place


def test_confidence_is_the_share_among_the_rules_of_an_item() -> None:
    model = SequentialRules(HISTORIES, N, last=1, confidence=True)
    assert rounded(model, [1]) == [0, round(2 / 3, 5), round(1 / 3, 5), 0, 0]
    assert rounded(model, [2]) == [0, 0, 0.5, 0.5, 0]
    assert ranking(model, [2]) == [3, 4, 1, 2, 5]


def test_popularity_never_outweighs_a_rule() -> None:
    histories = [np.array([1, 3])] + [np.array([2])] * 1000
    for confidence in (False, True):
        model = SequentialRules(histories, 3, last=2, decay=0.1, confidence=confidence)
        assert ranking_of(model, [1, 2]) == 3  # the rule of 1 counts 0.1 only; 2 was taken 1,000 times


def ranking_of(model: Recommender, history: list[int]) -> int:
    return int(top_items(model.scores([np.array(history)])[0], [], 1)[0])


def test_a_batch_scores_as_one_by_one() -> None:
    model = SequentialRules(HISTORIES, N)
    batch = [np.array(h, dtype=np.int64) for h in ([1, 2, 3], [4], [], [5, 1])]
    together = model.scores(batch)
    assert together.shape == (4, N + 1)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([model.scores([history]) for history in batch]))
    assert (together[:, 0] == -np.inf).all()


@pytest.mark.parametrize("options", [{"last": 0}, {"decay": 0.0}, {"decay": 1.5}, {"decay": -1.0}])
def test_options_outside_what_is_allowed(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(options)) + " must be"):
        SequentialRules(HISTORIES, N, **options)  # type: ignore[arg-type]

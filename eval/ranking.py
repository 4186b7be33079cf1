"""How well a recommender ranks the held-out item: whole catalogue, items already seen filtered."""

from collections.abc import Callable, Sequence

import numpy as np

from recexplain.recommender import Recommender, checked_scores

BATCH = 512


def held_out_ranks(
    recommender: Recommender,
    histories: Sequence[np.ndarray],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """(users,) rank, from 1, of the newest item of each history after the items before it.

    Against all items that are not among those; equal scores: smaller item number first. Scores that are NaN, or of
    another shape, are an `OptionError`. `progress` is told how many users were added.
    """
    ranks = []
    for start in range(0, len(histories), BATCH):
        batch = [histories[row] for row in range(start, min(start + BATCH, len(histories)))]
        scores = checked_scores(recommender, [history[:-1] for history in batch])  # NaN would rank first
        ranks += [_rank(row, history[:-1], int(history[-1])) for row, history in zip(scores, batch, strict=True)]
        progress(len(batch))
    return np.array(ranks, dtype=np.int64)


def ndcg_at(ranks: np.ndarray, k: int) -> float:
    """Mean of 1 / log2(rank + 1) where rank <= k, else 0: NDCG@k with one relevant item; higher is better."""
    return float(np.where(ranks <= k, 1 / np.log2(ranks + 1), 0).mean())


def hit_rate_at(ranks: np.ndarray, k: int) -> float:
    """Share of ranks <= k: HR@k, which is Recall@k with one relevant item; higher is better."""
    return float((ranks <= k).mean())


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """Mean of 1 / rank: MRR; higher is better."""
    return float((1 / ranks).mean())


def _rank(scores: np.ndarray, seen: np.ndarray, target: int) -> int:
    """Rank of the target among all items not seen; a target that was seen before counts all the same."""
    open_items = np.ones(len(scores), dtype=bool)
    open_items[0] = False
    open_items[seen] = False
    open_items[target] = False
    better = open_items & (scores > scores[target])
    equal_and_smaller = open_items[:target] & (scores[:target] == scores[target])
    return 1 + int(better.sum()) + int(equal_and_smaller.sum())

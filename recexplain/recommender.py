"""What an explainer may ask of a recommender, and ours: a network behind that protocol."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from recexplain.vocabulary import Vocabulary


@runtime_checkable
class Recommender(Protocol):
    """Scores the catalogue after a history.

    Items are numbers 1..n_items; a history is an array of them, oldest first; a 0 inside a history keeps its place
    and is not attended.
    """

    @property
    def n_items(self) -> int:
        """How many items there are."""
        ...

    @property
    def max_length(self) -> int:
        """How many items of a history the model sees: its newest ones."""
        ...

    @property
    def mask_item(self) -> int | None:
        """The number that the removal `mask` writes; None: the model has none."""
        ...

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The user's own ids and titles; None: the numbers are the ids."""
        ...

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return the score of every item after each history, (batch, n_items + 1) float32; column 0 is -inf."""
        ...


@runtime_checkable
class AttentiveRecommender(Recommender, Protocol):
    """A recommender whose attention can be seen."""

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the attention, (layers, heads, m + 1, m + 1), of the newest m items and the target, the last row."""
        ...


def top_items(scores: np.ndarray, seen: Sequence[int] | np.ndarray, k: int) -> np.ndarray:
    """Return the k best items of scores, (n_items + 1,), best first, none of them seen; equal scores: smaller first.

    Fewer than k where fewer are left.

    >>> top_items(np.array([-np.inf, 3.0, 1.0, 3.0, 2.0], dtype=np.float32), [4], 2)
    array([1, 3])
    """
    open_scores = np.array(scores, dtype=np.float32)
    open_scores[0] = -np.inf
    open_scores[np.asarray(seen, dtype=np.int64)] = -np.inf
    n_open = int(np.isfinite(open_scores).sum())
    k = min(k, n_open)
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    bound = np.partition(open_scores, len(open_scores) - k)[len(open_scores) - k]
    best = np.flatnonzero(open_scores >= bound)  # ascending: a stable sort keeps the smaller number first
    return best[np.argsort(-open_scores[best], kind="stable")][:k]

"""Recommenders that only count: what a trained model has to beat.

All are `Recommender`s, fitted on training histories.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from recexplain.errors import OptionError
from recexplain.vocabulary import Vocabulary


class Popularity:
    """Recommends what most people took, whatever the history."""

    mask_item = None

    def __init__(self, histories: Sequence[np.ndarray], n_items: int, vocabulary: Vocabulary | None = None) -> None:
        self.n_items, self.max_length, self.vocabulary = n_items, 1, vocabulary
        taken = np.concatenate([np.zeros(0, np.int64), *histories])
        self.counts = np.bincount(taken, minlength=n_items + 1).astype(np.float32)

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return how often each item was taken, (batch, n_items + 1)."""
        scores = np.tile(self.counts, (len(histories), 1))
        scores[:, 0] = -np.inf
        return scores


class SequentialRules:
    """Recommends what followed the newest items most often.

    score(b) = sum over the newest `last` items a, j places from the end (from 0), of
    decay^j * sum over s = 1..last of decay^(s - 1) * (how often b stood s places after a);
    equal sums, as far as float32 tells them apart: the more popular first. `last=1` is the Markov chain of order 1.
    With `confidence` a rule counts by its share among all rules of a, instead of by its number. After the sequential
    rules of Ludewig and Jannach 2018 (arXiv 1803.09587, section 3.1), which weigh by distance and look at the last item
    only.
    """

    mask_item = None

    def __init__(
        self,
        histories: Sequence[np.ndarray],
        n_items: int,
        vocabulary: Vocabulary | None = None,
        *,
        last: int = 10,
        decay: float = 0.8,
        confidence: bool = False,
    ) -> None:
        if last < 1:
            raise OptionError(f"last must be 1 or more, not {last}")
        if not 0 < decay <= 1:
            raise OptionError(f"decay must be above 0 and at most 1, not {decay}")
        self.n_items, self.max_length, self.vocabulary, self.decay = n_items, last, vocabulary, decay
        rules = sum(decay ** (step - 1) * _pairs(histories, step, n_items) for step in range(1, last + 1))
        smallest = decay ** (2 * last)  # of what one rule can add to a score
        if confidence:
            totals = np.maximum(np.asarray(rules.sum(axis=1)).ravel(), 1)
            rules, smallest = sparse.diags_array(1 / totals) @ rules, smallest / float(totals.max())
        self.rules = sparse.csr_array(rules)
        popularity = Popularity(histories, n_items).counts
        self.tie_break = popularity * (smallest / 2 / max(1.0, float(popularity.max())))

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return the weighed counts of what followed, (batch, n_items + 1)."""
        rows, columns, weights = [], [], []
        for row, history in enumerate(histories):
            newest = history[::-1][: self.max_length]
            places = np.flatnonzero(newest)
            rows += [row] * len(places)
            columns += newest[places].tolist()
            weights += (self.decay**places).tolist()
        chosen = sparse.csr_array((weights, (rows, columns)), shape=(len(histories), self.n_items + 1))
        scores: np.ndarray = ((chosen @ self.rules).toarray() + self.tie_break).astype(np.float32)
        scores[:, 0] = -np.inf
        return scores


def _pairs(histories: Sequence[np.ndarray], step: int, n_items: int) -> sparse.csr_array:
    """(n_items + 1, n_items + 1) how often the second item stood `step` places after the first."""
    before = np.concatenate([np.zeros(0, np.int64), *(history[:-step] for history in histories)])
    after = np.concatenate([np.zeros(0, np.int64), *(history[step:] for history in histories)])
    return sparse.csr_array((np.ones(len(before)), (before, after)), shape=(n_items + 1, n_items + 1))

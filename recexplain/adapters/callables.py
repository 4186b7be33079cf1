"""Any function from histories to scores as a recommender: a model of another library, a service, a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from recexplain.adapters.door import BATCH, check_scorer, check_sizes, checked_ids, columns
from recexplain.errors import OptionError
from recexplain.vocabulary import Vocabulary


class CallableRecommender:
    """A function behind the `Recommender` protocol; it gets lists of ids, and closes up where an item is left out."""

    mask_item = None
    keeps_places = False  # a list of ids has no empty places

    def __init__(
        self, scores: Callable[[list[list[Any]]], Any], ids: tuple[object, ...], vocabulary: Vocabulary
    ) -> None:
        self.function, self.ids, self.vocabulary = scores, ids, vocabulary
        self.n_items, self.max_length, self.batch_size = len(ids), 1, BATCH

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return the score of every item after each history, (batch, n_items + 1) float64; column 0 is -inf."""
        scores = np.full((len(histories), self.n_items + 1), -np.inf, dtype=np.float64)
        for start in range(0, len(histories), self.batch_size):
            part = histories[start : start + self.batch_size]
            asked = [[self.ids[item - 1] for item in history[-self.max_length :] if item] for history in part]
            scores[start : start + len(part), 1:] = self._rows(self.function(asked), len(part))
        return scores

    def _rows(self, found: Any, n_histories: int) -> np.ndarray:
        """(n_histories, n_items) float64, of what the function returned; what it leaves out is -inf."""
        if hasattr(found, "tocoo"):
            return self._of_sparse(found.tocoo(copy=True), n_histories)
        if isinstance(found, Sequence) and found and all(isinstance(one, Mapping) for one in found):
            return self._of_tables(found, n_histories)
        if hasattr(found, "detach"):
            found = found.detach().cpu()
        try:
            rows = np.asarray(found)
        except ValueError:  # rows of several lengths
            raise OptionError("the function must return a row a history, all of them of one length") from None
        return columns(rows, n_histories, self.n_items, "the function")

    def _of_sparse(self, found: Any, n_histories: int) -> np.ndarray:
        rows = np.full(found.shape, -np.inf, dtype=np.float64)
        if rows.ndim == 2:
            found.sum_duplicates()  # what stands there twice adds up, as SciPy has it
            rows[found.row, found.col] = found.data
        return columns(rows, n_histories, self.n_items, "the function")

    def _of_tables(self, found: Sequence[Mapping[Any, float]], n_histories: int) -> np.ndarray:
        rows = np.full((len(found), self.n_items), -np.inf, dtype=np.float64)
        for row, scored in zip(rows, found, strict=True):
            for item, score in scored.items():
                place = self.vocabulary.number_of(item) - 1
                try:
                    row[place] = score
                except (TypeError, ValueError):
                    raise OptionError(f"the function must return numbers; the score of {item!r} is {score!r}") from None
        return columns(rows, n_histories, self.n_items, "the function")


def from_callable(
    scores: Callable[[list[list[Any]]], Any],
    item_ids: Sequence[object],
    *,
    max_length: int,
    titles: Mapping[Any, str] | None = None,
    batch_size: int = BATCH,
    check: bool = True,
) -> CallableRecommender:
    """Return a recommender that asks a function, at most `batch_size` histories at once.

    The function gets a list of histories, each a list of the newest `max_length` ids, oldest first, as they stand in
    `item_ids`. It returns one row a history: an array (histories, items) in the order of `item_ids`, a SciPy sparse
    matrix, or tables {id: score} of the best items only, as a service answers. What a row leaves out is never
    recommended: a service must return k items beside those of the history. There are no empty places in a list of ids,
    so the removals are `delete` and `backfill`.

    Unless `check` is False the function is asked a few times first: `OptionError` where its answer has another shape,
    holds NaN or infinity, or changes with the batch or from call to call.

    >>> films = ["alien", "brazil", "casablanca"]
    >>> votes = np.array([[0, 1, 2], [3, 0, 1], [1, 2, 0]])
    >>> recommender = from_callable(lambda histories: [votes[[films.index(f) for f in h]].sum(0) for h in histories],
    ...     films, max_length=10)
    >>> recommender.scores([np.array([1, 2])])
    array([[-inf,   3.,   1.,   3.]])
    """
    if not callable(scores):
        raise OptionError(f"scores must be a function from lists of ids to scores, not {scores!r}")
    check_sizes(max_length=max_length, batch_size=batch_size)
    ids = checked_ids(item_ids)
    named = {str(item): title for item, title in (titles or {}).items()}
    recommender = CallableRecommender(scores, ids, Vocabulary(tuple(map(str, ids)), named))
    recommender.max_length, recommender.batch_size = max_length, batch_size
    if check:
        check_scorer(recommender)
    return recommender

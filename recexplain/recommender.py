"""What an explainer may ask of a recommender, and what it recommends."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch

from recexplain.errors import OptionError, UnknownIdError
from recexplain.vocabulary import Vocabulary

#: The explainers that ask for scores alone, and so work with every recommender.
SCORES_ENOUGH = ("causal", "exhaustive", "occlusion", "random", "recency", "popularity", "genetic")


@runtime_checkable
class Recommender(Protocol):
    """Scores the catalogue after a history.

    Items are numbers 1..n_items; a history is an array of them, oldest first; a 0 inside a history keeps its place
    and is not attended. What a history scores may not depend on the others in the batch (but for rounding, see
    `recexplain.counterfactual.CLOSE`).

    Three things a recommender may say besides: `n_ignored`, how many of the oldest items of what it is handed it does
    not look at (by default none); `keeps_places`, whether a 0 inside a history is a place (by default it is; a
    recommender for which it is not closes up, and cannot be asked with the removal `pad`); and `needs_user`, whether it
    scores for a user and cannot be asked before `for_user(id)` has said for whom (by default it does not).
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
        """Return the score of every item after each history, (batch, n_items + 1) float32 or float64; column 0 is -inf.

        An item that scores -inf is never recommended. No history at all, or one of zeros only, is allowed too.
        """
        ...


@runtime_checkable
class AttentiveRecommender(Recommender, Protocol):
    """A recommender whose attention can be seen."""

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the attention, (layers, heads, m + 1, m + 1), of the target, last, and the newest m items before it.

        m is how many fit beside the target: all that the model sees, or for some models one less.
        """
        ...


class DeletingRecommender(Recommender, Protocol):
    """A recommender that scores one history without each of many sets of its items faster than as many histories."""

    def deleting(self, history: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what takes places, (sets, size) int64 ascending, and returns what `scores` would without each set."""
        ...


class ForUsers(Recommender, Protocol):
    """A recommender that scores for a user."""

    def for_user(self, user: object) -> Recommender:
        """Return the same recommender for one user, by the user's own id."""
        ...


def n_ignored(recommender: Recommender) -> int:
    """Return how many of the oldest items of what a recommender is handed it does not look at."""
    return int(getattr(recommender, "n_ignored", 0))


def n_unseen(recommender: Recommender, length: int) -> int:
    """Return how many of the oldest items of a history of that length the model does not see."""
    return min(length, max(0, length - recommender.max_length) + n_ignored(recommender))


def keeps_places(recommender: Recommender) -> bool:
    """Whether a 0 inside a history keeps its place, unattended."""
    return bool(getattr(recommender, "keeps_places", True))


def needs_user(recommender: Recommender) -> TypeGuard[ForUsers]:
    """Whether a recommender can be asked only as that of one user."""
    return bool(getattr(recommender, "needs_user", False))


def can_delete(recommender: Recommender) -> TypeGuard[DeletingRecommender]:
    """Whether a recommender deletes by itself; not where what is built on it, or around it, changed `scores` alone."""
    kinds = (kind.__dict__ for kind in type(recommender).__mro__)
    first: Iterable[str] = next((names for names in kinds if "scores" in names or "deleting" in names), ())
    return "deleting" in first and "scores" not in getattr(recommender, "__dict__", ())


def asked_for(recommender: Recommender, user: object) -> Recommender:
    """Return the recommender that answers for a user, where it scores for one and none was chosen; else as it is.

    `UnknownIdError` for a user that it does not know.
    """
    return recommender.for_user(user) if user is not None and needs_user(recommender) else recommender


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread: how sums are rounded may depend on their number.

    A thread of Python that first uses torch meanwhile keeps the one.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:  # what is not changed here is not put back either, in front of a thread that has more
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def precise(scores: object) -> np.ndarray:
    """Return scores as the float32 that they are, or as float64, which tells apart what any other kind does."""
    found = np.asarray(scores)
    return found if found.dtype == np.float32 else found.astype(np.float64)


def checked_scores(recommender: Recommender, histories: Sequence[np.ndarray]) -> np.ndarray:
    """Return the scores of histories, as float64 unless they are float32; of one alone by one thread.

    `OptionError` where they have another shape, NaN or infinity. Minus infinity is allowed: such an item is never
    recommended.
    """
    with one_thread() if len(histories) == 1 else nullcontext():
        scores = precise(recommender.scores(histories))
    return checked(scores, len(histories), recommender.n_items)


def checked(scores: np.ndarray, n_histories: int, n_items: int) -> np.ndarray:
    """Return scores as they are; `OptionError` where they have another shape, NaN or infinity."""
    expected = (n_histories, n_items + 1)
    if scores.shape != expected:
        raise OptionError(f"the recommender returned scores of shape {scores.shape}, not {expected}")
    if not scores.max(initial=-np.inf) < np.inf:  # NaN is not below either
        raise OptionError("the recommender returned NaN or infinity among its scores")
    return scores


def top_items(scores: np.ndarray, seen: Sequence[int] | np.ndarray, k: int) -> np.ndarray:
    """Return the k best items of scores, (n_items + 1,), best first, none of them seen; equal scores: smaller first.

    Fewer than k where fewer are left; never one whose score is -inf.

    >>> top_items(np.array([-np.inf, 3.0, 1.0, 3.0, 2.0], dtype=np.float32), [4], 2)
    array([1, 3])
    """
    open_scores = np.array(precise(scores))
    open_scores[0] = -np.inf
    open_scores[np.asarray(seen, dtype=np.int64)] = -np.inf
    n_open = int(np.isfinite(open_scores).sum())
    k = min(k, n_open)
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    bound = np.partition(open_scores, len(open_scores) - k)[len(open_scores) - k]
    best = np.flatnonzero(open_scores >= bound)  # ascending: a stable sort keeps the smaller number first
    return best[np.argsort(-open_scores[best], kind="stable")][:k]


def number_of(recommender: Recommender, item: object) -> int:
    """Return the number of the user's own item id; without a vocabulary the ids are the numbers."""
    if recommender.vocabulary is not None:
        return recommender.vocabulary.number_of(item)
    number = int(text) if (text := str(item)).isdecimal() else 0
    if not 1 <= number <= recommender.n_items or str(number) != text:
        raise UnknownIdError(f"item {text!r} is not one of the numbers 1 to {recommender.n_items}")
    return number


def id_of(recommender: Recommender, number: int) -> str:
    """Return the user's own id of an item number."""
    return str(number) if recommender.vocabulary is None else recommender.vocabulary.id_of(number)


def without_attention(explainer: str, recommender: Recommender) -> OptionError:
    """Return the error of an explainer that looks at attention where there is none: it says which others work."""
    return OptionError(
        f"the explainer {explainer} needs a recommender with attention; {type(recommender).__name__} has none. "
        f"Explainers that work without it: {', '.join(SCORES_ENOUGH)}"
    )

"""A scorer that is not ours is asked a few times before it is believed."""

from collections.abc import Sequence

import numpy as np

from recexplain.counterfactual import CLOSE
from recexplain.errors import OptionError, is_whole
from recexplain.recommender import Recommender, checked_scores

BATCH = 512  # histories that an adapter hands on at once
LENGTHS = (1, 2, 3, 5, 8, 2, 13)  # of the histories that it is asked about, up to its window


def check_scorer(recommender: Recommender) -> None:
    """Raise `OptionError` unless the same histories have the same scores again, alone and in any company.

    Some histories of seen items are scored together, again, in reverse order and one at a time. Scores may differ by
    rounding, half of what `recexplain.counterfactual.CLOSE` allows.
    """
    draw = np.random.default_rng(0)
    lengths = [min(length, recommender.max_length, recommender.n_items) for length in LENGTHS]
    probes = [draw.permutation(recommender.n_items)[:length] + 1 for length in lengths]
    together = checked_scores(recommender, probes)
    hint = "a network must be in evaluation mode (`.eval()`), and nothing may be drawn at random"
    _check_same(together, checked_scores(recommender, probes), f"when it is scored again; {hint}")
    hint = "each must be scored as if it were alone: no batch statistics, and padding that nothing looks at"
    _check_same(together, checked_scores(recommender, probes[::-1])[::-1], f"with its place in the batch; {hint}")
    alone = np.concatenate([checked_scores(recommender, [probe]) for probe in probes])
    _check_same(together, alone, f"with the others in its batch; {hint}")


def _check_same(scores: np.ndarray, others: np.ndarray, when: str) -> None:
    is_open = np.isfinite(scores)
    if (is_open != np.isfinite(others)).any():
        raise OptionError(f"the scorer gives the same history scores for other items {when}")
    apart = np.abs(scores[is_open] - others[is_open]) / np.maximum(1, np.abs(scores[is_open]))
    if len(apart) and apart.max() > CLOSE / 2:
        raise OptionError(f"the scores of the same history change, by up to {apart.max():.2g}, {when}")


def check_sizes(**sizes: object) -> None:
    """Raise `OptionError` unless each is a whole number of 1 or more."""
    for name, size in sizes.items():
        if not is_whole(size, 1):
            raise OptionError(f"{name} must be a whole number of 1 or more, not {size!r}")


def checked_ids(item_ids: Sequence[object]) -> tuple[object, ...]:
    """Return item ids as they were given; `OptionError` where they are no list, or none."""
    if isinstance(item_ids, str | bytes) or not hasattr(item_ids, "__iter__") or not tuple(item_ids):
        raise OptionError(f"item_ids must be a list of all item ids, one at the least, not {item_ids!r}")
    return tuple(item_ids)


def columns(found: np.ndarray, n_histories: int, n_items: int, what: str) -> np.ndarray:
    """Return scores as (n_histories, n_items) float64, or float32 where they are; `OptionError` for another shape."""
    if found.shape != (n_histories, n_items):
        raise OptionError(
            f"{what} must return scores of shape (histories, items), here {(n_histories, n_items)}, not {found.shape}"
        )
    try:
        return found.astype(np.float32 if found.dtype == np.float32 else np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"{what} must return numbers, not {found.dtype}") from None

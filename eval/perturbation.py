"""What becomes of the explained item when items go in an explainer's order: histories, ranks, probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from recexplain.counterfactual import Question
from recexplain.recommender import Recommender, checked_scores

TENTHS = tuple(tenth / 10 for tenth in range(11))  # shares of the removable items, nothing removed first
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)  # of ERASER
LENGTHS = (1, 2, 3, 4, 5)  # of CDCG
ODDS = 30.0  # log-odds are kept within plus and minus this: a probability of 0 or 1 has no finite ones


@dataclass(frozen=True, eq=False)
class Standing:
    """Where one item stands after several histories; each (histories,)."""

    ranks: np.ndarray  # int64, from 1, among the items outside the original history
    probabilities: np.ndarray  # float64, softmax of the scores over those items
    log_odds: np.ndarray  # float64, of that, within `ODDS`


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Where the explained item stands as more and more is removed, or less and less kept."""

    whole: Standing  # (1,) the history as it is
    most_first: Standing  # (tenths,) without the most explaining share
    least_first: Standing  # (tenths,) without the least explaining share
    kept: Standing  # (tenths,) the most explaining share alone, one item at the least
    removed_bins: Standing  # (bins,) without the most explaining items, ERASER's shares
    kept_bins: Standing  # (bins,) these items alone
    lengths: Standing  # (lengths,) without the first 1, 2, ... items
    shares: np.ndarray  # (tenths,) the share that was really removed for `most_first`


def perturbed(recommender: Recommender, question: Question, order: Sequence[int]) -> Perturbation:
    """Return where the target stands when the items of an order, (removable,), are removed or kept by steps.

    A removal never empties a history, and something is always kept: see `n_removed`, `n_kept`.
    """
    most, n = question.most, len(order)
    removed = [n_removed(share, n, most) for share in TENTHS]
    histories = {
        "whole": [question.handed],
        "most_first": [without(question, order[:count]) for count in removed],
        "least_first": [without(question, order[n - count :]) for count in removed],
        "kept": [only(question, order[: n_kept(share, n)]) for share in TENTHS],
        "removed_bins": [without(question, order[: n_removed(share, n, most)]) for share in BINS],
        "kept_bins": [only(question, order[: n_kept(share, n)]) for share in BINS],
        "lengths": [without(question, order[: min(length, most)]) for length in LENGTHS],
    }
    standing = standing_of(recommender, question, [one for several in histories.values() for one in several])
    parts, start = {}, 0
    for name, several in histories.items():
        parts[name] = _part(standing, slice(start, start + len(several)))
        start += len(several)
    return Perturbation(**parts, shares=np.array(removed) / n)


def n_removed(share: float, n: int, most: int) -> int:
    """Return how many of n items a share removes: rounded up, at most `most`."""
    return min(ceil(share * n), most)


def n_kept(share: float, n: int) -> int:
    """Return how many of n items a share keeps: rounded up, one at the least."""
    return max(1, ceil(share * n))


def without(question: Question, positions: Sequence[int]) -> np.ndarray:
    """Return what the model is handed without some positions, by the question's kind of removal; none: all of it."""
    return question.without(tuple(sorted(positions))) if len(positions) else question.handed


def only(question: Question, positions: Sequence[int]) -> np.ndarray:
    """Return what the model is handed of some positions alone, one at the least.

    The others are removed as the question says; `backfill` counts as `delete` here, for what moves in was not kept.
    """
    kept = set(positions)
    others = tuple(p for p in range(question.n_unseen, len(question.history)) if p not in kept)
    removal = "delete" if question.options.removal == "backfill" else question.options.removal
    return question.without(others, removal) if others else question.handed


def standing_of(
    recommender: Recommender, question: Question, histories: Sequence[np.ndarray], item: int | None = None
) -> Standing:
    """Return where an item, by default the target, stands after each history; equal histories are scored once.

    Equal scores: smaller item number first. One call of `scores`, made up of this person's histories only, so that the
    figures do not depend on who else is measured.
    """
    item = question.target if item is None else item
    places: dict[bytes, int] = {}
    distinct: list[np.ndarray] = []
    for history in histories:
        if places.setdefault(history.tobytes(), len(distinct)) == len(distinct):
            distinct.append(history)
    scores = checked_scores(recommender, distinct).astype(np.float64)
    scores[:, 0] = -np.inf
    scores[:, question.history] = -np.inf
    rows = [places[history.tobytes()] for history in histories]
    return _part(_standing(scores, item), np.array(rows, dtype=np.int64))


def _standing(scores: np.ndarray, item: int) -> Standing:
    """Return where an item stands by scores, (histories, n_items + 1), -inf for what is never recommended."""
    own = scores[:, item]
    equal_before = (scores[:, :item] == own[:, None]) & np.isfinite(own)[:, None]
    ranks = 1 + (scores > own[:, None]).sum(1) + equal_before.sum(1)
    others = scores.copy()
    others[:, item] = -np.inf
    with np.errstate(invalid="ignore"):  # an item that is never recommended, where nothing else is either
        odds, chances = own - _log_sum(others), np.exp(own - _log_sum(scores))
    odds = np.clip(np.nan_to_num(odds, nan=-ODDS, posinf=ODDS, neginf=-ODDS), -ODDS, ODDS)
    return Standing(ranks, np.nan_to_num(chances, nan=0.0), odds)


def _log_sum(scores: np.ndarray) -> np.ndarray:
    """(histories,) log of the sum of exp of each row; -inf where nothing is left."""
    highest = scores.max(1)
    base = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        total: np.ndarray = base + np.log(np.exp(scores - base[:, None]).sum(1))
    return total


def _part(standing: Standing, rows: slice | np.ndarray) -> Standing:
    return Standing(standing.ranks[rows], standing.probabilities[rows], standing.log_odds[rows])

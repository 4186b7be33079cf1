"""What a removal is, what it must change, and the recommender's own verdict, batched."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recexplain.errors import OptionError
from recexplain.recommender import Recommender, top_items

Candidate = tuple[int, ...]  # positions of the whole history, ascending

CHANGES = ("top1", "leaves")
REMOVALS = ("delete", "pad")
CLOSE = 1e-4  # a score gap below this may turn with the batch size, so it is decided one history at a time


@dataclass(frozen=True)
class Options:
    """What is asked of every person alike."""

    change: str = "top1"  # top1: the first item is another; leaves: the target is not in the top k any more
    k: int = 10
    removal: str = "delete"  # delete: the rest closes up; pad: the places stay and are not attended
    max_evaluations: int | None = None  # a person; None: no limit
    max_seconds: float | None = None  # a person; None: no limit
    seed: int = 0

    def __post_init__(self) -> None:
        if self.change not in CHANGES:
            raise OptionError(f"change must be one of {', '.join(CHANGES)}, not {self.change!r}")
        if self.removal not in REMOVALS:
            raise OptionError(f"removal must be one of {', '.join(REMOVALS)}, not {self.removal!r}")
        if self.k < 1:
            raise OptionError(f"k must be 1 or more, not {self.k}")
        if self.max_evaluations is not None and self.max_evaluations < 1:
            raise OptionError(f"max_evaluations must be 1 or more, or null for no limit, not {self.max_evaluations}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise OptionError(f"max_seconds must be above 0, or null for no limit, not {self.max_seconds}")


@dataclass(frozen=True, eq=False)
class Question:
    """Why this item, for this person: a history, its recommendations, and the one that is explained."""

    history: np.ndarray  # (length,) item numbers, whole
    n_unseen: int  # the oldest items, which the model does not see
    before: tuple[int, ...]  # top k of the history as it is
    target: int  # one of `before`
    options: Options = field(default_factory=Options)

    @property
    def visible(self) -> np.ndarray:
        """The part of the history that the model sees; edits apply to it."""
        return self.history[self.n_unseen :]

    @property
    def removable(self) -> range:
        """The positions that may be removed."""
        return range(self.n_unseen, len(self.history))

    def without(self, candidate: Candidate) -> np.ndarray:
        """Return the visible history after a removal."""
        places = np.asarray(candidate, dtype=np.int64) - self.n_unseen
        if self.options.removal == "delete":
            return np.delete(self.visible, places)
        padded = self.visible.copy()
        padded[places] = 0
        return padded

    def gaps(self, scores: np.ndarray) -> np.ndarray:
        """(batch,) by how much the target misses its place, from scores, (batch, n_items + 1).

        Above 0: the answer has changed. For `top1` the score of the best other item less the target's, for `leaves`
        that of the k-th best other item. Only items outside the whole original history compete; an equal score
        counts as above for a smaller item number, and then the gap is the smallest positive number.
        """
        place = 1 if self.options.change == "top1" else self.options.k
        others = np.array(scores)
        others[:, 0] = -np.inf
        others[:, self.history] = -np.inf
        own = others[:, self.target].copy()
        others[:, self.target] = -np.inf
        if place > others.shape[1] - 1:
            return np.full(len(scores), -np.inf)
        rival = -np.partition(-others, place - 1, axis=1)[:, place - 1]
        gaps: np.ndarray = (rival - own).astype(np.float64)
        for row in np.flatnonzero(gaps == 0):
            above = (others[row] > own[row]).sum() + (others[row, : self.target] == own[row]).sum()
            gaps[row] = np.finfo(np.float64).tiny if above >= place else 0.0
        return gaps


def ask(recommender: Recommender, history: np.ndarray, options: Options, target: int | None = None) -> Question:
    """Return the question for one history of item numbers; without a target the first recommendation is explained."""
    if len(history) == 0:
        raise OptionError("the history is empty; an explanation needs two items or more")
    n_unseen = max(0, len(history) - recommender.max_length)
    visible = history[n_unseen:]
    if len(visible) < 2:
        raise OptionError(
            f"the recommender sees {len(visible)} item of the history; it must see two, for a removal never empties it"
        )
    before = tuple(int(item) for item in top_items(checked_scores(recommender, [visible])[0], history, options.k))
    if not before:
        raise OptionError("nothing can be recommended: every item of the catalogue is in the history")
    return Question(history, n_unseen, before, _checked_target(target, before, history, options), options)


def checked_scores(recommender: Recommender, histories: Sequence[np.ndarray]) -> np.ndarray:
    """Return the scores of histories; `OptionError` where a recommender returns another shape, or NaN."""
    scores = recommender.scores(histories)
    expected = (len(histories), recommender.n_items + 1)
    if scores.shape != expected:
        raise OptionError(f"the recommender returned scores of shape {scores.shape}, not {expected}")
    if np.isnan(scores).any():
        raise OptionError("the recommender returned NaN among its scores")
    return scores


def verdicts(recommender: Recommender, asked: Sequence[tuple[Question, Candidate]]) -> list[bool]:
    """Return whether each removal changes its question's answer; the batch does not decide, see `CLOSE`."""
    if not asked:
        return []
    histories = [question.without(candidate) for question, candidate in asked]
    scores = checked_scores(recommender, histories)
    gaps = [float(question.gaps(row[None])[0]) for (question, _), row in zip(asked, scores, strict=True)]
    for i, gap in enumerate(gaps):
        if abs(gap) < CLOSE and len(asked) > 1:
            gaps[i] = float(asked[i][0].gaps(checked_scores(recommender, [histories[i]]))[0])
    return [gap > 0 for gap in gaps]


def _checked_target(target: int | None, before: tuple[int, ...], history: np.ndarray, options: Options) -> int:
    if target is None or target == before[0]:
        return before[0]
    if target in history:
        raise OptionError("the target is in the history already, so it is never recommended; give a recommended item")
    if options.change == "top1":
        raise OptionError("change=top1 explains the first recommendation, and the target is not it; use change=leaves")
    if target not in before:
        raise OptionError(
            f"the target is not among the top {options.k} recommendations; give one of them, or a larger k"
        )
    return target

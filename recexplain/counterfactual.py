"""What a removal is, what it must change, and the recommender's own verdict, batched."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recexplain.errors import OptionError, is_whole
from recexplain.recommender import Recommender, top_items

Candidate = tuple[int, ...]  # positions of the whole history, ascending

CHANGES = ("top1", "leaves")
REMOVALS = ("delete", "pad")
CLOSE = 1e-4  # a gap below this share of the score (1 at least) may turn with the batch: it is decided alone


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
        if not is_whole(self.k, 1):
            raise OptionError(f"k must be a whole number of 1 or more, not {self.k!r}")
        if self.max_evaluations is not None and not is_whole(self.max_evaluations, 1):
            allowed = "a whole number of 1 or more, or null for no limit"
            raise OptionError(f"max_evaluations must be {allowed}, not {self.max_evaluations!r}")
        if self.max_seconds is not None and not (isinstance(self.max_seconds, int | float) and self.max_seconds > 0):
            raise OptionError(f"max_seconds must be above 0, or null for no limit, not {self.max_seconds!r}")
        if not is_whole(self.seed, 0):
            raise OptionError(f"seed must be a whole number of 0 or more, not {self.seed!r}")


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
        """Return the visible history after a removal of some removable positions, but not all."""
        assert 0 < len(candidate) < len(self.removable)
        assert candidate[0] >= self.n_unseen
        places = np.asarray(candidate, dtype=np.int64) - self.n_unseen
        if self.options.removal == "delete":
            return np.delete(self.visible, places)
        padded = self.visible.copy()
        padded[places] = 0
        return padded

    @property
    def place(self) -> int:
        """The rank down to which the target must fall no further, for the answer to stay."""
        return 1 if self.options.change == "top1" else self.options.k

    def is_changed(self, after: Sequence[int]) -> bool:
        """Whether recommendations, best first, are another answer."""
        return self.target not in after[: self.place]

    def gaps(self, scores: np.ndarray) -> np.ndarray:
        """(batch,) by how much the target misses its place, from scores, (batch, n_items + 1).

        Above 0: the answer has changed. For `top1` the score of the best other item less the target's, for `leaves`
        that of the k-th best other item. Only items outside the whole original history compete; an equal score
        counts as above for a smaller item number, and then the gap is the smallest positive number. An item with the
        score -inf is never recommended.
        """
        place = self.place
        others = np.array(scores)
        others[:, 0] = -np.inf
        others[:, self.history] = -np.inf
        own = others[:, self.target].copy()
        others[:, self.target] = -np.inf
        if place < others.shape[1]:
            rival = -np.partition(-others, place - 1, axis=1)[:, place - 1]
        else:
            rival = np.full(len(scores), -np.inf, dtype=scores.dtype)  # fewer items than places
        is_out = own == -np.inf
        gaps = np.where(is_out, np.inf, rival.astype(np.float64) - np.where(is_out, 0, own))
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
    """Return the scores of histories as float32; `OptionError` where they have another shape, NaN or infinity.

    Minus infinity is allowed: such an item is never recommended.
    """
    scores = np.asarray(recommender.scores(histories), dtype=np.float32)
    expected = (len(histories), recommender.n_items + 1)
    if scores.shape != expected:
        raise OptionError(f"the recommender returned scores of shape {scores.shape}, not {expected}")
    if not (scores < np.inf).all():
        raise OptionError("the recommender returned NaN or infinity among its scores")
    return scores


def verdicts(recommender: Recommender, asked: Sequence[tuple[Question, Candidate]]) -> list[bool]:
    """Return whether each removal changes its question's answer; the batch does not decide, see `CLOSE`."""
    if not asked:
        return []
    histories = [question.without(candidate) for question, candidate in asked]
    scores = checked_scores(recommender, histories)
    gaps = [float(question.gaps(row[None])[0]) for (question, _), row in zip(asked, scores, strict=True)]
    for i, (question, _) in enumerate(asked):
        is_close = abs(gaps[i]) < CLOSE * max(1.0, abs(float(scores[i, question.target])))
        if is_close and len(asked) > 1:
            gaps[i] = float(question.gaps(checked_scores(recommender, [histories[i]]))[0])
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

"""The recommender's own verdict on removals, many at a time."""

from collections.abc import Callable, Sequence
from itertools import groupby
from weakref import WeakKeyDictionary

import numpy as np

from recexplain.counterfactual import Candidate, Question
from recexplain.recommender import Recommender, can_delete, checked, checked_scores

MANY = 128  # deletions of one size from one history that are left to the recommender to make

Deleting = Callable[[np.ndarray], np.ndarray]

#: For a question what scores its deletions, and whose that is; it goes with the question.
_deleting: WeakKeyDictionary[Question, tuple[Recommender, Deleting]] = WeakKeyDictionary()


def measured(recommender: Recommender, asked: Sequence[tuple[Question, Candidate]]) -> np.ndarray:
    """(asked,) float64: the gap that each removal leaves; what follows one another of a question is scored together.

    Its sign does not depend on the batch: where it might, see `CLOSE`, the history is scored again alone. Its size may,
    by rounding.
    """
    gaps, start = np.zeros(len(asked)), 0
    runs = [list(run) for _, run in groupby(asked, key=lambda one: id(one[0]))]
    for run, scores in zip(runs, _scored(recommender, runs), strict=True):
        question, stop = run[0][0], start + len(run)
        gaps[start:stop], is_close = question.gaps(scores)
        for i in np.flatnonzero(is_close) if len(asked) > 1 else ():
            alone = checked_scores(recommender, [question.without(run[i][1])])
            gaps[start + i] = question.gaps(alone)[0][0]
        start = stop
    return gaps


def measured_alone(recommender: Recommender, asked: Sequence[tuple[Question, Candidate]]) -> np.ndarray:
    """(asked,) float64: the gap that each removal leaves, one history a call: the same in any company."""
    return np.array([measured(recommender, [one])[0] for one in asked])


def verdicts(recommender: Recommender, asked: Sequence[tuple[Question, Candidate]]) -> list[bool]:
    """Return whether each removal changes its question's answer; the batch does not decide, see `measured`."""
    return [bool(gap > 0) for gap in measured(recommender, asked)]


def _scored(recommender: Recommender, runs: Sequence[Sequence[tuple[Question, Candidate]]]) -> list[np.ndarray]:
    """Return the scores of each run: of many deletions from one history by themselves, of the rest from one batch."""
    candidates = [[candidate for _, candidate in run] for run in runs]
    found = [_by_itself(recommender, run[0][0], some) for run, some in zip(runs, candidates, strict=True)]
    batched = [number for number, scores in enumerate(found) if scores is None]
    histories = [one for number in batched for one in runs[number][0][0].without_each(candidates[number])]
    if histories:
        scores, start = checked_scores(recommender, histories), 0
        for number in batched:
            found[number] = scores[start : start + len(runs[number])]
            start += len(runs[number])
    return [scores for scores in found if scores is not None]


def _by_itself(recommender: Recommender, question: Question, candidates: Sequence[Candidate]) -> np.ndarray | None:
    """Return the scores of many deletions from one history by a recommender that makes them itself, else None."""
    is_one_size = len(candidates) >= MANY and len({len(candidate) for candidate in candidates}) == 1
    if not is_one_size or question.options.removal != "delete" or not can_delete(recommender):
        return None
    whose, deleting = _deleting.get(question, (None, None))
    if deleting is None or whose is not recommender:
        deleting = recommender.deleting(question.handed)
        _deleting[question] = recommender, deleting
    return checked(deleting(question.handed_places(candidates)), len(candidates), recommender.n_items)

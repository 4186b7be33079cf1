"""What is measured of a removal that was found: whether others of its size do as well, and other kinds of removal."""

from collections.abc import Callable, Sequence, Set
from itertools import islice

from recexplain.counterfactual import REMOVALS, Candidate, Question
from recexplain.recommender import Recommender, checked_scores, keeps_places
from recexplain.search import null_sets
from recexplain.verdicts import verdicts

ROWS = 1024  # histories scored in one batch

Changing = Set[Candidate] | None  # all sets of a size that change the answer; None: not all of that size were tested

#: The null rate of a removal that was found and the other removals under which it holds; None and () where nobody asks.
Robust = Callable[[Recommender, Question, Candidate, Changing], tuple[float | None, tuple[str, ...]]]


def robustness(
    recommender: Recommender, question: Question, candidate: Candidate, changing: Changing = None
) -> tuple[float, tuple[str, ...]]:
    """Return the null rate of a removal that was found, and the other removals under which it holds."""
    return null_rate(recommender, question, len(candidate), changing), holds_under(recommender, question, candidate)


def unasked(_: Recommender, __: Question, ___: Candidate, ____: Changing = None) -> tuple[None, tuple[str, ...]]:
    """Return what stands for both where nobody asks."""
    return None, ()


class Remembered:
    """`robustness` of several explainers of the same recommender and people: nothing is scored twice.

    The null rate comes from the question and the size alone, the other removals from the question and the set.
    """

    def __init__(self) -> None:
        self._rates: dict[tuple[object, ...], float] = {}
        self._held: dict[tuple[object, ...], tuple[str, ...]] = {}

    def __call__(
        self, recommender: Recommender, question: Question, candidate: Candidate, changing: Changing = None
    ) -> tuple[float, tuple[str, ...]]:
        """Return the null rate and the other removals."""
        asked = (question.user, question.history.tobytes(), question.target, question.options)
        rate, held = (*asked, len(candidate)), (*asked, candidate)
        if rate not in self._rates:
            self._rates[rate] = null_rate(recommender, question, len(candidate), changing)
        if held not in self._held:
            self._held[held] = holds_under(recommender, question, candidate)
        return self._rates[rate], self._held[held]


def changed_share(recommender: Recommender, question: Question, candidates: Sequence[Candidate]) -> float:
    """Return the share of some candidates, one at the least, that change the answer."""
    waiting, n_changed = iter(candidates), 0
    while part := list(islice(waiting, ROWS)):
        n_changed += sum(verdicts(recommender, [(question, candidate) for candidate in part]))
    return n_changed / len(candidates)


def null_rate(recommender: Recommender, question: Question, size: int, changing: Changing = None) -> float:
    """Return the share of random sets of a size that change the answer, `search.null_sets`; apart from the budget.

    `changing`: all of that size that do, where it is known; then nothing is scored.
    """
    drawn = null_sets(size, question.removable, question.rng("null_rate"))
    if changing is not None:
        return sum(candidate in changing for candidate in drawn) / len(drawn)
    return changed_share(recommender, question, drawn)


def holds_under(recommender: Recommender, question: Question, candidate: Candidate) -> tuple[str, ...]:
    """Return the other removals under which the same positions also change the answer, each scored on its own.

    One that the recommender cannot do, or that would leave nothing, is not among them.
    """
    found = []
    for removal in REMOVALS:
        is_possible = removal != "mask" or question.mask_item is not None
        is_possible = is_possible and (removal != "pad" or keeps_places(recommender))
        if removal == question.options.removal or not is_possible or len(candidate) >= question.n_before(removal):
            continue
        scores = checked_scores(recommender, [question.without(candidate, removal)])
        if question.gaps(scores)[0][0] > 0:
            found.append(removal)
    return tuple(found)

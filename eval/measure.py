"""One explainer and one person: every metric that can be told from these two alone."""

from dataclasses import asdict, dataclass
from typing import Any

from recexplain.counterfactual import REMOVALS, Question
from recexplain.evaluation import metrics
from recexplain.evaluation.orders import order_of
from recexplain.evaluation.perturbation import only, perturbed, standing_of
from recexplain.explainers import Explainer
from recexplain.explainers.driver import Case, Timing
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, asked_for, checked_scores, keeps_places, number_of, top_items
from recexplain.verdicts import verdicts

Values = dict[str, float | None]  # metric -> its value; None: it does not apply to this person


@dataclass(frozen=True)
class Measured:
    """What one explainer came to for one person."""

    explanation: Explanation
    timing: Timing
    values: Values
    removed: tuple[float, ...] = ()  # probability of the target without the most explaining share, by tenths
    kept: tuple[float, ...] = ()  # and with that share alone

    def to_dict(self) -> dict[str, Any]:
        """Return one line of the journal."""
        return {
            "explanation": self.explanation.to_dict(),
            "timing": asdict(self.timing),
            "values": self.values,
            "removed": self.removed,
            "kept": self.kept,
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Measured":
        """Return what `to_dict` wrote."""
        return cls(
            Explanation.from_dict(row["explanation"]),
            Timing(**row["timing"]),
            dict(row["values"]),
            tuple(row["removed"]),
            tuple(row["kept"]),
        )


def measured(recommender: Recommender, case: Case, explainer: Explainer) -> Measured:
    """Return every metric of one case that needs no other explainer and no other run.

    A person who could not be explained has an error's values: nothing found, all items that the model saw.
    """
    explanation = case.explanation
    values = outcome(explanation)
    question = case.question
    if question is None:
        return Measured(explanation, case.timing, values)
    recommender = asked_for(recommender, explanation.user)
    if explanation.is_found:
        values |= of_the_set(recommender, question, explanation)
    # the order that the search has followed is not computed again
    order = case.order or order_of(explainer, recommender, question, explanation.positions, case.graphs)
    steps = perturbed(recommender, question, order)
    k, whole = question.options.k, float(steps.whole.probabilities[0])
    values |= {
        "pos_p": metrics.positive_perturbation(steps.most_first.ranks, k),
        "neg_p": metrics.negative_perturbation(steps.least_first.ranks, k),
        "del_p": metrics.deletion(steps.most_first.probabilities),
        "ins_p": metrics.insertion(steps.kept.probabilities),
        "ndcg_p": metrics.rank_decay(steps.most_first.ranks),
        "aupc": metrics.area_under_perturbation(steps.most_first.log_odds, steps.shares),
        "cdcg": metrics.fixed_length_decay(steps.lengths.ranks),
        "comprehensiveness": metrics.comprehensiveness(whole, steps.removed_bins.probabilities),
        "sufficiency": metrics.sufficiency(whole, steps.kept_bins.probabilities),
    }
    curves = (steps.most_first.probabilities, steps.kept.probabilities)
    return Measured(explanation, case.timing, values, *(tuple(curve.tolist()) for curve in curves))


def outcome(explanation: Explanation) -> Values:
    """Return what is counted for everyone: a failure is not necessary, not sufficient, and as large as the window."""
    status, n_seen = explanation.status, len(explanation.history) - explanation.n_unseen
    size = len(explanation.positions) if explanation.is_found else None
    return {
        "found": float(explanation.is_found),
        "none": float(status == "none_up_to"),
        "budget": float(status == "budget"),
        "error": float(status == "error"),
        "optimal": float(status == "optimal"),
        "size_found": size,
        "size_all": metrics.size_over_all(size, n_seen),
        "pn": 0.0,
        "ps": 0.0,
        "pn_r": 0.0,
        "null_rate": explanation.null_rate,
        "evaluations": None if status == "error" else explanation.evaluations,
    }


def of_the_set(recommender: Recommender, question: Question, explanation: Explanation) -> Values:
    """Return the metrics of a found set: what its removal does, what it does alone, whether an item can be spared."""
    found = explanation.positions
    smaller = [tuple(q for q in found if q != p) for p in found] if len(found) > 1 else []
    alone = standing_of(recommender, question, [only(question, found)])
    return {
        "irreducible": metrics.irreducible(verdicts(recommender, [(question, some) for some in smaller])),
        "replacement_rank": _replacement_rank(recommender, question, explanation),
        "pn": metrics.necessity(explanation.target, explanation.after),
        "ps": metrics.sufficiency_of_set(int(alone.ranks[0]), question.options.k),
        "pn_r": metrics.ranked_change(explanation.before, explanation.after, question.options.k),
        "cross_removal": metrics.cross_removal(
            explanation.holds_under, other_removals(recommender, question, len(found))
        ),
    }


def other_removals(recommender: Recommender, question: Question, size: int) -> tuple[str, ...]:
    """Return the kinds of removal that ask something else of this history than the question's own.

    Not one that the model cannot do or that would leave nothing; with nothing unseen `backfill` is `delete`.
    """
    own, found = question.options.removal, []
    for removal in REMOVALS:
        is_same = question.n_unseen == question.n_ignored and {removal, own} == {"delete", "backfill"}
        is_possible = removal != "mask" or question.mask_item is not None
        is_possible = is_possible and (removal != "pad" or keeps_places(recommender))
        if removal != own and is_possible and size < question.n_before(removal) and not is_same:
            found.append(removal)
    return tuple(found)


def _replacement_rank(recommender: Recommender, question: Question, explanation: Explanation) -> float | None:
    """Return the place in the original ranking of what comes first afterwards; None where nothing does."""
    if explanation.replacement is None:
        return None
    scores = checked_scores(recommender, [question.handed])[0]
    ranking = top_items(scores, question.history, recommender.n_items).tolist()
    rank: int = metrics.replacement_rank(ranking, number_of(recommender, explanation.replacement))
    return rank

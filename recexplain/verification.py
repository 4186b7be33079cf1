"""Replays stored explanations: asks the recommender again whether what they say is true."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, islice, takewhile
from math import comb, inf

from recexplain.counterfactual import Candidate, Options, Question, ask
from recexplain.errors import OptionError, RecExplainError, is_whole
from recexplain.explainers.cases import Identified, Person
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, asked_for, checked_scores, id_of, number_of, top_items
from recexplain.robustness import ROWS, holds_under, null_rate
from recexplain.search import SHOWN, criticality
from recexplain.steps import sets_by_cost
from recexplain.verdicts import verdicts

FOUND = ("optimal", "irreducible", "found")


@dataclass(frozen=True)
class Failure:
    """One thing that an explanation says and that does not hold."""

    row: int  # of the explanations, from 0
    user: str | None
    reason: str


def verify(
    recommender: Recommender, explanations: Iterable[Explanation], *, max_evaluations: int | None = None
) -> list[Failure]:
    """Return what does not hold of explanations; an empty list: all of it holds.

    Each is asked again: the hashes of model and data, the lists, what was removed and what came instead, the share of
    random sets, the other removals, the alternatives, and that no smaller or cheaper set does it. For these sets at
    most `max_evaluations` histories a row are scored, smallest sets first, and of the first size that is too many a
    sample, drawn from the row's seed: a sample can show that a claim is wrong, not that it holds. `evaluations` and
    `explainer` are what was reported; that no field was changed since is seen by the digest, which has no key: it shows
    what changed by accident, not who wrote a row.
    """
    if max_evaluations is not None and not is_whole(max_evaluations, 1):
        raise OptionError(f"max_evaluations must be a whole number of 1 or more, or None, not {max_evaluations!r}")
    if isinstance(explanations, Explanation) or not isinstance(explanations, Iterable):
        raise OptionError(f"verify takes a list of explanations, not {type(explanations).__name__}")
    explanations = list(explanations)
    for one in explanations:
        if not isinstance(one, Explanation):
            raise OptionError(f"verify takes a list of explanations, and one of these is {type(one).__name__}")
    return [
        Failure(row, explanation.user, reason)
        for row, explanation in enumerate(explanations)
        for reason in failures_of(recommender, explanation, max_evaluations=max_evaluations)
    ]


def failures_of(
    recommender: Recommender, explanation: Explanation, *, max_evaluations: int | None = None
) -> Iterator[str]:
    """Yield what does not hold of one explanation, a sentence each."""
    yield from _about_the_digest(explanation)
    if isinstance(recommender, Identified):
        for name in ("model_hash", "data_hash"):
            stored, given = getattr(explanation, name), getattr(recommender, name)
            if stored != given:
                yield f"{name}: it is about another one ({stored[:12]}) than the checkpoint's ({given[:12]})"
    try:
        recommender = asked_for(recommender, explanation.user)
    except RecExplainError as error:
        if (explanation.status, explanation.error) != ("error", str(error)):
            yield f"it cannot be asked again: {error}"
        return
    if explanation.status == "error":
        yield from _about_an_error(recommender, explanation)
        return
    if explanation.error is not None:
        yield "error: only the status error has one"
    try:
        question = _asked_again(recommender, explanation)
        yield from _about_the_question(recommender, explanation, question)
        yield from _about_what_was_found(recommender, explanation, question)
        yield from _about_sets(recommender, explanation, question, max_evaluations)
    except RecExplainError as error:
        yield f"it cannot be asked again: {error}"


def _about_the_digest(explanation: Explanation) -> Iterator[str]:
    if not explanation.digest:
        yield "digest: it has none, so that a change of the row would not be seen"
    elif explanation.digest != explanation.fingerprint():
        yield "digest: the row was changed after it was written"


def _about_an_error(recommender: Recommender, explanation: Explanation) -> Iterator[str]:
    if not explanation.error:
        yield "error: the status is error, and no reason is given"
    if explanation.positions or explanation.items or explanation.before or explanation.after:
        yield "status: it is error, and yet there are results"
    try:
        _asked_again(recommender, explanation)
    except RecExplainError as error:
        if explanation.error and str(error) != explanation.error:
            yield f"error: the reason is now another: {error}"


def _asked_again(recommender: Recommender, explanation: Explanation) -> Question:
    """Return the question that the explanation answers; what was locked and what it cost come from the row."""
    e = explanation
    tau = 0.5 if e.tau is None else e.tau
    options = Options(
        e.change, e.k, e.removal, seed=e.seed, tau=tau, wanted=e.wanted, wanted_category=e.wanted_category
    )
    history = Person(e.user, e.history).numbers(recommender)
    target = number_of(recommender, e.target) if e.target else None
    question = ask(recommender, history, options, target, user=e.user)
    if e.costs and (len(e.costs) != len(e.history) or not all(0 < cost < inf for cost in e.costs)):
        raise OptionError("costs must be numbers above 0, one a position of the history")
    return replace(question, locked=frozenset(e.locked), costs=e.costs)


def _about_the_question(recommender: Recommender, explanation: Explanation, question: Question) -> Iterator[str]:
    if explanation.n_unseen != question.n_unseen:
        yield f"n_unseen: the recommender does not see {question.n_unseen} items, not {explanation.n_unseen}"
    if explanation.target != id_of(recommender, question.target):
        yield f"target: it is {id_of(recommender, question.target)}"
    if explanation.before != _ids(recommender, question.before):
        yield "before: the recommender's list is another"
    if explanation.target_rank != question.before.index(question.target) + 1:
        yield f"target_rank: the target stands at place {question.before.index(question.target) + 1}"
    if not set(explanation.locked) <= set(range(question.n_unseen, len(question.history))):
        yield "locked: it holds a position that the recommender does not see"
    if (explanation.tau is not None) != (explanation.change == "list"):
        yield "tau: it is given with change=list, and only there"


def _about_what_was_found(recommender: Recommender, explanation: Explanation, question: Question) -> Iterator[str]:
    e, positions = explanation, explanation.positions
    if not positions:
        yield from _about_nothing(e)
        return
    if e.status not in FOUND:
        yield f"status: it is {e.status}, and yet something is removed"
    if not _is_candidate(positions, question):
        yield "positions: they must be some that may be removed, ascending, and leave something"
        return
    if e.items != tuple(e.history[position] for position in positions):
        yield "items: they are not those at the positions"
    yield from _about_the_list_afterwards(recommender, e, question)
    if e.null_rate != (share := null_rate(recommender, question, len(positions))):
        yield f"null_rate: it is {share}, not {e.null_rate}"
    if e.holds_under != (others := holds_under(recommender, question, positions)):
        yield f"holds_under: the set changes the answer under {', '.join(others) or 'no other removal'}"


def _about_nothing(e: Explanation) -> Iterator[str]:
    """Yield what is wrong with an explanation that removes nothing."""
    if e.status in FOUND:
        yield f"positions: the status is {e.status}, and nothing is removed"
    lists = (e.items, e.after, e.alternatives, e.holds_under, e.criticality)
    if any(lists) or (e.replacement, e.null_rate, e.n_minimal) != (None, None, None):
        yield "status: nothing was found, and yet there are results"


def _about_the_list_afterwards(recommender: Recommender, e: Explanation, question: Question) -> Iterator[str]:
    scores = checked_scores(recommender, [question.without(e.positions)])[0]
    after = tuple(top_items(scores, question.history, e.k).tolist())
    if not question.is_changed(after):
        yield "positions: their removal does not change the answer"
    if e.after != _ids(recommender, after):
        yield "after: the recommender's list is another"
    if e.replacement != (e.after[0] if e.after else None):
        yield "replacement: it is not the first item afterwards"


def _about_sets(
    recommender: Recommender, explanation: Explanation, question: Question, most: int | None
) -> Iterator[str]:
    """Yield what does not hold of status, proven_size, evaluations, alternatives, n_minimal and criticality."""
    e = explanation
    n_removable, n_removed = len(question.removable), len(e.positions)
    if e.proven_size > (n_removed - 1 if n_removed else question.most):
        yield "proven_size: it is as large as what was found, or more than can be removed"
        return
    if e.evaluations < sum(comb(n_removable, size) for size in range(1, e.proven_size + 1)) + bool(n_removed):
        yield "evaluations: they are fewer than the sets that are said to be tested"
    if e.status == "optimal" and not question.costs and e.proven_size != n_removed - 1:
        yield "status: optimal says that all smaller sets were tested, proven_size does not"
    if e.positions and not _is_candidate(e.positions, question):
        return
    budget = _Budget(recommender, question, most)
    for size in range(1, e.proven_size + 1):
        if any(budget.changing(combinations(question.removable, size), comb(n_removable, size))):
            yield f"proven_size: a set of {size} changes the answer, and it is {e.proven_size}"
            return
    smaller = combinations(e.positions, n_removed - 1) if n_removed > 1 else ()
    if e.status == "irreducible" and any(budget.changing(smaller, n_removed)):
        yield "status: a part of what was removed is enough, and it is irreducible"
    if e.positions:
        yield from _about_minimal_sets(e, question, budget)


def _about_minimal_sets(e: Explanation, question: Question, budget: "_Budget") -> Iterator[str]:
    cost, others = question.cost(e.positions), set(e.alternatives)
    are_sound = len(others) == len(e.alternatives) and e.positions not in others
    if not are_sound or any(not _is_candidate(some, question) or question.cost(some) != cost for some in others):
        yield "alternatives: they must be other sets that cost as much"
        return
    if len(budget.changing(e.alternatives, len(others))) < budget.n_tried:
        yield "alternatives: one of them does not change the answer"
    if question.costs and e.status == "optimal":
        by_cost = takewhile(lambda one: one[0] < cost, sets_by_cost(question))
        cheaper = [candidate for _, candidate in islice(by_cost, e.evaluations)]
        if len(cheaper) == e.evaluations:
            yield "evaluations: they are fewer than the cheaper sets and the set itself, which optimal says were tested"
            return
        if budget.changing(cheaper, len(cheaper)):
            yield "status: a cheaper set changes the answer, and it is optimal"
    if e.n_minimal is not None:
        yield from _about_their_number(e, question, budget)
    elif e.criticality:
        yield "criticality: it is known only where n_minimal is"


def _about_their_number(e: Explanation, question: Question, budget: "_Budget") -> Iterator[str]:
    """Yield what is wrong with n_minimal and criticality; where all sets of a size can be tried again, they are."""
    assert e.n_minimal is not None
    minimal = [e.positions, *e.alternatives]
    if len(e.alternatives) != min(SHOWN, e.n_minimal - 1):
        yield "n_minimal: the alternatives are not as many"
        return
    n_sets = comb(len(question.removable), len(e.positions))
    if not question.costs and (budget.left is None or n_sets <= budget.left):
        minimal = budget.changing(combinations(question.removable, len(e.positions)), n_sets)
        if len(minimal) != e.n_minimal:
            yield f"n_minimal: {len(minimal)} sets of that size change the answer, not {e.n_minimal}"
    if len(minimal) == e.n_minimal and e.criticality != criticality(minimal, len(question.history)):
        yield "criticality: the shares are others"


class _Budget:
    """What may still be scored for one row."""

    def __init__(self, recommender: Recommender, question: Question, left: int | None) -> None:
        self.recommender, self.question, self.left = recommender, question, left
        self.n_tried = 0  # the last time

    def changing(self, candidates: Iterable[Candidate], n: int) -> list[Candidate]:
        """Return those of n candidates that change the answer; of too many an even share is tried."""
        step = 1 if self.left is None else max(1, -(-n // max(1, self.left)))
        start = int(self.question.rng("verify").integers(step))
        tried = islice(candidates, start, None if self.left is None else start + self.left * step, step)
        found: list[Candidate] = []
        self.n_tried = 0
        while part := list(islice(tried, ROWS)):
            answers = verdicts(self.recommender, [(self.question, candidate) for candidate in part])
            found += [candidate for candidate, changes in zip(part, answers, strict=True) if changes]
            self.n_tried += len(part)
        self.left = None if self.left is None else self.left - self.n_tried
        return found


def _is_candidate(positions: Candidate, question: Question) -> bool:
    is_ascending = list(positions) == sorted(set(positions))
    return is_ascending and set(positions) <= set(question.removable) and 0 < len(positions) <= question.most


def _ids(recommender: Recommender, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(id_of(recommender, number) for number in numbers)

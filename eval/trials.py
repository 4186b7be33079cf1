"""What is run: every explainer on the same people, once for the metrics and again to see whether its sets hold."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recexplain.adapters.recbole import RecBoleRecommender
from recexplain.counterfactual import Options, ask
from recexplain.errors import RecExplainError
from recexplain.evaluation.config import AnyCheckpoint
from recexplain.evaluation.journal import Journal
from recexplain.evaluation.measure import measured
from recexplain.evaluation.metrics import order_agreement
from recexplain.evaluation.orders import Ordered, has_order
from recexplain.evaluation.people import with_test_item
from recexplain.evaluation.randomised import deepest_randomised, randomised
from recexplain.explainers import Explainer
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import PEOPLE, Case, explain_cases
from recexplain.explanation import Explanation
from recexplain.models.network import NetworkRecommender
from recexplain.recommender import Recommender, asked_for
from recexplain.robustness import Remembered, Robust, unasked
from recexplain.sequences import Dataset

MAIN = "main"
SLOW = 2.0  # seconds a person: then nobody else is asked about at the same time


@dataclass(frozen=True, eq=False)
class Trial:
    """The people and the question of one run of all explainers."""

    name: str  # MAIN, the name of the metric that compares it with that, or `budget <n>`
    recommender: Recommender
    people: Sequence[Person]
    options: Options
    shuffled: Recommender | None = None  # then it is asked for its orders only, and nobody is explained
    robust: Robust = unasked  # of the main trial alone; all explainers share what it has scored


@dataclass(frozen=True, eq=False)
class Work:
    """One explainer in one trial, as far as it is done."""

    label: str
    explainer: Explainer
    trial: Trial
    people: Sequence[Person]
    journal: Journal

    def steps(self) -> Iterator[None]:
        """Do what is left, a person a step, each of them on disk before the next."""
        for row in self._rows(self.people[len(self.journal) :]):
            self.journal.add(row)
            yield

    def _rows(self, people: Sequence[Person]) -> Iterator[dict[str, Any]]:
        trial, explainer = self.trial, self.explainer
        if trial.shuffled is not None:
            for person in people:
                yield {"user": person.user, "value": same_order(trial, trial.shuffled, person, explainer)}
            return
        for case in self._cases(people):
            if trial.name == MAIN:
                yield measured(trial.recommender, case, explainer).to_dict()
            else:
                yield _outline(case.explanation)

    def _cases(self, people: Sequence[Person]) -> Iterator[Case]:
        """Yield each person's case; several are asked about at once unless one takes long, for all of them may be lost.

        Who is asked about together changes nothing of what is found.
        """
        at_once = 1
        while people:
            began, packed = time.perf_counter(), people[:at_once]
            trial = self.trial
            yield from explain_cases(trial.recommender, packed, self.explainer, trial.options, trial.robust)
            people = people[at_once:]
            at_once = PEOPLE if time.perf_counter() - began < SLOW * len(packed) else 1


def same_order(trial: Trial, shuffled: Recommender, person: Person, explainer: Explainer) -> float | None:
    """Return how much of an explainer's order is left where the model's weights are shuffled, for the same target.

    None for an explainer without an order of its own, and for a person who cannot be explained.
    """
    if not has_order(explainer):
        return None
    ordered: Ordered = explainer
    try:
        recommender, shuffled = (asked_for(one, person.user) for one in (trial.recommender, shuffled))
        question = ask(recommender, person.numbers(recommender), trial.options, user=person.user)
        orders = [ordered.order(one, question) for one in (recommender, shuffled)]
    except RecExplainError:
        return None  # the main run says why
    if len(orders[0]) < 2:
        return None
    same: float = order_agreement(*orders)
    return same


def _outline(explanation: Explanation) -> dict[str, Any]:
    """Return what is kept of an explanation that is only compared with another."""
    return {
        "user": explanation.user,
        "status": explanation.status,
        "target": explanation.target,
        "positions": list(explanation.positions),
        "n_seen": len(explanation.history) - explanation.n_unseen,
        "evaluations": explanation.evaluations,
    }


def trials(
    checkpoint: AnyCheckpoint,
    recommender: NetworkRecommender | RecBoleRecommender,
    people: Sequence[Person],
    options: Options,
    *,
    dataset: Dataset,
    checks: int | None,  # how many people the runs beside the main one are made with; None: all
    with_item: bool,  # whether histories lack an item that can be added
    other: AnyCheckpoint | None,
    budgets: Sequence[int],
) -> list[Trial]:
    """Return the main trial and those that it is compared with; `recommender` is that of the checkpoint."""
    device = str(recommender.device)
    found, few = [Trial(MAIN, recommender, people, options, robust=Remembered())], people[:checks]
    if few:
        found.append(Trial("stability_seed", recommender, few, replace(options, seed=options.seed + 1)))
        if with_item:
            longer = [with_test_item(person, dataset) for person in few]
            found.append(Trial("stability_item", recommender, longer, options))
        if other is not None:
            found.append(Trial("stability_model", other.recommender(device), few, options))
        deepest = deepest_randomised(checkpoint, options.seed)
        if deepest is not None:
            found.append(Trial("randomised_set", deepest.recommender(device), few, options))
        shuffled = randomised(checkpoint, options.seed).recommender(device)
        found.append(Trial("randomised_order", recommender, few, options, shuffled))
    for most in budgets:
        found.append(Trial(f"budget {most}", recommender, people, replace(options, max_evaluations=most)))
    return found


def work_of(
    all_trials: Sequence[Trial], explainers: Mapping[str, Explainer], limits: Mapping[str, int], folder: Path
) -> list[Work]:
    """Return all that there is to do, what was done before included; each explainer and trial has a journal."""
    return [
        Work(label, explainer, trial, trial.people[: limits.get(label)], Journal(folder / _name(number, trial)))
        for trial in all_trials
        for number, (label, explainer) in enumerate(explainers.items())
    ]


def _name(number: int, trial: Trial) -> str:
    return f"{trial.name.replace(' ', '_')}.{number}.jsonl"

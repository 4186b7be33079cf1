"""How steady explanations are: another seed, one interaction earlier, a model that has unlearnt, another model."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb, fsum
from typing import Any

from recexplain.counterfactual import ask
from recexplain.evaluation.audit_drawn import Drawn
from recexplain.evaluation.audit_groups import mean_of, share
from recexplain.evaluation.audit_studies import Study, carried_out, drawn_words, person_of
from recexplain.evaluation.config import AnyCheckpoint
from recexplain.evaluation.metrics import agreement
from recexplain.evaluation.orders import has_order
from recexplain.evaluation.randomised import deepest_randomised, randomised
from recexplain.evaluation.trials import Trial, Work
from recexplain.recommender import asked_for
from recexplain.verdicts import verdicts

Outline = Mapping[str, Any]  # what a trial notes of an explanation


@dataclass(frozen=True, eq=False)
class Check:
    """One way to ask again."""

    title: str
    about: str
    wanted: str  # high or low: how much should stay the same
    trial: Trial
    more: Callable[[Study, Sequence[tuple[Drawn, Outline]]], list[dict[str, Any]]] = lambda _, __: []


def sensitivity(study: Study, people: Sequence[Drawn], other: AnyCheckpoint | None) -> dict[str, Any]:
    """Return what becomes of the explanations of a sample when they are made again in other ways."""
    checks = _checks(study, people, other)
    work = [study.work(study.explainer.name, study.explainer, check.trial) for check in checks]
    has_unlearnt = any(check.trial.name == "weights" for check in checks)
    orders = _order_work(study, people) if has_unlearnt else []
    carried_out([*work, *orders], "checking steadiness")
    found = [_figures(study, check, people, one) for check, one in zip(checks, work, strict=True)]
    for one in orders:
        weights = next(check for check in found if check["name"] == "weights")
        weights["more"].append(_order_figures(one))
    return {"people": len(people), "drawn": drawn_words(len(people)), "checks": found}


def by_chance(one: int, other: int, n: int) -> float:
    """Return the mean Jaccard of two random sets of these sizes among n items.

    >>> by_chance(1, 1, 4), by_chance(2, 2, 2)
    (0.25, 1.0)
    """
    ways = comb(n, other)
    shared = range(max(0, one + other - n), min(one, other) + 1)
    return fsum(comb(one, o) * comb(n - one, other - o) / ways * o / (one + other - o) for o in shared)


def _checks(study: Study, people: Sequence[Drawn], other: AnyCheckpoint | None) -> list[Check]:
    options, device = study.options, str(study.recommender.device)
    asked = [person_of(one) for one in people]
    earlier = [replace(person, history=list(person.history)[:-1]) for person in asked]
    unlearnt = deepest_randomised(study.checkpoint, options.seed)
    checks = [
        Check(
            "another seed",
            "Everyone is explained again with the next seed of the explainer; the model is the same.",
            "high",
            Trial("seed", study.recommender, asked, replace(options, seed=options.seed + 1)),
        ),
        Check(
            "one more interaction",
            "Everyone is explained without the newest item of the history, as it was one interaction earlier.",
            "high",
            Trial("item", study.recommender, earlier, options),
            _after_the_item,
        ),
    ]
    if unlearnt is not None:
        checks.append(
            Check(
                "randomised weights",
                "Everyone is explained from a model whose deepest layer has its weights shuffled. An explanation that "
                "stays the same does not depend on what the model has learnt.",
                "low",
                Trial("weights", unlearnt.recommender(device), asked, options),
            )
        )
    if other is not None:
        checks.append(
            Check(
                "another model",
                f"Everyone is explained from another model of the same data (hash {other.model_hash[:12]}).",
                "high",
                Trial(f"model-{other.model_hash[:12]}", other.recommender(device), asked, options),
            )
        )
    return checks


def _order_work(study: Study, people: Sequence[Drawn]) -> list[Work]:
    """Return the comparison of orders, for an explainer that has one: no set, but an order is asked of everyone."""
    if not has_order(study.explainer):
        return []
    shuffled = randomised(study.checkpoint, study.options.seed).recommender(str(study.recommender.device))
    asked = [person_of(one) for one in people]
    trial = Trial("order", study.recommender, asked, study.options, shuffled)
    return [study.work(study.explainer.name, study.explainer, trial)]


def _order_figures(work: Work) -> dict[str, Any]:
    rows = work.journal.rows[: len(work.people)]
    return {
        "name": "order",
        "about": "|rank correlation| of the explainer's order of the items and that from a model of shuffled weights",
        "mean": mean_of(Counter(row["value"] for row in rows if row["value"] is not None)),
    }


def _figures(study: Study, check: Check, people: Sequence[Drawn], work: Work) -> dict[str, Any]:
    """Return what is the same in both runs, over people who are an error in neither."""
    pairs = [
        (one, again)
        for one, again in zip(people, work.journal.rows, strict=False)
        if "error" not in (one.row["status"], again["status"])
    ]
    both = [(one, again) for one, again in pairs if one.row["positions"] and again["positions"]]
    same = Counter(agreement(one.row["positions"], again["positions"]) for one, again in both)
    chances = [
        by_chance(len(one.row["positions"]), len(again["positions"]), len(one.row["history"]) - one.row["n_unseen"])
        for one, again in both
    ]
    return {
        "name": check.trial.name.partition("-")[0],
        "title": check.title,
        "about": check.about,
        "wanted": check.wanted,
        "people": len(pairs),
        "found_before": share(sum(bool(one.row["positions"]) for one, _ in pairs), len(pairs)),
        "found_again": share(sum(bool(again["positions"]) for _, again in pairs), len(pairs)),
        "found_both": len(both),
        "jaccard": mean_of(same),
        "same": share(same[1.0], len(both)),
        "by_chance": round(fsum(chances) / len(chances), 6) if chances else None,
        "more": check.more(study, pairs),
    }


def _after_the_item(study: Study, pairs: Sequence[tuple[Drawn, Outline]]) -> list[dict[str, Any]]:
    """Return whether what was found one interaction earlier still holds, and whether the recommendation is the same."""
    found = [(one, again) for one, again in pairs if again["positions"]]
    n_holding = sum(_holds(study, one, again["positions"]) for one, again in found)
    n_same = sum(one.row["target"] == again["target"] for one, again in pairs)
    return [
        {
            "name": "holds",
            "about": "sets found one interaction earlier whose removal changes the answer after it too",
            "share": share(n_holding, len(found)),
        },
        {
            "name": "same_target",
            "about": "people to whom the same item was recommended one interaction earlier",
            "share": share(n_same, len(pairs)),
        },
    ]


def _holds(study: Study, drawn: Drawn, positions: Sequence[int]) -> bool:
    """Whether a set changes the answer to the whole history; of a set, what the model still sees counts."""
    person = person_of(drawn)
    recommender = asked_for(study.recommender, person.user)
    question = ask(recommender, person.numbers(recommender), study.options, user=person.user)
    candidate = tuple(position for position in positions if position >= question.n_unseen)
    if not 0 < len(candidate) < question.n_before(question.options.removal):
        return False
    return verdicts(recommender, [(question, candidate)])[0]

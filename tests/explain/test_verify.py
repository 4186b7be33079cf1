"""Every false word of a stored explanation is found and named; true ones are left alone."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from toys import Recording, Voting, Wrapper, is_changed, question_of, random_votes, votes_of

import recexplain
from recexplain import Explanation, Failure, OptionError, verify

DRAW = np.random.default_rng(5)


class Known(Wrapper):
    model_hash, data_hash = "model", "data"


@pytest.fixture(scope="module")
def recommender() -> Any:
    return Known(Voting(random_votes(np.random.default_rng(2), 14), max_length=6, decay=0.5))


@pytest.fixture(scope="module")
def explanations(recommender: Any) -> list[Explanation]:
    draw = np.random.default_rng(3)
    histories = [draw.integers(1, 10, int(length)).tolist() for length in draw.integers(2, 9, 12)]
    options: list[dict[str, Any]] = [
        {},
        {"change": "leaves", "k": 2, "removal": "pad"},
        {"change": "list", "k": 3, "tau": 0.6, "removal": "backfill"},
        {"change": "enters", "k": 2, "wanted": "14"},
        {"change": "leaves", "k": 3, "locked": ["3"], "min_age": 1},
        {"change": "leaves", "k": 2, "costs": {"1": 2.5, "2": 0.5}},
        {"change": "leaves", "k": 2, "max_evaluations": 9},
        {"change": "leaves", "k": 2, "explainer": "recency"},
        {"change": "leaves", "k": 1, "explainer": "random"},
    ]
    people = [str(number) for number in range(11)] + ["nobody"]
    return [
        one
        for more in options
        for one in recexplain.explain_many(recommender, [*histories[:-1], [3]], users=people, **more)
    ]


def test_what_is_true_holds(recommender: Any, explanations: list[Explanation]) -> None:
    assert verify(recommender, explanations) == []
    assert verify(recommender, explanations, max_evaluations=3) == []
    assert {one.status for one in explanations} >= {"optimal", "irreducible", "none_up_to", "error"}
    assert any(one.alternatives for one in explanations)


def one_of(explanations: list[Explanation], status: str, **more: Any) -> Explanation:
    return next(
        one
        for one in explanations
        if one.status == status and all(getattr(one, name) == value for name, value in more.items())
    )


def resealed(explanation: Explanation) -> Explanation:
    """With a digest that fits, as someone would make it who wants to deceive."""
    return replace(explanation, digest=explanation.fingerprint())


def larger(one: Explanation) -> Explanation:
    """A position more: it may change the answer still, but a smaller set did."""
    spare = next(p for p in range(one.n_unseen, len(one.history)) if p not in one.positions)
    positions = tuple(sorted((*one.positions, spare)))
    return replace(
        one, positions=positions, items=tuple(one.history[p] for p in positions), proven_size=len(positions) - 1
    )


TAMPER: dict[str, tuple[str, Callable[[Explanation], Explanation], str]] = {
    "history": ("optimal", lambda e: replace(e, history=e.history[1:] + e.history[:1]), "before|items|positions"),
    "unknown item": ("optimal", lambda e: replace(e, history=("77", *e.history[1:])), "asked again: item '77'"),
    "n_unseen": ("optimal", lambda e: replace(e, n_unseen=e.n_unseen + 1), "n_unseen: "),
    "target": ("optimal", lambda e: replace(e, target=e.before[1]), "it cannot be asked again: change=top1"),
    "target_rank": ("optimal", lambda e: replace(e, target_rank=2), "target_rank: "),
    "k": ("optimal", lambda e: replace(e, k=3), "before: "),
    "change": ("optimal", lambda e: replace(e, change="other"), "it cannot be asked again: change must be"),
    "removal": ("optimal", lambda e: replace(e, removal="other"), "it cannot be asked again: removal must be"),
    "status": ("optimal", lambda e: replace(e, status="none_up_to"), "status: it is none_up_to"),
    "positions": ("optimal", lambda e: replace(e, positions=()), "positions: the status is optimal"),
    "positions outside": ("optimal", lambda e: replace(e, positions=(99,)), "positions: they must be"),
    "larger": ("optimal", larger, "proven_size: a set of 1 changes the answer"),
    "items": ("optimal", lambda e: replace(e, items=("14",)), "items: "),
    "replacement": ("optimal", lambda e: replace(e, replacement=e.after[1]), "replacement: "),
    "before": ("optimal", lambda e: replace(e, before=e.before[::-1]), "before: "),
    "after": ("optimal", lambda e: replace(e, after=(*e.after[:1], *e.after[:0:-1])), "after: "),
    "proven_size": ("optimal", lambda e: replace(e, proven_size=9), "proven_size: it is as large"),
    "proven_size of none": ("none_up_to", lambda e: replace(e, proven_size=9), "proven_size: it is as large"),
    "evaluations": ("optimal", lambda e: replace(e, evaluations=0), "evaluations: "),
    "null_rate": ("optimal", lambda e: replace(e, null_rate=0.123), "null_rate: it is "),
    "holds_under": ("optimal", lambda e: replace(e, holds_under=("mask",)), "holds_under: "),
    "alternatives": ("optimal", lambda e: replace(e, alternatives=(e.positions,)), "alternatives: they must be other"),
    "n_minimal": ("optimal", lambda e: replace(e, n_minimal=50), "n_minimal: "),
    "criticality": ("optimal", lambda e: replace(e, criticality=(*e.criticality[::-1], 0.5)), "criticality: "),
    "criticality of unknown": ("optimal", lambda e: replace(e, n_minimal=None), "criticality: it is known only where"),
    "tau": ("optimal", lambda e: replace(e, tau=0.5), "tau: "),
    "wanted": ("optimal", lambda e: replace(e, wanted="14"), "it cannot be asked again: wanted and wanted_category"),
    "wanted_category": ("optimal", lambda e: replace(e, wanted_category="x"), "it cannot be asked again: wanted and"),
    "locked": ("optimal", lambda e: replace(e, locked=(77,)), "locked: "),
    "locked what is removed": ("optimal", lambda e: replace(e, locked=e.positions), "positions: they must be some"),
    "model_hash": ("optimal", lambda e: replace(e, model_hash="other"), "model_hash: it is about another one"),
    "data_hash": ("optimal", lambda e: replace(e, data_hash="other"), "data_hash: it is about another one"),
    "error": ("optimal", lambda e: replace(e, error="but"), "error: only the status error has one"),
    "result of none": ("none_up_to", lambda e: replace(e, after=("14",)), "status: nothing was found, and yet"),
    "no error": ("error", lambda e: replace(e, error=None), "error: the status is error"),
    "another error": ("error", lambda e: replace(e, error="bad luck"), "error: the reason is now another"),
    "results of an error": ("error", lambda e: replace(e, before=("1",)), "status: it is error, and yet"),
    "irreducible": ("irreducible", larger, "proven_size|status: a part"),
    "not optimal": ("irreducible", lambda e: replace(e, status="optimal"), "status: optimal says"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPER)
def test_a_false_word_is_found_and_named(name: str, recommender: Any, explanations: list[Explanation]) -> None:
    status, tamper, reason = TAMPER[name]
    one = next(
        e
        for e in explanations
        if e.status == status
        and (status != "optimal" or (e.change == "top1" and len(e.history) > 4 and len(e.after) > 2))
    )
    row = explanations.index(one)
    false = [*explanations[:row], resealed(tamper(one)), *explanations[row + 1 :]]
    failures = verify(recommender, false)
    assert failures
    assert {(failure.row, failure.user) for failure in failures} == {(row, one.user)}
    assert any(part in failure.reason for failure in failures for part in reason.split("|")), failures
    assert not any("digest" in failure.reason for failure in failures)


@pytest.mark.parametrize("field", [f.name for f in fields(Explanation) if f.name not in ("schema_version", "digest")])
def test_a_change_of_any_field_shows_in_the_digest(
    field: str, recommender: Any, explanations: list[Explanation]
) -> None:
    one = one_of(explanations, "optimal", change="top1")
    kinds: dict[str, Any] = {"str": "other", "int": 77, "float": 0.123, "NoneType": "1", "tuple": ("7",)}
    special: dict[str, Any] = {
        "status": "found", "tau": 0.9, "alternatives": ((77,),),
        **dict.fromkeys(("positions", "locked", "costs", "criticality"), (7,)),
    }  # fmt: skip
    other = special.get(field, kinds[type(getattr(one, field)).__name__])
    failures = verify(recommender, [replace(one, **{field: other})])
    assert failures[0].reason == "digest: the row was changed after it was written"


def test_a_set_that_changes_nothing_is_found_though_all_the_rest_fits(
    recommender: Any, explanations: list[Explanation]
) -> None:
    one = one_of(explanations, "optimal", change="top1", proven_size=0)
    question = question_of(recommender, [int(item) for item in one.history])
    false = next((p,) for p in question.removable if not is_changed(recommender, question, (p,)))
    after = recommender.scores([question.without(false)])[0]
    items = recexplain.recommender.top_items(after, question.history, one.k).tolist()
    told = replace(
        one, positions=false, items=(one.history[false[0]],), after=tuple(map(str, items)), replacement=str(items[0])
    )
    reasons = [failure.reason for failure in verify(recommender, [resealed(told)])]
    assert "positions: their removal does not change the answer" in reasons


def test_a_cheaper_set_is_found() -> None:
    votes = votes_of(9, [(1, 9, 2), (2, 9, 2), (3, 9, 4), (5, 8, 5)])  # 9 has 8: 3 must go, or 1 and 2
    one = recexplain.explain(Voting(votes), [1, 2, 3, 5], costs={3: 2.5})
    assert verify(Voting(votes), [one]) == []
    dear = replace(one, positions=(2,), items=("3",), alternatives=(), criticality=(0.0, 0.0, 1.0, 0.0))
    assert "status: a cheaper set changes the answer, and it is optimal" in [
        failure.reason for failure in verify(Voting(votes), [resealed(dear)])
    ]


def test_no_more_cheaper_sets_are_held_than_are_said_to_be_tested() -> None:
    votes = votes_of(41, [(item, 41, 1) for item in range(1, 41)])  # nothing but all of them is enough
    one = recexplain.explain(Voting(votes), list(range(1, 41)), costs={1: 0.5}, max_evaluations=100)
    everything = tuple(range(1, 40))  # cheaper than that are some 10^12
    told = replace(one, status="optimal", positions=everything, items=one.history[1:], n_minimal=None, alternatives=())
    reasons = [failure.reason for failure in verify(Voting(votes), [resealed(told)])]
    assert any(reason.startswith("evaluations: they are fewer than the cheaper sets") for reason in reasons)


def test_the_limit_bounds_what_is_scored_again_and_a_sample_still_finds_much() -> None:
    votes = votes_of(20, [(item, 20, 1) for item in range(1, 13)])
    recording = Recording(Voting(votes))
    one = recexplain.explain(recording, list(range(1, 13)), max_evaluations=400)
    assert one.proven_size == 3
    for most in (1, 50, 200):
        recording.scored.clear()
        assert verify(recording, [one], max_evaluations=most) == []
        assert len(recording.scored) <= most + 1
    recording.scored.clear()
    assert verify(recording, [one]) == []
    assert len(recording.scored) == 1 + sum(len(list(combinations(range(12), size))) for size in (1, 2, 3))
    false = Voting(votes_of(20, [(1, 20, 9), (2, 19, 8)]))
    assert [failure.reason for failure in verify(false, [one], max_evaluations=12)]


def test_another_model_is_named_in_every_row(recommender: Any, explanations: list[Explanation]) -> None:
    class Other(Known):
        model_hash = "other"

    failures = verify(Other(recommender.inner), explanations)
    assert [failure.row for failure in failures] == list(range(len(explanations)))
    assert failures[0] == Failure(0, "0", "model_hash: it is about another one (model) than the checkpoint's (other)")


def test_a_row_whose_digest_was_taken_away_is_named(recommender: Any, explanations: list[Explanation]) -> None:
    failures = verify(recommender, [replace(explanations[0], digest="", explainer="exhaustive"), *explanations[1:]])
    assert failures == [Failure(0, "0", "digest: it has none, so that a change of the row would not be seen")]


def test_a_single_item_that_may_not_be_the_cheapest_is_irreducible_and_holds(recommender: Any) -> None:
    draw = np.random.default_rng(3)
    histories = [draw.permutation(np.arange(1, 10))[:6].tolist() for _ in range(12)]
    more = {"costs": {"1": 0.5}, "explainer": "recency", "max_evaluations": 12}
    for removal in ("delete", "pad"):
        found = list(recexplain.explain_many(recommender, histories, removal=removal, **more))
        assert any(one.status == "irreducible" and len(one.positions) == 1 for one in found)
        assert verify(recommender, found) == []


@pytest.mark.parametrize("given", [None, 5, [{}], ["x"]])
def test_what_is_no_list_of_explanations_is_refused(recommender: Any, given: Any) -> None:
    with pytest.raises(OptionError, match="verify takes a list of explanations"):
        verify(recommender, given)


def test_one_explanation_alone_and_no_budget_are_refused(recommender: Any, explanations: list[Explanation]) -> None:
    with pytest.raises(OptionError, match="verify takes a list of explanations, not Explanation"):
        verify(recommender, explanations[0])
    with pytest.raises(OptionError, match="max_evaluations must be a whole number of 1 or more, or None, not 0"):
        verify(recommender, explanations, max_evaluations=0)

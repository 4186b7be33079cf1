"""What all explainers share is scored once, and an order that was followed is not computed again."""

from dataclasses import replace

import pytest
from toys import Recording, Voting, question_of, votes_of

from recexplain.counterfactual import Options
from recexplain.evaluation.measure import measured
from recexplain.explainers import Exhaustive, Explainer, Occlusion, Recency
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import explain_cases
from recexplain.robustness import Remembered, robustness, unasked

VOTES = votes_of(9, [(1, 9, 1), (2, 9, 3), (3, 9, 2), (4, 8, 1)])
PERSON = Person("ann", ["1", "2", "3", "4"])


def test_null_rates_are_remembered_by_size_and_other_removals_by_set() -> None:
    recording, plain, remembered = Recording(Voting(VOTES)), Voting(VOTES), Remembered()
    question = question_of(plain, [1, 2, 3, 4])
    other_seed = replace(question, options=replace(question.options, seed=1))
    other_person = replace(question, user="bob")
    told = []
    for one, candidate in (
        (question, (1, 2)),
        (question, (1, 2)),  # the same again
        (question, (0, 1)),  # as large
        (question, (1,)),
        (other_seed, (1, 2)),
        (other_person, (1, 2)),
    ):
        before = len(recording.scored)
        assert remembered(recording, one, candidate) == robustness(plain, one, candidate)
        told.append(len(recording.scored) - before)
    whole, again, held, single, *others = told
    assert again == 0
    assert single == 4 + held  # all four items
    assert whole >= 6 + held > 6  # all six pairs, one of them alone besides
    assert others == [whole, whole]


def test_who_is_not_asked_about_has_neither() -> None:
    (case,) = explain_cases(Voting(VOTES), [PERSON], Exhaustive(), Options(), unasked)
    assert case.explanation.is_found
    assert (case.explanation.null_rate, case.explanation.holds_under) == (None, ())


@pytest.mark.parametrize(
    ("explainer", "order"), [(Recency(), (3, 2, 1, 0)), (Occlusion(), ()), (Exhaustive(), ())], ids=str
)
def test_a_case_keeps_the_order_that_was_followed(explainer: Explainer, order: tuple[int, ...]) -> None:
    (case,) = explain_cases(Voting(VOTES), [PERSON], explainer, Options())
    assert case.order == order


def test_an_order_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Recency.order, []
    monkeypatch.setattr(Recency, "order", lambda self, *asked: calls.append(self) or real(self, *asked))
    (case,) = explain_cases(Voting(VOTES), [PERSON], Recency(), Options())
    measured(Voting(VOTES), case, Recency())
    assert len(calls) == 1

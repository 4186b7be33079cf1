"""Attributions as explainers: the same search, the same account of evaluations."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from attribution_toys import bert4rec, sasrec
from contracts import ExplainerContract
from toys import Attentive, Recording, Voting, question_of, random_votes

import recexplain
from recexplain import OptionError
from recexplain.attribution import METHODS, attribute
from recexplain.attribution.methods import method_of
from recexplain.explainers import EXPLAINERS, Alti, BeyondIntuitionHead, Occlusion, Popularity, explainer_of
from recexplain.explainers.attributions import ATTRIBUTIONS, order
from recexplain.explainers.driver import Explainer
from recexplain.recommender import SCORES_ENOUGH, Recommender

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [explainer.name for explainer in ATTRIBUTIONS]


class TestAlti(ExplainerContract):
    """All of them share the search: the orders are tested below."""

    def explainer(self) -> Explainer:
        return Alti()

    def recommenders(self) -> Sequence[Recommender]:
        return [bert4rec(n_items=14, max_length=4), sasrec(n_items=14, max_length=3, layers=1)]


def test_every_attribution_is_an_explainer_with_the_same_name_and_options() -> None:
    assert set(METHODS) <= set(EXPLAINERS)
    assert EXPLAINERS["occlusion"] is Occlusion
    assert sorted([*NAMES, "occlusion"]) == sorted(METHODS)
    for explainer in ATTRIBUTIONS:
        method: Any = METHODS[explainer.name]
        assert issubclass(explainer, method)
        own: Any = explainer
        assert fields(own) == fields(method)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_is_that_of_the_scores_and_only_removals_are_evaluations(name: str) -> None:
    recommender = bert4rec()
    history = [5, 7, 8, 3, 1, 4, 6]  # all have evidence here
    question = question_of(recommender, history, locked=("8",), change="leaves", k=2)
    scores = attribute(recommender, history, question.target, name)
    found = order(method_of(name), recommender, question)
    assert sorted(found) == [1, 3, 4, 5, 6]  # 0 is not seen, and 2 is locked
    assert [scores[p] for p in found] == sorted(scores[list(found)], reverse=True)
    recording = Recording(recommender)
    explanation = recexplain.explain(recording, history, explainer=name, change="leaves", k=2, max_evaluations=3)
    assert explanation.explainer == name
    assert 1 <= explanation.evaluations <= 3


class Fixed:
    """An attribution whose scores are given."""

    name, target_specific, signed = "fixed", False, True

    def __init__(self, *scores: float) -> None:
        self.scores = np.array(scores)

    def drops(self, _: object, histories: Sequence[np.ndarray], __: np.ndarray) -> list[np.ndarray]:
        return [self.scores for _ in histories]


def test_equal_scores_go_newest_first_and_what_is_not_seen_comes_last() -> None:
    recommender = bert4rec()
    question = question_of(recommender, [3, 1, 4, 2, 5, 9])
    assert order(Fixed(0, 1, -2, 1, np.nan, 0), recommender, question) == [3, 1, 5, 0, 2, 4]
    assert order(Fixed(np.nan, -1, np.nan, np.nan, np.nan, np.nan), recommender, question) == [1, 5, 4, 3, 2, 0]


def test_no_evidence_is_said_and_not_ranked() -> None:
    recommender = bert4rec()
    question = question_of(recommender, [3, 1, 4, 2, 5, 9])
    with pytest.raises(
        OptionError, match="fixed gives all items that may be removed the same score, 0: no positive evidence, so"
    ):
        order(Fixed(0, 0, 0, np.nan, 0, 0), recommender, question)
    one = question_of(recommender, [3, 1, 4, 2, 5, 9], locked=("3", "1", "4", "2", "5"))
    assert order(Fixed(0, 0, 0, 0, 0, 0), recommender, one) == [5]


def test_without_a_transformer_a_person_is_told_so_and_the_others_are_not_lost() -> None:
    recommender = Attentive(random_votes(np.random.default_rng(0), 9))
    (found,) = recexplain.explain_many(recommender, [["1", "2", "3"]], explainer="alti")
    assert found.status == "error"
    assert found.error is not None
    assert "occlusion works with it" in found.error
    assert ", ".join(SCORES_ENOUGH) in found.error


def test_what_is_said_to_work_with_scores_alone_does_and_nothing_else() -> None:
    recommender, works = Voting(random_votes(np.random.default_rng(0), 9)), []
    for name, kind in EXPLAINERS.items():
        explainer = Popularity({"1": 2}) if kind is Popularity else kind()
        (found,) = recexplain.explain_many(recommender, [["1", "2", "3"]], explainer=explainer)
        works += [name] if found.status != "error" else []
    assert tuple(works) == SCORES_ENOUGH


def test_options_of_an_explainer_are_those_of_its_method() -> None:
    assert explainer_of("beyond_intuition_head") == BeyondIntuitionHead()
    found = recexplain.explain(bert4rec(), [3, 1, 4, 2, 5], explainer=BeyondIntuitionHead(layers=1, scalar="logit"))
    assert found.explainer == "beyond_intuition_head"
    with pytest.raises(OptionError, match="steps must be a whole number of 2 or more"):
        BeyondIntuitionHead(steps=0)

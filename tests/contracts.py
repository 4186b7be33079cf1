"""What every recommender and every explainer must do; a test file has a three-line subclass for each of them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from toys import Recording, Wobbling, is_changed

from recexplain.counterfactual import Candidate, Options, Question, ask
from recexplain.explainers import driver
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import Case, Explainer, GraphExplainer, explain_case, explain_cases
from recexplain.recommender import AttentiveRecommender, Recommender, top_items
from recexplain.search import Result
from recexplain.verdicts import measured_alone

CLOSE = {"rtol": 1e-5, "atol": 1e-5}

Asked = tuple[Recommender, Question, Case]


class RecommenderContract:
    """Subclasses give `recommender`."""

    def recommender(self) -> Recommender:
        raise NotImplementedError

    def histories(self, recommender: Recommender) -> list[np.ndarray]:
        """Of all lengths up to past the window, some with zeros, none of which may be written to."""
        draw, longest = np.random.default_rng(5), recommender.max_length + 3
        drawn = [draw.integers(1, recommender.n_items + 1, length) for length in (*range(longest + 1), 1, 2)]
        drawn += [np.where(draw.random(len(history)) < 0.4, 0, history) for history in drawn]
        for history in drawn:
            history.setflags(write=False)
        return drawn

    def test_it_is_a_recommender(self) -> None:
        assert isinstance(self.recommender(), Recommender)

    def test_there_is_a_finite_score_for_every_item_and_minus_infinity_for_none(self) -> None:
        recommender = self.recommender()
        histories = self.histories(recommender)
        scores = recommender.scores(histories)
        assert scores.dtype in (np.float32, np.float64)
        assert scores.shape == (len(histories), recommender.n_items + 1)
        assert (scores[:, 0] == -np.inf).all()
        assert np.isfinite(scores[:, 1:]).all()

    def test_a_batch_scores_as_its_histories_do_one_at_a_time_in_any_order(self) -> None:
        recommender = self.recommender()
        histories = self.histories(recommender)
        alone = np.concatenate([recommender.scores([history]) for history in histories])
        np.testing.assert_allclose(recommender.scores(histories), alone, **CLOSE)
        np.testing.assert_allclose(recommender.scores(histories[::-1]), alone[::-1], **CLOSE)

    def test_no_history_has_no_scores(self) -> None:
        recommender = self.recommender()
        assert recommender.scores([]).shape == (0, recommender.n_items + 1)

    def test_what_is_older_than_the_window_changes_nothing(self) -> None:
        recommender = self.recommender()
        histories = self.histories(recommender)
        assert any(len(history) > recommender.max_length for history in histories)
        cut = [history[max(0, len(history) - recommender.max_length) :] for history in histories]
        np.testing.assert_array_equal(recommender.scores(histories), recommender.scores(cut))

    def test_zeros_before_the_oldest_item_change_nothing(self) -> None:
        recommender = self.recommender()
        histories = self.histories(recommender)
        padded = [np.concatenate([np.zeros(2, np.int64), history]) for history in histories]
        np.testing.assert_allclose(recommender.scores(padded), recommender.scores(histories), **CLOSE)

    def test_nothing_but_zeros_is_as_no_item_at_all(self) -> None:
        recommender = self.recommender()
        none, zeros = recommender.scores([np.zeros(0, np.int64)]), recommender.scores([np.zeros(2, np.int64)])
        np.testing.assert_allclose(zeros, none, **CLOSE)


class AttentiveRecommenderContract(RecommenderContract):
    """Subclasses give `recommender`, one with attention."""

    def test_attention_is_a_share_of_each_seen_item_and_the_target_comes_last(self) -> None:
        recommender = self.recommender()
        assert isinstance(recommender, AttentiveRecommender)
        for length in (1, 2, recommender.max_length, recommender.max_length + 3):
            history = np.arange(length) % recommender.n_items + 1
            history.setflags(write=False)
            attention = recommender.attention(history, recommender.n_items)
            m = attention.shape[-1] - 1
            assert attention.ndim == 4
            assert attention.shape[-2] == m + 1
            assert 1 <= m <= min(length, recommender.max_length)
            assert (attention >= 0).all()
            np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
            cut = recommender.attention(history[-m:], recommender.n_items)
            np.testing.assert_allclose(attention, cut, atol=1e-6)


class ExplainerContract:
    """Subclasses give `explainer` and, where another is needed, `recommenders`."""

    spends_all = True  # a budget that is too small is spent to the end; False: it is planned with, and may leave a rest

    def explainer(self) -> Explainer:
        raise NotImplementedError

    def recommenders(self) -> Sequence[Recommender]:
        raise NotImplementedError

    def questions(self) -> list[tuple[Recommender, Question]]:
        """All changes and removals, histories of two items up to past the window, with an item that comes twice."""
        found = []
        for number, recommender in enumerate(self.recommenders()):
            draw = np.random.default_rng(number)
            for length in (2, 5, recommender.max_length + 2):
                history = draw.integers(1, recommender.n_items - 3, length)
                for options in options_asked(recommender, history, seed=number):
                    found.append((recommender, ask(recommender, history, options, user="someone")))
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def cases(cls) -> list[Asked]:
        one = cls()
        return [
            (recommender, question, explain_case(recommender, person_of(question), one.explainer(), question.options))
            for recommender, question in one.questions()
        ]

    def test_what_is_found_changes_the_answer_asked_on_its_own_and_something_is_found(self, cases: list[Asked]) -> None:
        assert any(case.explanation.is_found for *_, case in cases)
        for recommender, question, case in cases:
            if case.explanation.is_found:
                assert is_changed(recommender, question, case.explanation.positions)

    def test_candidates_are_sets_of_seen_positions_none_of_them_asked_twice_and_never_all_positions(self) -> None:
        for recommender, question in self.questions():
            _, tested = by_hand(recommender, self.explainer(), question, says_no=True)
            assert len(set(tested)) == len(tested)
            for candidate in tested:
                assert list(candidate) == sorted(set(candidate))
                assert set(candidate) <= set(question.removable)
                assert 0 < len(candidate) <= question.most

    def test_the_status_is_what_the_tested_sets_show(self, cases: list[Asked]) -> None:
        for recommender, question, case in cases:
            result, tested = by_hand(recommender, self.explainer(), question)
            explanation = case.explanation
            assert (explanation.positions, explanation.status) == (result.candidate or (), result.status)
            assert explanation.evaluations == len(tested)
            assert explanation.proven_size == shown(tested, question, explanation.positions)
            check_claim(recommender, question, case, tested)

    def test_alternatives_are_others_that_cost_as_much_and_change_the_answer(self, cases: list[Asked]) -> None:
        for recommender, question, case in cases:
            one = case.explanation
            for other in one.alternatives:
                assert other != one.positions
                assert question.cost(other) == question.cost(one.positions)
                assert is_changed(recommender, question, other)
            if one.n_minimal is not None:
                every = [
                    some
                    for size in range(1, question.most + 1)
                    for some in combinations(question.removable, size)
                    if question.cost(some) == question.cost(one.positions) and is_changed(recommender, question, some)
                ]
                assert one.n_minimal == len(every)
                assert {one.positions, *one.alternatives} <= set(every)
                assert len(one.alternatives) == min(100, len(every) - 1)
                held = [sum(place in some for some in every) / len(every) for place in range(len(one.history))]
                assert list(one.criticality) == held

    def test_what_holds_under_other_removals_does(self, cases: list[Asked]) -> None:
        for recommender, question, case in cases:
            one = case.explanation
            for removal in ("delete", "pad", "mask", "backfill"):
                n_before = len(one.history) - (0 if removal == "backfill" else one.n_unseen)
                can = (removal != "mask" or recommender.mask_item is not None) and 0 < len(one.positions) < n_before
                others = can and removal != one.removal and is_changed(recommender, question, one.positions, removal)
                assert (removal in one.holds_under) == others

    def test_nothing_depends_on_how_a_batch_is_rounded(self, cases: list[Asked]) -> None:
        for recommender, question, case in cases:
            wobbling = Wobbling(recommender, 2e-6)
            again = explain_case(wobbling, person_of(question), self.explainer(), question.options)
            assert again.explanation == case.explanation

    def test_the_graphs_number_is_of_one_of_them(self, cases: list[Asked]) -> None:
        for *_, case in cases:
            assert 0 <= case.head < max(1, len(case.graphs))

    def test_people_are_explained_together_as_alone_in_any_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "PEOPLE", 3)
        questions = self.questions()
        for recommender in {id(one): one for one, _ in questions}.values():
            for options in {question.options for one, question in questions if one is recommender}:
                asked = [question for one, question in questions if one is recommender and question.options == options]
                people = [replace(person_of(question), user=str(number)) for number, question in enumerate(asked * 2)]
                alone = [explain_case(recommender, person, self.explainer(), options).explanation for person in people]
                packed = [case.explanation for case in explain_cases(recommender, people, self.explainer(), options)]
                turned = [
                    case.explanation for case in explain_cases(recommender, people[::-1], self.explainer(), options)
                ]
                assert packed == alone
                assert turned[::-1] == alone

    def test_no_more_is_scored_than_the_budget_allows(self) -> None:
        for recommender, question in self.questions():
            free = explain_case(recommender, person_of(question), self.explainer(), question.options).explanation
            enough = free.evaluations if self.spends_all else 10 * free.evaluations + 1000
            for most in {1, 2, 5, free.evaluations - 1, enough} - {0, -1}:
                options = replace(question.options, max_evaluations=most)
                recording = Recording(recommender)
                bound = explain_case(recording, person_of(question), self.explainer(), options).explanation
                if most >= enough:
                    assert bound == free
                    continue
                assert bound.evaluations == most or (bound.evaluations < most and not self.spends_all)
                is_none = bound.status in (("budget",) if self.spends_all else ("budget", "none_up_to"))
                assert is_none or is_changed(recommender, question, bound.positions)
                assert bound.proven_size <= free.proven_size


def options_asked(recommender: Recommender, history: np.ndarray, seed: int) -> list[Options]:
    """Changes and removals; the least likely item is wanted, one item is locked and one is dear."""
    worst = min(set(range(1, recommender.n_items + 1)) - set(history.tolist()))
    removals = ["delete", "pad", "backfill", *(["mask"] if recommender.mask_item is not None else [])]
    found = [Options(change, k=2, removal=removal, seed=seed) for change in ("top1", "leaves") for removal in removals]
    found.append(Options("list", k=3, tau=0.6, seed=seed))
    if worst not in top_items(recommender.scores([history])[0], history, 2):
        found.append(Options("enters", k=2, wanted=str(worst), removal="pad", seed=seed))
    if len(set(history.tolist())) > 2:
        found.append(Options("leaves", k=2, locked=(str(history[-1]),), min_age=1, seed=seed))
        found.append(Options("leaves", k=2, costs=((str(history[-1]), 2.5), (str(history[-2]), 0.5)), seed=seed))
    return found


def by_hand(
    recommender: Recommender, explainer: Explainer, question: Question, *, says_no: bool = False
) -> tuple[Result, list[Candidate]]:
    """Run a search with gaps got one at a time, or all of them no; what it came to, and all that was tested."""
    graphs = explainer.graphs(recommender, question) if isinstance(explainer, GraphExplainer) else ()
    search = explainer.search(recommender, question, graphs)
    tested: list[Candidate] = []
    try:
        request = next(search)
        while True:
            if not request.again:
                tested += request.candidates
            gaps = measured_alone(recommender, [(question, candidate) for candidate in request.candidates])
            request = search.send([-1.0 if says_no else float(gap) for gap in gaps])
    except StopIteration as stopped:
        return stopped.value, tested


def shown(tested: Sequence[Candidate], question: Question, found: Candidate) -> int:
    """The largest size up to which all sets were tested, short of the size that was found."""
    size, most = 0, len(found) - 1 if found else question.most
    while size < most and sum(len(c) == size + 1 for c in tested) == comb(len(question.removable), size + 1):
        size += 1
    return size


def check_claim(recommender: Any, question: Question, case: Case, tested: Sequence[Candidate]) -> None:
    """Check the status by trying every set that it speaks of."""
    status, found = case.explanation.status, case.explanation.positions
    for size in range(1, case.explanation.proven_size + 1):
        assert not any(is_changed(recommender, question, some) for some in combinations(question.removable, size))
    if status == "optimal":
        assert not any(
            question.cost(some) < question.cost(found) and is_changed(recommender, question, some)
            for size in range(1, question.most + 1)
            for some in combinations(question.removable, size)
        )
    elif status in ("irreducible", "found"):
        smaller = [some for some in combinations(found, len(found) - 1) if some]
        assert (status == "irreducible") == (set(smaller) <= set(tested))
        if status == "irreducible":
            assert not any(is_changed(recommender, question, some) for some in smaller)
    else:
        assert status == "none_up_to"
        assert not found


def person_of(question: Question) -> Person:
    """The person who asks a question, of a recommender without a vocabulary."""
    target = str(question.target) if question.options.change == "leaves" else None
    return Person("someone", [str(item) for item in question.history], target)

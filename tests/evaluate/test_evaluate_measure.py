"""What is measured of one explainer and one person: hand-made answers, failures counted as such."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toys import Voting, is_changed, masking, question_of, random_attentive, votes_of

from recexplain.counterfactual import Options, Question
from recexplain.evaluation.columns import METRICS
from recexplain.evaluation.measure import Measured, measured, other_removals
from recexplain.evaluation.perturbation import TENTHS
from recexplain.explainers import Attention, Exhaustive, Explainer, Recency
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import explain_cases
from recexplain.recommender import Recommender
from recexplain.search import Ledger, Search
from recexplain.steps import searched

#: Item 1 votes 3 for item 9, item 2 votes 1 for item 9 and 2 for item 8, items 3 and 4 vote 1 for item 7.
RECOMMENDER = Voting(votes_of(9, [(1, 9, 3), (2, 9, 1), (2, 8, 2), (3, 7, 1), (4, 7, 1)]))
OF_RUNS = {metric.name for metric in METRICS if metric.of in ("checked", "both", "own order")}


class Says:
    """An explainer whose set is always the same."""

    name = "says"

    def __init__(self, *positions: int) -> None:
        self.positions = positions

    def search(self, _: Recommender, question: Question, __: Sequence[Any] = (), /) -> Search:
        ledger = Ledger(question)
        return searched(ledger, ledger.test([self.positions]))


def of(
    explainer: Explainer, recommender: Any = RECOMMENDER, history: Sequence[int] = (1, 2, 3, 4), **options: Any
) -> Measured:
    person, asked = Person("ann", list(map(str, history))), Options(**options)
    (case,) = explain_cases(recommender, [person], explainer, asked)
    return measured(recommender, case, explainer)


def test_a_set_by_hand() -> None:
    """Without items 1 and 4 the 8 (2) comes before the 7 (1) and the 9 (1): the 9 is third."""
    values = of(Says(0, 3), k=2).values
    assert (values["found"], values["error"], values["size_found"], values["size_all"]) == (1, 0, 2, 2)
    assert values["irreducible"] == 0  # item 1 alone is enough
    assert values["replacement_rank"] == 3  # 9: 4, 7: 2, 8: 2, and of equal ones the 7 first
    assert (values["pn"], values["ps"]) == (1, 1)  # not in the top 2 without; with 1 and 4 alone the 9 is first
    assert values["pn_r"] == pytest.approx(1 / (1 + 1 / np.log2(3)))  # before 9, 7; after 8, 7
    assert values["evaluations"] == 1
    assert (values["optimal"], values["null_rate"]) == (0, 3 / 6)  # three of six pairs hold item 1
    assert of(Says(0), k=2).values["irreducible"] == 1


def test_necessity_is_about_the_top_k_not_the_first_place() -> None:
    values = of(Says(0), k=3).values
    assert (values["found"], values["pn"]) == (1, 0)  # third of three


def test_sufficiency_is_about_the_set_alone() -> None:
    recommender = Voting(votes_of(9, [(1, 9, 2), (1, 5, 3), (2, 5, -3)]))
    values = of(Says(1), recommender, [1, 2, 3], k=1).values
    assert values["found"] == 1  # without item 2, which held item 5 back
    assert values["ps"] == 0  # item 2 alone: all but the 5 are equal, and the 9 is last


def test_the_orders_metrics_are_those_of_the_explainers_order() -> None:
    found = of(Recency(), k=1)
    assert found.values["pos_p"] == 1  # items 4, 3 and 2 go first, item 1 holds the 9 to the end
    assert found.values["neg_p"] == pytest.approx(1 / 11)  # item 1 goes first
    assert found.values["cdcg"] == 1
    assert len(found.removed) == len(found.kept) == len(TENTHS)
    assert found.removed[0] == found.kept[-1]
    first = of(Says(0), k=1)
    assert first.values["pos_p"] == pytest.approx(1 / 11)
    assert first.values["comprehensiveness"] > 0 > found.values["comprehensiveness"]  # type: ignore[operator]


def test_who_found_nothing_is_not_necessary_not_sufficient_and_as_large_as_the_window() -> None:
    values = of(Says(3)).values
    assert (values["found"], values["none"], values["budget"], values["error"]) == (0, 1, 0, 0)
    assert (values["size_found"], values["size_all"]) == (None, 4)
    assert (values["pn"], values["ps"], values["pn_r"]) == (0, 0, 0)
    assert values["null_rate"] is None
    assert "irreducible" not in values
    assert values["pos_p"] is not None  # its order is chance
    spent = of(Exhaustive(), history=[4, 3, 2, 1], max_evaluations=3).values
    assert (spent["found"], spent["none"], spent["budget"], spent["evaluations"]) == (0, 0, 1, 3)


def test_only_what_the_model_saw_counts_as_a_failures_size() -> None:
    short = Voting(RECOMMENDER.votes, max_length=2)
    assert of(Says(3), short, [1, 2, 2, 4]).values["size_all"] == 2


def test_an_error_counts_as_not_found_and_has_no_order_and_no_cost() -> None:
    found = of(Attention())
    assert found.explanation.error is not None
    values = found.values
    assert (values["error"], values["found"], values["pn"], values["ps"], values["size_all"]) == (1, 0, 0, 0, 4)
    assert values["evaluations"] is None
    assert "pos_p" not in values
    assert found.removed == ()


def test_every_metric_of_a_single_run_has_a_value_where_something_is_found() -> None:
    values = of(Exhaustive()).values
    assert {name for name, value in values.items() if value is not None} >= {
        metric.name for metric in METRICS
    } - OF_RUNS - {"fns", "smallest", "gap"}


def test_irreducible_agrees_with_asking_one_at_a_time() -> None:
    draw, seen = np.random.default_rng(3), set()
    for _ in range(120):
        recommender = random_attentive(draw)
        history = draw.integers(1, 11, 6).tolist()
        positions = tuple(sorted(draw.choice(6, 2, replace=False).tolist()))
        found = of(Says(*positions), recommender, history)
        if not found.explanation.is_found:
            continue
        question = question_of(recommender, history)
        smaller = [tuple(q for q in positions if q != p) for p in positions]
        expected = not any(is_changed(recommender, question, some) for some in smaller)
        assert found.values["irreducible"] == expected
        seen.add(expected)
    assert seen == {True, False}


def test_other_removals_are_those_that_ask_something_else() -> None:
    draw = np.random.default_rng(0)
    plain, masked = random_attentive(draw, max_length=4), masking(random_attentive(draw, max_length=4), draw)
    short, long = [1, 2, 3, 4], [1, 2, 3, 4, 5]
    assert other_removals(plain, question_of(plain, short), 1) == ("pad",)  # nothing can move in
    assert other_removals(plain, question_of(plain, long), 1) == ("pad", "backfill")
    assert other_removals(masked, question_of(masked, long), 1) == ("pad", "mask", "backfill")
    assert other_removals(plain, question_of(plain, short, removal="pad"), 1) == ("delete", "backfill")
    assert (
        other_removals(plain, question_of(plain, long, removal="backfill"), 4) == ()
    )  # the others would leave nothing


def test_what_is_measured_survives_a_journal() -> None:
    found = of(Exhaustive())
    assert Measured.from_dict(found.to_dict()) == found

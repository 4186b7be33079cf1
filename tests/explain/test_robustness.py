"""What is measured of a set that was found: what the search knows already is what would be scored."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from toys import Voting, is_changed, question_of, random_votes

from recexplain.counterfactual import Options
from recexplain.explainers import Causal, Exhaustive
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import explain_case
from recexplain.robustness import null_rate


@pytest.mark.parametrize("options", [{}, {"max_evaluations": 9}, {"costs": (("3", 2.0), ("5", 0.5))}, {"k": 3}])
def test_the_null_rate_is_the_same_from_the_search_and_from_scores(options: dict[str, Any]) -> None:
    draw, rates = np.random.default_rng(4), set()
    recommender = Voting(random_votes(np.random.default_rng(1), 20), max_length=50, decay=0.5)
    lengths = [*draw.integers(2, 9, 12).tolist(), 50]  # of pairs of 50 only 200 are drawn
    for length in lengths:
        person = Person(str(len(rates)), [str(item) for item in draw.integers(1, 12, length)])
        case = explain_case(recommender, person, Causal(), Options(**options))
        if case.explanation.positions:
            assert case.question is not None
            rate = null_rate(recommender, case.question, len(case.explanation.positions))
            assert case.explanation.null_rate == rate
            rates.add(rate)
    assert len(rates) > 1


def test_the_null_rate_is_the_share_of_all_sets_where_they_are_few() -> None:
    recommender = Voting(random_votes(np.random.default_rng(1), 20), max_length=6, decay=0.5)
    draw, n_between = np.random.default_rng(6), 0
    for _ in range(30):
        history = draw.integers(1, 12, int(draw.integers(2, 9))).tolist()
        found = explain_case(recommender, Person("1", list(map(str, history))), Exhaustive(), Options()).explanation
        if not found.is_found:
            assert found.null_rate is None
            continue
        question = question_of(recommender, history)
        changing = [is_changed(recommender, question, c) for c in combinations(question.removable, len(found.items))]
        assert found.null_rate == sum(changing) / len(changing)
        n_between += 0 < found.null_rate < 1
    assert n_between > 0

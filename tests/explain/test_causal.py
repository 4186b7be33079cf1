"""The explainer `causal`, and every other by name: the contract; the order, the proof and the way out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts import ExplainerContract, person_of
from toys import (
    Attentive,
    Recording,
    Voting,
    is_changed,
    linked,
    masking,
    question_of,
    random_attentive,
    random_votes,
    votes_of,
)

from recexplain import OptionError
from recexplain.attribution import METHODS
from recexplain.explainers import (
    EXPLAINERS,
    Attention,
    Causal,
    Cleann,
    Exhaustive,
    Genetic,
    Occlusion,
    Popularity,
    Random,
    Recency,
    explainer_of,
)
from recexplain.explainers.driver import Explainer, GraphExplainer, explain_case
from recexplain.recommender import Recommender

pytestmark = pytest.mark.usefixtures("one_thread")


class Contract(ExplainerContract):
    def recommenders(self) -> Sequence[Recommender]:
        draw = np.random.default_rng(7)
        masked: Recommender = masking(random_attentive(draw), draw)
        return [random_attentive(draw), masked]


class TestCausal(Contract):
    spends_all = False

    def explainer(self) -> Explainer:
        return Causal()


class TestCausalThatClosesLittle(Contract):
    """Sizes of more than seven sets are not closed: the heuristics find what is found."""

    spends_all = False

    def explainer(self) -> Explainer:
        return Causal(alpha=0.2, n_samples=20, max_sets=7)


class TestCausalWithoutAttention(ExplainerContract):
    spends_all = False

    def explainer(self) -> Explainer:
        return Causal()

    def recommenders(self) -> Sequence[Recommender]:
        return [Voting(random_votes(np.random.default_rng(seed), 14), 7, decay=0.5) for seed in range(2)]


class TestExhaustive(Contract):
    def explainer(self) -> Explainer:
        return Exhaustive(max_size=None)


class TestOcclusion(Contract):
    def explainer(self) -> Explainer:
        return Occlusion()


class TestAttention(Contract):
    def explainer(self) -> Explainer:
        return Attention()


class TestRandom(Contract):
    def explainer(self) -> Explainer:
        return Random()


class TestRecency(Contract):
    def explainer(self) -> Explainer:
        return Recency()


class TestPopularity(Contract):
    def explainer(self) -> Explainer:
        return Popularity({str(item): item % 5 for item in range(3, 15)})


class TestGenetic(Contract):
    def explainer(self) -> Explainer:
        return Genetic(population=6, generations=3)


def explained(recommender: Recommender, history: Sequence[int], explainer: Any = None, **options: Any) -> Any:
    question = question_of(recommender, history, **options)
    return explain_case(recommender, person_of(question), explainer or Causal(), question.options)


#: Any two of items 1, 2, 3 are enough for 9; without two of them 8 comes first.
TWO_OF_THREE = votes_of(9, [(1, 9, 2), (2, 9, 2), (3, 9, 2), (4, 8, 3)])


def test_the_graph_gives_the_order_and_enumeration_the_proof() -> None:
    recommender = Recording(Attentive(TWO_OF_THREE, heads=linked({0, 3}, {3})))
    case = explained(recommender, [1, 2, 3, 4])
    found = case.explanation
    assert (found.positions, found.status, found.proven_size, found.n_graphs) == ((0, 2), "optimal", 1, 2)
    assert (found.alternatives, found.n_minimal) == (((0, 1), (1, 2)), 3)  # all effects are equal: as near as they are
    assert found.criticality == (2 / 3, 2 / 3, 2 / 3, 0)
    assert case.head in (0, 1)
    singles = [history for history in recommender.scored if len(history) == 3][:4]
    assert singles == [(1, 2, 3), (2, 3, 4), (1, 2, 4), (1, 3, 4)]  # 4 and 1 are linked, then the newest


def test_the_nearest_graph_counts_and_what_is_out_of_reach_comes_last_newest_first() -> None:
    recommender = Attentive(TWO_OF_THREE, heads=linked({1}, {0}))
    question = question_of(recommender, [1, 2, 3, 4])
    assert Causal().nearest_first(question, Causal().graphs(recommender, question)) == [1, 0, 3, 2]
    assert Causal().nearest_first(question, ()) == [3, 2, 1, 0]
    locked = question_of(recommender, [1, 2, 3, 4], locked=("2", "4"))
    assert Causal().nearest_first(locked, Causal().graphs(recommender, locked)) == [0, 2]


def test_without_attention_there_is_no_graph_and_no_error() -> None:
    found = explained(Voting(TWO_OF_THREE), [1, 2, 3, 4]).explanation
    assert (found.status, found.n_graphs, found.proven_size, found.n_minimal) == ("optimal", 0, 1, 3)


def many_needed(n: int, needed: int) -> tuple[Voting, list[int]]:
    """n items vote for item n + 2, a little less each; so many of the strongest must go until n + 1 comes first."""
    strength = 8 + np.arange(n, 0, -1) / 64
    rival = strength[needed:].sum() + 1 / 128
    votes = votes_of(n + 2, [(i + 1, n + 2, strength[i]) for i in range(n)])
    votes[1 : n + 1, n + 1] = rival  # spread so that removals take nothing from it
    recommender = Voting(votes)

    class Fixed(Voting):
        def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
            scores = super().scores(histories)
            scores[:, n + 1] = rival
            return scores

    return Fixed(recommender.votes), list(range(1, n + 1))


@pytest.mark.parametrize(
    ("needed", "options", "explainer", "shown"),
    [
        (1, {}, Causal(), ("optimal", 0, 1)),
        (2, {}, Causal(), ("optimal", 1, 1)),
        (3, {}, Causal(), ("optimal", 2, 1)),
        (3, {}, Causal(max_sets=100), ("optimal", 2, None)),  # 91 pairs; 364 triples are not closed
        (4, {}, Causal(max_sets=100), ("irreducible", 2, None)),
        (3, {"max_evaluations": 160}, Causal(), ("optimal", 2, None)),
        (3, {"max_evaluations": 80}, Causal(), ("irreducible", 1, None)),
        (3, {"max_evaluations": 3}, Causal(), ("budget", 0, None)),
        (13, {}, Causal(max_sets=400), ("irreducible", 3, None)),
    ],
)
def test_what_is_proven_is_what_could_be_closed(
    needed: int, options: Any, explainer: Causal, shown: tuple[str, int, int | None]
) -> None:
    recommender, history = many_needed(14, needed)
    found = explained(recommender, history, explainer, **options).explanation
    assert (found.status, found.proven_size, found.n_minimal) == shown
    assert found.positions == (() if found.status == "budget" else tuple(range(needed)))
    assert found.evaluations <= options.get("max_evaluations", 10**9)


def test_under_a_budget_in_seconds_some_set_is_found_before_any_size_is_closed() -> None:
    from contracts import by_hand

    recommender, history = many_needed(14, 3)
    question = question_of(recommender, history, max_seconds=60.0)
    result, asked = by_hand(recommender, Causal(), question)
    assert asked[:3] == [(13,), (12, 13), (11, 12, 13)]
    assert any(is_changed(recommender, question, some) for some in asked[: asked.index((0,))])
    assert result.candidate == (0, 1, 2)


def test_the_cheapest_removal_is_found_where_removals_have_costs() -> None:
    recommender = Voting(TWO_OF_THREE)
    options: dict[str, Any] = {"costs": (("2", 5.0), ("1", 0.25))}
    found = explained(recommender, [1, 2, 3, 4], **options).explanation
    assert (found.positions, found.status, found.n_minimal, found.costs) == ((0, 2), "optimal", 1, (0.25, 5, 1, 1))


def test_costs_may_make_a_larger_set_the_best() -> None:
    votes = votes_of(9, [(1, 9, 2), (2, 9, 2), (3, 9, 4), (5, 8, 5)])  # 9 has 8: 3 must go, or 1 and 2
    recommender = Voting(votes)
    assert explained(recommender, [1, 2, 3, 5]).explanation.positions == (2,)
    found = explained(recommender, [1, 2, 3, 5], costs=(("3", 2.5),)).explanation
    assert (found.positions, found.status, found.proven_size) == ((0, 1), "optimal", 0)


def test_locked_items_stay_and_so_do_the_newest() -> None:
    recommender = Voting(TWO_OF_THREE)
    found = explained(recommender, [1, 2, 3, 4], locked=("2",)).explanation
    assert (found.positions, found.locked, found.status) == ((0, 2), (1,), "optimal")
    found = explained(recommender, [1, 2, 3, 4], min_age=2).explanation
    assert (found.positions, found.locked, found.n_minimal) == ((0, 1), (2, 3), 1)
    found = explained(recommender, [1, 2, 3, 4], locked=("1", "2")).explanation
    assert (found.status, found.proven_size, found.locked) == ("none_up_to", 2, (0, 1))


def test_a_recommender_that_any_removal_turns_has_a_null_rate_of_one_and_the_explanation_says_so() -> None:
    class Nervous(Voting):
        def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
            scores = super().scores(histories)
            for row, history in zip(scores, histories, strict=True):
                row[9 if len(history) == 6 else 8] = 100
            return scores

    found = explained(Nervous(random_votes(np.random.default_rng(0), 9)), [1, 2, 3, 4, 5, 6]).explanation
    assert (found.status, found.null_rate, found.n_minimal) == ("optimal", 1.0, 6)
    assert found.sentence().endswith("But 100% of random sets of that size do as well: this says little.")


# Against a plain implementation of its own


def optimum(recommender: Any, question: Any, largest: int) -> tuple[int, set[tuple[int, ...]]]:
    """The smallest size at which a set changes the answer, and all such sets of it; 0 where there is none."""
    for size in range(1, largest + 1):
        winning = {some for some in combinations(question.removable, size) if is_changed(recommender, question, some)}
        if winning:
            return size, winning
    return 0, set()


@pytest.mark.parametrize("removal", ["delete", "pad", "mask", "backfill"])
@pytest.mark.parametrize("change", ["top1", "leaves", "list", "enters"])
def test_brute_force_agrees_on_200_small_cases(change: str, removal: str) -> None:
    draw = np.random.default_rng(["top1", "leaves", "list", "enters"].index(change))
    n_cases, sizes = 0, set()
    while n_cases < 200:
        votes = random_votes(draw, 9, most=int(draw.choice([1, 3, 50])))
        recommender = masking(Attentive(votes, 5, decay=0.5, heads=linked({0}, {1})), draw)
        history = draw.integers(1, 7, int(draw.integers(2, 8))).tolist()
        options: dict[str, Any] = {"change": change, "removal": removal, "k": int(draw.integers(1, 3)), "tau": 0.5}
        try:
            question = question_of(recommender, history, wanted="9" if change == "enters" else None, **options)
        except OptionError:
            continue
        n_cases += 1
        found = explain_case(recommender, person_of(question), Causal(), question.options).explanation
        size, winning = optimum(recommender, question, question.most)
        assert len(found.positions) == size
        if size:
            assert (found.status, {found.positions, *found.alternatives}) == ("optimal", winning)
        else:
            assert (found.status, found.proven_size) == ("none_up_to", question.most)
        sizes.add(size)
    assert {0, 1, 2} <= sizes


@pytest.mark.slow
@pytest.mark.skipif("RECEXPLAIN_SLOW" not in __import__("os").environ, reason="minutes; RECEXPLAIN_SLOW=1 runs it")
def test_brute_force_agrees_on_100_people_up_to_size_3(tmp_path: Path) -> None:
    from recexplain.checkpoint import read_checkpoint
    from recexplain.evaluation import cli
    from recexplain.evaluation.config import recorded_source
    from recexplain.sequences import load_dataset

    short = ["model.dim=16", "model.layers=1", "model.max_length=20", "recipe.epochs=5"]
    assert cli.main(["train", f"out={tmp_path}", *short]) == 0
    checkpoint = read_checkpoint(tmp_path / "checkpoint.ckpt")
    recommender, histories = checkpoint.recommender(), load_dataset(recorded_source(checkpoint.source)).histories
    for row in np.random.default_rng(0).choice(len(histories), 100, replace=False):
        question = question_of(recommender, histories[int(row)].tolist(), change="leaves")
        ids = replace(
            person_of(question), history=[checkpoint.vocabulary.id_of(int(i)) for i in question.history], target=None
        )
        found = explain_case(recommender, ids, Causal(), question.options).explanation
        size, winning = optimum(recommender, question, 3)
        if size:
            assert found.status == "optimal"
            assert len(found.positions) == size
            assert found.n_minimal == len(winning)
            assert {found.positions, *found.alternatives} <= winning
        else:
            assert found.proven_size >= 3
            assert len(found.positions) != 1


# Names and options


def test_explainers_go_by_name() -> None:
    assert list(EXPLAINERS) == [
        "causal", "cleann", "exhaustive", "occlusion", "attention", "random", "recency", "popularity", "genetic",
        *(name for name in METHODS if name != "occlusion"),
    ]  # fmt: skip
    assert {name: explainer_of(name).name for name in EXPLAINERS} == {name: name for name in EXPLAINERS}
    own = Causal(alpha=0.2)
    assert explainer_of(own) is own
    with pytest.raises(OptionError, match=r"explainer must be one of causal, cleann, .*, not 'clean'"):
        explainer_of("clean")
    assert [name for name in EXPLAINERS if isinstance(explainer_of(name), GraphExplainer)] == ["causal", "cleann"]


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (Causal, {"alpha": 0.0}, "alpha must be between 0 and 1, not 0"),
        (Causal, {"n_samples": 3}, "n_samples must be a whole number of 4 or more"),
        (Causal, {"max_sets": 0}, "max_sets must be a whole number of 1 or more, not 0"),
        (Exhaustive, {"max_size": 0}, "max_size must be a whole number of 1 or more, or null for all, not 0"),
        (Genetic, {"population": 3}, "population must be a whole number of 4 or more, not 3"),
        (Genetic, {"generations": 0}, "generations must be a whole number of 1 or more, not 0"),
        (Genetic, {"mutation": 1.5}, "mutation must be between 0 and 1, not 1.5"),
    ],
)
def test_options_outside_what_is_allowed_are_refused(kind: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        kind(**options)


def test_what_an_explainer_needs_and_does_not_get_is_said() -> None:
    for explainer in (Attention(), Cleann()):
        with pytest.raises(
            OptionError, match=r"needs a recommender with attention; Voting .* work without it: causal, "
        ):
            explained(Voting(TWO_OF_THREE), [1, 2, 3, 4], explainer)
    with pytest.raises(
        OptionError, match=r"popularity needs to know how often each item was taken: Popularity\(counts"
    ):
        explained(Voting(TWO_OF_THREE), [1, 2, 3, 4], Popularity())


@pytest.mark.parametrize(
    ("explainer", "tested"),
    [
        (Recency(), [(2,), (1, 2), (1,)]),
        (Popularity({"1": 5, "2": 7, "3": 5}), [(1,), (1, 2), (2,)]),
        (Attention(), [(2,), (0, 2), (0,)]),
        (Occlusion(), [(0,), (1,), (2,), (0, 1)]),
        (Exhaustive(), [(0,), (1,), (2,), *combinations(range(3), 2)]),
    ],
)
def test_an_order_is_followed_and_pruned(explainer: Any, tested: list[tuple[int, ...]]) -> None:
    from contracts import by_hand

    def heads(history: np.ndarray, _: int) -> np.ndarray:
        attention = np.eye(len(history) + 1)
        attention[-1] = [0.3, 0.05, 0.4, 0.15, 0.1]
        return attention[None]

    recommender = Attentive(TWO_OF_THREE, heads=heads)
    result, asked = by_hand(recommender, explainer, question_of(recommender, [1, 2, 3, 4], locked=("4",)))
    assert asked[: len(tested)] == tested
    assert result.candidate is not None
    assert len(result.candidate) == 2

"""CLEANN on planted attention: its candidates, its order, and the head that gave the answer."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, islice
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from contracts import ExplainerContract, by_hand, person_of
from toys import (
    Attentive,
    Voting,
    is_changed,
    linked,
    question_of,
    random_attentive,
    random_heads,
    random_votes,
    votes_of,
)

from recexplain import OptionError
from recexplain.causal.pds import LegalSet
from recexplain.counterfactual import Candidate, Question
from recexplain.explainers import Cleann
from recexplain.explainers.cleann import merged_levels
from recexplain.explainers.driver import Explainer, explain_case
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender
from recexplain.recommender import Recommender

pytestmark = pytest.mark.usefixtures("one_thread")


def bert4rec() -> NetworkRecommender:
    """Untrained, with weights so large that attention is uneven and every item matters."""
    torch.manual_seed(1)
    network = BERT4Rec(14, max_length=5, dim=8, layers=2, heads=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape))
    return NetworkRecommender(network)


class TestCleann(ExplainerContract):
    def explainer(self) -> Explainer:
        return Cleann(max_size=None)

    def recommenders(self) -> Sequence[Recommender]:
        return [bert4rec(), *(random_attentive(np.random.default_rng(seed)) for seed in range(2))]


class TestCleannWithLimits(ExplainerContract):
    def explainer(self) -> Explainer:
        return Cleann(alpha=0.2, n_samples=20, max_range=2, max_size=2)

    def recommenders(self) -> Sequence[Recommender]:
        return [replace(random_attentive(np.random.default_rng(seed)), beside=6) for seed in range(4)]


# Plain and slow, after the formulas of the paper: trees of walks, every subset, one candidate at a time


def walks(graph: nx.DiGraph, root: int, depth: int | None) -> list[tuple[int, ...]]:
    """The walks of the possible-d-sep tree, each from below the root, in the order in which they are made."""
    unused = {frozenset(edge) for edge in graph.edges if root not in edge}
    made = [(node,) for node in sorted(graph.successors(root))]
    waiting = deque(made)
    while waiting:
        walk = waiting.popleft()
        u, p = walk[-1], (root, *walk)[-2]
        if depth is not None and len(walk) >= depth:
            continue
        for w in sorted(graph.successors(u)):
            is_collider = graph[p][u]["mark"] == "arrow" and graph.has_edge(w, u) and graph[w][u]["mark"] == "arrow"
            if w not in (p, root) and frozenset((u, w)) in unused and (graph.has_edge(p, w) or is_collider):
                unused.remove(frozenset((u, w)))
                made.append((*walk, w))
                waiting.append((*walk, w))
    return made


def ranked_sets(graph: nx.DiGraph, size: int, depth: int | None) -> list[tuple[int, tuple[int, ...]]]:
    """Every set whose each node is reached by a walk inside the set, with its summed distance, nearest first."""
    tree = walks(graph, graph.number_of_nodes() - 1, depth)
    distance: dict[int, int] = {}
    for walk in tree:
        distance[walk[-1]] = min(len(walk), distance.get(walk[-1], len(walk)))
    legal = [
        some
        for some in combinations(sorted(distance), size)
        if all(any(walk[-1] == node and set(walk) <= set(some) for walk in tree) for node in some)
    ]
    return sorted((sum(distance[node] for node in some), some) for some in legal)


def in_order(question: Question, graphs: Sequence[nx.DiGraph], size: int, depth: int | None) -> list[Candidate]:
    """The candidates of a size: summed distance, then head, then older positions; each where it comes first."""
    first = len(question.history) - graphs[0].number_of_nodes() + 1
    keyed = sorted(
        (distance, head, tuple(node + first for node in nodes))
        for head, graph in enumerate(graphs)
        for distance, nodes in ranked_sets(graph, size, depth)
    )
    return list(dict.fromkeys(candidate for *_, candidate in keyed))


@pytest.mark.parametrize(
    "explainer", [Cleann(max_size=None), Cleann(max_size=2), Cleann(max_range=1), Cleann(0.3, 12)], ids=str
)
@pytest.mark.parametrize("seed", range(4))
def test_candidates_and_answer_are_as_by_trying_every_subset(explainer: Cleann, seed: int) -> None:
    draw = np.random.default_rng(seed)
    recommender = replace(
        random_attentive(draw, n_items=30), beside=[None, 5, 6, 7][seed], heads=random_heads(3, seed, 1 + seed / 2)
    )
    for length in (2, 4, 9):
        question = question_of(recommender, draw.integers(1, 20, length).tolist(), change="leaves", k=1 + length // 3)
        graphs = explainer.graphs(recommender, question)
        most = min(len(question.removable) - 1, explainer.max_size or 99)
        levels = [in_order(question, graphs, size, explainer.max_range) for size in range(1, most + 1)]
        _, tested = by_hand(recommender, explainer, question, says_no=True)
        assert tested == [candidate for level in levels for candidate in level]
        winners = [[c for c in level if is_changed(recommender, question, c)] for level in levels]
        winner = next((level[0] for level in winners if level), None)
        case = explain_case(recommender, person_of(question), explainer, question.options)
        assert case.explanation.positions == (winner or ())


def test_random_attention_makes_graphs_with_more_than_neighbours() -> None:
    """The test above would be empty with graphs that have no edge, or no walk longer than one."""
    recommender = replace(random_attentive(np.random.default_rng(0)), heads=random_heads(3))
    question = question_of(recommender, [1, 2, 3, 4, 5, 6, 7])
    longest = [max(map(len, walks(g, 7, None)), default=0) for g in Cleann().graphs(recommender, question)]
    assert max(longest) > 1


def test_the_deepest_layers_heads_are_the_graphs() -> None:
    recommender = Attentive(votes_of(9, [(1, 9, 1)]), heads=linked({0, 2}, {1}, ()))
    graphs = Cleann().graphs(recommender, question_of(recommender, [1, 2, 3]))
    assert [sorted(map(sorted, graph.to_undirected().edges)) for graph in graphs] == [[[0, 3], [2, 3]], [[1, 3]], []]


@pytest.mark.parametrize(("alpha", "n_samples", "is_linked"), [(0.01, 64, False), (0.05, 64, True), (0.01, 100, True)])
def test_alpha_and_the_number_of_samples_decide_what_is_linked(alpha: float, n_samples: int, is_linked: bool) -> None:
    """A correlation of 0.3 has p = 0.016 in 64 samples (z = sqrt(61) artanh 0.3 = 2.42), 0.002 in 100 (z = 3.05)."""

    def heads(history: np.ndarray, _: int) -> np.ndarray:
        attention = np.eye(len(history) + 1)
        attention[-1, [0, -1]] = 0.3, np.sqrt(1 - 0.3**2)
        return attention[None]

    question = question_of(recommender := Attentive(votes_of(9, [(1, 9, 1)]), heads=heads), [1, 2, 3])
    (graph,) = Cleann(alpha=alpha, n_samples=n_samples).graphs(recommender, question)
    assert graph.has_edge(0, 3) == is_linked
    assert graph.number_of_edges() == 2 * is_linked


def test_the_graph_is_about_what_is_seen_and_its_positions_about_the_whole_history() -> None:
    """1 and 2 vote for 9; the model sees four items, and three beside the target."""
    asked: list[tuple[list[int], int]] = []

    def heads(history: np.ndarray, target: int) -> np.ndarray:
        asked.append((history.tolist(), target))
        return linked({1})(history, target)

    votes = votes_of(9, [(1, 9, 2), (2, 9, 1), (3, 8, 1)])
    recommender = Attentive(votes, 4, heads=heads)
    case = explain_case(recommender, person_of(question_of(recommender, [5, 6, 2, 1, 4, 3])), Cleann(), OPTIONS)
    assert asked == [([2, 1, 4, 3], 9)]
    assert (case.explanation.n_unseen, case.explanation.positions, case.explanation.items) == (2, (3,), ("1",))
    shorter = replace(recommender, beside=3)
    asked.clear()
    case = explain_case(shorter, person_of(question_of(shorter, [5, 6, 2, 4, 1, 3])), Cleann(), OPTIONS)
    assert asked == [([4, 1, 3], 9)]
    assert (case.explanation.n_unseen, case.explanation.positions, case.explanation.items) == (2, (4,), ("1",))


OPTIONS = question_of(Voting(votes_of(9, [(1, 9, 1)])), [1, 2]).options


def explained(
    recommender: Recommender, history: Sequence[int], explainer: Explainer | None = None, **options: Any
) -> Any:
    question = question_of(recommender, history, **options)
    return explain_case(recommender, person_of(question), explainer or Cleann(), question.options)


#: Any two of items 1, 2, 3 are enough for 9; without two of them 8 comes first.
TWO_OF_THREE = votes_of(9, [(1, 9, 2), (2, 9, 2), (3, 9, 2), (4, 8, 3)])


@pytest.mark.parametrize(
    ("heads", "positions", "shown", "evaluations", "head"),
    [
        (linked({0, 1}), (0, 1), ("irreducible", 0), 3, 0),
        (linked({0, 1, 2, 3}), (0, 1), ("optimal", 1), 4 + 6, 0),
        (linked({3}, {1, 2}), (1, 2), ("irreducible", 0), 3 + 1, 1),
        (linked({1, 2}, {0, 1}), (1, 2), ("irreducible", 0), 3 + 2, 0),
        (linked({0, 1}, {1, 2}), (0, 1), ("irreducible", 0), 3 + 2, 0),
        (linked({0}, {1}), (), ("none_up_to", 0), 2, 0),
        (linked({0, 3}), (), ("none_up_to", 0), 3, 0),
    ],
)
def test_an_explanation_by_hand(
    heads: Any, positions: Candidate, shown: tuple[str, int], evaluations: int, head: int
) -> None:
    case = explained(Attentive(TWO_OF_THREE, heads=heads), [1, 2, 3, 4])
    found = case.explanation
    assert (found.positions, (found.status, found.proven_size)) == (positions, shown)
    assert (found.evaluations, case.head) == (evaluations, head)
    assert (found.replacement, found.is_found) == (("8", True) if positions else (None, False))


def test_an_isolated_target_has_no_candidates_and_a_sentence_that_says_so() -> None:
    found = explained(Attentive(TWO_OF_THREE, heads=linked(())), [1, 2, 3, 4]).explanation
    assert (found.status, found.proven_size, found.evaluations, found.null_rate) == ("none_up_to", 0, 0, None)
    assert found.sentence() == "No removal was tested: nothing that you watched is linked to *9*."


def test_all_pairs_that_exist_are_the_measure_of_a_pair() -> None:
    """Of the six pairs of the four items, three change the answer: two of the three voters are gone."""
    assert explained(Attentive(TWO_OF_THREE, heads=linked({0, 1})), [1, 2, 3, 4]).explanation.null_rate == 0.5


def test_of_two_items_at_most_one_is_removed() -> None:
    found = explained(Attentive(votes_of(9, [(1, 9, 1), (2, 9, 1)]), heads=linked({0, 1})), [1, 2]).explanation
    assert (found.status, found.proven_size, found.evaluations) == ("none_up_to", 1, 2)
    found = explained(Attentive(votes_of(9, [(1, 9, 1)]), heads=linked({0, 1})), [1, 2]).explanation
    assert (found.status, found.positions, found.evaluations, found.null_rate) == ("optimal", (0,), 2, 0.5)


def test_an_item_that_comes_twice_is_a_position_each() -> None:
    votes = votes_of(9, [(1, 9, 2), (2, 8, 3)])
    found = explained(Attentive(votes, heads=linked({0, 1, 2})), [1, 2, 1]).explanation
    assert (found.positions, found.items) == ((0,), ("1",))
    weaker = votes_of(9, [(1, 9, 2), (2, 8, 1)])
    found = explained(Attentive(weaker, heads=linked({0, 1, 2})), [1, 2, 1]).explanation
    assert (found.positions, found.items, found.status) == ((0, 2), ("1", "1"), "optimal")
    assert found.sentence().startswith(
        "Recommended because you watched *1* (2 times); without them it would have been *8*."
    )


def test_identical_items_are_explained_too() -> None:
    found = explained(Attentive(votes_of(9, [(1, 9, 1)]), heads=random_heads(2)), [1, 1, 1, 1, 1]).explanation
    assert found.status == "none_up_to"
    assert found.evaluations > 0


def test_attention_that_is_all_the_same_links_everything() -> None:
    recommender = Attentive(TWO_OF_THREE, heads=lambda h, _: np.full((1, len(h) + 1, len(h) + 1), 1 / (len(h) + 1)))
    found = explained(recommender, [1, 2, 3, 4]).explanation
    assert (found.positions, found.status, found.evaluations) == ((0, 1), "optimal", 10)


def test_max_size_ends_the_search() -> None:
    recommender = Attentive(TWO_OF_THREE, heads=linked({0, 1, 2, 3}))
    for most, (status, proven) in {1: ("none_up_to", 1), 2: ("optimal", 1), None: ("optimal", 1)}.items():
        found = explained(recommender, [1, 2, 3, 4], Cleann(max_size=most)).explanation
        assert (found.status, found.proven_size) == (status, proven)


def test_max_range_leaves_out_what_is_further_away() -> None:
    recommender = replace(random_attentive(np.random.default_rng(0)), heads=random_heads(3))
    question = question_of(recommender, [1, 2, 3, 4, 5, 6, 7])
    graphs = Cleann().graphs(recommender, question)
    for reach in (1, 2):
        near = {walk[-1] for graph in graphs for walk in walks(graph, 7, reach)}
        _, tested = by_hand(recommender, Cleann(max_range=reach, max_size=None), question, says_no=True)
        assert {position for candidate in tested for position in candidate} == near


def test_the_head_of_an_answer_is_where_it_is_nearest_then_the_lower() -> None:
    recommender = replace(random_attentive(np.random.default_rng(3), n_items=30), heads=random_heads(4))
    n_shared = 0
    for start in range(1, 12):
        question = question_of(recommender, range(start, start + 7))
        graphs = Cleann().graphs(recommender, question)
        for size in (1, 2, 3):
            for candidate in in_order(question, graphs, size, None):
                found = [
                    (distance, head)
                    for head, graph in enumerate(graphs)
                    for distance, nodes in ranked_sets(graph, size, None)
                    if nodes == candidate
                ]
                n_shared += len(found) > 1 and min(found)[1] > 0
                assert Cleann().head_of(candidate, question, graphs) == min(found)[1]
    assert n_shared > 0


def test_a_recommender_without_attention_is_refused() -> None:
    recommender = Voting(random_votes(np.random.default_rng(0), 9))
    with pytest.raises(OptionError, match="the explainer cleann needs a recommender with attention; Voting has none"):
        explained(recommender, [1, 2])


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 1, 5, 5), (1, 0, 4, 4), (0, 1, 4, 4), (1, 1, 1, 1)], ids=str)
def test_attention_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    class Odd(Voting):
        def attention(self, _: np.ndarray, __: int) -> np.ndarray:
            return np.ones(shape)

    with pytest.raises(OptionError, match=r"attention must be of shape \(layers, heads, m \+ 1, m \+ 1\)"):
        explained(Odd(random_votes(np.random.default_rng(0), 9)), [1, 2, 3])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 0.0}, "alpha must be between 0 and 1, not 0.0"),
        ({"alpha": 1}, "alpha must be between 0 and 1, not 1"),
        ({"alpha": float("nan")}, "alpha must be between 0 and 1, not nan"),
        ({"alpha": "0.1"}, "alpha must be between 0 and 1, not '0.1'"),
        ({"n_samples": 3}, "n_samples must be a whole number of 4 or more"),
        ({"n_samples": 8.5}, "n_samples must be a whole number of 4 or more"),
        ({"max_size": 0}, "max_size must be a whole number of 1 or more, or null for no limit, not 0"),
        ({"max_range": 1.5}, "max_range must be a whole number of 1 or more, or null for no limit, not 1.5"),
    ],
)
def test_options_outside_what_is_allowed_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Cleann(**options)


def test_levels_of_several_graphs_are_merged_nearest_first_then_by_graph_each_set_once() -> None:
    first = [
        [LegalSet(1, (4,)), LegalSet(2, (0,)), LegalSet(2, (3,))],
        [LegalSet(3, (0, 4)), LegalSet(3, (3, 4))],
    ]
    second = [[LegalSet(1, (0,)), LegalSet(1, (1,)), LegalSet(2, (2,)), LegalSet(3, (4,))]]
    third = [[LegalSet(1, (0,))], [], [LegalSet(9, (0, 1, 2))]]
    levels = list(merged_levels([iter(first), iter(second), iter(third)], 10))
    assert levels == [
        [(14,), (10,), (11,), (13,), (12,)],  # 10 by its distance in the second graph
        [(10, 14), (13, 14)],
        [(10, 11, 12)],
    ]


def test_merged_levels_are_made_one_at_a_time() -> None:
    def endless() -> Iterator[list[LegalSet]]:
        yield [LegalSet(1, (0,))]
        raise AssertionError("not asked for")

    assert list(islice(merged_levels([endless()], 0), 1)) == [[(0,)]]
    assert list(merged_levels([], 0)) == []

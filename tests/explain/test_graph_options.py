"""Which attention becomes which graph: every option against what it says, by hand or by the functions beneath it."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
from toys import Attentive, random_attentive, random_heads, random_votes

from recexplain import OptionError, explain
from recexplain.causal.compare import learn_with
from recexplain.causal.correlation import correlation
from recexplain.causal.icd import learn_pag
from recexplain.causal.pds import pds_tree, pds_walks
from recexplain.counterfactual import Options, Question, ask
from recexplain.explainers import Causal, Cleann
from recexplain.explainers.graphs import GraphOptions

EYE = np.eye(3)
ATTENTION = np.array(  # two layers of two heads, each row sums to 1
    [
        [[[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]], [[1, 0, 0], [0, 1, 0], [0.6, 0.1, 0.3]]],
        [[[0.4, 0.3, 0.3], [0.2, 0.8, 0], [0.1, 0.1, 0.8]], [[0.6, 0.3, 0.1], [0, 0.4, 0.6], [0.5, 0.5, 0]]],
    ]
)


def test_each_head_of_the_deepest_layer_is_the_default() -> None:
    np.testing.assert_array_equal(GraphOptions().matrices(ATTENTION), ATTENTION[1])


@pytest.mark.parametrize("layer", [0, 1, -1, -2])
def test_a_layer_may_be_chosen_from_either_end(layer: int) -> None:
    np.testing.assert_array_equal(GraphOptions(layer=layer).matrices(ATTENTION), ATTENTION[layer])


def test_one_head_alone_their_mean_and_their_maximum() -> None:
    np.testing.assert_array_equal(GraphOptions(heads=1).matrices(ATTENTION), ATTENTION[1, 1:])
    np.testing.assert_allclose(GraphOptions(heads="mean").matrices(ATTENTION)[0, 0], [0.5, 0.3, 0.2])
    np.testing.assert_allclose(GraphOptions(heads="max").matrices(ATTENTION)[0, 0], [0.6, 0.3, 0.3])


def test_rollout_multiplies_the_later_layer_from_the_left() -> None:
    first, second = ((ATTENTION[layer].mean(0) + EYE) / 2 for layer in (0, 1))
    np.testing.assert_allclose(GraphOptions(heads="rollout").matrices(ATTENTION), [second @ first])
    np.testing.assert_allclose(GraphOptions(heads="rollout", layer=0).matrices(ATTENTION), [first])
    np.testing.assert_allclose(GraphOptions(heads="rollout", layer=-2).matrices(ATTENTION), [first])


def asked(seed: int = 0, length: int = 9) -> tuple[Attentive, Question]:
    draw = np.random.default_rng(seed)
    recommender = Attentive(random_votes(draw, 30), 12, heads=random_heads(2, seed=seed))
    history = draw.choice(np.arange(1, 31), length, replace=False)
    return recommender, ask(recommender, history, Options())


def is_same(one: nx.DiGraph, other: nx.DiGraph) -> bool:
    return set(one.edges(data="mark")) == set(other.edges(data="mark"))


@pytest.mark.parametrize("seed", range(4))
def test_the_options_reach_the_discovery(seed: int) -> None:
    recommender, question = asked(seed)
    heads = recommender.attention(question.visible, question.target)[-1]
    cases: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda a: learn_pag(correlation(a), 64)),
        ({"alpha": 0.2}, lambda a: learn_pag(correlation(a), 64, 0.2)),
        ({"n_samples": 20}, lambda a: learn_pag(correlation(a), 20)),
        ({"n_samples": "length"}, lambda a: learn_pag(correlation(a), 10)),
        ({"covariance": "centred"}, lambda a: learn_pag(np.corrcoef(a), 64)),
        ({"order": "independent"}, lambda a: learn_pag(correlation(a), 64, order="independent")),
        ({"discoverer": "ordicd"}, lambda a: learn_with("ordicd", correlation(a), 64)),
        ({"heads": 0}, None),
    ]
    for options, expected in cases:
        graphs = Causal(**options).graphs(recommender, question)
        if expected is None:
            assert len(graphs) == 1
            assert is_same(graphs[0], learn_pag(correlation(heads[0]), 64))
        else:
            assert len(graphs) == 2
            assert all(is_same(g, expected(a)) for g, a in zip(graphs, heads, strict=True))


@pytest.mark.parametrize("discoverer", ["fci", "pc"])
def test_discoverers_of_the_extra_give_explanations_too(discoverer: str) -> None:
    pytest.importorskip("causallearn", reason="the extra `discoverers` is not installed")
    recommender, question = asked(length=5)
    heads = recommender.attention(question.visible, question.target)[-1]
    graphs = Cleann(discoverer=discoverer).graphs(recommender, question)
    assert all(is_same(g, learn_with(discoverer, correlation(a), 256)) for g, a in zip(graphs, heads, strict=True))


def test_the_order_decides_which_walks_are_searched() -> None:
    """Walks are told apart by their direction with `independent`, so that more nodes may be reached."""
    graph = nx.DiGraph()
    for x, y, at_x, at_y in [(0, 1, "circle", "circle"), (0, 2, "circle", "circle"), (1, 2, "arrow", "circle")]:
        graph.add_edge(x, y, mark=at_y)
        graph.add_edge(y, x, mark=at_x)
    graph.add_edge(1, 3, mark="circle")
    graph.add_edge(3, 1, mark="arrow")
    graph = nx.relabel_nodes(graph, {0: 3, 3: 0})  # the target is the last node, and misses node 0 in its tree
    assert sorted(pds_tree(graph, 3).distances) == [1, 2]
    assert sorted(pds_walks(graph, 3).distances) == [0, 1, 2]
    _, question = asked(length=3)
    for explainer in (Causal, Cleann):
        assert sorted(explainer().distances(question, graph)) == [1, 2]
        assert sorted(explainer(order="independent").distances(question, graph)) == [0, 1, 2]
    sizes = [len(list(Cleann(order=order)._levels(graph))) for order in ("position", "independent")]
    assert sizes == [2, 3]  # the set of all three hangs together only by the walk that the tree misses


@pytest.mark.parametrize("explainer", [Causal, Cleann])
@pytest.mark.parametrize(
    "options",
    [{"heads": "mean"}, {"heads": "max"}, {"heads": 1}, {"order": "independent"}, {"covariance": "centred"}],
    ids=str,
)
def test_every_choice_explains(explainer: type[Causal | Cleann], options: dict[str, Any]) -> None:
    recommender = random_attentive(np.random.default_rng(3))
    explanation = explain(recommender, ["3", "5", "1", "8"], explainer=explainer(**options), change="leaves", k=2)
    assert explanation.n_graphs == (1 if "heads" in options else 2)
    assert explanation.status in ("optimal", "irreducible", "found", "none_up_to")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_samples": 3}, "n_samples must be a whole number of 4 or more"),
        ({"n_samples": "hidden"}, "or length, not 'hidden'"),
        ({"heads": "all"}, "heads must be one of each, mean, max, rollout, or the number of one, not 'all'"),
        ({"heads": -1}, "heads must be"),
        ({"layer": 0.5}, "layer must be a whole number, negative from the deepest, not 0.5"),
        ({"layer": True}, "layer must be"),
        ({"covariance": "cosine"}, "covariance must be one of raw, centred, not 'cosine'"),
        ({"order": "any"}, "order must be one of position, independent, not 'any'"),
        ({"discoverer": "ges"}, "discoverer must be one of icd, ordicd, fci, pc, not 'ges'"),
        ({"discoverer": "pc", "order": "independent"}, "order=independent is for discoverer=icd, not for pc"),
    ],
)
@pytest.mark.parametrize("explainer", [Causal, Cleann])
def test_what_is_not_allowed_is_refused(explainer: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        explainer(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": 2}, "layer must be from -2 to 1 with this model, not 2"),
        ({"layer": -3}, "layer must be from -2 to 1 with this model, not -3"),
        ({"heads": 2}, "heads must be below 2, as many as this model has, not 2"),
    ],
)
def test_what_the_model_has_not_is_refused_with_what_it_has(options: dict[str, Any], words: str) -> None:
    recommender, question = asked()
    with pytest.raises(OptionError, match=words):
        Causal(**options).graphs(recommender, question)


def test_centred_attention_that_is_even_is_refused() -> None:
    with pytest.raises(OptionError, match="row 1 of attention is the same for all positions"):
        correlation(np.array([[0.9, 0.1], [0.5, 0.5]]), centred=True)


def test_centred_rows_that_are_opposite_correlate_exactly() -> None:
    assert correlation(np.array([[0.9, 0.1], [0.3, 0.7]]), centred=True).tolist() == [[1, -1], [-1, 1]]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "attention head 2 of 2, deepest layer"),
        ({"heads": 3, "layer": 0}, "attention head 4, first layer"),
        ({"heads": "mean", "layer": 1}, "mean of the attention heads, layer 1"),
        ({"heads": "rollout"}, "attention rolled out to the deepest layer"),
    ],
)
def test_a_graph_is_named_after_what_it_was_learnt_from(options: dict[str, Any], name: str) -> None:
    assert GraphOptions(**options).name_of(1, 2) == name

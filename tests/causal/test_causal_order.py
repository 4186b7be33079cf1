"""`order="independent"`: renumbering the nodes renumbers the graph; exact answers give the same graph as ever."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recexplain.causal.correlation import correlation
from recexplain.causal.icd import IcdOptions, discover, iterations, learn_pag
from recexplain.causal.independence import Independence, PartialCorrelation
from recexplain.causal.orientation import (
    ARROW_RULES_AT_ONCE,
    SELECTION_RULES,
    TAIL_RULES,
    TAIL_RULES_REFERENCE,
    Rule,
    close_at_once,
    r0,
)
from recexplain.causal.pag import ARROW, CIRCLE, MARKS, Pag
from recexplain.causal.pds import LegalSet, legal_levels, pds_walks

Arcs = set[tuple[int, int, str]]


def arcs(graph: nx.DiGraph, names: list[int]) -> Arcs:
    return {(names[x], names[y], mark) for x, y, mark in graph.edges(data="mark")}


def sepsets(graph: nx.DiGraph, names: list[int]) -> dict[frozenset[int], frozenset[int]]:
    return {
        frozenset((names[x], names[y])): frozenset(names[v] for v in z) for (x, y), z in graph.graph["sepset"].items()
    }


def attention_like(seed: int, n: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    weights = np.exp(draw.normal(size=(n, 4)) @ draw.normal(size=(4, n)))
    return correlation(weights / weights.sum(axis=1, keepdims=True))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 16), st.sampled_from([0.001, 0.01, 0.1]), st.sampled_from([16, 64]))
def test_renumbering_the_nodes_renumbers_the_graph(seed: int, n: int, alpha: float, n_samples: int) -> None:
    matrix, names = attention_like(seed, n), np.random.default_rng(seed + 1).permutation(n).tolist()
    one = learn_pag(matrix, n_samples, alpha, order="independent")
    other = learn_pag(matrix[np.ix_(names, names)], n_samples, alpha, order="independent")
    assert arcs(other, names) == arcs(one, list(range(n)))
    assert sepsets(other, names) == sepsets(one, list(range(n)))
    assert other.graph["n_tests"] == one.graph["n_tests"]


@pytest.mark.parametrize("seed", range(6))
def test_renumbering_renumbers_where_rules_contradict_one_another(seed: int) -> None:
    matrix, names = attention_like(seed, 40), np.random.default_rng(seed).permutation(40).tolist()
    one = learn_pag(matrix, 64, 0.05, order="independent")
    other = learn_pag(matrix[np.ix_(names, names)], 64, 0.05, order="independent")
    assert arcs(other, names) == arcs(one, list(range(40)))


def test_the_other_order_does_not_have_that_property() -> None:
    matrix, names = attention_like(0, 16), np.random.default_rng(1).permutation(16).tolist()
    one, other = learn_pag(matrix, 64), learn_pag(matrix[np.ix_(names, names)], 64)
    assert arcs(other, names) != arcs(one, list(range(16)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("order", ["position", "independent"])
def test_a_correlation_is_the_same_as_its_test(seed: int, order: str) -> None:
    matrix = attention_like(seed, 14)
    one = learn_pag(matrix, 48, 0.05, order=order)
    other = discover(14, PartialCorrelation(matrix, 48), alpha=0.05, order=order)
    assert (dict(one.edges), one.graph) == (dict(other.edges), other.graph)


def random_dag(draw: np.random.Generator, n: int) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    numbers = draw.permutation(n).tolist()
    graph.add_edges_from((numbers[i], numbers[j]) for i, j in combinations(range(n), 2) if draw.random() < 0.4)
    return graph


@pytest.mark.parametrize("seed", range(40))
def test_exact_answers_give_the_same_graph_in_both_orders(seed: int) -> None:
    draw = np.random.default_rng(seed)
    hidden = random_dag(draw, int(draw.integers(5, 9)))
    n = len(hidden) - int(draw.integers(3))
    selection = {v for v in range(n, len(hidden)) if draw.random() < 0.4}

    def exact(x: int, y: int, z: tuple[int, ...] = ()) -> float:
        return float(nx.is_d_separator(hidden, x, y, {*z, *selection}))

    one, other = discover(n, exact), discover(n, exact, order="independent")
    assert dict(one.edges) == dict(other.edges)
    for (x, y), z in other.graph["sepset"].items():
        assert exact(x, y, z) == 1


def planted(answers: dict[tuple[int, int, tuple[int, ...]], float]) -> Independence:
    return lambda x, y, z=(): answers.get((x, y, z), 0.0)


def test_a_round_is_frozen() -> None:
    """0-1 goes given 2. Then 0 is no neighbour of 1, and can separate 1 from 2 in a frozen round only."""
    test = planted({(0, 1, (2,)): 0.5, (1, 2, (0,)): 0.4})
    assert {(0, 1), (1, 2)} <= set(discover(3, test, order="independent").graph["sepset"])
    test = planted({(0, 1, (2,)): 0.5, (1, 3, (0,)): 0.5, (0, 2, ()): 0.0, (0, 3, ()): 0.5})
    assert (1, 3) not in discover(4, test).graph["sepset"]
    assert (1, 3) in discover(4, test, order="independent").graph["sepset"]


def test_the_set_with_the_largest_p_is_kept_and_decides_colliders() -> None:
    test = planted({(0, 1, (2,)): 0.5, (0, 1, (3,)): 0.9, (2, 3, ()): 0.5})
    first, best = discover(4, test), discover(4, test, order="independent")
    assert first.graph["sepset"][0, 1] == (2,)
    assert best.graph["sepset"][0, 1] == (3,)
    assert (first.edges[0, 2]["mark"], first.edges[0, 3]["mark"]) == (CIRCLE, ARROW)
    assert (best.edges[0, 2]["mark"], best.edges[0, 3]["mark"]) == (ARROW, CIRCLE)


def test_any_iteration_may_be_used() -> None:
    matrix = attention_like(2, 15)
    steps = list(iterations(15, PartialCorrelation(matrix, 64), IcdOptions(alpha=0.05, order="independent")))
    n_edges = [pag.to_networkx().number_of_edges() for pag in steps]
    assert n_edges == sorted(n_edges, reverse=True)
    assert dict(steps[-1].to_networkx().edges) == dict(learn_pag(matrix, 64, 0.05, order="independent").edges)


# Orientation at once


def random_pag(draw: np.random.Generator, marks: tuple[str, ...] = (CIRCLE,)) -> Pag:
    """Any marks and separating sets, mostly contradicting one another."""
    n = int(draw.integers(3, 9))
    pag = Pag.complete(n)
    for x, y in combinations(range(n), 2):
        if draw.random() < 0.5:
            pag.separate(x, y, tuple(v for v in range(n) if v not in (x, y) and draw.random() < 0.3))
        else:
            pag.connect(x, y, draw.choice(marks), draw.choice(marks))  # type: ignore[arg-type] # numpy's str
    return pag


def renumbered(pag: Pag, names: list[int]) -> Pag:
    other = Pag.complete(pag.n)
    for x, y in combinations(pag.nodes, 2):
        if pag.is_adjacent(x, y):
            other.connect(names[x], names[y], pag.mark(y, x), pag.mark(x, y))
        else:
            other.separate(names[x], names[y], tuple(names[v] for v in pag.separating_set(x, y)))
    return other


def test_rules_at_once_do_not_depend_on_the_numbering() -> None:
    draw, n_marked = np.random.default_rng(0), 0
    for _ in range(400):
        pag = random_pag(draw)
        names = draw.permutation(pag.n).tolist()
        other = renumbered(pag, names)
        for graph in (pag, other):
            r0(graph)
            for rules in (ARROW_RULES_AT_ONCE, SELECTION_RULES, TAIL_RULES):
                close_at_once(graph, rules)
        assert arcs(pag.to_networkx(), names) == arcs(other.to_networkx(), list(range(pag.n)))
        n_marked += sum(mark != CIRCLE for *_, mark in pag.to_networkx().edges(data="mark"))
    assert n_marked > 2000


@pytest.mark.parametrize("rule", [*ARROW_RULES_AT_ONCE, *SELECTION_RULES, *TAIL_RULES, TAIL_RULES_REFERENCE[-1]])
def test_a_rule_at_once_writes_circles_only_and_not_by_number(rule: Rule) -> None:
    draw, n_changed = np.random.default_rng(1), 0
    for _ in range(1500):
        pag = random_pag(draw, (CIRCLE, CIRCLE, CIRCLE, *MARKS))
        before, names = pag.copy(), draw.permutation(pag.n).tolist()
        other = renumbered(pag, names)
        close_at_once(pag, [rule])
        close_at_once(other, [rule])
        assert arcs(pag.to_networkx(), names) == arcs(other.to_networkx(), list(range(pag.n)))
        for x, y, mark in before.to_networkx().edges(data="mark"):
            assert mark in (CIRCLE, pag.mark(x, y))
            n_changed += mark != pag.mark(x, y)
    assert n_changed > 0


def test_an_edge_oriented_both_ways_gets_two_arrows() -> None:
    pag = Pag(4)
    pag.connect(0, 1, CIRCLE, ARROW)
    pag.connect(1, 2)
    pag.connect(2, 3, ARROW, CIRCLE)
    close_at_once(pag, ARROW_RULES_AT_ONCE)  # R1 at 1 says 1 -> 2, R1 at 2 says 2 -> 1
    assert (pag.mark(1, 2), pag.mark(2, 1)) == (ARROW, ARROW)


# Walks


def by_definition(pag: Pag, root: int, size: int) -> list[tuple[int, ...]]:
    """The sets all of whose nodes a walk inside the set reaches, by trying each set and each walk."""

    def reached(some: tuple[int, ...]) -> set[int]:
        steps = {(root, u) for u in some if pag.is_adjacent(root, u)}
        while True:
            longer = {
                (u, w)
                for p, u in steps
                for w in some
                if w not in (p, u)
                and pag.is_adjacent(u, w)
                and (pag.is_adjacent(p, w) or pag.mark(p, u) == pag.mark(w, u) == ARROW)
            }
            if longer <= steps:
                return {u for _, u in steps}
            steps |= longer

    others = [v for v in pag.nodes if v != root]
    return [some for some in combinations(others, size) if reached(some) == set(some)]


def test_legal_sets_of_walks_are_what_the_definition_says() -> None:
    draw, n_sets = np.random.default_rng(3), 0
    for _ in range(200):
        pag = random_pag(draw, (ARROW, ARROW, *MARKS))
        root = int(draw.integers(pag.n))
        walks = pds_walks(pag, root)
        levels = list(legal_levels(walks))
        for size in range(1, pag.n):
            level = levels[size - 1] if size <= len(levels) else []
            assert sorted(s.nodes for s in level) == by_definition(pag, root, size)
            assert level == sorted(level)
            assert all(s.distance == sum(walks.distances[v] for v in s.nodes) for s in level)
            n_sets += len(level)
    assert n_sets > 2000


def test_walks_do_not_depend_on_the_numbering() -> None:
    """The two graphs of `test_an_edge_is_walked_once_in_the_whole_tree`: here 3 is found in both."""
    for one, two in ((1, 2), (2, 1)):
        pag = Pag(4)
        pag.connect(0, one)
        pag.connect(0, two)
        pag.connect(one, two, ARROW, CIRCLE)
        pag.connect(one, 3, ARROW, CIRCLE)
        assert pds_walks(pag, 0).distances == {1: 1, 2: 1, 3: 3}
        assert pds_walks(pag, 0, 2).distances == {1: 1, 2: 1}
        assert LegalSet(5, (1, 2, 3)) in list(legal_levels(pds_walks(pag, 0)))[2]

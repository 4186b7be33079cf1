"""What holds of every graph that is learnt, whatever the attention; degenerate input has a defined result."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recexplain.causal.correlation import correlation
from recexplain.causal.icd import ORDERS, discover, learn_pag
from recexplain.causal.independence import PartialCorrelation
from recexplain.causal.pag import Pag
from recexplain.errors import OptionError

unhurried = settings(deadline=None, max_examples=40)  # the machine may be busy

each_order = pytest.mark.parametrize("order", ORDERS)
seeds, sizes, samples = st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([16, 64, 256])


def attention(seed: int, n: int, rank: int = 3) -> np.ndarray:
    draw = np.random.default_rng(seed)
    weights = np.exp(draw.normal(size=(n, rank)) @ draw.normal(size=(rank, n)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def low_rank(seed: int, n: int, rank: int) -> np.ndarray:
    """Attention of which every row is a mixture of the same few."""
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.ones(rank), n) @ draw.random((rank, n))


def same(one: nx.DiGraph, other: nx.DiGraph) -> bool:
    return (dict(one.edges), one.graph) == (dict(other.edges), other.graph)


def renumbered(
    graph: nx.DiGraph, order: list[int]
) -> tuple[set[tuple[int, int, str]], dict[tuple[int, int], set[int]]]:
    """Marked arcs and separating sets under new numbers: node v becomes order[v]."""
    arcs = {(order[x], order[y], mark) for x, y, mark in graph.edges(data="mark")}
    pairs = {tuple(sorted((order[x], order[y]))): {order[v] for v in z} for (x, y), z in graph.graph["sepset"].items()}
    return arcs, {(x, y): z for (x, y), z in pairs.items()}


@each_order
@unhurried
@given(seeds, sizes, samples)
def test_swapping_the_pair_of_a_test_changes_nothing(order: str, seed: int, n: int, n_samples: int) -> None:
    test = PartialCorrelation(correlation(attention(seed, n)), n_samples)
    graph = discover(n, test, alpha=0.05, order=order)
    assert same(graph, discover(n, lambda x, y, z=(): test(y, x, z), alpha=0.05, order=order))


@each_order
@unhurried
@given(seeds, sizes, samples)
def test_a_correlation_is_learnt_from_as_its_test_is(order: str, seed: int, n: int, n_samples: int) -> None:
    matrix = correlation(attention(seed, n))
    graph = discover(n, PartialCorrelation(matrix, n_samples), alpha=0.05, order=order)
    assert same(learn_pag(matrix, n_samples, 0.05, order=order), graph)


@each_order
@unhurried
@given(seeds, sizes, samples)
def test_a_graph_is_well_formed(order: str, seed: int, n: int, n_samples: int) -> None:
    matrix = correlation(attention(seed, n))
    before = matrix.copy()
    graph = learn_pag(matrix, n_samples, order=order)
    test = PartialCorrelation(matrix, n_samples)
    assert (matrix == before).all()
    assert dict(Pag.from_networkx(graph).to_networkx().edges) == dict(graph.edges)
    assert set(graph.graph["sepset"]) == {pair for pair in combinations(range(n), 2) if not graph.has_edge(*pair)}
    assert all(test(x, y, z) > 0.01 for (x, y), z in graph.graph["sepset"].items())


@unhurried
@given(seeds, sizes, samples, st.permutations(range(12)))
def test_renumbering_the_nodes_renumbers_the_graph(seed: int, n: int, n_samples: int, numbers: list[int]) -> None:
    order = [v for v in numbers if v < n]
    matrix = correlation(attention(seed, n))
    back = np.argsort(order)
    graph = learn_pag(matrix, n_samples, 0.05, order="independent")
    other = learn_pag(matrix[np.ix_(back, back)], n_samples, 0.05, order="independent")
    assert renumbered(graph, order) == renumbered(other, list(range(n)))


# Degenerate input


@unhurried
@given(seeds, samples, st.sampled_from([0.001, 0.01, 0.2]))
def test_two_nodes_are_adjacent_if_their_test_says_so(seed: int, n_samples: int, alpha: float) -> None:
    matrix = correlation(attention(seed, 2))
    graph = learn_pag(matrix, n_samples, alpha)
    assert graph.has_edge(0, 1) == (PartialCorrelation(matrix, n_samples)(0, 1) <= alpha)
    assert {mark for *_, mark in graph.edges(data="mark")} <= {"circle"}


@each_order
@unhurried
@given(seeds, st.integers(2, 9), samples, st.floats(0.1, 10))
def test_a_duplicate_stays_with_its_original(order: str, seed: int, n: int, n_samples: int, scale: float) -> None:
    rows = attention(seed, n)
    rows[n - 1] = rows[0] * scale  # not a distribution any more: only the direction of a row counts
    graph = learn_pag(correlation(rows), n_samples, order=order)
    assert graph.has_edge(0, n - 1)
    assert not any(0 in z and n - 1 in z for z in graph.graph["sepset"].values() if len(z) > 1)


@each_order
@unhurried
@given(seeds, st.integers(3, 9), samples)
def test_a_constant_row_is_a_row_like_any_other(order: str, seed: int, n: int, n_samples: int) -> None:
    rows = attention(seed, n)
    rows[1] = 1 / n
    test = PartialCorrelation(correlation(rows), n_samples)
    assert test.copies == (0,) * n
    assert same(learn_pag(correlation(rows), n_samples, order=order), discover(n, test, order=order))
    rows[2] = 1 / n  # but two of them are copies
    assert learn_pag(correlation(rows), n_samples, order=order).has_edge(1, 2)


@unhurried
@given(seeds, st.integers(2, 4))
def test_given_a_mixture_of_itself_a_node_is_dependent(seed: int, rank: int) -> None:
    """Where x, y and z are more nodes than the matrix has rank, no partial correlation is defined: p is 0."""
    matrix = correlation(low_rank(seed, 7, rank))
    given_first = slice(2, 2 + rank)
    assume(np.linalg.eigvalsh(matrix[given_first, given_first])[0] > 1e-3)  # else rounding has the last word
    test = PartialCorrelation(matrix, 64)
    for size in range(rank, 6):
        assert test(0, 1, tuple(range(2, 2 + size))) == 0.0


@each_order
@unhurried
@given(seeds, st.integers(4, 8), st.integers(1, 3), samples)
def test_a_singular_correlation_gives_a_graph(order: str, seed: int, n: int, rank: int, n_samples: int) -> None:
    graph = learn_pag(correlation(low_rank(seed, n, rank)), n_samples, order=order)
    assert set(graph) == set(range(n))
    if rank == 1:  # all are copies
        assert graph.number_of_edges() == n * (n - 1)


@each_order
@unhurried
@given(seeds, st.integers(3, 8), st.floats(1e-15, 1e-3))
def test_a_nearly_singular_correlation_gives_a_graph(order: str, seed: int, n: int, distance: float) -> None:
    rows = attention(seed, n)
    rows[0] = rows[1] + distance * rows[2]
    graph = learn_pag(correlation(rows), 64, order=order)
    assert graph.has_edge(0, 1)


@pytest.mark.parametrize("n_samples", [1, 2])
@unhurried
@given(seed=seeds, n=st.integers(2, 8))
def test_below_three_samples_nothing_is_separated(n_samples: int, seed: int, n: int) -> None:
    assert learn_pag(correlation(attention(seed, n)), n_samples).number_of_edges() == n * (n - 1)


@unhurried
@given(seeds, st.integers(2, 8))
def test_with_three_samples_all_is_separated_but_copies(seed: int, n: int) -> None:
    """Fisher's z has no freedom left: p is 1. As in the reference; `Cleann` asks for four or more."""
    assert learn_pag(correlation(attention(seed, n)), 3).number_of_edges() == 0


@unhurried
@given(seeds, st.integers(4, 8), st.integers(4, 8))
def test_with_few_samples_a_set_is_large_when_it_leaves_no_freedom(seed: int, n: int, n_samples: int) -> None:
    """A set of n_samples - 3 nodes separates anything, a larger one nothing."""
    test = PartialCorrelation(correlation(attention(seed, n)), n_samples)
    for size in range(n_samples - 3, n - 1):
        assert test(0, 1, tuple(range(2, 2 + size))) == (1 if size == n_samples - 3 else 0)
    graph = learn_pag(correlation(attention(seed, n)), n_samples)
    assert max(map(len, graph.graph["sepset"].values()), default=0) <= n_samples - 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@unhurried
@given(seed=seeds, n=st.integers(2, 6))
def test_what_is_not_finite_is_refused(value: float, seed: int, n: int) -> None:
    rows, matrix = attention(seed, n), correlation(attention(seed, n))
    rows[0, 1] = matrix[0, 1] = matrix[1, 0] = value
    with pytest.raises(OptionError, match="attention must be finite"):
        correlation(rows)
    with pytest.raises(OptionError, match="correlation must be finite"):
        learn_pag(matrix, 64)

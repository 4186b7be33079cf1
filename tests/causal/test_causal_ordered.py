"""Discovery in a known order: all that can be known with it, by fewer tests."""

import networkx as nx
import numpy as np
import pytest
from causal_oracle import earlier_first, edges, random_hidden

from recexplain.causal.icd import discover
from recexplain.causal.independence import PartialCorrelation
from recexplain.causal.ordered import discover_ordered
from recexplain.errors import OptionError


def test_all_that_can_be_known_with_the_order_is_found() -> None:
    for seed in range(200):
        truth = random_hidden(seed, 5, in_order=True)
        assert edges(discover_ordered(5, truth)) == truth.shared_by_all(earlier_first), seed


def test_every_mark_is_true_of_a_larger_graph_and_fewer_tests_are_asked() -> None:
    ordered = unordered = 0
    for seed in range(1000, 1030):
        truth = random_hidden(seed, 8, in_order=True)
        found = discover_ordered(8, truth)
        assert {frozenset(pair) for pair in found.edges} == {frozenset((x, y)) for x, y, _ in truth.mag}, seed
        assert {edge for edge in edges(found) if edge[2] != "circle"} <= truth.mag, seed
        assert all(truth(x, y, given) for (x, y), given in found.graph["sepset"].items()), seed
        ordered += sum(found.graph["n_tests"])
        unordered += sum(discover(8, truth).graph["n_tests"])
    assert ordered < 0.8 * unordered


def test_time_turns_a_chain_into_arrows() -> None:
    chain = {(0, 2, (1,)): 1.0}
    graph = discover_ordered(3, lambda x, y, z=(): chain.get((x, y, z), 0.0))
    assert edges(graph) == {(0, 1, "arrow"), (1, 0, "circle"), (1, 2, "arrow"), (2, 1, "tail")}
    assert graph.graph == {"sepset": {(0, 2): (1,)}, "n_tests": [3, 1]}


def test_nothing_later_is_conditioned_on() -> None:
    """2 separates 0 and 1, which it cannot do if it comes after both: what it is an effect of is not asked."""
    asked = []

    def independence(x: int, y: int, z: tuple[int, ...] = ()) -> float:
        asked.append((x, y, z))
        return float(z == (2,))

    assert discover_ordered(3, independence).has_edge(0, 1)
    assert all(v < y for x, y, z in asked for v in (x, *z))


@pytest.mark.parametrize("seed", range(10))
def test_noise_never_turns_an_arrow_back(seed: int) -> None:
    rows = np.random.default_rng(seed).random((14, 9))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix = rows @ rows.T
    np.fill_diagonal(matrix, 1)
    graph = discover_ordered(14, PartialCorrelation(matrix, 24), alpha=0.05)
    assert all(mark == "arrow" for x, y, mark in graph.edges(data="mark") if x < y)
    assert {mark for x, y, mark in graph.edges(data="mark") if x > y} > {"arrow"}


def test_copies_do_not_stop_the_search() -> None:
    test = PartialCorrelation(np.ones((40, 40)), 64)
    assert discover_ordered(40, test, copies=test.copies).number_of_edges() == 40 * 39


def test_no_condition_is_put_to_copies_or_holds_them() -> None:
    asked: list[tuple[int, int, tuple[int, ...]]] = []

    def dependent(x: int, y: int, z: tuple[int, ...] = ()) -> float:
        asked.append((x, y, z))
        return 0.0

    discover_ordered(5, dependent, copies=(0, 0, 0, 0b10000, 0b01000))
    assert {len(z) for *_, z in asked} == {0, 1, 2}
    assert not any({3, 4} <= {x, y, *z} for x, y, z in asked if z)


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_test(n: int) -> None:
    graph = discover_ordered(n, lambda _x, _y, _z=(): 0.0)
    assert (list(graph), graph.graph) == (list(range(n)), {"sepset": {}, "n_tests": []})
    assert isinstance(graph, nx.DiGraph)


def test_wrong_input_stops_at_the_door() -> None:
    with pytest.raises(OptionError, match="alpha must be between 0 and 1, not 2"):
        discover_ordered(3, lambda _x, _y, _z=(): 0.0, alpha=2)
    with pytest.raises(OptionError, match="n must be 0 or more, not -1"):
        discover_ordered(-1, lambda _x, _y, _z=(): 0.0)

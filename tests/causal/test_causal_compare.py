"""Other discoverers: the form that all share, and what causal-learn's get right with exact answers."""

import sys
from collections.abc import Callable
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from causal_oracle import Hidden, directed, edges, random_hidden

from recexplain.causal.compare import DISCOVERERS, _library, fci, learn_with, pc
from recexplain.causal.correlation import correlation
from recexplain.causal.icd import discover, learn_pag
from recexplain.causal.independence import PartialCorrelation
from recexplain.errors import OptionError


@pytest.fixture
def causal_learn() -> None:
    pytest.importorskip("causallearn", reason="causal-learn, the optional extra `discoverers`, is not installed")


def attention(seed: int, n: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    weights = np.exp(draw.normal(size=(n, 4)) @ draw.normal(size=(4, n)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@pytest.mark.usefixtures("causal_learn")
@pytest.mark.parametrize("discoverer", DISCOVERERS)
def test_all_return_one_form(discoverer: str) -> None:
    matrix = correlation(attention(0, 10))
    before = matrix.copy()
    graph = learn_with(discoverer, matrix, 64, 0.05)
    test = PartialCorrelation(matrix, 64)
    assert (matrix == before).all()
    assert list(graph) == list(range(10))
    assert all(graph.has_edge(y, x) for x, y in graph.edges)
    assert {mark for *_, mark in graph.edges(data="mark")} <= {"tail", "arrow", "circle"}
    assert set(graph.graph["sepset"]) == {pair for pair in combinations(range(10), 2) if not graph.has_edge(*pair)}
    assert all(test(x, y, given) > 0.05 for (x, y), given in graph.graph["sepset"].items())
    assert graph.graph["n_tests"][0] == 45
    assert 0 < graph.number_of_edges() < 90


def test_icd_is_learn_pag() -> None:
    matrix = correlation(attention(1, 8))
    assert edges(learn_with("icd", matrix, 64, 0.05)) == edges(learn_pag(matrix, 64, 0.05))


def test_ordicd_puts_an_arrow_at_every_later_end() -> None:
    graph = learn_with("ordicd", correlation(attention(1, 8)), 64)
    assert {mark for x, y, mark in graph.edges(data="mark") if x < y} == {"arrow"}
    assert learn_with("ordicd", np.ones((40, 40)), 64).number_of_edges() == 40 * 39  # copies


@pytest.mark.usefixtures("causal_learn")
def test_fci_has_the_true_skeleton_and_arrows() -> None:
    """Its tails it does not always have right, or have at all: they are not asserted."""
    for seed in range(150):
        truth = random_hidden(seed, 5)
        found, expected = fci(5, truth), edges(discover(5, truth))
        assert set(found.edges) == {(x, y) for x, y, _ in expected}, seed
        arrows = {edge for edge in edges(found) if edge[2] == "arrow"}
        assert arrows == {edge for edge in expected if edge[2] == "arrow"}, seed
        assert all(truth(x, y, given) for (x, y), given in found.graph["sepset"].items()), seed


@pytest.mark.usefixtures("causal_learn")
def test_pc_finds_what_all_directed_graphs_share() -> None:
    marks = set()
    for seed in range(150):
        dag = random_hidden(seed, 5).dag
        truth = Hidden(dag.subgraph(range(5)), 5)
        found = pc(5, truth)
        assert edges(found) == truth.shared_by_all(directed), seed
        assert all(truth(x, y, given) for (x, y), given in found.graph["sepset"].items()), seed
        marks |= {mark for *_, mark in edges(found)}
    assert marks == {"tail", "arrow", "circle"}


@pytest.mark.usefixtures("causal_learn")
@pytest.mark.parametrize("discoverer", [fci, pc])
def test_degenerate_input(discoverer: Callable[..., nx.DiGraph], capsys: pytest.CaptureFixture[str]) -> None:
    for n in (0, 1):
        graph = discoverer(n, lambda _x, _y, _z=(): 0.0)
        assert (list(graph), graph.graph) == (list(range(n)), {"sepset": {}, "n_tests": []})
    truth = Hidden(nx.DiGraph([(0, 2), (1, 2), (2, 3)]), 4)
    assert discoverer(4, truth).edges[2, 3]["mark"] == "arrow"
    assert capsys.readouterr() == ("", "")  # causal-learn's own prints are kept back
    with pytest.raises(OptionError, match=r"alpha must be between 0 and 1, not 1\.5"):
        discoverer(3, truth, alpha=1.5)
    with pytest.raises(OptionError, match=r"more than max_tests=7 tests; allow more"):
        discoverer(5, lambda _x, _y, _z=(): 0.0, max_tests=7)
    assert discoverer(2, truth, max_tests=1).number_of_nodes() == 2


def test_a_name_that_is_none_lists_the_right_ones() -> None:
    with pytest.raises(OptionError, match=r"^discoverer must be one of icd, ordicd, fci, pc, not 'ges'$"):
        learn_with("ges", np.eye(3), 64)


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "causallearn.search.ConstraintBased.FCI", None)
    _library.cache_clear()
    with pytest.raises(OptionError, match=r"need the package causal-learn .* pip install 'recexplain\[discoverers\]'"):
        fci(3, lambda _x, _y, _z=(): 0.0)
    _library.cache_clear()

"""What speaks for an edge, how far heads agree, and why there is no edge."""

import networkx as nx
import numpy as np
import pytest

from recexplain.causal.evidence import Recorded, agreement, names_of, why_no_edge, with_evidence
from recexplain.causal.icd import discover, learn_pag
from recexplain.causal.independence import PartialCorrelation
from recexplain.causal.pag import Pag
from recexplain.errors import OptionError

# 0 and 2 correlate through 1 alone; 3 with nothing
CHAIN = np.array([[1.0, 0.6, 0.36, 0.0], [0.6, 1.0, 0.6, 0.0], [0.36, 0.6, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def pag(*edges: str) -> nx.DiGraph:
    """`0o->1` has a circle at 0 and an arrow at 1."""
    marks = {"<": "arrow", ">": "arrow", "o": "circle", "-": "tail"}
    graph = Pag(3)
    for edge in edges:
        graph.connect(int(edge[0]), int(edge[-1]), marks[edge[1]], marks[edge[3]])  # type: ignore[arg-type]  # a Mark
    return graph.to_networkx()


# Evidence


def test_strength_and_p_are_those_of_the_pair_alone() -> None:
    graph = learn_pag(CHAIN, 100)
    found = with_evidence(graph, CHAIN, 100)
    assert (
        found.edges[0, 1]
        == found.edges[1, 0]
        == {
            "mark": "circle",
            "strength": 0.6,
            "p": PartialCorrelation(CHAIN, 100)(0, 1),
        }
    )
    assert set(found.edges) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert found.graph == graph.graph
    assert graph.edges[0, 1] == {"mark": "circle"}  # as it was


def test_the_weakest_test_is_the_one_with_the_largest_p() -> None:
    recorded = Recorded(PartialCorrelation(CHAIN, 100))
    found = with_evidence(discover(4, recorded), CHAIN, 100, recorded)
    p = PartialCorrelation(CHAIN, 100)(0, 1, (2,))
    assert p > PartialCorrelation(CHAIN, 100)(0, 1)
    assert (found.edges[1, 0]["weakest_p"], found.edges[1, 0]["weakest_given"]) == (p, (2,))
    assert recorded.weakest(2, 0) == recorded.weakest(0, 2) == (pytest.approx(1), (1,))
    assert recorded.weakest(0, 3) is None  # told apart with no condition


def test_the_first_of_the_weakest_is_kept_whatever_its_order() -> None:
    answers = {(1,): 0.2, (3, 2): 0.5, (4,): 0.5, (): 0.9}
    recorded = Recorded(lambda _x, _y, z=(): answers[z])
    assert [recorded(*pair, z) for pair in ((0, 5), (5, 0)) for z in answers] == [0.2, 0.5, 0.5, 0.9] * 2
    assert recorded.weakest(0, 5) == (0.5, (2, 3))


def test_recording_changes_no_graph() -> None:
    test = PartialCorrelation(CHAIN, 100)
    one, other = discover(4, test), discover(4, Recorded(test))
    assert (dict(one.edges), one.graph) == (dict(other.edges), other.graph)


def test_evidence_needs_a_correlation_of_the_same_nodes() -> None:
    with pytest.raises(OptionError, match="a graph of 3 nodes needs a correlation of as many, not 4"):
        with_evidence(pag("0o-o1"), CHAIN, 100)
    with pytest.raises(OptionError, match="must be symmetric"):
        with_evidence(pag("0o-o1"), np.triu(np.ones((3, 3))), 100)


# Agreement


def test_agreement_counts_edges_and_marks() -> None:
    found = agreement([pag("0o->1", "1---2"), pag("0<->1"), pag("0o->1"), pag()])
    assert dict(found.edges) == {
        (0, 1): {"share": 0.75, "arrow": 0.75, "tail": 0.0, "circle": 0.0},
        (1, 0): {"share": 0.75, "arrow": 0.25, "tail": 0.0, "circle": 0.5},
        (1, 2): {"share": 0.25, "arrow": 0.0, "tail": 0.25, "circle": 0.0},
        (2, 1): {"share": 0.25, "arrow": 0.0, "tail": 0.25, "circle": 0.0},
    }
    assert list(found) == [0, 1, 2]


def test_a_graph_agrees_with_itself_and_the_order_does_not_matter() -> None:
    graphs = [pag("0o->1", "1---2"), pag("0<->2")]
    assert nx.utils.graphs_equal(agreement(graphs), agreement(graphs[::-1]))
    assert {data["share"] for *_, data in agreement(graphs[:1] * 3).edges(data=True)} == {1.0}


def test_agreement_is_of_graphs_of_the_same_nodes() -> None:
    with pytest.raises(OptionError, match="needs at least one graph"):
        agreement([])
    with pytest.raises(OptionError, match=r"must have the same nodes, and have \[3, 2\] of them"):
        agreement([pag(), Pag(2).to_networkx()])
    with pytest.raises(OptionError, match="must have a mark"):
        agreement([agreement([pag("0o->1")])])


# Why there is no edge

TITLES = ["Alien", "Aliens", "Heat", "Up"]


def test_the_separating_set_in_words() -> None:
    graph = learn_pag(CHAIN, 100)
    through = "There is no edge between *Alien* and *Heat*: given *Aliens*, no dependence between them was found."
    assert why_no_edge(graph, 0, 2, TITLES) == through
    assert why_no_edge(graph, 3, 0, TITLES) == (
        "There is no edge between *Up* and *Alien*: with no condition, no dependence between them was found."
    )
    graph.graph["sepset"][0, 2] = (1, 3)
    assert "given *Aliens* and *Up*, no" in why_no_edge(graph, 2, 0, TITLES)
    graph.graph["sepset"][0, 3] = (1, 2, 2)
    assert "given *1*, *2* and *2*, no" in why_no_edge(graph, 0, 3)


def test_nodes_are_called_by_the_names_given_or_their_own_or_their_numbers() -> None:
    graph = pag()
    graph.nodes[1]["name"] = "Aliens"
    assert names_of(graph) == ["0", "Aliens", "2"]
    assert names_of(graph, TITLES[:3]) == ["Alien", "Aliens", "Heat"]
    assert why_no_edge(graph, 0, 1).startswith("There is no edge between *0* and *Aliens*:")
    with pytest.raises(OptionError, match="a graph of 3 nodes needs as many names, not 4"):
        names_of(graph, TITLES)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ((0, 1), r"there is an edge between \*0\* and \*1\*"),
        ((2, 2), r"an edge joins two nodes, not \*2\* with itself"),
        ((0, 7), "the graph has the nodes 0 to 3, not 7"),
        ((-1, 0), "the graph has the nodes 0 to 3, not -1"),
    ],
)
def test_there_must_be_something_to_explain(pair: tuple[int, int], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        why_no_edge(learn_pag(CHAIN, 100), *pair)


def test_a_graph_without_separating_sets_cannot_say() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(3))
    with pytest.raises(OptionError, match=r"does not say what separated \*0\* and \*1\*"):
        why_no_edge(graph, 0, 1)

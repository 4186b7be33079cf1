"""A graph goes to JSON and back unchanged, and to DOT with all its marks."""

import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recexplain.causal.evidence import Recorded, agreement, with_evidence
from recexplain.causal.export import from_json, to_dot, to_json
from recexplain.causal.icd import discover
from recexplain.causal.independence import PartialCorrelation
from recexplain.causal.pag import MARKS, Pag
from recexplain.errors import OptionError


def same(one: nx.DiGraph, other: nx.DiGraph) -> bool:
    return bool(nx.utils.graphs_equal(one, other)) and list(one) == list(other) and list(one.edges) == list(other.edges)


@st.composite
def graphs(draw: st.DrawFn) -> nx.DiGraph:
    """Any marks, separating sets, names and evidence."""
    pag = Pag(draw(st.integers(0, 5)))
    for x in pag.nodes:
        for y in range(x):
            if draw(st.booleans()):
                pag.connect(x, y, draw(st.sampled_from(MARKS)), draw(st.sampled_from(MARKS)))
            else:
                pag.separate(x, y, tuple(draw(st.sets(st.sampled_from(range(pag.n))) if pag.n else st.just(set()))))
    graph = pag.to_networkx()
    if draw(st.booleans()):
        nx.set_node_attributes(graph, {node: draw(st.text()) for node in graph}, "name")
    if draw(st.booleans()):
        graph.graph["n_tests"] = draw(st.lists(st.integers(0)))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    for x, y in [edge for edge in graph.edges if edge[0] < edge[1]]:
        evidence = {"strength": draw(finite), "p": draw(finite), "weakest_p": draw(finite), "weakest_given": (x, y)}
        if draw(st.booleans()):
            graph.edges[x, y].update(evidence)
            graph.edges[y, x].update(evidence)
    return graph


@settings(deadline=None)
@given(graphs())
def test_json_returns_the_same_graph(graph: nx.DiGraph) -> None:
    text = to_json(graph)
    assert same(from_json(text), graph)
    assert to_json(from_json(text)) == text
    assert json.loads(text)["version"] == 1


def test_a_learnt_graph_with_all_it_carries() -> None:
    rows = np.random.default_rng(0).random((6, 3))
    matrix = rows @ rows.T / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(rows, axis=1))
    np.fill_diagonal(matrix, 1)
    recorded = Recorded(PartialCorrelation(matrix, 64))
    graph = with_evidence(discover(6, recorded), matrix, 64, recorded)
    back = from_json(to_json(graph))
    assert same(back, graph)
    assert any(type(data.get("weakest_given")) is tuple for *_, data in back.edges(data=True))
    assert back.graph == graph.graph


def test_names_that_are_given_become_those_of_the_nodes() -> None:
    names = ['Say "no"', "Amélie & Co. </script>", "a\\nb\n"]
    back = from_json(to_json(Pag(3).to_networkx(), names))
    assert [name for _, name in back.nodes(data="name")] == names
    assert json.loads(to_json(back, ["x", "y", "z"]))["names"] == ["x", "y", "z"]


def two(**attributes: object) -> nx.DiGraph:
    graph = Pag.complete(2).to_networkx()
    for arc in graph.edges:
        graph.edges[arc].update(attributes)
    return graph


def test_what_json_would_lose_is_refused() -> None:
    with pytest.raises(OptionError, match="an arc has the attribute 'weight', which JSON would lose"):
        to_json(two(weight=1))
    graph = two()
    graph.nodes[0]["colour"] = "red"
    with pytest.raises(OptionError, match="a node has the attribute 'colour'"):
        to_json(graph)
    graph = two()
    graph.graph["alpha"] = 0.01
    with pytest.raises(OptionError, match="the graph has the attribute 'alpha'"):
        to_json(graph)
    graph = two(p=0.5)
    graph.edges[1, 0]["p"] = 0.25
    with pytest.raises(OptionError, match=r"the evidence on the arcs \(0, 1\) and \(1, 0\) must be the same"):
        to_json(graph)
    with pytest.raises(OptionError, match="must have a mark"):
        to_json(agreement([two()]))
    with pytest.raises(OptionError, match=r"the evidence on the arc \(0, 1\) must be finite"):
        to_json(two(p=float("nan")))


GOOD = json.loads(to_json(Pag(2).to_networkx(), ["a", "b"]))
EDGE = {"x": 0, "y": 1, "at_x": "tail", "at_y": "arrow"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "a graph in JSON was expected: Expecting property name"),
        ("[]", "must have the format 'recexplain PAG' and version 1"),
        ({"version": 2}, "must have the format 'recexplain PAG' and version 1"),
        ({"n": None}, "the graph in JSON is damaged: TypeError"),
        ({"names": ["a"]}, "the graph in JSON is damaged: ValueError"),
        ({"edges": [{"x": 0, "y": 1}]}, "the graph in JSON is damaged: KeyError 'at_y'"),
        ({"edges": [EDGE | {"at_y": "hook"}]}, "must have a mark, one of tail, arrow, circle"),
        ({"edges": [EDGE | {"y": 2}]}, "an edge leads to a node that is not among the 2"),
        ({"edges": [EDGE]}, r"nothing can have separated 0 and 1 given \(\)"),
        ({"sepset": [{"x": 0, "y": 1, "given": [2]}]}, r"nothing can have separated 0 and 1 given \(2,\)"),
        ({"sepset": [{"x": 1, "y": 0, "given": []}]}, r"nothing can have separated 1 and 0 given \(\)"),
    ],
)
def test_what_is_no_graph_is_refused(text: str | dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        from_json(text if isinstance(text, str) else json.dumps(GOOD | text))


# DOT


def test_every_mark_has_its_head() -> None:
    pag = Pag(3)
    pag.connect(0, 1, "circle", "arrow")
    pag.connect(1, 2, "tail", "tail")
    assert to_dot(pag.to_networkx()).splitlines() == [
        "digraph {",
        "  node [shape=box, style=rounded]",
        '  0 [label="0"]',
        '  1 [label="1"]',
        '  2 [label="2"]',
        "  0 -> 1 [dir=both, arrowtail=odot, arrowhead=normal]",
        "  1 -> 2 [dir=both, arrowtail=none, arrowhead=none]",
        "}",
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ('Say "no"', r'"Say \"no\""'),
        ("a\\", r'"a\\"'),
        (r"\N", r'"\\N"'),
        ("one\ntwo\r\nthree\rfour", r'"one\ntwo\nthree\nfour"'),
        ("R&eacute;sum&eacute;", '"R&amp;eacute;sum&amp;eacute;"'),
        ("<b>]; 1 -> 0", '"<b>]; 1 -> 0"'),
        ("", '""'),
        ("Amélie", '"Amélie"'),
    ],
)
def test_names_are_escaped(name: str, written: str) -> None:
    assert f"  0 [label={written}]\n" in to_dot(Pag(1).to_networkx(), [name])


def test_the_stronger_the_thicker() -> None:
    line = to_dot(two(strength=-0.5, p=0.0125, weakest_p=0.5, weakest_given=(2, 3))).splitlines()[4]
    assert line.endswith('penwidth=1.75, tooltip="correlation -0.500, p 0.013; given 2, 3: p 0.5"]')


def test_a_graph_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match=r"has the arc \(0, 1\) alone"):
        to_dot(nx.DiGraph([(0, 1)]))

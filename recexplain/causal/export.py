"""A PAG as text: DOT for a picture, JSON that is read back unchanged.

As a networkx graph it is what `learn_pag` returns, and `Pag.from_networkx` reads.
"""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

import networkx as nx

from recexplain.causal.evidence import names_of
from recexplain.causal.pag import ARROW, CIRCLE, TAIL, Mark, Pag
from recexplain.errors import OptionError

FORMAT, VERSION = "recexplain PAG", 1
HEAD: dict[Mark, str] = {ARROW: "normal", CIRCLE: "odot", TAIL: "none"}  # Graphviz' words
EVIDENCE = ("strength", "p", "weakest_p", "weakest_given")  # of an edge, see `with_evidence`


def to_dot(graph: nx.DiGraph, names: Sequence[str] | None = None) -> str:
    r"""Return a PAG in Graphviz' language, with the mark at each end of an edge; `names` as of `names_of`.

    The stronger an edge (`with_evidence`), the thicker its line; what speaks for it is its tooltip in SVG.

    >>> graph = Pag.complete(2).to_networkx()
    >>> print(to_dot(graph, ['Say "no"', "Up"]), end="")
    digraph {
      node [shape=box, style=rounded]
      0 [label="Say \"no\""]
      1 [label="Up"]
      0 -> 1 [dir=both, arrowtail=odot, arrowhead=odot]
    }
    """
    pag = Pag.from_networkx(graph)
    lines = ["digraph {", "  node [shape=box, style=rounded]"]
    lines += [f"  {node} [label={_quoted(name)}]" for node, name in enumerate(names_of(graph, names))]
    for x, y in _pairs(pag):
        ends = f"dir=both, arrowtail={HEAD[pag.mark(y, x)]}, arrowhead={HEAD[pag.mark(x, y)]}"
        lines.append(f"  {x} -> {y} [{ends}{_look(graph.edges[x, y])}]")
    return "\n".join([*lines, "}\n"])


def to_json(graph: nx.DiGraph, names: Sequence[str] | None = None) -> str:
    """Return a PAG as JSON in which `from_json` finds all of it: marks, evidence, names, `sepset`, `n_tests`.

    What else nodes, arcs or the graph carry is refused, since it would be lost. `names` as of `names_of`.
    """
    pag = Pag.from_networkx(graph)
    _refuse_more(graph)
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION, "n": pag.n}
    if names is not None or any("name" in data for _, data in graph.nodes(data=True)):
        data["names"] = names_of(graph, names)
    data["edges"] = [
        {"x": x, "y": y, "at_x": pag.mark(y, x), "at_y": pag.mark(x, y)}
        | {name: graph.edges[x, y][name] for name in EVIDENCE if name in graph.edges[x, y]}
        for x, y in _pairs(pag)
    ]
    if "sepset" in graph.graph:
        data["sepset"] = [{"x": x, "y": y, "given": given} for (x, y), given in graph.graph["sepset"].items()]
    if "n_tests" in graph.graph:
        data["n_tests"] = graph.graph["n_tests"]
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> nx.DiGraph:
    """Return the PAG that `to_json` wrote; names are the nodes' attribute `name`."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise OptionError(f"a graph in JSON was expected: {error}") from error
    if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (FORMAT, VERSION):
        raise OptionError(f"a graph in JSON must have the format {FORMAT!r} and version {VERSION}")
    try:
        graph = _read(data)
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(f"the graph in JSON is damaged: {type(error).__name__} {error}") from error
    Pag.from_networkx(graph)
    for (x, y), given in graph.graph.get("sepset", {}).items():
        if not {x, y, *given} <= set(graph) or x >= y or graph.has_edge(x, y):
            raise OptionError(f"the graph in JSON is damaged: nothing can have separated {x} and {y} given {given}")
    return graph


def _read(data: dict[str, Any]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(data["n"]))
    if "names" in data:
        for node, name in zip(graph, data["names"], strict=True):
            graph.nodes[node]["name"] = name
    arcs = {}
    for edge in data["edges"]:
        evidence = {name: edge[name] for name in EVIDENCE if name in edge}
        if "weakest_given" in evidence:
            evidence["weakest_given"] = tuple(evidence["weakest_given"])
        arcs[edge["x"], edge["y"]] = {"mark": edge["at_y"]} | evidence
        arcs[edge["y"], edge["x"]] = {"mark": edge["at_x"]} | evidence
    graph.add_edges_from((x, y, arcs[x, y]) for x, y in sorted(arcs))
    if len(graph) != data["n"]:
        raise ValueError(f"an edge leads to a node that is not among the {data['n']}")
    if "sepset" in data:
        graph.graph["sepset"] = {(entry["x"], entry["y"]): tuple(entry["given"]) for entry in data["sepset"]}
    if "n_tests" in data:
        graph.graph["n_tests"] = list(data["n_tests"])
    return graph


def _refuse_more(graph: nx.DiGraph) -> None:
    carried = [
        ("a node", {name for _, data in graph.nodes(data=True) for name in data} - {"name"}),
        ("an arc", {name for *_, data in graph.edges(data=True) for name in data} - {"mark", *EVIDENCE}),
        ("the graph", set(graph.graph) - {"sepset", "n_tests"}),
    ]
    for owner, more in carried:
        if more:
            raise OptionError(f"{owner} has the attribute {sorted(map(str, more))[0]!r}, which JSON would lose")
    for x, y, data in graph.edges(data=True):
        if not all(isfinite(data[name]) for name in EVIDENCE[:3] if name in data):
            raise OptionError(f"the evidence on the arc ({x}, {y}) must be finite")
        if any(data.get(name) != graph.edges[y, x].get(name) for name in EVIDENCE):
            raise OptionError(f"the evidence on the arcs ({x}, {y}) and ({y}, {x}) must be the same")


def _pairs(pag: Pag) -> list[tuple[int, int]]:
    return [(x, y) for x in pag.nodes for y in pag.neighbours(x) if x < y]


def _look(edge: dict[str, Any]) -> str:
    if "strength" not in edge:
        return ""
    said = f"correlation {edge['strength']:.3f}, p {edge['p']:.2g}"
    if "weakest_p" in edge:
        said += f"; given {', '.join(map(str, edge['weakest_given']))}: p {edge['weakest_p']:.2g}"
    return f", penwidth={0.5 + 2.5 * abs(edge['strength']):.2f}, tooltip={_quoted(said)}"


def _quoted(text: str) -> str:
    """Return a text as a DOT string; Graphviz reads escapes and HTML entities in labels."""
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("&", "&amp;"), ("\r\n", "\\n"), ("\n", "\\n"), ("\r", "\\n")):
        text = text.replace(sign, written)
    return f'"{text}"'

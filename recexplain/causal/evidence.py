"""What speaks for an edge, how far graphs agree on it, and why there is none."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import networkx as nx
import numpy as np

from recexplain.causal.independence import Independence, PartialCorrelation
from recexplain.causal.pag import MARKS, Pag
from recexplain.errors import OptionError


class Weakest(NamedTuple):
    """The test of a pair that came nearest to calling it independent."""

    p: float
    given: tuple[int, ...]  # the conditioning set, ascending and not empty


class Recorded:
    """The same test, with a note of the largest p of each pair that any non-empty conditioning set gave."""

    def __init__(self, independence: Independence) -> None:
        self._independence = independence
        self._weakest: dict[tuple[int, int], Weakest] = {}

    def __call__(self, x: int, y: int, z: tuple[int, ...] = ()) -> float:
        """Return what the test returns."""
        p = self._independence(x, y, z)
        pair = min(x, y), max(x, y)
        if z and (pair not in self._weakest or p > self._weakest[pair].p):
            self._weakest[pair] = Weakest(p, tuple(sorted(z)))
        return p

    def weakest(self, x: int, y: int) -> Weakest | None:
        """Return the first of the tests of x and y with the largest p; None where none had a condition."""
        return self._weakest.get((min(x, y), max(x, y)))


def with_evidence(
    graph: nx.DiGraph, correlation: np.ndarray, n_samples: int, recorded: Recorded | None = None
) -> nx.DiGraph:
    """Return a copy of a PAG whose arcs say, both ways alike, how strong the edge is.

    `strength` is the marginal correlation of the two nodes and `p` the p-value of the test that it is 0: neither has
    a condition. An edge stands because no test that was asked called the pair independent; `weakest_p` and
    `weakest_given` are of the one that came nearest to it. They are there where `recorded` is the test that the graph
    was learnt with and the pair was asked about given anything.
    """
    Pag.from_networkx(graph)
    test = PartialCorrelation(correlation, n_samples)
    if len(test.copies) != len(graph):
        raise OptionError(f"a graph of {len(graph)} nodes needs a correlation of as many, not {len(test.copies)}")
    found = graph.copy()
    for x, y in combinations(sorted(graph), 2):
        if not graph.has_edge(x, y):
            continue
        evidence: dict[str, object] = {"strength": float(correlation[x, y]), "p": test(x, y)}
        weakest = recorded.weakest(x, y) if recorded else None
        if weakest:
            evidence |= {"weakest_p": weakest.p, "weakest_given": weakest.given}
        found.edges[x, y].update(evidence)
        found.edges[y, x].update(evidence)
    return found


def agreement(graphs: Sequence[nx.DiGraph]) -> nx.DiGraph:
    """Return how far PAGs of the same nodes agree: one arc each way where any of them has an edge.

    An arc (x, y) has `share`, the share of the graphs in which the edge stands, and `arrow`, `tail` and `circle`, the
    shares of all graphs in which it stands with that mark at y; the three sum to `share`. There is no `mark`: what the
    heads of a model find in different subspaces is not one graph.
    """
    if not graphs:
        raise OptionError("agreement needs at least one graph")
    if any(set(graph) != set(graphs[0]) for graph in graphs):
        raise OptionError(f"the graphs must have the same nodes, and have {[len(graph) for graph in graphs]} of them")
    found = nx.DiGraph()
    found.add_nodes_from(graphs[0].nodes(data=True))
    for graph in graphs:
        Pag.from_networkx(graph)
    for x, y in sorted({arc for graph in graphs for arc in graph.edges}):
        marks = [graph.edges[x, y]["mark"] for graph in graphs if graph.has_edge(x, y)]
        shares = {mark: marks.count(mark) / len(graphs) for mark in MARKS}
        found.add_edge(x, y, share=len(marks) / len(graphs), **shares)
    return found


def why_no_edge(graph: nx.DiGraph, a: int, b: int, names: Sequence[str] | None = None) -> str:
    """Return in one sentence what separated two nodes that are not adjacent in a PAG.

    Nodes are called by `names`, one a node, else by their attribute `name`, else by their number.

    >>> graph = nx.DiGraph(sepset={(0, 2): (1,)})
    >>> graph.add_nodes_from(range(3))
    >>> why_no_edge(graph, 0, 2, ["Alien", "Aliens", "Heat"])
    'There is no edge between *Alien* and *Heat*: given *Aliens*, no dependence between them was found.'
    """
    called = names_of(graph, names)
    for node in (a, b):
        if node not in graph:
            raise OptionError(f"the graph has the nodes 0 to {len(graph) - 1}, not {node}")
    pair = f"*{called[a]}* and *{called[b]}*"
    if a == b:
        raise OptionError(f"an edge joins two nodes, not *{called[a]}* with itself")
    if graph.has_edge(a, b):
        raise OptionError(f"there is an edge between {pair}")
    given = graph.graph.get("sepset", {}).get((min(a, b), max(a, b)))
    if given is None:
        raise OptionError(f"the graph does not say what separated {pair}: it has no `sepset` of them")
    condition = f"given {_listed([f'*{called[v]}*' for v in given])}" if given else "with no condition"
    return f"There is no edge between {pair}: {condition}, no dependence between them was found."


def names_of(graph: nx.DiGraph, names: Sequence[str] | None = None) -> list[str]:
    """Return what the nodes 0..n-1 are called: by `names`, else by their attribute `name`, else by their number."""
    if names is None:
        return [str(graph.nodes[node].get("name", node)) for node in sorted(graph)]
    if len(names) != len(graph):
        raise OptionError(f"a graph of {len(graph)} nodes needs as many names, not {len(names)}")
    return list(names)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

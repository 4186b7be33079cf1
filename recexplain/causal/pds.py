"""Possible-d-sep trees: which nodes may matter to one node, how far they are, and which sets of them hang together.

The tree is that of ICD (Rohekar et al., "Iterative causal discovery in the possible presence of latent confounders and
selection bias", NeurIPS 2021); the explanation search of CLEANN walks the same sets around the recommended item.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import networkx as nx

from recexplain.causal.pag import ARROW, Pag, members
from recexplain.errors import OptionError


@dataclass(frozen=True)
class PdsTree:
    """A tree of walks from `root`; a node may stand in it several times, once an occurrence.

    Occurrences are numbered in the order in which they were made, breadth first; number 0 is the root.
    """

    root: int
    nodes: tuple[int, ...]  # which node each occurrence is
    parents: tuple[int, ...]  # the number of the occurrence above it; -1 above the root
    depths: tuple[int, ...]  # edges from the root

    @cached_property
    def distances(self) -> dict[int, int]:
        """The smallest depth of each node in the tree but the root, by ascending node."""
        first = dict(zip(reversed(self.nodes), reversed(self.depths), strict=True))  # depths never fall
        return {node: first[node] for node in sorted(first) if node != self.root}

    @property
    def depth(self) -> int:
        """Edges from the root to the deepest occurrence."""
        return self.depths[-1]

    @cached_property
    def needs(self) -> dict[int, tuple[int, ...]]:
        """For each node, the bit sets of other nodes that lead to it from the root, none holding another."""
        found: dict[int, list[int]] = {}
        above = [0]  # for each occurrence, the nodes from below the root down to itself
        for number in range(1, len(self.nodes)):
            node, need = self.nodes[number], above[self.parents[number]]
            above.append(need | 1 << node)
            known = found.setdefault(node, [])
            if not any(other & ~need == 0 for other in known):
                known[:] = [other for other in known if need & ~other] + [need]
        return {node: tuple(needs) for node, needs in sorted(found.items())}


class LegalSet(NamedTuple):
    """Nodes that hang together in a tree; in the order of trial, nearest first, then lexicographic."""

    distance: int  # sum of the nodes' distances from the root
    nodes: tuple[int, ...]  # ascending


def pds_tree(graph: Pag | nx.DiGraph, root: int, max_depth: int | None = None) -> PdsTree:
    """Return the possible-d-sep tree of `root`, at most `max_depth` edges deep (default n - 1).

    A walk p, u goes on to w if p, u, w is a triangle or u is a collider on it. An edge is walked at most once in the
    whole tree, so that which walks exist can depend on the numbering of the nodes, as it does in causality-lab.
    """
    pag = graph if isinstance(graph, Pag) else Pag.from_networkx(graph)
    if root not in pag.nodes:
        raise OptionError(f"root must be a node of the graph, 0 to {pag.n - 1}, not {root}")
    if max_depth is not None and max_depth < 0:
        raise OptionError(f"max_depth must be 0 or more, or None for no limit, not {max_depth}")
    limit = pag.n - 1 if max_depth is None else max_depth
    unused = [pag.adjacent(v) & ~(1 << root) for v in pag.nodes]  # edges that no walk has taken
    nodes, parents, depths = [root], [-1], [0]
    for number, u in enumerate(nodes):  # grows while it is walked
        if depths[number] >= limit:
            continue
        if u == root:
            following = pag.adjacent(root)
        else:
            following = unused[u] & _following(pag, nodes[parents[number]], u)
            unused[u] &= ~following
        for w in members(following):
            unused[w] &= ~(1 << u)
            nodes.append(w)
            parents.append(number)
            depths.append(depths[number] + 1)
    return PdsTree(root, tuple(nodes), tuple(parents), tuple(depths))


def _following(pag: Pag, p: int, u: int) -> int:
    """Return the bit set of the w to which the walk p, u may go on."""
    triangle = pag.adjacent(p)
    into = pag.here(u, ARROW)
    return triangle | into if into >> p & 1 else triangle


def legal_levels(
    tree: PdsTree, *, allowed: int = -1, conflicts: tuple[int, ...] | None = None
) -> Iterator[list[LegalSet]]:
    """Yield the legal sets of size 1, then of size 2, and so on, each list in the order of trial.

    A set is legal if each of its nodes is reached from the root by a walk of the tree inside the set. Each size is
    grown from the one before, and only when it is asked for: there can be exponentially many. Only nodes of the bit
    set `allowed` are used, and no two nodes together of which one is in `conflicts` of the other.
    """
    usable = {v: [n for n in needs if n & ~allowed == 0] for v, needs in tree.needs.items() if allowed >> v & 1}
    level = {0}
    while level:
        level = _grown(level, usable, conflicts)
        if level:
            yield _in_order_of_trial(level, tree.distances)


def legal_sets(
    tree: PdsTree, size: int, *, allowed: int = -1, conflicts: tuple[int, ...] | None = None
) -> list[LegalSet]:
    """Return the legal sets of one size, in the order of trial; see `legal_levels`."""
    levels = enumerate(legal_levels(tree, allowed=allowed, conflicts=conflicts), start=1)
    return next((level for at, level in levels if at == size), [])


def _grown(level: set[int], needs: dict[int, list[int]], conflicts: tuple[int, ...] | None) -> set[int]:
    """Return the sets with one node more: every legal set is a smaller one and the node that was reached last."""
    larger = set()
    for nodes in level:
        for v, options in needs.items():
            if nodes >> v & 1 or (conflicts and conflicts[v] & nodes):
                continue
            if any(need & ~nodes == 0 for need in options):
                larger.add(nodes | 1 << v)
    return larger


def _in_order_of_trial(level: set[int], distances: dict[int, int]) -> list[LegalSet]:
    sets = [tuple(members(nodes)) for nodes in level]
    return sorted(LegalSet(sum(distances[v] for v in nodes), nodes) for nodes in sets)

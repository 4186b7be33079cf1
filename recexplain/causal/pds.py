"""Possible-d-sep trees: which nodes may matter to one node, how far they are, and which sets of them hang together.

The tree is that of ICD (Rohekar et al., "Iterative causal discovery in the possible presence of latent confounders and
selection bias", NeurIPS 2021); the explanation search of CLEANN walks the same sets around the recommended item.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import networkx as nx

from recexplain.causal.pag import Pag, members
from recexplain.errors import OptionError


class Surroundings(Protocol):
    """What lies around a node in the sense of possible-d-sep."""

    @property
    def root(self) -> int:
        """The node."""
        ...

    @property
    def distances(self) -> dict[int, int]:
        """How far each node around it is, by ascending node."""
        ...

    def growth(self, allowed: int) -> Callable[[int], int]:
        """Return the function from a legal set within `allowed` to the nodes of `allowed` that may be added to it.

        Both are bit sets; the empty set is legal, and what is added is legal too. Nodes of the set may be returned.
        """
        ...


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
    def needs(self) -> dict[int, int]:
        """Bit set of nodes that lead from the root to others -> bit set of those; to neighbours of the root none lead.

        A node may stand in several, one of which may need less.
        """
        found = {0: 0}
        above = [0]  # for each occurrence, the nodes from below the root down to itself
        for v, parent in zip(self.nodes[1:], self.parents[1:], strict=True):
            node, need = 1 << v, above[parent]
            above.append(need | node)
            if not need or not found[0] & node:  # depths never fall: the neighbours of the root are known
                found[need] = found.get(need, 0) | node
        return found

    def growth(self, allowed: int) -> Callable[[int], int]:
        """Return the function from a legal set within `allowed` to the nodes of `allowed` that may be added to it."""
        steps = [(need, beyond & allowed) for need, beyond in self.needs.items() if not need & ~allowed]

        def grow(nodes: int) -> int:
            reached = 0
            for need, beyond in steps:
                if not need & ~nodes:
                    reached |= beyond
            return reached

        return grow


@dataclass(frozen=True)
class PdsWalks:
    """Where walks from `root` can go, whichever way they came: the same under every numbering of the nodes.

    A walk stands on a step (p, u), and goes on to w if p, u, w is a triangle or u is a collider on it. Steps are taken
    from the root or one another, each with its own direction, and none that needs more than the depth asked for.
    """

    root: int
    first: int  # bit set of the neighbours of the root
    onward: dict[tuple[int, int], int]  # step (p, u) -> bit set of the w
    distances: dict[int, int]  # edges of the shortest walk to each node, by ascending node

    def growth(self, allowed: int) -> Callable[[int], int]:
        """Return the function from a legal set within `allowed` to the nodes of `allowed` that may be added to it.

        A set is legal if walks inside it reach all of its nodes.
        """

        def grow(nodes: int) -> int:
            reached = self.first
            steps = [(self.root, u) for u in members(self.first & nodes)]
            for p, u in steps:  # grows while it is walked
                onward = self.onward.get((p, u), 0)
                reached |= onward
                steps += [(u, w) for w in members(onward & nodes) if (u, w) not in steps]
            return reached & allowed

        return grow


class LegalSet(NamedTuple):
    """Nodes that hang together in a tree; in the order of trial, nearest first, then lexicographic."""

    distance: int  # sum of the nodes' distances from the root
    nodes: tuple[int, ...]  # ascending


def pds_tree(graph: Pag | nx.DiGraph, root: int, max_depth: int | None = None) -> PdsTree:
    """Return the possible-d-sep tree of `root`, at most `max_depth` edges deep (default n - 1).

    A walk p, u goes on to w if p, u, w is a triangle or u is a collider on it. An edge is walked at most once in the
    whole tree, so that which walks exist can depend on the numbering of the nodes, as it does in causality-lab.
    """
    pag, limit = _checked(graph, root, max_depth)
    walked = [0] * pag.n  # for each node, the bit set of those to which an edge was walked, in whichever direction
    nodes, parents, depths = [root], [-1], [0]
    for number, u in enumerate(nodes):  # grows while it is walked
        if depths[number] >= limit:
            break  # depths never fall
        onward = pag.onward(nodes[parents[number]], u) if number else pag.adjacent(root)
        onward &= ~(walked[u] | 1 << root)
        if not onward:
            continue
        walked[u] |= onward
        following = members(onward)
        for w in following:
            walked[w] |= 1 << u
        nodes += following
        parents += [number] * len(following)
        depths += [depths[number] + 1] * len(following)
    return PdsTree(root, tuple(nodes), tuple(parents), tuple(depths))


def pds_walks(graph: Pag | nx.DiGraph, root: int, max_depth: int | None = None) -> PdsWalks:
    """Return where possible-d-sep walks from `root` lead by steps at most `max_depth` edges deep (default n - 1).

    The walks are those of `pds_tree` without its restriction that an edge is walked once, which makes a tree depend on
    the numbering of the nodes.
    """
    pag, limit = _checked(graph, root, max_depth)
    first = pag.adjacent(root)
    depths = {(root, u): 1 for u in members(first)} if limit else {}
    onward = {}
    for step in (queue := list(depths)):  # grows while it is walked
        p, u = step
        if depths[step] >= limit:
            break
        onward[step] = pag.onward(p, u) & ~(1 << root | 1 << p)
        later = [(u, w) for w in members(onward[step]) if (u, w) not in depths]
        depths.update(dict.fromkeys(later, depths[step] + 1))
        queue += later
    nearest = {u: depths[p, u] for p, u in reversed(queue)}
    return PdsWalks(root, first if limit else 0, onward, dict(sorted(nearest.items())))


def _checked(graph: Pag | nx.DiGraph, root: int, max_depth: int | None) -> tuple[Pag, int]:
    """Return the graph and the depth that walks from `root` may have."""
    pag = graph if isinstance(graph, Pag) else Pag.from_networkx(graph, marks_alone=True)
    if root not in pag.nodes:
        raise OptionError(f"root must be a node of the graph, 0 to {pag.n - 1}, not {root}")
    if max_depth is not None and max_depth < 0:
        raise OptionError(f"max_depth must be 0 or more, or None for no limit, not {max_depth}")
    return pag, pag.n - 1 if max_depth is None else max_depth


def legal_levels(
    around: Surroundings, *, allowed: int = -1, conflicts: tuple[int, ...] | None = None
) -> Iterator[list[LegalSet]]:
    """Yield the legal sets of size 1, then of size 2, and so on, each list in the order of trial.

    A set is legal if each of its nodes is reached from the root by a walk inside the set. Each size is grown from the
    one before, and only when it is asked for: there can be exponentially many. Only nodes of the bit set `allowed` are
    used, and no two nodes together of which one is in `conflicts` of the other.
    """
    grow = around.growth(allowed)
    level = {0}
    while level:
        level = _grown(level, grow, conflicts)
        if level:
            yield _in_order_of_trial(level, around.distances)


def legal_sets(
    around: Surroundings, size: int, *, allowed: int = -1, conflicts: tuple[int, ...] | None = None
) -> list[LegalSet]:
    """Return the legal sets of one size, in the order of trial; see `legal_levels`."""
    grow = around.growth(allowed)
    if grow(allowed).bit_count() < size:
        return []
    level = {0}
    for _ in range(size):
        level = _grown(level, grow, conflicts)
    return _in_order_of_trial(level, around.distances) if size and level else []


def _grown(level: set[int], grow: Callable[[int], int], conflicts: tuple[int, ...] | None) -> set[int]:
    """Return the sets with one node more: every legal set is a smaller one and the node that was reached last."""
    larger = set()
    for nodes in level:
        for v in members(grow(nodes) & ~nodes):
            if not (conflicts and conflicts[v] & nodes):
                larger.add(nodes | 1 << v)
    return larger


def _in_order_of_trial(level: set[int], distances: dict[int, int]) -> list[LegalSet]:
    sets = [members(nodes) for nodes in level]
    return sorted(LegalSet(sum(distances[v] for v in nodes), nodes) for nodes in sets)

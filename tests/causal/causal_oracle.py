"""Exact answers about a hidden graph, and by brute force all that can be known of it from them.

A hidden graph is a DAG of which nodes 0..n-1 are observed; of the rest some are latent and some are selected on, that
is, always conditioned on. What the observed nodes can show of it is a maximal ancestral graph (MAG; Richardson and
Spirtes, "Ancestral graph Markov models", Annals of Statistics 30, 2002), and of that only what all MAGs with the same
independences share. Nothing here uses the library's rules, so that it can be held against them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, combinations
from typing import TypeVar

import networkx as nx
import numpy as np

Edges = frozenset[tuple[int, int, str]]  # x, y, the mark at y


T = TypeVar("T")


def subsets(nodes: Sequence[T]) -> Iterator[tuple[T, ...]]:
    return chain.from_iterable(combinations(nodes, size) for size in range(len(nodes) + 1))


def questions(n: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """All that can be asked of n nodes."""
    pairs = combinations(range(n), 2)
    return [(x, y, z) for x, y in pairs for z in subsets([v for v in range(n) if v not in (x, y)])]


def edges(graph: nx.DiGraph) -> Edges:
    return frozenset(graph.edges(data="mark"))


@dataclass(frozen=True, eq=False)
class Hidden:
    """A DAG, how many of its nodes are observed, and which of the others are selected on."""

    dag: nx.DiGraph
    n: int
    selection: tuple[int, ...] = ()
    answers: dict[tuple[int, int, int], float] = field(default_factory=dict)

    def __call__(self, x: int, y: int, z: tuple[int, ...] = ()) -> float:
        """1 where x and y are d-separated given z and the selection, else 0; asked of networkx once."""
        key = (min(x, y), max(x, y), sum(1 << v for v in z))
        if key not in self.answers:
            self.answers[key] = float(nx.is_d_separator(self.dag, {x}, {y}, {*z, *self.selection}))
        return self.answers[key]

    @cached_property
    def mag(self) -> Edges:
        """By definition: adjacent if no set separates; a tail at y if y is an ancestor of x or of the selection."""
        others = {(x, y): [v for v in range(self.n) if v not in (x, y)] for x, y in combinations(range(self.n), 2)}
        adjacent = [(x, y) for (x, y), rest in others.items() if not any(self(x, y, z) for z in subsets(rest))]
        return frozenset(
            (x, y, "tail" if any(self._leads_to(y, v) for v in (x, *self.selection)) else "arrow")
            for pair in adjacent
            for x, y in (pair, pair[::-1])
        )

    def _leads_to(self, y: int, x: int) -> bool:
        return bool(nx.has_path(self.dag, y, x))

    def shared_by_all(self, among: "Callable[[Mixed], np.ndarray] | None" = None) -> Edges:
        """The marks that all MAGs with the same independences share, circles where they do not.

        Only those count of which `among` is true.
        """
        skeleton = sorted({(x, y) for x, y, _ in self.mag if x < y})
        mixed = Mixed.ancestral(self.n, skeleton)
        if among:
            mixed = mixed.where(among(mixed))
        for x, y, z in questions(self.n):
            if (x, y) not in skeleton and len(mixed.into) > 1:  # nothing separates what is adjacent
                mixed = mixed.where(mixed.are_separated(x, y, z) == bool(self(x, y, z)))
        return mixed.shared_marks()


@dataclass(frozen=True, eq=False)
class Mixed:
    """Many mixed graphs of n nodes at once: (graphs, n, n) booleans, where [g, x, y] is about the edge of x and y."""

    adjacent: np.ndarray
    into: np.ndarray  # an arrow at y; where adjacent and no arrow, there is a tail

    @classmethod
    def ancestral(cls, n: int, skeleton: Sequence[tuple[int, int]]) -> "Mixed":
        """All ancestral graphs with these edges, made an edge at a time: what is not ancestral never becomes so."""
        mixed = cls(*np.zeros((2, 1, n, n), dtype=bool))
        for x, y in skeleton:
            number = np.arange(4 * len(mixed.into))
            adjacent, into = mixed.adjacent[number // 4], mixed.into[number // 4]
            adjacent[:, x, y] = adjacent[:, y, x] = True
            into[:, x, y], into[:, y, x] = number & 1, number & 2
            mixed = cls(adjacent, into)
            mixed = mixed.where(mixed.is_ancestral)
        return mixed

    def where(self, chosen: np.ndarray) -> "Mixed":
        return self if chosen.all() else Mixed(self.adjacent[chosen], self.into[chosen])

    @cached_property
    def _tails(self) -> np.ndarray:
        return self.adjacent & ~self.into

    @cached_property
    def _ancestors(self) -> np.ndarray:
        """[g, x, y]: x is y, or there is a directed path from x to y."""
        n = self.into.shape[1]
        reach = np.eye(n, dtype=bool) | (self.into & self._tails.transpose(0, 2, 1))
        for k in range(n):
            reach |= reach[:, :, k, None] & reach[:, None, k, :]
        return reach

    @property
    def is_ancestral(self) -> np.ndarray:
        """No arrow at an ancestor of the other end, and no arrow at an end of an undirected edge."""
        at_ancestor = (self._ancestors & self.into.transpose(0, 2, 1)).any(axis=(1, 2))
        undirected = (self._tails & self._tails.transpose(0, 2, 1)).any(axis=2)
        return ~at_ancestor & ~(undirected & self.into.any(axis=1)).any(axis=1)

    def are_separated(self, x: int, y: int, z: tuple[int, ...]) -> np.ndarray:
        """m-separation, one answer a graph: no walk of which colliders are ancestors of z and the rest not in z."""
        n = self.into.shape[1]
        free = ~np.isin(np.arange(n), z)
        to_z = self._ancestors[:, :, list(z)].any(axis=2)
        by_arrow, by_tail = self.into[:, x].copy(), self._tails[:, x].copy()  # how each node was come to
        from_arrow, from_tail = self.into.transpose(0, 2, 1), self._tails.transpose(0, 2, 1)  # [g, v, w]: mark at v
        for _ in range(2 * n):
            onward = ((by_arrow & to_z)[:, :, None] & from_arrow) | ((by_arrow & free)[:, :, None] & from_tail)
            onward |= (by_tail & free)[:, :, None] & self.adjacent
            known = by_arrow.sum() + by_tail.sum()
            by_arrow |= (onward & self.into).any(axis=1)
            by_tail |= (onward & self._tails).any(axis=1)
            if by_arrow.sum() + by_tail.sum() == known:
                break
        return np.asarray(~(by_arrow | by_tail)[:, y])

    def shared_marks(self) -> Edges:
        """The marks that all graphs share, circles elsewhere; all have one skeleton."""
        always, ever = self.into.all(axis=0), self.into.any(axis=0)
        return frozenset(
            (int(x), int(y), "arrow" if always[x, y] else "circle" if ever[x, y] else "tail")
            for x, y in np.argwhere(self.adjacent[0])
        )


def earlier_first(mixed: Mixed) -> np.ndarray:
    """Whether every edge has an arrow at the larger number."""
    is_later = np.triu(np.ones(mixed.into.shape[1:], dtype=bool))
    return np.asarray((mixed.into == mixed.adjacent)[:, is_later].all(axis=1))


def directed(mixed: Mixed) -> np.ndarray:
    """Whether every edge has one arrow and one tail: nothing is latent or selected on."""
    return np.asarray((mixed.adjacent == mixed.into ^ mixed.into.transpose(0, 2, 1)).all(axis=(1, 2)))


def random_hidden(seed: int, n: int, *, in_order: bool = False) -> Hidden:
    """Return n observed nodes and up to three more, each a latent cause of two or three or a selected effect of them.

    With `in_order` no observed node is an ancestor of one with a smaller number, and nothing is selected on.
    """
    draw = np.random.default_rng(seed)
    numbers = list(range(n)) if in_order else draw.permutation(n).tolist()
    density = draw.uniform(0.3, 0.5)
    dag = nx.DiGraph([(a, b) for a, b in combinations(numbers, 2) if draw.random() < density])
    dag.add_nodes_from(range(n))
    selection = []
    for extra in range(n, n + int(draw.integers(4))):
        few = draw.permutation(n)[: int(draw.integers(2, 4))].tolist()
        if draw.random() < 0.5 or in_order:
            dag.add_edges_from((extra, v) for v in few)
        else:
            dag.add_edges_from((v, extra) for v in few)
            selection.append(extra)
    return Hidden(dag, n, tuple(selection))

"""A partial ancestral graph: which nodes are adjacent, and the mark at each end of every edge.

Sets of nodes are ints in which bit v stands for node v: they are small, and `members` lists them in ascending order,
so that nothing depends on the order of a hash.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Literal, Self

import networkx as nx

from recexplain.errors import OptionError

Mark = Literal["tail", "arrow", "circle"]
TAIL: Mark = "tail"
ARROW: Mark = "arrow"
CIRCLE: Mark = "circle"
MARKS: tuple[Mark, ...] = (TAIL, ARROW, CIRCLE)


@lru_cache(1 << 12)  # the same few sets come again and again
def members(nodes: int) -> tuple[int, ...]:
    """Return the nodes of a bit set, ascending.

    >>> members(0b1101)
    (0, 2, 3)
    """
    found = []
    while nodes:
        lowest = nodes & -nodes
        found.append(lowest.bit_length() - 1)
        nodes ^= lowest
    return tuple(found)


@lru_cache(4)  # most people's graphs are as large as their window
def _pairs(n: int) -> tuple[tuple[int, int], ...]:
    return tuple(combinations(range(n), 2))


def bit_set(nodes: Iterable[int]) -> int:
    """Return the bit set of these nodes.

    >>> bin(bit_set([0, 2, 3]))
    '0b1101'
    """
    found = 0
    for node in nodes:
        found |= 1 << node
    return found


class Pag:
    """Nodes 0..n-1, marked edges, and for each pair that was separated the set that did it.

    `mark(x, y)` is the mark at y on the edge of x and y. An edge without a stated mark has a circle there.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.nodes = range(n)
        self._adjacent = [0] * n
        self._here = {mark: [0] * n for mark in MARKS}
        self._there = {mark: [0] * n for mark in MARKS}
        self._separated: dict[tuple[int, int], tuple[int, ...]] = {}  # where the set is not empty

    @classmethod
    def complete(cls, n: int) -> Self:
        """Return the graph in which all nodes are adjacent and nothing is known: all marks are circles."""
        whole = (1 << n) - 1
        return cls.of_skeleton([whole & ~(1 << v) for v in range(n)], {})

    @classmethod
    def of_skeleton(cls, adjacent: Sequence[int], separated: dict[tuple[int, int], tuple[int, ...]]) -> Self:
        """Return the graph of these bit sets of neighbours, one a node, with circles everywhere.

        `separated` has the separating set of the pairs (i, j), i < j, whose set is not empty.
        """
        pag = cls(len(adjacent))
        pag._adjacent = list(adjacent)
        pag._separated = dict(separated)
        pag.forget_marks()
        return pag

    def copy(self) -> Self:
        """Return the same graph, independent of this one."""
        other = type(self)(self.n)
        other._adjacent = list(self._adjacent)
        other._here = {mark: list(nodes) for mark, nodes in self._here.items()}
        other._there = {mark: list(nodes) for mark, nodes in self._there.items()}
        other._separated = dict(self._separated)
        return other

    # Questions

    def mark(self, x: int, y: int) -> Mark:
        """Return the mark at y on the edge of x and y."""
        for mark in MARKS:
            if self._here[mark][y] >> x & 1:
                return mark
        raise KeyError((x, y))

    def is_adjacent(self, x: int, y: int) -> bool:
        """Whether x and y share an edge."""
        return bool(self._adjacent[x] >> y & 1)

    def neighbours(self, x: int) -> tuple[int, ...]:
        """Return the nodes adjacent to x, ascending."""
        return members(self._adjacent[x])

    def adjacent(self, x: int) -> int:
        """Return the bit set of the nodes adjacent to x."""
        return self._adjacent[x]

    def here(self, x: int, mark: Mark) -> int:
        """Return the bit set of the nodes whose edge with x has `mark` at x."""
        return self._here[mark][x]

    def all_here(self, mark: Mark) -> Sequence[int]:
        """Return `here` of every node: a view that changes with the marks, until they are forgotten."""
        return self._here[mark]

    def there(self, x: int, mark: Mark) -> int:
        """Return the bit set of the nodes whose edge with x has `mark` at their own end."""
        return self._there[mark][x]

    def parents(self, x: int) -> int:
        """Return the bit set of the u with u -> x."""
        return self._here[ARROW][x] & self._there[TAIL][x]

    def children(self, x: int) -> int:
        """Return the bit set of the w with x -> w."""
        return self._here[TAIL][x] & self._there[ARROW][x]

    def possible_parents(self, x: int) -> int:
        """Return the bit set of the neighbours u with no arrow at u and no tail at x."""
        return self._adjacent[x] & ~self._there[ARROW][x] & ~self._here[TAIL][x]

    def possible_children(self, x: int) -> int:
        """Return the bit set of the neighbours w with no arrow at x and no tail at w."""
        return self._adjacent[x] & ~self._here[ARROW][x] & ~self._there[TAIL][x]

    def possible_ancestors(self, x: int) -> int:
        """Return the bit set of all nodes with a path of possible-parent steps to x, x itself among them."""
        there, here = self._there[ARROW], self._here[TAIL]
        found = frontier = 1 << x
        while frontier:
            reached = 0
            for w in members(frontier):
                reached |= self._adjacent[w] & ~there[w] & ~here[w]  # its possible parents
            frontier = reached & ~found
            found |= frontier
        return found

    def onward(self, p: int, u: int) -> int:
        """Return the bit set of the w with a triangle p, u, w or a collider u on p, u, w; p and u are adjacent."""
        into = self._here[ARROW][u]
        return (self._adjacent[p] & self._adjacent[u]) | (into if into >> p & 1 else 0)

    def separating_set(self, x: int, y: int) -> tuple[int, ...]:
        """Return the set that separated x and y; empty where none is stored."""
        return self._separated.get((x, y) if x < y else (y, x), ())

    def edges(self) -> list[tuple[int, int]]:
        """Return the adjacent pairs (x, y), x < y, ascending."""
        return [(x, y) for x in self.nodes for y in members(self._adjacent[x] >> x << x)]

    # Changes

    def connect(self, x: int, y: int, at_x: Mark = CIRCLE, at_y: Mark = CIRCLE) -> None:
        """Make x and y adjacent with these marks."""
        self._adjacent[x] |= 1 << y
        self._adjacent[y] |= 1 << x
        self.set_mark(y, x, at_x)
        self.set_mark(x, y, at_y)

    def set_mark(self, x: int, y: int, mark: Mark) -> None:
        """Put `mark` at y on the edge of x and y, whatever stood there."""
        here = self._here[mark]
        if here[y] >> x & 1:
            return
        self._lift(x, y)
        here[y] |= 1 << x
        self._there[mark][x] |= 1 << y

    def orient(self, x: int, y: int) -> None:
        """Make the edge x -> y, whatever stood there."""
        self.set_mark(y, x, TAIL)
        self.set_mark(x, y, ARROW)

    def separate(self, x: int, y: int, given: tuple[int, ...]) -> None:
        """Remove the edge of x and y, which are independent given this set."""
        self._lift(x, y)
        self._lift(y, x)
        self._adjacent[x] &= ~(1 << y)
        self._adjacent[y] &= ~(1 << x)
        pair = (x, y) if x < y else (y, x)
        self._separated.pop(pair, None)
        if given:
            self._separated[pair] = tuple(sorted(given))

    def forget_marks(self) -> None:
        """Put a circle at both ends of every edge."""
        for sides in (self._here, self._there):
            sides[TAIL] = [0] * self.n
            sides[ARROW] = [0] * self.n
            sides[CIRCLE] = list(self._adjacent)

    def _lift(self, x: int, y: int) -> None:
        """Take the mark at y off the edge of x and y, if there is one."""
        for mark in MARKS:
            here = self._here[mark]
            if here[y] >> x & 1:
                here[y] ^= 1 << x
                self._there[mark][x] ^= 1 << y
                return

    # networkx

    def to_networkx(self) -> nx.DiGraph:
        """Return the graph as both arcs of every edge, arc (x, y) with `mark`, the mark at y.

        `graph["sepset"]` has the separating set of every pair (i, j), i < j, that is not adjacent.
        """
        graph = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from((x, y, {"mark": self.mark(x, y)}) for x in self.nodes for y in self.neighbours(x))
        apart: dict[tuple[int, int], tuple[int, ...]] = dict.fromkeys(_pairs(self.n), ())
        apart |= self._separated
        for pair in self.edges():
            del apart[pair]
        graph.graph["sepset"] = apart
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph, *, marks_alone: bool = False) -> Self:
        """Return the graph that `to_networkx` wrote; where it has no `sepset`, separating sets are empty.

        `marks_alone`: they are empty anyway, for whoever asks for none.
        """
        n = graph.number_of_nodes()
        if set(graph) != set(range(n)):
            raise OptionError(f"the nodes of the graph must be 0 to {n - 1}, not {list(graph)[:5]}")
        pag = cls(n)
        for x, y, mark in graph.edges(data="mark"):
            if x == y or not graph.has_edge(y, x):
                raise OptionError(f"the graph has the arc ({x}, {y}) alone; an edge is both arcs between two nodes")
            if mark not in MARKS:
                raise OptionError(f"arc ({x}, {y}) of the graph must have a mark, one of {', '.join(MARKS)}")
            pag._adjacent[x] |= 1 << y
            pag._here[mark][y] |= 1 << x
            pag._there[mark][x] |= 1 << y
        for (x, y), given in () if marks_alone else graph.graph.get("sepset", {}).items():
            if given:
                pag._separated[(x, y) if x < y else (y, x)] = tuple(given)
        return pag


class Draft(Pag):
    """A graph to be read as it stands, and what is written to it kept apart, to be applied later or not."""

    def __init__(self, pag: Pag) -> None:
        self.__dict__.update(pag.__dict__)
        self.written: dict[tuple[int, int], Mark] = {}  # (x, y) -> the mark at y; an arrow before any other

    def set_mark(self, x: int, y: int, mark: Mark) -> None:
        """Note that `mark` is to be at y on the edge of x and y."""
        if mark == ARROW or (x, y) not in self.written:
            self.written[x, y] = mark

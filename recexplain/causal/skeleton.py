"""Which pairs stay adjacent: one round of separation for each size of the conditioning sets.

With `is_frozen` a round reads the graph as it stood at its beginning, tries every set of a pair and keeps the one with
the largest p; without, a removed edge counts at once, and the first set that separates a pair is kept.
"""

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter

from recexplain.causal.answers import Answers
from recexplain.causal.pag import Pag, bit_set, members
from recexplain.causal.pds import Surroundings, legal_sets, pds_tree, pds_walks


def separated_by_nothing(answers: Answers) -> Pag:
    """Return the graph of the pairs that are dependent given nothing, with circles everywhere."""
    whole = (1 << answers.n) - 1
    adjacent = [0] * answers.n
    for x in range(answers.n):
        above = whole >> (x + 1) << (x + 1) & ~answers.apart(x)
        adjacent[x] |= above
        for y in members(above):
            adjacent[y] |= 1 << x
    return Pag.of_skeleton(adjacent, {})


def separated_by_neighbours(pag: Pag, answers: Answers, *, is_frozen: bool) -> tuple[Pag, bool]:
    """Return the graph without the edges that one neighbour separates, and whether there was anything to test.

    The neighbours of x are tried first, then those of y alone. All marks of the graph returned are circles.
    """
    left = [pag.adjacent(v) for v in pag.nodes]
    read = list(left) if is_frozen else left
    separated, beside = {}, 0
    for x, y in pag.edges():
        of_x = read[x] & ~(1 << y)
        of_y = read[y] & ~(of_x | 1 << x)
        beside |= of_x | of_y
        z = answers.best_alone(x, y, of_x | of_y) if is_frozen else answers.first_alone(x, y, of_x, of_y)
        if z:
            separated[x, y] = z
            left[x] ^= 1 << y
            left[y] ^= 1 << x
    return Pag.of_skeleton(left, separated), bool(beside)


def separate_by_legal_sets(
    pag: Pag, answers: Answers, size: int, copies: tuple[int, ...], pairs: Iterable[tuple[int, int]], *, is_frozen: bool
) -> tuple[int, list[tuple[int, int]]]:
    """Remove those of the edges `pairs` that sets of `size` nodes separate: how many, and for which there was a set.

    `copies` are bit sets of nodes, one a node, that no test should hold together with it.
    """
    candidates = _Candidates(pag.copy() if is_frozen else pag, size, copies, is_frozen)
    choose = answers.best if is_frozen else answers.first
    n_removed, tried = 0, []
    for x, y in pairs:
        sets = candidates.of_pair(x, y)
        if not sets:
            continue
        tried.append((x, y))
        z = choose(x, y, sets)
        if z:
            pag.separate(x, y, z)
            n_removed += 1
            if not is_frozen:
                candidates.forget(x, y)
    return n_removed, tried


class _Candidates:
    """The conditioning sets of one size for any edge of a graph.

    What lies around a node and which are its possible ancestors is kept until an edge goes on which that depends.
    """

    def __init__(self, pag: Pag, size: int, copies: tuple[int, ...], is_frozen: bool) -> None:
        self._pag, self._size, self._copies, self._is_frozen = pag, size, copies, is_frozen
        self._around: dict[int, tuple[Surroundings, int]] = {}  # and the nodes on whose edges the walks depend
        self._ancestors: dict[int, int] = {}

    def forget(self, x: int, y: int) -> None:
        """Compute afresh what depends on the edge of x and y, which the graph has lost."""
        both = 1 << x | 1 << y
        self._ancestors = {v: nodes for v, nodes in self._ancestors.items() if nodes & both != both}
        self._around = {v: around for v, around in self._around.items() if not around[1] & both}

    def of_pair(self, x: int, y: int) -> list[tuple[int, ...]]:
        """Return the sets in the order of trial: nearest first, and of the equally near first those around x.

        They are legal around x or around y, and hold possible ancestors of x or y only.
        """
        if self._copies[x] >> y & 1:
            return []
        excluded = 1 << x | 1 << y | self._copies[x] | self._copies[y]
        beside = (self._pag.adjacent(x) | self._pag.adjacent(y)) & ~excluded
        if not beside:
            return []
        allowed = (self._ancestors_of(x) | self._ancestors_of(y)) & ~excluded
        if allowed.bit_count() < self._size or not beside & allowed:
            return []
        around = [
            legal_sets(self._around_root(root), self._size, allowed=allowed, conflicts=self._copies)
            for root in (x, y)
            if self._may_reach(root, allowed)
        ]
        ordered = sorted(chain(*around), key=attrgetter("distance"))  # stable
        return list(dict.fromkeys(candidate.nodes for candidate in ordered))

    def _may_reach(self, root: int, allowed: int) -> bool:
        """Return False where all walks from a root within `allowed` end at its neighbours, too few for any set."""
        first = self._pag.adjacent(root) & allowed
        if first.bit_count() >= self._size:
            return True
        return any(self._pag.onward(root, u) & allowed for u in members(first))

    def _around_root(self, root: int) -> Surroundings:
        if root not in self._around:
            around: Surroundings = (pds_walks if self._is_frozen else pds_tree)(self._pag, root, self._size)
            left_again = (v for v, distance in around.distances.items() if distance < self._size)
            self._around[root] = around, 1 << root | bit_set(left_again)
        return self._around[root][0]

    def _ancestors_of(self, x: int) -> int:
        if x not in self._ancestors:
            self._ancestors[x] = self._pag.possible_ancestors(x)
        return self._ancestors[x]

"""Answers to what discovery asks, at one level: which node or set makes a pair independent.

`Answers` puts them to any test, one at a time. `CorrelationAnswers` takes those given nothing or a single node, nearly
all of them, from whole arrays, and decides each one exactly as the test itself would.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from recexplain.causal.independence import Independence, PartialCorrelation, bit_sets, p_value
from recexplain.causal.pag import members

CHUNK = 1 << 16  # numbers in an array of partial correlations: half a megabyte
MARGIN = 1e-9  # relative distance of p from alpha within which an array's answer is left to the test

ROUNDING = 1e-12  # more than the relative error of a partial correlation in an array

Nodes = tuple[int, ...]
Question = tuple[int, int, Nodes]


class Answers:
    """Decisions of a test at a level: independent if p > alpha. Each question is counted by the size of z.

    Pairs are asked with x < y, and sets with their nodes ascending. Nothing is remembered.
    """

    def __init__(self, n: int, independence: Independence, alpha: float) -> None:
        self.n, self.alpha = n, alpha
        self._independence = independence
        self._counts: Counter[int] = Counter()

    @property
    def n_tests(self) -> list[int]:
        """How many questions were asked, by size of z, up to the largest size that occurred."""
        largest = max((size for size, n in self._counts.items() if n), default=-1)
        return [self._counts[size] for size in range(largest + 1)]

    def apart(self, x: int) -> int:
        """Return the bit set of the y > x that are independent of x given nothing."""
        self._counts[0] += self.n - 1 - x
        return sum(1 << y for y in range(x + 1, self.n) if self._independence(x, y, ()) > self.alpha)

    def first_alone(self, x: int, y: int, of_x: int, of_y: int) -> Nodes | None:
        """Return the first node that separates x and y by itself, as a set: of one bit set, then of another."""
        return self.first(x, y, ((z,) for nodes in (of_x, of_y) for z in members(nodes)))

    def best_alone(self, x: int, y: int, among: int) -> Nodes | None:
        """Return the node of a bit set that separates x and y with the largest p, as a set; of equals the lowest."""
        return self.best(x, y, ((z,) for z in members(among)))

    def first(self, x: int, y: int, sets: Iterable[Nodes]) -> Nodes | None:
        """Return the first of the sets that separates x and y, or None."""
        for z in sets:
            self._counts[len(z)] += 1
            if self._independence(x, y, z) > self.alpha:
                return z
        return None

    def best(self, x: int, y: int, sets: Iterable[Nodes]) -> Nodes | None:
        """Return the set that separates x and y with the largest p, the first of equals, or None."""
        largest, found = self.alpha, None
        for z in sets:
            self._counts[len(z)] += 1
            p = self._independence(x, y, z)
            if p > largest:
                largest, found = p, z
        return found


class CorrelationAnswers(Answers):
    """The same of a partial correlation, with the tests given at most one node made of arrays."""

    def __init__(self, test: PartialCorrelation, alpha: float) -> None:
        super().__init__(len(test.matrix), test, alpha)
        self._matrix, self._n_samples = test.matrix, test.n_samples
        squares = test.matrix * test.matrix
        self._spread = np.where(squares < 1, 1 - squares, np.nan)  # NaN: of copies, which separate nothing
        apart = self._are_apart(test.matrix, np.ones_like(squares), 0, lambda x, y: (x, y, ()))
        self._dependent = np.triu(~apart, k=1)
        self._apart_sets = bit_sets(np.triu(apart, k=1))
        self._alone: dict[int, int] = {}  # the nodes that separate x and y by themselves, by x * n + y

    def apart(self, x: int) -> int:
        """Return the bit set of the y > x that are independent of x given nothing."""
        self._counts[0] += self.n - 1 - x
        return self._apart_sets[x]

    def first_alone(self, x: int, y: int, of_x: int, of_y: int) -> Nodes | None:
        """Return the first node that separates x and y by itself, as a set: of one bit set, then of another."""
        separating = self._alone.get(x * self.n + y)
        if separating is None:
            separating = self._separating(x, y)
        nodes, n_before = of_x, 0
        hits = of_x & separating
        if not hits:
            nodes, n_before = of_y, of_x.bit_count()
            hits = of_y & separating
            if not hits:
                self._counts[1] += n_before + of_y.bit_count()
                return None
        first = hits & -hits
        self._counts[1] += n_before + (nodes & (2 * first - 1)).bit_count()
        return (first.bit_length() - 1,)

    def best_alone(self, x: int, y: int, among: int) -> Nodes | None:
        """Return the node of a bit set that separates x and y with the largest p, as a set; of equals the lowest."""
        separating = among & self._separating(x, y)
        self._counts[1] += (among & ~separating).bit_count()
        return super().best_alone(x, y, separating)

    def _separating(self, x: int, y: int) -> int:
        """Return the bit set of all nodes that separate x and y, a pair that nothing separates, by themselves."""
        pair = x * self.n + y
        if pair not in self._alone:
            self._fill(x)
        return self._alone[pair]

    def _fill(self, start: int) -> None:
        """Compute the separating nodes of the pairs of `start` and of as many nodes after it as fit in a chunk."""
        n_rows = max(1, CHUNK // self.n**2)
        left, right = np.nonzero(self._dependent[start : start + n_rows])
        left += start
        shared = self._matrix[left, right][:, None] - self._matrix.take(left, 0) * self._matrix.take(right, 0)
        spread = self._spread.take(left, 0) * self._spread.take(right, 0)
        alone = self._are_apart(shared, spread, 1, lambda row, z: (int(left[row]), int(right[row]), (z,)))
        self._alone.update(zip((left * self.n + right).tolist(), bit_sets(alone), strict=True))

    def _are_apart(
        self, shared: np.ndarray, spread: np.ndarray, size: int, question: Callable[[int, int], Question]
    ) -> np.ndarray:
        """Return where r = shared / sqrt(spread), given `size` nodes, has a p-value above alpha.

        Where rounding might decide, `question` of the place in the array is put to the test.
        """
        surely, possibly = _limits(self._n_samples - size - 3, self.alpha)
        squares = shared * shared
        apart: np.ndarray = squares < surely**2 * spread
        may_be = squares < possibly**2 * spread
        if np.count_nonzero(may_be) > np.count_nonzero(apart):  # of which the latter are part
            for row, column in np.argwhere(may_be & ~apart).tolist():
                apart[row, column] = self._independence(*question(row, column)) > self.alpha
        return apart


@lru_cache
def _limits(freedom: int, alpha: float) -> tuple[float, float]:
    """Return below which |r| the p-value is surely above alpha, and from which |r| on it is surely not.

    Between the two, p is within `MARGIN` of alpha, or |r| within rounding of where it cannot be above.
    """
    limits = []
    for level in (alpha * (1 + MARGIN), alpha * (1 - MARGIN)):
        low, high = -1.0, 1.0  # p is above the level up to low, and not from high on
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if p_value(max(middle, 0.0), freedom) > level else (low, middle)
        limits.append((max(low, 0.0), max(high, 0.0)))
    return limits[0][0] * (1 - ROUNDING), limits[1][1] * (1 + ROUNDING)

"""Is x independent of y given Z? Any callable `(x, y, z) -> p` is a test; the caller compares p with alpha."""

from functools import cached_property
from math import atanh, erfc, fsum, sqrt
from typing import Protocol

import numpy as np

from recexplain.errors import OptionError

WORD = 8  # bytes of the longest whole number of NumPy
SMALLEST_VARIANCE = 1e-13  # of a node with variance 1, once others are taken out: below is rounding


class Independence(Protocol):
    """A test of x and y given z; the p-value only, the caller compares."""

    def __call__(self, x: int, y: int, z: tuple[int, ...] = ()) -> float:
        """Return the p-value of x and y being independent given z."""
        ...


class PartialCorrelation:
    """p-value of Fisher's z test that x and y have no partial correlation given z.

    It is 0, which means dependent, wherever the statistic is undefined: with fewer samples than `len(z) + 3`,
    and where two of the positions are copies of each other, or any of them a mixture of the rest. It is bit for bit the
    same however x and y are swapped, z is ordered and the nodes are numbered.
    """

    def __init__(self, correlation: np.ndarray, n_samples: int) -> None:
        if isinstance(n_samples, str) or n_samples is None or not n_samples >= 1:
            raise OptionError(f"n_samples must be at least 1, not {n_samples!r}")
        self.n_samples = n_samples
        self.matrix = _checked(correlation)
        self.matrix.flags.writeable = False
        self._rows: list[list[float]] = self.matrix.tolist()
        self.copies = _copies(self.matrix)  # for each position, the bit set of its copies
        self._has_copies = any(self.copies)

    def __call__(self, x: int, y: int, z: tuple[int, ...] = ()) -> float:
        """Return the p-value."""
        if not z:
            r = self._rows[x][y]
        elif len(z) == 1:
            r = self._given_one(x, y, z[0])
        elif len(z) == 2:
            r = self._given_two(x, y, *z)
        else:
            r = self._given_many(x, y, z)
        return p_value(r, self.n_samples - len(z) - 3)

    def _given_one(self, x: int, y: int, z: int) -> float:
        row = self._rows[z]
        xz, yz = row[x], row[y]
        if abs(xz) >= 1 or abs(yz) >= 1:
            return 1.0
        return (self._rows[x][y] - xz * yz) / sqrt((1 - xz * xz) * (1 - yz * yz))

    def _given_two(self, x: int, y: int, a: int, b: int) -> float:
        """Return what `_given_many` does of two nodes, to the last bit, without its lists."""
        total = self._totals
        if total[a] > total[b]:
            a, b = b, a
        if total[x] > total[y]:
            x, y = y, x
        if self._has_copies and self._are_copies(a, b, x, y):
            return 1.0
        of_a, of_b, of_x = self._rows[a], self._rows[b], self._rows[x]
        aa, ab, ax, ay = of_a[a], of_a[b], of_a[x], of_a[y]  # aa is 1, or as good as that
        share = ab / aa
        bb, bx, by = of_b[b] - share * ab, of_b[x] - share * ax, of_b[y] - share * ay
        if bb < SMALLEST_VARIANCE:
            return 1.0
        share_a, share_b = ax / aa, bx / bb
        xx = of_x[x] - share_a * ax - share_b * bx
        xy = of_x[y] - share_a * ay - share_b * by
        yy = self._rows[y][y] - ay / aa * ay - by / bb * by
        return xy / sqrt(xx * yy) if min(xx, yy) >= SMALLEST_VARIANCE else 1.0

    def _given_many(self, x: int, y: int, z: tuple[int, ...]) -> float:
        """Return the correlation of what is left of x and y when z is taken out, one node after the other."""
        nodes = [*sorted(z, key=self._totals.__getitem__), *sorted((x, y), key=self._totals.__getitem__)]
        if self._has_copies and self._are_copies(*nodes):
            return 1.0
        left = [[self._rows[v][w] for w in nodes[at:]] for at, v in enumerate(nodes)]  # upper triangle
        for at in range(len(z)):
            pivot, *rest = left[at]
            if pivot < SMALLEST_VARIANCE:
                return 1.0
            for below, first in enumerate(rest):
                share = first / pivot
                left[at + 1 + below] = [v - share * w for v, w in zip(left[at + 1 + below], rest[below:], strict=True)]
        (xx, xy), (yy,) = left[-2:]
        return xy / sqrt(xx * yy) if min(xx, yy) >= SMALLEST_VARIANCE else 1.0

    def _are_copies(self, *nodes: int) -> bool:
        """Whether any two of the nodes are."""
        return any(self.copies[v] >> w & 1 for v in nodes for w in nodes)

    @cached_property
    def _totals(self) -> list[float]:
        """A number for each node that does not depend on the numbering: its row's sum, rounded once."""
        return [fsum(row) for row in self._rows]


def p_value(r: float, freedom: int) -> float:
    """Return both tails beyond r: 2 * norm.sf(sqrt(freedom) * |atanh r|), or 0 where that is not defined.

    `freedom` is the number of samples less that of the nodes given, less 3 (Fisher 1921; Anderson 2003, section 4.3).
    """
    if freedom < 0 or not abs(r) < 1:
        return 0.0
    return erfc(sqrt(freedom / 2) * abs(atanh(r)))


class Remembered:
    """The same test, asked at most once a question, with a count of the questions by size of z.

    Swapping x and y or reordering z makes no new question; the test itself sees x < y and z ascending.
    """

    def __init__(self, independence: Independence) -> None:
        self._independence = independence
        self._p: dict[tuple[int, int, tuple[int, ...]], float] = {}
        self._counts: dict[int, int] = {}

    def __call__(self, x: int, y: int, z: tuple[int, ...] = ()) -> float:
        """Return what the test returned when this question was first asked."""
        if len(z) > 1:
            z = tuple(sorted(z))
        question = (x, y, z) if x < y else (y, x, z)
        p = self._p.get(question)
        if p is None:
            p = self._p[question] = self._independence(*question)
            self._counts[len(z)] = self._counts.get(len(z), 0) + 1
        return p

    @property
    def n_tests(self) -> list[int]:
        """How many tests were computed, by size of z, up to the largest size that occurred."""
        return [self._counts.get(size, 0) for size in range(max(self._counts, default=-1) + 1)]


def _checked(correlation: np.ndarray) -> np.ndarray:
    matrix = np.array(correlation, dtype=np.float64)  # a copy of our own
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise OptionError(f"correlation must be a square matrix, not of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise OptionError("correlation must be finite, and it holds NaN or infinity")
    if not (np.abs(matrix - matrix.T) <= 1e-8).all():
        raise OptionError("correlation must be symmetric")
    if not (np.abs(matrix.diagonal() - 1) <= 1e-6).all():
        raise OptionError("correlation must have ones on its diagonal")
    if not (np.abs(matrix) <= 1 + 1e-6).all():
        raise OptionError("correlation must be from -1 to 1 everywhere")
    return (matrix + matrix.T) / 2


def _copies(matrix: np.ndarray) -> tuple[int, ...]:
    """Return, for each position, the bit set of the others whose correlation with it is 1 or -1."""
    same = np.abs(matrix) >= 1
    np.fill_diagonal(same, val=False)
    return tuple(bit_sets(same))


def bit_sets(claims: np.ndarray) -> list[int]:
    """Return, for each row of an (m, n) boolean array, the bit set of the columns where it holds."""
    packed = np.packbits(claims, axis=1, bitorder="little")
    width = packed.shape[1]
    if width <= WORD:
        words = np.zeros((len(packed), WORD), dtype=np.uint8)
        words[:, :width] = packed
        found: list[int] = words.view("<u8").ravel().tolist()
        return found
    data = packed.tobytes()
    return [int.from_bytes(data[at * width : (at + 1) * width], "little") for at in range(len(packed))]

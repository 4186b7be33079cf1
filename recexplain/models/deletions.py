"""States after a few items of one history are deleted, from sums over the whole history.

Before the items meet, in the first layer's attention, all depends on an item and its place alone. What a place gathers
there is a sum of one term an item, over the sum of their weights; a deletion takes terms out, and moves each older item
on by one place. Of sums from the oldest item on, what is left is the sum of one vector for each deleted item: all items
between two deleted ones are moved alike, so that their sum is a difference of two others.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from recexplain.models import attention
from recexplain.models.attention import Layer
from recexplain.models.encoder import Encoder

LEAST = 1e-6  # of the largest weight: what is left of a sum below may be rounding


class Deletions:
    """One history without any `size` of its items, for an encoder that looks both ways and has two layers or more.

    In float64: a deleted item may outweigh all that is left.
    """

    def __init__(self, encoder: Encoder, items: Tensor, size: int) -> None:
        """Sum up `items`, (length,): the history, oldest first, and the mask; none of them 0."""
        self._encoder, self.n, self.size = encoder, len(items), size
        first = cast("Layer", encoder.layers[0])
        newest_first = torch.arange(self.n - 1, -1, -1) - torch.arange(size + 1)[:, None]
        states = encoder.at(items.expand(size + 1, -1), newest_first.clamp(min=0))  # below 0: never asked for
        self._states = states.flatten(0, 1)  # of an item with so many newer ones deleted: that number * n + item
        self._heads = first.attention.heads
        self._tables = self._sums(*self._terms(first)).flatten(0, 2)

    @staticmethod
    def n_bytes(encoder: Encoder, length: int, size: int) -> int:
        """Return how large the sums are, of as many items and the mask."""
        first = cast("Layer", encoder.layers[0])
        width = first.attention.query.out_features + first.attention.heads
        return 8 * size * (length - 1) * (size + 1) * length * width

    def last(self, deleted: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states of the newest place without each set of items, and which of the states are sure.

        `deleted`: (sets, size) int64, ascending numbers of items, the oldest is 0. (sets, dim), and (sets,) bool.
        """
        asking, rows = self._places(deleted)
        n_rows = max(1, attention.CACHED // asking.shape[1])
        parts = zip(torch.split(asking, n_rows), torch.split(rows, n_rows, dim=1), strict=True)
        met = [self._met(*part) for part in parts]
        return self._encoder.beyond_first(torch.cat([x for x, _ in met])), torch.cat([sure for _, sure in met])

    def _places(self, deleted: Tensor) -> tuple[Tensor, Tensor]:
        """Return which state is at each place, (sets, places), and which sums it gathers, (size, sets, places)."""
        is_deleted = torch.zeros(len(deleted), self.n, dtype=torch.int64).scatter_(1, deleted, 1)
        n_newer = self.size - is_deleted.cumsum(1)
        states = n_newer * self.n + torch.arange(self.n)
        asking = states[is_deleted == 0].view(len(deleted), -1)
        tables = torch.arange(self.size) * (self.n - 1) + deleted  # each deleted item has its own, by its rank
        return asking, tables.T[..., None] * len(self._states) + asking

    def _met(self, asking: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states behind the first layer, (sets, places, dim), and which sets are sure."""
        first = cast("Layer", self._encoder.layers[0])
        sums = F.embedding(rows[0], self._tables)
        for others in rows[1:]:
            sums += F.embedding(others, self._tables)
        terms = sums.view(*asking.shape, self._heads, -1)
        weight = terms[..., -1:].contiguous()
        gathered = (terms[..., :-1] * weight.reciprocal()).float().flatten(2)
        return first.joined(F.embedding(asking, self._states), gathered), weight.flatten(1).amin(1) > LEAST

    def _terms(self, first: Layer) -> tuple[Tensor, Tensor]:
        """Return weights, (size + 1, n, asking, heads, 1), and values with a 1 behind, (size + 1, n, 1, heads, :)."""
        by_head = len(self._states), self._heads, -1
        query, key, value = (
            part(self._states).double().view(by_head)
            for part in (first.attention.query, first.attention.key, first.attention.value)
        )
        logits = torch.einsum("ahd,khd->kah", query, key) / query.shape[-1] ** 0.5
        weights = (logits - logits.amax(0)).exp()
        values = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
        shape = self.size + 1, self.n
        return weights.view(*shape, *weights.shape[1:], 1), values.view(*shape, 1, *values.shape[1:])

    def _sums(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return, (size, n - 1, asking, heads * (dim / heads + 1)), what each deleted item adds, by its rank.

        The k-th oldest of them, at r: all before r, moved by the newer ones and it, less all up to r, moved by the
        newer ones alone. The newest adds the sum of all, not moved.
        """
        n_asking, width = weights.shape[2], values.shape[-2] * values.shape[-1]
        before = torch.zeros(self.size + 1, n_asking, width, dtype=torch.float64)
        sums = torch.empty(self.size, self.n - 1, n_asking, width, dtype=torch.float64)
        for item in range(self.n - 1):
            terms = (weights[:, item] * values[:, item]).flatten(2)
            before[0] += terms[0]
            for moved in range(self.size):
                torch.sub(before[moved + 1], before[moved], out=sums[self.size - 1 - moved, item])
                before[moved + 1] += terms[moved + 1]
        sums[-1] += before[0] + (weights[0, -1] * values[0, -1]).flatten(1)
        return sums

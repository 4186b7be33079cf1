"""The Transformer that our models share: items -> states, of all places or only of those that are asked for."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from recexplain.errors import OptionError, is_whole
from recexplain.models.attention import Layer, initialise


class Encoder(nn.Module):
    """Item and position embeddings, then layers; items are 1..n_items, 0 is padding (on the left).

    A masked encoder looks both ways, knows the mask as item n_items + 1, and has a place for it beside `max_length`
    items. One that is not is causal: a place looks at itself and at older ones only. Positions are counted from the
    newest item, so that the same history has the same states however far it is padded. Padding is looked at by nobody;
    a place that would see nothing at all sees itself.
    """

    def __init__(
        self, n_items: int, max_length: int, *, masked: bool, dim: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        sizes = {"n_items": n_items, "max_length": max_length, "dim": dim, "layers": layers, "heads": heads}
        for name, size in sizes.items():
            if not is_whole(size, 1):
                raise OptionError(f"{name} must be a whole number of 1 or more, not {size!r}")
        if dim % heads:
            raise OptionError(f"dim must be a multiple of heads, not {dim} with {heads} heads")
        if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
            raise OptionError(f"dropout must be at least 0 and below 1, not {dropout!r}")
        self.causal = not masked
        self.item_embedding = nn.Embedding(1 + n_items + masked, dim, padding_idx=0)
        self.position_embedding = nn.Embedding(max_length + masked, dim)
        self.input_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(dim, heads, dropout) for _ in range(layers))
        self.apply(initialise)

    @property
    def n_places(self) -> int:
        """How many places it has, for items and the mask."""
        return self.position_embedding.num_embeddings

    def forward(self, items: Tensor, is_asked: Tensor, *, causal: bool | None = None) -> Tensor:
        """Return the states, (n_asked, dim), of the asked places of items, (batch, length), row by row.

        `is_asked`: (batch, length) bool. The last layer computes little more than what is asked. `causal`: as if the
        encoder were, or were not.
        """
        places, is_real = _places(is_asked)
        states = self._states(items, places, self.causal if causal is None else causal)
        return states[is_real]

    def last(self, items: Tensor) -> Tensor:
        """Return the state of the newest place of each row of items, (batch, dim).

        Histories with a few items less are mostly alike: the same item at the same place is computed once until it
        meets the others, in the first layer's attention. The last layer computes the newest place alone.
        """
        allowed = self._allowed_or_none(items, self.causal)
        first, *others = cast("list[Layer]", list(self.layers))
        if others and len(items) > 1:
            x, where = self._distinct(items)
            x = first.distinct(x, where, allowed)
        else:
            x, others = self._embed(items), [first, *others]
        return _newest(others, x, allowed)

    def beyond_first(self, x: Tensor) -> Tensor:
        """Return the state of the newest place, (batch, dim), of states behind the first of two layers or more.

        (batch, length, dim), all of them of items that may look at all others.
        """
        return _newest(cast("list[Layer]", list(self.layers))[1:], x, None)

    def explain(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return all states, (batch, length, dim), and the attention, (batch, layers, heads, length, length)."""
        x, allowed = self.entry(items)
        weights = []
        for layer in self.layers:
            x, of_layer = cast("Layer", layer).explain(x, allowed)
            weights.append(of_layer)
        return x, torch.stack(weights, dim=1)

    def entry(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the layers are given: (batch, length, dim), and which places each may look at, see `_allowed`."""
        return self._embed(items), self._allowed(items, self.causal)

    def _embed(self, items: Tensor) -> Tensor:
        newest_first = torch.arange(items.shape[1] - 1, -1, -1, device=items.device)
        return self.at(items, newest_first)

    def _distinct(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the distinct items at distinct places, (n, dim), and which stands where."""
        length = items.shape[1]
        newest_first = torch.arange(length - 1, -1, -1, device=items.device)
        found, where = torch.unique(items * length + newest_first, return_inverse=True)
        return self.at(found // length, found % length), where

    def at(self, items: Tensor, places: Tensor) -> Tensor:
        """Return the first states of items at places counted from the newest."""
        embedded = self.item_embedding(items) + self.position_embedding(places)
        dropped: Tensor = self.dropout(self.input_norm(embedded))
        return dropped

    def _allowed_or_none(self, items: Tensor, causal: bool) -> Tensor | None:
        """Return `_allowed`, or None where all places may look at all."""
        return None if not causal and bool((items != 0).all()) else self._allowed(items, causal)

    def _states(self, items: Tensor, places: Tensor, causal: bool) -> Tensor:
        """(batch, asked, dim), of the places (batch, asked)."""
        x = self._embed(items)
        allowed = self._allowed_or_none(items, causal)
        *first, last = self.layers
        for layer in first:
            x = layer(x, allowed)
        if places.shape[1] == items.shape[1]:
            return cast("Tensor", last(x, allowed))
        if allowed is not None and allowed.shape[2] > 1:
            allowed = allowed.expand(len(items), -1, -1, -1).gather(
                2, places[:, None, :, None].expand(-1, -1, -1, items.shape[1])
            )
        return cast("Tensor", last(x, allowed, asked=places))

    def _allowed(self, items: Tensor, causal: bool) -> Tensor:
        """(batch or 1, 1, length or 1, length) bool: which places (the last axis) each place may look at."""
        present = (items != 0)[:, None, None, :]
        if not causal:
            return present
        length = items.shape[1]
        older = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()
        allowed: Tensor = older if bool(present.all()) else older & present
        alone = ~allowed.any(-1, keepdim=True) & torch.eye(length, dtype=torch.bool, device=items.device)
        return (allowed | alone).reshape(-1, 1, length, length)


def _newest(layers: Sequence[Layer], x: Tensor, allowed: Tensor | None) -> Tensor:
    """Return the state of the newest place behind these layers, (batch, dim)."""
    for layer in layers[:-1]:
        x = layer(x, allowed)
    return layers[-1].newest(x, None if allowed is None else allowed[:, :, -1:])[:, 0]


def _places(is_asked: Tensor) -> tuple[Tensor, Tensor]:
    """Return the asked places of each row first, (batch, asked), and which of these are asked; all, if most are."""
    length = is_asked.shape[1]
    most = int(is_asked.sum(1).max())
    if most > 0.75 * length:
        return torch.arange(length, device=is_asked.device).expand(len(is_asked), -1), is_asked
    places = is_asked.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return places, is_asked.gather(1, places)

"""BERT4Rec (Sun et al., CIKM 2019, arXiv 1904.06690): a bidirectional Transformer that fills masked items in."""

import torch
from torch import Tensor, nn

from recexplain.errors import OptionError
from recexplain.models.attention import Layer, initialise


class BERT4Rec(nn.Module):
    """Scores the item under a mask from the items on both sides of it.

    Items are 1..n_items, 0 is padding (on the left), n_items + 1 the mask. Positions are counted from the newest
    item, so that the same history has the same scores however far it is padded. The position table has
    `max_length + 1` rows: a full window and the mask (or the target) behind it.
    """

    def __init__(
        self,
        n_items: int,
        *,
        max_length: int = 50,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(n_items, max_length, dim, layers, heads) < 1:
            raise OptionError("n_items, max_length, dim, layers and heads must be 1 or more")
        if dim % heads:
            raise OptionError(f"dim must be a multiple of heads, not {dim} with {heads} heads")
        if not 0 <= dropout < 1:
            raise OptionError(f"dropout must be at least 0 and below 1, not {dropout}")
        self.n_items, self.max_length, self.mask_item = n_items, max_length, n_items + 1
        self.item_embedding = nn.Embedding(n_items + 2, dim, padding_idx=0)
        self.position_embedding = nn.Embedding(max_length + 1, dim)
        self.input_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(dim, heads, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.apply(initialise)

    def forward(self, items: Tensor) -> Tensor:
        """Return the states, (batch, length, dim), of items, (batch, length)."""
        return self._states(items, last_only=False)

    def predict(self, items: Tensor) -> Tensor:
        """Return the logits of every item at the last position, (batch, n_items); the last layer computes only it."""
        return self.logits(self._states(items, last_only=True)[:, -1])

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits of items 1..n_items, (..., n_items), from states, (..., dim); embeddings are tied."""
        logits: Tensor = self.head(states) @ self.item_embedding.weight[1 : self.n_items + 1].T
        return logits + self.item_bias

    def explain(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` does, and the attention, (batch, layers, heads, length, length), of each layer."""
        x, allowed = self._embed(items), (items != 0)[:, None, None, :]
        weights = []
        for layer in self.layers:
            x, of_layer = layer.explain(x, allowed)  # type: ignore[operator]  # a Layer, which nn.Module hides
            weights.append(of_layer)
        return x, torch.stack(weights, dim=1)

    def _embed(self, items: Tensor) -> Tensor:
        newest_first = torch.arange(items.shape[1] - 1, -1, -1, device=items.device)
        embedded = self.item_embedding(items) + self.position_embedding(newest_first)
        dropped: Tensor = self.dropout(self.input_norm(embedded))
        return dropped

    def _states(self, items: Tensor, *, last_only: bool) -> Tensor:
        x, present = self._embed(items), items != 0
        allowed = None if bool(present.all()) else present[:, None, None, :]
        *first, last = self.layers
        for layer in first:
            x = layer(x, allowed)
        states: Tensor = last(x, allowed, asked=slice(-1, None) if last_only else slice(None))
        return states

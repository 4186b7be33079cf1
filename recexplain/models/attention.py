"""Attention of a Transformer layer: one fast path for scores, one open path that returns the weights."""

from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from recexplain.models.products import perceptron, through

CACHED = 1_600  # places that a core's cache holds all of, while they are taken through a layer


def attention_weights(query: Tensor, key: Tensor, allowed: Tensor) -> Tensor:
    """(..., query, key) weights; a row in which nothing is allowed is all zeros.

    softmax(Q K^T / sqrt(d)) of Vaswani et al. 2017, equation 1, over the allowed keys.
    """
    logits: Tensor = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return logits.masked_fill(~allowed, -torch.inf).softmax(-1).masked_fill(~allowed, 0.0)


class SelfAttention(nn.Module):
    """Multi-head self-attention, without dropout on the weights (slow on CPU, and not needed)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, x: Tensor, allowed: Tensor | None) -> Tensor:
        """Return what the positions `asking`, (batch, asked, dim), gather from `x`, (batch, length, dim).

        `allowed`: (batch or 1, 1, asked or 1, length) bool, which keys may be looked at; None: all of them.
        """
        return self.mix(self.query(asking), self.key(x), self.value(x), allowed)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        """Return the same from queries, keys and values that were computed before, each (batch, places, dim)."""
        return through(self.output, self.gathered(query, key, value, allowed))

    def gathered(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        """Return the values that each place gathers, head beside head, (batch, places, dim)."""
        query, key, value = self._split(query), self._split(key), self._split(value)
        return _beside(F.scaled_dot_product_attention(query, key, value, attn_mask=allowed))

    def newest(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        """Return what the last position alone gathers, (batch, 1, dim), without computing any key or value.

        q . (W_k x) = (W_k' q) . x, and the weights' mean of W_v x is W_v times their mean of x: one product a query
        instead of one a key. The bias of the keys shifts all logits of a query alike, and drops out. `allowed`:
        (batch or 1, 1, 1, length) bool.
        """
        batch, _, dim = x.shape
        by_head = self.heads, dim // self.heads, dim
        query = self.query(x[:, -1]).view(batch, *by_head[:2]).transpose(0, 1) / by_head[1] ** 0.5
        asking = query @ self.key.weight.view(by_head)  # (heads, batch, dim)
        logits = asking.transpose(0, 1) @ x.transpose(1, 2)  # (batch, heads, length)
        if allowed is not None:
            logits = logits.masked_fill(~allowed[:, :, 0], -torch.inf)
        gathered = (logits.softmax(-1) @ x).transpose(0, 1)  # (heads, batch, dim)
        mixed = gathered @ self.value.weight.view(by_head).transpose(1, 2)
        joined: Tensor = self.output(mixed.transpose(0, 1).flatten(1)[:, None] + self.value.bias)
        return joined

    def explain(self, x: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same as `forward` for every position, and the weights, (batch, heads, length, length)."""
        weights = attention_weights(self._split(self.query(x)), self._split(self.key(x)), allowed)
        return through(self.output, _beside(weights @ self._split(self.value(x)))), weights

    def _split(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        return x.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)


def _beside(heads: Tensor) -> Tensor:
    """(batch, places, dim) of (batch, heads, places, dim / heads)."""
    return heads.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """One Transformer layer with LayerNorm after each residual sum (post-LN), as BERT has it."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads)
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor | None, *, asked: Tensor | None = None) -> Tensor:
        """Return the new states of the places `asked`, (batch, asked) int64; None: of all. (batch, asked, dim)."""
        asking = x if asked is None else x.gather(1, asked[..., None].expand(-1, -1, x.shape[2]))
        return self._finish(asking, self.attention(asking, x, allowed))

    def distinct(self, x: Tensor, where: Tensor, allowed: Tensor | None) -> Tensor:
        """Return the new states of `x[where]`, (batch, length, dim): of distinct states, (n, dim), and their numbers.

        What depends on a state alone, its query, key and value, is computed once for each; the rest for some rows after
        the others, on CPU.
        """
        alone = torch.cat([x, self.attention.query(x), self.attention.key(x), self.attention.value(x)], dim=-1)
        n_rows = max(1, CACHED // where.shape[1]) if x.device.type == "cpu" else len(where)
        masks = repeat(allowed) if allowed is None or len(allowed) == 1 else torch.split(allowed, n_rows)
        parts = zip(torch.split(where, n_rows), masks, strict=False)
        return torch.cat([self._met(F.embedding(some, alone), mask) for some, mask in parts])

    def _met(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        """Return the new states, (batch, places, dim), of states, queries, keys and values, all in the last axis."""
        x, query, key, value = x.chunk(4, dim=-1)
        if self.training:
            return self._finish(x, self.attention.mix(query, key, value, allowed))
        return self.joined(x, self.attention.gathered(query, key, value, allowed))

    def joined(self, x: Tensor, gathered: Tensor) -> Tensor:
        """Return the new states of places, (batch, places, dim), that have gathered this; without dropout."""
        return self._fed(self.attention_norm(through(self.attention.output, gathered, onto=x)))

    def newest(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        """Return the new state of the last position, (batch, 1, dim)."""
        return self._finish(x[:, -1:], self.attention.newest(x, allowed))

    def explain(self, x: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states of all positions and the attention weights, (batch, heads, length, length)."""
        mixed, weights = self.attention.explain(x, allowed)
        return self._finish(x, mixed), weights

    def _finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        return self._fed(self.attention_norm(x + self.dropout(mixed)))

    def _fed(self, x: Tensor) -> Tensor:
        summed = x + self.dropout(self.feed_forward(x)) if self.training else perceptron(self.feed_forward, x, onto=x)
        finished: Tensor = self.feed_forward_norm(summed)
        return finished


def initialise(module: nn.Module) -> None:
    """Set weights as BERT does (normal, deviation 0.02; biases 0); for `nn.Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)

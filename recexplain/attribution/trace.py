"""What attributions ask of a model: a forward pass that can be entered at h^0 and looked into.

Whatever can make an `Entry` of histories is `Traced`. Our networks are (`networks`), RecBole's modules are made so by
`recbole`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.errors import OptionError

SCALARS = ("logit", "log_probability")
FLOATS = 2**23  # attention weights of a layer, in all rows of one pass that gradients are taken of, at most


@dataclass(frozen=True, eq=False)
class Block:
    """The modules of one Transformer layer whose LayerNorms come after each residual sum (post-LN)."""

    heads: int
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear  # W_O and b_O, which join the heads
    attention_norm: nn.LayerNorm
    first: nn.Linear  # of the feed-forward part
    second: nn.Linear
    feed_forward_norm: nn.LayerNorm
    softmax: nn.Module | None = None  # what returns the attention; None: it is handed over otherwise


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One layer in one pass, all tensors in the graph of gradients: h, A, v, (A v), s, y, and on to h'."""

    block: Block
    hidden: Tensor  # h, (n, places, dim), the layer's input
    attention: Tensor  # A, (n, heads, places, places), after the softmax: rows look, columns are looked at
    values: Tensor  # v, (n, places, dim), with their bias, head after head
    gathered: Tensor  # A v, (n, places, dim), head after head, before W_O
    summed: Tensor  # s, (n, places, dim), the residual sum before the first LayerNorm
    middle: Tensor  # y, (n, places, dim), behind it
    inner: Tensor  # (n, places, inner), what the second feed-forward map is given
    deep_summed: Tensor  # (n, places, dim), the residual sum before the second LayerNorm
    output: Tensor  # h', (n, places, dim)

    def by_head(self, states: Tensor) -> Tensor:
        """(n, heads, places, dim / heads), of states (n, places, dim) that lie head after head."""
        n, places, dim = states.shape
        return states.view(n, places, self.block.heads, dim // self.block.heads).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class Run:
    """One pass from h^0 to the scores at the readout."""

    logits: Tensor  # (n, n_items + 1); column 0, the padding, is no item
    layers: tuple[LayerTrace, ...]

    def explained(self, targets: Tensor, scalar: str) -> Tensor:
        """(n,), the number that is explained: the target's logit, or its log-probability among all items."""
        logits = self.logits[:, 1:]
        if scalar == "log_probability":
            logits = logits.log_softmax(-1)
        return logits.gather(1, targets[:, None] - 1)[:, 0]


@dataclass(frozen=True, eq=False)
class Head:
    """What turns the state at the readout into scores: modules, and then the product with the items' vectors."""

    modules: tuple[nn.Module, ...]  # linear maps; others act on each place alone and pass relevance on as it is
    vectors: Tensor  # (n_items + 1, dim), row 0 is the padding's


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """What stands before positions and the embedding LayerNorm."""

    vectors: Tensor  # (batch, places, dim), without gradient; what is no item has 0, whatever is entered there
    enter: Callable[[Tensor, Tensor], Tensor]  # other vectors, (n, places, dim), for rows, (n,) -> h^0


@dataclass(frozen=True, eq=False)
class Entry:
    """Histories at the door of the encoder. Places are those of the model's input, padding and mask included.

    `run(h0, rows)` goes on from any h^0, (n, places, dim), where the rest is that of the given rows, (n,) int64, of
    this batch: so the same history can be entered many times. It neither records nor stops gradients itself.
    """

    h0: Tensor  # (batch, places, dim), without gradient
    is_real: Tensor  # (batch, places) bool: what the readout may look at
    readout: Tensor  # (batch,) int64: the place whose state is scored
    positions: Tensor  # (batch, places) int64: whose item of the history stands there; -1: none
    run: Callable[[Tensor, Tensor], Run]
    head: Head | None = None  # None: not known
    items: ItemVectors | None = None  # None: not shown
    histories: tuple[np.ndarray, ...] = ()  # item numbers, whole
    enter: "Callable[[Sequence[np.ndarray]], Entry] | None" = None  # other histories, the same way

    @property
    def rows(self) -> Tensor:
        """(batch,) int64: each row once."""
        return torch.arange(len(self.h0), device=self.h0.device)

    def as_it_is(self) -> Run:
        """Return the pass that the recommender itself makes, without gradients."""
        with torch.no_grad():
            return self.run(self.h0, self.rows)

    def at_readout(self, states: Tensor, rows: Tensor | None = None) -> Tensor:
        """(n, ...), of states (n, places, ...) the readout's; `rows` as for `run`."""
        readout = self.readout if rows is None else self.readout[rows]
        return states[torch.arange(len(states), device=states.device), readout]


@runtime_checkable
class Traced(Protocol):
    """A recommender whose passes can be looked into; adapters implement this one method."""

    def entry(self, histories: Sequence[np.ndarray], /) -> Entry:
        """Return histories of item numbers, oldest first and at least one of them, at the door of the encoder."""
        ...


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; the training flags are put back, after an error too. Gradients are as outside."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def watched(blocks: Sequence[Block]) -> Iterator[list[dict[str, Tensor]]]:
    """Fill a dict a block with what a `LayerTrace` holds, in the next pass; hooks are removed, after an error too."""
    found: list[dict[str, Tensor]] = [{} for _ in blocks]
    with ExitStack() as stack:
        for block, tensors in zip(blocks, found, strict=True):
            watch = _watcher(stack, tensors)
            watch(block.value, "hidden", "values")
            watch(block.output, "gathered", None)
            watch(block.attention_norm, "summed", "middle")
            watch(block.second, "inner", None)
            watch(block.feed_forward_norm, "deep_summed", "output")
            if block.softmax is not None:
                watch(block.softmax, None, "attention")
        yield found


def layer_traces(blocks: Sequence[Block], found: Sequence[dict[str, Tensor]]) -> tuple[LayerTrace, ...]:
    """Return what was watched; `OptionError` where a pass did not go through every part of every block."""
    needed = {field.name for field in fields(LayerTrace)} - {"block"}
    missing = sorted(name for name in needed if not all(name in tensors for tensors in found))
    if missing:
        raise OptionError(
            f"the model's forward pass shows no {', '.join(missing)}, so only the attribution occlusion works"
        )
    return tuple(LayerTrace(block, **tensors) for block, tensors in zip(blocks, found, strict=True))


def gradients(run: Run, targets: Tensor, scalar: str, of: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradient of each row's explained number with respect to each tensor, of the tensor's shape."""
    return torch.autograd.grad(run.explained(targets, scalar).sum(), list(of))


def passes(entry: Entry, times: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (copies, rows), each (n,) int64: all pairs of `times` copies of each row, in parts that fit into memory."""
    heads_and_places = max(1, 2 * entry.h0.shape[1] ** 2)
    size = max(1, FLOATS // heads_and_places)
    copies = torch.arange(times, device=entry.h0.device).repeat_interleave(len(entry.h0))
    rows = entry.rows.repeat(times)
    yield from ((copies[start : start + size], rows[start : start + size]) for start in range(0, len(rows), size))


def check_scalar(scalar: object) -> None:
    """Raise `OptionError` for a number that cannot be explained."""
    if scalar not in SCALARS:
        raise OptionError(f"scalar must be one of {', '.join(SCALARS)}, not {scalar!r}")


def _watcher(stack: ExitStack, tensors: dict[str, Tensor]) -> Callable[[nn.Module, str | None, str | None], None]:
    def watch(module: nn.Module, given: str | None, returned: str | None) -> None:
        def note(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if given is not None:
                tensors[given] = inputs[0]
            if returned is not None:
                tensors[returned] = output

        stack.callback(module.register_forward_hook(note).remove)

    return watch

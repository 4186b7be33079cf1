"""A PyTorch module of one's own as a recommender: padding, evaluation mode, attention."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.adapters.door import BATCH, check_scorer, check_sizes, checked_ids, columns
from recexplain.capture import attention_layers, captured_attention, stacked
from recexplain.errors import OptionError, is_whole
from recexplain.vocabulary import Vocabulary

Call = Callable[[Any, Tensor], Any]


def plain_call(module: nn.Module, items: Tensor) -> Any:
    """Return what a module says of items, (batch, max_length)."""
    return module(items)


@dataclass(eq=False)
class ModuleRecommender:
    """A module behind the `Recommender` protocol; one thread at a time asks it."""

    module: nn.Module
    vocabulary: Vocabulary
    max_length: int
    call: Call = plain_call  # items, (batch, max_length) int64 -> scores
    pad: Literal["left", "right"] = "left"
    mask_item: int | None = None
    keeps_places: bool = False  # whether the module looks at no 0, wherever it stands
    attend: Call | None = None  # items, (1, max_length) -> one (1, heads, max_length, max_length) a layer
    lock: Any = field(default_factory=threading.RLock, repr=False)

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return self.vocabulary.n_items

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return the score of every item after each history, (batch, n_items + 1); column 0 is -inf.

        float32, or float64 of a module that computes in it.
        """
        parts = []
        for start in range(0, len(histories), BATCH):
            part = histories[start : start + BATCH]
            with self.asked():
                found = self.call(self.module, self.inputs(part)["items"])
            if not isinstance(found, Tensor):
                raise OptionError(f"the module must return a tensor of scores, not {type(found).__name__}; see `call`")
            rows = (found if found.dtype == torch.float64 else found.float()).detach().cpu().numpy()
            if rows.shape == (len(part), self.n_items + 1):
                rows = rows[:, 1:]
            parts.append(columns(rows, len(part), self.n_items, "the module (see `call`)"))
        found_all = np.concatenate(parts) if parts else np.zeros((0, self.n_items), dtype=np.float32)
        return np.pad(found_all, ((0, 0), (1, 0)), constant_values=-np.inf)

    def inputs(self, histories: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return the newest places of each history as `items`, (batch, max_length) int64, with zeros around them."""
        items = np.zeros((len(histories), self.max_length), dtype=np.int64)
        for row, history in zip(items, histories, strict=True):
            cut = np.asarray(history, dtype=np.int64)[-self.max_length :]
            full = np.flatnonzero(cut)
            seen = cut[full[0] :] if self.keeps_places and len(full) else cut[full]
            start = self.max_length - len(seen) if self.pad == "left" else 0
            row[start : start + len(seen)] = seen
        return {"items": torch.from_numpy(items).to(self._device())}

    @contextmanager
    def asked(self) -> Iterator[None]:
        """In evaluation mode and without gradients, alone; the training flags are put back, after an error too."""
        with self.lock, torch.no_grad():
            training = [module for module in self.module.modules() if module.training]
            if training:
                self.module.eval()
            try:
                yield
            finally:
                for module in training:
                    module.training = True

    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "lock"}  # one a process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lock=threading.RLock())


class AttentiveModuleRecommender(ModuleRecommender):
    """A module whose attention can be seen."""

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the attention, (layers, heads, m + 1, m + 1) float64, of the newest m items and, behind, the target.

        m is `max_length` - 1 at most. What goes to padding is left out, and each row then adds up to 1 again.
        """
        cut = np.asarray(history, dtype=np.int64)
        places = np.append(cut[cut > 0][-(self.max_length - 1) :], target)
        items = self.inputs([places])["items"]
        with self.asked():
            if self.attend is not None:
                captured = list(self.attend(self.module, items))
            else:
                with captured_attention(self.module) as captured:
                    self.call(self.module, items)
        whole: np.ndarray = stacked(captured, length=self.max_length).detach().double().cpu().numpy()
        real = slice(-len(places), None) if self.pad == "left" else slice(0, len(places))
        found = whole[:, :, real, real]
        shares = found.sum(-1, keepdims=True)
        if not (shares > 0).all():
            raise OptionError("some place looks at padding only, so the module's attention cannot be used")
        rows: np.ndarray = found / shares
        return rows


def from_module(
    module: nn.Module,
    item_ids: Sequence[object],
    *,
    max_length: int,
    call: Call = plain_call,
    pad: Literal["left", "right"] = "left",
    mask_item: int | None = None,
    keeps_places: bool = False,
    attention: Call | None = None,
    titles: Mapping[Any, str] | None = None,
    check: bool = True,
) -> ModuleRecommender:
    """Return a recommender that asks a PyTorch module, where it lies and in evaluation mode.

    Item number i stands for the i-th of `item_ids`, from 1. `call(module, items)` gets (batch, max_length) int64 item
    numbers, oldest first, padded with 0 on the side `pad`, and returns the scores behind the newest item, (batch,
    items), or (batch, items + 1) with a first column for padding; by default it is `module(items)`.

    `mask_item` is the number of a mask; `keeps_places` says that the module looks at no 0 wherever it stands: without
    them there are no removals `mask` and `pad`. Attention is seen in the module's layers of `nn.MultiheadAttention`,
    or returned by `attention(module, items)`, one (1, heads, max_length, max_length) a layer, as encoders with
    `output_attentions` do.

    Unless `check` is False the module is asked a few times first: `OptionError` where its scores have another shape,
    hold NaN or infinity, or change with the batch or from call to call.
    """
    if not isinstance(module, nn.Module):
        raise OptionError(f"module must be a torch.nn.Module, not {type(module).__name__}; see from_callable")
    if pad not in ("left", "right"):
        raise OptionError(f"pad must be left or right, not {pad!r}")
    check_sizes(max_length=max_length)
    ids = tuple(map(str, checked_ids(item_ids)))
    if mask_item is not None and not is_whole(mask_item, len(ids) + 1):
        raise OptionError(f"mask_item must be a number above the {len(ids)} items, not {mask_item!r}")
    has_attention = max_length > 1 and (attention is not None or bool(attention_layers(module)))
    shape = AttentiveModuleRecommender if has_attention else ModuleRecommender
    named = {str(item): title for item, title in (titles or {}).items()}
    recommender = shape(module, Vocabulary(ids, named), max_length, call, pad, mask_item, keeps_places, attention)
    if check:
        check_scorer(recommender)
    return recommender

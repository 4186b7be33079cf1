"""A checkpoint of RecBole as a recommender: its scores are those of RecBole's own full ranking, to the last bit."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.adapters.door import BATCH
from recexplain.adapters.recbole_data import Ids, ids_for
from recexplain.adapters.recbole_file import RecBoleFile, read_recbole
from recexplain.adapters.recbole_models import Kind, build_module, kind_of
from recexplain.capture import captured_outputs, stacked
from recexplain.errors import OptionError, UnknownIdError
from recexplain.sequences import Dataset
from recexplain.vocabulary import Vocabulary

if TYPE_CHECKING:
    from recexplain.attribution.trace import Entry

#: Numbers that one forward pass may hold, where a model makes a table of every place and every item.
WIDE = 2**26


class RecBoleRecommender:
    """One of RecBole's sequential models behind the `Recommender` protocol.

    A history is given to it as RecBole does: its newest `max_length` items, oldest first, filled up with zeros behind.
    Leading zeros are no places there; nor are any zeros of a model that would take them for an item (`keeps_places`).
    After no item at all a model says what it says to an empty place.
    """

    def __init__(self, file: RecBoleFile, ids: Ids, module: nn.Module, device: torch.device) -> None:
        self.kind: Kind = kind_of(file)
        self.name, self.module, self.device, self.ids = file.model, module, device, replace(ids, data=None)
        self.vocabulary, self.n_items, self.max_length = ids.items, ids.items.n_items, file.window
        self.mask_item = self.n_items + 1 if self.kind.appends_mask else None
        self.n_ignored = int(self.kind.appends_mask)  # it drops the oldest item of what it is given, for the mask
        self.keeps_places = self.kind.keeps_places
        self.fills_before = file.model == "SHAN" and not file.config.get("transform")  # RecBole 1.0
        self.model_hash = file.model_hash
        self.data_hash = "" if ids.data is None else ids.data.data_hash
        self.user: int | None = None  # RecBole's number of whom it scores for

    @property
    def needs_user(self) -> bool:
        """Whether the model scores for a user, and none was chosen yet."""
        return self.kind.users is not None and self.user is None

    def for_user(self, user: object) -> Self:
        """Return the same recommender for a user, of a model that scores for one; by number where no ids are known."""
        if self.kind.users is None:
            raise OptionError(f"{self.name} scores a history alone, whoever's it is; leave for_user out")
        n_users = len(self.module.get_parameter(self.kind.users)) - 1
        chosen = copy(self)
        if self.ids.users is None:
            chosen.user = int(text) if (text := str(user)).isdecimal() else 0
        else:
            try:
                chosen.user = self.ids.users.number_of(user)
            except UnknownIdError:
                chosen.user = 0
        if not 1 <= chosen.user <= n_users:
            allowed = f"the numbers 1 to {n_users}" if self.ids.users is None else f"the {n_users} users of its data"
            raise UnknownIdError(f"user {str(user)!r} is not one of {allowed}")
        return chosen

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return the score of every item after each history, (batch, n_items + 1) float32; column 0 is -inf."""
        scores = np.full((len(histories), self.n_items + 1), -np.inf, dtype=np.float32)
        batch = max(1, min(BATCH, WIDE // (self.max_length * self.n_items))) if self.kind.is_wide else BATCH
        for start in range(0, len(histories), batch):
            part = histories[start : start + batch]
            inputs = self.inputs(part)
            with torch.inference_mode():
                found = self.module.full_sort_predict(inputs).view(len(part), -1)  # type: ignore[operator]
                scores[start : start + batch, 1:] = found[:, 1:].float().cpu().numpy()
        return scores

    def inputs(self, histories: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return what RecBole's loader hands on: (batch, max_length) items; (batch,) lengths, users, an item."""
        items = np.zeros((len(histories), self.max_length), dtype=np.int64)
        lengths = np.ones(len(histories), dtype=np.int64)  # of none at all: an empty place
        for row, history in enumerate(histories):
            seen = self._seen(history)
            start = self.max_length - len(seen) if self.fills_before else 0
            items[row, start : start + len(seen)] = seen
            lengths[row] = max(1, len(seen))
        found = {self.module.ITEM_SEQ: items, self.module.ITEM_SEQ_LEN: lengths}
        found[self.module.ITEM_ID] = np.ones(len(histories), dtype=np.int64)  # two models compute a loss on the way
        if self.kind.users is not None:
            if self.needs_user:
                raise OptionError(
                    f"{self.name} scores for a user, not for a history alone; choose one: recommender.for_user(id)"
                )
            found[self.module.USER_ID] = np.full(len(histories), self.user)
        return {str(name): torch.from_numpy(array).to(self.device) for name, array in found.items()}

    def _seen(self, history: np.ndarray) -> np.ndarray:
        """Return the places of a history that the model is given."""
        cut = np.asarray(history, dtype=np.int64)[-self.max_length :]
        full = np.flatnonzero(cut)
        if not self.keeps_places or not len(full):
            return cut[full]
        return cut[full[0] :] if self.kind.appends_mask else cut[full[0] : full[-1] + 1]


class AttentiveRecBoleRecommender(RecBoleRecommender):
    """One of RecBole's models that look from each place of a history at each other."""

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the attention, (layers, heads, m + 1, m + 1) float64, of the newest m items and, behind, the target.

        The target stands where the next item would, or the mask of a model that has one. FDSA has two encoders of the
        same depth: the heads of the items come first, then those of their features.
        """
        places = np.append(np.asarray(history, dtype=np.int64)[-(self.max_length - 1) :], target)
        items = torch.from_numpy(places[None]).to(self.device)
        with torch.inference_mode(), captured_outputs(_softmaxes(self.module)) as captured:
            if self.name in ("BERT4Rec", "CORE"):
                self.module(items)
            elif self.name == "S3Rec":
                self.module(items, bidirectional=False)
            else:
                self.module(items, torch.tensor([len(places)], device=self.device))
        if self.name == "FDSA":
            half = len(captured) // 2
            captured = [torch.cat(both, dim=1) for both in zip(captured[:half], captured[half:], strict=True)]
        found: np.ndarray = stacked(captured, length=len(places)).double().cpu().numpy()
        return found

    def entry(self, histories: Sequence[np.ndarray]) -> "Entry":
        """Return histories at the door of the model's encoder, for attributions; `OptionError` where they cannot be."""
        if not self.kind.has_entry:
            raise OptionError(
                f"{self.name} does not score the state of one place of one encoder of items, which attributions of "
                "attention and gradients need; occlusion works without"
            )
        from recexplain.attribution.recbole import recbole_entry  # noqa: PLC0415  a later stage: only for attributions

        inputs = self.inputs(histories)
        lengths = inputs[str(self.module.ITEM_SEQ_LEN)]
        older = torch.tensor([max(0, len(history) - self.max_length) for history in histories], device=self.device)
        column = torch.arange(self.max_length, device=self.device)[None] + self.n_ignored
        positions = torch.where(column < lengths[:, None], column + older[:, None], -1)
        return recbole_entry(self.module, inputs, readout=lengths - 1, positions=positions)


@dataclass(frozen=True, eq=False)
class RecBoleCheckpoint:
    """A checkpoint of RecBole whose ids are known; it answers what a `recexplain.checkpoint.Checkpoint` does."""

    file: RecBoleFile
    ids: Ids

    def recommender(self, device: str = "cpu") -> RecBoleRecommender:
        """Return the recommender; `CheckpointError` where the weights do not fit, `OptionError` for no such device."""
        try:
            found_device = torch.device(device)
            torch.zeros(0, device=found_device)
        except (RuntimeError, AssertionError) as error:  # torch's own words for an unknown or absent device
            raise OptionError(f"the device {device!r} cannot be used here: {str(error).splitlines()[0]}") from None
        module = build_module(self.file, found_device)
        has_attention = kind_of(self.file).attends and self.file.window > 1 and bool(_softmaxes(module))
        shape = AttentiveRecBoleRecommender if has_attention else RecBoleRecommender
        return shape(self.file, self.ids, module, found_device)

    def with_weights(self, weights: Mapping[str, Tensor]) -> Self:
        """Return the checkpoint with other weights."""
        return replace(self, file=replace(self.file, weights=weights))

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights."""
        return self.file.weights

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids and titles of the items."""
        return self.ids.items

    @property
    def data(self) -> Dataset | None:
        """The histories of the atomic files; None where only ids were given."""
        return self.ids.data

    @property
    def model(self) -> Mapping[str, Any]:
        """What the model is called, how many items there are and how many of a history it is handed."""
        return {"name": self.file.model, "n_items": self.ids.items.n_items, "max_length": self.file.window}

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Nothing: RecBole's own figures are of its own evaluation, which recommends what was taken already."""
        return {}

    @property
    def model_hash(self) -> str:
        """The `RecBoleFile.model_hash`."""
        return self.file.model_hash

    @property
    def data_hash(self) -> str:
        """The hash of the histories; empty where only ids were given."""
        return "" if self.ids.data is None else self.ids.data.data_hash


def recbole_checkpoint(
    path: Path, *, items: Sequence[object] | None = None, data: str | Path | None = None
) -> RecBoleCheckpoint:
    """Return a checkpoint of RecBole with its ids; see `recexplain.load`."""
    file = read_recbole(path)
    kind = kind_of(file)
    n_items = file.weights[kind.items].shape[0] - 1 - kind.has_mask
    n_users = file.weights[kind.users].shape[0] - 1 if kind.users else 0
    return RecBoleCheckpoint(file, ids_for(file, n_items, n_users, items=items, data=data))


def _softmaxes(module: nn.Module) -> list[nn.Module]:
    """Return where RecBole's attention layers make their weights: (batch, heads, query, key), before dropout."""
    from recbole.model.layers import MultiHeadAttention  # noqa: PLC0415  a fifth of a second

    return [layer.softmax for layer in module.modules() if isinstance(layer, MultiHeadAttention)]

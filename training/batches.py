"""Histories -> batches of masked windows of like length."""

import math
from collections.abc import Iterator, Sequence

import lightning as L  # noqa: N812  its usual name
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from recexplain.sequences import Split
from recexplain.training.recipe import Recipe


class MaskedWindows(IterableDataset[tuple[Tensor, Tensor]]):
    """One epoch of batches (items, is_masked), both (batch, length): the targets stand in `items`."""

    def __init__(
        self,
        histories: Sequence[np.ndarray],
        *,
        length: int,
        recipe: Recipe,
        epoch: int,
        rng: np.random.Generator,
    ) -> None:
        self.histories = [history for history in histories if len(history)]
        self.length, self.recipe, self.rng = length, recipe, rng
        self.last_share = recipe.last_share_at(epoch)
        wanted: list[int] = [
            max(1, round(recipe.windows * len(h) / length)) if len(h) > length else 1 for h in self.histories
        ]
        self.rows: np.ndarray = np.repeat(np.arange(len(self.histories)), wanted)

    def __len__(self) -> int:
        n_batches: int = math.ceil(len(self.rows) / self.recipe.batch_size)
        return n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        last_only = self.rng.random(len(self.rows)) < self.last_share
        windows = [self._window(self.histories[row], last) for row, last in zip(self.rows, last_only, strict=True)]
        jitter = self.rng.random(len(windows))  # equal lengths in another order every epoch
        order = np.lexsort((jitter, np.array([len(window) for window in windows])))
        size = self.recipe.batch_size
        for batch in self.rng.permutation(len(self)):
            chosen = order[batch * size : (batch + 1) * size]
            yield self._masked([windows[row] for row in chosen], last_only[chosen])

    def _window(self, history: np.ndarray, last_only: bool) -> np.ndarray:
        """Return a window: if only its last item is to be masked, one that ends anywhere; else one as full as can be.

        Of a history longer than the window the latter is the newest part, half the time, or one from anywhere.
        """
        if last_only:
            end = int(self.rng.integers(min(2, len(history)), len(history) + 1))
        elif len(history) <= self.length or self.rng.random() < 0.5:
            end = len(history)
        else:
            end = int(self.rng.integers(self.length, len(history) + 1))
        return history[max(0, end - self.length) : end]

    def _masked(self, windows: list[np.ndarray], last_only: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the windows as a batch, padded on the left; each has one masked item at the least."""
        longest = max(len(window) for window in windows)
        items = np.zeros((len(windows), longest), dtype=np.int64)
        for row, window in zip(items, windows, strict=True):
            row[longest - len(window) :] = window
        is_masked = (self.rng.random(items.shape) < self.recipe.mask_ratio) & (items != 0)
        last_only = last_only | ~is_masked.any(axis=1)
        is_masked[last_only] = False
        is_masked[last_only, -1] = True
        return torch.from_numpy(items), torch.from_numpy(is_masked)


class HistoryData(L.LightningDataModule):
    """Batches of a split: masked windows to train on, whole histories to rank."""

    def __init__(self, split: Split, recipe: Recipe, *, max_length: int, seed: int = 0) -> None:
        super().__init__()
        self.split, self.recipe, self.seed = split, recipe, seed
        self.length = max_length + 1  # a full window and the masked item behind it

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has: the same in every epoch."""
        return len(self._windows(0))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches of the trainer's current epoch; their randomness comes from seed and epoch alone."""
        assert self.trainer is not None
        return DataLoader(self._windows(self.trainer.current_epoch), batch_size=None)

    def val_dataloader(self) -> DataLoader[list[np.ndarray]]:
        """Return the histories to validate on, the validation item last; a fixed sample of `validation_users`."""
        valid = self.split.valid
        rows: Sequence[int] | np.ndarray = range(len(valid))
        wanted = self.recipe.validation_users
        if wanted is not None and wanted < len(valid):
            rows = np.sort(np.random.default_rng(0).choice(len(valid), wanted, replace=False))
        return DataLoader([valid[row] for row in rows], batch_size=512, collate_fn=list)  # type: ignore[arg-type]

    def _windows(self, epoch: int) -> MaskedWindows:
        rng = np.random.default_rng((self.seed, epoch))
        return MaskedWindows(self.split.train, length=self.length, recipe=self.recipe, epoch=epoch, rng=rng)

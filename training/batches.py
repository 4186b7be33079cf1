"""Histories -> batches of windows of like length: what the model is given, and what it is asked."""

import math
from collections.abc import Iterator, Sequence

import lightning as L  # noqa: N812  its usual name
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from recexplain.sequences import Split
from recexplain.training.recipe import Cloze, Recipe

Row = tuple[np.ndarray, np.ndarray]  # inputs and targets of one window, both (length,)


class Windows(IterableDataset[tuple[Tensor, Tensor]]):
    """One epoch of batches (inputs, targets), both (batch, length); a target is 0 where nothing is asked."""

    def __init__(
        self,
        histories: Sequence[np.ndarray],
        recipe: Recipe,
        *,
        length: int,  # of a window at the most: the places of the model
        mask_item: int | None,
        seed: tuple[int, int],  # of the run, and the epoch
        share: tuple[int, int] = (0, 1),  # this process, and of how many
    ) -> None:
        self.histories = [history for history in histories if len(history)]
        self.recipe, self.mask_item, self.seed, self.share = recipe, mask_item, seed, share
        self.length = length
        wanted: list[int] = [
            max(1, round(recipe.windows * len(h) / self.length)) if len(h) > self.length else 1 for h in self.histories
        ]
        self.rows: np.ndarray = np.repeat(np.arange(len(self.histories)), wanted)
        self.done = 0  # batches of this process that were given out; a loop begins behind them

    def __len__(self) -> int:
        n_batches: int = math.ceil(math.ceil(len(self.rows) / self.recipe.batch_size) / self.share[1])
        return n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(self.seed)
        windows = [self._window(self.histories[row], rng) for row in self.rows]
        jitter = rng.random(len(windows))  # equal lengths in another order every epoch
        order = np.lexsort((jitter, np.array([len(inputs) for inputs, _ in windows])))
        size = self.recipe.batch_size
        process, n_processes = self.share
        batches = np.resize(rng.permutation(math.ceil(len(order) / size)), len(self) * n_processes)  # as many for each
        for batch in batches[process::n_processes][self.done :]:
            chosen = [windows[row] for row in order[batch * size : (batch + 1) * size]]
            self.done += 1
            yield _padded([inputs for inputs, _ in chosen]), _padded([targets for _, targets in chosen])

    def _window(self, history: np.ndarray, rng: np.random.Generator) -> Row:
        if self.recipe.is_causal_at(self.seed[1]):
            end = _end(history, self.length, rng)
            before = np.append(0, history)[max(0, end - self.length) : end]  # before the first item stands padding
            return before, history[max(0, end - self.length) : end]
        assert isinstance(self.recipe, Cloze)
        assert self.mask_item is not None
        last_only = rng.random() < self.recipe.last_share_at(self.seed[1])
        if last_only:
            end = int(rng.integers(min(2, len(history)), len(history) + 1))  # the oldest item has nothing before it
        else:
            end = _end(history, self.length, rng)
        window = history[max(0, end - self.length) : end]
        is_masked = rng.random(len(window)) < (0 if last_only else self.recipe.mask_ratio)
        is_masked[-1] |= not is_masked.any()
        return np.where(is_masked, self.mask_item, window), np.where(is_masked, window, 0)


def _end(history: np.ndarray, length: int, rng: np.random.Generator) -> int:
    """Return where a window ends that is as full as can be: half the time with the newest item, else anywhere."""
    if len(history) > length and rng.random() < 0.5:
        return int(rng.integers(length, len(history) + 1))
    return len(history)


def _padded(rows: list[np.ndarray]) -> Tensor:
    """(batch, longest) int64, padded with 0 on the left."""
    longest = max(len(row) for row in rows)
    padded = np.zeros((len(rows), longest), dtype=np.int64)
    for into, row in zip(padded, rows, strict=True):
        into[longest - len(row) :] = row
    return torch.from_numpy(padded)


class WindowLoader(DataLoader[tuple[Tensor, Tensor]]):
    """An epoch's batches as Lightning wants them: it knows how many were given out, so that a run can stop anywhere."""

    dataset: Windows

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows, batch_size=None)

    def state_dict(self) -> dict[str, int]:
        """Return how far the epoch is; at its end the next one begins."""
        return {"done": self.dataset.done % len(self.dataset)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches that were given out."""
        self.dataset.done = state["done"]


class HistoryData(L.LightningDataModule):
    """Batches of a split: windows to train on, whole histories to rank."""

    def __init__(self, split: Split, recipe: Recipe, *, length: int, mask_item: int | None, seed: int = 0) -> None:
        super().__init__()
        self.split, self.recipe, self.seed = split, recipe, seed
        self.length, self.mask_item = length, mask_item

    def steps_per_epoch(self, n_processes: int = 1) -> int:
        """Return how many batches an epoch has for each process: the same in every epoch."""
        return len(self.epoch(0, (0, n_processes)))

    def train_dataloader(self) -> WindowLoader:
        """Return the batches of the trainer's current epoch; their randomness comes from seed and epoch alone."""
        assert self.trainer is not None
        share = self.trainer.global_rank, self.trainer.world_size
        return WindowLoader(self.epoch(self.trainer.current_epoch, share))

    def val_dataloader(self) -> DataLoader[list[np.ndarray]]:
        """Return the histories to validate on, the validation item last; a fixed sample of `validation_users`."""
        valid = self.split.valid
        rows: Sequence[int] | np.ndarray = range(len(valid))
        wanted = self.recipe.validation_users
        if wanted is not None and wanted < len(valid):
            rows = np.sort(np.random.default_rng(0).choice(len(valid), wanted, replace=False))
        return DataLoader([valid[row] for row in rows], batch_size=512, collate_fn=list)  # type: ignore[arg-type]

    def epoch(self, epoch: int, share: tuple[int, int] = (0, 1)) -> Windows:
        """Return the batches of an epoch, from 0, for one of several processes."""
        seed = self.seed, epoch
        return Windows(
            self.split.train, self.recipe, length=self.length, mask_item=self.mask_item, seed=seed, share=share
        )

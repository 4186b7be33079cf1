"""One progress bar over a whole training run: loss, validation figures, time left."""

import logging
import warnings
from typing import Any

import lightning as L  # noqa: N812  its usual name
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recexplain.training.record import RunRecord


class RunProgress(Callback):
    """Shows how far a run of so many epochs is; early stopping may end it sooner."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._progress: Progress | None = None  # drawn by the process that trains

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Be quiet in a process that was spawned for the training, too."""
        quiet()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Draw the bar, at the step where a resumed run goes on."""
        assert trainer.max_epochs is not None
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left at most"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            disable=not trainer.is_global_zero,
        )
        self._progress.start()
        self._task = self._progress.add_task(
            "training",
            total=trainer.max_epochs * int(trainer.num_training_batches),
            completed=trainer.global_step,
            epoch=f"{trainer.current_epoch}/{trainer.max_epochs}",
            figures="",
        )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Move on by a step."""
        assert self._progress is not None
        self._progress.update(self._task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Show the figures of the epoch."""
        shown = {"loss": "loss {:.3f}", "val_ndcg10": "validation NDCG@10 {:.4f}", "val_hr10": "HR@10 {:.4f}"}
        known = {name: value for row in self._record.rows for name, value in row.items()}  # the newest of each
        figures = [text.format(known[name]) for name, text in shown.items() if name in known]
        assert self._progress is not None
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._progress.update(self._task, epoch=epoch, figures=", ".join(figures))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Leave the bar as it is."""
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Leave the bar as it is, and give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def quiet() -> None:
    """Keep Lightning from telling what is so on purpose: no worker processes, batches built in this one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*`IterableDataset` has `__len__` defined.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Experiment logs directory .* exists.*",
        ".*isinstance.treespec, LeafSpec.*",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message=message)

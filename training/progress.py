"""One progress bar over a whole training run: loss, validation figures, time left."""

from typing import Any

import lightning as L  # noqa: N812  its usual name
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class RunProgress(Callback):
    """Shows how far a run of so many epochs is; early stopping may end it sooner."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left at most"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Draw the bar, at the step where a resumed run goes on."""
        assert trainer.max_epochs is not None
        self._per_epoch = int(trainer.num_training_batches)
        self._progress.start()
        self._task = self._progress.add_task(
            "training",
            total=trainer.max_epochs * self._per_epoch,
            completed=trainer.current_epoch * self._per_epoch,
            epoch=f"{trainer.current_epoch}/{trainer.max_epochs}",
            figures="",
        )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Move on by a step."""
        self._progress.update(self._task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Show the figures of the epoch."""
        shown = {"loss": "loss {:.3f}", "val_ndcg10": "validation NDCG@10 {:.4f}", "val_hr10": "HR@10 {:.4f}"}
        figures = [
            text.format(trainer.callback_metrics[name])
            for name, text in shown.items()
            if name in trainer.callback_metrics
        ]
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._progress.update(self._task, epoch=epoch, figures=", ".join(figures))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Leave the bar as it is."""
        self._progress.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Leave the bar as it is, and give the terminal back."""
        self._progress.stop()

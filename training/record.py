"""What a run leaves behind of its course: figures by epoch, the cost so far, and a stop that loses nothing."""

import csv
import io
import resource
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L  # noqa: N812  its usual name
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor

from recexplain.evaluation.files import write_bytes, write_text
from recexplain.training.curve import curve_png
from recexplain.training.recipe import Recipe

COLUMNS = ("epoch", "steps", "loss", "val_ndcg10", "val_hr10", "cpu_seconds")


class RunRecord(Callback):
    """Keeps one row of figures an epoch, in `metrics.csv` and `curve.png`; a resumed run goes on where it ends.

    `seconds` and `cpu_seconds` count every part of a run that was stopped and resumed, and all of its processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[dict[str, float]] = []
        self._seconds = self._cpu_seconds = 0.0  # of earlier parts of the run
        self._loss: Tensor | float = 0.0  # summed over the batches of this epoch
        self._batches = 0
        self._validation: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the record as plain values, for the checkpoint."""
        seconds, cpu_seconds = self._cost()
        return {
            "rows": [dict(row) for row in self.rows],
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "loss": float(self._loss),
            "batches": self._batches,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the record of a checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]
        self._seconds, self._cpu_seconds = state_dict["seconds"], state_dict["cpu_seconds"]
        self._loss, self._batches = state_dict["loss"], state_dict["batches"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Start the clocks."""
        self._began, self._cpu_began, self._processes = time.perf_counter(), _cpu_seconds(), trainer.world_size

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Add the loss of a batch."""
        self._loss = self._loss + outputs["loss"].detach()
        self._batches += 1

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Take the figures of the validation users."""
        self._validation = {name: float(trainer.callback_metrics[name]) for name in ("val_ndcg10", "val_hr10")}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Add the row of an epoch; in a run of several processes the loss is their mean."""
        loss = trainer.strategy.reduce(torch.as_tensor(self._loss / max(1, self._batches)), reduce_op="mean")
        row = {"epoch": trainer.current_epoch + 1, "steps": trainer.global_step, "loss": float(loss)}
        self.rows.append({**row, **self._validation, "cpu_seconds": round(self._cost()[1], 1)})
        self._loss, self._batches, self._validation = 0.0, 0, {}
        if trainer.is_global_zero:
            write_text(self._folder / "metrics.csv", _as_csv(self.rows))
            if "val_ndcg10" in self.rows[-1]:
                write_bytes(self._folder / "curve.png", curve_png(self.rows))

    def _cost(self) -> tuple[float, float]:
        """Wall and CPU seconds of the whole run so far; processes of one run are taken to cost the same."""
        seconds = time.perf_counter() - self._began
        return self._seconds + seconds, self._cpu_seconds + self._processes * (_cpu_seconds() - self._cpu_began)


class Patience(EarlyStopping):
    """Stops a run whose validation NDCG@10 gets no better; causal epochs of a model with a mask do not count.

    These have not trained the mask that validation puts behind the newest item.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__("val_ndcg10", mode="max", patience=recipe.patience, check_on_train_epoch_end=False)
        self._recipe = recipe

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count a validation."""
        if not (self._recipe.masked and self._recipe.is_causal_at(trainer.current_epoch)):
            super().on_validation_end(trainer, pl_module)


class Interruption(Callback):
    """On Ctrl-C finishes the step, saves the run and stops; on a second one stops at once."""

    def __init__(self, path: Path) -> None:
        self._path, self._is_asked = path, False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Take the signal over."""
        self._before = signal.signal(signal.SIGINT, self._ask)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save and stop, if that was asked; an epoch's last step is followed by validation, and by the next epoch."""
        if self._is_asked and not trainer.is_last_batch:
            trainer.save_checkpoint(self._path)
            raise KeyboardInterrupt

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Give the signal back."""
        if hasattr(self, "_before"):
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _as_csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

"""Our training against RecBole's own BERT4Rec, in one run on one thread: CPU-seconds to the same quality.

    python benchmarks/training.py                       ML-100K: RecBole trains for its budget, then ours to its best
    python benchmarks/training.py ml-1m=<folder>        ML-1M: 100 steps of each, and what one pass over the data costs;
                                                        RecBole's are counted up from those of 300 CPU-seconds

Both see the same histories (ours, written as an atomic file whose times are places in the history), have two layers,
two heads and the same width and window, and are scored by our evaluator: validation items of everyone against the
whole catalogue, seen items filtered. Scoring is not counted. RecBole keeps its own defaults (batches of 2,048 rows,
rate 0.001, mask ratio 0.2, dropout 0.2); its every prefix of a history is a row of its own.
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from rich.console import Console
from rich.table import Table

from recexplain.evaluation.ranking import held_out_ranks, ndcg_at
from recexplain.interactions import MovieLens1M, MovieLens100K
from recexplain.models.network import NetworkRecommender
from recexplain.sequences import Dataset, Split, leave_one_out, load_dataset
from recexplain.training.batches import HistoryData
from recexplain.training.module import SequenceModule
from recexplain.training.recipe import Cloze

DIM, WINDOW = 64, 50
BUDGET = 1200.0  # CPU-seconds for RecBole,
STEP_BUDGET = 300.0  # and for its first steps on ML-1M, which are all alike
RECBOLE = {
    "MAX_ITEM_LIST_LENGTH": WINDOW,
    "hidden_size": DIM,
    "inner_size": 4 * DIM,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "train_neg_sample_args": None,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "use_gpu": False,
    "show_progress": False,
    "seed": 0,
    "reproducibility": True,
    "state": "ERROR",
}


class Clock:
    """CPU-seconds of this process while it runs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._began


class RecBoleScores:
    """A RecBole model as a recommender: items are our numbers."""

    mask_item = vocabulary = None

    def __init__(self, model: Any, tokens: np.ndarray) -> None:
        self.model, self.tokens = model, tokens  # tokens[our number] is RecBole's
        self.n_items, self.max_length = len(tokens) - 1, WINDOW

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """(batch, n_items + 1), column 0 is -inf."""
        cut = [history[-WINDOW:] for history in histories]
        items = np.zeros((len(cut), WINDOW), dtype=np.int64)
        for row, history in zip(items, cut, strict=True):
            row[: len(history)] = self.tokens[history]
        asked = {"item_id_list": torch.from_numpy(items), "item_length": torch.tensor([len(h) for h in cut])}
        self.model.eval()
        with torch.inference_mode():
            found = self.model.full_sort_predict(asked).view(len(cut), -1).numpy()
        scores: np.ndarray = found[:, self.tokens].astype(np.float32)
        scores[:, 0] = -np.inf
        return scores


def recbole_trainer(dataset: Dataset, folder: Path) -> tuple[Any, Any, RecBoleScores]:
    """Return RecBole's own trainer, its batches, and its model as a recommender."""
    for name in ("float_", "complex_", "unicode_"):  # which RecBole 1.2.1 expects of NumPy 1
        setattr(np, name, {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}[name])
    sys.argv = sys.argv[:1]  # RecBole takes options from it
    from recbole.config import Config  # noqa: PLC0415  after the names above
    from recbole.data import create_dataset, data_preparation  # noqa: PLC0415  after the names above
    from recbole.model.sequential_recommender.bert4rec import BERT4Rec  # noqa: PLC0415  after the names above
    from recbole.trainer import Trainer  # noqa: PLC0415  after the names above

    histories = dataset.histories
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(len(histories)):
        lines += [f"{user}\t{item}\t{place}" for place, item in enumerate(histories[user])]
    (folder / "same").mkdir()
    (folder / "same" / "same.inter").write_text("\n".join(lines) + "\n")
    os.chdir(folder)  # where it writes its logs
    options = {**RECBOLE, "data_path": str(folder), "checkpoint_dir": str(folder / "saved")}
    config = Config(model="BERT4Rec", dataset="same", config_dict=options)
    data = create_dataset(config)
    batches, *_ = data_preparation(config, data)
    model = BERT4Rec(config, batches.dataset)
    numbers = [str(number) for number in range(1, dataset.vocabulary.n_items + 1)]
    tokens = np.array([0, *data.token2id("item_id", numbers)])
    return Trainer(config, model), batches, RecBoleScores(model, tokens)


def our_steps(dataset: Dataset, split: Split, recipe: Cloze) -> Iterator[SequenceModule]:
    """Train as `recexplain train` does, on the same batches at the same rate; yield after each step."""
    model = {"name": "BERT4Rec", "n_items": dataset.vocabulary.n_items, "max_length": WINDOW, "dim": DIM}
    data = HistoryData(split, recipe, length=WINDOW + 1, mask_item=dataset.vocabulary.n_items + 1)
    module = SequenceModule(model, recipe, total_steps=recipe.epochs * data.steps_per_epoch())
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    step = 0
    for epoch in range(recipe.epochs):
        for batch in data.epoch(epoch):
            module.train()
            torch.manual_seed(step)
            loss = module.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            step += 1
            yield module


def to_the_same_quality(console: Console) -> None:
    """ML-100K: how much CPU ours needs to RecBole's best."""
    dataset = load_dataset(MovieLens100K())
    split = leave_one_out(dataset.histories)
    best, reached, clock, epoch = 0.0, 0.0, Clock(), 0
    with tempfile.TemporaryDirectory() as folder, console.status("RecBole") as status:
        trainer, batches, recommender = recbole_trainer(dataset, Path(folder))
        while clock.seconds < BUDGET:
            with clock:
                trainer.model.train()
                trainer._train_epoch(batches, epoch, show_progress=False)
            epoch += 1
            if clock.seconds > BUDGET:
                break
            quality = ndcg_at(held_out_ranks(recommender, split.valid), 10)
            if quality > best:
                best, reached = quality, clock.seconds
            status.update(f"RecBole: epoch {epoch}, {clock.seconds:.0f} CPU-s, NDCG@10 {quality:.4f}, best {best:.4f}")
    console.print(f"RecBole: best validation NDCG@10 {best:.4f} at {reached:.0f} of {clock.seconds:.0f} CPU-s")
    recipe, ours = Cloze(), Clock()
    steps = our_steps(dataset, split, recipe)
    per_epoch = HistoryData(split, recipe, length=WINDOW + 1, mask_item=1).steps_per_epoch()
    for epoch in range(1, recipe.epochs + 1):  # noqa: B007  told below
        with ours:
            module = [next(steps) for _ in range(per_epoch)][-1]
        quality = ndcg_at(held_out_ranks(NetworkRecommender(module.model), split.valid), 10)
        if quality >= best:
            break
    verdict = "reached it" if quality >= best else f"did not reach it ({quality:.4f})"
    console.print(f"ours: {verdict} at epoch {epoch}, {ours.seconds:.0f} CPU-s; ratio {reached / ours.seconds:.1f}")


def step_costs(console: Console, path: str) -> None:
    """ML-1M: CPU-seconds for 100 steps, and for one pass over the data, in proportion to the steps that were taken."""
    dataset = load_dataset(MovieLens1M(path))
    split = leave_one_out(dataset.histories)
    table = Table(title=f"ML-1M, window {WINDOW}, width {DIM}, one thread")
    for column in ("", "rows a step", "steps taken", "CPU-s for 100 steps", "steps a pass", "CPU-s a pass"):
        table.add_column(column, justify="left" if not column else "right")

    def add(name: str, size: int, n_taken: int, seconds: float, n_steps: int) -> None:
        cost = seconds / n_taken
        table.add_row(name, f"{size:,}", str(n_taken), f"{100 * cost:,.1f}", f"{n_steps:,}", f"{n_steps * cost:,.0f}")

    recipe, clock = Cloze(), Clock()
    steps = our_steps(dataset, split, recipe)
    next(steps)  # warm
    with clock, console.status("ours"):
        for _ in range(100):
            next(steps)
    n_steps = HistoryData(split, recipe, length=WINDOW + 1, mask_item=1).steps_per_epoch()
    add("ours", recipe.batch_size, 100, clock.seconds, n_steps)
    with tempfile.TemporaryDirectory() as folder, console.status("RecBole") as status:
        trainer, batches, _ = recbole_trainer(dataset, Path(folder))
        clock, done, drawn = Clock(), 0, iter(batches)
        while done < 100 and clock.seconds < STEP_BUDGET:
            with clock:  # drawing a batch masks it
                trainer.optimizer.zero_grad()
                trainer.model.calculate_loss(next(drawn)).backward()
                trainer.optimizer.step()
            done += 1
            status.update(f"RecBole: step {done} of 100, {clock.seconds:.0f} CPU-s")
        add("RecBole", batches.step, done, clock.seconds, math.ceil(len(batches.dataset) / batches.step))
    console.print(table)


def main() -> None:
    """Run the part that the arguments ask for."""
    console = Console()
    torch.set_num_threads(1)
    asked = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    if not asked.keys() <= {"ml-1m"}:
        console.print(__doc__)
        return
    with isolate_rng():
        if "ml-1m" in asked:
            step_costs(console, asked["ml-1m"])
        else:
            to_the_same_quality(console)


if __name__ == "__main__":
    main()

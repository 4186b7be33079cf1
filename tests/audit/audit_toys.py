"""People, tables of them, and recommenders that fail on purpose; processes of an audit can import it."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from toys import Voting, Wrapper, random_votes

from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.counterfactual import Options
from recexplain.evaluation.audit_kernel import Job
from recexplain.evaluation.audit_staging import Census
from recexplain.evaluation.config import record
from recexplain.explainers import Recency
from recexplain.interactions import Interactions
from recexplain.recommender import Recommender
from recexplain.sequences import load_dataset
from recexplain.vocabulary import Vocabulary

N_ITEMS, CURSED = 30, 7  # the item at which broken recommenders break

OPTIONS = Options("leaves", 3, max_evaluations=200)


def voting() -> Recommender:
    """Thirty items with whole votes."""
    return Voting(random_votes(np.random.default_rng(3), N_ITEMS), 12, decay=0.5)


class _Broken(Wrapper):
    """Does something else, where the cursed item is the oldest of a history, until that was done `times` times."""

    def __init__(self, how: str, marks: Path, times: int) -> None:
        super().__init__(voting())
        self.how, self.marks, self.times = how, marks, times

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        if any(len(history) and history[0] == CURSED for history in histories) and self._is_due():
            if self.how == "raise":
                raise ZeroDivisionError("division by 'zero'")
            os.kill(os.getpid() if self.how == "kill" else _parent(os.getppid()), signal.SIGKILL)
        return super().scores(histories)

    def _is_due(self) -> bool:
        for number in range(self.times):
            try:
                (self.marks / f"{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


def _parent(pid: int) -> int:
    """The process that began another (Linux)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@dataclass(frozen=True)
class Broken:
    """How a process comes by a recommender that breaks."""

    how: str  # raise, kill, or kill executor: the process that began the one that began this
    marks: str  # a folder in which each time leaves a file
    times: int

    def __call__(self) -> Any:
        return _Broken(self.how, Path(self.marks), self.times)


@dataclass(eq=False)
class Added:
    """Counts of people, and which processes have added them up."""

    n_people: int
    by: list[int] = field(default_factory=list)

    def merge(self, other: "Added") -> None:
        self.n_people += other.n_people
        self.by += [*other.by, os.getpid()]


def added(buckets: Sequence[Census]) -> Added:
    return Added(sum(one.n_people for one in buckets))


def job(recommender: Any = voting) -> Job:
    return Job(recommender, Recency(), OPTIONS)


def people(n: int = 40) -> dict[str, list[str]]:
    """User -> history; u3 and u30 have the cursed item first."""
    draw = np.random.default_rng(0)
    found = {f"u{user}": [str(item + 1) for item in draw.permutation(N_ITEMS)[: 4 + user % 9]] for user in range(n)}
    for user, history in found.items():
        others = [item for item in history if item != str(CURSED)]
        found[user] = [str(CURSED), *others] if user in ("u3", "u30") else others
    return found


def write_csv(path: Path, histories: dict[str, list[str]], *, step: int = 1) -> None:
    """A file of rows, the newest first."""
    rows = [f"{user},{item},{time}" for user, items in histories.items() for time, item in enumerate(items)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("user_id,item_id,timestamp\n" + "\n".join(rows[::-step]) + "\n", encoding="utf-8")


def untrained(folder: Path, histories: dict[str, list[str]]) -> Path:
    """A checkpoint whose items matter, of data beside it: `ratings.csv`."""
    write_csv(folder / "ratings.csv", histories)
    source = Interactions(str(folder / "ratings.csv"), min_item_ratings=1)
    data = load_dataset(source)
    model = {"name": "BERT4Rec", "n_items": data.vocabulary.n_items, "max_length": 8, "dim": 8, "layers": 1, "heads": 2}
    torch.manual_seed(1)
    weights = {name: w + 2 * torch.randn(w.shape) for name, w in build_model(model).state_dict().items()}
    titles = {item: f"Film <{item}>" for item in data.vocabulary.ids}
    categories = {item: ("odd" if int(item) % 2 else "even",) for item in data.vocabulary.ids}
    vocabulary = Vocabulary(data.vocabulary.ids, titles, categories)
    path = folder / "own.ckpt"
    save_checkpoint(Checkpoint(model, weights, vocabulary, record(source), data.data_hash), path)
    return path


def rows_of(out: Path | str) -> list[dict[str, Any]]:
    """All rows of an audit, sorted by user."""
    files = sorted(Path(out, "explanations").glob("bucket=*/*.parquet"))
    rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    return sorted(rows, key=lambda row: str(row["user"]))


def report_of(out: Path | str) -> dict[str, Any]:
    """The report of an audit, without what may differ between runs."""
    report: dict[str, Any] = json.loads(Path(out, "report.json").read_text(encoding="utf-8"))
    del report["run"]
    return report

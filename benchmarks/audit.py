"""What an audit costs by engine, cores and number of people; as Markdown tables.

    python benchmarks/audit.py what=engine people=10,1000,10000,100000 engine=local workers=2
    python benchmarks/audit.py what=engine people=10,1000,10000,100000 engine=spark
    python benchmarks/audit.py what=model checkpoint=outputs/ml1m-50/checkpoint.ckpt people=10,1000,3000 workers=1,2

`what=engine`: invented people with histories as long as MovieLens-1M's, and a recommender that only counts, so that
the engine is what is timed. `what=model`: the people of the checkpoint's data, under new ids where more are asked for.
Each audit is a process of its own with a fresh folder. Seconds are the processor's of all its processes, and those of
the clock beside them; memory is the most that all its processes held at one time (resident; pages that they share are
counted in each). The counting recommender explains once more without any engine, at 10,000 people: the rest is the
engine's.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.checkpoint import read_checkpoint
from recexplain.counterfactual import Options
from recexplain.evaluation.audit_count import Counting, count_rows, shifts_of
from recexplain.evaluation.audit_engines import Engine, LocalEngine
from recexplain.evaluation.audit_histories import HistoryTable, layout_of
from recexplain.evaluation.audit_kernel import FromCheckpoint, Job, explained_batches
from recexplain.evaluation.audit_parts import Folders
from recexplain.evaluation.audit_run import Audit, explained
from recexplain.evaluation.audit_spark import SparkEngine
from recexplain.evaluation.audit_staging import Selection, people_in
from recexplain.evaluation.config import recorded_source
from recexplain.explainers import Causal, Recency
from recexplain.models.counting import Popularity
from recexplain.recommender import Recommender
from recexplain.sequences import load_dataset
from recexplain.vocabulary import Vocabulary

N_ITEMS = 1_000  # of invented histories
MEDIAN, SPREAD, SHORTEST, LONGEST = 96, 1.15, 20, 2_314  # MovieLens-1M: quartiles 44, 96 and 208, from 20 to 2,314
PEOPLE_A_PART = 5_000

ALONE = 10_000  # people who are explained once more without an engine

People = tuple[np.ndarray, np.ndarray, np.ndarray]  # users, lengths of their histories, all items

DEFAULTS = {
    "what": "engine",
    "engine": "local",
    "workers": "2",
    "people": "10,1000,10000,100000",
    "buckets": "64",
    "form": "rows",  # or lists: a row a person
    "change": "top1",
    "checkpoint": "",
    "master": "local[2,4]",
    "memory": "1g",
}


@dataclass(frozen=True)
class Cost:
    """What one audit took."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    people: int
    items: int
    evidence_bytes: int
    staged_bytes: int


def counting() -> Recommender:
    """Return a recommender that counts, and costs next to nothing."""
    vocabulary = Vocabulary(tuple(str(item) for item in range(1, N_ITEMS + 1)), {}, {})
    counts = [np.repeat(np.arange(1, N_ITEMS + 1), np.arange(N_ITEMS, 0, -1))]
    return Popularity(counts, N_ITEMS, vocabulary)


def invented(n_people: int) -> Iterator[People]:
    """Yield people, some at a time; lengths are drawn as MovieLens-1M's are, items by 1 / rank."""
    share = 1 / np.arange(1, N_ITEMS + 1)
    for start in range(0, n_people, PEOPLE_A_PART):
        rng, n = np.random.default_rng([start, n_people]), min(PEOPLE_A_PART, n_people - start)
        drawn = np.exp(np.log(MEDIAN) + SPREAD * rng.standard_normal(n))
        lengths = np.clip(drawn, SHORTEST, LONGEST).astype(int)
        items = rng.choice(N_ITEMS, lengths.sum(), p=share / share.sum()) + 1
        yield np.arange(start, start + n), lengths, items


def of_data(checkpoint: str, n_people: int) -> Iterator[People]:
    """Yield the people of a checkpoint's data, again under new ids where there are too few."""
    dataset = load_dataset(recorded_source(read_checkpoint(checkpoint).source))
    ids, histories = np.array(dataset.vocabulary.ids), dataset.histories
    for start in range(0, n_people, PEOPLE_A_PART):
        users = np.arange(start, min(start + PEOPLE_A_PART, n_people))
        rows = [histories[int(user) % len(histories)] for user in users]
        yield users, np.array([len(row) for row in rows]), ids[np.concatenate(rows) - 1]


def write_table(people: Iterator[People], folder: Path, form: str) -> None:
    """Write a folder of parts: a row an interaction, or a person."""
    folder.mkdir()
    for number, (users, lengths, items) in enumerate(people):
        if form == "lists":
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            table = pa.table({"user_id": users, "item_id": pa.ListArray.from_arrays(offsets, pa.array(items))})
        else:
            times = np.concatenate([np.arange(length) for length in lengths])
            table = pa.table({"user_id": np.repeat(users, lengths), "item_id": items, "timestamp": times})
        pq.write_table(table, folder / f"part-{number:05}.parquet")


def run_audit(given: Mapping[str, str], folder: Path) -> dict[str, int]:
    """Audit the table in a folder; the work of one measured process."""
    job = _job(given)
    engine: Engine = LocalEngine(int(given["workers"]))
    if given["engine"] == "spark":
        engine = SparkEngine(given["master"], given["memory"])
    out = folder / "out"
    out.mkdir()
    source = layout_of(HistoryTable(str(folder / "table")))
    audit = Audit(job, engine, source, Selection(), Folders(str(out)), int(given["buckets"]), None)
    counted, n_explained = explained(audit)
    recommender = job.recommender()
    assert recommender.vocabulary is not None
    tally = count_rows(audit, counted, Counting(audit.folders, None, recommender.vocabulary, n_cases=5, n_drawn=2_000))
    shifts_of(audit, counted, tally.taken)
    assert tally.everyone.statuses.total() == counted.n_people == n_explained
    return {
        "people": counted.n_people,
        "items": sum(one.n_items for one in counted.buckets),
        "evidence_bytes": _size(audit.folders.explanations),
        "staged_bytes": _size(audit.folders.staged),
    }


def run_alone(given: Mapping[str, str], folder: Path) -> dict[str, int]:
    """Explain the staged people of an audit in this process, without any engine."""
    job, began = _job(given), time.process_time()
    people = [batch for bucket in range(int(given["buckets"])) for batch in _people(folder, bucket)]
    job.recommender()
    loaded, n = time.process_time() - began, 0
    for batch in explained_batches(job, people):
        n += batch.num_rows
    return {"people": n, "cpu_ms": round(1e3 * (time.process_time() - began - loaded))}


def _people(folder: Path, bucket: int) -> list[pa.RecordBatch]:
    return [batch for batch, _ in people_in(folder / "out" / "staged", bucket, Selection())]


def _job(given: Mapping[str, str]) -> Job:
    if given["what"] == "engine":
        return Job(counting, Recency(), Options("top1", 10, max_evaluations=50))
    checkpoint = read_checkpoint(given["checkpoint"])
    path = str(Path(given["checkpoint"]).resolve())
    return Job(
        FromCheckpoint(path, "cpu", checkpoint.model_hash),
        Causal(),
        Options(given["change"], 10, max_evaluations=2_000),
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(given: Mapping[str, str], folder: Path, task: str) -> tuple[dict[str, int], float, float, float]:
    """Run a task in a process of its own; return what it says, and its processor's and clock's seconds and peak MiB."""
    words = [f"{name}={value}" for name, value in given.items()]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, __file__, task, str(folder), *words], stdout=subprocess.PIPE, text=True
    ) as process:
        watch = _Watch(process.pid)
        said, _ = process.communicate()
        wall = time.perf_counter() - began
        watch.stop()
    if process.returncode:
        raise SystemExit(f"{task} of {given} ended with status {process.returncode}")
    return json.loads(said.splitlines()[-1]), watch.cpu, wall, watch.peak / 2**20


class _Watch:
    """Looks five times a second at what a process and all that it started use."""

    def __init__(self, root: int) -> None:
        self.root, self.peak, self.spent, self.is_over = root, 0, dict[tuple[int, int], float](), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    @property
    def cpu(self) -> float:
        """Seconds of all processes so far."""
        return sum(self.spent.values())

    def stop(self) -> None:
        """Look no more."""
        self.is_over.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.is_over.wait(0.2):
            held = 0
            for pid, started, cpu, resident in _family(self.root):
                self.spent[pid, started] = cpu
                held += resident
            self.peak = max(self.peak, held)


def _family(root: int) -> list[tuple[int, int, float, int]]:
    """Return pid, start, processor's seconds and resident bytes of a process and its descendants (Linux)."""
    parents, found = dict[int, int](), dict[int, tuple[int, int, float, int]]()
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        found[pid] = (pid, int(fields[19]), (int(fields[11]) + int(fields[12])) / tick, int(fields[21]) * page)
    family, added = {root}, True
    while added:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family, added = family | children, bool(children)
    return [found[pid] for pid in family if pid in found]


def main(given: Mapping[str, str]) -> None:
    """Print the table of one engine, a row for each number of people and of workers."""
    print(f"{given['what']}, engine={given['engine']}, {given['form']}, buckets={given['buckets']}\n")
    print("| people | workers | items | cpu s | clock s | people a minute | peak MiB | bytes a row | staged | ", end="")
    print("explaining alone, cpu ms a person |\n|" + "---:|" * 10)
    for workers in given["workers"].split(","):
        costs = [_row({**given, "workers": workers}, int(n)) for n in given["people"].split(",")]
        if len(costs) > 2:
            _print_slope(costs)


def _print_slope(costs: Sequence[Cost]) -> None:
    """Print how cost goes with people; the first audit, of next to nobody, is taken for what starting costs."""
    start, costs = costs[0].cpu_s, costs[1:]
    people, seconds = np.log([one.people for one in costs]), [one.cpu_s for one in costs]
    slope, raw = (np.polyfit(people, np.log(np.array(seconds) - off), 1)[0] for off in (start, 0))
    print(f"\nslope of log cpu against log people: {slope:.3f} without the start of {start:.1f} s, {raw:.3f} with it;")
    each = 1e3 * (costs[-1].cpu_s - costs[-2].cpu_s) / (costs[-1].people - costs[-2].people)
    print(f"a person more costs {each:.2f} cpu ms, explaining and all;")
    growth = costs[-1].peak_mib / costs[-2].peak_mib
    print(f"peak memory of {costs[-1].people:,} people against {costs[-2].people:,}: {growth:.3f} times\n", flush=True)


def _row(given: Mapping[str, str], n_people: int) -> Cost:
    """Run one audit and print its row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = invented(n_people) if given["what"] == "engine" else of_data(given["checkpoint"], n_people)
        write_table(source, folder / "table", given["form"])
        said, cpu, wall, peak = measured(given, folder, "run_audit")
        alone = ""
        if n_people == ALONE and given["what"] == "engine":
            spent, *_ = measured(given, folder, "run_alone")
            alone = f"{spent['cpu_ms'] / spent['people']:.2f}"
    cost = Cost(cpu, wall, peak, **said)
    figures: Sequence[str] = (
        f"{cost.people:,}",
        "" if given["engine"] == "spark" else given["workers"],
        f"{cost.items:,}",
        f"{cpu:.1f}",
        f"{wall:.1f}",
        f"{60 * cost.people / wall:,.0f}",
        f"{peak:,.0f}",
        f"{cost.evidence_bytes / cost.people:,.0f}",
        f"{cost.staged_bytes / cost.people:,.0f}",
        alone,
    )
    print("| " + " | ".join(figures) + " |", flush=True)
    return cost


TASKS: dict[str, Callable[[Mapping[str, str], Path], dict[str, int]]] = {
    "run_audit": run_audit,
    "run_alone": run_alone,
}

if __name__ == "__main__":
    options = DEFAULTS | dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if sys.argv[1:] and sys.argv[1] in TASKS:
        print(json.dumps(TASKS[sys.argv[1]](options, Path(sys.argv[2]))))
    else:
        main(options)

"""How many people are explained in a minute: `python benchmarks/throughput.py checkpoint=<file> [people=600]`.

`explain_many` in this process, on one thread and on all, and `recexplain audit` with `workers=2`, on the clock, with
everything: the graphs, the search, the random sets, the other removals; the audit also starts its workers and writes
its report. The options are the command line's own, but for `change=` (top1).
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch

import recexplain
from recexplain.checkpoint import Checkpoint, read_checkpoint
from recexplain.evaluation import cli
from recexplain.evaluation.config import recorded_source
from recexplain.sequences import load_dataset

#: The parts of a report that ask a sample again are left out: their cost does not go with the number of people.
EXPLAINED_ONLY = (
    "quality.people=null",
    "sensitivity.people=null",
    "comparison.people=null",
    "cases=null",
    "page=false",
)


def main(words: Sequence[str]) -> None:
    """Print people a minute, and how their searches ended."""
    given = {"people": "600", "change": "top1", "workers": "2"} | dict(word.split("=", 1) for word in words)
    checkpoint, n = read_checkpoint(given["checkpoint"]), int(given["people"])
    histories = load_dataset(recorded_source(checkpoint.source)).histories
    chosen = np.random.default_rng(0).permutation(len(histories))[:n]
    ids = [[checkpoint.vocabulary.id_of(int(item)) for item in histories[int(row)]] for row in chosen]
    for n_threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(n_threads)
        print(f"explain_many, {n_threads} thread(s): {explained(checkpoint, ids, given['change'])}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        options = [f"checkpoint={given['checkpoint']}", f"limit={n}", f"change={given['change']}", *EXPLAINED_ONLY]
        with redirect_stdout(StringIO()):
            status = cli.main(["audit", *options, f"workers={given['workers']}", f"out={Path(folder) / 'audit'}"])
        seconds = time.perf_counter() - began
    if status:
        raise SystemExit(status)
    print(f"audit, {given['workers']} workers: {60 * n / seconds:,.0f} people a minute")


def explained(checkpoint: Checkpoint, people: Sequence[Sequence[str]], change: str) -> str:
    """Return how many people are explained in a minute in this process, and how their searches ended."""
    began = time.perf_counter()
    found = list(recexplain.explain_many(checkpoint.recommender(), people, change=change, max_evaluations=2000))
    ended = dict(Counter(one.status for one in found))
    return f"{60 * len(people) / (time.perf_counter() - began):,.0f} people a minute; {ended}"


if __name__ == "__main__":
    main(sys.argv[1:])

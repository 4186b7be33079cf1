"""What training costs on data that is not MovieLens: peak memory and seconds of one epoch, a process a case.

    python benchmarks/memory.py

The data are invented: item popularity falls as 1 / rank, and a person's items are drawn by it. Every case runs the
command line as a user would; `base` is the same on 200 items.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ITEMS, PEOPLE, LENGTH = 200, 1_000, 60

#: Case -> items, lengths of the histories, and options.
CASES: dict[str, tuple[int, list[int], list[str]]] = {
    "base": (ITEMS, [LENGTH] * PEOPLE, []),
    "50,000 items, full softmax": (50_000, [LENGTH] * PEOPLE, []),
    "50,000 items, 512 negatives": (50_000, [LENGTH] * PEOPLE, ["recipe.negatives=512"]),
    "histories of 1 and of 5,000 items": (10_000, [1] * 900 + [5_000] * 100, ["data.min_user_items=1"]),
    "the same, window 200": (10_000, [1] * 900 + [5_000] * 100, ["data.min_user_items=1", "model.max_length=200"]),
    "odd ids, times as text": (ITEMS, [LENGTH] * PEOPLE, ["odd"]),
    "times as fractions": (ITEMS, [LENGTH] * PEOPLE, ["fractions"]),
}


def write(path: Path, n_items: int, lengths: list[int], kind: str) -> None:
    """Write invented ratings."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, n_items + 1)
    drawn = rng.choice(n_items, sum(lengths), p=share / share.sum())
    drawn[:n_items] = rng.permutation(n_items)[: len(drawn)]  # every item occurs
    users = np.repeat(np.arange(len(lengths)), lengths)
    lines = ["user_id,item_id,timestamp"]
    for place, (user, item) in enumerate(zip(users, drawn, strict=True)):
        if kind == "odd":
            lines.append(f'"é {user}","<b>film, {item}</b> ☃",2024-01-01T{place // 3600 % 24:02}:00:{place % 60:02}Z')
        elif kind == "fractions":
            lines.append(f"{user},{item},{place / 7:.6f}")
        else:
            lines.append(f"{user},{item},{place}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measured(folder: Path, name: str) -> tuple[str, str]:
    """Run a case in a process of its own; return its peak memory in MiB and its seconds."""
    n_items, lengths, options = CASES[name]
    kind = next((option for option in options if "=" not in option), "")
    path = folder / f"{len(list(folder.iterdir()))}.csv"
    write(path, n_items, lengths, kind)
    command = ["-m", "recexplain", "train", "data=interactions", f"data.path={path}", f"out={path.with_suffix('')}"]
    fixed = ["recipe.epochs=1", "data.min_item_ratings=1", *(option for option in options if "=" in option)]
    program = (
        "import resource, subprocess, sys; "
        "done = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    began = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", program, *command, *fixed], capture_output=True, text=True, check=False)
    if run.returncode:
        return "failed", run.stderr.strip().splitlines()[-1]
    return f"{int(run.stdout) / 1024:,.0f}", f"{time.perf_counter() - began:.0f}"


def main() -> None:
    """Print the table."""
    console = Console()
    table = Table(title="One epoch of `recexplain train`, and its evaluation")
    for column in ("data", "items", "interactions", "peak MiB", "seconds"):
        table.add_column(column, justify="left" if column == "data" else "right")
    with tempfile.TemporaryDirectory() as folder:
        for name, (n_items, lengths, _) in CASES.items():
            with console.status(name):
                table.add_row(name, f"{n_items:,}", f"{sum(lengths):,}", *measured(Path(folder), name))
    console.print(table)
    console.print(f"this program itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()

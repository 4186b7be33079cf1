"""The steps of an audit in one folder: sort people into buckets, count them, explain."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from heapq import nsmallest
from itertools import chain
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recexplain.errors import DataError, OptionError
from recexplain.evaluation.audit_engines import Engine
from recexplain.evaluation.audit_histories import WIDE, Layout
from recexplain.evaluation.audit_kernel import Job
from recexplain.evaluation.audit_parts import Folders, is_finished
from recexplain.evaluation.audit_population import n_staged
from recexplain.evaluation.audit_staging import (
    Census,
    Selection,
    census_of,
    dataset_batches,
    sampled,
    stage,
)
from recexplain.evaluation.files import write_text
from recexplain.sequences import Dataset

SPARE = 50  # more people of each bucket than twice its share of a sample are looked at


@dataclass(frozen=True, eq=False)
class Audit:
    """Whom to ask about, what, and where the answers go."""

    job: Job
    engine: Engine
    source: Dataset | Layout
    selection: Selection  # without the bound of a sample
    folders: Folders
    n_buckets: int
    limit: int | None  # so many people are drawn; None: all


@dataclass(frozen=True)
class Counted:
    """Who is to be explained."""

    bound: str | None  # of a sample
    buckets: tuple[Census, ...]
    n_in_table: int  # people of whom the sample was drawn

    @property
    def n_people(self) -> int:
        """How many people there are in all buckets."""
        return sum(one.n_people for one in self.buckets)

    @property
    def users_hash(self) -> str:
        """The hash of `Users` of everyone."""
        return f"{sum(int(one.users_hash, 16) for one in self.buckets) % 2**256:064x}"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other audits out of a folder, which is made; the lock ends with this process, however that ends."""
    if out.exists() and not out.is_dir():
        raise OptionError(f"out={out} is a file; it must be a folder")
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OptionError(f"another audit is at work in {out}; wait, or choose another folder with out=") from None
        yield
    finally:
        os.close(folder)


def explained(audit: Audit) -> tuple[Counted, int]:
    """Explain everyone who is not explained yet; return who they all are, and how many were explained now."""
    path = Path(audit.folders.out, "census.json")
    counted = read_counted(path) if path.exists() else _count(audit, path)
    by_bucket = {one.bucket: one for one in counted.buckets if one.n_people}
    finished = audit.engine.map(partial(_is_finished, audit.folders, audit.job, by_bucket), list(by_bucket))
    missing = [one for one, is_done in zip(by_bucket.values(), finished, strict=True) if not is_done]
    n_missing = sum(one.n_people for one in missing)
    if missing:
        if not audit.folders.staged.exists():  # a finished bucket was taken away, to be explained again
            _stage(audit)
        columns = (TextColumn("auditing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            task = progress.add_task("auditing", total=counted.n_people, completed=counted.n_people - n_missing)
            selection = replace(audit.selection, bound=counted.bound)
            advance = partial(progress.advance, task)
            audit.engine.explain(audit.job, audit.folders, selection, missing, advance)
    return counted, n_missing


def tidy(folders: Folders) -> None:
    """Drop the staged histories, which are a copy."""
    if folders.staged.exists():
        shutil.rmtree(folders.staged)


def _is_finished(folders: Folders, job: Job, census: dict[int, Census], bucket: int) -> bool:
    return bool(is_finished(folders, job, census[bucket]))


def _stage(audit: Audit) -> None:
    if isinstance(audit.source, Dataset):  # it is in memory here, whatever the engine
        stage(dataset_batches(audit.source), WIDE, audit.folders.staged, audit.n_buckets)
    else:
        audit.engine.stage(audit.source, audit.folders.staged, audit.n_buckets)


def _count(audit: Audit, path: Path) -> Counted:
    """Count who there is, bucket by bucket, and write it down; a sample is drawn here."""
    if not audit.folders.staged.exists():
        _stage(audit)
    staged, buckets, bound, n_in_table = audit.folders.staged, range(audit.n_buckets), None, None
    if audit.limit is not None:
        bound = sample_bound(audit.engine.map, partial(sampled, staged, audit.selection.seed), audit.limit, buckets)
        n_in_table = sum(audit.engine.map(partial(n_staged, staged), buckets))
    selection = replace(audit.selection, bound=bound)
    census = tuple(audit.engine.map(partial(census_of, staged, selection), buckets))
    counted = Counted(bound, census, sum(one.n_people for one in census) if n_in_table is None else n_in_table)
    write_text(path, json.dumps(asdict(counted), indent=1) + "\n")
    return counted


def sample_bound(
    ask: Callable[[Callable[[int], list[str]], Sequence[int]], list[list[str]]],
    smallest: Callable[[int, int], list[str]],
    limit: int,
    buckets: Sequence[int],
) -> str:
    """Return the largest key of a sample of `limit` people, from the smallest keys, `smallest(most, bucket)`, of each.

    Few more than the sample are gathered; only where people lie so unevenly that this is not certain, up to `limit`
    of each bucket.
    """
    bound = ""
    for most in (min(limit, 2 * limit // len(buckets) + SPARE), limit):
        found = ask(partial(smallest, most), buckets)
        drawn = nsmallest(limit, chain.from_iterable(found))
        bound = drawn[-1]
        if all(len(keys) < most or (len(drawn) == limit and keys[-1] >= bound) for keys in found):
            break
    return bound


def read_counted(path: Path) -> Counted:
    """Return who went into an audit, from its census.json; `DataError` where that is damaged."""
    try:
        content = json.loads(path.read_bytes())
        return Counted(content["bound"], tuple(Census(**one) for one in content["buckets"]), content["n_in_table"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged; choose another folder with out=") from None

"""People sorted into buckets on disk, and who of them is explained; memory does not go with their number."""

import hashlib
import heapq
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recexplain.errors import DataError, OptionError
from recexplain.evaluation.audit_histories import WIDE
from recexplain.evaluation.audit_kernel import PEOPLE_SCHEMA, bucket_of
from recexplain.evaluation.audit_slices import slices_of
from recexplain.sequences import Dataset

PEOPLE_AT_ONCE = 2_000  # of a data set that is in memory
OPEN_FILES = 500  # written at once at most
WAITING = 64 * 2**20  # bytes of rows that are held back, so that those of a bucket lie together in its file
PARTS = 4  # into which buckets are divided for each process that counts: each part has a sample of people of its own
GROUPS = 64  # row groups of a file at most: what is noted of each is held in memory until the file is whole


@dataclass(frozen=True)
class Selection:
    """Which of the staged people are explained, and on what part of their histories."""

    history: str = "full"  # or test: all but the newest item
    known: frozenset[str] | None = None  # items outside it are left out; None: all stay
    seed: int = 0
    bound: str | None = None  # only people whose `sample_key` is not above it; None: everyone


@dataclass(frozen=True)
class Census:
    """Who is in a bucket, counted before anyone is explained."""

    bucket: int
    n_people: int
    n_items: int  # in their histories, as they are explained
    n_dropped: int  # items that were left out
    users_hash: str  # see `Users`


def dataset_batches(dataset: Dataset) -> Iterator[pa.RecordBatch]:
    """Yield the histories of a data set as rows of `WIDE`."""
    ids, histories = dataset.vocabulary.ids, dataset.histories
    for start in range(0, len(histories), PEOPLE_AT_ONCE):
        rows = range(start, min(start + PEOPLE_AT_ONCE, len(histories)))
        items = [[ids[item - 1] for item in histories[row]] for row in rows]
        users = [histories.users[row] for row in rows]
        yield pa.record_batch([pa.array(users, pa.string()), pa.array(items, WIDE.field("items").type)], WIDE)


def stage(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path, n_buckets: int) -> None:
    """Write rows into `bucket=<n>/*.parquet` by their user; the folder is there whole or not at all."""
    if n_buckets > OPEN_FILES:
        raise OptionError(f"buckets must be at most {OPEN_FILES} here, not {n_buckets}; a table takes more on Spark")
    fresh, n_bytes = fresh_folder(folder), 0
    files = defaultdict[int, _Files](lambda: _Files(schema))
    try:
        for batch in batches:
            for bucket, rows in _by_bucket(batch, n_buckets):
                files[bucket].waiting.append(rows)
            n_bytes += batch.nbytes
            if n_bytes >= WAITING:
                _write(files, fresh)
                n_bytes = 0
        _write(files, fresh, is_end=True)
        if not files:
            raise DataError("the histories hold no rows; at least one person is needed")
        fresh.rename(folder)
    finally:
        for one in files.values():
            one.drop()
        if fresh.exists():
            shutil.rmtree(fresh)


@dataclass(eq=False)
class _Files:
    """The rows of a bucket that wait to be written, and the file that they go to."""

    schema: pa.Schema
    waiting: list[pa.RecordBatch] = field(default_factory=list)
    writer: pq.ParquetWriter | None = None
    n_groups: int = 0  # of this file
    n_files: int = 0  # that are whole

    def write(self, folder: Path, *, is_end: bool) -> None:
        """Write what waits; the file is whole after `GROUPS` times, and at the end."""
        if self.waiting:
            if self.writer is None:
                folder.mkdir(exist_ok=True)
                self.writer = pq.ParquetWriter(folder / f"part-{self.n_files}.parquet", self.schema)
            self.writer.write_table(pa.Table.from_batches(self.waiting))
            self.waiting, self.n_groups = [], self.n_groups + 1
        if self.writer is not None and (is_end or self.n_groups == GROUPS):
            self.writer.close()
            self.writer, self.n_groups, self.n_files = None, 0, self.n_files + 1

    def drop(self) -> None:
        """Close a file that will not be whole."""
        if self.writer is not None:
            with suppress(OSError):  # a full disk, of which is said elsewhere
                self.writer.close()


def _write(files: dict[int, _Files], fresh: Path, *, is_end: bool = False) -> None:
    try:
        for bucket, one in files.items():
            one.write(fresh / f"bucket={bucket}", is_end=is_end)
    except OSError as error:
        folder, reason = fresh.parent, reason_of(error)
        raise DataError(f"the histories cannot be sorted into buckets in {folder}: {reason}; run again") from None


def reason_of(error: OSError) -> str:
    """Return what the operating system says of a failure, without what others put around it."""
    return str(error) if error.errno is None else os.strerror(error.errno)


def fresh_folder(folder: Path) -> Path:
    """Return a new empty folder beside one, without what earlier runs left of theirs."""
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    fresh.mkdir(parents=True)
    return fresh


def buckets_of(batch: pa.RecordBatch, n_buckets: int) -> np.ndarray:
    """(rows,) int32, the bucket of each row's user."""
    users = batch["user"].dictionary_encode()
    numbers = np.array([bucket_of(user, n_buckets) for user in users.dictionary.to_pylist()], dtype=np.int32)
    found: np.ndarray = numbers[users.indices.to_numpy()]
    return found


def _by_bucket(batch: pa.RecordBatch, n_buckets: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield each bucket's rows of a batch, in their order."""
    if not batch.num_rows:
        return
    buckets = buckets_of(batch, n_buckets)
    order = np.argsort(buckets, kind="stable")
    batch, buckets = batch.take(pa.array(order)), buckets[order]
    starts = np.flatnonzero(np.diff(buckets, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(buckets)], strict=True):
        yield int(buckets[start]), batch.slice(start, stop - start)


def people_in(staged: Path, bucket: int, selection: Selection) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield the people of a bucket as `PEOPLE_SCHEMA`, and how many of their items were left out; some at a time."""
    known = None if selection.known is None else pa.array(sorted(selection.known), pa.string())
    for people in slices_of(staged / f"bucket={bucket}"):
        yield _cut(_drawn(people, selection), selection, known)


def _drawn(people: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
    """Return the people who belong to the sample."""
    if selection.bound is None:
        return people
    keys = [sample_key(selection.seed, user) for user in people["user"].to_pylist()]
    return people.filter(pa.array([key <= selection.bound for key in keys], pa.bool_()))


def _cut(people: pa.RecordBatch, selection: Selection, known: pa.Array | None) -> tuple[pa.RecordBatch, int]:
    """Return people with the part of their histories that is explained, and how many unknown items that lacks."""
    items, lengths = people["items"].flatten(), people["items"].value_lengths().to_numpy(zero_copy_only=False)
    stops, is_kept = np.cumsum(lengths, dtype=np.int64), np.ones(len(items), dtype=bool)
    if selection.history == "test":
        is_kept[stops[lengths > 0] - 1] = False
    n_before = int(is_kept.sum())
    if known is not None:
        is_kept &= pc.is_in(items, value_set=known).to_numpy(zero_copy_only=False)
    kept = np.concatenate([[0], np.cumsum(is_kept)])
    offsets = pa.array(kept[np.concatenate([[0], stops]).astype(np.int64)], pa.int32())
    histories = pa.ListArray.from_arrays(offsets, items.filter(pa.array(is_kept)))
    columns = [people["user"], histories.cast(PEOPLE_SCHEMA.field("history").type)]
    return pa.record_batch(columns, PEOPLE_SCHEMA), n_before - int(kept[-1])


def census_of(staged: Path, selection: Selection, bucket: int) -> Census:
    """Return who is in a bucket."""
    users, n_items, n_dropped = Users(), 0, 0
    for people, n_left_out in people_in(staged, bucket, selection):
        users.add(people["user"].to_pylist())
        n_items += len(people["history"].flatten())
        n_dropped += n_left_out
    return Census(bucket, users.n, n_items, n_dropped, users.hash)


def sampled(staged: Path, seed: int, most: int, bucket: int) -> list[str]:
    """Return the smallest `sample_key`s of a bucket's people, in order."""
    users = (user for people in slices_of(staged / f"bucket={bucket}") for user in people["user"].to_pylist())
    return heapq.nsmallest(most, (sample_key(seed, user) for user in users))


def split(buckets: Sequence[Census], n_parts: int) -> list[Sequence[Census]]:
    """Return the buckets in parts of as many, at most so many parts, in their order.

    >>> [len(part) for part in split([Census(n, 0, 0, 0, "") for n in range(7)], 3)]
    [3, 3, 1]
    """
    size = max(1, -(-len(buckets) // n_parts))
    return [buckets[start : start + size] for start in range(0, len(buckets), size)]


def sample_key(seed: int, user: str) -> str:
    """Return what a sample goes by: those with the smallest are drawn, in whatever order they stand in files."""
    return hashlib.sha256(f"{seed} {user}".encode()).hexdigest()


class Users:
    """Counts people, and hashes who they are: in whatever order, another hash where one is lost, new or twice."""

    def __init__(self) -> None:
        self.n, self._sum = 0, 0

    def add(self, users: Iterable[str]) -> None:
        """Count people."""
        for user in users:
            self.n += 1
            self._sum += int.from_bytes(hashlib.sha256(user.encode()).digest(), "big")

    @property
    def hash(self) -> str:
        """The sum of the sha256 of each user id, modulo 2^256, in hexadecimal digits."""
        return f"{self._sum % 2**256:064x}"

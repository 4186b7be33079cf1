"""A staged bucket -> its people with their histories, so many at a time that memory does not go with their number."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.errors import DataError
from recexplain.evaluation.audit_histories import WIDE

ITEMS = 500_000  # of histories in memory at a time, about; a larger bucket is read once for each part of its people

ORDER = tuple((name, "ascending") for name in ("user", "whole", "rest", "part", "row"))


def slices_of(folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield the people of a bucket as rows of `WIDE`, everyone once, sorted by user within each batch.

    Equal times keep the order of files and rows. `DataError` where a table of lists holds a person twice.
    """
    files = [pq.ParquetFile(path, memory_map=False) for path in sorted(folder.glob("*.parquet"))]
    n_slices = ceil(sum(map(_n_items, files)) / ITEMS)
    for number in range(n_slices):
        batches = [batch for file in files for batch in _rows(file, number, n_slices)]
        table = pa.Table.from_batches(batches)
        if table.num_rows:
            yield (_from_lists if "items" in table.column_names else _from_rows)(table)


def _n_items(file: pq.ParquetFile) -> int:
    """Return how many items there are in a file, or a few more, without reading them."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    return sum(column.num_values for column in columns if column.path_in_schema.partition(".")[0] in ("item", "items"))


def _rows(file: pq.ParquetFile, number: int, n_slices: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of those people of a file who are in a slice."""
    at_once = max(1, ceil(file.metadata.num_rows * ITEMS / max(1, _n_items(file)) / 8))
    for batch in file.iter_batches(batch_size=at_once):
        if n_slices == 1:
            yield batch
            continue
        users = batch["user"].dictionary_encode()
        is_in = np.array([_slice_of(user, n_slices) == number for user in users.dictionary.to_pylist()], dtype=bool)
        yield batch.filter(pa.array(is_in[users.indices.to_numpy()]))


def _slice_of(user: str, n_slices: int) -> int:
    """Return which part of a bucket a person is in; other bytes of the hash than those that decide the bucket."""
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[8:16], "big") % n_slices


def _from_rows(table: pa.Table) -> pa.RecordBatch:
    """Return the people of a table of interactions."""
    table = table.sort_by(list(ORDER)).combine_chunks()
    users = pa.concat_arrays(table["user"].chunks).dictionary_encode()
    starts = np.flatnonzero(np.diff(users.indices.to_numpy(), prepend=-1))
    offsets = pa.array([*starts.tolist(), len(users)], pa.int32())
    return _people(users.dictionary, offsets, pa.concat_arrays(table["item"].chunks))


def _from_lists(table: pa.Table) -> pa.RecordBatch:
    """Return the people of a table that has one row each."""
    table = table.sort_by("user").combine_chunks()
    users: Sequence[str] = table["user"].to_pylist()
    for one, next_one in pairwise(users):
        if one == next_one:
            raise DataError(f"user {one!r} has two rows; a table of lists of items has one row a person")
    items = pa.concat_arrays(table["items"].chunks)
    lengths = items.value_lengths().to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return _people(pa.concat_arrays(table["user"].chunks), pa.array(offsets, pa.int32()), items.flatten())


def _people(users: pa.Array, offsets: pa.Array, items: pa.Array) -> pa.RecordBatch:
    lists = pa.ListArray.from_arrays(offsets, items.cast(pa.string()))
    return pa.record_batch([users.cast(pa.string()), lists.cast(WIDE.field("items").type)], WIDE)

"""A table of people, of which columns become slices of the report: read in parts, sorted into the audit's buckets.

What is held of it: the distinct values of a column, `MOST_VALUES` of them at most, a sample of `SAMPLE` people for the
bounds of numbers, and the rows of one bucket at a time.
"""

import math
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.errors import DataError, OptionError
from recexplain.evaluation.audit_drawn import Drawn, Sample
from recexplain.evaluation.audit_histories import (
    HistoryTable,
    as_text,
    column_names,
    content_hash,
    parquet_rows,
    parts_in,
    require,
    text_rows,
)
from recexplain.evaluation.audit_staging import OPEN_FILES, sample_key, stage

NOT_GIVEN = "not given"
OTHERS = "other values"
MOST_GROUPS = 30  # of a column; more values than that: numbers are binned, of texts the most frequent stay
MOST_VALUES = 1_000  # that a column of texts may have
MOST_CROSSED = 300  # groups that columns taken together may make
BINS = 5
TOGETHER = " & "  # between the groups of columns taken together
SAMPLE = 10_000  # people from whom the bounds of bins are taken


@dataclass(frozen=True)
class UserTable:
    """Where people's properties lie, and which of them are asked for."""

    path: str
    columns: tuple[str, ...]
    crossed: tuple[tuple[str, ...], ...] = ()  # some of these columns taken together, each such slice
    user_col: str = "user_id"
    header: tuple[str, ...] | None = None  # the names in order, for text files without a header
    sep: str | None = None  # None: by the ending
    encoding: str = "utf-8"
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # column -> value -> what it stands for


@dataclass(frozen=True)
class Column:
    """How the values of a column are grouped."""

    name: str
    labels: tuple[str, ...]  # in the order in which groups are shown; `NOT_GIVEN` comes last
    words: Mapping[str, str]  # value -> what it stands for
    bounds: tuple[float, ...] = ()  # where bins of numbers begin, but the first

    def label_of(self, value: str) -> str:
        """Return the group of a value."""
        if not value.strip():
            return NOT_GIVEN
        if self.bounds:
            return self.labels[sum(float(value) >= bound for bound in self.bounds)]
        label = self.words.get(value, value)
        return label if label in self.labels else OTHERS


@dataclass(frozen=True)
class Crossing:
    """Columns taken together: a group for each way in which their groups meet."""

    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """What the slice is called."""
        return TOGETHER.join(column.name for column in self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """The groups in the order of the columns; whoever lacks one of them is in `NOT_GIVEN`."""
        given = ([label for label in column.labels if label != NOT_GIVEN] for column in self.columns)
        return (*map(TOGETHER.join, product(*given)), NOT_GIVEN)

    def label_of(self, groups: Mapping[str, str]) -> str:
        """Return the group of a person, from those of the columns."""
        found = [groups[column.name] for column in self.columns]
        return NOT_GIVEN if NOT_GIVEN in found else TOGETHER.join(found)


@dataclass(frozen=True)
class Properties:
    """The table of people in buckets on disk; people of a bucket of the audit lie in one of these."""

    folder: Path
    n_buckets: int
    columns: tuple[Column, ...]
    crossings: tuple[Crossing, ...]
    n_people: int
    content_hash: str

    def of_bucket(self, bucket: int) -> dict[str, dict[str, str]]:
        """Return the groups of everyone of a bucket: user -> column -> group; `DataError` names who is there twice."""
        found: dict[str, dict[str, str]] = {}
        for path in sorted((self.folder / f"bucket={bucket % self.n_buckets}").glob("*.parquet")):
            rows = pq.read_table(path, partitioning=None)
            values = [rows[f"value_{number}"].to_pylist() for number in range(len(self.columns))]
            for user, *cells in zip(rows["user"].to_pylist(), *values, strict=True):
                if user in found:
                    raise DataError(f"user {user!r} has two rows in the table of people; everyone may have one")
                named = zip(self.columns, cells, strict=True)
                groups = {column.name: column.label_of(cell) for column, cell in named}
                found[user] = groups | {crossing.name: crossing.label_of(groups) for crossing in self.crossings}
        return found

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The groups of each slice that the table makes, in the order in which they are shown."""
        groups = {column.name: column.labels for column in self.columns}
        return groups | {crossing.name: crossing.labels for crossing in self.crossings}

    def nobody(self) -> dict[str, str]:
        """Return the groups of a person who is not in the table."""
        return dict.fromkeys(self.labels, NOT_GIVEN)

    def drop(self) -> None:
        """Remove the buckets, which are a copy."""
        shutil.rmtree(self.folder, ignore_errors=True)


def sorted_by_bucket(table: UserTable, folder: Path, n_buckets: int) -> Properties:
    """Read a table of people once, and sort it into buckets, of which each takes whole ones of the audit's.

    `DataError` for a table that cannot be read; `OptionError` for a column of too many texts, or columns that make too
    many groups together.
    """
    parts = parts_in(Path(table.path), "users")
    seen = [_Seen(name, dict(table.words.get(name, {}))) for name in table.columns]
    schema = pa.schema([pa.field(name, pa.string()) for name in ("user", *_cells(table))])
    n_buckets = max(n for n in range(1, min(n_buckets, OPEN_FILES) + 1) if n_buckets % n == 0)
    if folder.exists():
        shutil.rmtree(folder)
    if not any(True for part in parts for _ in _batches(part, table, schema)):
        raise DataError(f"the table of people {table.path} holds no rows")
    n_people = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal n_people
        for part in parts:
            for batch in _batches(part, table, schema):
                n_people += batch.num_rows
                for one, name in zip(seen, _cells(table), strict=True):
                    one.see(batch["user"].to_pylist(), batch[name].to_pylist())
                yield batch

    stage(batches(), schema, folder, n_buckets)
    columns = tuple(one.column() for one in seen)
    crossings = _crossings(table, {column.name: column for column in columns})
    return Properties(folder, n_buckets, columns, crossings, n_people, content_hash([str(part) for part in parts]))


def _crossings(table: UserTable, columns: Mapping[str, Column]) -> tuple[Crossing, ...]:
    found = tuple(Crossing(tuple(columns[name] for name in names)) for names in table.crossed)
    for crossing in found:
        n_groups = math.prod(len(column.labels) - 1 for column in crossing.columns)
        if n_groups > MOST_CROSSED:
            raise OptionError(
                f"users.crossed takes {crossing.name} together, which makes {n_groups:,} groups; {MOST_CROSSED} at most"
            )
    return found


def _cells(table: UserTable) -> list[str]:
    return [f"value_{number}" for number in range(len(table.columns))]  # a column may be called user


def _batches(path: Path, table: UserTable, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part, some at a time: who, and the columns that are asked for, as text."""
    as_histories = HistoryTable(
        str(path), table.user_col, time_col=None, columns=table.header, sep=table.sep, encoding=table.encoding
    )
    names = list(dict.fromkeys((table.user_col, *table.columns)))
    require(path, column_names(path, as_histories), *names, option="users")
    is_parquet = path.suffix == ".parquet"
    for _, columns, places in parquet_rows(path, names) if is_parquet else text_rows(path, as_histories):
        users = [as_text(value) for value in columns[table.user_col]]
        for user, place in zip(users, places, strict=True):
            if not user.strip():
                raise DataError(f"{path}, {place}, column {table.user_col!r}: the cell is empty; every row needs an id")
        cells = [[as_text(value).strip() for value in columns[name]] for name in table.columns]
        yield pa.record_batch([pa.array(one, pa.string()) for one in (users, *cells)], schema)


class _Seen:
    """What is noted of a column while it is read, whatever the order of the rows."""

    def __init__(self, name: str, words: Mapping[str, str]) -> None:
        self.name, self.words = name, words
        self.counts, self.are_many, self.are_numbers = Counter[str](), False, True
        self.sample = Sample(SAMPLE)

    def see(self, users: Sequence[str], values: Sequence[str]) -> None:
        """Note the values of some people."""
        for user, value in zip(users, values, strict=True):
            if not value:
                continue
            self.are_numbers = self.are_numbers and _is_number(value)
            if not self.are_many:
                self.counts[self.words.get(value, value)] += 1
                self.are_many = len(self.counts) > MOST_VALUES
            if self.are_numbers:
                self.sample.offer(Drawn(sample_key(0, user), {"value": value}, {}))

    def column(self) -> Column:
        """Return how the values are grouped: each a group, or the bins of numbers, or the most frequent texts."""
        if self.are_numbers and not self.words and len(self.counts) > MOST_GROUPS:
            return self._binned()
        if self.are_many:
            raise OptionError(
                f"users.columns names {self.name!r}, which has more than {MOST_VALUES:,} values that are no numbers; a "
                "slice needs groups of people"
            )
        labels = list(dict.fromkeys(label for label in self.words.values() if label in self.counts))
        rest = [label for label in self.counts if label not in set(labels)]
        labels += sorted(rest, key=float if self.are_numbers and not self.words else str)
        if len(labels) > MOST_GROUPS:
            kept = set(sorted(labels, key=lambda label: (-self.counts[label], label))[: MOST_GROUPS - 1])
            labels = [*(label for label in labels if label in kept), OTHERS]
        return Column(self.name, (*labels, NOT_GIVEN), self.words)

    def _binned(self) -> Column:
        """Return bins that about as many people of the sample are in each."""
        values = sorted(float(drawn.row["value"]) for drawn in self.sample.people(SAMPLE))
        found = {values[len(values) * number // BINS] for number in range(1, BINS)} - {values[0]}
        bounds = tuple(sorted(found))
        if not bounds:  # hardly anybody has another value than the least
            bounds = (min(value for value in values if value > values[0]),) if values[0] < values[-1] else (values[0],)
        said = [f"{bound:.10g}" for bound in bounds]
        between = [f"{low} to below {high}" for low, high in pairwise(said)]
        return Column(self.name, (f"below {said[0]}", *between, f"{said[-1]} or more", NOT_GIVEN), {}, bounds)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

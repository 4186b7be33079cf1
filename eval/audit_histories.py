"""A table of histories, one file or a folder of part files -> batches of rows, a bounded number at a time.

A table has one row an interaction, or (Parquet only) one row a person with a list of items, oldest first. Errors name
file, line and column. No part is ever held whole in memory.
"""

import csv
import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.errors import DataError, OptionError
from recexplain.tables import SEPARATORS, distinct

ROWS = 50_000  # of a table at a time; of one with a list of items a row a twenty-fifth

#: One row an interaction. A time is `whole + rest`, so that neither large whole numbers nor fractions are rounded.
LONG = pa.schema(
    [
        pa.field("user", pa.string()),
        pa.field("item", pa.string()),
        pa.field("whole", pa.int64()),
        pa.field("rest", pa.float64()),
        pa.field("part", pa.int32()),  # which file, and
        pa.field("row", pa.int64()),  # which of its rows: equal times keep this order
    ]
)

#: One row a person.
WIDE = pa.schema([pa.field("user", pa.string()), pa.field("items", pa.list_(pa.string()))])

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".inter", ".user")


@dataclass(frozen=True)
class HistoryTable:
    """Where histories lie, and how the columns are called."""

    path: str
    user_col: str = "user_id"
    item_col: str = "item_id"
    time_col: str | None = "timestamp"  # None: the order of files and rows is that of time; unused for lists of items
    columns: tuple[str, ...] | None = None  # the names in order, for text files without a header
    sep: str | None = None  # None: by the ending (.csv ",", .txt and .dat " ", others tab)
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Layout:
    """A table whose parts have been looked at: each of them has the columns, in the same form."""

    table: HistoryTable
    parts: tuple[str, ...]  # in the order of their names
    is_wide: bool  # one row a person
    has_dates: bool  # times are dates, not numbers

    @property
    def schema(self) -> pa.Schema:
        """The columns of its batches."""
        return WIDE if self.is_wide else LONG


def layout_of(table: HistoryTable) -> Layout:
    """Return the parts of a table and their form; `DataError` names a part that cannot be used."""
    parts = parts_in(Path(table.path))
    forms = {str(part): _form(part, table) for part in parts}
    first = str(parts[0])
    for part, form in forms.items():
        if form != forms[first]:
            raise DataError(f"{part} has {form}, and {first} has {forms[first]}; all parts must be alike")
    form = forms[first]
    return Layout(table, tuple(forms), form == "lists of items", form.endswith("dates"))


def content_hash(parts: Sequence[str]) -> str:
    """Return the sha256 of the contents of files, in their order."""
    whole = hashlib.sha256()
    for part in parts:
        with Path(part).open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def batches_of(layout: Layout, part: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one part, a bounded number at a time, in `layout.schema`."""
    table, path = layout.table, Path(layout.parts[part])
    for start, columns, place in _rows(path, table, ROWS // 25 if layout.is_wide else ROWS):
        rows = _Rows(path, place)
        users = rows.ids(columns[table.user_col], table.user_col)
        if layout.is_wide:
            lists = [rows.items(row, items, table.item_col) for row, items in enumerate(columns[table.item_col])]
            yield pa.record_batch([pa.array(users, pa.string()), pa.array(lists, WIDE.field("items").type)], WIDE)
            continue
        items = rows.ids(columns[table.item_col], table.item_col)
        n, numbers = len(users), (np.zeros(len(users), np.int64), np.zeros(len(users)))
        if table.time_col is not None:
            numbers = rows.times(columns[table.time_col], table.time_col, are_dates=layout.has_dates)
        values = (users, items, *numbers, np.full(n, part, np.int32), np.arange(start, start + n))
        yield pa.record_batch([pa.array(v, f.type) for v, f in zip(values, LONG, strict=True)], LONG)


def parts_in(path: Path, what: str = "histories") -> list[Path]:
    """Return the file, or those of the folder and the folders in it; names of `_` and `.` are not data."""
    if path.is_file():
        parts = [path]
    elif path.is_dir():
        found = [one for one in path.rglob("*") if one.is_file()]
        parts = [one for one in found if not any(name[0] in "._" for name in one.relative_to(path).parts)]
    else:
        raise DataError(f"there is no file or folder {path}; {what} must be a table or a folder of its parts")
    for part in parts:
        ending = (part.with_suffix("") if part.suffix == ".gz" else part).suffix
        if part.suffix != ".parquet" and ending not in TEXT_ENDINGS:
            allowed = ", ".join((".parquet", *TEXT_ENDINGS))
            raise DataError(f"{part} is no part of a table; a name must end in one of {allowed}, text also with .gz")
    if not parts:
        raise DataError(f"the folder {path} holds no part of a table")
    return sorted(parts, key=lambda one: one.relative_to(path).as_posix() if one != path else "")


def _form(path: Path, table: HistoryTable) -> str:
    """Return in words what form a part has: one row a person, or an interaction, and how times are written."""
    if path.suffix == ".parquet":
        schema = open_parquet(path).schema_arrow
        require(path, schema.names, table.user_col, table.item_col)
        kind = schema.field(table.item_col).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return "lists of items"
    names = column_names(path, table)
    require(path, names, table.user_col, table.item_col, *filter(None, [table.time_col]))
    if table.time_col is None:
        return "rows without a time"
    if path.suffix == ".parquet":
        kind = schema.field(table.time_col).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return f"rows with times as {'timestamps' if _is_date(kind) else 'numbers'}"
    first = next(((columns[table.time_col], place) for _, columns, place in _rows(path, table, rows=1)), None)
    if first is None:
        return "rows with times as numbers"
    return f"rows with times as {'numbers' if _is_number(str(first[0][0])) else 'dates'}"


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def column_names(path: Path, table: HistoryTable) -> list[str]:
    """Return how the columns of a part are called, those of a text file without RecBole's type endings."""
    return list(open_parquet(path).schema_arrow.names) if path.suffix == ".parquet" else _text_names(path, table)


def require(path: Path, names: Sequence[str], *columns: str, option: str = "histories") -> None:
    """Raise `DataError` unless a part has the columns."""
    for column in columns:
        if column not in names:
            hint = f"; another separator is given as {option}.sep=" if len(names) == 1 else ""
            raise DataError(f"{path} has no column {column!r}; its columns are {', '.join(names)}{hint}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class _Rows:
    """The cells of a batch; errors name where each stands."""

    def __init__(self, path: Path, places: Sequence[str]) -> None:
        self.path, self.places = path, places

    def _at(self, row: int, column: str) -> str:
        return f"{self.path}, {self.places[row]}, column {column!r}"

    def ids(self, values: Sequence[object], column: str) -> list[str]:
        """Return ids as text; `DataError` where a cell is empty."""
        found = [as_text(value) for value in values]
        for row, text in enumerate(found):
            if not text.strip():
                raise DataError(f"{self._at(row, column)}: the cell is empty; every row needs an id")
        return found

    def items(self, row: int, values: Sequence[object] | None, column: str) -> list[str]:
        """Return a person's items as text; none at all is a history too, which cannot be explained."""
        found = [as_text(value) for value in ([] if values is None else values)]
        if not all(text.strip() for text in found):
            raise DataError(f"{self._at(row, column)}: the list holds an empty cell; every item needs an id")
        return found

    def times(self, values: Sequence[Any], column: str, *, are_dates: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return times as whole numbers, of dates in nanoseconds, and what is left of each."""
        series = pd.Series(values)
        if are_dates:
            dates = pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601")
            numbers, is_bad = dates.dt.as_unit("ns").astype("int64").to_numpy(), dates.isna().to_numpy()
        else:
            numbers = pd.to_numeric(series, errors="coerce").to_numpy()
            is_bad = ~np.isfinite(numbers.astype(np.float64))
        if is_bad.any():
            row = int(np.argmax(is_bad))
            wanted = "a date (ISO), as the first row has" if are_dates else "a number, as the first row has"
            raise DataError(f"{self._at(row, column)}: {str(values[row])!r} is not {wanted}")
        whole = np.floor(numbers).astype(np.int64) if numbers.dtype.kind == "f" else numbers.astype(np.int64)
        return whole, (numbers - whole).astype(np.float64)


def as_text(value: object) -> str:
    """Return a cell as text, a missing one as nothing; whole numbers lose what pandas writes behind them."""
    if value is None or value != value:  # noqa: PLR0124  not a number
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


Read = Iterator[tuple[int, dict[str, Sequence[Any]], Sequence[str]]]  # first row, columns, where each row stands


def _rows(path: Path, table: HistoryTable, rows: int = ROWS) -> Read:
    """Yield those columns of a part that a table of histories has, and the others of a text file too."""
    if path.suffix != ".parquet":
        return text_rows(path, table, rows)
    names = column_names(path, table)
    return parquet_rows(path, [n for n in (table.user_col, table.item_col, table.time_col) if n in names], rows)


def open_parquet(path: Path) -> pq.ParquetFile:
    """Return a Parquet file; `DataError` where it is none."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {str(error).splitlines()[0]}") from None


def parquet_rows(path: Path, names: Sequence[str], rows: int = ROWS) -> Read:
    """Yield columns of a Parquet file; dates as nanoseconds."""
    file, start = open_parquet(path), 0
    try:
        for batch in file.iter_batches(batch_size=rows, columns=list(names)):
            columns = {str(name): _plain(batch[name]) for name in names}
            yield start, columns, [f"row {row + 1}" for row in range(start, start + batch.num_rows)]
            start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def _plain(column: pa.Array) -> Sequence[Any]:
    """Return the values of a column; dates as nanoseconds."""
    if _is_date(column.type):
        column = column.cast(pa.timestamp("ns")).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def text_rows(path: Path, table: HistoryTable, rows: int = ROWS) -> Read:
    """Yield the rows of a text file; a row of another length is an error, blank lines may stand at the end only."""
    names = _text_names(path, table)
    waiting, start = _cells(path, table), 0
    if table.columns is None:
        next(waiting)
    while batch := list(islice(waiting, rows)):
        for line, cells in batch:
            if len(cells) != len(names):
                wanted = f"the columns are {', '.join(names)}"
                raise DataError(f"{path}, line {line}: the row has {len(cells)} cells, {wanted}")
        columns = dict(zip(names, zip(*(cells for _, cells in batch), strict=True), strict=True))
        yield start, {str(name): list(cells) for name, cells in columns.items()}, [f"line {line}" for line, _ in batch]
        start += len(batch)


def _text_names(path: Path, table: HistoryTable) -> list[str]:
    """Return the names of the columns of a text file, without RecBole's type endings."""
    if table.columns is not None:
        return list(table.columns)
    _, names = next(_cells(path, table), (1, []))
    if not names:
        raise DataError(f"{path} is empty; a header and at least one row are needed")
    names = [name.strip() for name in names]
    if all(name.rpartition(":")[2] in ("token", "token_seq", "float", "float_seq") for name in names):
        names = [name.rpartition(":")[0] for name in names]
    distinct(names, f"{path}, line 1")
    return names


def _cells(path: Path, table: HistoryTable) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text file as they stand, with the line where each begins."""
    sep = _separator(path, table)
    encoding = "utf-8-sig" if table.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else table.encoding
    blank, line, before = 0, 1, 0
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding=encoding, newline="") as file:
            lines = (text.replace(sep, "\t") for text in file) if len(sep) > 1 else file
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if sep in (",", ";") else csv.QUOTE_NONE
            reader = csv.reader(lines, delimiter="\t" if len(sep) > 1 else sep, quoting=quoting, strict=True)
            for cells in reader:
                line, before = before + 1, reader.line_num
                if not any(cell.strip() for cell in cells):
                    blank = blank or line
                    continue
                if blank:
                    raise DataError(f"{path}, line {blank}: the line is blank; only the end of a file may have them")
                yield line, cells
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, after line {before}: a byte is not {table.encoding} ({error.reason})") from None
    except csv.Error as error:
        raise DataError(f"{path}, line {before + 1}: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no complete gzip file: {error}") from None
    except LookupError:
        raise OptionError(f"there is no encoding {table.encoding!r}; allowed are Python's, such as latin-1") from None


def _separator(path: Path, table: HistoryTable) -> str:
    if table.sep is not None:
        if not table.sep or set(table.sep) & set('"\r\n'):
            raise OptionError(f"sep must be one or more characters, no line end or quotation mark, not {table.sep!r}")
        return table.sep.replace("\\t", "\t")
    ending = "".join([one for one in path.suffixes if one != ".gz"][-1:])
    return SEPARATORS.get(ending, "\t")

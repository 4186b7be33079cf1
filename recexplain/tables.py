"""Files of rows -> tables of text, with errors that name file, line and column."""

import csv
import gzip
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from recexplain.errors import DataError

SEPARATORS = {".csv": ",", ".txt": " ", ".dat": " "}  # by ending; anything else: tab


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a file, and where each of them stands in it."""

    frame: pd.DataFrame
    name: str  # as errors name it
    first_line: int | None = None  # the line of the first row; None: no text file

    def at(self, row: int, column: str) -> str:
        """Return the place of a cell, in words."""
        where = f"row {row + 1}" if self.first_line is None else f"line {row + self.first_line}"
        return f"{self.name}, {where}, column {column!r}"

    def lines(self) -> np.ndarray:
        """Return the line number of each row; 0 where there are no lines."""
        n_rows = len(self.frame)
        if self.first_line is None:
            return np.zeros(n_rows, dtype=np.int64)
        return np.arange(self.first_line, self.first_line + n_rows, dtype=np.int64)

    def require(self, *columns: str) -> None:
        """Raise `DataError` unless the columns are there."""
        missing = [column for column in columns if column not in self.frame.columns]
        if missing:
            present = ", ".join(map(str, self.frame.columns))
            raise DataError(f"{self.name} has no column {missing[0]!r}; its columns are {present}")

    def text(self, column: str) -> pd.Series:
        """Return a column of ids or titles as text; whole numbers lose a trailing `.0`, an empty cell is an error."""
        values = self.frame[column]
        empty = values.isna() | (values.astype(str).str.strip() == "")
        if empty.any():
            raise DataError(f"{self.at(int(np.argmax(empty)), column)}: the cell is empty")
        if pd.api.types.is_float_dtype(values) and (values % 1 == 0).all():
            values = values.astype(np.int64)
        return values.astype(str)

    def times(self, column: str) -> np.ndarray:
        """Return a column of times, (rows,): numbers as they are, dates as nanoseconds since 1970."""
        values = self.frame[column]
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isfinite(numbers).all():
            whole = pd.to_numeric(values)
            return (whole if pd.api.types.is_integer_dtype(whole) else whole.astype(np.float64)).to_numpy()
        dates = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        if not (np.isfinite(numbers) & dates.isna()).any() and not dates.isna().any():
            return dates.astype("int64").to_numpy()
        as_dates = dates.notna().sum() > np.isfinite(numbers).sum()
        bad = int(np.argmax(dates.isna() if as_dates else ~np.isfinite(numbers)))
        raise DataError(
            f"{self.at(bad, column)}: {str(values.iloc[bad])!r} is no time; "
            "allowed are numbers, or ISO dates in every row"
        )


def read_table(
    path: Path, *, sep: str | None = None, columns: Sequence[str] | None = None, encoding: str = "utf-8"
) -> Table:
    """Return the rows of a Parquet or text file; the ending says which."""
    if path.suffix == ".parquet":
        return _read_parquet(path)
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    return read_text(path, sep=sep or SEPARATORS.get(ending, "\t"), columns=columns, encoding=encoding)


def read_text(path: Path, *, sep: str, columns: Sequence[str] | None = None, encoding: str = "utf-8") -> Table:
    """Return the rows of a text file, every cell as text; `columns` are the names where the file has no header.

    RecBole's type endings (`user_id:token`) are taken off the names.
    """
    text = _decoded(path, encoding)
    if not text.strip():
        raise DataError(f"{path} is empty; a header and at least one row are needed")
    if len(sep) > 1:  # the fast parser takes one character
        text, sep = text.replace(sep, "\t"), "\t"
    names = list(columns) if columns else _header(text, sep, path)
    try:
        frame = _parsed(text, sep, names, has_header=not columns)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be split into the {len(names)} columns {', '.join(names)}: {reason}") from None
    table = Table(frame, str(path), first_line=1 if columns else 2)
    short = frame.isna().any(axis=1)
    if short.any():
        row = int(np.argmax(short))
        column = str(frame.columns[frame.iloc[row].isna()][0])
        raise DataError(f"{table.at(row, column)}: the cell is missing; a row has {len(names)} columns")
    return table


def _parsed(text: str, sep: str, names: list[str], *, has_header: bool) -> pd.DataFrame:
    """Return the rows as text; a row with more cells than names raises pandas' `ParserError` or `ParserWarning`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            io.StringIO(text),
            sep=sep,
            names=names,
            header=None,
            skiprows=1 if has_header else 0,
            index_col=False,  # without it a row that is too long makes an index of the first cell
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            quoting=_quoting(sep),
        )


def from_frame(frame: pd.DataFrame, name: str) -> Table:
    """Return a table of a DataFrame in memory."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{name} has the column {twice[0]!r} twice; every column needs a name of its own")
    return Table(frame.reset_index(drop=True), name)


def plain_or_gz(path: Path) -> Path:
    """Return the path, or the same with `.gz` where only that is there."""
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and not packed.exists():
        raise DataError(f"there is no {path.name} or {packed.name} in the folder {path.parent}")
    return path if path.exists() else packed


def download_zip(url: str, md5: str) -> Path:
    """Return the folder of a downloaded and unpacked zip file; kept between runs, its md5 checked."""
    import pooch  # noqa: PLC0415  only a download needs it
    import requests  # noqa: PLC0415

    target = Path(pooch.os_cache("recexplain"))
    try:
        pooch.retrieve(
            url,
            known_hash=f"md5:{md5}",
            path=target,
            progressbar=True,
            processor=pooch.Unzip(extract_dir="."),
        )
    except (requests.RequestException, OSError) as error:
        raise DataError(
            f"{url} could not be downloaded ({error}); give the folder of the unpacked file as data.path="
        ) from None
    except ValueError as error:  # pooch: the hash differs
        raise DataError(f"{url} is not the file with md5 {md5}: {error}") from None
    return target


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa  # noqa: PLC0415  slow to import

    _existing(path)
    try:
        return from_frame(pd.read_parquet(path), str(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {str(error).splitlines()[0]}") from None


def _existing(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"there is no file {path}")


def _decoded(path: Path, encoding: str) -> str:
    """Return the text of a file, unpacked where it is `.gz`; `DataError` names the line that does not decode."""
    _existing(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is no complete gzip file: {error}") from None
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise DataError(
            f"{path}, line {line}, character {column}: byte 0x{raw[error.start]:02x} is not {encoding}; "
            "save the file as UTF-8 or name its encoding (data.encoding=latin-1)"
        ) from None
    except LookupError:
        raise DataError(f"there is no encoding {encoding!r}; allowed are Python's, such as utf-8 or latin-1") from None


def _header(text: str, sep: str, path: Path) -> list[str]:
    """Return the column names of the first line, without RecBole's type endings."""
    first = text[: text.find("\n")] if "\n" in text else text
    names = [name.strip() for name in next(csv.reader([first.rstrip("\r")], delimiter=sep, quoting=_quoting(sep)))]
    if all(_typed(name) for name in names):
        names = [name.rpartition(":")[0] for name in names]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: the column {twice!r} stands twice; every column needs a name of its own")
    return names


def _quoting(sep: str) -> Literal[0, 3]:
    """Only CSV quotes cells: in other files a quotation mark is part of the text."""
    return csv.QUOTE_MINIMAL if sep == "," else csv.QUOTE_NONE


def _typed(name: str) -> bool:
    return name.rpartition(":")[2] in {"token", "token_seq", "float", "float_seq"}

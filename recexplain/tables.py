"""Files of rows -> tables of text, with errors that name file, line and column."""

import csv
import gzip
import io
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from recexplain.errors import DataError, OptionError

SEPARATORS = {".csv": ",", ".txt": " ", ".dat": " "}  # by ending; anything else: tab


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a file, and where each of them stands in it."""

    frame: pd.DataFrame
    name: str  # as errors name it
    lines: np.ndarray | None = None  # (rows,) int64, the line where each row begins, from 1; None: no text file

    def at(self, row: int, column: str) -> str:
        """Return the place of a cell, in words."""
        where = f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.name}, {where}, column {column!r}"

    def require(self, *columns: str) -> None:
        """Raise `DataError` unless the columns are there."""
        present = [str(name) for name in self.frame.columns]
        for column in columns:
            if column not in present:
                hint = "; another separator is given as data.sep=" if len(present) == 1 else ""
                raise DataError(f"{self.name} has no column {column!r}; its columns are {', '.join(present)}{hint}")

    def text(self, column: str) -> pd.Series:
        """Return a column of ids as text; an empty cell is an error.

        Whole numbers lose a trailing `.0`, in a text file where every id has one: pandas writes them so.
        """
        codes, values = pd.factorize(self.frame[column])  # each id once: files repeat them many times
        names = np.array([*map(_id, values), ""], dtype=object)  # the last: no value, code -1
        if len(values) and all(_is_whole(name) for name in names[:-1]):
            names[:-1] = [name.removesuffix(".0") for name in names[:-1]]
        empty = np.array([not name.strip() for name in names])[codes]
        if empty.any():
            raise DataError(f"{self.at(int(np.argmax(empty)), column)}: the cell is empty; every row needs an id")
        return pd.Series(names[codes])

    def times(self, column: str) -> np.ndarray:
        """Return a column of times, (rows,): numbers as they are, dates as whole numbers in one unit."""
        values = self.frame[column]
        numbers = pd.to_numeric(values, errors="coerce")
        is_number = np.isfinite(numbers.to_numpy(dtype=np.float64, na_value=np.nan)) & values.notna().to_numpy()
        if is_number.all():
            return numbers.to_numpy(dtype=None if pd.api.types.is_integer_dtype(numbers) else np.float64)
        dates = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        is_date = dates.notna().to_numpy()
        is_bad = ~is_date if is_date.sum() > is_number.sum() else ~is_number
        if is_bad.any():
            row = int(np.argmax(is_bad))
            raise DataError(
                f"{self.at(row, column)}: {str(values.iloc[row])!r} is no time; "
                "allowed are numbers, or ISO dates in every row"
            )
        return dates.astype("int64").to_numpy()


def read_table(
    path: Path, *, sep: str | None = None, columns: Sequence[str] | None = None, encoding: str = "utf-8"
) -> Table:
    """Return the rows of a Parquet or text file; the ending says which."""
    endings = [ending.lower() for ending in path.suffixes]
    if endings[-1:] == [".parquet"]:
        if sep is not None or columns is not None:
            raise OptionError(f"{path} is a Parquet file: it takes no sep and no columns, which text files need")
        return _read_parquet(path)
    ending = "".join([ending for ending in endings if ending != ".gz"][-1:])
    return read_text(path, sep=SEPARATORS.get(ending, "\t") if sep is None else sep, columns=columns, encoding=encoding)


def read_text(path: Path, *, sep: str, columns: Sequence[str] | None = None, encoding: str = "utf-8") -> Table:
    """Return the rows of a text file, every cell as text; `columns` are the names where the file has no header.

    RecBole's type endings (`user_id:token`) are taken off the names. Blank lines at the end are no rows.
    """
    text = _without_end(_decoded(path, encoding))
    if not text.strip():
        raise DataError(f"{path} is empty; a header and at least one row are needed")
    sep = _checked_separator(sep)
    if len(sep) > 1:  # the parsers take one character
        text, sep = text.replace(sep, "\t"), "\t"
    names = _header(text, sep, path) if columns is None else list(columns)
    quoted = _quoting(sep) == csv.QUOTE_MINIMAL and '"' in text
    n_lines = text.count("\n") + 1
    if quoted or text.count(sep) != (len(names) - 1) * n_lines:
        lines = _lines(text, sep, names, str(path))
    else:
        lines = np.arange(1, n_lines + 1)
    try:
        frame = _parsed(text, sep, names, has_header=columns is None)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        _lines(text, sep, names, str(path))  # names the row
        raise DataError(f"{path} cannot be split into the columns {', '.join(names)}: {error}") from None
    return Table(frame, str(path), lines if columns is not None else lines[1:])


def from_frame(frame: pd.DataFrame, name: str) -> Table:
    """Return a table of a DataFrame in memory."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{name} has the column {twice[0]!r} twice; every column needs a name of its own")
    return Table(frame.reset_index(drop=True), name)


def plain_or_gz(path: Path) -> Path:
    """Return the path, or the same with `.gz` where only that is there."""
    packed = path.with_name(path.name + ".gz")
    if not path.parent.is_dir():
        raise DataError(f"there is no folder {path.parent}; it must hold {path.name} or {packed.name}")
    if not path.exists() and not packed.exists():
        raise DataError(f"there is no {path.name} or {packed.name} in the folder {path.parent}")
    return path if path.exists() else packed


def download_zip(url: str, md5: str) -> Path:
    """Return the folder of a downloaded and unpacked zip file; kept between runs, its md5 checked.

    It lies in the user's cache folder (`XDG_CACHE_HOME` on Linux), and is there whole or not at all.
    """
    import pooch  # noqa: PLC0415  only a download needs it

    cache = Path(pooch.os_cache("recexplain"))
    folder = cache / md5
    if folder.is_dir():
        return folder
    if not url.startswith(("http://", "https://")):
        raise OptionError(f"url must begin with http:// or https://, not {url!r}")
    pooch.get_logger().setLevel("WARNING")
    instead = "or give the folder of the unpacked file as data.path="
    try:
        packed = Path(pooch.retrieve(url, known_hash=f"md5:{md5}", path=cache, progressbar=True))
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            zipfile.ZipFile(packed).extractall(Path(fresh, "whole"))
            Path(fresh, "whole").rename(folder)
    except OSError as error:
        answer = getattr(error, "response", None)
        reason = type(error).__name__ if answer is None else f"the server answers {answer.status_code}"
        raise DataError(f"{url} could not be downloaded ({reason}); check the connection, {instead}") from None
    except ValueError:  # pooch has removed what it got
        raise DataError(f"{url} is not the file with md5 {md5}, so it was not kept; try again, {instead}") from None
    except zipfile.BadZipFile:
        raise DataError(f"{url} is no zip file; give another url, {instead}") from None
    packed.unlink()
    return folder


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


def _lines(text: str, sep: str, names: Sequence[str], name: str) -> np.ndarray:
    """(rows,) the line where each row begins, the header's too; `DataError` names the first row of another length."""
    rows = csv.reader(io.StringIO(text), delimiter=sep, quoting=_quoting(sep), strict=True)
    lines, line = [], 1
    try:
        for row in rows:
            _check_row(row, names, sep, f"{name}, line {line}")
            lines.append(line)
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name}, line {line}: a quotation mark is not closed, or stands alone ({error})") from None
    return np.array(lines, dtype=np.int64)


def _check_row(row: Sequence[str], names: Sequence[str], sep: str, where: str) -> None:
    """Raise `DataError` unless there is one cell a column."""
    if len(row) == len(names):
        return
    if len(names) > 1 and not any(cell.strip() for cell in row):
        raise DataError(f"{where}: the line is blank; only the end of a file may have blank lines")
    what = f"split at {sep!r} the row has {len(row)} cells, the columns are {', '.join(names)}"
    column = f", column {names[len(row)]!r}: the cell is missing" if len(row) < len(names) else ": too many cells"
    raise DataError(f"{where}{column}; {what}")


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa  # noqa: PLC0415  slow to import

    _existing(path)
    try:
        return from_frame(pd.read_parquet(path), str(path))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {str(error).splitlines()[0]}") from None


def _existing(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; a file is needed")
    if not path.is_file():
        raise DataError(f"there is no file {path}")


def _decoded(path: Path, encoding: str) -> str:
    r"""Return the text of a file with `\n` line ends, unpacked where it is `.gz`; `DataError` names a wrong line."""
    _existing(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no complete gzip file: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise DataError(
            f"{path}, line {line}, byte {column}: 0x{raw[error.start]:02x} is not {encoding}; "
            "save the file as UTF-8 or name its encoding (data.encoding=latin-1)"
        ) from None
    except (LookupError, TypeError):
        raise OptionError(f"there is no encoding {encoding!r}; allowed are Python's, such as utf-8, latin-1") from None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:  # pandas would cut the cell there
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: there is a NUL character; is the encoding {encoding} (data.encoding=)?")
    return text


def _checked_separator(sep: str) -> str:
    r"""Return a separator that can be one; the two characters `\t`, as a shell hands them on, are a tab."""
    if not sep or set(sep) & set('"\r\n'):
        raise OptionError(f"sep must be one or more characters, no line end and no quotation mark, not {sep!r}")
    return sep.replace("\\t", "\t")


def _without_end(text: str) -> str:
    """Return a text without the blank lines at its end; the last row keeps its empty cells."""
    end = text.find("\n", len(text.rstrip()))
    return text if end < 0 else text[:end]


def _header(text: str, sep: str, path: Path) -> list[str]:
    """Return the column names of the first line, without RecBole's type endings."""
    first = text.partition("\n")[0]
    if not first.strip():
        raise DataError(f"{path}, line 1: the line is blank; the names of the columns must stand there")
    names = [name.strip() for name in next(csv.reader([first], delimiter=sep, quoting=_quoting(sep)), [""])]
    if all(_typed(name) for name in names):
        names = [name.rpartition(":")[0] for name in names]
    distinct(names, f"{path}, line 1")
    return names


def distinct(names: Iterable[str], where: str) -> None:
    """Raise `DataError` where a column name stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{where}: the column {name!r} stands twice; every column needs a name of its own")
        seen.add(name)


def _id(value: object) -> str:
    """Return an id as text; a whole number is written as one, up to where a float is exact."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    return str(value)


def _is_whole(name: str) -> bool:
    return name.endswith(".0") and name[:-2].isdecimal()


def _quoting(sep: str) -> Literal[0, 3]:
    """Only CSV quotes cells: in other files a quotation mark is part of the text."""
    return csv.QUOTE_MINIMAL if sep in ",;" else csv.QUOTE_NONE


def _typed(name: str) -> bool:
    return name.rpartition(":")[2] in {"token", "token_seq", "float", "float_seq"}

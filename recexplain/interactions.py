"""Raw ratings of any source -> one checked table of who took what when.

Every source is a frozen value with a `read()`; it is what a checkpoint records of its data. Errors name file, line
and column, so that a person can open the file and mend it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import pandas as pd

from recexplain import tables
from recexplain.errors import DataError


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who took what when, in file order, with the titles that are known."""

    frame: pd.DataFrame  # user: str, item: str, time: int64 or float64, line: int (0: not from a text file)
    titles: Mapping[str, str]
    name: str  # the file or data set, as errors name it


class Source(Protocol):
    """Where ratings come from; its fields are what a checkpoint records."""

    @property
    def min_item_ratings(self) -> int:
        """Items with fewer ratings are dropped."""
        ...

    @property
    def min_user_items(self) -> int:
        """Users with fewer items left are an error."""
        ...

    def read(self) -> Ratings:
        """Return the ratings, in file order."""
        ...


@dataclass(frozen=True)
class MovieLens100K:
    """MovieLens-100K as RecBole's package carries it: no download; ties in time have no true order there."""

    min_item_ratings: int = 5
    min_user_items: int = 3

    def read(self) -> Ratings:
        """Return 100,000 ratings of 943 people, with titles and years."""
        folder = Path(str(files("recbole") / "dataset_example" / "ml-100k"))
        frame = _checked(tables.read_text(folder / "ml-100k.inter", sep="\t"), _Columns())
        films = tables.read_text(folder / "ml-100k.item", sep="\t").frame
        named = zip(films["item_id"], films["movie_title"], films["release_year"], strict=True)
        titles = {item: f"{title} ({year})" if year else title for item, title, year in named}
        return Ratings(frame, titles, "MovieLens-100K")


@dataclass(frozen=True)
class MovieLens1M:
    """MovieLens-1M from a folder with `ratings.dat`, plain or `.gz`; without a path it is downloaded and checked."""

    path: str | None = None
    url: str = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
    md5: str = "c4d9eecfca2ab87c1945afe126590906"
    min_item_ratings: int = 5
    min_user_items: int = 3

    def read(self) -> Ratings:
        """Return 1,000,209 ratings of 6,040 people, with titles."""
        folder = Path(self.path) if self.path else tables.download_zip(self.url, self.md5) / "ml-1m"
        columns = ("user_id", "item_id", "rating", "timestamp")
        table = tables.read_text(tables.plain_or_gz(folder / "ratings.dat"), sep="::", columns=columns)
        films = tables.read_text(
            tables.plain_or_gz(folder / "movies.dat"),
            sep="::",
            columns=("item_id", "title", "genres"),
            encoding="latin-1",
        ).frame
        titles = dict(zip(films["item_id"], films["title"], strict=True))
        return Ratings(_checked(table, _Columns()), titles, str(folder))


@dataclass(frozen=True)
class Interactions:
    """Any CSV, TSV, Parquet, RecBole `.inter` or `user item` text file.

    `time_col=None` means that file order is time order. A file without a header takes `columns`, the names in order.
    `titles_path` is a table with the columns `item_col` and `title_col`.
    """

    path: str
    user_col: str = "user_id"
    item_col: str = "item_id"
    time_col: str | None = "timestamp"
    columns: Sequence[str] | None = None
    sep: str | None = None  # None: by the ending (.csv ",", .txt and .dat " ", others tab)
    encoding: str = "utf-8"
    titles_path: str | None = None
    title_col: str = "title"
    min_item_ratings: int = 5
    min_user_items: int = 3

    def read(self) -> Ratings:
        """Return the ratings of the file, in file order."""
        table = tables.read_table(Path(self.path), sep=self.sep, columns=self.columns, encoding=self.encoding)
        frame = _checked(table, _Columns(self.user_col, self.item_col, self.time_col))
        return Ratings(frame, self._titles(), self.path)

    def _titles(self) -> dict[str, str]:
        if self.titles_path is None:
            return {}
        table = tables.read_table(Path(self.titles_path), encoding=self.encoding)
        table.require(self.item_col, self.title_col)
        return dict(zip(table.text(self.item_col), table.text(self.title_col), strict=True))


@dataclass(frozen=True, eq=False)
class Frame:
    """A DataFrame that is already in memory."""

    frame: pd.DataFrame
    user_col: str = "user_id"
    item_col: str = "item_id"
    time_col: str | None = "timestamp"
    titles: Mapping[str, str] = field(default_factory=dict)
    min_item_ratings: int = 5
    min_user_items: int = 3

    def read(self) -> Ratings:
        """Return the ratings of the frame, in row order."""
        table = tables.from_frame(self.frame, "the data frame")
        return Ratings(_checked(table, _Columns(self.user_col, self.item_col, self.time_col)), self.titles, table.name)


#: The sources that a checkpoint may name: no other class is ever built from what a file says.
RECORDED: dict[str, type[MovieLens100K] | type[MovieLens1M] | type[Interactions]] = {
    "MovieLens100K": MovieLens100K,
    "MovieLens1M": MovieLens1M,
    "Interactions": Interactions,
}


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = "timestamp"


def _checked(table: tables.Table, columns: _Columns) -> pd.DataFrame:
    """Return the columns user, item, time and line of a table; `DataError` names the first bad cell."""
    table.require(columns.user, columns.item, *([columns.time] if columns.time else []))
    if table.frame.empty:
        raise DataError(f"{table.name} holds no rows; at least one rating is needed")
    time = table.times(columns.time) if columns.time else range(len(table.frame))
    return pd.DataFrame(
        {
            "user": table.text(columns.user),
            "item": table.text(columns.item),
            "time": time,
            "line": table.lines(),
        }
    )

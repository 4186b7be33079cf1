"""The ids behind the numbers of a RecBole checkpoint: from a list, from its atomic files, never guessed.

RecBole numbers the values of a field in the order in which they come in the `.inter` file, after its filters, and then
those that only the `.user` or `.item` file has (`Dataset._remap`, the same from 1.0.1 to 1.2.1). The filters are those
of the checkpoint's own options, in RecBole's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from recexplain.adapters.recbole_features import ids_of
from recexplain.adapters.recbole_file import RecBoleFile
from recexplain.adapters.recbole_filters import Atomic, filtered
from recexplain.errors import CheckpointError, DataError, OptionError, RecExplainError
from recexplain.sequences import Dataset, Histories
from recexplain.tables import read_text
from recexplain.vocabulary import Vocabulary

#: The atomic files that RecBole's package carries.
ML_100K = Path(str(files("recbole"))) / "dataset_example" / "ml-100k" / "ml-100k.inter"

#: What options that are none end in.
UNREADABLE = (TypeError, ValueError, LookupError, AttributeError)

#: Columns of an `.item` file that are taken for titles, the first that is there.
TITLES = ("title", "movie_title", "name", "item_name")


@dataclass(frozen=True, eq=False)
class Ids:
    """Which number stands for which id."""

    items: Vocabulary
    users: Vocabulary | None = None  # None: not known, as with a list of items
    data: Dataset | None = None  # the histories, where they were read,
    path: Path | None = None  # and the `.inter` file that they were read from


def ids_for(
    file: RecBoleFile, n_items: int, n_users: int, *, items: Sequence[object] | None, data: str | Path | None
) -> Ids:
    """Return the ids of a checkpoint with that many items and users (0: its model has no use for them).

    `items`: the ids in the order of RecBole's numbers, or `data`: the `.inter` file that it was trained on, or its
    folder. Without either those that the checkpoint itself holds, or the files that it names, if they are there.
    """
    if items is not None and data is not None:
        raise OptionError("give either items, the ids in RecBole's order, or data, the files that it was trained on")
    held = _held(file)
    path = _named(file) if data is None else _inter_file(file, Path(data))
    if items is not None:
        found = Ids(Vocabulary(_listed(items)))
        _check(file, len(found.items.ids), n_items, "items", "the list of items")
    elif path.is_file():
        found = _ids_in(file, path)
        _check(file, found.items.n_items, n_items, "items", str(path))
    elif held is not None:
        found = held
    else:
        raise CheckpointError(
            f"{file.path} holds no item ids, and {path}, which it names, is not there; give the atomic files that it "
            "was trained on as data=, or the item ids in the order of RecBole's numbers as items="
        )
    if n_users and found.users is not None:
        _check(file, found.users.n_items, n_users, "users", "the data")
    if held is not None and held.items.ids != found.items.ids:
        raise CheckpointError(f"{file.path} holds other item ids than those that were given; leave items and data out")
    return found


def _check(file: RecBoleFile, found: int, expected: int, what: str, where: str) -> None:
    if found != expected:
        raise CheckpointError(
            f"{file.path} was trained on {expected} {what}, but {where} has {found}; give the files that it was "
            "trained on as data, or as items all ids in the order of RecBole's numbers"
        )


def _listed(items: Sequence[object]) -> tuple[str, ...]:
    if isinstance(items, str | bytes) or not hasattr(items, "__iter__"):
        raise OptionError(f"items must be a list of item ids in the order of RecBole's numbers, not {items!r}")
    ids = tuple(map(str, items))
    return ids[1:] if ids[:1] == ("[PAD]",) else ids


def _held(file: RecBoleFile) -> Ids | None:
    """Return the ids that the checkpoint itself holds, if it does."""
    items = ids_of(file, str(file.config.get("ITEM_ID_FIELD")))
    users = ids_of(file, str(file.config.get("USER_ID_FIELD")))
    return None if items is None else Ids(Vocabulary(tuple(items[1:])), Vocabulary(tuple((users or [""])[1:])))


def _named(file: RecBoleFile) -> Path:
    """Return the `.inter` file that a checkpoint names; it need not be there."""
    folder, name = Path(str(file.config.get("data_path"))), str(file.config.get("dataset"))
    if name == "ml-100k" and folder.parts[-2:] == ("dataset_example", "ml-100k"):  # inside the package, wherever it lay
        return ML_100K
    return folder / f"{name}.inter"


def _inter_file(file: RecBoleFile, data: Path) -> Path:
    """Return the `.inter` file that is meant by a file, a folder or the folder above."""
    name = str(file.config.get("dataset"))
    tried = [data] if data.suffix == ".inter" else [data / f"{name}.inter", data / name / f"{name}.inter"]
    for path in tried:
        if path.is_file():
            return path
    raise DataError(f"there is no file {' or '.join(map(str, tried))}; data must be the .inter file or its folder")


def _ids_in(file: RecBoleFile, path: Path) -> Ids:
    user, item = str(file.config.get("USER_ID_FIELD")), str(file.config.get("ITEM_ID_FIELD"))
    try:
        tables = filtered(file, Atomic(path, user, item))
    except RecExplainError:
        raise
    except UNREADABLE as error:
        raise CheckpointError(
            f"{file.path}: its options of the data cannot be followed: {error}; give items="
        ) from None
    users = _numbered([tables.inter[user], *([] if tables.users is None else [tables.users[user]])])
    items = _numbered([tables.inter[item], *([] if tables.items is None else [tables.items[item]])])
    titles = _titles(path.with_suffix(".item"), item, str(file.config.get("field_separator") or "\t"))
    vocabulary = Vocabulary(items, {one: titles[one] for one in items if one in titles})
    times = tables.inter.get(str(file.config.get("TIME_FIELD")))
    histories = _dataset(tables.inter[user], tables.inter[item], times, vocabulary)
    return Ids(vocabulary, Vocabulary(users), histories, path)


def _dataset(users: pd.Series, items: pd.Series, times: pd.Series | None, vocabulary: Vocabulary) -> Dataset:
    """Return the histories as RecBole orders them: by time, equal times in the order of the file."""
    codes, names = pd.factorize(users)
    order = np.lexsort((np.arange(len(codes)) if times is None else times.to_numpy(), codes))
    numbers = items.map({one: number for number, one in enumerate(vocabulary.ids, start=1)}).to_numpy()
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(names)))]).astype(np.int64)
    return Dataset(Histories(tuple(map(str, names)), numbers[order].astype(np.int32), starts), vocabulary)


def _numbered(columns: Sequence[pd.Series]) -> tuple[str, ...]:
    return tuple(map(str, pd.concat(columns).unique()))


def _titles(path: Path, item: str, sep: str) -> dict[str, str]:
    """Return the titles of the items, with their year where there is one; none without such a file."""
    if not path.is_file():
        return {}
    table = read_text(path, sep=sep).frame
    column = next((name for name in TITLES if name in table.columns), None)
    if column is None or item not in table.columns:
        return {}
    years = table["release_year"] if "release_year" in table.columns else pd.Series("", index=table.index)
    named = zip(table[item], table[column], years, strict=True)
    return {one: f"{title} ({year})" if year else title for one, title, year in named if title}

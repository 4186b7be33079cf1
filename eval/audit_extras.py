"""What a report holds besides the rows' figures: which options ask for it, checked before anyone is explained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from recexplain.adapters.recbole import RecBoleCheckpoint
from recexplain.adapters.recbole_data import ML_100K
from recexplain.errors import CheckpointError, OptionError, is_whole
from recexplain.evaluation.audit_users import UserTable
from recexplain.evaluation.config import AnyCheckpoint, checkpoint_in, plain, recorded_source, source_of
from recexplain.explainers import explainer_of
from recexplain.interactions import MovieLens1M, MovieLens100K, Source
from recexplain.tables import download_zip, plain_or_gz

#: MovieLens' users.dat has no header, and numbers for words (GroupLens, README of MovieLens-1M).
USERS_DAT = ("user_id", "gender", "age", "occupation", "zip_code")
AGES = {"1": "under 18", "18": "18-24", "25": "25-34", "35": "35-44", "45": "45-49", "50": "50-55", "56": "56 or more"}
OCCUPATIONS = (
    "other or not specified",
    "academic or educator",
    "artist",
    "clerical or admin",
    "college or graduate student",
    "customer service",
    "doctor or health care",
    "executive or managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales or marketing",
    "scientist",
    "self-employed",
    "technician or engineer",
    "tradesman or craftsman",
    "unemployed",
    "writer",
)
WORDS = {"age": AGES, "occupation": {str(number): name for number, name in enumerate(OCCUPATIONS)}}


@dataclass(frozen=True, eq=False)
class Extras:
    """How many people each part of the report is about; 0: the part is left out."""

    cases: int  # of each kind
    quality: int
    sensitivity: int
    comparison: int
    compared: tuple[str, ...]  # explainers beside the audit's own
    other: AnyCheckpoint | None  # another model of the same data
    users: UserTable | None
    has_page: bool  # whether report.html is made of it

    @property
    def n_drawn(self) -> int:
        """How many people are drawn for all parts: the first of one sample."""
        return max(self.quality, self.sensitivity, self.comparison)


def extras_in(config: DictConfig, checkpoint: AnyCheckpoint) -> Extras:
    """Return what is asked for; `OptionError` for what cannot be."""
    if not isinstance(config.page, bool):
        raise OptionError(f"page must be true or false, not {config.page!r}")
    explainers = config.comparison.explainers
    if not isinstance(explainers, ListConfig) or not all(isinstance(name, str) for name in explainers):
        raise OptionError(f"comparison.explainers must be a list of names such as [random,recency], not {explainers!r}")
    for name in explainers:
        explainer_of(name)  # an unknown name stops here
    return Extras(
        cases=_count("cases", config.cases),
        quality=_count("quality.people", config.quality.people),
        sensitivity=_count("sensitivity.people", config.sensitivity.people),
        comparison=_count("comparison.people", config.comparison.people),
        compared=tuple(dict.fromkeys(explainers)),
        other=_other(config, checkpoint),
        users=_users(config, checkpoint),
        has_page=config.page,
    )


def _count(name: str, value: Any) -> int:
    if value is not None and not is_whole(value, 0):
        raise OptionError(f"{name} must be a whole number of 0 or more, or null for none, not {value!r}")
    return value or 0


def _other(config: DictConfig, checkpoint: AnyCheckpoint) -> AnyCheckpoint | None:
    path = config.sensitivity.checkpoint
    if path is None:
        return None
    other = checkpoint_in(config, path)
    if other.data_hash != checkpoint.data_hash:
        raise CheckpointError(f"sensitivity.checkpoint={path} was trained on other data than the audited one")
    return other


def _users(config: DictConfig, checkpoint: AnyCheckpoint) -> UserTable | None:
    """Return the table of people; without a path the one that lies beside the ratings of MovieLens."""
    values: dict[str, Any] = plain(config.users)
    for name, value in values.items():
        if name in ("columns", "header"):
            if not (value is None and name == "header") and not _are_names(value):
                raise OptionError(f"users.{name} must be a list of names such as [gender,age], not {value!r}")
        elif name == "crossed":
            _check_crossed(value, values["columns"])
        elif not isinstance(value, str) and not (value is None and name in ("path", "sep")):
            raise OptionError(f"users.{name} must be a text, not {value!r}")
    if not values["columns"]:
        if values["path"] is not None:
            raise OptionError("users.path is given, and users.columns names no column: users.columns=[gender,age]")
        return None
    reserved = {"history_length", "popularity"} & {*values["columns"]}
    if reserved:
        raise OptionError(f"users.columns names {reserved.pop()!r}, as a slice of every report is called; rename it")
    path = Path(values["path"]) if values["path"] is not None else _beside(config, checkpoint)
    words: dict[str, dict[str, str]] = {}
    if path.name.removesuffix(".gz") == "users.dat" and values["header"] is None:
        values |= {"header": USERS_DAT, "sep": "::"}
        words = WORDS
    header = None if values["header"] is None else tuple(values["header"])
    columns = tuple(dict.fromkeys(values["columns"]))
    crossed = tuple(dict.fromkeys(map(tuple, values["crossed"])))
    found = {"path": str(path), "columns": columns, "crossed": crossed, "header": header, "words": words}
    return UserTable(**values | found)


def _check_crossed(value: object, columns: object) -> None:
    """Raise `OptionError` unless it is a list of lists of two or more different columns of those that are named."""
    if not isinstance(value, list) or not all(
        _are_names(names) and len(names) == len(set(names)) > 1 for names in value
    ):
        raise OptionError(f"users.crossed must be a list of lists of columns such as [[gender,age]], not {value!r}")
    for name in (name for names in value for name in names):
        if not (isinstance(columns, list) and name in columns):
            raise OptionError(f"users.crossed names {name!r}, which is not among users.columns; name it there too")


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _beside(config: DictConfig, checkpoint: AnyCheckpoint) -> Path:
    """Return the table of people of MovieLens, from where its ratings are read."""
    source: Source | None = None
    if config.histories.path is None and not isinstance(checkpoint, RecBoleCheckpoint):
        source = recorded_source(checkpoint.source) if config.data is None else source_of(config.data)
    if isinstance(source, MovieLens1M):
        folder = Path(source.path) if source.path is not None else download_zip(source.url, source.md5) / "ml-1m"
        return plain_or_gz(folder / "users.dat")
    if isinstance(source, MovieLens100K):
        return ML_100K.with_name("ml-100k.user")
    raise OptionError("users.columns needs users.path, a table of people; only data of MovieLens have one beside them")

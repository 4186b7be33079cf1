"""The scoreboard of a run of `recexplain evaluate` as plain frozen values: what tables and the page are made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recexplain.errors import DataError

HIGHER, LOWER = "higher", "lower"


@dataclass(frozen=True)
class Metric:
    """One column of the scoreboard."""

    name: str
    title: str  # in a few words
    better: str  # HIGHER or LOWER
    group: str
    of: str  # whose mean it is: everyone, or one of the kinds of people that the page spells out
    about: str  # in one sentence


@dataclass(frozen=True)
class Score:
    """One cell: a mean over people and how sure it is; None where nobody has a value."""

    metric: str
    value: float | None
    low: float | None  # of the interval over resampled people
    high: float | None
    n: int  # people with a value
    is_best: bool
    is_level: bool  # the best is not better for certain: see `difference`
    difference: float | None  # this less the best explainer's, on the people for whom both have a value
    difference_low: float | None
    difference_high: float | None
    n_pairs: int  # how many those are


@dataclass(frozen=True)
class Budget:
    """What an explainer comes to with a smaller budget."""

    most: int  # evaluations that are allowed
    evaluations: float  # that were used, mean
    found: float  # share
    size_all: float


@dataclass(frozen=True)
class Row:
    """One explainer, or a variant of one."""

    label: str
    explainer: str
    settings: str  # its options in words
    n_people: int  # it was run on
    not_run: str | None  # why it could not be run at all
    statuses: tuple[tuple[str, int], ...]  # status -> people, those that occur
    reasons: tuple[tuple[str, int], ...]  # of errors -> people
    scores: tuple[Score, ...] = ()  # in the order of the metrics; none where it was not run
    sizes: tuple[tuple[int, int], ...] = ()  # size of found sets -> people
    removed: tuple[float, ...] = ()  # mean probability of the target without the top share, by tenths
    kept: tuple[float, ...] = ()  # and with that share alone
    budgets: tuple[Budget, ...] = ()  # smaller ones, smallest first

    def score(self, metric: str) -> Score | None:
        """Return the cell of a metric; None where the explainer was not run."""
        return next((score for score in self.scores if score.metric == metric), None)


@dataclass(frozen=True)
class Board:
    """Explainers against metrics, on the same people."""

    settings: tuple[tuple[str, str], ...]  # what was asked of everyone: option -> value
    n_people: int
    n_explained: int  # people for whom some explainer found a set
    n_proven: int  # of them those for whom the smallest one found is proven the smallest there is
    n_resamples: int
    shares: tuple[float, ...]  # of the items, at which the curves are drawn
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, board: Mapping[str, Any]) -> "Board":
        """Return the board that `to_dict` wrote; `DataError` where it is another thing."""
        try:
            rows = [
                Row(
                    **{
                        **row,
                        "scores": tuple(Score(**score) for score in row["scores"]),
                        "budgets": tuple(Budget(**budget) for budget in row["budgets"]),
                        **{name: _tuples(row[name]) for name in ("statuses", "reasons", "sizes", "removed", "kept")},
                    }
                )
                for row in board["rows"]
            ]
            metrics = tuple(Metric(**metric) for metric in board["metrics"])
            lists = {name: _tuples(board[name]) for name in ("settings", "shares")}
            return cls(**{**board, **lists, "metrics": metrics, "rows": tuple(rows)})
        except (KeyError, TypeError) as error:
            raise DataError(f"this is no scoreboard of ours: {error}") from None


@dataclass(frozen=True)
class Retrained:
    """What retraining says of one explainer's sets; shares are over people and seeds, intervals over people."""

    label: str
    changed: float  # share whose answer changed when the model never saw the set
    changed_low: float
    changed_high: float
    anyway: float  # share whose answer changed by training again alone, with nothing taken out
    anyway_low: float
    anyway_high: float
    difference: float
    difference_low: float
    difference_high: float


@dataclass(frozen=True)
class Pair:
    """Two explainers on the same retrained people; for whom the answer changed with most of the seeds counts as one."""

    label: str
    other: str
    only_label: int  # people whose answer changed without the set of the one, and not without that of the other
    only_other: int
    p: float  # McNemar's, exact


@dataclass(frozen=True)
class Retraining:
    """The retraining check of a run: the same people and seeds for every explainer."""

    n_people: int
    n_seeds: int
    group: int  # people whose sets were taken out together
    rows: tuple[Retrained, ...]
    pairs: tuple[Pair, ...] = ()  # of the rows, each with each

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `retraining.json`."""
        return asdict(self)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value

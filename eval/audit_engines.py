"""What an engine does for an audit, and the one that needs nothing but this machine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

from recexplain.evaluation.audit_histories import Layout, batches_of
from recexplain.evaluation.audit_kernel import Job
from recexplain.evaluation.audit_local import Advance, explain_locally
from recexplain.evaluation.audit_parts import Folders
from recexplain.evaluation.audit_processes import asked_elsewhere
from recexplain.evaluation.audit_staging import PARTS, Census, Selection, split, stage

T = TypeVar("T")


class Mergeable(Protocol):
    """Counts to which others can be added."""

    def merge(self, other: Self) -> None:
        """Count what another has counted."""
        ...


M = TypeVar("M", bound=Mergeable)

PAYING = 200_000  # people whose rows are counted by several processes: below it costs more to start and hear them


class Engine(Protocol):
    """Where the work of an audit is done; whatever the engine, the rows are the same."""

    def stage(self, layout: Layout, folder: Path, n_buckets: int) -> None:
        """Sort the rows of a table into the folders of buckets."""
        ...

    def map(self, function: Callable[[int], T], buckets: Sequence[int]) -> list[T]:
        """Return a small value of each bucket."""
        ...

    def counts(self, function: Callable[[Sequence[Census]], M], buckets: Sequence[Census]) -> tuple[Iterator[M], int]:
        """Return the counts of all buckets, of some at a time, in any order; and how many counts these are."""
        ...

    def explain(
        self, job: Job, folders: Folders, selection: Selection, missing: Sequence[Census], advance: Advance
    ) -> None:
        """Write the explanations of buckets; each is there whole afterwards, or not at all."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine."""

    n_workers: int

    def stage(self, layout: Layout, folder: Path, n_buckets: int) -> None:
        """Read one part after another."""
        rows = (batch for part in range(len(layout.parts)) for batch in batches_of(layout, part))
        stage(rows, layout.schema, folder, n_buckets)

    def map(self, function: Callable[[int], T], buckets: Sequence[int]) -> list[T]:
        """Ask one bucket after another."""
        return [function(bucket) for bucket in buckets]

    def counts(self, function: Callable[[Sequence[Census]], M], buckets: Sequence[Census]) -> tuple[Iterator[M], int]:
        """Ask processes where there are so many people that starting these pays, else this one."""
        n_others = self.n_workers if sum(one.n_people for one in buckets) >= PAYING else 0
        parts = split(buckets, PARTS * max(2, n_others))
        return (asked_elsewhere(function, parts, n_others) if n_others > 1 else map(function, parts)), len(parts)

    def explain(
        self, job: Job, folders: Folders, selection: Selection, missing: Sequence[Census], advance: Advance
    ) -> None:
        """Explain a bucket a process."""
        buckets = [one.bucket for one in missing]
        explain_locally(job, folders, selection, buckets, n_workers=self.n_workers, advance=advance)

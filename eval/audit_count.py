"""What came out of an audit: the rows of each bucket counted where the engine works, and the counts added up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from recexplain.errors import DataError
from recexplain.evaluation.audit_parts import Folders, rows_of
from recexplain.evaluation.audit_popularity import COLUMNS, Shifts
from recexplain.evaluation.audit_run import Audit, Counted
from recexplain.evaluation.audit_staging import Census, Users
from recexplain.evaluation.audit_tally import Tally
from recexplain.evaluation.audit_users import Properties
from recexplain.evaluation.progress import shown
from recexplain.vocabulary import Vocabulary


@dataclass(frozen=True)
class Counting:
    """What every process is told that counts rows."""

    folders: Folders
    properties: Properties | None  # the table of people
    vocabulary: Vocabulary
    n_cases: int
    n_drawn: int

    def tally(self) -> Tally:
        """Return the counts of nobody."""
        return Tally(self.vocabulary, self.n_cases, self.n_drawn)


def count_rows(audit: Audit, counted: Counted, counting: Counting) -> Tally:
    """Return the counts of all rows; `DataError` unless each bucket holds just the people who went in."""
    tally = counting.tally()
    for part in shown(*audit.engine.counts(partial(_counted, counting), counted.buckets), "counting"):
        tally.merge(part)
    return tally


def shifts_of(audit: Audit, counted: Counted, taken: Counter[str]) -> Shifts:
    """Look at the rows again, now that it is known how popular each item is."""
    shifts = Shifts(taken)
    parts, _ = audit.engine.counts(partial(_shifted, audit.folders, taken), counted.buckets)
    for part in parts:
        shifts.merge(part)
    return shifts


def _counted(counting: Counting, buckets: Sequence[Census]) -> Tally:
    tally, properties = counting.tally(), counting.properties
    nobody = properties.nobody() if properties else {}
    for one in buckets:
        users = Users()
        groups = properties.of_bucket(one.bucket) if properties and one.n_people else {}
        for rows in rows_of(counting.folders, one.bucket):
            for row in rows:
                tally.add(row, groups.get(str(row["user"]), nobody))
            users.add(str(row["user"]) for row in rows)
        if users.hash != one.users_hash:
            raise DataError(
                f"bucket {one.bucket} holds {users.n} people, {one.n_people} went in, or others than these; remove "
                f"{counting.folders.of_bucket(one.bucket)} and run again"
            )
    return tally


def _shifted(folders: Folders, taken: Counter[str], buckets: Sequence[Census]) -> Shifts:
    shifts = Shifts(taken)
    for one in buckets:
        for rows in rows_of(folders, one.bucket, COLUMNS):
            for row in rows:
                shifts.add(row)
    return shifts

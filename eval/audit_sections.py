"""From the rows of an audit to all that its report is made of: counts, slices, and what a sample is asked besides."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recexplain.evaluation.audit_cases import cases_of
from recexplain.evaluation.audit_count import Counting, count_rows, shifts_of
from recexplain.evaluation.audit_drawn import Drawn
from recexplain.evaluation.audit_extras import Extras
from recexplain.evaluation.audit_popularity import Shifts
from recexplain.evaluation.audit_report import Counts
from recexplain.evaluation.audit_run import Audit, Counted
from recexplain.evaluation.audit_sensitivity import sensitivity
from recexplain.evaluation.audit_studies import Study, comparison, newest_ranks, quality_of
from recexplain.evaluation.audit_tally import Tally
from recexplain.evaluation.audit_users import Properties, UserTable, sorted_by_bucket
from recexplain.vocabulary import Vocabulary


def counts_of(audit: Audit, counted: Counted, extras: Extras, study: Study) -> Counts:
    """Return what the report is made of."""
    vocabulary = study.checkpoint.vocabulary
    tally, properties = _counted(audit, counted, extras, vocabulary)
    shifts = shifts_of(audit, counted, tally.taken)
    labels = {} if properties is None else properties.labels
    drawn = tally.sample.people
    steady = drawn(extras.sensitivity)
    compared, seconds = None, None
    if extras.comparison:
        compared, seconds = comparison(study, drawn(extras.comparison), extras.compared, tally.taken)
    return Counts(
        tally,
        shifts,
        newest_item=_quality(tally, shifts, study, drawn(extras.quality), audit.selection.history),
        slices=[*tally.slices({}), shifts.slice, *tally.slices(labels)[1:]],
        sensitivity=sensitivity(study, steady, extras.other) if steady else None,
        comparison=compared,
        seconds=seconds,
        cases=cases_of(tally.cases, study, vocabulary),
        users=None if extras.users is None or properties is None else _about_users(extras.users, properties),
    )


def _counted(audit: Audit, counted: Counted, extras: Extras, vocabulary: Vocabulary) -> tuple[Tally, Properties | None]:
    """Count the rows, each with the groups of its person; the sorted copy of the table of people goes again."""
    folder, properties = Path(audit.folders.out, "users"), None
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        if extras.users is not None:
            properties = sorted_by_bucket(extras.users, folder, audit.n_buckets)
        counting = Counting(audit.folders, properties, vocabulary, extras.cases, extras.n_drawn)
        return count_rows(audit, counted, counting), properties
    finally:
        if properties is not None:
            properties.drop()


def _quality(
    tally: Tally, shifts: Shifts, study: Study, people: Sequence[Drawn], history: str
) -> dict[str, Any] | None:
    """Return how the newest items of a sample are ranked, and count the ranks in every group of these people."""
    if not people:
        return None
    ranks = Counter[int]()
    for drawn, rank in newest_ranks(study, people):
        ranks[rank] += 1
        groups = [tally.by_group[name][group] for name, group in drawn.groups.items()]
        for group in (tally.everyone, shifts.group_of(drawn.row), *groups):
            group.ranks[rank] += 1
    found: dict[str, Any] = quality_of(ranks, n_drawn=len(people), history=history)
    return found


def _about_users(table: UserTable, properties: Properties) -> dict[str, Any]:
    return {
        "hash": properties.content_hash,
        "people": properties.n_people,
        "user_col": table.user_col,
        "columns": list(table.columns),
        "crossed": [list(names) for names in table.crossed],
    }

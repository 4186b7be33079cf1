"""Who is asked about: everyone of the data, some of them by name, or some drawn by chance."""

from dataclasses import replace

import numpy as np
from omegaconf import DictConfig, ListConfig

from recexplain.errors import OptionError
from recexplain.evaluation.asked import check_word
from recexplain.evaluation.config import id_in, ids_in
from recexplain.explainers.cases import Person
from recexplain.sequences import Dataset


def people_in(config: DictConfig, dataset: Dataset, *, drawn: bool, target: str | None = None) -> list[Person]:
    """Return who is asked about, with their histories as the user's own ids; `history=test` leaves the newest item out.

    They stand in the order of the data, or in that of a list. A `limit` takes the first; where people are `drawn`, it
    draws them from everyone by the seed, and nobody counts twice. `OptionError`, `UnknownIdError` for a wrong option.
    """
    check_word(config, "history", "full", "test")
    rows = _rows(config, dataset, drawn=drawn)
    if not rows:
        raise OptionError("users is empty; allowed are all, or a list of user ids such as users=[1,2]")
    if drawn and len(set(rows)) < len(rows):
        raise OptionError("users names somebody twice; everyone counts once")
    newest = -1 if config.history == "test" else None
    return [Person(dataset.histories.users[row], _ids(dataset, row)[:newest], target) for row in rows]


def with_test_item(person: Person, dataset: Dataset) -> Person:
    """Return a person with the whole history of the data."""
    return replace(person, history=_ids(dataset, dataset.histories.row_of(str(person.user))))


def counted(dataset: Dataset) -> dict[str, int]:
    """Return how often each item was taken."""
    counts = np.bincount(dataset.histories.items, minlength=dataset.vocabulary.n_items + 1)
    return dict(zip(dataset.vocabulary.ids, counts[1:].tolist(), strict=True))


def _rows(config: DictConfig, dataset: Dataset, *, drawn: bool) -> list[int]:
    if isinstance(config.users, ListConfig):
        return [dataset.histories.row_of(user) for user in ids_in("users", config.users)][: config.limit]
    if config.users != "all":
        return [dataset.histories.row_of(id_in("users", config.users))]
    n_people = len(dataset.histories)
    everyone = np.random.default_rng(config.seed).permutation(n_people) if drawn else np.arange(n_people)
    return sorted(everyone[: config.limit].tolist())


def _ids(dataset: Dataset, row: int) -> list[str]:
    ids = dataset.vocabulary.ids
    return [ids[item - 1] for item in dataset.histories[row]]

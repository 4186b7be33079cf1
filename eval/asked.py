"""What is asked of everyone alike: the options that the entries share, read from the configuration and checked."""

from collections.abc import Mapping

from omegaconf import DictConfig

from recexplain.api import options_of
from recexplain.counterfactual import Options
from recexplain.errors import OptionError, is_whole
from recexplain.evaluation.config import id_in, ids_in
from recexplain.vocabulary import Vocabulary

#: Options that only some entries have.
FURTHER = ("min_age", "max_seconds")


def options_in(config: DictConfig) -> Options:
    """Return what is asked, ids as text; `OptionError` for an option that is none."""
    costs = config.costs if "costs" in config else None
    if not (costs is None or isinstance(costs, DictConfig)):
        raise OptionError(f"costs must be a table of item ids and numbers such as costs={{50:3}}, not {costs!r}")
    return options_of(
        change=config.change,
        k=config.k,
        tau=config.tau,
        wanted=None if config.wanted is None else id_in("wanted", config.wanted),
        wanted_category=None if config.wanted_category is None else str(config.wanted_category),
        removal=config.removal,
        locked=ids_in("locked", config.locked) if "locked" in config else (),
        costs=None if costs is None else {id_in("costs", item): cost for item, cost in costs.items()},
        max_evaluations=config.max_evaluations,
        seed=config.seed,
        **{name: config[name] for name in FURTHER if name in config},
    )


def check_known(options: Options, vocabulary: Vocabulary) -> None:
    """Raise `UnknownIdError` for an item that is asked about and not in the catalogue."""
    for item in (*options.locked, *(item for item, _ in options.costs), *filter(None, [options.wanted])):
        vocabulary.number_of(item)


def check_word(config: DictConfig, name: str, *allowed: str) -> None:
    """Raise `OptionError` unless an option is one of some words."""
    if config[name] not in allowed:
        raise OptionError(f"{name} must be {' or '.join(allowed)}, not {config[name]!r}")


def check_whole(config: DictConfig, numbers: Mapping[str, tuple[int, str | None]]) -> None:
    """Raise `OptionError` unless options are whole numbers: name -> the least, and words on null (None: it is none)."""
    for name, (least, null) in numbers.items():
        value = config[name]
        if not is_whole(value, least) and (value is not None or null is None):
            words = f"{null}, " if null else ""
            raise OptionError(f"{name} must be a whole number of {least} or more, {words}not {value!r}")

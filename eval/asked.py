"""What is asked of everyone alike: the options that the entries share, read from the configuration and checked."""

from collections.abc import Mapping

import numpy as np
from omegaconf import DictConfig

from recexplain.api import options_of
from recexplain.counterfactual import Options
from recexplain.errors import OptionError, is_whole
from recexplain.evaluation.config import id_in, ids_in
from recexplain.explainers.driver import Explainer
from recexplain.explainers.graphs import GraphOptions
from recexplain.recommender import AttentiveRecommender, Recommender, needs_user
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
    """Raise `UnknownIdError` for an item that is asked about and not in the catalogue, or a category likewise."""
    for item in (*options.locked, *(item for item, _ in options.costs), *filter(None, [options.wanted])):
        vocabulary.number_of(item)
    if options.wanted_category is not None:
        vocabulary.ids_in(options.wanted_category)


def check_fits(explainer: Explainer, recommender: Recommender) -> None:
    """Raise `OptionError` where an explainer asks for a layer or a head that the model does not have."""
    if not isinstance(explainer, GraphOptions) or needs_user(recommender):
        return
    if isinstance(recommender, AttentiveRecommender):
        explainer.matrices(np.asarray(recommender.attention(np.array([1]), min(2, recommender.n_items))))


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

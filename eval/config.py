"""From Hydra's configuration to plain values, and back to what a checkpoint records."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from recexplain.adapters.recbole import RecBoleCheckpoint, recbole_checkpoint
from recexplain.adapters.recbole_data import ML_100K
from recexplain.checkpoint import Checkpoint, NotPlainError, read_checkpoint
from recexplain.errors import CheckpointError, DataError, OptionError, RecExplainError
from recexplain.explainers import EXPLAINERS, Explainer
from recexplain.interactions import RECORDED, Interactions, MovieLens100K, Source
from recexplain.sequences import Dataset, load_dataset

AnyCheckpoint = Checkpoint | RecBoleCheckpoint


def plain(config: DictConfig, without: Collection[str] = ("out",)) -> dict[str, Any]:
    """Return a configuration as plain dicts and lists, without the folder it writes to."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items() if name not in without}


def explainer_in(config: DictConfig) -> Explainer:
    """Return the configured explainer: one of ours, or of a class that the user names by its path."""
    options = plain(config, without=("_target_",))
    ours = {f"recexplain.explainers.{explainer.__name__}": explainer for explainer in EXPLAINERS.values()}
    target = config.get("_target_")
    kind: Callable[..., Explainer] = ours[target] if target in ours else _own_explainer(target)
    try:
        return kind(**options)
    except TypeError as error:
        raise OptionError(f"the explainer cannot be built from {options}: {error}") from None


def _own_explainer(path: object) -> Callable[..., Explainer]:
    """Return a class that is none of ours by its path, such as `mine.Alone`; `OptionError` where it is no explainer."""
    module, _, name = str(path).rpartition(".")
    if not module or not all(part.isidentifier() for part in (*module.split("."), name)):
        raise OptionError(
            f"explainer must be one of {', '.join(EXPLAINERS)}, or the path of a class of your own, not {path!r}"
        )
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise OptionError(
            f"the explainer {path} cannot be imported: {error}; Python must find its module (PYTHONPATH)"
        ) from None
    if not isinstance(found, type) or not (hasattr(found, "search") and hasattr(found, "name")):
        raise OptionError(f"{path} is no explainer: it must be a class with a name and a search")
    return found


def ids_in(name: str, value: Any) -> list[str]:
    """Return an option's list of ids as text; `OptionError` for what has been read as something else than an id."""
    if not isinstance(value, ListConfig | list):
        raise OptionError(f"{name} must be a list of ids such as {name}=[1,2], not {value!r}")
    return [id_in(name, one) for one in value]


def id_in(name: str, value: Any) -> str:
    """Return an id as text: a whole number or a text, for 1e0 and true would be taken for something else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise OptionError(f"{name} holds {value!r}, which is no id as it was read; put ids in quotes: {name}=['1e0']")
    return str(value)


def checkpoint_in(config: DictConfig, path: object = None) -> AnyCheckpoint:
    """Return the configured checkpoint, or another one: ours, or one of RecBole with the ids of its atomic files."""
    path = str(config.checkpoint if path is None else path)
    try:
        return read_checkpoint(path)
    except NotPlainError:
        return recbole_checkpoint(Path(path), data=_atomic_files(config))


def _atomic_files(config: DictConfig) -> Path | None:
    """Return the configured `.inter` file of a checkpoint of RecBole; None: the one that it names."""
    source = None if config.data is None else source_of(config.data)
    if source is None:
        return None
    if isinstance(source, MovieLens100K):
        return ML_100K
    if isinstance(source, Interactions) and str(source.path).endswith(".inter"):
        return Path(source.path)
    raise OptionError(
        "a checkpoint of RecBole takes its ids from the .inter file that it was trained on: "
        "data=interactions data.path=<file>.inter, or no data= where that file lies where it lay"
    )


def dataset_of(config: DictConfig, checkpoint: AnyCheckpoint) -> Dataset:
    """Return the data that a checkpoint was trained on, read again and compared by its hash."""
    if isinstance(checkpoint, RecBoleCheckpoint):
        if checkpoint.data is None:
            raise CheckpointError(f"the .inter file that {config.checkpoint} names is not there; give it as data.path=")
        return checkpoint.data
    if config.data is None:
        try:
            dataset = load_dataset(recorded_source(checkpoint.source))
        except DataError as error:
            raise CheckpointError(f"the checkpoint's data cannot be read: {error}; give it with data=") from None
    else:
        dataset = load_dataset(source_of(config.data))
    if dataset.data_hash != checkpoint.data_hash:
        raise CheckpointError(
            f"the data (hash {dataset.data_hash[:12]}) is not what {config.checkpoint} was trained on "
            f"(hash {checkpoint.data_hash[:12]}); give the same ratings, or train on these"
        )
    return dataset


def source_of(config: DictConfig) -> Source:
    """Return the configured source of ratings."""
    source: Source = instantiate(config, _convert_="all")
    if type(source) not in RECORDED.values():
        raise OptionError(f"data must be one of {', '.join(RECORDED)}, not {type(source).__name__}")
    return source


def record(source: Source) -> dict[str, Any]:
    """Return a source as a checkpoint records it; its paths hold from every folder."""
    fields = asdict(source)  # type: ignore[call-overload]  # every recorded source is a dataclass
    for name in ("path", "titles_path"):
        if fields.get(name) is not None:
            fields[name] = str(Path(fields[name]).resolve())
    return {"name": type(source).__name__, **fields}


def recorded_source(recorded: Mapping[str, Any]) -> Source:
    """Return the source that a checkpoint records; only our own classes are ever built."""
    fields = dict(recorded)
    name = str(fields.pop("name", None))
    if name not in RECORDED:
        raise CheckpointError(f"the checkpoint's data is {name!r}; give the data it was trained on with data=")
    try:
        return RECORDED[name](**fields)
    except (TypeError, RecExplainError) as error:
        raise CheckpointError(f"the checkpoint's data cannot be read: {error}; give it with data=") from None

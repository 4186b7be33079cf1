"""From Hydra's configuration to plain values, and back to what a checkpoint records."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from recexplain.errors import CheckpointError, OptionError, RecExplainError
from recexplain.interactions import RECORDED, Source


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain dicts and lists, without the folder it writes to."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items() if name != "out"}


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

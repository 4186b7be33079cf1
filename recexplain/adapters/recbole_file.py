"""What a checkpoint of RecBole holds, read without RecBole and without executing anything of it."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from torch import Tensor

from recexplain.adapters.plain_pickle import Record, Refused, read_plain
from recexplain.errors import CheckpointError

#: What reading a damaged file ends in, inside pickle, NumPy and torch.
DAMAGED = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)


LONGEST = 100_000  # items of a history that a model may be handed: more would be a damaged file
MOST = 100_000  # plain values in one option


@dataclass(frozen=True, eq=False)
class RecBoleFile:
    """A checkpoint that RecBole's trainer has written; it holds no item ids."""

    path: Path
    model: str  # the name of the model, as RecBole's
    config: Mapping[str, Any]  # plain values; what is none, such as a class, is left out
    weights: Mapping[str, Tensor]
    features: Record | None = None  # of models with item features: the layer that keeps them, with RecBole's data

    @property
    def window(self) -> int:
        """How many items of a history RecBole hands to the model."""
        window = self.config.get("MAX_ITEM_LIST_LENGTH")
        if not isinstance(window, int) or not 1 <= window <= LONGEST:
            raise CheckpointError(f"{self.path}: MAX_ITEM_LIST_LENGTH must be 1 to {LONGEST:,}, not {window!r}")
        return window

    @property
    def model_hash(self) -> str:
        """sha256 of the model's name, its options and its weights."""
        digest = hashlib.sha256(json.dumps([self.model, self.config], sort_keys=True, default=repr).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_recbole(path: Path) -> RecBoleFile:
    """Return what a file of RecBole 1.0 to 1.2 holds; `CheckpointError` for any other file, or a damaged one."""
    try:
        content = read_plain(path)
    except Refused as error:
        raise CheckpointError(
            f"{path} is no checkpoint of ours or of RecBole: it asks for {error}, which no checkpoint needs; "
            "nothing in it was executed"
        ) from None
    except DAMAGED as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise CheckpointError(f"{path} is damaged, or no checkpoint of ours or of RecBole: {reason}") from None
    config = content.get("config") if isinstance(content, dict) else None
    weights = content.get("state_dict") if isinstance(content, dict) else None
    options = config.get("final_config_dict") if isinstance(config, Record) else None
    if not isinstance(options, dict) or not isinstance(weights, dict):
        raise CheckpointError(
            f"{path} is no checkpoint of ours or of RecBole: it has no `config` and `state_dict` of RecBole's trainer"
        )
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items()):
        raise CheckpointError(f"{path} holds weights that are no tensors")
    assert isinstance(config, Record)
    other, known = content.get("other_parameter"), dict[int, float]()
    layer = other.get("feature_embed_layer") if isinstance(other, dict) else None
    try:
        plain = {str(name): value for name, value in options.items() if _n_plain(value, known) <= MOST}
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: its configuration is nested without an end") from None
    return RecBoleFile(
        path,
        str(config.get("model")),
        plain,
        dict(weights),
        layer if isinstance(layer, Record) else None,
    )


def _n_plain(value: object, known: dict[int, float]) -> float:
    """Return how many plain values an option holds, each as often as it stands there; infinity where one is not plain.

    `known`: by id, of lists and tables that were counted before, for a file may name one many times.
    """
    if isinstance(value, int):
        return 1 if abs(value) < 2**63 else inf
    if value is None or isinstance(value, str | float):
        return 1
    if not isinstance(value, list | tuple | dict) or (
        isinstance(value, dict) and not all(isinstance(n, str) for n in value)
    ):
        return inf
    if id(value) not in known:
        known[id(value)] = inf  # of one that holds itself
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_n_plain(one, known) for one in parts)
    return known[id(value)]

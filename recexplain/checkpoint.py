"""A trained recommender as one file of plain values: weights, vocabulary, what it was trained on and how well."""

import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recexplain.errors import CheckpointError, OptionError, RecExplainError
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender
from recexplain.vocabulary import Vocabulary

FORMAT = "recexplain checkpoint 1"

#: The models that a checkpoint may name: no other class is ever built from what a file says.
MODELS: dict[str, type[BERT4Rec]] = {"BERT4Rec": BERT4Rec}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What `checkpoint.ckpt` holds, every field a plain value or a tensor."""

    model: Mapping[str, Any]  # "name", one of MODELS, and the arguments of its constructor
    weights: Mapping[str, Tensor]
    vocabulary: Vocabulary
    source: Mapping[str, Any]  # "name" of a recorded source of ratings, and its fields
    data_hash: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)  # the whole training configuration

    def recommender(self, device: str = "cpu") -> NetworkRecommender:
        """Return the trained recommender."""
        network = build_model(self.model)
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            raise CheckpointError(f"the weights do not fit the model {dict(self.model)}: {error}") from None
        return NetworkRecommender(
            network, self.vocabulary, device=device, model_hash=self.model_hash, data_hash=self.data_hash
        )

    @property
    def model_hash(self) -> str:
        """sha256 of the model's arguments and weights."""
        digest = hashlib.sha256(repr(sorted(self.model.items())).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def build_model(model: Mapping[str, Any]) -> BERT4Rec:
    """Return a new network by name and arguments."""
    arguments = dict(model)
    name = arguments.pop("name", None)
    if name not in MODELS:
        raise OptionError(f"model must be one of {', '.join(MODELS)}, not {name!r}")
    try:
        return MODELS[name](**arguments)
    except TypeError as error:
        raise OptionError(f"{name} cannot be built from {arguments}: {error}") from None


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint under a temporary name, then rename it: there is never half a file."""
    content = {
        "format": FORMAT,
        "model": dict(checkpoint.model),
        "weights": {name: tensor.detach().cpu().clone() for name, tensor in checkpoint.weights.items()},
        "items": list(checkpoint.vocabulary.ids),
        "titles": dict(checkpoint.vocabulary.titles),
        "source": dict(checkpoint.source),
        "data_hash": checkpoint.data_hash,
        "metrics": dict(checkpoint.metrics),
        "config": dict(checkpoint.config),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(content, temporary)
    temporary.replace(path)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return what a checkpoint holds; nothing in the file is executed."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise CheckpointError(f"{path} is damaged or no checkpoint of ours: {reason}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no file of the format {FORMAT!r}; `recexplain train` writes it")
    try:
        return Checkpoint(
            model=content["model"],
            weights=content["weights"],
            vocabulary=Vocabulary(tuple(content["items"]), content["titles"]),
            source=content["source"],
            data_hash=content["data_hash"],
            metrics=content["metrics"],
            config=content["config"],
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} lacks a part of the format {FORMAT!r}: {error}") from None


def load(path: str | Path, *, device: str = "cpu") -> NetworkRecommender:
    """Return the recommender of a checkpoint written by `recexplain train`; nothing in the file is executed.

    `CheckpointError` for a file that is missing, damaged or of another kind.
    """
    try:
        return read_checkpoint(path).recommender(device)
    except CheckpointError:
        raise
    except RecExplainError as error:
        raise CheckpointError(f"{path}: {error}") from None

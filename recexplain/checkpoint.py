"""A trained recommender as one file of plain values: weights, vocabulary, what it was trained on and how well."""

import hashlib
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recexplain.errors import CheckpointError, OptionError, RecExplainError
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import Network, NetworkRecommender
from recexplain.models.sasrec import SASRec
from recexplain.vocabulary import Vocabulary

if TYPE_CHECKING:
    from recexplain.adapters.recbole import RecBoleRecommender

FORMAT = "recexplain checkpoint 1"

#: The models that a checkpoint may name: no other class is ever built from what a file says.
MODELS: dict[str, type[Network]] = {"BERT4Rec": BERT4Rec, "SASRec": SASRec}

#: The parts of the format, and what they are.
PARTS: dict[str, type] = {
    "model": dict,
    "weights": dict,
    "items": list,
    "titles": dict,
    "source": dict,
    "data_hash": str,
    "metrics": dict,
    "config": dict,
}
OPTIONAL: dict[str, type] = {"categories": dict}  # a file from before they were known has none

#: What reading a damaged file ends in, here and inside torch.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


class NotPlainError(CheckpointError):
    """A file that holds more than plain values and tensors: it is none of ours, and may be one of RecBole."""


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
        network = build_model(self.model).eval()
        try:
            network.load_state_dict(dict(self.weights))
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[1:2] or [str(error)]
            raise CheckpointError(f"the weights do not fit the model: {reason[0].strip()}") from None
        return NetworkRecommender(
            network, self.vocabulary, device=device, model_hash=self.model_hash, data_hash=self.data_hash
        )

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Checkpoint":
        """Return the checkpoint with other weights."""
        return replace(self, weights=weights)

    @property
    def model_hash(self) -> str:
        """sha256 of the model's arguments and weights."""
        digest = hashlib.sha256(repr(sorted(self.model.items())).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def build_model(model: Mapping[str, Any]) -> Network:
    """Return a new network by name and arguments."""
    arguments = dict(model)
    name = str(arguments.pop("name", None))
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
        "categories": {item: list(names) for item, names in checkpoint.vocabulary.categories.items()},
        "source": dict(checkpoint.source),
        "data_hash": checkpoint.data_hash,
        "metrics": dict(checkpoint.metrics),
        "config": dict(checkpoint.config),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:  # into a path torch would write its name, which holds the process
        torch.save(content, file)
    temporary.replace(path)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return what a checkpoint holds; nothing in the file is executed."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    content = _content(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no file of the format {FORMAT!r}; `recexplain train` writes it")
    content = {name: kind() for name, kind in OPTIONAL.items()} | content
    for name, kind in (PARTS | OPTIONAL).items():
        if not isinstance(content.get(name), kind):
            raise CheckpointError(f"{path} lacks a part of the format {FORMAT!r}: no {name} as {kind.__name__}")
    if not all(isinstance(tensor, Tensor) for tensor in content["weights"].values()):
        raise CheckpointError(f"{path} holds weights that are no tensors")
    if not all(isinstance(names, list) for names in content["categories"].values()):
        raise CheckpointError(f"{path} holds categories that are no lists of names")
    n_items = content["model"].get("n_items")
    if n_items != len(content["items"]):
        raise CheckpointError(f"{path} names {len(content['items'])} items, but its model has {n_items}")
    return Checkpoint(
        model=content["model"],
        weights=content["weights"],
        vocabulary=Vocabulary(tuple(map(str, content["items"])), content["titles"], content["categories"]),
        source=content["source"],
        data_hash=content["data_hash"],
        metrics=content["metrics"],
        config=content["config"],
    )


def _content(path: Path) -> Any:
    """Return the plain values of a file that torch has written; `CheckpointError` where a byte of it has changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums
            is_program = any(name.endswith("/constants.pkl") for name in archive.namelist())  # TorchScript
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: the checksum of its part {damaged} is wrong")
        if is_program:
            raise CheckpointError(f"{path} is no checkpoint of ours: it holds a TorchScript program")
        with warnings.catch_warnings():
            for message in (".*Detected pickle protocol.*", ".*TypedStorage is deprecated.*"):
                warnings.filterwarnings("ignore", message=message)  # of files that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:  # ours, and a `ValueError` too
        raise
    except pickle.UnpicklingError:
        raise NotPlainError(f"{path} is no checkpoint of ours: it holds more than plain values and tensors") from None
    except DAMAGED as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise CheckpointError(f"{path} is damaged or no checkpoint of ours: {reason}") from None


def load(
    path: str | Path, *, items: Sequence[object] | None = None, data: str | Path | None = None, device: str = "cpu"
) -> "NetworkRecommender | RecBoleRecommender":
    """Return the recommender of a checkpoint: ours, or one of RecBole 1.0 to 1.2; nothing in the file is executed.

    A checkpoint of RecBole holds no item ids. They come from `data`, the `.inter` file that it was trained on or its
    folder, or from `items`, all ids in the order of RecBole's numbers; without either from the files that the
    checkpoint names, if they are there. Its scores are those of RecBole's full ranking; `docs/recbole.md` lists the
    models. `CheckpointError` for a file that is missing, damaged, of another kind, or does not fit the data.
    """
    if not isinstance(path, str | Path):
        raise OptionError(f"a checkpoint is the path of a file, not {path!r}")
    path = Path(path)
    try:
        checkpoint = read_checkpoint(path)
    except NotPlainError:
        from recexplain.adapters.recbole import recbole_checkpoint  # noqa: PLC0415  imports pandas

        return recbole_checkpoint(path, items=items, data=data).recommender(device)
    if items is not None or data is not None:
        raise OptionError("a checkpoint of ours holds its item ids; items and data are for those of RecBole")
    try:
        return checkpoint.recommender(device)
    except CheckpointError:
        raise
    except RecExplainError as error:
        raise CheckpointError(f"{path}: {error}") from None

"""RecBole's sequential models, each rebuilt from its own options and weights, without RecBole's data code."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from io import StringIO
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.adapters.recbole_features import features_of
from recexplain.adapters.recbole_file import RecBoleFile
from recexplain.errors import CheckpointError


@dataclass(frozen=True)
class Kind:
    """What there is to know of one of RecBole's models."""

    users: str | None = None  # the weight with a row a user, of models that score for a user; None: they need no user
    items: str = "item_embedding.weight"  # the weight with a row an item, row 0 for padding
    has_mask: bool = False  # whether that has one row more, for the mask
    attends: bool = False  # whether it has L x L attention
    has_entry: bool = False  # whether its scores come from one place of one encoder, whose places are items
    keeps_places: bool = False  # whether an empty place of a history is looked at by nobody
    appends_mask: bool = False  # whether it puts a mask behind a history, and drops the oldest item for it
    is_wide: bool = False  # whether a forward pass holds a table of every place, or dimension, and every item
    why_not: str = ""  # why it cannot be used; empty: it can


NEEDS_CANDIDATES = "it scores candidates that it is given, and has no scores of a whole catalogue"

#: All sequential models of RecBole 1.2.1.
MODELS: Mapping[str, Kind] = {
    "BERT4Rec": Kind(has_mask=True, attends=True, has_entry=True, keeps_places=True, appends_mask=True),
    "CORE": Kind(attends=True, keeps_places=True),
    "Caser": Kind(users="user_embedding.weight"),
    "DIEN": Kind(why_not=NEEDS_CANDIDATES),
    "DIN": Kind(why_not=NEEDS_CANDIDATES),
    "FDSA": Kind(attends=True, keeps_places=True),
    "FEARec": Kind(),
    "FOSSIL": Kind(users="user_lambda.weight"),
    "FPMC": Kind(users="UI_emb.weight", items="IU_emb.weight"),
    "GCSAN": Kind(attends=True),
    "GRU4Rec": Kind(),
    "GRU4RecCPR": Kind(is_wide=True),
    "GRU4RecF": Kind(),
    "GRU4RecKG": Kind(),
    "HGN": Kind(users="user_embedding.weight"),
    "HRM": Kind(users="user_embedding.weight"),
    "KSR": Kind(why_not="its checkpoints lack the vectors of relations, which it keeps beside its weights"),
    "LightSANs": Kind(),
    "NARM": Kind(),
    "NPE": Kind(users="user_embedding.weight"),
    "NextItNet": Kind(),
    "RepeatNet": Kind(items="item_matrix.weight", is_wide=True),
    "S3Rec": Kind(has_mask=True, attends=True, has_entry=True, keeps_places=True),
    "SASRec": Kind(attends=True, has_entry=True, keeps_places=True),
    "SASRecCPR": Kind(attends=True, is_wide=True),
    "SASRecF": Kind(attends=True, has_entry=True, keeps_places=True),
    "SHAN": Kind(users="user_embedding.weight"),
    "SINE": Kind(),
    "SRGNN": Kind(),
    "STAMP": Kind(),
    "TransRec": Kind(users="user_embedding.weight", is_wide=True),
}

#: What RecBole's constructors end in where the options do not fit.
UNBUILDABLE = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    RuntimeError,
    ZeroDivisionError,
    MemoryError,
    SystemExit,  # two of them leave so
)


class Options(dict[str, Any]):
    """A model's options as RecBole's constructors read them: what is not there is None."""

    def __missing__(self, name: str) -> None:
        return None


@dataclass(frozen=True, eq=False)
class Table:
    """What RecBole's constructors ask of a data set, from the checkpoint alone."""

    item_num: int  # rows of padding and items
    user_num: int
    counts: Mapping[str, int]  # field -> how many values it has, with padding
    config: Options
    field2type: Mapping[str, Any] = field(default_factory=dict)
    field2seqlen: Mapping[str, int] = field(default_factory=dict)
    inter_feat: Mapping[str, Tensor] = field(default_factory=dict)
    item_feat: Any = None
    entities: np.ndarray | None = None  # (items, dim): zeros, in place of what the weights hold

    def num(self, name: str) -> int:
        """Return how many values a field has."""
        return self.counts[name]

    def get_item_feature(self) -> Any:
        """Return the features of the items; None where the checkpoint has none."""
        return self.item_feat

    def get_preload_weight(self, _: str) -> np.ndarray | None:
        """Return a table that the weights of the checkpoint then replace."""
        return self.entities


def kind_of(file: RecBoleFile) -> Kind:
    """Return what there is to know of a checkpoint's model; `CheckpointError` where it cannot be used."""
    kind = MODELS.get(file.model)
    if kind is None:
        raise CheckpointError(
            f"{file.path} is of the model {file.model!r}, which is none of RecBole's sequential ones; they are "
            f"{', '.join(MODELS)}"
        )
    if kind.why_not:
        raise CheckpointError(f"{file.path} is of the model {file.model}, which cannot be used: {kind.why_not}")
    if file.model == "BERT4Rec" and "output_bias" not in file.weights:
        raise CheckpointError(
            f"{file.path} is of BERT4Rec as RecBole had it up to 1.1.1, without an output layer and with another "
            "place for the mask; train it again with RecBole 1.2 or later"
        )
    for name in filter(None, (kind.items, kind.users)):
        if name not in file.weights or file.weights[name].ndim != 2:
            raise CheckpointError(f"{file.path} lacks a part of {file.model}: the weights have no table {name}")
    return kind


def build_module(file: RecBoleFile, device: torch.device) -> nn.Module:
    """Return the model of a checkpoint with its weights, on a device, in evaluation mode."""
    kind = kind_of(file)
    options = Options({**file.config, "device": device})
    if file.model == "FPMC":
        options.setdefault("loss_type", "BPR")  # RecBole 1.0 has no other
    if file.model == "S3Rec":
        options["train_stage"] = "pretrain"  # its constructor would read another file; scores are the same
    try:
        module = import_module(f"recbole.model.sequential_recommender.{file.model.lower()}")
        with _quiet():
            model: nn.Module = getattr(module, file.model)(options, _table(file, kind, options))
    except UNBUILDABLE as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{file.path}: {file.model} cannot be built from its options: {why}") from None
    try:
        model.load_state_dict(dict(file.weights))
    except RuntimeError as error:
        reason = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(f"{file.path}: the weights do not fit {file.model}: {reason[0].strip()}") from None
    return model.to(device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing printed, and the random numbers of the caller left as they were: the weights are replaced anyway."""
    state = np.random.get_state()  # noqa: NPY002  of one of the models
    with redirect_stdout(StringIO()), torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def _table(file: RecBoleFile, kind: Kind, options: Options) -> Table:
    n_rows = file.weights[kind.items].shape[0] - kind.has_mask
    n_users = file.weights[kind.users].shape[0] if kind.users else 0
    item, user = options["ITEM_ID_FIELD"], options["USER_ID_FIELD"]
    counts = {item: n_rows, user: n_users}
    features = features_of(file)
    entities = file.weights.get("entity_embedding.weight")
    if file.model == "S3Rec":
        counts[options["item_attribute"]] = file.weights["feature_embedding.weight"].shape[0] + 1
    return Table(
        n_rows,
        n_users,
        {**counts, **features.counts},
        options,
        field2type=features.types,
        field2seqlen={f"{item}{options['LIST_SUFFIX']}": file.window},
        inter_feat={item: torch.zeros(0, dtype=torch.int64)},
        item_feat=features.table,
        entities=None if entities is None else np.zeros(tuple(entities.shape), dtype=np.float32),
    )

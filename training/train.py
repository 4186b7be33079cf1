"""The entry `recexplain train`: data -> fitted model -> checkpoint, figures beside counting models, model card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812  its usual name
import numpy as np
import torch
from hydra.utils import get_class, instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from rich.console import Console

from recexplain.checkpoint import MODELS, Checkpoint, build_model, read_checkpoint, save_checkpoint
from recexplain.errors import OptionError, is_whole
from recexplain.evaluation.config import plain, record, source_of
from recexplain.evaluation.files import open_folder, write_text
from recexplain.evaluation.ranking import held_out_ranks, hit_rate_at, mean_reciprocal_rank, ndcg_at
from recexplain.models.counting import Popularity, SequentialRules
from recexplain.models.network import NetworkRecommender
from recexplain.recommender import Recommender
from recexplain.sequences import Histories, Split, leave_one_out, load_dataset
from recexplain.training.batches import HistoryData
from recexplain.training.card import model_card, quality_table, verdict
from recexplain.training.module import SequenceModule
from recexplain.training.progress import RunProgress, quiet
from recexplain.training.recipe import Recipe
from recexplain.training.record import Interruption, Patience, RunRecord


def train(config: DictConfig, out: Path) -> None:
    """Train, or go on with a stopped run of the same options in `out`; a finished one is only shown again."""
    source, recipe, model = source_of(config.data), _recipe(config), _model(config)
    _check_model(model, recipe)  # wrong options stop here, before anything is read or written
    trainer_options = _trainer_options(config)
    dataset = load_dataset(source)
    split = leave_one_out(_limited(dataset.histories, config.limit))
    options = plain(config)
    open_folder(out, "train", {**options, "data_hash": dataset.data_hash})
    path, console = out / "checkpoint.ckpt", Console()
    if path.exists():
        console.print(f"{path} is finished already")
    else:
        n_items = dataset.vocabulary.n_items
        trainer = trainer_of(trainer_options, recipe, out / "training")
        fitted = fit(trainer, split, recipe, {**model, "n_items": n_items}, config.seed)
        metrics = _measure(fitted, n_items, split)
        checkpoint = Checkpoint(
            fitted.model, fitted.weights, dataset.vocabulary, record(source), dataset.data_hash, metrics, options
        )
        save_checkpoint(checkpoint, path)
    checkpoint = read_checkpoint(path)
    write_text(out / "metrics.json", json.dumps(checkpoint.metrics, indent=2) + "\n")
    write_text(out / "card.md", model_card(checkpoint))
    console.print(quality_table(checkpoint.metrics))
    console.print(verdict(checkpoint.metrics))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training run ends with: the weights of the epoch that validated best."""

    model: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    epochs: int  # trained
    best_epoch: int  # from 1
    seconds: float
    cpu_seconds: float


def fit(trainer: L.Trainer, split: Split, recipe: Recipe, model: Mapping[str, Any], seed: int) -> Fitted:
    """Train with early stopping; goes on from the folder's `last.ckpt` where there is one."""
    network = build_model(model)
    data = HistoryData(split, recipe, length=network.encoder.n_places, mask_item=network.mask_item, seed=seed)
    total_steps = recipe.epochs * data.steps_per_epoch(trainer.world_size)
    module = SequenceModule(model, recipe, total_steps=total_steps, seed=seed)
    folder = Path(trainer.default_root_dir)
    last = folder / "last.ckpt"
    try:
        trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C, after it has shut down
        raise KeyboardInterrupt from None
    best, end = (
        torch.load(folder / name, map_location="cpu", weights_only=True) for name in ("best.ckpt", "last.ckpt")
    )
    record = end["callbacks"][RunRecord.__qualname__]
    return Fitted(
        model=model,
        weights={name.removeprefix("model."): tensor for name, tensor in best["state_dict"].items()},
        epochs=len(record["rows"]),
        best_epoch=int(best["epoch"]) + 1,
        seconds=record["seconds"],
        cpu_seconds=record["cpu_seconds"],
    )


def trainer_of(options: Mapping[str, Any], recipe: Recipe, folder: Path) -> L.Trainer:
    """Return a trainer that keeps its record and its checkpoints in a folder, and goes on from what is there."""
    record = RunRecord(folder)
    return L.Trainer(
        **options,
        default_root_dir=folder,
        max_epochs=recipe.epochs,
        check_val_every_n_epoch=min(recipe.validate_every, recipe.epochs),  # a run without a validation keeps nothing
        reload_dataloaders_every_n_epochs=1,  # every epoch draws its own windows
        callbacks=[
            record,
            RunProgress(record),
            Patience(recipe),
            ModelCheckpoint(folder, "best", monitor="val_ndcg10", mode="max", enable_version_counter=False),
            ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False),
            Interruption(folder / "last.ckpt"),
        ],
        log_every_n_steps=1,
        use_distributed_sampler=False,  # batches know their process; everyone validates on everyone
        enable_model_summary=False,
        enable_progress_bar=False,  # ours spans the whole run
        num_sanity_val_steps=0,
    )


def _measure(fitted: Fitted, n_items: int, split: Split) -> dict[str, Any]:
    """Return the figures of the model and of the counting models beside it, on the test items of everyone."""
    network = build_model(fitted.model).eval()
    network.load_state_dict(dict(fitted.weights))
    model = NetworkRecommender(network)
    rivals: dict[str, Recommender] = {
        str(fitted.model["name"]): model,
        "popularity": Popularity(split.train, n_items),
        "Markov-1": SequentialRules(split.train, n_items, last=1),
        "sequential rules": SequentialRules(split.train, n_items),
        "sequential rules, confidence": SequentialRules(split.train, n_items, confidence=True),
    }
    return {
        "test": {name: _figures(held_out_ranks(rival, split.test)) for name, rival in rivals.items()},
        "validation": _figures(held_out_ranks(model, split.valid)),
        "n_users": len(split.test),
        "n_items": n_items,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "seconds": round(fitted.seconds, 1),
        "cpu_seconds": round(fitted.cpu_seconds, 1),
    }


def _figures(ranks: np.ndarray) -> dict[str, float]:
    return {"ndcg10": ndcg_at(ranks, 10), "hr10": hit_rate_at(ranks, 10), "mrr": mean_reciprocal_rank(ranks)}


def _recipe(config: DictConfig) -> Recipe:
    """Return the configured recipe; the seed is checked with it."""
    if not is_whole(config.seed, 0):
        raise OptionError(f"seed must be a whole number of 0 or more, not {config.seed!r}")
    recipe = instantiate(config.recipe)
    if not isinstance(recipe, Recipe):
        raise OptionError(f"recipe must be a Recipe, not {type(recipe).__name__}")
    return recipe


def _trainer_options(config: DictConfig) -> dict[str, Any]:
    """Return the options of `trainer`; several devices are driven by processes of our own, spawned for the training.

    `OptionError` where Lightning refuses them.
    """
    quiet()
    options: dict[str, Any] = {"logger": False, **plain(config)["trainer"]}
    clip = options.get("gradient_clip_val")
    if clip is not None and not (isinstance(clip, int | float) and clip >= 0):
        raise OptionError(f"trainer.gradient_clip_val must be 0 or more, or null for no bound, not {clip!r}")
    try:
        tried = L.Trainer(**options, enable_checkpointing=False, enable_progress_bar=False)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise OptionError(f"trainer cannot be built from these options: {error}") from None
    if tried.num_devices > 1 and options.get("strategy", "auto") == "auto":
        options["strategy"] = "ddp_spawn"
    return options


def _model(config: DictConfig) -> dict[str, Any]:
    """Return name and arguments of the configured model, as a checkpoint holds them."""
    arguments = plain(config)["model"]
    model = get_class(arguments.pop("_target_"))
    if model not in MODELS.values():
        raise OptionError(f"model must be one of {', '.join(MODELS)}, not {model.__name__}")
    return {"name": model.__name__, **arguments}


def _check_model(model: Mapping[str, Any], recipe: Recipe) -> None:
    """Raise `OptionError` where the model cannot be built, or not be trained by this recipe."""
    is_masked = build_model({**model, "n_items": 1}).mask_item is not None
    if is_masked != recipe.masked:
        fitting, what = ("cloze", "a mask") if is_masked else ("next_item", "no mask")
        raise OptionError(f"{model['name']} has {what}: train it with recipe={fitting}, not recipe={recipe.name}")


def _limited(histories: Histories, limit: int | None) -> Histories:
    """Return the first `limit` users only."""
    if limit is None:
        return histories
    if not is_whole(limit, 1):
        raise OptionError(f"limit must be a whole number of 1 or more, or null for everyone, not {limit!r}")
    return Histories(histories.users[:limit], histories.items, histories.starts[: limit + 1])

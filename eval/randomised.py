"""Recommenders that have unlearnt: trained weights in another order, for the sanity check of explanations."""

import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from recexplain.adapters.recbole import RecBoleCheckpoint
from recexplain.checkpoint import Checkpoint

#: The number of a layer in the name of a weight: ours, those of RecBole's Transformers, convolutions and GRUs.
LAYER = re.compile(r"(?:layers?|residual_blocks)\.(\d+)\.|_l(\d+)$")

AnyCheckpoint = TypeVar("AnyCheckpoint", Checkpoint, RecBoleCheckpoint)


def randomised(checkpoint: AnyCheckpoint, seed: int) -> AnyCheckpoint:
    """Return a checkpoint whose weights are all shuffled, each tensor's among themselves.

    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (model parameter randomisation): what explains a
    model must change with it. Shuffled, not drawn anew, so that every tensor keeps its scale. Such a model hardly
    answers to a history at all: orders of items can be compared with it, smallest sets cannot, for there are none.
    """
    return _shuffled(checkpoint, seed, lambda _, __: True)


def deepest_randomised(checkpoint: AnyCheckpoint, seed: int) -> AnyCheckpoint | None:
    """Return a checkpoint whose deepest layer has its matrices shuffled, each among itself.

    The first step of the cascading randomisation there; the model still answers to the history, so that there are sets
    to compare. Norms and biases stay. None for a model of RecBole whose layers have no numbers.
    """
    layers = {name: int(found[1] or found[2]) for name in checkpoint.weights if (found := LAYER.search(name))}
    if not layers:
        return None
    deepest = {name for name, layer in layers.items() if layer == max(layers.values())}
    return _shuffled(checkpoint, seed, lambda name, tensor: name in deepest and tensor.ndim > 1)


def _shuffled(checkpoint: AnyCheckpoint, seed: int, is_meant: Callable[[str, Tensor], bool]) -> AnyCheckpoint:
    rng = np.random.default_rng([seed, 0])
    weights = dict(checkpoint.weights)
    for name, tensor in sorted(checkpoint.weights.items()):
        if is_meant(name, tensor):
            flat = tensor.detach().cpu().reshape(-1)
            weights[name] = flat[torch.from_numpy(rng.permutation(flat.numel()))].reshape(tensor.shape).clone()
    return checkpoint.with_weights(weights)

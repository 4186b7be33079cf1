"""Our own networks at the door of their encoder."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.attribution.trace import Block, Entry, Head, ItemVectors, Run, evaluating, layer_traces, watched
from recexplain.models.attention import Layer
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import Network


def network_entry(model: Network, histories: Sequence[np.ndarray]) -> Entry:
    """Return histories of item numbers at the door of our BERT4Rec or SASRec, on the model's device.

    BERT4Rec is read at a mask behind the items, SASRec at the newest item.
    """
    device = model.encoder.position_embedding.weight.device
    items, positions = (torch.from_numpy(array).to(device) for array in _inputs(model, histories))
    blocks = [_block(cast("Layer", layer)) for layer in model.encoder.layers]
    with evaluating(model), torch.no_grad():
        h0, allowed = model.encoder.entry(items)

    def run(h0: Tensor, rows: Tensor) -> Run:
        of_rows = allowed if len(allowed) == 1 else allowed[rows]
        with evaluating(model), watched(blocks) as found:
            x = h0
            for layer, tensors in zip(model.encoder.layers, found, strict=True):
                x, tensors["attention"] = cast("Layer", layer).explain(x, of_rows)
            logits = model.logits(x[:, -1])
        no_item = logits.new_full((len(logits), 1), -torch.inf)
        return Run(torch.cat([no_item, logits], dim=1), layer_traces(blocks, found))

    readout = items.new_full((len(items),), items.shape[1] - 1)
    return Entry(h0, items != 0, readout, positions, run, _head(model), _vectors(model, items, positions >= 0))


def _inputs(model: Network, histories: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(batch, places) int64 items, padded with 0 on the left and the mask last, and their positions in the history."""
    asking = 0 if model.mask_item is None else 1
    n_places = max(min(max(map(len, histories)) + asking, model.encoder.n_places), 1)
    items = np.zeros((len(histories), n_places), dtype=np.int64)
    positions = np.full_like(items, -1)
    for row, history in enumerate(histories):
        n_seen = min(len(history), n_places - asking)
        places = slice(n_places - asking - n_seen, n_places - asking)
        items[row, places] = history[len(history) - n_seen :]
        positions[row, places] = np.arange(len(history) - n_seen, len(history))
    positions[items == 0] = -1
    if model.mask_item is not None:
        items[:, -1] = model.mask_item
    return items, positions


def _vectors(model: Network, items: Tensor, is_item: Tensor) -> ItemVectors:
    """Return the vectors of items, (batch, places); those of the mask and the padding are not exchanged."""
    encoder = model.encoder
    newest_first = torch.arange(items.shape[1] - 1, -1, -1, device=items.device)

    def enter(vectors: Tensor, rows: Tensor) -> Tensor:
        stays = encoder.item_embedding(items[rows]) * ~is_item[rows, :, None]
        embedded = vectors * is_item[rows, :, None] + stays + encoder.position_embedding(newest_first)
        h0: Tensor = encoder.input_norm(embedded)
        return h0

    return ItemVectors((encoder.item_embedding(items) * is_item[:, :, None]).detach(), enter)


def _block(layer: Layer) -> Block:
    attention, feed_forward = layer.attention, layer.feed_forward
    first, second = cast("nn.Linear", feed_forward[0]), cast("nn.Linear", feed_forward[2])
    return Block(
        attention.heads,
        attention.query,
        attention.key,
        attention.value,
        attention.output,
        layer.attention_norm,
        first,
        second,
        layer.feed_forward_norm,
    )


def _head(model: Network) -> Head:
    vectors = model.encoder.item_embedding.weight[: model.n_items + 1]
    return Head(tuple(model.head) if isinstance(model, BERT4Rec) else (), vectors)

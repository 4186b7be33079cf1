"""Encoders of Hugging Face, built from a configuration with random weights: none is downloaded."""

from typing import Any

import numpy as np
import pytest
import torch
from contracts import AttentiveRecommenderContract
from torch import Tensor, nn

import recexplain
from recexplain.adapters.modules import AttentiveModuleRecommender
from recexplain.recommender import Recommender

transformers = pytest.importorskip("transformers", reason="no transformers; pip install transformers")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # its own
]

IDS, WINDOW = [f"f{n}" for n in range(1, 10)], 6
SMALL = {"vocab_size": 11, "pad_token_id": 0, "attn_implementation": "eager"}  # padding, items, a mask


def bert() -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model: nn.Module = transformers.BertForMaskedLM(
        transformers.BertConfig(**SMALL, **sizes, max_position_embeddings=WINDOW, initializer_range=0.5)
    )
    return model


def gpt2() -> nn.Module:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": WINDOW, "initializer_range": 0.5}
    model: nn.Module = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SMALL, **sizes))
    return model


def asked(model: nn.Module, items: Tensor, **more: Any) -> Any:
    """What an encoder says of items with zeros on the left, which nobody looks at; of none at all, the last zero."""
    real = (items > 0).long()
    real[:, -1] = 1
    return model(input_ids=items, attention_mask=real, **more)


def newest(model: nn.Module, items: Tensor) -> Tensor:
    logits: Tensor = asked(model, items).logits[:, -1, :10]
    return logits


def attentions(model: nn.Module, items: Tensor) -> Any:
    return asked(model, items, output_attentions=True).attentions


def recommender(build: Any, **more: Any) -> AttentiveModuleRecommender:
    torch.manual_seed(0)
    found = recexplain.from_module(build(), IDS, max_length=WINDOW, call=newest, attention=attentions, **more)
    assert isinstance(found, AttentiveModuleRecommender)
    return found


class TestBert(AttentiveRecommenderContract):
    def recommender(self) -> Recommender:
        return recommender(bert, mask_item=10)


class TestGPT2(AttentiveRecommenderContract):
    def recommender(self) -> Recommender:
        return recommender(gpt2)


@pytest.mark.parametrize("build", [bert, gpt2])
def test_explanations_hold_and_the_attention_is_that_of_the_encoder(build: Any) -> None:
    found = recommender(build)
    own = attentions(found.module.eval(), torch.tensor([[0, 0, 0, 4, 2, 7]]))
    assert len(own) == 2
    expected = torch.cat(own)[:, :, 3:, 3:].detach()
    np.testing.assert_allclose(found.attention(np.array([4, 2]), 7), expected, atol=1e-6)
    for explainer in ("causal", "cleann", "attention", "exhaustive"):
        told = recexplain.explain(found, IDS[:5], change="list", k=3, tau=0.3, explainer=explainer)
        assert recexplain.verify(found, [told]) == []

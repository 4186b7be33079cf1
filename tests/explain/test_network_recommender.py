"""Our networks behind the protocol: what is computed, what is left as it was, and what a checkpoint keeps."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recexplain
from recexplain import counterfactual as verdict
from recexplain.checkpoint import Checkpoint, save_checkpoint
from recexplain.errors import CheckpointError, OptionError
from recexplain.models import attention as attention_module
from recexplain.models import products
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import PLACES, Network, NetworkRecommender, batches_of
from recexplain.models.sasrec import SASRec
from recexplain.vocabulary import Vocabulary

MODEL = {"name": "BERT4Rec", "n_items": 11, "max_length": 6, "dim": 8, "layers": 2, "heads": 2, "dropout": 0.3}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

pytestmark = pytest.mark.usefixtures("one_thread")


OPTIONS = {name: value for name, value in MODEL.items() if name != "name"}


@pytest.fixture
def network() -> Network:
    """Untrained, but with weights of a size that matters."""
    return loud(BERT4Rec(**OPTIONS))


@pytest.fixture(params=[BERT4Rec, SASRec])
def either(request: pytest.FixtureRequest) -> Network:
    return loud(request.param(**OPTIONS))


def loud(network: Network) -> Network:
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=draw))
    return network


def by_hand(network: Network, items: list[int]) -> Tensor:
    """The scores after a padded input, by the formulas of the papers, one position and one head at a time."""
    state = {name.removeprefix("encoder."): tensor for name, tensor in network.state_dict().items()}
    x = torch.stack([state["item_embedding.weight"][item] for item in items])
    x = x + torch.stack([state["position_embedding.weight"][len(items) - 1 - place] for place in range(len(items))])
    x = normed(x, network.encoder.input_norm)
    present = [place for place, item in enumerate(items) if item != 0]
    for layer in network.encoder.layers:
        attention, dim = layer.attention, x.shape[1] // layer.attention.heads
        gathered = []
        for place in range(len(items)):
            seen = present if isinstance(network, BERT4Rec) else [other for other in present if other <= place]
            seen = seen or [place]  # before the first item there is nothing but the place itself
            parts = []
            for head in range(attention.heads):
                of_head = slice(head * dim, (head + 1) * dim)
                query = attention.query(x[place])[of_head]
                logits = torch.stack([query @ attention.key(x[other])[of_head] / dim**0.5 for other in seen])
                shares = torch.exp(logits) / torch.exp(logits).sum()
                parts.append(sum(s * attention.value(x[o])[of_head] for s, o in zip(shares, seen, strict=True)))
            gathered.append(attention.output(torch.cat(parts)))
        x = normed(x + torch.stack(gathered), layer.attention_norm)
        x = normed(x + layer.feed_forward(x), layer.feed_forward_norm)
    vectors = state["item_embedding.weight"][1 : network.n_items + 1]
    return vectors @ network.head(x[-1]) + state["item_bias"] if isinstance(network, BERT4Rec) else vectors @ x[-1]


def normed(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + norm.eps) * norm.weight + norm.bias


@pytest.mark.parametrize("history", [[3], [3, 1, 4, 1, 5, 9], [3, 0, 4, 0, 0, 9], [0, 2, 0], [0, 0]], ids=str)
def test_scores_are_those_of_the_formulas_and_what_is_padded_is_not_attended(
    history: list[int], either: Network
) -> None:
    scores = NetworkRecommender(either).scores([np.array(history)])[0]
    assert scores[0] == -np.inf
    with torch.no_grad():
        expected = by_hand(either, history if either.mask_item is None else [*history, either.mask_item]).numpy()
    np.testing.assert_allclose(scores[1:], expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected) > 1


@pytest.mark.parametrize("padding", [0, 2])
def test_the_open_path_gives_the_states_of_the_fast_one(padding: int, either: Network) -> None:
    either.eval()
    items = torch.tensor([[0] * padding + [3, 1, 0, 11], [0] * padding + [4, 4, 2, 9]])
    is_asked = items == 0  # what follows asks every place, then a few, not as many in every row
    with torch.no_grad():
        states, weights = either.explain(items)
        torch.testing.assert_close(states.flatten(0, 1), either(items, torch.ones_like(is_asked)), **CLOSE)
        is_asked[:, :] = False
        is_asked[0, 1] = is_asked[1, 3] = is_asked[1, 2] = True
        torch.testing.assert_close(states[is_asked], either(items, is_asked), **CLOSE)
        torch.testing.assert_close(either.logits(states[:, -1]), either.predict(items), **CLOSE)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    is_pad = (items == 0)[:, None, None, None, :] & (items != 0)[:, None, None, :, None]
    assert (weights.masked_select(is_pad) == 0).all()


def test_sasrec_never_looks_ahead() -> None:
    network = loud(SASRec(**OPTIONS)).eval()
    items, changed = torch.tensor([[3, 1, 5, 9]]), torch.tensor([[3, 1, 5, 2]])
    with torch.no_grad():
        states, weights = network.explain(items)
        torch.testing.assert_close(states[:, :3], network.explain(changed)[0][:, :3])
    assert (weights.triu(1) == 0).all()


def test_attention_is_over_the_newest_items_that_fit_and_the_target(either: Network) -> None:
    recommender = NetworkRecommender(either)
    history = np.array([9, 8, 7, 6, 5, 4, 3, 2])
    attention = recommender.attention(history, 11)
    seen = [7, 6, 5, 4, 3, 2, 11] if either.mask_item else [6, 5, 4, 3, 2, 11]  # a mask has a place of its own
    assert attention.shape == (2, 2, len(seen), len(seen))
    assert attention.dtype == np.float64
    with torch.inference_mode():
        _, expected = either.eval().explain(torch.tensor([seen]))
    np.testing.assert_array_equal(attention, expected[0].double().numpy())
    assert not np.allclose(attention[:, :, -1], recommender.attention(history, 10)[:, :, -1])


def test_flags_and_weights_are_left_as_they_were_after_an_error_too(network: Network) -> None:
    network.train()
    network.encoder.layers[0].eval()  # a mixture, which `model.train()` would not restore
    flags = [module.training for module in network.modules()]
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recommender = NetworkRecommender(network)
    first = recommender.scores([np.array([1, 2])])
    recommender.attention(np.array([1, 2]), 3)
    with pytest.raises(IndexError):
        recommender.scores([np.array([99])])
    assert [module.training for module in network.modules()] == flags
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    np.testing.assert_array_equal(recommender.scores([np.array([1, 2])]), first)  # dropout is off


def test_more_histories_than_one_forward_pass_takes(either: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    monkeypatch.setitem(PLACES, "cpu", 100)
    monkeypatch.setattr(attention_module, "CACHED", 20)  # each of them in several parts
    histories = [draw.integers(1, 12, length) for length in draw.integers(0, 9, 300)]
    recommender = NetworkRecommender(either)
    alone = np.concatenate([recommender.scores([history]) for history in histories[::10]])
    np.testing.assert_allclose(recommender.scores(histories)[::10], alone, rtol=0, atol=verdict.CLOSE / 2)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("build", [BERT4Rec, SASRec])
def test_the_newest_place_alone_has_the_state_that_it_has_among_all(build: type[Network], layers: int) -> None:
    network = loud(build(**OPTIONS | {"layers": layers})).eval()
    items = torch.tensor([[0, 0, 0, 5], [3, 1, 0, 11], [3, 1, 7, 11], [4, 1, 7, 11]])
    with torch.no_grad():
        torch.testing.assert_close(network.encoder.last(items), network.explain(items)[0][:, -1], **CLOSE)


def test_gradients_flow_through_the_newest_place_as_through_all(either: Network) -> None:
    items = torch.tensor([[3, 1, 7, 11], [3, 1, 0, 11]])
    found = []
    for states in (either.eval().encoder.last(items), either.explain(items)[0][:, -1]):
        either.zero_grad()
        states.pow(3).sum().backward()
        found.append(either.encoder.layers[0].attention.key.weight.grad.clone())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)
    assert found[0].abs().max() > 0.01


@pytest.mark.parametrize(("has_onednn", "few"), [(True, 14), (True, 15), (False, 14)])
def test_a_product_is_the_same_by_every_kernel(has_onednn: bool, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_onednn and not products._has_onednn():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(products, "_has_onednn", lambda: has_onednn)
    monkeypatch.setattr(products, "FEW", few)
    has_onednn = has_onednn and few == 14  # x has one row more
    x, wide, narrow = torch.randn(3, 5, 4), nn.Linear(4, 6), nn.Linear(6, 2)
    both, seen = nn.Sequential(wide, nn.GELU(), narrow), list[Tensor]()
    narrow.register_forward_hook(lambda _, __, output: seen.append(output))
    first = x.double() @ wide.weight.double().T + wide.bias
    second = first * (1 + torch.erf(first / 2**0.5)) / 2 @ narrow.weight.double().T + narrow.bias
    near = {"rtol": 1e-5, "atol": 1e-5}
    with torch.inference_mode():
        torch.testing.assert_close(products.linear(x, wide.weight).double(), first - wide.bias, **near)
        torch.testing.assert_close(products.through(wide, x).double(), first, **near)
        torch.testing.assert_close(products.perceptron(both, x).double(), second, **near)
        onto = torch.randn(3, 5, 2)
        torch.testing.assert_close(products.perceptron(both, x, onto).double(), onto + second, **near)
        summed = products.through(wide, x, onto @ torch.ones(2, 6)).double()
        torch.testing.assert_close(summed, onto.double() @ torch.ones(2, 6).double() + first, **near)
    assert len(seen) == 2 * (not has_onednn)
    with torch.no_grad():  # an open path: whoever watches a layer sees it
        torch.testing.assert_close(products.perceptron(both, x).double(), second, **near)
        torch.testing.assert_close(products.perceptron(both, x, onto).double(), onto + second, **near)
    assert len(seen) == 2 + 2 * (not has_onednn)
    assert products.perceptron(both, x).requires_grad


def test_a_build_without_the_operation_is_told_from_one_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise AttributeError

    for name in ("_onednn", "_onednn_onto"):
        for other in (absent, lambda *_: torch.zeros(1, 1)):  # the latter answers, but wrongly
            with monkeypatch.context() as patched:
                patched.setattr(products, name, other)
                assert not products._has_onednn.__wrapped__()


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([], []),
        ([500], [[0]]),  # more than fits, but alone
        ([9, 3, 9, 3], [[1, 3, 0, 2]]),  # 36 places
        ([20, 20, 20], [[0, 1], [2]]),
        ([1] * 33 + [2], [[*range(33)], [33]]),  # enough for a pass of their own
        ([1] * 19 + [2], [[*range(20)]]),
    ],
)
def test_histories_of_like_lengths_go_together(lengths: list[int], batches: list[list[int]]) -> None:
    found = [
        rows.tolist() for rows in batches_of(np.array(lengths, dtype=int), 50 if lengths != [1] * 33 + [2] else 99)
    ]
    assert found == batches


def test_an_absent_device_is_refused_in_a_sentence(network: Network) -> None:
    assert NetworkRecommender(network, device="cpu").device == torch.device("cpu")
    with pytest.raises(OptionError, match="the device 'abacus' cannot be used here"):
        NetworkRecommender(network, device="abacus")


@pytest.fixture
def checkpoint() -> Checkpoint:
    network = loud(BERT4Rec(**OPTIONS))
    vocabulary = Vocabulary(
        tuple(f"film {n}" for n in range(1, 12)), {"film 3": "Amélie (2001)"}, {"film 3": ["Romance"]}
    )
    return Checkpoint(MODEL, network.state_dict(), vocabulary, {"name": "ML100K"}, "data", {"ndcg": 0.1}, {"seed": 3})


def test_a_checkpoint_gives_the_same_scores_and_the_same_hash(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / "checkpoint.ckpt")
    before, after = checkpoint.recommender(), recexplain.load(tmp_path / "checkpoint.ckpt")
    histories = [np.array([1, 2, 3]), np.array([4])]
    np.testing.assert_array_equal(before.scores(histories), after.scores(histories))
    np.testing.assert_array_equal(before.attention(histories[0], 5), after.attention(histories[0], 5))
    assert after.model_hash == checkpoint.model_hash
    assert after.data_hash == "data"
    assert after.vocabulary == checkpoint.vocabulary
    assert after.vocabulary is not None
    assert after.vocabulary.title_of("film 3") == "Amélie (2001)"
    assert after.vocabulary.ids_in("Romance") == ("film 3",)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.ckpt"]


def test_a_checkpoint_from_before_categories_has_none(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.ckpt"
    save_checkpoint(checkpoint, path)
    content = torch.load(path, weights_only=True)
    del content["categories"]
    torch.save(content, path)
    assert recexplain.load(path).vocabulary == Vocabulary(checkpoint.vocabulary.ids, checkpoint.vocabulary.titles)
    torch.save(content | {"categories": {"film 3": "Romance"}}, path)
    with pytest.raises(CheckpointError, match="holds categories that are no lists of names"):
        recexplain.load(path)


def test_a_checkpoint_holds_tensors_and_plain_values_only(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / "checkpoint.ckpt")
    content = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)

    def check(value: object) -> None:
        assert type(value) in (dict, list, str, int, float, bool, type(None), Tensor)
        for part in (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(part)

    check({**content, "weights": dict(content["weights"])})


def test_the_hash_is_of_the_weights_and_the_model(checkpoint: Checkpoint) -> None:
    def hash_of(model: Mapping[str, object], **weights: Tensor) -> str:
        return Checkpoint(model, {**checkpoint.weights, **weights}, checkpoint.vocabulary, {}, "").model_hash

    bias = checkpoint.weights["item_bias"].clone()
    assert hash_of(MODEL) == hash_of(dict(reversed(MODEL.items())), item_bias=bias.clone()) == checkpoint.model_hash
    bias[3] += 1e-3
    assert hash_of(MODEL, item_bias=bias) != hash_of(MODEL)
    assert hash_of({**MODEL, "heads": 4}) != hash_of(MODEL)


def test_a_broken_or_foreign_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.ckpt"
    save_checkpoint(checkpoint, path)
    whole = path.read_bytes()
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        recexplain.load(tmp_path / "none.ckpt")
    for content in (b"", whole[: len(whole) // 2], b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="no checkpoint of ours"):
            recexplain.load(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(CheckpointError, match="is no file of the format"):
        recexplain.load(path)
    save_checkpoint(Checkpoint({**MODEL, "dim": 16}, checkpoint.weights, checkpoint.vocabulary, {}, ""), path)
    with pytest.raises(CheckpointError, match="the weights do not fit the model"):
        recexplain.load(path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("harm"),)  # type: ignore[return-value]


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": Harmful()}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(CheckpointError, match="no checkpoint of ours"):
        recexplain.load(tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="pages are kept by glibc only")
def test_scoring_again_takes_no_new_pages() -> None:
    code = """
import resource, numpy as np, torch
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender
torch.set_num_threads(1)
recommender = NetworkRecommender(BERT4Rec(100, max_length=50))
histories = [np.random.default_rng(row).integers(1, 101, 49) for row in range(512)]
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    recommender.scores(histories)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *_, last = map(int, run.stdout.split())
    assert last < first / 10


SHAPES = """
import numpy as np
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

recommender = NetworkRecommender(BERT4Rec(50).eval())
def score(sizes):
    for n in sizes:
        recommender.scores([np.arange(1, 11 + n % 40)] * n)

score(range(101, 111))
before = held()
score(range(1, 101))
print(held() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="says how much memory a process holds on Linux")
def test_batches_of_all_sizes_do_not_fill_the_memory() -> None:
    alone = {name: value for name, value in os.environ.items() if "CACHE_CAPACITY" not in name}
    said = subprocess.run(
        [sys.executable, "-c", SHAPES], env=alone | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True
    )
    assert float(said.stdout) < 100  # MiB; where a kernel of each shape is kept, 300

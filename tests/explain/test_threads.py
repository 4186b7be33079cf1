"""Parts of a batch side by side: who computes what, with how many threads, and what an error does."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recexplain.counterfactual import CLOSE
from recexplain.models import network as network_module
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import PLACES, NetworkRecommender, _shared_places, batches_of
from recexplain.models.threads import side_by_side

N_THREADS = 3
SECONDS = 60


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(N_THREADS)
    yield
    torch.set_num_threads(before)


def me() -> tuple[int, int]:
    return threading.get_ident(), torch.get_num_threads()


@pytest.mark.usefixtures("three_threads")
def test_parts_are_computed_at_once_by_a_thread_each() -> None:
    together, noted = threading.Barrier(N_THREADS), []

    def work(_: int) -> None:
        together.wait(SECONDS)  # breaks unless as many are here at the same time
        noted.append(me())

    side_by_side(work, range(2 * N_THREADS))
    assert len(noted) == 2 * N_THREADS
    assert {n_threads for _, n_threads in noted} == {1}
    assert threading.get_ident() not in {ident for ident, _ in noted}
    assert torch.get_num_threads() == N_THREADS


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("n_threads", "n_parts"), [(1, 4), (3, 1), (3, 0)])
def test_without_another_thread_or_part_the_caller_computes(n_threads: int, n_parts: int) -> None:
    torch.set_num_threads(n_threads)
    noted: list[tuple[int, int]] = []
    side_by_side(lambda _: noted.append(me()), range(n_parts))
    assert noted == [(threading.get_ident(), n_threads)] * n_parts


@pytest.mark.usefixtures("three_threads")
def test_an_error_of_a_part_is_raised() -> None:
    def work(part: int) -> None:
        if part == 4:
            raise IndexError(part)

    with pytest.raises(IndexError, match="4"):
        side_by_side(work, range(9))
    assert torch.get_num_threads() == N_THREADS


@pytest.mark.usefixtures("three_threads")
def test_threads_score_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLACES, "cpu", 200)
    monkeypatch.setattr(network_module, "SHARED", 20)
    draw = np.random.default_rng(0)
    histories = [draw.integers(1, 12, length) for length in draw.integers(0, 9, 300)]
    recommender, noted = NetworkRecommender(BERT4Rec(11, max_length=8, dim=8).train()), set()
    alone = np.concatenate([recommender.scores([history]) for history in histories])
    model, predict = recommender.model, recommender.model.predict

    def noting(items: torch.Tensor) -> torch.Tensor:
        noted.add((threading.get_ident() == threading.main_thread().ident, torch.is_inference_mode_enabled()))
        assert not any(module.training for module in model.modules())
        return predict(items)

    monkeypatch.setattr(model, "predict", noting)
    np.testing.assert_allclose(recommender.scores(histories), alone, rtol=0, atol=CLOSE / 2)
    assert noted == {(False, True)}
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("n_histories", "n_threads", "n_passes"),
    [
        (0, 2, 0),
        (1, 2, 1),
        (100, 2, 1),  # 5,000 places: too few for two
        (128, 2, 2),
        (128, 1, 1),
        (256, 16, 16),
        (600, 2, 4),  # three would do, and leave a thread idle at the end
        (600, 1, 3),
    ],
)
def test_every_thread_has_as_many_passes(
    n_histories: int, n_threads: int, n_passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    lengths = np.full(n_histories, 50)
    sizes = [len(rows) for rows in batches_of(lengths, _shared_places(lengths, PLACES["cpu"]))]
    assert sum(sizes) == n_histories
    assert len(sizes) == n_passes
    assert max(sizes, default=0) * 50 <= PLACES["cpu"]


FORKED = """
import os, numpy as np, torch
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender
torch.set_num_threads(2)
recommender = NetworkRecommender(BERT4Rec(100, max_length=50))
histories = [np.arange(1, 50)] * 600
expected = recommender.scores(histories)
child = os.fork()
if not child:
    os._exit(0 if np.array_equal(recommender.scores(histories), expected) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_fork_has_threads_of_its_own() -> None:
    said = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert said.stdout == "0\n"

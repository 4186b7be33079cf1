import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from recexplain.evaluation import cli

settings.register_profile("same cases every time", derandomize=True, deadline=None)  # HYPOTHESIS_PROFILE=default draws
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same cases every time"))


@pytest.fixture(scope="session")
def ml_1m() -> Path:
    """The folder of MovieLens-1M: `RECEXPLAIN_ML1M`, or beside the repository; never downloaded by a test."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-1m"
    folder = Path(os.environ.get("RECEXPLAIN_ML1M", beside))
    if not (folder / "ratings.dat.gz").exists() and not (folder / "ratings.dat").exists():
        pytest.skip("no MovieLens-1M; RECEXPLAIN_ML1M names a folder with ratings.dat and movies.dat")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of MovieLens-100K that has learnt next to nothing, for what does not depend on quality."""
    out = tmp_path_factory.mktemp("trained")
    small = ["model.dim=16", "model.layers=1", "model.max_length=12", "recipe.epochs=1"]
    assert cli.main(["train", "limit=60", f"out={out}", *small]) == 0
    return out / "checkpoint.ckpt"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks of a few weights compute ten times as fast, where other processes are busy too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints that RecBole itself has written, and what it says of its test histories."""
    folder = tmp_path_factory.mktemp("recbole")
    program = Path(__file__).parent / "adapters" / "recbole_write.py"
    done = subprocess.run([sys.executable, "-P", program, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder

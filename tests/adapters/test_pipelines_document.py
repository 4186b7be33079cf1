"""Every block of docs/pipelines.md runs as it stands."""

import re
import shutil
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```py\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a checkpoint and its atomic files."""
    shutil.copy(written / "SASRec.pth", tmp_path)
    for path in (written / "tiny").iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, folder: Path) -> None:
    assert folder.exists()
    exec(compile(BLOCKS[number], "docs/pipelines.md", "exec"), {"__name__": "document"})  # noqa: S102  our own


def test_all_blocks_are_found() -> None:
    assert len(BLOCKS) == TEXT.count("```py") == 8

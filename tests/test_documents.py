"""Every Python block of the documents runs as it stands, and every command in them is one of ours."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

import recexplain
from recexplain.evaluation import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))
]
COMMANDS = [
    pytest.param(command, id=f"{path.name}: {command[:50]}")
    for path in DOCUMENTS
    for command in re.findall(r"^\.venv/bin/recexplain (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a checkpoint, trained for a moment, in `outputs/demo`, and two audits of its people."""
    outputs = tmp_path_factory.mktemp("demo") / "outputs"
    short = ["limit=100", "recipe.epochs=1", "recipe.validate_every=1"]
    assert cli.main(["train", f"out={outputs / 'demo'}", *short]) == 0
    off = [f"{part}.people=null" for part in ("quality", "sensitivity", "comparison")]
    asked = [f"checkpoint={outputs / 'demo' / 'checkpoint.ckpt'}", "limit=4", "max_evaluations=60", "workers=0", *off]
    for name, change in (("audit", "top1"), ("audit-later", "leaves")):
        assert cli.main(["audit", *asked, "cases=null", "page=false", f"change={change}", f"out={outputs / name}"]) == 0
    return outputs.parent


@pytest.mark.parametrize("block", BLOCKS)
def test_a_python_block_runs(block: str, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    exec(compile(block, "document", "exec"), {})  # noqa: S102  our own documents


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes(command: str) -> None:
    entry, *options = shlex.split(command, comments=True)
    with initialize_config_module("recexplain.conf", version_base="1.3"):
        compose(entry, options)


def test_the_documents_have_both() -> None:
    assert len(BLOCKS) >= 1
    assert len(COMMANDS) >= 2
    assert recexplain.__doc__

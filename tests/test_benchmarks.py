"""The benchmarks run on the present code: what a document's numbers are printed by must not rot."""

from importlib import import_module
from pathlib import Path

import pytest

from recexplain.explainers import driver

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"

RUNS = {
    "search": ["people=3", "budgets=30", "explainers=causal,recency"],
    "search in seconds": ["people=2", "max_seconds=5", "explainers=causal", "first_sets=no"],
    "choices": ["people=3", "slow=2", "only=n_samples 256", "budget=30"],
    "choices of causal": ["people=2", "slow=1", "only=n_samples 256", "budget=30", "explainers=causal"],
    "orders": ["people=3"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_prints_its_tables(
    name: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(driver, "time", driver.time)  # put back: a budget in seconds gets another clock
    import_module(name.split(maxsplit=1)[0]).main([f"checkpoint={checkpoint}", *RUNS[name]])
    said = capsys.readouterr().out
    assert any(word in said for word in ("| causal", "mean size of the found")), said

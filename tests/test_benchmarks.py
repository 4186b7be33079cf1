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


def test_curves_are_drawn_of_the_tables_of_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    curves = import_module("curves")
    page, picture = tmp_path / "page.md", tmp_path / "page.png"
    rows = [
        "| causal | 50 | 90.0% | 2.00 | 5.80 | 30.0% | 60.0% | 45 | 31 | 50 | 33 |",
        "| causal | 2,000 | 100.0% | 3.50 | 3.50 | 75.0% | 25.0% | 900 | 90 | 300 | 120 |",
        "| recency | 50 | 100.0% | 4.00 | 4.00 | 20.0% | 70.0% | 15 | 6 | 9 | 6 |",
    ]
    table = "\n".join([curves.HEADER + "|", "|---" * 11 + "|", *rows])
    page.write_text(f"# A page\n\n### Films, leaves\n\n{table}\n\n| causal | 9 |\n\n## Other\n\n| recency | 3 |\n")
    assert curves.tables_of(page.read_text()) == {
        "Films, leaves": {"causal": {50: (5.8, 0.3), 2000: (3.5, 0.75)}, "recency": {50: (4.0, 0.2)}}
    }
    curves.main([str(page), str(picture)])
    assert picture.read_bytes().startswith(b"\x89PNG")
    page.write_text("# A page without tables\n")
    with pytest.raises(SystemExit, match="holds no table"):
        curves.main([str(page), str(picture)])

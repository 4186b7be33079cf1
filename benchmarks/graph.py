"""How long a causal graph takes: `python benchmarks/graph.py --help`.

Every case is timed warm, the first call apart, in process CPU time and on the clock; the CPU time is what counts where
the machine is shared. The ratio is the `wall_seconds` that were recorded with the reference implementation
(causality-lab, commit 812235d) over the median of CPU time here: the work is done by one thread.

`bound` is what the tests would cost if there were nothing else: their number times one inverse of a 3 x 3 matrix
(a test as it stands in the textbook), and times one test given one node in closed form, as `PartialCorrelation` has it.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import freeze_support
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

from recexplain.causal.batch import learn_pags
from recexplain.causal.correlation import correlation
from recexplain.causal.icd import ORDERS, learn_pag
from recexplain.causal.independence import PartialCorrelation

DEFAULT_REFERENCE = Path(os.environ.get("RECEXPLAIN_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@dataclass(frozen=True)
class Case:
    """One graph to learn."""

    matrix: np.ndarray  # (n, n) correlation
    n_samples: int
    alpha: float
    reference_seconds: float | None  # of the reference implementation; None: not known

    @property
    def kind(self) -> tuple[int, int, float]:
        """What cases have in common that stand in one line of the table."""
        return len(self.matrix), self.n_samples, self.alpha


@dataclass(frozen=True)
class Timing:
    """The times of one case, in milliseconds, all repetitions."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]
    n_tests: int
    reference: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster than the reference."""
        return self.reference / median(self.cpu) if self.reference else None


def main() -> None:
    """Print the tables."""
    options = parsed()
    cases = [case for case in reference_cases(options.reference) if not options.n or len(case.matrix) in options.n]
    if not options.n or 200 in options.n:
        cases += [Case(synthetic(200, seed), 64, alpha, None) for alpha in (0.01, 0.05) for seed in range(3)]
    if not cases:
        raise SystemExit(f"no case of n = {options.n}; the reference cases are looked for in {options.reference}")
    first, (cpu, wall) = cases[0], timed(lambda: learn_pag(cases[0].matrix, cases[0].n_samples, cases[0].alpha))
    print(f"first call of the process: n = {len(first.matrix)}, {cpu:.1f} ms CPU, {wall:.1f} ms on the clock\n")
    print_table([(case, repeated(case, options.repeats, options.order)) for case in cases])
    print_batches(options.batch, options.order)


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, default=DEFAULT_REFERENCE / "icd", help="folder of reference cases")
    parser.add_argument("--repeats", type=int, default=20, help="warm calls a case")
    parser.add_argument("--order", choices=ORDERS, default="position")
    parser.add_argument("--n", type=int, nargs="*", help="only graphs of so many nodes")
    parser.add_argument("--batch", type=int, nargs="*", default=[20, 3000], help="how many graphs batches have")
    return parser.parse_args()


def reference_cases(folder: Path) -> Iterator[Case]:
    """Yield the cases of the reference that it finished."""
    for path in sorted(folder.glob("attn_n[0-9]*.json")):
        whole = json.loads(path.read_text())
        matrix = correlation(np.array(whole["attention"]))
        for case in whole["cases"]:
            seconds = case["native_order"].get("wall_seconds")
            yield Case(matrix, case["num_samples"], case["p_value_threshold"], seconds)


def synthetic(n: int, seed: int) -> np.ndarray:
    """Return the correlation of random attention that looks at likeness, and half of the time at what is near."""
    draw = np.random.default_rng(seed)
    logits = 1.2 * draw.normal(size=(n, 8)) @ draw.normal(size=(8, n)) / np.sqrt(8)
    if seed % 2:
        logits -= np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / 4
    weights = np.exp(logits)
    return correlation(weights / weights.sum(axis=1, keepdims=True))


def repeated(case: Case, repeats: int, order: str) -> Timing:
    """Time a case, warm: after one call that does not count. R10 is as in the reference."""

    def learn() -> list[int]:
        graph = learn_pag(case.matrix, case.n_samples, case.alpha, order=order, strict=False)
        return list(graph.graph["n_tests"])

    n_tests = sum(learn())
    cpu, wall = zip(*(timed(learn) for _ in range(repeats)), strict=True)
    return Timing(cpu, wall, n_tests, case.reference_seconds and 1e3 * case.reference_seconds)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds of CPU and on the clock."""
    cpu, wall = process_time(), perf_counter()
    call()
    return 1e3 * (process_time() - cpu), 1e3 * (perf_counter() - wall)


def print_table(timings: Sequence[tuple[Case, Timing]]) -> None:
    """Print one line a number of nodes, number of samples and threshold."""
    inverse, closed = microseconds_a_test()
    print(f"one inverse of a 3 x 3 matrix: {inverse:.1f} us; one test given one node: {closed:.2f} us\n")
    print(
        "   n    N  alpha  graphs | CPU ms: median   p95 | clock ms: median    p95 |  tests  us/test | bound ms | ratio"
    )
    ordered = sorted(timings, key=lambda pair: pair[0].kind)
    for (n, n_samples, alpha), group in groupby(ordered, key=lambda pair: pair[0].kind):
        some = [timing for _, timing in group]
        cpu, wall = ([time for timing in some for time in getattr(timing, name)] for name in ("cpu", "wall"))
        n_tests = median(timing.n_tests for timing in some)
        ratios = [timing.ratio for timing in some if timing.ratio]
        print(
            f"{n:4} {n_samples:4} {alpha:6} {len(some):6} | {median(cpu):14.2f} {np.quantile(cpu, 0.95):5.1f} |"
            f" {median(wall):16.2f} {np.quantile(wall, 0.95):6.1f} | {n_tests:6.0f} {1e3 * median(cpu) / n_tests:7.2f}"
            f" | {n_tests * inverse / 1e3:4.0f} {n_tests * closed / 1e3:3.1f} |"
            f" {f'{median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})' if ratios else '-'}"
        )


def microseconds_a_test() -> tuple[float, float]:
    """Return the microseconds of one inverse of a 3 x 3 matrix, and of one test given one node."""
    matrix = synthetic(20, 0)
    test, small, n_calls = PartialCorrelation(matrix, 64), matrix[:3, :3], 2000
    inverse = [timed(lambda: [np.linalg.inv(small) for _ in range(n_calls)])[0] for _ in range(5)]
    closed = [timed(lambda: [test(0, 1, (2,)) for _ in range(n_calls)])[0] for _ in range(5)]
    return 1e3 * median(inverse) / n_calls, 1e3 * median(closed) / n_calls


def print_batches(sizes: Sequence[int], order: str) -> None:
    """Print what a batch gains over a loop, the two in turn."""
    for n_graphs in sizes:
        matrices = [synthetic(50, seed % 40) for seed in range(n_graphs)]
        loop, batch = [], []
        for _ in range(3):
            loop.append(timed(lambda: [learn_pag(matrix, 64, order=order) for matrix in matrices])[1])  # noqa: B023
            batch.append(timed(lambda: learn_pags(matrices, 64, order=order))[1])  # noqa: B023
        ratio = median(one / other for one, other in zip(loop, batch, strict=True))
        print(
            f"\n{n_graphs} graphs of 50 nodes, on the clock: loop {median(loop) / 1e3:.2f} s,"
            f" batch {median(batch) / 1e3:.2f} s, {ratio:.2f} times as fast"
        )


if __name__ == "__main__":
    freeze_support()
    main()

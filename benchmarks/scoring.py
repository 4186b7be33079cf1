"""How many edited histories are scored in a second: `python benchmarks/scoring.py [checkpoint=<file>] [processes=2]`.

Every pair of one history's items is taken out. `plain` is the same network as PyTorch's own layers compute it, in
batches of 512, the last layer at the asked place only; `scores` is what any histories cost; `gaps` is what a search
asks for: these deletions, from sums over the history that are made anew each time, with the verdict, where what is
nearly a tie is scored again alone. Five turns, another history each: of a checkpoint five people of its data, drawn
with seed 0. Without one the network is new, 3,416 items, width 64, two layers, and so are the histories: the cost is
the same. Medians, by processor time and on the clock, once with one thread and once with all. Then what one history
alone costs, and what the choice of kernels and the parts of a batch bring; where the time of one thread goes; and how
many verdicts so many processes give together on the clock, each on one thread, all at once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, cycle, islice
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

from recexplain.checkpoint import read_checkpoint
from recexplain.counterfactual import Candidate, Options, Question, ask
from recexplain.evaluation.config import recorded_source
from recexplain.models import attention, products
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender
from recexplain.sequences import load_dataset
from recexplain.verdicts import measured

Asked = list[tuple[Question, Candidate]]  # a history, and what is taken out of it

N_SETS, TURNS, PLAIN_BATCH = 1225, 5, 512  # 1225: all pairs of 50 items
TOGETHER_S = 5.0  # how long processes score at once

#: What torch calls the operations that the time is divided by.
PARTS = {
    "products with weights": ("mkldnn::_linear_pointwise", "aten::addmm", "aten::mm"),
    "attention of the first layer": ("aten::_scaled_dot_product",),
    "copies": ("aten::index_select", "aten::copy_", "aten::cat", "aten::index", "aten::fill_"),
    "norms": ("aten::native_layer_norm",),
}


def main(words: Sequence[str]) -> None:
    """Print a table a window."""
    given = dict(word.split("=", 1) for word in words)
    n_threads, n_processes = torch.get_num_threads(), int(given.get("processes", "2"))
    for window in (50, 200):
        recommender = recommender_of(given.get("checkpoint"), window)
        if recommender.max_length != window:
            continue
        turns = asked(given.get("checkpoint"), recommender)
        for threads in sorted({1, n_threads}):
            torch.set_num_threads(threads)
            table(recommender, turns, threads)
        torch.set_num_threads(1)
        choices(recommender, turns[0])
        shares = ", ".join(f"{name} {part:.0%}" for name, part in parts(recommender, turns))
        print(f"\nof the time of one thread: {shares}")
        for number in sorted({1, n_processes}):
            print(f"{number} process(es) at once: {together(given.get('checkpoint'), window, number):,.0f} a second")


def recommender_of(checkpoint: str | None, window: int) -> NetworkRecommender:
    """Return the recommender that is measured."""
    if checkpoint is not None:
        return read_checkpoint(checkpoint).recommender()
    return NetworkRecommender(BERT4Rec(3416, max_length=window).eval())


def asked(checkpoint: str | None, recommender: NetworkRecommender) -> list[Asked]:
    """Return, for each turn, a history and the sets that are taken out of it."""
    draw, window = np.random.default_rng(0), recommender.max_length
    if checkpoint is None:
        histories = [draw.permutation(np.arange(1, recommender.n_items + 1))[:window] for _ in range(TURNS)]
    else:
        people = load_dataset(recorded_source(read_checkpoint(checkpoint).source)).histories.at_least(window)
        histories = [people[int(row)][-window:].astype(np.int64) for row in draw.permutation(len(people))[:TURNS]]
    sets = list(islice(combinations(range(window), 2), N_SETS))
    questions = [ask(recommender, history, Options()) for history in histories]
    return [[(question, candidate) for candidate in sets] for question in questions]


def afresh(pairs: Asked) -> Asked:
    """Return the same of a new question, for which nothing was computed before."""
    question = replace(pairs[0][0])
    return [(question, candidate) for _, candidate in pairs]


def parts(recommender: NetworkRecommender, turns: Sequence[Asked]) -> list[tuple[str, float]]:
    """Return the shares of the processor's time that kinds of operations take; what is not torch's is not in it."""
    measured(recommender, turns[0])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for pairs in turns:
            measured(recommender, afresh(pairs))
    spent = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    shares = {
        name: sum(time for key, time in spent.items() if key.startswith(keys)) / sum(spent.values())
        for name, keys in PARTS.items()
    }
    return [*shares.items(), ("others", 1 - sum(shares.values()))]


def together(checkpoint: str | None, window: int, n_processes: int) -> float:
    """Return how many verdicts a second so many processes give, all at once."""
    context = get_context("spawn")
    barrier, counts = context.Barrier(n_processes), context.SimpleQueue()
    workers = [context.Process(target=scoring, args=(checkpoint, window, barrier, counts)) for _ in range(n_processes)]
    for worker in workers:
        worker.start()
    rates = [counts.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def scoring(checkpoint: str | None, window: int, barrier: Barrier, counts: "SimpleQueue[float]") -> None:
    """Give verdicts for a while, beginning with the others, and hand back how many a second."""
    torch.set_num_threads(1)
    recommender = recommender_of(checkpoint, window)
    turns = asked(checkpoint, recommender)
    measured(recommender, turns[0])
    barrier.wait()
    began, n = perf_counter(), 0
    for pairs in cycle(turns):
        measured(recommender, afresh(pairs))
        n += len(pairs)
        if (seconds := perf_counter() - began) > TOGETHER_S:
            break
    counts.put(n / seconds)


def table(recommender: NetworkRecommender, turns: Sequence[Asked], threads: int) -> None:
    """Print what each way costs at one window."""
    edited = [[question.without(candidate) for question, candidate in pairs] for pairs in turns]
    ways: dict[str, Callable[[int], object]] = {
        "plain": lambda turn: plain(recommender, edited[turn]),
        "scores": lambda turn: recommender.scores(edited[turn]),
        "gaps": lambda turn: measured(recommender, afresh(turns[turn])),
    }
    difference = np.abs(plain(recommender, edited[0]) - recommender.scores(edited[0])[:, 1:]).max()
    near = [int(pairs[0][0].gaps(recommender.scores(one))[1].sum()) for pairs, one in zip(turns, edited, strict=True)]
    n_sets, kernel = len(turns[0]), "oneDNN" if products._has_onednn() else "torch"
    print(
        f"\nwindow {recommender.max_length}, {threads} thread(s), {n_sets:,} sets a turn, of which nearly ties "
        f"{', '.join(map(str, near))}; products by {kernel}; scores differ from plain by at most {difference:.1e}\n"
    )
    print("| way | evaluations a CPU-second | on the clock | times plain, CPU |")
    print("|---|---:|---:|---:|")
    costs = {name: [] for name in ways}
    for turn in (0, *range(TURNS)):  # the ways in turn, so that a busy machine hits all alike; the first is warm-up
        for name, way in ways.items():
            costs[name].append(timed(partial(way, turn)))
    cpu = {name: n_sets / median(c for c, _ in found[1:]) for name, found in costs.items()}
    for name, found in costs.items():
        clock = n_sets / median(w for _, w in found[1:])
        print(f"| {name} | {cpu[name]:,.0f} | {clock:,.0f} | {cpu[name] / cpu['plain']:.2f} |", flush=True)


def choices(recommender: NetworkRecommender, pairs: Asked) -> None:
    """Print what one history alone costs, and a batch, as it is and without what makes it faster; one thread."""
    alone, edited = [pairs[0][0].history], [question.without(candidate) for question, candidate in pairs]
    ways = {"as it is": {}, "every product by oneDNN": {"few": 0}, "the first layer at once": {"cached": 10**9}}
    costs = {name: ([], []) for name in ways}
    few, cached = products.FEW, attention.CACHED
    for _ in range(TURNS + 1):
        for name, way in ways.items():
            products.FEW, attention.CACHED = way.get("few", few), way.get("cached", cached)
            costs[name][0].append(median(timed(lambda: recommender.scores(alone))[0] for _ in range(50)))
            costs[name][1].append(timed(lambda: recommender.scores(edited))[0] / len(edited))
    products.FEW, attention.CACHED = few, cached
    print("\n| | one history alone, ms | of many, a CPU-second |\n|---|---:|---:|")
    for name, (one, many) in costs.items():
        print(f"| {name} | {1000 * median(one[1:]):.2f} | {1 / median(many[1:]):,.0f} |")


def plain(recommender: NetworkRecommender, histories: Sequence[np.ndarray]) -> np.ndarray:
    """Return the scores by PyTorch's own layers, without padding: all histories are equally long."""
    model = recommender.model
    items = torch.from_numpy(np.stack([np.append(history, recommender.mask_item) for history in histories]))
    found = []
    with torch.inference_mode():
        for part in items.split(PLAIN_BATCH):
            x = model.encoder._embed(part)
            *first, last = model.encoder.layers
            for layer in first:
                x = post_norm(layer, x, x)
            found.append(model.head(post_norm(last, x[:, -1:], x)[:, 0]) @ model.encoder.item_embedding.weight[1:-1].T)
    return (torch.cat(found) + model.item_bias).detach().numpy()


def post_norm(layer: torch.nn.Module, asking: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the states of `asking` after one layer."""
    block = layer.attention
    heads = [block._split(one) for one in (block.query(asking), block.key(x), block.value(x))]
    mixed = torch.nn.functional.scaled_dot_product_attention(*heads)
    asking = layer.attention_norm(asking + block.output(mixed.transpose(1, 2).flatten(2)))
    return layer.feed_forward_norm(asking + layer.feed_forward(asking))


def timed(way: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the processor and of the clock."""
    processor, clock = process_time(), perf_counter()
    way()
    return process_time() - processor, perf_counter() - clock


if __name__ == "__main__":
    main(sys.argv[1:])

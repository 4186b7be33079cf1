"""What faithfulness metrics say, each as one function of plain values.

Notation: H a person's history, y the explained item, S the set that an explainer found, R(H, S) what the model sees
without S, rank the place of y among all items that are not in H, from 1, p the softmax of the scores over those items.
"""

from collections.abc import Collection, Sequence
from math import comb, log2

import numpy as np


def size_over_all(size: int | None, n_seen: int) -> int:
    """|S|, or where nothing was found all n items that the model saw; lower is better.

    EXP over all of `docs/evaluate.md`: a failure is never cheaper than a success, so it cannot flatter a mean.
    """
    return n_seen if size is None else size


def gap(size: int, smallest: int) -> int:
    """|S| - |S*|, S* the smallest set that any explainer of the run found for this person; lower is better.

    Where |S*| is proven the smallest there is, this is the gap to the optimum.
    """
    return size - smallest


def irreducible(changes_without: Sequence[bool]) -> float:
    """1 where no S less one item changes the answer, else 0; higher is better.

    `changes_without`: for each item of S whether S without it still changes the answer; none for a set of one item, the
    empty set changes nothing.
    """
    return float(not any(changes_without))


def replacement_rank(before: Sequence[int], replacement: int) -> int:
    """Place, from 1, in the ranking before, best first, of the item that comes first without S; lower is better.

    As CLEANN (Rohekar et al., NeurIPS 2023) compares itself with CLEAR: a small rank means that the answer moved to
    something that the model held near.
    """
    return list(before).index(replacement) + 1


def necessity(target: int, after: Collection[int]) -> float:
    """PN of one person: 1 where y is not in the top k of R(H, S), `after`; higher is better.

    CountER (Tan et al., CIKM 2021); without a set 0, for nothing was removed.
    """
    return float(target not in after)


def sufficiency_of_set(rank: int, k: int) -> float:
    """PS of one person: 1 where y is in the top k of a history of S alone; higher is better.

    CountER (Tan et al., CIKM 2021); without a set 0.
    """
    return float(rank <= k)


def f_necessity_sufficiency(pn: np.ndarray, ps: np.ndarray) -> np.ndarray:
    """FNS = 2 PN PS / (PN + PS), of shares over people, and 0 where both are 0; higher is better.

    CountER (Tan et al., CIKM 2021).
    """
    pn, ps = np.asarray(pn, dtype=np.float64), np.asarray(ps, dtype=np.float64)
    total = pn + ps
    fns: np.ndarray = np.divide(2 * pn * ps, total, out=np.zeros_like(total), where=total != 0)
    return fns


def ranked_change(before: Sequence[int], after: Sequence[int], k: int) -> float:
    """PN-R: sum over new items, at place p of the list after, of 1/log2(p + 1), over that of 1..k; higher is better.

    CFExpRec, ranked list-level necessity: 1 where all of the top k is new, 0 where none is.
    """
    gained = sum(1 / log2(p + 1) for p, item in enumerate(after, start=1) if item not in before)
    return gained / sum(1 / log2(p + 1) for p in range(1, k + 1))


def positive_perturbation(ranks: np.ndarray, k: int) -> float:
    """POS-P@k: mean over steps of 1[rank <= k], the most explaining items removed first; lower is better.

    LXR (Barkan et al., WWW 2024). (steps,) ranks, the untouched history first.
    """
    return float((np.asarray(ranks) <= k).mean())


def negative_perturbation(ranks: np.ndarray, k: int) -> float:
    """NEG-P@k: mean over steps of 1[rank <= k], the least explaining items removed first; higher is better.

    LXR (Barkan et al., WWW 2024). (steps,) ranks, the untouched history first.
    """
    return float((np.asarray(ranks) <= k).mean())


def deletion(probabilities: np.ndarray) -> float:
    """DEL-P: mean over steps of p(y) after removing the top share; lower is better.

    LXR (Barkan et al., WWW 2024), with the softmax in place of the raw score, which has no scale. (steps,) from 0 on.
    """
    return float(np.mean(probabilities))


def insertion(probabilities: np.ndarray) -> float:
    """INS-P: mean over steps of p(y) when the top share alone is kept; higher is better.

    LXR (Barkan et al., WWW 2024), with the softmax in place of the raw score. (steps,) from the first item on.
    """
    return float(np.mean(probabilities))


def rank_decay(ranks: np.ndarray) -> float:
    """NDCG-P: mean over steps of 1/log2(1 + rank), the most explaining items removed first; lower is better.

    LXR (Barkan et al., WWW 2024).
    """
    return float((1 / np.log2(1 + np.asarray(ranks, dtype=np.float64))).mean())


def area_under_perturbation(log_odds: np.ndarray, shares: np.ndarray) -> float:
    """AUPC: area under the log-odds log p(y)/(1 - p(y)) over the share removed, most explaining first; lower is better.

    A perturbation curve as the ALTI and Beyond Intuition papers draw it; the area, by the trapezoidal rule, is ours.
    (steps,) both, shares ascending.
    """
    x, y = np.asarray(shares, dtype=np.float64), np.asarray(log_odds, dtype=np.float64)
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def fixed_length_decay(ranks: np.ndarray) -> float:
    """CDCG: mean over Ke = 1..5 of 1/log2(1 + rank) without the top Ke items; lower is better.

    CDCG@Ke of the refined, fixed-length metrics for recommender explanations (SIGIR 2025). (Ke,) ranks.
    """
    return float((1 / np.log2(1 + np.asarray(ranks, dtype=np.float64))).mean())


def comprehensiveness(whole: float, removed: np.ndarray) -> float:
    """COMP: mean over the bins q of p(y|H) - p(y|H without the top q); higher is better.

    ERASER (DeYoung et al., ACL 2020), averaged over bins, q = 1, 5, 10, 20, 50 %. `removed`: (bins,).
    """
    return float(np.mean(whole - np.asarray(removed)))


def sufficiency(whole: float, kept: np.ndarray) -> float:
    """SUFF: mean over the bins q of p(y|H) - p(y|the top q alone); lower is better.

    ERASER (DeYoung et al., ACL 2020), averaged over bins, q = 1, 5, 10, 20, 50 %. `kept`: (bins,).
    """
    return float(np.mean(whole - np.asarray(kept)))


def cross_removal(held: Collection[str], possible: Collection[str]) -> float | None:
    """XSEM: share of the other removals that are possible here under which S changes the answer too; higher is better.

    None where no other removal is possible. Ours: deleting and padding agree on few items.
    """
    return sum(removal in held for removal in possible) / len(possible) if possible else None


def agreement(one: Collection[int], other: Collection[int]) -> float | None:
    """Jaccard |A and B| / |A or B| of two explanations of one person; None where both found nothing.

    Higher is better where the two should be the same (STAB: Anelli et al. 2021 call it constancy), lower where the
    second explains a model of randomised weights (RAND: Adebayo et al., NeurIPS 2018; MPRT of Quantus), which is asked
    only where both found something.
    """
    union = {*one, *other}
    return len({*one} & {*other}) / len(union) if union else None


def order_agreement(one: Sequence[int], other: Sequence[int]) -> float:
    """|rho|, Spearman's rank correlation of two orders of the same two items or more, its size alone; lower is better.

    Here the second order is that of a model of randomised weights (RAND: Adebayo et al., NeurIPS 2018). An order turned
    round is as dependent as the same one.
    """
    place = {item: rank for rank, item in enumerate(other)}
    n, squares = len(one), sum((rank - place[item]) ** 2 for rank, item in enumerate(one))
    return abs(1 - 6 * squares / (n * (n * n - 1)))


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided p: twice the chance of at most min(b, c) heads in b + c throws of a coin, 1 at the most.

    McNemar's test of two paired shares (Psychometrika 1947), exact: b and c people say yes to one or the other only.
    ACCENT (Tran et al., SIGIR 2021) compares explainers by it after retraining. Lower: told apart more surely.
    """
    n, least = only_one + only_other, min(only_one, only_other)
    return min(1.0, 2 * sum(comb(n, heads) for heads in range(least + 1)) / (1 << n))

"""Every metric by hand."""

from collections.abc import Callable
from math import isclose, log2

import numpy as np
import pytest

from recexplain.evaluation import metrics
from recexplain.evaluation.columns import METRICS
from recexplain.report.board import HIGHER, LOWER
from recexplain.report.scoreboard import OF


def test_every_metric_declares_a_direction_and_for_whom_it_is() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.better in (HIGHER, LOWER)
        assert metric.of in ("everyone", *OF)
        assert metric.about
    better = {metric.name: metric.better for metric in METRICS}
    lower = {name for name, direction in better.items() if direction == LOWER}
    assert lower == {
        "none", "budget", "error", "size_found", "size_all", "gap", "replacement_rank", "pos_p", "del_p", "ndcg_p",
        "aupc", "cdcg", "sufficiency", "null_rate", "randomised_set", "randomised_order", "evaluations",
    }  # fmt: skip


def test_a_failure_is_as_large_as_what_the_model_saw() -> None:
    assert metrics.size_over_all(3, 50) == 3
    assert metrics.size_over_all(None, 50) == 50


def test_gap() -> None:
    assert metrics.gap(4, 1) == 3
    assert metrics.gap(2, 2) == 0


def test_irreducible_if_no_smaller_set_changes_the_answer() -> None:
    assert metrics.irreducible([False, False]) == 1
    assert metrics.irreducible([False, True]) == 0
    assert metrics.irreducible([]) == 1  # one item: without it nothing is removed


def test_replacement_rank_counts_from_1() -> None:
    assert metrics.replacement_rank([7, 3, 9], 3) == 2


def test_necessity_and_sufficiency_of_one_person() -> None:
    assert metrics.necessity(5, [1, 2]) == 1
    assert metrics.necessity(5, [1, 5]) == 0
    assert metrics.sufficiency_of_set(10, 10) == 1
    assert metrics.sufficiency_of_set(11, 10) == 0


def test_fns_is_the_harmonic_mean_and_0_where_both_are() -> None:
    found = metrics.f_necessity_sufficiency(np.array([0.5, 1.0, 0.0]), np.array([0.25, 1.0, 0.0]))
    np.testing.assert_allclose(found, [1 / 3, 1, 0])  # 2 * 1/8 / (3/4)


def test_ranked_change_weighs_new_items_by_their_place() -> None:
    whole = 1 + 1 / log2(3) + 1 / 2  # places 1, 2, 3
    assert isclose(metrics.ranked_change([1, 2, 3], [4, 1, 5], 3), (1 + 1 / 2) / whole)
    assert metrics.ranked_change([1, 2, 3], [3, 2, 1], 3) == 0
    assert isclose(metrics.ranked_change([1, 2, 3], [4, 5, 6], 3), 1)


@pytest.mark.parametrize("metric", [metrics.positive_perturbation, metrics.negative_perturbation])
def test_perturbation_is_the_share_of_steps_in_the_top_k(metric: Callable[..., float]) -> None:
    assert metric(np.array([1, 2, 3, 9]), 2) == 0.5
    assert metric(np.array([1, 2, 3, 9]), 9) == 1


def test_deletion_and_insertion_are_mean_probabilities() -> None:
    assert isclose(metrics.deletion(np.array([0.5, 0.1, 0.0])), 0.2)
    assert isclose(metrics.insertion(np.array([0.1, 0.3, 0.5])), 0.3)


@pytest.mark.parametrize("metric", [metrics.rank_decay, metrics.fixed_length_decay])
def test_rank_decay_is_a_mean_of_discounts(metric: Callable[..., float]) -> None:
    assert isclose(metric(np.array([1, 3, 7])), (1 + 1 / 2 + 1 / 3) / 3)


def test_area_under_perturbation_is_trapezoidal() -> None:
    # from 2 to 0 over half of it (area 0.5), then 0 to -4 over the other half (area -1)
    assert isclose(metrics.area_under_perturbation(np.array([2, 0, -4]), np.array([0, 0.5, 1])), -0.5)


def test_comprehensiveness_and_sufficiency_are_mean_losses() -> None:
    assert isclose(metrics.comprehensiveness(0.5, np.array([0.4, 0.1])), 0.25)
    assert isclose(metrics.sufficiency(0.5, np.array([0.4, 0.6])), 0.0)


def test_cross_removal_is_a_share_of_what_is_possible() -> None:
    assert metrics.cross_removal(["pad", "backfill"], ["pad", "mask"]) == 0.5
    assert metrics.cross_removal([], []) is None


def test_agreement_is_jaccard() -> None:
    assert metrics.agreement((1, 2), (2, 3)) == 1 / 3
    assert metrics.agreement((1,), (1,)) == 1
    assert metrics.agreement((1,), ()) == 0
    assert metrics.agreement((), ()) is None


def test_mcnemar_is_the_coins_two_sided_probability() -> None:
    assert metrics.mcnemar(0, 5) == metrics.mcnemar(5, 0) == 2 / 32
    assert metrics.mcnemar(1, 4) == 2 * (1 + 5) / 32
    assert metrics.mcnemar(3, 3) == 1  # of six throws three or fewer, twice, is more than all
    assert metrics.mcnemar(0, 0) == 1


def test_order_agreement_is_the_size_of_spearmans_rho() -> None:
    assert metrics.order_agreement([5, 6, 7], [5, 6, 7]) == 1
    assert metrics.order_agreement([5, 6, 7], [7, 6, 5]) == 1
    assert metrics.order_agreement([5, 6, 7, 8], [6, 5, 8, 7]) == pytest.approx(1 - 6 * 4 / 60)
    assert metrics.order_agreement([5, 6, 7], [6, 7, 5]) == pytest.approx(0.5)  # rho is -1/2

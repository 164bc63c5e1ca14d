"""Tests of harness.py: python bench/harness_test.py."""

import itertools
import math
import unittest
from unittest import mock

from harness import (
    ATTEMPTS,
    STOLEN_LIMIT,
    Comparison,
    Outcome,
    Timed,
    max_difference,
    measure,
    outcome_table,
)


def comparison(order: list[str], ours: float = -1.0, **options) -> Comparison:
    def run(name: str, value: float):
        def side(inputs):
            order.append(f"{name}{inputs}")
            return [[value]]

        return side

    return Comparison(
        case="case",
        peer="peer",
        inputs=lambda number: number,
        run_peer=run("A", -1.0),
        run_ours=run("B", ours),
        tolerance=1e-3,
        **options,
    )


def outcome(peer: list[float], ours: list[float], target: float) -> Outcome:
    return Outcome("case", "peer", target, 1e-3, 0.0, peer, ours, {})


class MeasureTest(unittest.TestCase):
    def setUp(self):
        # Whatever the host of this machine does meanwhile.
        calm = mock.patch("harness.stolen_seconds", lambda: 0.0)
        calm.start()
        self.addCleanup(calm.stop)

    def test_pairs_run_in_the_order_abba_on_the_same_inputs(self):
        order: list[str] = []
        result = measure(comparison(order), pairs=4, warmup=0)
        self.assertEqual(
            order, ["A0", "B0", "B1", "A1", "A2", "B2", "B3", "A3"]
        )
        self.assertEqual(len(result.ratios), 4)

    def test_warm_up_pairs_are_not_counted(self):
        order: list[str] = []
        result = measure(comparison(order), pairs=2, warmup=1)
        self.assertEqual(len(order), 6)
        self.assertEqual(len(result.ratios), 2)

    def test_different_results_stop_the_case_and_hide_its_speed(self):
        order: list[str] = []
        result = measure(comparison(order, ours=-1.01, target=1.0), 9, warmup=1)
        self.assertEqual(len(order), 2)
        self.assertEqual(result.verdict, "DIFFERENT RESULTS")
        self.assertIsNone(result.to_json()["ratio_median"])
        self.assertIn("DIFFERENT RESULTS", outcome_table([result]))


class SidesTest(unittest.TestCase):
    def test_a_side_that_times_itself_is_believed(self):
        given = comparison([])
        given.run_ours = lambda _: Timed(100.0, [[-1.0]])
        result = measure(given, pairs=1, warmup=0)
        self.assertTrue(result.parity)
        self.assertEqual(result.our_seconds, [100.0])
        self.assertLess(result.peer_seconds[0], 100.0)

    def test_a_case_says_how_far_results_are_apart(self):
        given = comparison([], difference=lambda inputs, a, b: inputs + 0.5)
        given.tolerance = 1.0
        self.assertEqual(measure(given, 1, warmup=0).max_difference, 0.5)
        self.assertFalse(measure(given, 2, warmup=0).parity)


class StolenTimeTest(unittest.TestCase):
    def test_pairs_that_lost_time_are_measured_again_on_new_inputs(self):
        clock = iter([0.0, 0.0, 0.0, 9.0] + [9.0] * 40)  # the second side
        order: list[str] = []
        with mock.patch("harness.stolen_seconds", lambda: next(clock)):
            result = measure(comparison(order), pairs=2, warmup=0)
        self.assertEqual(order, ["A0", "B0", "A1", "B1", "B2", "A2"])
        self.assertEqual((len(result.ratios), result.set_aside), (2, 1))
        self.assertEqual(result.stolen, [0.0, 0.0])

    def test_a_machine_that_is_never_calm_gives_its_calmest_pairs(self):
        clock = itertools.accumulate(itertools.repeat(1.0))
        order: list[str] = []
        with mock.patch("harness.stolen_seconds", lambda: next(clock)):
            result = measure(comparison(order), pairs=2, warmup=0)
        self.assertEqual(len(order), 2 * 2 * ATTEMPTS)
        self.assertEqual((len(result.ratios), result.set_aside), (2, 4))
        self.assertGreater(min(result.stolen), STOLEN_LIMIT)


class OutcomeTest(unittest.TestCase):
    def test_the_target_is_judged_at_the_25th_percentile(self):
        result = outcome([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5, target=2.5)
        self.assertEqual(result.ratio(50), 3.0)
        self.assertEqual(result.ratio(25), 2.0)
        self.assertEqual(result.verdict, "missed")
        self.assertEqual(outcome([3.0], [1.0], target=3.0).verdict, "met")


class MaxDifferenceTest(unittest.TestCase):
    def test_shapes_and_numbers_that_are_not_finite_never_agree(self):
        self.assertEqual(
            max_difference([[1.0], [2.0, 3.5]], [[1.0], [2.0, 3.0]]), 0.5
        )
        self.assertEqual(max_difference([[1.0]], [[1.0, 1.0]]), math.inf)
        self.assertEqual(max_difference([[math.nan]], [[math.nan]]), math.inf)
        self.assertEqual(max_difference([], []), 0.0)


if __name__ == "__main__":
    unittest.main()

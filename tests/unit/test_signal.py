from __future__ import annotations

import numpy as np
import pytest

from strategy.signal import CLASSES, signal_of


def test_the_class_of_highest_probability_is_the_signal():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]])
    assert signal_of(probabilities).tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    "tied", [[0.4, 0.2, 0.4], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]]
)
def test_a_tie_for_the_highest_is_neutral(tied: list[float]):
    assert signal_of(np.array([tied])).tolist() == [0]


def test_a_tie_below_the_highest_does_not_matter():
    assert signal_of(np.array([[0.2, 0.2, 0.6], [0.6, 0.2, 0.2]])).tolist() == [1, -1]


def test_the_smallest_difference_decides():
    almost = np.nextafter(0.4, 1)
    assert signal_of(np.array([[0.4, 0.2, almost]])).tolist() == [1]


def test_signals_are_small_integers_even_of_no_rows():
    assert signal_of(np.array([[0.1, 0.2, 0.7]])).dtype == np.int8
    empty = signal_of(np.empty((0, 3)))
    assert empty.shape == (0,)
    assert empty.dtype == np.int8


def test_the_classes_are_in_the_order_of_the_columns():
    assert signal_of(np.eye(3)).tolist() == list(CLASSES)

"""Statistics over a list of measurements."""

import math


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def standard_deviation(values: list[float]) -> float:
    """Square root of the mean squared distance from the mean."""
    average = mean(values)
    return ‸


def spread(values: list[float]) -> float:
    """Distance between the largest and the smallest value."""
    return max(values) - min(values)

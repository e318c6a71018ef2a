"""Statistics over a list of measurements."""

import math


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def standard_deviation(values: list[float]) -> float:
    """Square root of the mean squared distance from the mean."""
    average = mean(values)
    return math.sqrt(sum((value - average) ** 2 for value in values) / len(values))


def spread(values: list[float]) -> float:
    """Distance between the largest and the smallest value."""
    return ‸


def is_constant(values: list[float]) -> bool:
    """True when all values are the same."""
    return spread(values) == 0

"""Figures of several clients on one server."""

from bench.load.load import Cell
from bench.load.server_tables import Measured


def test_batching_divides_the_time_together_by_the_time_one_by_one() -> None:
    cells = [
        Cell(32, 1, first_s=0.1, total_s=1.0, decode_rate=10, rate=10.0),
        Cell(32, 16, first_s=0.5, total_s=4.0, decode_rate=4, rate=40.0),
    ]
    assert Measured("ours", "Q8_0", "1", cells, warm_s=0.1, cold_s=1.0).batching == 0.25

"""Peers' metrics."""

import httpx
import pytest

from bench.peers.servers import Running, growth


def test_metrics_grow_by_name_and_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [
            '# TYPE a:b_total counter\na:b_total{outcome="x",m="\u2028 1"} 1.0\na:b_total{outcome="y"} 5.0\n',
            'a:b_total{outcome="x",m="\u2028 1"} 4.0\na:b_total{outcome="y"} 6.0\nc_total 2.0\n',
        ]
    )
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, text=next(answers)))
    before, after = (Running("http://peer", 1).metrics() for _ in range(2))
    assert growth(before, after, ("a:b_total",), ("x", "z")) == 3
    assert growth(before, after, ("a:b_total", "c_total")) == 6
    assert growth(before, after, ("a:b", "c_total")) == 2
    assert growth(before, after, ()) == 0

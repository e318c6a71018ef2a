"""docs/scale.md says what scripts/plan_capacity.py computes, and that computes what the document says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def planned(*flags: str) -> str:
    command = [sys.executable, ROOT / "scripts" / "plan_capacity.py", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_scale_has_the_calculators_tables() -> None:
    for table in planned().strip().split("\n\n"):
        assert table in TEXT


def test_scale_has_what_each_flag_gives() -> None:
    rows = re.findall(r"^\| `(--developers [^`]+)` \| (\d+) \| \$([\d.]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) > 10
    for flags, cards, dollars in rows:
        plan = json.loads(planned(*flags.split(), "--json"))
        assert (plan["cards"], f"{plan['dollars_a_developer_month']:.2f}") == (int(cards), dollars), flags


def test_scale_in_short_agrees() -> None:
    short = TEXT[TEXT.index("## In short") : TEXT.index("## How much work")]
    rows = re.findall(r"^\| ([\d,]+) \|.*\| (\d.*) \|$", short, re.MULTILINE)
    assert [row[0] for row in rows] == ["50", "1,000", "50,000"]
    for developers, cell in rows:
        for cards, card in re.findall(r"(\d+) ([A-Z]\d+)", cell):
            plan = json.loads(planned("--developers", developers.replace(",", ""), "--card", card, "--json"))
            assert plan["cards"] == int(cards), (developers, card)


def test_the_calculator_keeps_to_the_arithmetic() -> None:
    plan = json.loads(planned("--developers", "1000", "--model", "6B", "--card", "H100", "--json"))
    given = plan["assumptions"]
    assert plan["requests_s"] == pytest.approx(1000 * 230 * 0.2 / 3600)
    weights, kv = 7_064_213_504 * 2, 540_672
    read_s = 500 * 2 * 7_064_213_504 / (989e12 * given["compute_share"])
    batch = plan["replica"]["in_flight"]

    def whole_s(in_flight: int) -> float:
        step_s = (weights + in_flight * 1024 * kv) / (3350e9 * given["bandwidth_share"]) + 0.002
        return in_flight * read_s + 24 * step_s

    assert whole_s(batch) <= given["engine_s"] < whole_s(batch + 1)
    assert plan["replica"]["requests_s"] == pytest.approx(batch / whole_s(batch))


def test_the_calculator_says_when_a_card_is_too_slow() -> None:
    command = [sys.executable, ROOT / "scripts" / "plan_capacity.py", "--developers", "5", "--card", "L4"]
    found = subprocess.run([*command, "--engine-s", "0.05"], capture_output=True, text=True)
    assert found.returncode == 1
    assert "--engine-s" in found.stderr

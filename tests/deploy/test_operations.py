"""deploy/alerts.yml and docs/operations.md: rules that fire; a page that names each alert and log event."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.metrics import Metrics
from tests.deploy.test_deploy import DEPLOY, document, tool

ALERTS = DEPLOY / "alerts.yml"
OPERATIONS = DEPLOY.parent / "docs" / "operations.md"

OUTCOMES = 'acepilot_completions_total{outcome="%s"}'
SERIES: dict[str, dict[str, str]] = {
    "AcepilotDown": {'up{job="acepilot"}': "0x30"},
    "AcepilotFailing": {OUTCOMES % "failed": "0+6x30", OUTCOMES % "offered": "0+94x30"},
    "AcepilotRefusing": {OUTCOMES % "refused": "0+10x30", OUTCOMES % "offered": "0+90x30"},
    "AcepilotSlow": {
        'acepilot_time_to_first_token_seconds_bucket{le="1.5"}': "0+80x30",
        'acepilot_time_to_first_token_seconds_bucket{le="2.5"}': "0+100x30",
        'acepilot_time_to_first_token_seconds_bucket{le="+Inf"}': "0+100x30",
    },
    "AcepilotQueueing": {"acepilot_waiting_requests": "20x30"},
    "AcepilotKvCacheFull": {"acepilot_kv_cache_used_ratio": "0.99x30"},
    "AcepilotEventsNotStored": {"acepilot_events_store_failing": "1x30"},
    "AcepilotEventsLost": {"acepilot_events_lost_total": "0+1x30"},
    "AcepilotLogDropped": {"acepilot_log_lines_dropped_total": "0+1x30"},
    "AcepilotAcceptanceFell": {},
}
"""Each alert, and one series a minute for half an hour after which it fires; none where it needs days."""

HEALTHY = {
    'up{job="acepilot"}': "1x30",
    OUTCOMES % "offered": "0+100x30",
    OUTCOMES % "failed": "0x30",
    OUTCOMES % "refused": "0+1x30",
    'acepilot_time_to_first_token_seconds_bucket{le="1.5"}': "0+100x30",
    'acepilot_time_to_first_token_seconds_bucket{le="+Inf"}': "0+100x30",
    "acepilot_waiting_requests": "1x30",
    "acepilot_kv_cache_used_ratio": "0.5x30",
    "acepilot_events_store_failing": "0x30",
    "acepilot_events_lost_total": "0x30",
    "acepilot_log_lines_dropped_total": "0x30",
}


def rules() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in document(ALERTS)["groups"] for rule in group["rules"]}


def promtool(*arguments: str | Path) -> None:
    found = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", ALERTS)


def test_every_metric_exists() -> None:
    names = {
        name
        for metric in Metrics().registry.collect()
        for name in (metric.name, f"{metric.name}_total", f"{metric.name}_bucket")
    }
    for alert, rule in rules().items():
        used = set(re.findall(r"\b(acepilot_\w+|up)\b", rule["expr"]))
        assert used, alert
        assert used <= {*names, "up"}, alert


def test_prometheus_loads_the_rules() -> None:
    assert document(DEPLOY / "prometheus.yml")["rule_files"] == [ALERTS.name]
    volumes = document(DEPLOY / "compose.yaml")["services"]["prometheus"]["volumes"]
    assert f"./{ALERTS.name}:/etc/prometheus/{ALERTS.name}:ro" in volumes


def test_the_page_says_what_to_do_at_each_alert_and_log_event() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE))
    logged = {
        event
        for path in (DEPLOY.parent / "server").rglob("*.py")
        for event in re.findall(
            r"\b_log\.(?:info|warning|error)\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")
        )
    }
    assert named == logged | rules().keys()


@pytest.mark.parametrize("alert", SERIES)
def test_an_alert_fires_when_it_should(alert: str, tmp_path: Path) -> None:
    assert SERIES.keys() == rules().keys()
    if SERIES[alert]:
        promtool("test", "rules", unit_test(tmp_path, SERIES[alert], alert, fires=True))
    promtool("test", "rules", unit_test(tmp_path, HEALTHY, alert, fires=False))


def unit_test(folder: Path, series: dict[str, str], alert: str, *, fires: bool) -> Path:
    """Write a unit test of promtool that expects the alert, or none of this name, after half an hour."""
    # promtool compares labels and annotations, whose texts do not matter here.
    bare = [
        {name: rule[name] for name in ("alert", "expr", "for") if name in rule} for rule in rules().values()
    ]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": bare}]}))
    labels = {"job": "acepilot"} if alert == "AcepilotDown" else {}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": "30m",
                "alertname": alert,
                "exp_alerts": [{"exp_labels": labels}] if fires else [],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
    return path

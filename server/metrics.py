"""The metrics for Prometheus: counts and times, never code, paths or prompts. Each server has a registry."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from acepilot.languages import language_for
from server import logs

OTHER = "other"
"""Model and language of events about a model that this server does not serve: clients choose these names, and
each would cost memory and time at every scrape."""

SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        seconds = partial(Histogram, buckets=SECONDS_BUCKETS, registry=registry)
        self.first_token = seconds(
            "acepilot_time_to_first_token_seconds", "Seconds from a request's arrival to its first token"
        )
        self.total = seconds("acepilot_completion_seconds", "Seconds from a request's arrival to its end")
        self.queue = seconds(
            "acepilot_queue_seconds", "Seconds that a sequence waited for a place in the engine"
        )
        self.generated_tokens = counter("acepilot_generated_tokens", "Tokens that the engine generated")
        self.wasted_tokens = counter("acepilot_wasted_tokens", "Tokens generated for cancelled requests")
        self.scored_tokens = counter("acepilot_scored_tokens", "Tokens of suffixes that the engine scored")
        self.cache_hits = counter(
            "acepilot_cache_hits", "Completions answered without the engine", ["source"]
        )
        self.completions = counter(
            "acepilot_completions",
            "Completions by outcome: offered, nothing, cancelled, failed, refused",
            ["outcome"],
        )
        self.active = gauge("acepilot_active_requests", "Sequences that hold a place in the engine")
        self.waiting = gauge("acepilot_waiting_requests", "Sequences that wait for a place in the engine")
        self.kv_used = gauge("acepilot_kv_cache_used_ratio", "Used part of the KV cache, 0 to 1")
        self.events = EventMetrics(registry)
        registry.register(LogMetrics())


class LogMetrics(Collector):
    """Reads the log's count of dropped lines, which belongs to the process and not to one server."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(
            "acepilot_log_lines_dropped",
            "Log lines that could not be written (full disk, no reader), or of an event that came too often",
            value=logs.lines_dropped(),
        )


class EventMetrics:
    """Counts each completion event once, since the start; `python -m server stats` counts all stored ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        labels = ["language", "model"]
        self._events = counter(
            "acepilot_events",
            "Events by kind: shown, accepted, partly_accepted, typed_through, rejected, survived",
            ["kind", *labels],
        )
        self._accepted_chars = counter(
            "acepilot_accepted_chars", "Characters of completions that users accepted", labels
        )
        self._checked_chars = counter(
            "acepilot_survival_looked_at_chars",
            "Accepted characters that were checked again `after_s` seconds later",
            ["after_s", *labels],
        )
        self._kept_chars = counter(
            "acepilot_survival_kept_chars",
            "Checked characters that were still in place",
            ["after_s", *labels],
        )
        self._latency = Histogram(
            "acepilot_shown_latency_seconds",
            "Seconds from an editor's request to the completion that it showed",
            labels,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.failing = Gauge(
            "acepilot_events_store_failing",
            "1 while events cannot be written; the log says why",
            registry=registry,
        )
        self.lost = counter("acepilot_events_lost", "Events that were dropped before they were written")
        self._served: str | None = None

    def keep_label(self, model: str) -> None:
        """Give the events of this model labels of their own, by language."""
        self._served = model

    def count(self, event: Mapping[str, Any]) -> None:
        """Count an event that is new in the database."""
        labels = self._labels(event)
        self._events.labels(event["kind"], *labels).inc()
        if event["kind"] == "shown" and event["latency_ms"] is not None:
            self._latency.labels(*labels).observe(event["latency_ms"] / 1000)
        if event["kind"] == "survived" and event["kept_ratio"] is not None:
            self._checked_chars.labels(event["after_s"], *labels).inc(event["chars"])
            self._kept_chars.labels(event["after_s"], *labels).inc(event["chars"] * event["kept_ratio"])

    def count_accepted(self, event: Mapping[str, Any], chars: int) -> None:
        if chars > 0:
            self._accepted_chars.labels(*self._labels(event)).inc(chars)

    def _labels(self, event: Mapping[str, Any]) -> tuple[str, str]:
        """Return the labels for the event's language and model."""
        if event["model"] != self._served:
            return OTHER, OTHER
        return language_for(event["language"]).id, event["model"]

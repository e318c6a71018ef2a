"""What Prometheus may see: counts and times, in one registry a server. Never code, paths or prompts."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from acepilot.languages import language_for

MODELS = 50
"""Names that clients may put on a counter; what comes after them counts as `other`."""

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.first_token = Histogram(
            "acepilot_time_to_first_token_seconds",
            "From a completion's arrival to its first token",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.total = Histogram(
            "acepilot_completion_seconds",
            "From a completion's arrival to its end",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queue = Histogram(
            "acepilot_queue_seconds",
            "Time a sequence waited for a place in the engine",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.generated_tokens = Counter(
            "acepilot_generated_tokens", "Tokens that the engine generated", registry=self.registry
        )
        self.wasted_tokens = Counter(
            "acepilot_wasted_tokens", "Tokens generated for cancelled requests", registry=self.registry
        )
        self.scored_tokens = Counter(
            "acepilot_scored_tokens",
            "Tokens of suffixes whose probability was asked for",
            registry=self.registry,
        )
        self.cache_hits = Counter(
            "acepilot_cache_hits",
            "Completions answered without the engine",
            ["source"],
            registry=self.registry,
        )
        self.completions = Counter(
            "acepilot_completions",
            "Completions by outcome: offered, nothing, cancelled, failed, refused",
            ["outcome"],
            registry=self.registry,
        )
        self.active = Gauge(
            "acepilot_active_requests", "Sequences that hold a place in the engine", registry=self.registry
        )
        self.waiting = Gauge(
            "acepilot_waiting_requests", "Sequences in the queue for a place", registry=self.registry
        )
        self.kv_used = Gauge(
            "acepilot_kv_cache_used_ratio", "Of the KV cache, 0 to 1", registry=self.registry
        )
        self.events = EventMetrics(self.registry)


class EventMetrics:
    """What became of completions, each event counted once: what `python -m server stats` adds up for good."""

    def __init__(self, registry: CollectorRegistry) -> None:
        of = ["language", "model"]
        self._events = Counter(
            "acepilot_events",
            "Events by kind: shown, accepted, partly_accepted, typed_through, rejected, survived",
            ["kind", *of],
            registry=registry,
        )
        self._accepted_chars = Counter(
            "acepilot_accepted_chars", "Characters of completions that users accepted", of, registry=registry
        )
        self._looked_at_chars = Counter(
            "acepilot_survival_looked_at_chars",
            "Accepted characters that were looked for again, so many seconds later",
            ["after_s", *of],
            registry=registry,
        )
        self._kept_chars = Counter(
            "acepilot_survival_kept_chars",
            "Of those, the ones that still stood where they were put",
            ["after_s", *of],
            registry=registry,
        )
        self._latency = Histogram(
            "acepilot_shown_latency_seconds",
            "From an editor's request to the completion that it showed",
            of,
            buckets=SECONDS,
            registry=registry,
        )
        self.failing = Gauge(
            "acepilot_events_store_failing",
            "1 while events cannot be written: see the log",
            registry=registry,
        )
        self.lost = Counter("acepilot_events_lost", "Events that were never written", registry=registry)
        self._models: set[str] = set()

    def keep_label(self, model: str) -> None:
        """This one has a counter of its own, whatever names clients make up."""
        self._models.add(model)

    def count(self, event: Mapping[str, Any]) -> None:
        """A row of the table of events that was not there before."""
        of = self._labels(event)
        self._events.labels(event["kind"], *of).inc()
        if event["kind"] == "shown" and event["latency_ms"] is not None:
            self._latency.labels(*of).observe(event["latency_ms"] / 1000)
        if event["kind"] == "survived" and event["kept_ratio"] is not None:
            self._looked_at_chars.labels(event["after_s"], *of).inc(event["chars"])
            self._kept_chars.labels(event["after_s"], *of).inc(event["chars"] * event["kept_ratio"])

    def count_accepted(self, event: Mapping[str, Any], chars: int) -> None:
        if chars > 0:
            self._accepted_chars.labels(*self._labels(event)).inc(chars)

    def _labels(self, event: Mapping[str, Any]) -> tuple[str, str]:
        """Clients name both, and each new name costs memory: only so many are told apart."""
        model = event["model"]
        if model not in self._models and len(self._models) < MODELS:
            self._models.add(model)
        return language_for(event["language"]).id, model if model in self._models else "other"

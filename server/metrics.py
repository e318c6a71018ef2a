"""What Prometheus may see: counts and times, in one registry a server. Never code, paths or prompts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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

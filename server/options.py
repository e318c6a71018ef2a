"""What `create_app` takes beside the settings: the cache's size, the early stops, time limits."""

from dataclasses import dataclass

from acepilot.postprocess.chain import STOPS, Stop


@dataclass(frozen=True)
class ServiceOptions:
    """Choices that no user needs to make; a program that builds its own server may."""

    cache_entries: int = 512
    """Completions that the response cache holds; 0 turns the cache off."""

    early_stops: tuple[Stop, ...] = STOPS
    """Stops that end generation early. The filters of the finished text use their own."""

    header_timeout_s: float = 10.0
    """For a request's whole header, and for a client to read what the server has sent: else a connection that
    does nothing would hold its place for ever. Longer than a connection is kept between requests (5 s)."""

    body_timeout_s: float = 30.0
    """For the whole request body: else a client that stops midway would hold its partial body for ever."""

    queue_timeout_s: float = 300.0
    """For a place in the engine. No editor waits that long; a program that sends many long requests may."""

    completion_timeout_s: float = 900.0
    """From a request's arrival to its end, in case the engine hangs: 4,096 tokens at 5 tokens a second."""

    last_event_timeout_s: float = 10.0
    """After `completion_timeout_s`, for a streaming client to read why its stream ends."""


DEFAULT_OPTIONS = ServiceOptions()

"""Serves completions over HTTP from a model on this machine, or from one that runs elsewhere.

    python -m server                                 the starter model on http://127.0.0.1:8010
    python -m server --model ./my-model --port 9000  a folder with a GGUF file or an OpenVINO model
    python -m server --model current                 the promoted one, as of this start: docs/promotion.md
    python -m server --model OWNER/NAME              by hub id: fetched at the first start, here from then on
    python -m server --model ./my-model --engine upstream --upstream http://gpu1:8000   docs/upstream.md
    ACEPILOT_TOKEN=... python -m server --host 0.0.0.0   for other machines: clients must show the token
    python -m server stats                           what became of completions: accepted, kept, how fast

Every flag can also be an ACEPILOT_* variable (ACEPILOT_PORT=9000) or a line under [server] in acepilot.toml.
Open the address in a browser for the playground. Stop with Ctrl-C.
"""

import argparse
import contextlib
import sys

import structlog
import uvicorn

from acepilot.cli import program
from acepilot.models.resolve import resolve
from server.app import create_app
from server.engine.base import Engine
from server.engine.opening import open_engine
from server.settings import ServerSettings

SECRETS = ("token", "upstream_token", "events_url")
"""Settings that are no flags: a command line shows in `ps`."""


@program(error_code=2)
def main() -> int:
    """Exit code 0 after Ctrl-C, 3 when the port is taken, 2 when settings or the model's name are wrong."""
    if sys.argv[1:2] == ["stats"]:
        from server.events.stats import (
            main as print_stats,  # rich is slow to import, and a server needs none of it
        )

        return print_stats(sys.argv[2:])
    settings = ServerSettings.load(vars(_parser().parse_args()))
    _configure_logging(settings.log_level)
    model = resolve(settings.model)
    settings = settings.model_copy(update={"model": model.name})  # what `/ready` says while it loads

    def load_engine() -> Engine:
        return open_engine(model, settings.engine, settings.engine_options())

    app = create_app(settings, load_engine)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has shut down in order, then raises it again
        server.run()
    return 0 if server.started else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, field in ServerSettings.model_fields.items():
        if name in SECRETS:
            continue
        described = f"{field.description} (default: {field.default})"
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=name.upper(), help=described)
    return parser


def _configure_logging(level: str) -> None:
    """Events on standard error, one line each. No event carries code."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())

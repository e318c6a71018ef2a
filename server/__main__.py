"""Serves code completions over HTTP, from a model on this machine or from another server.

    python -m server                                 the starter model on http://127.0.0.1:8010
    python -m server --model ./my-model --port 9000  a folder with a GGUF file or an OpenVINO model
    python -m server --model current                 the promoted model; docs/promotion.md
    python -m server --model OWNER/NAME              a model of the hub, downloaded at the first start
    python -m server --model ./my-model --engine upstream --upstream http://gpu1:8000   docs/upstream.md
    ACEPILOT_TOKEN=... python -m server --host 0.0.0.0   for other machines: clients must send the token
    python -m server stats                           statistics of completions: accepted, kept, how fast

`acepilot-server` is the same program, for folders of others: `python -m server` runs a server.py there.
Every flag can also be set by a variable (ACEPILOT_PORT=9000) or by a line under [server] in acepilot.toml.
Open the address in a browser for the playground. Stop the server with Ctrl-C.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable

import uvicorn

from acepilot.cli import program
from acepilot.models.registry import ModelFolder
from acepilot.models.resolve import resolve
from server import logs
from server.app import create_app
from server.connections import BACKLOG, ConnectionLimits, connection_class
from server.engine.base import Engine, EngineOptions
from server.engine.opening import EngineName, open_engine
from server.options import DEFAULT_OPTIONS, ServiceOptions
from server.settings import ServerSettings

SECRETS = ("token", "upstream_token", "events_url")
"""Settings without a flag, because `ps` shows a command line to every user of the machine."""

SHUTDOWN_TIMEOUT_S = 2
"""For requests that run when the server stops. Editors ask again, so a longer wait helps nobody."""


@program(error_code=2)
def main() -> int:
    """Return 0 after Ctrl-C, 3 when the port is taken, 2 when the settings or the model's name are wrong."""
    os.environ["PYTHONSAFEPATH"] = "1"  # a worker process would import modules of the working directory first
    arguments = sys.argv[1:]
    if arguments[:1] == ["stats"]:
        from server.events.stats import main as print_stats  # imports rich, which is slow

        return print_stats(arguments[1:])
    return serve(read_settings(arguments))


def read_settings(arguments: list[str]) -> ServerSettings:
    """Return the settings from flags, variables and acepilot.toml. Raises ConfigError."""
    return ServerSettings.load(vars(parser().parse_args(arguments)))


def serve(
    settings: ServerSettings,
    options: ServiceOptions = DEFAULT_OPTIONS,
    open_engine: Callable[[ModelFolder, EngineName, EngineOptions], Engine] = open_engine,
) -> int:
    """Serve until Ctrl-C; return the exit code. `open_engine` runs in a thread, as loading is slow."""
    logs.set_up(settings.log_level)
    model = resolve(settings.model)
    settings = settings.model_copy(update={"model": model.name})  # `/ready` shows it during loading
    app = create_app(
        settings, lambda: open_engine(model, settings.engine, settings.engine_options()), options
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=connection_class(ConnectionLimits.of(settings.host, options.header_timeout_s)),
        ws="none",
        backlog=BACKLOG,
        log_config=None,  # `logs` prints no exception's text
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly shutdown
        server.run()
    return 0 if server.started else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line: a flag for each setting except the secrets."""
    parser = argparse.ArgumentParser(
        prog="python -m server", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, field in ServerSettings.model_fields.items():
        if name in SECRETS:
            continue
        described = f"{field.description} (default: {field.default})"
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=name.upper(), help=described)
    return parser


if __name__ == "__main__":
    sys.exit(main())

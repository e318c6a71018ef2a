"""`python -m lsp`: parse the flags, then serve editors over stdio or TCP, or run the doctor."""

import os
import sys
from pathlib import Path

# `python -m` puts the working directory first, which is the project that the editor opened: a file there
# called httpx.py must not be imported. (A folder called lsp is found even earlier: hence `acepilot-lsp`.)
if sys.path[0] in ("", os.getcwd()) and Path.cwd() != Path(__file__).parents[1]:  # noqa: PTH109
    del sys.path[0]

import argparse
import asyncio
from collections.abc import Callable

from acepilot.cli import program
from acepilot.errors import CannotListen
from acepilot.settings import is_loopback
from lsp import logs
from lsp.server import AcepilotLanguageServer
from lsp.settings import LspSettings
from lsp.tcp import serve_tcp

EPILOG = """\
--server-url and --time-budget-ms can also be given as ACEPILOT_SERVER_URL and ACEPILOT_TIME_BUDGET_MS, or in
[lsp] of acepilot.toml in ACEPILOT_HOME. The server's token is read from ACEPILOT_TOKEN, never from a
flag, which every user of the machine could read.

examples:
  acepilot-lsp                                     the same program, as an editor runs it
  python -m lsp --server-url http://gpu-box:8010   use a server on another machine
  python -m lsp --doctor                           check the set-up, and say how to repair it
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lsp",
        description="Acepilot's language server: it speaks LSP 3.18 with your editor over stdin and stdout, "
        "and gets completions from the completion server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--server-url", help="where the server listens (default http://127.0.0.1:8010)")
    parser.add_argument(
        "--time-budget-ms",
        type=int,
        help="time limit of a completion; after it, only the whole lines received so far are shown "
        "(default 5000)",
    )
    parser.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="serve any number of editors over TCP instead; there is no password, so only loopback addresses "
        "are allowed",
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="let --tcp listen on other than loopback addresses; only on a network you trust",
    )
    parser.add_argument("--doctor", action="store_true", help="check server, token, model and one completion")
    parser.add_argument("--json", action="store_true", help="with --doctor: print the checks as JSON")
    return parser


@program()
def main(
    argv: list[str] | None = None,
    new_server: Callable[[LspSettings], AcepilotLanguageServer] = AcepilotLanguageServer,
) -> int:
    """Return 0 at the end or Ctrl-C, 1 if --doctor fails, 2 for wrong settings, 3 for an address in use."""
    parser = build_parser()
    flags = parser.parse_args(argv)
    logs.set_up()
    settings = LspSettings.load({"server_url": flags.server_url, "time_budget_ms": flags.time_budget_ms})
    if flags.doctor:
        from lsp import doctor  # rich is slow to import, and only the doctor needs it

        return doctor.main(settings, as_json=flags.json)
    if flags.json:
        parser.error("--json goes with --doctor")
    if flags.tcp is None:
        new_server(settings).start_io()
        return 0
    host, _, port = str(flags.tcp).rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65535:
        parser.error(f"--tcp takes HOST:PORT, not {flags.tcp!r}")
    if not is_loopback(host) and not flags.allow_remote:
        parser.error(
            f"--tcp {flags.tcp}: anyone who reaches that address could use your completion server; listen on "
            "127.0.0.1, or add --allow-remote on a network you trust"
        )
    try:
        asyncio.run(serve_tcp(lambda: new_server(settings), host, int(port)))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        raise CannotListen(f"Cannot listen on {flags.tcp}: {error.strerror}.") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())

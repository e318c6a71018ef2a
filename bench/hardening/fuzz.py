"""Fuzz the server and the language server: `make fuzz`.

    python -m bench fuzz                                   some minutes
    python -m bench fuzz --examples 1000 --messages 20000 --seed 7

schemathesis fuzzes the HTTP interface from its own OpenAPI, on a real server with a random model of 256
tokens of context, so that no answer takes long. No answer may be a 5xx, and every answer must match the
description. The language server gets malformed, out-of-order and unexpected messages over stdio; after them
it must still answer a valid request, and it must print nothing of a document. Exit code 1 if anything failed.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from acepilot.cli import program, text_console
from bench.figures import leave
from bench.hardening.lsp_fuzz import fuzz_language_server
from bench.peers.servers import Contestant, serving
from finetune.modeling.tiny import make_tiny_model

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100, help="for each HTTP operation (default: 100)")
    parser.add_argument("--messages", type=int, default=4000, help="to the language server (default: 4000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schemathesis", default="schemathesis", metavar="PATH")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    console = text_console()
    logs = Path(tempfile.mkdtemp(prefix="acepilot-fuzz-"))
    # Fuzzed events must not reach the user's database.
    os.environ["ACEPILOT_EVENTS_URL"] = f"sqlite:///{logs / 'events.sqlite3'}"
    model = make_tiny_model(logs / "tiny")
    command = [sys.executable, "-m", "server", "--model", str(model), "--engine", "torch", "--port", "{port}"]
    server = Contestant("server", "", "", (*command, "--log-level", "error"), ready_path="/ready")
    with serving(server, logs) as running:
        http = subprocess.run(
            [options.schemathesis, "run", f"{running.url}/openapi.json",
             "--checks", CHECKS, "--request-timeout", "120",
             "--max-examples", str(options.examples), "--seed", str(options.seed)],
            check=False,
        )  # fmt: skip
        outcome = fuzz_language_server(running.url, options.messages, options.seed)
    console.print(
        f"language server: {outcome.inputs:,} messages, {outcome.answers:,} answers, "
        f"{len(outcome.failures)} failures",
        *outcome.failures,
        sep="\n",
    )
    return int(bool(http.returncode or outcome.failures))


if __name__ == "__main__":
    sys.exit(main())

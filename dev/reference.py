"""Write docs/reference/ from the code: settings.md, http.md and lsp.md. tests/dev/test_reference.py compares.

python -m dev.reference    after a change of settings, routes, protocols or LSP methods
"""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from lsprotocol import types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from acepilot.cli import program
from acepilot.errors import AcepilotError
from acepilot.settings import ProgramSettings
from dev.check_docs import ROOT
from eval_humaneval.settings import EvalSettings
from finetune.training.config import TrainConfig
from lsp.answers import State
from lsp.features import status
from lsp.server import AcepilotLanguageServer
from lsp.settings import LspSettings
from server.app import create_app
from server.engine.base import Engine
from server.settings import ServerSettings

FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- `python -m dev.reference` writes this page from the code. -->"
LISTED = ("server.", "acepilot.errors")
"""Modules whose errors the HTTP page lists."""

OPERATIONS = {
    "GET /health": "The process answers; no token needed.",
    "GET /ready": "The model's name and state; 503 while it loads or if it failed. No token needed.",
    "GET /metrics": "Counters and histograms for Prometheus.",
    "GET /v1/models": "The one model that is served.",
    "GET /v1/explain/{completion_id}": "Why a completion was offered, or why there was none.",
    "POST /v1/completions": "A completion, in OpenAI's or Tabby's request.",
    "GET /v1/health": "Tabby's health check; 503 while the model loads.",
    "POST /v1/health": "Tabby's health check; 503 while the model loads.",
    "GET /v1beta/server_setting": "Tabby's: tells the agent to send no usage reports to its makers.",
    "POST /infill": "A completion, in the request of llama.cpp's server.",
    "POST /v1/engines/{engine}/completions": "A completion, for Copilot-style plugins; any engine name.",
    "POST /v1/chat/completions": "The continuation of the last user message.",
    "POST /v1/events": "What users did with completions: Acepilot's events, or Tabby's.",
}
METHODS = {
    "initialize": "Chooses the position encoding: UTF-8, UTF-16 or UTF-32, as the editor prefers.",
    "initialized": "Starts to watch the completion server.",
    "shutdown": "Cancels running requests and sends the remaining events.",
    "textDocument/inlineCompletion": "Ghost text: one item, or several when the user asked by hand.",
    "textDocument/completion": (
        "One item in the completion menu. Announced only to editors without inline completion."
    ),
    "textDocument/didShowCompletion": "From the editor, `{item}`: the item is on the screen.",
    "textDocument/didPartiallyAcceptCompletion": (
        "From the editor, `{item, acceptedLength}`: UTF-16 units of the item's text accepted so far."
    ),
}
COMMANDS = {
    "acepilot.accepted": "Each item's command: the editor runs it after inserting the item.",
    "acepilot.explain": "Returns the server's record of the last completion, or null if there is none.",
}


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def default_of(field: FieldInfo) -> str:
    """Return a setting's default for a table."""
    if field.is_required():
        return "required"
    if field.default is None or field.default in ((), [], ""):
        return ""
    if isinstance(field.default, tuple | list):
        return f"`{json.dumps(list(field.default))}`"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(field.default, bool | int | float):
        return f"`{json.dumps(field.default)}`"
    return f"`{field.default}`"


def settings_rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Yield name, default and meaning of each setting; a group's settings have its name before a dot."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from settings_rows(type(field.default), f"{prefix}{name}.")
            continue
        meaning = field.description or ""
        if "Literal" in str(field.annotation):
            arguments = [
                choice for one in (field.annotation, *get_args(field.annotation)) for choice in get_args(one)
            ]
            choices = ", ".join(f"`{choice}`" for choice in arguments if isinstance(choice, str | int))
            meaning = f"{meaning} ({choices})" if meaning else choices
        if SecretStr in (field.annotation, *get_args(field.annotation)):
            meaning += " (no flag)"
        marked = issubclass(model, ProgramSettings) and name in model.set_in_working_directory
        yield f"`{prefix}{name}`{' *' if marked else ''}", default_of(field), meaning


def settings_page() -> str:
    head = ("setting", "default", "meaning")
    return page(
        "Settings",
        "Each program reads a setting from its flag (`--max-streams 8`), then from the environment "
        "(`ACEPILOT_MAX_STREAMS=8`), then from its table in `acepilot.toml` (`max_streams = 8`). It is "
        "read in `ACEPILOT_HOME` (default `~/.local/share/acepilot`). A file in the working directory wins "
        "over that one. It may be a stranger's: so it may set only what is marked with *, and it is ignored "
        "if other users can write it or its folder. Each program prints which file it read. A secret has no "
        "flag, because `ps` shows flags.",
        "## The server: `python -m server`, `[server]`",
        table(head, settings_rows(ServerSettings)),
        "## The language server: `acepilot-lsp`, `[lsp]`",
        table(head, settings_rows(LspSettings)),
        "## The evaluation: `python -m eval_humaneval`, `[eval_humaneval]`",
        table(head, settings_rows(EvalSettings)),
        "## A training recipe: `deepspeed finetune/train.py --config RECIPE`",
        "Keys of the YAML file. `key=value` after the command's flags replaces one (`zero.stage=3`).",
        table(head, settings_rows(TrainConfig)),
    )


def no_engine() -> Engine:
    raise NotImplementedError  # nothing is served here


def type_of(schema: dict[str, Any]) -> str:
    """Return a JSON schema's type in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(type_of(one) for one in schema[several]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return schema.get("type", "any")


def limits_of(schema: dict[str, Any]) -> str:
    """Return the limits of a field: of numbers, of text in characters, of lists in items."""
    for one in (schema, *schema.get("anyOf", [])):
        for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
            if low in one or high in one:
                return "–".join(
                    f"{one[key]:,}".removesuffix(".0") if key in one else "" for key in (low, high)
                )
    return ""


def operation_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            answer = operation["responses"]["200"].get("content", {}).get("application/json", {})
            asked, answered = (type_of(one["schema"]) if one.get("schema") else "" for one in (body, answer))
            name = f"{method.upper()} {path}"
            yield f"`{name}`", OPERATIONS[name], asked, "" if answered == "any" else answered


def error_rows() -> Iterator[tuple[str, ...]]:
    importlib.import_module("server.__main__")  # a class is a subclass only once its module is imported
    errors = [AcepilotError]
    for error in errors:
        errors += error.__subclasses__()
    for error in sorted(errors, key=lambda error: (error.status, error.code)):
        if error.__module__.startswith(LISTED):
            yield str(error.status), f"`{error.code}`"


def http_page() -> str:
    document = create_app(ServerSettings.load(), no_engine).openapi()
    schemas: dict[str, Any] = document["components"]["schemas"]
    fields = ("field", "type", "limits", "default", "meaning")
    tables: list[str] = []
    for name, schema in sorted(schemas.items()):
        required = schema.get("required", ())
        rows = (
            (
                f"`{field}`",
                type_of(one),
                limits_of(one),
                "required"
                if field in required
                else f"`{json.dumps(one['default'])}`"
                if "default" in one
                else "",
                one.get("description", ""),
            )
            for field, one in schema.get("properties", {}).items()
        )
        tables += [f"### {name}", table(fields, rows)]
    return page(
        "HTTP",
        "The server's own description is at `/openapi.json`. [Protocols](../protocols.md) says what each "
        "client gets. With a token configured, requests need `Authorization: Bearer TOKEN`.",
        table(("request", "what it does", "body", "answer"), operation_rows(document)),
        "## Errors",
        "An error's body is [ErrorResponse](#errorresponse), whose `code` is one of these. In a stream that "
        "has begun, the error is its last event.",
        table(("status", "code"), error_rows()),
        "## Bodies",
        *tables,
    )


def lsp_page() -> str:
    server = AcepilotLanguageServer(LspSettings.load())
    registered: Any = server.protocol.fm  # pygls leaves the types open
    # `textDocument/completion` is registered at `initialize`, for editors without inline completion only.
    features = [*map(str, registered.features), types.TEXT_DOCUMENT_COMPLETION]
    commands = [*map(str, registered.commands)]
    states = ", ".join(f"`{state}`" for state in get_args(State))
    return page(
        "The language server",
        "`acepilot-lsp` speaks LSP 3.18 over stdin and stdout (`--tcp HOST:PORT`: over TCP). It takes no "
        "settings from the editor. Documents are synchronised incrementally.",
        "## Requests and notifications",
        table(("method", "what it does"), ((f"`{name}`", METHODS[name]) for name in sorted(features))),
        "## Commands of `workspace/executeCommand`",
        table(("command", "what it does"), ((f"`{name}`", COMMANDS[name]) for name in sorted(commands))),
        "## Notifications to the editor",
        f"`{status.METHOD}`, whenever it changes: `{{state, message, reason}}`. `state` is one of {states}; "
        "`message` says what to do about it; `reason` says why the last request was answered as it was.",
        "`window/logMessage`: what went wrong, and when it is well again.",
    )


PAGES = {"settings.md": settings_page, "http.md": http_page, "lsp.md": lsp_page}


@program()
def main() -> int:
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
        print(Path("docs/reference") / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

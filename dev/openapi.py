"""Print the schemas that the playground uses, as OpenAPI: `make web` generates TypeScript types from them.

Titles and descriptions are left out, so that a reworded sentence does not change the committed types.
"""

import json
import re
import sys
from typing import Any, cast

from server.app import create_app
from server.engine.base import Engine
from server.settings import ServerSettings

USED = ("CompletionRequest", "CompletionResponse", "ErrorResponse", "ModelList", "Ready", "Trail")


def playground_document() -> dict[str, Any]:
    """Return a document without paths, with the used schemas and those that they refer to."""
    document = create_app(ServerSettings.load({}), no_engine).openapi()
    schemas = document["components"]["schemas"]
    found: dict[str, Any] = {}
    names = list(USED)
    while names:
        if (name := names.pop()) not in found:
            found[name] = without_prose(schemas[name])
            names += re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name]))
    return {
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": ""},
        "paths": {},
        "components": {"schemas": dict(sorted(found.items()))},
    }


def without_prose(schema: object) -> object:
    """Return the schema without titles and descriptions; a property of that name is an object, and stays."""
    if isinstance(schema, list):
        return [without_prose(item) for item in cast(list[object], schema)]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_prose(value)
        for key, value in cast(dict[str, object], schema).items()
        if not (key in ("title", "description") and isinstance(value, str))
    }


def no_engine() -> Engine:
    raise NotImplementedError  # the document needs no model


def main() -> int:
    json.dump(playground_document(), sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

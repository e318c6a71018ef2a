"""Browser -> `/`: the playground. It is served from the package, so it works without a network.

The page's source is server/playground/src; its bundle, server/playground/dist, is committed and is package
data. Each file has its own route, because a mount at `/` would take the paths of other routes.
"""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

_DIST = Path(__file__).parent.parent / "playground" / "dist"

FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/app.css": ("app.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/THIRD-PARTY.txt": ("THIRD-PARTY.txt", "text/plain"),
}

_HEADERS = {
    # The editor component sets its own styles at run time, so styles, but nothing else, need 'unsafe-inline'.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


async def _file(request: Request) -> FileResponse:
    name, media_type = FILES[request.url.path]
    return FileResponse(_DIST / name, media_type=media_type, headers=_HEADERS)


for _path in FILES:
    router.add_api_route(_path, _file, methods=["GET", "HEAD"])

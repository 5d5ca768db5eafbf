"""The page at ``/``: sent as one file that loads nothing from elsewhere, and says so to the browser."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import Response
from fastapi.responses import HTMLResponse


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


_SCRIPT = '"use strict";\n' + _read("page_files.js") + _read("page.js")

_PAGE = (
    _read("page.html")
    .replace("<style></style>", f"<style>\n{_read('page.css')}</style>")
    .replace("<script></script>", f"<script>\n{_SCRIPT}</script>")
)


def _hash_of(tag: str) -> str:
    inline = re.search(rf"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    assert inline is not None
    return f"'sha256-{b64encode(sha256(inline[1].encode()).digest()).decode()}'"


_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash_of('script')}; style-src {_hash_of('style')}; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def page_response() -> Response:
    return HTMLResponse(_PAGE, headers=_HEADERS)

"""`GET /`: one page to ask questions with, served from package data under a strict content security policy."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter()


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page() -> HTMLResponse:
    """Serve the page."""
    content, policy = _page()
    return HTMLResponse(content, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})


@cache
def _page() -> tuple[str, str]:
    """The page, and a policy that lets run and fetch nothing but what stands in it and the API beside it."""
    content = files("lectern_runtime.query").joinpath("page.html").read_text(encoding="utf-8")
    return content, (
        "default-src 'none'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"script-src {_hashes(content, 'script')}; style-src {_hashes(content, 'style')}"
    )


def _hashes(content: str, element: str) -> str:
    """The CSP sources of the inline `element`s of the page."""
    bodies = re.findall(rf"<{element}>(.*?)</{element}>", content, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies)
    return " ".join(f"'sha256-{digest}'" for digest in digests)

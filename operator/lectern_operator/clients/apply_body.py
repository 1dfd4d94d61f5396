r"""The body of a server-side apply: JSON that is YAML too, because the API server reads it as YAML.

Two things are JSON and no YAML: an escape of a character beyond the first plane, which JSON writes as two halves, and
some characters that JSON leaves as they are. So characters go as they are, but those that YAML does not let stand in
a quoted text, or would fold like the end of a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "application/apply-patch+yaml; charset=utf-8"
"""With its parameter, so that kubernetes.aio hands the text on as it is instead of writing it as JSON once more."""
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def apply_body(manifest: Mapping[str, Any]) -> str:
    """Return `manifest` as the API server reads it back character by character."""
    text = json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))
    # outside of strings JSON has ASCII alone, so every match is inside of one
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

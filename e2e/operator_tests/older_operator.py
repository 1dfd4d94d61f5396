"""An older operator, as far as its objects tell: today's program, which wishes for something else in three places.

`python -m e2e.operator_tests.older_operator` takes the operator's own arguments. It knows no NetworkPolicy of the
embedding server, gives workers half a minute to end, and writes an annotation at the query API's Service. Its images
are older by the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from lectern_contract import labels
from lectern_operator import main
from lectern_operator.desired.metadata import sealed
from lectern_operator.policies import changes
from lectern_operator.policies.changes import Manifest

UNKNOWN = ("NetworkPolicy", "docs-embedder")
WORKERS = ("Deployment", "docs-worker")
GRACE_SECONDS = 30
SERVICE = ("Service", "ask-query")
ANNOTATION = "lectern.dev/written-by"
VERSION = "0.0.9"
TODAYS = changes.changes


def older(wanted: Iterable[Manifest]) -> Iterator[Manifest]:
    """Return the objects that the older operator wants instead of `wanted`."""
    for manifest in wanted:
        match changes.key(manifest):
            case key if key == UNKNOWN:
                continue
            case key if key == WORKERS:
                template = manifest["spec"]["template"]
                spec = {**template["spec"], "terminationGracePeriodSeconds": GRACE_SECONDS}
                yield _sealed({**manifest, "spec": {**manifest["spec"], "template": {**template, "spec": spec}}})
            case key if key == SERVICE:
                annotations = {**manifest["metadata"]["annotations"], ANNOTATION: VERSION}
                yield _sealed({**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}})
            case _:
                yield manifest


def _sealed(manifest: Manifest) -> Manifest:
    """Return `manifest` with the digest of what it says now."""
    annotations = {key: text for key, text in manifest["metadata"]["annotations"].items() if key != labels.APPLIED}
    return sealed({**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}})


if __name__ == "__main__":
    changes.changes = lambda wanted, *given, **named: TODAYS(older(wanted), *given, **named)
    sys.exit(main.main())

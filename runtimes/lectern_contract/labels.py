"""Labels and annotations that the operator puts on what it makes, and nothing else puts there.

Children carry these and an owner reference, never copies of the owner's labels: a tool that tracks the owner
by a label would claim the children and prune them.
"""

from __future__ import annotations

from lectern_contract.names import LABEL_PREFIX

OWNER_UID = f"{LABEL_PREFIX}/owner-uid"
"""UID of the resource that a child (or a child's pod) works for; what lists and watches select by."""
ROLE = f"{LABEL_PREFIX}/role"
"""What the child does for its owner: a value of `names.Role`."""
APPLIED = f"{LABEL_PREFIX}/applied"
"""Digest of the manifest as it was last applied: a field that is wanted no more shows as a changed digest."""
SETTINGS = f"{LABEL_PREFIX}/settings"
"""`config_hash` of the settings file that a pod is given."""
SYNC_REQUEST = f"{LABEL_PREFIX}/sync-request"
"""Value of the owner's `sync-requested-at` that a Job answers."""
FULL_RESYNC_REQUEST = f"{LABEL_PREFIX}/full-resync-request"
"""Value of the owner's `full-resync-requested-at` that a Job answers."""
REPLAY_REQUEST = f"{LABEL_PREFIX}/replay-request"
"""Value of the owner's `replay-requested-at` that a Job answers."""
RUN_MODE = f"{LABEL_PREFIX}/run-mode"
"""Mode of a run that a Job does: a value of `reports.RunMode`; without it the run is a sync."""
REPLICAS = f"{LABEL_PREFIX}/replicas"
"""On a Deployment whose number of replicas the operator sets: `fixed`. Without it an autoscaler does."""

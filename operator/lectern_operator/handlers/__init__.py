"""The kopf decorators: each hands one event to a reconciler and maps errors and status at the border."""

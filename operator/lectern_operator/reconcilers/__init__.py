"""One reconciler per kind: observe, plan, apply, report."""

"""The chart and the Kustomize base, rendered by the real helm and kubectl and sent to a real API server."""

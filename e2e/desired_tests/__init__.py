"""The manifests of the operator's builders on a real API server that knows every kind that they make."""

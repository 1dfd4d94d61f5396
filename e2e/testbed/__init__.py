"""Turns pinned manifests into running components (etcd, Kubernetes control plane, KEDA's kinds) for tests.

`build` fills a cache outside the repository, the context managers start and stop what lies there, and the
fakes (each labelled) stand in for what needs a real node.
"""

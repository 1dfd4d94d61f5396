"""The node smoke test (`make node-smoke`): images, chart and pods on a real kubelet, once; no part of `make test`."""

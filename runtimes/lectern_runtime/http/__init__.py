"""What the runtimes that serve an HTTP API share: problems, the border around every request, faults, the server."""

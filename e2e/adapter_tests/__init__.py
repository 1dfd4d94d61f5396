"""The runtimes' adapters against the real servers that they are for."""

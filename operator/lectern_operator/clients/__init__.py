"""The operator's only input and output: typed clients of the systems that it observes and changes."""

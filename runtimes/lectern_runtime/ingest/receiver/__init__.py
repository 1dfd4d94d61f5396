"""The receiver of a push source: an HTTP API that takes documents from callers and puts them on the log."""

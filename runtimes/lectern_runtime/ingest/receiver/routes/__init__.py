"""The routes of the receiver, one module a subject."""

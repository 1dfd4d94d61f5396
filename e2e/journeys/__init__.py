"""Journeys of a person at a laptop: the real `lectern` command as a process of its own, asked over HTTP."""

"""Journeys of Lectern against real components, and the testbed that builds, starts and stops those."""

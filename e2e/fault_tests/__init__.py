"""Tests of the faults themselves, and the seeded sample of every matrix that `make test` runs."""

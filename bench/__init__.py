"""Benchmarks: each prints its floor, its ratio and its hardware."""

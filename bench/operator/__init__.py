"""The figures of the operator: how soon it rests (A6), and two thousand resources (A7). `python -m bench.operator`."""

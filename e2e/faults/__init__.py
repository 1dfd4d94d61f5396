"""Faults for the operator: a proxy before the API server that breaks what it is told, and what must hold then.

`python -m e2e.faults` runs the matrices and reports them; `python -m e2e.faults replay LINE` repeats one point.
The operator is driven as a process from outside and never imported.
"""

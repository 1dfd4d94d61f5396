"""The pipeline under faults: goals B1, B2, B3, B5, B7 and B8 against real workers, a real Kafka and the Qdrant double.

`make faults-ingest` runs them all, `e2e/ingest_fault_tests` a sample. The log decides what is right: `model` folds it
into what the store has to hold, and `checker` reads everything that the store does hold and compares.
"""

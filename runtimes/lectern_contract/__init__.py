"""The contract: every word that the operator and the runtimes exchange.

Pure values and functions over pydantic and the standard library. The operator, the runtimes and
the command line import it; it imports none of them and does no input or output.
"""

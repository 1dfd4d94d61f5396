"""Reads git repositories through the `git` program: the parts of the git connector.

`program` runs it, bounded; `remote` says how it reaches one remote and with which credentials; `checkout` fetches one
commit and lists it; `blobs` fetches and reads files; `faults` turns what git says into errors.
"""

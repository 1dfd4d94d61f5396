"""Reads document clouds by their HTTP APIs: the parts of the googleDrive and sharePoint connectors.

`rest` asks an API, bounded and with a token; `tokens` keeps one; `drive_*` and `graph_*` speak to one vendor each;
`folders` remembers folders between runs, so that a changed one is told from one that was only touched.
"""

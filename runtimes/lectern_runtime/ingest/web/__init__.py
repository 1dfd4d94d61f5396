"""Reads web servers on behalf of people who are not trusted with this network: the parts of the http connector.

Pure: `addresses`, `urls`, `robots`, `sitemaps`, `pages`, `validators`. With the network: `guarded` (which addresses are
connected to), `exchange` (one bounded request, redirect by redirect) and `crawl` (page by page).
"""

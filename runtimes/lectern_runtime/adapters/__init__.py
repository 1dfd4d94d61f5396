"""One file per outside system: each adapter gives a client library the shape of a port."""

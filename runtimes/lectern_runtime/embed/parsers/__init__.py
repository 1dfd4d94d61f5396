"""One module a format, each with `parse`: bytes in, text with blocks out, or a `DocumentError` that says why not."""

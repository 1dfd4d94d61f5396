"""The command `lectern`: the embedded mode and the questions one asks of it, on a laptop."""

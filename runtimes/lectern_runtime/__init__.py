"""The runtimes: turn documents into vectors and questions into answers."""

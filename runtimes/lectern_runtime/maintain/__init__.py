"""What a person does with the data of a knowledge base while the runtimes work on: looks, and mends."""

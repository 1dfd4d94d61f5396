"""Tests of what a person does with the data of a knowledge base."""

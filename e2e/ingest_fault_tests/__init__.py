"""A seeded sample of the pipeline's fault trials, and tests of the model and the checker that judge them."""

"""Pure builders: a resource goes in, the manifest of one thing comes out."""

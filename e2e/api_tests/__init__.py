"""The CustomResourceDefinitions on a real API server: what it accepts, refuses, fills in and shows."""

"""The operator: turns KnowledgeBase, IngestionSource and RagEndpoint into manifests and status."""

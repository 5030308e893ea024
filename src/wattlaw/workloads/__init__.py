"""What is trained: one folder a domain, one file a model family."""

"""Training with Lightning: batches, module, entry."""

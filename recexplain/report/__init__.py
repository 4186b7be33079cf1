"""What people look at: the picture of a causal graph, the page of one person, the index of a run."""

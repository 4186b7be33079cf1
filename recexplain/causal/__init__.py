"""From attention to a causal graph: correlation, tests of independence, discovery, distances."""

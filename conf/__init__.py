"""The Hydra configuration: one YAML an entry point, one folder a choice."""

"""Networks that score the next item, and the counting models to beat."""

"""Entries of the command line that explain and measure: Hydra, files and pages around the library."""

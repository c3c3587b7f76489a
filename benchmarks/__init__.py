"""Benchmarks: each prints a ratio against a floor or a peer measured in the same run, never an absolute claim."""

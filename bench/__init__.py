"""Benchmarks: one module per claim, each with a peer in the same run, JSON and a plot under `bench/results`."""

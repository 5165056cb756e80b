"""Benchmarks: each prints a table and writes JSON into `benchmarks/results/`. `make bench` runs them all."""

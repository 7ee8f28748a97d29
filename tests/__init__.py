"""The tests and benchmarks. A package, so that `python -m tests.bench.local` and its like work from the root."""

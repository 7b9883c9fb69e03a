"""The replay engine beside its peers, on one machine: `python -m tests.bench.engine`, or `make bench-engine`. Asserts no speed."""

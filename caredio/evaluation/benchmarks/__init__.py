"""The benchmarks: a file each, whose `BENCHMARKS` are found by being there."""

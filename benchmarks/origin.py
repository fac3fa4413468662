"""A hub for the benchmarks: the suite's stand-in as a process, and a plain download from it."""

"""Arms x seeds on shared seeds: designed, planned, run, and judged."""

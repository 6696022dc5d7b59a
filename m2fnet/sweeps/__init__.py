"""Many runs of one configuration: planned, run in processes, compared with the paper's tables."""

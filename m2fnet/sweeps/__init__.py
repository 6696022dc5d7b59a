"""Many runs of one configuration: planned, run in processes, told in the paper's tables."""

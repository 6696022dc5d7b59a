"""What both stages share in training: the command line of a run, callbacks, samplers, loggers."""

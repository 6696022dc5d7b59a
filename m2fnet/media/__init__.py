"""Reading sound and pictures out of clips."""

"""Networks whose inputs are missing in part: dropped while training, left out while testing."""

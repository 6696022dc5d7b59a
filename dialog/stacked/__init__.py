"""Many small networks trained together: folds, seeds and settings stacked in one process."""

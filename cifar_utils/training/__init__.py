"""Batches, checkpoints, callbacks and number formats."""

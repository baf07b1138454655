"""Metrics with intervals, calibration, test-time augmentation; from arrays, without TensorFlow."""

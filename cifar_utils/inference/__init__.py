"""Any picture in, class probabilities out; without TensorFlow."""

"""Reads an exported network in a process of its own: `exports.read_in_own_process` starts it.

    python -m cifar_utils.inference.export_check MODEL FORMAT IMAGES.npy ANSWERS.npz

Writes the answers, and whether TensorFlow was imported for them.
"""

import sys
from pathlib import Path

import numpy as np


def answer(path, kind, images):
    """Return the answers of an exported file to uint8 images (n, 32, 32, 3)."""
    if kind == "savedmodel":
        import tensorflow as tf

        from cifar_utils.backend import keras  # noqa: F401  (its quiet import of TensorFlow)

        loaded = tf.saved_model.load(str(path))  # without a name it would be gone too early
        return loaded.serve(images).numpy()
    from cifar_utils.inference.engines import KerasEngine, LiteRTEngine, OnnxEngine, to_input

    engine = {"tflite": LiteRTEngine, "onnx": OnnxEngine}.get(kind, KerasEngine)(Path(path))
    return engine.run(to_input(engine, images))


if __name__ == "__main__":
    model, kind, images, answers = sys.argv[1:]
    probs = answer(model, kind, np.load(images))
    np.savez(answers, probs=probs, tensorflow="tensorflow" in sys.modules)

"""Augmented batches, optimizers, checkpoints and progress: the pieces that notebook 3 trains with.

There is no function that trains a run: the notebook's cells call these pieces one after the other.
Each is loaded when first used, so that importing this room imports no Keras.
"""

import importlib

_HOMES = {
    "batches": ("AugmentedBatches", "FollowEpoch", "make_val_data", "predict_probs"),
    "callbacks": ("Progress",),
    "checkpoint": ("Checkpoint", "seed_everything"),
    "optimizers": ("build_optimizer", "build_schedule", "compile_model", "compute_learning_rates"),
    "precision": ("check_precision", "choose_precision", "describe_device", "use_precision"),
}  # fmt: skip
_PLACES = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_PLACES)


def __getattr__(name):
    """Load one of the public names (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)

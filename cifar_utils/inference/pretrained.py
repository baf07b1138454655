"""The weights that ship with the package: read, checked by SHA-256, turned into a model.

`weights/NAME.npz` holds them in float16, `weights/NAME.json` is their model card; both are written
by `tools/ship_weights.py`. Importing this module imports no TensorFlow; loading a model does.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from cifar_utils.errors import ModelError
from cifar_utils.text import suggest

WEIGHTS_DIR = Path(__file__).with_name("weights")


def list_pretrained() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.stem for path in WEIGHTS_DIR.glob("*.json"))


def read_card(name="fast") -> dict:
    """Read the model card of shipped weights: data, recipe, test accuracy, limits, SHA-256 …"""
    known = list_pretrained()
    if name not in known:
        raise ModelError(f"No weights {name!r} ship with the package. {suggest(name, known)}")
    path = WEIGHTS_DIR / f"{name}.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return {**card, "recipe": dict(card["recipe"]), "sha256": str(card["sha256"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error!r}). Reinstall the package.") from None


def load_pretrained(name="fast"):
    """Load a trained network that ships with the package.

    Args:
        name: One of `list_pretrained()`.

    Returns:
        An uncompiled float32 `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to the
        probabilities of CIFAR-10's classes (n, 10). An ordinary one: compile it to fine-tune it.

    Raises:
        ModelError: If there are no such weights, or the files are not those of the card.
    """
    card = read_card(name)
    with np.load(io.BytesIO(read_verified(WEIGHTS_DIR / f"{name}.npz", card["sha256"]))) as saved:
        arrays = [saved[f"w{i}"] for i in range(len(saved.files))]
    from cifar_utils import models
    from cifar_utils.runs.recipes import recipe_from_json

    model = models.unfuse(models.build(recipe_from_json(card["recipe"])))
    if [array.shape for array in arrays] != [tuple(weight.shape) for weight in model.weights]:
        raise ModelError(f"The weights {name!r} are of another network. Reinstall the package.")
    model.set_weights([array.astype(np.float32) for array in arrays])
    return model


def read_verified(path, sha256):
    """Read a file of the package; refuse, by ModelError, what has not this SHA-256."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error}). Reinstall the package.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"{path} is damaged or another file (SHA-256 {found[:12]}…, expected {sha256[:12]}…)."
            " Reinstall the package."
        )
    return content

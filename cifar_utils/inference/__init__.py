"""Any image in, class probabilities out; importing it imports neither TensorFlow nor SciPy."""

from cifar_utils.inference.classifier import Classifier, Prediction
from cifar_utils.inference.explain import compute_heat_map, diagnose, draw_heat_map
from cifar_utils.inference.images import open_picture
from cifar_utils.inference.pretrained import list_pretrained, load_pretrained, read_card
from cifar_utils.inference.samples import list_samples
from cifar_utils.inference.sources import find_model

__all__ = [
    "Classifier",
    "Prediction",
    "compute_heat_map",
    "diagnose",
    "draw_heat_map",
    "find_model",
    "list_pretrained",
    "list_samples",
    "load_pretrained",
    "open_picture",
    "read_card",
]

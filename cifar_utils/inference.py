"""Any picture in, class probabilities out: the one classifier behind widget, notebook and command.

Importing this module imports no TensorFlow; loading a model does.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_utils.data import CLASS_NAMES
from cifar_utils.errors import ParameterError
from cifar_utils.model_files import (
    ModelSource,
    check_probabilities,
    check_shapes,
    find_model,
    load_keras_model,
)
from cifar_utils.pictures import open_picture, to_model_view
from cifar_utils.preprocessing import IMAGE_SIZE, scale_images

# Every call is padded to one of these sizes, so that the graph is built twice at most and memory
# does not grow (keras#13118).
BATCH_SIZES = (1, 128)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the classifier says about one picture.

    Attributes:
        class_names: The classes, most probable first.
        probs: Their probabilities in [0, 1], in the same order. Uncalibrated: the network must
            answer with one of its classes, also for a picture that shows none of them.
        view: uint8 (32, 32, 3), the picture as the network saw it.
    """

    class_names: tuple[str, ...]
    probs: tuple[float, ...]
    view: np.ndarray

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.class_names[0]

    @property
    def confidence(self) -> float:
        """The probability of `label`."""
        return self.probs[0]

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the `k` most probable classes as `(name, probability)` pairs."""
        return list(zip(self.class_names[:k], self.probs[:k], strict=True))

    def __str__(self):
        return ", ".join(f"{name} {prob:.1%}" for name, prob in self.top())


class Classifier:
    """A loaded model with its contract: uint8 images in, probabilities of the ten classes out.

    Make one with `Classifier.load`.

    Attributes:
        class_names: The classes in the order of the model's outputs.
        source: A `ModelSource`; `str(classifier.source)` is a sentence for people.
    """

    def __init__(self, model, source: ModelSource):
        self._model = model
        self.source = source
        self.class_names = tuple(CLASS_NAMES)
        check_shapes(model, source.path, len(self.class_names))
        # One at a time: this also builds the graph that the first picture would wait for.
        answers = [self.predict_batch(image[None]) for image in _probe_images()]
        check_probabilities(np.concatenate(answers), source.path)

    @classmethod
    def load(cls, source=None) -> "Classifier":
        """Load a model.

        Args:
            source: None for the newest run with weights, or, where there is none, the weights that
                ship with the package; a run folder; or a `.keras` or `.h5` file. A file without a
                `run.json` beside it is taken for the documented model.

        Returns:
            A `Classifier`, warmed up.

        Raises:
            RunError: If the run has no weights yet.
            ModelError: If the file is missing, is no model, or does not fit (32×32×3 in, ten
                probabilities out).
        """
        found = find_model(source)
        if found.shipped:
            from cifar_utils.pretrained import load_pretrained

            return cls(load_pretrained(found.recipe), found)
        return cls(load_keras_model(found.path), found)

    def predict(self, image) -> Prediction:
        """Classify one picture.

        Args:
            image: Whatever `pictures.open_picture` takes: a path, bytes, PIL image or array.

        Returns:
            A `Prediction`.

        Raises:
            ImageError: If it cannot be read as a picture.
        """
        view = to_model_view(open_picture(image), IMAGE_SIZE)
        probs = self.predict_batch(view[None])[0]
        order = np.argsort(-probs, kind="stable")
        return Prediction(
            class_names=tuple(self.class_names[i] for i in order),
            probs=tuple(float(probs[i]) for i in order),
            view=view,
        )

    def predict_batch(self, images) -> np.ndarray:
        """Classify images that have the model's size already.

        Args:
            images: uint8 (n, 32, 32, 3), pixels 0 to 255; n may be 0.

        Returns:
            float32 (n, 10), probabilities in the order of `class_names`.

        Raises:
            ValueError: If the images have another shape or type.
        """
        images = np.asarray(images)
        if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"Expected uint8 images of shape (n, 32, 32, 3), got {images.dtype} "
                f"{images.shape}. Use predict() for a picture of another size."
            )
        size = BATCH_SIZES[0] if len(images) <= BATCH_SIZES[0] else BATCH_SIZES[-1]
        probs = np.empty((len(images), len(self.class_names)), np.float32)
        for start in range(0, len(images), size):
            part = images[start : start + size]
            padded = np.zeros((size, *images.shape[1:]), np.float32)
            padded[: len(part)] = scale_images(part)
            probs[start : start + size] = self._model.predict_on_batch(padded)[: len(part)]
        return probs


def _probe_images():
    """Make three images on which any softmax output can be told from logits."""
    noise = np.random.default_rng(0).integers(0, 256, (1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    return np.concatenate([np.zeros_like(noise), np.full_like(noise, 255), noise])


def open_classifier(run_name="", model_path="", image_path=""):
    """Choose the model that notebook 05 works with.

    Args:
        run_name: A run's name; empty takes the newest run with weights, and where there is none
            the weights that ship with the package.
        model_path: A model file or run folder to use instead of the run's own model.
        image_path: The picture that will be asked about, or empty; checked before anything is
            trained or loaded.

    Returns:
        `(run, classifier)`. The run's stage 05 is started; it is None if only a model was named
        or there is no run.

    Raises:
        ParameterError: If there is no such file.
    """
    for name, path in (("model_path", model_path), ("image_path", image_path)):
        if path and not Path(path).expanduser().exists():
            raise ParameterError(f"There is no file {path} ({name}), seen from {Path.cwd()}.")
    from cifar_utils.runs import latest_run_with_weights
    from cifar_utils.training import open_trained_run

    if not run_name and (model_path or latest_run_with_weights() is None):
        return None, Classifier.load(model_path or None)
    run = open_trained_run("05_inference_widget", run_name)
    return run, Classifier.load(model_path or run.dir)

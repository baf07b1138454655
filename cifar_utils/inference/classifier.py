"""Any picture in, class probabilities out: the one classifier behind widget, notebook and command.

The shipped weights and every run hold an exported network, so that neither importing this module
nor classifying a picture imports TensorFlow.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_utils.data import CLASS_NAMES
from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.errors import ImageError, ModelError, ParameterError
from cifar_utils.evaluation.calibration import apply_temperature
from cifar_utils.evaluation.tta import VIEWS, average_views, make_views
from cifar_utils.inference.converted import find_converted
from cifar_utils.inference.crops import choose_boxes, choose_crop, cut_out
from cifar_utils.inference.engines import ENGINES, open_engine, to_input
from cifar_utils.inference.images import open_picture
from cifar_utils.inference.sources import (
    EXPORTED,
    PHOTO,
    ModelSource,
    check_input,
    check_probabilities,
    check_shapes,
    find_model,
)
from cifar_utils.paths import expand_home
from cifar_utils.runs.machine import count_cores
from cifar_utils.text import first_line

DEFAULT_VIEWS = "mirrored"  # on held-out images as right as `six`, for a third of the time
SURE_ENOUGH = 0.98  # of a first answer; nearly all of these are right, mirrored or not
READ_AHEAD = 256  # crops that wait before the network is asked: enough to share out well


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the classifier says about one picture.

    Attributes:
        class_names: The classes, most probable first.
        probs: Their probabilities in [0, 1], in the same order; calibrated if `calibrated`.
        view: uint8 (32, 32, 3), the picture as the network saw it; of a photo's crops the one that
            gave the surest answer.
        box: Where `view` lies in the picture: (left, top, right, bottom), in pixels.
        unsure: Whether the answer is less sure than what is right often enough on images that the
            network never learnt from; always False for a model without a calibration.
        calibrated: Whether the model has one.
    """

    class_names: tuple[str, ...]
    probs: tuple[float, ...]
    view: np.ndarray
    box: tuple[int, int, int, int] = (0, 0, IMAGE_SIZE, IMAGE_SIZE)
    unsure: bool = False
    calibrated: bool = False

    @property
    def label(self) -> str:
        """The most probable class, also if the answer is unsure."""
        return self.class_names[0]

    @property
    def confidence(self) -> float:
        """The probability of `label`."""
        return self.probs[0]

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the `k` most probable classes as `(name, probability)` pairs."""
        return list(zip(self.class_names[:k], self.probs[:k], strict=True))

    def to_dict(self, name: str, top: int = 3) -> dict:
        """Return the prediction as a JSON-ready dict: the one form that every front shares.

        Args:
            name: What the picture is called.
            top: How many classes to list.

        Returns:
            `{"picture", "label", "probability", "unsure", "classes": [{"class", "probability"}]}`;
            `unsure` is None for a model without a calibration.
        """
        return {
            "picture": name,
            "label": self.label,
            "probability": round(self.confidence, 6),
            "unsure": self.unsure if self.calibrated else None,
            "classes": [
                {"class": label, "probability": round(prob, 6)} for label, prob in self.top(top)
            ],
        }

    def __str__(self):
        ranked = ", ".join(f"{name} {prob:.1%}" for name, prob in self.top())
        return f"unsure: {ranked}" if self.unsure else ranked


class Classifier:
    """A loaded model with its contract: pictures in, probabilities of the ten classes out.

    Make one with `Classifier.load`. It may be used by several threads; they take turns.

    Attributes:
        class_names: The classes in the order of the model's outputs.
        source: A `ModelSource`; `str(classifier.source)` is a sentence for people.
        engine: What runs the model, and why that: a sentence.
        views: How many views of each image are averaged; see `views.VIEWS`.
        calibration: The `calibration.Calibration` in use, or None.
        photo_calibration: What is applied on top where the surest of several crops was taken, or
            None; fitted on `scenes`, with mirrored views.
    """

    def __init__(self, engine, source: ModelSource, why="", views=DEFAULT_VIEWS):
        self._engine, self._lock = engine, threading.Lock()
        self.source, self.engine, self.views = source, why or engine.name, views
        self.class_names = tuple(CLASS_NAMES)
        fitted = source.calibration
        self.calibration = fitted.get(views)
        self.photo_calibration = fitted.get(PHOTO)
        self._single = fitted.get("one")
        check_shapes(engine.shapes, source.path, len(self.class_names))
        check_input(engine.input_type, source.path)
        check_probabilities(self._probe(), source.path)

    @classmethod
    def load(cls, source=None, views=DEFAULT_VIEWS, backend=None, threads=None) -> "Classifier":
        """Load a model.

        Args:
            source: None for the weights that ship with the package; a run folder or a run's name;
                a `.keras`, `.h5`, `.tflite` or `.onnx` file. A `.keras` or `.h5` file is converted
                once, with TensorFlow, and kept in the user's cache. A file without a `run.json`
                beside it is taken for the documented model: RGB divided by 255 in, softmax out,
                CIFAR-10's order of classes.
            views: "one", "mirrored" (the image and its mirror image) or "six".
            backend: "LiteRT", "ONNX Runtime" or "Keras"; None takes the first that is installed.
            threads: Processor cores to use; None takes all.

        Returns:
            A `Classifier`, warmed up.

        Raises:
            ParameterError: If there is no such kind of views.
            RunError: If the run has no weights yet.
            ModelError: If the file is missing, is no model, or does not fit (32×32×3 in, ten
                probabilities out), or nothing that is installed can run it.
        """
        if views not in VIEWS:
            raise ParameterError(f"There is no kind of views {views!r}. Valid: {', '.join(VIEWS)}.")
        found = find_model(source)
        files = found.files
        if backend != "Keras" and not any(suffix in files for suffix in EXPORTED):
            files = find_converted(found.path, backend) | files
        engine, why = open_engine(files, threads or count_cores(), backend)
        return cls(engine, found, why, views)

    def predict(self, image) -> "Prediction | list[Prediction]":
        """Classify one picture, or each image of a batch.

        Args:
            image: Whatever `pictures.open_picture` takes: a path, bytes, PIL image or array. An
                array (n, h, w, channels) is n pictures.

        Returns:
            A `Prediction`; of a batch a list of them.

        Raises:
            ImageError: If it cannot be read as a picture.
        """
        if getattr(image, "ndim", 0) == 4:
            return self.predict_prepared(
                [self._prepare_numbered(i, picture) for i, picture in enumerate(image)]
            )
        return next(self.predict_many([image]))

    def predict_many(self, pictures):
        """Classify many pictures, dozens at a time.

        Args:
            pictures: Iterable of whatever `pictures.open_picture` takes.

        Yields:
            A `Prediction` for each, in order.

        Raises:
            ImageError: If one cannot be read; those read before it have been yielded.
        """
        waiting, count = [], 0
        for picture in pictures:
            try:
                waiting.append(self.prepare(picture))
            except Exception:
                yield from self.predict_prepared(waiting)
                raise
            count += len(waiting[-1][1])
            if count >= READ_AHEAD:
                yield from self.predict_prepared(waiting)
                waiting, count = [], 0
        yield from self.predict_prepared(waiting)

    def predict_box(self, picture, box) -> "Prediction":
        """Classify one square of a picture, which somebody has chosen.

        Args:
            picture: Whatever `pictures.open_picture` takes.
            box: (left, top, right, bottom) in pixels of the picture.

        Returns:
            A `Prediction` of that square alone, as sure as if it were one of a picture's crops.

        Raises:
            ImageError: If it cannot be read as a picture.
        """
        image = open_picture(picture)
        crop = cut_out(image, [box])
        is_photo = len(choose_boxes(*image.size)) > 1
        return self._describe(self.predict_batch(crop)[0], crop[0], box, is_photo)

    def prepare(self, picture):
        """Read a picture and cut out what the network will see of it.

        Args:
            picture: Whatever `pictures.open_picture` takes.

        Returns:
            `(crops, boxes)`: uint8 (k, 32, 32, 3) and where they lie in the picture.

        Raises:
            ImageError: If it cannot be read as a picture.
        """
        image = open_picture(picture)
        boxes = choose_boxes(*image.size)
        return cut_out(image, boxes), boxes

    def _prepare_numbered(self, number, picture):
        """Prepare a picture of a batch; an error says which."""
        try:
            return self.prepare(picture)
        except ImageError as error:
            raise ImageError(f"Picture {number} of the batch: {error}") from None

    def predict_prepared(self, prepared):
        """Classify what `prepare` made, all in one go.

        Args:
            prepared: List of `(crops, boxes)`.

        Returns:
            A list of `Prediction`s.
        """
        probs, chosen = self.answer_prepared(prepared)
        return [
            self._describe(row, crops[best], boxes[best], len(boxes) > 1)
            for row, best, (crops, boxes) in zip(probs, chosen, prepared, strict=True)
        ]

    def answer_prepared(self, prepared):
        """Take the surest crop of each picture.

        Args:
            prepared: List of `(crops, boxes)`, as `prepare` makes them.

        Returns:
            `(probs, chosen)`: float (n, 10), the probabilities of the surest crops, before
            `photo_calibration`, in the order of `class_names`; and which crops these are.
        """
        if not prepared:
            return np.empty((0, len(self.class_names)), np.float32), []
        probs = self.predict_batch(np.concatenate([crops for crops, _ in prepared]))
        ends = np.cumsum([len(crops) for crops, _ in prepared])[:-1]
        parts = np.split(probs, ends)
        chosen = [choose_crop(part) for part in parts]
        return np.stack([part[best] for part, best in zip(parts, chosen, strict=True)]), chosen

    def predict_batch(self, images, views=None) -> np.ndarray:
        """Classify images that have the model's size already.

        Args:
            images: uint8 (n, 32, 32, 3), pixels 0 to 255; n may be 0.
            views: Another kind of views than the classifier's own, or None.

        Returns:
            float32 (n, 10), probabilities in the order of `class_names`, calibrated if the model
            has a calibration.

        Raises:
            ValueError: If the images have another shape or type.
        """
        images = np.asarray(images)
        if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"Expected uint8 images of shape (n, 32, 32, 3), got {images.dtype} "
                f"{images.shape}. Use predict() for a picture of another size."
            )
        kind = views or self.views
        probs, calibration = self.compute_probs(images, kind), self.source.calibration.get(kind)
        if calibration is None:
            return probs
        return apply_temperature(probs, calibration.temperature).astype(np.float32)

    def compute_probs(self, images, kind) -> np.ndarray:
        """Compute uncalibrated probabilities, averaged over views.

        With `mirrored`, the mirror image is asked about only where the first answer leaves doubt:
        two of three thumbnails need no second look.

        Args:
            images: uint8 (n, 32, 32, 3).
            kind: A key of `views.VIEWS`.

        Returns:
            float32 (n, 10).
        """
        if kind == "six":
            views = make_views(images, kind)
            flat = self._ask(views.reshape(-1, *images.shape[1:]))
            return average_views(flat.reshape(*views.shape[:2], flat.shape[-1]), kind)
        probs = self._ask(images)
        if kind == "mirrored":
            rest = self._find_doubtful(probs)
            mirrored = self._ask(images[rest][:, :, ::-1])
            probs[rest] = average_views(np.stack([probs[rest], mirrored]), kind)
        return probs

    def _probe(self):
        """Return the answers to a few images; also prepares what the first picture waits for."""
        try:
            answers = [self._ask(image[None]) for image in _probe_images()]
            self.compute_probs(_probe_images(), self.views)
        except Exception as error:  # each library has its own
            reason = first_line(error)
            raise ModelError(
                f"{self.source.path.name} cannot answer about images (n, 32, 32, 3), n from one on:"
                f" {reason} Export it again with 'python -m cifar_utils export'."
            ) from error
        return np.concatenate(answers)

    def _find_doubtful(self, probs):
        """Return which answers to single views are not sure enough to stand alone, bool (n,)."""
        if self._single is None:
            return np.ones(len(probs), bool)
        return apply_temperature(probs, self._single.temperature).max(axis=1) < SURE_ENOUGH

    def describe_thresholds(self) -> str:
        """Say from which probability on an answer is not called unsure."""
        if self.calibration is None:
            return "Nothing is called unsure: nothing was fitted for this model."
        thumbnails, photos = (
            "never" if fitted.threshold > 1 else f"from {fitted.threshold:.1%} on"
            for fitted in (self.calibration, self.photo_calibration or self.calibration)
        )
        return f"Sure of a thumbnail {thumbnails}, of a larger picture {photos}."

    def _ask(self, images):
        """Return the network's answers to single views."""
        with self._lock:
            return self._engine.run(to_input(self._engine, images))

    def _describe(self, probs, view, box, is_photo):
        """Make a `Prediction` of the calibrated probabilities (10,) of one crop."""
        calibration = self.calibration
        if is_photo and self.photo_calibration is not None:
            calibration = self.photo_calibration
            probs = apply_temperature(probs[None], calibration.temperature)[0]
        order = np.argsort(-probs, kind="stable")
        return Prediction(
            class_names=tuple(self.class_names[i] for i in order),
            probs=tuple(float(probs[i]) for i in order),
            view=view,
            box=tuple(int(edge) for edge in box),
            unsure=calibration is not None and bool(probs[order[0]] < calibration.threshold),
            calibrated=calibration is not None,
        )


def describe_engines() -> list[str]:
    """List the engines in the order in which they are tried, and whether each is installed."""
    from cifar_utils.inference.engines import INSTALL, is_installed

    return [
        f"{engine.name}: "
        + ("installed" if is_installed(engine) else f"pip install {INSTALL[engine.name]}")
        for engine in ENGINES
    ]


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
        if path and not expand_home(path).exists():
            raise ParameterError(f"There is no file {path} ({name}), seen from {Path.cwd()}.")
    from cifar_utils.runs.store import latest_run_with_weights, start_trained_run

    if not run_name and (model_path or latest_run_with_weights() is None):
        return None, Classifier.load(model_path or None)
    run = start_trained_run("05_inference_widget", run_name)
    return run, Classifier.load(model_path or run.dir)

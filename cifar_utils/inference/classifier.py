"""The one classifier behind widget, page and command; for exported networks without TensorFlow."""

import dataclasses
import threading
from dataclasses import dataclass

import numpy as np

from cifar_utils.data import CLASS_NAMES
from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.errors import CifarError, ImageError, ParameterError
from cifar_utils.evaluation.calibration import apply_temperature
from cifar_utils.evaluation.tta import VIEWS, average_views, make_views
from cifar_utils.inference.crops import choose_boxes, choose_crop, cut_out
from cifar_utils.inference.engines import fit_engine, open_engine, read_thumbnails
from cifar_utils.inference.images import open_picture
from cifar_utils.inference.sources import PHOTO, ModelSource, find_model
from cifar_utils.runs.machine import count_cores

DEFAULT_VIEWS = "mirrored"  # as accurate on held-out images as `six`, for a third of the time
SURE_ENOUGH = 0.98  # of a first prediction; nearly all of these are correct, mirrored or not
READ_AHEAD = 256  # crops that wait before the network is called: enough to share out well


@dataclass(frozen=True, eq=False)
class Prediction:
    """The classifier's prediction for one image.

    Attributes:
        class_names: The classes, most probable first.
        probs: Their probabilities in [0, 1], in the same order; calibrated if `calibrated`.
        view: uint8 (32, 32, 3), the network's input; of a photo's crops the one with the most
            confident prediction.
        box: Where `view` is in the image: (left, top, right, bottom), in pixels.
        unsure: Whether the prediction is less confident than those that were correct often enough
            on held-out images; always False for a model without a calibration.
        calibrated: Whether the model has one.
        note: A sentence on how the image's pixels had to be read, or empty.
    """

    class_names: tuple[str, ...]
    probs: tuple[float, ...]
    view: np.ndarray
    box: tuple[int, int, int, int] = (0, 0, IMAGE_SIZE, IMAGE_SIZE)
    unsure: bool = False
    calibrated: bool = False
    note: str = ""

    label = property(lambda self: self.class_names[0], doc="The most probable class.")
    confidence = property(lambda self: self.probs[0], doc="The probability of `label`.")

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the `k` most probable classes as `(name, probability)` pairs."""
        return list(zip(self.class_names[:k], self.probs[:k], strict=True))

    def to_dict(self, name: str, top: int = 3) -> dict:
        """Return the prediction as a JSON-ready dict: the one form that every front shares.

        `{"picture", "label", "probability", "unsure", "classes": [{"class", "probability"}]}`;
        `unsure` is None for a model without a calibration. With a note also `"note"`.
        """
        fields = {
            "picture": name,
            "label": self.label,
            "probability": round(self.confidence, 6),
            "unsure": self.unsure if self.calibrated else None,
            "classes": [
                {"class": label, "probability": round(prob, 6)} for label, prob in self.top(top)
            ],
        }
        return fields | ({"note": self.note} if self.note else {})

    def __str__(self):
        ranked = ", ".join(f"{name} {prob:.1%}" for name, prob in self.top())
        return f"unsure: {ranked}" if self.unsure else ranked


class Classifier:
    """A loaded model: images in, probabilities of the ten classes out.

    Make one with `Classifier.load`. It may be used by several threads; they take turns. Pickled or
    copied, it carries what it was loaded from and opens that again.

    Attributes:
        class_names: The classes in the order of the model's outputs.
        source: A `ModelSource`; `str(classifier.source)` is a sentence for people.
        engine: What runs the model, and why that: a sentence.
        views: How many views of each image are averaged; see `tta.VIEWS`.
        calibration: The `calibration.Calibration` in use, or None.
        photo_calibration: What is applied on top where the most confident of several crops was
            taken, or None; fitted on scenes, with mirrored views.
    """

    def __init__(self, engine, source: ModelSource, why="", views=DEFAULT_VIEWS, input_scale=None):
        self._engine, self._lock = engine, threading.Lock()
        self.engine, self.views = why or engine.name, views
        self.class_names = tuple(CLASS_NAMES)
        contract = fit_engine(engine, source, input_scale)
        self.source = dataclasses.replace(source, contract=contract)
        self.calibration = source.calibration.get(views)
        self.photo_calibration = source.calibration.get(PHOTO)
        for count in (1, 5):  # plans for a thumbnail and for a photo's crops
            self.compute_probs(read_thumbnails()[0][:count], views)

    @classmethod
    def load(
        cls, source=None, views=DEFAULT_VIEWS, backend=None, threads=None, input_scale=None
    ) -> "Classifier":
        """Load a model.

        Args:
            source: None for the weights that ship with the package, or their name; a run folder or
                a run's name; a `.keras`, `.h5`, `.tflite` or `.onnx` file; a SavedModel folder.
                A file without a `run.json` beside it is taken to have CIFAR-10's order of classes.
            views: "one", "mirrored" (the image and its mirror image) or "six".
            backend: "LiteRT", "ONNX Runtime", "Keras" or "TensorFlow"; None takes the first that
                is installed and has a file.
            threads: Processor cores to use; None takes all.
            input_scale: "0..1", "0..255" or "-1..1": what a foreign network expects pixels to be.
                None reads it from its layers or quantisation, or else tries the three on a few
                images; `classifier.source` says what was found.

        Raises:
            CifarError: If there is no such model, kind of views or scale, or the file is no model,
                does not fit (32×32×3 in, ten probabilities out) or cannot be run here.
        """
        if views not in VIEWS:
            raise ParameterError(f"There is no kind of views {views!r}. Valid: {', '.join(VIEWS)}.")
        found = find_model(source)
        engine, why = open_engine(found.files, threads or count_cores(), backend)
        classifier = cls(engine, found, why, views, input_scale)
        classifier._reopen = (found.named, views, backend, threads, input_scale)
        return classifier

    def __reduce__(self):
        """Pickle and copy by what the model was loaded from: interpreters do neither."""
        return Classifier.load, self._reopen

    def predict(self, image) -> "Prediction | list[Prediction]":
        """Classify one image, or each image of a batch.

        Args:
            image: Whatever `images.open_picture` takes: a path, bytes, PIL image or array. An
                array (n, h, w, channels) is n images.

        Raises:
            ImageError: If it cannot be read as an image.
        """
        if getattr(image, "ndim", 0) != 4:
            return next(self.predict_many([image]))
        found = []
        try:
            for prediction in self.predict_many(image):
                found.append(prediction)
        except ImageError as error:
            raise ImageError(f"Image {len(found)} of the batch: {error}") from None
        return found

    def predict_many(self, pictures, errors="raise"):
        """Classify many images, dozens at a time, and yield a `Prediction` for each, in order.

        Args:
            pictures: Iterable of whatever `images.open_picture` takes.
            errors: "raise" ends with the first image that cannot be read; "return" yields its
                error in its place and goes on.
        """
        waiting, count = [], 0
        for picture in pictures:
            try:
                waiting.append(self.prepare(picture))
                count += len(waiting[-1][1])
            except CifarError as error:
                waiting.append(error)
                count += 1  # its turn comes soon, even where nothing can be read
                if errors == "raise":
                    break
            if count >= READ_AHEAD:
                yield from self.predict_prepared(waiting)
                waiting, count = [], 0
        for outcome in self.predict_prepared(waiting):
            if errors == "raise" and isinstance(outcome, CifarError):
                raise outcome
            yield outcome

    def predict_box(self, picture, box) -> "Prediction":
        """Classify one square of an image, (left, top, right, bottom), as one of its crops."""
        image = open_picture(picture)
        crop = cut_out(image, [box])
        is_photo = len(choose_boxes(*image.size)) > 1
        note = image.info.get("note", "")
        return self._describe(self.predict_batch(crop)[0], crop[0], box, is_photo, note)

    def prepare(self, picture):
        """Read an image and cut out the network's inputs.

        Returns:
            `(crops, boxes, note)`: uint8 (k, 32, 32, 3), where they are in the image, and what
            `open_picture` notes about its pixels, or "".
        """
        image = open_picture(picture)
        boxes = choose_boxes(*image.size)
        return cut_out(image, boxes), boxes, image.info.get("note", "")

    def predict_prepared(self, prepared):
        """Classify a list of what `prepare` made, in one go; errors among it are handed on."""
        crops = [item[0] for item in prepared if not isinstance(item, CifarError)]
        probs = self.predict_batch(np.concatenate(crops)) if crops else ()
        found, start = [], 0
        for item in prepared:
            if not isinstance(item, CifarError):
                crops, boxes, *note = item
                part = probs[start : start + len(boxes)]
                start += len(boxes)
                best, is_photo = choose_crop(part), len(boxes) > 1
                item = self._describe(part[best], crops[best], boxes[best], is_photo, *note)
            found.append(item)
        return found

    def predict_batch(self, images) -> np.ndarray:
        """Classify images that have the model's size already.

        Args:
            images: uint8 (n, 32, 32, 3), pixels 0 to 255; n may be 0.

        Returns:
            float32 (n, 10), probabilities in the order of `class_names`, calibrated if the model
            has a calibration.

        Raises:
            ValueError: If the images have another shape or type.
        """
        images = np.asarray(images)
        if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"Expected uint8 images of shape (n, 32, 32, 3), got {images.dtype} {images.shape}."
                " Use predict() for an image of another size."
            )
        probs = self.compute_probs(images, self.views)
        if self.calibration is None:
            return probs
        return apply_temperature(probs, self.calibration.temperature).astype(np.float32)

    def compute_probs(self, images, kind) -> np.ndarray:
        """Compute uncalibrated probabilities, float32 (n, 10), averaged over a kind of views.

        With `mirrored`, the mirror image is evaluated only where the first prediction leaves doubt:
        two of three thumbnails need no second one.
        """
        if kind == "six":
            views = make_views(images, kind)
            flat = self._ask(views.reshape(-1, *images.shape[1:]))
            return average_views(flat.reshape(*views.shape[:2], flat.shape[-1]), kind)
        probs = self._ask(images)
        if kind == "mirrored":
            single, rest = self.source.calibration.get("one"), slice(None)
            if single:
                rest = apply_temperature(probs, single.temperature).max(axis=1) < SURE_ENOUGH
            mirrored = self._ask(images[rest][:, :, ::-1])
            probs[rest] = average_views(np.stack([probs[rest], mirrored]), kind)
        return probs

    def _ask(self, images):
        """Return the network's probabilities for single views."""
        with self._lock:
            return self._engine.compute_probs(images)

    def describe_thresholds(self) -> str:
        """Say from which probability on a prediction is not called unsure."""
        if self.calibration is None:
            return "Nothing is called unsure: nothing was fitted for this model."
        thumbnails, photos = (
            "never" if fitted.threshold > 1 else f"from {fitted.threshold:.1%} on"
            for fitted in (self.calibration, self.photo_calibration or self.calibration)
        )
        return f"Confident about a thumbnail {thumbnails}, about a larger image {photos}."

    def _describe(self, probs, view, box, is_photo, note=""):
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
            note=note,
        )

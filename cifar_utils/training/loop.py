"""Compile, fit, checkpoint, resume: from a run folder and its data to history and weights."""

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import one_hot, scale_images
from cifar_utils.errors import ParameterError, RunError
from cifar_utils.inference.export import save_for_classifier
from cifar_utils.models.documented import build_model, build_schedule
from cifar_utils.models.muon import Muon
from cifar_utils.runs.machine import detect_processor
from cifar_utils.runs.parameters import PARAMETERS
from cifar_utils.runs.run import read_backend, read_preprocessing
from cifar_utils.runs.store import open_run, start_trained_run
from cifar_utils.training.batches import ArraySource, FollowEpoch, make_source, without_autotune
from cifar_utils.training.callbacks import LogEvents
from cifar_utils.training.checkpoint import SaveCheckpoint, restore_checkpoint, write_history
from cifar_utils.training.precision import choose_precision, use_precision

VAL_BATCH = 500  # images per step of validation
WHITENING_IMAGES = 5_000  # airbench's number: 4.8 million patches for twelve directions


get_preprocessing = read_preprocessing


def compile_model(recipe, steps_per_epoch):
    """Build and compile the network of a recipe.

    Args:
        recipe: A `recipes.Recipe`.
        steps_per_epoch: Steps in an epoch; the learning rate depends on it.

    Returns:
        A compiled `keras.Model`: the recipe's optimizer, categorical cross-entropy, accuracy.
    """
    model = build_model(recipe, training=True)
    model.compile(
        optimizer=make_optimizer(recipe, steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=recipe.steps_per_execution,
        # XLA is slower on a CPU, and "auto" means something else in each version. JAX needs it.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return model


def make_optimizer(recipe, steps_per_epoch):
    """Return the optimizer of a recipe, with its schedule."""
    schedule = build_schedule(recipe, steps_per_epoch)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(schedule)
    if recipe.optimizer == "sgd":
        # airbench's ratios before it had Muon: kernels and matrices alike, vectors 64 times faster.
        return Muon(
            schedule,
            momentum=0.85,
            dense_ratio=1.0,
            bias_ratio=64.0,
            sgd_decay=recipe.weight_decay,
            ns_steps=0,
        )
    return Muon(
        schedule,
        dense_ratio=recipe.dense_rate * recipe.batch_size,
        bias_ratio=recipe.bias_rate * recipe.batch_size,
        sgd_decay=recipe.weight_decay,
    )


def seed_everything(seed, deterministic):
    """Seed Python, NumPy and the backend, and ask for kernels that do not depend on timing.

    Args:
        seed: Integer from 0 to 2**31 - 1.
        deterministic: Whether to switch on TensorFlow's op determinism, for this process.
    """
    keras.utils.set_random_seed(int(seed))  # np.int64 raises
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def train(run, callbacks=()):
    """Train a run's recipe on its data set, from its last checkpoint if there is one.

    Args:
        run: A `runs.Run` in stage 03.
        callbacks: More Keras callbacks, such as `progress.LiveTraining()`.

    Returns:
        `(model, history)`: the trained `keras.Model`, and a dict of equally long lists under
        "epoch", "learning_rate", "loss", "accuracy" and, with a validation split, "val_loss"
        and "val_accuracy". Writes `history.csv`, `model.keras`, `model1.h5` and, into `run.json`,
        `seconds.training`: from uint8 arrays in memory to the final weights, compilation and
        validation included, over all the sessions that it took.
    """
    dataset, recipe, preprocessing = run.dataset, run.recipe, get_preprocessing(run)
    _refuse_other_backend(run)
    precision = _choose_precision(run, recipe)
    began, start = time.time(), time.perf_counter()
    ready = prepare_training(recipe, dataset, preprocessing, precision)
    model, source = ready.model, ready.source
    identity = {"recipe": dataclasses.asdict(recipe), "data": dataset.fingerprint}
    identity |= {"preprocessing": preprocessing.to_json(), "precision": precision}
    state = restore_checkpoint(model, run.path("checkpoint.npz"), identity)
    describe_training(run, recipe, precision)  # not before: a refusal must change nothing
    if state.epoch:
        write_history(run, state.history)  # a kill may have come between the two files
    save = SaveCheckpoint(run, identity, state, start)
    model.fit(
        ready.batches,
        validation_data=make_val_data(ready.val_images, ready.val_labels),
        validation_batch_size=VAL_BATCH,
        epochs=recipe.epochs,
        initial_epoch=state.epoch,
        shuffle=False,  # the source has shuffled already
        verbose=0,
        # The log comes last: an epoch is told once its checkpoint is safe.
        callbacks=[
            FollowEpoch(source),
            save,
            *callbacks,
            LogEvents(run, recipe.epochs, len(source), preprocessing.sizes),
        ],
    )
    plain = make_plain_model(recipe, model)
    if save.has_trained:
        run.update(
            seconds={"training": round(save.elapsed(), 2)},
            # The last session's, in seconds since 1970: what was measured beside it?
            training={"start": round(began), "end": round(time.time())},
        )
    elif "training" not in run.info.get("seconds", {}):
        # This session only read what others had trained, and they were killed right after it.
        run.update(seconds={"training": round(state.seconds, 2)})
    save_for_classifier(run, plain, ready.val_images, ready.val_labels)
    return plain, state.history


@dataclass(frozen=True)
class Prepared:
    """A training that can begin.

    Attributes:
        model: The compiled `keras.Model` with its initial weights.
        source: The `batches.ArraySource`, which has to follow the epoch.
        batches: What `fit` trains on.
        val_images: uint8 (n, 32, 32, 3), the images held out; n may be 0.
        val_labels: Integer (n,), their classes.
    """

    model: keras.Model
    source: ArraySource
    batches: object
    val_images: np.ndarray
    val_labels: np.ndarray


def prepare_training(recipe, dataset, preprocessing, precision, train_images=None):
    """Seed everything, and make network and batches of a recipe.

    Args:
        recipe: A `recipes.Recipe`.
        dataset: A `data.Dataset`.
        preprocessing: A `preprocessing.Preprocessing`.
        precision: "float32" or "bfloat16".
        train_images: How many of the images to learn from, at most; None is all.

    Returns:
        A `Prepared`.
    """
    train_part, val_part = preprocessing.split(dataset.train_labels)
    train_part = train_part[:train_images]
    images, labels = dataset.train_images[train_part], dataset.train_labels[train_part]
    seed_everything(preprocessing.seed, recipe.deterministic)
    source, batches = make_source(images, labels, recipe.batch_size, preprocessing)
    with use_precision(precision):
        model = compile_model(recipe, len(source))
    adapt_whitening(model, images)
    val_images, val_labels = dataset.train_images[val_part], dataset.train_labels[val_part]
    return Prepared(model, source, batches, val_images, val_labels)


def make_plain_model(recipe, model):
    """Return a trained network made of Keras's own layers, so that it loads wherever Keras does."""
    plain = build_model(recipe)
    plain.set_weights(model.get_weights())
    return plain


def _refuse_other_backend(run):
    """Refuse to go on with a training that began with another backend: it would be neither's."""
    began, now = read_backend(run.info), keras.backend.backend()
    if began and began != now and run.path("checkpoint.npz").exists():
        raise RunError(
            f"Run {run.name!r} began with the backend {began}, and this is {now}. Continue it with"
            f" KERAS_BACKEND={began}, or train under another run_name."
        )


def _choose_precision(run, recipe):
    """Return the precision of a training; one that began with "auto" goes on with what it took."""
    began = run.info.get("precision") if run.path("checkpoint.npz").exists() else None
    if not began or recipe.precision != "auto":
        return choose_precision(recipe.precision)
    try:
        return choose_precision(began)
    except ParameterError:
        raise RunError(
            f"Run {run.name!r} began in {began}, which this machine only emulates. Continue it"
            " where it began, or train under another run_name."
        ) from None


def adapt_whitening(model, images):
    """Compute the whitening filters of a freshly built fast network; does nothing to others.

    Args:
        model: From `build_model(…, training=True)`.
        images: uint8 training images; the first `WHITENING_IMAGES` of them are used.
    """
    for layer in model.layers:
        if hasattr(layer, "adapt"):
            layer.adapt(scale_images(images[:WHITENING_IMAGES]))


def make_val_data(images, labels):
    """Return validation images as what `fit` takes, or None if none are held out.

    Args:
        images: uint8 (n, 32, 32, 3).
        labels: Integer (n,).

    Returns:
        With TensorFlow batches of `VAL_BATCH`, else arrays, of which `fit` needs to be told that.
    """
    if not len(images):
        return None
    images, targets = scale_images(images), one_hot(labels)
    if keras.backend.backend() != "tensorflow":
        return images, targets
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((images, targets)).batch(VAL_BATCH)
    return without_autotune(batches)


def describe_training(run, recipe, precision):
    """Write into `run.json` what is trained, on what, with what."""
    fixed = dataclasses.asdict(recipe)
    run.update(
        # All of them: an earlier stage executed later must not change what was trained.
        parameters={name: value for name, value in fixed.items() if name in PARAMETERS},
        recipe=fixed,
        seed=run.parameters["seed"],
        backend=keras.backend.backend(),
        device=describe_device(),
        threads=detect_processor().cores,
        precision=precision,
        versions={
            "keras": keras.__version__,
            keras.backend.backend(): _backend_version(),
            "numpy": np.__version__,
        },
    )


def describe_device():
    """Return the name of the device that trains: the first GPU, or else the processor."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    return detect_processor().name


def _backend_version():
    """Return the version of TensorFlow, JAX or PyTorch."""
    import importlib

    return importlib.import_module(keras.backend.backend()).__version__


def predict_probs(model, images, batch_size=500):
    """Compute class probabilities.

    Args:
        model: A network from [0, 1] images to probabilities.
        images: uint8 (n, 32, 32, 3).
        batch_size: Images per step.

    Returns:
        float32 (n, num_classes).
    """
    parts = [
        model.predict_on_batch(scale_images(images[i : i + batch_size]))
        for i in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def open_trained_run(stage, run_name="", dataset="auto"):
    """Choose the run that notebook 04 or 05 works on, and start its stage.

    Args:
        stage: A name from `runs.STAGES`.
        run_name: A run's name; empty takes the newest run with weights. Where there is none, a
            `quick` run is trained first, which takes a minute or two, and says so.
        dataset: What to train that run on.

    Returns:
        A `runs.Run` with weights whose stage is started.

    Raises:
        RunError: If there is no run of that name, or it has no weights.
    """
    run = start_trained_run(stage, run_name)
    if run is None:
        print("No trained run yet: training a `quick` one first, a minute or two on two cores.")
        run = open_run("03_training", "", dataset=dataset, recipe="quick", seed=0)
        train(run)
        run.finish_stage()
        run.start_stage(stage)
    return run

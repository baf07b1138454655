"""On real CIFAR-10, where it is at hand: one minute of training has to be worth something."""

import pytest
from tiny_runs import train

from cifar_utils.evaluation.metrics import compute_metrics
from cifar_utils.runs import open_run, read_preprocessing
from cifar_utils.training import predict_probs


@pytest.mark.cifar10
@pytest.mark.slow
def test_a_minute_of_training_beats_65_percent(cifar10_path, runs_folder):
    run = open_run("03_training", "", dataset="cifar10", recipe="quick", seed=0, epochs=3)
    model, history = train(run)
    # On the validation split: the test set is for final results.
    val = read_preprocessing(run).split(run.dataset.train_labels)[1]
    probs = predict_probs(model, run.dataset.train_images[val])
    accuracy = compute_metrics(run.dataset.train_labels[val], probs)["accuracy"]
    assert accuracy["low"] > 0.65
    assert accuracy["value"] == pytest.approx(history["val_accuracy"][-1], abs=1e-3)

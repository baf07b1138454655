"""The benchmarks' arithmetic, on made-up measurements: what they publish is what they measured."""

import json
import runpy

import numpy as np
import pytest

from cifar_utils.data import load_dataset
from cifar_utils.errors import RunError
from cifar_utils.inference.classifier import Prediction
from cifar_utils.inference.crops import choose_boxes, choose_crop
from cifar_utils.paths import project_root
from cifar_utils.runs.recipes import get_recipe
from cifar_utils.runs.store import create_run
from cifar_utils.training import experiments
from cifar_utils.training.checkpoint import write_history
from cifar_utils.training.experiments import MUON, ablate

FOLDER = project_root() / "benchmarks"


@pytest.fixture(scope="module")
def leak():
    return runpy.run_path(str(FOLDER / "test_set_leak.py"))


@pytest.fixture(scope="module")
def against():
    return runpy.run_path(str(FOLDER / "against_documented.py"))


def make_trained_run(name, **changes):
    """Open a run of three epochs, its last one the best on validation, its first on the test."""
    parameters = {"recipe": "baseline", "dataset": "synthetic", "seed": 0, "val_fraction": 0.1}
    run = create_run(name, parameters | changes)
    write_history(run, {"epoch": [1, 2, 3], "val_accuracy": [0.5, 0.7, 0.6]})
    run.update(stages={"03_training": {"status": "done"}})
    return run


def test_the_page_kept_its_bounds_when_it_was_measured():
    measured = json.loads((FOLDER / "serve_load.json").read_text())
    assert measured["clients"] == 50
    assert [row["threads"] for row in measured["rows"]] == [1, 2, 4]
    for row in measured["rows"]:
        assert row["errors"] == 0
        assert row["requests"] > 0
        assert row["memory_peak_mb"] < 200
    assert measured["start"]["median_seconds"] < 1
    large, hostile = measured["large_uploads"], measured["hostile"]
    assert large["answered"] == large["n"]
    assert large["memory_peak_mb"] < 200
    assert hostile["requests"] == 1000
    assert hostile["without_answer_or_reason"] == []
    assert hostile["memory_growth"] < 0.1


def test_the_readmes_picture_of_the_page_is_small():
    path = project_root() / "outputs" / "reference" / "screenshots" / "page.png"
    assert 20_000 < path.stat().st_size < 300_000


class Oracle:
    """Stands in for a network: `weights` of one number, the test images that it gets right."""

    def __init__(self, dataset):
        self.labels = dataset.test_labels

    def set_weights(self, weights):
        self.right = weights[0].item()

    def predict(self, _model, images):
        guesses = np.where(np.arange(len(images)) < self.right, self.labels, (self.labels + 1) % 10)
        return np.eye(10)[guesses]


def test_the_leak_is_what_the_test_sets_own_choice_adds(leak, runs_folder):
    run, data = make_trained_run("leaky"), load_dataset("synthetic")
    oracle = Oracle(data)
    (run.dir / "epochs").mkdir()
    for epoch, right in enumerate((800, 700, 650), start=1):
        np.savez(run.path(f"epochs/{epoch:03d}.npz"), np.array([right]))
    measure = leak["measure_leak"]
    measure.__globals__["build_model"] = lambda recipe: oracle
    measure.__globals__["predict_probs"] = oracle.predict
    result = measure(run)
    assert [choice["epoch"] for choice in result["choices"].values()] == [3, 2, 1]
    assert [choice["value"] for choice in result["choices"].values()] == [0.65, 0.7, 0.8]
    assert result["leak"] == {"over_last_epoch": 0.15, "over_validation": 0.1}
    assert result["by_epoch"]["test"] == [0.8, 0.7, 0.65]
    assert result["run"]["val_fraction"] == 0.1


@pytest.mark.parametrize("changes", [{}, {"dataset": "synthetic", "recipe": "quick"}])
def test_the_leak_is_measured_on_the_right_kind_of_run_only(leak, runs_folder, changes):
    make_trained_run("other", **changes)
    with pytest.raises(RunError, match="was opened with"):
        leak["train_all_epochs"]("other")


def test_an_epochs_weights_are_made_up_for_after_a_kill(leak, tmp_path):
    keep = leak["KeepEpochs"](tmp_path)
    keep.set_model(type("Model", (), {"get_weights": lambda self: [np.arange(3)]})())
    keep.on_epoch_begin(0)
    assert list(tmp_path.iterdir()) == []
    keep.on_epoch_begin(4)
    with np.load(tmp_path / "004.npz") as saved:
        assert saved["arr_0"].tolist() == [0, 1, 2]


def test_epochs_that_ran_dry_do_not_count(against):
    script = [
        {"images": 50_000, "train_seconds": 50.0, "epoch_seconds": 55.0},
        {"images": 32, "train_seconds": 0.1, "epoch_seconds": 5.0},
        {"images": 50_000, "train_seconds": 40.0, "epoch_seconds": 45.0},
    ]
    rounds = {
        against["DOCUMENTED"]: [script],
        "ours": [[{"images": 50_000, "train_seconds": 20.0}]],
    }
    summary = against["summarise"](rounds)
    assert summary[against["DOCUMENTED"]]["n"] == 2
    assert summary[against["DOCUMENTED"]]["images_per_second"] == 1111
    assert summary[against["DOCUMENTED"]]["epoch_seconds"] == 50.0
    assert summary["ours"]["ratio_to_documented"] == 2.25


# ---------- the classifier's ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops():
    return runpy.run_path(str(FOLDER / "photo_crops.py"))


@pytest.fixture(scope="module")
def none():
    return runpy.run_path(str(FOLDER / "none_of_the_classes.py"))


def test_every_way_of_cutting_names_boxes_that_exist(crops):
    names = list(crops["list_boxes"](300, 200))
    for parts in crops["WAYS"].values():
        assert set(parts) <= set(names)


def test_what_the_classifier_does_is_among_what_was_compared(crops):
    boxes = crops["list_boxes"](300, 200)
    assert choose_boxes(300, 200) == [boxes[name] for name in crops["WAYS"][crops["CHOSEN"][0]]]
    probs = np.array([[[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]]])
    chosen = crops["AVERAGES"][crops["CHOSEN"][1]](probs)[0]
    np.testing.assert_array_equal(chosen, probs[0, choose_crop(probs[0])])
    rows = json.loads((FOLDER / "photo_crops.json").read_text())["validation"]
    assert any((row["crops"], row["average"]) == crops["CHOSEN"] for row in rows)


def test_ways_of_averaging_give_distributions(crops):
    probs = np.random.default_rng(0).dirichlet(np.ones(10), (4, 3))
    for average in crops["AVERAGES"].values():
        np.testing.assert_allclose(average(probs).sum(axis=1), 1)


def test_pictures_of_no_class_are_drawn_alike_every_time(none):
    for draw in (none["draw_text"], none["draw_patterns"]):
        first, second = (list(draw(8, np.random.default_rng(0))) for _ in range(2))
        assert [np.asarray(picture).tobytes() for picture in first] == [
            np.asarray(picture).tobytes() for picture in second
        ]
        assert len({np.asarray(picture).tobytes() for picture in first}) == 8


def test_confident_answers_are_counted(none):
    class Fake:
        def predict_many(self, pictures):
            return [Prediction(("cat",), (0.5,), None, unsure=number > 2) for number in pictures]

    row = none["count_confident"](Fake(), range(10))
    assert (row["n"], row["confident"], row["share"]) == (10, 3, 0.3)
    assert row["answers"] == {"cat": 3}
    assert row["interval"][0] < 0.3 < row["interval"][1]


def test_the_measured_bars_are_kept():
    """What the project promises of its classifier, as the committed measurements have it."""
    for row in json.loads((FOLDER / "export_matrix.json").read_text())["rows"]:
        assert row["largest_difference"] < (2e-3 if "ships" in row["format"] else 1e-3)
        assert row["images"] == 1000
    measured = json.loads((FOLDER / "inference_speed.json").read_text())
    for row in measured["rows"]:
        if row["engine"] == "LiteRT":
            assert row["load_to_first_answer_seconds"] < 1
            assert row["memory_mb"] < 200


class Done:
    """An experiment that took no time."""

    accuracy_tta = 0.8

    def to_json(self):
        return {"accuracy": 0.7, "accuracy_tta": 0.8, "seconds": 2.0, "curve": [], "loss": []}


def pretend_to_train(monkeypatch, name, folder):
    """Load a benchmark whose trainings take no time; returns it and the recipes it trains."""
    trained = []

    def run_experiment(recipe, dataset, seed=0):
        trained.append(recipe)
        return Done()

    benchmark = runpy.run_path(str(FOLDER / f"{name}.py"))
    path = folder / f"{name}.json"
    monkeypatch.setattr(experiments, f"{name.upper()}_FILE", path)
    names = benchmark["main"].__globals__
    monkeypatch.setitem(names, f"{name.upper()}_FILE", path)
    monkeypatch.setitem(names, "run_experiment", run_experiment)
    monkeypatch.setattr("cifar_utils.data.load_dataset", lambda name: load_dataset("synthetic"))
    return benchmark, trained, path


def test_the_ablation_trains_only_what_is_missing(monkeypatch, tmp_path, capsys):
    ablation, trained, path = pretend_to_train(monkeypatch, "ablation", tmp_path)
    ablation["main"]("quick")
    assert len(trained) == 3 * (1 + len(experiments.ABLATIONS))
    kept = json.loads(path.read_text())
    # Written before a field existed, and stopped early: the field's default, and two more to go.
    del kept["quick"]["recipe"]["cutout"], kept["quick"]["rows"][-2:], trained[:]
    path.write_text(json.dumps(kept))
    ablation["main"]("quick")
    assert len(trained) == 2
    assert "without whitening" in capsys.readouterr().out
    # The learning rates of SGD lie beside it, and finding them again takes nothing.
    ablation["main"]("quick", "sgd")
    ablation["main"]("quick", "sgd")
    sgd = trained[2:]
    assert len({(recipe.learning_rate, recipe.weight_decay) for recipe in sgd}) == len(sgd) == 20
    assert {recipe.optimizer for recipe in sgd} == {"sgd"}
    assert ablate(get_recipe("quick", val_fraction=0.1), MUON) in sgd
    # What was trained without another trick does not count, nor what was with another recipe.
    kept = json.loads(path.read_text())
    kept["quick"]["rows"][1]["changes"] = {"whitening": "another"}
    path.write_text(json.dumps(kept))
    ablation["main"]("quick")
    assert len(trained) == 2 + 20 + 1
    kept["quick"]["recipe"]["epochs"] = 99
    path.write_text(json.dumps(kept))
    ablation["main"]("quick")
    assert len(trained) == 2 + 20 + 1 + 30
    assert "sgd" not in json.loads(path.read_text())["quick"]
    with pytest.raises(SystemExit, match="no part trick"):
        ablation["main"]("quick", "trick")


def test_the_sgd_of_the_ablation_is_the_best_that_was_found():
    rows = experiments.load_ablation()["quick"]["sgd"]
    best = max(rows, key=lambda row: row["accuracy_tta"])
    recipe = ablate(get_recipe("quick"), MUON)
    assert (recipe.learning_rate, recipe.weight_decay) == pytest.approx(
        (best["learning_rate"], best["weight_decay"])
    )
    # Not at the edge of what was tried: beyond it might be a better one.
    tried = sorted({row["learning_rate"] for row in rows})
    assert tried[0] < best["learning_rate"] < tried[-1]


def test_the_scaling_measures_only_what_is_missing_or_named(monkeypatch, tmp_path, capsys):
    scaling, trained, path = pretend_to_train(monkeypatch, "scaling", tmp_path)
    timed = []
    names = scaling["main"].__globals__
    monkeypatch.setitem(names, "time_epoch", lambda *given: timed.append(given) or 1.5)
    scaling["main"]([])
    whole = len(trained), len(timed)
    assert [recipe.epochs for recipe in trained if recipe.name == "quick"] == [1, 2, 5]
    result = json.loads(path.read_text())
    assert [row["size"] for row in result["sizes"]] == [16, 20, 24, 28, 32]
    assert {row["recipe"] for row in result["accuracy"]} >= {"quick", "fast", "accurate"}
    assert "curve" not in result["trained"][0]
    del result["trained"][-1]
    path.write_text(json.dumps(result))
    scaling["main"](["images"])
    assert (len(trained), len(timed)) == (whole[0] + 1, whole[1] + 4)
    path.write_text(json.dumps(result | {"machine": "another"}))
    scaling["main"]([])
    assert len(trained) == 2 * whole[0] + 1
    # What was measured with another form of a recipe is measured again, and nothing else.
    del trained[:], timed[:]
    result = json.loads(path.read_text())
    result["recipes"]["fast"]["epochs"] = 13
    path.write_text(json.dumps(result))
    scaling["main"]([])
    assert [recipe.name for recipe in trained] == ["fast", "fast"]
    assert not timed


def test_the_time_of_the_known_training_is_that_of_its_images():
    scaling = runpy.run_path(str(FOLDER / "scaling.py"))
    steps = json.loads((FOLDER / "time_to_accuracy.json").read_text())
    per_second = {row["contender"]: row["images_per_second"] for row in steps["summary"]}
    known = experiments.group_accuracy(experiments.load_scaling())
    seconds, _, epochs = known["baseline"][-1]
    assert epochs == 100
    # 45,000 of the 50,000 images were learnt from.
    assert seconds == pytest.approx(100 * 45_000 / per_second["baseline"], rel=0.01)
    seconds, _, epochs = known[scaling["KNOWN_STEPS"]["documented script"]][-1]
    assert seconds == pytest.approx(steps["documented_seconds"], rel=0.01)


def test_the_machine_is_named_with_the_gpu_and_the_backend_if_not_the_usual(monkeypatch):
    against = runpy.run_path(str(FOLDER / "against_documented.py"))
    processor = against["describe_machine"]()
    assert against["describe_trainer"]() == processor
    monkeypatch.setattr("cifar_utils.training.loop.describe_device", lambda: "NVIDIA H100")
    monkeypatch.setattr("cifar_utils.backend.keras.backend.backend", lambda: "jax")
    assert against["describe_trainer"]() == f"{processor}, NVIDIA H100, jax"


def test_the_scaling_refuses_an_unknown_part():
    scaling = runpy.run_path(str(FOLDER / "scaling.py"))
    with pytest.raises(SystemExit, match="no part image"):
        scaling["main"](["image"])

"""The widget as a person meets it: real front ends, real photos, a real browser."""

import base64
import io
import json
import os
import re
import shlex
import shutil
import subprocess

import nbformat
import numpy as np
import pytest
from PIL import Image

from cifar_utils.apps.widget.html import render_image_html
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import project_root

ROOT = project_root()
CAT = list_samples()["cat"]
CANNOT = (
    "from cifar_utils.apps.widget.parts import DropZone\n"
    "DropZone._esm = 'export default {render() {}}'\n"
)
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"  # the kernel has started


def read_flags(target, folder):
    """Return the options that `make lab` or `make app` gives its server."""
    ready = folder / "ready"  # newer than what the environment is made of: nothing is installed
    ready.touch()
    command = subprocess.run(
        ["make", "-n", target, f"READY={ready}", f"LAB_READY={ready}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    return [word for word in shlex.split(command.replace("\\\n", "")) if word.startswith("--")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the app's notebook, and one in which our own parts cannot run."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(ROOT / "cifar_utils" / "apps" / "app.ipynb", folder)
    core = nbformat.read(folder / "app.ipynb", as_version=4)
    core.cells[1].source = CANNOT + core.cells[1].source
    nbformat.write(core, folder / "core.ipynb")
    return folder


@pytest.fixture(scope="module")
def start_jupyter(start_server, folder):
    """Give a function that starts a front end of Jupyter on the folder; returns its address."""

    def start(name, path, flags=(), **options):
        own = [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--no-browser"]
        arguments = [name, *flags, *own, "--port={port}", "--allow-root"]
        return start_server(arguments, f"http://127.0.0.1:{{port}}/{path}", **options)

    return start


@pytest.fixture(scope="module")
def lab(start_jupyter, folder):
    """Start JupyterLab as `make lab` does, with its setting to save widgets' state switched on."""
    settings = folder / "settings"
    manager = settings / "@jupyter-widgets" / "jupyterlab-manager" / "plugin.jupyterlab-settings"
    manager.parent.mkdir(parents=True)
    manager.write_text('{"saveState": true}')
    ours = [flag for flag in read_flags("lab", folder) if "notebook-dir" not in flag]
    return start_jupyter("jupyterlab", "lab", ours, JUPYTERLAB_SETTINGS_DIR=str(settings))


@pytest.fixture(scope="module")
def voila(start_server, folder):
    """Start Voilà as `make app` does."""
    flags = read_flags("app", folder)
    return start_server(
        ["voila", str(folder / "app.ipynb"), *flags, "--no-browser", "--port={port}"],
        "http://127.0.0.1:{port}/",
    )


def copy_notebook(folder, name="app.ipynb"):
    """Return the name of a copy that is this test's alone: one kernel, one page, one file."""
    copy = f"{len(list(folder.glob('*.ipynb')))}-{name}"
    shutil.copy(folder / name, folder / copy)
    return copy


def run_cell(page, server, name):
    """Run a notebook's cell, once its kernel is tied to the page."""
    page.locator(".jp-CodeCell .cm-content").first.wait_for(timeout=60_000)
    for _ in range(120):
        sessions = page.request.get(f"{server}/api/sessions").json()
        kernels = [one["kernel"] for one in sessions if one["path"] == name]
        if any(one["connections"] and one["execution_state"] == "idle" for one in kernels):
            break
        page.wait_for_timeout(500)
    page.locator(IDLE).first.wait_for(timeout=60_000)
    prompt = page.locator(".jp-CodeCell .jp-InputPrompt").first
    for _ in range(10):
        if page.locator(".jp-Dialog").is_visible():  # the page did not know its kernel yet
            page.keyboard.press("Escape")
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(2000)
        if prompt.inner_text().strip() != "[ ]:":
            return
    pytest.fail("The cell does not run.")


@pytest.fixture
def open_lab(open_page, lab, folder):
    """Give a function that opens a copy of a notebook and runs it; `page.path` is the copy."""

    def open_one(notebook="app.ipynb"):
        name = copy_notebook(folder, notebook)
        page = open_page(f"{lab}/tree/{name}?reset")
        page.path = folder / name
        run_cell(page, lab.removesuffix("/lab"), name)
        button = "Choose photos" if notebook == "app.ipynb" else "Upload photos"
        page.get_by_role("button", name=button).wait_for(timeout=60_000)
        return page

    return open_one


@pytest.fixture
def open_voila(open_page, voila):
    """Give a function that opens the app."""

    def open_one(query=""):
        page = open_page(voila + query)
        page.get_by_role("button", name="Choose photos").wait_for(timeout=60_000)
        return page

    return open_one


@pytest.fixture
def open_notebook(open_page, start_jupyter, folder):
    """Give a function that opens Notebook 7 and runs the app's notebook."""

    def open_one():
        url, name = start_jupyter("notebook", "tree"), copy_notebook(folder)
        page = open_page(url.replace("/tree", f"/notebooks/{name}"))
        run_cell(page, url.removesuffix("/tree"), name)
        return page

    return open_one


@pytest.fixture
def open_classic(open_page, start_jupyter, folder):
    """Give a function that opens the classic Notebook with ipywidgets 7, which Colab has too."""

    def open_one():
        python = os.environ.get("CIFAR_COLAB_PYTHON")
        if not python:
            pytest.fail("Run this by `make test-browser`: it needs the second environment.")
        url = start_jupyter("nbclassic", "tree", python=os.path.abspath(python))
        page = open_page(url.replace("/tree", f"/notebooks/{copy_notebook(folder)}"))
        page.locator(".code_cell .CodeMirror").first.click(timeout=60_000)
        page.locator(".kernel_idle_icon").wait_for(timeout=60_000)
        page.keyboard.press("Control+Enter")
        return page

    return open_one


def make_photo(megabytes):
    """Return a noisy cat as a JPEG of about that size."""
    side, buffer = round(1250 * megabytes**0.5), io.BytesIO()
    noise = np.random.default_rng(0).integers(-40, 41, (side, side, 3))
    pixels = (np.asarray(Image.open(CAT).convert("RGB").resize((side, side))) + noise).clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def as_file(name, content, kind="image/jpeg"):
    return {"name": name, "mimeType": kind, "buffer": content}


def choose(page, *files, button="Choose photos"):
    """Choose files as a person does: press the button, pick them."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files(list(files))


def drop(page, name, content, pasted=False):
    """Drop a file onto the drop zone, or paste it."""
    data = page.evaluate_handle(
        """([name, text]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: "image/jpeg" }));
            return data;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    zone = page.locator(".cifar-drop")
    if pasted:
        paste = (
            "(zone, data) => zone.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}))"
        )
        zone.evaluate(paste, data)
        return
    for event in ("dragenter", "dragover", "drop"):
        zone.dispatch_event(event, {"dataTransfer": data})


def answer_of(page, name):
    """Return what the caption says about a photo."""
    caption = page.locator("figcaption", has=page.get_by_text(name, exact=True))
    caption.first.wait_for(timeout=30_000)
    return caption.first.inner_text()


def wait_for_text(page, text):
    page.get_by_text(text).first.wait_for(timeout=30_000)


@pytest.mark.parametrize("where", ["open_lab", "open_notebook", "open_voila", "open_classic"])
def test_a_chosen_photo_is_classified(where, request):
    page = request.getfixturevalue(where)()
    choose(page, CAT)
    assert re.fullmatch(r"cat\.jpg: cat, \d\d\.\d%", answer_of(page, "cat.jpg"))
    wait_for_text(page, "1 of 1 classified.")
    assert page.get_by_role("img", name="What the network saw").is_visible()
    page.get_by_role("button", name="Where it looked").click()
    wait_for_text(page, "In colour: what spoke for")
    page.get_by_role("button", name="Why this answer?").click()
    wait_for_text(page, "Which side is up?")
    assert not page.get_by_text("In colour: what spoke for").is_visible()


def test_photos_of_any_size_are_dropped_or_pasted(open_voila):
    page = open_voila()
    for megabytes, pasted in ((0.5, True), (2, False), (12, False)):
        name = f"{megabytes}.jpg"
        drop(page, name, make_photo(megabytes), pasted)
        assert answer_of(page, name)


def test_where_our_own_parts_cannot_run_core_widgets_do_it(open_lab):
    page = open_lab("core.ipynb")
    choose(page, as_file("large.jpg", make_photo(12)), button="Upload photos")
    assert answer_of(page, "large.jpg")
    page.get_by_role("button", name="Move the crop").click()
    page.get_by_role("slider").first.wait_for()


def test_too_large_and_broken_files_leave_the_others_alone(open_voila):
    page = open_voila()
    huge = as_file("huge.jpg", bytes(25_000_001))
    text = as_file("letter.png", b"Dear Sir or Madam", "image/png")
    choose(page, huge, text, as_file("cat.jpg", CAT.read_bytes()))
    wait_for_text(page, "1 of 3 classified. 2 not: see below.")
    assert "cat, " in answer_of(page, "cat.jpg")
    alerts = " ".join(page.get_by_role("alert").all_inner_texts())
    assert "huge.jpg was not classified. It has 25.0 MB" in alerts
    assert "letter.png was not classified." in alerts


def test_predictions_are_a_table_and_a_file_for_spreadsheets(open_voila):
    page = open_voila()
    coffee = list_samples()["coffee"].read_bytes()
    choose(page, as_file("=1+1.jpg", CAT.read_bytes()), as_file("coffee.jpg", coffee))
    wait_for_text(page, "2 of 2 classified.")
    page.get_by_text("All answers as a table (2)").click()
    assert page.get_by_role("rowheader", name="coffee.jpg").is_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download answers.csv").click()
    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith('\ufeff"picture","unsure","class_1","probability_1"')
    assert lines[1].startswith('"\'=1+1.jpg","false","cat",0.9')
    page.get_by_role("button", name="Forget all").click()
    wait_for_text(page, "All forgotten.")
    assert not page.get_by_text("coffee.jpg", exact=True).is_visible()


def test_the_crop_moves_by_pointer_and_by_keys(open_voila):
    page = open_voila()
    choose(page, CAT)
    answer_of(page, "cat.jpg")
    page.get_by_role("button", name="Move the crop").click()
    square = page.get_by_role("group", name="The square that the network is shown")
    answer_of(page, "This part")
    views = page.get_by_role("img", name="What the network saw")
    shown = {views.nth(1).get_attribute("src")}

    def wait_for_change():
        page.wait_for_function(
            "([selector, old]) => !old.includes(document.querySelectorAll(selector)[1].src)",
            arg=["img[alt^='What the network saw']", list(shown)],
        )
        shown.add(views.nth(1).get_attribute("src"))

    square.scroll_into_view_if_needed()
    box = square.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 10, box["y"] + 40, steps=4)
    page.mouse.up()
    wait_for_change()
    for key in ("-", "ArrowRight", "ArrowDown"):
        square.press(key)
        wait_for_change()
    assert len(shown) == 5
    assert page.get_by_role("slider").first.is_visible()


def test_everything_works_with_the_keyboard_alone(open_lab):
    page = open_lab()
    page.get_by_role("button", name="Choose photos").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(CAT)
    answer_of(page, "cat.jpg")
    seen = []
    for _ in range(20):  # on from the button: every part comes in turn, and none keeps the focus
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.innerText || document.activeElement.tagName")
        )
        if seen[-1] == "Where it looked":
            break
    assert seen.count("Classify") == 2, seen
    page.keyboard.press("Space")
    wait_for_text(page, "In colour: what spoke for")


def test_a_dark_theme_stays_readable(open_voila):
    page = open_voila("?theme=dark")
    choose(page, CAT)
    answer_of(page, "cat.jpg")
    text, ground = page.evaluate(
        """() => {
            const caption = document.querySelector("figcaption");
            let node = caption;
            while (getComputedStyle(node).backgroundColor === "rgba(0, 0, 0, 0)")
                node = node.parentElement;
            return [getComputedStyle(caption).color, getComputedStyle(node).backgroundColor];
        }"""
    )
    light, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in (text, ground))
    assert light - dark > 120, (text, ground)


def test_no_saved_notebook_holds_a_photo(open_lab):
    page = open_lab()
    choose(page, as_file("me.jpg", make_photo(0.5)))
    answer_of(page, "me.jpg")
    for name in ("Where it looked", "Move the crop", "Why this answer?"):
        page.get_by_role("button", name=name).click()
        page.wait_for_timeout(1000)
    page.keyboard.press("Control+s")
    page.wait_for_function("() => document.title.indexOf('*') < 0")
    page.wait_for_timeout(1500)
    text = page.path.read_text(encoding="utf-8")
    assert "me.jpg" in text  # the state of the widgets was saved
    assert not find_images(text)
    sample = render_image_html(Image.open(CAT).resize((9, 9)), "me")
    assert find_images(json.dumps({"state": sample}))  # the search would find one


def find_images(text):
    """Return every piece of base64 in a text that decodes to an image."""
    found = []
    for piece in re.findall(r"[A-Za-z0-9+/]{40,}={0,2}", text):
        try:
            found.append(Image.open(io.BytesIO(base64.b64decode(piece + "=" * (-len(piece) % 4)))))
        except Exception:  # not base64, or no image
            continue
    return found

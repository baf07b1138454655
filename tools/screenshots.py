"""What do the widget and the page look like? Photographs both for the README.

    python tools/screenshots.py        # needs Chromium; half a minute

Opens the widget in Voilà and the page on a free port, lets Chromium classify the sample photos, and
writes `widget.png` and `page.png` into `outputs/reference/screenshots/`.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

import cifar_utils.apps
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import atomic_path, project_root

FOLDER = project_root() / "outputs" / "reference" / "screenshots"
COLOURS = 256  # of the PNG's palette: a third of the bytes, and no difference to see


@contextlib.contextmanager
def serving(*arguments, folder=None):
    """Start a server on a free port; gives its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *arguments, f"--port={port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=folder, **quiet)
    try:
        url, end = f"http://127.0.0.1:{port}/", time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=30).close()
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    sys.exit(f"Error: {arguments[0]} does not answer.")
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def show_widget(page):
    """Classify a sample, and show what drove the prediction."""
    page.get_by_label("a sample:").select_option("cat.jpg", timeout=60_000)
    page.get_by_role("button", name="Where it looked").click()
    page.get_by_text("In colour").wait_for()


def show_page(page):
    """Classify the samples of the folder, and show what drove the first prediction."""
    for name in list_samples():
        page.get_by_label(f"{name}.jpg").check()
    page.get_by_role("button", name="Predict").click()
    page.locator("#predict:not([aria-disabled])").wait_for()
    page.locator(".heat-label").first.click()
    page.evaluate("scrollTo(0, 0)")


def take(browser, url, act, name, **viewport):
    """Open an address, act on it, and save what is seen, with few colours."""
    page = browser.new_page(viewport=viewport)
    page.goto(url)
    act(page)
    page.wait_for_timeout(1000)
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder, name)
        page.screenshot(path=taken, full_page=act is show_widget)
        with atomic_path(FOLDER / name) as temporary, Image.open(taken) as image:
            few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
            few.save(temporary, format="PNG", optimize=True)
    print("wrote", name, f"({(FOLDER / name).stat().st_size / 1e3:.0f} kB)")


def main():
    """Serve and photograph both."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium") or shutil.which("chrome")
    app = Path(cifar_utils.apps.__file__).with_name("app.ipynb")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        (Path(folder) / "Images").mkdir()
        for path in list_samples().values():
            shutil.copy(path, Path(folder) / "Images")
        with serving("cifar_utils", "serve", folder=folder) as url:
            take(browser, url, show_page, "page.png", width=1280, height=1200)
        with serving("voila", str(app), "--no-browser") as url:
            take(browser, url, show_widget, "widget.png", width=900, height=820)
        browser.close()


if __name__ == "__main__":
    main()

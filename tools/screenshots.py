"""What do the widget and the page look like? Photographs both for the README.

    python tools/screenshots.py        # needs Chromium; half a minute

Opens the widget in Voilà and the page on a free port, lets Chromium classify the sample photos, and
writes `widget.png` and `page.png` into `outputs/reference/screenshots/`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from PIL import Image

import cifar_utils.apps
from cifar_utils.apps.web.app import create_app
from cifar_utils.apps.web.server import open_server
from cifar_utils.inference import Classifier
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import atomic_path, project_root

FOLDER = project_root() / "outputs" / "reference" / "screenshots"
COLOURS = 256  # of the PNG's palette: a third of the bytes, and no difference to see


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
    images = Path(tempfile.mkdtemp())
    for path in list_samples().values():
        shutil.copy(path, images)
    server = open_server(create_app(Classifier.load(), images), "127.0.0.1", 0, 4)
    threading.Thread(target=server.run, daemon=True).start()
    app, address = Path(cifar_utils.apps.__file__).with_name("app.ipynb"), "http://127.0.0.1:8866/"
    voila = subprocess.Popen(
        [sys.executable, "-m", "voila", str(app), "--no-browser"], stderr=subprocess.DEVNULL
    )
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            url = f"http://127.0.0.1:{server.effective_port}/"
            take(browser, url, show_page, "page.png", width=1280, height=1200)
            while voila.poll() is None:
                try:
                    urllib.request.urlopen(address, timeout=30).close()
                    break
                except OSError:
                    time.sleep(0.2)
            take(browser, address, show_widget, "widget.png", width=900, height=820)
            browser.close()
    finally:
        voila.terminate()
        shutil.rmtree(images)


if __name__ == "__main__":
    main()

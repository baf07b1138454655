"""What does the page look like? Photographs it for the README.

    python benchmarks/page_screenshot.py

starts the page on a free port, lets Chromium classify the two sample pictures, and writes
`outputs/reference/screenshots/page.png`.
"""

import os
import shutil
import tempfile
import threading
from pathlib import Path

from PIL import Image

from cifar_utils.apps.web.app import create_app
from cifar_utils.apps.web.server import open_server
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import atomic_path, project_root

FILE = project_root() / "outputs" / "reference" / "screenshots" / "page.png"
WIDTH, HEIGHT = 1280, 1200  # pixels
COLOURS = 256  # of the PNG's palette: a third of the bytes, and nobody sees it
PORT = 5679


def take(url, path):
    """Classify the samples, and save what is on the page then."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium") or shutil.which("chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        for name in list_samples():
            page.get_by_label(f"{name}.jpg").check()
        page.get_by_role("button", name="Predict").click()
        page.locator("#predict:not([aria-disabled])").wait_for()
        page.get_by_text("Show what drove the answer", exact=True).first.click()
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1000)
        page.screenshot(path=path)
        browser.close()


def main():
    """Serve, photograph, shrink."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "Images")
        images.mkdir()
        for path in list_samples().values():
            shutil.copy(path, images)
        server = open_server(create_app(Classifier.load(), images), "127.0.0.1", PORT, 4)
        threading.Thread(target=server.run, daemon=True).start()
        taken = Path(folder, "page.png")
        take(f"http://localhost:{PORT}/", taken)
        with atomic_path(FILE) as temporary, Image.open(taken) as image:
            few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
            few.save(temporary, optimize=True)
    print("wrote", FILE.name, f"({FILE.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()

"""From the drop of a photo to the answer on the page, in JupyterLab and in Voilà.

    python benchmarks/drop_to_answer.py       # about two minutes; needs Chromium

A noisy photo of a cat, of 0.5, 2 and 12 MB, is dropped onto the widget several times in a headless
Chromium on the same machine; the clock is the page's own, the servers have their usual limits.
Writes `benchmarks/drop_to_answer.json`, and the README's picture of the widget,
`outputs/reference/screenshots/widget.png`.
"""

import base64
import io
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import project_root, write_json
from cifar_utils.runs.machine import count_cores, detect_processor

FILE = Path(__file__).with_suffix(".json")
SCREENSHOT = project_root() / "outputs" / "reference" / "screenshots" / "widget.png"
MEGABYTES = (0.5, 2, 12)
REPEATS = 7
# Drops a file and resolves, in milliseconds, once one more caption is on the page.
DROP = """([text, number]) => new Promise((resolve) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], `photo ${number}.jpg`, { type: "image/jpeg" }));
    const seen = () =>
        [...document.querySelectorAll("figcaption")].some((caption) =>
            caption.innerText.startsWith(`photo ${number}.jpg:`));
    const start = performance.now();
    const watch = new MutationObserver(() => {
        if (!seen()) return;
        watch.disconnect();
        resolve(performance.now() - start);
    });
    watch.observe(document.body, { childList: true, subtree: true, characterData: true });
    const options = { dataTransfer: data, bubbles: true, cancelable: true };
    document.querySelector(".cifar-drop").dispatchEvent(new DragEvent("drop", options));
})"""


def make_photo(megabytes):
    """Return a JPEG of a noisy cat, of about that size: from 0.9 to 1.6 times as many bytes."""
    cat, content, side = Image.open(list_samples()["cat"]), b"", 400
    while len(content) < 0.9e6 * megabytes:
        side = round(side * 1.2)
        pixels = np.asarray(cat.resize((side, side)), np.int16)
        noise = np.random.default_rng(0).integers(-40, 40, pixels.shape, np.int16)
        buffer = io.BytesIO()
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG")
        content = buffer.getvalue()
    return content


def start(arguments, path):
    """Start a server and wait until it answers.

    Returns:
        `(process, URL)`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *arguments, "--no-browser", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}{path}", time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return process, url
        except OSError:
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(f"Error: {arguments[0]} does not answer.")
            time.sleep(0.2)


def measure(page, where):
    """Drop every photo several times; one row per size."""
    page.get_by_role("button", name="Choose pictures").wait_for(timeout=60_000)
    rows, number = [], 0
    for megabytes in MEGABYTES:
        content, times = make_photo(megabytes), []
        for _ in range(REPEATS):
            number += 1
            text = base64.b64encode(content).decode()
            times.append(page.evaluate(DROP, [text, number]) / 1000)
        rows.append(
            {
                "where": where,
                "bytes": len(content),
                "pixels": list(Image.open(io.BytesIO(content)).size),
                "seconds": round(statistics.median(times), 3),
                "slowest": round(max(times), 3),
                "n": REPEATS,
            }
        )
        print(rows[-1])
    return rows


def take_screenshot(page):
    """Show a sample and where the network looked, and keep the picture."""
    page.get_by_role("button", name="Forget all").click()
    page.get_by_label("a sample:").select_option("cat.jpg")
    page.get_by_role("button", name="Where it looked").click()
    page.get_by_text("In colour: what spoke for").wait_for()
    page.wait_for_timeout(1000)
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOT, full_page=True)


def main():
    """Measure both, print, write."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
    app = project_root() / "cifar_utils" / "app.ipynb"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copy(app, folder)
        options = [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--allow-root"]
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        rows = []
        lab, url = start(["jupyterlab", *options], "/lab")
        try:
            page = browser.new_page()
            page.goto(f"{url}/tree/app.ipynb")
            page.locator("[data-status=idle]").first.wait_for(timeout=60_000)
            page.locator(".jp-CodeCell .cm-content").first.click()
            page.keyboard.press("Control+Enter")
            rows += measure(page, "JupyterLab")
        finally:
            lab.terminate()
        voila, url = start(["voila", str(app)], "/")
        try:
            page = browser.new_page(viewport={"width": 900, "height": 820})
            page.goto(url)
            rows += measure(page, "Voilà")
            take_screenshot(page)
        finally:
            voila.terminate()
        browser.close()
    machine = f"{count_cores()} cores of {detect_processor().name}"
    path = write_json(
        FILE, {"command": "python benchmarks/drop_to_answer.py", "machine": machine, "rows": rows}
    )
    print("wrote", path)


if __name__ == "__main__":
    main()

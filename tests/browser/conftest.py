"""A real Chromium for the tests that use a page as a person does.

Without one they fail, and say what to install: a check that skips itself checks nothing.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from cifar_utils.paths import project_root

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = (
    "The browser tests need Chromium. On Debian or Ubuntu: sudo apt install chromium. Elsewhere: "
    ".venv/bin/playwright install chromium. One in another place: CHROMIUM_PATH."
)
SCREENSHOTS = project_root() / "outputs" / "screenshots"


def pytest_collection_modifyitems(items):
    """Mark everything in this folder."""
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    """Start the browser, once."""
    from playwright.sync_api import Error, sync_playwright

    found = os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:  # without a path: what `playwright install` has put where it looks
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            pytest.fail(f"{ADVICE}\n\n{error}", pytrace=False)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, request):
    """Give a function that opens pages; at the end each becomes a screenshot.

    Keyword arguments go to Playwright's `new_context`, such as `color_scheme="dark"`. A page
    keeps the errors of its scripts in `page.errors`.
    """
    contexts, pages = [], []

    def open_one(url, **options):
        contexts.append(chromium.new_context(**options))
        pages.append(page := contexts[-1].new_page())
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        # From now on, not from a test's `expect_file_chooser` on: that switches the interception on
        # while the next key is on its way already, and a chooser that comes first is lost.
        page.on("filechooser", lambda chooser: None)
        page.goto(url)
        return page

    yield open_one
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    for number, page in enumerate(pages, start=1):
        suffix = "" if len(pages) == 1 else f"-{number}"
        page.screenshot(path=SCREENSHOTS / f"{name}{suffix}.png", full_page=True)
    for context in contexts:
        context.close()


def free_port():
    """Return a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Give a function that starts a server and waits until it answers; all are stopped at the end.

    `start_server(arguments, url)` runs `python -m …`, or another Python; `{port}` in both is a free
    port. Returns the URL.
    """
    started = []

    def start(arguments, url, python=sys.executable, seconds=90, **environment):
        port = free_port()
        arguments = [part.replace("{port}", str(port)) for part in arguments]
        url = url.replace("{port}", str(port))
        log = tmp_path_factory.mktemp("server") / "log.txt"
        with log.open("w") as file:
            process = subprocess.Popen(
                [python, "-m", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
        started.append(process)
        end = time.monotonic() + seconds
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{' '.join(arguments)} does not answer:\n{log.read_text()}")
            time.sleep(0.2)
        return url

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)


def _answers(url):
    """Return whether something answers at a URL."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False

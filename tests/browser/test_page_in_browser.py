"""The page as a person meets it, in a real Chromium."""

import base64
import json
import re
import shutil

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from cifar_utils.inference.samples import list_samples

SAMPLES = list_samples()
CAT, COFFEE = str(SAMPLES["cat"]), str(SAMPLES["coffee"])
WRONG = {"name": "letter.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 not a picture"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of photos."""
    folder = tmp_path_factory.mktemp("page") / "Images"
    folder.mkdir()
    for path in SAMPLES.values():
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def url(start_server, images):
    """The page's address, as `python -m cifar_utils serve` serves it."""
    arguments = ["cifar_utils", "serve", "--port", "{port}", "--images", str(images)]
    return start_server(arguments, "http://localhost:{port}/")


def predict(page):
    """Press the button, and wait until every photo is answered."""
    page.get_by_role("button", name="Predict").click()
    page.locator(".answer:not(.waiting)").first.wait_for()
    page.locator("#predict:not([aria-disabled])").wait_for()


def find_faults(page):
    """Return what axe-core finds serious or critical, one line each."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{fault['impact']} {fault['id']}: {node['target']} {node.get('failureSummary')}"
        for fault in found["violations"]
        for node in fault["nodes"]
        if fault["impact"] in ("serious", "critical")
    ]


def has_sideways_scrolling(page):
    """Return whether the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_choose_from_the_folder_and_press_predict(open_page, url):
    page = open_page(url)
    page.evaluate("window.sameLoad = true")
    expect(page.locator(".pick img").first).to_have_js_property("naturalWidth", 320)
    page.get_by_label("cat.jpg").check()
    predict(page)
    answer = page.locator(".answer")
    expect(answer.locator("[data-slot=label]")).to_have_text("cat")
    expect(answer.locator(".bars li")).to_have_count(5)
    expect(page.get_by_role("status")).to_contain_text("cat.jpg: cat, 9")
    expect(page.get_by_text("Take a photo")).to_be_hidden()  # a desk has no camera
    page.get_by_text("Show what drove the answer", exact=True).click()
    whole, heat = page.locator(".whole").bounding_box(), page.locator(".heat").bounding_box()
    assert whole == pytest.approx(heat, abs=1)  # pixels
    page.get_by_label("Heat map: what drove the answer").click()
    page.get_by_label("coffee.jpg").check()
    predict(page)
    expect(answer.get_by_text("what drove the answer")).to_have_count(0)
    assert page.evaluate("window.sameLoad")  # no reload
    assert page.errors == []


def test_several_at_once_each_with_its_answer_or_its_reason(open_page, url, tmp_path):
    page = open_page(url)
    (tmp_path / WRONG["name"]).write_bytes(WRONG["buffer"])
    page.set_input_files("#file", [CAT, COFFEE, str(tmp_path / WRONG["name"])])
    expect(page.locator("#queue li")).to_have_count(3)
    page.get_by_role("button", name="Remove cat.jpg").click()
    page.set_input_files("#file", CAT)  # chosen one after another, they add up
    expect(page.locator("#queue li")).to_have_count(3)
    predict(page)
    expect(page.locator(".answer")).to_have_count(3)
    unsure = page.locator(".answer", has_text="coffee.jpg")
    expect(unsure.get_by_text("Not sure")).to_be_visible()
    expect(unsure.get_by_text("perhaps none of the ten things")).to_be_visible()
    failed = page.locator(".answer.failed")
    expect(failed).to_contain_text("letter.pdf was not classified")
    expect(failed).to_contain_text("PDF document")
    expect(page.get_by_role("status")).to_contain_text("1 of them could not be read")


def test_dropping_and_pasting(open_page, url):
    page = open_page(url)
    for kind in ("drop", "paste"):
        page.evaluate(
            """async ([kind, data]) => {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], `${kind}.jpg`, {type: "image/jpeg"}));
                const options = {bubbles: true, cancelable: true};
                const event = kind === "drop"
                    ? new DragEvent("drop", {...options, dataTransfer: transfer})
                    : new ClipboardEvent("paste", {...options, clipboardData: transfer});
                document.getElementById("drop").dispatchEvent(event);
            }""",
            [kind, base64.b64encode(SAMPLES["cat"].read_bytes()).decode()],
        )
    expect(page.locator("#queue")).to_contain_text("drop.jpg")
    expect(page.locator("#queue")).to_contain_text("paste.jpg")
    predict(page)
    expect(page.locator("[data-slot=label]")).to_have_text(["cat", "cat"])
    assert page.errors == []


def test_everything_without_javascript(open_page, url, tmp_path):
    page = open_page(url, java_script_enabled=False)
    (tmp_path / WRONG["name"]).write_bytes(WRONG["buffer"])
    page.set_input_files("#file", [COFFEE, str(tmp_path / WRONG["name"])])
    page.locator("label", has_text="cat.jpg").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_have_count(3)
    expect(page.locator(".answer.failed")).to_contain_text("PDF")
    expect(page.locator(".answer.unsure")).to_contain_text("perhaps none of the ten things")
    expect(page.locator(".answer:not(.failed, .unsure) [data-slot=label]")).to_have_text("cat")
    label = page.get_by_text("Show what drove the answer", exact=True).first
    label.click()
    expect(page.locator(".heat").first).to_have_css("opacity", "1")
    page.get_by_role("button", name="Predict").click()  # nothing is chosen any more
    expect(page.get_by_role("status")).to_contain_text("There is no photo in the request")


def test_a_narrow_screen_with_touch(open_page, url):
    page = open_page(url, viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    camera = page.locator("#camera")
    expect(page.get_by_text("Take a photo")).to_be_visible()
    assert camera.get_attribute("capture") == "environment"
    assert not has_sideways_scrolling(page)
    camera.set_input_files(CAT)
    page.get_by_role("button", name="Predict").tap()
    expect(page.locator("[data-slot=label]")).to_have_text("cat")
    assert not has_sideways_scrolling(page)
    page.goto(f"{url}api")
    assert not has_sideways_scrolling(page)


def press_until(page, key, selector, most=40):
    """Press a key until an element has the focus; fail if it never does."""
    for _ in range(most):
        page.keyboard.press(key)
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    pytest.fail(f"{selector} cannot be reached with {key}")


def test_with_the_keyboard_only(open_page, url):
    page = open_page(url)
    press_until(page, "Tab", "#file")
    outline = page.locator("label[for=file]").evaluate("(e) => getComputedStyle(e).outlineStyle")
    assert outline == "solid"  # the focus is seen, though the input itself is not
    press_until(page, "Tab", "input[value='cat.jpg']")
    page.keyboard.press("Space")
    press_until(page, "Tab", "#predict")
    page.keyboard.press("Enter")
    expect(page.locator("[data-slot=label]")).to_have_text("cat")
    press_until(page, "Tab", ".heat-switch", most=3)  # the answers have the focus
    page.keyboard.press("Space")
    expect(page.locator(".heat")).to_have_css("opacity", "1")


def test_nothing_comes_from_elsewhere_and_the_policy_holds(open_page, url):
    page = open_page(url)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.set_input_files("#file", CAT)
    predict(page)
    assert len(asked) > 5
    assert all(address.startswith((url, "data:", "blob:")) for address in asked)
    refused = page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener(
                "securitypolicyviolation", (event) => resolve(event.violatedDirective));
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
        })"""
    )
    assert refused.startswith("script-src")
    assert not page.evaluate("window.ran")


def test_what_cannot_be_sent_is_told(open_page, url, tmp_path):
    page = open_page(url)
    large, gone = tmp_path / "large.png", tmp_path / "gone.jpg"
    large.write_bytes(bytes(25_000_001))
    page.set_input_files("#file", str(large))
    predict(page)
    expect(page.locator(".failed")).to_contain_text("at most 25 MB are read")
    page.reload()
    shutil.copy(CAT, gone)
    page.set_input_files("#file", str(gone))
    expect(page.locator("#queue img")).to_have_js_property("complete", True)
    gone.unlink()
    predict(page)
    expect(page.locator(".answer.failed")).to_contain_text("It cannot be read any more")
    page.reload()
    page.route("**/api/predict*", lambda route: route.abort())
    page.set_input_files("#file", CAT)
    predict(page)
    expect(page.locator(".failed")).to_contain_text("The server does not answer")


def test_what_is_said_of_the_choice_is_seen_where_one_chooses(open_page, url):
    page = open_page(url, viewport={"width": 320, "height": 640})
    page.get_by_role("button", name="Predict").click()
    notice = page.locator("#notice")
    expect(notice).to_have_text("Choose a photo first.")
    expect(notice).to_be_in_viewport(ratio=1)
    page.set_input_files("#file", CAT)
    expect(notice).to_have_text("1 photo chosen. Press Predict.")
    assert find_faults(page) == []
    predict(page)
    expect(page.locator(".answer [data-slot=label]")).to_have_text("cat")
    expect(notice).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_of_every_page_and_state(open_page, url, tmp_path, scheme):
    faults = {}
    page = open_page(url, color_scheme=scheme, reduced_motion="reduce")
    faults["start"] = find_faults(page)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = int(re.search(r"\d+", ground)[0])
    assert brightness < 40 if scheme == "dark" else brightness > 230
    moves = page.locator("#drop").evaluate("(e) => getComputedStyle(e).transitionDuration")
    assert moves == "0s"  # for those who asked for less motion
    (tmp_path / WRONG["name"]).write_bytes(WRONG["buffer"])
    page.set_input_files("#file", [CAT, COFFEE, str(tmp_path / WRONG["name"])])
    page.get_by_role("checkbox", name="cat.jpg").check()
    faults["chosen"] = find_faults(page)
    predict(page)
    faults["answers"] = find_faults(page)
    page.get_by_text("Show what drove the answer", exact=True).first.click()
    faults["heat map"] = find_faults(page)
    for address in ("api", "nowhere", "?page=2"):
        page.goto(url + address)
        faults[address] = find_faults(page)
    narrow = open_page(
        url, color_scheme=scheme, viewport={"width": 320, "height": 640}, has_touch=True
    )
    narrow.set_input_files("#file", [CAT, COFFEE])
    predict(narrow)
    faults["narrow"] = find_faults(narrow)
    plain = open_page(url)
    plain.evaluate("document.getElementById('choose').submit()")  # as without JavaScript
    plain.wait_for_url("**/predict**")
    faults["nothing chosen"] = find_faults(plain)
    assert not any(faults.values()), json.dumps(faults, indent=2)


def test_an_inaccessible_page_would_be_noticed(open_page, url):
    """A negative sample: an image without a text, and words that are hardly seen."""
    page = open_page(url)
    page.evaluate(
        """() => {
            document.querySelector(".brand img").removeAttribute("alt");
            document.querySelector("label[for=file]").remove();
        }"""
    )
    assert any("image-alt" in fault for fault in find_faults(page))

"""The folder `Images`: read anew each time, and no path leads out of it."""

import html
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_utils.apps.web.app import create_app
from cifar_utils.apps.web.folder import ImagesFolder
from cifar_utils.errors import ImageError
from cifar_utils.inference.samples import list_samples

CAT = list_samples()["cat"].read_bytes()
FORM = {"content_type": "multipart/form-data"}


class NoClassifier:
    """Stands in where nothing is classified."""

    class_names, engine, calibration = ("cat",), "no engine", None

    class source:
        synthetic = False


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "Images"
    path.mkdir()
    return path


@pytest.fixture
def client(folder):
    return create_app(NoClassifier, folder).test_client()


def test_photos_by_their_names_and_nothing_else(folder):
    wanted = ("A.png", "b.JPG", "c.jpeg", "d.heic", "e.WebP")
    left_out = ".hidden.png ._b.JPG f.png.txt g.pdf __MACOSX .DS_Store line\nfeed.png".split(" ")
    for name in (*wanted, *left_out):
        (folder / name).write_bytes(CAT)
    for name in ("album.png", ".ipynb_checkpoints"):
        (folder / name).mkdir()
    (folder / os.fsdecode(b"\xff.png")).write_bytes(CAT)
    images = ImagesFolder(folder)
    images.make()  # changes nothing where there is a folder
    assert images.list()[0] == list(wanted)


def test_it_is_read_again_without_a_restart(client, folder):
    """The original app had to be restarted."""
    assert "holds no photo" in client.get("/").text
    (folder / "new.png").write_bytes(CAT)
    assert 'value="new.png"' in client.get("/").text
    (folder / "new.png").unlink()
    folder.rmdir()
    assert "There is no folder" in client.get("/").text
    folder.write_text("a file")
    assert "is a file, not a folder" in client.get("/").text
    folder.unlink()
    folder.mkdir()
    (folder / "again.jpg").write_bytes(CAT)
    assert 'value="again.jpg"' in client.get("/").text


NAMES = (
    "../secret.png ..\\secret.png /etc/passwd ./in.png sub/deep.png in.png/ in.png\0 .. IN.PNG"
    " %2e%2e%2fsecret.png .hidden.png link.png fifo.png"
)


def test_no_path_leads_out(client, folder):
    (folder.parent / "secret.png").write_bytes(CAT)
    (folder / "sub").mkdir()
    for inside in ("in.png", ".hidden.png", "%2e%2e%2fsecret.jpg", "sub/deep.png"):
        (folder / inside).write_bytes(CAT)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    os.mkfifo(folder / "fifo.png")
    for name in ["", *NAMES.split(" ")]:
        for written in (name, quote(name, safe=""), quote(quote(name, safe=""), safe="")):
            answer = client.get(f"/thumbnails/{written}")
            assert answer.status_code >= 400 or answer.location, written
            assert b"JFIF" not in answer.data
        answer = client.post("/api/predict", data={"image": name}, **FORM)
        assert answer.status_code in (400, 404)
    assert client.get("/thumbnails/in.png").status_code == 200  # a negative sample


def test_a_link_swapped_in_at_the_last_moment_is_not_followed(folder, monkeypatch):
    (folder.parent / "secret.png").write_bytes(CAT)
    (folder / "a.png").symlink_to(folder.parent / "secret.png")
    images = ImagesFolder(folder)
    monkeypatch.setattr(images, "_read_names", lambda: {"a.png"})
    with pytest.raises(ImageError, match=r"a\.png"):
        images.read("a.png")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_no_text_reads_what_is_not_listed(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "listed"
    folder.mkdir(exist_ok=True)
    (folder / "only.png").write_bytes(b"picture")
    with pytest.raises(ImageError):
        ImagesFolder(folder).read(text + "/only.png")


@pytest.mark.parametrize("name", ["Ünïcödé 名前 😀.png", "e\u0301.png", "a&b=c?d#e+f%20g'\".png"])
def test_any_name_that_a_form_can_send_works(client, folder, name):
    (folder / name).write_bytes(CAT)
    address = client.get("/").text.split('src="/thumbnails/')[1].split('"')[0]
    assert client.get(f"/thumbnails/{html.unescape(address)}").mimetype == "image/jpeg"
    assert ImagesFolder(folder).read(name)[0] == CAT


def test_a_thumbnail_changes_with_its_photo_and_is_kept_until_then(client, folder):
    path = folder / "a.jpg"
    path.write_bytes(CAT)
    first = client.get("/thumbnails/a.jpg")
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get("/thumbnails/a.jpg", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    path.write_bytes(list_samples()["coffee"].read_bytes())
    other = client.get("/thumbnails/a.jpg", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status_code == 200
    assert other.data != first.data
    path.write_bytes(b"no picture any more")
    broken = client.get("/thumbnails/a.jpg")
    assert (broken.status_code, broken.mimetype) == (422, "image/svg+xml")


def test_two_thousand_photos_come_page_by_page(client, folder):
    for number in range(2000):
        Path(folder, f"{number:04}.png").touch()
    page = client.get("/")
    assert page.text.count('name="image"') == 60
    assert "2,000 photos, page 1 of 34" in page.text
    assert 'value="0060.png"' in client.get("/?page=2").text
    assert 'value="1999.png"' in client.get("/?page=999").text
    for nonsense in ("x", "-1", "0", "²"):
        assert 'value="0000.png"' in client.get(f"/?page={nonsense}").text

"""The download, against a server on this machine that behaves well, badly, or not at all."""

import socket
import time

import pytest
import tiny_cifar as tiny
from unruly_server import Handler, serve

from cifar_utils.data import archive, download
from cifar_utils.errors import CifarError, DataError


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Start a server and return its address; the package takes its archive for the official one."""
    tiny.make_world(tmp_path, monkeypatch)
    source = tiny.write_archive(tmp_path / "served.tar.gz")
    monkeypatch.setattr(download, "PROBE_SECONDS", 1.0)
    with serve(tiny.declare_official(source, monkeypatch)) as address:
        yield address


def saved_files(tmp_path):
    return [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_good_source_gives_the_archive(server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CIFAR10_URL", f"'{server}/redirect'")
    path = download.download_archive()
    assert path == tmp_path / "cache" / archive.ARCHIVE_NAME
    assert path.read_bytes() == Handler.content
    assert saved_files(tmp_path) == [path]
    assert "CIFAR-10 from 127.0.0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("wrong", "it sent other bytes"),
        ("cut", "the connection broke|other bytes"),
        ("endless", "it sends more than"),
        ("silent", "no answer in time"),
        ("missing", "HTTP status 404"),
    ],
)
def test_a_bad_source_is_named_and_leaves_nothing(server, monkeypatch, tmp_path, way, reason):
    monkeypatch.setenv("CIFAR10_URL", f"{server}/{way}")
    monkeypatch.setattr(download, "WINDOW_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(DataError, match=rf"127\.0\.0\.1:\d+: ({reason})"):
        download.download_archive()
    assert time.monotonic() - start < 10
    assert saved_files(tmp_path) == []


def test_cifar10_url_goes_first_and_then_the_next_source_is_tried(server, monkeypatch):
    sources = [f"{server}/{way}" for way in ("wrong", "good")]
    monkeypatch.setattr(download, "SOURCES", sources)
    monkeypatch.setenv("CIFAR10_URL", f"{server}/missing")
    assert download.download_archive().read_bytes() == Handler.content
    monkeypatch.setenv("CIFAR10_URL", "/home/me/cifar-10-python.tar.gz")
    with pytest.raises(DataError, match=r"CIFAR10_URL is '/home/me.*CIFAR10_PATH"):
        download.download_archive()


def test_a_source_that_slows_down_is_given_up(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_URL", f"{server}/slowing")
    monkeypatch.setattr(download, "PROBE_BYTES", 10)
    monkeypatch.setattr(download, "WINDOW_SECONDS", 0.5)
    with pytest.raises(DataError, match=r"too slow: \d+ kB/s"):
        download.download_archive()
    assert saved_files(tmp_path) == []


def test_a_name_look_up_that_hangs_does_not_hold_us_up(server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(download, "SOURCES", ("https://a.example", "https://b.example"))
    start = time.monotonic()
    with pytest.raises(DataError, match=r"a.example: no answer in time; b.example"):
        download.download_archive()
    assert time.monotonic() - start < 10


def test_a_full_disk_is_told_before_the_download_and_during_it(server, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("CIFAR10_URL", f"{server}/good")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(CifarError, match=r"0 MB free.*CIFAR_CACHE_DIR"):
            download.download_archive()
    monkeypatch.setattr("shutil.move", fail)
    with pytest.raises(DataError, match=r"No space left on device.*CIFAR_CACHE_DIR"):
        download.download_archive()
    assert saved_files(tmp_path) == []

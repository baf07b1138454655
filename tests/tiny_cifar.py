"""A CIFAR-10 archive of a few images per batch, whole or broken on purpose, for the data tests."""

import hashlib
import io
import pickle
import tarfile

import numpy as np

from cifar_utils.data import archive, dataset, download

PER_BATCH = 10


def make_world(folder, monkeypatch):
    """Give a test a machine of its own: tiny batches, empty caches, no copies, no network."""
    monkeypatch.setattr(archive, "IMAGES_PER_BATCH", PER_BATCH)
    monkeypatch.setattr(download, "SOURCES", ())
    monkeypatch.setattr(dataset, "project_root", lambda: folder / "project")
    monkeypatch.setenv("CIFAR_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    for name in ("CIFAR_DATASET", "CIFAR10_PATH", "CIFAR10_URL", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def make_batch(seed, n=PER_BATCH):
    """Return the content of one batch; the first image's first pixel is (seed, 100, 200)."""
    data = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    data[0, [0, 1024, 2048]] = seed, 100, 200
    return {b"data": data, b"labels": [i % 10 for i in range(n)]}


def make_members(n=PER_BATCH):
    """Return the members' pickles by name."""
    members = {name: make_batch(i, n) for i, name in enumerate(archive.BATCHES, start=1)}
    members[archive.META] = {b"label_names": [name.encode() for name in archive.CLASS_NAMES]}
    return {name: pickle.dumps(value, protocol=2) for name, value in members.items()}


def write_archive(path, **changes):
    """Write an archive; `changes` replace a member's content by name, None leaves it out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in {**make_members(), **changes}.items():
            if content is not None:
                info = tarfile.TarInfo(f"{archive.FOLDER_NAME}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def write_folder(path, **changes):
    """Write an extracted archive; `changes` as for `write_archive`."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in {**make_members(), **changes}.items():
        if content is not None:
            (path / name).write_bytes(content)
    return path


def declare_official(path, monkeypatch):
    """Make the package take this archive for the one that CIFAR-10's authors publish."""
    content = path.read_bytes()
    monkeypatch.setattr(archive, "OFFICIAL", f"sha256:{hashlib.sha256(content).hexdigest()}")
    monkeypatch.setattr(archive, "ARCHIVE_BYTES", len(content))
    return content

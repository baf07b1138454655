"""Where copies of CIFAR-10 lie on this machine, and what the command `data` says of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from cifar_utils.data import archive, array_cache, download
from cifar_utils.errors import DataError
from cifar_utils.paths import cache_dir, project_root

GET_CIFAR10 = (
    f"To have CIFAR-10, download {download.OFFICIAL_URL} (170 MB) on any machine and set"
    f" CIFAR10_PATH to the file, or put it into data/ in the project's folder."
)


def get_named(path):
    """Return `(place, path)` of what the caller or the environment names, or None."""
    if path:
        return "the path given", path
    named = os.environ.get("CIFAR10_PATH")
    return ("CIFAR10_PATH", named) if named else None


@dataclass(frozen=True)
class Found:
    """One place where CIFAR-10 was looked for.

    Attributes:
        place: What the place is, in words.
        path: Where it is; the archive or the folder once located.
        size: Bytes, or None if there is nothing usable.
        fingerprint: "sha256:…", or empty.
        problem: Why it cannot be used, or empty.
    """

    place: str
    path: Path
    size: int | None = None
    fingerprint: str = ""
    problem: str = ""

    @property
    def official(self) -> bool:
        return archive.is_official(self.fingerprint)

    @property
    def cached(self) -> bool:
        """Whether its arrays are in the array cache."""
        return bool(self.fingerprint) and array_cache.arrays_path(self.fingerprint).exists()


def find_dataset(path: str | os.PathLike | None = None) -> list[Found]:
    """Look for CIFAR-10 on this machine, in the order of `load_dataset`. Nothing is downloaded.

    Args:
        path: As for `load_dataset`.

    Returns:
        One `Found` for each place, with or without something in it.
    """
    named = get_named(path)
    return [_inspect(*place) for place in ([named] if named else []) + _list_places()]


def _list_places():
    """List `(place, path)` where a copy may lie that nobody named."""
    keras = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"
    folder, target = archive.FOLDER_NAME, f"{archive.FOLDER_NAME}-target"
    names = (f"{target}_archive", target, f"{folder}.tar.gz", folder, archive.ARCHIVE_NAME)
    places = [("our cache", cache_dir() / archive.ARCHIVE_NAME)]
    places += [("Keras's cache", keras / name) for name in names]
    for root in dict.fromkeys((project_root(), Path.cwd())):
        for name in (archive.ARCHIVE_NAME, folder):
            places.append(("torchvision's folder data", root / "data" / name))
    return places


def _inspect(place, path):
    path = Path(path).expanduser().absolute()
    try:
        located = archive.locate_archive(path)
        size = sum(file.stat().st_size for file in archive.list_files(located))
        return Found(place, located, size, array_cache.fingerprint_of(located))
    except DataError as error:
        return Found(place, path, problem=str(error) if os.path.exists(path) else "nothing there")


def describe_sources(path: str | os.PathLike | None = None) -> str:
    """Tell what was found and where, what was not, what "auto" will load, and what to do next.

    Args:
        path: As for `load_dataset`.

    Returns:
        Several lines of plain text. Nothing is downloaded, and no archive is unpacked.
    """
    places = find_dataset(path)
    lines = ["Found:"]
    for found in places:
        if found.fingerprint:
            lines += [f"  {found.place}: {found.path}", *_describe_found(found)]
    if lines == ["Found:"]:
        lines = ["No copy of CIFAR-10 was found."]
    unusable = [f for f in places if f.problem and os.path.exists(f.path)]
    lines += [f"Cannot be used: {found.place}: {found.problem}" for found in unusable]
    lines.append("Looked for, not there:")
    lines += [f"  {f.place}: {f.path}" for f in places if not os.path.exists(f.path)]
    arrays = sorted((cache_dir() / "arrays").glob("cifar10-*.npy"))
    size = sum(file.stat().st_size for file in arrays)
    lines.append(f"Array cache: {cache_dir()}, data sets: {len(arrays)}, {size / 1e6:.1f} MB.")
    return "\n".join(lines + _describe_choice(places, bool(get_named(path))))


def _describe_found(found):
    official = "the official archive" if found.official else "not the official archive"
    cached = "in the array cache" if found.cached else "not in the array cache yet"
    yield f"    {found.size / 1e6:.1f} MB, {official}, {cached}"
    yield f"    {found.fingerprint}"


def _describe_choice(places, is_named):
    """Say what `load_dataset("auto")` takes, and what to do if that is not what one wants."""
    asked = os.environ.get("CIFAR_DATASET")
    if asked and asked != "auto":
        return [f'"auto" loads: {asked}, since CIFAR_DATASET says so. Unset it for CIFAR-10.']
    if is_named:
        if places[0].problem:
            return [f'"auto" loads: nothing, since {places[0].place} cannot be used. Correct it.']
        return [f'"auto" loads: {places[0].path}']
    if array_cache.arrays_path(f"sha256:{archive.ARCHIVE_SHA256}").exists():
        return ['"auto" loads: the official CIFAR-10 from the array cache']
    official = [found for found in places if found.official]
    if official:
        return [f'"auto" loads: {official[0].path}']
    lines = ['"auto" loads: the download, or the synthetic data set if no source answers.']
    if any(found.fingerprint for found in places):
        lines.append("To use a copy that is not the official one, set CIFAR10_PATH to it.")
    return [*lines, GET_CIFAR10]

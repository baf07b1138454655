"""Pictures that ship with the package, to try the classifier on; see SOURCES.md beside this."""

from pathlib import Path


def list_samples() -> dict[str, Path]:
    """Return the sample pictures' paths by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.jpg"))}

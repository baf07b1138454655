"""Short texts for messages: the nearest valid name, the reason of a failure, a duration."""

import difflib


def first_line(error, most=200):
    """Return the first line of a library's error, for a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]


def suggest(word, known):
    """Name the valid name that is nearest to a mistyped one.

    Args:
        word: What the user wrote.
        known: The valid names, in the order in which they are listed.

    Returns:
        A sentence such as "Did you mean 'epochs'?", or the list of valid names when none is near.
    """
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return "Valid: " + ", ".join(known) + "."


def format_clock(seconds):
    """Format a duration: "0:07", "3:05", "1:02:09"; "?" for None."""
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

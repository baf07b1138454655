"""Holds back known noise that libraries in C++ write to file descriptor 2, and only that."""

import contextlib
import os
import re
import sys
import tempfile
import threading

# A process has one file descriptor 2: two threads that exchanged it would lose it.
_LOCK = threading.RLock()


@contextlib.contextmanager
def hold_back(pattern):
    """Swallow the lines on file descriptor 2 that match a pattern; the others come afterwards.

    Args:
        pattern: A compiled regular expression over bytes: anything else may be a real warning.
    """
    with _LOCK:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
        except (AttributeError, OSError, ValueError):  # there is no such file: nothing to hold back
            yield
            return
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
                os.close(saved)
                held.seek(0)
                lines = [line for line in held if not re.search(pattern, line)]
                if b"".join(lines).strip():
                    os.write(2, b"".join(lines))

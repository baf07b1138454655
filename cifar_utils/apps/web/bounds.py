"""Bounds that several threads share."""

import contextlib
import threading


class Gate:
    """Lets work pass whose sizes add up to a budget at most; what is larger than it passes alone.

    Args:
        budget: The sum, in any unit.
    """

    def __init__(self, budget):
        self._budget, self._used, self._changed = budget, 0, threading.Condition()

    @contextlib.contextmanager
    def hold(self, size):
        """Wait until `size` fits, and hold it for the length of the block."""
        size = min(size, self._budget)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size <= self._budget)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


class Room:
    """How many bytes of request bodies there is room for."""

    def __init__(self, size):
        self._free, self._lock = size, threading.Lock()

    def take(self, size) -> bool:
        """Take some, if they are free."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give(self, size):
        """Give some back."""
        with self._lock:
            self._free += size

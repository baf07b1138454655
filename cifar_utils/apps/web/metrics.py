"""Counts and latencies in Prometheus's text format."""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds


class Metrics:
    """The counters of one application; each has a registry of its own."""

    def __init__(self):
        self._registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self._requests = Counter(
            "cifar_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=own,
        )
        self._request_seconds = Histogram(
            "cifar_http_request_seconds",
            "From the start of a request in the application to its answer.",
            ["route"],
            buckets=BUCKETS,
            registry=own,
        )
        self._pictures = Counter("cifar_pictures", "Photos by outcome.", ["outcome"], registry=own)
        self._picture_seconds = Histogram(
            "cifar_picture_seconds",
            "To read and classify a photo, heat map included.",
            buckets=BUCKETS,
            registry=own,
        )
        for outcome in ("answered", "unsure", "refused"):
            self._pictures.labels(outcome)

    def count_request(self, method, route, status, seconds):
        """Count an answered request; what a client can choose freely becomes no label."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def count_picture(self, row, seconds):
        """Count a photo by its row, as `answers.answer` returns it."""
        outcome = "refused" if "error" in row else "unsure" if row["unsure"] else "answered"
        self._pictures.labels(outcome).inc()
        self._picture_seconds.observe(seconds)

    def render(self) -> bytes:
        """Return all of them as text."""
        return generate_latest(self._registry)

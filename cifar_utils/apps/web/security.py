"""Who may ask, and what a browser may do with the answers."""

import ipaddress
from urllib.parse import urlsplit

from cifar_utils.apps.web.answers import RequestError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    # Answers embed their images as data, and scripts show as blobs what was chosen.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it, browsers hide the origin of the page's own form as well.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def find_allowed_hosts(host, bound):
    """Return the names under which a server on an address answers; None means any.

    A web page elsewhere can let its own name point at 127.0.0.1 (DNS rebinding) and would then
    count as the same origin: on this machine, only this machine's names are right.

    Args:
        host: The address or name that was asked for.
        bound: The address that this came to.
    """
    return (*LOOPBACK, host) if ipaddress.ip_address(bound).is_loopback else None


def check_request(request, allowed_hosts):
    """Refuse what another site makes a browser send: a `RequestError` with 403.

    Args:
        request: The request.
        allowed_hosts: Names that its Host header may hold, or None for any.
    """
    host = request.headers.get("Host", "")
    if allowed_hosts is not None and _split(f"//{host}").hostname not in allowed_hosts:
        raise RequestError(
            f"This server does not answer under the name {host!r}. Open it as localhost, or start "
            "it with the --host that others should use.",
            403,
        )
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    foreign = origin is not None and _split(origin).netloc.lower() != host.lower()
    if site not in (None, "same-origin", "none") or (site is None and foreign):
        raise RequestError(
            "Another web site sent this. Photos are taken from this server's own page, and from "
            "programs.",
            403,
        )


def _split(url):
    """Split a URL; what is none has neither host nor name."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")

"""Who may ask, and what a browser may do with the answers."""

import ipaddress
from urllib.parse import urlsplit

from cifar_utils.apps.web.answers import RequestError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",  # answers embed their images; scripts show what was chosen
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it, browsers hide the origin of the page's own form as well.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def find_allowed_hosts(host, bound=None):
    """Return the names under which a server on an address answers; None means any.

    Args:
        host: The address or name that was asked for.
        bound: The address that this came to, where it is known.

    A web page elsewhere can let its own name point at 127.0.0.1 (DNS rebinding) and would then
    count as the same origin: on this machine, only this machine's names are right.
    """
    return (*LOOPBACK, host) if is_loopback(bound or host) else None


def check_request(request, allowed_hosts):
    """Refuse what another site makes a browser send.

    Args:
        request: The request.
        allowed_hosts: Names that its Host header may hold, or None for any.

    Raises:
        RequestError: With 403, if the host is another or a form was posted from elsewhere.
    """
    host = request.headers.get("Host", "")
    if allowed_hosts is not None and _hostname(host) not in allowed_hosts:
        raise RequestError(
            f"This server does not answer under the name {host!r}. Open it as localhost, or start "
            "it with the --host that others should use.",
            403,
        )
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    foreign = origin is not None and _netloc(origin) != host.lower()
    if site not in (None, "same-origin", "none") or (site is None and foreign):
        raise RequestError(
            "Another web site sent this. Pictures are taken from this server's own page, and from "
            "programs.",
            403,
        )


def _hostname(host):
    """Return the name in a Host header without its port, in lower case; None if it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _netloc(origin):
    """Return host and port of an Origin header, in lower case."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""

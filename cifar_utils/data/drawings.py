"""What the synthetic images show: for each of the ten classes, two figures made of polygons.

A figure is a list of parts `(role, points)`, the later covering the earlier. Points lie in a square
from -1 to 1, x to the right, y down; figures face left. A role is a colour that every image
chooses anew.
"""

import numpy as np

ROLES = ("main", "second", "dark", "light", "glass", "accent")
# Spokes of an ellipse. Ten look round at 32 pixels.
_CIRCLE = np.exp(2j * np.pi * np.arange(10) / 10)


def _oval(x, y, width, height, tilt=0):
    """Return an ellipse as a polygon: centre, half axes, and tilt in degrees (clockwise)."""
    points = (_CIRCLE.real * width + 1j * _CIRCLE.imag * height) * np.exp(1j * np.radians(tilt))
    return [(x + p.real, y + p.imag) for p in points]


def _box(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _line(x0, y0, x1, y1, width=0.1):
    """Return a stroke as a thin quadrilateral."""
    direction = complex(x1 - x0, y1 - y0)
    across = 0.5j * width * direction / abs(direction)
    start, end = complex(x0, y0), complex(x1, y1)
    ring = (start + across, end + across, end - across, start - across)
    return [(p.real, p.imag) for p in ring]


def _wheels(*centres, y=0.36, radius=0.2):
    tyres = [("dark", _oval(x, y, radius, radius)) for x in centres]
    return tyres + [("light", _oval(x, y, radius * 0.4, radius * 0.4)) for x in centres]


def _legs(*feet, width):
    """Return legs down to the ground, given the x of each hip and each foot."""
    return [("main", _line(hip, 0.15, foot, 0.88, width)) for hip, foot in feet]


def _eyes(x, y, apart, size=0.09, role="dark"):
    return [(role, _oval(x - apart, y, size, size)), (role, _oval(x + apart, y, size, size))]


def _wing(side):
    """Return a spread wing, on the left (-1) or the right (1)."""
    edge = ((0, -0.2), (0.45, -0.45), (0.75, -0.3), (1, 0.2), (0.65, 0.05), (0.4, 0.15), (0, 0.3))
    return [(side * x, y) for x, y in edge]


FIGURES = {
    "airplane": [
        [  # from the side
            ("second", [(0.1, -0.05), (0.35, -0.05), (0.6, -0.42), (0.45, -0.42)]),
            ("main", [(0.5, -0.08), (0.8, -0.6), (1, -0.6), (0.95, 0)]),
            ("main", _oval(0, 0, 0.98, 0.17)),
            ("glass", _oval(-0.78, -0.06, 0.14, 0.07)),
            *[("glass", _oval(x, -0.04, 0.05, 0.05)) for x in (-0.4, -0.2, 0, 0.2, 0.4)],
            ("second", [(-0.15, 0.04), (0.2, 0.04), (0.6, 0.55), (0.4, 0.55)]),
        ],
        [  # from above
            ("second", [(-0.25, 0), (0.3, -0.95), (0.48, -0.95), (0.2, 0)]),
            ("second", [(-0.25, 0), (0.3, 0.95), (0.48, 0.95), (0.2, 0)]),
            ("second", [(0.65, 0), (0.85, -0.4), (1, -0.4), (0.9, 0), (1, 0.4), (0.85, 0.4)]),
            ("main", _oval(0, 0, 0.98, 0.14)),
            ("glass", _oval(-0.75, 0, 0.12, 0.08)),
        ],
    ],
    "automobile": [
        [
            ("main", [(-0.6, 0), (-0.3, -0.45), (0.35, -0.45), (0.65, 0)]),
            ("main", [(-1, 0.38), (-0.97, 0.02), (-0.6, -0.05), (0.95, -0.05), (1, 0.38)]),
            ("glass", [(-0.45, -0.03), (-0.24, -0.36), (-0.02, -0.36), (-0.02, -0.03)]),
            ("glass", [(0.08, -0.03), (0.08, -0.36), (0.3, -0.36), (0.5, -0.03)]),
            ("light", _oval(-0.92, 0.12, 0.08, 0.07)),
            *_wheels(-0.55, 0.55),
        ],
        [  # from the front
            ("main", [(-0.7, -0.05), (-0.45, -0.6), (0.45, -0.6), (0.7, -0.05)]),
            ("glass", [(-0.55, -0.08), (-0.37, -0.5), (0.37, -0.5), (0.55, -0.08)]),
            ("dark", _box(-0.75, 0.4, -0.45, 0.75)),
            ("dark", _box(0.45, 0.4, 0.75, 0.75)),
            ("main", _box(-0.82, -0.08, 0.82, 0.5)),
            ("dark", _box(-0.35, 0.1, 0.35, 0.28)),
            *_eyes(0, 0.15, 0.6, 0.14, role="light"),
        ],
    ],
    "bird": [
        [  # perched
            ("second", [(0.4, 0.15), (1, 0.5), (0.9, 0.65), (0.35, 0.4)]),
            ("accent", _line(-0.1, 0.5, -0.12, 0.9, 0.07)),
            ("accent", _line(0.15, 0.5, 0.13, 0.9, 0.07)),
            ("accent", [(-0.62, -0.55), (-1, -0.42), (-0.62, -0.34)]),
            ("main", _oval(0.05, 0.15, 0.58, 0.42, 25)),
            ("main", _oval(-0.42, -0.42, 0.28, 0.27)),
            ("second", _oval(0.2, 0.12, 0.42, 0.2, 30)),
            ("dark", _oval(-0.5, -0.48, 0.07, 0.07)),
        ],
        [  # in flight, from above
            ("second", [(-0.28, 0.95), (0.28, 0.95), (0.1, 0.4), (-0.1, 0.4)]),
            *[("main", _wing(side)) for side in (-1, 1)],
            ("main", _oval(0, 0.1, 0.2, 0.5)),
            ("second", _oval(0, -0.5, 0.2, 0.2)),
            ("accent", [(-0.1, -0.62), (0.1, -0.62), (0, -0.98)]),
        ],
    ],
    "cat": [
        [  # its face
            *[("main", [(s * 0.75, -0.95), (s * 0.1, -0.5), (s * 0.7, -0.05)]) for s in (-1, 1)],
            *[("accent", [(s * 0.64, -0.7), (s * 0.3, -0.5), (s * 0.6, -0.3)]) for s in (-1, 1)],
            ("main", _oval(0, 0.1, 0.76, 0.66)),
            *_eyes(0, -0.05, 0.33, 0.16, role="glass"),
            *_eyes(0, -0.05, 0.33, 0.07),
            ("accent", [(-0.12, 0.25), (0.12, 0.25), (0, 0.4)]),
            *[("dark", _line(s * 0.2, 0.4, s * 0.98, 0.3, 0.05)) for s in (-1, 1)],
            *[("dark", _line(s * 0.2, 0.4, s * 0.98, 0.5, 0.05)) for s in (-1, 1)],
        ],
        [  # sitting
            ("second", _line(0.35, 0.8, 0.85, 0.55, 0.14)),
            ("second", _line(0.8, 0.6, 0.8, 0.05, 0.14)),
            ("main", _oval(0.1, 0.4, 0.42, 0.52)),
            ("main", _box(-0.22, 0.3, -0.05, 0.92)),
            ("main", [(-0.5, -0.95), (-0.12, -0.6), (-0.5, -0.35)]),
            ("main", [(0.3, -0.95), (-0.05, -0.6), (0.3, -0.35)]),
            ("main", _oval(-0.1, -0.38, 0.42, 0.34)),
            *_eyes(-0.12, -0.42, 0.18, 0.09, role="glass"),
            ("accent", _oval(-0.12, -0.25, 0.06, 0.05)),
        ],
    ],
    "deer": [
        [
            ("second", _line(-0.6, -0.5, -0.75, -1, 0.08)),
            ("second", _line(-0.68, -0.75, -0.95, -0.85, 0.07)),
            ("second", _line(-0.5, -0.5, -0.3, -1, 0.08)),
            ("second", _line(-0.4, -0.75, -0.12, -0.8, 0.07)),
            *_legs((-0.35, -0.4), (-0.2, -0.15), (0.5, 0.45), (0.62, 0.7), width=0.1),
            ("main", [(-0.45, 0.1), (-0.7, -0.45), (-0.5, -0.55), (-0.1, -0.1)]),
            ("main", _oval(0.12, 0.08, 0.55, 0.25)),
            ("main", _oval(-0.68, -0.42, 0.27, 0.13, -20)),
            ("light", _oval(0.68, -0.02, 0.1, 0.14)),
            *[("light", _oval(x, y, 0.05, 0.05)) for x, y in ((0, 0), (0.2, 0.06), (0.4, 0))],
            ("dark", _oval(-0.9, -0.34, 0.06, 0.06)),
        ],
        [  # its face
            *[("second", _line(s * 0.2, -0.35, s * 0.6, -1, 0.1)) for s in (-1, 1)],
            *[("second", _line(s * 0.38, -0.62, s * 0.85, -0.7, 0.09)) for s in (-1, 1)],
            *[("main", _oval(s * 0.55, -0.22, 0.3, 0.13, -15 * s)) for s in (-1, 1)],
            ("main", _oval(0, 0.1, 0.34, 0.55)),
            ("light", _oval(0, 0.55, 0.22, 0.24)),
            ("dark", _oval(0, 0.52, 0.13, 0.1)),
            *_eyes(0, -0.08, 0.22),
        ],
    ],
    "dog": [
        [  # its face
            ("main", _oval(0, -0.05, 0.62, 0.66)),
            *[("second", _oval(s * 0.68, 0, 0.2, 0.55, -12 * s)) for s in (-1, 1)],
            ("light", _oval(0, 0.35, 0.36, 0.36)),
            ("dark", _oval(0, 0.2, 0.19, 0.13)),
            ("accent", _oval(0, 0.72, 0.12, 0.2)),
            *_eyes(0, -0.2, 0.28, 0.1),
        ],
        [
            ("main", _line(0.6, 0, 0.95, -0.5, 0.12)),
            *_legs((-0.4, -0.45), (-0.2, -0.2), (0.4, 0.4), (0.6, 0.62), width=0.17),
            ("main", _oval(0.1, 0.12, 0.6, 0.28)),
            ("main", _oval(-0.5, -0.28, 0.32, 0.3)),
            ("light", _oval(-0.78, -0.15, 0.24, 0.15)),
            ("dark", _oval(-0.96, -0.2, 0.08, 0.07)),
            ("second", _oval(-0.3, -0.2, 0.14, 0.36, -10)),
            ("dark", _oval(-0.6, -0.38, 0.06, 0.06)),
        ],
    ],
    "frog": [
        [  # from the front
            *[("second", _oval(s * 0.72, 0.5, 0.26, 0.4, -25 * s)) for s in (-1, 1)],
            ("main", _oval(0, 0.25, 0.76, 0.55)),
            *_eyes(0, -0.4, 0.42, 0.28, role="main"),
            *_eyes(0, -0.42, 0.42, 0.19, role="light"),
            *_eyes(0, -0.42, 0.42, 0.1),
            *[("dark", _line(s * 0.55, 0.15, 0, 0.28, 0.07)) for s in (-1, 1)],
            ("accent", _oval(0, 0.58, 0.4, 0.16)),
        ],
        [  # from above
            *[("second", _line(s * 0.3, 0.3, s * 0.9, 0.15, 0.22)) for s in (-1, 1)],
            *[("second", _line(s * 0.9, 0.1, s * 0.7, 0.85, 0.2)) for s in (-1, 1)],
            *[("second", _line(s * 0.3, -0.3, s * 0.85, -0.6, 0.16)) for s in (-1, 1)],
            ("main", _oval(0, 0.1, 0.46, 0.66)),
            ("main", _oval(0, -0.5, 0.4, 0.34)),
            *_eyes(0, -0.62, 0.33, 0.17, role="light"),
            *_eyes(0, -0.64, 0.33, 0.08),
            ("accent", _oval(0, 0.15, 0.1, 0.42)),
        ],
    ],
    "horse": [
        [
            ("second", [(0.6, -0.1), (0.95, 0.05), (0.98, 0.65), (0.78, 0.6)]),
            *_legs((-0.4, -0.42), (-0.22, -0.2), (0.45, 0.4), (0.62, 0.66), width=0.15),
            ("main", [(-0.55, 0.2), (-0.7, -0.7), (-0.4, -0.75), (0.05, -0.1)]),
            ("main", _oval(0.1, 0.1, 0.6, 0.3)),
            ("main", [(-0.7, -0.75), (-0.45, -0.65), (-0.75, -0.15), (-0.98, -0.25)]),
            ("second", [(-0.55, -0.95), (-0.38, -0.8), (0.1, -0.12), (-0.1, -0.1), (-0.45, -0.55)]),
            ("dark", _oval(-0.68, -0.55, 0.06, 0.06)),
        ],
        [  # its head
            ("main", [(-0.25, -0.2), (0.3, -0.75), (0.95, 0.95), (0.05, 0.95)]),
            ("main", [(-0.05, -0.65), (0.05, -0.98), (0.25, -0.65)]),
            ("main", [(0.3, -0.72), (-0.05, -0.75), (-0.9, 0.2), (-0.7, 0.55), (0.2, 0)]),
            ("second", [(0.1, -0.9), (0.4, -0.75), (0.98, 0.5), (0.9, 0.95), (0.5, 0.1)]),
            ("dark", _oval(-0.12, -0.42, 0.09, 0.09)),
            ("dark", _oval(-0.74, 0.28, 0.07, 0.07)),
        ],
    ],
    "ship": [
        [  # a liner
            ("light", _box(-0.5, -0.15, 0.65, 0.25)),
            ("light", _box(-0.3, -0.42, 0.45, -0.1)),
            ("second", _box(0.1, -0.85, 0.35, -0.4)),
            *[("glass", _box(x, -0.02, x + 0.13, 0.1)) for x in (-0.38, -0.12, 0.14, 0.4)],
            ("main", [(-1, 0.15), (0.95, 0.15), (0.75, 0.7), (-0.7, 0.7)]),
        ],
        [  # under sail
            ("dark", _box(-0.05, -0.95, 0.05, 0.4)),
            ("light", [(-0.1, -0.85), (-0.1, 0.25), (-0.8, 0.25)]),
            ("second", [(0.1, -0.95), (0.1, 0.25), (0.75, 0.25)]),
            ("main", [(-0.95, 0.35), (0.95, 0.35), (0.65, 0.8), (-0.65, 0.8)]),
        ],
    ],
    "truck": [
        [  # with a box body
            ("second", _box(-0.4, -0.7, 1, 0.28)),
            ("main", [(-1, 0.4), (-1, -0.05), (-0.8, -0.42), (-0.44, -0.42), (-0.44, 0.4)]),
            ("glass", [(-0.9, -0.05), (-0.76, -0.32), (-0.54, -0.32), (-0.54, -0.05)]),
            ("dark", _box(-0.45, 0.26, 1, 0.38)),
            *_wheels(-0.68, 0.3, 0.74, y=0.42),
        ],
        [  # a tipper with a load
            ("accent", [(-0.3, -0.1), (0.0, -0.5), (0.5, -0.5), (0.9, -0.1)]),
            ("second", [(-0.4, -0.15), (1, -0.15), (0.88, 0.28), (-0.3, 0.28)]),
            ("main", [(-1, 0.4), (-1, -0.02), (-0.9, -0.55), (-0.46, -0.55), (-0.46, 0.4)]),
            ("glass", _box(-0.9, -0.42, -0.58, -0.05)),
            ("dark", _box(-0.46, 0.26, 0.9, 0.38)),
            *_wheels(-0.7, 0.35, 0.7, y=0.42),
        ],
    ],
}

"""Makes files that are no image, or once were: for the classifier, and for what serves it."""

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image, features

KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"] + ["AVIF"] * features.check("avif")
TEXTS = (
    b"<!DOCTYPE html><html><body onload=alert(1)><img src=x></body></html>",
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><rect width='9e9'/></svg>",
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><svg>&a;</svg>",
    b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run",
    b"#!/bin/sh\nrm -rf /\n",
    b"\x7fELF" + bytes(200),
    b"",
    b"\0",
)


def encode(image, kind="PNG", **options):
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_png(width, height, rows=b""):
    """Return a PNG whose header promises a size, whatever it holds."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def make_tiled_tiff(side, tile):
    """Return a grey TIFF of `side` pixels each way, stored in one tile of `tile`."""
    data = zlib.compress(bytes(min(tile * tile, 2**24)))
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {324: start, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def make_zip():
    """Return a zip archive with an image in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat.png", make_png(1, 1, bytes(4)))
    return buffer.getvalue()


def make_files(count, seed=0):
    """Yield `(what, bytes)` of hostile, damaged and odd files."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    whole = {kind: encode(Image.fromarray(pixels), kind) for kind in KINDS}
    bombs = [make_png(*size) for size in ((60_000, 60_000), (2**31 - 1, 1), (0, 5), (9_000, 9_000))]
    bombs += [make_tiled_tiff(64, 4096), make_tiled_tiff(64, 2**14)]
    bombs.append(b"GIF89a" + struct.pack("<HH", 65535, 65535) + whole["GIF"][10:])
    bombs.append(b"BM" + whole["BMP"][2:18] + struct.pack("<ii", 10**9, 10**9) + whole["BMP"][26:])
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        data = bytearray(whole[kind])
        way = (number // len(KINDS)) % 8
        if way == 0:
            yield f"{kind}, cut short", bytes(data[: rng.integers(0, len(data))])
        elif way == 1:
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] ^= 1 << int(rng.integers(8))
            yield f"{kind}, bits flipped", bytes(data)
        elif way == 2:
            head = int(rng.integers(4, 64))
            yield f"{kind}, noise after its head", bytes(data[:head]) + rng.bytes(500)
        elif way == 3:
            yield "bomb", bombs[int(rng.integers(len(bombs)))]
        elif way == 4:
            yield "another kind of file", TEXTS[int(rng.integers(len(TEXTS)))]
        elif way == 5:
            tail = (make_zip(), TEXTS[0], TEXTS[1])[int(rng.integers(3))]
            yield f"{kind}, and another file behind it", bytes(data) + tail
        elif way == 6:
            start, end = sorted(rng.integers(0, len(data), 2))
            yield f"{kind}, a piece repeated", bytes(data[:end] + data[start:])
        else:
            yield "noise", rng.bytes(int(rng.integers(1, 3000)))

"""What pixels are in these bytes?

In: the bytes of an image file.  Out: uint8 (C, H, W), by one stated rule for
every kind of image, or `Undecodable` with a reason that can be shown beside
the file's name.  Folders, Parquet files and prediction all decode here, so a
picture is the same wherever it is met.  Knows nothing of labels or layouts.

    1, L                    grey, as it is
    LA, La, RGBA, PA ...    transparency laid on white
    P                       its palette's colours
    CMYK, YCbCr, LAB, HSV   converted to RGB
    I;16                    round(value / 257): all 65,536 levels share the 256, none is clipped
    I                       the same if all values are in 0..65,535, otherwise refused
    F                       round(255 x value) if all values are in [0, 1], otherwise refused
    animation, pages        the first one
    EXIF orientation        always applied, before anything that depends on height and width

Colour with 16 bits per channel reaches us from Pillow as its high byte, at
most one level away from the rule for grey.

    C  channels: 1 grey, 3 colour      H, W  pixels
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 64_000_000
"""Read from the header; nothing larger is decoded (a 60 kB PNG can announce gigabytes)."""

# What Pillow's parsers raise on damaged files: the first five were met in 60,000 random mutations of
# 14 valid files, the others are what index, unpacking and division give.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, RuntimeError, TypeError),
    *(EOFError, LookupError, ArithmeticError, struct.error),
)


class Undecodable(Exception):
    """Bytes or a file that give no image; the reason completes the sentence `name: reason`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def decode(data: bytes, channels: int | None, size: int | None, fit: str) -> np.ndarray:
    """One image file's pixels, upright, on the wished channels and size.

    Args:
        data: the whole file.
        channels: 1, 3, or None for the image's own: 1 for grey, 3 for everything else.
        size: height and width of the result; None keeps the image's own.
        fit: `crop` brings the shorter side to `size` and cuts out the centre, `pad` brings the longer
            side to `size` and adds black bars, `stretch` distorts.  All with antialias.

    Returns:
        uint8, (C, H, W).

    Raises:
        Undecodable: empty, truncated or damaged, not an image, too large, or without a defined conversion.
        ValueError: no such `fit` or number of channels.
    """
    with silent():
        return decode_silenced(data, channels, size, fit)


@contextmanager
def silent() -> Iterator[None]:
    """Keep Pillow's remarks on odd metadata, palettes and large images from the user: we answer ourselves."""
    if threading.current_thread() is not threading.main_thread():
        # The list of filters belongs to the process; two threads that restore it out of turn would break it.
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_silenced(data: bytes, channels: int | None, size: int | None, fit: str) -> np.ndarray:
    """`decode` for a caller that already holds `silent()` around many images."""
    if channels not in (None, 1, 3) or fit not in ("crop", "pad", "stretch"):
        raise ValueError(
            f"channels must be 1, 3 or None and fit crop, pad or stretch, got {channels!r}, {fit!r}"
        )
    kind = _kind(data)
    if kind == "PNG":
        _check_png(data)
    image = _eight_bit(_upright(_loaded(data, kind, size)))
    if channels is not None:
        wanted = "L" if channels == 1 else "RGB"
        image = image if image.mode == wanted else image.convert(wanted)
    if size is not None and image.size != (size, size):
        image = _resized(image, size, fit)
    width, height = image.size
    # tobytes is 3 us faster than np.asarray, which matters for 60,000 images of 32 x 32.
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, -1)
    return pixels.transpose(2, 0, 1).copy()


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
# No control characters but tab, line feed, form feed and carriage return.
_TEXT = re.compile(rb"[^\x00-\x08\x0b\x0e-\x1f]+")


def _kind(data: bytes) -> str:
    """Pillow's name of the format, by the first bytes: the ending of a name may lie."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    head = data[:512]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if re.match(rb"P[1-6]\s", head):
        return "PPM"
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return "AVIF"
        if head[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
            raise Undecodable("a HEIC photograph, which is not read: convert it to JPEG")
    raise Undecodable(_what_it_is(head))


def _what_it_is(head: bytes) -> str:
    if not head:
        return "empty, 0 bytes"
    if re.match(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html)", head):
        return "a web page (HTML), not an image"
    if b"<svg" in head:
        return "a drawing (SVG), which has no pixels: convert it to PNG"
    if _TEXT.fullmatch(head):
        return "text, not an image"
    return f"no image format that is read begins with the bytes {head[:8].hex(' ')}"


def _check_png(data: bytes) -> None:
    """Compare the checksum of every chunk: Pillow skips that of the pixels, and does not miss the end."""
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise Undecodable(f"damaged PNG: wrong checksum (CRC) of the part {name.decode('latin-1')!r}")
        if name == b"IEND":
            return
        at = end + 4
    raise Undecodable("truncated PNG")


def _loaded(data: bytes, kind: str, size: int | None) -> Image:
    """The first frame, decoded; its size is checked before any pixel is."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise Undecodable(
                f"{width:,} x {height:,} pixels, more than the {MOST_PIXELS:,} that are decoded"
            )
        if size is not None:
            # JPEG can be decoded at 1/2, 1/4 or 1/8; twice the wished size leaves the antialias its part.
            image.draft(None, (2 * size, 2 * size))
        image.load()
    except Image.DecompressionBombError:
        raise Undecodable(f"more than the {MOST_PIXELS:,} pixels that are decoded") from None
    except UnidentifiedImageError:
        raise Undecodable(f"truncated or damaged {kind}: the header is not complete") from None
    except _BROKEN as error:
        text = str(error)
        if "truncated" in text.lower():
            raise Undecodable(f"truncated {kind}") from None
        raise Undecodable(f"damaged {kind}: {text or type(error).__name__}") from None
    return image


def _upright(image: Image) -> Image:
    """Turned and mirrored as the EXIF orientation says; without a readable one, as stored."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(0x0112, 1)
    except _BROKEN:  # like every viewer: damaged metadata does not make the pixels unusable
        orientation = 1
    turns: dict[Any, Transpose] = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info  # holds the transparent colour of images without an alpha channel
    return turned


def _eight_bit(image: Image) -> Image:
    """The same picture in mode L or RGB, by the table at the top of this file."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(image)
    if image.has_transparency_data:
        return _on_white(image)
    match image.mode:
        case "L" | "RGB":
            return image
        case "1":
            return image.convert("L")
        case "P" | "CMYK" | "YCbCr" | "LAB" | "HSV" | "RGBX":
            return image.convert("RGB")
        case _:
            raise Undecodable(f"the colour mode {image.mode} has no defined conversion")


def _on_white(image: Image) -> Image:
    from PIL import Image

    grey = image.mode in ("1", "L", "LA", "La")
    layered = image.convert("LA" if grey else "RGBA")
    white = Image.new("L" if grey else "RGB", image.size, "white")
    white.paste(layered.convert(white.mode), mask=layered.getchannel("A"))
    return white


def _from_numbers(image: Image) -> Image:
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # also true for NaN
            raise Undecodable(
                f"floating-point grey from {low:g} to {high:g}; only 0 to 1 has a defined meaning"
            )
        grey = np.rint(values * 255).astype(np.uint8)
    else:
        if low < 0 or high > 65_535:  # noqa: PLR2004
            raise Undecodable(f"32-bit grey from {low:,} to {high:,}; only 0 to 65,535 has a defined meaning")
        grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey[values == transparent] = 255
    return Image.fromarray(grey)


def _resized(image: Image, size: int, fit: str) -> Image:
    """Brought to size x size; areas are averaged first where there is much to shrink."""
    from PIL import Image

    width, height = image.size
    smooth = Image.Resampling.BILINEAR
    match fit:
        case "crop":
            # Cut and scale in one step: the same as scaling first, without computing what is cut off.
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
            return image.resize((size, size), smooth, box=box, reducing_gap=2.0)
        case "stretch":
            return image.resize((size, size), smooth, reducing_gap=2.0)
        case "pad":
            scale = size / max(width, height)
            inner = (max(1, round(width * scale)), max(1, round(height * scale)))
            bars = Image.new(image.mode, (size, size))
            small = image.resize(inner, smooth, reducing_gap=2.0)
            bars.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
            return bars
        case _:
            raise ValueError(f"fit must be crop, pad or stretch, got {fit!r}")

"""Colours are computed by hand, orientations compared with the upright picture, damage made byte by byte."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from convscope.data import decode as module
from convscope.data.decode import MOST_PIXELS, Undecodable, decode

ORIENTATION = 0x0112
NEAREST = Image.Resampling.NEAREST


def photograph(width: int = 24, height: int = 16, seed: int = 0) -> np.ndarray:
    """Smooth random colours, (H, W, 3)."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height)))


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def native(data: bytes) -> np.ndarray:
    return decode(data, None, None, "crop")


def reason(data: bytes, size: int | None = None) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(data, None, size, "crop")
    return str(caught.value)


def constant(mode: str, colour: object, kind: str = "PNG", **options: object) -> list[int]:
    """Encode a picture of one colour and return the colour that is decoded."""
    pixels = native(encoded(Image.new(mode, (5, 3), colour), kind, **options))
    assert pixels.shape[1:] == (3, 5)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[:, :1, :1]).all()
    return pixels[:, 0, 0].tolist()


# ---- every mode ------------------------------------------------------------------------------------


def test_colour_comes_out_as_it_went_in() -> None:
    rgb = photograph()
    assert (native(encoded(rgb)) == rgb.transpose(2, 0, 1)).all()


def test_one_and_eight_bit_grey_keep_one_channel() -> None:
    assert constant("L", 77) == [77]
    assert constant("1", 1) == [255]
    assert constant("1", 0) == [0]


def test_transparency_is_laid_on_white() -> None:
    # 100 x 128/255 + 255 x 127/255 = 177.2
    assert constant("LA", (100, 128)) == [177]
    assert constant("RGBA", (100, 0, 255, 128)) == [177, 127, 255]
    assert constant("RGBA", (1, 2, 3, 0)) == [255, 255, 255]
    assert constant("RGBA", (1, 2, 3, 255)) == [1, 2, 3]
    assert constant("RGBA", (100, 0, 255, 128), "TIFF") == [177, 127, 255]
    assert constant("RGBA", (100, 0, 255, 0), "WEBP", lossless=True) == [255, 255, 255]


def test_a_transparent_colour_without_alpha_channel_is_white() -> None:
    assert constant("L", 77, transparency=77) == [255]
    assert constant("L", 77, transparency=78) == [77]
    assert constant("RGB", (1, 2, 3), transparency=(1, 2, 3)) == [255, 255, 255]
    assert constant("I;16", 25_700, transparency=25_700) == [255]


def palette(transparency: object = None) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    return encoded(image, **({} if transparency is None else {"transparency": transparency}))


def test_a_palette_gives_its_colours() -> None:
    assert native(palette())[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]


def test_a_palette_with_transparency_is_laid_on_white() -> None:
    assert native(palette(1))[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]
    assert native(palette(b"\x00\xff"))[:, 0].T.tolist() == [[255, 255, 255], [40, 50, 60]]


def test_ink_becomes_light() -> None:
    assert constant("CMYK", (0, 0, 0, 0), "TIFF") == [255, 255, 255]
    assert constant("CMYK", (255, 0, 0, 0), "TIFF") == [0, 255, 255]
    assert constant("CMYK", (0, 0, 0, 255), "JPEG") == [0, 0, 0]


def test_ycbcr_and_lab() -> None:
    assert constant("YCbCr", (200, 128, 128), "TIFF") == [200, 200, 200]
    assert constant("LAB", (255, 128, 128), "TIFF") == pytest.approx([255, 255, 255], abs=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    ramp = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    pixels = native(encoded(ramp, kind))
    assert len(np.unique(pixels)) == 256
    assert (pixels[0] == np.rint(ramp / 257)).all()


def test_sixteen_bit_colour_is_within_a_level_of_the_rule_for_grey() -> None:
    value = 0x7FFF
    row = b"\0" + struct.pack(">3H", value, 0xFFFF, 0)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)
    red, green, blue = native(data)[:, 0, 0].tolist()
    assert abs(red - round(value / 257)) <= 1
    assert (green, blue) == (255, 0)


def test_integers_of_32_bits_have_the_range_of_16() -> None:
    assert constant("I", 65_535, "TIFF") == [255]
    assert constant("I", 257, "TIFF") == [1]
    image = Image.fromarray(np.array([[-1, 70_000]], np.int32))
    assert reason(encoded(image, "TIFF")) == (
        "32-bit grey from -1 to 70,000; only 0 to 65,535 has a defined meaning"
    )


def test_floating_point_has_the_range_0_to_1() -> None:
    assert constant("F", 0.5, "TIFF") == [128]
    assert constant("F", 1.0, "TIFF") == [255]
    image = Image.fromarray(np.array([[0.0, 255.0]], np.float32))
    assert (
        reason(encoded(image, "TIFF"))
        == "floating-point grey from 0 to 255; only 0 to 1 has a defined meaning"
    )
    image = Image.fromarray(np.array([[0.0, np.nan]], np.float32))
    assert (
        reason(encoded(image, "TIFF"))
        == "floating-point grey from nan to nan; only 0 to 1 has a defined meaning"
    )


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_or_pages_the_first_is_taken(kind: str) -> None:
    first, second = (Image.new("RGB", (5, 3), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    exact = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **exact)
    assert native(data)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "kind, options, error",
    [
        ("GIF", {}, 60),
        ("BMP", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("PPM", {}, 0),
        ("JPEG2000", {}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 12),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 12),
    ],
)
def test_formats(kind: str, options: dict[str, object], error: int) -> None:
    rgb = photograph()
    pixels = native(encoded(rgb, kind, **options)).transpose(1, 2, 0)
    assert pixels.shape == rgb.shape
    assert np.abs(pixels.astype(int) - rgb).max() <= error


def test_wished_channels() -> None:
    colour, grey = encoded(Image.new("RGB", (2, 2), (255, 0, 0))), encoded(Image.new("L", (2, 2), 9))
    # Luma after ITU-R 601: 0.299 x 255 = 76.2
    assert decode(colour, 1, None, "crop").tolist() == [[[76, 76], [76, 76]]]
    assert decode(grey, 3, None, "crop").tolist() == [[[9, 9], [9, 9]]] * 3
    with pytest.raises(ValueError) as caught:
        decode(grey, 2, None, "zoom")
    assert str(caught.value) == "channels must be 1, 3 or None and fit crop, pad or stretch, got 2, 'zoom'"


def test_the_result_may_be_written_to() -> None:
    native(encoded(photograph()))[0, 0, 0] = 1


# ---- orientation -----------------------------------------------------------------------------------

# How an upright picture must be stored so that this orientation turns it upright again.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def oriented(upright: np.ndarray, orientation: int, kind: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(np.ascontiguousarray(STORED[orientation](upright)), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    "kind, options",
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True, "exact": True}),
    ],
)
def test_every_orientation_gives_the_upright_picture(orientation: int, kind: str, options: dict) -> None:
    upright = photograph(25, 16)
    data = oriented(upright, orientation, kind, **options)
    assert (native(data) == upright.transpose(2, 0, 1)).all()
    for fit in ("crop", "pad", "stretch"):
        assert (decode(data, 1, 9, fit) == decode(encoded(upright), 1, 9, fit)).all()


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_of_jpeg(orientation: int) -> None:
    # Only multiples of 16 can be turned without other losses than rounding.
    upright = photograph(48, 32)
    pixels = native(oriented(upright, orientation, "JPEG", quality=100, subsampling=0))
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - upright).max() <= 4


@pytest.mark.slow
@pytest.mark.parametrize("orientation", STORED)
def test_twenty_pictures_in_every_orientation(orientation: int) -> None:
    for seed in range(20):
        upright = photograph(17 + seed, 40 - seed, seed)
        data = oriented(upright, orientation, "PNG")
        assert (decode(data, 3, 16, "crop") == decode(encoded(upright), 3, 16, "crop")).all()


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    upright = photograph()
    assert (native(encoded(upright, exif=exif)) == upright.transpose(2, 0, 1)).all()


def test_damaged_metadata_leaves_the_picture_as_stored() -> None:
    upright = photograph()
    data = encoded(upright, exif=b"Exif\0\0neither II nor MM")
    assert (native(data) == upright.transpose(2, 0, 1)).all()


def test_a_turned_picture_keeps_its_transparent_colour() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(Image.new("RGB", (2, 3), (1, 2, 3)), exif=exif, transparency=(1, 2, 3))
    assert (native(data) == 255).all()


# ---- size ------------------------------------------------------------------------------------------


def test_crop_is_scaling_the_shorter_side_and_cutting_out_the_centre() -> None:
    rgb = photograph(48, 24)
    scaled = np.asarray(Image.fromarray(rgb).resize((16, 8), Image.Resampling.BILINEAR))
    assert (decode(encoded(rgb), 3, 8, "crop").transpose(1, 2, 0) == scaled[:, 4:12]).all()


def test_pad_adds_black_bars_and_keeps_proportions() -> None:
    pixels = decode(encoded(Image.new("L", (40, 20), 200)), 1, 8, "pad")[0]
    assert (pixels[2:6] == 200).all()
    assert (pixels[:2] == 0).all()
    assert (pixels[6:] == 0).all()
    assert decode(encoded(Image.new("L", (100, 1), 200)), 1, 8, "pad").max() == 200


def test_stretch_distorts() -> None:
    rgb = photograph(48, 24)
    scaled = np.asarray(Image.fromarray(rgb).resize((8, 8), Image.Resampling.BILINEAR))
    # Four times and more are shrunk by whole numbers first, which rounds once more.
    difference = decode(encoded(rgb), 3, 8, "stretch").transpose(1, 2, 0).astype(int) - scaled
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_shrinking_averages(kind: str, fit: str) -> None:
    # A checkerboard of single pixels is grey from afar; picking pixels would keep black or white.
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decode(encoded(board, kind), 1, 16, fit)
    assert np.abs(pixels.astype(int) - 127.5).max() < 2


def test_small_pictures_are_enlarged() -> None:
    assert decode(encoded(Image.new("L", (3, 5), 50)), 1, 32, "crop").tolist() == [[[50] * 32] * 32]


def test_transparency_is_laid_on_white_before_scaling() -> None:
    # Black under full transparency must not darken the border of the white square beside it.
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:, 5:] = 255
    assert (decode(encoded(rgba), 3, 8, "crop") == 255).all()


def test_a_large_jpeg_scaled_while_decoding_is_close_to_one_scaled_afterwards() -> None:
    fine = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(fine).resize((256, 192)), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).resize((32, 32), Image.Resampling.BILINEAR, box=(32, 0, 224, 192))
    difference = decode(data, 3, 32, "crop").transpose(1, 2, 0).astype(int) - np.asarray(whole)
    assert np.abs(difference).max() <= 16


# ---- refusals --------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def announced(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises this many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_what_is_no_image_is_called_by_its_name() -> None:
    assert reason(b"") == "empty, 0 bytes"
    assert reason(b"id,label\n1,cat\n") == "text, not an image"
    assert reason("naïve text".encode()) == "text, not an image"
    assert reason(b"\n <!DOCTYPE html><p>Not found</p>") == "a web page (HTML), not an image"
    assert reason(b"\xef\xbb\xbf<HTML>") == "a web page (HTML), not an image"
    assert reason(b'<?xml version="1.0"?><svg/>') == "a drawing (SVG), which has no pixels: convert it to PNG"
    assert reason(b"\0\0\0\x18ftypheic\0\0") == "a HEIC photograph, which is not read: convert it to JPEG"
    assert reason(b"\x7fELF\x02\x01\x01\0\0\0") == (
        "no image format that is read begins with the bytes 7f 45 4c 46 02 01 01 00"
    )


def test_postscript_is_never_interpreted() -> None:
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "text, not an image"


def test_a_png_cut_anywhere_is_refused() -> None:
    data = encoded(photograph())
    reasons = {reason(data[:length]) for length in range(8, len(data))}
    assert reasons == {"truncated PNG"}


def test_a_png_with_any_wrong_bit_after_its_signature_is_refused() -> None:
    # Pillow alone lets a wrong checksum of the pixels pass.
    data = encoded(photograph())
    for place in range(8, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        reason(bytes(damaged))


def test_the_wrong_checksum_is_named() -> None:
    data = bytearray(encoded(photograph()))
    data[data.index(b"IDAT") + 20] ^= 1
    assert reason(bytes(data)) == "damaged PNG: wrong checksum (CRC) of the part 'IDAT'"


def test_a_jpeg_cut_anywhere_is_refused() -> None:
    data = encoded(photograph(), "JPEG")
    reasons = {reason(data[:length]) for length in range(3, len(data))}
    assert reasons == {
        "truncated or damaged JPEG: the header is not complete",
        "damaged JPEG: cannot load this image",
        "truncated JPEG",
    }


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"])
def test_half_a_file_is_refused(kind: str) -> None:
    data = encoded(photograph(), kind)
    assert kind in reason(data[: len(data) // 2])
    assert kind in reason(data[: len(data) * 9 // 10])


def test_truncation_is_refused_with_and_without_size() -> None:
    data = encoded(photograph(512, 512), "JPEG")
    assert reason(data[:-100]) == reason(data[:-100], size=16) == "truncated JPEG"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_picture_too_large_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason(announced(8001, 8000)) == "8,001 x 8,000 pixels, more than the 64,000,000 that are decoded"
    # From 89 million on Pillow warns, from 179 million on it raises; neither may reach the user.
    assert (
        reason(announced(10_000, 10_000))
        == "10,000 x 10,000 pixels, more than the 64,000,000 that are decoded"
    )
    assert reason(announced(60_000, 60_000)) == "more than the 64,000,000 pixels that are decoded"
    assert MOST_PIXELS == 64_000_000


def test_pillow_is_left_as_it_was_and_does_not_speak() -> None:
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        inside = list(warnings.filters)
        reason(announced(10_000, 10_000))
        native(encoded(Image.new("P", (2, 2)), transparency=b"\x00"))
        reason(encoded(photograph(), "TIFF")[:-2200])
        assert warnings.filters == inside
    assert said == []
    assert warnings.filters == before


def test_any_damage_gives_pixels_or_a_reason() -> None:
    # 60,000 mutations were tried by hand; 1,500 keep watch.
    rng = np.random.default_rng(0)
    small = photograph(8, 8)
    sources = [encoded(small, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "JPEG2000")]
    refused = 0
    for turn in range(1_500):
        data = bytearray(sources[turn % len(sources)])
        for _ in range(3):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            assert decode(bytes(data), 3, 8, "crop").shape == (3, 8, 8)
        except Undecodable as problem:
            assert "0x" not in problem.reason
            refused += 1
    assert 200 < refused < 1_400


def test_a_parser_that_fails_in_its_own_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise EOFError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason(encoded(photograph(), "BMP")) == "damaged BMP: EOFError"


def test_a_colour_mode_without_a_rule_is_refused() -> None:
    with pytest.raises(Undecodable) as caught:
        module._eight_bit(_Odd())
    assert str(caught.value) == "the colour mode XYZ has no defined conversion"


class _Odd:
    mode = "XYZ"
    has_transparency_data = False

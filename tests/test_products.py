"""Pictures: thumbnails are pictures, tiles come back to the last bit."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.product_bytes import searched_bytes
from flightsim import products
from flightsim.errors import InputError

from .conftest import shared

BANDS = ("B02", "B03", "B04", "B08")
LOSSLESS = ("png16", "jpeg2000")


@pytest.fixture
def picture():
    rng = np.random.default_rng(5)
    smooth = np.cumsum(np.cumsum(rng.normal(0, 3, (4, 96, 128)), 1), 2)
    return np.clip(2000 + smooth, 0, 4095).astype(np.uint16)


@pytest.mark.parametrize("codec", LOSSLESS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiles_are_lossless(picture, dtype, codec):
    pixels = (picture >> 4).astype(dtype) if dtype is np.uint8 else picture
    back, bands = products.decode_tile(products.encode_tile(pixels, codec, BANDS))
    assert bands == BANDS
    assert back.dtype == dtype
    assert np.array_equal(back, pixels)


@pytest.mark.parametrize("codec", LOSSLESS)
def test_extreme_samples_survive(codec):
    pixels = np.array([[[0, 65535], [1, 32768]]], dtype=np.uint16)
    assert np.array_equal(products.decode_tile(products.encode_tile(pixels, codec))[0], pixels)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(LOSSLESS), st.sampled_from([np.uint8, np.uint16]), st.integers(1, 3), st.integers(1, 40),
    st.integers(1, 40), st.integers(0, 2**32),
)  # fmt: skip
def test_noise_of_any_shape_is_lossless(codec, dtype, bands, rows, columns, seed):
    """Noise over the full range is the worst case of a transform that must be reversible."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(dtype).max, (bands, rows, columns), dtype=dtype, endpoint=True)
    back, _ = products.decode_tile(products.encode_tile(pixels, codec))
    assert back.dtype == dtype
    assert np.array_equal(back, pixels)


@pytest.mark.parametrize("codec", LOSSLESS)
def test_a_real_tile_is_lossless_and_smaller_than_raw(codec):
    image = tifffile.imread(shared("data/flood-boadella-2020/after.tif"))
    pixels = np.ascontiguousarray(np.moveaxis(image, -1, 0)[:6, :128, :128]).astype(np.uint16)
    data = products.encode_tile(pixels, codec)
    assert np.array_equal(products.decode_tile(data)[0], pixels)
    assert len(data) < pixels.size * 12 / 8


def test_looking_for_runs_alone_costs_tiles_no_bytes():
    """Against the same samples as PNG with a full search: a real tile, and one that shows nothing at all."""
    image = tifffile.imread(shared("data/flood-boadella-2020/after.tif"))
    real = np.ascontiguousarray(np.moveaxis(image, -1, 0)[:6, :128, :128]).astype(np.uint16)
    for pixels in (real, np.full_like(real, 4095)):
        assert len(products.encode_tile(pixels, "png16")) < searched_bytes(pixels)


@pytest.mark.parametrize("codec", ["webp", "jpeg"])
def test_thumbnails_have_the_asked_size_and_look_like_the_picture(picture, codec):
    data = products.encode_thumbnail(picture, BANDS, 12, 64, codec, 85)
    seen = products.decode_picture(data)
    assert seen.shape == (48, 64, 3)
    truth = products.true_colour(picture, BANDS).reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(seen.astype(float) - truth).mean() < 12.0


def test_smaller_thumbnails_and_lower_quality_cost_less(picture):
    size = lambda px, q: len(products.encode_thumbnail(picture, BANDS, 12, px, "webp", q))  # noqa: E731
    assert size(32, 60) < size(64, 60) < size(128, 60)
    assert size(128, 30) < size(128, 90)


def test_small_pictures_are_not_enlarged(picture):
    assert products.decode_picture(products.encode_thumbnail(picture, BANDS, 12, 512, "webp", 60)).shape == (96, 128, 3)


def test_true_colour_takes_red_green_blue_by_name(picture):
    assert np.array_equal(
        products.true_colour(picture, BANDS), products.true_colour(picture[[2, 1, 0]], ("red", "green", "blue"))
    )
    assert products.true_colour(picture[:1], ("B08",)).shape == (96, 128)


def test_wrong_codecs_and_types_are_refused(picture):
    with pytest.raises(InputError, match="allowed are webp, jpeg"):
        products.encode_thumbnail(picture, BANDS, 12, 64, "gif", 60)
    with pytest.raises(InputError, match=r"radio\.tile_codec is 'zip'; allowed are png16, jpeg2000"):
        products.encode_tile(picture, "zip")
    for encode in (products.encode_tile, lambda p, codec: products.encode_thumbnail(p, BANDS, 12, 64, "webp", 60)):
        with pytest.raises(InputError, match="samples of type float64; products take uint8 or uint16"):
            encode(picture.astype(float), "png16")
        with pytest.raises(InputError, match=r"shape \(96, 128\); products take \(bands, rows, columns\)"):
            encode(picture[0], "png16")


def test_a_codec_that_pillow_lacks_is_refused_with_the_way_out(picture, monkeypatch):
    monkeypatch.setattr(products.features, "check", lambda feature: feature not in ("jpg_2000", "webp"))
    with pytest.raises(InputError, match="'jpeg2000', which the installed Pillow lacks; use png16"):
        products.encode_tile(picture, "jpeg2000")
    with pytest.raises(InputError, match="'webp', which the installed Pillow lacks; use jpeg"):
        products.encode_thumbnail(picture, BANDS, 12, 64, "webp", 60)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-10],
        lambda d: d + b"x",
        lambda d: b"XXXX" + d[4:],
        lambda d: d[:6],
        lambda d: d[:20],
        lambda d: d.replace(b'"sizes"', b'"sixes"'),
        lambda d: d.replace(b'"B02",', b""),
        lambda d: d.replace(b"IDAT", b"IDAX"),
    ],
)
def test_damaged_tiles_are_told(picture, damage):
    with pytest.raises(products.ProductError, match="bytes are no tile"):
        products.decode_tile(damage(products.encode_tile(picture, "png16", BANDS)))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["png16", "jpeg2000", "webp", "jpeg"]), st.integers(0, 10**6), st.integers(0, 255), st.booleans()
)
def test_flipped_and_cut_bytes_give_samples_or_the_own_error(codec, at, octet, cut):
    pixels = (np.arange(3 * 16 * 16, dtype=np.uint16) % 251).reshape(3, 16, 16)
    lossless = codec in LOSSLESS
    data = products.encode_tile(pixels, codec) if lossless else products.encode_thumbnail(pixels, (), 8, 16, codec, 60)
    at %= len(data)
    damaged = data[:at] if cut else data[:at] + bytes([octet]) + data[at + 1 :]
    try:
        seen = products.decode_tile(damaged)[0] if lossless else products.decode_picture(damaged)
    except products.ProductError:
        return
    assert seen.ndim == 3


def test_rubbish_is_no_picture():
    with pytest.raises(products.ProductError, match="7 bytes are no picture"):
        products.decode_picture(b"rubbish")

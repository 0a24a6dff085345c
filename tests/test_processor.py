"""Pictures as the vision tower takes them: layouts by hand, samples by other ways of reckoning."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim.errors import InputError
from payload.vlm import processor
from payload.vlm.processor import PillowProcessor, ProcessorSettings, fitted, layout, read_settings

#: As LFM2.5-VL saves them: patches of 16 px, 32 to 256 tokens, tiles of 512 px.
REAL = ProcessorSettings(min_image_tokens=32)
TINY = ProcessorSettings(min_image_tokens=16, max_image_tokens=16, tile_size=128, do_image_splitting=False)

sides = st.integers(1, 3000)


def noise(rows, cols, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, cols, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "whole", "grid"),
    [
        # 128 px are 4 x 4 tokens; 32 are wanted, so both sides grow by sqrt 2 to the next token: 6 x 6.
        ((128, 128), (192, 192), (1, 1)),
        ((512, 512), (512, 512), (1, 1)),
        # 300 x 500 px rounds to 9 x 16 tokens (500 / 32 = 15.6).
        ((300, 500), (288, 512), (1, 1)),
        # 600 px round to 608, 361 tokens: within twice 256, so one tile, shrunk to 256 tokens.
        ((600, 600), (512, 512), (1, 1)),
        # 768 x 704 px are 528 tokens, more than 512. Of 2 x 2 and 3 x 3, equally square, nine tiles would be empty.
        ((768, 704), (512, 480), (2, 2)),
        # Twice as wide as high: two columns, one row, or twice that if the picture fills half of it.
        ((600, 1200), (352, 704), (1, 2)),
        ((1000, 2000), (352, 704), (2, 4)),
        ((1500, 400), (960, 256), (4, 1)),
        ((1, 1), (192, 192), (1, 1)),
    ],
)
def test_layouts_reckoned_by_hand(size, whole, grid):
    cut = layout(*size, REAL)
    assert (cut.rows, cut.cols) == grid
    assert cut.whole_px == whole
    assert cut.thumbnail == cut.split == (grid != (1, 1))


@pytest.mark.parametrize("settings", [REAL, TINY, ProcessorSettings(tile_size=256, max_image_tokens=64, max_tiles=6)])
@given(rows=sides, cols=sides)
def test_any_size_gives_whole_tokens_and_not_too_many(settings, rows, cols):
    unit, cut = settings.unit_px, layout(rows, cols, settings)
    high, wide = (side // unit for side in cut.whole_px)
    assert (high * unit, wide * unit) == cut.whole_px
    # A side of less than one token is one token, so slivers may have more tokens than allowed; and a picture that
    # grows to the least number has at least that.
    grown = cut.whole_px[0] >= rows and cut.whole_px[1] >= cols and high * wide >= settings.min_image_tokens
    assert high * wide <= settings.max_image_tokens or min(high, wide) == 1 or grown
    assert settings.min_tiles <= cut.rows * cut.cols <= settings.max_tiles or not cut.split


@given(rows=st.integers(16, 1000), cols=st.integers(16, 1000))
def test_the_fit_of_a_turned_picture_is_turned(rows, cols):
    assert fitted(rows, cols, REAL) == fitted(cols, rows, REAL)[::-1]


def test_the_tiny_model_sees_its_pictures_as_they_are():
    seen = PillowProcessor(TINY)([noise(128, 128)])[0]
    assert seen.text == "<|image_start|>" + "<image>" * 16 + "<|image_end|>"
    assert [tile.shape for tile in seen.tiles] == [(8, 8)]
    from payload.train.model import patches

    assert np.abs(seen.tiles[0].values - patches(noise(128, 128)[None], 16)[0]).max() < 1e-6


@pytest.mark.parametrize("size", [(128, 128), (512, 512), (768, 704), (600, 1200)])
def test_patches_are_laid_out_row_by_row(size):
    picture = noise(*size)
    for tile in PillowProcessor(REAL)([picture])[0].tiles:
        rows, cols = tile.shape
        back = tile.values.reshape(rows, cols, 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(rows * 16, cols * 16, 3)
        assert back.min() >= -1 - 1e-6
        assert back.max() <= 1 + 1e-6
        if (rows * 16, cols * 16) == size:
            assert np.abs((back + 1) * 127.5 - picture).max() < 1e-3


def test_tiles_go_row_by_row_and_the_whole_comes_last():
    # A picture of 1024 x 1024 px needs no resize for its four tiles, each with a grey of its own.
    picture = np.zeros((1024, 1024, 3), np.uint8)
    for number, (row, col) in enumerate(np.ndindex(2, 2)):
        picture[row * 512 : row * 512 + 512, col * 512 : col * 512 + 512] = 50 * number
    seen = PillowProcessor(REAL.model_copy(update={"max_tiles": 4}))([picture])[0]
    greys = [(tile.values.mean() + 1) * 127.5 for tile in seen.tiles]
    assert greys == pytest.approx([0, 50, 100, 150, 75], abs=0.6)
    marks = ["<|img_row_1_col_1|>", "<|img_row_1_col_2|>", "<|img_row_2_col_1|>", "<|img_row_2_col_2|>"]
    assert seen.text == "<|image_start|>" + "".join(
        mark + "<image>" * 256 for mark in [*marks, "<|img_thumbnail|>"]
    ) + "<|image_end|>"  # fmt: skip


def test_without_thumbnail_or_marks():
    bare = REAL.model_copy(update={"use_thumbnail": False, "use_image_special_tokens": False})
    seen = PillowProcessor(bare)([noise(600, 1200)])[0]
    assert len(seen.tiles) == 2
    assert seen.text == "<image>" * 512


@pytest.mark.parametrize("size", [(300, 500), (600, 600), (97, 130)])
def test_resized_samples_are_those_of_torch_to_one_grey_level(size):
    """The stock processor resizes with torch's antialiased bilinear filter on bytes; here it is called directly."""
    torch = pytest.importorskip("torch", reason="SKIPPED LOUDLY: the independent resize needs the extra [vlm]")
    picture = noise(*size)
    tile = PillowProcessor(REAL)([picture])[0].tiles[0]
    rows, cols = tile.shape
    values = tile.values.reshape(rows, cols, 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(rows * 16, cols * 16, 3)
    other = torch.nn.functional.interpolate(
        torch.from_numpy(picture).permute(2, 0, 1)[None], size=(rows * 16, cols * 16), mode="bilinear", antialias=True
    )[0].permute(1, 2, 0).numpy()  # fmt: skip
    assert np.abs((values + 1) * 127.5 - other).max() < 1.01


def test_the_stock_processor_sees_the_same(tmp_path):
    pytest.importorskip("torchvision", reason="SKIPPED LOUDLY: torchvision is absent; parity with the stock processor")
    write(tmp_path, {"min_image_tokens": 32})
    pictures = [noise(*size, seed) for seed, size in enumerate([(128, 128), (300, 500), (600, 600), (768, 704)])]
    settings = read_settings(tmp_path)
    for own, stock in zip(
        PillowProcessor(settings)(pictures), processor.StockProcessor(tmp_path, settings)(pictures), strict=True
    ):
        assert own.text == stock.text
        assert [tile.shape for tile in own.tiles] == [tile.shape for tile in stock.tiles]
        assert max(np.abs(a.values - b.values).max() for a, b in zip(own.tiles, stock.tiles, strict=True)) <= 1 / 127


# -------------------------------------------------------------------- settings


def write(folder, image_processor, name="processor_config.json", nested=True, **more):
    told = {"image_processor_type": "Lfm2VlImageProcessorFast", **image_processor}
    (folder / name).write_text(json.dumps({"image_processor": told, **more} if nested else told))


def test_settings_lie_where_the_family_puts_them(tmp_path):
    write(tmp_path, {"min_image_tokens": 48, "crop_size": None}, "preprocessor_config.json", nested=False)
    assert read_settings(tmp_path).min_image_tokens == 48
    # A processor_config.json without nested settings says only how to mark pictures.
    (tmp_path / "processor_config.json").write_text('{"use_image_special_tokens": false}')
    assert read_settings(tmp_path) == ProcessorSettings(min_image_tokens=48, use_image_special_tokens=False)
    write(tmp_path, {"min_image_tokens": 32}, use_image_special_tokens=True)
    assert read_settings(tmp_path) == REAL


def test_a_profile_sets_the_number_of_tokens(tmp_path, monkeypatch):
    write(tmp_path, {"min_image_tokens": 64})
    monkeypatch.setattr(processor, "has_torchvision", lambda: False)
    opened = processor.open_processor(tmp_path, (16, 100))
    assert (opened.settings.min_image_tokens, opened.settings.max_image_tokens) == (16, 100)
    assert opened.name == "pillow"
    assert processor.open_processor(tmp_path).settings.min_image_tokens == 64


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "has no picture settings"),
        ("{", "is no JSON"),
        ("[]", "holds list, not an object"),
        ('{"image_processor": {"image_processor_type": "Qwen2VLImageProcessor"}}', "is 'Qwen2VLImageProcessor'; only"),
        ('{"image_processor": {"tile_size": 0}}', "do not fit: tile_size: Input should be greater"),
        ('{"image_processor": {"image_mean": [0.5]}}', "do not fit: image_mean"),
    ],
)
def test_broken_settings_are_named(tmp_path, content, told):
    if content is not None:
        (tmp_path / "processor_config.json").write_text(content)
    with pytest.raises(InputError, match=told):
        read_settings(tmp_path)

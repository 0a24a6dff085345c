"""The measures of realism on textures whose answer is known, and the fairness of the comparison."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import realism_classifier, realism_pairs, realism_tiles
from benchmarks.realism_classes import CLASSES, classes, dark_subtracted
from benchmarks.realism_features import correlation, features, spectral_slope, spectrum, texture
from benchmarks.realism_tiles import RGB, SOURCES, Picture, Source, like, side_needed, stretch_like

from .conftest import shared


def white(side: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((side, side)).astype(np.float32)


def power_law(exponent: float, side: int = 256, seed: int = 0) -> np.ndarray:
    """A random field whose power falls as frequency ** exponent."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij"))
    frequency[0, 0] = 1.0
    field = np.fft.ifft2(np.fft.fft2(white(side, seed)) * frequency ** (exponent / 2)).real
    return (field / field.std()).astype(np.float32)


def picture(source: Source, tiles: np.ndarray, *, eight_bit: bool = True) -> Picture:
    return Picture(source, "after", RGB, eight_bit, tiles)


# ---------------------------------------------------------------- features


@pytest.mark.parametrize(("exponent", "tolerance"), [(0.0, 0.1), (-1.0, 0.12), (-2.0, 0.12), (-3.0, 0.2)])
def test_the_spectral_slope_is_that_of_the_field(exponent, tolerance):
    """The tolerance is the scatter of one field of 256 px; the Hann window leaks little below f^-3."""
    field = white(256) if exponent == 0 else power_law(exponent)
    frequency, power, _ = spectrum(field)
    assert spectral_slope(frequency, power) == pytest.approx(exponent, abs=tolerance)


def test_the_spectrum_does_not_depend_on_a_linear_stretch():
    field = power_law(-2.0, 128)
    once, twice = texture(field), texture(field * 37.0 + 410.0)
    for name, value in once.items():
        assert twice[name] == pytest.approx(value, abs=2e-3), name


def test_a_flat_picture_has_finite_features():
    found = features(np.full((3, 64, 64), 0.2, np.float32), RGB)
    assert all(math.isfinite(value) for value in found.values())
    assert found["light.spectrum_slope"] == 0.0
    assert found["light.autocorrelation_1"] == 0.0


def test_white_noise_has_no_memory_and_the_kurtosis_of_a_gaussian():
    found = texture(white())
    assert all(abs(found[f"autocorrelation_{lag}"]) < 0.03 for lag in (1, 2, 4))
    assert 10 ** found["kurtosis"] == pytest.approx(3.0, abs=0.15)


def test_the_autocorrelation_length_of_a_smoothed_field_follows_the_filter():
    """Gaussian smoothing by s gives exp(-lag^2 / 4 s^2), which is 1/e at lag 2 s."""
    from scipy import ndimage

    lengths = [texture(ndimage.gaussian_filter(white(256), s))["autocorrelation_length_px"] for s in (1.5, 3.0)]
    assert lengths[0] == pytest.approx(3.0, abs=0.7)
    assert lengths[1] == pytest.approx(6.0, abs=1.2)


def test_squares_have_straighter_edges_at_right_angles_than_a_random_field():
    fields = np.kron(np.random.default_rng(1).random((8, 8)), np.ones((16, 16))).astype(np.float32)
    squares, cloud = texture(fields), texture(power_law(-3.0, 128))
    assert squares["edge_straight_4.0"] > cloud["edge_straight_4.0"] + 0.1
    assert squares["edge_fold_4"] > 0.5 > cloud["edge_fold_4"]


def test_correlation_is_pearsons():
    a, b = white(seed=1), white(seed=2)
    mixed = 0.6 * a + 0.8 * b
    assert correlation(a, mixed) == pytest.approx(np.corrcoef(a.ravel(), mixed.ravel())[0, 1], abs=1e-4)
    assert correlation(a, np.zeros_like(a)) == 0.0


def test_classes_of_textbook_spectra():
    """Typical reflectances: ASTER/USGS spectral libraries, rounded."""
    spectra = {
        "water": (0.05, 0.04, 0.03, 0.02, 0.01, 0.005),
        "forest": (0.02, 0.04, 0.02, 0.30, 0.13, 0.06),
        "crop_grass": (0.05, 0.09, 0.08, 0.35, 0.22, 0.13),
        "soil": (0.10, 0.15, 0.22, 0.30, 0.38, 0.32),
        "built": (0.17, 0.18, 0.20, 0.24, 0.25, 0.22),
        "snow_ice": (0.85, 0.85, 0.83, 0.75, 0.08, 0.06),
        "cloud": (0.55, 0.55, 0.56, 0.58, 0.40, 0.30),
    }
    planes = np.array(list(spectra.values()), np.float32)[:, :, None, None]
    assert [CLASSES[k] for k in classes(planes).ravel()] == list(spectra)


def test_dark_subtraction_takes_out_a_veil_of_haze():
    planes = np.random.default_rng(0).uniform(0.02, 0.3, (2, 6, 32, 32)).astype(np.float32)
    veil = planes + np.array([0.06, 0.04, 0.02, 0, 0, 0], np.float32)[None, :, None, None]
    np.testing.assert_allclose(dark_subtracted(veil), dark_subtracted(planes), atol=1e-5)


# ---------------------------------------------------------------- products


def test_a_matched_stretch_has_the_quantiles_of_the_real_picture():
    random = np.random.default_rng(0)
    real = np.clip(np.rint(random.gamma(4.0, 14.0, (5, 3, 64, 64))), 0, 255).astype(np.float32)
    made = random.gamma(2.0, 0.03, (5, 3, 64, 64)).astype(np.float32)
    out = stretch_like(made, picture(SOURCES[0], real))
    assert out.dtype == np.float32
    assert np.array_equal(out, np.rint(out))
    for k in range(3):
        low = max(0.02, float((real[:, k] <= 2).mean()) + 0.01)
        np.testing.assert_allclose(np.quantile(out[:, k], [low, 0.98]), np.quantile(real[:, k], [low, 0.98]), atol=1.0)


def test_a_matched_stretch_keeps_the_saturated_share():
    random = np.random.default_rng(0)
    real = np.clip(np.rint(random.normal(235, 25, (4, 3, 64, 64))), 0, 255).astype(np.float32)
    made = random.normal(0.2, 0.05, (4, 3, 64, 64)).astype(np.float32)
    out = stretch_like(made, picture(SOURCES[0], real))
    assert (out >= 250).mean() == pytest.approx((real >= 250).mean(), abs=0.03)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.case}")
def test_generated_tiles_take_the_grid_of_their_source(source):
    real = np.random.default_rng(0).integers(5, 240, (3, 3, 64, 64)).astype(np.float32)
    side = side_needed(source, 64)
    made = [power_law(-2.0, 256, k)[None, :side, :side].repeat(3, 0) for k in range(2)]
    out = like(made, RGB, picture(source, real))
    assert out.shape == (2, 3, 64, 64)
    if source.repeat_rows > 1:
        equal = (np.diff(out[0, 0], axis=0) == 0).all(axis=1).mean()
        assert equal == pytest.approx(1 - 1 / source.repeat_rows, abs=0.03)


def test_coarser_pixels_average_finer_ones():
    source = Source("x", "x", (), gsd_m=30.0)
    planes = np.arange(3 * 36, dtype=np.float32).reshape(3, 6, 6)
    np.testing.assert_allclose(
        realism_tiles.to_grid(planes, RGB, source, 2), planes.reshape(3, 2, 3, 2, 3).mean(axis=(2, 4)), rtol=1e-6
    )


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (0.5, 0.0), (0.3, -0.4)])
def test_the_shift_between_two_dates_is_found(shift):
    """Sub-pixel shifts are made in the Fourier domain; the estimate is coarse, a tenth of a pixel or two."""
    from scipy import ndimage

    field = power_law(-2.0, 128)
    moved = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(field), shift)).real.astype(np.float32)
    assert realism_pairs.shift_px(field, moved) == pytest.approx(math.hypot(*shift), abs=0.2)


def test_a_pair_of_equal_pictures_does_not_differ():
    tile = np.stack([power_law(-2.0, 64, k) + 5 for k in range(3)])
    found = realism_pairs.difference(tile, tile)
    assert found["correlation"] == pytest.approx(1.0, abs=1e-4)
    assert found["unexplained share"] == pytest.approx(0.0, abs=1e-3)
    assert found["contrast after/before"] == pytest.approx(1.0)
    assert realism_pairs.difference(tile, 2 * tile)["brightness after/before"] == pytest.approx(2.0)


# ---------------------------------------------------------------- folds and scores


def table(shift: float, seed: int = 0) -> realism_classifier.Table:
    random = np.random.default_rng(seed)
    n, places = 240, np.array([f"p{k // 2 % 6}" for k in range(240)])
    made = np.arange(n) % 2 == 1
    values = random.standard_normal((n, 5))
    values[made, 0] += shift
    names = ("light.skew", "light.kurtosis", "colour.B02.mean", "correlation.B03-B02", "correlation.fine.B03-B02")
    return realism_classifier.Table(values, made, places, np.arange(n), names)


def test_no_fold_trains_on_the_place_that_it_tests():
    place = np.array(["a", "b", "a", "c", "b", "c"])
    parts = realism_classifier.folds(place)
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(6))
    for train, test in parts:
        assert not set(place[train]) & set(place[test])


def test_pairs_of_one_place_share_it_in_the_list_of_sources():
    """Two Kansas cases show the same fields, two Dakota cases the same ponds, two Karabuk ones the same woods."""
    places = {source.case: source.place for source in SOURCES}
    for group in ("kansas", "karabuk", "wetland"):
        assert len({place for case, place in places.items() if group in case}) == 1


def test_each_place_counts_alike_and_so_do_real_and_generated():
    made = table(0.0)
    uneven = realism_classifier.Table(
        made.values[:200], made.generated[:200], made.place[:200], made.block[:200], made.names
    )
    weight = uneven.weight
    for kind in (False, True):
        assert weight[uneven.generated == kind].sum() == pytest.approx(100.0)
    for place in np.unique(uneven.place):
        kinds = {kind: weight[(uneven.place == place) & (uneven.generated == kind)].sum() for kind in (False, True)}
        present = [total for total in kinds.values() if total]
        assert max(present) == pytest.approx(min(present))


def test_merged_tables_count_the_real_tiles_once():
    one, two = table(1.0), table(1.0, seed=1)
    both = realism_classifier.merged([one, two])
    assert (~both.generated).sum() == (~one.generated).sum()
    assert both.generated.sum() == one.generated.sum() + two.generated.sum()
    np.testing.assert_array_equal(both.values[~both.generated], one.values[~one.generated])


def test_the_weighted_auc_is_the_share_of_ordered_pairs():
    random = np.random.default_rng(0)
    score, truth = random.integers(0, 6, 40).astype(float), random.random(40) < 0.4
    weight = random.integers(1, 4, 40).astype(float)
    total = above = 0.0
    for i in np.flatnonzero(truth):
        for j in np.flatnonzero(~truth):
            both = weight[i] * weight[j]
            total += both
            above += both * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    assert realism_classifier.weighted_auc(score, truth, weight) == pytest.approx(above / total)


def test_distances_agree_with_scipy():
    from scipy import stats

    random = np.random.default_rng(0)
    a, b = random.normal(0, 2, 300), random.normal(1, 1, 200)
    ks, w1 = realism_classifier.distances(a, np.ones(300), b, np.ones(200))
    assert ks == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert w1 == pytest.approx(stats.wasserstein_distance(a, b) / a.std())


def test_the_classifier_finds_a_difference_and_no_more_than_there_is():
    pytest.importorskip("sklearn", reason="scikit-learn of the dev extra is absent")
    for shift, low, high in ((0.0, 0.3, 0.7), (3.0, 0.9, 1.0)):
        outcomes, importance = realism_classifier.judge([table(shift), table(shift, 1)], draws=100)
        for outcome in outcomes:
            assert low <= outcome.auc <= high, outcome.line()
            assert outcome.auc_ci[0] <= outcome.auc <= outcome.auc_ci[1]
        if shift:
            assert max(importance, key=importance.get) == "light: skew"


def test_real_tiles_come_from_their_pictures_and_hold_data():
    root = shared("data")
    pictures = realism_tiles.real_pictures(RGB, 128, 3, root)
    assert {picture.source.place for picture in pictures} >= {"lausanne", "outback", "karabuk", "kansas", "boadella"}
    for one in pictures:
        assert 1 <= len(one.tiles) <= 3
        assert one.tiles.shape[1:] == (3, 128, 128)
        assert one.tiles.max() <= 255
        assert (one.tiles == 0).all(axis=1).mean() < 0.05

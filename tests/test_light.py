from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from flightsim import geodesy, light, radiation
from flightsim.errors import InputError
from flightsim.ground_track import find_overflights
from flightsim.light import ShadowModel
from flightsim.orbit import Propagator
from flightsim.radiation import Anomaly
from flightsim.scenario.models import Orbit

from .conftest import shared
from .test_orbit import HERE, reference, utc

DAY_S = 86400.0
OCTOBER = datetime(2026, 10, 2, tzinfo=UTC)
EQUINOX = datetime(2026, 3, 20, 14, 46, tzinfo=UTC)  # Astronomical Almanac: 2026 March 20, 14:46
MODELS = {
    "sun_centre": ShadowModel.POINT_SUN,
    "umbra": ShadowModel.UMBRA,
    "penumbra": ShadowModel.PENUMBRA,
    "umbra_wgs84": ShadowModel.UMBRA_OBLATE,
    "penumbra_wgs84": ShadowModel.PENUMBRA_OBLATE,
}
MUNICH = (48.137, 11.575)


def flying(
    altitude_km: float = 510.0, inclination_deg: float = 97.44, ltan: str = "22:30", start: datetime = OCTOBER
) -> Propagator:
    orbit = Orbit(altitude_km=altitude_km, inclination_deg=inclination_deg, ltan=ltan)
    return Propagator.from_config(orbit, start, HERE, 7 * DAY_S)


# Independent references. Orekit 13.1.9 and satkit; tolerances are those of the files.


@pytest.mark.parametrize("key", MODELS)
def test_shadow_edges_and_fractions_against_the_same_model(key: str) -> None:
    data, craft, start = reference("eclipse")
    end_s = (utc(data["window"]["end"]) - start).total_seconds()
    for row in data["satellites"]:
        ours = light.eclipses(craft[row["id"]], 0.0, end_s, MODELS[key])
        wanted = [
            tuple((utc(e[side]) - start).total_seconds() for side in ("entry", "exit")) for e in row["intervals"][key]
        ]
        assert len(ours) == len(wanted) == row["counts"][key]
        wrong_s = np.abs(np.array(ours) - np.array(wanted)).max()
        assert wrong_s < data["tolerance"]["same_model_s"]
        # Both sides solve the same geometry: a tenth of a second is 0.01 deg of the Sun, 0.8 km of flight. Another
        # model (5 s) or another Earth (13 s) would be noticed.
        assert wrong_s < 0.1
        fraction = light.eclipse_fraction(craft[row["id"]], 0.0, end_s, MODELS[key])
        assert abs(fraction - row["eclipse_fraction"][key]) < data["tolerance"]["eclipse_fraction_abs"]


def test_beta_against_the_reference() -> None:
    data, craft, start = reference("eclipse")
    end_s = (utc(data["window"]["end"]) - start).total_seconds()
    for row in data["satellites"]:
        # The Sun is good to 0.01 deg, and the reference has three digits.
        found = light.beta_deg(craft[row["id"]], [0.0, end_s])
        np.testing.assert_allclose(found, [row["beta_deg_start"], row["beta_deg_end"]], atol=0.011)


def test_access_windows_are_the_overflights_of_the_reference() -> None:
    data, craft, start = reference("ground")
    span = data["overflight_window"]
    end_s = (utc(span["end"]) - start).total_seconds()
    places = {place["id"]: (place["lat_deg"], place["lon_deg"]) for place in data["targets"]}
    compared = 0
    for name, propagator in craft.items():
        for target, place in places.items():
            wanted = [
                [(utc(row[side]) - start).total_seconds() for side in ("start", "end")]
                for row in data["overflights"]
                if (row["sat"], row["target"]) == (name, target)
            ]
            ours = light.access_windows(propagator, *place, span["max_off_nadir_deg"], 0.0, end_s)
            assert len(ours) == len(wanted)
            if wanted:
                assert np.abs(np.array(ours) - np.array(wanted)).max() < data["tolerance"]["overflight_s"]
            compared += len(wanted)
    assert compared == len(data["overflights"]) > 0


@pytest.mark.parametrize(
    ("altitude_km", "inclination_deg", "share"),
    [(550.0, 97.6, 0.05), (786.0, 98.6, 0.05), (420.0, 51.64, 0.07), (600.0, 6.0, 0.03)],
)
def test_share_of_the_anomaly_is_that_of_the_model_notes(
    altitude_km: float, inclination_deg: float, share: float
) -> None:
    shared("MODELS.md")
    # The notes round to a whole percent: half of one. A week evens out where the tracks lie.
    found = radiation.exposure(flying(altitude_km, inclination_deg), 0.0, 7 * DAY_S)
    assert found.share == pytest.approx(share, abs=0.005)
    # "5 to 9 crossings a day of 9 to 14 min"; mean lengths below 9 min are those of sun-synchronous orbits at 550 km.
    assert 4.9 <= found.crossings_per_day <= 9.1
    assert 8.5 * 60.0 < found.mean_s < 14.0 * 60.0


def test_eclipse_figures_of_the_model_notes() -> None:
    shared("MODELS.md")
    # "longest eclipse 37.8 % of [the orbit] at 500 km": asin(R / r) / pi at beta 0. The oblate height of the orbit
    # varies by some 8 km, each worth 0.06 %.
    noon = flying(500.0, 30.0, "12:00", EQUINOX)
    longest_s = max(end - begin for begin, end in light.eclipses(noon, 0.0, DAY_S))
    assert abs(light.beta_deg(noon, 0.0)) < 5.0
    assert noon.period_s == pytest.approx(94.6 * 60.0, abs=6.0)
    assert longest_s / noon.period_s == pytest.approx(0.378, abs=0.005)
    # "a 10:30 orbit 34 %": at the height of Sentinel-2, to a whole percent.
    morning = flying(786.0, 98.6, "22:30")
    assert light.eclipse_fraction(morning, 0.0, 14.0 * morning.period_s) == pytest.approx(0.34, abs=0.005)


# Closed forms.


@pytest.mark.parametrize("hour", [8, 10, 12, 14, 16, 18, 21])
@pytest.mark.parametrize("model", ShadowModel)
def test_eclipse_fraction_of_a_circle_has_a_closed_form(hour: int, model: ShadowModel) -> None:
    propagator = flying(600.0, 97.79, f"{hour:02d}:00")
    beta = np.radians(light.beta_deg(propagator, 7.5 * propagator.period_s))
    radius_km = geodesy.EQUATORIAL_RADIUS_KM + 600.0

    def closed(earth_km: float) -> float:
        ratio = np.sqrt(1.0 - (earth_km / radius_km) ** 2) / np.cos(beta)
        return float(np.arccos(min(ratio, 1.0)) / np.pi)

    # The closed form is a cylinder and a circle. The orbit's radius varies by 10 km, half a Sun at the limb is 13 km,
    # the poles are 21 km lower: an Earth smaller or larger by their sum bounds every model, also where it is grazed.
    # Whole revolutions: the rest of a day would weigh in with whatever part of a shadow it holds.
    found = light.eclipse_fraction(propagator, 0.0, 15.0 * propagator.period_s, model)
    assert closed(geodesy.EQUATORIAL_RADIUS_KM - 44.0) <= found <= closed(geodesy.EQUATORIAL_RADIUS_KM + 23.0)


@pytest.mark.parametrize("model", ShadowModel)
def test_no_eclipse_where_the_sun_is_above_the_pole_of_the_orbit(model: ShadowModel) -> None:
    # A polar orbit over the terminator at the equinox, where the true Sun is 7.5 min behind the mean one.
    propagator = flying(550.0, 90.0, "18:07", EQUINOX)
    beta = light.beta_deg(propagator, np.linspace(0.0, DAY_S, 50))
    assert beta.min() > 88.5
    assert light.eclipses(propagator, 0.0, DAY_S, model) == []
    assert light.eclipse_fraction(propagator, 0.0, DAY_S, model) == 0.0
    assert (light.sun_share(propagator, np.linspace(0.0, DAY_S, 500)) == 1.0).all()


@pytest.mark.parametrize("inclination_deg", [0.0, 180.0])
def test_equatorial_orbit_at_the_equinox_has_the_sun_in_its_plane(inclination_deg: float) -> None:
    propagator = flying(500.0, inclination_deg, "12:00", EQUINOX)
    # The declination of the Sun at the equinox, in a model good to 0.01 deg; it moves by 0.4 deg a day.
    assert abs(light.beta_deg(propagator, 0.0)) < 0.02
    assert 0.3 < abs(light.beta_deg(propagator, DAY_S)) < 0.5
    assert light.eclipse_fraction(propagator, 0.0, 15.0 * propagator.period_s) == pytest.approx(0.378, abs=0.005)
    # The plane of the equator has no ascending node.
    assert np.isnan(light.node_mean_time_h(propagator, 0.0))
    assert np.isnan(light.node_true_time_h(propagator, [0.0, 10.0])).all()


@pytest.mark.parametrize("ltan", ["00:15", "06:00", "10:30", "23:59"])
def test_local_time_of_the_node_is_the_stated_one_and_stays(ltan: str) -> None:
    propagator = flying(ltan=ltan)
    hours = int(ltan[:2]) + int(ltan[3:]) / 60.0
    found = light.node_mean_time_h(propagator, np.linspace(0.0, 7 * DAY_S, 30))
    away_h = np.mod(found - hours + 12.0, 24.0) - 12.0
    # Osculating plane: seconds; 97.44 deg is rounded, so the plane drifts within a minute a week.
    assert abs(away_h[0]) < 10.0 / 3600.0
    assert np.abs(away_h).max() * 60.0 < 1.5


def test_mean_and_true_local_time_differ_by_the_equation_of_time() -> None:
    # Astronomical Almanac, extremes of 2026: February 11, -14.2 min; November 3, +16.4 min; zero about April 15.
    for day, minutes in ((datetime(2026, 2, 11), -14.2), (datetime(2026, 11, 3), 16.4), (datetime(2026, 4, 15), 0.0)):
        propagator = flying(start=day.replace(tzinfo=UTC))
        away_h = light.node_true_time_h(propagator, 0.0) - light.node_mean_time_h(propagator, 0.0)
        assert 60.0 * away_h == pytest.approx(minutes, abs=0.2)


def test_start_in_another_zone_changes_nothing() -> None:
    from datetime import timezone

    here = flying()
    there = Propagator.from_config(
        Orbit(altitude_km=510.0, inclination_deg=97.44, ltan="22:30"),
        OCTOBER.astimezone(timezone(timedelta(hours=5, minutes=30))), HERE, DAY_S,
    )  # fmt: skip
    assert light.node_mean_time_h(there, 77.0) == light.node_mean_time_h(here, 77.0)


# Properties of shadows.


def test_shadows_lie_inside_one_another() -> None:
    propagator = flying()
    fraction = {model: light.eclipse_fraction(propagator, 0.0, DAY_S, model) for model in ShadowModel}
    assert fraction[ShadowModel.UMBRA] < fraction[ShadowModel.POINT_SUN] < fraction[ShadowModel.PENUMBRA]
    assert fraction[ShadowModel.UMBRA_OBLATE] < fraction[ShadowModel.UMBRA]
    assert fraction[ShadowModel.PENUMBRA_OBLATE] < fraction[ShadowModel.PENUMBRA]
    # Parallel rays meet the spacecraft under the same angle but for its parallax, 10 arc seconds.
    assert fraction[ShadowModel.CYLINDER] == pytest.approx(fraction[ShadowModel.POINT_SUN], abs=1e-4)


def test_the_point_sun_is_that_of_the_propagator() -> None:
    propagator = flying()
    # Each edge is solved to 0.1 ms.
    np.testing.assert_allclose(light.eclipses(propagator, 0.0, DAY_S), propagator.eclipses(0.0, DAY_S), atol=3e-4)


@pytest.mark.parametrize("model", ShadowModel)
def test_edges_do_not_depend_on_where_the_span_starts(model: ShadowModel) -> None:
    propagator = flying()
    spans = light.eclipses(propagator, 0.0, DAY_S, model)
    begin_s, end_s = spans[3][0] + 100.0, spans[6][1] - 100.0
    inner = light.eclipses(propagator, begin_s, end_s, model)
    assert inner[0][0] == begin_s
    assert inner[-1][1] == end_s
    np.testing.assert_allclose(np.ravel(inner)[1:-1], np.ravel(spans[3:7])[1:-1], atol=3e-4)
    assert light.eclipses(propagator, 5.0, 5.0, model) == []


def test_a_shallow_eclipse_between_two_samples_is_found_wherever_the_span_ends() -> None:
    orbit = Orbit(altitude_km=1000.0, inclination_deg=99.48, ltan="06:00")
    propagator = Propagator.from_config(orbit, OCTOBER + timedelta(days=108), HERE, DAY_S)
    begin_s, end_s = min(light.eclipses(propagator, 0.0, DAY_S), key=lambda span: span[1] - span[0])
    assert 5.0 < end_s - begin_s < 25.0
    for before_s in (1.0, 2.0, 14.0, 29.0, 31.0):
        for after_s in (1.0, 3.0, 40.0):
            found = light.eclipses(propagator, begin_s - before_s, end_s + after_s)
            np.testing.assert_allclose(found, [(begin_s, end_s)], atol=1e-3)


def test_share_of_the_sun_falls_from_one_to_zero_across_the_penumbra() -> None:
    propagator = flying()
    for oblate, outer, inner in (
        (False, ShadowModel.PENUMBRA, ShadowModel.UMBRA),
        (True, ShadowModel.PENUMBRA_OBLATE, ShadowModel.UMBRA_OBLATE),
    ):
        (touch_s, free_s), (gone_s, back_s) = (
            light.eclipses(propagator, 0.0, DAY_S, model)[3] for model in (outer, inner)
        )
        falling = light.sun_share(propagator, np.linspace(touch_s, gone_s, 200), oblate)
        assert falling[0] == pytest.approx(1.0, abs=1e-6)
        assert falling[-1] == pytest.approx(0.0, abs=1e-6)
        assert (np.diff(falling) <= 1e-9).all()
        # Half the disc is left where a nearly straight limb runs through its centre; the curve of the limb (radius
        # 68 deg against 0.27 deg) takes off a thousandth.
        assert falling[99:101].mean() == pytest.approx(0.5, abs=0.005)
        assert light.sun_share(propagator, touch_s - 1.0, oblate) == 1.0
        assert light.sun_share(propagator, 0.5 * (gone_s + back_s), oblate) == 0.0
        assert light.sun_share(propagator, free_s + 1.0, oblate) == 1.0
        # The integral over both borders is that of the point Sun, less than half a second off.
        time_s = np.linspace(touch_s, free_s, 20001)
        dark_s = np.trapezoid(1.0 - light.sun_share(propagator, time_s, oblate), time_s)
        assert dark_s == pytest.approx(0.5 * (free_s - touch_s + back_s - gone_s), abs=0.5)


def test_straight_behind_the_earth_every_limb_is_as_good() -> None:
    # Sun, Earth's centre and spacecraft on one line, along the equator and over a pole.
    for direction in (np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])):
        for model in ShadowModel:
            dark = light.shadow_margin_deg(-7000.0 * direction, 1.5e8 * direction, model)
            bright = light.shadow_margin_deg(7000.0 * direction, 1.5e8 * direction, model)
            # asin(6378.137 / 7000) = 65.7 deg, at the pole less 0.7 deg for the limb, and half a degree of Sun.
            assert -66.2 < dark < -65.0
            assert bright == pytest.approx(180.0 + dark, abs=0.6)


@pytest.mark.parametrize("share", [light.eclipse_fraction, radiation.exposure])
def test_a_share_needs_a_span(share: object) -> None:
    with pytest.raises(InputError, match="ends at 5 s, not after its start at 5 s"):
        share(flying(), 5.0, 5.0)  # type: ignore[operator]


def test_spans_below_finds_dips_and_bumps_of_a_known_function() -> None:
    # Dips of 8 s around every 700 s, and a bump of 4 s in the middle of a long one.
    def dips(time_s: np.ndarray) -> np.ndarray:
        return np.cos(2.0 * np.pi * (4.0 / 700.0)) - np.cos(2.0 * np.pi * (time_s - 350.0) / 700.0)

    found = light.spans_below(dips, 0.0, 7000.0)
    wanted = [(350.0 + 700.0 * k - 4.0, 350.0 + 700.0 * k + 4.0) for k in range(10)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    holes = light.spans_below(lambda time_s: -dips(time_s), 0.0, 7000.0)
    assert len(holes) == 11
    assert light.total_s(found) + light.total_s(holes) == pytest.approx(7000.0, abs=0.01)
    assert light.intersection(found, holes) == []
    assert light.intersection(found, [(0.0, 350.0)]) == [(pytest.approx(346.0, abs=1e-3), 350.0)]


# Access.


def test_access_lies_within_line_of_sight_and_its_limits() -> None:
    propagator = flying()
    spans = light.access_windows(propagator, *MUNICH, 35.0, 0.0, 7 * DAY_S, min_sun_elevation_deg=10.0)
    assert len(spans) >= 3
    for begin_s, end_s in spans:
        time_s = np.linspace(begin_s, end_s, 50)
        seen = light.target_view(propagator, *MUNICH, time_s)
        assert (seen.elevation_deg > 0.0).all()
        assert seen.off_nadir_deg.max() < 35.0 + 1e-3
        assert propagator.sun_elevation_deg(*MUNICH, time_s).min() > 10.0 - 1e-3
        np.testing.assert_allclose(
            light.incidence_deg(propagator, *MUNICH, time_s), 90.0 - seen.elevation_deg, atol=1e-9
        )
        # On a sphere sin(incidence) = sin(off-nadir) r / R; the flattening bends the vertical by up to 0.2 deg.
        radius_km = np.linalg.norm(propagator.itrf(time_s)[0], axis=-1)
        sphere = np.sin(np.radians(seen.off_nadir_deg)) * radius_km / np.linalg.norm(geodesy.geodetic_to_itrf(*MUNICH))
        np.testing.assert_allclose(np.degrees(np.arcsin(sphere)), 90.0 - seen.elevation_deg, atol=0.25)


def test_nothing_is_missed_beside_a_scan_by_the_second() -> None:
    propagator = flying()
    time_s = np.arange(0.0, 2 * DAY_S, 1.0)
    seen = light.target_view(propagator, *MUNICH, time_s)
    good = (seen.off_nadir_deg < 60.0) & (seen.elevation_deg > 0.0)
    assert good.any()
    spans = light.access_windows(propagator, *MUNICH, 60.0, 0.0, 2 * DAY_S)
    inside = np.zeros(len(time_s), dtype=bool)
    for begin_s, end_s in spans:
        inside |= (time_s >= begin_s) & (time_s <= end_s)
    np.testing.assert_array_equal(inside, good)


@pytest.mark.parametrize("place", [MUNICH, (0.0, 0.0), (78.2, 15.4), (-89.9, 100.0), (90.0, 0.0), (-5.0, 179.99)])
@pytest.mark.parametrize("limit_deg", [5.0, 25.0, 45.0])
def test_access_agrees_with_the_overflights_of_the_capture_plan(place: tuple[float, float], limit_deg: float) -> None:
    # Another search (least central angle, Hermite pieces, bisection): its orbit is within 0.5 m of ours, its edges
    # move by more only where the limit is grazed.
    propagator = flying()
    other = find_overflights(propagator, [place[0]], [place[1]], limit_deg, 0.0, 3 * DAY_S)
    spans = light.access_windows(propagator, *place, limit_deg, 0.0, 3 * DAY_S)
    assert len(spans) == len(other)
    if spans:
        np.testing.assert_allclose(np.array(spans), np.stack([other.start_s, other.end_s], axis=-1), atol=0.05)


def test_narrower_limits_never_lengthen_access() -> None:
    propagator = flying()
    by_angle = [
        light.access_windows(propagator, *MUNICH, limit_deg, 0.0, 7 * DAY_S)
        for limit_deg in (0.5, 5.0, 15.0, 30.0, 50.0, 70.0, 90.0)
    ]
    lengths_s = [light.total_s(spans) for spans in by_angle]
    assert lengths_s == sorted(lengths_s)
    assert lengths_s[-1] > lengths_s[2] > 0.0
    for narrow, wide in itertools.pairwise(by_angle):
        # Each narrow window lies inside a wide one (an edge is good to 0.1 ms).
        assert light.total_s(light.intersection(narrow, wide)) == pytest.approx(light.total_s(narrow), abs=0.01)
    by_sun = [
        light.total_s(light.access_windows(propagator, *MUNICH, 50.0, 0.0, 7 * DAY_S, sun_deg))
        for sun_deg in (-90.0, -10.0, 0.0, 20.0, 35.0, 90.0)
    ]
    assert by_sun == sorted(by_sun, reverse=True)
    assert by_sun[0] > by_sun[3] > 0.0
    assert by_sun[-1] == 0.0


def test_beyond_the_horizon_the_limit_is_the_horizon() -> None:
    # Off-nadir at the horizon of 510 km is 68 deg: 90 deg allows what line of sight allows.
    propagator = flying()
    whole = light.access_windows(propagator, *MUNICH, 90.0, 0.0, DAY_S)
    assert len(whole) >= 4
    for edge_s in np.ravel(whole):
        seen = light.target_view(propagator, *MUNICH, np.array([edge_s]))
        assert seen.elevation_deg[0] == pytest.approx(0.0, abs=1e-3)
    higher = light.access_windows(propagator, *MUNICH, 90.0, 0.0, DAY_S, min_elevation_deg=20.0)
    assert 0.0 < light.total_s(higher) < light.total_s(whole)


@pytest.mark.parametrize(
    ("inclination_deg", "sees", "misses"), [(0.0, 0.0, 60.0), (180.0, 0.0, -90.0), (90.0, 90.0, None)]
)
def test_polar_and_equatorial_orbits(inclination_deg: float, sees: float, misses: float | None) -> None:
    propagator = flying(500.0, inclination_deg, "12:00")
    spans = light.access_windows(propagator, sees, 20.0, 30.0, 0.0, DAY_S)
    # Once a revolution; over the equator the Earth's turning takes one off, or adds one.
    assert 13 <= len(spans) <= 17
    if misses is not None:
        assert light.access_windows(propagator, misses, 20.0, 60.0, 0.0, DAY_S) == []
    assert radiation.exposure(propagator, 0.0, DAY_S).share == pytest.approx(0.048 if misses is None else 0.0, abs=0.01)
    assert np.isfinite(light.beta_deg(propagator, 0.0))


def test_access_is_cut_at_the_ends_of_the_span() -> None:
    propagator = flying()
    begin_s, end_s = light.access_windows(propagator, *MUNICH, 60.0, 0.0, DAY_S)[0]
    assert light.access_windows(propagator, *MUNICH, 60.0, begin_s + 3.0, end_s - 3.0) == [(begin_s + 3.0, end_s - 3.0)]
    assert light.access_windows(propagator, *MUNICH, 60.0, end_s + 1.0, end_s + 2.0) == []
    assert light.access_windows(propagator, *MUNICH, 60.0, 9.0, 9.0) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lat_deg": 91.0}, r"lat_deg is 91; it must lie in \[-90, 90\]"),
        ({"lon_deg": float("nan")}, "lon_deg is nan"),
        ({"max_off_nadir_deg": 0.0}, r"max_off_nadir_deg is 0; it must lie in \(0, 90\]"),
        ({"min_sun_elevation_deg": 91.0}, "min_sun_elevation_deg is 91"),
        ({"min_elevation_deg": -1.0}, r"min_elevation_deg is -1; it must lie in \[0, 90\)"),
    ],
)
def test_limits_out_of_range_are_told(wrong: dict[str, float], words: str) -> None:
    given = {"lat_deg": 48.0, "lon_deg": 11.0, "max_off_nadir_deg": 30.0, "start_s": 0.0, "end_s": 9.0, **wrong}
    with pytest.raises(InputError, match=words):
        light.access_windows(flying(), **given)


# The anomaly.


def test_crossings_separate_inside_from_outside() -> None:
    propagator = flying()
    spans = np.array(radiation.crossings(propagator, 0.0, DAY_S))
    inner = spans[(spans[:, 0] > 0.0) & (spans[:, 1] < DAY_S)]
    assert len(inner) >= 5
    for shift_s, sides in ((0.01, (True, False)), (-0.01, (False, True))):
        for column, inside in enumerate(sides):
            lat, lon, _ = propagator.subpoints(inner[:, column] + shift_s)
            # The equation of the ellipse, written once more.
            value = ((lat + 25.0) / 22.0) ** 2 + ((lon + 45.0) / 45.0) ** 2
            assert ((value < 1.0) == inside).all()


def test_no_crossing_is_missed_beside_a_scan_by_the_second() -> None:
    # 23 deg north is never inside; a corner of the ellipse is cut for seconds now and then.
    propagator = flying(420.0, 51.64)
    time_s = np.arange(0.0, 3 * DAY_S, 1.0)
    lat, lon, _ = propagator.subpoints(time_s)
    inside = Anomaly().margin(lat, lon) < 0.0
    spans = radiation.crossings(propagator, 0.0, 3 * DAY_S)
    assert np.sum(inside[1:] & ~inside[:-1]) + inside[0] == len(spans)
    # A scan by the second is off by half of one at each edge at random.
    assert light.total_s(spans) == pytest.approx(inside.sum(), abs=len(spans))


def test_an_anomaly_across_the_date_line_is_one() -> None:
    over = Anomaly(lat_deg=0.0, lon_deg=180.0, half_lat_deg=20.0, half_lon_deg=30.0)
    moved = Anomaly(lat_deg=0.0, lon_deg=-180.0, half_lat_deg=20.0, half_lon_deg=30.0)
    lon = np.linspace(-180.0, 180.0, 721)
    np.testing.assert_allclose(over.margin(0.0, lon), moved.margin(0.0, lon), atol=1e-12)
    np.testing.assert_array_equal(over.margin(0.0, lon) < 0.0, np.abs(lon) > 150.0)
    propagator = flying(500.0, 0.0)
    # An equatorial orbit meets it once a revolution relative to the ground, 60 of 360 deg.
    assert radiation.exposure(propagator, 0.0, DAY_S, over).share == pytest.approx(1.0 / 6.0, abs=0.01)


def test_a_wider_anomaly_never_takes_less() -> None:
    propagator = flying()
    shares = [
        radiation.exposure(propagator, 0.0, DAY_S, Anomaly(half_lat_deg=size, half_lon_deg=2.0 * size)).share
        for size in (2.0, 10.0, 22.0, 40.0, 60.0)
    ]
    assert shares == sorted(shares)
    assert shares[-1] > 0.2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"half_lat_deg": 70.0}, "must end before the poles"),
        ({"half_lat_deg": 0.0}, "half_lat_deg is 0"),
        ({"half_lon_deg": 180.0}, r"half_lon_deg is 180; it must lie in \(0, 180\)"),
        ({"lon_deg": float("nan")}, "lon_deg is nan"),
    ],
)
def test_an_impossible_anomaly_is_told(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Anomaly(**wrong)

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from flightsim.errors import InputError
from flightsim.link import Constant, ConstantConfig
from flightsim.protocols import LinkModel
from flightsim.scenario.models import ShippedStations, Station
from flightsim.stations import resolve, shipped_names


def test_constant_has_one_rate_at_every_elevation_and_range() -> None:
    model = Constant(ConstantConfig.model_validate({"rate": "4.8 Mbit/s"}))
    assert isinstance(model, LinkModel)
    np.testing.assert_array_equal(model.rate_bps(np.array([5.0, 90.0]), np.array([2200.0, 510.0])), [4.8e6, 4.8e6])
    assert model.rate_bps(np.zeros((0,)), np.zeros((0,))).shape == (0,)


def test_usual_settings() -> None:
    model = Constant(ConstantConfig.model_validate({"rate": "1 Mbit/s", "acquisition": "12s", "release": 3}))
    assert (model.config.rate, model.acquisition_s, model.release_s) == (1e6, 12.0, 3.0)
    model = Constant(ConstantConfig())
    assert (model.config.rate, model.acquisition_s, model.release_s) == (1e6, 10.0, 5.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": "-1 Mbit/s"}, "greater than 0"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": "1 Mbps"}, "unknown unit 'Mbps'"),
        ({"rate": "nan"}, "write a number with a unit"),
        ({"acquisition": "-1s"}, "greater than or equal to 0"),
        ({"release": "5 apples"}, "unknown unit 'apples'"),
        ({"speed": 1}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ConstantConfig.model_validate(settings)


def test_shipped_stations_lie_where_their_names_say() -> None:
    assert len(shipped_names()) >= 20
    assert all(name.isascii() for name in shipped_names())
    places = {s.name: s for s in resolve(ShippedStations(use="shipped", names=shipped_names(), elevation_mask_deg=7))}
    assert all(s.elevation_mask_deg == 7 for s in places.values())
    assert places["Svalbard"].lat_deg == max(s.lat_deg for s in places.values())
    assert places["Troll"].lat_deg == min(s.lat_deg for s in places.values())
    assert abs(places["Singapore"].lat_deg) < 2
    assert places["Hawaii"].lon_deg < -150
    assert places["Awarua"].lon_deg > 160


def test_order_and_own_stations_are_kept() -> None:
    names = ("Tromso", "Awarua")
    assert tuple(s.name for s in resolve(ShippedStations(use="shipped", names=names))) == names
    mine = (Station(name="mine", lat_deg=1.0, lon_deg=2.0),)
    assert resolve(mine) == mine


def test_unknown_station_gets_the_nearest_name_and_the_list() -> None:
    with pytest.raises(InputError, match=r"no shipped station 'svalbord'; did you mean 'Svalbard'\? All are: Awarua, "):
        resolve(ShippedStations(use="shipped", names=("svalbord",)))
    with pytest.raises(InputError, match=r"no shipped station 'xyzzy'; all are: Awarua, "):
        resolve(ShippedStations(use="shipped", names=("xyzzy",)))

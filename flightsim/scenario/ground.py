"""Stations, the passes that are bought over them, and the downlink."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Strict, Use
from .quantities import BitPerSecond, Duration, Seconds, Share, Utc


class Station(Strict):
    """A ground station on WGS-84."""

    name: str
    """Name in tables and events."""
    lat_deg: Annotated[float, Field(ge=-90, le=90)]
    """Geodetic latitude, north positive. [deg]"""
    lon_deg: Annotated[float, Field(ge=-180, le=180)]
    """Longitude, east positive. [deg]"""
    altitude_m: Annotated[float, Field(ge=-500, le=9000)] = 0.0
    """Height above the ellipsoid. [m]"""
    elevation_mask_deg: Annotated[float, Field(ge=0, lt=90)] = 5.0
    """Lowest elevation of a contact. [deg]"""


class ShippedStations(Strict):
    """Stations that flightsim ships."""

    use: Literal["shipped"]
    """shipped"""
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the shipped table."""
    elevation_mask_deg: Annotated[float, Field(ge=0, lt=90)] = 5.0
    """Lowest elevation of a contact. [deg]"""


class Closure(Strict):
    """A time in which a station serves nobody, known in advance."""

    station: str
    """Name of the station."""
    start: Utc
    """First instant, UTC."""
    end: Utc
    """Last instant, UTC."""

    @model_validator(mode="after")
    def _in_order(self) -> Closure:
        if self.end <= self.start:
            raise ValueError(f"ends at {self.end:%Y-%m-%dT%H:%M:%SZ}, not after its start")
        return self


class Booking(Strict):
    """Which passes are bought."""

    passes_per_day: Annotated[int, Field(ge=0)] | None = None
    """Contacts per UTC day and spacecraft over all stations, chosen for the longest total; no limit when absent."""
    minimum_s: Annotated[Seconds, Field(ge=0)] = 0.0
    """Shortest pass worth booking. [s]"""
    handover_s: Annotated[Seconds, Field(ge=0)] = 60.0
    """Time an antenna or a spacecraft needs between two contacts. [s]"""
    closed: tuple[Closure, ...] = ()
    """Outages and maintenance known in advance: no pass that touches one is booked."""
    price: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Price of a booked pass by station, in any currency; default stands for those not named, else they are free."""

    def price_of(self, station: str) -> float:
        """Price of a booked pass over a station, in the currency of the scenario."""
        return self.price.get(station, self.price.get("default", 0.0))


class Weather(Strict):
    """Weather over the stations, for links with a budget; clear sky when absent."""

    correlation: Annotated[Duration, Field(ge=600, le=30 * 86400)] = 3 * 3600.0
    """Time after which weather has forgotten all but 1/e of what it was; one value holds for a whole pass."""
    table: str | None = None
    """File of attenuation statistics, relative to the scenario. Default: that of the shipped stations."""


class Link(Use):
    """The downlink."""

    use: str = "vcm"
    """Name of a link model."""
    booking: Booking = Booking()
    """Which passes are used."""
    payload_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the channel that is the payload's."""
    # Sentinel-2's telecommand rate (ESA): "S band 64 kbit/s up".
    uplink_rate: Annotated[BitPerSecond, Field(gt=0)] = 64e3
    """Rate from the ground in booked contacts; reference pictures, ACK and NAK need it. [bit/s]"""
    weather: Weather | None = None
    """Weather over the stations: {} takes the shipped statistics. Absent: clear sky."""
    keyhole_deg: Annotated[float, Field(gt=0, le=90)] | None = None
    """Elevation above which an azimuth-elevation mount cannot follow, and nothing is carried. [deg]"""
    pass_failure: Share = 0.0
    """Probability that a booked pass carries nothing, which nobody aboard knows before."""

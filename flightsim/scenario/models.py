"""The scenario format: what a YAML file may say. The text below each field is its published description."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from ..domain import SCHEMA_IDS
from ..errors import InputError
from .base import Strict, Use
from .energy import PowerChoice, ThermalChoice
from .ground import Booking, Closure, Link, ShippedStations, Station, Weather
from .quantities import Bytes, Duration, Seconds, Share, Utc


class Orbit(Strict):
    """Exactly one of: tle, tle_file with name, or altitude_km with inclination_deg and ltan."""

    tle: Annotated[tuple[str, ...], Field(min_length=2, max_length=3)] | None = None
    """Two lines (or name and two lines) of a two-line element set."""
    tle_file: str | None = None
    """File of element sets, relative to the scenario; or the bare name of a shipped one."""
    name: str | None = None
    """Which element set of tle_file."""
    altitude_km: Annotated[float, Field(ge=160, le=2000)] | None = None
    """Mean altitude of a circular orbit above the equatorial radius 6378.137 km. [km]"""
    inclination_deg: Annotated[float, Field(ge=0, le=180)] | None = None
    """Inclination. [deg]"""
    ltan: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    """Local mean solar time of the ascending node, "HH:MM"."""
    max_element_age: Duration = 30 * 86400.0
    """Longest allowed distance between the epoch of the elements and the run."""

    @model_validator(mode="after")
    def _one_kind(self) -> Orbit:
        kinds = [self.tle is not None, self.tle_file is not None, self.altitude_km is not None]
        if sum(kinds) != 1:
            raise ValueError("needs exactly one of tle, tle_file or altitude_km")
        if self.altitude_km is not None and (self.inclination_deg is None or self.ltan is None):
            raise ValueError("altitude_km goes with inclination_deg and ltan")
        return self


class Camera(Strict):
    """What is imaged, and how."""

    plan: Literal["targets", "strip"] = "targets"
    """targets: areas of interest within roll; strip: everything under the track."""
    gsd_m: Annotated[float, Field(gt=0, le=1000)] = 10.0
    """Ground sample distance at nadir. [m]"""
    tile_px: Annotated[int, Field(ge=8, le=4096)] = 128
    """Rows and columns of a tile. [px]"""
    swath_km: Annotated[float, Field(gt=0, le=500)] = 10.24
    """Width of the strip, for plan: strip. [km]"""
    max_roll_deg: Annotated[float, Field(ge=0, le=60)] = 25.0
    """Largest angle off nadir for plan: targets. [deg]"""
    cadence_s: Annotated[float, Field(gt=0)] = 9.0
    """Shortest time between two frames (plan: targets: two areas; plan: strip: two rows of tiles). [s]"""
    bands: tuple[str, ...] = ("B02", "B03", "B04", "B08", "B11", "B12")
    """Band names, Sentinel-2 spelling."""
    bits: Annotated[int, Field(ge=1, le=16)] = 12
    """Significant bits of a sample."""
    min_sun_elevation_deg: Annotated[float, Field(ge=-90, le=90)] = 10.0
    """Lowest Sun at the ground for an image. [deg]"""
    max_looks: Annotated[int, Field(ge=1, le=100)] = 2
    """Pictures of one shot of the plan, the nominal one included, that a policy may have taken (REIMAGE)."""


class References(Strict):
    """The onboard "before" pictures."""

    age: Duration = 30 * 86400.0
    """Age of the store's pictures at the start."""
    source: Literal["scene", "uplink"] = "scene"
    """scene: loaded before the start; uplink: uplinked once per place, counted in B_up."""
    refresh: Literal["visit", "never"] = "visit"
    """visit: the store keeps the last nominal image of a place; never: it keeps the first."""


class Compute(Strict):
    """The payload computer."""

    use: str | None = None
    """A shipped profile: orin-nx-15w, raspberry-pi-5, myriad-2."""
    seconds_per_question: Annotated[float, Field(ge=0)] | None = None
    """Service time of one question. [s] Default: the payload's own profile."""
    energy_j: Annotated[float, Field(ge=0)] | None = None
    """Energy of one question. [J] Default: the profile's, else 0."""
    load_s: Annotated[float, Field(ge=0)] | None = None
    """Time to load the model at the start. [s] Default: the profile's, else 0."""
    ram_bytes: Bytes | None = None
    """Memory that the model needs. [B] Default: the profile's."""
    prefilter_s: Annotated[float, Field(ge=0)] | None = None
    """Time of the quality gate per tile. [s] Default: the profile's, else 0."""
    duty: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Largest share of each orbit that the processor may work."""
    queue: Annotated[int, Field(ge=0)] | None = None
    """Waiting tiles without the one in service; unlimited by default."""


class Thumbnail(Strict):
    """How a thumbnail is encoded."""

    size_px: Annotated[int, Field(ge=8, le=2048)] = 128
    """Longer side. [px]"""
    codec: Literal["webp", "jpeg"] = "webp"
    """Image codec."""
    quality: Annotated[int, Field(ge=1, le=100)] = 60
    """Codec quality."""


class Cfdp(Strict):
    """CFDP settings (CCSDS 727.0-B-5); the times are engineering values."""

    class_: Literal[1, 2] = Field(1, alias="class")
    """1: unacknowledged, a file with a lost frame is lost; 2: acknowledged, what was lost is sent again."""
    entity_id_bytes: Literal[1, 2, 4, 8] = 1
    """Width of entity ids. [B]"""
    sequence_bytes: Literal[1, 2, 4, 8] = 2
    """Width of transaction sequence numbers. [B]"""
    crc: bool = True
    """Whether each PDU carries a CRC."""
    segment_bytes: Annotated[int, Field(ge=16, le=65000)] = 1000
    """File data per PDU. [B]"""
    round_trip: Annotated[Seconds, Field(ge=0)] = 1.0
    """Class 2: from the last byte of a transmission on the ground to the ground's answer on board. [s]"""
    timer: Annotated[Seconds, Field(gt=0)] = 10.0
    """Class 2: when either end speaks again without an answer; frozen outside contacts. [s]"""
    attempts: Annotated[int, Field(ge=0, le=1000)] = 8
    """Class 2: how often something of a file is sent again, in either direction, before the file is given up."""
    return_loss: Share = 0.0
    """Class 2: share of the ground's answers that are lost. [-]"""

    @model_validator(mode="after")
    def _patient(self) -> Cfdp:
        if self.timer < self.round_trip:
            raise ValueError("timer must not be shorter than round_trip: every file would be sent again")
        return self


class Radio(Strict):
    """Products and their way onto the wire."""

    frames: Literal[
        "TM_1115_RS5",
        "TM_1115_OCF_RS5",
        "AOS_1115_MPDU_RS5",
        "AOS_892_MPDU_RS4",
        "TM_223_FECF_CONV",
        "TM_1115_RS5_CONV",
    ] = "TM_1115_RS5"
    """Transfer frame format."""
    cfdp: Cfdp = Cfdp()
    """File delivery protocol."""
    verdict_batch: Annotated[int, Field(ge=1, le=10000)] = 64
    """Verdict records that share one file; it closes earlier when a contact begins."""
    thumbnail: Thumbnail = Thumbnail()
    """Default thumbnail."""
    tile_codec: Literal["png16", "jpeg2000"] = "png16"
    """Lossless codec of full tiles."""


class Spacecraft(Strict):
    """One spacecraft."""

    name: str = "sat"
    """Name in tables and events."""
    orbit: Orbit
    """Where it flies."""
    camera: Camera = Camera()
    """What it images."""
    references: References = References()
    """Its reference store."""
    storage_bytes: Annotated[Bytes, Field(ge=0)] = 8 * 2**30
    """Mass memory for raw captures and products. [B]"""
    radio: Radio = Radio()
    """Products, files, frames."""
    power: PowerChoice = "off"
    """Array, battery, loads and modes; off, the default: no limit."""
    thermal: ThermalChoice = "off"
    """Temperature of the payload computer; off, the default: always cool. Needs power."""
    compute: Compute = Compute()
    """The payload computer."""


class Clouds(Strict):
    """Cloud over a block of 8x8 tiles on a day, for scenes without pixels."""

    mean_fraction: Share = 0.0
    """Mean cloud cover. [-]"""
    estimate_sd: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Standard deviation of the on-board estimate. [-]"""


class Targets(Strict):
    """Areas of interest and what happens in them."""

    use: str = "world"
    """world: a seeded list of areas over land; archive: the cases of the scene archive; or a GeoJSON file."""
    count: Annotated[int, Field(ge=1, le=10000)] = 36
    """Areas of the world list."""
    lat_range_deg: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-90, le=90)]] = (-60.0, 70.0)
    """Latitudes of the world list. [deg]"""
    land: bool = True
    """Only tiles over land."""
    prevalence: dict[str, Share] = Field(default_factory=lambda: {"default": 0.03})
    """Share of questions that are positive, per schema id, or default."""
    event_duration: Duration = 10 * 86400.0
    """How long an event stays visible."""
    event_tiles: Annotated[float, Field(ge=1, le=64)] = 6.0
    """Mean tiles that an event covers within its block."""
    clouds: Clouds = Clouds()
    """Cloud cover."""

    @field_validator("prevalence")
    @classmethod
    def _known_schemas(cls, value: dict[str, float]) -> dict[str, float]:
        for key in value:
            if key != "default" and key not in SCHEMA_IDS:
                raise ValueError(f"unknown schema '{key}'; allowed are default, {', '.join(SCHEMA_IDS)}")
        return value

    def prevalence_of(self, schema_id: str) -> float:
        """Stated prevalence of a schema. [-]"""
        return self.prevalence.get(schema_id, self.prevalence.get("default", 0.0))


class Payload(Use):
    """What looks at tiles."""

    use: str = "confusion"
    """Name of a payload."""
    schemas: Annotated[tuple[str, ...], Field(min_length=1)] = SCHEMA_IDS
    """Questions asked of each tile."""

    @field_validator("schemas")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [v for v in value if v not in SCHEMA_IDS]
        if unknown:
            raise ValueError(f"unknown schema '{unknown[0]}'; allowed are {', '.join(SCHEMA_IDS)}")
        if len(set(value)) != len(value):
            raise ValueError("a schema is listed twice")
        return value


class PolicyUse(Use):
    """What decides."""

    use: str = "budgeted"
    """Name of a policy, or "./file.py:Class"."""
    fallback: str = "verdicts_only"
    """Policy that decides when this one fails."""
    isolation: Literal["inline", "process"] | None = None
    """process: a subprocess over JSON lines; default for files. inline: trusted code."""
    watchdog_s: Annotated[Seconds, Field(gt=0)] = 30.0
    """Wall-clock limit of one decision of a process. [s]"""


class Evaluation(Strict):
    """How the run is judged; nothing here reaches the spacecraft."""

    deadline: Duration | None = None
    """Useful age of a product; later is late."""
    grace: Duration = 86400.0
    """Time after the last capture in which products may still come down."""
    reader: Use = Use(use="analyst")
    """Who reads products on the ground."""
    base_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Prevalence to re-weight F1 to."""
    costs: dict[Literal["miss", "false_alarm", "review_minutes"], float] = Field(default_factory=dict)
    """Utility: cost of a miss, of a false alarm, minutes per reviewed product."""


def _once(path: str, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"{path}: the name '{name}' is given twice; each needs its own")


def _one_or_list(value: object) -> str:
    return "[list]" if isinstance(value, (list, tuple)) else "[one]"


class Scenario(Strict):
    """One question to the simulator."""

    name: str
    """Name in tables and folders."""
    start: Utc
    """First instant, UTC."""
    duration: Annotated[Duration, Field(gt=0, le=366 * 86400)]
    """Captures stop at start + duration."""
    seed: Annotated[int, Field(ge=0)] = 0
    """All randomness follows from it."""
    spacecraft: Annotated[
        Annotated[Spacecraft, Tag("[one]")]
        | Annotated[Annotated[tuple[Spacecraft, ...], Field(min_length=1)], Tag("[list]")],
        Discriminator(_one_or_list),
    ]
    """One spacecraft, or a list."""
    targets: Targets = Targets()
    """Areas of interest, events, clouds."""
    stations: Annotated[
        Annotated[Annotated[tuple[Station, ...], Field(min_length=1)], Tag("[list]")]
        | Annotated[ShippedStations, Tag("[one]")],
        Discriminator(_one_or_list),
    ]
    """Ground stations."""
    link: Link = Link()
    """The downlink."""
    scenes: Use = Use(use="sizes")
    """Where pictures, sizes and truth come from."""
    payload: Payload = Payload()
    """What looks at tiles."""
    policy: PolicyUse = PolicyUse()
    """What decides."""
    faults: tuple[Use, ...] = ()
    """Faults to inject."""
    evaluation: Evaluation = Evaluation()
    """How the run is judged."""

    _folder: Path = Path(".")

    @model_validator(mode="after")
    def _fits(self) -> Scenario:
        _check_fit(self)
        return self

    @property
    def folder(self) -> Path:
        """Folder that relative paths of the scenario start from: where its file lies."""
        return self._folder

    def copy_with(self, **changes: Any) -> Scenario:
        """The same scenario with some top-level values changed; these and what must fit together are checked.

        Raises
        ------
        InputError
            A value is out of its range.
        """
        checked = {}
        for name, value in changes.items():
            field = type(self).model_fields[name]
            wanted: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            adapter: TypeAdapter[Any] = TypeAdapter(wanted)
            try:
                checked[name] = adapter.validate_python(value)
            except ValidationError as error:
                told = "; ".join(fault["msg"] for fault in error.errors())
                raise InputError(f"{name} is {value!r}: {told}.") from error
        changed = self.model_copy(update=checked)
        try:
            _check_fit(changed)
        except ValueError as error:
            raise InputError(f"{error}.") from error
        return changed

    @property
    def craft(self) -> tuple[Spacecraft, ...]:
        """The spacecraft as a tuple, one or several."""
        return self.spacecraft if isinstance(self.spacecraft, tuple) else (self.spacecraft,)

    @property
    def duration_s(self) -> float:
        """Captures stop after so long. [s]"""
        return self.duration

    @property
    def horizon_s(self) -> float:
        """The run ends after so long: duration plus grace. [s]"""
        return self.duration + self.evaluation.grace


def _check_fit(scenario: Scenario) -> None:
    """What must fit together; a message begins with the path of its place."""
    for craft in scenario.craft:
        if craft.camera.plan == "strip" and scenario.scenes.use != "sizes":
            raise ValueError(
                f"spacecraft.camera.plan: strip goes with scenes: {{use: sizes}}, not with {scenario.scenes.use}"
            )
        if craft.thermal != "off" and craft.power == "off":
            raise ValueError("spacecraft.thermal: needs spacecraft.power, since its heat is what the loads draw")
    given = scenario.stations
    names = given.names if isinstance(given, ShippedStations) else tuple(station.name for station in given)
    booking = scenario.link.booking
    named = [(f"link.booking.closed.{k}.station", closure.station) for k, closure in enumerate(booking.closed)]
    for path, name in [*named, *((f"link.booking.price.{key}", key) for key in booking.price if key != "default")]:
        if name not in names:
            raise ValueError(f"{path}: there is no station '{name}' in the scenario, only {', '.join(names)}")
    _once("spacecraft", [craft.name for craft in scenario.craft])
    if isinstance(scenario.stations, ShippedStations):
        _once("stations.names", scenario.stations.names)
    else:
        _once("stations", [station.name for station in scenario.stations])


__all__ = [
    "Booking", "Camera", "Cfdp", "Closure", "Clouds", "Compute", "Evaluation", "Link", "Orbit", "Payload",
    "PolicyUse", "Radio", "References", "Scenario", "ShippedStations", "Spacecraft", "Station", "Targets", "Thumbnail",
    "Use", "Weather",
]  # fmt: skip

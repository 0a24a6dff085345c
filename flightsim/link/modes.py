"""Link modes: ``ccm`` has one MODCOD, ``vcm`` what the prediction allows, ``acm`` what is received."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Field

from . import radio
from .budget import Floats, Numbers
from .codes import Modcod, worth_having
from .loss import frame_loss
from .radio import ChoiceConfig, Loss, RadioConfig

Indices = NDArray[np.intp]

#: Index of "no MODCOD": the transmitter is on and nothing is carried.
NONE = -1


class CcmConfig(RadioConfig):
    """A radio with one MODCOD."""

    modcod: Annotated[str, AfterValidator(radio.known_modcod)] = "QPSK 1/2"
    """The MODCOD: a name of DVB-S2 or of CCSDS 131.0. See `flightsim link` for which one closes at the mask."""


class AcmConfig(ChoiceConfig):
    """A radio that follows the received Es/N0."""

    # The receiver's report replaces the allowance for what a prediction cannot know.
    required_margin_db: Loss = 1.0
    """Margin above threshold and implementation loss without which a MODCOD is not used. [dB]"""
    hysteresis_db: Annotated[float, Field(ge=0, le=20)] = 0.5
    """What must be there beyond the margin before a better MODCOD is taken. [dB]"""


class RadioLink(ABC):
    """What the link modes share: budget, table, and the rate of a chosen MODCOD.

    Notes
    -----
    ``excess_loss_db`` is a loss that the link's settings do not contain, such as the weather of a pass; ``vcm`` and
    ``ccm`` do not see it coming. Below its ideal threshold plus implementation loss a MODCOD loses frames, within a few
    tenths of a decibel all of them; from there on it carries nothing.
    """

    Config: ClassVar[type[BaseModel]]
    #: What must be there beyond the required margin before a better MODCOD is taken. [dB]
    hysteresis_db = 0.0

    def __init__(self, config: RadioConfig, modcods: tuple[Modcod, ...]) -> None:
        self.radio = config
        self.acquisition_s = config.acquisition
        self.release_s = config.release
        #: What is chosen from, by rising threshold and efficiency.
        self.modcods = worth_having(modcods)
        self._threshold_db = np.array([modcod.es_n0_db for modcod in self.modcods])
        # The last row is that of NONE.
        self._efficiency = np.array([*(modcod.efficiency for modcod in self.modcods), 0.0])

    @abstractmethod
    def chosen(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Indices:
        """Rows of ``modcods`` that are sent, -1 for none, shape (n,)."""

    def usable_es_n0_db(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Floats:
        """Es/N0 less implementation loss, which a threshold is compared with, shape (n,). [dB]"""
        received_db = radio.es_over_n0_db(self.radio, elevation_deg, range_km, excess_loss_db)
        return np.asarray(received_db - self.radio.implementation_loss_db)

    def margin_db(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Floats:
        """Margin of what is sent over its threshold; NaN where nothing is, shape (n,). [dB]"""
        sent = self.chosen(elevation_deg, range_km, excess_loss_db)
        usable_db = self.usable_es_n0_db(elevation_deg, range_km, excess_loss_db)
        return np.where(sent == NONE, np.nan, usable_db - self._threshold_db[sent])

    def rate_bps(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Floats:
        """Information rate of transfer-frame bits, shape (n,). [bit/s]"""
        sent = self.chosen(elevation_deg, range_km, excess_loss_db)
        heard = (sent != NONE) & (self._frame_loss(sent, elevation_deg, range_km, excess_loss_db) < 1.0)
        return np.asarray(np.where(heard, self._efficiency[sent] * self.radio.symbol_rate, 0.0))

    def frame_loss(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Floats:
        """Share of transfer frames lost, 0 where nothing is sent, shape (n,). [-]"""
        sent = self.chosen(elevation_deg, range_km, excess_loss_db)
        return self._frame_loss(sent, elevation_deg, range_km, excess_loss_db)

    def _frame_loss(self, sent: Indices, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers) -> Floats:
        usable_db = self.usable_es_n0_db(elevation_deg, range_km, excess_loss_db)
        margin_db = np.where(sent == NONE, np.nan, usable_db - self._threshold_db[sent])
        return frame_loss(margin_db, self.radio.frame_loss_at_threshold, self.radio.frame_loss_slope_per_db)

    def _best(self, usable_db: Floats, margin_db: float) -> Indices:
        """The most efficient MODCOD that closes with a margin; thresholds and efficiencies rise together."""
        return np.asarray(np.searchsorted(self._threshold_db, usable_db - margin_db, side="right") - 1, dtype=np.intp)


class Ccm(RadioLink):
    """One MODCOD; it carries nothing where it does not close with the required margin.

    Notes
    -----
    The budget decides at each elevation, so a MODCOD that does not close at the mask starts later in the pass.
    """

    Config: ClassVar[type[BaseModel]] = CcmConfig

    def __init__(self, config: CcmConfig) -> None:
        super().__init__(config, radio.modcods_of((config.modcod,), config.pilots))

    def chosen(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Indices:
        """Row 0 where the prediction closes with the required margin, else -1, shape (n,)."""
        return _planned(self, elevation_deg, range_km, excess_loss_db)


class Vcm(RadioLink):
    """The most efficient MODCOD that closes with the required margin by the predicted geometry; no return link."""

    Config: ClassVar[type[BaseModel]] = ChoiceConfig

    def __init__(self, config: ChoiceConfig) -> None:
        super().__init__(config, radio.modcods_of(config.modcods, config.pilots))

    def chosen(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Indices:
        """Rows of ``modcods`` by prediction, -1 for none, shape (n,)."""
        return _planned(self, elevation_deg, range_km, excess_loss_db)


def _planned(link: RadioLink, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers) -> Indices:
    """Choice without the excess loss, which only the shape is taken from."""
    best = link._best(link.usable_es_n0_db(elevation_deg, range_km), link.radio.required_margin_db)
    shape = np.broadcast_shapes(best.shape, np.shape(excess_loss_db))
    return np.asarray(np.broadcast_to(best, shape))


class Acm(RadioLink):
    """The MODCOD follows what is received: up only with hysteresis, down as soon as the margin is gone.

    Notes
    -----
    The elevations of one call are one pass in time order; each choice depends on the one before. The first is made as
    a step up from nothing. The report of the receiver is taken to be there at every sample: delay and loss of the
    return link, some 0.1 s, are left out; the samples lie seconds apart.
    """

    Config: ClassVar[type[BaseModel]] = AcmConfig

    def __init__(self, config: AcmConfig) -> None:
        super().__init__(config, radio.modcods_of(config.modcods, config.pilots))
        self.hysteresis_db = config.hysteresis_db

    def chosen(self, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0) -> Indices:
        """Rows of ``modcods`` in the order of the samples, -1 for none, shape (n,)."""
        usable_db = np.atleast_1d(self.usable_es_n0_db(elevation_deg, range_km, excess_loss_db))
        margin_db = self.radio.required_margin_db
        closing = self._best(usable_db, margin_db)
        tempting = self._best(usable_db, margin_db + self.hysteresis_db)
        rows = np.empty(len(usable_db), dtype=np.intp)
        current = NONE
        for k, (most, better) in enumerate(zip(closing.tolist(), tempting.tolist(), strict=True)):
            # Rows rise in threshold, so whatever lies at or below ``most`` closes with the margin.
            current = max(min(current, most), better)
            rows[k] = current
        return rows

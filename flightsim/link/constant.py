"""The link with one rate, whatever the geometry."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ..protocols import PluginConfig
from ..scenario.quantities import BitPerSecond, Seconds, Share


class ConstantConfig(PluginConfig):
    """Settings of a link with one rate."""

    rate: Annotated[BitPerSecond, Field(gt=0)] = 1e6
    """Information rate of transfer-frame bits before coding. [bit/s]"""
    acquisition: Annotated[Seconds, Field(ge=0)] = 10.0
    """Time after AOS in which nothing is carried. [s]"""
    release: Annotated[Seconds, Field(ge=0)] = 5.0
    """Time before LOS in which nothing is carried. [s]"""
    frame_loss: Share = 0.0
    """Share of transfer frames that are lost. [-]"""


class Constant:
    """One information rate above the mask, whatever the elevation and the range.

    Notes
    -----
    This is a radio with one MODCOD whose link closes everywhere above the elevation mask; nothing here checks
    that it does.
    """

    Config: ClassVar[type[BaseModel]] = ConstantConfig

    def __init__(self, config: ConstantConfig) -> None:
        self.config = config
        self.acquisition_s = config.acquisition
        self.release_s = config.release

    def rate_bps(self, elevation_deg: NDArray[np.float64], range_km: NDArray[np.float64]) -> NDArray[np.float64]:
        """Information rate, shape (n,). [bit/s]"""
        return np.full(np.broadcast(elevation_deg, range_km).shape, self.config.rate)

    def frame_loss(self, elevation_deg: NDArray[np.float64], range_km: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of transfer frames lost, shape (n,). [-]"""
        return np.full(np.broadcast(elevation_deg, range_km).shape, self.config.frame_loss)

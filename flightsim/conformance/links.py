"""What holds for any link model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .report import Broken, CheckResult, Report


def check_link(make: Callable[[], Any]) -> list[CheckResult]:
    """What holds for a link model; ``make`` gives a fresh one at each call."""
    report = Report()
    elevation_deg = np.linspace(0.0, 90.0, 181)
    range_km = np.linspace(2600.0, 500.0, 181)

    def sound() -> str:
        link = make()
        rate_bps = np.asarray(link.rate_bps(elevation_deg.copy(), range_km.copy()))
        if rate_bps.shape != elevation_deg.shape:
            raise Broken(f"rate_bps gives shape {rate_bps.shape} for {elevation_deg.shape}")
        if not np.all(np.isfinite(rate_bps)) or np.any(rate_bps < 0.0):
            raise Broken("rates must be finite and not negative [bit/s]")
        if np.asarray(link.rate_bps(np.zeros(0), np.zeros(0))).shape != (0,):
            raise Broken("no elevations must give no rates")
        return f"{rate_bps.min():.4g} to {rate_bps.max():.4g} bit/s"

    def pointwise() -> str:
        link = make()
        together = np.asarray(link.rate_bps(elevation_deg, range_km))
        alone = [float(link.rate_bps(elevation_deg[k : k + 1], range_km[k : k + 1])[0]) for k in (0, 90, 180)]
        if not np.array_equal(together[[0, 90, 180]], alone):
            raise Broken("a rate depends on which others are asked with it")
        return ""

    def losses() -> str:
        loss = np.asarray(make().frame_loss(elevation_deg.copy(), range_km.copy()))
        if loss.shape != elevation_deg.shape:
            raise Broken(f"frame_loss gives shape {loss.shape} for {elevation_deg.shape}")
        if not np.all((loss >= 0.0) & (loss <= 1.0)):
            raise Broken("the loss of frames must be a share from 0 to 1")
        return f"at most {loss.max():.3g} of frames lost"

    if report.add("rates are finite, not negative, one for each elevation", sound):
        report.add("a rate does not depend on its neighbours", pointwise)
        if hasattr(make(), "frame_loss"):
            report.add("the loss of frames is a share", losses)
    return report.results

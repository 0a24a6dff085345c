"""How many transfer frames a link loses: a steep function of its margin."""

from __future__ import annotations

import numpy as np

from .budget import Floats, Numbers

#: Below one frame in 1e12 no run meets a loss, and none is drawn: at 1 Gbit/s that is one frame in 100 days.
NEGLIGIBLE = 1e-12


def frame_loss(margin_db: Numbers, at_threshold: float, slope_per_db: float) -> Floats:
    """Share of transfer frames lost at margins over a MODCOD's threshold, shape as given. [-]

    Parameters
    ----------
    margin_db
        Es/N0 less implementation loss less threshold; NaN, where nothing is sent, gives 0. [dB]
    at_threshold
        Share of frames lost at a margin of 0 dB; with 0 the code is a step. [-]
    slope_per_db
        Decades by which the loss falls with each decibel. [1/dB]

    Notes
    -----
    min(1, at_threshold 10^(-slope margin)): the waterfall of a code with its logarithm taken as straight, without an
    error floor. The concatenated code of CCSDS 131.0 goes from 1e-5 at its threshold to 2e-3 codewords 0.2 dB below,
    by Monte Carlo of decoders: 11.5 decades a decibel. That the same holds for every other MODCOD, and for frames of
    several codewords, is an engineering value.
    """
    margin = np.asarray(margin_db, dtype=np.float64)
    if at_threshold == 0.0:
        return np.where(margin < 0.0, 1.0, 0.0)
    exponent = np.log10(at_threshold) - slope_per_db * np.nan_to_num(margin)
    loss = 10.0 ** np.clip(exponent, -300.0, 0.0)
    return np.where(np.isnan(margin) | (loss < NEGLIGIBLE), 0.0, loss)

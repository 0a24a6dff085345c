"""Shared fixtures: where the independent references and the real imagery lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from .vlm_models import tiny_folder as tiny_folder

# The same cases on every machine, and no complaint about a busy one: a slow draw is not a wrong answer.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
# Hypothesis would also draw numbers that it finds in the modules loaded so far. Which those are depends on the tests
# that this process ran before, and with work stealing on how busy the machine is. There is no setting for it.
providers.is_local_module_file = lambda path: False

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared(relative: str) -> Path:
    """Path of a reference or data file; skips the test, saying so, where the folder is absent."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(
            f"SKIPPED LOUDLY: ../shared/{relative} is absent; this check against an independent source did not run"
        )
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Verdicts of tests are stored apart from those of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield

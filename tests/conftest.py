"""Shared fixtures: where the independent references and the real imagery lie."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared(relative: str) -> Path:
    """Path of a reference or data file; skips the test, saying so, where the folder is absent."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(
            f"SKIPPED LOUDLY: ../shared/{relative} is absent; this check against an independent source did not run"
        )
    return path

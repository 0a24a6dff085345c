"""Notebooks run, call the public API only, and are stored without outputs."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_stored_clean(path, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        source = "".join(cell["source"])
        assert not re.search(r"flightsim\.\w+ import|from flightsim\.|import flightsim\.", source)
        exec(compile(source, str(path), "exec"), names)
    assert "delivered" in capsys.readouterr().out
    import matplotlib.pyplot as plt

    plt.close("all")

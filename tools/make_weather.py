"""Make flightsim/_data/weather/weather.json: `python tools/make_weather.py`.

It holds the attenuation over every shipped station. Needs `pip install 'flightsim[weather]'`; takes a minute. Source:
itur 0.4.0 (MIT licence), which holds the recommendations and the maps of ITU-R. A table of a scenario's own stations:
`python -m flightsim.link.itur_table SCENARIO weather.json`.
"""

from __future__ import annotations

from pathlib import Path

from flightsim.link.itur_table import table_text
from flightsim.scenario.models import ShippedStations
from flightsim.stations import resolve, shipped_names

TARGET = Path(__file__).resolve().parents[1] / "flightsim" / "_data" / "weather" / "weather.json"

if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    stations = resolve(ShippedStations(use="shipped", names=shipped_names()))
    TARGET.write_text(table_text(stations), encoding="utf-8")
    print(f"{len(stations)} stations, {TARGET.stat().st_size:,} B")

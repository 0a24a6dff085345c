"""Worst deviations of orbit and contacts from the independent references, beside the tolerance."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from flightsim import geodesy, light
from flightsim.orbit import Propagator
from flightsim.passes import find_passes
from flightsim.scenario.models import Orbit, Station

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference"
#: The shadow models of the reference, and ours.
SHADOWS = {
    "sun_centre": light.ShadowModel.POINT_SUN,
    "umbra": light.ShadowModel.UMBRA,
    "penumbra": light.ShadowModel.PENUMBRA,
    "umbra_wgs84": light.ShadowModel.UMBRA_OBLATE,
    "penumbra_wgs84": light.ShadowModel.PENUMBRA_OBLATE,
}


def since(text: str, start: datetime) -> float:
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - start).total_seconds()


def load(name: str) -> tuple[dict[str, Any], datetime, dict[str, Propagator]]:
    data = json.loads((REFERENCE / f"{name}.json").read_text(encoding="utf-8"))
    start = datetime.fromisoformat((data.get("start") or data["window"]["start"]).replace("Z", "+00:00"))
    craft = {
        s["id"]: Propagator.from_config(Orbit(tle=(s["line1"], s["line2"])), start, Path(), 3 * 86400.0)
        for s in data["satellites"]
    }
    return data, start, craft


def passes() -> None:
    data, start, craft = load("contacts")
    end_s = since(data["window"]["end"], start)
    worst = dict.fromkeys(("AOS s", "LOS s", "TCA s", "highest elevation deg", "range at TCA km"), 0.0)
    count = 0
    for name, mask in itertools.product(craft, data["masks_deg"]):
        stations = [
            Station(
                name=s["id"],
                lat_deg=s["lat_deg"],
                lon_deg=s["lon_deg"],
                altitude_m=s["alt_m"],
                elevation_mask_deg=mask,
            )
            for s in data["stations"]
        ]
        ours = find_passes(craft[name], name, stations, 0.0, end_s)
        for station in stations:
            mine = [w for w in ours if w.station == station.name]
            theirs = [
                r for r in data["passes"] if (r["sat"], r["station"], r["mask_deg"]) == (name, station.name, mask)
            ]
            for window, row in zip(mine, theirs, strict=True):
                count += 1
                tca_s = since(row["tca"], start)
                position = craft[name].itrf(tca_s)[0]
                look = geodesy.look_angles(position, station.lat_deg, station.lon_deg, station.altitude_m / 1e3)
                found = {
                    "AOS s": window.aos_s - since(row["aos"], start),
                    "LOS s": window.los_s - since(row["los"], start),
                    "TCA s": window.tca_s - tca_s,
                    "highest elevation deg": window.max_elevation_deg - row["max_el_deg"],
                    "range at TCA km": float(look[2]) - row["range_tca_km"],
                }
                worst = {key: max(worst[key], abs(float(value))) for key, value in found.items()}
    print(f"passes, Orekit, n = {count}: " + ", ".join(f"{key} {value:.4f}" for key, value in worst.items()))


def ground() -> None:
    data, start, craft = load("ground")
    metres, sun = 0.0, 0.0
    for row in data["subpoints"]:
        time_s = since(row["t"], start)
        lat, lon, _ = craft[row["sat"]].subpoints(time_s)
        apart = geodesy.geodetic_to_itrf(lat, lon) - geodesy.geodetic_to_itrf(row["lat_deg"], row["lon_deg"])
        metres = max(metres, 1e3 * float(np.linalg.norm(apart)))
        elevation = craft[row["sat"]].sun_elevation_deg(row["lat_deg"], row["lon_deg"], time_s)
        sun = max(sun, abs(float(elevation) - row["sun_elevation_deg"]))
    print(f"sub-satellite points, Orekit, n = {len(data['subpoints'])}: {metres:.1f} m, Sun elevation {sun:.4f} deg")


def eclipses() -> None:
    data, start, craft = load("eclipse")
    end_s, worst, count = since(data["window"]["end"], start), 0.0, 0
    for satellite in data["satellites"]:
        ours = craft[satellite["id"]].eclipses(0.0, end_s)
        for (entry_s, exit_s), row in zip(ours, satellite["intervals"]["sun_centre"], strict=True):
            for mine, text in ((entry_s, row["entry"]), (exit_s, row["exit"])):
                # An eclipse under way at the border is cut there by both.
                worst, count = max(worst, abs(mine - since(text, start))), count + 1
    print(f"shadow edges, point Sun and spherical Earth, n = {count}: {worst:.3f} s")


def sunlight() -> None:
    """Shadow edges and fractions in each model of the reference, and the beta angle."""
    data, start, craft = load("eclipse")
    end_s = since(data["window"]["end"], start)
    for key, model in SHADOWS.items():
        worst, fraction, count = 0.0, 0.0, 0
        for satellite in data["satellites"]:
            propagator = craft[satellite["id"]]
            rows = satellite["intervals"][key]
            for span, row in zip(light.eclipses(propagator, 0.0, end_s, model), rows, strict=True):
                for mine, text in zip(span, (row["entry"], row["exit"]), strict=True):
                    worst, count = max(worst, abs(mine - since(text, start))), count + 1
            share = light.eclipse_fraction(propagator, 0.0, end_s, model)
            fraction = max(fraction, abs(share - satellite["eclipse_fraction"][key]))
        print(f"shadow edges, {model.value}, n = {count}: {worst:.3f} s, eclipse fraction {fraction:.6f}")
    betas = [
        abs(float(light.beta_deg(craft[satellite["id"]], at_s)) - satellite[key])
        for satellite in data["satellites"]
        for at_s, key in ((0.0, "beta_deg_start"), (end_s, "beta_deg_end"))
    ]
    print(f"beta angle, n = {len(betas)}: {max(betas):.4f} deg")


def access() -> None:
    """Edges of the windows in which a target can be imaged."""
    data, start, craft = load("ground")
    window, worst, count = data["overflight_window"], 0.0, 0
    for (name, propagator), place in itertools.product(craft.items(), data["targets"]):
        rows = [r for r in data["overflights"] if (r["sat"], r["target"]) == (name, place["id"])]
        spans = light.access_windows(
            propagator,
            place["lat_deg"],
            place["lon_deg"],
            window["max_off_nadir_deg"],
            since(window["start"], start),
            since(window["end"], start),
        )
        for span, row in zip(spans, rows, strict=True):
            for mine, text in zip(span, (row["start"], row["end"]), strict=True):
                worst, count = max(worst, abs(mine - since(text, start))), count + 1
    print(f"access windows, Orekit, n = {count}: {worst:.4f} s")


def main() -> None:
    if not REFERENCE.is_dir():
        print("../shared/reference is absent, SKIPPED")
        return
    passes()
    ground()
    eclipses()
    sunlight()
    access()


if __name__ == "__main__":
    main()

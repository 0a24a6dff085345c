"""`spectral` on the shipped archive and on real pairs, beside always-yes and always-null."""

from __future__ import annotations

from pathlib import Path

import flightsim as fs

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def main() -> None:
    print("the shipped archive (made by this project, not real):")
    print("\n".join(fs.perceive(fs.load_scenario("real-images")).table_lines()))
    if not REAL.is_dir():
        print("\nreal pairs: ../shared/data is absent, SKIPPED")
        return
    print("\nreal pairs, whole pictures:")
    print("\n".join(fs.perceive(fs.load_scenario("real-images", [f"scenes.with.path={REAL}"])).table_lines()))
    print("\nreal pairs in tiles of 128 px at most, labelled by mask or, where a pair is quiet, as a whole:")
    sliced = [f"scenes.with.path={REAL}", "scenes.with.slice_px=128"]
    print("\n".join(fs.perceive(fs.load_scenario("real-images", sliced)).table_lines()))


if __name__ == "__main__":
    main()

"""Take the pictures of docs/report.md: `python tools/screenshot_report.py RUN`, with RUN a folder of `flightsim run`.

Writes the report of the folder anew and photographs it in a headless Chromium: the first screen and the gallery in the
light, map and timeline in the dark half-way through the run, and the page on a phone. Each stays below 250 kB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flightsim.report import write_report  # noqa: E402
from tests.browser import Browser  # noqa: E402

LIMIT_BYTES = 250_000
TOP = "window.scrollTo({top: 0, behavior: 'instant'})"
AT = "document.querySelector('{}').scrollIntoView({{block: 'start', behavior: 'instant'}})"
#: Moment of the run that the map shows, as a share of it. [-]
SHARE = 0.55


def shoot(tab: Browser, target: Path) -> None:
    """Photograph the window, as finely as the limit allows."""
    for quality in (90, 80, 70, 60, 50, 40, 30):
        data = tab.picture("webp", quality)
        if len(data) < LIMIT_BYTES:
            break
    else:
        raise SystemExit(f"{target.name} has {len(data)} bytes at the lowest quality; {LIMIT_BYTES} is the limit.")
    target.write_bytes(data)
    print(f"{target}: {len(data)} bytes, quality {quality}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    chosen = parser.parse_args()
    page = write_report(chosen.run)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with Browser() as tab:
        tab.size(1200, 1500)
        tab.media(prefers_color_scheme="light")
        tab.open(page)
        tab.run(TOP)
        shoot(tab, chosen.out / "report-light.webp")
        tab.size(1200, 1250)
        tab.media(prefers_color_scheme="dark")
        tab.run(
            f"(() => {{ const s = document.querySelector('#time'); s.value = {SHARE} * s.max; "
            "s.dispatchEvent(new Event('input')); })()"
        )
        tab.run(AT.format("#explore"))
        shoot(tab, chosen.out / "report-dark.webp")
        tab.size(375, 1500, scale=2)
        tab.media(prefers_color_scheme="light")
        tab.open(page)
        tab.run(TOP)
        shoot(tab, chosen.out / "report-phone.webp")


if __name__ == "__main__":
    main()

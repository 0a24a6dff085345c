"""The report page: made from the folder alone, self-contained, the same bytes each time, honest about failures."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from html import unescape
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from flightsim import causes, runfolder
from flightsim.errors import InputError
from flightsim.land import is_land
from flightsim.report import cards, markup, material, plane, tiles, timeline, world_map, write_report
from flightsim.summary import summary_lines

from .factories import random_mission
from .reports import make_folder, mixed_mission, new_folder, real_run, statistical_run
from .test_metrics import CONTEXT, class_collapse, no_contacts, no_positives

EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def page():
    folder = new_folder()
    metrics = make_folder(folder, random_mission(1200, 2, prior=0.1))
    return folder, metrics, write_report(folder).read_text(encoding="utf-8")


class _Structure(HTMLParser):
    """Open tags, ids, links, handlers and scripts of a page; complains about tags that do not close."""

    VOID = frozenset({"meta", "br", "path", "use", "rect", "line", "circle", "img", "input", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids, self.links, self.scripts, self.handlers = [], set(), [], [], [], []
        self.text = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.seen.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "xlink:href", "src") if name in values]
        self.handlers += [name for name in values if name.startswith("on")]
        if tag == "script":
            self.scripts.append(values.get("type"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def structure(text):
    parser = _Structure()
    parser.feed(text)
    assert parser.open == []
    return parser


def data_of(text):
    """What the script of a page reads."""
    return json.loads(re.search(r"<script type='application/json' id='data'>(.*?)</script>", text, re.DOTALL)[1])


def test_the_page_opens_with_the_two_lines_of_the_summary_and_words_for_them(page):
    _, metrics, text = page
    lines = summary_lines(metrics, CONTEXT)
    said = "".join(structure(text).text)
    for line in lines:
        assert line in said
    assert said.index("What was saved?") < said.index(lines[0]) < said.index("What was missed, and why?")
    ground = metrics["quality"]["ground"]
    assert f"The ground knows {ground['tp']:,} of {metrics['population']['positives']:,} true events" in said
    # All of it stands before the first figure.
    assert said.index("What was missed, and why?") < said.index("Where and when")


def test_the_causes_of_misses_are_ranked_with_their_counts_and_filters(page):
    _, metrics, text = page
    for counts, texts in ((metrics["misses"], causes.MISS_TEXTS), (metrics["false_alarms"], causes.ALARM_TEXTS)):
        assert counts
        ranked = sorted(counts, key=lambda cause: (-counts[cause], cause))
        at = [text.index(f"cause={cause}'") for cause in ranked]
        assert at == sorted(at)
        for cause in ranked:
            assert re.search(rf"{re.escape(markup.escape(texts[cause][0]))}</span> <b>{counts[cause]:,}</b>", text), (
                cause
            )


def test_the_page_is_well_formed_and_asks_nothing_of_a_network(page):
    _, _, text = page
    found = structure(text)
    assert {"main", "header", "nav", "figure", "figcaption", "svg", "table", "th", "details", "abbr"} <= found.seen
    assert not {"iframe", "object", "embed", "base"} & found.seen
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert found.handlers == []
    urls = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert urls <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_may_run_its_own_script_and_load_nothing(page):
    _, _, text = page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    assert "unsafe-eval" not in policy
    assert structure(text).scripts == ["application/json", None]
    assert not re.search(r"\binnerHTML|\bouterHTML|insertAdjacentHTML|document\.write|\beval\(", scripts[0])


def test_every_figure_has_a_caption_words_and_a_source(page):
    _, metrics, text = page
    drawn = re.findall(r"<figure id='([^']*)'", text)
    assert {"map", "timeline", "figure-plane", "figure-funnel", "figure-kinds", "figure-latency"} <= set(drawn)
    for block in re.findall(r"<figure id=.*?</figure>", text, re.DOTALL):
        assert "<figcaption>" in block
        for svg in re.findall(r"<svg(?![^>]*aria-hidden)[^>]*>.{0,200}", block, re.DOTALL):
            assert "<title" in svg, svg[:200]
    assert text.count("class='source'") >= len(drawn)
    assert f"{metrics['funnel']['true_positive']:,} · " in text


def test_colours_follow_the_theme(page):
    from flightsim import plotting

    _, _, text = page
    assert plotting.INK not in text
    assert "<metadata" not in text
    assert "currentColor" in text
    assert "prefers-color-scheme: dark" in text
    assert "prefers-reduced-motion" in text
    assert "@media print" in text


def test_the_same_folder_gives_the_same_bytes_in_another_process(page):
    folder = page[0]
    code = "import sys, pathlib; from flightsim.report import write_report; write_report(pathlib.Path(sys.argv[1]))"
    for run in (folder, real_run()):
        before = (run / "report.html").read_bytes()
        environment = {"PYTHONHASHSEED": "77", "MPLCONFIGDIR": matplotlib.get_configdir()}
        subprocess.run([sys.executable, "-c", code, str(run)], check=True, env=environment)
        assert (run / "report.html").read_bytes() == before


def test_foreign_text_is_escaped_everywhere(tmp_path):
    record = mixed_mission(300)
    record.reasons = [EVIL] * 300
    make_folder(tmp_path, record, policy=EVIL, notes=[EVIL], failures={EVIL: 1}, eye=EVIL, scenario=EVIL, world=EVIL)
    (tmp_path / "scenario.yaml").write_text(f"# {EVIL}\nname: x\n")
    text = write_report(tmp_path).read_text()
    found = structure(text)
    assert found.scripts == ["application/json", None]
    assert "img" not in found.seen
    assert found.handlers == []
    assert "&lt;script&gt;" in text
    assert EVIL in "".join(found.text)
    assert data_of(text)["reasons"] == [EVIL]


def test_the_gallery_escapes_what_its_file_says(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(real_run(), folder)
    path = folder / "gallery" / "gallery.json"
    index = json.loads(path.read_text())
    for entry in index["tiles"]:
        entry |= {"area": EVIL, "reason": EVIL, "tile_id": EVIL, "ground_file": "../run.json"}
        entry["questions"][0] |= {"status": "event", "body": {EVIL: EVIL, "box": [EVIL] * 4}, "reason": EVIL}
    path.write_text(json.dumps(index))
    text = write_report(folder).read_text()
    found = structure(text)
    assert found.scripts == ["application/json", None]
    assert found.handlers == []
    assert "its file is missing from ground/" in text  # a name that leads out of the folder is no file of it


@pytest.mark.parametrize("make", [class_collapse, no_contacts, no_positives], ids=lambda make: make.__name__)
def test_runs_in_which_nothing_worked_get_a_page_too(tmp_path, make):
    record = make()
    record.queue_samples = np.zeros((0, 4))
    make_folder(tmp_path, record)
    text = write_report(tmp_path).read_text()
    said = "".join(structure(text).text)
    if make is no_contacts:
        assert "no contact was booked" in said
        assert "Nothing was radiated" in said
        assert "<p class='value none'>null</p>" in text
    if make is no_positives:
        assert "No true event happened in this run" in said
        assert "There was no true event to wait for." in said


def test_a_run_that_went_wrong_says_so_first(tmp_path):
    make_folder(tmp_path, random_mission(200), failures={"policy_failed": 3}, notes=["the fallback decided"])
    manifest = json.loads((tmp_path / "run.json").read_text()) | {"outcome": "failed", "nondeterministic": True}
    manifest["event_counts"]["policy_failed"] = 3
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    text = write_report(tmp_path).read_text()
    assert text.index("The run ended as &#x27;failed&#x27;") < text.index("What was saved?")
    assert "cannot be reproduced to the byte" in text
    assert "policy_failed: 3" in text
    assert "the fallback decided" in text
    assert "policy_failed 3" in text  # in the provenance


def test_what_cannot_be_drawn_is_said(page):
    _, _, text = page
    # The made-up folder's scenario names no targets and no orbit.
    assert "stations and ground track are not drawn, for scenario.yaml cannot be loaded" in text
    assert "This run folder holds no pictures" in text


def test_an_interrupted_run_is_not_reported(tmp_path):
    (tmp_path / "scenario.yaml").write_text("name: x\n")
    with pytest.raises(InputError, match=r"is an interrupted run: it has no run.json. Run the scenario again"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


FILES = ["metrics.json", "contacts.parquet", "queue.parquet", "tiles.parquet", "verdicts.parquet", "scenario.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    make_folder(tmp_path, random_mission(100))
    if name != "scenario.yaml":
        (tmp_path / name).write_text("rubbish")
        with pytest.raises(InputError, match=f"{name}' is damaged"):
            write_report(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}' is missing: the run folder is incomplete"):
        write_report(tmp_path)


def test_tables_of_an_older_version_are_refused(tmp_path):
    record = random_mission(100)
    make_folder(tmp_path, record)
    runfolder.write_tables(tmp_path, record, dict.fromkeys(record.truth.schemas, (0.9, 0.01)))
    with pytest.raises(InputError, match=r"verdicts.parquet' has no column posterior; it is no table of this version"):
        write_report(tmp_path)


def test_a_missing_picture_is_named_and_a_damaged_product_is_shown_as_such(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(real_run(), folder)
    index = json.loads((folder / "gallery" / "gallery.json").read_text())
    name = next(entry["ground_file"] for entry in index["tiles"] if entry["ground_file"])
    (folder / "ground" / name).write_bytes(b"RIFF")
    assert "its file is damaged: 4 bytes are no picture" in unescape(write_report(folder).read_text())
    (folder / "gallery" / "00-after.webp").unlink()
    with pytest.raises(InputError, match=r"00-after.webp' is missing: the run folder is incomplete"):
        write_report(folder)


def test_what_arrived_is_the_very_file_of_the_ground():
    folder = real_run()
    text = (folder / "report.html").read_text()
    index = json.loads((folder / "gallery" / "gallery.json").read_text())
    arrived = [entry for entry in index["tiles"] if entry["ground_file"]]
    thumbnails = [entry for entry in arrived if not entry["ground_file"].endswith(".tile")]
    assert thumbnails
    for entry in thumbnails:
        sent = base64.b64encode((folder / "ground" / entry["ground_file"]).read_bytes()).decode()
        assert f"class='arrived' src='data:image/webp;base64,{sent}'" in text
    assert text.count("<article class='card") == len(index["tiles"])


def test_the_page_carries_every_tile_and_event_of_the_tables():
    found = material.read_material(statistical_run())
    data = json.loads(tiles.page_data(found))
    assert data["tiles"]["id"] == found.tiles["tile_id"].tolist()
    ground = found.metrics["quality"]["ground"]
    kinds = [question[2] for question in data["questions"]]
    assert [kinds.count(kind) for kind in (0, 1, 2)] == [ground["tp"], ground["fn"], ground["fp"]]
    by_cause = {}
    for question in data["questions"]:
        if question[2] == 1:
            name = data["miss"][question[3]][0]
            by_cause[name] = by_cause.get(name, 0) + 1
    assert by_cause == found.metrics["misses"]
    assert sum(contact[5] for contact in data["contacts"]) == found.metrics["bytes"]["air"]


def test_the_ground_track_is_the_propagators(page):
    found = material.read_material(statistical_run())
    (track,) = world_map.track_data(found)
    lat, lon = np.cumsum(track["lat"]) / 10, np.cumsum(track["lon"]) / 10
    assert np.abs(lat - found.tracks[0].lat_deg).max() <= 0.051
    assert np.abs(lon - found.tracks[0].lon_deg).max() <= 0.051
    # Tiles lie under the track: within the roll limit of 25 deg, 250 km, and half a minute of flight, 220 km.
    at = np.round(found.tiles["captured_s"] / track["step_s"]).astype(int)
    assert np.abs(lat[at] - found.tiles["lat_deg"]).max() < 4.5


def test_many_tiles_are_thinned_to_those_that_tell_something(page):
    folder, _, _ = page
    found = material.read_material(folder)
    telling = np.flatnonzero(np.any(list(world_map.tile_outcomes(found).values()), axis=0))
    kept = tiles.shown_tiles(found, limit=len(telling) + 5)
    assert len(kept) == len(telling) + 5
    assert set(telling) <= set(kept.tolist())
    assert list(kept) == sorted(kept)


def test_the_pages_are_small_and_made_quickly():
    for folder in (real_run(), statistical_run()):
        started = time.process_time()
        write_report(folder)
        assert time.process_time() - started < 5.0
        assert (folder / "report.html").stat().st_size < 6_000_000


def test_importing_the_report_loads_nothing_heavy():
    code = (
        "import sys, flightsim.report, flightsim.plotting, flightsim.causes; "
        "print([name for name in ('matplotlib', 'pyarrow', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_coastline_agrees_with_the_land_raster():
    """An independent way round: points inside the drawn outline, by ray casting, against ``land.is_land``."""
    from matplotlib.path import Path as Polygon

    rings = [
        np.array([[float(x) for x in point.split(",")] for point in ring.split("L")])
        for ring in re.findall(r"M([^Z]*)Z", world_map.land_path())
    ]
    generator = np.random.default_rng(3)
    lat, lon = np.degrees(np.arcsin(generator.uniform(-0.98, 0.98, 4000))), generator.uniform(-179.5, 179.5, 4000)
    inside = np.zeros(4000, dtype=bool)
    for ring in rings:
        inside ^= Polygon(ring).contains_points(np.column_stack([lon, -lat]))
    # Half a degree of averaging, islands below 3 square degrees left out.
    assert np.mean(inside == is_land(lat, lon)) > 0.975


@pytest.mark.parametrize("seed", range(5))
def test_the_outline_of_a_mask_separates_what_is_in_from_what_is_out(seed):
    mask = np.random.default_rng(seed).random((9, 7)) < 0.5
    lines = re.findall(r"M([\d.e-]+),([\d.e-]+)([HV])([\d.e-]+)", cards.outline(mask))
    found = np.zeros((9, 7), dtype=bool)
    for row in range(9):
        for col in range(7):
            y = (row + 0.5) / 9
            crossed = sum(
                kind == "V" and float(x) < (col + 0.5) / 7 and min(float(a), float(b)) < y < max(float(a), float(b))
                for x, a, kind, b in lines
            )
            found[row, col] = crossed % 2 == 1
    assert np.array_equal(found, mask)


def test_peaks_keep_the_largest_value():
    time_s, values = np.linspace(0.0, 10 * 86400.0, 20_000), np.zeros(20_000)
    values[12_345] = 7e6
    at, high = timeline.peaks(time_s, values, 400)
    assert len(at) <= 400
    assert high.max() == 7e6


def test_days_stand_at_midnight_utc():
    from datetime import UTC, datetime

    ticks = timeline.axis_ticks(datetime(2026, 10, 2, 18, tzinfo=UTC), 100.0)
    assert ticks == [(6.0, "3 Oct"), (30.0, "4 Oct"), (54.0, "5 Oct"), (78.0, "6 Oct")]
    assert timeline.axis_ticks(None, 49.0) == [(0.0, "day 0"), (24.0, "day 1"), (48.0, "day 2")]


def test_words_are_explained_once():
    text = markup.explained("F1 and bent pipe, F1 again <b>")
    assert text.count("<abbr") == 2
    assert text.endswith("F1 again &lt;b&gt;")


def test_what_has_no_place_on_the_plane_is_named(page):
    _, metrics, _ = page
    values = json.loads(json.dumps(metrics))
    values["bytes"]["air"] = 0
    values["quality"]["ground"]["f1"] = None
    assert plane.off_plane(values) == ["this run: 0 B, F1 undefined, off this plane"]
    assert "this run</text>" not in plane.plane_svg(values, 7.0)
    assert "this run</text>" in plane.plane_svg(metrics, 7.0)


def test_the_first_screen_says_how_many_events_are_known_before_any_ratio():
    folder = statistical_run()
    values = json.loads((folder / "metrics.json").read_text())
    card = (folder / "report.html").read_text().partition("What is still known?")[2].partition("</section>")[0]
    told = f"{values['quality']['ground']['tp']:,} of {values['population']['positives']:,}"
    assert card.index(told) < card.index("of the F1 that an unlimited link would give")


def test_the_bent_pipes_pictures_that_never_came_down_are_told():
    folder = statistical_run()
    values = json.loads((folder / "metrics.json").read_text())
    down, taken = values["references"]["bent_pipe_windows"]["tiles_delivered"], values["funnel"]["planned"]
    text = unescape(re.sub("<[^>]+>", "", (folder / "report.html").read_text()))
    assert (f"still only {down:,} of its {taken:,} pictures come down" in text) == (down < taken)

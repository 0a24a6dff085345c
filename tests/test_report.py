"""The report page: made from the folder alone, self-contained, the same bytes each time, honest about failures."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from flightsim import plotting, runfolder
from flightsim.errors import InputError
from flightsim.report import write_report
from flightsim.summary import summary_lines

from .factories import random_mission
from .test_metrics import CONTEXT, class_collapse, metrics_of, no_contacts, no_positives


def make_folder(folder, record, **context):
    """A finished run folder, written the way a run writes it."""
    metrics = metrics_of(record, needs_truth=True)
    rates = dict.fromkeys(record.truth.schemas, (0.92, 0.01))
    names = [*runfolder.write_tables(folder, record, rates), "metrics.json"]
    runfolder.write_json(folder / "metrics.json", metrics)
    (folder / "scenario.yaml").write_text("# what is sent?\nname: made-up\nstart: 2026-10-02T00:00:00Z\n")
    manifest = {
        "format": "flightsim-run/1", "outcome": "done", "nondeterministic": False, "scenario_digest": "ab" * 32,
        "payload_fingerprint": "x/1", "context": CONTEXT | context,
        "event_counts": {"tile_captured": 4, "run_ended": 0},
        "digests": {name: runfolder.file_digest(folder / name) for name in names}, "versions": {"python": "3.11.9"},
        "wall_s": 1.5,
    }  # fmt: skip
    runfolder.write_json(folder / "run.json", manifest)
    return metrics


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    metrics = make_folder(folder, random_mission(1200, 2, prior=0.1))
    return folder, metrics, write_report(folder).read_text(encoding="utf-8")


class _Structure(HTMLParser):
    """Open tags, ids and links of a page; complains about tags that do not close."""

    VOID = frozenset({"meta", "br", "path", "use", "rect", "line", "circle"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids, self.links, self.titles = [], set(), [], [], 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.seen.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "xlink:href", "src") if name in values]
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


def structure(text):
    parser = _Structure()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_the_page_opens_with_the_two_lines_of_the_summary(page):
    _, metrics, text = page
    lines = summary_lines(metrics, CONTEXT)
    for line in lines[:2]:
        assert line.partition(": ")[2].replace("'", "&#x27;") in text
    for line in lines[2:]:
        assert f"<li>{line}</li>".replace("'", "&#x27;") in text


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    _, _, text = page
    found = structure(text)
    assert {"main", "header", "figure", "figcaption", "svg", "table", "th", "details"} <= found.seen
    assert not {"script", "img", "link", "iframe", "object"} & found.seen
    assert all(link.startswith("#") for link in found.links)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} <= set(found.ids)
    urls = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert urls <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_every_figure_has_a_caption_and_words_for_those_who_do_not_see_it(page):
    _, metrics, text = page
    assert text.count("<figure>") == text.count("<figcaption>") == text.count("role='img'") == 5
    assert text.count("-alternative'>") == 5
    assert "Funnel of tiles: planned 1200" in text
    assert f"{metrics['funnel']['true_positive']:,} (" in text


def test_the_text_follows_the_theme_and_no_ink_is_left(page):
    _, _, text = page
    assert plotting.INK not in text
    assert "<metadata" not in text
    assert "currentColor" in text
    assert "prefers-color-scheme: dark" in text


def test_the_same_folder_gives_the_same_bytes_in_another_process(page):
    folder, _, text = page
    code = "import sys, pathlib; from flightsim.report import write_report; write_report(pathlib.Path(sys.argv[1]))"
    environment = {"PYTHONHASHSEED": "77", "MPLCONFIGDIR": matplotlib.get_configdir()}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment)
    assert (folder / "report.html").read_text(encoding="utf-8") == text


def test_foreign_text_is_escaped(tmp_path):
    evil = "<script>alert('x')</script>"
    make_folder(tmp_path, random_mission(200), policy=evil, notes=[evil], failures={evil: 1}, eye=evil)
    (tmp_path / "scenario.yaml").write_text(f'name: "{evil}"\n')
    text = write_report(tmp_path).read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    structure(text)


@pytest.mark.parametrize("make", [class_collapse, no_contacts, no_positives], ids=lambda make: make.__name__)
def test_runs_in_which_nothing_worked_get_a_page_too(tmp_path, make):
    record = make()
    record.queue_samples = np.zeros((0, 4))
    make_folder(tmp_path, record)
    text = write_report(tmp_path).read_text()
    structure(text)
    if make is no_contacts:
        assert "no contact was booked" in text
        assert "nothing was radiated" in text
        assert "<p class='value none'>null</p>" in text


def test_a_run_that_went_wrong_says_so_first(tmp_path):
    make_folder(tmp_path, random_mission(200), failures={"policy_failed": 3}, notes=["the fallback decided"])
    manifest = json.loads((tmp_path / "run.json").read_text()) | {"outcome": "failed", "nondeterministic": True}
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    text = write_report(tmp_path).read_text()
    assert text.index("The run ended as &#x27;failed&#x27;") < text.index("bytes saved")
    assert "cannot be reproduced to the byte" in text
    assert "policy_failed: 3" in text
    assert "the fallback decided" in text


def test_an_interrupted_run_is_not_reported(tmp_path):
    (tmp_path / "scenario.yaml").write_text("name: x\n")
    with pytest.raises(InputError, match=r"is an interrupted run: it has no run.json. Run the scenario again"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["metrics.json", "contacts.parquet", "queue.parquet", "scenario.yaml"])
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    make_folder(tmp_path, random_mission(100))
    if name != "scenario.yaml":
        (tmp_path / name).write_text("rubbish")
        with pytest.raises(InputError, match=f"{name}' is damaged"):
            write_report(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}' is missing: the run folder is incomplete"):
        write_report(tmp_path)


def test_importing_the_report_loads_no_matplotlib():
    code = "import sys, flightsim.report, flightsim.plotting, flightsim.metrics; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_plotting_draws_on_the_axes_it_is_given_and_names_units():
    ax = Figure().add_subplot()
    assert plotting.bytes_by_kind(ax, {"verdict": 2e6, "tile": 6e6}) is ax
    assert ax.get_xlabel() == "radiated transfer-frame bytes [MB]"
    widths = [patch.get_width() for patch in ax.patches]
    assert widths == pytest.approx([2.0, 6.0])
    assert ax.patches[1].get_x() == pytest.approx(2.0)  # stacked
    ax = Figure().add_subplot()
    plotting.contact_use(ax, np.array([86400.0]), np.array([5e6]), np.array([2e6]))
    assert ax.get_ylabel() == "per contact [MB]"
    assert [patch.get_height() for patch in ax.patches] == pytest.approx([5.0, 2.0])
    ax = Figure().add_subplot()
    plotting.bytes_and_f1(ax, (0.0, 0.0), {}, [(1e6, 0.2), (4e6, 0.1), (9e6, 0.5)], days=1.0)
    envelope = ax.lines[1].get_ydata()
    assert list(envelope) == [0.2, 0.2, 0.5]
    assert "this run: 0 B, F1 0.00, off these axes" in [text.get_text() for text in ax.texts]


def test_peaks_keep_the_largest_value():
    time = np.linspace(0.0, 10 * 86400.0, 20_000)
    values = np.zeros(20_000)
    values[12_345] = 7e6
    ax = Figure().add_subplot()
    plotting.bytes_over_time(ax, time, values, "storage")
    drawn = ax.lines[0].get_ydata()
    assert len(drawn) <= 400
    assert max(drawn) == pytest.approx(7.0)

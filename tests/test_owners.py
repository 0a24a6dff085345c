"""Whose verdicts and whose seconds: two systems are never shown as one."""

from __future__ import annotations

import json

import pytest

import flightsim as fs
from flightsim import compute, doctor, owners
from flightsim.domain import Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.scenario.models import Compute
from flightsim.summary import summary_lines

SETTINGS = ["duration=1d", "targets.count=4"]


class Eye:
    fingerprint = "eye/0123"
    seconds_per_question = 0.01

    def __init__(self, **more):
        vars(self).update(more)


def told(eye, settings=None):
    found = owners.owners(eye, [owners.clock_of(eye, "eye", settings or Compute())])
    return {"verdicts_of": found["verdicts_of"], "seconds_of": found["seconds_of"], "one_system": found["one_system"]}


def test_a_payload_with_seconds_of_its_own_is_one_system():
    found = told(Eye(owner="tiny model (q8_0)", clock="measured on one core"))
    assert found == {
        "verdicts_of": "tiny model (q8_0)", "seconds_of": "measured on one core, 0.01 s a question", "one_system": True,
    }  # fmt: skip
    assert owners.lines(found)[1] == ""


def test_the_seconds_of_a_compute_profile_are_another_systems():
    found = told(Eye(owner="tiny model"), Compute(use="orin-nx-15w"))
    line, warning = owners.lines(found)
    assert line.startswith(
        "verdicts of tiny model; seconds of compute profile orin-nx-15w (NVIDIA Orin NX at 15 W, a 1.6-"
    )
    assert line.endswith(", 2 s a question")
    assert warning == "two systems: nobody has flown these verdicts at this speed"


@pytest.mark.parametrize(
    ("eye", "settings", "seconds"),
    [
        (Eye(), Compute(seconds_per_question=17), "17 s"),
        (Eye(), Compute(use="orin-nx-15w", seconds_per_question=17), "17 s"),
        (Eye(clock=owners.STATED), Compute(), "0.01 s"),
    ],
)
def test_stated_seconds_are_nobodys(eye, settings, seconds):
    found = told(eye, settings)
    assert found["one_system"] is False
    assert found["seconds_of"] == f"the scenario's setting, {seconds} a question"


def test_several_spacecraft_are_one_system_only_if_all_are():
    eye = Eye(clock="measured")
    clocks = [owners.clock_of(eye, "eye", settings) for settings in (Compute(), Compute(use="orin-nx-15w"), Compute())]
    found = owners.owners(eye, clocks)
    assert found["one_system"] is False
    assert found["seconds_of"].startswith("measured, 0.01 s a question and compute profile orin-nx-15w")
    assert owners.owners(eye, clocks[::2])["one_system"] is True


def test_an_unknown_compute_profile_is_told_with_its_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'orin-nx-15w'"):
        compute.title("orin-nx-15")


def test_a_run_of_an_older_version_says_nothing():
    assert owners.lines({"eye": "x"}) == ("", "")


def test_invalid_answers_are_counted_by_fault():
    def verdict(status, reason=""):
        return Verdict("t", "flood_extent", status, reason=reason)

    found = owners.faults(
        [
            verdict(VerdictStatus.NULL, "no_reference"),
            verdict(VerdictStatus.UNCLASSIFIABLE, "cloud"),
            verdict(VerdictStatus.INVALID, "truncated: no end after 24 characters"),
            verdict(VerdictStatus.INVALID, "schema: 'x' is not of type 'number'"),
            verdict(VerdictStatus.INVALID, "schema: severity"),
            verdict(VerdictStatus.INVALID, "a sentence that names no fault at all"),
        ]
    )
    assert found == {"schema": 2, "other": 1, "truncated": 1}
    assert list(found) == ["schema", "other", "truncated"]


EYE = """
from flightsim.domain import SCHEMA_IDS
from payload.vlm.backend import VlmPayload
from payload.vlm.engine import Finish, Reply

class Engine:
    name, fingerprint, weights = "made-up q0", "made-up/1", "0123456789ab"
    def open(self): pass
    def close(self): pass
    def ask_many(self, questions):
        return [Reply("null", Finish.STOP if question.after.sum() % 3 else Finish.LENGTH) for question in questions]

class Eye(VlmPayload):
    name = "eye"
    def make_engine(self): return Engine()
    def facts(self):
        rates = {schema: {"tpr": 0.5, "fpr": 0.1} for schema in SCHEMA_IDS}
        return {"decoding": "flightsim", "rates": rates, "seconds_per_question": 0.5, "clock": "made up"}
"""


@pytest.fixture(scope="module")
def flown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eye")
    (folder / "eye.py").write_text(EYE)
    (folder / "mine.yaml").write_text("extends: default\nname: mine\npayload: {use: './eye.py:Eye'}\n")
    settings = [*SETTINGS, "targets.clouds.mean_fraction=0.2"]
    return fs.run(fs.load_scenario(folder / "mine.yaml", settings), out=folder / "run", events=True)


def test_faults_and_owners_are_seen_in_metrics_summary_and_run_folder(flown):
    verdicts = [verdict for told in flown.record.verdicts.values() for verdict in told]
    invalid = sum(verdict.status is VerdictStatus.INVALID for verdict in verdicts)
    assert invalid > 0
    assert flown.context["invalid_answers"] == {"truncated": invalid}
    assert flown.metrics["quality"]["onboard"]["invalid"] > 0
    lines = summary_lines(flown.metrics, flown.context)
    assert f"failures: invalid answers, counted as none: truncated {invalid:,}" in lines
    owner = "verdicts of eye (made-up q0, weights 0123456789ab, profile flightsim)"
    assert any(line.startswith(owner) and line.endswith("two systems: nobody has flown these verdicts at this speed")
               for line in lines)  # fmt: skip
    manifest = json.loads((flown.folder / "run.json").read_text())
    assert manifest["context"]["verdicts_of"] in owner
    assert manifest["context"]["one_system"] is False


def test_the_report_says_both_at_its_head(flown):
    from flightsim.report import head
    from flightsim.report.material import read_material

    material = read_material(flown.folder)
    assert "<strong>Two systems: nobody has flown these verdicts at this speed.</strong>" in head.header(material)
    invalid = flown.context["invalid_answers"]["truncated"]
    assert f"{invalid:,} answers of the eye were invalid (truncated {invalid:,})" in head.warnings(material)


# -------------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("machine", "flags", "ok", "words"),
    [
        ("x86_64", "fpu sse4_2 avx avx2 fma", True, "with AVX2"),
        (
            "AMD64",
            "fpu sse4_2 avx avx512f",
            False,
            "without AVX2: llama.cpp's wheel does not run; fly payload vlm with",
        ),
        ("x86_64", None, True, "could not be seen"),
        ("arm64", None, True, "arm64"),
    ],
)
def test_doctor_looks_for_avx2(tmp_path, machine, flags, ok, words):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    found = doctor.processor(machine, path)
    assert found.ok is ok
    assert words in found.detail


def test_doctor_says_how_large_the_store_is_and_may_be(tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path))
    monkeypatch.setenv("FLIGHTSIM_CACHE_MAX_MB", "250")
    (found,) = [row for row in doctor.findings() if row.what == "cache"]
    assert "of at most 250 MB (FLIGHTSIM_CACHE_MAX_MB)" in found.detail
    monkeypatch.setenv("FLIGHTSIM_CACHE_MAX_MB", "much")
    (found,) = [row for row in doctor.findings() if row.what == "cache"]
    assert not found.ok
    assert "'much'; it must be a positive number of megabytes" in found.detail

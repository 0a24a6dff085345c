"""What a finished model is worth: rates and calibration on validation regions, scores on test regions, model card."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flightsim.domain import SCHEMA_IDS

#: Blocks of 64 tiles of the validation regions for the calibration, and their seed; few events, as in a flight.
CALIBRATION_BLOCKS, CALIBRATION_SEED, CALIBRATION_PREVALENCE, CALIBRATION_CLOUD = 30, 11, 0.10, 0.10
#: Questions of the test regions for the scores, and their seed.
TEST_QUESTIONS, TEST_SEED = 3500, 59
#: A flight computer is taken to be ten times slower than a desktop core. Engineering value.
_SLOWER = 10.0

Told = Callable[[str], None]


def measure(folder: Path, told: Told) -> None:
    """Write ``profile.json``, ``evaluation.json`` and ``MODEL_CARD.md`` of a model folder, which must be whole.

    Rates and calibration come from validation regions, scores from test regions; the model was trained on others.
    """
    from flightsim import load_scenario
    from flightsim.calibration import calibrate, write
    from flightsim.evaluation.evaluating import evaluate
    from flightsim.evaluation.outputs import lines_of, plain
    from flightsim.evaluation.questions import Generated

    path = folder / "profile.json"
    facts: dict[str, Any] = {"decoding": "flightsim"}
    _put(path, facts)
    settings = {"model": str(folder.resolve())}
    payload = json.dumps({"use": "vlm", "with": settings})
    scenario = load_scenario(
        "default",
        [
            f"payload={payload}", f"seed={CALIBRATION_SEED}", f"targets.prevalence.default={CALIBRATION_PREVALENCE}",
            f"targets.clouds.mean_fraction={CALIBRATION_CLOUD}",
        ],
    )  # fmt: skip
    block = calibrate(scenario, CALIBRATION_BLOCKS, region="validation")
    told(f"calibration: {block['set']}")
    rates = block["products"]["tile"]
    facts["rates"] = {schema: rates[schema] for schema in SCHEMA_IDS if schema in rates}
    _put(path, facts)
    write(path, block)
    found = evaluate("vlm", settings, asked=Generated(TEST_QUESTIONS, "test", TEST_SEED), controls=True)
    for line in lines_of(found.results):
        told(line)
    seconds = found.results["latency_s"]["median"]
    facts = {
        **json.loads(path.read_text()),
        "seconds_per_question": round(_SLOWER * seconds, 3),
        "clock": (
            f"engineering value [E]: {1e3 * seconds:.1f} ms a question measured on one desktop core with llama.cpp, "
            f"times {_SLOWER:g} for a flight computer"
        ),
    }
    _put(path, facts)
    results = plain(found.results)
    # Where the model lay while it was measured is nobody's business.
    results["payload"].pop("with", None)
    _put(folder / "evaluation.json", results)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "MODEL_CARD.md").write_text(card(manifest, results), encoding="utf-8")


def _put(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def card(manifest: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """The model card, all figures from the manifest and the evaluation."""
    settings = manifest["settings"]
    interval = results["ci95"]["f1"]
    rows = "\n".join(
        f"| {schema} | {part['precision']:.3f} | {part['recall']:.3f} | {part['f1']:.3f} "
        f"| {part['f1_answered']:.3f} | {part['mcc']:.3f} |"
        for schema, part in results["per_schema"].items()
    )
    fields = "\n".join(
        f"| {name} | {part['share']:.3f} | {part['ci95'][0]:.3f}-{part['ci95'][1]:.3f} |"
        for name, part in results["fields"]["pooled"].items()
    )
    return f"""\
# {manifest["name"]}

A vision-language model of the LFM2-VL architecture at a thousandth of the size: {manifest["parameters"]:,} parameters
in the base, {manifest["adapter_parameters"]:,} in the LoRA adapter. It is asked one of seven questions about a pair of
satellite pictures and answers with a JSON object or `null`.

## What it is for

Trying out flight software, policies and downlink budgets offline, on any machine, with a model that really looks,
is sometimes wrong and can be exchanged for another. Swap in real weights with `payload.with.model`.

## What it is not for

**Not for real imagery and no decision about the real world.** It has seen nothing but pictures that a program drew.
What it makes of real pairs is measured by `python -m benchmarks vlm_real` and told in docs/model.md. It knows
128 x 128 px at 10 to 40 m, four composites (either short-wave infrared band with near infrared and red; red, green,
blue; one grey band) and seven questions in one wording. It writes nothing but these answers. Its stated probability
needs the calibration in `profile.json`.

## How it was made

`flightsim train`, seed {settings["seed"]}: {manifest["pairs"]:,} pairs of the training regions of the generated world
({settings["shards"]} x {settings["shard_blocks"]} blocks); a base that answers in words
({settings["base"]["samples"]:,} questions, with a map of what changed as auxiliary target and a task to repeat
verdicts), then a LoRA adapter of rank {settings["lora"]["rank"]} on the language model alone that answers in JSON
({settings["adapter"]["samples"]:,} questions). No real picture, no foreign weight and no foreign text was used.
Licence: Apache-2.0.

## What it is worth

{results["n"]} questions about generated pairs of test regions, seed {results["set"]["seed"]}, half of them about an
event that is there; llama.cpp, the shipped files (feed-forward matrices before the gates in Q8_0, the others in
float16), greedy, no grammar. Micro-F1 {results["f1"]:.3f} [{interval[0]:.3f}-{interval[1]:.3f}], precision
{results["precision"]:.3f}, recall {results["recall"]:.3f}, MCC {results["mcc"]:.3f}. The quality gate refused
{results["unclassifiable"]} of them, which count as "no event" here; over those that the model was asked the F1 is
{results["f1_answered"]:.3f}.

| schema | precision | recall | F1 | F1 of those asked | MCC |
|---|---|---|---|---|---|
{rows}

Fields of true positives that are right:

| field | share | 95 % |
|---|---|---|
{fields}

At the few per cent of positives of a flight precision is lower: see `flightsim run default`.
"""

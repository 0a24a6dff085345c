"""The JSON Schema of a scenario file, for editors: ``python -m flightsim.scenario.schema`` writes it to stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from .models import Scenario

#: Models whose keys are needed even in a file that extends another: items of lists, which replace whole.
_WHOLE = {"Station"}


def scenario_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a scenario file, with descriptions.

    Notes
    -----
    A file that extends another may leave out what it inherits. So what is required at the top is required only
    without ``extends``, and below only where a list replaces whole; ``flightsim validate`` checks the merged file.
    Settings of plug-ins (``with``) are free here, they are checked by the plug-in.
    """
    made = Scenario.model_json_schema(by_alias=True, mode="validation")
    required = made.pop("required")
    for name, definition in made["$defs"].items():
        if name not in _WHOLE:
            definition.pop("required", None)
    properties = {
        "extends": {
            "type": "string",
            "description": "A scenario file beside this one, or the name of a shipped one, that this file changes.",
        },
        **made.pop("properties"),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "scenario/1",
        "title": "flightsim scenario",
        "description": made.pop("description"),
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["extends"]}, {"required": required}],
        "properties": properties,
        "$defs": made["$defs"],
    }


def schema_text() -> str:
    """The schema as it lies in ``schemas/scenario.schema.json``."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())

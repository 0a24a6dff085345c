"""The YAML format and its loading: ``load_scenario`` gives a checked ``Scenario``."""

from .loading import load_scenario, shipped_scenarios
from .models import Scenario
from .writing import dump_scenario

__all__ = ["Scenario", "dump_scenario", "load_scenario", "shipped_scenarios"]

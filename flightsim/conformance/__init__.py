"""Conformance checks of plug-ins, by kind; ``flightsim.testing`` is the way in."""

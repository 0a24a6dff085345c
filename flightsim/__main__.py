"""``python -m flightsim`` is the command ``flightsim``."""

from .cli import entry

if __name__ == "__main__":
    entry()

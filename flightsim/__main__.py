"""``python -m flightsim`` is the command ``flightsim``."""

from .cli import main

if __name__ == "__main__":
    main()

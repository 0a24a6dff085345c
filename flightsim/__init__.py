"""flightsim: what should a satellite send down?"""

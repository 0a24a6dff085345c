"""Vision-language models as payloads: engines behind one protocol, decoding profiles as data."""

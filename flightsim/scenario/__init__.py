"""The scenario format and its loading."""

"""Settings, search spaces and recipes. No torch."""

"""The service: recognising over HTTP, on this machine unless asked otherwise. No torch."""

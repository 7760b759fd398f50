"""Checks before training, and the audit of a data set."""

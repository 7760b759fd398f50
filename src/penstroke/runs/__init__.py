"""Run directories, checkpoints, and the way from settings to a finished run."""

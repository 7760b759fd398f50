"""Hyperparameter search: many runs of training, nothing else."""

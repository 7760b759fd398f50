"""The training loop: batches, augmentation, one step, schedule, state."""

"""Training: configuration, data, loop, checkpoints; needs the extra `train`."""

"""The parts of kernels.py: what is multiplied, by whom, in which order, and what was promised."""

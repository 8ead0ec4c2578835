"""Results of recipes: one JSON shape, and the figures drawn from it; needs the extra `train`."""

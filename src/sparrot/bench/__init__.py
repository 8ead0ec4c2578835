"""How fast a model file runs, beside dense networks of its shapes in other libraries."""

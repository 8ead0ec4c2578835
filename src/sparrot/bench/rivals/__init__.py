"""Other implementations of matrix products, one a module, behind one interface."""

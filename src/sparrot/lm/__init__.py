"""Language models of words: training and measuring them."""

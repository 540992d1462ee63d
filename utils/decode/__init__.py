"""The first pass. Log-probabilities and graphs enter; greedy words, lattices, hypotheses and their times leave."""

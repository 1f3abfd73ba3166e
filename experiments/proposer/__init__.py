"""The warm start of agents that propose: a codebook of directions, and a network that knows its images by prompt."""

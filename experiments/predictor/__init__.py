"""The predictor of the learned mechanism: pairs of latents and embeddings, and a network that learns them."""

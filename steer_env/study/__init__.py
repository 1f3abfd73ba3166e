"""What the paper's authors released: real people steering real models, as traces and as the paper's tables."""

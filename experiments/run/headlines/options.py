"""Options of the similarity of texts."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.run.options import REQUIRED


@dataclass
class SentenceMetricOptions:
    """Similarity of texts: cosine of the mean of an encoder's token embeddings.

    Args:
        path: a folder with an encoder as transformers saves it, such as all-MiniLM-L6-v2, or a hub id.
        device: where it runs.
    """

    path: str = REQUIRED
    device: str = "cpu"

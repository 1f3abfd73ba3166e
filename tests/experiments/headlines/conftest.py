"""The tiny models of the shared tests."""

from tests.experiments.run.headlines.conftest import metric, metric_folder, model, model_folder

__all__ = ["metric", "metric_folder", "model", "model_folder"]

"""The embedded domain in one place: captions of tilings, who writes them, the model that makes them, the metric."""

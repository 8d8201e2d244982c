"""The resource request of a training job, derived from its computation graph."""

"""slimline: from a dataset and one YAML file to a model that ships and a report that can be trusted."""

__version__ = "0.1.0"

"""The resource: its models, its checks, its CRD. `read` makes a body of a YAML file, `parse` an Experiment of a body."""

from kubetune_operator.api.parsing import Experiment, Logs, Trial, parse
from kubetune_operator.api.reading import Document, read

__all__ = ["Document", "Experiment", "Logs", "Trial", "parse", "read"]

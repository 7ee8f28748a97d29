"""What the resource is called."""

GROUP = "kubetune.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "TuneExperiment"
MAX_NAME = 52  # characters of an experiment's name: pods are named after it, with trial and attempt behind it

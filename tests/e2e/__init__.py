"""What is tested on a real Kubernetes: whichever one KUBECONFIG leads to. `make e2e` brings up one of its own.

Nothing here knows how a cluster is made, but for `load_image` in conftest.
"""

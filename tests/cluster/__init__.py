"""A real Kubernetes for the tests: `python -m tests.cluster up | run | load | status | down`. Always kind, with or without Docker.

With a Docker that runs privileged containers, kind takes its official node image. On a Debian without one, as root, a private
Docker is started in namespaces of its own, and the node image is built from Debian's packages and Go modules. What is built is
kept in the user's cache folder. The suite that runs against the cluster is in tests/e2e and knows nothing of this package.
"""

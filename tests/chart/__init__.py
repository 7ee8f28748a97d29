"""Tests of charts/kubetune, by Helm 3 and 4 as they are; what the API server makes of it is for tests/e2e."""

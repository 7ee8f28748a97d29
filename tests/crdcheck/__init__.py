"""The API server's own judgement of our CRD and of objects of it: a Go program, and how the tests call it (`checker`)."""

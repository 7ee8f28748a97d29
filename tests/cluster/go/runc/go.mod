module kubetune.dev/tests/cluster/runc

go 1.25.0

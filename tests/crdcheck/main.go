// Command crdcheck asks the API server's own code about our CustomResourceDefinition, about objects of it,
// and about how kubectl reads YAML. It decides nothing itself and needs no cluster.
//
//	crdcheck crd CRD.yaml                      one problem a line; exit 1 if there is any
//	crdcheck objects CRD.yaml <requests.jsonl  one answer a line (see objects.go)
//	crdcheck yaml <texts.json                  what sigs.k8s.io/yaml makes of each text, a line each (see texts.go)
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "crd":
		return checkDefinition(args[1])
	case len(args) == 2 && args[0] == "objects":
		return judgeObjects(args[1], os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == "yaml":
		return readTexts(os.Stdin, os.Stdout)
	}
	return fmt.Errorf("usage: crdcheck crd CRD.yaml | crdcheck objects CRD.yaml | crdcheck yaml")
}

package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// readDefinition reads a CRD as the API server would: strictly, defaulted, in its internal form.
func readDefinition(path string) (*apiextensions.CustomResourceDefinition, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	external := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, external); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	scheme.Default(external)
	internal := &apiextensions.CustomResourceDefinition{}
	if err := scheme.Convert(external, internal, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, version := range internal.Spec.Versions {
		if version.Storage {
			internal.Status.StoredVersions = append(internal.Status.StoredVersions, version.Name)
		}
	}
	return internal, nil
}

// checkDefinition runs what a create of the CRD runs: structure, defaults, CEL compilation and its cost estimate.
func checkDefinition(path string) error {
	definition, err := readDefinition(path)
	if err != nil {
		return err
	}
	problems := validation.ValidateCustomResourceDefinition(context.Background(), definition)
	for _, problem := range problems {
		fmt.Println(problem)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s: the API server would refuse this definition: %d problems", path, len(problems))
	}
	return nil
}

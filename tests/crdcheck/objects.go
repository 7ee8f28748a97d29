package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

// request is one line of the input: an object to create, or with `old` the object that it is to replace.
type request struct {
	Object json.RawMessage `json:"object"`
	Old    json.RawMessage `json:"old,omitempty"`
}

// answer is one line of the output, in the order of the requests.
type answer struct {
	Errors  []string       `json:"errors"`  // as the API server words them; empty: accepted
	Unknown []string       `json:"unknown"` // fields that the schema does not have (kubectl's strict mode refuses them)
	Object  map[string]any `json:"object"`  // with the schema's defaults, as it would be stored
}

// server holds what the API server prepares once for each version of a CRD.
type server struct {
	apiVersion string
	kind       string
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

func newServer(definition *apiextensions.CustomResourceDefinition) (*server, error) {
	props := definition.Spec.Validation
	if props == nil {
		props = definition.Spec.Versions[0].Schema
	}
	structural, err := structuralschema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(props.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &server{
		apiVersion: definition.Spec.Group + "/" + definition.Spec.Versions[0].Name,
		kind:       definition.Spec.Names.Kind,
		structural: structural,
		validator:  validator,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

func judgeObjects(path string, in io.Reader, out io.Writer) error {
	definition, err := readDefinition(path)
	if err != nil {
		return err
	}
	judge, err := newServer(definition)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return fmt.Errorf("a request must be a JSON object: %w", err)
		}
		given, err := judge.judge(asked)
		if err != nil {
			return err
		}
		if err := encoder.Encode(given); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (s *server) judge(asked request) (*answer, error) {
	object, unknown, err := s.admit(asked.Object)
	if err != nil {
		return nil, err
	}
	given := &answer{Errors: []string{}, Unknown: unknown, Object: object}
	var problems field.ErrorList
	if len(asked.Old) == 0 {
		problems = s.create(object)
	} else {
		old, _, err := s.admit(asked.Old)
		if err != nil {
			return nil, err
		}
		problems = s.update(object, old)
	}
	for _, problem := range problems {
		given.Errors = append(given.Errors, problem.Error())
	}
	return given, nil
}

// admit decodes an object as the handler of custom resources does: prune, drop nulls, fill in defaults.
func (s *server) admit(text json.RawMessage) (map[string]any, []string, error) {
	object := map[string]any{}
	if err := utiljson.Unmarshal(text, &object); err != nil {
		return nil, nil, err
	}
	metadata := object["metadata"]
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown := pruning.PruneWithOptions(object, s.structural, true, options)
	if unknown == nil {
		unknown = []string{}
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	defaulting.Default(object, s.structural)
	if metadata != nil {
		object["metadata"] = metadata
	}
	return object, unknown, nil
}

func (s *server) create(object map[string]any) field.ErrorList {
	problems := s.named(object)
	problems = append(problems, validation.ValidateCustomResource(nil, object, s.validator)...)
	problems = append(problems, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if skipped := blocked(problems); skipped != nil {
		return append(problems, skipped)
	}
	found, _ := s.rules.Validate(context.Background(), nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(problems, found...)
}

func (s *server) update(object, old map[string]any) field.ErrorList {
	correlated := common.NewCorrelatedObject(object, old, &model.Structural{Structural: s.structural})
	problems := s.named(object)
	problems = append(problems,
		validation.ValidateCustomResourceUpdate(nil, object, old, s.validator, validation.WithRatcheting(correlated))...)
	if len(listtype.ValidateListSetsAndMaps(nil, s.structural, old)) == 0 {
		problems = append(problems, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	}
	if skipped := blocked(problems); skipped != nil {
		return append(problems, skipped)
	}
	found, _ := s.rules.Validate(
		context.Background(), nil, s.structural, object, old, celconfig.RuntimeCELCostBudget, cel.WithRatcheting(correlated))
	return append(problems, found...)
}

// named checks what every object has: kind, version, name.
func (s *server) named(object map[string]any) field.ErrorList {
	var problems field.ErrorList
	if object["kind"] != s.kind {
		problems = append(problems, field.Invalid(field.NewPath("kind"), object["kind"], "must be "+s.kind))
	}
	if object["apiVersion"] != s.apiVersion {
		problems = append(problems, field.Invalid(field.NewPath("apiVersion"), object["apiVersion"], "must be "+s.apiVersion))
	}
	metadata := &unstructured.Unstructured{Object: object}
	return append(problems,
		metavalidation.ValidateObjectMetaAccessor(metadata, true, metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))...)
}

// blocked says, as the API server does, that CEL rules were not run because the object has not even the right shape.
func blocked(problems field.ErrorList) *field.Error {
	for _, problem := range problems {
		switch problem.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid")
		}
	}
	return nil
}

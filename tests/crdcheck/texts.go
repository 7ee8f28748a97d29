package main

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"
)

// reading is one row (a line) of the table that the Python reader is tested against.
type reading struct {
	Text  string          `json:"text"`
	JSON  json.RawMessage `json:"json,omitempty"`  // what kubectl would send
	Error string          `json:"error,omitempty"` // why it would send nothing
}

// readTexts converts each text of a JSON list as kubectl converts a document, duplicate keys refused.
func readTexts(in io.Reader, out io.Writer) error {
	var texts []string
	if err := json.NewDecoder(in).Decode(&texts); err != nil {
		return fmt.Errorf("the input must be a JSON list of strings: %w", err)
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, text := range texts {
		row := reading{Text: text}
		if converted, err := yaml.YAMLToJSONStrict([]byte(text)); err != nil {
			row.Error = err.Error()
		} else {
			row.JSON = converted
		}
		if err := encoder.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

package openapi

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDocument follows every reference of the document and finds the calls a client needs.
func TestDocument(t *testing.T) {
	data, err := Document("test")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/surety.lending.v1.LendingService/Submit",
		"/surety.ledger.v1.LedgerService/CreateTransfers",
		"/surety.guard.v1.GuardService/ListBreaches",
		"/surety.evidence.v1.EvidenceService/Trace",
		"/surety.node.v1.NodeService/GetBoard",
	} {
		if doc.Paths[path] == nil {
			t.Errorf("no path %s", path)
		}
	}
	const prefix = "#/components/schemas/"
	for _, part := range strings.Split(string(data), `"$ref": "`)[1:] {
		reference, _, _ := strings.Cut(part, `"`)
		if doc.Components.Schemas[strings.TrimPrefix(reference, prefix)] == nil {
			t.Errorf("reference %s leads nowhere", reference)
		}
	}
	if !strings.Contains(string(data), "Sending the") {
		t.Error("the comments of the schemas are missing")
	}
}

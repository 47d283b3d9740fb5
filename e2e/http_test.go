//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	nodev1 "surety/api/node/v1"
)

// call is one plain HTTP request, as curl would make it.
type call struct {
	method, path, body string
	header             map[string]string
	chunked            bool // the body comes without a length
}

// do makes the request and returns the status and the body.
func (c call) do(t *testing.T, n *node) (int, string) {
	t.Helper()
	method := c.method
	if method == "" {
		method = http.MethodPost
	}
	var body io.Reader = strings.NewReader(c.body)
	if c.chunked {
		body = io.MultiReader(body) // hides its length
	}
	request, err := http.NewRequestWithContext(t.Context(), method, n.url(c.path), body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range c.header {
		request.Header.Set(name, value)
	}
	if host := c.header["Host"]; host != "" {
		request.Host = host
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, c.path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

const lendingService, ledgerService = "/surety.lending.v1.LendingService/", "/surety.ledger.v1.LedgerService/"

// TestHTTP uses the door as a program without our client would: JSON over POST, the OpenAPI file,
// metrics, health, the stream of boards, the console's page.
func TestHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "5")
	form, err := protojson.Marshal(goodForm("http-0001"))
	if err != nil {
		t.Fatal(err)
	}
	submit := call{path: lendingService + "Submit",
		body: fmt.Sprintf(`{"idempotencyKey": "http-1", "form": %s}`, form)}
	status, first := submit.do(t, n)
	var answer struct {
		Application struct{ ID, Status string }
		Loan        struct{ ID, Status string }
	}
	if err := json.Unmarshal([]byte(first), &answer); err != nil || status != 200 ||
		answer.Application.Status != "disbursed" || answer.Loan.Status != "active" {
		t.Fatalf("submit: %d, %v\n%s", status, err, first)
	}
	// What the console and a browser do for reads: GET, with the message in the query.
	status, body := call{method: http.MethodGet, path: lendingService + "GetLoan?connect=v1&encoding=json&message=" +
		"%7B%22id%22%3A%22" + answer.Loan.ID + "%22%7D"}.do(t, n)
	if status != 200 || !strings.Contains(body, answer.Loan.ID) {
		t.Errorf("GetLoan by GET: %d\n%s", status, body)
	}
	t.Run("openapi", func(t *testing.T) { openAPI(t, n) })
	t.Run("metrics", func(t *testing.T) { metrics(t, n) })
	t.Run("events", func(t *testing.T) { events(t, n) })
	if status, body := (call{method: http.MethodGet, path: "/healthz"}).do(t, n); status != 200 || body != "ok\n" {
		t.Errorf("healthz: %d, %q", status, body)
	}
	status, page := call{method: http.MethodGet, path: "/"}.do(t, n)
	if status != 200 || !strings.Contains(page, "<title>Surety</title>") {
		t.Errorf("the console: %d\n%s", status, page)
	}
	asset := regexp.MustCompile(`src="\./(assets/[^"]+)"`).FindStringSubmatch(page)
	if asset == nil {
		t.Fatalf("the page loads no script:\n%s", page)
	}
	status, script := call{method: http.MethodGet, path: "/" + asset[1]}.do(t, n)
	if status != 200 || len(script) < 1_000 {
		t.Errorf("%s: %d, %d bytes", asset[1], status, len(script))
	}
}

// openAPI wants every procedure that answers to be described.
func openAPI(t *testing.T, n *node) {
	status, body := call{method: http.MethodGet, path: "/openapi.json"}.do(t, n)
	var document struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil || status != 200 ||
		!strings.HasPrefix(document.OpenAPI, "3.") || len(document.Paths) < 30 {
		t.Fatalf("%d, %v, version %q, %d paths", status, err, document.OpenAPI, len(document.Paths))
	}
	for path := range document.Paths {
		if !strings.HasPrefix(path, "/surety.") {
			continue
		}
		if status, body := (call{path: path, body: `{"id": 7`}).do(t, n); status != 400 {
			t.Errorf("%s is described; a malformed request to it: %d %s", path, status, body)
		}
	}
	for _, found := range regexp.MustCompile(`"\$ref": ?"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if document.Components.Schemas[found[1]] == nil {
			t.Errorf("schema %s is referred to and absent", found[1])
		}
	}
}

// metrics wants counters that moved, in the form that Prometheus reads.
func metrics(t *testing.T, n *node) {
	status, body := call{method: http.MethodGet, path: "/metrics"}.do(t, n)
	if status != 200 {
		t.Fatalf("%d\n%s", status, body)
	}
	line := regexp.MustCompile(`^(surety_[a-z_]+)(\{[^}]*\})? ([0-9.e+-]+|NaN|\+Inf)$`)
	counted := map[string]bool{}
	for text := range strings.Lines(body) {
		if found := line.FindStringSubmatch(strings.TrimSpace(text)); found != nil && found[3] != "0" {
			counted[found[1]] = true
		}
	}
	for _, part := range []string{"surety_lending_", "surety_ledger_", "surety_guard_"} {
		any := false
		for name := range counted {
			any = any || strings.HasPrefix(name, part)
		}
		if !any {
			t.Errorf("no metric of %s has moved: %v", part, counted)
		}
	}
}

// events reads three boards from the stream; the node moves on between them.
func events(t *testing.T, n *node) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url("/events"), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("the stream is %q", kind)
	}
	var boards []*nodev1.Board
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for event := ""; len(boards) < 3 && lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
		case "event":
			event = value
		case "data":
			b := &nodev1.Board{}
			if err := protojson.Unmarshal([]byte(value), b); err != nil || event != "board" {
				t.Fatalf("event %q: %v", event, err)
			}
			boards = append(boards, b)
		}
	}
	if len(boards) < 3 || boards[2].Applications <= boards[0].Applications || boards[2].At <= boards[0].At ||
		len(boards[2].Totals) == 0 || boards[2].Guard == nil {
		t.Errorf("boards: %v, %v", boards, lines.Err())
	}
}

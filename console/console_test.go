package console

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"surety/base/errs"
)

func bundle() fstest.MapFS {
	return fstest.MapFS{
		"index.html":             {Data: []byte("<!doctype html><title>home</title>")},
		"placeholder.html":       {Data: []byte("<!doctype html><title>not built</title>")},
		"icon.svg":               {Data: []byte("<svg/>")},
		"assets/index-5f3a.js":   {Data: []byte("export {}")},
		"assets/index-77b1.css":  {Data: []byte("body{}")},
		"assets/strange-01.blob": {Data: []byte{0, 1}},
	}
}

func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestServe(t *testing.T) {
	h, err := New(bundle())
	if err != nil {
		t.Fatal(err)
	}
	if !h.Built() {
		t.Error("Built() = false with index.html present")
	}
	const html, forever = "text/html; charset=utf-8", "public, max-age=31536000, immutable"
	tests := []struct {
		method, path string
		status       int
		contentType  string
		cache        string
	}{
		{"GET", "/", 200, html, "no-cache"},
		{"HEAD", "/", 200, html, "no-cache"},
		{"GET", "/index.html", 200, html, "no-cache"},
		{"GET", "/board", 200, html, "no-cache"},
		{"GET", "/loan/00", 200, html, "no-cache"},
		{"GET", "/icon.svg", 200, "image/svg+xml", "no-cache"},
		{"GET", "/assets/index-5f3a.js", 200, "text/javascript; charset=utf-8", forever},
		{"GET", "/assets/index-77b1.css", 200, "text/css; charset=utf-8", forever},
		{"GET", "/assets/strange-01.blob", 200, "application/octet-stream", forever},
		{"GET", "/assets/index-0000.js", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/assets", 200, html, "no-cache"},
		{"GET", "/assets/", 200, html, "no-cache"},
		{"GET", "/missing.png", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/surety.node.v1.NodeService/GetBoard", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/../console.go", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/assets/../../go.mod", 404, "text/plain; charset=utf-8", "no-store"},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"DELETE", "/icon.svg", 405, "text/plain; charset=utf-8", ""},
	}
	for _, test := range tests {
		t.Run(test.method+test.path, func(t *testing.T) {
			res := get(t, h, test.method, test.path)
			if res.StatusCode != test.status {
				t.Errorf("status %d, want %d", res.StatusCode, test.status)
			}
			if got := res.Header.Get("Content-Type"); got != test.contentType {
				t.Errorf("content type %q, want %q", got, test.contentType)
			}
			if got := res.Header.Get("Cache-Control"); got != test.cache {
				t.Errorf("cache %q, want %q", got, test.cache)
			}
			policy := res.Header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self';",
				"style-src 'self';", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("policy %q lacks %q", policy, want)
				}
			}
			if strings.Contains(policy, "unsafe") {
				t.Errorf("policy %q allows inline code", policy)
			}
			if got := res.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options %q", got)
			}
		})
	}
}

func TestRevalidate(t *testing.T) {
	h, err := New(bundle())
	if err != nil {
		t.Fatal(err)
	}
	etag := get(t, h, "GET", "/").Header.Get("ETag")
	if etag == "" || etag == get(t, h, "GET", "/icon.svg").Header.Get("ETag") {
		t.Fatalf("etag %q says nothing about the content", etag)
	}
	if res := get(t, h, "GET", "/", "If-None-Match", etag); res.StatusCode != 304 {
		t.Errorf("status %d for the same content, want 304", res.StatusCode)
	}
	if res := get(t, h, "GET", "/", "If-None-Match", `"other"`); res.StatusCode != 200 {
		t.Errorf("status %d for other content, want 200", res.StatusCode)
	}
}

func TestPacked(t *testing.T) {
	files := bundle()
	long := strings.Repeat("export const surety = 1;\n", 100)
	files["assets/long-77aa.js"] = &fstest.MapFile{Data: []byte(long)}
	h, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path, accept, encoding string
	}{
		{"/assets/long-77aa.js", "gzip, deflate, br", "gzip"},
		{"/assets/long-77aa.js", "br;q=1, gzip;q=0.5", "gzip"},
		{"/assets/long-77aa.js", "gzip;q=0", ""},
		{"/assets/long-77aa.js", "gzip; q=0.0", ""},
		{"/assets/long-77aa.js", "br", ""},
		{"/assets/long-77aa.js", "", ""},
		{"/assets/index-5f3a.js", "gzip", ""}, // it would be longer
	}
	tags := make(map[string]string)
	for _, test := range tests {
		res := get(t, h, "GET", test.path, "Accept-Encoding", test.accept)
		if got := res.Header.Get("Content-Encoding"); got != test.encoding {
			t.Errorf("%s accepting %q: encoding %q, want %q", test.path, test.accept, got, test.encoding)
		}
		if got := res.Header.Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("%s: Vary %q", test.path, got)
		}
		if test.encoding == "gzip" {
			unpacked, err := gzip.NewReader(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(unpacked); err != nil || string(body) != long {
				t.Errorf("%s unpacks to %d bytes, %v", test.path, len(body), err)
			}
		}
		if test.path == "/assets/long-77aa.js" {
			tags[test.encoding] = res.Header.Get("ETag")
		}
	}
	if tags["gzip"] == tags[""] {
		t.Errorf("both encodings have the entity tag %s", tags[""])
	}
}

func TestWithoutBundle(t *testing.T) {
	files := bundle()
	delete(files, "index.html")
	h, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	if h.Built() {
		t.Error("Built() = true without index.html")
	}
	body, _ := io.ReadAll(get(t, h, "GET", "/").Body)
	if !strings.Contains(string(body), "not built") {
		t.Errorf("home is %q, want the placeholder", body)
	}
	delete(files, "placeholder.html")
	if _, err := New(files); !errs.Is(err, errs.NotFound) {
		t.Errorf("New of an empty bundle: %v, want NotFound", err)
	}
}

// unreadable is a bundle whose files cannot be opened.
type unreadable struct{ fstest.MapFS }

func (u unreadable) ReadFile(name string) ([]byte, error) { return nil, fs.ErrPermission }

func TestUnreadable(t *testing.T) {
	if _, err := New(unreadable{bundle()}); err == nil {
		t.Error("New of an unreadable bundle: no error")
	}
}

// The binary always has something to show, whether or not the bundle was built before it.
func TestEmbedded(t *testing.T) {
	h, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("console built: %v", h.Built())
	res := get(t, h, "GET", "/")
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 || !strings.Contains(string(body), "Surety") {
		t.Errorf("status %d, body %q", res.StatusCode, body)
	}
	if strings.Contains(string(body), "style=") || strings.Contains(string(body), "<style") {
		t.Errorf("the home page has inline styles, which the policy forbids")
	}
	if !h.Built() {
		return
	}
	plain, sent := 0, 0
	for name, f := range h.files {
		if strings.HasPrefix(name, "assets/") {
			plain += len(f.body)
			sent += len(f.packed)
		}
	}
	t.Logf("assets: %d bytes, %d as sent", plain, sent)
	const limitBytes = 80 << 10 // what a phone on a slow line loads in a second
	if sent == 0 || sent > limitBytes {
		t.Errorf("the assets are %d bytes as sent, limit %d", sent, limitBytes)
	}
}

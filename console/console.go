// Package console serves the web console: the pages people look at, and nothing else.
//
// The sources are in web/ and are built into dist/, which is embedded here. A page is one HTML file
// and a few hashed assets; all data comes from the node's API and from /events, so the handler
// holds no state, takes no input but a path, and asks nobody who is calling: what it serves is the
// same for everyone and says nothing about anyone. The API behind it checks every call.
//
// # Invariants
//
//   - Every answer carries the same headers against injected content: no inline script or style, no
//     other origin, no framing, no scripting sink that takes a string (trusted types).
//   - Only a file whose name holds the hash of its content is cached for longer than a check.
//   - A binary built without the console serves a page that says so, never an empty one.
//
// # Boundaries
//
// No API, no authentication, no templates. Wire formats live in api/, the board is made by node.
//
// # Concurrency
//
// A Handler is immutable after New and safe for any number of callers.
//
// # Sources
//
// Content Security Policy Level 3 (W3C), Trusted Types (W3C), RFC 8246 (immutable).
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"surety/base/errs"
)

const (
	indexFile       = "index.html"
	placeholderFile = "placeholder.html"
	// assetsFolder holds the files that the bundler names after their content.
	assetsFolder = "assets/"

	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
	cacheForever = "public, max-age=31536000, immutable"
	cacheChecked = "no-cache"
)

//go:embed dist
var dist embed.FS

// Handler answers GET and HEAD for the files of the console.
type Handler struct {
	files map[string]file // by path without the leading slash
	home  file            // answers "/" and every path that is a page, not a file
	built bool
}

// file is one file of the bundle, read once.
type file struct {
	name        string
	body        []byte
	packed      []byte // body by gzip; nil where that is no shorter
	contentType string
	etag        string // strong, quoted, of body
	packedETag  string // of packed
	cache       string
}

// Embedded returns the handler of the bundle in this binary, or the error of New.
func Embedded() (*Handler, error) {
	bundle, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, errs.Wrap(err, "console.Embedded")
	}
	return New(bundle)
}

// New returns a handler of the files below bundle, all read into memory: a bundle is about 100 kB,
// a third of that as it is sent. Where there is no index.html the placeholder stands for it. It is
// an error of kind NotFound to have neither.
func New(bundle fs.FS) (*Handler, error) {
	h := &Handler{files: make(map[string]file)}
	err := fs.WalkDir(bundle, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(bundle, name)
		if err != nil {
			return err
		}
		h.files[name], err = newFile(name, body)
		return err
	})
	if err != nil {
		return nil, errs.Wrap(err, "console.New: read the bundle")
	}
	h.home, h.built = h.files[indexFile]
	if h.built {
		return h, nil
	}
	placeholder, ok := h.files[placeholderFile]
	if !ok {
		return nil, errs.New(errs.NotFound, "console.New: neither %s nor %s in the bundle",
			indexFile, placeholderFile)
	}
	h.home = placeholder
	return h, nil
}

// Built reports whether the console itself is in the binary, not the placeholder alone.
func (h *Handler) Built() bool { return h.built }

// ServeHTTP answers with a file, with the home page for a path that names a page, 404 for a file
// that is not there, and 405 for any method but GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h.find(r.URL.Path)
	if !ok {
		header.Set("Cache-Control", "no-store")
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cache)
	header.Set("Vary", "Accept-Encoding")
	body := f.body
	header.Set("ETag", f.etag)
	if f.packed != nil && acceptsGzip(r.Header) {
		body = f.packed
		header.Set("ETag", f.packedETag)
		header.Set("Content-Encoding", "gzip")
	}
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(body))
}

// find returns the file for a request path. A path without a dot is a page, which the home page
// shows. A missing asset is never answered with a page, since a browser that holds an old home page
// must see that the asset is gone; nor is a call to the API that went astray.
func (h *Handler) find(urlPath string) (file, bool) {
	name := strings.TrimPrefix(path.Clean("/"+urlPath), "/")
	if f, ok := h.files[name]; ok {
		return f, true
	}
	if strings.HasPrefix(name, assetsFolder) || strings.Contains(name, ".") {
		return file{}, false
	}
	return h.home, true
}

func newFile(name string, body []byte) (file, error) {
	sum := sha256.Sum256(body)
	tag := hex.EncodeToString(sum[:16])
	f := file{
		name:        name,
		body:        body,
		contentType: contentType(name),
		etag:        `"` + tag + `"`,
		packedETag:  `"` + tag + `-gzip"`,
		cache:       cacheChecked,
	}
	if strings.HasPrefix(name, assetsFolder) {
		f.cache = cacheForever
	}
	packed, err := pack(body)
	if err == nil && len(packed) < len(body) {
		f.packed = packed
	}
	return f, err
}

func pack(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// acceptsGzip reports whether a request names gzip without refusing it by a weight of zero.
func acceptsGzip(header http.Header) bool {
	for coding := range strings.SplitSeq(header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		q, weighted := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		return !weighted || strings.TrimLeft(q, "0.") != "" // 0, 0.0 and 0.000 refuse it
	}
	return false
}

// contentType is a table of our own: the one of package mime reads the machine's files.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".json", ".webmanifest":
		return "application/json"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		return "application/octet-stream"
	}
}

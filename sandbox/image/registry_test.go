package image

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"surety/base/errs"
)

// hub is a registry on loopback whose blobs may be spoilt on the way out.
type hub struct {
	host  string
	blobs atomic.Int64 // fetched
	spoil atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

func newHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256") {
			h.blobs.Add(1)
			if spoil := h.spoil.Load(); spoil != nil && (*spoil)(w, r) {
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.host = strings.TrimPrefix(server.URL, "http://")
	return h
}

// push puts an image into the registry, alone and as one of two platforms.
func (h *hub) push(t testing.TB, d *drawing, ref string) v1.Hash {
	t.Helper()
	index, err := layout.ImageIndexFromPath(d.layout(t))
	if err != nil {
		t.Fatal(err)
	}
	_, manifest, _ := d.parts(t)
	digest, err := v1.NewHash(manifest.says["digest"].(string))
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	one, err := name.ParseReference(h.host + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(one, image); err != nil {
		t.Fatal(err)
	}
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux",
			Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux",
			Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
			Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	if err := remote.WriteIndex(one.Context().Tag("both"), both); err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestPull(t *testing.T) {
	h := newHub(t)
	d := small(t)
	digest := h.push(t, d, "team/app:v1")
	want := add(t, newStore(t), Source{Where: d.layout(t)}, "i").Digest
	for _, ref := range []string{"team/app:v1", "team/app:both", "team/app@" + digest.String()} {
		s := newStore(t)
		var done atomic.Int64
		i := add(t, s, Source{Kind: Registry, Where: h.host + "/" + ref, Advanced: func(p Progress) {
			if p.Stage == "fetch" {
				done.Store(max(done.Load(), p.Done))
			}
		}}, ref)
		if i.Digest != want || i.Manifest != digest.String() || i.Config.User != "app:staff" {
			t.Errorf("%s: %+v", ref, i)
		}
		if done.Load() == 0 {
			t.Errorf("%s: no progress", ref)
		}
		before := h.blobs.Load()
		add(t, s, Source{Kind: Registry, Where: h.host + "/" + ref}, "again")
		if n := h.blobs.Load() - before; n != 1 { // its config
			t.Errorf("%s again: fetched %d blobs, want 1", ref, n)
		}
	}
}

func TestRefusedPulls(t *testing.T) {
	h := newHub(t)
	d := small(t)
	h.push(t, d, "app:v1")
	layer := d.layers[1]
	at := func(do func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, layer.says["digest"].(string)) {
				return false
			}
			do(w)
			return true
		}
	}
	flipped := append([]byte(nil), layer.content...)
	flipped[20] ^= 1
	for _, c := range []struct {
		name  string
		ref   string
		spoil func(http.ResponseWriter, *http.Request) bool
		kind  errs.Kind
		says  string
	}{
		{"no tag", "app:v2", nil, errs.NotFound, "app:v2"},
		{"no repository", "other:v1", nil, errs.NotFound, "other:v1"},
		{"no digest", "app@sha256:" + strings.Repeat("0", 64), nil, errs.NotFound, "app@sha256"},
		{"wrong bytes", "app:v1", at(func(w http.ResponseWriter) { _, _ = w.Write(flipped) }), errs.Invalid,
			"layer 2 of 2, " + layer.says["digest"].(string) + ": its bytes have digest"},
		{"too few", "app:v1", at(func(w http.ResponseWriter) { _, _ = w.Write(flipped[:30]) }), errs.Unavailable,
			"layer 2 of 2"},
		{"too many", "app:v1", at(func(w http.ResponseWriter) { _, _ = w.Write(append(layer.content, 1)) }),
			errs.Invalid, "layer 2 of 2"},
		{"gone", "app:v1", at(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }), errs.NotFound,
			"layer 2 of 2"},
		{"forbidden", "app:v1", at(func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }),
			errs.Forbidden, "layer 2 of 2"},
		{"broken off", "app:v1", at(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(layer.content[:10])
		}), errs.Unavailable, "layer 2 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.spoil.Store(nil)
			if c.spoil != nil {
				h.spoil.Store(&c.spoil)
			}
			s := newStore(t)
			_, err := s.Add(context.Background(), Source{Kind: Registry, Where: h.host + "/" + c.ref}, "i")
			if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, kind %s; want kind %s with %q", err, errs.KindOf(err), c.kind, c.says)
			}
			left := remains(t, s)
			delete(left, "fd") // connections are kept for the next request
			if !maps.Equal(left, map[string]int{"tmp": 0, "erofs": 0, "names": 0, "builds": 0}) {
				t.Errorf("left %v", left)
			}
		})
	}
	stopped := httptest.NewServer(http.NotFoundHandler())
	stopped.Close()
	_, err := newStore(t).Add(context.Background(), Source{Kind: Registry,
		Where: strings.TrimPrefix(stopped.URL, "http://") + "/app"}, "i")
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

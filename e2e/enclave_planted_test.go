//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/enclave/broker"
	"surety/enclave/pack"
)

// TestEnclavePlanted leads ten thousand random values through an enclave, as its secret layer, its sealed
// state, a file in its memory, and secrets of its broker, and then looks for them in all that was sent,
// stored or said: none is found. What is given away on purpose is, by the same search.
func TestEnclavePlanted(t *testing.T) {
	t.Parallel()
	const count = 10_000
	p := plant(t, count)
	k := newKeep(t)
	o := newOwner(t, k)
	wire := tap(t, strings.TrimPrefix(o.address(), "http://"))

	// The owner of the data builds elsewhere; what the machine gets is the bundle.
	builder := newKeep(t)
	project := builder.project(design{name: "vault", command: []string{"hold", "/secret", "/state"},
		layers: "[{name: word, kind: secret, key: owner/" + ownerTenant + "/layer-key/word, target: /secret}]",
		more: fmt.Sprintf("overlay: true\nbrokers: [{name: owner, key: %s}]\n"+
			"state: [{name: book, target: /state, bytes: 64m, broker: owner}]\n", o.key),
		secrets: map[string][]byte{"word/raw": p.raw(), "word/lines": p.lines()}})
	bundle := filepath.Join(k.dir, "bundle")
	if err := os.CopyFS(bundle, os.DirFS(filepath.Join(project, "build"))); err != nil {
		t.Fatal(err)
	}
	key, err := pack.LoadLayerKey(filepath.Join(project, "keys", "word.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.add(key[:], "the layer's key")
	o.keeps(project)
	o.allows(o.policy(project))
	state := o.policy(project)
	state.Name = "vault/state/book"
	ctx := context.Background()
	if err := o.SetPolicy(ctx, "vault", "state/book", state); err != nil {
		t.Fatal(err)
	}
	const each = 1000
	for i := 0; i < count; i += each {
		part := p.raw()[i*plantedBytes : (i+each)*plantedBytes]
		if err := o.PutSecret(ctx, ownerTenant, "planted", fmt.Sprint(i), part, false); err != nil {
			t.Fatal(err)
		}
	}

	want := sha256.Sum256(append(p.lines(), p.raw()...))
	var said bytes.Buffer
	c := k.command(ctx, "run", "-i", "--name", "vault", "--broker", "owner=http://"+wire.address, bundle)
	c.Stderr = &said
	line, end := k.attend(c)
	if line != "held "+hex.EncodeToString(want[:]) {
		t.Fatalf("the enclave said %q", line)
	}
	places := []string{k.dir, "/dev/shm"}
	clean := func(when string) {
		t.Helper()
		found, files, size := p.below(t, places...)
		for _, f := range found {
			t.Errorf("%s: %s", when, f)
		}
		t.Logf("%s: %d files, %d bytes", when, files, size)
		if files < 20 || size < 3*count*plantedBytes {
			t.Errorf("%s: only %d files and %d bytes were searched", when, files, size)
		}
	}
	clean("while it runs")
	end()
	clean("when it has ended")
	if _, files, size := p.below(t, filepath.Join(k.root, "states")); size < 5*count*plantedBytes {
		t.Errorf("the state has %d files and %d bytes, too few to hold the values", files, size)
	}
	sent, got := wire.heard()
	if len(sent) < 1000 || len(got) < 1000 {
		t.Errorf("%d and %d bytes were overheard", len(sent), len(got))
	}
	records, err := o.Outcomes(ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	o.kill() // so that its log is whole
	for what, text := range map[string][]byte{"sent to the broker": sent, "answered by the broker": got,
		"said on standard error": said.Bytes(), "said by the broker": o.log.Bytes(),
		"the broker's records": fmt.Appendf(nil, "%+v", records)} {
		if found := p.in(text); found != "" {
			t.Errorf("%s: %s", what, found)
		}
	}

	t.Run("controls", func(t *testing.T) { giveAway(t, p, k, o, project) })
}

// giveAway has the same search find values that are written down or sent in clear on purpose: by a
// program that prints its secret into the log of a started enclave, and by an administrator without TLS.
func giveAway(t *testing.T, p *planted, k *keep, o *owner, project string) {
	o.start()
	wire := tap(t, strings.TrimPrefix(o.address(), "http://"))
	open := &keep{t: t, dir: k.dir, root: k.root, env: k.env}
	open.design(project, design{name: "vault", command: []string{"tell", "/secret/lines"},
		layers: "[{name: word, kind: secret, key: owner/" + ownerTenant + "/layer-key/word, target: /secret}]",
		more:   fmt.Sprintf("brokers: [{name: owner, key: %s}]\n", o.key)})
	open.must("build", project)
	open.must("start", "--name", "teller", "--broker", "owner=http://"+wire.address, project)
	until(t, 20*time.Second, "a value in the log of a started enclave", func() (bool, string) {
		found, files, size := p.below(t, k.root)
		return len(found) > 0, fmt.Sprintf("none in %d files, %d bytes", files, size)
	})
	open.must("stop", "teller")
	ctx := context.Background()
	token, err := o.CreateTenant(ctx, ownerTenant)
	if err != nil {
		t.Fatal(err)
	}
	if sent, _ := wire.heard(); p.in(sent) != "" {
		t.Error("found in what was sent before anything was")
	}
	clear := &broker.Remote{URL: "http://" + wire.address, Token: token, HTTP: &http.Client{}}
	if err := clear.PutSecret(ctx, ownerTenant, "planted", "clear", p.values[0][:], false); err != nil {
		t.Fatal(err)
	}
	if sent, _ := wire.heard(); p.in(sent) == "" {
		t.Errorf("a value in clear was not found in %d bytes", len(sent))
	}
}

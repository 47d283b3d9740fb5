package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/broker"
	"surety/enclave/client"
	"surety/sys/wallclock"
)

// childVariable tells the test's own binary to be a broker on the directory that it names.
const childVariable = "SURETY_TEST_BROKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child serves until it is killed, or until its standard input ends.
func child(dir string) error {
	m, err := openMachine(filepath.Join(dir, "simulated"))
	if err != nil {
		return err
	}
	b, err := broker.Open(context.Background(), broker.Config{Dir: filepath.Join(dir, "broker"),
		Name: "bank"}, broker.Deps{Verifier: m.verifier, Clock: wallclock.System(), Log: discard()})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: b.Handler()}
	go func() { _ = server.Serve(listener) }()
	fmt.Println(listener.Addr(), b.Key())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestKilledWhileReleasing kills brokers in the midst of releases: of every secret that a guest got
// there is a record, and the count of a budget has each of them.
func TestKilledWhileReleasing(t *testing.T) {
	dir := t.TempDir()
	m, err := openMachine(filepath.Join(dir, "simulated"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.device.Close()
	open := func() *broker.Broker {
		t.Helper()
		b, err := broker.Open(context.Background(), broker.Config{Dir: filepath.Join(dir, "broker"),
			Name: "bank"}, broker.Deps{Verifier: m.verifier, Clock: wallclock.System(), Log: discard()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const budget = 150
	p := m.policy()
	p.Uses = budget
	b := open()
	w := &world{t: t, broker: b}
	w.put("bank", "key", "model", "the secret", p)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	build := newBuild(t, m, signerKey, nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	source := rand.New(rand.NewPCG(seed, 0))
	var got []string
	for round := 0; round < 12 && len(got) < budget; round++ {
		got = append(got, killOne(t, dir, build, 1+source.IntN(25))...)
	}
	b = open()
	defer b.Close()
	released := 0
	list, err := b.Outcomes(context.Background(), "bank", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i].Act == "released" {
			released++
		}
	}
	for _, record := range got {
		key, err := ident.Parse(record)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := b.Outcome(context.Background(), key); err != nil || o.Act != "released" {
			t.Errorf("a secret was given out under record %s: %+v, %v", record, o, err)
		}
	}
	if released < len(got) || released > budget {
		t.Errorf("%d releases recorded, %d secrets given out, the budget is %d", released, len(got), budget)
	}
	t.Logf("%d secrets given out, %d releases recorded", len(got), released)
}

// killOne starts a broker, lets guests take secrets, and kills it after about so many of them. It
// returns the records that guests were told.
func killOne(t *testing.T, dir string, build *build, after int) (records []string) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+dir)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address, text, _ := strings.Cut(strings.TrimSpace(line), " ")
	var key enclave.KeyID
	if err := key.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mu sync.Mutex
	var guests sync.WaitGroup
	enough := make(chan struct{})
	var once sync.Once
	for range 4 {
		guests.Go(func() {
			for ctx.Err() == nil {
				record, err := takeOne(ctx, "http://"+address, key, build)
				mu.Lock()
				if err == nil {
					records = append(records, record)
				}
				full := len(records) >= after
				mu.Unlock()
				if full || errs.Is(err, errs.Forbidden) {
					once.Do(func() { close(enough) })
				}
				if err != nil {
					return
				}
			}
		})
	}
	<-enough
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // it was killed
	stop()
	guests.Wait()
	return records
}

func takeOne(ctx context.Context, url string, key enclave.KeyID, build *build) (string, error) {
	c, err := client.New(client.Config{URL: url, Key: key, Attester: build, Clock: wallclock.System()})
	if err != nil {
		return "", err
	}
	s, err := c.Attest(ctx)
	if err != nil {
		return "", err
	}
	secret, err := s.Release(ctx, "bank/key/model")
	if err != nil {
		return "", err
	}
	if string(secret) != "the secret" {
		return "", errs.New(errs.Corrupt, "got %q", secret)
	}
	return s.Releases()[0].Record, nil
}

// Command notary is an HTTP server that stamps texts with a key which only it has: GET /stamp?text=
// answers with an HMAC-SHA-256. Nothing in it knows of enclaves.
//
//	notary [-listen ADDRESS] KEYFILE          serves until it is told to stop
//	notary -once TEXT KEYFILE                 serves itself one request, prints the answer, ends
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to serve on")
	once := flag.String("once", "", "stamp this text over HTTP, and end")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*listen, *once, flag.Arg(0)); err != nil {
		log.Fatal("notary: ", err)
	}
}

func run(listen, once, keyFile string) error {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if once != "" {
		listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(key)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if once != "" {
		err = ask("http://"+l.Addr().String(), once)
	} else {
		fmt.Println("notary serves on", l.Addr())
		<-ctx.Done()
	}
	err = errors.Join(err, server.Shutdown(context.WithoutCancel(ctx)))
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// handler answers /stamp. It tells the digest of the key, so that a stamp's maker can be compared,
// and never the key.
func handler(key []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stamp", func(w http.ResponseWriter, r *http.Request) {
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, r.FormValue("text"))
		fmt.Fprintf(w, "stamp %x by key %.8x\n", mac.Sum(nil), sha256.Sum256(key))
	})
	return mux
}

func ask(base, text string) error {
	answer, err := http.Get(base + "/stamp?text=" + url.QueryEscape(text))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

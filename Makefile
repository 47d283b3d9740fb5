# Builds, runs and tests Surety. `make up` is all a new machine needs; a second run does only what
# changed. Everything made stands in bin/, console/dist and console/web/node_modules.

.PHONY: up build test lint unit e2e bench generate fmt clean help

GOFLAGS_BUILD = -trimpath -buildvcs=$(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
NODE_PATH_BIN = $(CURDIR)/bin/node/node_modules/node/bin
export PATH := $(NODE_PATH_BIN):$(PATH)
export CGO_ENABLED = 0

console_sources = $(shell find console/web -type f -not -path '*/node_modules/*' 2>/dev/null)

# up builds what is missing and runs it: make up ARGS="--applications file.csv"
up: build
	exec bin/surety up $(ARGS)

# build makes bin/surety with the console inside.
build: bin/console.built
	@tools/need go
	go build $(GOFLAGS_BUILD) -o bin/surety ./cmd/surety

# test runs everything the project promises: linters, unit tests, and the built binary from outside,
# a browser included.
test: lint unit e2e

lint: bin/console.checked bin/tools/staticcheck
	@unformatted="$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags e2e ./e2e/...
	bin/tools/staticcheck ./...
	bin/tools/staticcheck -tags e2e ./e2e/...

unit: build
	@tools/need swtpm
	go test -timeout 20m ./...

e2e: build
	@tools/need chromium
	@tools/need containerd
	@tools/need busybox
	@tools/need gcc
	@tools/need python
	@tools/need curl
	@tools/need swtpm
	@tools/need vm
	SURETY_BIN=$(CURDIR)/bin/surety go test -count=1 -timeout 30m -tags e2e ./e2e/...

# bench prints the figures of docs/PERFORMANCE.md; it takes some minutes on a quiet machine.
bench: build
	go test -run '^$$' -bench . -benchtime 2s ./...

# generate makes the code of the schemas and the documents that are written from code.
generate: bin/tools/protoc-gen-go bin/tools/protoc-gen-connect-go
	@tools/need protoc
	PATH="$(CURDIR)/bin/tools:$$PATH" sh api/generate.sh
	go test ./cli -run 'TestReference' -count=1 -rewrite

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin console/web/node_modules console/dist/assets console/dist/index.html \
		console/dist/icon.svg

help:
	@sed -n 's/^# \([a-z0-9]* \)/\1/p' Makefile

# The console: dependencies by the lock file, then types and tests, then the bundle.
console/web/node_modules/.installed: console/web/package.json console/web/package-lock.json
	@tools/need node
	cd console/web && npm ci --no-audit --no-fund
	@touch $@

bin/console.built: console/web/node_modules/.installed $(console_sources)
	cd console/web && npm run build
	@mkdir -p bin && touch $@

bin/console.checked: console/web/node_modules/.installed $(console_sources)
	cd console/web && npm run check && npm test
	@mkdir -p bin && touch $@

# The developer tools, at the versions that tools/go.mod pins.
bin/tools/staticcheck: tools/go.mod
	cd tools && go build -o ../$@ honnef.co/go/tools/cmd/staticcheck

bin/tools/protoc-gen-go: tools/go.mod
	cd tools && go build -o ../$@ google.golang.org/protobuf/cmd/protoc-gen-go

bin/tools/protoc-gen-connect-go: tools/go.mod
	cd tools && go build -o ../$@ connectrpc.com/connect/cmd/protoc-gen-connect-go

# jit-gateway: `make demo` shows it, `make test` proves it.

SHELL := /bin/bash
export GOFLAGS := -tags=sqlite_fts5

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
DEMO    := bin/demo

.PHONY: help build demo up down picture screenshots test test-unit test-stories test-clients test-gateways fmt fmt-check vet lint fuzz \
	bench dist bench-ssh bench-pg bench-recording bench-leak bench-scale test-postgres deps-demo deps-test deps-clients deps-bench clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

build: ## bin/jit-gateway
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/jit-gateway ./cmd/jit-gateway

$(DEMO): FORCE
	@mkdir -p bin
	@go build -o $(DEMO) ./cmd/demo
FORCE:

demo: deps-demo build $(DEMO) ## set up a gateway, a host and a database, and walk the whole story
	@$(DEMO) demo

up: deps-demo build $(DEMO) ## the same set-up, left running
	@$(DEMO) up

down: $(DEMO) ## stop what `make up` started
	@$(DEMO) down

picture: deps-demo build $(DEMO) ## the README's terminal picture, from a real run
	@$(DEMO) picture docs/images/request.svg

screenshots: deps-test ## docs/images/page-*.png: the page as Chromium shows it
	@rm -rf bin/screenshots && mkdir -p bin/screenshots docs/images
	JIT_SCREENSHOTS=$(CURDIR)/bin/screenshots go test -count=1 -run '^Test(EveryPage|EvidencePack)$$' ./internal/web
	@cd bin/screenshots && cp request-phone-light.png ../../docs/images/page-request.png && cp access-phone-dark.png ../../docs/images/page-access.png && \
		cp replay-desk-dark.png ../../docs/images/page-replay.png && cp sql-desk-light.png ../../docs/images/page-sql.png && \
		cp live-desk-light.png ../../docs/images/page-live.png && cp summary-desk-light.png ../../docs/images/page-summary.png

test: deps-test fmt-check vet lint ## everything but the client matrix; under ten minutes
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-unit test-stories

# Unit tests and browser tests of every package but the stories' one, with the
# race detector.
test-unit: deps-test
	go test -race -timeout 12m $$(go list ./... | grep -v -x jit-gateway/cmd/jit-gateway)

# End-to-end stories: testdata/script, with the real ssh, sshd, psql and
# PostgreSQL. The test binary is the gateway.
test-stories: deps-test
	go test -race -parallel 5 -timeout 12m ./cmd/jit-gateway

test-clients: deps-clients build $(DEMO) test-gateways test-postgres ## the black-box matrix of SSH and PostgreSQL clients
	@testdata/clients/run

test-gateways: deps-clients ## three gateways on one PostgreSQL store, and what may go wrong there
	go test -count=1 -timeout 8m -tags=sqlite_fts5,gateways -v -run '^TestGateways$$' ./cmd/jit-gateway

test-postgres: deps-clients ## PostgreSQL 16 and 18, and the libpq of 18
	@testdata/postgres.sh

fmt: ## format the code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

fmt-check:
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "gofmt would change these files (make fmt):"; echo "$$out"; exit 1; fi

# Both look at what the tests are built of, so that a new machine compiles the
# dependencies once, not once with the race detector and once without.
vet:
	go vet -race ./...

lint: ## staticcheck
	@mkdir -p bin
	@go build -o bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	GOFLAGS='$(GOFLAGS) -race' bin/staticcheck ./...

fuzz: ## each fuzz target for FUZZTIME (30s)
	@testdata/fuzz.sh $(or $(FUZZTIME),30s)

# BENCH=--quick takes at most three minutes each; docs/benchmarks.md has more.
bench: bench-ssh bench-pg ## both, side by side with what a user would have instead

bench-ssh: deps-bench build ## SSH against plain ssh -J and direct; BENCH=--quick on a busy machine
	@go build -o bin/bench ./cmd/bench
	@bin/bench ssh $(BENCH)

bench-pg: deps-bench build ## PostgreSQL against pgbouncer and direct; BENCH=--quick on a busy machine
	@go build -o bin/bench ./cmd/bench
	@bin/bench pg $(BENCH)

bench-recording: ## the recorder by itself: cost, ratio, seeking, verifying, indexing; at most three minutes
	@mkdir -p bin
	@go build -o bin/bench ./cmd/bench
	@bin/bench recording $(BENCH)

bench-scale: deps-bench build ## 1,000 live sessions of each protocol on one gateway, and their end
	@go build -o bin/bench ./cmd/bench
	@bin/bench scale $(BENCH)

bench-leak: deps-bench build ## 10,000 SSH sessions, and what is left of them
	@go build -o bin/bench ./cmd/bench
	@bin/bench leak $(BENCH)

dist: ## dist/: tarball, Debian package, bill of materials, SHA-256; the same commit gives the same bytes
	@go run ./cmd/dist -out dist -version '$(VERSION)'

deps-demo deps-test deps-clients deps-bench: deps-%:
	@testdata/deps.sh $*

clean: ## what was built
	rm -rf bin dist

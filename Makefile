# staithe: `make run` to use it, `make test` to prove it.

GO       ?= go
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
GOBUILD  := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
PAGE_SRC := $(shell find web/src web/public web/index.html web/vite.config.ts web/package.json -type f 2>/dev/null)

export GOFLAGS += -buildvcs=false
# go test that says at its end which tests were skipped, each with its reason, and how many.
GOTEST   := $(GO) tool -modfile=tools/go.mod gotestsum --format pkgname-and-test-fails --format-icons text --
# setup-test builds there what no distribution has.
CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/staithe
export PATH := $(PATH):$(CACHE)/bin

.PHONY: help run setup setup-test build test check api unit race test-s3 fuzz page e2e bench soak screenshots image test-image clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: setup build ## set up, build, serve, print the link
	@exec bin/staithe serve

setup: ## install what building and running needs
	@tools/setup.sh run

setup-test: ## install what the tests need besides
	@tools/setup.sh test

build: web/dist/index.html ## the page and bin/staithe
	$(GOBUILD) -o cmd/staithe/embedded/staithe-guest ./cmd/staithe-guest
	$(GOBUILD) -o cmd/staithe/embedded/staithe-egress ./cmd/staithe-egress
	$(GOBUILD) -o cmd/staithe/embedded/staithe-files ./cmd/staithe-files
	$(GOBUILD) -o cmd/staithe/embedded/staithe-backup ./cmd/staithe-backup
	$(GOBUILD) -o bin/staithe ./cmd/staithe

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error

web/dist/index.html: web/node_modules/.package-lock.json $(PAGE_SRC)
	cd web && npm run build

test: setup-test build test-image check race fuzz page e2e ## everything; what CI runs
	@echo "make test: all passed"

check: ## formatting, vet, staticcheck, house rules
	@test -z "$$(gofmt -l cmd internal web/*.go)" || { gofmt -l cmd internal web/*.go; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

web/tools/node_modules/.package-lock.json: web/tools/package-lock.json
	cd web/tools && npm ci --no-audit --no-fund --loglevel=error

api: build web/tools/node_modules/.package-lock.json ## write the page's types anew from the API
	STAITHE_UPDATE_API=1 $(GO) test -count=1 -run TestPageTypesAreOfThisAPI ./internal/e2e

unit: build web/tools/node_modules/.package-lock.json ## Go tests without the race detector
	$(GOTEST) ./...

# What these do is done by other programs (restic, xterm.js, which draws 25,000 outputs in
# each of four tests); with the race detector they
# take three times as long, which is for `make soak`.
PLAIN    := internal/volume/backup internal/volume/restic internal/restore internal/vt

# Else each process of a test sleeps for a second as it ends, and tests start thousands.
export GORACE ?= atexit_sleep_ms=20

# They begin first: else one of them runs alone at the end.
LONGEST  := internal/e2e internal/sandbox/oci internal/egress internal/sandbox/docker

# Packages whose tests run at the same time: they wait more than they work.
AHEAD    := $(shell echo $$(($$(nproc) + 1)))

race: build web/tools/node_modules/.package-lock.json ## Go tests with the race detector
	$(GOTEST) -race -p $(AHEAD) -timeout 30m $(LONGEST:%=./%) $$($(GO) list ./... | grep -vxE '$(subst $() $(),|,$(PLAIN:%=staithe/%) $(LONGEST:%=staithe/%))')
	STAITHE_SEQUENCES=25000 $(GOTEST) -p $(AHEAD) -timeout 30m $(PLAIN:%=./%)

test-s3: build setup-test ## what keeps things in a bucket, with MinIO as well
	@tools/setup.sh s3
	STAITHE_TEST_S3=minio $(GOTEST) -count=1 ./internal/s3test ./internal/volume/restic ./internal/volume/backup

fuzz: ## each fuzz target for a few seconds
	@tools/fuzz.sh 3s

page: web/dist/index.html ## the page's types and unit tests
	cd web && npm run check && npm test

e2e: build ## the running binary, driven in Chromium
	cd web && npm run e2e

bench: build web/tools/node_modules/.package-lock.json ## measure; the figures are in doc/benchmarks.md
	$(GO) test -run "^$$" -bench . -benchtime 3s -timeout 40m ./internal/e2e ./internal/egress ./internal/volume/backup ./internal/vt
	cd tools/vtbench && $(GO) test -run "^$$" -bench . -benchtime 3s .

screenshots: build ## retake the pictures in doc/screenshots
	cd web && node e2e/screenshots.mjs

# The recipe's hash is the name: an image is built again when its recipe changes, and once a month.
IMAGE    = $(CACHE)/image/$(shell tools/image/build.sh --key).tar.zst
TESTIMG  = $(CACHE)/test-image/$(shell tools/image/build.sh --key --small).tar

image: build ## build the default image and import it as debian; DATA=DIR for another data directory
	@[ -e $(IMAGE) ] || tools/image/build.sh $(IMAGE)
	bin/staithe image import $(if $(DATA),--data $(DATA)) debian $(IMAGE)

test-image: ## build the small image that tests use, where that can be done
	@[ -e $(TESTIMG) ] || { [ "$$(id -u)" = 0 ] && command -v mmdebstrap >/dev/null; } || { echo "not root, or no mmdebstrap: tests that need an image are skipped"; exit 0; }; \
	[ -e $(TESTIMG) ] || tools/image/build.sh --small $(TESTIMG)

soak: build ## hours of fuzzing, drops and kills; SOAK=10m sets each part's time
	@tools/soak.sh

clean: ## remove what was built
	rm -rf bin web/node_modules cmd/staithe/embedded/staithe-guest cmd/staithe/embedded/staithe-egress cmd/staithe/embedded/staithe-files cmd/staithe/embedded/staithe-backup
	find web/dist -mindepth 1 ! -name .keep -delete

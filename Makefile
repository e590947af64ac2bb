# Everything a person or CI does with Drayage. `make help` lists it.

GO      ?= go
BIN     := bin/dray
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX  ?= /usr/local
ROWS    ?= 10000000
ROUNDS  ?= 5
SEED    ?= 1
FAULTS  ?= 200
JOBS    ?= 20

# Where the demo and the benchmark keep their data: within the clone.
export DRAY_DATA_DIR ?= $(CURDIR)/.dray

.DEFAULT_GOAL := help
.PHONY: help build install engine emulators axe demo test race lint bench chaos compose-smoke screenshots clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/dray
	$(GO) build -trimpath -ldflags "-X drayage/pkg/version.Version=$(VERSION)" -o $(BIN) .

install: build ## install dray, its manual pages and completions (PREFIX=/usr/local, DESTDIR=)
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/dray
	$(BIN) man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BIN) completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dray
	$(BIN) completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_dray
	$(BIN) completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/dray.fish

engine: ## install the ClickHouse engine library into the cache (once, 180 MB)
	@sh pkg/engine/lib/install.sh

emulators: ## install the object stores that the tests start into the cache (once, 240 MB)
	@sh scripts/emulators.sh

axe: ## install what the tests look for barriers on the page with into the cache (once, 650 KB)
	@sh scripts/npm.sh coordinator/web/axe axe node_modules/axe-core/axe.min.js

demo: build engine ## load real flights into ClickHouse and look at them
	@sh scripts/demo.sh

test: engine emulators axe ## run all tests
	@sh scripts/test.sh

race: engine emulators axe ## run all tests under the race detector (a C compiler, twice the time)
	@RACE=1 sh scripts/test.sh

lint: ## gofmt, go vet and golangci-lint
	@sh scripts/lint.sh

bench: build engine ## compare dray run with ClickHouse's own INSERT SELECT FROM file (ROWS=, ROUNDS=)
	@$(BIN) version && $(GO) run ./scripts/bench -dray $(BIN) -rows $(ROWS) -rounds $(ROUNDS)

chaos: build engine ## break a fleet of real processes while jobs run, and check every promise (SEED=, FAULTS=, JOBS=, ARGS=)
	@$(GO) run ./scripts/chaos -dray $(BIN) -seed $(SEED) -faults $(FAULTS) -jobs $(JOBS) $(ARGS)

compose-smoke: ## prove docker-compose.yml on a local Docker engine (root, Debian)
	@scripts/compose-smoke

screenshots: engine ## make the pictures of the page in docs/images (needs Chromium)
	@mkdir -p docs/images
	@$(GO) test ./coordinator/web -run TestScreenshots -count=1 -screenshots $(CURDIR)/docs/images

clean: ## remove what the demo, the benchmark and the build made
	rm -rf bin .dray

# Commands for Sandglass; `make` alone lists them.

TARGET := $(or $(CARGO_TARGET_DIR),target)
# In CI, an outdated Cargo.lock is an error.
LOCKED := $(if $(CI),--locked)

.DEFAULT_GOAL := help
.PHONY: help run demo image drill test bench soak lint

help: ## list the commands
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS='	' read -r name text; do \
		printf 'make %-6s %s\n' "$$name" "$$text"; done

run: ## start the supervisor; ARGS="--config FILE" for its flags
	@config/setup.sh rust docker image
	cargo build --release $(LOCKED)
	@exec $(TARGET)/release/sandglass serve $(ARGS)

demo: ## watch sandboxes live and run out
	@config/setup.sh rust docker image
	cargo build --release $(LOCKED)
	@exec $(TARGET)/release/sandglass demo $(ARGS)

image: ## build sandglass-e2b:latest, the image for programs that use E2B's SDKs; ARGS="--no-cache" for docker's flags
	@config/setup.sh docker
	@command -v docker >/dev/null || { echo "image: the program docker is missing, which builds images"; exit 1; }
	docker build $(ARGS) --tag sandglass-e2b:latest config/images

drill: ## break Sandglass on purpose and count what is lost; ARGS="--quick" for a tenth
	@config/setup.sh rust docker image
	cargo build --release $(LOCKED)
	@exec $(TARGET)/release/sandglass drill $(ARGS)

test: ## run every test, with a real Docker, Redis and browser; ARGS="NAME" for some
	@config/setup.sh rust
	@# Installing waits for the network and building for the processor: both at once take half as long.
	@config/setup.sh docker engine image debian registry redis browser nginx valgrind nftables cells openapi e2b & setup=$$!; \
	trap 'kill $$setup; exit 130' INT TERM; \
	cargo test --workspace --no-run $(LOCKED) $(ARGS); built=$$?; \
	wait $$setup || { echo "test: something that the tests need is missing; setup has told above what"; exit 1; }; \
	exit $$built
	cargo test --workspace --no-fail-fast $(LOCKED) $(ARGS)

bench: ## measure the figures beside their peers; ARGS="NAME --quick" for some, or a short run
	@config/setup.sh rust docker image redis
	cargo bench $(LOCKED) --bench figures -- $(ARGS)

soak: ## play 20,000 random histories of crashes; ARGS=NUMBER for another number
	SANDGLASS_HISTORIES=$(or $(ARGS),20000) cargo test --release $(LOCKED) --test core crash::histories

lint: ## check the formatting, clippy's advice, the documentation's links, and the dependencies' licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items $(LOCKED)
	@if command -v cargo-deny >/dev/null; then \
		cargo deny --config config/deny.toml $(LOCKED) check licenses bans sources; \
	else \
		echo "lint: the dependencies' licences are not checked: cargo-deny is missing (cargo install --locked cargo-deny)"; \
	fi

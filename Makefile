# make run         build and serve on 127.0.0.1:8080
# make test        everything that must be green
# make test-cache  the public HTTP cache tests, and what they say of this cache
# make test-api    what schemathesis finds wrong with the application's API
# make test-tls    what testssl.sh finds wrong with TLS
# make fuzz        a million inputs for whatever parses bytes from outside
# make screenshots  the pictures of the README, of a dashboard under load
# make sanitize    what has `unsafe`, under AddressSanitizer; needs a nightly compiler
# make bench       CPU per request beside nginx, HAProxy, Varnish and a bare pingora-proxy, and per image
#                  beside sharp
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BUILD_PACKAGES := cmake g++ nasm pkg-config
TEST_PACKAGES := $(BUILD_PACKAGES) redis-server postgresql slowhttptest python3-pil openssl curl testssl.sh prometheus chromium nghttp2-client python3-venv
BENCH_PACKAGES := $(BUILD_PACKAGES) wrk nginx-light haproxy varnish openssl nghttp2-client curl

.PHONY: help run screenshots test test-cache test-api test-tls fuzz sanitize format unit edge configs build bench bench-images bench-floods micro clean

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST)) | head -10

run:
	@scripts/need $(BUILD_PACKAGES)
	cargo build --release --workspace
	@echo; echo "  http://127.0.0.1:8080/                               the application, through the edge"
	@echo "  http://127.0.0.1:8080/photos/demo-kayak.jpg?w=400    one of its photos, as small as you ask"
	@echo "  http://127.0.0.1:9900/metrics                        what the edge tells Prometheus"; echo
	@exec target/release/lakh run --config conf/dev.yaml

# What is tested is compiled by Clippy, which has no warnings to pass over: one build instead of two.
test build unit configs edge screenshots test-cache test-api test-tls: export RUSTC_WORKSPACE_WRAPPER = clippy-driver
test build unit configs edge screenshots test-cache test-api test-tls: export CLIPPY_ARGS = -Dwarnings__CLIPPY_HACKERY__

# The order is from what fails fastest.
test: format build unit configs edge
	@echo "make test: all green"

format:
	cargo fmt --all --check

# One build for all that follows; the edge suite starts both binaries.
build:
	@scripts/need $(TEST_PACKAGES)
	cargo test --workspace --locked --no-run --all-targets

unit:
	cargo test --workspace --locked --lib --bins --test layers --test corpus --test memory --test simulation --test api --test api_on_postgres \
	  --test hostile --test renditions --test against_turbo

configs:
	cargo test --workspace --locked --test configs
	@for file in conf/*.yaml conf/examples/*.yaml; do \
	  JWT_SECRET_FILE=tests/configs/files/jwt.secret target/debug/lakh check --config $$file; done

edge:
	scripts/again cargo test --workspace --locked --test edge

screenshots: build
	@mkdir -p docs
	cargo test --workspace --locked --test edge -- --ignored dashboard::its_picture

# The public HTTP cache tests against the real edge. Needs Node.
test-cache: build
	@command -v npm >/dev/null || scripts/need nodejs npm
	@npm install --silent --no-audit --no-fund --prefix target/http-cache-tests http-cache-tests@0.4.5
	node tests/http-cache/run.mjs target/http-cache-tests/node_modules/http-cache-tests target/debug/lakh

# Everything that the OpenAPI document allows and forbids, for a minute. schemathesis is installed below target/.
SCHEMATHESIS := target/schemathesis
test-api: build
	@[ -x $(SCHEMATHESIS)/bin/schemathesis ] || python3 -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/pip install --quiet schemathesis==4.32.5
	python3 tests/openapi/run.py target/debug/lakh-origin $(SCHEMATHESIS)/bin/schemathesis

# A minute or two of shaking hands, badly and well.
test-tls:
	@scripts/need $(TEST_PACKAGES)
	cargo test --workspace --locked --test edge -- --ignored testssl

# Starts from fuzz/corpus, which `make test` replays.
fuzz:
	@scripts/need $(TEST_PACKAGES)
	scripts/fuzz

sanitize:
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --manifest-path fuzz/sanitize/Cargo.toml \
	  --target "$$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/sanitize

bench:
	@scripts/need $(BENCH_PACKAGES)
	cargo build --release --workspace
	cargo build --release --manifest-path benches/bare-proxy/Cargo.toml --target-dir target/bare-proxy
	cargo bench --bench micro --bench zipf
	python3 benches/load/run.py
	$(MAKE) --no-print-directory bench-images

# Needs Node. sharp, and scikit-image for its photographs, are installed below target/.
SHARP := target/bench/sharp
PICTURES := target/bench/pictures
bench-images:
	@command -v npm >/dev/null || scripts/need nodejs npm
	@command -v pip >/dev/null || scripts/need python3-pip
	cargo build --release --workspace
	@npm install --silent --no-audit --no-fund --prefix $(SHARP) sharp@0.35.5
	@[ -d $(PICTURES) ] || pip install --quiet --no-deps --target $(PICTURES) scikit-image==0.26.0
	node benches/images/run.mjs $(SHARP) $(PICTURES)/skimage/data target/release/lakh
	node benches/images/load.mjs $(SHARP) $(PICTURES)/skimage/data target/release/lakh

# What others notice of floods, of HAProxy and of Lakh; two minutes.
bench-floods:
	@scripts/need $(BENCH_PACKAGES)
	cargo build --release --workspace
	python3 benches/floods/run.py --beside

clean:
	cargo clean

# The commands of Jumun. Each is a script in ops/dev, with what they share in ops/dev/lib; the benchmark is in ops/bench.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help up down reset status env test console-test soak chaos check docs-check coverage bench rollout-test image image-try

help: ## show this list
	@sed -n 's/^\([a-z-]*\): ## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-13s %s\n' "$$name" "$$text"; done

up: ## install, build and start everything, and send an order through it
	@ops/dev/up

down: ## stop everything; the data stays
	@ops/dev/down

reset: ## stop everything and remove all data
	@ops/dev/reset

status: ## one line a process: name, state, process id, address
	@ops/dev/status || true # a script asks ops/dev/status itself, which exits 3 unless all are ready

env: ## addresses, passwords and process ids:  source <(make -s env)
	@ops/dev/env

test: ## all tests, against servers of their own
	@ops/dev/test

console-test: ## the operator's console in a real Chromium, beside a system of its own
	@ops/console-test/run

soak: ## the tests of concurrency and of broken connections, at length
	@ops/dev/soak

chaos: ## breaks a whole system under load, for about an hour, and proves that no event is lost
	@ops/chaos/run

check: ## formatting, scripts, documents, Postman collection, alerts, dashboards, warnings, import graph, tidy tests
	@ops/dev/check

docs-check: ## whether the documents are true of the sources, and the generated ones up to date
	@ops/dev/docs-check

coverage: ## line coverage of Sources/, at least 85 %
	@ops/dev/coverage

bench: ## every figure of docs/performance.md, measured in one run
	@ops/bench/run

rollout-test: ## replaces two order-api processes behind HAProxy under load: no request fails, no order is lost
	@ops/rollout/test

image: ## the container image of the Dockerfile, built without a container engine; as root
	@ops/image/build

image-try: ## runs the image's executables in its own root and sees an order arrive at the platform; as root
	@ops/image/try

# Each target sets up what it needs in a fresh clone; what they do is in noxfile.py and scripts/.
.DEFAULT_GOAL := help
.PHONY: help demo check test lint soak abuse life-cycle sanitize mutants bench bench-check wheel docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\): ## /  make \1\t/p' Makefile | expand -t 20

demo: ## hash every file of a tree on a pool (ROOT=path, default the standard library), then the sample of ants
	@$(if $(PYTHON_TAG),scripts/interpreters $(PYTHON_TAG) >/dev/null &&) scripts/nox -s demo $(if $(ROOT),-- '$(ROOT)')

check: ## for every day, about 3 minutes: lint, the Rust tests, the Python tests on one interpreter
	@scripts/test check

test: ## every check and test, on every interpreter found and on free-threaded 3.13: about 15 minutes
	@scripts/test

lint: ## formatting, clippy, ruff, mypy, pyright and stubtest only
	@scripts/test lint

soak: ## a random mix of everything, with a ledger of all tasks that must balance (MINUTES=1, SEED=random)
	@scripts/nox -s $(patsubst %,soak-%,$(or $(PYTHONS),3.13 3.13t)) -- --minutes $(or $(MINUTES),1) $(if $(SEED),--seed $(SEED))

abuse: ## Ctrl-C at random instants, each pair of methods at once, calls with hostile arguments: 15 minutes
	@scripts/nox -s $(foreach tag,$(or $(PYTHONS),3.13 3.13t),signals-$(tag) pairs-$(tag) fuzz-$(tag))

life-cycle: ## every end of the interpreter, fork and the like × every state × every face: about 6 minutes an interpreter
	@scripts/nox -s $(patsubst %,life-cycle-%,$(or $(PYTHONS),3.13 3.13t))

sanitize: ## the tests under ThreadSanitizer and AddressSanitizer, and on a debug build of CPython (PARTS=core-thread)
	@scripts/sanitize $(PARTS)

mutants: ## change the code in one place at a time, and see whether a test fails: hours (RUST="-f src/pool/queue.rs", PYTHON=_group)
	@scripts/nox -s mutants-rust -- $(RUST)
	@scripts/nox -s mutants-python -- $(PYTHON)

bench: ## pyants beside its peers, into docs/benchmarks.md: 20 to 35 minutes (QUICK=1: 3 minutes)
	@scripts/bench

bench-check: ## the instructions a task costs, against the figures recorded (needs valgrind)
	@scripts/bench-check

wheel: ## a wheel for each interpreter found, into dist/
	@scripts/build

docs: ## the Rust documentation, into target/doc
	@RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

clean: ## what the other targets made in this directory
	rm -rf .nox .venv dist target

# PG: the PostgreSQL versions to test, any of 15 16 17 18. PG_CONFIG: the server to install into. KEEP=1: a
# demo leaves its server running.
PG ?= 15
PG_CONFIG ?= pg_config
KEEP ?=

.PHONY: help demo demo-library test bench install clean

help:
	@echo 'make demo               build, start a throw-away PostgreSQL, let it do a flow by itself, show it'
	@echo 'make demo-library       the same with programs that claim the tasks and work them'
	@echo 'make demo KEEP=1        either of them, and leave the server running'
	@echo 'make test               every test, on PostgreSQL 15'
	@echo 'make test PG="15 18"    every test, on these versions (15 16 17 18)'
	@echo 'make bench              the benchmarks'
	@echo 'make install PG_CONFIG=/path/to/pg_config'
	@echo '                        build for that server and install into it'
	@echo 'make clean              remove what was built'

demo:
	KEEP=$(KEEP) examples/no-worker/run

demo-library:
	KEEP=$(KEEP) examples/library/run

test:
	tests/run $(PG)

bench:
	benches/run

install:
	scripts/toolchain
	scripts/install $(PG_CONFIG)

clean:
	cargo clean
	cargo clean --manifest-path tests/Cargo.toml
	cargo clean --manifest-path examples/library/Cargo.toml

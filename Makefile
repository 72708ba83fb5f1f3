# One command per challenge; "make" alone lists them. The checker is the real
# Maelstrom where it can run and the built-in one elsewhere: see scripts/check.

.DEFAULT_GOAL := help

# Runs measure latency and share store/, so there is never more than one at a
# time, whatever -j says. This also keeps the order in which they are listed.
.NOTPARALLEL:

# Everything is built in target/, wherever else this user's cargo would put it.
# No recipe names this folder: its path may have spaces and quotes in it, which
# make would pass on bare. Relative paths, and the shell's "$$PWD", are safe.
override CARGO_TARGET_DIR := $(CURDIR)/target
export CARGO_TARGET_DIR

check := scripts/check
bin := target/release
build = scripts/build $(if $(FEATURES),--features $(FEATURES)) $(1) maelstrom-sim
node_args = $(if $(ARGS),-- $(ARGS))

broadcast_small := --node-count 5 --time-limit 20 --rate 10
broadcast_large := --node-count 25 --time-limit 20 --rate 100 --latency 100
kafka_fast := --concurrency 2n --time-limit 20 --rate 1000 --availability 0.999
txn_two := --node-count 2 --concurrency 2n --time-limit 20 --rate 1000
partitions := --availability total --nemesis partition

# The nodes' folder, and a run in which they lose all that is not in it.
data := store/data
kill = rm -rf $(data) && CHECKER=sim $(check) kill-$(1) $(2) $(bin)/$(1) -- --node-count 5 \
  --concurrency 2n --time-limit 60 --rate 200 --nemesis kill,pause,partition --nemesis-interval 4 $(3) \
  -- --data-dir "$$PWD/$(data)" $(ARGS)

##@ Challenges (ARGS="..." goes to the nodes, TIME_LIMIT=5 shortens the runs, FEATURES=metrics adds features)

.PHONY: echo
echo: ## 1: Echo
	$(call build,echo)
	@$(check) 1 echo $(bin)/echo -- --node-count 1 --time-limit 10 $(node_args)

.PHONY: unique-ids
unique-ids: ## 2: Unique IDs, available through partitions
	$(call build,unique-ids)
	@$(check) 2 unique-ids $(bin)/unique-ids -- --time-limit 30 --rate 1000 --node-count 3 \
	  --availability total --nemesis partition $(node_args)

.PHONY: broadcast
broadcast: broadcast-3a broadcast-3b broadcast-3c broadcast-3d broadcast-3e ## 3: Broadcast: 3a to 3e, in this order

.PHONY: broadcast-3a
broadcast-3a: ## 3a: Broadcast on one node
	$(call build,broadcast)
	@$(check) 3a broadcast $(bin)/broadcast -- --node-count 1 --time-limit 20 --rate 10 $(node_args)

.PHONY: broadcast-3b
broadcast-3b: ## 3b: Broadcast on five nodes
	$(call build,broadcast)
	@$(check) 3b broadcast $(bin)/broadcast -- $(broadcast_small) $(node_args)

.PHONY: broadcast-3c
broadcast-3c: ## 3c: Broadcast through partitions
	$(call build,broadcast)
	@$(check) 3c broadcast $(bin)/broadcast -- $(broadcast_small) --nemesis partition $(node_args)

# The challenges allow 30 and 20 messages per operation; the engine reaches the limits here.
.PHONY: broadcast-3d
broadcast-3d: ## 3d: Broadcast on 25 slow links: < 1.2 msgs/op, median < 400 ms, max < 600 ms
	$(call build,broadcast)
	@$(check) 3d broadcast $(bin)/broadcast \
	  --max-msgs-per-op 1.2 --max-median-ms 400 --max-latency-ms 600 -- $(broadcast_large) $(node_args)

.PHONY: broadcast-3e
broadcast-3e: ## 3e: The same with < 0.4 msgs/op, median < 1 s, max < 2 s
	$(call build,broadcast)
	@$(check) 3e broadcast $(bin)/broadcast \
	  --max-msgs-per-op 0.4 --max-median-ms 1000 --max-latency-ms 2000 -- $(broadcast_large) \
	  -- --gossip-period 1700 $(ARGS)

.PHONY: g-counter
g-counter: ## 4: Grow-only counter through partitions: < 0.15 msgs/op
	$(call build,g-counter)
	@$(check) 4 g-counter $(bin)/g-counter --max-msgs-per-op 0.15 -- \
	  --node-count 3 --rate 100 --time-limit 20 --nemesis partition $(node_args)

.PHONY: kafka-log
kafka-log: kafka-log-5a kafka-log-5b kafka-log-5c kafka-log-linger kafka-log-partition ## 5: Replicated logs: 5a to 5c, and the two below

.PHONY: kafka-log-5a
kafka-log-5a: ## 5a: Logs on one node
	$(call build,kafka-log)
	@$(check) 5a kafka $(bin)/kafka-log -- --node-count 1 $(kafka_fast) $(node_args)

.PHONY: kafka-log-5b
kafka-log-5b: ## 5b: Logs on two nodes
	$(call build,kafka-log)
	@$(check) 5b kafka $(bin)/kafka-log -- --node-count 2 $(kafka_fast) $(node_args)

.PHONY: kafka-log-5c
kafka-log-5c: ## 5c: The same with < 0.95 msgs/op
	$(call build,kafka-log)
	@$(check) 5c kafka $(bin)/kafka-log --max-msgs-per-op 0.95 -- --node-count 2 $(kafka_fast) $(node_args)

.PHONY: kafka-log-linger
kafka-log-linger: ## 5c with messages collected for 5 ms: < 0.45 msgs/op
	$(call build,kafka-log)
	@$(check) 5c-linger kafka $(bin)/kafka-log --max-msgs-per-op 0.45 -- --node-count 2 $(kafka_fast) \
	  -- --linger 5ms $(ARGS)

.PHONY: kafka-log-partition
kafka-log-partition: ## 5c on five nodes, through partitions
	$(call build,kafka-log)
	@$(check) 5-partition kafka $(bin)/kafka-log -- --node-count 5 --concurrency 2n --time-limit 60 \
	  --rate 1000 --nemesis partition --nemesis-interval 5 $(node_args)

.PHONY: txn-rw
txn-rw: txn-rw-6a txn-rw-6b txn-rw-6b-partition txn-rw-6c txn-rw-causal ## 6: Transactions: 6a to 6c and beyond, in this order

.PHONY: txn-rw-6a
txn-rw-6a: ## 6a: Transactions on one node, totally available
	$(call build,txn-rw)
	@$(check) 6a txn-rw-register $(bin)/txn-rw -- --node-count 1 --concurrency 2n --time-limit 20 \
	  --rate 1000 --consistency-models read-uncommitted --availability total $(node_args)

.PHONY: txn-rw-6b
txn-rw-6b: ## 6b: Transactions on two nodes, read uncommitted: < 0.1 msgs/op
	$(call build,txn-rw)
	@$(check) 6b txn-rw-register $(bin)/txn-rw --max-msgs-per-op 0.1 -- $(txn_two) \
	  --consistency-models read-uncommitted $(node_args)

.PHONY: txn-rw-6b-partition
txn-rw-6b-partition: ## 6b: The same through partitions, totally available
	$(call build,txn-rw)
	@$(check) 6b-partition txn-rw-register $(bin)/txn-rw --max-msgs-per-op 0.1 -- $(txn_two) \
	  --consistency-models read-uncommitted $(partitions) $(node_args)

.PHONY: txn-rw-6c
txn-rw-6c: ## 6c: Read committed through partitions, totally available
	$(call build,txn-rw)
	@$(check) 6c txn-rw-register $(bin)/txn-rw --max-msgs-per-op 0.1 -- $(txn_two) \
	  --consistency-models read-committed $(partitions) $(node_args)

.PHONY: txn-rw-causal
txn-rw-causal: ## 6+: Causal consistency on five nodes and slow links, through partitions
	$(call build,txn-rw)
	@$(check) 6+ txn-rw-register $(bin)/txn-rw -- --node-count 5 --concurrency 2n --time-limit 20 \
	  --rate 1000 --latency 20 --consistency-models causal-cerone $(partitions) $(node_args)

##@ Beyond Maelstrom

.PHONY: kills
kills: ## Nodes that keep their records are killed, paused and cut off, by the built-in checker
	scripts/build broadcast g-counter kafka-log txn-rw maelstrom-sim
	@$(call kill,broadcast,broadcast)
	@$(call kill,g-counter,g-counter)
	@$(call kill,kafka-log,kafka)
	@$(call kill,txn-rw,txn-rw-register,--consistency-models causal-cerone)

# The examples in maelstrom-sim/examples, each in its workload.
example = $(check) example-$(1) $(2) $(bin)/examples/$(1) -- --node-count 3 --time-limit 10 --rate 50 \
  --nemesis partition --nemesis-interval 3 $(3) $(node_args)

# Packages of their own, as a user would write them; their lock files are their own too.
own_workload := maelstrom-sim/examples/own-workload/Cargo.toml
template := template/Cargo.toml

.PHONY: examples
examples: ## The examples: each node in its workload, through partitions, and a workload of one's own
	scripts/build examples/g_set examples/lin_kv_proxy examples/list_append examples/pn_counter \
	  examples/raft maelstrom-sim
	@$(call example,g_set,g-set)
	@$(call example,pn_counter,pn-counter)
	@$(call example,lin_kv_proxy,lin-kv,--concurrency 2n)
	@$(call example,raft,lin-kv,--concurrency 2n)
	@$(call example,list_append,txn-list-append,--concurrency 2n)
	cargo test --locked --manifest-path $(own_workload)

# `template` is a folder too.
.PHONY: template
template: ## Test the template for a new node, as a copy of it would be tested
	cargo test --locked --manifest-path $(template)

##@ Development

.PHONY: all
all: lint features test mutants metrics echo unique-ids broadcast g-counter kafka-log txn-rw ## Everything: lint, features, test, mutants, metrics and every challenge

.PHONY: build
build: ## Build all programs in release mode, in target/release/
	scripts/build echo unique-ids broadcast g-counter kafka-log txn-rw maelstrom-sim

.PHONY: test
test: ## Run the tests, those of the scripts too
	cargo test --workspace --locked
	scripts/test-scripts
	scripts/test-guide

.PHONY: guide
guide: ## Run the commands of the guide: they must succeed, and find what is wrong with broken nodes
	scripts/build broadcast g-counter kafka-log maelstrom-sim txn-rw
	scripts/test-guide --run

# The test that sweeps each workload.
sweep_of = $(or $(sweep_$(1)),-p $(1) --test simulation -- sweep)
sweep_echo := -p echo --test nodes -- sweep
sweep_gossip := -p maelstrom-core --lib -- gossip::tests
sweep_checkers := -p maelstrom-sim --lib -- checker
sweep_kafka := -p kafka-log --test simulation -- ::sweep
sweep_txn-rw-register := -p txn-rw --test simulation -- ::sweep
sweep_g-set := -p maelstrom-sim --example g_set -- sweep
sweep_pn-counter := -p maelstrom-sim --example pn_counter -- sweep
sweep_lin-kv := -p maelstrom-sim --example lin_kv_proxy --example raft -- sweep
sweep_txn-list-append := -p maelstrom-sim --example list_append -- sweep
WORKLOAD ?= echo unique-ids broadcast g-counter kafka txn-rw-register g-set pn-counter lin-kv \
  txn-list-append gossip checkers
SEEDS ?= 1000

# One line of the recipe for each workload, hence the empty line at its end.
define sweep
cargo test --profile sim --locked $(call sweep_of,$(1)) --nocapture

endef

.PHONY: sim
sim: export SEEDS := $(SEEDS)
sim: export SEED := $(SEED)
sim: export SHARD := $(SHARD)
sim: export GUIDED := $(GUIDED)
sim: export PROPTEST_CASES := $(SEEDS)
sim: ## Sweep SEEDS=1000 seeds in virtual time (WORKLOAD=broadcast: one; SEED=42: replay one; GUIDED=1: vary those that reach rare marks)
	$(foreach w,$(WORKLOAD),$(call sweep,$(w)))

.PHONY: shards
shards: ## Put the results of SHARD=3/20 make sim together, from all shards
	cargo run --locked -p maelstrom-sim --bin maelstrom-sim -- shards $(wildcard */store/shards)

# The packages with broken nodes.
mutants := -p maelstrom-sim -p kafka-log -p txn-rw --test mutants

.PHONY: mutants
mutants: ## Hunt each broken node once: a sweep must find it, and blame no sound one
	cargo test --profile sim --locked $(mutants) -- $(if $(SHRUNK),--nocapture)

HUNTS ?= 21

.PHONY: hunts
hunts: export HUNTS := $(HUNTS)
hunts: export SEEDS := $(SEEDS)
hunts: ## Hunt each broken node from HUNTS=21 seeds, and sweep the sound ones with SEEDS=1000
	cargo test --profile sim --locked $(mutants) -- --nocapture

DEPTH ?= 8

.PHONY: exhaustive
exhaustive: export DEPTH := $(DEPTH)
exhaustive: ## Tiny tests in which each of the first DEPTH=8 messages is in time, late or lost: all runs
	cargo test --profile sim --locked -p broadcast -p g-counter -p kafka-log -p txn-rw --test simulation \
	  -- exhaustive --nocapture

TIME ?= 20

# `fuzz` is a folder too.
.PHONY: fuzz
fuzz: ## Fuzz the decoder and every handler, TIME=20 seconds each, two at a time (needs a C++ compiler)
	scripts/fuzz run $(TIME)

# The nodes with the crates that --metrics needs, as one row measures that flag.
bench_programs := echo broadcast kafka-log txn-rw
bench_features := $(bench_programs:%=%/metrics) maelstrom-core-benches/programs maelstrom-core-benches/simulator

.PHONY: bench
bench: ## Measure lines, programs, simulations and checkers, each beside a floor: see BENCHMARKS.md
	scripts/build --features "$(bench_features)" $(bench_programs) bench-processes bench-simulator
	$(bin)/bench-processes
	$(bin)/bench-simulator
	cargo bench --locked -p maelstrom-core-benches --features criterion,programs --bench lines --bench auth
	cargo bench --locked -p kafka-log --bench cost

.PHONY: instructions
instructions: ## Count the instructions of lines, and hold them against their limits (needs valgrind)
	scripts/count-instructions

.PHONY: corpus
corpus: ## Run the corpus of odd nodes under the built-in checker (LAUNCHER=/path/to/maelstrom: that one)
	scripts/build echo unique-ids broadcast g-counter kafka-log txn-rw maelstrom-sim broken-node
	scripts/corpus "$${LAUNCHER:-$(bin)/maelstrom-sim}"

# The runs have a folder of their own: store/ may have pages of an older version.
report_folder := target/reports
report = root="$$PWD" && cd $(report_folder) && "$$root/target/debug/maelstrom-sim" test --time-limit 3 \
  --nemesis-interval 1 -w $(1)

.PHONY: reports
reports: ## Open reports in a browser, those of four short runs, two of them bad (needs Chromium)
	scripts/build --debug maelstrom-sim g-counter kafka-log broken-node
	rm -rf $(report_folder)
	mkdir -p $(report_folder)
	$(call report,g-counter --bin "$$root/target/debug/g-counter" --node-count 3 --rate 50 --nemesis partition)
	$(call report,kafka --bin "$$root/target/debug/kafka-log" --node-count 2 --concurrency 2n --rate 100)
	$(call report,broadcast --bin "$$root/target/debug/broken-node" --node-count 3 --rate 50 --nemesis partition \
	  -- --fault forget) || [ $$? -eq 1 ]
	$(call report,txn-rw-register --bin "$$root/docs/naive/txn_rw.py" --node-count 2 --concurrency 2n \
	  --rate 300 --latency 50 --max-txn-length 1) || [ $$? -eq 1 ]
	grep -q '<svg class="graph"' $(report_folder)/store/txn-rw-register/latest/report.html
	scripts/test-report --screenshots store/screenshots $(report_folder)/store/*/latest/report.html

# Clippy links nothing, so the fuzzer's engine need not be built for it.
.PHONY: lint
lint: ## Check formatting, clippy and the documentation: no warnings
	cargo fmt --all --check
	cargo fmt --check --manifest-path $(own_workload)
	cargo fmt --check --manifest-path $(template)
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets --locked --manifest-path $(own_workload) -- -D warnings
	cargo clippy --all-targets --locked --manifest-path $(template) -- -D warnings
	CUSTOM_LIBFUZZER_PATH=/none/libfuzzer.a cargo clippy --locked --manifest-path fuzz/Cargo.toml -- -D warnings
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	cargo clippy $(mutants) --all-features --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

.PHONY: spell
spell: ## Check the spelling of all texts, with codespell (see .codespellrc)
	git ls-files -z -- . ':!fuzz/corpus' ':!*/uplot*' ':!*.lock' ':!*.png' | xargs -0 codespell

# The features of maelstrom-core, as its Cargo.toml lists them.
core_features = $(shell sed -n '/^\[features\]/,/^$$/s/^\([a-z0-9_-]*\) = .*/\1/p' maelstrom-core/Cargo.toml)
comma := ,
core_wasm = $(shell rustup target list --installed 2>/dev/null | sed -n '/^wasm32-unknown-unknown$$/p')

# One line of the recipe for each set of features, hence the empty line at its end.
define core_clippy
cargo clippy --locked -p maelstrom-core --no-default-features $(1) -- -D warnings

endef

# A flag belongs to two features: `cli`, and the one whose flag it is.
.PHONY: features
features: ## Check maelstrom-core with no feature, with each alone, with each and its flags, and with all
	$(call core_clippy)
	$(foreach f,$(core_features),$(call core_clippy,--features $(f)))
	$(foreach f,$(filter-out cli default,$(core_features)),$(call core_clippy,--features cli$(comma)$(f)))
	$(call core_clippy,--all-features)
	$(foreach t,$(core_wasm),$(call core_clippy,--target $(t)))

# A build of its own: only --metrics needs the crates that it brings in.
.PHONY: metrics
metrics: ## Test the server behind --metrics, which the other tests do not build
	cargo test --locked -p maelstrom-core --features metrics --lib -- exporter:: node_args::
	cargo test --locked -p maelstrom-core --features metrics --test metrics

.PHONY: maelstrom
maelstrom: ## Install the real Maelstrom in .cache/ (67 MB; needs Java 11 or newer to run)
	scripts/install-maelstrom

# A package has no profiles of the workspace: debug information would be a fifth of the build.
# Cargo keeps the core of an earlier run unpacked, and would build the checker against that one.
.PHONY: package
package: ## Pack maelstrom-core and maelstrom-sim as for a release, and build the packages
	rm -rf "$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/-*/maelstrom-core-*
	CARGO_PROFILE_DEV_DEBUG=false cargo package --locked -p maelstrom-core -p maelstrom-sim

.PHONY: clean-store
clean-store: ## Remove the results of all runs
	rm -rf store */store

.PHONY: help
help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

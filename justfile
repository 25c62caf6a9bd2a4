# Show the recipes.
default:
    @just --list

# Check everything that CI checks.
check:
    .ci/run

# Run the tests that need nothing else.
test:
    cargo test

# Run the tests against other people's software; a name runs one of them.
peers *NAMES:
    tests/peers/run {{NAMES}}

# Write the golden texts anew, to be reviewed.
golden:
    UPDATE_GOLDEN=1 UPDATE_EXPECT=1 cargo test

# Prove that the tests can fail: each mutant must be caught by the test that it names.
mutants *NAMES:
    tests/mutants/run {{NAMES}}

# Try the laws on other cases than those that every build tries: so many seeds, each with a share of its own.
soak SEEDS="20" FILTER="":
    for n in $(seq {{SEEDS}}); do \
        seed=$RANDOM$n; echo "PROPTEST_RNG_SEED=$seed"; \
        PROPTEST_RNG_SEED=$seed cargo test --locked --lib {{FILTER}} || exit 1; \
    done

# Stage faults against the daemon: the small share; `--all` the whole with its mutants; a name one of them; `--peers` Prometheus.
faults *NAMES:
    tests/faults/run {{NAMES}}

# Change every payload of the catalog, and those that others wrote, a thousand times each.
mutations:
    CATALOG_MUTATIONS=1000 cargo test --lib event_test::mutation_tests -- --nocapture
    MUTATIONS_SECONDS=3600 cargo test --test outside_data

# Let libFuzzer choose inputs of a target (facts, promql_parse, promql_evaluate, remote_write) for a while.
fuzz TARGET="facts" SECONDS="60":
    fuzz/run {{TARGET}} {{SECONDS}}

# Run payloads that others wrote, from the folder in THROUGHLINE_SHARED.
outside:
    cargo test --test outside_data

# Measure the journey; prints CPU seconds, memory, latencies.
bench:
    cargo bench --bench journey
    cargo bench --bench series

# Watch the demo.
demo:
    cargo run --release -- demo

# Check licences and sources of every dependency.
deny:
    cargo deny check licenses bans sources

# Check advisories against a copy of RustSec's database, without the network; needs cargo-audit.
audit DB:
    cargo audit --no-fetch --db {{DB}}

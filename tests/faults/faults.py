"""Faults against a real daemon, judged from outside of it (`oracle`); prints a row for each."""

import os
import sys
import time

from disk_faults import corruption, corruption_in_process, failed_sync, failed_writeback, full_disk, power_cut, simulated_disk, simulated_whole, slow_disk
from hostile_faults import cardinality, malformed, overload, resets
from network_faults import bombs, connections, half_open, partitions
from oracle import SEED, WORK, Row
from process_faults import alerts, clock_step, erasures, kill9, messages, reloads, restarts, storm, upgrades

# Name: what stages it, and the mutants that the tests beside it catch.
FAULTS = {
    "simulated disk": (simulated_disk, ["no_fsync", "no_dirsync", "retry_fsync", "cut_behind_the_newest", "snapshot_not_synced", "stale_recycled_segment"]),
    "simulated pipeline": (simulated_whole, ["receipts_not_replayed", "pending_begins_anew"]),
    "kill -9": (kill9, ["repeats_counted", "declared_ids_forgotten", "dedup_off", "seal_then_replay_twice"]),
    "power cut": (power_cut, ["no_dirsync"]),
    "restarts": (restarts, ["tail_left_out_at_a_start"]),
    "restart storm": (storm, ["pending_begins_anew"]),
    "upgrades": (upgrades, ["journal_of_before_is_refused"]),
    "reloads": (reloads, ["reload_begins_alerts_anew"]),
    "alerts over kills": (alerts, ["notify_before_durable", "silences_not_in_the_snapshot", "keep_firing_forgotten"]),
    "messages over kills": (messages, ["receipt_forgotten", "message_made_anew", "notify_before_durable"]),
    "failed sync": (failed_sync, ["retry_fsync"]),
    "failed writeback": (failed_writeback, ["retry_fsync"]),
    "full disk": (full_disk, ["full_disk_is_failed_disk"]),
    "slow disk": (slow_disk, ["one_record_a_group"]),
    "corruption": (corruption, ["mark_ignored", "block_checksum_ignored", "repair_takes_what_looks_whole"]),
    "corruption in process": (corruption_in_process, ["mark_ignored", "repair_takes_what_looks_whole"]),
    "erasures": (erasures, ["erasure_before_its_files", "erased_leaves_its_stub"]),
    "clock step": (clock_step, ["wall_clock_in_apply", "unwatched_time_ages"]),
    "connections": (connections, ["newcomers_stay", "refused_are_known"]),
    "half-open clients": (half_open, ["bytes_not_given_back"]),
    "partitions": (partitions, ["bytes_not_given_back", "declared_ids_forgotten"]),
    "bombs": (bombs, ["bombs_unpack"]),
    "malformed inputs": (malformed, ["bad_record_takes_its_neighbours"]),
    "reset streams": (resets, ["streams_reset_for_ever"]),
    "overload": (overload, ["newcomers_before_open_requests", "newcomers_weigh_nothing"]),
    "series and ids": (cardinality, ["quarantine_off", "promises_forgotten", "newcomers_weigh_nothing"]),
}


def main():
    print(f"seed {SEED}", flush=True)
    caught = set()
    if os.path.exists(os.path.join(WORK, "mutants.txt")):
        caught = {line.split()[1] for line in open(os.path.join(WORK, "mutants.txt")) if line.startswith("caught:")}
    names = [name for name in FAULTS if not sys.argv[1:] or name.replace(" ", "_") in sys.argv[1:]]
    rows = []
    for name in names:
        stage, mutants = FAULTS[name]
        row, begun = Row(name), time.monotonic()
        try:
            stage(row)
        except Exception as error:
            row.wrong.append(f"did not end: {error!r}")
        row.mutants = f"{sum(mutant in caught for mutant in mutants)}/{len(mutants)}" if caught else "-"
        rows.append(row)
        print(f"{name}: {row.runs} runs in {time.monotonic() - begun:.0f} s {row.note} {row.wrong or ''}", flush=True)
    print("\n| fault | runs | obligations | vacuous | lost | extra | mutants caught | |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        said = "; ".join(row.wrong + [row.note.strip()] if row.note else row.wrong)
        print(f"| {row.fault} | {row.runs} | {row.obligations} | {row.vacuous} | {row.lost} | {row.extra} | {row.mutants} | {said} |")
    sys.exit(any(row.is_bad() for row in rows))


main()

//! Bytes that changed, files that went or moved: shown as what they are, never as records.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::super::{Error, segment};
use super::simulated_disk::{Platter, SimulatedDisk};
use super::{Session, payload, recovered};

/// Three segments, the last one with three records, each a group of its own; no mark.
fn three_segments() -> BTreeMap<String, Vec<u8>> {
    let mut files = three_segments_and_mark();
    files.remove("mark");
    files
}

fn three_segments_and_mark() -> BTreeMap<String, Vec<u8>> {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 110).unwrap();
    for i in 0..9 {
        assert!(session.append(vec![payload(i)]));
    }
    drop(session);
    let files = disk.platter().files();
    assert_eq!(files.len(), 4);
    files
}

/// Where the records of a segment begin, and where the last one ends.
fn bounds(bytes: &[u8]) -> Vec<usize> {
    let mut bounds = vec![segment::HEADER_BYTES];
    while let Some(record) = segment::read_unchained(&bytes[*bounds.last().unwrap()..]) {
        bounds.push(bounds.last().unwrap() + record.length);
    }
    bounds
}

/// Opens these files; a refusal must have changed nothing.
#[expect(
    clippy::panic_in_result_fn,
    reason = "the assertion is the test's, the error the journal's"
)]
fn open(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
    let disk = SimulatedDisk::new(Platter::holding(files));
    let opened = recovered(&disk);
    if opened.is_err() {
        assert_eq!(&disk.platter().files(), files, "a refusal changes nothing");
    }
    opened.map(|records| records.into_iter().map(|record| record.payload).collect())
}

fn check(files: &BTreeMap<String, Vec<u8>>, expect: &Expect) {
    let text = match open(files) {
        Ok(records) => format!("{} records", records.len()),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&text);
}

fn written(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(payload).collect()
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let mut files = three_segments();
    let whole = files.last_entry().unwrap().get().clone();
    let bounds = bounds(&whole);
    for length in 0..=whole.len() {
        files.last_entry().unwrap().get_mut().truncate(0);
        files.last_entry().unwrap().get_mut().extend_from_slice(&whole[..length]);
        let kept = bounds.iter().skip(1).filter(|end| **end <= length).count();
        assert_eq!(open(&files).unwrap(), written(6 + kept), "cut at {length}");

        let disk = SimulatedDisk::new(Platter::holding(&files));
        let mut session = Session::open(&disk, 4096).unwrap();
        let good = bounds.iter().copied().filter(|end| *end <= length).max().unwrap_or(0);
        assert_eq!(session.recovery.torn_bytes, u64::try_from(length - good).unwrap());
        assert!(session.append(vec![b"next".to_vec()]));
        let after = recovered(&disk).unwrap();
        assert_eq!(after.len(), 6 + kept + 1, "cut at {length}");
        assert_eq!(after.last().unwrap().payload, b"next");
    }
}

/// Without the mark the last record cannot be told from a torn write, so it may be cut; nothing else
/// may be.
#[test]
fn every_flipped_bit_is_detected() {
    let files = three_segments();
    let last = files.keys().next_back().unwrap().clone();
    for (name, bytes) in &files {
        let bounds = bounds(bytes);
        let last_record = bounds[bounds.len() - 2];
        for bit in 0..bytes.len() * 8 {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let opened = open(&damaged);
            let at = format!("{name}, byte {}, bit {}", bit / 8, bit % 8);
            if *name == last && bit / 8 >= last_record {
                assert_eq!(opened.unwrap(), written(8), "{at}");
            } else {
                let error = opened.map(|records| records.len()).expect_err(&at);
                let is_named = matches!(error, Error::Corrupt { .. } | Error::Version { .. });
                assert!(is_named, "{at}: {error}");
            }
        }
    }
}

/// Version 1 had no groups: in it, as here, every record stands for one of its own.
#[test]
fn a_journal_of_the_version_before_is_read_and_goes_on() {
    let mut files = three_segments();
    for bytes in files.values_mut() {
        let header = bytes.split_at_mut(segment::HEADER_BYTES).0;
        header[6..10].copy_from_slice(&1_u32.to_le_bytes());
        let crc = crc32c::crc32c(&header[..22]);
        header[22..26].copy_from_slice(&crc.to_le_bytes());
    }
    let disk = SimulatedDisk::new(Platter::holding(&files));
    let mut session = Session::open(&disk, 4096).unwrap();
    assert!(session.append(vec![payload(9)]));
    let after = recovered(&disk).unwrap();
    assert_eq!(after.into_iter().map(|r| r.payload).collect::<Vec<_>>(), written(10));
}

#[test]
fn with_the_mark_no_record_that_was_acknowledged_passes_for_a_torn_write() {
    let files = three_segments_and_mark();
    let last = files.keys().rfind(|name| *name != "mark").unwrap().clone();
    let bounds = bounds(&files[&last]);
    for at in bounds[bounds.len() - 2]..bounds[bounds.len() - 1] {
        let mut damaged = files.clone();
        damaged.get_mut(&last).unwrap()[at] ^= 1;
        let error = open(&damaged).expect_err("the last record was acknowledged");
        assert!(matches!(error, Error::Corrupt { .. }), "byte {at}: {error}");
    }
    let mut gone = files.clone();
    gone.remove(&last);
    let error = open(&gone).unwrap_err().to_string();
    assert!(error.contains("a record that was on disk is damaged or gone"), "{error}");
    // A mark that the power cut in two says nothing.
    let mut torn = files;
    torn.get_mut("mark").unwrap()[7] ^= 1;
    assert_eq!(open(&torn).unwrap(), written(9));
}

/// The power may keep any part of a write: the end of a group proves nothing about its beginning.
#[test]
fn a_group_without_its_beginning_is_a_torn_write() {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 1 << 20).unwrap();
    assert!(session.append((0..2).map(payload).collect()));
    assert!(session.append((2..6).map(payload).collect()));
    drop(session);
    let mut files = disk.platter().files();
    files.remove("mark");
    let bytes = files.first_entry().unwrap().into_mut();
    let bounds = bounds(bytes);
    bytes[bounds[3] + 9..bounds[4]].fill(0);
    assert_eq!(open(&files).unwrap(), written(3));
    files.first_entry().unwrap().get_mut()[bounds[1] + 20] ^= 1;
    assert!(matches!(open(&files).unwrap_err(), Error::Corrupt { .. }));
}

/// A file that is used again holds whole records of its former life.
#[test]
fn stale_records_of_a_recycled_segment_are_never_read() {
    let mut files = three_segments();
    let old = files.first_key_value().unwrap().1.clone();
    let last = files.last_entry().unwrap().into_mut();
    last.extend_from_slice(&old[segment::HEADER_BYTES..]);
    assert_eq!(open(&files).unwrap(), written(9));
    let disk = SimulatedDisk::new(Platter::holding(&files));
    let mut session = Session::open(&disk, 4096).unwrap();
    assert_eq!(session.recovery.torn_bytes, 0);
    assert!(session.append(vec![payload(9)]));
    assert_eq!(recovered(&disk).unwrap().len(), 10);
}

#[test]
fn two_damaged_records_before_whole_ones_are_refused() {
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 1 << 20).unwrap();
    (0..5).for_each(|i| assert!(session.append(vec![payload(i)])));
    drop(session);
    let mut files = disk.platter().files();
    files.remove("mark");
    let bounds = bounds(files.first_key_value().unwrap().1);
    let bytes = files.first_entry().unwrap().into_mut();
    bytes[bounds[1] + 30] ^= 1;
    bytes[bounds[2] + 30] ^= 1;
    check(
        &files,
        &expect![
            "/journal/00000000000000000001.journal is damaged at byte 59: a record does not fit its checksum or the one before it. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on"
        ],
    );
}

#[test]
fn damage_is_named_by_file_and_place() {
    let mut files = three_segments();
    let middle = files.keys().nth(1).unwrap().clone();
    files.get_mut(&middle).unwrap()[60] ^= 4;
    check(
        &files,
        &expect![
            "/journal/00000000000000000004.journal is damaged at byte 59: a record does not fit its checksum or the one before it. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on"
        ],
    );
    let mut files = three_segments();
    files.first_entry().unwrap().get_mut()[0] = b'X';
    check(
        &files,
        &expect![
            "/journal/00000000000000000001.journal is damaged at byte 0: it does not begin as a segment does. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on"
        ],
    );
    let mut files = three_segments();
    files.first_entry().unwrap().get_mut()[12] ^= 1;
    check(
        &files,
        &expect![
            "/journal/00000000000000000001.journal is damaged at byte 0: the header's checksum is wrong. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on"
        ],
    );
}

#[test]
fn a_swapped_or_missing_segment_is_refused() {
    let files = three_segments();
    let names: Vec<String> = files.keys().cloned().collect();
    let refused = |files: &BTreeMap<String, Vec<u8>>| {
        let error = open(files).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    };
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let mut swapped = files.clone();
        swapped.insert(names[a].clone(), files[&names[b]].clone());
        swapped.insert(names[b].clone(), files[&names[a]].clone());
        refused(&swapped);
    }
    for gone in &names[..2] {
        let mut missing = files.clone();
        missing.remove(gone);
        refused(&missing);
        // Emptied, or cut between two records, is missing too.
        for end in [0].into_iter().chain(bounds(&files[gone]).into_iter().rev().skip(1)) {
            let mut cut = files.clone();
            cut.get_mut(gone).unwrap().truncate(end);
            refused(&cut);
        }
    }
    let mut missing = files.clone();
    missing.remove(&names[1]);
    check(
        &missing,
        &expect![
            "/journal/00000000000000000007.journal is damaged at byte 0: it does not follow the segment before it. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on"
        ],
    );
}

/// The numbers are right, the chain is not.
#[test]
fn a_segment_of_another_journal_is_refused() {
    let mut files = three_segments();
    let disk = SimulatedDisk::default();
    let mut session = Session::open(&disk, 110).unwrap();
    (100..109).for_each(|i| assert!(session.append(vec![payload(i)])));
    drop(session);
    let other = disk.platter().files();
    let middle = files.keys().nth(1).unwrap().clone();
    files.insert(middle.clone(), other[&middle].clone());
    check(
        &files,
        &expect![
            "/journal/00000000000000000004.journal is damaged at byte 0: it does not follow the segment before it. This is no unfinished write, and nothing was changed: see `throughline verify` for what is left, `throughline verify --repair` for the way on"
        ],
    );
}

/// A whole header, as a later version may write it.
pub(super) fn of_another_version(segment: &mut [u8]) {
    segment[6..10].copy_from_slice(&3_u32.to_le_bytes());
    let crc = crc32c::crc32c(&segment[..22]);
    segment[22..26].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn another_version_is_refused() {
    let mut files = three_segments();
    of_another_version(files.first_entry().unwrap().get_mut());
    check(
        &files,
        &expect![
            "/journal/00000000000000000001.journal: written by another version of the format (3); this one reads version 2"
        ],
    );
}

#[test]
fn files_that_are_no_segments_are_left_alone() {
    let mut files = three_segments();
    for name in
        ["lock", "1.journal", "0000000000000000000x.journal", "00000000000000000001.journal~"]
    {
        files.insert(name.to_owned(), b"not ours".to_vec());
    }
    let disk = SimulatedDisk::new(Platter::holding(&files));
    assert_eq!(recovered(&disk).unwrap().len(), 9);
    let mut after = disk.platter().files();
    after.remove("mark");
    assert_eq!(after, files);
}

use super::*;
use crate::test_rng::TestRng;

fn position(run_at: i64) -> QueuePosition {
    QueuePosition { rank: 0, run_at, job: run_at }
}

/// A hint after its first full scan, which found no job before position 10.
fn scanned() -> ScanHint {
    let mut hint = ScanHint::new(0);
    let start = hint.begin(0);
    hint.advance(start, position(10), 1);
    hint
}

#[test]
fn a_claim_begins_where_the_last_one_got_to() {
    let mut hint = scanned();
    let start = hint.begin(2);
    assert_eq!(start.position, position(10));
    hint.advance(start, position(20), 3);
    assert_eq!(hint.begin(4).position, position(20));
}

#[test]
fn a_skip_point_is_used_until_the_start_has_passed_it() {
    let mut hint = scanned();
    assert_eq!(hint.begin(2).skip_points, None);
    hint.set_skip_points(&[position(15), position(25)]);
    let start = hint.begin(2);
    assert_eq!((start.position, start.skip_points), (position(10), Some((position(15), position(25)))));
    hint.advance(start, position(15).next(), 3);
    assert_eq!(hint.begin(4).skip_points, Some((position(25), position(25))));
    hint.advance(start, position(25).next(), 5);
    assert_eq!(hint.begin(6).skip_points, None);
    assert_eq!(hint.begin(FULL_SCAN_INTERVAL + 2).skip_points, None, "a full scan reads everything");
}

#[test]
fn more_skip_points_than_there_is_room_for_are_cut_off() {
    let mut hint = scanned();
    let points: Vec<QueuePosition> = (11..40).map(position).collect();
    hint.set_skip_points(&points);
    assert_eq!(hint.begin(2).skip_points, Some((position(11), position(10 + SKIP_POINTS as i64))));
}

#[test]
fn a_job_before_the_start_moves_the_start_back() {
    let mut hint = scanned();
    hint.note_available(position(5), 2);
    assert_eq!(hint.begin(3).position, position(5));
}

#[test]
fn a_claim_does_not_move_the_start_past_jobs_that_came_while_it_ran() {
    for later in [0, WINDOW_LENGTH, 5 * WINDOW_LENGTH, 100 * WINDOW_LENGTH] {
        let mut hint = scanned();
        let start = hint.begin(2);
        hint.note_available(position(15), 3);
        for step in 1..=6 {
            hint.note_available(position(1000), 3 + later * step / 6);
        }
        hint.advance(start, position(30), 4 + later);
        assert!(hint.start <= position(15), "{later}: {:?}", hint.start);
    }
}

#[test]
fn a_job_that_came_in_an_earlier_window_does_not_hold_the_start_back() {
    let mut hint = scanned();
    hint.note_available(position(5), 2);
    let start = hint.begin(3);
    hint.advance(start, position(30), 4);
    assert_eq!(hint.start, position(5), "it may have come after the claim began");
    let start = hint.begin(2 + WINDOW_LENGTH);
    hint.advance(start, position(30), 3 + WINDOW_LENGTH);
    assert_eq!(hint.start, position(30), "no job has come since that claim began");
}

#[test]
fn a_claim_that_ends_later_does_not_move_the_start_back() {
    let mut hint = scanned();
    let (slow, quick) = (hint.begin(2), hint.begin(2));
    hint.advance(quick, position(40), 3);
    hint.advance(slow, position(30), 4);
    assert_eq!(hint.begin(5).position, position(40));
}

#[test]
fn one_claim_at_a_time_scans_everything_and_what_it_finds_counts() {
    let mut hint = scanned();
    assert_eq!(hint.begin(FULL_SCAN_INTERVAL).position, position(10));
    let full_scan = hint.begin(FULL_SCAN_INTERVAL + 1);
    assert_eq!(full_scan.position, QueuePosition::FIRST);
    assert_eq!(hint.begin(FULL_SCAN_INTERVAL + 2).position, position(10), "others go on");
    hint.advance(full_scan, position(3), 2 * FULL_SCAN_INTERVAL);
    assert_eq!(hint.begin(2 * FULL_SCAN_INTERVAL + 1).position, position(3));
}

#[test]
fn full_scans_take_a_small_part_of_the_time() {
    let mut hint = scanned();
    let full_scan = hint.begin(FULL_SCAN_INTERVAL + 1);
    hint.advance(full_scan, position(3), 2 * FULL_SCAN_INTERVAL + 1);
    assert_eq!(hint.begin(21 * FULL_SCAN_INTERVAL).position, position(3));
    assert_eq!(hint.begin(22 * FULL_SCAN_INTERVAL + 1).position, QueuePosition::FIRST);
}

/// Random claims and arrivals, against the set of available jobs. A claim sees the jobs of the moment it
/// began, and takes the first of them at its end.
#[test]
fn the_start_is_never_past_an_available_job() {
    for seed in 0..200 {
        let mut rng = TestRng(seed);
        let mut hint = ScanHint::new(0);
        let mut now = 0;
        let mut available: Vec<i64> = Vec::new();
        let mut claims: Vec<(ScanStart, Vec<i64>)> = Vec::new();
        for _ in 0..400 {
            now += [1, 1000, WINDOW_LENGTH / 3, WINDOW_LENGTH][rng.below(4)];
            match rng.below(3) {
                0 => {
                    let job = rng.below(1000) as i64;
                    available.push(job);
                    hint.note_available(position(job), now);
                }
                1 => claims.push((hint.begin(now), available.clone())),
                _ if !claims.is_empty() => {
                    let (start, mut seen) = claims.swap_remove(rng.below(claims.len()));
                    // Rows that another claim has taken since are skipped.
                    seen.retain(|job| available.contains(job) && position(*job) >= start.position);
                    let first = seen.into_iter().min();
                    available.retain(|job| Some(*job) != first);
                    hint.advance(start, first.map_or(QueuePosition::LAST, |job| position(job).next()), now);
                }
                _ => {}
            }
            let lowest = available.iter().min().map_or(QueuePosition::LAST, |job| position(*job));
            assert!(hint.start <= lowest, "seed {seed}: {:?} is past {lowest:?}", hint.start);
        }
    }
}

use super::*;
use crate::job_event::JobAction;
use crate::test_rng::TestRng;

fn position(job: i64) -> QueuePosition {
    QueuePosition { rank: 0, run_at: 0, job }
}

fn enqueued(slot: usize, job: i64) -> KindChange {
    KindChange {
        slot,
        wake_workers: true,
        available_on_commit: Some(position(job)),
        available_on_abort: None,
    }
}

fn event(job: i64) -> JobEvent {
    JobEvent { project: None, job, action: JobAction::Enqueue }
}

#[test]
fn a_rollback_to_a_savepoint_keeps_what_came_before() {
    let mut pending = PendingJobs::new();
    pending.frame(1).merge(enqueued(0, 7));
    pending.frame(2).merge(enqueued(1, 8));
    pending.frame(2).push_event(event(8));
    pending.frame(3).merge(enqueued(0, 3));
    pending.reparent(3, 2);
    let undone = pending.undo(2).expect("two changes");
    assert_eq!(undone.kinds, [enqueued(1, 8), enqueued(0, 3)]);
    let rest = pending.finish().expect("the outermost frame");
    assert_eq!(rest.kinds, [enqueued(0, 7)]);
    assert_eq!(rest.events.list(), []);
    assert!(pending.is_empty());
}

#[test]
fn a_released_savepoint_is_merged_into_its_parent() {
    let mut pending = PendingJobs::new();
    pending.frame(1).merge(enqueued(0, 7));
    pending.frame(1).add_due(50);
    let child = pending.frame(2);
    child.merge(KindChange {
        slot: 0,
        wake_workers: false,
        available_on_commit: Some(position(3)),
        available_on_abort: Some(position(9)),
    });
    child.add_due(40);
    child.push_event(event(3));
    child.rescheduled = true;
    pending.reparent(2, 1);
    let all = pending.finish().expect("one frame");
    let expected = KindChange { available_on_abort: Some(position(9)), ..enqueued(0, 3) };
    assert_eq!(all.kinds, [expected]);
    assert_eq!((all.next_due, all.rescheduled), (Some(40), true));
    assert_eq!(all.events.list(), [event(3)]);
}

#[test]
fn the_end_of_a_subtransaction_without_changes_does_nothing() {
    let mut pending = PendingJobs::new();
    pending.frame(1).merge(enqueued(0, 7));
    pending.reparent(5, 1);
    assert!(pending.undo(6).is_none());
    assert_eq!(pending.finish().map(|all| all.kinds), Some(vec![enqueued(0, 7)]));
}

#[test]
fn the_first_enqueued_job_of_a_kind_is_the_lowest_of_all_frames() {
    let mut pending = PendingJobs::new();
    assert_eq!(pending.first_enqueued(0), None);
    pending.frame(1).merge(enqueued(0, 7));
    pending.frame(2).merge(enqueued(0, 5));
    pending.frame(2).merge(enqueued(1, 3));
    assert_eq!(pending.first_enqueued(0), Some(position(5)));
    pending.undo(2);
    assert_eq!((pending.first_enqueued(0), pending.first_enqueued(1)), (Some(position(7)), None));
}

#[test]
fn a_million_jobs_of_a_kind_are_one_change() {
    let mut pending = PendingJobs::new();
    for job in 0..1_000_000 {
        pending.frame(1).merge(enqueued(0, job));
        pending.frame(1).push_event(event(job));
    }
    let all = pending.finish().expect("one frame");
    assert_eq!(all.kinds, [enqueued(0, 0)]);
    assert!(all.events.has_overflowed());
}

/// Random nested subtransactions, against a stack of all positions that each enqueued.
#[test]
fn nested_subtransactions_agree_with_a_stack_of_lists() {
    for seed in 0..200 {
        let mut rng = TestRng(seed);
        let mut pending = PendingJobs::new();
        let mut last = 1;
        let mut open: Vec<(u32, Vec<(usize, i64)>)> = vec![(1, Vec::new())];
        for _ in 0..200 {
            let depth = open.len();
            match rng.below(4) {
                0 => {
                    last += 1;
                    open.push((last, Vec::new()));
                }
                1 if depth > 1 => {
                    let (ended, jobs) = open.pop().expect("depth");
                    pending.reparent(ended, open[depth - 2].0);
                    open[depth - 2].1.extend(jobs);
                }
                2 if depth > 1 => {
                    let (ended, jobs) = open.pop().expect("depth");
                    assert_eq!(pending.undo(ended).is_some(), !jobs.is_empty(), "seed {seed}");
                }
                _ => {
                    let (slot, job) = (rng.below(3), rng.below(1000) as i64);
                    pending.frame(open[depth - 1].0).merge(enqueued(slot, job));
                    open[depth - 1].1.push((slot, job));
                }
            }
            for slot in 0..3 {
                let jobs = open.iter().flat_map(|(_, jobs)| jobs).filter(|(of, _)| *of == slot);
                let lowest = jobs.map(|(_, job)| position(*job)).min();
                assert_eq!(pending.first_enqueued(slot), lowest, "seed {seed}");
            }
        }
    }
}

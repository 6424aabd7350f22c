use super::*;
use crate::job_event::JobAction;
use crate::pending_jobs::{KindChange, PendingJobs};

fn frame(kinds: &[KindChange], events: impl IntoIterator<Item = i64>) -> SubtransactionFrame {
    let mut pending = PendingJobs::new();
    let frame = pending.frame(1);
    kinds.iter().for_each(|change| frame.merge(*change));
    for job in events {
        frame.push_event(JobEvent { project: None, job, action: JobAction::Enqueue });
    }
    pending.finish().expect("a frame")
}

fn wake(slot: usize) -> KindChange {
    KindChange { slot, wake_workers: true, available_on_commit: None, available_on_abort: None }
}

#[test]
fn a_kind_keeps_its_slot() {
    let mut state = QueueState::new();
    let a = state.slot(1, "a", 0);
    assert_ne!(a, state.slot(1, "b", 0));
    assert_ne!(a, state.slot(2, "a", 0));
    assert_eq!(a, state.slot(1, "a", 0));
    assert_eq!(state.slot(1, &"k".repeat(64), 0), None);
}

#[test]
fn a_kind_beyond_the_last_slot_has_none_and_others_keep_theirs() {
    let mut state = QueueState::new();
    for number in 0..MAX_KINDS {
        assert!(state.slot(1, &format!("k{number}"), 0).is_some());
    }
    assert_eq!(state.slot(1, "one-more", 0), None);
    assert!(state.slot(1, "k0", 0).is_some());
}

#[test]
fn commits_of_a_kind_are_sent_once() {
    let mut state = QueueState::new();
    state.notifier_database = 1;
    let (a, b) = (state.slot(1, "a", 0).unwrap(), state.slot(1, "b", 0).unwrap());
    let other = state.slot(2, "a", 0).unwrap();
    assert!(state.apply_commit(1, &frame(&[wake(a)], [1]), 0));
    assert!(!state.apply_commit(1, &frame(&[wake(a)], [1]), 0), "it is about to be sent already");
    assert!(state.apply_commit(1, &frame(&[wake(b)], []), 0));
    state.apply_commit(2, &frame(&[wake(other)], [5]), 0);
    let mut sent = state.take_notifications(1);
    sent.kinds.sort();
    assert_eq!(
        (sent.kinds, sent.events.len(), sent.overflowed),
        (vec!["a".to_owned(), "b".into()], 1, false)
    );
    assert!(state.take_notifications(1).is_empty());
}

#[test]
fn events_that_do_not_fit_become_an_overflow() {
    let mut state = QueueState::new();
    state.notifier_database = 1;
    for job in 0..100 {
        state.apply_commit(1, &frame(&[], [job]), 0);
    }
    let sent = state.take_notifications(1);
    assert_eq!((sent.events.len(), sent.overflowed), (MAX_EVENTS, true));
    assert!(state.apply_commit(1, &frame(&[], 0..100), 0));
    assert_eq!(state.take_notifications(1), Notifications { overflowed: true, ..Notifications::default() });
}

#[test]
fn the_end_of_a_prepared_transaction_wakes_the_workers_of_its_kinds() {
    let mut state = QueueState::new();
    let a = state.slot(1, "a", 0).unwrap();
    assert!(state.apply_prepare(77, &frame(&[wake(a)], [])));
    assert!(state.resolve_prepared(|transaction| transaction == 77, 0));
    assert!(state.take_notifications(1).is_empty());
    assert!(!state.resolve_prepared(|_| false, 0));
    assert_eq!(state.take_notifications(1).kinds, ["a"]);
}

#[test]
fn the_rollback_of_a_claim_wakes_workers_and_that_of_an_enqueue_does_not() {
    let mut state = QueueState::new();
    let a = state.slot(1, "a", 0).unwrap();
    let claimed = KindChange {
        slot: a,
        wake_workers: false,
        available_on_commit: None,
        available_on_abort: Some(QueuePosition::FIRST),
    };
    assert!(!state.apply_abort(1, &frame(&[claimed], []), 0), "no notifier runs");
    state.notifier_database = 1;
    assert!(!state.apply_abort(1, &frame(&[wake(a)], [7]), 0), "the job does not exist");
    assert!(state.take_notifications(1).is_empty());
    assert!(state.apply_abort(1, &frame(&[claimed], [7]), 0));
    assert_eq!(
        state.take_notifications(1),
        Notifications { kinds: vec!["a".into()], ..Notifications::default() }
    );
}

#[test]
fn a_rollback_after_a_timer_was_set_makes_all_timers_due() {
    let mut state = QueueState::new();
    state.timers(1).unwrap().job.reschedule(Some(900), 100, 5000);
    let mut pending = PendingJobs::new();
    pending.frame(1).rescheduled = true;
    state.apply_abort(1, &pending.finish().unwrap(), 0);
    assert!(state.timers(1).unwrap().job.is_due(101));
}

#[test]
fn only_the_latest_event_of_a_job_is_sent() {
    let mut state = QueueState::new();
    state.notifier_database = 1;
    for action in [JobAction::Enqueue, JobAction::Claim] {
        let mut pending = PendingJobs::new();
        pending.frame(1).push_event(JobEvent { project: None, job: 7, action });
        state.apply_commit(1, &pending.finish().expect("a frame"), 0);
    }
    let actions: Vec<JobAction> =
        state.take_notifications(1).events.iter().map(|event| event.action).collect();
    assert_eq!(actions, [JobAction::Claim]);
}

#[test]
fn an_enqueued_job_moves_the_start_of_claims_when_it_commits() {
    let mut state = QueueState::new();
    let slot = state.slot(1, "a", 0).unwrap();
    let at = |job| QueuePosition { rank: 0, run_at: 0, job };
    let hint = state.hint(slot).unwrap();
    let start = hint.begin(0);
    hint.advance(start, at(50), 1);
    let enqueued = KindChange { available_on_commit: Some(at(20)), ..wake(slot) };
    state.apply_abort(1, &frame(&[enqueued], []), 2);
    assert_eq!(state.hint(slot).unwrap().begin(2).position, at(50));
    state.apply_commit(1, &frame(&[enqueued], []), 2);
    assert_eq!(state.hint(slot).unwrap().begin(2).position, at(20));
}

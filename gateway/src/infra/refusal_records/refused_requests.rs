//! Records of refused requests of accounts: one in a while for each account and route, so that a client that tries
//! again and again fills no log.

use std::time::Instant;

use uuid::Uuid;

use super::{FixedWindow, MAX_RECORDS, RECORD_INTERVAL};

/// The interval is that of refused devices, and so is the number of records in it.
#[derive(Debug)]
pub(crate) struct RefusedRequests {
    requests: FixedWindow<(Uuid, String)>,
    records: FixedWindow<()>,
}

impl Default for RefusedRequests {
    fn default() -> Self {
        Self { requests: FixedWindow::new(RECORD_INTERVAL), records: FixedWindow::new(RECORD_INTERVAL) }
    }
}

impl RefusedRequests {
    /// `Some` if this refusal is to be recorded, with the number of refusals like it that were left out since the
    /// last record.
    pub(crate) fn should_record(&self, account: Uuid, route: &str) -> Option<u64> {
        let now = Instant::now();
        let (count, left_out) = self.requests.count((account, route.to_owned()), now);
        (count == 1 && self.records.count((), now).0 <= MAX_RECORDS).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_tries_again_is_recorded_once_and_others_are_too() {
        let refused = RefusedRequests::default();
        let [anna, ben] = [1, 2].map(Uuid::from_u128);
        assert_eq!(refused.should_record(anna, "DELETE /api/nodes/{nodeId}"), Some(0));
        assert_eq!(refused.should_record(anna, "DELETE /api/nodes/{nodeId}"), None);
        assert_eq!(refused.should_record(anna, "POST /api/nodes"), Some(0));
        assert_eq!(refused.should_record(ben, "DELETE /api/nodes/{nodeId}"), Some(0));
        let recorded =
            (0..2 * MAX_RECORDS).filter_map(|n| refused.should_record(Uuid::from_u128(n.into()), "x"));
        assert_eq!(recorded.count() as u64, MAX_RECORDS - 3);
    }
}

//! How many files the process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections of clients: standard streams, libraries, the database, uploads and
/// downloads.
const OWN_FILES: u64 = 128;
/// More connections than this are no use to one process.
const MAX_CONNECTIONS: u64 = 100_000;
/// Fewer waiting agents than a usual installation has.
const FEW_FILES: u64 = 4096;

/// Raises the soft limit to the hard one, which needs no privilege, and says so; answers how many connections
/// of clients that leaves room for.
pub(crate) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = if raised.is_ok() { maximum } else { current };
    let (before, now) = (shown(current), shown(files));
    let connections = room(files);
    match files {
        Some(few) if few < FEW_FILES => tracing::warn!(
            before,
            now,
            connections,
            "few open files are allowed, so few agents can wait here; raise the hard limit: LimitNOFILE= of the unit, \
             or ulimit -Hn"
        ),
        _ if raised.is_ok() && current != maximum => {
            tracing::info!(before, now, connections, "the limit of open files was raised");
        }
        _ => {}
    }
    connections
}

/// The connections that fit. A download or upload takes a file besides, so a quarter is left for those.
fn room(files: Option<u64>) -> usize {
    let files = files.unwrap_or(u64::MAX).saturating_sub(OWN_FILES);
    usize::try_from((files / 4 * 3).clamp(16, MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(room(Some(1024)), 672);
        assert_eq!(room(Some(64)), 16);
        assert_eq!(room(None), 100_000);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}

//! The output of `--watch`.

use std::collections::HashMap;

use console::Term;
use nebula_api::job::Job;

use super::{state, subject, table};
use crate::error::{Doing, Result};
use crate::output::{Output, clean};

/// On a terminal the table is redrawn, elsewhere each change is a line.
#[derive(Default)]
pub(super) struct Screen {
    lines: usize,
    shown: HashMap<i64, String>,
}

impl Screen {
    /// Shows the changes since the last call.
    pub(super) fn show(&mut self, output: Output, jobs: &[Job]) -> Result<()> {
        if output.is_interactive() {
            let term = Term::stdout();
            let room = usize::from(term.size().0).saturating_sub(3).max(1);
            let text = table(output, &jobs[..jobs.len().min(room)]);
            term.clear_last_lines(self.lines).doing(|| "write to the terminal".to_owned())?;
            self.lines = text.lines().count();
            return output.line(&text);
        }
        // Oldest first, as in a log.
        for job in jobs.iter().rev() {
            let state = state(job);
            if self.shown.get(&job.job_id) == Some(&state) {
                continue;
            }
            output.show(job, || {
                format!("{}  {}  {}  {}", job.job_id, clean(&job.kind), subject(job), clean(&state))
            })?;
            self.shown.insert(job.job_id, state);
        }
        Ok(())
    }
}

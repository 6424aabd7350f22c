//! The child's side of the sandbox: gives up, before the first untrusted byte is read, whatever it will not need.

use std::fs;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, path_beneath_rules,
};
use rustix::process::{self, Resource, Rlimit, Signal};

/// Address space: decoding 8K needs about half of it, a decompression bomb wants all.
const MAX_MEMORY: u64 = 6 << 30;
/// Output of a small input may be larger than the input, but not without end.
const MIN_OUTPUT: u64 = 4 << 30;
const MAX_GROWTH: u64 = 10;
/// Input, output, pipes and what libav opens for itself.
const MAX_FILES: u64 = 64;

/// Confines this process to reading `input` and writing in `output`'s folder, and ties its life to that of `parent`.
///
/// Landlock is best effort, since old kernels lack it; everything else must work. `false` when it is missing.
pub fn enter(parent: u32, input: &Path, output: &Path) -> io::Result<bool> {
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above; then nobody will ever kill us.
    if process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent) {
        return Err(io::Error::other("the worker that started this process is gone"));
    }
    rustix::thread::set_no_new_privs(true)?;
    let size = fs::metadata(input)?.len();
    limit(Resource::As, MAX_MEMORY)?;
    limit(Resource::Fsize, size.saturating_mul(MAX_GROWTH).max(MIN_OUTPUT))?;
    limit(Resource::Nofile, MAX_FILES)?;
    limit(Resource::Core, 0)?;
    // Whatever serves people goes first.
    process::nice(10)?;
    let folder = output.parent().ok_or_else(|| io::Error::other("the output has no folder"))?;
    let status = restrict_paths(input, folder).map_err(io::Error::other)?;
    Ok(status != RulesetStatus::NotEnforced)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let hard = process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(value);
    Ok(process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?)
}

/// No file but these two, no TCP at all.
fn restrict_paths(input: &Path, folder: &Path) -> Result<RulesetStatus, landlock::RulesetError> {
    let abi = ABI::V5;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules([input], AccessFs::ReadFile))?
        .add_rules(path_beneath_rules([folder], AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(status.ruleset)
}

//! The child's side of the sandbox: drops all rights it does not need before it reads the first untrusted
//! byte. Paths and TCP by landlock, system calls by seccomp, memory and sizes by limits. There is no limit of
//! processes: the system counts those of all workers together, and threads of codecs among them; seccomp forbids new
//! processes.

mod calls;

use std::fs;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, path_beneath_rules,
};
use rustix::process::{self, Resource, Rlimit, Signal};

/// Bytes of address space. Decoding 8K needs about half of it; a decompression bomb is stopped by it.
const MAX_MEMORY: u64 = 6 << 30;
/// Limit of the output: this many times the input, but at least `MIN_OUTPUT_LIMIT` bytes, and no more than
/// there is room for.
const MAX_GROWTH: u64 = 10;
const MIN_OUTPUT_LIMIT: u64 = 4 << 30;
/// Open files: input, output, pipes, and those that libav opens itself.
const MAX_FILES: u64 = 64;

/// The rights of a media process.
#[derive(Debug)]
pub struct Confinement<'a> {
    /// Process that started it; this one is killed when that dies.
    pub parent: u32,
    /// Files and folders to read.
    pub inputs: Vec<&'a Path>,
    /// Bytes that come over a descriptor beside them.
    pub served: u64,
    /// File to write; others may lie in its folder.
    pub output: &'a Path,
    /// Bytes that a file may have at most.
    pub room: Option<u64>,
    /// Niceness, below the services that answer users.
    pub nice: u8,
}

impl Confinement<'_> {
    /// Confines this process for good.
    ///
    /// Returns `false` when the kernel has no landlock, which alone is best effort.
    pub fn enter(&self) -> io::Result<bool> {
        process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above took effect; then the signal would never come.
        let parent = process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
        if parent != Some(self.parent) {
            return Err(io::Error::other("the worker that started this process is gone"));
        }
        rustix::thread::set_no_new_privs(true)?;
        let sizes = self.inputs.iter().map(|input| Ok(fs::metadata(input)?.len()));
        let size = sizes.sum::<io::Result<u64>>()?.saturating_add(self.served);
        limit(Resource::As, MAX_MEMORY)?;
        limit(Resource::Fsize, output_limit(size).min(self.room.unwrap_or(u64::MAX)))?;
        limit(Resource::Nofile, MAX_FILES)?;
        limit(Resource::Core, 0)?;
        process::nice(i32::from(self.nice))?;
        let folder = self.output.parent().ok_or_else(|| io::Error::other("the output has no folder"))?;
        let status = restrict_paths(&self.inputs, folder).map_err(io::Error::other)?;
        calls::restrict().map_err(io::Error::other)?;
        Ok(status != RulesetStatus::NotEnforced)
    }
}

/// Bytes that the output of an input of `size` bytes may have at most.
pub(crate) fn output_limit(size: u64) -> u64 {
    size.saturating_mul(MAX_GROWTH).max(MIN_OUTPUT_LIMIT)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let hard = process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(value);
    Ok(process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?)
}

/// Allows these paths and no TCP.
fn restrict_paths(inputs: &[&Path], folder: &Path) -> Result<RulesetStatus, landlock::RulesetError> {
    let abi = ABI::V5;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(inputs, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules([folder], AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(status.ruleset)
}

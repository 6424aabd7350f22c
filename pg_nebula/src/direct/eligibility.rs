//! Whether SQL would run something for a row that the direct path does not run: then SQL has to do it.
#![expect(unsafe_code, reason = "the description of a table is a C structure")]

use std::ffi::CStr;

use pgrx::prelude::*;

use super::relation::{OpenRelation, READ};

/// Kinds of statements, as triggers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Insert = pg_sys::TRIGGER_TYPE_INSERT as isize,
    Update = pg_sys::TRIGGER_TYPE_UPDATE as isize,
    Delete = pg_sys::TRIGGER_TYPE_DELETE as isize,
}

/// Whether rows are stored in this table itself: it is no view, partitioned or foreign table.
pub(super) fn is_table(table: &OpenRelation) -> bool {
    table.class().relkind as u8 == pg_sys::RELKIND_RELATION
}

/// Whether other tables inherit from it, or did lately: a statement reads and changes their rows, too.
pub(super) fn has_descendants(table: &OpenRelation) -> bool {
    table.class().relhassubclass
}

/// Whether the table is a partition.
pub(super) fn is_partition(table: &OpenRelation) -> bool {
    table.class().relispartition
}

/// Whether a statement runs no rule, no row security policy, and no trigger, row or statement level, except
/// the trigger `own`, whose effect the caller reproduces. Triggers of constraints, such as foreign keys,
/// count as triggers, except those of the foreign keys `held`, which the caller's rows meet.
pub(super) fn runs_nothing_else(
    table: &OpenRelation,
    statement: Statement,
    own: Option<&CStr>,
    held: &[&CStr],
) -> bool {
    runs_nothing_but(table, statement, |trigger| {
        // SAFETY: the trigger is of an open relation, and has a name.
        unsafe { Some(CStr::from_ptr(trigger.tgname)) == own || is_check_of(trigger, held) }
    })
}

/// Whether a statement runs no rule, no row security policy, and no trigger but those that `is_void` names.
pub(super) fn runs_nothing_but(
    table: &OpenRelation,
    statement: Statement,
    is_void: impl Fn(&pg_sys::Trigger) -> bool,
) -> bool {
    let class = table.class();
    // The functions run with the privileges of the owner, whom row security binds only when it is forced.
    let is_secured = class.relrowsecurity && class.relforcerowsecurity;
    // SAFETY: an open relation points to its triggers, which are valid for their number.
    let triggers = unsafe {
        (*table.0).trigdesc.as_ref().map_or(&[][..], |all| {
            std::slice::from_raw_parts(all.triggers, usize::try_from(all.numtriggers).unwrap_or(0))
        })
    };
    let mut run = triggers.iter().filter(|trigger| trigger.tgtype as isize & statement as isize != 0);
    !class.relhasrules && !is_secured && run.all(is_void)
}

/// Whether a trigger checks one of these foreign keys on the side that refers.
///
/// # Safety
/// The trigger is of an open relation.
unsafe fn is_check_of(trigger: &pg_sys::Trigger, keys: &[&CStr]) -> bool {
    if keys.is_empty() {
        return false;
    }
    // SAFETY: as the caller promises; the functions read the catalog, and answer null for what they do not find.
    unsafe {
        let name = pg_sys::get_constraint_name(trigger.tgconstraint);
        pg_sys::RI_FKey_trigger_type(trigger.tgfoid).cast_unsigned() == pg_sys::RI_TRIGGER_FK
            && !name.is_null()
            && keys.contains(&CStr::from_ptr(name))
    }
}

/// Whether the table is a partition of `parent`, and INSERT into the parent runs nothing that INSERT into the
/// partition does not.
pub(super) fn is_plain_partition(table: pg_sys::Oid, parent: pg_sys::Oid) -> bool {
    let parent = OpenRelation::table(parent, READ);
    let is_partitioned = parent.class().relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
    is_partitioned && runs_nothing_else(&parent, Statement::Insert, None, &[]) && {
        // SAFETY: the relation is open and partitioned; its descriptor has as many identifiers as it says.
        unsafe {
            let partitions = &*pg_sys::RelationGetPartitionDesc(parent.0, true);
            (0..usize::try_from(partitions.nparts).unwrap_or(0)).any(|at| *partitions.oids.add(at) == table)
        }
    }
}

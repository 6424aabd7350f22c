//! One column of an application's table, written as `UPDATE … SET column = $2 WHERE id = $1 AND column IS DISTINCT FROM $2`
//! writes it with the privileges of the table's owner.
//!
//! Only a table for which that runs nothing but constraints and indexes, and only where nobody else is at the row:
//! all else is left to SQL.
#![expect(unsafe_code, reason = "the table access method, triggers and indexes are C interfaces")]

use std::cell::Cell;
use std::ffi::CString;

use pgrx::prelude::*;
use pgrx::{Uuid, direct_function_call};

use super::delete::Found;
use super::prepared::{Open, Prepared, READ, WRITE, refuse_if_read_only, relation_is_partition};
use super::search::{Search, Value};
use super::transfer::{Kept, deform};
use crate::error::{Error, Result};
use crate::inet::Host;

/// Places in the list of columns.
const ID: usize = 0;
const SHOWN: usize = 1;

/// Privileges that the statement needs.
const NEEDED: pg_sys::AclMode = (pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE) as pg_sys::AclMode;

/// A table that can be written so.
pub(crate) struct Linked {
    prepared: Prepared,
    /// Place in the list of indexes of the unique one on the identifier alone.
    key: usize,
    /// Foreign keys, of its own or of others, may have to be checked.
    has_keys: bool,
    runs_code: bool,
    /// A constraint may run a statement that ends up here again.
    busy: Cell<bool>,
}

/// A device, and what is to be shown for it.
pub(crate) type Shown = (Uuid, Option<Host>);

impl Linked {
    /// `None` for a table that is gone, or that SQL has to write.
    pub(crate) fn new(table: pg_sys::Oid, id: &str, shown: &str) -> Result<Option<Self>> {
        let name = |name: &str| CString::new(name).map_err(|_| Error::broken_promise("name of a column"));
        let columns = [name(id)?, name(shown)?];
        let Some(open) = open(table) else { return Ok(None) };
        let prepared = Prepared::new(table, None, &columns.each_ref().map(CString::as_c_str), None);
        // SAFETY: the relation is open, and what was prepared is of it.
        unsafe { Ok(Self::of(&*open.0, prepared)) }
    }

    /// # Safety
    /// The relation is open, and what was prepared is of it.
    unsafe fn of(relation: &pg_sys::RelationData, prepared: Prepared) -> Option<Self> {
        // SAFETY: as promised; columns are looked at only when they are there.
        unsafe {
            let class = &*relation.rd_rel;
            let simple = prepared.writable
                && !relation_is_partition(relation)
                && !class.relhassubclass
                && !class.relhasrules
                && has_type(&prepared, ID, pg_sys::UUIDOID)
                && has_type(&prepared, SHOWN, pg_sys::INETOID);
            let has_keys = update_triggers(relation).any(|t| is_key(t));
            let fires = |t: &mut pg_sys::Trigger| !is_key(t) && may_fire(t, prepared.places[SHOWN]);
            if !simple || update_triggers(relation).any(fires) {
                return None;
            }
            let (key, runs_code) = (key(&prepared)?, runs_code(&prepared));
            Some(Self { prepared, key, has_keys, runs_code, busy: Cell::new(false) })
        }
    }

    /// Whether writing may run functions of other people, which must not find theirs by the caller's search path.
    pub(crate) fn runs_code(&self) -> bool {
        self.runs_code
    }

    /// Writes rows where they are, and answers those that need SQL. `is_current`: nothing was heard of the table that is not
    /// known here. For READ COMMITTED only, and with the owner's privileges.
    pub(crate) fn show(&self, rows: &[Shown], is_current: impl Fn() -> bool) -> Result<Vec<Shown>> {
        struct Busy<'a>(&'a Cell<bool>);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        let all = || Ok(rows.to_vec());
        if self.busy.replace(true) {
            return all();
        }
        let _busy = Busy(&self.busy);
        // What others have said of the table is heard with the lock.
        let Some(table) = open(self.prepared.table) else { return all() };
        if !is_current() || !may_write(&table) {
            return all();
        }
        refuse_if_read_only(c"UPDATE");
        // SAFETY: an open table; one without an identity that subscribers need is an error, as it is in SQL.
        unsafe { pg_sys::CheckCmdReplicaIdentity(table.0, pg_sys::CmdType::CMD_UPDATE) };
        let index = Open::index(self.prepared.indexes[self.key].oid, WRITE);
        let now = Kept::fresh();
        let mut rest = Vec::new();
        for row in rows {
            pgrx::check_for_interrupts!();
            // SAFETY: the index is the table's, and the snapshot kept.
            if unsafe { !self.show_one(&table, &index, now.0, *row)? } {
                rest.push(*row);
            }
        }
        // SAFETY: inside a transaction; what was written is there for what comes next.
        unsafe { pg_sys::CommandCounterIncrement() };
        Ok(rest)
    }

    /// `false`: nothing was done, SQL must.
    ///
    /// # Safety
    /// The index is the table's, and the snapshot kept.
    unsafe fn show_one(
        &self,
        table: &Open,
        index: &Open,
        snapshot: pg_sys::Snapshot,
        (device, address): Shown,
    ) -> Result<bool> {
        let key = [Value::uuid(device)?];
        let address = address.and_then(IntoDatum::into_datum);
        let mut shown = true;
        // SAFETY: as promised; the key is unique and of this type.
        unsafe {
            Search::exact(&self.prepared.indexes[self.key].name, &key).each(table, index, snapshot, |slot| {
                let found = Found { slot, places: &self.prepared.places };
                deform(slot);
                if !is_same(found.get(SHOWN), address) {
                    let values = [found.get(ID), address];
                    shown = self.prepared.accepts_instead(slot, &values)
                        && !(self.has_keys && touches_keys(table, slot, self.prepared.slot))
                        && self.prepared.replace(table, slot, snapshot);
                }
                false
            });
        }
        Ok(shown)
    }
}

/// `None` when it is gone.
fn open(table: pg_sys::Oid) -> Option<Open> {
    // SAFETY: inside a transaction; what is opened is closed in `Drop`.
    let relation = unsafe { pg_sys::try_table_open(table, WRITE) };
    (!relation.is_null()).then(|| Open(relation))
}

/// `IS NOT DISTINCT FROM`.
///
/// # Safety
/// Both are valid `inet` values.
unsafe fn is_same(left: Option<pg_sys::Datum>, right: Option<pg_sys::Datum>) -> bool {
    match (left, right) {
        (None, None) => true,
        // SAFETY: as promised.
        (Some(_), Some(_)) => unsafe {
            direct_function_call(pg_sys::network_eq, &[left, right]) == Some(true)
        },
        _ => false,
    }
}

/// Whether the owner has kept his rights, and nobody watches whether they are used.
fn may_write(table: &Open) -> bool {
    // SAFETY: an open relation points to its catalog row; the hook is a plain variable.
    unsafe {
        let owner = (*(*table.0).rd_rel).relowner;
        let all = pg_sys::AclMaskHow::ACLMASK_ALL;
        (&raw const pg_sys::ExecutorCheckPerms_hook).read().is_none()
            && pg_sys::pg_class_aclmask((*table.0).rd_id, owner, NEEDED, all) == NEEDED
    }
}

/// # Safety
/// The columns are there.
unsafe fn has_type(prepared: &Prepared, column: usize, wanted: pg_sys::Oid) -> bool {
    // SAFETY: as promised; a row has as many columns as its description says.
    unsafe {
        let shape = &*prepared.shape;
        let columns = usize::try_from(shape.natts).unwrap_or(0);
        shape.attrs.as_slice(columns)[prepared.places[column]].atttypid == wanted
    }
}

/// Triggers that an UPDATE may fire.
///
/// # Safety
/// The relation stays open.
unsafe fn update_triggers(relation: &pg_sys::RelationData) -> impl Iterator<Item = &mut pg_sys::Trigger> {
    // SAFETY: as promised; triggers are valid for their number.
    let all = unsafe {
        relation.trigdesc.as_ref().map_or(&mut [][..], |t| {
            std::slice::from_raw_parts_mut(t.triggers, usize::try_from(t.numtriggers).unwrap_or(0))
        })
    };
    all.iter_mut().filter(|t| {
        u32::from(t.tgtype.cast_unsigned()) & pg_sys::TRIGGER_TYPE_UPDATE != 0
            && t.tgenabled.cast_unsigned() != pg_sys::TRIGGER_DISABLED
    })
}

/// Whether a trigger is one of those that keep a foreign key.
fn is_key(trigger: &pg_sys::Trigger) -> bool {
    // SAFETY: compares a number with known ones.
    let kind = unsafe { pg_sys::RI_FKey_trigger_type(trigger.tgfoid) };
    trigger.tgisinternal && kind.cast_unsigned() != pg_sys::RI_TRIGGER_NONE
}

/// Whether a trigger may fire when a column is written: one `UPDATE OF` others does not.
///
/// # Safety
/// The trigger is of an open relation.
unsafe fn may_fire(trigger: &pg_sys::Trigger, place: usize) -> bool {
    // SAFETY: as promised; it has as many columns as it says, and none means any.
    let columns = unsafe {
        match usize::try_from(trigger.tgnattr).unwrap_or(0) {
            0 => &[][..],
            count => std::slice::from_raw_parts(trigger.tgattr, count),
        }
    };
    columns.is_empty() || columns.iter().any(|column| usize::try_from(*column) == Ok(place + 1))
}

/// Whether a foreign key has to be checked for a new row, of which the server is asked as after an UPDATE.
///
/// # Safety
/// Both slots hold rows of the table, which is open.
unsafe fn touches_keys(
    table: &Open,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as promised.
    unsafe {
        update_triggers(&*table.0).filter(|t| is_key(t)).any(|t| {
            if pg_sys::RI_FKey_trigger_type(t.tgfoid).cast_unsigned() == pg_sys::RI_TRIGGER_PK {
                pg_sys::RI_FKey_pk_upd_check_required(t, table.0, old, new)
            } else {
                pg_sys::RI_FKey_fk_upd_check_required(t, table.0, old, new)
            }
        })
    }
}

/// Place in the list of indexes of one on the identifier alone that is unique, as everybody compares identifiers.
///
/// # Safety
/// The columns are there, and the table is open.
unsafe fn key(prepared: &Prepared) -> Option<usize> {
    let column = i16::try_from(prepared.places[ID] + 1).ok()?;
    // SAFETY: an open index has a description, and a family for each column of its key.
    prepared.indexes.iter().position(|index| unsafe {
        let info = &*index.info;
        let open = Open::index(index.oid, READ);
        let state = &*(*open.0).rd_index;
        let usual = pg_sys::GetDefaultOpClass(pg_sys::UUIDOID, pg_sys::BTREE_AM_OID);
        info.ii_Unique
            && index.is_tree
            && info.ii_NumIndexKeyAttrs == 1
            && info.ii_IndexAttrNumbers[0] == column
            && info.ii_Predicate.is_null()
            // One that old snapshots must not use may be one that this must not use.
            && state.indisvalid
            && !state.indcheckxmin
            && *(*open.0).rd_opfamily == pg_sys::get_opclass_family(usual)
    })
}

/// See [`Linked::runs_code`]: only what the server came with is known to look for nothing.
///
/// # Safety
/// The table is open.
unsafe fn runs_code(prepared: &Prepared) -> bool {
    let is_foreign = |oid: pg_sys::Oid| oid.to_u32() >= pg_sys::FirstNormalObjectId;
    // SAFETY: as promised; a description has as many columns as it says, an index as many families as its key.
    unsafe {
        let shape = &*prepared.shape;
        let columns = shape.attrs.as_slice(usize::try_from(shape.natts).unwrap_or(0));
        !prepared.checks.is_empty()
            || columns.iter().any(|column| is_foreign(column.atttypid))
            || prepared.indexes.iter().any(|index| {
                let info = &*index.info;
                let open = Open::index(index.oid, READ);
                let keys = usize::try_from(info.ii_NumIndexKeyAttrs).unwrap_or(0);
                let families = std::slice::from_raw_parts((*open.0).rd_opfamily, keys);
                !info.ii_Predicate.is_null()
                    || !info.ii_Expressions.is_null()
                    || families.iter().copied().any(is_foreign)
            })
    }
}

//! Words that fields of type text have, for `/openapi.json` alone. The fields themselves stay texts, so that a client
//! also reads an answer with a word that a later gateway has added.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $($word:literal)|+;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$($word),+]));
                RefOr::T(words.into())
            }
        }

        impl ToSchema for $name {}
    )+};
}

words! {
    /// `admin` is the operator, who may do everything.
    AccountRole: "admin" | "member";
    /// From the least rights to the most.
    ProjectRole: "viewer" | "member" | "admin" | "owner";
    /// Of a device in the overlay.
    DeviceRole: "host" | "lighthouse" | "relay";
    /// Of a device: with an address, without one any more, or revoked.
    DeviceState: "active" | "released" | "revoked";
    /// Order of devices; with a minus, from the end.
    DeviceSort: "name" | "-name" | "registered" | "-registered" | "seen" | "-seen";
    /// Of the keys of a network.
    Curve: "25519" | "P256";
    /// Of an enrolment code.
    EnrolmentState: "open" | "used" | "expired" | "revoked";
    /// Kind of a file, as people see it.
    FileKind: "film" | "sound" | "picture" | "other";
    /// How far the conversion of a file is.
    FileState: "waiting" | "processing" | "ready" | "failed";
    /// Order of files; with a minus, from the end.
    FileSort: "name" | "-name" | "date" | "-date" | "size" | "-size" | "duration" | "-duration";
    /// Of a job.
    JobState: "blocked" | "available" | "running" | "succeeded" | "dead" | "cancelled";
    /// Of a job after a change.
    ChangedJobState: "available" | "blocked" | "cancelling" | "cancelled";
    /// Of the rotation of an authority.
    RotationStep: "distributing" | "reissuing" | "retiring" | "done" | "cancelled";
    /// Of a share link: open, or why it opens nothing any more.
    ShareState: "open" | "revoked" | "expired" | "deleted" | "withdrawn";
    /// Order in which Syncthing fetches blocks; empty: left to each device.
    SyncOrder: "standard" | "random" | "inOrder" | "";
    /// Owner of the bytes that a quota limits.
    QuotaSubject: "project" | "account";
    /// As seen by the devices that a rule is for.
    Direction: "inbound" | "outbound";
    /// Of a firewall rule.
    Protocol: "any" | "tcp" | "udp" | "icmp";
    /// Cipher of the overlay.
    Cipher: "aes" | "chachapoly";
    /// Traffic that no rule names: all of it is let through, or none.
    Stance: "open" | "closed";
    /// Destinations that devices reach through the overlay.
    MemberReach: "overlay" | "internet";
    /// Of the whole system.
    HealthStatus: "ok" | "degraded" | "failed";
}

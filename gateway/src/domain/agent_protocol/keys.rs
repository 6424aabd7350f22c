//! The keys that a device sends, of which it may send sets for several curves.

use nebula_api::dnapi::{EnrollRequest, KeyUpdate};
use nebula_certificate::{Curve, PublicKey};

use super::{Refusal, host_key};
use crate::domain::authority::Authority;
use crate::error::ApiError;

/// Keys of the project's curve.
pub(super) struct DeviceKeys {
    /// Raw; signs the device's calls.
    pub(super) host: Vec<u8>,
    /// Goes into the device's certificates.
    pub(super) nebula: Option<PublicKey>,
}

/// A key in PEM, and the JSON field it came in.
type Field<'a> = (&'a [u8], &'static str);

impl DeviceKeys {
    /// Before its enrolment a device does not know the project's curve, so it sends keys of both.
    pub(super) fn of_enrolment(body: &EnrollRequest, authority: &Authority) -> Result<Self, Refusal> {
        let (host, nebula): (Field<'_>, Field<'_>) = match authority.curve() {
            Curve::Curve25519 => ((&body.ed_pubkey, "edPubkey"), (&body.dh_pubkey, "dhPubkey")),
            Curve::P256 => {
                ((&body.host_pubkey_p256, "hostPubkeyP256"), (&body.nebula_pubkey_p256, "nebulaPubkeyP256"))
            }
        };
        Self::read(authority, host, Some(nebula))
    }

    pub(super) fn of_update(
        value: &KeyUpdate,
        authority: &Authority,
        with_certificates: bool,
    ) -> Result<Self, Refusal> {
        let (host, nebula): (Field<'_>, Field<'_>) = match authority.curve() {
            Curve::Curve25519 => {
                ((&value.host_ed25519, "edPubkeyPEM"), (&value.nebula_x25519, "dhPubkeyPEM"))
            }
            Curve::P256 => {
                ((&value.host_p256, "p256HostPubkeyPEM"), (&value.nebula_p256, "p256NebulaPubkeyPEM"))
            }
        };
        Self::read(authority, host, with_certificates.then_some(nebula))
    }

    fn read(
        authority: &Authority,
        (host, host_field): Field<'_>,
        nebula: Option<Field<'_>>,
    ) -> Result<Self, Refusal> {
        let curve = authority.curve();
        let host = host_key::parse(host, curve).ok_or_else(|| {
            let error = ApiError::bad_argument(format!("{host_field} is not a host key of curve {curve}"));
            Refusal::field(host_field, error.hint("Send PKIX in PEM under the protocol's banner."))
        })?;
        let nebula = nebula.map(|(pem, field)| {
            let key = authority.public_key(&String::from_utf8_lossy(pem));
            key.map_err(|error| Refusal::field(field, error))
        });
        Ok(Self { host, nebula: nebula.transpose()? })
    }
}

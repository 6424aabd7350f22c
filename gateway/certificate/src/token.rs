//! Signing keys that never leave a PKCS#11 token: a smart card, a network HSM, SoftHSM.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failure, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use uri::Uri;

use crate::{Curve, Error, p256, raw_signature};

mod uri;

/// The curve's name as tokens want it: DER of the string `edwards25519` (PKCS#11 3.0, 6.3.7) and of the OID
/// of P-256.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";
const PRIME256V1: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A private key in a token, with an open session. Without `Debug`, because the URI may hold a PIN.
pub(crate) struct TokenKey {
    uri: Uri,
    curve: Curve,
    public: Vec<u8>,
    open: Mutex<Open>,
}

struct Open {
    session: Session,
    key: ObjectHandle,
}

impl TokenKey {
    /// Finds the private key that belongs to a public one. A token need not reveal the public half of a
    /// private key, so the key proves itself by a signature.
    ///
    /// # Errors
    /// [`Error::Token`] with what the token says, [`Error::TokenKeyMismatch`].
    pub(crate) fn open(uri: &str, curve: Curve, public: &[u8]) -> Result<Self, Error> {
        let uri = Uri::parse(uri)?;
        let open = Open::new(&uri)?;
        let found = Self { uri, curve, public: public.to_vec(), open: Mutex::new(open) };
        let probe = b"pg_nebula: is this the key of the certificate?";
        if raw_signature::verify(curve, public, probe, &found.sign(probe)?)? {
            return Ok(found);
        }
        Err(Error::TokenKeyMismatch)
    }

    /// Makes a key pair in the token under the URI's label; the private half can never be read out.
    ///
    /// # Errors
    /// [`Error::Token`], also when there is a key of that label.
    pub(crate) fn generate(uri: &str, curve: Curve) -> Result<Self, Error> {
        let uri = Uri::parse(uri)?;
        let label =
            uri.object.clone().ok_or_else(|| failed("the URI names no object=, the label of the new key"))?;
        let session = session(&uri)?;
        if !find(&session, &uri)?.is_empty() {
            return Err(failed(&format!("it holds a private key labelled {label:?} already")));
        }
        let (mechanism, parameters) = match curve {
            Curve::Curve25519 => (Mechanism::EccEdwardsKeyPairGen, EDWARDS25519),
            Curve::P256 => (Mechanism::EccKeyPairGen, PRIME256V1),
        };
        let label = Attribute::Label(label.into_bytes());
        let id: Vec<Attribute> = uri.id.clone().map(Attribute::Id).into_iter().collect();
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(parameters.to_vec()),
            label.clone(),
        ];
        let mut private = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            label,
        ];
        public.extend(id.clone());
        private.extend(id);
        let (public, key) = session.generate_key_pair(&mechanism, &public, &private).map_err(told)?;
        let point = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(told)?;
        let point = point.into_iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(bytes) => Some(bytes),
            _ => None,
        });
        let public = bare_point(curve, &point.unwrap_or_default())?;
        Ok(Self { uri, curve, public, open: Mutex::new(Open { session, key }) })
    }

    pub(crate) fn curve(&self) -> Curve {
        self.curve
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Signs. The first attempt fails after the token was removed and put back, or its service was restarted;
    /// then the session is opened again.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.sign(self.curve, message) {
            Err(_) => {
                *open = Open::new(&self.uri)?;
                open.sign(self.curve, message)
            }
            signed => signed,
        }
    }
}

impl Open {
    fn new(uri: &Uri) -> Result<Self, Error> {
        let session = session(uri)?;
        match find(&session, uri)?.as_slice() {
            [key] => Ok(Self { key: *key, session }),
            [] => Err(failed("it holds no private key of that object= or id=")),
            several => {
                Err(failed(&format!("{} of its private keys fit: name object= and id=", several.len())))
            }
        }
    }

    fn sign(&self, curve: Curve, message: &[u8]) -> Result<Vec<u8>, Error> {
        match curve {
            Curve::Curve25519 => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                self.session.sign(&pure, self.key, message).map_err(told)
            }
            Curve::P256 => {
                let digest = openssl::sha::sha256(message);
                let raw = self.session.sign(&Mechanism::Ecdsa, self.key, &digest).map_err(told)?;
                p256::from_raw_signature(&raw)
            }
        }
    }
}

/// A module is loaded and initialised once in a process, however many keys it holds.
fn module(path: &Path) -> Result<Pkcs11, Error> {
    static LOADED: Mutex<Option<HashMap<PathBuf, Pkcs11>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(module) = loaded.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(told)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another part of this process initialised it, for example an OpenSSL engine.
        Ok(()) | Err(Failure::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(told(error)),
    }
    loaded.insert(path.to_owned(), module.clone());
    Ok(module)
}

fn session(uri: &Uri) -> Result<Session, Error> {
    let module = module(&uri.module)?;
    let mut found = None;
    for slot in module.get_slots_with_initialized_token().map_err(told)? {
        let token = module.get_token_info(slot).map_err(told)?;
        if uri.is_of(token.label(), token.serial_number(), token.manufacturer_id(), token.model())
            && found.replace(slot).is_some()
        {
            return Err(failed("several tokens fit the URI: name token= or serial="));
        }
    }
    let slot = found.ok_or_else(|| failed("no token fits the URI: see `pkcs11-tool --list-token-slots`"))?;
    let session = module.open_rw_session(slot).map_err(told)?;
    if let Some(pin) = uri.pin()? {
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            // The login belongs to the process, not to the session.
            Ok(()) | Err(Failure::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(
                error @ Failure::Pkcs11(
                    RvError::PinIncorrect
                    | RvError::PinInvalid
                    | RvError::PinLenRange
                    | RvError::PinExpired
                    | RvError::PinLocked,
                    _,
                ),
            ) => return Err(Error::TokenPin { problem: error.to_string() }),
            Err(error) => return Err(told(error)),
        }
    }
    Ok(session)
}

fn find(session: &Session, uri: &Uri) -> Result<Vec<ObjectHandle>, Error> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Sign(true)];
    template.extend(uri.object.clone().map(|label| Attribute::Label(label.into_bytes())));
    template.extend(uri.id.clone().map(Attribute::Id));
    session.find_objects(&template).map_err(told)
}

/// Most tokens answer the point inside a DER OCTET STRING, some without it.
fn bare_point(curve: Curve, point: &[u8]) -> Result<Vec<u8>, Error> {
    let size = match curve {
        Curve::Curve25519 => 32,
        Curve::P256 => 65,
    };
    match point {
        [0x04, length, bytes @ ..] if usize::from(*length) == bytes.len() && bytes.len() == size => {
            Ok(bytes.to_vec())
        }
        bytes if bytes.len() == size => Ok(bytes.to_vec()),
        _ => Err(failed("it told no public key of the pair it made")),
    }
}

fn failed(problem: &str) -> Error {
    Error::Token { problem: problem.to_owned() }
}

fn told(error: Failure) -> Error {
    failed(&error.to_string())
}

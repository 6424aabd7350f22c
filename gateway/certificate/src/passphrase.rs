//! An authority's key under a passphrase, in the format of `nebula-cert ca -encrypt`: Argon2id, then
//! AES-256-GCM.

use argon2::{Algorithm, Argon2, Block, Params};
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::protobuf::{Reader, Value, push_bytes, push_number};

const ALGORITHM: &str = "AES-256-GCM";
/// Length of a new salt.
const SALT_LENGTH: usize = 32;
const MIN_SALT_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;

/// 4 GiB, twice what nebula-cert asks for; a file that asks for more is probably damaged.
const MAX_MEMORY: u32 = 4 * 1024 * 1024;

/// Cost of trying one passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes, at most 255.
    pub parallelism: u32,
}

/// As nebula-cert: 2 GiB, one pass, four lanes.
impl Default for Cost {
    fn default() -> Self {
        Self { memory: 2 * 1024 * 1024, iterations: 1, parallelism: 4 }
    }
}

/// Encrypts a raw private key.
///
/// # Errors
/// [`Error::PassphraseMissing`] if empty, [`Error::Encryption`], [`Error::Memory`].
pub(crate) fn encrypt(key: &[u8], passphrase: &str, cost: Cost) -> Result<Vec<u8>, Error> {
    if passphrase.is_empty() {
        return Err(Error::PassphraseMissing);
    }
    let (mut salt, mut nonce, mut tag) = ([0; SALT_LENGTH], [0; NONCE_LENGTH], [0; TAG_LENGTH]);
    rand_bytes(&mut salt)?;
    rand_bytes(&mut nonce)?;
    let cipher_key = derive(passphrase, &salt, cost)?;
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), &*cipher_key, Some(&nonce), &[], key, &mut tag)?;

    let mut argon = Vec::new();
    push_number(&mut argon, 1, u64::from(u32::from(argon2::Version::V0x13)));
    push_number(&mut argon, 2, cost.memory.into());
    push_number(&mut argon, 3, cost.iterations.into());
    push_number(&mut argon, 4, cost.parallelism.into());
    push_bytes(&mut argon, 5, &salt);
    let mut metadata = Vec::new();
    push_bytes(&mut metadata, 1, ALGORITHM.as_bytes());
    push_bytes(&mut metadata, 2, &argon);
    let mut out = Vec::new();
    push_bytes(&mut out, 1, &metadata);
    push_bytes(&mut out, 2, &[nonce.as_slice(), &sealed, &tag].concat());
    Ok(out)
}

/// Decrypts a private key.
///
/// # Errors
/// [`Error::PassphraseWrong`], [`Error::Encryption`], [`Error::Memory`].
pub(crate) fn decrypt(bytes: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let sealed = Sealed::read(bytes).map_err(|problem| Error::Encryption { problem })?;
    let key = derive(passphrase, sealed.salt, sealed.cost)?;
    let opened = sealed.ciphertext.split_first_chunk::<NONCE_LENGTH>().and_then(|(nonce, rest)| {
        let (text, tag) = rest.split_last_chunk::<TAG_LENGTH>()?;
        decrypt_aead(Cipher::aes_256_gcm(), &*key, Some(nonce), &[], text, tag).ok()
    });
    opened.map(Zeroizing::new).ok_or(Error::PassphraseWrong)
}

#[derive(Default)]
struct Sealed<'a> {
    algorithm: &'a [u8],
    version: u64,
    cost: Cost,
    salt: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut sealed = Self { cost: Cost { memory: 0, iterations: 0, parallelism: 0 }, ..Self::default() };
        let mut message = Reader::new(bytes);
        while let Some(field) = message.field()? {
            match field {
                (1, Value::Bytes(metadata)) => sealed.read_metadata(metadata)?,
                (2, Value::Bytes(ciphertext)) => sealed.ciphertext = ciphertext,
                _ => return Err("there is an unknown field"),
            }
        }
        if sealed.algorithm != ALGORITHM.as_bytes() {
            return Err("its cipher is not AES-256-GCM");
        }
        if sealed.version != u64::from(u32::from(argon2::Version::V0x13)) {
            return Err("its version of Argon2 is not 19");
        }
        if sealed.salt.len() < MIN_SALT_LENGTH {
            return Err("its salt is shorter than 16 bytes");
        }
        Ok(sealed)
    }

    fn read_metadata(&mut self, bytes: &'a [u8]) -> Result<(), &'static str> {
        let mut message = Reader::new(bytes);
        while let Some(field) = message.field()? {
            match field {
                (1, Value::Bytes(algorithm)) => self.algorithm = algorithm,
                (2, Value::Bytes(argon)) => self.read_argon(argon)?,
                _ => return Err("there is an unknown field"),
            }
        }
        Ok(())
    }

    fn read_argon(&mut self, bytes: &'a [u8]) -> Result<(), &'static str> {
        let small = |number| u32::try_from(number).map_err(|_| "a cost exceeds 32 bits");
        let mut message = Reader::new(bytes);
        while let Some(field) = message.field()? {
            match field {
                (1, Value::Varint(version)) => self.version = version,
                (2, Value::Varint(memory)) => self.cost.memory = small(memory)?,
                (3, Value::Varint(iterations)) => self.cost.iterations = small(iterations)?,
                (4, Value::Varint(parallelism)) => self.cost.parallelism = small(parallelism)?,
                (5, Value::Bytes(salt)) => self.salt = salt,
                _ => return Err("there is an unknown field"),
            }
        }
        Ok(())
    }
}

/// Derives a cipher key from a passphrase. The memory is reserved first, so that a lack of it is an error,
/// not an abort.
fn derive(passphrase: &str, salt: &[u8], cost: Cost) -> Result<Zeroizing<[u8; 32]>, Error> {
    const UNUSABLE: Error = Error::Encryption { problem: "its Argon2 costs are out of range" };
    if cost.memory > MAX_MEMORY || cost.parallelism > 255 {
        return Err(UNUSABLE);
    }
    let mut key = Zeroizing::new([0; 32]);
    let params =
        Params::new(cost.memory, cost.iterations, cost.parallelism, Some(key.len())).map_err(|_| UNUSABLE)?;
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| Error::Memory { kibibytes: cost.memory })?;
    memory.resize(params.block_count(), Block::default());
    let hashed = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut *key, &mut memory);
    memory.iter_mut().for_each(Zeroize::zeroize);
    hashed.map_err(|_| UNUSABLE)?;
    Ok(key)
}

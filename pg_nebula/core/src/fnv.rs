//! FNV-1a with 64 bits: short keys, no attackers, and a value that is part of what two versions of the
//! library share. `std`'s hasher may change with the compiler, and stronger hashes buy nothing here.

/// A hash in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv1a(u64);

impl Fnv1a {
    /// The hash of nothing.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Adds bytes, one at a time as FNV-1a is defined.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |hash, byte| hash.word(u64::from(*byte)))
    }

    /// Adds 64 bits in one step: not FNV-1a as published, but eight times as fast over megabytes.
    pub fn word(self, word: u64) -> Self {
        Self((self.0 ^ word).wrapping_mul(0x0100_0000_01b3))
    }

    /// The hash of everything added.
    pub fn finish(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of the specification (draft-eastlake-fnv, appendix).
    #[test]
    fn hashes_of_bytes_are_those_of_the_specification() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(Fnv1a::EMPTY.bytes(text.as_bytes()).finish(), hash, "{text}");
        }
    }

    #[test]
    fn bytes_may_be_added_in_parts() {
        assert_eq!(Fnv1a::EMPTY.bytes(b"foo").bytes(b"bar"), Fnv1a::EMPTY.bytes(b"foobar"));
    }
}

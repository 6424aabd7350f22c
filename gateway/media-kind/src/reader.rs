//! Reading at places of a file.

use std::io::{self, Read, Seek, SeekFrom};

/// Fills as much of `buffer` as the file has from `at` on.
pub(crate) fn read_at(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// As much of the `size` bytes from `at` on as there is.
pub(crate) fn bytes_at(file: &mut (impl Read + Seek), at: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let read = read_at(file, at, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

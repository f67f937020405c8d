//! CAR files (version 1): any number of blocks in one stream, as `ipfs dag import` and pinning services take them.
//!
//! Owns the format and nothing else. It holds one block at a time, so memory does not grow with the file.
//! Source: <https://ipld.io/specs/transport/car/carv1/>.

use std::io::{self, Write};

use cid::Cid;

use super::unixfs::{Block, varint};

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// Writes a CAR file at once: first its roots, then the blocks in their order.
///
/// # Errors
/// When `out` cannot be written, or the first fault among the blocks; what was written is then worthless.
pub fn write<E: From<io::Error>>(
    out: impl Write,
    roots: &[Cid],
    blocks: impl IntoIterator<Item = Result<Block, E>>,
) -> Result<Written, E> {
    let mut writer = Writer::begin(out, roots)?;
    for block in blocks {
        writer.add(&block?)?;
    }
    Ok(writer.written())
}

/// A CAR file that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    written: Written,
}

impl<W: Write> Writer<W> {
    /// Begins with the roots: the addresses from which everything in the file can be reached.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn begin(mut out: W, roots: &[Cid]) -> io::Result<Self> {
        let bytes = section(&mut out, &[&header(roots)])?;
        Ok(Self { out, written: Written { blocks: 0, bytes } })
    }

    /// Adds a block; their order is free.
    ///
    /// # Errors
    /// When the target cannot be written; what was written is then worthless.
    pub fn add(&mut self, block: &Block) -> io::Result<()> {
        let bytes = section(&mut self.out, &[&block.cid.to_bytes(), &block.bytes])?;
        self.written.blocks = self.written.blocks.saturating_add(1);
        self.written.bytes = self.written.bytes.saturating_add(bytes);
        Ok(())
    }

    /// What was written so far.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }
}

/// Length and parts; tells how many bytes that were.
fn section(out: &mut impl Write, parts: &[&[u8]]) -> io::Result<u64> {
    let len = parts.iter().map(|part| part.len() as u64).fold(0, u64::saturating_add);
    let mut prefix = Vec::new();
    varint(len, &mut prefix);
    out.write_all(&prefix)?;
    for part in parts {
        out.write_all(part)?;
    }
    Ok(len.saturating_add(prefix.len() as u64))
}

/// `{"roots": [CID…], "version": 1}` in dag-cbor.
fn header(roots: &[Cid]) -> Vec<u8> {
    let mut header = vec![0xa2];
    header.extend(cbor(TEXT, 5));
    header.extend(b"roots");
    header.extend(cbor(ARRAY, roots.len()));
    for root in roots {
        // A link is tag 42 around a byte string that begins with a zero, for historical reasons.
        let link = [&[0], root.to_bytes().as_slice()].concat();
        header.extend([0xd8, 42]);
        header.extend(cbor(BYTES, link.len()));
        header.extend(link);
    }
    header.extend(cbor(TEXT, 7));
    header.extend(b"version");
    header.push(1);
    header
}

/// CBOR's major types, as they stand in the first byte.
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;

/// The head of a CBOR item: its type and how much follows, in as few bytes as possible (dag-cbor insists).
fn cbor(major: u8, count: usize) -> Vec<u8> {
    match count {
        0..=23 => vec![major | count.to_le_bytes()[0]],
        24..=0xff => vec![major | 0x18, count.to_le_bytes()[0]],
        0x100..=0xffff => [&[major | 0x19], &(count as u64).to_be_bytes()[6..]].concat(),
        _ => [&[major | 0x1a], &(count as u64).to_be_bytes()[4..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::unixfs;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let file = unixfs::file(&bytes::Bytes::from_static(b"hello world"));
        let mut out = Vec::new();
        let written = write(&mut out, &[file.root], file.blocks.into_iter().map(Ok::<_, io::Error>)).unwrap();
        let mut wanted = vec![58, 0xa2, 0x65];
        wanted.extend(b"roots\x81\xd8\x2a\x58\x25\0");
        wanted.extend(file.root.to_bytes());
        wanted.extend(b"gversion\x01");
        wanted.push(36 + 11);
        wanted.extend(file.root.to_bytes());
        wanted.extend(b"hello world");
        assert_eq!(out, wanted);
        assert_eq!(written, Written { blocks: 1, bytes: wanted.len() as u64 });
    }

    #[test]
    fn heads_are_as_short_as_can_be() {
        assert_eq!(cbor(ARRAY, 23), [0x97]);
        assert_eq!(cbor(ARRAY, 24), [0x98, 24]);
        assert_eq!(cbor(ARRAY, 256), [0x99, 1, 0]);
        assert_eq!(cbor(ARRAY, 0x0001_0000), [0x9a, 0, 1, 0, 0]);
    }

    #[test]
    fn a_fault_of_the_source_or_of_the_disk_ends_it() {
        let faulty = [Err(io::Error::other("no more"))];
        assert_eq!(write(&mut Vec::new(), &[], faulty).unwrap_err().to_string(), "no more");
        let mut full: &mut [u8] = &mut [0; 4];
        assert_eq!(Writer::begin(&mut full, &[]).unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}

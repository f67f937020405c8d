//! Files and directories as IPFS cuts them into blocks, and the addresses that follow from it.
//!
//! Owns the layout of `ipfs add --cid-version=1 --raw-leaves` with Kubo's defaults: pieces of 262,144 bytes, at most 174 links
//! for each node, a balanced tree. A file of one piece is one raw block; a larger one is a tree of dag-pb nodes over raw
//! leaves. Pure and synchronous; it keeps and sends nothing.
//!
//! Sources: <https://specs.ipfs.tech/unixfs/> and <https://ipld.io/specs/codecs/dag-pb/spec/>. Both encodings are a handful of
//! protobuf fields, written here in their canonical order; a test compares the addresses with those of another implementation.

use bytes::Bytes;
use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// Bytes in a piece (Kubo's default chunker, `size-262144`).
pub const PIECE_BYTES: usize = 262_144;
/// Links in a node of a file's tree (Kubo's default).
const MAX_LINKS: usize = 174;
/// Entries that a plain directory should have at most. Names that are CIDs then stay below the 256 KiB at which Kubo begins
/// to spread a directory over several blocks, so the address is still that of `ipfs add`. The hard bound is the network's
/// largest block: a directory must stay below 1 MiB, near 10,000 such entries.
pub const MAX_ENTRIES: usize = 2_500;

/// Multicodec `raw`: the block is a piece of a file.
const RAW: u64 = 0x55;
/// Multicodec `dag-pb`: the block links others.
const DAG_PB: u64 = 0x70;
/// Multicodec `sha2-256`.
const SHA2_256: u64 = 0x12;

/// `Type` of a `UnixFS` node.
const DIRECTORY: u64 = 1;
/// `Type` of a `UnixFS` node.
const FILE: u64 = 2;

/// Bytes under their address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The address: a hash of the bytes.
    pub cid: Cid,
    /// What is stored.
    pub bytes: Bytes,
}

impl Block {
    fn new(codec: u64, bytes: Bytes) -> Self {
        Self { cid: address_of(codec, &bytes), bytes }
    }
}

/// A file as blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The file's address: that of the last block.
    pub root: Cid,
    /// Leaves in the order of the file, then the nodes above them; the root is last.
    pub blocks: Vec<Block>,
    /// Bytes of all the blocks: the `Tsize` of a link to this file.
    pub cumulative_size: u64,
}

/// A link in the making: what a node must know of what is below it.
#[derive(Clone, Copy)]
struct Below {
    cid: Cid,
    /// Bytes of the file under it.
    file_size: u64,
    /// Bytes of the blocks under it, its own included.
    cumulative_size: u64,
}

/// Cuts a file into blocks. The leaves share the file's memory.
#[must_use]
pub fn file(bytes: &Bytes) -> File {
    let mut blocks: Vec<Block> = pieces(bytes).map(|piece| Block::new(RAW, bytes.slice_ref(piece))).collect();
    let leaves = blocks.iter().map(|leaf| leaf_of(leaf.cid, leaf.bytes.len())).collect();
    let root = grow(leaves, |node| blocks.push(node));
    File { root: root.cid, blocks, cumulative_size: root.cumulative_size }
}

/// A file's address.
#[must_use]
pub fn file_address(bytes: &[u8]) -> Cid {
    let leaves = pieces(bytes).map(|piece| leaf_of(address_of(RAW, piece), piece.len())).collect();
    grow(leaves, drop).cid
}

/// A directory of files and directories: name, address, and cumulative size (the sum of all blocks below) of each, in any
/// order. Names must differ. See [`MAX_ENTRIES`] for how many there may be.
#[must_use]
pub fn directory(entries: &[(String, Cid, u64)]) -> Block {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|(a, ..), (b, ..)| a.as_bytes().cmp(b.as_bytes()));
    let links = entries.into_iter().map(|(name, cid, size)| link(cid, name, *size));
    Block::new(DAG_PB, node(links, &number(1, DIRECTORY)))
}

/// An empty file is one empty piece.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let first = if bytes.is_empty() { Some(bytes) } else { None };
    first.into_iter().chain(bytes.chunks(PIECE_BYTES))
}

fn leaf_of(cid: Cid, len: usize) -> Below {
    let size = u64::try_from(len).unwrap_or(u64::MAX);
    Below { cid, file_size: size, cumulative_size: size }
}

/// Puts nodes over nodes until one is left. All leaves are equally deep: that is Kubo's balanced layout.
fn grow(mut level: Vec<Below>, mut keep: impl FnMut(Block)) -> Below {
    loop {
        if let [root] = level.as_slice() {
            return *root;
        }
        let above = level.chunks(MAX_LINKS).map(|children| {
            let (block, below) = file_node(children);
            keep(block);
            below
        });
        level = above.collect();
    }
}

fn file_node(children: &[Below]) -> (Block, Below) {
    let sum = |size: fn(&Below) -> u64| children.iter().map(size).fold(0, u64::saturating_add);
    let file_size = sum(|child| child.file_size);
    let mut data = [number(1, FILE), number(3, file_size)].concat();
    data.extend(children.iter().flat_map(|child| number(4, child.file_size)));
    let block =
        Block::new(DAG_PB, node(children.iter().map(|child| link(&child.cid, "", child.cumulative_size)), &data));
    let cumulative_size = sum(|child| child.cumulative_size).saturating_add(block.bytes.len() as u64);
    let below = Below { cid: block.cid, file_size, cumulative_size };
    (block, below)
}

/// A dag-pb node: links (field 2) come before data (field 1).
fn node(links: impl Iterator<Item = Vec<u8>>, data: &[u8]) -> Bytes {
    let mut node: Vec<u8> = links.flat_map(|link| field(2, &link)).collect();
    node.extend(field(1, data));
    node.into()
}

fn link(cid: &Cid, name: &str, cumulative_size: u64) -> Vec<u8> {
    [field(1, &cid.to_bytes()), field(2, name.as_bytes()), number(3, cumulative_size)].concat()
}

/// A protobuf field of bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

/// A protobuf field that is a number.
fn number(tag: u8, value: u64) -> Vec<u8> {
    let mut field = vec![tag << 3];
    varint(value, &mut field);
    field
}

/// Writes a number as LEB128, seven bits a byte, lowest first.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn address_of(codec: u64, bytes: &[u8]) -> Cid {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    // 32 bytes always fit into the 64 that a multihash may have.
    let hash = Multihash::wrap(SHA2_256, &digest).unwrap_or_default();
    Cid::new_v1(codec, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two pieces are alike: the numbers from 0 on, eight bytes each.
    fn content(len: usize) -> Bytes {
        let mut bytes = Vec::new();
        (0..).take(len.div_ceil(8)).for_each(|number: u64| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.truncate(len);
        bytes.into()
    }

    #[test]
    fn addresses_are_those_of_the_javascript_importer() {
        // Printed by `tests/interop/unixfs.mjs` for these contents, with the cumulative sizes.
        for (len, cid, size) in [
            (0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", 0),
            (1, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu", 1),
            (262_144, "bafkreid4f2a2qrhafpgnwbyxgb7lgwl6iygafcs3xkcp7q52izhjuje2j4", 262_144),
            (262_145, "bafybeif73rwiekzuxpn7jsjdc6h27kyd2ijzhaopsgzeiiq2olet36fbwy", 262_249),
            (1 << 20, "bafybeidjituwljlv6723zgbbprl3hufb7z3ebchjzaiiny5k3vk2yfg3by", 1_048_784),
            // 191 pieces: two nodes below the root.
            (50_000_000, "bafybeihwsyj5i4rdbsyenaww5qit4dqjntw5yux2u4htz6yjtnojwn36om", 50_009_682),
        ] {
            let content = content(len);
            let file = file(&content);
            assert_eq!((file.root.to_string().as_str(), file.cumulative_size), (cid, size), "{len}");
            assert_eq!(file_address(&content), file.root);
            assert_eq!(file.blocks.last().unwrap().cid, file.root);
            let stored: usize = file.blocks.iter().map(|block| block.bytes.len()).sum();
            assert_eq!(stored as u64, size, "every block is there once");
            let leaves = file.blocks.iter().filter(|block| block.cid.codec() == RAW);
            let leaves = leaves.map(|leaf| leaf.bytes.as_ref()).collect::<Vec<_>>().concat();
            assert!(leaves == content, "{len}");
        }
    }

    #[test]
    fn a_directory_sorts_its_names_by_their_bytes() {
        let leaf = |bytes: &'static [u8]| file(&Bytes::from_static(bytes));
        let entry = |name: &str, file: File| (name.to_owned(), file.root, file.cumulative_size);
        let below = directory(&[entry("Ä", leaf(b"x"))]);
        assert_eq!(below.cid.to_string(), "bafybeihoiibf7gyn7u67x7nul4bt22kdn64vu5mqtjgtjyob6scdbfe54u");
        let mut entries: Vec<_> = [0, 1, 262_144, 262_145, 1 << 20, 50_000_000]
            .map(|len| entry(&len.to_string(), file(&content(len))))
            .into();
        entries.push(("sub".to_owned(), below.cid, below.bytes.len() as u64 + 1));
        entries.push(entry("B", leaf(b"B")));
        let above = directory(&entries);
        assert_eq!(above.cid.to_string(), "bafybeihk6s4t3b63mnh4rgvh5owy3q4ezrbezdzoo3vxdlhbs5yfimmi7a");
        // The well-known empty directory.
        let empty = directory(&[]).cid.to_string();
        assert_eq!(empty, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    }

    #[test]
    fn a_full_directory_stays_below_the_size_at_which_kubo_spreads_it() {
        let cid = file_address(b"x");
        let names = (0..MAX_ENTRIES).map(|number| (format!("{number:059}"), cid, 1 << 40));
        let full = directory(&names.collect::<Vec<_>>());
        // Kubo adds up the bytes of names and addresses.
        assert!(MAX_ENTRIES * (59 + cid.to_bytes().len()) < 256 * 1024);
        assert!(full.bytes.len() < 1 << 20, "{}", full.bytes.len());
    }
}

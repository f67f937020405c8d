//! PNG, JPEG, GIF and WebP: their frame is walked from the beginning to the end, so that one that was cut off is noticed.

use flate2::Crc;

use super::{ImageFault, Picture};

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn whole(kind: &'static str, media_type: &'static str, read: Result<(u32, u32), Fault>) -> Result<Picture, ImageFault> {
    let (width, height) = read.map_err(|Fault(reason)| ImageFault::Damaged { kind, reason })?;
    Ok(Picture { media_type, width, height })
}

struct Fault(&'static str);

const CUT_OFF: Fault = Fault("it ends too early");

/// Behind the signature: chunks of length, name, data and checksum, from `IHDR` to `IEND`.
/// Source: <https://www.w3.org/TR/png-3/#5DataRep>.
pub(super) fn png(bytes: &[u8]) -> Result<Picture, ImageFault> {
    let read = || {
        let mut rest = Rest(bytes);
        let (mut sides, mut has_pixels) = (None, false);
        loop {
            let length = u32::from_be_bytes(rest.array().ok_or(CUT_OFF)?);
            let name: [u8; 4] = rest.array().ok_or(CUT_OFF)?;
            let data = rest.take(size(length)).ok_or(CUT_OFF)?;
            let wanted = u32::from_be_bytes(rest.array().ok_or(CUT_OFF)?);
            let mut checksum = Crc::new();
            checksum.update(&name);
            checksum.update(data);
            if checksum.sum() != wanted {
                return Err(Fault("a checksum is wrong"));
            }
            match (&name, sides) {
                (b"IHDR", None) => {
                    let mut header = Rest(data);
                    let width = u32::from_be_bytes(header.array().ok_or(CUT_OFF)?);
                    sides = Some((width, u32::from_be_bytes(header.array().ok_or(CUT_OFF)?)));
                }
                (_, None) => return Err(Fault("its header is missing")),
                (b"IDAT", Some(_)) => has_pixels = true,
                (b"IEND", Some(sides)) if has_pixels => return Ok(sides),
                (b"IEND", Some(_)) => return Err(Fault("it has no pixels")),
                _ => {}
            }
        }
    };
    whole("PNG", "image/png", read())
}

/// Segments from the start of the image to its scan, which ends with the marker of the end.
/// Source: ITU-T T.81, annex B.
pub(super) fn jpeg(bytes: &[u8]) -> Result<Picture, ImageFault> {
    let read = || {
        let mut rest = Rest(bytes);
        rest.take(2).ok_or(CUT_OFF)?;
        let mut sides = None;
        loop {
            if rest.byte().ok_or(CUT_OFF)? != 0xff {
                return Err(Fault("a marker is missing"));
            }
            let mut marker = rest.byte().ok_or(CUT_OFF)?;
            while marker == 0xff {
                marker = rest.byte().ok_or(CUT_OFF)?;
            }
            if matches!(marker, 0x01 | 0xd0..=0xd7) {
                continue;
            }
            if marker == 0xd9 {
                return Err(Fault("it has no pixels"));
            }
            let length = usize::from(u16::from_be_bytes(rest.array().ok_or(CUT_OFF)?));
            let mut segment = Rest(rest.take(length.saturating_sub(2)).ok_or(CUT_OFF)?);
            match marker {
                // Start of a frame; the three left out are tables and an extension.
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    segment.take(1).ok_or(CUT_OFF)?;
                    let height = u16::from_be_bytes(segment.array().ok_or(CUT_OFF)?);
                    sides = Some((u16::from_be_bytes(segment.array().ok_or(CUT_OFF)?).into(), height.into()));
                }
                // Start of the scan: what follows is pixels, in which no marker of the end can occur.
                0xda => {
                    let sides = sides.ok_or(Fault("its header is missing"))?;
                    let ends = rest.0.windows(2).any(|pair| pair == [0xff, 0xd9]);
                    return if ends { Ok(sides) } else { Err(CUT_OFF) };
                }
                _ => {}
            }
        }
    };
    whole("JPEG", "image/jpeg", read())
}

/// Behind the signature: the screen, then blocks up to the trailer.
/// Source: the `GIF89a` specification, <https://www.w3.org/Graphics/GIF/spec-gif89a.txt>.
pub(super) fn gif(bytes: &[u8]) -> Result<Picture, ImageFault> {
    let read = || {
        let mut rest = Rest(bytes);
        let width = u16::from_le_bytes(rest.array().ok_or(CUT_OFF)?);
        let height = u16::from_le_bytes(rest.array().ok_or(CUT_OFF)?);
        let [flags, _background, _aspect] = rest.array().ok_or(CUT_OFF)?;
        colours(&mut rest, flags).ok_or(CUT_OFF)?;
        let mut has_pixels = false;
        loop {
            match rest.byte().ok_or(CUT_OFF)? {
                0x21 => {
                    rest.take(1).ok_or(CUT_OFF)?;
                }
                0x2c => {
                    let [_, _, _, _, _, _, _, _, flags] = rest.array().ok_or(CUT_OFF)?;
                    colours(&mut rest, flags).ok_or(CUT_OFF)?;
                    rest.take(1).ok_or(CUT_OFF)?;
                    has_pixels = true;
                }
                0x3b if has_pixels => return Ok((width.into(), height.into())),
                0x3b => return Err(Fault("it has no pixels")),
                _ => return Err(Fault("a block is of an unknown kind")),
            }
            // Pieces of up to 255 bytes; an empty one is the last.
            while let length @ 1.. = rest.byte().ok_or(CUT_OFF)? {
                rest.take(length.into()).ok_or(CUT_OFF)?;
            }
        }
    };
    whole("GIF", "image/gif", read())
}

/// Skips a table of colours, if there is one.
fn colours(rest: &mut Rest<'_>, flags: u8) -> Option<()> {
    if flags & 0x80 != 0 {
        rest.take(3_usize << (flags & 7).saturating_add(1))?;
    }
    Some(())
}

/// A RIFF file of chunks; the first of them has the size.
/// Source: RFC 9649.
pub(super) fn webp(bytes: &[u8]) -> Result<Picture, ImageFault> {
    let read = || {
        let mut file = Rest(bytes);
        file.take(4).ok_or(CUT_OFF)?;
        let length = u32::from_le_bytes(file.array().ok_or(CUT_OFF)?);
        let mut rest = Rest(file.take(size(length)).ok_or(CUT_OFF)?);
        rest.take(4).ok_or(CUT_OFF)?;
        let (mut sides, mut has_pixels) = (None, false);
        while !rest.0.is_empty() {
            let name: [u8; 4] = rest.array().ok_or(CUT_OFF)?;
            let length = size(u32::from_le_bytes(rest.array().ok_or(CUT_OFF)?));
            let data = rest.take(length).ok_or(CUT_OFF)?;
            // Chunks begin at even places; the last one may lack its filler.
            rest.take(length % 2);
            has_pixels |= matches!(&name, b"VP8 " | b"VP8L" | b"ANMF");
            if sides.is_none() {
                sides = Some(webp_sides(name, data).ok_or(Fault("its header is missing"))?);
            }
        }
        if has_pixels { sides.ok_or(CUT_OFF) } else { Err(Fault("it has no pixels")) }
    };
    whole("WebP", "image/webp", read())
}

fn webp_sides(name: [u8; 4], data: &[u8]) -> Option<(u32, u32)> {
    match (&name, data) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(*w0, *w1), side(*h0, *h1)))
        }
        (b"VP8L", [0x2f, a, b, c, d, ..]) => {
            let bits = u32::from_le_bytes([*a, *b, *c, *d]);
            Some(((bits & 0x3fff).saturating_add(1), (bits >> 14 & 0x3fff).saturating_add(1)))
        }
        (b"VP8X", [_, _, _, _, w0, w1, w2, h0, h1, h2, ..]) => {
            let side = |a: u8, b: u8, c: u8| u32::from_le_bytes([a, b, c, 0]).saturating_add(1);
            Some((side(*w0, *w1, *w2), side(*h0, *h1, *h2)))
        }
        _ => None,
    }
}

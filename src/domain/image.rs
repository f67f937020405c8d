//! Pictures of events: what is taken for one, told by its bytes alone, whatever it is called.
//!
//! A picture is published for ever and shown by other people's wallets, so it must be whole, and an SVG must neither run
//! anything nor fetch anything. Pixels are not decoded: that is left to those who show them.

mod raster;
mod svg;

pub use svg::SvgFault;
use thiserror::Error;

/// Largest picture, in bytes.
pub const MAX_IMAGE_BYTES: usize = 10 * 1024 * 1024;
/// Longest side, in pixels: what browsers and phones decode.
pub const MAX_SIDE: u32 = 16_384;

/// What a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its media type.
    pub media_type: &'static str,
    /// In pixels; of an SVG, its own idea of them.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Why something is not taken for a picture.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImageFault {
    /// Nothing was sent.
    #[error("there is no image: nothing was sent")]
    Empty,
    /// Too many bytes.
    #[error("the image is larger than {MAX_IMAGE_BYTES} bytes; make it smaller, or save it with less quality")]
    TooLarge,
    /// The bytes begin like none of the kinds that are taken.
    #[error("this is no PNG, JPEG, GIF, WebP or SVG, whatever it is called")]
    UnknownKind,
    /// It begins like a picture, and is not whole.
    #[error("the {kind} is damaged or not complete: {reason}; send the whole file")]
    Damaged {
        /// `PNG`, `JPEG`, `GIF` or `WebP`.
        kind: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// No pixels, or too many.
    #[error("the image has {width} x {height} pixels; sides of 1 to {MAX_SIDE} are taken")]
    Size {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// XML that is no SVG, or one that does more than to be seen.
    #[error("the SVG {0}; remove that, or save the picture as PNG")]
    Svg(SvgFault),
}

/// Tells what a picture is.
///
/// # Errors
/// See [`ImageFault`]; each says what to do.
pub fn recognize(bytes: &[u8]) -> Result<Picture, ImageFault> {
    if bytes.is_empty() {
        return Err(ImageFault::Empty);
    }
    if bytes.len() > MAX_IMAGE_BYTES {
        return Err(ImageFault::TooLarge);
    }
    let picture = match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', rest @ ..] => raster::png(rest),
        [0xff, 0xd8, 0xff, ..] => raster::jpeg(bytes),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => raster::gif(rest),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => raster::webp(bytes),
        _ => svg::svg(bytes),
    }?;
    let fits = |side: u32| (1..=MAX_SIDE).contains(&side);
    if fits(picture.width) && fits(picture.height) {
        Ok(picture)
    } else {
        Err(ImageFault::Size { width: picture.width, height: picture.height })
    }
}

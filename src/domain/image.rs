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

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    /// Pictures of 5 x 3 pixels, made with Pillow: colours, grey, progressive, lossy, lossless, moving.
    const PICTURES: [(&str, &str); 8] = [
        (
            "image/png",
            "iVBORw0KGgoAAAANSUhEUgAAAAUAAAADCAIAAADUVFKvAAAAFElEQVR4nGM8wSXHgASYGFABOh8ALIoA9h+BwCIAAAAASUVORK5CYII=",
        ),
        (
            "image/jpeg",
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAKBueIx4ZKCMgoy0qqC+8P//8Nzc8P//////////////////////////////////////////////////////////wAALCAADAAUBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AH//Z",
        ),
        (
            "image/jpeg",
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAKBueIx4ZKCMgoy0qqC+8P//8Nzc8P//////////////////////////////////////////////////////////wgALCAADAAUBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAf/aAAgBAQAAAAE//8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABBQJ//8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAGPwJ//8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPyF//9oACAEBAAAAEP8A/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxB//9k=",
        ),
        ("image/gif", "R0lGODdhBQADAIEAAMgKHgAAAAAAAAAAACwAAAAABQADAAAICAABCBxIsGBAADs="),
        (
            "image/gif",
            "R0lGODdhBQADAIEAAMgKHgAAAAAAAAAAACwAAAAABQADAAAICAABCBxIsGBAACH5BAEAAAEALAAAAAAFAAMAgQAKHgAAAAAAAAAAAAgIAAEIHEiwYEAAOw==",
        ),
        ("image/webp", "UklGRi4AAABXRUJQVlA4ICIAAABwAQCdASoFAAMADMDOJaACdAFAAAD+330UUD6ld+HmqsAA"),
        ("image/webp", "UklGRh4AAABXRUJQVlA4TBEAAAAvBIAAAAdQhSLXo/+BiOh/AAA="),
        (
            "image/webp",
            "UklGRqQAAABXRUJQVlA4WAoAAAACAAAABAAAAgAAQU5JTQYAAAAAAAAAAABBTk1GOgAAAAAAAAAAAAQAAAIAAAAAAAJWUDggIgAAADABAJ0BKgUAAwAMwM4loAADcAD+34A3FNM/8XewjvuzAABBTk1GNgAAAAAAAAAAAAQAAAIAAAAAAABWUDggHgAAAFQBAJ0BKgUAAwAAAM4ljAAEYYAA/uuOTDnM4EAAAAA=",
        ),
    ];

    #[test]
    fn every_kind_is_told_by_its_bytes_and_must_be_whole() {
        for (media_type, picture) in PICTURES {
            let bytes = STANDARD.decode(picture).unwrap();
            assert_eq!(recognize(&bytes), Ok(Picture { media_type, width: 5, height: 3 }));
            // However much is missing: none of its beginnings is a picture.
            for end in 0..bytes.len() {
                // The last byte of some of these files only fills them up to an even length.
                let is_filler = media_type == "image/webp" && end + 1 == bytes.len() && bytes.len() % 2 == 1;
                assert!(recognize(&bytes[..end]).is_err() || is_filler, "{media_type} cut to {end} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_refused_and_never_panics() {
        let png = STANDARD.decode(PICTURES[0].1).unwrap();
        let reason = "a checksum is wrong";
        for position in 8..png.len() {
            let mut damaged = png.clone();
            damaged[position] ^= 1;
            assert!(recognize(&damaged).is_err(), "byte {position}");
        }
        let mut damaged = png.clone();
        damaged[20] ^= 1;
        assert_eq!(recognize(&damaged), Err(ImageFault::Damaged { kind: "PNG", reason }));
        let huge = vec![0; MAX_IMAGE_BYTES.saturating_add(1)];
        for (bytes, fault) in [
            (&b""[..], ImageFault::Empty),
            (b"%PDF-1.7", ImageFault::UnknownKind),
            (b"\x1f\x8b\x08 a gzipped svg", ImageFault::UnknownKind),
            (b"just text", ImageFault::UnknownKind),
            (&huge, ImageFault::TooLarge),
        ] {
            assert_eq!(recognize(bytes), Err(fault));
        }
        // Every byte of every kind, changed: an answer, whatever it is.
        for (_, picture) in PICTURES {
            let bytes = STANDARD.decode(picture).unwrap();
            for position in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[position] = value;
                    drop(recognize(&changed));
                }
            }
        }
        let mut gif = STANDARD.decode(PICTURES[3].1).unwrap();
        gif[6..8].copy_from_slice(&[0, 0]);
        assert_eq!(recognize(&gif), Err(ImageFault::Size { width: 0, height: 3 }));
    }

    fn svg(attributes: &str, inside: &str) -> Result<Picture, ImageFault> {
        let text = format!(
            r#"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{inside}</svg>"#
        );
        recognize(text.as_bytes())
    }

    #[test]
    fn an_svg_that_is_only_a_picture_is_taken() {
        let of = |width, height| Ok(Picture { media_type: "image/svg+xml", width, height });
        assert_eq!(
            recognize(include_bytes!("../../assets/ticket.svg")).map(|picture| picture.media_type),
            Ok("image/svg+xml")
        );
        assert_eq!(svg(r#"width="300" height="1e2px""#, ""), of(300, 100));
        assert_eq!(svg(r#"width="1in" height="25.4mm""#, ""), of(96, 96));
        assert_eq!(svg(r#"width="100%" height="100%" viewBox="0 0 64.5,32""#, ""), of(65, 32));
        let harmless = r##"<metadata><x xmlns="urn:x" about=""/></metadata><defs><g id="a"/></defs>
            <style>rect { fill: url(#a); font-family: 'Ä\'' } @font-face { src: url("data:font/woff2;base64,AA==") }</style>
            <use xlink:href="#a"/><image href="data:image/png;base64,AA=="/><rect fill="url( '#a' )" style="opacity:.5"/>
            <animate attributeName="opacity" to="0"/><text>onclick=javascript url</text>"##;
        // An escaped quote inside braces may be anything.
        assert_eq!(svg(r#"viewBox="0 0 2 2""#, harmless), Err(ImageFault::Svg(SvgFault::Reference("<style>".into()))));
        assert_eq!(svg(r#"viewBox="0 0 2 2""#, &harmless.replace(r"\'", "")), of(2, 2));
    }

    #[test]
    fn an_svg_that_runs_or_fetches_is_refused() {
        let active = |name: &str| ImageFault::Svg(SvgFault::Active(name.into()));
        let handler = |name: &str| ImageFault::Svg(SvgFault::Handler(name.into()));
        let reference = |place: &str| ImageFault::Svg(SvgFault::Reference(place.into()));
        let href = || reference("the attribute href");
        let style = || reference("the attribute style");
        for (inside, fault) in [
            ("<script>alert(1)</script>", active("script")),
            ("<g><s:SCRIPT xmlns:s='urn:other'/></g>", active("SCRIPT")),
            ("<foreignObject/>", active("foreignObject")),
            ("<b xmlns='http://www.w3.org/1999/xhtml'/>", active("b")),
            ("<g onload='x'/>", handler("onload")),
            ("<g OnClick='x'/>", handler("OnClick")),
            ("<set attributeName='onclick' to='x'/>", handler("attributeName")),
            ("<set attributeName='xlink:href' to='#x'/>", reference("the attribute attributeName")),
            ("<a href='https://example.com'/>", href()),
            ("<a href=' javascript:x'/>", href()),
            ("<a href='java&#x73;cript:x'/>", href()),
            ("<use xlink:href='other.svg#a'/>", href()),
            ("<image href='//example.com/x.png'/>", href()),
            ("<image href='data:image/svg+xml,x'/>", href()),
            ("<g xml:base='https://example.com/'/>", reference("the attribute base")),
            ("<g style='fill:url(https://example.com/x)'/>", style()),
            ("<g style='fill:URL( \"x.svg#a\")'/>", style()),
            (r"<g style='fill:u\72l(x)'/>", style()),
            ("<g fill='url(x.svg#a)'/>", reference("the attribute fill")),
            ("<style>@import 'x.css';</style>", reference("<style>")),
            ("<style><![CDATA[a{b:image-set('x')}]]></style>", reference("<style>")),
            ("<style>@imp<!-- -->ort 'x.css';</style>", reference("<style>")),
            ("<style>a{b:u<g/>rl<!-- -->(//x.example)}</style>", reference("<style>")),
            ("<?xml-stylesheet href='x.css'?>", reference("<?xml-stylesheet?>")),
            ("<g>", ImageFault::Svg(SvgFault::Unreadable)),
            ("&entity;", ImageFault::Svg(SvgFault::Unreadable)),
        ] {
            assert_eq!(svg(r#"viewBox="0 0 2 2""#, inside), Err(fault), "{inside}");
        }
        assert_eq!(svg("", ""), Err(ImageFault::Svg(SvgFault::NoSize)));
        assert_eq!(svg(r#"width="0" height="NaN""#, ""), Err(ImageFault::Svg(SvgFault::NoSize)));
        assert_eq!(svg(r#"width="1e9" height="2""#, ""), Err(ImageFault::Size { width: 1_000_000_000, height: 2 }));
        assert_eq!(recognize(b"<svg/>"), Err(ImageFault::Svg(SvgFault::Root)));
        assert_eq!(recognize(b"<html xmlns='http://www.w3.org/1999/xhtml'/>"), Err(ImageFault::Svg(SvgFault::Root)));
        let bomb = b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg xmlns='http://www.w3.org/2000/svg'/>";
        assert_eq!(recognize(bomb), Err(ImageFault::Svg(SvgFault::Unreadable)));
        // What a reader would compare with all others.
        let too_much = Err(ImageFault::Svg(SvgFault::TooMuch));
        let many = |count: usize, attribute: &str| -> String {
            (0..count).map(|number| attribute.replace('N', &number.to_string())).collect()
        };
        let element = |attributes: &str| svg(r#"viewBox="0 0 2 2""#, &format!("<!-- '> --><g {attributes}/>"));
        assert!(element(&many(400, " aN='>'")).is_ok());
        assert_eq!(element(&many(100_000, " aN='>'")), too_much);
        assert_eq!(element(&many(101, " xmlns:aN='urn:N'")), too_much);
        let nested = many(10_000, "<g xmlns:aN=\"urn:N\">") + &"</g>".repeat(10_000);
        assert_eq!(svg(r#"viewBox="0 0 2 2""#, &nested), too_much);
        assert_eq!(svg(r#"viewBox="0 0 2 2""#, &" ".repeat(1 << 20)), too_much);
        // Deeper than any stack, and more than memory should hold.
        let deep = format!("{}{}", "<g>".repeat(145_000), "</g>".repeat(145_000));
        drop(svg(r#"viewBox="0 0 2 2""#, &deep));
        assert_eq!(svg(r#"viewBox="0 0 2 2""#, &"<g/>".repeat(250_000)), Err(ImageFault::Svg(SvgFault::Unreadable)));
    }
}

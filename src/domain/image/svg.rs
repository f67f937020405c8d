//! SVG: a picture only as long as it runs nothing and fetches nothing.
//!
//! Wallets and markets show these pictures inside their own pages, and not all of them shut scripts out. Everything that
//! could run or fetch is refused rather than cut out: the picture that is published is the one that was sent.

use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

use super::{ImageFault, Picture};

const SVG: &str = "http://www.w3.org/2000/svg";
const XHTML: &str = "http://www.w3.org/1999/xhtml";
/// Elements and texts: far more than drawings have, few enough for memory.
const MAX_NODES: u32 = 200_000;
/// Bytes, far fewer than of a photograph: a drawing is text, and reading it takes longer than its bytes suggest.
const MAX_SVG_BYTES: usize = 1 << 20;
/// Attributes of one element, and declarations of namespaces in all: the reader compares each with all others.
const MAX_ATTRIBUTES: usize = 500;
const MAX_NAMESPACES: usize = 100;
/// What runs, or embeds what may run.
const ACTIVE: [&str; 9] =
    ["script", "handler", "foreignobject", "iframe", "embed", "object", "audio", "video", "listener"];
/// What may stand in the place of a file: pixels and letters, which do nothing.
const EMBEDDED: [&str; 6] =
    ["data:image/png", "data:image/jpeg", "data:image/jpg", "data:image/gif", "data:image/webp", "data:font/"];

/// What is wrong with an SVG.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SvgFault {
    /// More than a drawing needs.
    #[error("is larger than {MAX_SVG_BYTES} bytes, or has more attributes or namespaces than a drawing needs")]
    TooMuch,
    /// No XML, or with a DTD.
    #[error("cannot be read as plain XML without a DOCTYPE")]
    Unreadable,
    /// XML of another kind.
    #[error("has no root element <svg> of the namespace {SVG}")]
    Root,
    /// Nothing says how large it is.
    #[error("has neither width and height nor a viewBox")]
    NoSize,
    /// An element that runs, or embeds what may run.
    #[error("has an element <{0}>, which may run something")]
    Active(String),
    /// An attribute that runs.
    #[error("has an attribute {0}, which may run something")]
    Handler(String),
    /// Something outside of the file.
    #[error("refers to something outside of it in {0}")]
    Reference(String),
}

/// Tells how large an SVG is.
pub(super) fn svg(bytes: &[u8]) -> Result<Picture, ImageFault> {
    let text = str::from_utf8(bytes).map_err(|_binary| ImageFault::UnknownKind)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with('<') {
        return Err(ImageFault::UnknownKind);
    }
    let (width, height) = look(text).map_err(ImageFault::Svg)?;
    Ok(Picture { media_type: "image/svg+xml", width, height })
}

fn look(text: &str) -> Result<(u32, u32), SvgFault> {
    if text.len() > MAX_SVG_BYTES || is_overloaded(text) {
        return Err(SvgFault::TooMuch);
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|_malformed| SvgFault::Unreadable)?;
    let root = document.root_element();
    if !root.has_tag_name((SVG, "svg")) {
        return Err(SvgFault::Root);
    }
    document.descendants().try_for_each(harmless)?;
    sides(root).ok_or(SvgFault::NoSize)
}

/// Counts, before anything is compared with anything. What is not well formed is left to the reader: it goes no further than
/// its first fault, up to which both read the same.
fn is_overloaded(text: &str) -> bool {
    let (mut rest, mut namespaces) = (text, 0_usize);
    while let Some((_, tag)) = rest.split_once('<') {
        let other = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")];
        let other = other.into_iter().find_map(|(begin, end)| Some((tag.strip_prefix(begin)?, end)));
        if let Some((inside, end)) = other {
            rest = inside.split_once(end).map_or("", |(_, after)| after);
            continue;
        }
        let mut attributes = 0_usize;
        rest = tag;
        // A quote begins the value of an attribute; before it stands its name.
        while let Some((name, mark, after)) = split_at_any(rest, ['"', '\'', '>']) {
            rest = after;
            if mark == '>' {
                break;
            }
            attributes = attributes.saturating_add(1);
            namespaces = namespaces.saturating_add(usize::from(name.contains("xmlns")));
            if attributes > MAX_ATTRIBUTES || namespaces > MAX_NAMESPACES {
                return true;
            }
            rest = after.split_once(mark).map_or("", |(_, after)| after);
        }
    }
    false
}

/// What stands before the first of some signs, which it is, and what stands behind it.
fn split_at_any(text: &str, signs: [char; 3]) -> Option<(&str, char, &str)> {
    let (before, rest) = text.split_at_checked(text.find(signs)?)?;
    let mut rest = rest.chars();
    Some((before, rest.next()?, rest.as_str()))
}

fn harmless(node: Node<'_, '_>) -> Result<(), SvgFault> {
    if let Some(instruction) = node.pi() {
        // Style sheets of others.
        return Err(SvgFault::Reference(format!("<?{}?>", instruction.target)));
    }
    if !node.is_element() {
        return Ok(());
    }
    let tag = node.tag_name();
    if tag.name().eq_ignore_ascii_case("style") {
        // As browsers read it: comments and elements in between are not part of it.
        let text: String = node.children().filter(Node::is_text).filter_map(|part| part.text()).collect();
        if !is_local_style(&text) {
            return Err(SvgFault::Reference("<style>".into()));
        }
    }
    if tag.namespace() == Some(XHTML) || ACTIVE.contains(&tag.name().to_ascii_lowercase().as_str()) {
        return Err(SvgFault::Active(tag.name().to_owned()));
    }
    for attribute in node.attributes() {
        let (name, value) = (attribute.name().to_ascii_lowercase(), attribute.value().trim());
        // An animation can set what it names.
        let animated = if name == "attributename" { value.to_ascii_lowercase() } else { String::new() };
        let animated = animated.rsplit(':').next().unwrap_or_default();
        if name.starts_with("on") || animated.starts_with("on") {
            return Err(SvgFault::Handler(attribute.name().to_owned()));
        }
        let refers = matches!(name.as_str(), "href" | "src") && !is_local(value);
        let rebased = name == "base" && attribute.namespace().is_some();
        if refers || rebased || animated == "href" || !is_local_style(value) {
            return Err(SvgFault::Reference(format!("the attribute {}", attribute.name())));
        }
    }
    Ok(())
}

/// Whether an address leads to a part of the file, or is the thing itself.
fn is_local(address: &str) -> bool {
    let address = address.trim();
    let embedded = |kind: &&str| address.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    address.is_empty() || address.starts_with('#') || EMBEDDED.iter().any(embedded)
}

/// Whether a style, or an attribute that may be one, fetches nothing.
fn is_local_style(style: &str) -> bool {
    let style = style.to_ascii_lowercase();
    // With a backslash, CSS can spell a word in a hundred ways.
    let hidden = style.contains('\\') && style.contains(['(', '{', '@']);
    let fetches = ["@import", "image-set(", "src(", "expression(", "javascript:"];
    if hidden || fetches.iter().any(|word| style.contains(word)) {
        return false;
    }
    style.split("url(").skip(1).all(|rest| is_local(rest.trim_start_matches(['"', '\'', ' ', '\t', '\n', '\r'])))
}

/// Its own size in pixels, or else that of its view.
fn sides(root: Node<'_, '_>) -> Option<(u32, u32)> {
    let side = |name| root.attribute(name).and_then(pixels);
    if let (Some(width), Some(height)) = (side("width"), side("height")) {
        return Some((width, height));
    }
    let view = root.attribute("viewBox")?;
    let numbers: Vec<&str> = view.split([' ', ',', '\t', '\n', '\r']).filter(|number| !number.is_empty()).collect();
    let [_, _, width, height] = numbers.as_slice() else { return None };
    Some((pixels(width)?, pixels(height)?))
}

/// A length in pixels, rounded up. Source of the units: CSS Values 4, section 6.2.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the checks")]
fn pixels(length: &str) -> Option<u32> {
    let length = length.trim();
    let end = length.find(|c: char| c.is_ascii_alphabetic() && c != 'e' || c == '%').unwrap_or(length.len());
    let (number, unit) = length.split_at_checked(end)?;
    let factor = match unit {
        "" | "px" => 1.0,
        "pt" => 96.0 / 72.0,
        "pc" => 16.0,
        "in" => 96.0,
        "cm" => 96.0 / 2.54,
        "mm" => 96.0 / 25.4,
        _ => return None,
    };
    let pixels = (number.trim().parse::<f64>().ok()? * factor).ceil();
    (1.0..=f64::from(u32::MAX)).contains(&pixels).then_some(pixels as u32)
}

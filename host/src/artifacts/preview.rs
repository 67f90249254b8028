//! What a person or a model may see of bytes, made harmless. Pure.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

/// The head of a text: at most `max_bytes` bytes and `max_lines` lines of it, and whether there is
/// more. Controls, bidirectional and invisible characters become `\u{…}`, bytes that are no UTF-8
/// become `\x…`; line ends become `\n` and tabs stay.
#[must_use]
pub fn text(bytes: &[u8], max_bytes: usize, max_lines: usize) -> (String, bool) {
    let head = bytes.get(..max_bytes).unwrap_or(bytes);
    let mut truncated = head.len() < bytes.len();
    let mut shown = String::with_capacity(head.len());
    let mut left = max_lines;
    let mut chunks = head.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            if left == 0 {
                return (shown, true);
            }
            match character {
                '\r' if characters.peek() == Some(&'\n') => {}
                '\n' => {
                    shown.push('\n');
                    left -= 1;
                }
                other => push_escaped(&mut shown, other),
            }
        }
        let cut_character = truncated && chunks.peek().is_none();
        if cut_character || chunk.invalid().is_empty() {
            continue;
        }
        if left == 0 {
            truncated = true;
            break;
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _infallible = write!(shown, "\\x{byte:02x}");
        }
    }
    (shown, truncated)
}

fn push_escaped(shown: &mut String, character: char) {
    if character != '\t' && helix_ids::name::is_invisible(character) {
        shown.extend(character.escape_unicode());
    } else {
        shown.push(character);
    }
}

/// What a PNG's header says; named as in the original `HelixMCP`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PngFacts {
    /// Always `PNG`.
    pub format: String,
    pub width_px: u32,
    pub height_px: u32,
    pub bit_depth: u8,
    pub color_type_code: u8,
    /// `grayscale`, `truecolor`, `indexed`, `grayscale_alpha` or `truecolor_alpha`.
    pub color_type: String,
    pub channel_count: u8,
    pub has_alpha: bool,
    pub interlaced: bool,
    pub compression_method: u8,
    pub filter_method: u8,
}

/// Why these bytes begin no PNG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PngError {
    #[error("it is cut before the end of its header")]
    Cut,
    #[error("it does not begin as a PNG")]
    Signature,
    #[error("its header is damaged")]
    Checksum,
    #[error("its header says what no PNG has")]
    Header,
}

/// Signature, and the header's length, type, 13 bytes and checksum.
const PNG_HEAD_BYTES: usize = 33;

/// Reads the header of a PNG from its first bytes.
///
/// # Errors
/// [`PngError`].
pub fn png(head: &[u8]) -> Result<PngFacts, PngError> {
    let (signature, _) = head.split_first_chunk::<8>().ok_or(PngError::Cut)?;
    if signature != b"\x89PNG\r\n\x1a\n" {
        return Err(PngError::Signature);
    }
    let head: &[u8; PNG_HEAD_BYTES] = head.first_chunk().ok_or(PngError::Cut)?;
    let [_, _, _, _, _, _, _, _, l0, l1, l2, l3, t0, t1, t2, t3, w0, w1, w2, w3, h0, h1, h2, h3, rest @ ..] =
        *head;
    let [bit_depth, color_type_code, compression_method, filter_method, interlace, c0, c1, c2, c3] = rest;
    if u32::from_be_bytes([l0, l1, l2, l3]) != 13 || [t0, t1, t2, t3] != *b"IHDR" {
        return Err(PngError::Header);
    }
    let mut checksum = flate2::Crc::new();
    checksum.update(head.get(12..29).unwrap_or_default());
    if checksum.sum() != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(PngError::Checksum);
    }
    let (width_px, height_px) = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
    let (color_type, channel_count, depths): (&str, u8, &[u8]) = match color_type_code {
        0 => ("grayscale", 1, &[1, 2, 4, 8, 16]),
        2 => ("truecolor", 3, &[8, 16]),
        3 => ("indexed", 1, &[1, 2, 4, 8]),
        4 => ("grayscale_alpha", 2, &[8, 16]),
        6 => ("truecolor_alpha", 4, &[8, 16]),
        _ => return Err(PngError::Header),
    };
    let sides = 1..=0x7fff_ffff;
    let legal = sides.contains(&width_px)
        && sides.contains(&height_px)
        && depths.contains(&bit_depth)
        && compression_method == 0
        && filter_method == 0
        && interlace <= 1;
    if !legal {
        return Err(PngError::Header);
    }
    Ok(PngFacts {
        format: "PNG".to_owned(),
        width_px,
        height_px,
        bit_depth,
        color_type_code,
        color_type: color_type.to_owned(),
        channel_count,
        has_alpha: matches!(color_type_code, 4 | 6),
        interlaced: interlace == 1,
        compression_method,
        filter_method,
    })
}

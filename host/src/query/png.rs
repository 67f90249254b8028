//! What a PNG's header says. Thirty-three bytes, no decoder.

use super::preview::ArtifactPreviewImageResult;

/// Signature, and the whole IHDR chunk: length, name, thirteen bytes, checksum.
pub(super) const HEAD_BYTES: u64 = 33;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// (code, name, channels, alpha, allowed depths).
type Colour = (u8, &'static str, u8, bool, &'static [u8]);

const COLOURS: [Colour; 5] = [
    (0, "grayscale", 1, false, &[1, 2, 4, 8, 16]),
    (2, "truecolor", 3, false, &[8, 16]),
    (3, "indexed", 1, false, &[1, 2, 4, 8]),
    (4, "grayscale_alpha", 2, true, &[8, 16]),
    (6, "truecolor_alpha", 4, true, &[8, 16]),
];

/// Reads the header; the artifact's id is the caller's to fill in.
pub(super) fn facts(head: &[u8]) -> Result<ArtifactPreviewImageResult, &'static str> {
    let (signature, rest) = head.split_first_chunk::<8>().ok_or("too short")?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or("too short")?;
    let (chunk, rest) = rest.split_first_chunk::<17>().ok_or("too short")?;
    let checksum = rest.first_chunk::<4>().ok_or("too short")?;
    if *signature != SIGNATURE {
        return Err("another signature");
    }
    let [b'I', b'H', b'D', b'R', fields @ ..] = chunk else {
        return Err("the first chunk is not IHDR");
    };
    if u32::from_be_bytes(*length) != 13 {
        return Err("IHDR has another length than 13");
    }
    if u32::from_be_bytes(*checksum) != crc32(chunk) {
        return Err("the checksum of IHDR is wrong");
    }
    let [w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, compression, filter, interlace] = *fields;
    let (width, height) = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
    let side_is_possible = |side: u32| (1..=0x7fff_ffff).contains(&side);
    if !side_is_possible(width) || !side_is_possible(height) {
        return Err("no image has this width or height");
    }
    let (code, name, channels, alpha, depths) =
        COLOURS.into_iter().find(|(code, ..)| *code == colour).ok_or("unknown colour type")?;
    if !depths.contains(&depth) {
        return Err("its colour type has no such bit depth");
    }
    if compression != 0 || filter != 0 || interlace > 1 {
        return Err("unknown compression, filter or interlace method");
    }
    Ok(ArtifactPreviewImageResult {
        artifact_id: String::new(),
        format: "PNG".to_owned(),
        width_px: width,
        height_px: height,
        bit_depth: depth,
        color_type_code: code,
        color_type: name.to_owned(),
        channel_count: channels,
        has_alpha: alpha,
        interlaced: interlace == 1,
        compression_method: compression,
        filter_method: filter,
    })
}

/// CRC-32 as PNG has it, bit by bit: it sees seventeen bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _bit in 0..8 {
            let carry = crc & 1 == 1;
            crc >>= 1;
            if carry {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: [u8; 13]) -> Vec<u8> {
        let chunk = [b"IHDR".as_slice(), &fields].concat();
        [SIGNATURE.as_slice(), &[0, 0, 0, 13], &chunk, &crc32(&chunk).to_be_bytes()].concat()
    }

    #[test]
    fn crc_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_header_says_what_it_says() {
        let facts = facts(&header([0, 0, 3, 32, 0, 0, 2, 88, 8, 6, 0, 0, 1])).unwrap();
        assert_eq!((facts.width_px, facts.height_px, facts.bit_depth), (800, 600, 8));
        assert_eq!((facts.color_type.as_str(), facts.channel_count), ("truecolor_alpha", 4));
        assert!(facts.has_alpha && facts.interlaced);
    }

    #[test]
    fn a_header_that_cannot_be_is_refused() {
        let good = header([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
        assert!(facts(&good).is_ok());
        for length in 0..good.len() {
            assert!(facts(good.get(..length).unwrap()).is_err(), "{length} bytes");
        }
        for at in 0..good.len() {
            let mut flipped = good.clone();
            *flipped.get_mut(at).unwrap() ^= 1;
            assert!(facts(&flipped).is_err(), "byte {at}");
        }
        let cases = [
            [0, 0, 0, 0, 0, 0, 0, 1, 8, 2, 0, 0, 0],
            [255, 255, 255, 255, 0, 0, 0, 1, 8, 2, 0, 0, 0],
            [0, 0, 0, 1, 0, 0, 0, 1, 8, 5, 0, 0, 0],
            [0, 0, 0, 1, 0, 0, 0, 1, 4, 2, 0, 0, 0],
            [0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 1, 0, 0],
            [0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 2],
        ];
        for fields in cases {
            assert!(facts(&header(fields)).is_err(), "{fields:?}");
        }
    }
}

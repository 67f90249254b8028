use proptest::prelude::*;

use crate::artifacts::preview::{PngError, png, text};

#[test]
fn a_preview_is_harmless_and_says_when_there_is_more() {
    let cases: &[(&[u8], usize, usize, &str, bool)] = &[
        (b"a\nb\n", 100, 2, "a\nb\n", false),
        (b"a\nb\nc", 100, 2, "a\nb\n", true),
        (b"a\r\nb\rc", 100, 9, "a\nb\\u{d}c", false),
        (b"abcdef", 3, 9, "abc", true),
        (b"a\tb", 100, 9, "a\tb", false),
        (b"", 100, 9, "", false),
        (b"x", 100, 0, "", true),
        (b"\x1b]52;c;AAAA\x07", 100, 9, "\\u{1b}]52;c;AAAA\\u{7}", false),
        (
            "\u{9b}31m\u{202e}evil\u{2066}\u{200d}".as_bytes(),
            100,
            9,
            "\\u{9b}31m\\u{202e}evil\\u{2066}\\u{200d}",
            false,
        ),
        (b"a\xff\xfeb\x00", 100, 9, "a\\xff\\xfeb\\u{0}", false),
        // Cut inside a character: the rest of it is just not there.
        ("aé".as_bytes(), 2, 9, "a", true),
        (b"a\xc3", 100, 9, "a\\xc3", false),
    ];
    for (bytes, max_bytes, max_lines, expected, truncated) in cases {
        assert_eq!(text(bytes, *max_bytes, *max_lines), ((*expected).to_owned(), *truncated), "{bytes:?}");
    }
}

/// Header of a PNG with these fields and a checksum that holds.
fn header(width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend(rest);
    let mut checksum = flate2::Crc::new();
    checksum.update(&chunk);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(chunk);
    bytes.extend(checksum.sum().to_be_bytes());
    bytes
}

#[test]
fn a_png_says_what_its_header_says() {
    let facts = png(&header(640, 480, [8, 6, 0, 0, 1])).unwrap();
    let expected = serde_json::json!({
        "format": "PNG", "width_px": 640, "height_px": 480, "bit_depth": 8, "color_type_code": 6,
        "color_type": "truecolor_alpha", "channel_count": 4, "has_alpha": true, "interlaced": true,
        "compression_method": 0, "filter_method": 0,
    });
    assert_eq!(serde_json::to_value(facts).unwrap(), expected);

    let good = header(1, 1, [8, 0, 0, 0, 0]);
    let mut damaged = good.clone();
    damaged[20] ^= 1;
    let cases: &[(&[u8], PngError)] = &[
        (b"", PngError::Cut),
        (&good[..32], PngError::Cut),
        (b"GIF89a..", PngError::Signature),
        (&damaged, PngError::Checksum),
        (&header(0, 1, [8, 0, 0, 0, 0]), PngError::Header),
        (&header(1, 1 << 31, [8, 0, 0, 0, 0]), PngError::Header),
        (&header(1, 1, [4, 2, 0, 0, 0]), PngError::Header),
        (&header(1, 1, [8, 5, 0, 0, 0]), PngError::Header),
        (&header(1, 1, [8, 0, 1, 0, 0]), PngError::Header),
        (&header(1, 1, [8, 0, 0, 0, 2]), PngError::Header),
    ];
    for (bytes, expected) in cases {
        assert_eq!(png(bytes), Err(*expected), "{bytes:?}");
    }
}

proptest! {
    /// Q12: whatever goes in, what comes out is safe, and bounded.
    #[test]
    fn previews_stay_in_the_safe_alphabet(bytes: Vec<u8>, max_bytes in 0..300_usize, max_lines in 0..9_usize) {
        let (shown, truncated) = text(&bytes, max_bytes, max_lines);
        prop_assert!(shown.chars().all(|c| c == '\n' || c == '\t' || !helix_ids::name::is_invisible(c)));
        prop_assert!(shown.len() <= 10 * max_bytes);
        prop_assert!(shown.matches('\n').count() <= max_lines);
        prop_assert!(truncated || bytes.len() <= max_bytes);
        drop(png(&bytes));
    }
}

use super::*;

/// A file of the WIT folder that is not embedded would be missing for authors without the SDK.
#[test]
fn every_wit_file_is_embedded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/v1");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(WIT.contains(&text.as_str()));
        files += 1;
    }
    assert_eq!(files, WIT.len());
}

#[test]
fn what_is_no_toolpack_is_not_encoded() {
    let empty_module = b"\0asm\x01\0\0\0";
    assert!(encode::encode(empty_module).is_ok_and(|component| component.starts_with(b"\0asm")));
    assert!(encode::encode(b"not wasm").is_err());
}

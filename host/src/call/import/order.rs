//! What an import asks for, parsed: nothing past this file looks at a caller's text again.

use std::sync::Arc;

use helix_ids::{ArtifactType, Digest, Label};

use super::{ArtifactImportArgs, ImportFile};
use crate::call::CallError;
use crate::query::{bad, parse_type};

/// Most bytes of inline text.
const INLINE_BYTES_MAX: usize = 1024 * 1024;

/// Most files in one import.
const FILES_MAX: usize = 100;

/// Where the bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Inline(Arc<str>),
    /// Beneath the import root, as the caller wrote it: opening it is what checks it.
    File(String),
}

/// One artifact to be.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// JSON pointer to it in the arguments.
    pub(super) field: String,
    /// What progress calls it.
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) wanted: Wanted,
}

/// What the caller says of the bytes; they are held to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) hint: Option<ArtifactType>,
    pub(super) label: Option<Label>,
    pub(super) checksum: Option<Digest>,
}

/// The items of a request, in its order; at least one.
pub(super) fn parse(args: &ArtifactImportArgs) -> Result<Vec<Item>, CallError> {
    let ArtifactImportArgs { text, path, files, root, type_hint, label, checksum_sha256, .. } = args;
    let single = |origin: Origin, field: &str, file_name: Option<&str>| {
        let said = Said { hint: type_hint, label, checksum: checksum_sha256, pointer: "" };
        said.item(origin, field, file_name).map(|item| vec![item])
    };
    match (text, path, files) {
        (Some(_), None, None) if root.is_some() => {
            Err(bad("import_source_invalid", "/root", "text comes from no root"))
        }
        (Some(text), None, None) if text.len() > INLINE_BYTES_MAX => {
            let reason = format!("more than {INLINE_BYTES_MAX} bytes; put it under an import root");
            Err(bad("argument_range", "/text", reason))
        }
        (Some(text), None, None) => single(Origin::Inline(text.as_str().into()), "/text", None),
        (None, Some(path), None) => single(Origin::File(path.clone()), "/path", Some(path)),
        (None, None, Some(files)) => {
            if type_hint.is_some() || label.is_some() || checksum_sha256.is_some() {
                let reason = "with files, each has its own type_hint, label and checksum_sha256";
                return Err(bad("import_source_invalid", "/files", reason));
            }
            if !(1..=FILES_MAX).contains(&files.len()) {
                return Err(bad("argument_range", "/files", format!("must be 1 to {FILES_MAX} files")));
            }
            files.iter().enumerate().map(|(at, file)| of_file(at, file)).collect()
        }
        _ => Err(bad("import_source_invalid", "", "give exactly one of text, path and files")),
    }
}

fn of_file(at: usize, file: &ImportFile) -> Result<Item, CallError> {
    let ImportFile { path, type_hint, label, checksum_sha256 } = file;
    let pointer = format!("/files/{at}");
    let said = Said { hint: type_hint, label, checksum: checksum_sha256, pointer: &pointer };
    said.item(Origin::File(path.clone()), &format!("{pointer}/path"), Some(path))
}

/// What a caller says of one artifact, unchecked.
struct Said<'a> {
    hint: &'a Option<String>,
    label: &'a Option<String>,
    checksum: &'a Option<String>,
    /// Where in the arguments it says so.
    pointer: &'a str,
}

impl Said<'_> {
    fn item(&self, origin: Origin, field: &str, path: Option<&str>) -> Result<Item, CallError> {
        let at = |member: &str| format!("{}/{member}", self.pointer);
        let hint = self.hint.as_deref().map(|text| parse_type(&at("type_hint"), text)).transpose()?;
        let checksum = self.checksum.as_deref().map(|text| parse_checksum(&at("checksum_sha256"), text));
        let label = match (self.label, path) {
            (Some(text), _) => Some(parse_label(&at("label"), text)?),
            (None, Some(path)) => Some(label_of(field, path)?),
            (None, None) => None,
        };
        let name = label.as_ref().map_or_else(|| "text".to_owned(), ToString::to_string);
        let wanted = Wanted { hint, label, checksum: checksum.transpose()? };
        Ok(Item { field: field.to_owned(), name, origin, wanted })
    }
}

fn parse_label(field: &str, text: &str) -> Result<Label, CallError> {
    text.parse().map_err(|error: helix_ids::NameError| bad("label_invalid", field, error.to_string()))
}

fn parse_checksum(field: &str, text: &str) -> Result<Digest, CallError> {
    text.parse()
        .map_err(|error: helix_ids::ParseDigestError| bad("checksum_invalid", field, error.to_string()))
}

/// A file's label is its name, if that is fit to be shown.
fn label_of(field: &str, path: &str) -> Result<Label, CallError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.parse().map_err(|_unfit: helix_ids::NameError| {
        bad("label_invalid", field, "the file's name is no label: give one with `label`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: Option<&str>, path: Option<&str>, files: Option<&[&str]>) -> ArtifactImportArgs {
        let file = |path: &&str| ImportFile { path: (*path).to_owned(), ..ImportFile::default() };
        ArtifactImportArgs {
            text: text.map(str::to_owned),
            path: path.map(str::to_owned),
            files: files.map(|files| files.iter().map(file).collect()),
            ..ArtifactImportArgs::default()
        }
    }

    fn code(args: &ArtifactImportArgs) -> &'static str {
        match parse(args) {
            Ok(_) => "ok",
            Err(CallError::BadArguments { code, .. }) => code,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_import_has_one_source() {
        let many = vec!["a"; 101];
        let cases = [
            (args(Some("x"), None, None), "ok"),
            (args(Some(""), None, None), "ok"),
            (args(None, Some("a/b.fq"), None), "ok"),
            (args(None, None, Some(&["a", "b"])), "ok"),
            (args(None, None, None), "import_source_invalid"),
            (args(Some("x"), Some("a"), None), "import_source_invalid"),
            (args(None, Some("a"), Some(&["a"])), "import_source_invalid"),
            (args(None, None, Some(&[])), "argument_range"),
            (args(None, None, Some(&many)), "argument_range"),
            (args(Some(&"x".repeat(1024 * 1024 + 1)), None, None), "argument_range"),
            (args(None, Some("a\u{202e}b"), None), "label_invalid"),
            (args(None, Some("a/"), None), "label_invalid"),
        ];
        for (args, expected) in cases {
            assert_eq!(code(&args), expected, "{args:?}");
        }
    }

    #[test]
    fn what_the_caller_says_is_parsed_where_it_stands() {
        let said = |member: &str, text: &str| {
            let text = Some(text.to_owned());
            let mut args = args(None, Some("a"), None);
            match member {
                "type_hint" => args.type_hint = text,
                "label" => args.label = text,
                _ => args.checksum_sha256 = text,
            }
            args
        };
        let cases = [
            (said("type_hint", "ELF"), "type_unknown"),
            (said("label", "../x"), "label_invalid"),
            (said("label", ""), "label_invalid"),
            (said("checksum_sha256", "abc"), "checksum_invalid"),
            (said("type_hint", "FASTQ"), "ok"),
        ];
        for (args, expected) in cases {
            assert_eq!(code(&args), expected, "{args:?}");
        }
        let mut with_files = args(None, None, Some(&["a", "d/b.fq"]));
        let items = parse(&with_files).unwrap();
        let labels: Vec<_> = items.iter().map(|item| (item.field.as_str(), item.name.as_str())).collect();
        assert_eq!(labels, [("/files/0/path", "a"), ("/files/1/path", "b.fq")]);
        with_files.label = Some("x".to_owned());
        assert_eq!(code(&with_files), "import_source_invalid");
    }
}

//! The images that a toolpack declares, and what the policy says of each.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::output;
use crate::contract::{DeclaredImage, Manifest};
use crate::policy::{Policy, edit};

/// Every image of every tool, each once.
fn declared(manifest: &Manifest) -> Vec<&DeclaredImage> {
    let mut images: Vec<&DeclaredImage> = Vec::new();
    for image in manifest.tools.iter().flat_map(|tool| &tool.images) {
        if !images.contains(&image) {
            images.push(image);
        }
    }
    images
}

/// Without a policy, nothing is said of what it allows.
pub(super) fn to_json(manifest: &Manifest, policy: Option<&Policy>) -> Value {
    let image = |declared: &DeclaredImage| {
        let mut told = json!({
            "name": declared.name, "ref": declared.reference, "platform": declared.platform,
        });
        match policy.map(|policy| policy.image(declared)) {
            None => {}
            Some(Ok(rule)) => {
                told["allowed"] = json!(true);
                told["user"] = json!(rule.user);
                told["line"] = json!(rule.line);
            }
            Some(Err(denial)) => {
                told["allowed"] = json!(false);
                told["code"] = json!(denial.code);
                told["message"] = json!(denial.message);
                told["lines"] = json!(edit::image_lines(declared));
            }
        }
        told
    };
    declared(manifest).into_iter().map(image).collect()
}

/// One paragraph of the toolpack's head.
pub(super) fn print(out: &mut dyn Write, manifest: &Manifest, policy: Option<&Policy>) -> io::Result<()> {
    let images = declared(manifest);
    if images.is_empty() {
        return writeln!(out, "images    none");
    }
    for (index, image) in images.into_iter().enumerate() {
        let title = if index == 0 { "images" } else { "" };
        writeln!(out, "{title:<9} {} {} on {}", image.name, image.reference, image.platform)?;
        match policy.map(|policy| policy.image(image)) {
            None => {}
            Some(Ok(rule)) => {
                writeln!(out, "          the policy has it in line {}, run as {}", rule.line, rule.user)?;
            }
            Some(Err(denial)) => {
                let reason = output::visible(&denial.message);
                writeln!(out, "          the policy lacks it ({}): {reason}", denial.code)?;
            }
        }
    }
    Ok(())
}

/// What an operator adds to the policy before such a toolpack can start its containers; nothing where
/// nothing is lacking.
pub(super) fn print_missing(out: &mut dyn Write, manifest: &Manifest, policy: &Policy) -> io::Result<()> {
    let images = declared(manifest);
    if images.is_empty() {
        return Ok(());
    }
    // A denial of an image is undone by hand, not by one more entry.
    let lacks = |image: &&DeclaredImage| {
        policy.image(image).is_err_and(|denial| matches!(denial.code, "image_not_allowed" | "image_mismatch"))
    };
    let mut lines: Vec<String> = images.into_iter().filter(lacks).map(edit::image_lines).collect();
    if policy.docker().is_none() {
        lines.push("[backend.docker]\n".to_owned());
    }
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nIts containers start once this stands in the policy too:\n\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::fixtures;
    use crate::policy::fixtures::images;

    fn manifest(names: &[&str]) -> Manifest {
        let mut manifest = Manifest::parse(fixtures::manifest()).unwrap();
        manifest.tools[0].images = images(names);
        manifest
    }

    fn shown(manifest: &Manifest, policy: &Policy) -> String {
        let mut out = Vec::new();
        print(&mut out, manifest, Some(policy)).unwrap();
        print_missing(&mut out, manifest, policy).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// What is printed as lacking is what was lacking: added to the file, nothing is any more.
    #[test]
    fn the_lines_that_are_printed_allow_the_images() {
        let manifest = manifest(&["bwa", "samtools"]);
        let text = "version = 1\nname = \"lab\"\n";
        let before = shown(&manifest, &Policy::from_toml(text).unwrap());
        assert!(before.contains("images    bwa registry.example/bwa@sha256:5"), "{before}");
        assert!(before.contains("the policy lacks it (image_not_allowed)"), "{before}");
        let (_, lines) = before.split_once("in the policy too:\n").unwrap();
        let policy = Policy::from_toml(&format!("{text}{lines}")).unwrap();
        let after = shown(&manifest, &policy);
        assert!(after.contains("the policy has it in line 4, run as 65534:65534"), "{after}");
        assert!(!after.contains("lacks") && !after.contains("[["), "{after}");

        let told = to_json(&manifest, Some(&policy));
        assert_eq!((&told[1]["name"], &told[1]["allowed"]), (&json!("samtools"), &json!(true)));
        let told = to_json(&manifest, None);
        assert_eq!((told[0]["ref"].is_string(), told[0].get("allowed")), (true, None));
    }

    #[test]
    fn a_toolpack_without_images_asks_for_nothing() {
        let policy = Policy::from_toml("version = 1\nname = \"lab\"\n").unwrap();
        assert_eq!(shown(&manifest(&[]), &policy), "images    none\n");
    }

    /// What a denial says cannot be mended by one more entry, so none is offered.
    #[test]
    fn a_denied_image_is_not_offered_to_be_added() {
        let manifest = manifest(&["bwa"]);
        let digest = manifest.tools[0].images[0].reference.digest();
        let text = format!(
            "version = 1\nname = \"lab\"\n[backend.docker]\n[[deny]]\ndigest = \"{digest}\"\nreason = \"bad\"\n"
        );
        let shown = shown(&manifest, &Policy::from_toml(&text).unwrap());
        assert!(shown.contains("(image_denied)") && !shown.contains("[[image]]"), "{shown}");
    }
}

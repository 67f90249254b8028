//! `cargo xtask images`: small container images of the tools that steps run, made of Debian's and
//! PyPI's packages without a container engine, the same bytes each time, and pushed to the registry
//! on loopback. docs/images.md says what is in each.

mod closure;
mod debs;
mod layer;
mod oci;
mod recipes;
mod trial;
mod wheels;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;

use crate::services::{self, Engine, REGISTRY};
use crate::{build, machine, say};
use closure::Closure;
use debs::Package;
use layer::Tree;
use recipes::{RECIPES, Recipe};

/// Who runs in every image: nobody.
pub const USER: &str = "65534:65534";
const PLATFORM: &str = "linux/amd64";
const FOLDER: u32 = 0o755;
/// Anyone writes, and removes only what is theirs.
const SHARED: u32 = 0o1777;

#[derive(clap::Args)]
pub struct Arguments {
    /// Which images; all, if none is named.
    names: Vec<String>,
    /// Make each twice, in different folders, and compare; push nothing.
    #[arg(long)]
    check: bool,
    /// Run the tools of all images afterwards, behind the walls of a step, and compare what they find.
    #[arg(long = "try", conflicts_with_all = ["names", "check"], value_name = "ENGINE", num_args = 0..=1, default_missing_value = "docker")]
    engine: Option<Engine>,
}

/// The command.
///
/// # Errors
/// An image cannot be made, pushed or run, or is another one the second time.
pub fn run(arguments: &Arguments) -> Result<()> {
    let recipes = chosen(&arguments.names)?;
    if arguments.check {
        return check(&recipes);
    }
    say::heading("images");
    let folder = folder()?;
    for recipe in &recipes {
        make(recipe, &folder.join(recipe.name))?;
    }
    let services = match arguments.engine {
        Some(engine) => services::hold(engine)?,
        None => services::hold_registry()?,
    };
    for recipe in &recipes {
        push(recipe, &folder)?;
    }
    let policy = folder.join("images.toml");
    fs::write(&policy, policy_entries(&folder)?).context("cannot write the policy's entries")?;
    say::line(&format!("  entries for a policy: {}", policy.display()));
    match arguments.engine {
        Some(_) => trial::run(services.endpoint(), &folder),
        None => Ok(()),
    }
}

/// Where images lie, each in a folder of its name.
fn folder() -> Result<PathBuf> {
    Ok(build::target_dir()?.join("images"))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Recipe>> {
    for name in names {
        let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
        ensure!(known.contains(&name.as_str()), "there is no image {name}; there are {}", known.join(", "));
    }
    let is_chosen = |recipe: &&Recipe| names.is_empty() || names.iter().any(|name| name == recipe.name);
    Ok(RECIPES.iter().filter(is_chosen).collect())
}

/// Makes images twice.
fn check(recipes: &[&Recipe]) -> Result<()> {
    say::heading("images, twice each");
    let folder = build::target_dir()?.join("images-check");
    for recipe in recipes {
        let packages = fetched(recipe)?;
        let [one, two] = ["one", "the-other"].map(|side| {
            say::step(&format!("make {}", recipe.name), || {
                assemble(recipe, &packages, &folder.join(side).join(recipe.name))
            })
        });
        let (one, two) = (one?, two?);
        ensure!(one == two, "the image {} is {one}, and made once more {two}", recipe.name);
        say::line(&format!("         {one}, twice"));
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Makes an image, unless it was made of the same things by the same program.
fn make(recipe: &Recipe, folder: &Path) -> Result<()> {
    let packages = fetched(recipe)?;
    let own = fs::read(std::env::current_exe()?).context("cannot read this program")?;
    let inputs = format!("{}\n{packages:#?}\n{}", Digest::of(&own), recipe.wheels.unwrap_or_default());
    let noted = folder.join("inputs");
    if fs::read_to_string(&noted).is_ok_and(|old| old == inputs)
        && let Ok(digest) = oci::manifest(folder)
    {
        say::line(&format!("  ok     {} is {digest}", recipe.name));
        return Ok(());
    }
    let digest = say::step(&format!("make {}", recipe.name), || assemble(recipe, &packages, folder))?;
    say::line(&format!("         {digest}"));
    fs::write(noted, inputs).context("cannot note what an image was made of")
}

fn fetched(recipe: &Recipe) -> Result<Vec<Package>> {
    let packages = debs::resolve(recipe.packages)?;
    debs::fetch(&packages)?;
    Ok(packages)
}

fn assemble(recipe: &Recipe, packages: &[Package], folder: &Path) -> Result<Digest> {
    let scratch = folder.with_extension("scratch");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    let mut files = debs::unpack(packages, &scratch)?;
    if let Some(list) = recipe.wheels {
        wheels::add(list, &scratch, &mut files)?;
    }
    let mut closure = Closure::new(&files);
    for path in recipe.take {
        closure.take(path, recipe.without)?;
    }
    let mut tree = skeleton();
    let used = closure.finish(&mut tree)?;
    for package in packages {
        ensure!(used.contains(&package.name), "nothing is taken of the package {}", package.name);
    }
    for (path, text) in recipe.texts {
        tree.text(path, text);
    }
    for (path, target) in recipe.links {
        tree.link(path, target);
    }
    for applet in recipe.applets {
        tree.link(&format!("usr/bin/{applet}"), "busybox");
    }
    let digest = oci::write(folder, &tree, &labels(recipe, packages)?)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(digest)
}

/// What is in every image: mount points (a read-only image gets none later), nobody's name, and a
/// `/tmp` for all, since Docker 20.10 takes the mode of a tmpfs from the folder below it.
fn skeleton() -> Tree {
    let mut tree = Tree::default();
    for path in ["dev", "etc", "mnt/0", "proc", "run", "sys", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"] {
        tree.folder(path, FOLDER);
    }
    for path in ["work/in", "work/out"] {
        tree.folder(path, FOLDER);
    }
    for path in ["tmp", "var/tmp"] {
        tree.folder(path, SHARED);
    }
    for path in ["bin", "lib", "lib64", "sbin"] {
        tree.link(path, &format!("usr/{path}"));
    }
    let nobody = "nobody:x:65534:65534:nobody:/tmp:/usr/sbin/nologin";
    tree.text("etc/passwd", &format!("root:x:0:0:root:/:/usr/sbin/nologin\n{nobody}\n"));
    tree.text("etc/group", "root:x:0:\nnogroup:x:65534:\n");
    // Engines that put theirs there need a file to put it on.
    tree.text("etc/hosts", "");
    tree.text("etc/resolv.conf", "");
    tree
}

fn labels(recipe: &Recipe, packages: &[Package]) -> Result<BTreeMap<String, String>> {
    let wheels = recipe.wheels.map(wheels::names).unwrap_or_default();
    let of_debian = packages.iter().find(|package| package.name == recipe.version_of);
    let version = of_debian.map(|package| upstream(&package.version).to_owned());
    let of_pypi = || {
        let wheel = wheels.iter().find_map(|wheel| wheel.strip_prefix(recipe.version_of)?.strip_prefix("=="));
        wheel.map(str::to_owned)
    };
    let version = version.or_else(of_pypi).with_context(|| format!("no version of {}", recipe.name))?;
    let listed: Vec<String> = packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), recipe.name.to_owned()),
        ("org.opencontainers.image.version".to_owned(), version),
        ("helix.packages".to_owned(), listed.join(" ")),
    ]);
    if !wheels.is_empty() {
        labels.insert("helix.wheels".to_owned(), wheels.join(" "));
    }
    Ok(labels)
}

/// The version that a package's authors gave it: without Debian's epoch, revision and repacking.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_epoch, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(version, _revision)| version);
    version.split(['+', '~']).next().unwrap_or(version)
}

fn push(recipe: &Recipe, folder: &Path) -> Result<()> {
    let skopeo = machine::program("skopeo").unwrap_or_else(|| PathBuf::from("/usr/bin/skopeo"));
    machine::apt_install("pushing images", &["skopeo"], &skopeo)?;
    let digest = oci::manifest(&folder.join(recipe.name))?;
    say::step(&format!("push {}", recipe.name), || {
        let mut command = Command::new(skopeo);
        // Whose images it trusts is the machine's matter; this one we made.
        command.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ]);
        command.arg(format!("oci:{}:{}", folder.join(recipe.name).display(), oci::TAG));
        command.arg(format!("docker://{REGISTRY}/helix/{}:{}", recipe.name, oci::TAG));
        say::quiet(&mut command)
    })?;
    say::line(&format!("         {}", reference(recipe.name, digest)));
    Ok(())
}

/// How an image is named to whoever pulls it.
fn reference(name: &str, digest: Digest) -> String {
    format!("{REGISTRY}/helix/{name}@{digest}")
}

/// The entries of a policy for all images that were made.
fn policy_entries(folder: &Path) -> Result<String> {
    let mut text = "# Written by `cargo xtask images`.\n".to_owned();
    for recipe in &RECIPES {
        let Ok(digest) = oci::manifest(&folder.join(recipe.name)) else { continue };
        let reference = reference(recipe.name, digest);
        write!(
            text,
            "\n[[image]]\nname = \"{}\"\nref = \"{reference}\"\nplatform = \"{PLATFORM}\"\nuser = \"{USER}\"\n\
             egress = \"none\"\n",
            recipe.name
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_authors_own() {
        for (debian, own) in
            [("1.16.1-1", "1.16.1"), ("2.3.1+ds-1+b4", "2.3.1"), ("1:1.35.0-4+deb12u1+b1", "1.35.0")]
        {
            assert_eq!(upstream(debian), own);
        }
    }

    #[test]
    fn names_are_those_of_policies_and_every_list_is_in_order() {
        for recipe in &RECIPES {
            recipe.name.parse::<helix_ids::name::ImageName>().unwrap();
            assert!(recipe.packages.is_sorted(), "{}", recipe.name);
            assert!(recipe.applets.is_sorted(), "{}", recipe.name);
        }
    }
}

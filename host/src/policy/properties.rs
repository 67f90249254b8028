//! What holds for every policy, tried on random ones.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const TOOLS: [&str; 3] = ["one", "two", "three"];
const PROJECTS: [&str; 2] = ["default", "teaching"];

const IMAGES: [&str; 2] = ["bwa", "fastqc"];

/// Name, asks to be offered, tools, images, limit.
type Component = (&'static str, bool, Option<Vec<&'static str>>, Vec<&'static str>, Option<u64>);
/// Name, components, limit, whether it may start containers.
type ProjectModel = (&'static str, Option<Vec<&'static str>>, Option<u64>, bool);
/// Name, digest, user.
type ImageModel = (&'static str, u8, &'static str);

/// A policy's meaning, from which its text is written.
#[derive(Clone, Debug)]
struct Model {
    ceiling_mib: u64,
    /// By digest, so that none stands twice.
    components: Vec<(u8, Component)>,
    projects: Vec<ProjectModel>,
    denies: BTreeSet<u8>,
    roots: Vec<&'static str>,
    images: Vec<ImageModel>,
    has_docker: bool,
}

fn digest(number: u8) -> String {
    format!("sha256:{}", format!("{number:x}").repeat(64))
}

fn list(names: Option<&Vec<&str>>) -> String {
    names.map_or_else(|| "\"all\"".to_owned(), |names| format!("{names:?}"))
}

fn limit(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |mib| format!("limits = {{ memory = \"{mib}MiB\" }}\n"))
}

impl Model {
    fn text(&self) -> String {
        let mut text = String::from("version = 1\nname = \"lab\"\n");
        writeln!(text, "[limits.guest]\nmemory = \"{}MiB\"", self.ceiling_mib).unwrap();
        let mut offered = BTreeSet::new();
        for (number, (name, serve, tools, images, mib)) in &self.components {
            let serve = if *serve && offered.insert(name) { "true" } else { "\"replay\"" };
            let (digest, tools, limit) = (digest(*number), list(tools.as_ref()), limit(*mib));
            writeln!(text, "[[component]]\ndigest = \"{digest}\"\nname = \"{name}\"\nserve = {serve}\ntools = {tools}\nimages = {images:?}\n{limit}").unwrap();
        }
        for (name, components, mib, starts) in &self.projects {
            let (components, limit) = (list(components.as_ref()), limit(*mib));
            let backends = if *starts { "" } else { "backends = []\n" };
            writeln!(text, "[[project]]\nname = \"{name}\"\ncomponents = {components}\n{backends}{limit}")
                .unwrap();
        }
        for (name, number, user) in &self.images {
            let reference = image(name, *number).reference;
            writeln!(text, "[[image]]\nname = \"{name}\"\nref = \"{reference}\"\nplatform = \"linux/amd64\"\nuser = \"{user}\"\negress = \"none\"")
                .unwrap();
        }
        if self.has_docker {
            writeln!(text, "[backend.docker]").unwrap();
        }
        for number in &self.denies {
            writeln!(text, "[[deny]]\ndigest = \"{}\"\nreason = \"bad\"", digest(*number)).unwrap();
        }
        for name in &self.roots {
            writeln!(text, "[[import_root]]\nname = \"{name}\"\npath = \"/{name}\"\nprojects = \"all\"")
                .unwrap();
        }
        text
    }

    fn policy(&self) -> Policy {
        Policy::from_toml(&self.text()).unwrap()
    }
}

/// What a tool may declare: one of two images under each name.
fn image(name: &str, number: u8) -> DeclaredImage {
    let reference = format!("registry.example/{name}@{}", digest(number));
    let (name, reference) = (name.parse().unwrap(), reference.parse().unwrap());
    DeclaredImage { name, reference, platform: "linux/amd64".to_owned() }
}

fn every_image() -> Vec<DeclaredImage> {
    IMAGES.into_iter().flat_map(|name| [image(name, 10), image(name, 11)]).collect()
}

fn some_of(names: [&'static str; 3]) -> impl Strategy<Value = Option<Vec<&'static str>>> {
    proptest::option::of(subsequence(names.to_vec(), 0..=3))
}

fn component() -> impl Strategy<Value = Component> {
    let mib = proptest::option::of(1u64..512);
    let images = subsequence(IMAGES.to_vec(), 0..=2);
    (proptest::sample::select(NAMES.to_vec()), any::<bool>(), some_of(TOOLS), images, mib)
}

fn image_rules() -> impl Strategy<Value = Vec<ImageModel>> {
    let all: Vec<_> = IMAGES.into_iter().flat_map(|name| [(name, 10), (name, 11)]).collect();
    let users = proptest::collection::vec(proptest::sample::select(vec!["host", "1000:1000"]), 4);
    (subsequence(all, 0..=4), users).prop_map(|(images, users)| {
        images.into_iter().zip(users).map(|((name, number), user)| (name, number, user)).collect()
    })
}

prop_compose! {
    fn model()(
        ceiling_mib in 1u64..512,
        numbers in subsequence((0u8..6).collect::<Vec<_>>(), 0..=6).prop_shuffle(),
        rules in proptest::collection::vec(component(), 6),
        project_names in subsequence(PROJECTS.to_vec(), 0..=2),
        project_rules in
            proptest::collection::vec((some_of(NAMES), proptest::option::of(1u64..512), any::<bool>()), 2),
        denies in subsequence((0u8..6).chain([10, 11]).collect::<Vec<_>>(), 0..=2),
        roots in subsequence(vec!["in", "more"], 0..=2),
        images in image_rules(),
        has_docker in any::<bool>(),
    ) -> Model {
        let components = numbers.into_iter().zip(rules);
        let projects = project_names.into_iter().zip(project_rules);
        Model {
            ceiling_mib,
            components: components.collect(),
            projects: projects
                .map(|(name, (components, mib, starts))| (name, components, mib, starts))
                .collect(),
            denies: denies.into_iter().collect(),
            roots,
            images,
            has_docker,
        }
    }
}

type Answer = (String, GuestLimits, Serve, Vec<GrantedImage>);

/// What a policy answers to every question of this small world, without an image and with each:
/// permission and limits.
fn answers(policy: &Policy) -> Vec<Option<Answer>> {
    let mut answers = Vec::new();
    let none = [Vec::new()];
    let each: Vec<Vec<DeclaredImage>> =
        none.clone().into_iter().chain(every_image().into_iter().map(|image| vec![image])).collect();
    for project in PROJECTS {
        let name: ProjectName = project.parse().unwrap();
        let project = Project { id: helix_ids::identity::project_id(&name), name };
        for number in 0..7 {
            for toolpack in NAMES {
                for tool in TOOLS.into_iter().chain(["unlisted"]) {
                    // Which images it may start does not depend on which tool it is.
                    let declared = if tool == "unlisted" { each.as_slice() } else { &none };
                    for images in declared {
                        let question = Question {
                            project: &project,
                            component: digest(number).parse().unwrap(),
                            toolpack: &toolpack.parse().unwrap(),
                            tool: &tool.parse().unwrap(),
                            images,
                        };
                        let grant = policy.decide(&question).verdict.ok();
                        let answer =
                            |grant: Grant| (grant.slice.to_string(), grant.limits, grant.serve, grant.images);
                        answers.push(grant.map(answer));
                    }
                }
            }
        }
    }
    answers
}

fn roots(policy: &Policy) -> Vec<(String, String)> {
    let roots = policy.projects().iter().flat_map(|project| {
        policy.import_roots(project).into_iter().map(|root| (project.name.to_string(), root.name.to_string()))
    });
    roots.collect::<BTreeSet<_>>().into_iter().collect()
}

fn permitted(policy: &Policy) -> Vec<bool> {
    answers(policy).iter().map(Option::is_some).collect()
}

proptest! {
    #[test]
    fn an_empty_policy_permits_nothing(number in 0u8..16) {
        let policy = Policy::from_toml("version = 1\nname = \"lab\"\n").unwrap();
        prop_assert!(permitted(&policy).iter().all(|permitted| !permitted));
        prop_assert!(policy.admit_component(&digest(number).parse().unwrap()).is_err());
        prop_assert!(policy.project(None).is_err());
    }

    #[test]
    fn to_allow_one_more_removes_nothing(
        model in model(),
        added in component(),
        image in (0usize..4, proptest::sample::select(vec!["host", "1000:1000"])),
    ) {
        let mut more = model.clone();
        more.components.push((6, added));
        more.has_docker = true;
        let (name, number) = [("bwa", 10), ("bwa", 11), ("fastqc", 10), ("fastqc", 11)][image.0];
        if !more.images.iter().any(|(own, at, _)| (*own, *at) == (name, number)) {
            more.images.push((name, number, image.1));
        }
        let (before, after) = (answers(&model.policy()), answers(&more.policy()));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(before.is_none() || before == after, "{before:?} became {after:?}");
        }
    }

    #[test]
    fn a_denial_adds_nothing(model in model(), number in (0u8..9).prop_map(|number| if number < 7 { number } else { number + 3 })) {
        let mut denied = model.clone();
        denied.denies.insert(number);
        let (before, after) = (answers(&model.policy()), answers(&denied.policy()));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(after.is_none() || before == after, "{before:?} became {after:?}");
        }
        let denied = denied.policy();
        prop_assert_eq!(denied.admit_component(&digest(number).parse().unwrap()).unwrap_err().code, "component_denied");
    }

    #[test]
    fn a_grant_is_within_every_level(model in model()) {
        for (_, limits, ..) in answers(&model.policy()).into_iter().flatten() {
            prop_assert!(limits.memory_bytes <= model.ceiling_mib << 20);
        }
    }

    #[test]
    fn the_order_of_rules_does_not_matter(model in model()) {
        // Which of two is offered follows from the text, so only one of each name asks for it.
        let mut model = model;
        let mut offered = BTreeSet::new();
        for (_, (name, serve, ..)) in &mut model.components {
            *serve = *serve && offered.insert(*name);
        }
        let mut turned = model.clone();
        turned.components.reverse();
        turned.projects.reverse();
        turned.images.reverse();
        prop_assert_eq!(answers(&model.policy()), answers(&turned.policy()));
        prop_assert_eq!(diff(&model.policy(), &turned.policy()), vec![]);
    }

    /// Q8: a diff is empty exactly where no question is answered differently.
    #[test]
    fn a_diff_is_empty_where_nothing_is_decided_otherwise(old in model(), new in model()) {
        let (old, new) = (old.policy(), new.policy());
        prop_assert_eq!(diff(&old, &old), vec![]);
        let projects = |policy: &Policy| policy.projects().iter().map(|p| p.name.clone()).collect::<BTreeSet<_>>();
        let offered = |policy: &Policy| {
            let rules = policy.components().iter().filter(|rule| policy.admit_component(&rule.digest).is_ok());
            let offered = rules.filter(|rule| rule.serve == Serve::Offered);
            offered.map(|rule| (rule.digest, rule.name.clone())).collect::<BTreeSet<_>>()
        };
        let same = answers(&old).iter().zip(answers(&new)).all(|(old, new)| {
            let without_serve = |(slice, limits, _, images): &Answer| (slice.clone(), limits.clone(), images.clone());
            old.as_ref().map(without_serve) == new.as_ref().map(without_serve)
        }) && old.docker() == new.docker() && projects(&old) == projects(&new) && offered(&old) == offered(&new) && roots(&old) == roots(&new);
        prop_assert_eq!(diff(&old, &new).is_empty(), same, "{:?}", diff(&old, &new));
        let gained = permitted(&old).iter().zip(permitted(&new)).any(|(old, new)| !old && new);
        prop_assert!(!gained || diff(&old, &new).iter().any(|change| change.wider));
    }

    #[test]
    fn arbitrary_text_never_panics(text: String, cut in 0usize..2000) {
        let _good = Policy::from_toml(&text).is_ok();
        let everything = include_bytes!("../../../tests/policies/good/everything.toml");
        let _half = Policy::from_bytes(&everything[..cut.min(everything.len())]).is_ok();
    }

    /// What the CLI adds is what was asked for, and no comment is lost.
    #[test]
    fn allowing_by_edit_is_allowing(model in model(), (name, _, tools, images, _) in component()) {
        let entry = edit::Allow {
            digest: digest(6).parse().unwrap(),
            name: name.parse().unwrap(),
            tools: tools.as_ref().map_or(Names::All, |tools| {
                Names::These(tools.iter().map(|tool| tool.parse().unwrap()).collect())
            }),
            images: images.iter().map(|image| image.parse().unwrap()).collect(),
            projects: model.projects.iter().map(|(name, ..)| name.parse().unwrap()).collect(),
        };
        let text = format!("# first\n{}# last\n", model.text());
        let edited = edit::allow(&text, &entry).unwrap();
        let policy = Policy::from_toml(&edited).unwrap();
        prop_assert!(edited.contains("# first") && edited.contains("# last"));
        let rule = policy.admit_component(&entry.digest).unwrap();
        prop_assert_eq!((&rule.name, rule.serve, &rule.tools), (&entry.name, Serve::Offered, &entry.tools));
        prop_assert_eq!(&rule.images, &entry.images);
        for project in policy.projects() {
            let question = Question {
                project,
                component: entry.digest,
                toolpack: &entry.name,
                tool: &"one".parse().unwrap(),
                images: &[],
            };
            let listed = entry.tools.holds(question.tool);
            prop_assert_eq!(policy.decide(&question).verdict.is_ok(), listed);
        }
        // Done twice it changes nothing more.
        prop_assert_eq!(edit::allow(&edited, &entry).unwrap(), edited);
    }
}

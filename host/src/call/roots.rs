//! Roots of a policy that would lead to what the host keeps for itself. A policy is pure text; where
//! its paths lead is asked here, of the file system.

use std::path::Path;

use helix_ids::text::escaped_line;

use crate::artifacts::Private;
use crate::policy::{Policy, PolicyProblem};

/// A path of the longest kind in a message, several times.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What is wrong with the roots of a policy that lies in `policy_file` and serves `home`. A host
/// that runs names the store that it has in use, beside the one that the policy names.
#[must_use]
pub fn private(
    policy: &Policy,
    home: &Path,
    policy_file: &Path,
    store_in_use: Option<&Path>,
) -> Vec<PolicyProblem> {
    let stores = [policy.store_root(), store_in_use, Some(home)];
    let private = Private::new(home, policy_file, stores.into_iter().flatten());
    let mut problems = Vec::new();
    let mut look = |kind: &str, name: &str, path: &Path, line: u32| {
        if let Some(objection) = private.objection(path) {
            let message = refusal(kind, name, path, &objection, home);
            problems.push(PolicyProblem {
                line,
                column: 1,
                message: escaped_line(&message, MESSAGE_BYTES_MAX),
            });
        }
    };
    for root in policy.all_import_roots() {
        look("import", root.name.as_str(), &root.path, root.line);
    }
    for root in policy.all_export_roots() {
        look("export", root.name.as_str(), &root.path, root.line);
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

fn refusal(kind: &str, name: &str, path: &Path, objection: &str, home: &Path) -> String {
    let own = if kind == "import" { "import" } else { "exports" };
    format!(
        "root_private: `path` of [[{kind}_root]] {name}: {} {objection}; write a folder there that holds \
         data alone, such as {}",
        path.display(),
        home.join(own).display()
    )
}

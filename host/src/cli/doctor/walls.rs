//! The walls around runners, each tried on this machine.

use std::path::Path;

use super::Finding;
use crate::policy::{HostLimits, Policy};
use crate::sandbox::client::probe::{self, Tried};
use crate::sandbox::protocol::Standing;

/// One finding a wall.
pub(super) async fn walls(policy: Option<&Policy>) -> Vec<Finding> {
    let limits = policy.map_or_else(HostLimits::default, |policy| policy.host.clone());
    match probe::probe(Path::new("/proc/self/exe"), &limits.cgroups).await {
        Ok(walls) => walls.iter().map(|tried| finding(tried, &limits)).collect(),
        Err(error) => vec![Finding::broken(
            "walls",
            format!("no runner can be tried: {error}"),
            "start helixmcp where it may start processes",
        )],
    }
}

fn finding(tried: &Tried, limits: &HostLimits) -> Finding {
    let required = limits.require.iter().any(|wall| wall.name() == tried.wall);
    let is_choice = crate::policy::Wall::ALL.iter().any(|wall| wall.name() == tried.wall);
    let detail = match &tried.standing {
        Standing::Holds(how) => format!("{how}; {}", seen(tried)),
        Standing::Missing(why) if required => format!("missing, and required by policy: {why}"),
        Standing::Missing(why) => format!("missing: {why}"),
    };
    if tried.holds() {
        return Finding::works(tried.wall, detail);
    }
    // What a kernel lacks, policy decides on; what it claims to have and does not hold is broken.
    let broken = required || !is_choice || matches!(tried.standing, Standing::Holds(_));
    let make = if broken { Finding::broken } else { Finding::note };
    make(tried.wall, detail, fix(tried.wall).to_owned())
}

fn seen(tried: &Tried) -> String {
    let past: Vec<String> = tried
        .attempts
        .iter()
        .filter(|(_, held, _)| !held)
        .map(|(name, _, seen)| format!("{name} got past it ({seen})"))
        .collect();
    if past.is_empty() {
        let names: Vec<&str> = tried.attempts.iter().map(|(name, ..)| *name).collect();
        format!("refused: {}", names.join(" "))
    } else {
        past.join("; ")
    }
}

fn fix(wall: &str) -> &'static str {
    match wall {
        "landlock" => {
            "use Linux 5.13 or newer with `landlock` among its `lsm=`; in a container, allow its calls"
        }
        "seccomp" => "use a kernel with CONFIG_SECCOMP_FILTER; in a container, allow the system call seccomp",
        "cgroup" => "give the host a cgroup folder to divide: docs/operating.md, Walls",
        _ => "this is a bug: report it with the output of `helixmcp doctor --json`",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Verdict;
    use super::*;
    use crate::policy::Wall;

    fn verdict(wall: &'static str, standing: Standing, held: bool, required: &[Wall]) -> Verdict {
        let require: BTreeSet<Wall> = required.iter().copied().collect();
        let limits = HostLimits { require, ..HostLimits::default() };
        finding(&Tried { wall, standing, attempts: vec![("open_file", held, String::new())] }, &limits)
            .verdict
    }

    #[test]
    fn policy_decides_on_what_a_kernel_lacks() {
        let missing = || Standing::Missing("too old".to_owned());
        let stands = || Standing::Holds("files".to_owned());
        assert_eq!(verdict("landlock", stands(), true, &[]), Verdict::Works);
        assert_eq!(verdict("landlock", missing(), true, &[]), Verdict::Note);
        assert_eq!(verdict("landlock", missing(), true, &[Wall::Landlock]), Verdict::Broken);
        // A wall that is said to stand and does not hold is broken, whoever requires it.
        assert_eq!(verdict("landlock", stands(), false, &[]), Verdict::Broken);
        assert_eq!(verdict("limits", stands(), false, &[]), Verdict::Broken);
    }
}

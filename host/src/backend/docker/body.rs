//! What an engine is asked to make: the walls of a step, all written out. A default that changes
//! under us must not open a door, so there is none that we rely on.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use helix_ids::ContainerUser;

use super::super::folder::{StepFolder, Writer};
use super::super::{BackendError, Labels, Order};
use super::image::Image;

pub(super) const HOME: &str = "helix.home";
const RUN: &str = "helix.run";
const ATTEMPT: &str = "helix.attempt";
const STEP: &str = "helix.step";
const TRY: &str = "helix.try";

/// The same for every step, so that a tool which prints it stays byte-stable.
const HOST_NAME: &str = "step";

const FOLDER: &str = "/work";

/// What every step has in its environment.
const ENVIRONMENT: [(&str, &str); 4] =
    [("HOME", "/tmp"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("SOURCE_DATE_EPOCH", "0")];

/// `/dev/shm`, which counts as the step's memory.
const SHM_BYTES: i64 = 64 * 1024 * 1024;

/// Files that a step may have open: enough to merge some hundred sorted pieces.
const OPEN_FILES_MAX: i64 = 4096;

/// Files that the engine keeps of stdout and stderr, each as large as the cap: one that is full is
/// put aside and the next begun, and the last two are there.
const LOG_FILES: &str = "2";

/// Parts of `/proc` and `/sys` that tell of the machine or let it be changed.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What is asked for, and what has to come of it.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub create: ContainerCreateBody,
    /// The configuration that the image's digest stands for.
    pub image_id: String,
    /// What is asked for and what the image sets besides, sorted.
    pub environment: Vec<String>,
    /// The command, as the engine splits it.
    pub path: String,
    pub arguments: Vec<String>,
}

impl Body {
    pub(super) fn new(
        order: &Order,
        writer: Writer,
        image: &Image,
        step: &StepFolder,
        runtime: &str,
    ) -> Result<Self, BackendError> {
        let Some((path, arguments)) = order.argv.split_first() else {
            return Err(BackendError::refused("backend_refused", "a step has no command"));
        };
        let asked = environment_of(order);
        let create = ContainerCreateBody {
            hostname: Some(HOST_NAME.to_owned()),
            domainname: Some(String::new()),
            user: Some(format!("{}:{}", writer.uid, writer.gid)),
            attach_stdin: Some(false),
            attach_stdout: Some(false),
            attach_stderr: Some(false),
            tty: Some(false),
            open_stdin: Some(false),
            stdin_once: Some(false),
            env: Some(asked.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            // The whole command as entry point: with one, nothing of the image's command is added.
            entrypoint: Some(order.argv.clone()),
            cmd: Some(Vec::new()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            image: Some(order.image.to_string()),
            working_dir: Some(FOLDER.to_owned()),
            network_disabled: None,
            labels: Some(labels_of(&order.labels).into_iter().collect()),
            stop_signal: Some("SIGTERM".to_owned()),
            host_config: Some(walls(order, step, runtime)?),
            ..ContainerCreateBody::default()
        };
        let set = |entry: &String| {
            let name = entry.split('=').next().unwrap_or_default();
            asked.iter().any(|(asked, _)| asked == name)
        };
        let mut environment = create.env.clone().unwrap_or_default();
        environment.extend(image.environment.iter().filter(|entry| !set(entry)).cloned());
        environment.sort();
        Ok(Self {
            create,
            image_id: image.id.clone(),
            environment,
            path: path.clone(),
            arguments: arguments.to_vec(),
        })
    }
}

/// The container's walls.
fn walls(order: &Order, step: &StepFolder, runtime: &str) -> Result<HostConfig, BackendError> {
    let number = |number: u64, what: &str| {
        let large = || BackendError::refused("backend_refused", &format!("a step asks for too much {what}"));
        i64::try_from(number).ok().filter(|number| *number > 0).ok_or_else(large)
    };
    let memory = number(order.memory_bytes, "memory")?;
    let scratch = number(order.scratch_bytes, "scratch")?;
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    Ok(HostConfig {
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        cap_drop: texts(&["ALL"]),
        // No profile is named: the engine's own system call filter is in force then, and
        // `Engine::check` has seen that it has one.
        security_opt: texts(&["no-new-privileges"]),
        masked_paths: texts(&MASKED),
        readonly_paths: texts(&READ_ONLY),
        runtime: Some(runtime.to_owned()),
        // A first process that reaps others and passes signals on: what ignores SIGTERM as process 1
        // would not be asked to end at all.
        init: Some(true),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some(number(u64::from(order.cpus), "processors")? * 1_000_000_000),
        pids_limit: Some(number(order.pids, "processes")?),
        oom_kill_disable: Some(false),
        ulimits: Some(vec![
            limit("nofile", OPEN_FILES_MAX),
            limit("core", 0),
            limit("fsize", number(order.out_bytes, "output")?),
        ]),
        shm_size: Some(SHM_BYTES),
        // Engine 20.10 knows no `mode` here and takes that of the image's own `/tmp`.
        tmpfs: Some(HashMap::from([(
            "/tmp".to_owned(),
            format!("rw,noexec,nosuid,nodev,size={scratch},mode=1777"),
        )])),
        mounts: Some(mounts(order, step)?),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), number(order.stdout_bytes, "stdout")?.to_string()),
                ("max-file".to_owned(), LOG_FILES.to_owned()),
            ])),
        }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        publish_all_ports: Some(false),
        ..HostConfig::default()
    })
}

/// Inputs one by one and read-only, and `out/`. The engine makes the places where they are mounted in
/// the container's own layer, before the root file system becomes read-only.
fn mounts(order: &Order, step: &StepFolder) -> Result<Vec<Mount>, BackendError> {
    let bind = |source: &Path, target: String, read_only| {
        let source = source.to_str().ok_or_else(|| {
            let reason = format!("`{}` is no UTF-8, which the engine asks for", source.display());
            BackendError::refused("backend_refused", &reason)
        })?;
        Ok(Mount {
            typ: Some(MountType::BIND),
            source: Some(source.to_owned()),
            target: Some(target),
            read_only: Some(read_only),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            }),
            ..Mount::default()
        })
    };
    let mut mounts = Vec::new();
    for (name, object) in &order.mounts {
        mounts.push(bind(object, format!("{FOLDER}/in/{name}"), true)?);
    }
    mounts.push(bind(&step.out(), format!("{FOLDER}/out"), false)?);
    Ok(mounts)
}

fn limit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

fn environment_of(order: &Order) -> Vec<(String, String)> {
    let fixed = ENVIRONMENT.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    fixed.chain(order.environment.iter().cloned()).collect()
}

/// Whose ids the container has.
pub(super) fn writer_of(order: &Order) -> Result<Writer, BackendError> {
    let writer = match order.user {
        ContainerUser::Ids { uid, gid } => Writer { uid, gid },
        ContainerUser::Host => {
            Writer { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
        }
    };
    if writer.uid == 0 || writer.gid == 0 {
        let reason = "no step runs as root: the host does, so its image needs a user of its own";
        return Err(BackendError::refused("image_user_root", reason));
    }
    Ok(writer)
}

pub(super) fn labels_of(labels: &Labels) -> [(String, String); 5] {
    [
        (HOME.to_owned(), labels.home.clone()),
        (RUN.to_owned(), labels.run.to_string()),
        (ATTEMPT.to_owned(), labels.attempt.to_string()),
        (STEP.to_owned(), labels.step.to_string()),
        (TRY.to_owned(), labels.try_.to_string()),
    ]
}

pub(super) fn parse_labels(labels: &HashMap<String, String>) -> Option<Labels> {
    Some(Labels {
        home: labels.get(HOME)?.clone(),
        run: labels.get(RUN)?.parse().ok()?,
        attempt: labels.get(ATTEMPT)?.parse().ok()?,
        step: labels.get(STEP)?.parse().ok()?,
        try_: labels.get(TRY)?.parse().ok()?,
    })
}

/// One name for one submission, over all homes of an engine.
pub(super) fn name_of(labels: &Labels) -> String {
    let Labels { home, run, attempt, step, try_ } = labels;
    format!("helix-{home}-{run}-{attempt}-{step}-{try_}")
}

#[cfg(test)]
mod tests;

//! Which file systems `SQLite` can trust: its locks and its shared memory need a local one.

use std::path::Path;

use rustix::fs::{FsWord, Mode, OFlags};

use super::LedgerError;
use super::error::database;

/// Network file systems by the number that `statfs` gives.
const NETWORK: &[(FsWord, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0xff53_4d42, "CIFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00c3_6400, "CephFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x2003_0528, "PVFS2"),
    (0xaad7_aaea, "PanFS"),
    (0x564c, "NCP"),
    (0x0102_1997, "9P"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0xbacb_acbc, "VMware shared folders"),
];

const FUSE: FsWord = 0x6573_5546;

/// FUSE file systems on local disks; every other one (sshfs, s3fs, rclone, …) is refused.
const FUSE_LOCAL: &[&str] = &["fuseblk", "fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.lxcfs"];

pub(super) fn refuse_network_file_system(folder: &Path) -> Result<(), LedgerError> {
    match network_file_system(folder)? {
        Some(kind) => Err(LedgerError::NetworkFileSystem { kind }),
        None => Ok(()),
    }
}

/// The kind of network file system on which this folder lies; `None` for a local one. The store
/// may lie on one where policy says so, the ledger never.
///
/// # Errors
/// [`LedgerError::Database`] when the folder cannot be looked at.
pub fn network_file_system(folder: &Path) -> Result<Option<String>, LedgerError> {
    let what = "look at the folder's file system";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, flags, Mode::empty()).map_err(database(what))?;
    let magic = rustix::fs::fstatfs(&opened).map_err(database(what))?.f_type;
    let device = rustix::fs::fstat(&opened).map_err(database(what))?.st_dev;
    let kind = || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        fuse_kind(&mounts, rustix::fs::major(device), rustix::fs::minor(device))
    };
    Ok(network_kind(magic, kind))
}

/// The name of a network file system, or `None` for one that is local.
fn network_kind(magic: FsWord, fuse_kind: impl FnOnce() -> Option<String>) -> Option<String> {
    if magic == FUSE {
        let kind = fuse_kind().unwrap_or_else(|| "FUSE".to_owned());
        return (!FUSE_LOCAL.contains(&kind.as_str())).then_some(kind);
    }
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| (*name).to_owned())
}

/// The file system's type in the line of `/proc/self/mountinfo` that has this device.
fn fuse_kind(mounts: &str, major: u32, minor: u32) -> Option<String> {
    let device = format!("{major}:{minor}");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device.as_str()))?;
    let (_, after) = line.split_once(" - ")?;
    after.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_refused_by_name() {
        let mounts = "36 35 0:51 / /mnt/x rw,noatime master:1 - fuse.sshfs me@far:/ rw\n\
                      37 35 0:52 / / rw - fuse.fuse-overlayfs overlay rw\n";
        let kind = |magic, minor| network_kind(magic, || fuse_kind(mounts, 0, minor));
        assert_eq!(kind(0x6969, 0).as_deref(), Some("NFS"));
        assert_eq!(kind(0xff53_4d42, 0).as_deref(), Some("CIFS"));
        assert_eq!(kind(FUSE, 51).as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind(FUSE, 99).as_deref(), Some("FUSE"));
        assert_eq!(kind(FUSE, 52), None);
        let ext4 = 0xef53;
        assert_eq!(kind(ext4, 0), None);
    }

    #[test]
    fn a_temporary_folder_of_this_machine_is_local() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refuse_network_file_system(folder.path()).is_ok());
    }
}

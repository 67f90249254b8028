//! How much a step has written so far, while it goes on writing.

use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Deeper than any capture can lie, and as many descriptors as a look may hold.
const DEPTH_MAX: usize = 32;

/// Most entries that are looked at: a step that makes more has made too much.
const ENTRIES_MAX: usize = 200_000;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Size {
    Bytes(u64),
    /// Too deep, or too many entries.
    Beyond,
}

/// The blocks of everything in a folder. What vanishes meanwhile, or may not be read, counts nothing.
pub(in super::super) fn size_of(folder: &Path) -> Result<Size, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut open = vec![Dir::new(rustix::fs::open(folder, flags, Mode::empty())?)?];
    let (mut bytes, mut entries) = (0_u64, 0_usize);
    loop {
        let depth = open.len();
        let Some(folder) = open.last_mut() else { return Ok(Size::Bytes(bytes)) };
        let Some(entry) = folder.read() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        entries += 1;
        let above = folder.fd()?;
        let Ok(facts) = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        bytes = bytes.saturating_add(u64::try_from(facts.st_blocks).unwrap_or(0).saturating_mul(512));
        if entries > ENTRIES_MAX {
            return Ok(Size::Beyond);
        }
        if FileType::from_raw_mode(facts.st_mode) == FileType::Directory {
            if depth == DEPTH_MAX {
                return Ok(Size::Beyond);
            }
            if let Ok(inside) = rustix::fs::openat(above, name, flags, Mode::empty()) {
                open.push(Dir::new(inside)?);
            }
        }
    }
}

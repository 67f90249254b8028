//! Guests that attack.

use anyhow::Result;

use crate::guests;

/// The prelude and every attack are valid text, and become components that only their attack
/// makes wrong.
#[test]
fn every_guest_encodes() -> Result<()> {
    for name in guests::hostile_names()? {
        let component = guests::hostile(&name)?;
        assert!(component.starts_with(b"\0asm"), "{name}");
    }
    for name in ["echo", "patient"] {
        assert!(!guests::honest(name)?.is_empty());
    }
    Ok(())
}

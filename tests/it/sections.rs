//! What a toolchain would not write: sections added to a component by hand.

use anyhow::{Context, Result};

pub const CUSTOM: u8 = 0;
pub const CORE_MODULE: u8 = 1;
const CORE_INSTANCE: u8 = 2;
pub const COMPONENT: u8 = 4;
const COMPONENT_INSTANCE: u8 = 5;

/// Bytes that every component begins with.
const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Adds a section at the end.
pub fn append(component: &mut Vec<u8>, id: u8, body: &[u8]) -> Result<()> {
    component.push(id);
    leb(component, u32::try_from(body.len())?);
    component.extend_from_slice(body);
    Ok(())
}

/// Adds a module or component, and instantiates it so many times.
pub fn append_and_instantiate(component: &mut Vec<u8>, id: u8, body: &[u8], times: usize) -> Result<()> {
    let position = count(component, id)?;
    append(component, id, body)?;
    // One instance: made by instantiation, of this item, with no arguments.
    let mut instance = vec![1, 0];
    leb(&mut instance, position);
    instance.push(0);
    for _ in 0..times {
        append(component, if id == COMPONENT { COMPONENT_INSTANCE } else { CORE_INSTANCE }, &instance)?;
    }
    Ok(())
}

/// A component in a component in a component: so deep.
pub fn nested(depth: usize) -> Result<Vec<u8>> {
    let mut component = PREAMBLE.to_vec();
    for _ in 1..depth {
        let inner = std::mem::replace(&mut component, PREAMBLE.to_vec());
        append(&mut component, COMPONENT, &inner)?;
    }
    Ok(component)
}

/// How many sections of this kind a component has at its top.
fn count(component: &[u8], id: u8) -> Result<u32> {
    let mut rest = component.get(PREAMBLE.len()..).context("no component")?;
    let mut found = 0;
    while let Some((section, after)) = rest.split_first() {
        found += u32::from(*section == id);
        let (mut length, mut shift, mut body) = (0_usize, 0, after);
        loop {
            let (byte, next) = body.split_first().context("a section without a length")?;
            length |= usize::from(byte & 0x7f) << shift;
            (shift, body) = (shift + 7, next);
            if byte & 0x80 == 0 {
                break;
            }
        }
        rest = body.get(length..).context("a section that is cut")?;
    }
    Ok(found)
}

fn leb(into: &mut Vec<u8>, mut number: u32) {
    while number > 0x7f {
        into.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

//! HelixMCP's tests through the real binary, one module a concern.

mod abi;
mod author;
mod clients;
mod crash;
mod damage;
mod docs;
mod eras;
mod golden_path;
mod guests;
mod hostile;
mod invariants;
mod layering;
mod load;
mod neighbour;
mod oracle;
mod oracle_bam;
mod replay;
mod sandbox_client;
mod sections;
mod share;
mod stage;
mod template;
mod vectors;
mod walls;

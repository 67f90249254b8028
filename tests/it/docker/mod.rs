//! Container steps on a real engine, through `Backend`. `cargo xtask test` starts one, with an image
//! that holds busybox; who has an engine already says where, and which image:
//! `HELIX_TEST_DOCKER=unix:///run/docker.sock HELIX_TEST_IMAGE=registry/repository@sha256:…`.

mod ends;
mod engine;
mod lab;
mod recovery;
mod walls;

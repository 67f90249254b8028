//! The binary: a runner when its parent says so, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a runner is started for each attempt, and must hold nothing.
    if std::env::args_os().nth(1).is_some_and(|command| command == "runner") {
        return helix_runner::main();
    }
    helixmcp::cli::main()
}

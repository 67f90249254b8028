//! The same binary as `helixmcp`, built with faults to ask for: tests start it, nobody else does.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == "runner") {
        return helix_runner::main();
    }
    helixmcp::cli::main()
}

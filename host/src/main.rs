//! The binary: a runner when its parent says so, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a runner reads no flags, no environment and no configuration.
    if std::env::args().nth(1).as_deref() == Some("runner") {
        return helixmcp::sandbox::runner::main();
    }
    helixmcp::cli::main()
}

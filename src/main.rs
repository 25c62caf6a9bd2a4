//! argv to command to exit code.

use std::process::ExitCode;

/// Decoding allocates a lot of small text; mimalloc costs 40 % less for it than glibc's malloc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    throughline::cli::main()
}

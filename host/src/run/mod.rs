//! Carries a plan to its end: admission, attempts, deadlines, cancellation, recovery.

/// The runs that are under way in this process.
pub struct Runs {
    _private: (),
}

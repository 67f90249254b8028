//! All that is only read for a caller: artifacts, previews, runs, explanations.

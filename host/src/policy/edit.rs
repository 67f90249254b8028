//! Changes to a policy file that keep its comments.

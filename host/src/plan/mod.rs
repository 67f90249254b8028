//! Proposal → draft → plan. Pure. Declared, linked and planned are compared here (I-1, I-4).

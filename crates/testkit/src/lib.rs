//! Temporary projects, the binary under test and redactions.

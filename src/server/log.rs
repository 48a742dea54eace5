//! Events and log lines for the operator.

pub(super) mod escape;
pub(super) mod event;
pub(super) mod panics;
pub(super) mod repeated;

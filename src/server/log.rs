//! Events and log lines for the operator.

pub(super) mod event;
pub(super) mod repeated;

//! What the server tells its operator.

pub(super) mod event;
pub(super) mod repeated;

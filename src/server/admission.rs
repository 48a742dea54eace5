//! Whether a connection may stay: the limits on connections, and the address that each one counts
//! for, which a trusted proxy may tell.

pub(super) mod arrivals;
pub(super) mod client_address;
pub(super) mod permit;
pub(super) mod proxy_header;

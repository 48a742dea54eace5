//! Decides whether a connection may stay: limits on the number of connections, and the address for
//! which each connection counts, which a trusted proxy may report.

pub(super) mod arrivals;
pub(super) mod client_address;
pub(super) mod permit;
pub(super) mod proxy_header;
pub(super) mod shared_counts;

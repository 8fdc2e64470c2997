//! What programs see of the network, and what faults do to it.

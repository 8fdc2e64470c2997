//! Who somebody is.

/// Who has opened a socket, or sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The number of the process, if it can be seen from here.
    pub process: Option<i32>,
    /// The number of the user.
    pub user: u32,
    /// The number of the group.
    pub group: u32,
}

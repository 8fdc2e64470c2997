//! The runtimes, one file each, written the way their own documentation recommends.

pub(crate) mod blocking;
#[cfg(feature = "peers")]
pub(crate) mod compio;
pub(crate) mod corering;
pub(crate) mod corering_net;
#[cfg(feature = "peers")]
pub(crate) mod glommio;
pub(crate) mod http;
#[cfg(feature = "peers")]
pub(crate) mod kimojio;
#[cfg(feature = "peers")]
pub(crate) mod monoio;
pub(crate) mod raw;
pub(crate) mod raw_files;
pub(crate) mod raw_net;
pub(crate) mod tokio;
pub(crate) mod tokio_net;

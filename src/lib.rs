//! placeholder
pub use corering_runtime::{self as runtime, *};
pub use corering_net as net;
pub use corering_fs as fs;

//! A client for HTTP: one [`Session`] per core, which keeps its connections (feature `client`; with the feature `tls`,
//! for https, too).
//!
//! ```text
//!  request --> host's pool: a slot --> a slot of the session --> a connection: idle, or made now
//!     ^                                                            |
//!     |  redirect, or a connection that the server had closed      v
//!     +------------------------------------------------------- send, head of the answer
//!                                                                  |
//!                           body: chunk by chunk --to its end----> the connection goes back
//!                                       \--dropped, or failed----> the connection is closed
//! ```
//!
//! Invariant: a connection by which anything was sent goes back only when the answer was read to its end. So nobody
//! gets an answer that was meant for another, whatever is dropped, and wherever.
//!
//! # Examples
//!
//! ```
//! use corering_net::client::Session;
//! # use corering_net::TcpListener;
//!
//! corering_runtime::run(async {
//! #   let listener = TcpListener::bind("127.0.0.1:0").await?;
//! #   let url = format!("http://{}/greeting", listener.local_addr()?);
//! #   corering_runtime::spawn(async move {
//! #       let (mut stream, _) = listener.accept().await?;
//! #       stream.recv().await?;
//! #       stream.write_all("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n\"hello\"").await.0
//! #   });
//!     let session = Session::new();
//!     let response = session.get(&url).header("accept", "application/json").send().await?;
//!     assert_eq!(response.status(), 200);
//!     let greeting: String = response.error_for_status()?.json().await?;
//!     assert_eq!(greeting, "hello");
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod connection;
mod error;
mod host;
mod request;
mod response;
mod session;
mod url;

pub use self::body::Body;
pub use self::error::{Error, Phase};
pub use self::request::RequestBuilder;
pub use self::response::Response;
pub use self::session::{Session, SessionBuilder, SessionStatus};
/// The words of HTTP, as the crates `http` and `hyper` have them.
pub use hyper::{
    HeaderMap, Method, StatusCode, Uri, Version,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};

//! HTTP, which a WebSocket begins with: the page, and the upgrade.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use corering::net::{CoreTimer, PollStream, TcpStream};
use corering::sync::CancellationToken;
use corering::time::Duration;
use corering::{io, select};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use tungstenite::handshake::server::create_response;

use crate::room::{Rooms, is_name};
use crate::session::{self, Asked, Limits};

const PAGE: &str = include_str!("page.html");
/// How long the head of a request may take, and a connection may be kept for the next one.
const HEAD: Duration = Duration::from_secs(10);
/// How long it may be.
const HEAD_BYTES: usize = 16 * 1024;

/// What all connections have in common.
pub(crate) struct Server {
    rooms: Rc<Rooms>,
    limits: Limits,
    shutdown: CancellationToken,
    http: http1::Builder,
}

/// A connection that is to be upgraded, and for whom.
type Upgrade = RefCell<Option<(OnUpgrade, Asked)>>;

impl Server {
    pub(crate) fn new(rooms: Rc<Rooms>, limits: Limits, shutdown: CancellationToken) -> Self {
        let mut http = http1::Builder::new();
        http.timer(CoreTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
        Self { rooms, limits, shutdown, http }
    }

    pub(crate) async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        // Messages go out at once. If that cannot be said, the client has gone, and that shows soon.
        drop(stream.set_nodelay(true));
        let upgrade = Rc::new(Upgrade::default());
        let service = service_fn({
            let upgrade = Rc::clone(&upgrade);
            move |request| {
                let answer = answer(request, &upgrade);
                async move { Ok::<_, Infallible>(answer) }
            }
        });
        let connection = self.http.serve_connection(PollStream::new(stream), service).with_upgrades();
        select! {
            // What was asked badly has been answered, and what did not come need not be.
            ended = connection => drop(ended),
            () = self.shutdown.cancelled() => return Ok(()),
        }
        let Some((upgrade, asked)) = upgrade.take() else {
            return Ok(());
        };
        let Ok(upgraded) = upgrade.await else {
            return Ok(());
        };
        let parts = upgraded.downcast::<PollStream>().map_err(|_| io::Error::other("not what hyper was given"))?;
        let stream = parts.io.into_inner().await?;
        session::converse(stream, &parts.read_buf, &asked, &self.rooms, &self.limits, &self.shutdown).await
    }
}

fn answer(mut request: Request<Incoming>, upgrade: &Upgrade) -> Response<String> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {
            let mut page = Response::new(PAGE.to_owned());
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            page
        }
        (&Method::GET, "/chat") => {
            let Some(asked) = asked(request.uri().query().unwrap_or_default()) else {
                return refusal(StatusCode::BAD_REQUEST, "give a room and a name, of at most 32 characters each\n");
            };
            if !is_of_our_page(&request) {
                return refusal(StatusCode::FORBIDDEN, "a page of another site may not speak for its visitors\n");
            }
            let on_upgrade = hyper::upgrade::on(&mut request);
            match create_response(&request.map(drop)) {
                Ok(accepted) => {
                    upgrade.replace(Some((on_upgrade, asked)));
                    accepted.map(|()| String::new())
                }
                Err(error) => refusal(StatusCode::BAD_REQUEST, &format!("{error}\n")),
            }
        }
        (_, "/" | "/chat") => refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        _ => refusal(StatusCode::NOT_FOUND, "there is / and /chat\n"),
    }
}

fn refusal(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}

/// Browsers let every page connect to everywhere, and say only where it is from. Other clients say nothing.
fn is_of_our_page(request: &Request<Incoming>) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else {
        return true;
    };
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    site.is_some_and(|(_, site)| host == Some(site))
}

fn asked(query: &str) -> Option<Asked> {
    let field = |name: &str| {
        let fields = query.split('&').filter_map(|field| field.split_once('='));
        let text = fields.filter(|(key, _)| *key == name).map(|(_, text)| text).next()?;
        decoded(text).filter(|text| is_name(text))
    };
    Some(Asked { room: field("room")?, name: field("name")? })
}

/// A field of a query, as browsers write it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?];
                (digits[0] * 16 + digits[1]) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

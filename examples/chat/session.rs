//! A session: one client in one room.
//!
//! ```text
//!   the connection --bytes--> frames --text--> room --> the queues of all
//!                  <--bytes-- frames <--text-- this one's queue
//! ```
//!
//! One task does both directions, in turns: while what was said to a client is being sent, nothing is read of it, so a
//! client that does not read cannot make the server work either.

use std::rc::Rc;

use corering::net::{Shutdown, TcpStream};
use corering::sync::CancellationToken;
use corering::time::{Duration, Instant, sleep_until, timeout};
use corering::{io, select, task};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::frames::{Frames, Stop};
use crate::room::{Rooms, Seat};

/// So many frames of a client are looked at before the others have their turn: they have to take what it says.
const FRAMES_AT_ONCE: usize = 16;

/// What a client may take.
pub(crate) struct Limits {
    pub(crate) message_bytes: usize,
    pub(crate) write: Duration,
    pub(crate) ping: Duration,
    pub(crate) goodbye: Duration,
}

/// How a session ends.
enum End {
    /// The client has closed it, or the connection.
    Closed,
    /// It is closed with these words, which are told on standard error if the client is to blame.
    Goodbye { code: CloseCode, reason: String, is_told: bool },
    /// Nothing can be said to it any more.
    Lost(&'static str),
}

/// Who asks for what.
pub(crate) struct Asked {
    pub(crate) room: String,
    pub(crate) name: String,
}

/// Speaks with a client until one side has enough.
pub(crate) async fn converse(
    mut stream: TcpStream,
    rest: &[u8],
    asked: &Asked,
    rooms: &Rc<Rooms>,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let mut frames = Frames::new(rest, limits.message_bytes);
    let end = match rooms.enter(&asked.room, &asked.name) {
        Some(seat) => turn(&mut stream, &mut frames, &seat, limits, shutdown).await?,
        None => End::Goodbye { code: CloseCode::Policy, reason: "that name is taken".to_owned(), is_told: false },
    };
    let who = format!("{} in {}", asked.name.escape_debug(), asked.room.escape_debug());
    match end {
        End::Closed => {
            // The client's goodbye is answered.
            timeout(limits.goodbye, send(&mut stream, &mut frames, limits)).await.ok();
        }
        End::Goodbye { code, reason, is_told } => {
            if is_told {
                eprintln!("chat: {who} is dropped: {reason}");
            }
            frames.close(code, &reason);
            // It has a moment to read that, and to answer.
            timeout(limits.goodbye, say_goodbye(&mut stream, &mut frames, limits)).await.ok();
        }
        End::Lost(reason) => {
            eprintln!("chat: {who} is dropped: {reason}");
            // What it did not read is given up with the connection.
            stream.set_linger(Some(Duration::ZERO))?;
        }
    }
    Ok(())
}

async fn turn(
    stream: &mut TcpStream,
    frames: &mut Frames,
    seat: &Seat,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> io::Result<End> {
    /// What a session waits for.
    enum Came {
        Bytes,
        End,
        News,
        Silence,
        Shutdown,
    }

    let mut heard = Instant::now();
    let mut is_asked = false;
    loop {
        let mut has_more = true;
        for _ in 0..FRAMES_AT_ONCE {
            match frames.next() {
                Ok(Some(Message::Text(text))) => seat.say(&text),
                Ok(Some(Message::Binary(_))) => {
                    let reason = format!("{} sends bytes, and this is for text", seat.name());
                    return Ok(End::Goodbye { code: CloseCode::Unsupported, reason, is_told: true });
                }
                Ok(Some(Message::Close(_))) => return Ok(End::Closed),
                Ok(Some(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Ok(None) => {
                    has_more = false;
                    break;
                }
                Err(Stop::Closed) => return Ok(End::Closed),
                Err(Stop::Fault(code, reason)) => return Ok(End::Goodbye { code, reason, is_told: true }),
            }
        }
        for text in seat.take() {
            frames.put(Message::Text(text));
        }
        match send(stream, frames, limits).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Ok(End::Lost("it does not read what it is sent"));
            }
            sent => sent?,
        }
        if seat.is_lost() {
            let reason = "too many messages behind".to_owned();
            return Ok(End::Goodbye { code: CloseCode::Policy, reason, is_told: true });
        }
        if has_more {
            task::yield_now().await;
            continue;
        }
        let came = select! {
            chunk = stream.recv() => match chunk? {
                Some(chunk) => {
                    frames.take_in(&chunk);
                    Came::Bytes
                }
                None => Came::End,
            },
            () = seat.news() => Came::News,
            () = sleep_until(heard + limits.ping * (1 + u32::from(is_asked))) => Came::Silence,
            () = shutdown.cancelled() => Came::Shutdown,
        };
        match came {
            Came::Bytes => (heard, is_asked) = (Instant::now(), false),
            Came::End => return Ok(End::Closed),
            Came::News => {}
            Came::Silence if is_asked => {
                let reason = "it has not answered a ping".to_owned();
                return Ok(End::Goodbye { code: CloseCode::Policy, reason, is_told: true });
            }
            Came::Silence => {
                is_asked = true;
                frames.put(Message::Ping(Vec::new().into()));
            }
            Came::Shutdown => {
                let reason = "the server ends".to_owned();
                return Ok(End::Goodbye { code: CloseCode::Away, reason, is_told: false });
            }
        }
    }
}

async fn send(stream: &mut TcpStream, frames: &mut Frames, limits: &Limits) -> io::Result<()> {
    let going = frames.take_out();
    if going.is_empty() {
        return Ok(());
    }
    stream.write_all(going).deadline(limits.write).await.0.map(drop)
}

/// Sends what is left and reads over what comes, until the other side has said goodbye as well.
async fn say_goodbye(stream: &mut TcpStream, frames: &mut Frames, limits: &Limits) -> io::Result<()> {
    send(stream, frames, limits).await?;
    stream.shutdown(Shutdown::Write).await?;
    while let Some(chunk) = stream.recv().await? {
        drop(chunk);
    }
    Ok(())
}

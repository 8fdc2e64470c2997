//! Servers in children.
//!
//! A server prints where it listens, then answers each line on its standard input with what it has used and done so
//! far; it ends with its parent, or when its input ends.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::machine::{self, Usage};
use crate::runtimes;
use crate::workload::{Echo, Flow, Transport};

/// What a server does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Served {
    /// Sends back what it gets.
    Echo(Echo),
    /// Answers requests of HTTP by so many bytes.
    Http(usize),
    /// Closes each connection.
    Storm,
    /// Receives or sends without end.
    Stream(Flow),
    /// Sends on the second of two connections what arrives at the first, and back.
    Proxy,
}

/// A socket that others may come to.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Inet(SocketAddr),
    Path(PathBuf),
}

/// What a server has done, where its parent wants to know: connections, or bytes received.
static DONE: AtomicU64 = AtomicU64::new(0);

/// Says that so much more is done.
pub(crate) fn add_done(count: u64) {
    DONE.fetch_add(count, Ordering::Relaxed);
}

/// The child's part: serves until its parent has had enough.
pub(crate) fn serve(runtime: &str, served: Served, directory: &Path) -> io::Result<()> {
    let transport = match served {
        Served::Echo(echo) => echo.by,
        Served::Http(_) | Served::Storm | Served::Stream(_) | Served::Proxy => Transport::Tcp,
    };
    match transport {
        Transport::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            announce(listener.local_addr()?.port());
            serve_on(runtime, served, Listening::Tcp(listener))
        }
        Transport::Unix => {
            let path = directory.join("socket");
            let _ = std::fs::remove_file(&path);
            #[cfg(feature = "peers")]
            if let ("glommio", Served::Echo(echo)) = (runtime, served) {
                return runtimes::glommio::echo_unix(path, echo.bytes);
            }
            let listener = UnixListener::bind(&path)?;
            announce(path.display());
            serve_on(runtime, served, Listening::Unix(listener))
        }
        Transport::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            announce(socket.local_addr()?.port());
            match runtime {
                "corering" => runtimes::corering_net::datagrams(socket),
                "tokio" => runtimes::tokio_net::datagrams(socket),
                _ => runtimes::raw_net::datagrams(&socket),
            }
        }
    }
}

/// The line that asks for the memory in place of the time: to count it takes time, too.
const MEMORY: &str = "memory";

/// Says where the server listens, from when on its parent may ask.
pub(crate) fn announce(place: impl std::fmt::Display) {
    println!("{place}");
    std::thread::spawn(|| {
        for line in io::stdin().lines().map_while(Result::ok) {
            if line == MEMORY {
                println!("{}", machine::anonymous());
                continue;
            }
            let Usage { cpu, user, system } = machine::usage();
            let done = DONE.load(Ordering::Relaxed);
            println!("{} {} {} {done}", cpu.as_nanos(), user.as_nanos(), system.as_nanos());
        }
        std::process::exit(0);
    });
}

fn serve_on(runtime: &str, served: Served, listening: Listening) -> io::Result<()> {
    match served {
        Served::Echo(echo) => serve_echo(runtime, listening, echo),
        Served::Http(bytes) => match runtime {
            "tokio" => runtimes::http::serve_by_tokio(listening.tcp()?, bytes),
            _ => runtimes::http::serve(runtime, listening.tcp()?, bytes),
        },
        Served::Storm => {
            let listener = listening.tcp()?;
            // Connections inherit it: closing one resets it, so neither side keeps a port for a minute.
            socket2::SockRef::from(&listener).set_linger(Some(Duration::ZERO))?;
            match runtime {
                "corering" => runtimes::corering_net::storm(listener),
                "tokio" => runtimes::tokio_net::storm(listener),
                "raw-direct" => runtimes::raw_net::storm_direct(&listener),
                _ => runtimes::raw_net::storm(&listener),
            }
        }
        Served::Proxy => {
            match runtime {
                "tokio" => runtimes::tokio_net::proxy(listening.tcp()?)?,
                _ => runtimes::corering_net::proxy(listening.tcp()?)?,
            }
            // The parent still asks what it took.
            loop {
                std::thread::park();
            }
        }
        Served::Stream(flow) => {
            match runtime {
                "tokio" => runtimes::tokio_net::stream(listening.tcp()?, flow)?,
                "raw-multi" => runtimes::raw_net::receive_multi(&listening.tcp()?)?,
                "raw" => runtimes::raw_net::stream(&listening.tcp()?, flow)?,
                _ => runtimes::corering_net::stream(runtime, listening.tcp()?, flow)?,
            }
            // The stream has ended; the parent still asks how much came.
            loop {
                std::thread::park();
            }
        }
    }
}

fn serve_echo(runtime: &str, listening: Listening, echo: Echo) -> io::Result<()> {
    match runtime {
        "corering" => runtimes::corering_net::echo(listening, echo.bytes),
        "tokio" => runtimes::tokio_net::echo(listening, echo.bytes),
        #[cfg(feature = "peers")]
        "compio" => runtimes::compio::echo(listening, echo.bytes),
        #[cfg(feature = "peers")]
        "monoio" => runtimes::monoio::echo(listening, echo.bytes),
        #[cfg(feature = "peers")]
        "glommio" => runtimes::glommio::echo(listening, echo.bytes),
        #[cfg(feature = "peers")]
        "kimojio" => runtimes::kimojio::echo(listening, echo.bytes),
        "raw-multi" => runtimes::raw::echo_multi(&listening, echo),
        "raw-direct" => runtimes::raw::echo_direct(&listening, echo),
        _ => runtimes::raw::echo(&listening, echo),
    }
}

/// Bytes of the buffer of each connection: as much for every runtime.
pub(crate) fn buffer_bytes(message: usize) -> usize {
    if message <= 4096 { 4096 } else { 32768 }
}

impl Listening {
    fn tcp(self) -> io::Result<TcpListener> {
        match self {
            Self::Tcp(listener) => Ok(listener),
            Self::Unix(_) => Err(io::Error::other("it serves TCP alone")),
        }
    }
}

/// The parent's part: a server that runs in a child.
#[derive(Debug)]
pub(crate) struct Server {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) place: Place,
}

impl Server {
    pub(crate) fn of(process: &mut Child) -> io::Result<Self> {
        let input = process.stdin.take().ok_or_else(no_answer)?;
        let mut output = BufReader::new(process.stdout.take().ok_or_else(no_answer)?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let place = match line.trim() {
            "" => return Err(no_answer()),
            place => match place.parse::<u16>() {
                Ok(port) => Place::Inet(SocketAddr::from(([127, 0, 0, 1], port))),
                Err(_) => Place::Path(PathBuf::from(place)),
            },
        };
        Ok(Self { input, output, place })
    }

    /// What it has used, and done.
    pub(crate) fn usage(&mut self) -> io::Result<(Usage, u64)> {
        match self.ask("")?[..] {
            [cpu, user, system, done] => {
                let [cpu, user, system] = [cpu, user, system].map(Duration::from_nanos);
                Ok((Usage { cpu, user, system }, done))
            }
            _ => Err(no_answer()),
        }
    }

    /// Bytes of its private anonymous memory.
    pub(crate) fn memory(&mut self) -> io::Result<u64> {
        match self.ask(MEMORY)?[..] {
            [anonymous] => Ok(anonymous),
            _ => Err(no_answer()),
        }
    }

    fn ask(&mut self, line: &str) -> io::Result<Vec<u64>> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        Ok(answer.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }

    /// What it has used when it has done so much: what the load has asked for, no more and no less.
    pub(crate) fn when_done(&mut self, wanted: u64) -> io::Result<Usage> {
        const LONGEST: Duration = Duration::from_secs(5);
        let start = Instant::now();
        loop {
            match self.usage()? {
                (usage, done) if done == wanted => return Ok(usage),
                (_, done) if done > wanted || start.elapsed() > LONGEST => {
                    return Err(io::Error::other(format!("the server did {done} instead of {wanted}")));
                }
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

pub(crate) fn no_answer() -> io::Error {
    io::Error::other("the measuring process ended without a result (its own message is above)")
}

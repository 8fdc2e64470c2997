//! TLS with what everybody has: `openssl`, `curl`, and `examples/https`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use corering::io::{AsyncReadExt as _, AsyncWrite as _};
use corering::net::tls::{Acceptor, Connector};
use corering::net::{TcpListener, TcpStream};

use crate::common::{LONG, Server, other, output_of, pem, text, until};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for (name, bytes) in
        [("root.pem", pem::ROOT), ("chain.pem", pem::CHAIN), ("expired.pem", pem::EXPIRED), ("key.pem", pem::KEY)]
    {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    folder
}

/// A program that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `openssl s_server`, and its port.
fn s_server(folder: &tempfile::TempDir, arguments: &[&str]) -> Option<(Killed, u16)> {
    let mut command = other("openssl")?;
    command.current_dir(folder.path()).args(["s_server", "-accept", "127.0.0.1:0", "-key", "key.pem"]).args(arguments);
    let mut child =
        Killed(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs"));
    let mut output = BufReader::new(child.0.stdout.take().expect("a pipe"));
    let mut line = String::new();
    let port = loop {
        line.clear();
        assert!(output.read_line(&mut line).expect("read") > 0, "it does not say where it listens");
        if let Some(address) = line.trim().strip_prefix("ACCEPT ") {
            break address.rsplit_once(':').expect("a port").1.parse().expect("a number");
        }
    };
    // It must not wait for somebody to read what it says.
    std::thread::spawn(move || drop(std::io::copy(&mut output, &mut std::io::sink())));
    Some((child, port))
}

async fn connector() -> Connector {
    Connector::builder().only_roots(pem::ROOT).expect("a root").build().await.expect("a connector")
}

/// Runs on a core, and gives up at some point.
#[track_caller]
fn run<T>(body: impl Future<Output = T>) -> T {
    corering::run(async { corering::time::timeout(LONG, body).await.expect("in time") }).expect("a core")
}

#[test]
fn openssl_is_our_server() {
    let folder = folder();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some((_server, port)) = s_server(&folder, &["-cert", "chain.pem", "-rev", version]) else { return };
        run(async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
            let mut stream = connector().await.connect("localhost", stream).await.expect("TLS");
            for _ in 0..3 {
                stream.write_all("abcdef\n").await.0.expect("written");
                let (read, answer) = stream.read_exact(Vec::with_capacity(7)).await;
                read.expect("an answer");
                assert_eq!(answer, b"fedcba\n", "{version}");
            }
            stream.close().await.expect("closed");
        });
    }
}

#[test]
fn what_openssl_shows_is_refused_with_the_reason() {
    let folder = folder();
    let Some((_expired, expired)) = s_server(&folder, &["-cert", "expired.pem", "-www"]) else { return };
    let Some((_good, good)) = s_server(&folder, &["-cert", "chain.pem", "-www"]) else { return };
    // One that has issued itself, for a name that it is.
    let mut own = other("openssl").expect("as above");
    own.current_dir(folder.path()).args(["req", "-x509", "-key", "key.pem", "-days", "9", "-subj", "/CN=localhost"]);
    own.args(["-addext", "subjectAltName=DNS:localhost", "-out", "self.pem"]);
    assert!(output_of(&mut own).status.success());
    let Some((_own, own)) = s_server(&folder, &["-cert", "self.pem", "-www"]) else { return };
    run(async {
        let connector = connector().await;
        for (port, host, reason) in [
            (expired, "localhost", "the certificate of localhost has expired: "),
            (own, "localhost", "the certificate of localhost "),
            (good, "example.org", "the certificate is not one of example.org: "),
            (good, "10.0.0.1", "the certificate is not one of 10.0.0.1: "),
        ] {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
            let error = connector.connect(host, stream).await.expect_err(host).to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        let stream = TcpStream::connect(("127.0.0.1", good)).await.expect("a connection");
        drop(connector.connect("localhost", stream).await.expect("this one is good"));
    });
}

#[test]
fn openssl_is_our_client() {
    let folder = folder();
    let Some(mut client) = other("openssl") else { return };
    run(async {
        let acceptor = Acceptor::builder().certificate(pem::CHAIN, pem::KEY).expect("a certificate");
        let acceptor = acceptor.client_roots(pem::ROOT).expect("a root").protocols(&["echo"]).build().expect("one");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        client.current_dir(folder.path()).args(["s_client", "-connect", &address, "-CAfile", "root.pem"]);
        client.args(["-verify_return_error", "-servername", "test.localhost", "-verify_hostname", "test.localhost"]);
        client.args(["-cert", "chain.pem", "-key", "key.pem", "-alpn", "other,echo", "-quiet", "-no_ign_eof"]);
        let mut child = Killed(
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs"),
        );
        let mut input = child.0.stdin.take().expect("a pipe");
        input.write_all(b"hello from openssl\n").expect("it reads");
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        assert_eq!((stream.protocol(), stream.server_name()), (Some(&b"echo"[..]), Some("test.localhost")));
        assert!(stream.peer_certificates().is_some());
        let (read, said) = stream.read_exact(Vec::with_capacity(19)).await;
        read.expect("what it says");
        assert_eq!(said, b"hello from openssl\n");
        stream.write_all("hello from us\n").await.0.expect("written");
        stream.close().await.expect("closed");
        drop(input);
        let mut output = String::new();
        std::io::Read::read_to_string(&mut child.0.stdout.take().expect("a pipe"), &mut output).expect("text");
        assert!(output.contains("hello from us\n"), "{output}");
        let status = child.0.wait().expect("it ends");
        assert!(status.success(), "close_notify is what it waits for: {status}");
    });
}

/// curl, as a client that trusts our root.
fn curl(folder: &tempfile::TempDir, version: &str) -> Option<Command> {
    let mut curl = other("curl")?;
    curl.current_dir(folder.path()).args([
        "--silent",
        "--show-error",
        "--max-time",
        "60",
        "--cacert",
        "root.pem",
        version,
    ]);
    Some(curl)
}

#[test]
fn curl_is_answered_by_https_and_the_certificate_is_renewed_at_a_hangup() {
    let folder = folder();
    let files = ["serving.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
    let renew = |name: &str| std::fs::copy(folder.path().join(name), &files[0]).expect("a copy");
    renew("chain.pem");
    let Some(server) = Server::start("https", &["--certificate", &files[0], "--key", &files[1]]) else { return };
    let port = server.address.rsplit_once(':').expect("a port").1.to_owned();
    let url = format!("https://localhost:{port}/x");
    for (version, said) in [("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")] {
        let Some(mut curl) = curl(&folder, version) else { return };
        let output = output_of(curl.arg(&url));
        assert_eq!(text(&output.stdout), format!("hello by {said}: /x\n"), "{}", text(&output.stderr));
    }
    let mut stranger = other("curl").expect("as above");
    let output = output_of(stranger.args(["--silent", "--max-time", "60", &url]));
    assert!(!output.status.success(), "the system does not know the issuer");
    let hang_up = |said: &str| {
        let before = server.told().matches(said).count();
        server.signal(libc::SIGHUP);
        until("it says what became of it", || server.told().matches(said).count() > before);
    };
    renew("expired.pem");
    hang_up("the certificate was read anew");
    let output = output_of(curl(&folder, "--http1.1").expect("as above").arg(&url));
    assert!(!output.status.success() && text(&output.stderr).contains("expired"), "{}", text(&output.stderr));
    std::fs::write(&files[0], "no certificate").expect("a file");
    hang_up("the certificate stays as it is: ");
    renew("chain.pem");
    hang_up("the certificate was read anew");
    let output = output_of(curl(&folder, "--http1.1").expect("as above").arg(&url));
    assert_eq!(text(&output.stdout), "hello by HTTP/1.1: /x\n", "{}", text(&output.stderr));
    let mut server = server;
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0.code(), Some(0), "{}", server.told());
}

#[test]
fn clients_without_a_certificate_are_turned_away_by_https() {
    let folder = folder();
    let files = ["chain.pem", "key.pem", "root.pem"].map(|name| folder.path().join(name).display().to_string());
    let arguments = ["--certificate", &files[0], "--key", &files[1], "--clients", &files[2]];
    let Some(server) = Server::start("https", &arguments) else { return };
    let url = format!("https://localhost:{}/", server.address.rsplit_once(':').expect("a port").1);
    let Some(mut stranger) = curl(&folder, "--http1.1") else { return };
    assert!(!output_of(stranger.arg(&url)).status.success());
    until("it says why", || server.told().contains("the other side has shown no certificate"));
    let mut known = curl(&folder, "--http1.1").expect("as above");
    let output = output_of(known.args(["--cert", "chain.pem", "--key", "key.pem"]).arg(&url));
    assert_eq!(text(&output.stdout), "hello by HTTP/1.1: /\n", "{}", text(&output.stderr));
}
